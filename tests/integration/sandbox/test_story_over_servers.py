"""A short story between five servers over HTTP, from enrolment to receipts that are verified with the genesis alone."""

from __future__ import annotations

from contextlib import closing, contextmanager

from consortium_world import CHEAP
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.ids import system_entropy
from shuiqiao.base.progress import no_progress
from shuiqiao.crypto.model import SuiteName
from shuiqiao.sandbox.benchmarks.api_lending import put_in_use
from shuiqiao.sandbox.scenario.consortium import BUREAU, LEAD_BANK
from shuiqiao.sandbox.servers.demo import failed_checks
from shuiqiao.sandbox.servers.figures import audit_and_conclude
from shuiqiao.sandbox.servers.folder import SandboxFolder
from shuiqiao.sandbox.servers.making import make_sandbox
from shuiqiao.sandbox.servers.parties import Office
from shuiqiao.sandbox.servers.running import Sandbox
from shuiqiao.sandbox.servers.story import (
    ServedStory,
    enrol,
    lend,
    refuse,
    review,
)

TAXPAYERS = 52
SEED = 2


@contextmanager
def story_of(folder, suite, *, taxpayers=TAXPAYERS):
    place = SandboxFolder(folder / "sandbox")
    data = make_sandbox(
        place,
        suite=SuiteName(suite),
        taxpayers=taxpayers,
        seed=SEED,
        clock=SystemClock(),
        entropy=system_entropy,
        progress=no_progress,
        cost=CHEAP,
    )
    sandbox = Sandbox(place)
    try:
        sandbox.start(clock=SystemClock(), progress=no_progress)
        with closing(ServedStory(sandbox=sandbox, data=data, progress=no_progress)) as story:
            yield story
    finally:
        sandbox.stop()


def test_a_short_story_in_gm(tmp_path):
    with story_of(tmp_path, "gm", taxpayers=25) as story:
        sandbox, clock = story.sandbox, story.clock
        with Office(sandbox, BUREAU, clock=clock) as bureau, Office(sandbox, LEAD_BANK, clock=clock) as bank:
            enrol(story, bureau)
            put_in_use(bank, story.data, product=story.data.product)
            story.lent += [lend(story, firm) for firm in story.firms[:3]]
            review(story, bank)
            refuse(story, bank)
        figures = audit_and_conclude(story, folder=tmp_path / "receipts")
    assert [name for name in failed_checks(figures) if "every application" not in name] == []
    assert (figures["suite"], figures["servers"]["receipts_verified"]) == ("gm", 3)
    assert sum(figures["decisions"].values()) == figures["servers"]["openings_checked"] == 3

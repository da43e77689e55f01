"""A short story over HTTP between five servers of which four are validators, one of them killed in the midst of it."""

from __future__ import annotations

import json
import time

from cometbft_world import comet_program, nodes_in
from patience import PATIENCE_S
from sandbox_world import served_story
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.progress import no_progress
from shuiqiao.members.model import EngineName
from shuiqiao.sandbox.benchmarks.api_lending import put_in_use
from shuiqiao.sandbox.scenario.consortium import BANKS, BUREAU, LEAD_BANK, RunEngine
from shuiqiao.sandbox.servers.demo import failed_checks
from shuiqiao.sandbox.servers.figures import audit_and_conclude
from shuiqiao.sandbox.servers.making import VALIDATORS
from shuiqiao.sandbox.servers.parties import Office
from shuiqiao.sandbox.servers.story import enrol, lend, refuse, review

APPLICANTS = 4


def test_a_short_story_on_four_validators(tmp_path, monkeypatch):
    monkeypatch.setenv("SHUIQIAO_COMETBFT", str(comet_program()))
    engine = RunEngine(engine=EngineName.COMETBFT, validators=VALIDATORS, program=comet_program())
    with served_story(tmp_path / "sandbox", suite="intl", taxpayers=APPLICANTS, engine=engine) as story:
        sandbox, clock = story.sandbox, story.clock
        assert len(nodes_in(tmp_path)) == len(sandbox.servers) == VALIDATORS + 1
        with Office(sandbox, BUREAU, clock=clock) as bureau, Office(sandbox, LEAD_BANK, clock=clock) as bank:
            enrol(story, bureau)
            put_in_use(bank, story.data, product=story.data.product)
            story.lent.append(lend(story, story.firms[0]))
            # Three of four decide, and the fourth is level again before the end.
            sandbox.server(BANKS[1]).kill()
            story.lent += [lend(story, firm) for firm in story.firms[1:]]
            assert sandbox.start(clock=SystemClock(), progress=no_progress) == (BANKS[1],)
            review(story, bank)
            refuse(story, bank)
        figures = audit_and_conclude(story, folder=tmp_path / "receipts")
        end = time.monotonic() + PATIENCE_S
        while min(each.height or 0 for each in sandbox.status()) < figures["ledger"]["height"]:
            assert time.monotonic() < end, sandbox.status()
            time.sleep(0.2)
    assert failed_checks(figures) == []
    assert (figures["servers"]["engine"], figures["servers"]["receipts_verified"]) == ("cometbft", 3)
    assert sum(figures["decisions"].values()) == figures["servers"]["openings_checked"] == APPLICANTS
    # What the rules decided alone was told once the ledger had it, and only what they referred is counted so.
    referred = [any(step.step == "referred" for step in lent.file.timeline) for lent in story.lent]
    assert [lent.milliseconds is None for lent in story.lent] == referred
    # An ingest that had to begin anew reads what it took in before as duplicates, beside the two of the files.
    twice, kept_out = figures["duplicates_reported"], figures["records_quarantined"]
    assert (twice >= 2, kept_out, figures["records_read"]) == (True, 3, figures["records_ingested"] + twice + kept_out)
    assert json.dumps(figures)
    assert nodes_in(tmp_path) == []

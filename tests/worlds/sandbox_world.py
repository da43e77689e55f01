"""A sandbox whose five institutions are served by processes of their own, as ``shuiqiao sandbox up`` starts them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from consortium_world import CHEAP
from patience import PATIENCE_S
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.ids import system_entropy
from shuiqiao.base.progress import no_progress
from shuiqiao.client.http import HttpClient
from shuiqiao.crypto.model import SuiteName
from shuiqiao.sandbox.scenario.consortium import EMBEDDED, RunEngine
from shuiqiao.sandbox.scenario.population import RunData
from shuiqiao.sandbox.servers import parties, running, story
from shuiqiao.sandbox.servers.folder import SandboxFolder
from shuiqiao.sandbox.servers.logging_in import token_of
from shuiqiao.sandbox.servers.making import make_sandbox
from shuiqiao.sandbox.servers.running import Sandbox
from shuiqiao.sandbox.servers.story import ServedStory

SEED = 2


def made_sandbox(
    folder: Path, *, suite: str = "intl", taxpayers: int = 25, engine: RunEngine = EMBEDDED
) -> SandboxFolder:
    """A sandbox that was made and not started; its keys open at next to no cost."""
    place = SandboxFolder(folder)
    _make(place, suite=suite, taxpayers=taxpayers, engine=engine)
    return place


@contextmanager
def served_story(folder: Path, *, suite: str, taxpayers: int, engine: RunEngine = EMBEDDED) -> Generator[ServedStory]:
    """A story at its beginning, in a sandbox whose servers run; its people wait as long as tests do."""
    place = SandboxFolder(folder)
    data = _make(place, suite=suite, taxpayers=taxpayers, engine=engine)
    sandbox = Sandbox(place)
    with ExitStack() as stack:
        patient = stack.enter_context(pytest.MonkeyPatch.context())
        patient.setattr(parties, "PATIENCE_S", PATIENCE_S)
        patient.setattr(story, "DECISION_PATIENCE_S", PATIENCE_S)
        patient.setattr(running, "READY_TIMEOUT_S", PATIENCE_S)
        stack.callback(sandbox.stop)
        sandbox.start(clock=SystemClock(), progress=no_progress)
        yield stack.enter_context(closing(ServedStory(sandbox=sandbox, data=data, progress=no_progress)))


def _make(place: SandboxFolder, *, suite: str, taxpayers: int, engine: RunEngine) -> RunData:
    return make_sandbox(
        place,
        suite=SuiteName(suite),
        taxpayers=taxpayers,
        seed=SEED,
        clock=SystemClock(),
        entropy=system_entropy,
        progress=no_progress,
        engine=engine,
        cost=CHEAP,
    )


def url_of(sandbox: Sandbox, member: str) -> str:
    """Where an institution's server listens for callers."""
    [found] = [each.url for each in sandbox.status() if each.member == member]
    return found


def client_of(sandbox: Sandbox, member: str, role: str) -> HttpClient:
    """A client of an institution's public API, logged in as the user who holds a role there."""
    url, account = url_of(sandbox, member), sandbox.folder.accounts_of(member).with_role(role)
    with HttpClient(url) as stranger:
        token = token_of(stranger, account, clock=SystemClock())
    return HttpClient(url, token=token)

"""``shuiqiao demo --servers``: a sandbox made, its servers started, the story played between them, and all ended."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from shuiqiao.base.clock import SystemClock
from shuiqiao.base.ids import system_entropy
from shuiqiao.sandbox.servers.figures import audit_and_conclude
from shuiqiao.sandbox.servers.folder import SandboxFolder
from shuiqiao.sandbox.servers.making import make_sandbox, run_engine
from shuiqiao.sandbox.servers.modes import play_modes
from shuiqiao.sandbox.servers.running import Sandbox
from shuiqiao.sandbox.servers.story import ServedStory, play

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from shuiqiao.base.progress import Progress
    from shuiqiao.crypto.model import SuiteName
    from shuiqiao.members.model import EngineName


def run_between_servers(
    folder: Path, *, suite: SuiteName, engine: EngineName, taxpayers: int, seed: int, progress: Progress
) -> dict[str, Any]:
    """Play the story between five servers in an empty folder, end them, and return the figures.

    Raises what making and starting a sandbox raises, and what any party refuses that must not be refused.
    """
    place, clock = SandboxFolder(folder), SystemClock()
    data = make_sandbox(
        place,
        suite=suite,
        taxpayers=taxpayers,
        seed=seed,
        clock=clock,
        entropy=system_entropy,
        progress=progress,
        engine=run_engine(engine),
    )
    sandbox = Sandbox(place)
    try:
        sandbox.start(clock=clock, progress=progress)
        with closing(ServedStory(sandbox=sandbox, data=data, progress=progress)) as story:
            play(story)
            play_modes(story)
            return audit_and_conclude(story, folder=folder / "receipts")
    finally:
        sandbox.stop()


def failed_checks(figures: Mapping[str, Any]) -> list[str]:
    """Return what did not hold: the audit's problems, acts that had to be refused, files that did not end."""
    decided = sum(figures["decisions"].values())
    checks = {
        "audit.root_matches": figures["audit"]["root_matches"],
        "mint_refused": figures["record_management_only"]["mint_refused"],
        "transfer_refused": figures["record_management_only"]["transfer_refused"],
        "every application decided": decided == figures["taxpayers"],
        "every decision opened to the regulator": figures["servers"]["openings_checked"] == decided,
    }
    accepted = [code for code in figures["servers"]["refusals_by_code"] if code.startswith("accepted")]
    return [name for name, holds in checks.items() if not holds] + accepted + list(figures["servers"]["problems"])

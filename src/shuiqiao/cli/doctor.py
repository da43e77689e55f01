"""``shuiqiao doctor``: what this machine and this home have, and what is wrong; ``status``: what runs here now."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shuiqiao import __version__
from shuiqiao.base.errors import Denied, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.cli.options import Home, Json, OptionalHome
from shuiqiao.cli.output import (
    EXIT_DONE,
    EXIT_REFUSED,
    dated,
    joined,
    print_json,
    progress_on_stderr,
    say,
    say_next,
    say_rows,
    show,
)

if TYPE_CHECKING:
    from shuiqiao.client.resources.home import HomeStatus
    from shuiqiao.crypto.model import SuiteName
    from shuiqiao.node.doctor.finding import Finding
    from shuiqiao.node.home.settings import Home as HomeFolder

ASK_S = 10.0
"""How long a server may take to say how it is, in seconds."""


def doctor(
    *,
    home: OptionalHome = None,
    against: Annotated[
        Path | None, typer.Option(help="Another home, or a copy of a ledger folder, to compare with 与另一副本比较.")
    ] = None,
    replay: Annotated[
        bool, typer.Option("--replay", help="Execute the whole log again, even if nothing is found 重新执行日志.")
    ] = False,
    json: Json = False,
) -> int:
    """Say what this machine and this home have, and what is wrong 诊断."""
    if home is None and (against is not None or replay):
        raise InvalidInput("cli.home_unnamed", "--against and --replay look at a home, and none was named")
    findings = [*_machine()]
    if home is not None:
        findings += _home(home, against=against, is_replay_asked=replay)
    is_well = all(finding.ok for finding in findings)
    if json:
        print_json({"ok": is_well, "version": __version__, "findings": [finding.as_json() for finding in findings]})
    else:
        for finding in findings:
            _speak(finding)
    return EXIT_DONE if is_well else EXIT_REFUSED


def status(*, home: Home, json: Json = False) -> int:
    """Say where the running server of a home stands, and what it waits for; exit 1 while it waits 运行状态."""
    from shuiqiao.node.home.server_lock import serving_process
    from shuiqiao.node.home.settings import Home as HomeFolder

    folder = HomeFolder(home)
    if serving_process(folder) is None:
        raise Unavailable("node.not_running", f"no server of {home} runs", next_step=f"shuiqiao serve --home {home}")
    told = _asked(folder)
    row = dated(told.model_dump(mode="json"), "block_time_ms")
    show(row, as_json=json, speak=partial(say_rows, width=17, words=lambda value: joined(value) or "nothing"))
    return EXIT_REFUSED if told.waits_for or told.differing_clocks else EXIT_DONE


def _home(folder: Path, *, against: Path | None, is_replay_asked: bool) -> list[Finding]:
    from shuiqiao.node.doctor.diagnosis import diagnose_home
    from shuiqiao.node.home.settings import Home

    home = Home(folder)
    with progress_on_stderr() as progress:
        return [
            *diagnose_home(home, against=against, is_replay_asked=is_replay_asked, progress=progress),
            *_server(home),
        ]


def _asked(home: HomeFolder) -> HomeStatus:
    """Ask the server of a home over its socket."""
    from shuiqiao.client.http import HttpClient
    from shuiqiao.client.resources.home import HomeStatus

    with HttpClient.at_socket(home.socket, timeout_s=ASK_S) as client:
        return client.get("/home/status").read_as(HomeStatus)


def _server(home: HomeFolder) -> Iterator[Finding]:
    """Say how the server of a home is, where one runs."""
    from shuiqiao.node.doctor.finding import Finding, finding_of_error
    from shuiqiao.node.home.server_lock import serving_process

    if serving_process(home) is None:
        return
    try:
        told = _asked(home)
    except ShuiqiaoError as error:
        yield finding_of_error("server", error)
    else:
        says = f"process {told.pid}, block {told.height}, {told.outbox_waiting} acts wait for the ledger"
        yield Finding(what="server", says=says)
        if told.waits_for:
            yield finding_of_error("following", Unavailable("node.writer_awaited", told.waits_for))
        for differing in told.differing_clocks:
            refused = Denied("peer.clock_differs", differing.says)
            yield finding_of_error(f"clock beside {differing.member}", refused)


def _machine() -> Iterator[Finding]:
    from shuiqiao.crypto.model import SuiteName
    from shuiqiao.node.doctor.finding import Finding

    yield Finding(what="shuiqiao", says=__version__)
    yield Finding(what="python", says=f"{platform.python_version()} at {sys.executable}")
    for name in SuiteName:
        yield _suite(name)


def _suite(name: SuiteName) -> Finding:
    """Load a suite (it proves itself on published signatures) and say who verifies."""
    from shuiqiao.crypto.suites import get_suite
    from shuiqiao.node.doctor.finding import Finding, finding_of_error

    try:
        return Finding(what=f"suite {name}", says=f"verified by {get_suite(name).verifying_provider}")
    except ShuiqiaoError as error:
        return finding_of_error(f"suite {name}", error)


def _speak(finding: Finding) -> None:
    code = f"[{finding.code}] " if finding.code else ""
    say(f"{'ok  ' if finding.ok else 'BAD '} {finding.what:22} {code}{finding.says}")
    if finding.says_zh:
        say(f"     {'':22} {finding.says_zh}")
    if finding.code:
        say_next(finding.as_json(), indent=" " * 28)

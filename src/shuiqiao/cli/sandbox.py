"""``shuiqiao sandbox``: a bureau, three banks and a regulator on this machine, each with a server of its own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.base.visible import visible_line
from shuiqiao.cli.options import EngineChoice, Json, SuiteChoice, command_group
from shuiqiao.cli.output import EXIT_DONE, EXIT_REFUSED, print_json, program, progress_on_stderr, say, say_rows, show

if TYPE_CHECKING:
    from shuiqiao.sandbox.servers.folder import SandboxFolder
    from shuiqiao.sandbox.servers.running import InstitutionStatus, Sandbox

sandbox_app = command_group("A consortium of five servers on this machine, to try things on 本机联盟沙箱.")

DEFAULT_FOLDER = Path("sandbox")
_TAIL_BYTES = 64 * 1024
_FOLLOW_S = 0.3

Dir = Annotated[Path, typer.Option("--dir", help="Folder of the sandbox 沙箱目录.")]
Members = Annotated[list[str] | None, typer.Argument(help="Institutions by member id; all if none is named.")]


@sandbox_app.command("up")
def sandbox_up(
    *,
    folder: Dir = DEFAULT_FOLDER,
    suite: Annotated[
        SuiteChoice | None, typer.Option(help="Cipher suite of a new sandbox; left out, intl 密码套件.")
    ] = None,
    engine: Annotated[
        EngineChoice | None,
        typer.Option(
            help="Of a new sandbox; embedded, or left out: the bureau writes. cometbft: four of five vote 共识引擎."
        ),
    ] = None,
    taxpayers: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Synthetic taxpayers of a new sandbox; left out, 200.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, max=2**31, help="Seed of its data; left out, 1 随机种子.")] = None,
    json: Json = False,
) -> None:
    """Make a sandbox if there is none, start its servers, and return once all of them answer 启动沙箱."""
    from shuiqiao.base.clock import SystemClock
    from shuiqiao.crypto.model import SuiteName
    from shuiqiao.members.model import EngineName
    from shuiqiao.sandbox.servers.making import Wanted, make_or_find
    from shuiqiao.sandbox.servers.running import Sandbox

    place = _folder(folder)
    wanted = Wanted(
        suite=None if suite is None else SuiteName(suite.value),
        engine=None if engine is None else EngineName(engine.value),
        taxpayers=taxpayers,
        seed=seed,
    )
    with progress_on_stderr() as progress:
        is_new = make_or_find(place, wanted, progress=progress)
        sandbox = Sandbox(place)
        # Log-ins are shown by the first start that comes to its end.
        is_new = is_new or not sandbox.plan.has_records
        started = sandbox.start(clock=SystemClock(), progress=progress)
    found = sandbox.status()
    if json:
        print_json(
            {
                "institutions": [each.as_json(with_secrets=is_new) for each in found],
                "started": list(started),
                "accounts": str(place.accounts),
                "taxpayers": list(sandbox.plan.examples),
            }
        )
    else:
        _speak_up(sandbox, found, started=started, is_new=is_new)


@sandbox_app.command("down")
def sandbox_down(*, folder: Dir = DEFAULT_FOLDER, json: Json = False) -> None:
    """End the servers, the writer's last; homes and data stay 停止沙箱."""
    stopped, left = _sandbox(folder).stop()
    show({"stopped": list(stopped), "left_running": list(left)}, as_json=json, speak=_say_lists)


@sandbox_app.command("status")
def sandbox_status(*, folder: Dir = DEFAULT_FOLDER, json: Json = False) -> int:
    """Say how each institution's server is; exit 1 where one is not ready 状态."""
    sandbox = _sandbox(folder)
    found = sandbox.status()
    if json:
        taxpayers = list(sandbox.plan.examples)
        print_json({"institutions": [each.as_json() for each in found], "taxpayers": taxpayers})
    else:
        _speak_status(found)
        _speak_taxpayers(sandbox)
        if not all(each.is_ready for each in found):
            say(f"start        {program()} sandbox up --dir {quote(str(folder))}")
    return EXIT_DONE if all(each.is_ready for each in found) else EXIT_REFUSED


@sandbox_app.command("logs")
def sandbox_logs(
    *,
    members: Members = None,
    folder: Dir = DEFAULT_FOLDER,
    lines: Annotated[int, typer.Option(min=1, max=10_000, help="The newest lines of each server 行数.")] = 20,
    follow: Annotated[bool, typer.Option("--follow", help="Go on with new lines until Ctrl-C 持续输出.")] = False,
    json: Json = False,
) -> None:
    """Show what the servers logged; what one logs is a JSON object a line 日志."""
    if follow and json:
        raise typer.BadParameter("--follow does not end, so it is not one JSON object; its lines are JSON already")
    sandbox = _sandbox(folder)
    named = sandbox.members(members or ())
    newest = {name: list(sandbox.server(name).last_lines(max_bytes=_TAIL_BYTES))[-lines:] for name in named}
    if json:
        print_json({"logs": [{"member": name, "lines": found} for name, found in newest.items()]})
        return
    places = {name: sandbox.server(name).log for name in named}
    seen = Counter({name: path.stat().st_size for name, path in places.items() if path.exists()})
    for name, found in newest.items():
        _say_log(name, found)
    while follow:
        time.sleep(_FOLLOW_S)
        for name, path in places.items():
            _say_log(name, _new_lines(path, seen, name))


def _new_lines(path: Path, seen: Counter[str], name: str) -> list[str]:
    """Return the whole lines that a log has since it was last looked at."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        file.seek(seen[name])
        data = file.read(_TAIL_BYTES)
    whole = data[: data.rfind(b"\n") + 1] if len(data) < _TAIL_BYTES else data
    seen[name] += len(whole)
    return whole.decode(errors="replace").splitlines()


def _say_log(name: str, lines: Sequence[str]) -> None:
    for line in lines:
        say(f"{name:12} {line}")


def _folder(folder: Path) -> SandboxFolder:
    from shuiqiao.sandbox.servers.folder import SandboxFolder

    return SandboxFolder(folder)


def _sandbox(folder: Path) -> Sandbox:
    from shuiqiao.sandbox.servers.running import Sandbox

    return Sandbox(_folder(folder))


def _say_lists(result: Mapping[str, Any]) -> None:
    say_rows({name: ", ".join(value) or "nobody" for name, value in result.items()})


def _speak_up(sandbox: Sandbox, found: Sequence[InstitutionStatus], *, started: Sequence[str], is_new: bool) -> None:
    _speak_status(found)
    if not started:
        say("all of them were running already 已在运行")
    if is_new:
        say()
        say("log-ins, shown this once; they stay in the file below 登录信息仅显示一次")
        for each in found:
            for user in each.users:
                factor = f"  second factor 双因素 {user.second_factor}" if user.second_factor else ""
                say(f"{each.member:12} {user.user:24} {user.password}{factor}")
    say()
    _speak_taxpayers(sandbox)
    if is_new:
        say("models       none is in use at the banks: applications wait for one 银行尚无在用模型,申请将等待")
    say(f"accounts     {sandbox.folder.accounts}  (log-ins, passwords, second factors 登录信息、口令与双因素)")
    say(f"stop         shuiqiao sandbox down --dir {sandbox.folder.folder}")


def _speak_taxpayers(sandbox: Sandbox) -> None:
    if sandbox.plan.examples:
        say(f"taxpayers    {' '.join(sandbox.plan.examples)} ... 可用纳税人")


def _speak_status(found: Sequence[InstitutionStatus]) -> None:
    for each in found:
        height = "-" if each.height is None else f"{each.height:,}"
        ready = "ready 就绪" if each.is_ready else "NOT READY 未就绪"
        say(f"{each.member:12} {each.role:12} {each.url:24} block {height:>8}  {ready}")
        if each.waits_for:
            say(f"{'':12} {visible_line(each.waits_for)}")

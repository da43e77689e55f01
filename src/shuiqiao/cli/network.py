"""``shuiqiao network``: a consortium on this machine, one home per institution, all on loopback."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.cli.options import EngineChoice, Json, RoleChoice, SuiteChoice, command_group
from shuiqiao.cli.output import (
    EXIT_DONE,
    EXIT_REFUSED,
    joined,
    print_json,
    progress_on_stderr,
    say,
    say_next,
    say_rows,
    show,
    warn,
)

if TYPE_CHECKING:
    from shuiqiao.node.localnet.network import Network, NetworkStatus
    from shuiqiao.node.localnet.status import NodeStatus

network_app = command_group("Run a consortium of validators on this machine 本机联盟网络.")

ROOT_PREFIX = 16
"""Hex characters of a root that a person is shown."""

Folder = Annotated[Path, typer.Option("--folder", help="Folder of the network 网络目录.")]
Nodes = Annotated[list[str] | None, typer.Argument(help="Validators by member id; all if none is named.")]
DEFAULT_FOLDER = Path("network")


@network_app.command("init")
def network_init(
    *,
    folder: Folder = DEFAULT_FOLDER,
    members: Annotated[
        Path | None,
        typer.Option(help="members.toml without keys; left out, an example of a bureau, banks and a regulator."),
    ] = None,
    engine: Annotated[
        EngineChoice | None,
        typer.Option(help="Who orders transactions; left out, what members.toml says, or cometbft."),
    ] = None,
    validators: Annotated[
        int, typer.Option(min=1, max=16, help="The first members of members.toml become validators 验证节点数.")
    ] = 4,
    suite: Annotated[
        SuiteChoice | None, typer.Option(help="Cipher suite; left out, what members.toml says, or intl 密码套件.")
    ] = None,
    json: Json = False,
) -> None:
    """Make the genesis and one home per institution, with fresh keys 建立网络."""
    from shuiqiao.base.clock import SystemClock
    from shuiqiao.base.ids import system_entropy
    from shuiqiao.crypto.model import SuiteName
    from shuiqiao.members.model import EngineName
    from shuiqiao.node.home.keys import named_new_passphrase
    from shuiqiao.node.localnet.making import create_network
    from shuiqiao.node.localnet.plan import NetworkFolder

    passphrase = named_new_passphrase()
    with progress_on_stderr() as progress:
        made = create_network(
            NetworkFolder(folder),
            members=members,
            suite=None if suite is None else SuiteName(suite.value),
            engine=None if engine is None else EngineName(engine.value),
            validators=validators,
            passphrase=passphrase,
            clock=SystemClock(),
            entropy=system_entropy,
            progress=progress,
        )
    if passphrase is None:
        _warn_of_passphrase(folder / "homes" / "MEMBER.passphrase")
    result = {
        "folder": str(folder),
        "network": made.plan.network,
        "engine": made.plan.engine,
        "suite": made.plan.suite,
        "members": list(made.members),
        "validators": list(made.plan.names),
    }
    show(result, as_json=json, speak=partial(say_rows, width=12, words=partial(joined, nothing="none")))
    if made.plan.validators and not json:
        say(f"{'next':12} shuiqiao network start --folder {folder}")


@network_app.command("add")
def network_add(
    *,
    member: Annotated[str, typer.Argument(help="Id of the institution to be admitted.")],
    name: Annotated[str, typer.Option(help="Its name in English.")],
    name_zh: Annotated[str, typer.Option(help="Its name in Chinese 中文名称.")],
    role: Annotated[RoleChoice, typer.Option(help="What it is 角色.")] = RoleChoice.BANK,
    folder: Folder = DEFAULT_FOLDER,
    json: Json = False,
) -> None:
    """Make the home and node of an institution to be admitted, and its member file 新增机构."""
    from shuiqiao.base.ids import system_entropy
    from shuiqiao.members.model import Role
    from shuiqiao.node.home.keys import named_new_passphrase
    from shuiqiao.node.home.settings import Home as HomeFolder
    from shuiqiao.node.localnet.making import add_member
    from shuiqiao.node.localnet.plan import NetworkFolder

    passphrase = named_new_passphrase()
    file = add_member(
        NetworkFolder(folder),
        member=member,
        role=Role(role.value),
        name=name,
        name_zh=name_zh,
        passphrase=passphrase,
        entropy=system_entropy,
    )
    if passphrase is None:
        _warn_of_passphrase(HomeFolder(file.parent).passphrase)
    result = {"member": member, "home": str(file.parent), "member_file": str(file)}
    show(result, as_json=json, speak=_say_rows)
    if not json:
        say(f"{'next':12} shuiqiao members propose admit {file} --home HOME of a governing member")


def _warn_of_passphrase(kept: Path) -> None:
    warn(
        f"no passphrase was given, so a random one of each home lies in {kept} (owner only); "
        "name a file in SHUIQIAO_PASSPHRASE_FILE to keep it elsewhere"
    )


@network_app.command("start")
def network_start(*, nodes: Nodes = None, folder: Folder = DEFAULT_FOLDER, json: Json = False) -> None:
    """Start what does not run, and return once it answers 启动."""
    from shuiqiao.ledger.engine.cometbft.comet.process import find_program

    network = _network(folder)
    with progress_on_stderr() as progress:
        started = network.start(nodes or (), program=find_program(), progress=progress)
    waiting = [node.node for node in started if node.catching_up]
    show({"running": [node.node for node in started], "catching_up": waiting}, as_json=json, speak=_say_rows)


@network_app.command("status")
def network_status(*, folder: Folder = DEFAULT_FOLDER, json: Json = False) -> int:
    """Say how each validator is, and what is wrong; exit 1 where two disagree or none runs 状态."""
    status = _network(folder).status()
    if json:
        print_json(_status_json(status))
    else:
        _speak(status)
    is_up = any(node.running for node in status.nodes)
    return EXIT_DONE if status.agrees and is_up else EXIT_REFUSED


@network_app.command("stop")
def network_stop(*, folder: Folder = DEFAULT_FOLDER, json: Json = False) -> None:
    """End all processes of the network, in order 停止."""
    network = _network(folder)
    network.stop()
    show({"stopped": list(network.plan.names)}, as_json=json, speak=_say_rows)


@network_app.command("kill")
def network_kill(
    *,
    node: Annotated[str, typer.Argument(help="A validator by member id.")],
    folder: Folder = DEFAULT_FOLDER,
    json: Json = False,
) -> None:
    """End a validator at once, its node with it, as a crash would 强制终止."""
    _network(folder).kill(node)
    show({"killed": [node]}, as_json=json, speak=_say_rows)


@network_app.command("rotate-key")
def network_rotate_key(
    *,
    node: Annotated[str, typer.Argument(help="A validator by member id, which runs.")],
    folder: Folder = DEFAULT_FOLDER,
    json: Json = False,
) -> None:
    """Replace the key that a validator votes with, and start its CometBFT node again with it 轮换验证节点密钥."""
    network = _network(folder)
    with progress_on_stderr() as progress:
        progress("make, record and take into use a new key 轮换密钥", 0, None)
        rotated = network.rotate_key(node)
    show(rotated.model_dump(mode="json"), as_json=json)


@network_app.command("partition")
def network_partition(
    *,
    nodes: Annotated[str, typer.Argument(help="Validators by member id, with commas between.")],
    folder: Folder = DEFAULT_FOLDER,
    json: Json = False,
) -> None:
    """Cut validators off from all others; they still reach each other 网络分割."""
    cut = _network(folder).partition([name for name in nodes.split(",") if name])
    show({"cut": [f"{near} | {far}" for near, far in cut]}, as_json=json, speak=_say_rows)


@network_app.command("heal")
def network_heal(*, folder: Folder = DEFAULT_FOLDER, json: Json = False) -> None:
    """End all partitions 恢复连通."""
    _network(folder).heal()
    show({"cut": []}, as_json=json, speak=_say_rows)


def _network(folder: Path) -> Network:
    from shuiqiao.node.localnet.network import Network
    from shuiqiao.node.localnet.plan import NetworkFolder

    return Network(NetworkFolder(folder))


def _say_rows(result: Mapping[str, Any]) -> None:
    say_rows(result, width=12, words=joined)


def _status_json(status: NetworkStatus) -> dict[str, object]:
    return {
        "network": status.plan.network,
        "engine": status.plan.engine,
        "suite": status.plan.suite,
        "agrees": status.agrees,
        "has_relays": status.has_relays,
        "cut": [f"{near} | {far}" for near, far in status.cut],
        "nodes": [node.as_json() for node in status.nodes],
    }


def _runs(node: NodeStatus) -> str:
    if not node.running:
        return "NO"
    return "joins" if node.catching_up else "yes"


def _speak(status: NetworkStatus) -> None:
    say(f"{'node':16} {'runs':5} {'height':>8} {'size':>10} {'root':{ROOT_PREFIX}} {'peers':>5}  note")
    for node in status.nodes:
        note = f"{node.note_size} by {', '.join(node.cosigners)}" if node.cosigners else "none yet"
        say(
            f"{node.node:16} {_runs(node):5} {node.height:8,} {node.size:10,} "
            f"{node.root[:ROOT_PREFIX] or '-':{ROOT_PREFIX}} {node.peers:5}  {note}"
        )
    if any(node.running for node in status.nodes) and not status.has_relays:
        say("TROUBLE 问题  the relays between the validators do not answer: shuiqiao network start")
    for near, far in status.cut:
        say(f"cut 已分割    {near} | {far}")
    for node in status.nodes:
        for trouble in node.trouble:
            say(f"TROUBLE 问题  {node.node}: {trouble.code}: {trouble.message}")
            say_next(trouble.as_json())
    if not status.agrees:
        say("DISAGREE 不一致: two validators have one size and different roots")

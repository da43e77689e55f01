"""``shuiqiao init``: make a home, to try things on, as a founding member of a network, or to join one."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.base.clock import SystemClock
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import system_entropy
from shuiqiao.cli.options import Json, OptionalHome, RoleChoice, SuiteChoice
from shuiqiao.cli.output import program, say, say_rows, show, warn

if TYPE_CHECKING:
    from shuiqiao.members.model import Genesis
    from shuiqiao.node.founding import NewMember, NodePlaces
    from shuiqiao.node.home.making import Addresses
    from shuiqiao.node.home.settings import Home


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """What a home is to be, by options or by the answers of a person."""

    home: Path
    suite: SuiteChoice
    member: str | None = None
    role: RoleChoice | None = None
    name: str | None = None
    name_zh: str | None = None
    network: str | None = None
    genesis: Path | None = None
    peers: tuple[str, ...] = ()
    listen: str | None = None
    peer_listen: str = ""
    p2p: str | None = None
    p2p_listen: str | None = None
    member_files: tuple[Path, ...] = ()


def init(
    *,
    home: OptionalHome = None,
    suite: Annotated[
        SuiteChoice, typer.Option(help="intl: Ed25519, SHA-256. gm: SM2, SM3, SM4 国密.")
    ] = SuiteChoice.INTL,
    member: Annotated[str | None, typer.Option(help="Id of this institution in a real network 成员编号.")] = None,
    role: Annotated[RoleChoice | None, typer.Option(help="What it is 角色.")] = None,
    name: Annotated[str | None, typer.Option(help="Its name in English.")] = None,
    name_zh: Annotated[str | None, typer.Option(help="Its name in Chinese 中文名称.")] = None,
    network: Annotated[
        str | None, typer.Option(help="Name of a new network, on which its founding members agreed 新网络名称.")
    ] = None,
    genesis: Annotated[
        Path | None, typer.Option(help="The genesis: to finish a founding member's home, or to join 创世文件.")
    ] = None,
    peer: Annotated[
        list[str] | None, typer.Option(help="Where another member is reached: MEMBER=https://host:port; repeatable.")
    ] = None,
    listen: Annotated[str | None, typer.Option(help="Where its server listens for callers, host:port.")] = None,
    peer_listen: Annotated[str, typer.Option(help="Where its server listens for other members, host:port.")] = "",
    p2p: Annotated[
        str | None,
        typer.Option(help="Makes it a validator whose CometBFT node others reach there, host:port 验证节点地址."),
    ] = None,
    p2p_listen: Annotated[
        str | None, typer.Option(help="Where that node listens, host:port, if not at --p2p itself 节点监听地址.")
    ] = None,
    member_file: Annotated[
        list[Path] | None,
        typer.Option(help="member.toml of another validator, whose node it dials; repeatable 其他验证成员的文件."),
    ] = None,
    json: Json = False,
) -> None:
    """Make a home: to try things on, of a founding member, or to join a network; asks on a terminal 初始化."""
    if home is None:
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise typer.BadParameter("name a home with --home; on a terminal, init alone asks for everything")
        asked = _answers(suite)
    else:
        asked = _Asked(
            home=home,
            suite=suite,
            member=member,
            role=role,
            name=name,
            name_zh=name_zh,
            network=network,
            genesis=genesis,
            peers=tuple(peer or ()),
            listen=listen,
            peer_listen=peer_listen,
            p2p=p2p,
            p2p_listen=p2p_listen,
            member_files=tuple(member_file or ()),
        )
    result, following = _made(asked)
    show(result, as_json=json, speak=partial(say_rows, width=12 if "member" in result else 9))
    if not json:
        say(f"{'next':{12 if 'member' in result else 9}} {following}")


def _made(asked: _Asked) -> tuple[dict[str, Any], str]:
    """Make what is asked for; return what is told of it, and what to do next."""
    from shuiqiao.node.home.settings import Home

    home = Home(asked.home)
    is_kept = home.passphrase.exists()
    if asked.genesis is None and (asked.peer_listen or asked.peers or (asked.listen and asked.member)):
        raise typer.BadParameter("--listen, --peer-listen and --peer are for the init with --genesis")
    if asked.genesis is not None:
        is_joining = asked.member is not None and not home.member_file.exists()
        made = (_join if is_joining else _finish)(home, asked, asked.genesis)
    else:
        made = (_try_out if asked.member is None else _prepare)(home, asked)
    if home.passphrase.exists() and not is_kept:
        warn(
            f"no passphrase was given, so a random one lies in {home.passphrase} (owner only); "
            "name a file in SHUIQIAO_PASSPHRASE_FILE to keep it elsewhere"
        )
    return made


def _try_out(home: Home, asked: _Asked) -> tuple[dict[str, Any], str]:
    from shuiqiao.crypto.model import SuiteName
    from shuiqiao.node.home.keys import named_new_passphrase
    from shuiqiao.node.home.making import create_solo_home

    network = create_solo_home(
        home,
        suite_name=SuiteName(asked.suite.value),
        passphrase=named_new_passphrase(),
        clock=SystemClock(),
        entropy=system_entropy,
        addresses=_addresses(asked),
    )
    result = {"home": str(asked.home), "network": network.hex(), "suite": asked.suite.value}
    return result, f"{program()} ingest FILE... --home {quote(str(asked.home))}"


def _prepare(home: Home, asked: _Asked) -> tuple[dict[str, Any], str]:
    from shuiqiao.crypto.model import SuiteName
    from shuiqiao.node.founding import prepare_member
    from shuiqiao.node.home.keys import named_new_passphrase

    if asked.network is None:
        raise typer.BadParameter("name the new network with --network, or the one to join with --genesis")
    new = _new_member(asked)
    file = prepare_member(
        home,
        new,
        network=asked.network,
        suite=SuiteName(asked.suite.value),
        passphrase=named_new_passphrase(),
        entropy=system_entropy,
        p2p=asked.p2p,
    )
    result = {
        "home": str(asked.home),
        "member": new.member,
        "member_file": str(file),
        "network_name": asked.network,
        "suite": asked.suite.value,
    }
    return result, f"give {file} to the other founding members; one makes the genesis: {program()} members genesis"


def _finish(home: Home, asked: _Asked, genesis: Path) -> tuple[dict[str, Any], str]:
    from shuiqiao.node.founding import found_home
    from shuiqiao.node.home.keys import find_passphrase
    from shuiqiao.node.home.settings import load_genesis

    data = load_genesis(genesis)
    settings = found_home(
        home,
        data,
        passphrase=partial(find_passphrase, home),
        addresses=_addresses(asked),
        node=_node_places(asked),
    )
    return _told(asked, data, member=settings.member), f"{program()} serve --home {quote(str(asked.home))}"


def _join(home: Home, asked: _Asked, genesis: Path) -> tuple[dict[str, Any], str]:
    from shuiqiao.node.founding import join_network
    from shuiqiao.node.home.keys import named_new_passphrase
    from shuiqiao.node.home.settings import load_genesis

    data, new = load_genesis(genesis), _new_member(asked)
    file = join_network(
        home,
        new,
        data,
        addresses=_addresses(asked),
        passphrase=named_new_passphrase(),
        entropy=system_entropy,
        node=_node_places(asked),
        p2p=asked.p2p,
    )
    result = {**_told(asked, data, member=new.member), "member_file": str(file)}
    return result, f"give {file} to a governing member, who proposes it: {program()} members propose admit FILE"


def _told(asked: _Asked, genesis: bytes, *, member: str) -> dict[str, Any]:
    from shuiqiao.members.genesis import decode_genesis, network_id

    agreed = decode_genesis(genesis)
    return {
        "home": str(asked.home),
        "member": member,
        "network": network_id(genesis).hex(),
        "network_name": agreed.name,
        "suite": str(agreed.suite),
    }


def _new_member(asked: _Asked) -> NewMember:
    from shuiqiao.members.model import Role
    from shuiqiao.node.founding import NewMember

    given = {"--member": asked.member, "--role": asked.role, "--name": asked.name, "--name-zh": asked.name_zh}
    missing = [option for option, value in given.items() if value is None]
    if missing:
        raise typer.BadParameter(f"a member of a real network needs {', '.join(missing)}")
    assert asked.role is not None
    return NewMember(
        member=str(asked.member), role=Role(asked.role.value), name=str(asked.name), name_zh=str(asked.name_zh)
    )


def _addresses(asked: _Asked) -> Addresses:
    from shuiqiao.node.home.making import Addresses

    return Addresses(listen=asked.listen, peer_listen=asked.peer_listen, peers=dict(map(_peer, asked.peers)))


def _peer(text: str) -> tuple[str, str]:
    """Return the member and the address that a text names.

    Raises typer.BadParameter; InvalidInput ``node.member_name_invalid``, ``members.endpoint_invalid``.
    """
    from shuiqiao.members.endpoint import endpoint_of_text
    from shuiqiao.node.founding import require_member_id

    member, _, url = text.partition("=")
    if not url:
        raise typer.BadParameter(f"--peer {text[:80]!r} has not the form MEMBER=https://host:port")
    require_member_id(member)
    endpoint_of_text(url)
    return member, url


def _node_places(asked: _Asked) -> NodePlaces:
    from shuiqiao.node.founding import NodePlaces

    return NodePlaces(peers=asked.member_files, listen=asked.p2p_listen)


# The wizard

_MENU = {
    "1": "try things on, alone 试用",
    "2": "found a network with others: make this institution's keys 发起新网络",
    "3": "found a network with others: its genesis is there, finish the home 完成主目录",
    "4": "join a network that exists 加入已有网络",
}


_WRITER, _VALIDATORS = "writer", "validators"


def _answers(suite: SuiteChoice) -> _Asked:
    """Ask a person on the terminal what the home is to be; standard output is left to the result.

    Each answer is checked where it is given, so that the last one does not cost all others.
    """
    from shuiqiao.members.genesis import decode_genesis
    from shuiqiao.node.founding import founder_of, require_member_id, require_not_founder, require_prepared
    from shuiqiao.node.home.making import require_no_home
    from shuiqiao.node.home.settings import Home, load_genesis

    for number, words in _MENU.items():
        sys.stderr.write(f"{number}  {words}\n")
    choice = _choose("What is the home to be? 请选择", _MENU, are_shown=True)
    is_finishing = choice == "3"
    fits = require_prepared if is_finishing else require_no_home
    folder = Path(_ask("Folder of the home 主目录", default="my-home", check=lambda text: fits(Home(Path(text)))))
    asked = _Asked(home=folder, suite=suite)
    if choice == "1":
        return _with_listen(asked)
    if choice == "2":
        return _with_network(_with_names(asked, check=require_member_id))

    def read(text: str) -> Genesis:
        agreed = decode_genesis(load_genesis(Path(text)))
        if is_finishing:
            founder_of(Home(folder), agreed)
        return agreed

    def require_new(member: str) -> None:
        require_member_id(member)
        require_not_founder(member, agreed)

    asked = replace(asked, genesis=Path(_ask("File of the genesis 创世文件", default="genesis.json", check=read)))
    agreed = read(str(asked.genesis))
    if not is_finishing:
        asked = _with_names(asked, check=require_new)
    member = founder_of(Home(folder), agreed).id if is_finishing else str(asked.member)
    return _with_servers(_with_node(asked, agreed, member=member), agreed, member=member)


def _with_names(asked: _Asked, *, check: Callable[[str], object]) -> _Asked:
    """Ask who an institution is. check: of its id."""
    from shuiqiao.node.founding import require_shown_name

    return replace(
        asked,
        member=_ask("Id of this institution, e.g. bank-east 成员编号", check=check),
        role=RoleChoice(_choose("What it is 角色", [*RoleChoice])),
        name=_ask("Its name in English 英文名称", check=require_shown_name),
        name_zh=_ask("Its name in Chinese 中文名称", check=require_shown_name),
    )


def _with_network(asked: _Asked) -> _Asked:
    """Ask what the founding members agreed on."""
    from shuiqiao.ledger.engine.cometbft.comet.home import require_p2p
    from shuiqiao.node.founding import require_shown_name

    network = _ask("Name of the network, the same for all its founding members 网络名称", check=require_shown_name)
    suite = _choose("Cipher suite 密码套件", [*SuiteChoice], default=asked.suite.value)
    asked = replace(asked, network=network, suite=SuiteChoice(suite))
    orders = _choose(
        "Who orders the transactions: one writer, or validators 由谁记账", [_WRITER, _VALIDATORS], default=_WRITER
    )
    if orders == _WRITER:
        return asked
    return replace(asked, p2p=_ask("Where others reach its node, host:port 验证节点地址", check=require_p2p))


def _with_node(asked: _Asked, agreed: Genesis, *, member: str) -> _Asked:
    """Ask where a validator's node meets the others, in a network that has validators."""
    from shuiqiao.ledger.engine.cometbft.comet.home import require_p2p
    from shuiqiao.members.model import EngineName
    from shuiqiao.node.founding import nodes_dialled

    if agreed.engine is EngineName.EMBEDDED:
        return asked
    if asked.member is not None:
        asked = replace(asked, p2p=_ask("Where others reach its node, host:port 验证节点地址", check=require_p2p))

    def dialled(text: str) -> None:
        nodes_dialled([Path(each) for each in _listed(text)], agreed=agreed, member=member)

    files = _ask("Member files of the other validators, with commas between 其他验证成员的文件", check=dialled)
    own = _ask(
        "Where that node listens, host:port, if not there itself; or nothing 节点监听地址,可留空",
        default="",
        check=lambda text: require_p2p(text) if text else None,
    )
    return replace(asked, member_files=tuple(map(Path, _listed(files))), p2p_listen=own or None)


def _with_listen(asked: _Asked) -> _Asked:
    from shuiqiao.node.home.making import offered_addresses
    from shuiqiao.node.home.settings import split_address

    question = "Where its server listens for callers, host:port 监听地址"
    return replace(asked, listen=_ask(question, default=offered_addresses()[0], check=split_address))


def _with_servers(asked: _Asked, agreed: Genesis, *, member: str) -> _Asked:
    """Ask where the server listens, and where it reaches others; a follower has to know where its writer is."""
    from shuiqiao.node.home.making import offered_addresses
    from shuiqiao.node.home.settings import split_address

    asked = _with_listen(asked)
    peer_listen = _ask(
        "Where it listens for other members, host:port; from other machines with a certificate in node.toml 成员间地址",
        default=offered_addresses()[1],
        check=split_address,
    )
    is_follower = agreed.writer not in {"", member}
    example = f"{agreed.writer if is_follower else 'bank-east'}=https://host:port"
    question = f"Others' servers, e.g. {example}, with commas between"
    peers = _ask(
        f"{question} 其他成员的服务地址" if is_follower else f"{question}; or nothing 其他成员的服务地址,可留空",
        default=None if is_follower else "",
        check=lambda text: [_peer(each) for each in _listed(text)],
    )
    return replace(asked, peer_listen=peer_listen, peers=_listed(peers))


def _listed(text: str) -> tuple[str, ...]:
    return tuple(each.strip() for each in text.split(",") if each.strip())


def _ask(question: str, *, default: str | None = None, check: Callable[[str], object] | None = None) -> str:
    """Ask until the answer is one. check: raises for what is none, which is said, and asked again."""

    def judged(text: str) -> str:
        try:
            if check is not None:
                check(text)
        except ShuiqiaoError as error:
            raise typer.BadParameter(error.message) from error
        return text

    return str(typer.prompt(question, default=default, show_default=bool(default), value_proc=judged, err=True))


def _choose(question: str, allowed: Iterable[str], *, default: str | None = None, are_shown: bool = False) -> str:
    """Ask until the answer is one of the choices. are_shown: they stand above the question."""
    names = [*allowed]
    asked = question if are_shown else f"{question} ({', '.join(names)})"

    def judged(text: str) -> str:
        if text not in names:
            raise typer.BadParameter(f"one of {', '.join(names)}")
        return text

    return str(typer.prompt(asked, default=default, value_proc=judged, err=True))

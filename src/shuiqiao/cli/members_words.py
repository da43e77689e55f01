"""How ``shuiqiao members`` opens a home for one act, and speaks of members, epochs and proposals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.cli.output import print_json, say

if TYPE_CHECKING:
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.looking import Look

HOME_VARIABLE = "SHUIQIAO_HOME"
"""As in ``node.settings``, which the help text must not wait for; a test holds the two together."""

Home = Annotated[Path, typer.Option("--home", envvar=HOME_VARIABLE, help="Home folder of the institution 机构主目录.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
VoteDays = Annotated[int, typer.Option("--days", min=1, max=30, help="How long it is open to vote, in days 投票天数.")]

DEFAULT_VOTE_DAYS = 14
"""As in ``node.governance``; a test holds the two together."""

_SHOWN_ID = 12
_STATUS_ZH = {"open": "投票中", "approved": "通过", "rejected": "否决", "void": "无效", "expired": "过期"}
_ROLE_ZH = {"tax_bureau": "税务局", "bank": "银行", "regulator": "监管"}


def look(home: Path, find: Callable[[Look], dict[str, Any]]) -> dict[str, Any]:
    """Read the ledger of a home, running or not, without its keys and without its writer."""
    from shuiqiao.node.home.settings import Home as HomeFolder
    from shuiqiao.node.looking import look_at

    with look_at(HomeFolder(home)) as found:
        return find(found)


def act(home: Path, do: Callable[[Institution], dict[str, Any]], *, passphrase: bytes | None = None) -> dict[str, Any]:
    """Open a home to put something on the ledger. passphrase: None finds it where it lies."""
    from shuiqiao.node.home.settings import Home as HomeFolder
    from shuiqiao.node.institution import Institution

    with Institution.open(HomeFolder(home), passphrase=passphrase, needs_node=True) as institution:
        return do(institution)


def show(result: Mapping[str, Any], *, as_json: bool, speak: Callable[[Mapping[str, Any]], None]) -> None:
    """Print one JSON object, or speak."""
    if as_json:
        print_json(result)
    else:
        speak(result)


def speak_members(result: Mapping[str, Any]) -> None:
    """Say who is a member, one line each."""
    say(f"epoch 纪元 {result['epoch']}, quorum 见证数 {result['quorum']}")
    if result["frozen"] is not None:
        say(f"FROZEN 已冻结 by {result['frozen']['author']} until {result['frozen']['until']}")
    say(f"{'member':20} {'role':22} {'flags':34} name")
    for each in result["members"]:
        flags = [
            word
            for word, is_so in (
                ("operator", each["is_operator"]),
                ("governs", each["is_governing"]),
                ("witness", each["is_witness"]),
                ("validator", bool(each["validator_key"])),
            )
            if is_so
        ]
        role = f"{each['role']} {_ROLE_ZH[each['role']]}"
        say(f"{each['member']:20} {role:22} {', '.join(flags):34} {each['name']} {each['name_zh']}")
        if each["suspended_until"]:
            say(f"{'':20} SUSPENDED 已停权 {_until(each['suspended_until'])}")


def _until(text: str) -> str:
    return "by vote, until it is reinstated by vote" if text == "vote" else f"until {text}"


def speak_epochs(result: Mapping[str, Any]) -> None:
    """Say which epochs there were."""
    for each in result["epochs"]:
        ending = (
            f"closed at size {each['closed_at']}" if each["closed_at"] is not None else "in force or not closed yet"
        )
        say(f"epoch 纪元 {each['number']}: {ending}")
        if each["operator"]:
            say(f"  operator   {each['operator']}")
        say(f"  quorum     {each['quorum']} of {', '.join(each['witnesses']) or 'nobody'}")
        say(f"  governing  {', '.join(each['governing'])}")


def speak_proposals(result: Mapping[str, Any]) -> None:
    """Say what was proposed, newest last."""
    for each in result["proposals"]:
        speak_proposal(each)
    if not result["proposals"]:
        say("no proposal yet 尚无提案")


def speak_proposal(each: Mapping[str, Any]) -> None:
    """Say how one proposal stands, and what comes next."""
    action = dict(each["action"])
    name = action.pop("action")
    details = ", ".join(f"{field} {_short(value)}" for field, value in action.items())
    say(f"{each['proposal'][:_SHOWN_ID]}  {each['status']} {_STATUS_ZH[each['status']]}: {name} ({details})")
    # How many governed when it was decided is not known any more: the decision itself may have changed it.
    until = f", of {each['governing']} governing members; open until {each['deadline']}"
    is_open = each["status"] == "open"
    say(
        f"  by {each['proposer']}; {each['approvals']} approve 赞成, {each['rejections']} reject 反对"
        f"{until if is_open else ''}"
    )
    if each["reason"]:
        say(f"  void for 无效原因 {each['reason']}")
    if each["status"] == "approved" and name in {"suspend", "reinstate", "unfreeze"} and not each["is_executed"]:
        say(f"  next: shuiqiao members {name} {action.get('member', '')}".rstrip())


def _short(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value)) or "nobody"
    text = str(value)
    return text if len(text) <= _SHOWN_ID * 3 else f"{text[:_SHOWN_ID]}..."


def speak_rows(result: Mapping[str, Any]) -> None:
    """Say a result as names and values."""
    for name, value in result.items():
        say(f"{name:16} {value}")

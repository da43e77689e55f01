"""``pending``: lists acts that the ledger has not accepted; a person redoes or abandons those that it refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shuiqiao.cli.options import Home, Json, command_group, open_home, read_home
from shuiqiao.cli.output import print_json, say

if TYPE_CHECKING:
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.pending import PendingWork

pending_app = command_group("Work that the ledger does not have or refused 待处理事项.")

_Id = Annotated[str, typer.Argument(help="The beginning of its id 编号开头.")]


@pending_app.command("list")
def list_pending(*, home: Home, json: Json = False) -> None:
    """List what waits for the ledger and what it refused 列出."""
    from shuiqiao.node.pending import describe_settled, pending_at

    with read_home(home) as reader:
        pending, done = pending_at(reader)
    found, settled = [work.as_json() for work in pending], describe_settled(done)
    if json:
        print_json({"pending": found})
        return
    if settled:
        say(settled)
    for work in found:
        say(f"{work['id'][:16]}  {work['kind']:<20}  {work['code'] or 'on its way 传送中'}  {work['reason']}")
    if any(work["code"] for work in found):
        say("next      shuiqiao pending redo ID, or shuiqiao pending abandon ID")
    elif not found:
        say("nothing waits 无待处理事项")


@pending_app.command("redo")
def redo_pending(work: _Id, *, home: Home, json: Json = False) -> None:
    """Hand refused work to the ledger anew, a batch under a new id 重做."""
    from shuiqiao.node.pending import redo

    _decide(redo, work, home=home, as_json=json, done="redone 已重做")


@pending_app.command("abandon")
def abandon_pending(work: _Id, *, home: Home, json: Json = False) -> None:
    """Give refused work up; its rows or its act may come again 放弃."""
    from shuiqiao.node.pending import abandon

    _decide(abandon, work, home=home, as_json=json, done="abandoned 已放弃")


def _decide(act: Callable[[Institution, str], PendingWork], work: str, *, home: Path, as_json: bool, done: str) -> None:
    with open_home(home) as institution:
        decided = act(institution, work)
    if as_json:
        print_json(decided.as_json())
    else:
        words = done if decided.code else f"settled 已了结, {decided.reason}"
        say(f"{words}  {decided.kind} {decided.id[:16]}")

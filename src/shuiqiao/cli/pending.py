"""``pending``: what the ledger does not have yet, and what a person decides about what it refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from shuiqiao.cli.output import print_json, say

HOME_VARIABLE = "SHUIQIAO_HOME"

pending_app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Work that the ledger does not have or refused 待处理事项."
)

_Home = Annotated[Path, typer.Option("--home", envvar=HOME_VARIABLE, help="Home folder of the institution 机构主目录.")]
_Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output 输出 JSON.")]
_Id = Annotated[str, typer.Argument(help="The beginning of its id 编号开头.")]


@pending_app.command("list")
def list_pending(*, home: _Home, json: _Json = False) -> None:
    """List what waits for the ledger and what it refused 列出."""
    from shuiqiao.node.home.settings import Home
    from shuiqiao.node.looking import look_at
    from shuiqiao.node.pending import pending_at, words_of_settled

    with look_at(Home(home)) as look:
        pending, done = pending_at(look)
    found, settled = [work.as_json() for work in pending], words_of_settled(done)
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
def redo_pending(work: _Id, *, home: _Home, json: _Json = False) -> None:
    """Hand refused work to the ledger anew, a batch under a new id 重做."""
    from shuiqiao.node.pending import redo

    _decide(redo, work, home=home, as_json=json, done="redone 已重做")


@pending_app.command("abandon")
def abandon_pending(work: _Id, *, home: _Home, json: _Json = False) -> None:
    """Give refused work up; its rows or its act may come again 放弃."""
    from shuiqiao.node.pending import abandon

    _decide(abandon, work, home=home, as_json=json, done="abandoned 已放弃")


def _decide(act: Any, work: str, *, home: Path, as_json: bool, done: str) -> None:
    from shuiqiao.node.home.settings import Home
    from shuiqiao.node.institution import Institution

    with Institution.open(Home(home), needs_node=True) as institution:
        decided = act(institution, work)
        result = decided.as_json()
    if as_json:
        print_json(result)
    else:
        words = done if decided.code else f"settled 已了结, {decided.reason}"
        say(f"{words}  {result['kind']} {result['id'][:16]}")

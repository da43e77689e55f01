"""``pending``: lists acts and messages that ledger and members have not taken; a person redoes or abandons them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shuiqiao.cli.home import all_items, home_at_work, home_to_read
from shuiqiao.cli.options import Home, Json, command_group
from shuiqiao.cli.output import print_json, say

if TYPE_CHECKING:
    from shuiqiao.client.operation import Operation
    from shuiqiao.client.resources.records import DecidedWork, PendingChoice

pending_app = command_group("Work that the ledger does not have or refused 待处理事项.")

_Id = Annotated[str, typer.Argument(help="The beginning of its id 编号开头.")]


@pending_app.command("list")
def list_pending(*, home: Home, json: Json = False) -> None:
    """List what waits for the ledger or other members, and what the ledger refused 列出."""
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.client.resources.deliveries import LIST_DELIVERIES
    from shuiqiao.client.resources.records import LIST_PENDING
    from shuiqiao.node.pending import PendingWork, describe_settled

    with home_to_read(home) as at_work:
        works = all_items(at_work, LIST_PENDING, PageQuery())
        deliveries = [each.model_dump(mode="json") for each in all_items(at_work, LIST_DELIVERIES, PageQuery())]
    rows = [(work.is_settled, work.model_dump(mode="json", exclude={"is_settled"})) for work in works]
    found = [row for is_settled, row in rows if not is_settled]
    settled = describe_settled([PendingWork(**row) for is_settled, row in rows if is_settled])
    if json:
        print_json({"pending": found, "deliveries": deliveries})
        return
    if settled:
        say(settled)
    for work in found:
        say(f"{work['id'][:16]}  {work['kind']:<20}  {work['code'] or 'on its way 传送中'}  {work['reason']}")
    for each in deliveries:
        why = f"{each['receiver']}  {each['reason']}"
        say(f"{each['id'][:16]}  {each['act']:<20}  {each['code'] or 'on its way 传送中'}  {why}")
    if any(work["code"] for work in found):
        say("next      shuiqiao pending redo ID, or shuiqiao pending abandon ID")
    elif not found and not deliveries:
        say("nothing waits 无待处理事项")


@pending_app.command("redo")
def redo_pending(work: _Id, *, home: Home, json: Json = False) -> None:
    """Hand refused work to the ledger anew, a batch under a new id 重做."""
    from shuiqiao.client.resources.records import REDO_PENDING

    _decide(REDO_PENDING, work, home=home, as_json=json, done="redone 已重做")


@pending_app.command("abandon")
def abandon_pending(work: _Id, *, home: Home, json: Json = False) -> None:
    """Give up refused work, whose rows or act may come again, or a message that is not taken 放弃."""
    from shuiqiao.client.resources.records import ABANDON_PENDING

    _decide(ABANDON_PENDING, work, home=home, as_json=json, done="abandoned 已放弃")


def _decide(
    operation: Operation[PendingChoice, DecidedWork], work: str, *, home: Path, as_json: bool, done: str
) -> None:
    from shuiqiao.client.resources.records import PendingChoice

    with home_at_work(home) as at_work:
        decided = at_work.perform(operation, PendingChoice(work=work))
    if as_json:
        print_json(decided.model_dump(mode="json"))
    else:
        words = done if decided.code else f"settled 已了结, {decided.reason}"
        say(f"{words}  {decided.kind} {decided.id[:16]}")

"""``shuiqiao journal``: who did and read what here, whether nothing of it was changed, and its days on the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.cli.options import Home, Json, command_group, open_home, read_home
from shuiqiao.cli.output import say, show
from shuiqiao.cli.users import TokenFile, caller, with_accounts

if TYPE_CHECKING:
    from shuiqiao.node.accounts.opening import HomeAccounts

journal_app = command_group("What people did and read at this institution 操作日志.")


@journal_app.command("list")
def journal_list(
    *,
    home: Home,
    who: Annotated[str | None, typer.Option(help="Only of this caller, by id 操作者.")] = None,
    act: Annotated[str | None, typer.Option(help="Only of this act, e.g. records.read 操作.")] = None,
    subject: Annotated[str | None, typer.Option("--object", help="Only about this object, by id 对象.")] = None,
    until: Annotated[
        str | None, typer.Option(help="Only up to the end of a day (UTC), e.g. 2026-11-30 截至日期.")
    ] = None,
    before: Annotated[int | None, typer.Option(min=1, help="Only entries with a smaller number 起始序号.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, the newest first 条数.")] = 100,
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """List entries, the newest first; for who may read the journal 查阅日志."""
    from shuiqiao.node.accounts.model import Permission

    before_ms = None if until is None else _end_of_day(until)

    def look(accounts: HomeAccounts) -> Mapping[str, Any]:
        by = caller(accounts, token_file)
        with accounts.journal.of(by, act="journal.read"):
            by.require(Permission.JOURNAL_READ)
            rows = accounts.journal.rows(
                limit=limit, before=before, who=who, subject=subject, act=act, before_ms=before_ms
            )
        return {"entries": rows}

    show(with_accounts(home, look), as_json=json, speak=_speak_entries)


def _end_of_day(text: str) -> int:
    from datetime import date

    from shuiqiao.oversight.as_of import Moment

    try:
        found = Moment.of_day(date.fromisoformat(text)).before_ms
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{text[:40]!r} is no day such as 2026-11-30") from error
    assert found is not None
    return found


@journal_app.command("verify")
def journal_verify(*, home: Home, json: Json = False) -> None:
    """Look whether an entry was altered, dropped or put in, and compare days with the ledger 核验日志."""
    with read_home(home) as reader:
        state = reader.engine.state()

        def look(accounts: HomeAccounts) -> Mapping[str, Any]:
            found = accounts.journal.verify(state=state, member=accounts.member)
            return {"holds": True, "entries": found.entries, "days": found.days, "anchored_days": found.anchored}

        result = with_accounts(home, look)
    show(result, as_json=json)


@journal_app.command("anchor")
def journal_anchor(*, home: Home, json: Json = False) -> None:
    """Put the root of each day that is over on the ledger, once 锚定日志."""
    from shuiqiao.node.accounts.opening import InstitutionAccounts

    with open_home(home) as institution:
        accounts = InstitutionAccounts(institution)
        result = {"anchored": accounts.journal.anchor(institution.outbox)}
    show(result, as_json=json, speak=_speak_days)


def _speak_entries(result: Mapping[str, Any]) -> None:
    for each in result["entries"]:
        say(
            f"{each['seq']:>8}  {each['time']}  {each['kind']} {each['who'][:12]}  {each['act']}  {each['object']}  "
            f"{each['outcome']}"
        )


def _speak_days(result: Mapping[str, Any]) -> None:
    for each in result["anchored"]:
        say(f"{each['day']}  {each['count']} entries 条  root {each['root'][:16]}  block 区块 {each['height']}")
    if not result["anchored"]:
        say("no day waits 无待锚定日期")

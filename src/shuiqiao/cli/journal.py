"""``shuiqiao journal``: who did and read what here, whether nothing of it was changed, and its days on the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from shuiqiao.cli.home import accounts_at_work, home_at_work, home_by_name, home_to_read, require_token_file
from shuiqiao.cli.options import Home, Json, command_group
from shuiqiao.cli.output import say, show
from shuiqiao.cli.receipts import hash_name_of, write_receipt
from shuiqiao.cli.users import TokenFile

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
    from shuiqiao.client.resources.journal import LIST_JOURNAL, JournalQuestion

    with accounts_at_work(home, require_token_file(token_file)) as at_work:
        asked = JournalQuestion(
            limit=limit,
            cursor=None if before is None else str(before),
            before_ms=None if until is None else _end_of_day(until),
            who=who,
            act=act,
            object=subject,
        )
        entries = at_work.perform(LIST_JOURNAL, asked).items
    result = {"entries": [entry.model_dump(mode="json") for entry in entries]}
    show(result, as_json=json, speak=_speak_entries)


def _end_of_day(text: str) -> int:
    from datetime import date

    from shuiqiao.oversight.as_of import end_of_day_ms

    try:
        return end_of_day_ms(date.fromisoformat(text))
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(f"{text[:40]!r} is no day such as 2026-11-30") from error


@journal_app.command("prove")
def journal_prove(
    *,
    seq: Annotated[int, typer.Argument(min=1, help="The number of an entry, as list shows it 序号.")],
    home: Home,
    receipt: Annotated[
        Path | None, typer.Option(help="The file for the receipt of its day's root, for shuiqiao verify 回执文件.")
    ] = None,
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Prove an entry of a day that is anchored, to whoever has the genesis alone 证明日志条目."""
    from shuiqiao.client.resources.journal import PROVE_JOURNAL_ENTRY, JournalEntryChoice

    with home_by_name(home, token_file) as at_work:
        proof = at_work.perform(PROVE_JOURNAL_ENTRY, JournalEntryChoice(seq=seq))
    if receipt is not None:
        write_receipt(receipt, bytes.fromhex(proof.receipt), hash_name=hash_name_of(home))
    show(proof.model_dump(mode="json"), as_json=json, speak=_speak_proof)


@journal_app.command("verify")
def journal_verify(*, home: Home, json: Json = False) -> None:
    """Look whether an entry was altered, dropped or put in, and compare days with the ledger 核验日志."""
    from shuiqiao.client.resources.journal import VERIFY_JOURNAL
    from shuiqiao.client.wire import Nothing

    with home_to_read(home) as at_work:
        found = at_work.perform(VERIFY_JOURNAL, Nothing())
    show(found.model_dump(mode="json"), as_json=json)


@journal_app.command("anchor")
def journal_anchor(*, home: Home, json: Json = False) -> None:
    """Put the root of each day that is over on the ledger, once 锚定日志."""
    from shuiqiao.client.resources.journal import ANCHOR_JOURNAL
    from shuiqiao.client.wire import Nothing

    with home_at_work(home) as at_work:
        result = at_work.perform(ANCHOR_JOURNAL, Nothing()).model_dump(mode="json")
    show(result, as_json=json, speak=_speak_days)


def _speak_entries(result: Mapping[str, Any]) -> None:
    for each in result["entries"]:
        say(
            f"{each['seq']:>8}  {each['time']}  {each['kind']} {each['who'][:12]}  {each['act']}  {each['object']}  "
            f"{each['outcome']}"
        )


def _speak_proof(result: Mapping[str, Any]) -> None:
    say(f"day {result['day']}: entry 条目 {result['place'] + 1} of {result['count']}")
    say(f"entry 内容   {result['entry']}")
    say(f"path 路径    {' '.join(result['path'])}")
    say(f"root 根哈希  {result['root']} under 键 {result['state_key']}")


def _speak_days(result: Mapping[str, Any]) -> None:
    for each in result["anchored"]:
        say(f"{each['day']}  {each['count']} entries 条  root {each['root'][:16]}  block 区块 {each['height']}")
    if not result["anchored"]:
        say("no day waits 无待锚定日期")

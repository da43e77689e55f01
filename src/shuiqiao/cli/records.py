"""``record`` and ``log``: find, prove, amend and erase records of a bureau's vault; look through its ledger."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.base.clock import iso_from_ms
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import ID_BYTES
from shuiqiao.cli.home import all_items, home_at_work, home_to_read, well_formed
from shuiqiao.cli.institution import show_ingest
from shuiqiao.cli.options import MAX_INDEX, Home, Json, command_group
from shuiqiao.cli.output import EXIT_DONE, EXIT_REFUSED, print_json, program, say
from shuiqiao.cli.receipts import hash_name_of, write_proof, write_receipts

if TYPE_CHECKING:
    from shuiqiao.client.resources.ledger import EntryQuestion, EntrySummary

record_app = command_group("Find, prove, amend and erase records 记录.")

Batch = Annotated[str, typer.Argument(help="The batch's id in hex, as `record find` shows it 批次.")]
RecordTypeName = Annotated[str | None, typer.Option("--type", help="Record type, e.g. invoice_issued 记录类型.")]


class WhyChoice(StrEnum):
    """Why a field above the open level of sensitivity is to be shown; as ``standards.sensitivity.ExportReason``."""

    TAXPAYER_REQUEST = "taxpayer_request"
    DISPUTE = "dispute"
    LEGAL_ORDER = "legal_order"
    AUDIT = "audit"


Why = Annotated[
    WhyChoice | None,
    typer.Option("--reason", help="Why fields above level 3 are shown; the journal keeps it 查阅高敏感字段的理由."),
]


class ReasonChoice(StrEnum):
    """Why records are destroyed; as ``vault.model.ErasureReason``, which the help text must not wait for."""

    DATA_LIFE_OVER = "data_life_over"
    RETENTION_OVER = "retention_over"
    TAXPAYER_REQUEST = "taxpayer_request"
    LEGAL_ORDER = "legal_order"


@record_app.command("find")
def record_find(
    *,
    home: Home,
    taxpayer: Annotated[str | None, typer.Option(help="Taxpayer number 纳税人识别号.")] = None,
    record_type: RecordTypeName = None,
    number: Annotated[str | None, typer.Option(help="A number in the natural key, e.g. of an invoice 号码.")] = None,
    key: Annotated[
        list[str] | None, typer.Option("--key", help="FIELD=VALUE that the record has; repeatable 字段=值.")
    ] = None,
    reason: Why = None,
    json: Json = False,
) -> int:
    """List every version of the records that fit, with batch, leaf and status; exit 1 if none fits 查找记录."""
    from shuiqiao.client.resources.records import SEARCH_RECORDS, RecordSearch

    with well_formed():
        asked = RecordSearch(
            taxpayer=taxpayer,
            record_type=record_type,
            number=number,
            values=_values(key or ()),
            reason=None if reason is None else reason.value,
        )
    with home_to_read(home) as at_work:
        records = [entry.model_dump(mode="json") for entry in at_work.perform(SEARCH_RECORDS, asked).records]
    if json:
        print_json({"records": records})
    else:
        for record in records:
            _speak_record(record)
        say(f"{len(records)} found 共 {len(records)} 条")
    return EXIT_DONE if records else EXIT_REFUSED


@record_app.command("prove")
def record_prove(
    *,
    home: Home,
    batch: Batch,
    leaf: Annotated[int, typer.Argument(min=0, max=65_535, help="The record's leaf in the batch 叶序号.")],
    group: Annotated[
        list[str] | None,
        typer.Option("--group", help="A disclosure group to show; repeatable; by default core alone 披露组."),
    ] = None,
    reason: Why = None,
    out: Annotated[Path | None, typer.Option(help="The file to write; by default BATCH-LEAF.record here.")] = None,
    json: Json = False,
) -> int:
    """Write a file that proves one record to a reader with the genesis; `verify` checks it offline 证明一条记录."""
    from shuiqiao.client.resources.records import PROVE_RECORD, RecordChoice
    from shuiqiao.node.home.settings import Home as HomeFolder
    from shuiqiao.node.published.verification import ReceiptVerifier
    from shuiqiao.vault.evidence import is_evidence

    with home_to_read(home) as at_work:
        chosen = RecordChoice(
            batch=_hex(batch).hex(),
            leaf=leaf,
            groups=tuple(group or ("core",)),
            reason=None if reason is None else reason.value,
        )
        data = bytes.fromhex(at_work.perform(PROVE_RECORD, chosen).evidence)
    verified = ReceiptVerifier.from_genesis(genesis=None, home=home).verify_record(data)
    path = out or Path(f"{batch[:16]}-{leaf}.record")
    write_proof(path, data, is_one=is_evidence)
    if json:
        print_json({"file": str(path), "status": str(verified.status), "groups": sorted(verified.contents)})
    else:
        say(f"written 已开具  {path} ({len(data)} bytes): {verified.standard}, {verified.status}")
        say(f"next            {program()} verify {quote(str(path))} --genesis {quote(str(HomeFolder(home).genesis))}")
    return EXIT_DONE


@record_app.command("amend")
def record_amend(
    *,
    home: Home,
    file: Annotated[Path, typer.Argument(help="Parquet, CSV or NDJSON file of corrected records 更正后的记录文件.")],
    record_type: RecordTypeName = None,
    json: Json = False,
) -> int:
    """Supersede records by corrected ones of the same natural key; exit 1 if a row amended nothing 更正记录."""
    from shuiqiao.client.resources.own_files import AMEND_BY_FILE, OwnFile

    with home_at_work(home) as at_work:
        taken = at_work.perform(AMEND_BY_FILE, OwnFile(file=at_work.named(file), record_type=record_type))
    show_ingest(taken, as_json=json)
    return EXIT_DONE if taken.records_ingested == taken.records_read else EXIT_REFUSED


@record_app.command("changed")
def record_changed(*, home: Home, json: Json = False) -> int:
    """List records given to banks, or received by this bank, that were amended or erased since 已变更的记录."""
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.client.resources.records import LIST_CHANGED
    from shuiqiao.members.model import Role
    from shuiqiao.node.home.settings import Home as HomeFolder
    from shuiqiao.node.home.settings import load_settings

    with home_to_read(home) as at_work:
        changed = all_items(at_work, LIST_CHANGED, PageQuery())
    other = "provider" if load_settings(HomeFolder(home)).role is Role.BANK else "recipient"
    records = [
        {"taxpayer": row.taxpayer, other: row.other, **row.model_dump(mode="json", exclude={"taxpayer", "other"})}
        for row in changed
    ]
    if json:
        print_json({"records": records})
        return EXIT_DONE
    for record in records:
        say("  ".join(str(value) for value in record.values()))
    say(f"{len(records)} changed since they were delivered 交付后有变更 {len(records)} 条")
    return EXIT_DONE


@record_app.command("erase")
def record_erase(
    *,
    home: Home,
    batch: Batch,
    leaves: Annotated[list[int], typer.Argument(min=0, max=65_535, help="The records' leaves in the batch 叶序号.")],
    reason: Annotated[ReasonChoice, typer.Option(help="Why; the ledger keeps it 销毁原因.")],
    json: Json = False,
) -> int:
    """Destroy records and say so on the ledger; nobody can bring them back 销毁记录."""
    from shuiqiao.client.resources.records import ERASE_RECORDS, RecordErasure

    with home_at_work(home) as at_work:
        asked = RecordErasure(batch=_hex(batch).hex(), leaves=tuple(leaves), reason=reason.value)
        erased = at_work.perform(ERASE_RECORDS, asked)
    if json:
        print_json({**erased.model_dump(mode="json"), "batch": batch})
    else:
        say(f"erased 已销毁  {len(erased.erased)} records of batch {batch}")
    return EXIT_DONE


def log(
    *,
    home: Home,
    kind: Annotated[str | None, typer.Option(help="Transactions of this kind alone, e.g. anchor.commit 类型.")] = None,
    author: Annotated[str | None, typer.Option(help="Transactions of this member alone 作者.")] = None,
    first: Annotated[
        int, typer.Option("--from", min=0, max=MAX_INDEX, help="The first place in the log 起始位置.")
    ] = 0,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most transactions to list 最多条数.")] = 100,
    proofs: Annotated[Path | None, typer.Option(help="A folder for the receipt of each 逐条回执目录.")] = None,
    json: Json = False,
) -> int:
    """List transactions of this home's copy of the ledger 列出账目."""
    from shuiqiao.client.resources.ledger import EntryQuestion

    with well_formed():
        asked = EntryQuestion(cursor=str(first), kind=kind, author=author, proof=proofs is not None)
    found, following = _entries(home, asked, limit=limit)
    if proofs is not None:
        write_receipts(proofs, [(each.index, each.receipt) for each in found], hash_name=hash_name_of(home))
    entries = [
        {
            "index": entry.index,
            "height": entry.height,
            "time": iso_from_ms(entry.time_ms),
            "kind": entry.kind,
            "author": entry.author,
            "id": entry.id,
        }
        for entry in found
    ]
    if json:
        print_json({"entries": entries, "next": following})
        return EXIT_DONE
    for entry in entries:
        say("{index:>8}  {time}  {kind:20} {author:20} {id}".format(**entry))
    if following is not None:
        say(f"more 未完  --from {following}")
    elif not entries:
        say("no such transaction 无此类交易")
    return EXIT_DONE


def _entries(home: Path, asked: EntryQuestion, *, limit: int) -> tuple[list[EntrySummary], int | None]:
    """Return the first entries that fit from an index on, and where further ones begin, None at the end of the log."""
    from shuiqiao.client.pages import MAX_ITEMS
    from shuiqiao.client.resources.ledger import LIST_ENTRIES

    found: list[EntrySummary] = []
    with home_to_read(home) as at_work:
        while len(found) < limit:
            asked = asked.model_copy(update={"limit": min(MAX_ITEMS, limit - len(found))})
            page = at_work.perform(LIST_ENTRIES, asked)
            found += page.items
            if page.next is None:
                return found, None
            asked = asked.model_copy(update={"cursor": page.next})
    return found, int(asked.cursor or 0)


def _hex(text: str) -> bytes:
    with suppress(ValueError):
        if len(found := bytes.fromhex(text)) == ID_BYTES:
            return found
    raise InvalidInput("cli.batch_malformed", f"{text[:60]!r} is no batch id, which has 32 hexadecimal digits")


def _values(pairs: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not name or not sign:
            raise InvalidInput(
                "cli.key_malformed", f"{pair[:60]!r} is not FIELD=VALUE", next_step="e.g. --key year=2024"
            )
        found[name] = value
    return found


def _speak_record(record: dict[str, Any]) -> None:
    key = " ".join(f"{name}={value}" for name, value in record["key"].items() if value is not None)
    anchor = "" if record["anchor"] is None else f", anchor {record['anchor']}"
    say(f"{record['type']}  {record['status']}  {key}")
    say(f"  batch {record['batch']} leaf {record['leaf']}, version {record['version']} of {record['versions']}{anchor}")
    say(f"  from {record['file']} row {record['row']}")

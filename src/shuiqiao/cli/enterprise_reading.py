"""What is held and known of an enterprise: uses, records, disputes, receipts, and how much of it can be told.

``used``, ``leakage`` and ``disputes`` are for an institution too: with ``--home`` its own, else the enterprise's own.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.cli.enterprise_counter import (
    dispute_row,
    require_hex,
    show_disputes_at,
    show_uses,
    show_uses_at,
)
from shuiqiao.cli.enterprise_device import (
    WIDTH,
    Addresses,
    Bureau,
    Key,
    OptionalBank,
    OptionalKey,
    consent_name,
    open_device,
    optional_address,
    required,
    session_of,
)
from shuiqiao.cli.home import home_at_work, well_formed
from shuiqiao.cli.options import MAX_INDEX, Json, OptionalHome
from shuiqiao.cli.output import dated, program, say, say_rows, show, show_list
from shuiqiao.cli.receipts import write_receipt

if TYPE_CHECKING:
    from shuiqiao.client.http import HttpClient


def enterprise_leakage(
    *,
    taxpayer: Annotated[str | None, typer.Argument(help="With --home: whose data 纳税人识别号.")] = None,
    home: OptionalHome = None,
    key: OptionalKey = None,
    bureau: Bureau = None,
    at: Annotated[
        str | None,
        typer.Option(
            help="With --home of a regulator: the tax bureau, by its member id, that is asked 向哪个税务局查询."
        ),
    ] = None,
    json: Json = False,
) -> None:
    """Show how much each recipient can know of you, in fields, bits and sums, and its budgets 泄露账户."""
    from shuiqiao.client.resources.leakage import READ_LEAKAGE, READ_OWN_LEAKAGE, LeakageQuestion
    from shuiqiao.client.wire import Nothing

    if taxpayer is not None:
        with well_formed(), home_at_work(required(home, "--home")) as at_work:
            found = at_work.perform(READ_LEAKAGE, LeakageQuestion(taxpayer=taxpayer, bureau=at))
    elif key is not None:
        with open_device(key).at_bureau(optional_address(bureau)) as session:
            found = session.perform(READ_OWN_LEAKAGE, Nothing())
    else:
        raise typer.BadParameter("name TAXPAYER and --home for an institution's own account, or --key for yours")
    show(found.model_dump(), as_json=json, speak=_speak_leakage)


def _speak_leakage(found: Mapping[str, Any]) -> None:
    for line in found["lines"]:
        who, mode = line["recipient"] or "anyone 任何机构", line["mode"] or "credential 凭证"
        counted = f"{line['answers']} answers, {line['fields']} fields, {line['bits']} bits, rank {line['rank']}"
        say(f"{who}  {line['purpose'] or '-'}  {mode}: {counted}")
    for use in found["budgets"]:
        who = use["recipient"] or "all together 合计"
        spent = f"{use['bits']} of {use['most_bits']} bits, rank {use['rank']} of {use['most_rank']}"
        feature = use["feature"] or "one feature 单一特征"
        finest = f"{use['feature_bits']} of {use['most_feature_bits']} bits of {feature}"
        say(f"{who}  {use['purpose'] or '-'}  budget 预算: {spent}, {finest}")


def enterprise_used(
    *,
    taxpayer: Annotated[str | None, typer.Argument(help="With --home: whose data 纳税人识别号.")] = None,
    home: OptionalHome = None,
    key: OptionalKey = None,
    bureau: Bureau = None,
    as_of: Annotated[
        str | None, typer.Option(help="What was given as of a day (2026-11-30), or of a size in leaves 截至.")
    ] = None,
    proofs: Annotated[Path | None, typer.Option(help="A folder for the receipt of each use 逐条回执目录.")] = None,
    json: Json = False,
) -> None:
    """List who used your data, when, for what; with --home, a taxpayer's as its bureau has it 谁用了我的数据."""
    from shuiqiao.client.pages import read_pages
    from shuiqiao.client.resources.own import LIST_OWN_USES
    from shuiqiao.client.resources.requests import PastQuery

    is_size = as_of is not None and as_of.isascii() and as_of.isdigit()
    with well_formed():
        asked = PastQuery(
            day=None if is_size else as_of,
            size=int(as_of) if is_size and as_of is not None else None,
            proof=proofs is not None,
        )
    if taxpayer is not None:
        show_uses_at(required(home, "--home"), taxpayer, asked, proofs=proofs, as_json=json)
        return
    if key is None:
        raise typer.BadParameter("name TAXPAYER and --home for a bureau's own list, or --key for yours")
    address = optional_address(bureau)
    device = open_device(key)
    with device.at_bureau(address) as session:
        uses = [use for page in read_pages(session, LIST_OWN_USES, asked) for use in page.items]
    show_uses(uses, proofs=proofs, hash_name=device.suite.hash_name, as_json=json)


def enterprise_records(
    *,
    key: Key,
    record_type: Annotated[
        str | None, typer.Option("--type", help="Of this type alone, e.g. invoice_issued 类型.")
    ] = None,
    number: Annotated[str | None, typer.Option(help="With this number alone, e.g. of an invoice 号码.")] = None,
    bureau: Bureau = None,
    json: Json = False,
) -> None:
    """List what your bureau holds of you, each record by its place on the ledger 税务局留存的我的记录."""
    from shuiqiao.client.resources.own import SEARCH_OWN_RECORDS, OwnRecordSearch

    address = optional_address(bureau)
    with well_formed():
        asked = OwnRecordSearch(record_type=record_type, number=number)
    with open_device(key).at_bureau(address) as session:
        found = session.perform(SEARCH_OWN_RECORDS, asked)
    show_list("records", [row.model_dump(mode="json") for row in found.records], as_json=json)


def enterprise_grade(
    *,
    year: Annotated[int, typer.Option(min=2014, max=2099, help="Of which calendar year 评价年度.")],
    key: Key,
    bureau: Bureau = None,
    json: Json = False,
) -> None:
    """Work your tax credit grade of a year out by your bureau's records, and what you can repair 我的纳税信用."""
    from shuiqiao.cli.grade import speak_explanation
    from shuiqiao.client.resources.grades import EXPLAIN_OWN_GRADE, OwnGradeQuestion

    address = optional_address(bureau)
    with open_device(key).at_bureau(address) as session:
        told = session.perform(EXPLAIN_OWN_GRADE, OwnGradeQuestion(year=year))
    show(told.model_dump(mode="json"), as_json=json, speak=speak_explanation)


def enterprise_dispute(
    *,
    batch: Annotated[str, typer.Argument(help="The record's batch, as `records` shows it 批次.")],
    leaf: Annotated[int, typer.Argument(min=0, max=65_535, help="The record's leaf 叶序号.")],
    reason: Annotated[str, typer.Option(help="What is wrong with it 异议理由.")],
    key: Key,
    bureau: Bureau = None,
    json: Json = False,
) -> None:
    """Dispute a record that was given to a bank 对记录提出异议."""
    from shuiqiao.client.resources.disputes import RAISE_DISPUTE, DisputeStatement

    identifier, address = bytes.fromhex(require_hex(batch)), optional_address(bureau)
    device = open_device(key)
    signed = device.dispute(identifier, leaf, reason=reason)
    with well_formed(), device.at_bureau(address) as session:
        result = dispute_row(session.perform(RAISE_DISPUTE, DisputeStatement(dispute=signed.hex())))
    show(result, as_json=json, speak=partial(say_rows, width=WIDTH))


def enterprise_disputes(
    *, home: OptionalHome = None, key: OptionalKey = None, bureau: Bureau = None, json: Json = False
) -> None:
    """List your disputes and their answers; with --home, those that wait for the bureau's answer 异议."""
    from shuiqiao.client.pages import PageQuery, read_pages
    from shuiqiao.client.resources.disputes import LIST_OWN_DISPUTES

    if home is not None:
        show_disputes_at(home, as_json=json)
        return
    address = optional_address(bureau)
    with open_device(required(key, "--key")).at_bureau(address) as session:
        pages = [*read_pages(session, LIST_OWN_DISPUTES, PageQuery())]
    show_list("disputes", [dispute_row(row) for page in pages for row in page.items], as_json=json)


def enterprise_receipts(
    *,
    index: Annotated[
        int | None, typer.Argument(min=0, max=MAX_INDEX, help="Save the receipt of this entry 保存该条目的回执.")
    ] = None,
    key: Key,
    bureau: Bureau = None,
    bank: OptionalBank = None,
    consent: Annotated[str | None, typer.Option(help="With --bank: the consent that is proven there 授权书.")] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write; by default INDEX.receipt here.")] = None,
    json: Json = False,
) -> None:
    """List what the ledger has under your consents, or save the receipt of one entry 我的回执."""
    name = None if consent is None else consent_name(consent)
    addresses = Addresses.of(bureau=bureau, bank=bank)
    device = open_device(key)
    with session_of(device, addresses, consent=name) as session:
        if index is None:
            show_list("entries", _own_entries(session), as_json=json)
            return
        data = session.get(f"/api/v1/own/entries/{index}/receipt", accept=RECEIPT).body
    path = out or Path(f"{index}.receipt")
    write_receipt(path, data, hash_name=device.suite.hash_name)
    show({"entry": index, "file": str(path), "bytes": len(data)}, as_json=json, speak=partial(say_rows, width=WIDTH))
    if not json:
        say(f"{'next':{WIDTH}} {program()} verify {quote(str(path))} --genesis GENESIS.json")


RECEIPT = "application/vnd.shuiqiao.receipt+cbor"
"""As ``api.routes.ledger``, which a command does not load."""


def _own_entries(session: HttpClient) -> list[dict[str, Any]]:
    from shuiqiao.client.pages import PageQuery, read_pages
    from shuiqiao.client.resources.own import LIST_OWN_ENTRIES

    pages = read_pages(session, LIST_OWN_ENTRIES, PageQuery())
    return [dated(row.model_dump(mode="json"), "time_ms") for page in pages for row in page.items]

"""Which version of an invoice counts: its number names it, and its status only advances."""

from __future__ import annotations

import json
from datetime import date

import pytest

from shuiqiao.standards.readers.source import open_source
from shuiqiao.vault.model import ErasureReason
from vault_world import CATALOGUE, EVER, grade, invoice, payment, write_rows

FIRM = "91320100MA1000000A"
TWENTY = "24320000000000000001"
PROFILE_HEADER = "src_row,firm_id,invoice_no,issue_date,buyer_id,amount,tax,total,status_zh,status,is_red_letter\n"


def rules_of(report):
    return [json.loads(line)["rule"] for line in report.report.read_text().splitlines()]


def live(world, type_id="invoice_issued"):
    groups = CATALOGUE.get(type_id).group_ids
    return (
        world.verify(world.disclose(FIRM, {type_id: groups}), status_of=world.status_of)
        .types[CATALOGUE.get(type_id).standard_id]
        .rows.to_pylist()
    )


def ingest_each(world, tmp_path, *rows, type_id="invoice_issued"):
    """Ingest every row as an export of its own; return the reports."""
    return [world.ingest(write_rows(tmp_path / f"{world.entropy(8).hex()}.parquet", type_id, [row])) for row in rows]


@pytest.mark.parametrize("later", ["void", "red_lettered_in_part", "red_lettered"])
def test_an_invoice_exported_again_with_a_later_status_supersedes_the_earlier_export(open_world, tmp_path, later):
    # Holds [VAULT-IDENTITY-2].
    world = open_world()
    first, second = ingest_each(world, tmp_path, invoice(1), invoice(1, status=later))
    assert (first.records_superseding, second.records_superseding) == (0, 1)
    assert [row["status"] for row in live(world)] == [later]
    assert world.vault.count_live(uscc=FIRM, type_id="invoice_issued", **EVER) == {"2024-02": 1}
    assert world.problems() == []


def test_an_earlier_status_that_is_read_later_is_outdated_and_kept_out(open_world, tmp_path):
    # Holds [VAULT-IDENTITY-2], [VAULT-INGEST-1].
    world = open_world()
    _, late = ingest_each(world, tmp_path, invoice(1, status="void"), invoice(1))
    assert (late.records_ingested, late.duplicates_reported, late.records_quarantined) == (0, 1, 0)
    assert rules_of(late) == ["outdated"]
    assert [row["status"] for row in live(world)] == ["void"]


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_fen": 90_000, "tax_fen": 10_000, "total_fen": 100_000},
        {"issue_date": date(2025, 2, 2)},
        {"counterparty_id": "91440300MA5999999B"},
        {"tax_rate": None},
        {"status": "void", "amount_fen": 90_000, "tax_fen": 10_000, "total_fen": 100_000},
    ],
    ids=["amounts", "day", "buyer", "rate", "void with other amounts"],
)
def test_other_values_under_one_number_are_kept_out_until_somebody_amends(open_world, tmp_path, changes):
    # Holds [VAULT-IDENTITY-2], [VAULT-IDENTITY-3].
    world = open_world()
    _, other = ingest_each(world, tmp_path, invoice(1), invoice(1, **changes))
    assert (other.records_ingested, other.records_quarantined) == (0, 1)
    assert rules_of(other) == ["identity_conflict"]
    before = live(world)
    assert before == [invoice(1) | dict.fromkeys(before[0].keys() - invoice(1).keys())]
    path = write_rows(tmp_path / "corrected.parquet", "invoice_issued", [invoice(1, **changes)])
    amended = world.vault.amend(path, anchor=world.anchor)
    assert (amended.records_ingested, amended.records_superseding) == (1, 1)
    assert [row | changes for row in live(world)] == live(world)
    assert world.problems() == []


def test_a_number_of_twenty_digits_names_an_invoice_whatever_its_kind_and_code(open_world, tmp_path):
    # Holds [VAULT-IDENTITY-1].
    world = open_world()
    _, other = ingest_each(
        world,
        tmp_path,
        invoice(1, invoice_no=TWENTY, invoice_kind="special"),
        invoice(1, invoice_no=TWENTY, invoice_kind="ordinary", invoice_code="3200123456"),
    )
    assert rules_of(other) == ["identity_conflict"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"invoice_code": "3200123456"}, {"invoice_code": "3200123457"}),
        ({"invoice_kind": "special"}, {"invoice_kind": "ordinary"}),
        ({"uscc": FIRM}, {"uscc": "91320100MA1000000B"}),
    ],
    ids=["code", "kind", "issuer"],
)
def test_a_short_number_names_an_invoice_within_its_issuer_and_series(open_world, tmp_path, one, other):
    # Holds [VAULT-IDENTITY-1].
    world = open_world()
    _, second = ingest_each(world, tmp_path, invoice(1, **one), invoice(1, **other))
    assert second.records_ingested == 1
    assert second.records_superseding == 0


def test_the_same_short_number_of_two_sellers_is_two_received_invoices(open_world, tmp_path):
    # Holds [VAULT-IDENTITY-1].
    world = open_world()
    first, second = invoice(1), invoice(1, counterparty_id="91440300MA5999999B")
    ingest_each(world, tmp_path, first, second, invoice(1, status="void"), type_id="invoice_received")
    assert sorted(row["status"] for row in live(world, "invoice_received")) == ["valid", "void"]


def test_a_received_invoice_whose_use_is_confirmed_later_is_the_same_invoice(open_world, tmp_path):
    # Holds [VAULT-IDENTITY-2]: empty to filled is forward; other values of what is filled are a conflict.
    world = open_world()
    used = {"use_confirmed_on": date(2024, 3, 9), "use_period": "2024-03"}
    reports = ingest_each(
        world,
        tmp_path,
        invoice(1),
        invoice(1, **used),
        invoice(1, use_confirmed_on=date(2024, 3, 9)),
        invoice(1, **(used | {"use_period": "2024-04"})),
        type_id="invoice_received",
    )
    assert [report.records_ingested for report in reports] == [1, 1, 0, 0]
    assert [rules_of(report) for report in reports[2:]] == [["outdated"], ["identity_conflict"]]
    assert [row["use_period"] for row in live(world, "invoice_received")] == ["2024-03"]


def test_a_source_whose_numbers_repeat_keeps_all_fields_as_its_key(open_world, tmp_path):
    # Holds [VAULT-IDENTITY-1], [STD-33]: this profile alone says so, and an erasure finds such a record again.
    world = open_world()
    path = tmp_path / "cumcm.csv"
    line = "{row},E1,00000001,2017-01-0{row},B1,100.00,13.00,113.00,有效发票,valid,false\n"
    path.write_text(PROFILE_HEADER + "".join(line.format(row=row) for row in (1, 2, 2)))
    assert open_source(path, record_type=None, catalogue=CATALOGUE).plan.natural_key_is_all
    report = world.ingest(path)
    assert (report.records_ingested, report.duplicates_reported) == (2, 1)
    batch = world.anchored_batches()[0]
    world.vault.erase(batch, [0], reason=ErasureReason.LEGAL_ORDER, anchor=world.anchor)
    assert world.vault.count_live(uscc="E1", type_id="invoice_issued", **EVER) == {"2017-01": 1}
    path.write_text(PROFILE_HEADER + line.format(row=1))
    assert world.ingest(path).records_ingested == 1


def test_an_erased_invoice_is_forgotten_by_its_number(open_world, tmp_path):
    # Holds [VAULT-ERASE-1].
    world = open_world()
    ingest_each(world, tmp_path, invoice(1))
    world.vault.erase(world.anchored_batches()[0], [0], reason=ErasureReason.LEGAL_ORDER, anchor=world.anchor)
    (again,) = ingest_each(world, tmp_path, invoice(1, amount_fen=1, tax_fen=0, total_fen=1))
    assert again.records_ingested == 1


@pytest.mark.parametrize("is_same_file", [True, False])
def test_a_status_that_was_set_by_mistake_is_undone_by_erasing_it_and_ingesting_again(
    open_world, tmp_path, is_same_file
):
    # Holds [VAULT-IDENTITY-2]: with its newest version a record is gone, though older ones are still known.
    world = open_world()
    first = write_rows(tmp_path / "first.parquet", "invoice_issued", [invoice(1)])
    again = write_rows(tmp_path / "again.parquet", "invoice_issued", [invoice(1), invoice(2)])
    world.ingest(first)
    ingest_each(world, tmp_path, invoice(1, status="void"))
    world.vault.erase(world.anchored_batches()[1], [0], reason=ErasureReason.LEGAL_ORDER, anchor=world.anchor)
    amended = world.vault.amend(
        write_rows(tmp_path / "amend.parquet", "invoice_issued", [invoice(1, status="red_lettered")]),
        anchor=world.anchor,
    )
    assert rules_of(amended) == ["record_unknown"]
    report = world.ingest(first if is_same_file else again)
    assert (report.records_ingested, report.records_superseding) == (1 if is_same_file else 2, 0)
    assert [row["status"] for row in live(world) if row["invoice_no"] == "00000001"] == ["valid"]
    assert world.ingest(first).records_ingested == 0
    (void,) = ingest_each(world, tmp_path, invoice(1, status="void"))
    assert void.records_superseding == 1
    assert [row["status"] for row in live(world) if row["invoice_no"] == "00000001"] == ["void"]
    assert world.problems() == []


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (invoice(2), "record_unknown"),
        (invoice(1, status="red_lettered"), "already_ingested"),
        (invoice(1), "goes_back"),
        (invoice(1, amount_fen=1, tax_fen=0, total_fen=1), "goes_back"),
    ],
    ids=["another number", "the same values", "an earlier status", "other amounts and an earlier status"],
)
def test_an_amendment_needs_a_record_a_change_and_a_status_that_does_not_go_back(open_world, tmp_path, row, rule):
    # Holds [VAULT-IDENTITY-3].
    world = open_world()
    ingest_each(world, tmp_path, invoice(1, status="red_lettered"))
    report = world.vault.amend(write_rows(tmp_path / "c.parquet", "invoice_issued", [row]), anchor=world.anchor)
    assert (report.records_read, report.records_ingested) == (1, 0)
    assert rules_of(report) == [rule]
    assert [entry["status"] for entry in live(world)] == ["red_lettered"]


def test_a_type_without_versions_is_amended_too_and_a_rerun_changes_nothing(open_world, tmp_path):
    # Holds [VAULT-IDENTITY-3], [VAULT-INGEST-3].
    world = open_world()
    ingest_each(world, tmp_path, payment(1), type_id="payment")
    path = write_rows(tmp_path / "c.parquet", "payment", [payment(1, amount_fen=501)])
    assert world.vault.amend(path, anchor=world.anchor).records_superseding == 1
    assert world.vault.amend(path, anchor=world.anchor).duplicates_reported == 1
    assert len(live(world, "payment")) == 1


def test_types_that_supersede_still_take_any_newer_values(open_world, tmp_path):
    # Holds [VAULT-IDENTITY-2].
    world = open_world()
    ingest_each(world, tmp_path, grade(2024, "D"), grade(2024, "B"), grade(2024, "C"), type_id="tax_credit_grade")
    assert [row["grade"] for row in live(world, "tax_credit_grade")] == ["C"]

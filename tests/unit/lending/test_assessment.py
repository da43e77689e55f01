"""A paper is believed only if a proven, valid record says the same."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest

from shuiqiao.lending.assessment import PaperInvoice, unproven_papers

DAY = date(2025, 3, 1)


def issued(*rows):
    names = ("invoice_no", "issue_date", "total_fen", "status")
    columns = list(zip(*rows, strict=True)) if rows else [[], [], [], []]
    types = (pa.string(), pa.date32(), pa.int64(), pa.string())
    return pa.table({name: pa.array(column, kind) for name, column, kind in zip(names, columns, types, strict=True)})


RECORDS = issued(("00000001", DAY, 11_300, "valid"), ("00000002", DAY, 22_600, "void"), ("00000001", DAY, 5, "valid"))


def paper(name="p", *, number="00000001", day=DAY, total=11_300):
    return PaperInvoice(paper=name, invoice_no=number, issue_date=day, total_fen=total)


def test_a_paper_that_a_record_proves_is_believed():
    assert unproven_papers([paper(), paper("q", total=5)], issued=RECORDS) == ()


@pytest.mark.parametrize(
    "change",
    [{"number": "99999999"}, {"day": date(2025, 3, 2)}, {"total": 11_301}, {"number": "00000002", "total": 22_600}],
    ids=["invented", "another day", "another total", "voided"],
)
def test_a_paper_that_nothing_proves_is_named(change):
    assert unproven_papers([paper("good"), paper("forged", **change)], issued=RECORDS) == ("forged",)


def test_without_records_no_paper_is_believed_and_without_papers_nothing_is_unproven():
    assert unproven_papers([paper("a"), paper("b")], issued=issued()) == ("a", "b")
    assert unproven_papers([], issued=RECORDS) == ()


def test_record_batches_do_as_well_as_tables():
    assert unproven_papers([paper("x", total=1)], issued=RECORDS.to_batches()[0]) == ("x",)

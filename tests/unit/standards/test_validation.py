from __future__ import annotations

from datetime import UTC, date
from decimal import Decimal

import pyarrow as pa
import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.standards.columns import (
    FAULT_COLUMN,
    FAULT_VALUE_COLUMN,
    MAX_BATCH_ROWS,
    MAX_CELL_BYTES,
    canonical_schema,
    check_fits,
    source_field,
)
from shuiqiao.standards.model import AmountUnit
from shuiqiao.standards.validation import Issue, validate_batch


def check(record_type, *rows, first_row=1):
    """Validate rows of text cells."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    arrays = [pa.array([row.get(name) for row in rows], type=pa.string()) for name in names]
    return validate_batch(record_type, pa.RecordBatch.from_arrays(arrays, names=names), first_row=first_row)


def check_column(record_type, row, name, values, *, unit=AmountUnit.FEN):
    """Validate rows that differ in one typed column."""
    fields, arrays = [], []
    for entry in record_type.fields:
        if entry.name == name:
            fields.append(source_field(entry, values.type, unit=unit))
            arrays.append(values)
        elif entry.name in row:
            fields.append(source_field(entry, pa.string(), unit=AmountUnit.FEN))
            arrays.append(pa.array([row[entry.name]] * len(values), type=pa.string()))
    return validate_batch(record_type, pa.RecordBatch.from_arrays(arrays, schema=pa.schema(fields)), first_row=1)


@pytest.fixture
def issued(catalogue):
    return catalogue.get("invoice_issued")


def test_a_good_row_comes_out_canonical(issued, invoice):
    # Holds [STD-11], [STD-14].
    validated = check(issued, invoice(status=" 作废发票 ", counterparty_name="　甲公司 "))
    assert validated.issues == []
    assert validated.rows.schema.equals(canonical_schema(issued))
    assert validated.rows.to_pylist() == [
        {
            "uscc": "91440300MA5EXAMPL1",
            "invoice_no": "24442000000012345678",
            "invoice_code": None,
            "issue_date": date(2024, 3, 5),
            "status": "void",
            "is_red_letter": False,
            "invoice_kind": None,
            "original_invoice_no": None,
            "amount_fen": 100000,
            "tax_fen": 13000,
            "total_fen": 113000,
            "tax_rate": None,
            "counterparty_id": "914403000000000002",
            "counterparty_name": "甲公司",
        }
    ]


def test_canonical_rows_pass_unchanged(issued, invoice):
    # [STD-11]: the vault may validate again what it has stored.
    rows = check(issued, invoice(), invoice(invoice_no="12345678")).rows
    again = validate_batch(issued, rows, first_row=1)
    assert again.issues == []
    assert again.rows.equals(rows)


def test_every_row_is_either_good_or_has_an_issue_under_its_own_number(issued, invoice):
    # Holds [STD-12], [STD-13].
    validated = check(issued, invoice(), invoice(uscc="lower"), invoice(), invoice(total_fen="1"), first_row=101)
    assert validated.source_rows.tolist() == [101, 103]
    assert validated.rows.num_rows == 2
    assert validated.quarantined == 2
    assert [(issue.row, issue.field, issue.rule) for issue in validated.issues] == [
        (102, "uscc", "pattern"),
        (104, "amount_fen,tax_fen,total_fen", "amount_plus_tax_is_total"),
    ]


@pytest.mark.parametrize(
    ("changes", "field", "rule", "value"),
    [
        ({"uscc": ""}, "uscc", "required", ""),
        ({"uscc": "   "}, "uscc", "required", "   "),
        ({"uscc": None}, "uscc", "required", ""),
        ({"invoice_no": "1234567"}, "invoice_no", "pattern", "1234567"),
        ({"invoice_no": "123456789"}, "invoice_no", "pattern", "123456789"),
        ({"invoice_no": "2444200000001234567x"}, "invoice_no", "pattern", "2444200000001234567x"),
        ({"invoice_no": "1" * 21}, "invoice_no", "too_long", "1" * 21),
        ({"issue_date": "2024-02-30"}, "issue_date", "not_a_date", "2024-02-30"),
        ({"issue_date": "1899-12-31"}, "issue_date", "date_out_of_range", "1899-12-31"),
        ({"status": "cancelled"}, "status", "not_in_code_list", "cancelled"),
        ({"is_red_letter": "maybe"}, "is_red_letter", "not_a_boolean", "maybe"),
        ({"amount_fen": "12.5"}, "amount_fen", "not_an_amount", "12.5"),
        ({"amount_fen": "9" * 18}, "amount_fen", "amount_out_of_range", "9" * 18),
        ({"tax_rate": "exempt"}, "tax_rate", "not_a_rate", "exempt"),
        ({"counterparty_name": "a\x07b"}, "counterparty_name", "control_character", "a\x07b"),
        ({"counterparty_name": "a\u2028b"}, "counterparty_name", "control_character", "a\u2028b"),
        ({"counterparty_name": "长" * 201}, "counterparty_name", "too_long", "长" * 199 + "…"),
    ],
)
def test_a_bad_cell_is_named_with_its_rule_and_value(issued, invoice, changes, field, rule, value):
    # Holds [STD-13], [STD-15], [STD-16], [STD-18], [STD-24].
    validated = check(issued, invoice(), invoice(**changes))
    assert (2, field, rule, value) in {(i.row, i.field, i.rule, i.value) for i in validated.issues}
    assert validated.source_rows.tolist() == [1]


@pytest.mark.parametrize(
    ("changes", "rule", "value"),
    [
        ({"total_fen": "113001"}, "amount_plus_tax_is_total", "amount_fen=100000 tax_fen=13000 total_fen=113001"),
        ({"is_red_letter": "true"}, "red_letter_is_negative", "total_fen=113000 is_red_letter=True"),
        (
            {"amount_fen": "-1", "tax_fen": "0", "total_fen": "-1"},
            "red_letter_is_negative",
            "total_fen=-1 is_red_letter=False",
        ),
        ({"amount_fen": "0", "tax_fen": "0", "total_fen": "0"}, "zero_total_only_if_void", "total_fen=0 status=valid"),
        (
            {"original_invoice_no": "12345678"},
            "original_only_if_red_letter",
            "original_invoice_no=12345678 is_red_letter=False",
        ),
    ],
)
def test_a_row_rule_is_named_with_the_fields_and_their_values(issued, invoice, changes, rule, value):
    # Holds [STD-23].
    validated = check(issued, invoice(**changes), invoice())
    assert [(issue.row, issue.rule, issue.value) for issue in validated.issues] == [(1, rule, value)]
    assert validated.source_rows.tolist() == [2]


def test_a_red_letter_and_a_void_zero_invoice_are_good(issued, invoice):
    # Holds [STD-23].
    red = invoice(
        is_red_letter="1", amount_fen="-100000", tax_fen="-13000", total_fen="-113000", original_invoice_no="12345678"
    )
    void = invoice(status="void", amount_fen="0", tax_fen="0", total_fen="0")
    assert check(issued, red, void).issues == []


def test_a_row_rule_is_silent_where_a_field_failed_by_itself(issued, invoice):
    # Holds [STD-23].
    validated = check(issued, invoice(total_fen="much"))
    assert [issue.rule for issue in validated.issues] == ["not_an_amount"]


def test_dates_in_the_wrong_order_and_a_wrong_balance_are_found_in_filings(catalogue):
    # Holds [STD-23].
    filing = {
        "uscc": "E1",
        "tax_code": "增值税",
        "tax_item": "货物销售",
        "period_from": "2024-04-01",
        "period_to": "2024-03-31",
        "due_on": "2024-04-15",
        "filed_on": "2024-04-10",
        "is_void": "false",
        "void_on": "2024-05-01",
        "tax_payable_fen": "100",
        "relief_fen": "10",
        "prepaid_fen": "20",
        "tax_due_fen": "71",
    }
    validated = check(catalogue.get("filing"), filing)
    assert [(issue.rule, issue.value) for issue in validated.issues] == [
        ("period_in_order", "period_from=2024-04-01 period_to=2024-03-31"),
        (
            "due_is_payable_less_relief_and_prepaid",
            "tax_payable_fen=100 relief_fen=10 prepaid_fen=20 tax_due_fen=71",
        ),
        ("void_date_only_if_void", "void_on=2024-05-01 is_void=False"),
    ]
    corrected = filing | {"period_to": "2024-04-30", "tax_due_fen": "70", "is_void": "是"}
    assert check(catalogue.get("filing"), corrected).issues == []


def test_at_most_eight_issues_are_told_of_one_row(catalogue):
    # Holds [STD-13].
    nonsense = {entry.name: "\x01" for entry in catalogue.get("registration").fields}
    validated = check(catalogue.get("registration"), nonsense)
    assert [issue.rule for issue in validated.issues] == ["control_character"] * 8
    assert validated.quarantined == 1


def test_rows_that_the_reader_could_not_cut_are_taken_over_as_issues(issued, invoice):
    # Holds [STD-12].
    good = {name: [value, None] for name, value in invoice().items()}
    batch = pa.table(good | {FAULT_COLUMN: [None, "line_ragged"], FAULT_VALUE_COLUMN: [None, "a,b"]}).to_batches()[0]
    validated = validate_batch(issued, batch, first_row=7)
    assert validated.issues == [Issue(row=8, field="", rule="line_ragged", value="a,b")]
    assert validated.source_rows.tolist() == [7]


def test_a_batch_of_too_many_rows_or_with_a_foreign_column_is_refused(issued):
    # Holds [STD-35].
    with pytest.raises(InvalidInput) as refused:
        validate_batch(issued, pa.table({"uscc": pa.nulls(MAX_BATCH_ROWS + 1)}).to_batches()[0], first_row=1)
    assert refused.value.code == "standards.batch_too_large"
    with pytest.raises(InvalidInput, match="has no field 'colour'"):
        validate_batch(issued, pa.table({"colour": ["red"]}).to_batches()[0], first_row=1)


def test_an_empty_batch_stays_empty(issued):
    validated = validate_batch(issued, pa.RecordBatch.from_pylist([], schema=canonical_schema(issued)), first_row=1)
    assert (validated.rows.num_rows, validated.issues, validated.quarantined) == (0, [], 0)


INFINITE = float("inf")
MOMENT = 1_577_923_199_999_999  # the last microsecond of 2020-01-01


@pytest.mark.parametrize(
    ("values", "unit", "fen", "rules"),
    [
        (pa.array([943.4, -943.4, 0.1 + 0.2]), AmountUnit.YUAN, [94340, -94340, 30], []),
        (pa.array([1e12]), AmountUnit.YUAN, [10**14], []),
        (pa.array([1.005, None]), AmountUnit.YUAN, [], ["part_of_a_fen", "required"]),
        (pa.array([1.1e12, INFINITE, float("nan")]), AmountUnit.YUAN, [], ["amount_out_of_range"] * 3),
        (pa.array([Decimal("12.34"), Decimal("-0.01")], pa.decimal128(18, 2)), AmountUnit.YUAN, [1234, -1], []),
        (pa.array([Decimal("12.345")], pa.decimal128(18, 3)), AmountUnit.YUAN, [], ["not_an_amount"]),
        (pa.array([12, -3], pa.int32()), AmountUnit.YUAN, [1200, -300], []),
        (pa.array(["12.3", "-12", "1234567890123.45"]), AmountUnit.YUAN, [1230, -1200, 123456789012345], []),
        (
            pa.array(["12.345", "¥1", "1,000", "99999999999999999"]),
            AmountUnit.YUAN,
            [100, 100_000],
            ["not_an_amount"] * 2,
        ),
        (pa.array(["1,000", "10.00", "1,0"]), AmountUnit.FEN, [1000], ["not_an_amount"] * 2),
        (pa.array([1234, -1], pa.int64()), AmountUnit.FEN, [1234, -1], []),
        (pa.array([10**17 + 1, 2**63 - 1]), AmountUnit.FEN, [], ["not_an_amount"] * 2),
        (pa.array([2**64 - 1], pa.uint64()), AmountUnit.FEN, [], ["not_an_amount"]),
        (pa.array([12.0, 12.5, INFINITE]), AmountUnit.FEN, [12], ["not_an_amount"] * 2),
        (pa.array([Decimal("12.00"), Decimal("12.50")]), AmountUnit.FEN, [12], ["not_an_amount"]),
    ],
)
def test_amounts_become_fen_exactly_or_not_at_all(catalogue, values, unit, fen, rules):
    # Holds [STD-17], [STD-18].
    payment = {
        "uscc": "E1",
        "voucher_no": "1",
        "tax_code": "vat",
        "tax_item": "x",
        "period_from": "2024-01-01",
        "period_to": "2024-01-31",
        "payment_kind": "tax",
        "paid_on": "2024-02-10",
    }
    validated = check_column(catalogue.get("payment"), payment, "paid_fen", values, unit=unit)
    assert validated.rows.column("paid_fen").to_pylist() == fen
    assert [issue.rule for issue in validated.issues] == rules


@pytest.mark.parametrize(
    ("values", "days", "rules"),
    [
        (pa.array([date(2024, 3, 5)], pa.date64()), [date(2024, 3, 5)], []),
        (pa.array([MOMENT], pa.int64()).view(pa.timestamp("us")), [date(2020, 1, 1)], []),
        (pa.array([-1], pa.int64()).view(pa.timestamp("ns")), [date(1969, 12, 31)], []),
        (pa.array([2**31 - 1, -(2**31)], pa.int32()).view(pa.date32()), [], ["date_out_of_range"] * 2),
        (pa.array([2**62], pa.int64()).view(pa.timestamp("s")), [], ["date_out_of_range"]),
        (pa.array([2**62], pa.int64()).view(pa.date64()), [], ["date_out_of_range"]),
        (pa.array(["20240305", None, "5.3.2024"]), [date(2024, 3, 5)], ["required", "not_a_date"]),
    ],
)
def test_dates_of_any_column_type(issued, invoice, values, days, rules):
    # Holds [STD-18], [STD-20].
    validated = check_column(issued, invoice(), "issue_date", values)
    assert validated.rows.column("issue_date").to_pylist() == days
    assert [issue.rule for issue in validated.issues] == rules


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["E1", "E2"], pa.large_string()),
        pa.array(["E1", "E2"], pa.string_view()),
        pa.array(["E1", "E2"]).dictionary_encode(),
        pa.array(["x", "E1", "E2"])[1:],
    ],
    ids=["large", "view", "dictionary", "slice"],
)
def test_texts_of_any_column_type(issued, invoice, values):
    assert check_column(issued, invoice(), "uscc", values).rows.column("uscc").to_pylist() == ["E1", "E2"]


def test_numbers_in_a_text_column_keep_no_zeros_and_so_fail(issued, invoice):
    # [STD-15]: 03390939 read as a number by some spreadsheet is no longer an invoice number.
    validated = check_column(issued, invoice(), "invoice_no", pa.array([3390939, 13390939]))
    assert validated.rows.column("invoice_no").to_pylist() == ["13390939"]
    assert [(issue.rule, issue.value) for issue in validated.issues] == [("pattern", "3390939")]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_bytes_that_are_not_utf8_fail_and_are_shown_as_bytes(issued, invoice, kind):
    # Holds [STD-14].
    size = pa.int64() if pa.types.is_large_string(kind) else pa.int32()
    offsets = pa.array([0, 6, 9], size).buffers()[1]
    values = pa.Array.from_buffers(kind, 2, [None, offsets, pa.py_buffer("好人".encode() + b"\xff\xfe!")])
    validated = check_column(issued, invoice(), "counterparty_name", values)
    assert validated.rows.column("counterparty_name").to_pylist() == ["好人"]
    assert [(issue.rule, issue.value) for issue in validated.issues] == [("not_utf8", "b'\\xff\\xfe!'")]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view()], ids=str)
@pytest.mark.parametrize("name", ["counterparty_name", "issue_date", "amount_fen", "tax_rate"])
def test_a_cell_of_more_than_64_kib_fails_whatever_it_is_to_be(issued, invoice, name, kind):
    """[STD-39]"""
    values = pa.array(["\U0001f600" + "7" * MAX_CELL_BYTES, "7" * MAX_CELL_BYTES]).cast(kind)
    first, second = check_column(issued, invoice(), name, values).issues
    assert (first.rule, first.value) == ("too_long", "\U0001f600" + "7" * 198 + "…")
    rules = {"counterparty_name": "too_long", "issue_date": "not_a_date", "amount_fen": "not_an_amount"}
    assert (second.rule, second.value) == (rules.get(name, "not_a_rate"), "7" * 199 + "…")


@pytest.mark.parametrize("text", ["税" * 300, "a" + "税" * 300, "ab" + "税" * 300, "\U0001f600" * 201])
def test_what_is_shown_of_a_text_is_cut_between_characters(issued, invoice, text):
    """[STD-39]"""
    (issue,) = check_column(issued, invoice(), "status", pa.array([text])).issues
    assert (issue.rule, issue.value) == ("not_in_code_list", text[:199] + "…")


def test_booleans_and_years_of_any_column_type(catalogue):
    # Holds [STD-21], [STD-22].
    grade = {"uscc": "E1", "year": "2024", "grade": "B级", "direct_d": "0", "score": "88.50"}
    record_type = catalogue.get("tax_credit_grade")
    flags = check_column(record_type, grade, "direct_d", pa.array([1, 0, 2], pa.int8()))
    assert flags.rows.column("direct_d").to_pylist() == [True, False]
    assert [issue.rule for issue in flags.issues] == ["not_a_boolean"]
    assert check_column(record_type, grade, "direct_d", pa.array([True, None])).rows.column("direct_d").to_pylist() == [
        True,
        None,
    ]
    years = check_column(record_type, grade, "year", pa.array([2024, 1899], pa.int16()))
    assert years.rows.select(["year", "grade", "score"]).to_pylist() == [{"year": 2024, "grade": "B", "score": "88.5"}]
    assert [issue.rule for issue in years.issues] == ["year_out_of_range"]
    rates = check_column(record_type, grade, "score", pa.array([91.5, 1e300]))
    assert rates.rows.column("score").to_pylist() == ["91.5"]
    assert [issue.rule for issue in rates.issues] == ["not_a_rate"]


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("issue_date", pa.int64()),
        ("issue_date", pa.timestamp("s", tz=UTC)),
        ("uscc", pa.float64()),
        ("uscc", pa.binary()),
        ("amount_fen", pa.list_(pa.int64())),
        ("amount_fen", pa.bool_()),
        ("is_red_letter", pa.float64()),
    ],
)
def test_a_column_type_from_which_nothing_can_be_read_is_refused(issued, name, kind):
    # Holds [STD-20], [STD-34].
    with pytest.raises(InvalidInput) as refused:
        check_fits(issued.field(name), kind, source="col")
    assert refused.value.code == "standards.column_type_unfit"
    assert "'col'" in refused.value.message

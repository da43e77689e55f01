"""Invoice features against numbers worked out by hand."""

from __future__ import annotations

import math
from datetime import date

import pyarrow as pa
import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.features.catalogue import FEATURE_BY_NAME, FEATURES
from shuiqiao.features.inputs import INPUTS

D = date


def test_the_catalogue_documents_every_feature():
    assert len(FEATURES) >= 50
    assert len(FEATURE_BY_NAME) == len(FEATURES)
    for feature in FEATURES:
        assert feature.name_zh != feature.name
        assert all((feature.window, feature.formula, feature.needs, feature.reason.en, feature.reason.zh))
        assert all((feature.change.en, feature.change.zh))
        for need in feature.needs:
            assert need.group in {column.group for column in INPUTS[need.record_type]}


def test_windows_end_on_the_day_of_judgement(compute, invoices):
    issued = invoices(
        "invoice_issued",
        (D(2026, 3, 31), 1200),  # on the day itself
        (D(2025, 4, 1), 2400),  # the first day of the last twelve months
        (D(2025, 3, 31), 6000),  # exactly a year ago: outside
        (D(2024, 4, 1), 2400),
        (D(2024, 3, 31), 60_000),
        (D(2026, 4, 1), 10**9),  # after the day: does not exist yet
    )
    found = compute(invoice_issued=issued)
    assert math.log1p(3600 / 12) == found["log_monthly_sales_12m"]
    assert math.log1p(12_000 / 24) == found["log_monthly_sales_24m"]
    assert math.log1p(72_000 / 36) == found["log_monthly_sales_36m"]
    assert found["sales_12m_fen"] == 360_000
    assert found["days_since_last_sale"] == 0
    assert found["invoice_history_months"] == 24


def test_void_invoices_do_not_count_and_red_letters_reduce_sales(compute, invoices):
    issued = invoices(
        "invoice_issued",
        (D(2026, 3, 1), 1000),
        (D(2026, 3, 2), 5000, {"status": "void"}),
        (D(2026, 3, 3), -400),
        (D(2026, 3, 4), 1000),
    )
    found = compute(invoice_issued=issued)
    assert found["sales_12m_fen"] == 160_000
    assert found["void_rate_issued_24m"] == 1 / 4
    assert found["void_value_share_issued_24m"] == 5000 / 7400
    assert found["red_rate_issued_24m"] == 1 / 3
    assert found["red_value_share_issued_24m"] == 400 / 7400
    assert found["largest_sale_share_24m"] == 1000 / 1600
    assert found["output_vat_rate_24m"] == pytest.approx(0.13)


def test_a_red_lettered_invoice_and_its_red_letter_cancel_each_other(compute, invoices):
    issued = invoices(
        "invoice_issued",
        (D(2026, 3, 1), 1000, {"status": "red_lettered"}),
        (D(2026, 3, 2), -1000),
        (D(2026, 3, 3), 500, {"status": "red_lettered_in_part"}),
        (D(2026, 3, 4), -200),
    )
    found = compute(invoice_issued=issued)
    assert found["sales_12m_fen"] == 30_000
    assert found["void_rate_issued_24m"] == 0


def test_growth_gaps_and_months(compute, invoices):
    issued = invoices(
        "invoice_issued",
        (D(2025, 6, 10), 100),
        (D(2025, 12, 10), 300),
        (D(2025, 12, 10), 100),
        (D(2026, 3, 10), 100),
        (D(2026, 3, 31), 100),
    )
    found = compute(invoice_issued=issued)
    assert found["sales_growth_6m"] == (600 - 100) / 700
    assert found["sales_growth_12m"] == 1.0
    assert found["longest_sales_gap_24m"] == (D(2025, 12, 10) - D(2025, 6, 10)).days
    assert found["sales_months_12m"] == 3
    assert found["zero_sales_months_12m"] == 9
    assert found["peak_month_share_12m"] == 400 / 700
    months = [100, 400, 200] + [0] * 9
    mean = sum(months) / 12
    deviation = math.sqrt(sum((month - mean) ** 2 for month in months) / 12)
    assert found["sales_variation_12m"] == pytest.approx(deviation / mean, rel=1e-12)


def test_customers_their_concentration_and_their_return(compute, invoices):
    buyers = [("B1", 600), ("B2", 100), ("B3", 100), ("B4", 100), ("B5", 50), ("B6", 50)]
    issued = invoices(
        "invoice_issued",
        *((D(2026, 1, 5), yuan, {"counterparty_id": buyer}) for buyer, yuan in buyers),
        (D(2025, 1, 5), 10, {"counterparty_id": "B1"}),
        (D(2025, 1, 5), 10, {"counterparty_id": "B6"}),
        (D(2025, 1, 5), 10, {"counterparty_id": "GONE"}),
        (D(2025, 1, 5), 10, {"counterparty_id": "GONE TOO"}),
    )
    found = compute(invoice_issued=issued)
    assert found["log_customers_12m"] == pytest.approx(math.log(7), rel=1e-14)
    assert found["top5_customer_share_12m"] == 950 / 1000
    assert found["customer_stability_12m"] == 650 / 1000
    assert found["customers_kept_12m"] == 2 / 4


def test_purchases_against_sales(compute, invoices):
    issued = invoices("invoice_issued", (D(2026, 1, 5), 1000))
    received = invoices("invoice_received", (D(2026, 1, 7), 600))
    found = compute(invoice_issued=issued, invoice_received=received)
    assert found["purchase_sales_ratio_24m"] == 0.6
    assert found["vat_burden_24m"] == (130 - 78) / 1000
    assert found["days_since_last_purchase"] == 83


def test_an_invoice_on_both_sides_is_self_trading(compute, invoices):
    both = (D(2026, 1, 5), 300, {"invoice_no": "77"})
    issued = invoices("invoice_issued", both, (D(2026, 1, 5), 100))
    received = invoices("invoice_received", both, (D(2026, 1, 6), 300, {"invoice_no": "78"}))
    assert compute(invoice_issued=issued, invoice_received=received)["self_trading_share_24m"] == 300 / 400


def test_a_granted_type_without_records_is_zero_and_an_absent_type_is_unknown(compute, invoices):
    empty = compute(invoice_issued=invoices("invoice_issued"))
    assert empty["log_monthly_sales_12m"] == 0.0
    assert empty["sales_12m_fen"] == 0
    assert empty["zero_sales_months_12m"] == 12
    assert empty["sales_growth_6m"] is None  # nothing divided by nothing
    assert empty["sales_variation_12m"] is None
    absent = compute()
    assert {name for name, value in absent.items() if value is not None} == {"uscc", "as_of"}


def test_a_group_that_was_not_granted_hides_only_what_needs_it(compute, invoices):
    issued = invoices("invoice_issued", (D(2026, 1, 5), 1000))
    without_partner = compute(invoice_issued=issued.drop_columns(["counterparty_id"]))
    assert without_partner["top5_customer_share_12m"] is None
    assert without_partner["sales_12m_fen"] == 100_000
    core = compute(invoice_issued=issued.drop_columns(["counterparty_id", "amount_fen", "tax_fen", "total_fen"]))
    assert core["sales_12m_fen"] is None
    assert core["sales_months_12m"] == 1


def test_every_taxpayer_is_judged_on_its_own_day(engine, invoices):
    issued = invoices("invoice_issued", (D(2026, 1, 5), 100, {"uscc": "F1"}), (D(2026, 1, 5), 100, {"uscc": "F2"}))
    found = engine.compute(
        {"invoice_issued": issued}, population={"F2": D(2026, 1, 4), "F1": D(2026, 1, 5), "F3": D(2026, 1, 5)}
    )
    assert found.column("uscc").to_pylist() == ["F1", "F2", "F3"]
    assert found.column("sales_12m_fen").to_pylist() == [10_000, 0, 0]


def test_nothing_of_one_call_is_left_for_the_next(engine, compute, invoices):
    compute(invoice_issued=invoices("invoice_issued", (D(2026, 1, 5), 1000)))
    assert compute(invoice_issued=invoices("invoice_issued"))["sales_12m_fen"] == 0
    assert engine.compute({}, population={}).num_rows == 0


@pytest.mark.parametrize(
    ("table", "code"),
    [
        (pa.table({"invoice_no": ["1"]}), "credit.core_group_missing"),
        (pa.table({"uscc": ["F1"], "issue_date": ["not a day"]}), "credit.column_type_wrong"),
        (pa.table({"uscc": ["F1"], "amount_fen": pa.array([-(2**63)])}), "credit.amount_out_of_range"),
    ],
)
def test_tables_that_are_not_canonical_are_refused(engine, table, code):
    with pytest.raises(InvalidInput) as refused:
        engine.compute({"invoice_issued": table}, population={"F1": D(2026, 3, 31)})
    assert refused.value.code == code

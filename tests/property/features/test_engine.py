"""What must hold of features whatever the records: no look-ahead, one or many alike, order without effect."""

from __future__ import annotations

from datetime import date, timedelta

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shuiqiao.base.errors import InvalidInput
from shuiqiao.features.catalogue import FEATURES
from shuiqiao.features.engine import FACTS, FeatureEngine
from shuiqiao.features.inputs import INPUTS, input_schema

AS_OF = date(2026, 2, 28)
FIRMS = ("F1", "F2", "F3")

# Each example runs the compiled statement a few times (about 60 ms), so examples are few and records many.
BOUNDED = settings(
    max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

# The column that dates a record: when the bureau could first know it.
DATED = {
    "invoice_issued": "issue_date",
    "invoice_received": "issue_date",
    "filing": "filed_on",
    "payment": "paid_on",
    "arrears": "arose_on",
    "violation": "registered_on",
    "tax_credit_grade": "evaluated_on",
    "registration": "registered_on",
}
CHOICES = {
    "uscc": FIRMS,
    "invoice_no": ("1", "2", "3", "4"),
    "status": ("valid", "valid", "valid", "void"),
    "counterparty_id": ("P1", "P2", "P3", None),
    "tax_code": ("vat", "cit"),
    "payment_kind": ("tax", "late_fee", "fine"),
    "violation_kind": ("evasion", "filing"),
    "grade": ("A", "B", "M", "C", "D"),
    "year": (2021, 2022, 2023, 2024, 2025),
}


def days(*, first: int, last: int) -> st.SearchStrategy[date]:
    return (st.sampled_from((first, last)) | st.integers(first, last)).map(
        lambda offset: AS_OF + timedelta(days=offset)
    )


@st.composite
def rows(draw: st.DrawFn, record_type: str, *, first: int, last: int) -> dict[str, object]:
    row: dict[str, object] = {}
    for column in INPUTS[record_type]:
        if column.name in CHOICES:
            row[column.name] = draw(st.sampled_from(CHOICES[column.name]))
        elif column.name == DATED[record_type]:
            row[column.name] = draw(days(first=first, last=last))
        elif column.sql_type == "DATE":
            row[column.name] = draw(st.none() | days(first=-900, last=900))
        elif column.sql_type == "BOOLEAN":
            row[column.name] = draw(st.booleans() | st.none())
        else:
            row[column.name] = draw(st.none() | st.integers(-(10**9), 10**13) | st.integers(-(10**17), 10**17))
    return row


def worlds(*, first: int, last: int) -> st.SearchStrategy[dict[str, list[dict[str, object]]]]:
    return st.fixed_dictionaries({name: st.lists(rows(name, first=first, last=last), max_size=6) for name in INPUTS})


def tables(world: dict[str, list[dict[str, object]]]) -> dict[str, pa.Table]:
    return {name: pa.Table.from_pylist(content, schema=input_schema(name)) for name, content in world.items()}


def everybody(day: date = AS_OF) -> dict[str, date]:
    return dict.fromkeys(FIRMS, day)


@BOUNDED
@given(past=worlds(first=-1200, last=0), future=worlds(first=1, last=600))
def test_what_comes_after_the_day_changes_nothing(engine, past, future):
    alone = engine.compute(tables(past), population=everybody())
    with_future = {name: past[name] + future[name] for name in past}
    assert engine.compute(tables(with_future), population=everybody()).equals(alone)


@BOUNDED
@given(world=worlds(first=-1200, last=0))
def test_a_firm_alone_gets_the_numbers_it_gets_in_the_portfolio(engine, world):
    together = engine.compute(tables(world), population=everybody())
    for place, firm in enumerate(FIRMS):
        own = {name: [row for row in content if row["uscc"] == firm] for name, content in world.items()}
        assert engine.compute(tables(own), population={firm: AS_OF}).equals(together.slice(place, 1).combine_chunks())


@BOUNDED
@given(world=worlds(first=-1200, last=0), seed=st.randoms(use_true_random=False))
def test_the_order_of_records_has_no_effect(engine, world, seed):
    shuffled = {name: seed.sample(content, len(content)) for name, content in world.items()}
    forward = engine.compute(tables(world), population=everybody())
    assert engine.compute(tables(shuffled), population=everybody()).equals(forward)


@BOUNDED
@given(world=worlds(first=-1200, last=0))
def test_shares_stay_shares(engine, world):
    found = engine.compute(tables(world), population=everybody()).to_pydict()
    for name in ("top5_customer_share_12m", "customer_stability_12m", "void_rate_issued_24m", "self_trading_share_24m"):
        assert all(0 <= value <= 1 for value in found[name] if value is not None)
    for name in ("sales_growth_6m", "sales_growth_12m", "purchase_growth_12m", "tax_growth_12m"):
        assert all(-1 <= value <= 1 for value in found[name] if value is not None)


SOME_FEATURES = (
    ("days_since_last_sale",),
    ("sales_variation_12m", "largest_sale_share_24m", "red_rate_received_24m", "longest_purchase_gap_24m"),
    ("tax_credit_grade_rank", "late_filings_24m", "violations_36m", "log_registered_capital", "tax_burden_12m"),
    ("customer_stability_12m", "self_trading_share_24m", "top5_supplier_share_12m"),
    tuple(feature.name for feature in FEATURES if all(need.group != "counterparty" for need in feature.needs)),
)


@pytest.fixture(scope="module", params=SOME_FEATURES, ids=lambda names: names[0])
def partial_engine(request):
    with FeatureEngine(features=request.param) as found:
        yield found


@BOUNDED
@given(world=worlds(first=-1200, last=0))
def test_an_engine_for_some_features_gives_the_same_bits_as_one_for_all(engine, partial_engine, world):
    everything = engine.compute(tables(world), population=everybody())
    found = partial_engine.compute(tables(world), population=everybody())
    assert found.equals(everything.select(found.column_names))


def test_an_engine_gives_the_features_asked_for_in_the_order_of_the_catalogue():
    with FeatureEngine(features={"violations_36m", "sales_months_12m"}) as found:
        columns = found.compute({}, population={"F1": AS_OF}).column_names
    assert columns == ["uscc", "as_of", "sales_months_12m", "violations_36m", *FACTS]


def test_an_unknown_feature_is_refused():
    with pytest.raises(InvalidInput) as refused:
        FeatureEngine(features=["luck"])
    assert refused.value.code == "credit.feature_unknown"

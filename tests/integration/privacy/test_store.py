"""The account's table in a real database: what is judged with what, and that a check reads no more than one taxpayer's."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sqlalchemy import event

from consent_world import a_charge, a_cipher
from shuiqiao.base.errors import Denied
from shuiqiao.base.ids import owned_id
from shuiqiao.consent.model import Mode, Purpose
from shuiqiao.node.home.database import open_database
from shuiqiao.privacy.budgets import BUDGETS, WINDOW_MS
from shuiqiao.privacy.model import MILLI, Revealed
from shuiqiao.privacy.store import ChargeStore

BUDGET = BUDGETS[Purpose.UNDERWRITING].each


@pytest.fixture
def database(tmp_path):
    engine = open_database(tmp_path / "account.db")
    yield engine
    engine.dispose()


def scored(number, *, at_ms=1, **revealed):
    shown = Revealed(**{"row": {f"sum {number}": 1}, **revealed})
    return replace(a_charge(number.to_bytes(16, "big")), mode=Mode.SCORE, charged_ms=at_ms, revealed=shown)


def full(database, *, at_ms=1):
    """An account that knows as many sums as it may."""
    store = ChargeStore(database, cipher=a_cipher())
    for number in range(BUDGET.rank):
        store.charge(scored(number, at_ms=at_ms))
    with pytest.raises(Denied, match=r"^privacy\.budget_exceeded"):
        store.charge(scored(100))
    return store


def test_a_charge_that_was_withdrawn_counts_no_more(database):
    store = full(database)
    with database.begin() as connection:
        store.withdraw(connection, owned_id("bank-a", (3).to_bytes(16, "big")))
    assert store.charge(scored(100)) is None
    with pytest.raises(Denied, match=r"^privacy\.budget_exceeded"):
        store.charge(scored(101))


def test_what_left_the_window_counts_no_more(database):
    store = full(database, at_ms=1)
    with pytest.raises(Denied, match=r"^privacy\.budget_exceeded"):
        store.charge(scored(100, at_ms=WINDOW_MS))
    assert store.charge(scored(100, at_ms=WINDOW_MS + 1)) is None


def test_a_charge_of_the_same_reference_takes_the_place_of_the_one_before(database):
    store = full(database)
    assert store.charge(scored(0, row={"another sum": 1})) is None


def test_what_no_budget_bounds_and_other_purposes_are_not_judged_with_it(database):
    store = ChargeStore(database, cipher=a_cipher())
    shown = Revealed(fields=frozenset({"filing.uscc"}), millibits=10**9)
    store.charge(replace(a_charge(bytes(16)), revealed=shown))
    store.charge(
        replace(
            scored(1, millibits=BUDGETS[Purpose.LOAN_MONITORING].each.bits * MILLI), purpose=Purpose.LOAN_MONITORING
        )
    )
    assert store.charge(scored(2, millibits=BUDGET.bits * MILLI)) is None
    assert {charge.revealed.fields for charge in store.of_taxpayer("E1", now_ms=2)} == {frozenset(), shown.fields}


def test_a_check_finds_a_taxpayers_charges_by_an_index(database):
    """However many accounts there are, none of its statements goes through the table."""
    store, statements = full(database), []
    event.listen(database, "before_cursor_execute", lambda *told: statements.append(told[2:4]))
    store.charge(scored(0))
    plans = []
    with database.connect() as connection:
        for statement, values in statements[:]:
            if not statement.startswith("INSERT"):
                plans += [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    steps = [step for step in plans if "privacy_charge" in step]
    assert len(steps) == 2
    assert all("USING INDEX" in step and step.startswith("SEARCH") for step in steps)

"""Whatever was decided and however it is split over days: nothing published, and nothing that follows, is about few."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import create_engine

from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import Conflict
from shuiqiao.lending.model import Outcome
from shuiqiao.lending.openings import DecisionOpening
from shuiqiao.oversight import store
from shuiqiao.oversight.model import OTHERS
from shuiqiao.oversight.service import StatisticsService
from shuiqiao.oversight.statistics import tabulate

KINDS_OF_FIRM = st.tuples(
    st.integers(0, 40),
    st.sampled_from(Outcome),
    st.sampled_from(["A", "B", "M", "D", "none"]),
    st.sampled_from(["C", "F", "none"]),
    st.sampled_from(["31", "44"]),
)


def decision(number, kind):
    firm, outcome, grade, industry, province = kind
    return DecisionOpening(
        bank="bank-east",
        application=number.to_bytes(16, "big"),
        firm=firm.to_bytes(32, "big"),
        product="tax-credit-loan",
        outcome=outcome,
        amount_fen=1 if outcome is Outcome.APPROVED else 0,
        grade=grade,
        industry=industry,
        province=province,
        model_digest=bytes(32),
        salt=bytes(32),
    )


DECISIONS = st.lists(KINDS_OF_FIRM, max_size=120).map(
    lambda kinds: [decision(number, kind) for number, kind in enumerate(kinds)]
)


def cells(table, decisions):
    """What is really in each cell of a table: (row, column) to the decisions of it."""
    own = {row.category for row in table.rows} - {OTHERS}
    found = {(row.category, column): [] for row in table.rows for column in table.columns}
    for one in decisions:
        value = getattr(one, table.attribute)
        column = next(column for column in table.columns if str(one.outcome) in column)
        found[value if value in own else OTHERS, column].append(one)
    return found


@settings(max_examples=200)
@given(DECISIONS, st.integers(2, 7))
def test_every_cell_is_right_and_of_at_least_k_firms(decisions, least_firms):
    """[LENDING-7] [LENDING-8]: every decision stands in exactly one cell, so no sum hides a cell left out."""
    for table in tabulate(decisions, least_firms=least_firms):
        shown = {
            (row.category, column): count
            for row in table.rows
            for column, count in zip(table.columns, row.counts, strict=True)
        }
        found = cells(table, decisions)
        assert shown == {cell: len(members) for cell, members in found.items()}
        assert all(len({one.firm for one in members}) >= least_firms for members in found.values())
        assert sum(shown.values()) == len(decisions)


@settings(max_examples=200)
@given(DECISIONS)
def test_tables_of_one_release_say_nothing_smaller_of_each_other(decisions):
    """[LENDING-8]: all that two tables have in common is outcomes; what follows of those from all is of k firms or more."""
    firms = {outcome: {one.firm for one in decisions if one.outcome is outcome} for outcome in Outcome}
    for table in tabulate(decisions, least_firms=5):
        for column in table.columns:
            assert len(set().union(*(firms[Outcome(outcome)] for outcome in column))) >= 5


@contextmanager
def release_store():
    """A store in memory; it is closed even where Hypothesis ends a run early."""
    engine = create_engine("sqlite://")
    store.metadata.create_all(engine)
    try:
        yield store.ReleaseStore(engine)
    finally:
        engine.dispose()


@settings(max_examples=60, deadline=None)
@given(DECISIONS, st.lists(st.integers(0, 120), max_size=6), st.data())
def test_what_one_day_adds_to_another_is_a_release_by_itself(decisions, days, data):
    """[LENDING-9]: who subtracts yesterday's totals from today's is left with cells of k firms, or with nothing."""
    with release_store() as kept:
        service = StatisticsService(store=kept, clock=ManualClock(1))
        counted = Counter()
        for day in sorted(days):
            late = data.draw(st.sets(st.integers(0, 120), max_size=5), label="openings that are late")
            opened = [one for number, one in enumerate(decisions[:day]) if number not in late]
            before = service.releases()
            new = [one for one in opened if one.application not in counted]
            try:
                release = service.publish(opened)
            except Conflict:
                assert service.releases() == before
                assert len({one.firm for one in new}) < 5
                continue
            assert service.releases() == (*before, release)
            assert (release.number, release.decisions) == (len(before) + 1, len(new))
            assert release.tables == tabulate(new, least_firms=5) != ()
            counted.update(one.application for one in new)
        assert set(counted.values()) <= {1}
        assert sum(release.decisions for release in service.releases()) == len(counted)

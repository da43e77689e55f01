"""Tables hold at least k firms in every cell, and nothing smaller follows from what is published together."""

from __future__ import annotations

from itertools import product

import pytest

from shuiqiao.lending.model import Outcome
from shuiqiao.lending.openings import DecisionOpening
from shuiqiao.oversight.model import OTHERS, TableRow
from shuiqiao.oversight.statistics import ATTRIBUTES, tabulate

YES, NO, ASK = Outcome.APPROVED, Outcome.REFUSED, Outcome.REFERRED


def made(number, outcome, *, firm=None, **attributes):
    fields = {"grade": "A", "industry": "C", "province": "44"} | attributes
    return DecisionOpening(
        bank="bank-east",
        application=number.to_bytes(16, "big"),
        firm=(number if firm is None else firm).to_bytes(32, "big"),
        product="tax-credit-loan",
        outcome=outcome,
        amount_fen=1 if outcome is YES else 0,
        model_digest=bytes(32),
        salt=bytes(32),
        **fields,
    )


def decisions(*cells):
    """Decisions of so many firms each: (grade, outcome, firms)."""
    found = []
    for grade, outcome, firms in cells:
        found += [made(len(found) + place, outcome, grade=grade) for place in range(firms)]
    return found


def by_grade(found, *, least_firms=5):
    return next(table for table in tabulate(found, least_firms=least_firms) if table.attribute == "grade")


def rows(table):
    return {row.category: row.counts for row in table.rows}


def test_there_is_a_table_for_each_attribute():
    """[LENDING-7]"""
    tables = tabulate(decisions(("A", YES, 5)), least_firms=5)
    assert [table.attribute for table in tables] == list(ATTRIBUTES) == ["grade", "industry", "province"]


@pytest.mark.parametrize(("firms", "tables"), [(0, 0), (4, 0), (5, 3)])
def test_below_k_firms_in_all_nothing_is_published(firms, tables):
    """[LENDING-8]"""
    assert len(tabulate(decisions(("A", YES, firms)), least_firms=5)) == tables


def test_a_large_grid_shows_everything():
    """[LENDING-7]"""
    table = by_grade(decisions(*((grade, outcome, 5) for grade, outcome in product("AB", (YES, NO, ASK)))))
    assert table.columns == (("approved",), ("refused",), ("referred",))
    assert rows(table) == {"A": (5, 5, 5), "B": (5, 5, 5)}


@pytest.mark.parametrize(("largest", "smaller"), ["AB", "BA"])
def test_a_small_category_takes_the_smallest_large_one_with_it(largest, smaller):
    """[LENDING-8]: alone it would be a small cell, and left out it would be found by subtracting from the totals."""
    large = (largest, YES, 30), (largest, NO, 30), (smaller, YES, 6), (smaller, NO, 6)
    found = decisions(*large, ("C", YES, 4), ("C", NO, 9))
    assert rows(by_grade(found)) == {largest: (30, 30), OTHERS: (10, 15)}


def test_small_categories_that_are_large_together_take_none_with_them():
    found = decisions(("A", YES, 5), ("A", NO, 5), ("C", YES, 3), ("C", NO, 4), ("D", YES, 2), ("D", NO, 1))
    assert rows(by_grade(found)) == {"A": (5, 5), OTHERS: (5, 5)}


def test_a_category_of_one_outcome_is_not_a_row():
    """[LENDING-8]: to know the grade would be to know the outcome."""
    found = decisions(("A", YES, 9), ("A", NO, 9), ("B", YES, 9), ("B", NO, 8), ("D", NO, 40))
    assert rows(by_grade(found)) == {"A": (9, 9), OTHERS: (9, 48)}


def test_outcomes_are_put_together_where_that_shows_more():
    """[LENDING-7]: four rows of two columns say more than one row of three."""
    grades = [(grade, outcome, 5) for grade, outcome in product("ABCD", (YES, NO))]
    table = by_grade(decisions(*grades, ("A", ASK, 6)))
    assert table.columns == (("approved",), ("refused", "referred"))
    assert rows(table) == {"A": (5, 11), "B": (5, 5), "C": (5, 5), "D": (5, 5)}


def test_of_two_grids_that_show_as_much_the_one_with_more_outcomes_is_taken():
    found = decisions(("A", YES, 9), ("A", NO, 9), ("A", ASK, 4), ("B", YES, 3), ("B", NO, 9), ("B", ASK, 4))
    assert by_grade(found).columns == (("approved",), ("refused",), ("referred",))


def test_where_one_outcome_is_all_there_is_one_cell():
    """[LENDING-8]"""
    table = by_grade(decisions(("A", NO, 7), ("B", NO, 3)))
    assert table.columns == (("approved", "refused", "referred"),)
    assert table.rows == (TableRow(category=OTHERS, counts=(10,)),)


def test_one_firm_with_many_decisions_is_one_firm():
    """[LENDING-8]: it hides nobody, not even itself."""
    same = [made(number, YES, firm=1) for number in range(20)]
    assert tabulate(same, least_firms=5) == ()
    mixed = [*same, *(made(100 + number, NO, grade="B") for number in range(6))]
    assert rows(by_grade(mixed)) == {OTHERS: (26,)}


def test_a_larger_k_shows_less():
    """[LENDING-8]"""
    found = decisions(("A", YES, 9), ("A", NO, 9), ("B", YES, 5), ("B", NO, 5))
    assert len(rows(by_grade(found, least_firms=5))) == 2
    assert rows(by_grade(found, least_firms=6)) == {OTHERS: (14, 14)}

"""[LEAK-3]: the rank is exact, whatever the order, and equal to what elimination over fractions finds."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from shuiqiao.privacy.rank import Elimination, rank_of

NAMES = "abcdef"
rows = st.lists(st.dictionaries(st.sampled_from(NAMES), st.integers(-(10**6), 10**6)), max_size=9)


def plain_rank(given_rows):
    """Gauss over fractions, column by column."""
    matrix = [[Fraction(row.get(name, 0)) for name in NAMES] for row in given_rows]
    rank = 0
    for column in range(len(NAMES)):
        pivot = next((place for place in range(rank, len(matrix)) if matrix[place][column]), None)
        if pivot is None:
            continue
        matrix[rank], matrix[pivot] = matrix[pivot], matrix[rank]
        for place in range(rank + 1, len(matrix)):
            times = matrix[place][column] / matrix[rank][column]
            matrix[place] = [mine - times * of for mine, of in zip(matrix[place], matrix[rank], strict=True)]
        rank += 1
    return rank


@given(rows)
def test_it_is_the_rank_over_the_fractions(found):
    assert rank_of(found) == plain_rank(found) == rank_of(reversed(found))


@given(rows, rows)
def test_a_form_adds_one_exactly_if_those_before_do_not_make_it_up(before, after):
    known = Elimination(before)
    for row in after:
        rank = known.rank
        assert known.add(row) is (known.rank == rank + 1)
        assert not known.add(row)


@given(rows, st.lists(st.integers(-9, 9), min_size=9, max_size=9))
def test_a_sum_of_known_forms_is_known(found, weights):
    whole = {
        name: sum(weight * row.get(name, 0) for weight, row in zip(weights, found, strict=False)) for name in NAMES
    }
    assert not Elimination(found).add(whole)

"""[LEAK-4] [LEAK-7]: banks that ask piece by piece get everything of a runner alone, and not past the account.

Bits are of the secret: 24 of each of four features. Three of a feature are its eighth, as finely as the card is cut that is
asked with; a card so coarse tells no more however often it is asked.
"""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import Denied
from shuiqiao.consent.model import Output, Purpose
from shuiqiao.privacy.budgets import BUDGETS, WINDOW_MS
from shuiqiao.sandbox.extraction import (
    ATTACKS,
    FEATURES,
    SPAN,
    Extraction,
    Guarded,
    Runner,
    a_card,
    bisection,
    extract,
    unit_vectors,
)

EACH, TOGETHER = BUDGETS[Purpose.UNDERWRITING].each, BUDGETS[Purpose.UNDERWRITING].together
EIGHTHS = 3.0 * len(FEATURES)
WHOLE = 24.0

EXPECTED = {
    # The last of a feature's eight follows from the others: it is no sum more. Of the second feature one part is denied.
    "unit_vectors": Extraction(naive_recovered=EIGHTHS, account_stopped_at=EACH.rank + 1, recovered=3.0),
    # Six cards give all eighths, six more an eighth of those; the next cuts would place a feature by nine bits.
    "small_models": Extraction(naive_recovered=4 * WHOLE, account_stopped_at=12, recovered=2 * EIGHTHS),
    # Twelve bits an answer, and the same twelve each time.
    "powers_of_eight": Extraction(naive_recovered=EIGHTHS, account_stopped_at=EACH.bits // 12, recovered=EIGHTHS),
    "bands": Extraction(naive_recovered=EIGHTHS, account_stopped_at=EACH.bits, recovered=EIGHTHS),
    # A bit an answer.
    "bisection": Extraction(naive_recovered=WHOLE, account_stopped_at=EACH.feature_bits, recovered=EACH.feature_bits),
    # Bits would allow six such answers and sums eight: 18 bits of each feature.
    "bisection_of_four": Extraction(naive_recovered=4 * WHOLE, account_stopped_at=2, recovered=2 * EIGHTHS),
    "bisection_by_two_banks": Extraction(
        naive_recovered=WHOLE, account_stopped_at=TOGETHER.feature_bits, recovered=TOGETHER.feature_bits
    ),
    # Three features whole and three answers of the fourth, none of which is its part.
    "unit_vectors_by_four_banks": Extraction(
        naive_recovered=EIGHTHS, account_stopped_at=TOGETHER.rank + 3, recovered=9.0
    ),
}


@pytest.fixture(scope="module")
def runner():
    made = Runner()
    yield made
    made.close()


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_gets_all_of_a_runner_alone_and_is_stopped_at_the_budget(runner, name):
    assert extract(name, runner) == EXPECTED[name]


def test_two_banks_that_take_turns_are_stopped_by_what_all_together_may_know(runner, tmp_path):
    oracle = Guarded(runner, tmp_path, banks=2)
    with pytest.raises(Denied, match=r"^privacy\.budget_exceeded.*all recipients together would know more"):
        bisection(oracle, dict.fromkeys(FEATURES, (0, SPAN)))
    oracle.close()


def test_a_year_later_the_account_is_open_again(runner, tmp_path):
    oracle, known = Guarded(runner, tmp_path), dict.fromkeys(FEATURES, (0, SPAN))
    with pytest.raises(Denied, match=r"^privacy\.budget_exceeded"):
        unit_vectors(oracle, dict(known))
    oracle.close()
    oracle = Guarded(runner, tmp_path, first=WINDOW_MS)
    assert oracle(a_card({FEATURES[0]: range(8)}, {"points": True}, known=known), Output.POINTS).points is not None
    oracle.close()

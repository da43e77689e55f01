"""Banks that ask for a taxpayer's data piece by piece: they get it from a runner alone, and not past the account.

The data is which bin each of four features of a real vault's taxpayer falls into. Each attack asks with cards of its own,
first a runner that anybody may ask, then the same runner behind the account of a real database.
"""

from __future__ import annotations

from datetime import date
from itertools import count, pairwise

import pyarrow as pa
import pytest
from sqlalchemy import create_engine

from consent_world import a_cipher
from shuiqiao.base.errors import Denied
from shuiqiao.base.ids import MemberId
from shuiqiao.consent.model import Mode, Output, Purpose
from shuiqiao.credit.model_content import encode_content, read_outputs
from shuiqiao.credit.model_runner import ScorecardRunner
from shuiqiao.credit.scorecard import Scorecard, ScorecardFeature
from shuiqiao.privacy import store as privacy_store
from shuiqiao.privacy.budgets import BUDGETS, WINDOW_MS
from shuiqiao.privacy.model import MILLI, Charge
from shuiqiao.privacy.store import ChargeStore

TAXPAYER = "91440300MA5EXAMPL1"
AS_OF = date(2025, 12, 31)
FEATURES = ("sales_months_12m", "sales_months_36m", "zero_sales_months_12m", "days_since_last_sale")
BINS = 8
CUTS = {name: tuple(1_000_000 * step for step in range(1, BINS)) for name in FEATURES}
BUDGET, TOGETHER = BUDGETS[Purpose.UNDERWRITING].each, BUDGETS[Purpose.UNDERWRITING].together


@pytest.fixture(scope="module")
def runner():
    made = ScorecardRunner()
    yield made
    made.close()


@pytest.fixture(scope="module")
def tables():
    months = [date(2025, month, 3) for month in (2, 3, 5, 8, 12)]
    rows = len(months)
    return {
        "invoice_issued": pa.table(
            {
                "uscc": [TAXPAYER] * rows,
                "invoice_no": [str(number) for number in range(rows)],
                "issue_date": pa.array(months, type=pa.date32()),
                "status": ["valid"] * rows,
                "is_red_letter": [False] * rows,
            }
        )
    }


@pytest.fixture(scope="module")
def truth(runner, tables):
    """The bin of each feature, as the taxpayer's records give it."""
    found = {}
    for name in FEATURES:
        card = content({name: tuple(range(BINS))}, {"points": True})
        found[name] = ask(runner, tables, card, Output.POINTS).points
    assert len(set(found.values())) > 1
    return found


def content(points, outputs, *, base=0):
    """A card with the points of each feature's bins, those of an unknown value being those of the first."""
    features = tuple(
        ScorecardFeature(
            name=name,
            cuts=CUTS[name],
            points=tuple(earned),
            unknown_points=earned[0],
            counts=(1,) * (BINS + 1),
            bad=(0,) * (BINS + 1),
        )
        for name, earned in points.items()
    )
    card = Scorecard(name="probe", base_points=base, features=features, n=BINS, bad=0)
    return encode_content(read_outputs(outputs, card=card))


def ask(runner, tables, card, output):
    return runner.run(card, outputs=[output], tables=tables, taxpayer=TAXPAYER, as_of=AS_OF)


class Guarded:
    """The runner behind the account, asked by one or more banks by turns."""

    def __init__(self, runner, tables, folder, *, banks=("bank-a",)):
        engine = create_engine(f"sqlite:///{folder / 'account.db'}")
        privacy_store.metadata.create_all(engine)
        self.store = ChargeStore(engine, cipher=a_cipher())
        self._runner, self._tables, self._banks = runner, tables, banks
        self._numbers = count()

    def __call__(self, card, output):
        number = next(self._numbers)
        bank = self._banks[number % len(self._banks)]
        charge = Charge(
            reference=f"{bank}/{number:032x}",
            taxpayer=TAXPAYER,
            recipient=MemberId(bank),
            purpose=Purpose.UNDERWRITING,
            mode=Mode.SCORE,
            charged_ms=WINDOW_MS + number,
            revealed=self._runner.reveals(card, outputs=[output], as_of=AS_OF),
        )
        self.store.charge(charge)
        return ask(self._runner, self._tables, card, output)

    def known(self):
        charges = self.store.of_taxpayer(TAXPAYER, now_ms=WINDOW_MS + next(self._numbers))
        return sum(charge.revealed.millibits for charge in charges), len(charges)


# The attacks: each asks until it knows every bin, and yields what it knows on the way


def unit_vectors(oracle, found):
    """One card for each bin of each feature: a point for that bin and none for the others."""
    for name in FEATURES:
        for chosen in range(BINS):
            earned = [int(place == chosen) for place in range(BINS)]
            if oracle(content({name: earned}, {"points": True}), Output.POINTS).points:
                found[name] = chosen


def small_models(oracle, found):
    """Cards of two features each, of the bins' own numbers, solved as sums."""
    first = {}
    for left, right in pairwise(FEATURES):
        for times in (1, BINS):
            card = content({left: range(BINS), right: [times * place for place in range(BINS)]}, {"points": True})
            first[left, right, times] = oracle(card, Output.POINTS).points
        right_bin = (first[left, right, BINS] - first[left, right, 1]) // (BINS - 1)
        found[right] = right_bin
        found[left] = first[left, right, 1] - right_bin


def powers_of_eight(oracle, found):
    """One card: each feature's bin is one digit of the score to the base eight. Asked again for every day."""
    weights = {name: [place * BINS**at for place in range(BINS)] for at, name in enumerate(FEATURES)}
    for shift in range(7):
        points = oracle(content(weights, {"points": True}, base=shift), Output.POINTS).points - shift
        found.update({name: points // BINS**at % BINS for at, name in enumerate(FEATURES)})


def bisection(oracle, found):
    """Halve what is possible by a threshold that moves: three answers of one bit give a bin, whose weights stay."""
    for name in FEATURES:
        low, high = 0, BINS - 1
        while low < high:
            middle = (low + high + 1) // 2
            # As many features as there are beside it carry no points, so the card looks like any other.
            card = content({name: range(BINS)}, {"yes_from": middle})
            low, high = (middle, high) if oracle(card, Output.YES_NO).yes_no else (low, middle - 1)
        found[name] = low


def bands(oracle, found):
    """The same by bands with moved cuts, over and over: more than any bank needs of one firm."""
    for name in FEATURES * 3:
        for cut in range(1, BINS):
            declared = {"bands": ["C", "B"], "cuts": [cut]}
            if oracle(content({name: range(BINS)}, declared), Output.BAND).band == "B":
                found[name] = max(found.get(name, 0), cut)
            else:
                found.setdefault(name, 0)


@pytest.mark.parametrize("attack", [unit_vectors, small_models, powers_of_eight, bisection, bands])
def test_a_runner_that_anybody_may_ask_gives_everything(attack, runner, tables, truth):
    found = {}
    attack(lambda card, output: ask(runner, tables, card, output), found)
    assert found == truth


@pytest.mark.parametrize("attack", [unit_vectors, powers_of_eight, bands])
def test_the_account_stops_it_at_the_budget(attack, runner, tables, tmp_path):
    """[LEAK-4]"""
    oracle = Guarded(runner, tables, tmp_path)
    with pytest.raises(Denied, match=r"^privacy\.budget_exceeded"):
        attack(oracle, {})
    millibits, asked = oracle.known()
    assert millibits <= BUDGET.bits * MILLI
    # The next answer, whatever it was, would have gone beyond the bits or the sums.
    assert (asked, millibits) == {
        # The last of a feature's eight follows from the others: it is no sum more, and one bit.
        unit_vectors: (BUDGET.rank + 1, (BUDGET.rank + 1) * MILLI),
        powers_of_eight: (BUDGET.bits // 12, BUDGET.bits * MILLI),
        bands: (BUDGET.bits, BUDGET.bits * MILLI),
    }[attack]


def test_unit_vectors_learn_no_more_than_one_feature_of_four(runner, tables, truth, tmp_path):
    found = {}
    with pytest.raises(Denied):
        unit_vectors(Guarded(runner, tables, tmp_path), found)
    assert found == {FEATURES[0]: truth[FEATURES[0]]}


def test_banks_that_collude_are_stopped_at_what_all_together_may_know(runner, tables, tmp_path):
    oracle = Guarded(runner, tables, tmp_path, banks=("bank-a", "bank-b", "bank-c", "bank-d"))
    with pytest.raises(Denied, match=r"^privacy\.budget_exceeded.*all recipients together"):
        unit_vectors(oracle, {})
    # Three features whole, seven sums and eight answers each, and three answers of the fourth.
    assert oracle.known() == ((TOGETHER.rank + 3) * MILLI, TOGETHER.rank + 3)


def test_a_year_later_the_account_is_open_again(runner, tables, tmp_path):
    oracle = Guarded(runner, tables, tmp_path)
    with pytest.raises(Denied):
        unit_vectors(oracle, {})
    oracle._numbers = count(WINDOW_MS)
    assert oracle(content({FEATURES[0]: range(BINS)}, {"points": True}), Output.POINTS).points is not None

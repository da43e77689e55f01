"""Banks that ask for a taxpayer's data piece by piece: what they get of a runner alone, and behind the leakage account.

The secret is the value of four features of one taxpayer, each one of 2**24 places. Each attack asks with cards of its
own until it knows what it is after; first a runner that anybody may ask, then the same runner with the account of a
real database before it. What is recovered is counted in bits of the secret: 24 for a feature whose value is known,
three for one whose eighth is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import cached_property
from itertools import count, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Protocol

from shuiqiao.base.errors import Denied
from shuiqiao.base.ids import MemberId, system_entropy
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.consent.model import Mode, Output, Purpose
from shuiqiao.crypto.column_cipher import ColumnCipher
from shuiqiao.crypto.model import SuiteName
from shuiqiao.node.home.database import open_database
from shuiqiao.privacy.budgets import WINDOW_MS
from shuiqiao.privacy.model import Charge
from shuiqiao.privacy.store import ChargeStore

if TYPE_CHECKING:
    from shuiqiao.credit.model_runner import ScorecardRunner
    from shuiqiao.exchange.modes.score import ScoreOutput

SINCE: Final = date(2023, 1, 1)
AS_OF: Final = date(2025, 12, 31)
FEATURES: Final = ("sales_months_12m", "sales_months_36m", "zero_sales_months_12m", "days_since_last_sale")
BINS: Final = 8
SPAN: Final = 1 << 24
"""Values of a feature, in millionths: each is one of so many."""

_TAXPAYER: Final = "91440300MA5EXAMPL1"
_SALES: Final = (
    *(date(2024, month, 3) for month in (1, 4, 6, 11)),
    *(date(2025, month, 3) for month in (2, 3, 5, 8)),
    date(2025, 12, 20),
)

Interval = tuple[int, int]
"""Where a value is known to be: from, and below."""

Known = MutableMapping[str, Interval]


class Oracle(Protocol):
    """What a bank asks: a card, and one output of it."""

    def __call__(self, card: bytes, output: Output) -> ScoreOutput:
        """Return the output; behind the account it may raise Denied."""
        ...


class Runner:
    """A runner that anybody may ask about one taxpayer. Whoever opens it closes it."""

    @cached_property
    def runner(self) -> ScorecardRunner:
        """What runs cards; it brings libraries that only a study needs."""
        from shuiqiao.credit.model_runner import ScorecardRunner

        return ScorecardRunner()

    @cached_property
    def truth(self) -> dict[str, int]:
        """The value of each feature, in millionths, found by the engine itself and not by asking."""
        from shuiqiao.features.engine import FeatureEngine

        with FeatureEngine(threads=1, features=frozenset(FEATURES)) as engine:
            (row,) = engine.compute(self._tables, population={_TAXPAYER: AS_OF}).to_pylist()
        return {name: round(row[name] * 1_000_000) for name in FEATURES}

    def __call__(self, card: bytes, output: Output) -> ScoreOutput:
        """Return an output of a card."""
        return self.runner.run(card, outputs=[output], tables=self._tables, taxpayer=_TAXPAYER, as_of=AS_OF)

    def close(self) -> None:
        """Close the engines."""
        self.runner.close()

    @cached_property
    def _tables(self) -> dict[str, Any]:
        import pyarrow as pa

        rows = len(_SALES)
        invoices = pa.table(
            {
                "uscc": [_TAXPAYER] * rows,
                "invoice_no": [str(number) for number in range(rows)],
                "issue_date": pa.array(_SALES, type=pa.date32()),
                "status": ["valid"] * rows,
                "is_red_letter": [False] * rows,
            }
        )
        return {"invoice_issued": invoices}


class Guarded:
    """The same runner behind the account of a database in a folder, asked by one or more banks by turns.

    first: how many milliseconds after the beginning the first question comes.
    """

    def __init__(self, runner: Runner, folder: Path, *, banks: int = 1, first: int = 0) -> None:
        self._engine = open_database(folder / "account.db")
        cipher = ColumnCipher(lambda: bytes(32), suite=SuiteName.INTL, entropy=system_entropy)
        self.store = ChargeStore(self._engine, cipher=cipher)
        self._runner = runner
        self._banks = [MemberId(f"bank-{number}") for number in range(banks)]
        self._numbers = count(first)
        self.answered = 0

    def __call__(self, card: bytes, output: Output) -> ScoreOutput:
        """Return an output of a card; raises Denied ``privacy.budget_exceeded``."""
        number = next(self._numbers)
        bank = self._banks[number % len(self._banks)]
        self.store.charge(
            Charge(
                reference=f"{bank}/{number:032x}",
                taxpayer=_TAXPAYER,
                recipient=bank,
                purpose=Purpose.UNDERWRITING,
                mode=Mode.SCORE,
                charged_ms=WINDOW_MS + number,
                revealed=self._runner.runner.reveals(card, outputs=[output], since=SINCE, as_of=AS_OF),
            )
        )
        self.answered += 1
        return self._runner(card, output)

    def close(self) -> None:
        """Close the database."""
        self._engine.dispose()


@dataclass(frozen=True, slots=True, kw_only=True)
class Extraction:
    """How an attack went. naive_recovered, recovered: bits of the secret.

    account_stopped_at: how many answers were given, None where it never was stopped.
    """

    naive_recovered: float
    account_stopped_at: int | None
    recovered: float


def a_card(points: Mapping[str, Sequence[int]], outputs: Mapping[str, Any], *, known: Known, base: int = 0) -> bytes:
    """Return a card with the points of each feature's parts, into which it cuts evenly what is known of the feature."""
    from shuiqiao.credit.model_content import encode_content, read_outputs
    from shuiqiao.credit.scorecard import Scorecard, ScorecardFeature

    features = tuple(
        ScorecardFeature(
            name=name,
            cuts=_cuts(known[name], parts=len(earned)),
            points=tuple(earned),
            unknown_points=earned[0],
            counts=(1,) * (len(earned) + 1),
            bad=(0,) * (len(earned) + 1),
        )
        for name, earned in points.items()
    )
    card = Scorecard(name="probe", base_points=base, features=features, n=len(features), bad=0)
    return encode_content(read_outputs(outputs, card=card))


def _cuts(interval: Interval, *, parts: int) -> tuple[int, ...]:
    low, high = interval
    return tuple(low + (high - low) * part // parts for part in range(1, parts))


def _part(interval: Interval, at: int, *, parts: int) -> Interval:
    edges = (interval[0], *_cuts(interval, parts=parts), interval[1])
    return edges[at], edges[at + 1]


def unit_vectors(oracle: Oracle, known: Known) -> None:
    """One card for each of eight parts of each feature: a point for that part and none for the others."""
    whole = dict(known)
    for name in FEATURES:
        for chosen in range(BINS):
            card = a_card({name: [int(part == chosen) for part in range(BINS)]}, {"points": True}, known=whole)
            if oracle(card, Output.POINTS).points:
                known[name] = _part(whole[name], chosen, parts=BINS)


def small_models(oracle: Oracle, known: Known) -> None:
    """Many cards of two features each, solved as sums; then the same again within what is known by then."""
    while any(high - low > 1 for low, high in known.values()):
        before = dict(known)
        for left, right in pairwise(FEATURES):
            sums = [
                oracle(
                    a_card(
                        {left: range(BINS), right: [times * part for part in range(BINS)]},
                        {"points": True},
                        known=before,
                    ),
                    Output.POINTS,
                ).points
                or 0
                for times in (1, BINS)
            ]
            of_right = (sums[1] - sums[0]) // (BINS - 1)
            known[right] = _part(before[right], of_right, parts=BINS)
            known[left] = _part(before[left], sums[0] - of_right, parts=BINS)


def powers_of_eight(oracle: Oracle, known: Known) -> None:
    """One card: each feature's part is one digit of the score to the base eight. Asked again under other numbers."""
    whole = dict(known)
    for shift in range(7):
        _ask_digits(oracle, known, within=whole, base=shift)


def bisection(oracle: Oracle, known: Known) -> None:
    """Halve one feature by a threshold that moves, one bit an answer, until its value is known."""
    name = FEATURES[0]
    while known[name][1] - known[name][0] > 1:
        card = a_card({name: range(2)}, {"yes_from": 1}, known=known)
        known[name] = _part(known[name], int(bool(oracle(card, Output.YES_NO).yes_no)), parts=2)


def bisection_of_four(oracle: Oracle, known: Known) -> None:
    """All four features by one card, each cut into eight; twelve bits an answer, the next within what is known."""
    while any(high - low > 1 for low, high in known.values()):
        _ask_digits(oracle, known, within=dict(known))


def bands(oracle: Oracle, known: Known) -> None:
    """A feature's eighth by bands whose cut moves, over and over: more than any bank needs of one firm."""
    whole = dict(known)
    for name in FEATURES * 3:
        at = 0
        for cut in range(1, BINS):
            card = a_card({name: range(BINS)}, {"bands": ["C", "B"], "cuts": [cut]}, known=whole)
            at = max(at, cut if oracle(card, Output.BAND).band == "B" else 0)
        known[name] = _part(whole[name], at, parts=BINS)


def _ask_digits(oracle: Oracle, known: Known, *, within: Known, base: int = 0) -> None:
    weights = {name: [part * BINS**at for part in range(BINS)] for at, name in enumerate(FEATURES)}
    told = oracle(a_card(weights, {"points": True}, known=within, base=base), Output.POINTS).points
    points = (told or 0) - base
    known.update({name: _part(within[name], points // BINS**at % BINS, parts=BINS) for at, name in enumerate(FEATURES)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Attack:
    """run: asks an oracle, and narrows what is known on the way. banks: that ask by turns and share what they learn."""

    run: Callable[[Oracle, Known], None]
    banks: int = 1


ATTACKS: Final[Mapping[str, Attack]] = {
    "unit_vectors": Attack(run=unit_vectors),
    "small_models": Attack(run=small_models),
    "powers_of_eight": Attack(run=powers_of_eight),
    "bands": Attack(run=bands),
    "bisection": Attack(run=bisection),
    "bisection_of_four": Attack(run=bisection_of_four),
    "bisection_by_two_banks": Attack(run=bisection, banks=2),
    "unit_vectors_by_four_banks": Attack(run=unit_vectors, banks=4),
}


def extract(name: str, runner: Runner) -> Extraction:
    """Return how one of ``ATTACKS`` goes against a runner alone, and against it behind the account."""
    attack = ATTACKS[name]
    naive = _unknown()
    attack.run(runner, naive)
    known, answers = _unknown(), None
    with TemporaryDirectory() as folder:
        guarded = Guarded(runner, Path(folder), banks=attack.banks)
        try:
            attack.run(guarded, known)
        except Denied as refused:
            if refused.code != "privacy.budget_exceeded":
                raise
            answers = guarded.answered
        finally:
            guarded.close()
    return Extraction(
        naive_recovered=_bits(naive, truth=runner.truth),
        account_stopped_at=answers,
        recovered=_bits(known, truth=runner.truth),
    )


def _unknown() -> dict[str, Interval]:
    return dict.fromkeys(FEATURES, (0, SPAN))


def _bits(known: Known, *, truth: Mapping[str, int]) -> float:
    """Return how much of the secret is known; what is false of it counts nothing."""
    right = [high - low for name, (low, high) in known.items() if low <= truth[name] < high]
    return round(sum(math.log2(SPAN / width) for width in right), 3)


def run_extractions(*, progress: Progress = no_progress) -> dict[str, dict[str, Any]]:
    """Return {attack: {"naive_recovered", "account_stopped_at", "recovered"}}; see ``Extraction``."""
    runner, found = Runner(), {}
    try:
        for done, name in enumerate(ATTACKS):
            progress("extraction", done, len(ATTACKS))
            found[name] = asdict(extract(name, runner))
    finally:
        runner.close()
    return found

"""The scorecard: a fitted model in whole points, scoring with it (points, probability, reasons), and its bytes.

Scaling: ``BASE_SCORE`` points stand for good-to-bad odds of ``BASE_ODDS`` to 1, and ``POINTS_TO_DOUBLE`` more points
double the odds. Each bin's points are rounded once, when the card is made; from then on there are only integers, so a
score, its reasons and its digest are the same on every machine. The probability of default is computed from the
points in decimal arithmetic (correctly rounded), not in floating point.

Reasons follow the usual practice of the trade: for each feature the points lost against the best bin of that feature,
the four largest losses first, ties in the order of the card. An unknown value is a reason of its own kind.

`LIMIT:` features with a logarithm pass through the machine's own ``ln``; a value that stands within one part in 10^15
of a cut point could fall on either side of it on another machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from typing import Annotated, Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from msgspec import Meta

from shuiqiao.base.encoding import decode_json, encode_json, typed
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.words import Words
from shuiqiao.credit.binning import UNKNOWN, quantise
from shuiqiao.credit.model import Reason, Score
from shuiqiao.credit.training import FittedModel
from shuiqiao.features.catalogue import FEATURE_BY_NAME
from shuiqiao.features.engine import feature_matrix
from shuiqiao.features.model import FeatureDefinition

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

BASE_SCORE = 600
BASE_ODDS = 20
POINTS_TO_DOUBLE = 40
MAX_SCORECARD_BYTES = 1_000_000
"""Largest scorecard file: 64 features of 64 bins need under 200 kB."""

FORMAT: Literal["shuiqiao-scorecard@1"] = "shuiqiao-scorecard@1"

Name = Annotated[str, Meta(min_length=1, max_length=80, pattern="^[a-z0-9][a-z0-9_.@-]*$")]
Points = Annotated[int, Meta(ge=-100_000, le=100_000)]
Count = Annotated[int, Meta(ge=0, le=10**12)]

_MAX_BINS = 64
_SCALE = {"base_score": BASE_SCORE, "base_odds": BASE_ODDS, "points_to_double": POINTS_TO_DOUBLE}
_FACTOR = POINTS_TO_DOUBLE / math.log(2)
_DECIMAL = Context(prec=28, rounding=ROUND_HALF_EVEN)
_PROBABILITY_STEP = Decimal("0.000001")


class ScorecardFeature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One feature of a card: bin i holds values v with cuts[i-1] <= v < cuts[i], in millionths.

    points: one per bin; unknown_points where the value is not known. counts, bad: training firms per bin, unknown last.
    """

    name: Name
    cuts: Annotated[tuple[Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)], ...], Meta(max_length=_MAX_BINS - 1)]
    points: Annotated[tuple[Points, ...], Meta(min_length=1, max_length=_MAX_BINS)]
    unknown_points: Points
    counts: Annotated[tuple[Count, ...], Meta(max_length=_MAX_BINS + 1)]
    bad: Annotated[tuple[Count, ...], Meta(max_length=_MAX_BINS + 1)]

    @property
    def best_points(self) -> int:
        """The most points that a known value can earn."""
        return max(self.points)

    @property
    def reach(self) -> tuple[int, int]:
        """The least and the most points that any value can earn, an unknown one too."""
        return min(*self.points, self.unknown_points), max(*self.points, self.unknown_points)

    def points_of(self, values: Integers) -> Integers:
        """Return the points of each value."""
        table = np.array((*self.points, self.unknown_points), dtype=np.int64)
        places = np.searchsorted(np.array(self.cuts, dtype=np.int64), values, side="right")
        earned: Integers = table.take(np.where(values == UNKNOWN, len(self.points), places))
        return earned


class Scorecard(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A complete model. base_points: the score of a firm with neutral evidence. n, bad: the training firms."""

    name: Name
    base_points: Points
    features: Annotated[tuple[ScorecardFeature, ...], Meta(max_length=64)]
    n: Count
    bad: Count

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The features that the card reads, in its order: the columns of what is scored."""
        return tuple(feature.name for feature in self.features)

    @property
    def reach(self) -> tuple[int, int]:
        """The least and the most points that the card can give."""
        reaches = [feature.reach for feature in self.features]
        return self.base_points + sum(least for least, _ in reaches), self.base_points + sum(
            most for _, most in reaches
        )

    def feature_points(self, values: Integers) -> Integers:
        """Return points per firm and feature. values: n x (the card's features), in millionths, UNKNOWN where null."""
        columns = [feature.points_of(values[:, place]) for place, feature in enumerate(self.features)]
        return np.column_stack(columns) if columns else np.zeros((len(values), 0), dtype=np.int64)

    def points(self, values: Integers) -> Integers:
        """Return the score of each firm."""
        totals: Integers = self.base_points + self.feature_points(values).sum(axis=1, dtype=np.int64)
        return totals


def make_scorecard(model: FittedModel, *, name: str, n: int, bad: int) -> Scorecard:
    """Return the card of a fitted model. Positive evidence earns points, negative evidence loses them."""
    features = tuple(
        ScorecardFeature(
            name=bins.feature,
            cuts=bins.cuts,
            points=tuple(_rounded(-coefficient * woe) for woe in bins.woe),
            unknown_points=_rounded(-coefficient * bins.unknown_woe),
            counts=bins.counts,
            bad=bins.bad,
        )
        for bins, coefficient in zip(model.bins, model.coefficients, strict=True)
    )
    base = round(BASE_SCORE + _FACTOR * (-model.intercept - math.log(BASE_ODDS)))
    return Scorecard(name=name, base_points=base, features=features, n=n, bad=bad)


@lru_cache(maxsize=4096)
def default_probability(points: int) -> Decimal:
    """Return the probability of default of a score, in steps of 0.000001, never 0 or 1."""
    doublings = _DECIMAL.divide(Decimal(points - BASE_SCORE), Decimal(POINTS_TO_DOUBLE))
    odds = _DECIMAL.multiply(Decimal(BASE_ODDS), _DECIMAL.power(Decimal(2), doublings))
    probability = _DECIMAL.divide(Decimal(1), _DECIMAL.add(Decimal(1), odds))
    held = max(_PROBABILITY_STEP, min(1 - _PROBABILITY_STEP, probability))
    return held.quantize(_PROBABILITY_STEP, rounding=ROUND_HALF_EVEN)


def _rounded(log_odds: float) -> int:
    return round(_FACTOR * log_odds)


MAX_REASONS = 4


def feature_values(table: pa.Table, *, names: Sequence[str]) -> Integers:
    """Return features of a feature table as whole millionths, taxpayers x names, UNKNOWN where null.

    Raises InvalidInput ``credit.feature_unknown`` for a name the table does not have.
    """
    missing = [name for name in names if name not in table.column_names]
    if missing:
        raise InvalidInput("credit.feature_unknown", f"no feature {missing[0][:80]!r} in this table")
    return quantise(feature_matrix(table, names=tuple(names)))


def score_taxpayers(card: Scorecard, *, features: pa.Table) -> tuple[Score, ...]:
    """Return the score of every row of a feature table, in its order.

    Raises InvalidInput ``credit.feature_unknown`` where the card reads a feature that the table or the catalogue of
    features does not have.

    Example::

        (score,) = score_taxpayers(card, features=engine.compute(tables, population={uscc: today}))
    """
    values = feature_values(features, names=card.feature_names)
    definitions = [definition_of(name) for name in card.feature_names]
    points = card.feature_points(values)
    totals = card.base_points + points.sum(axis=1, dtype=np.int64)
    return tuple(
        Score(
            points=int(total),
            default_probability=default_probability(int(total)),
            reasons=_reasons(card, definitions=definitions, points=row_points, values=row_values),
        )
        for total, row_points, row_values in zip(totals, points, values, strict=True)
    )


def definition_of(name: str) -> FeatureDefinition:
    """Return the feature of a name; raises InvalidInput ``credit.feature_unknown``."""
    if name not in FEATURE_BY_NAME:
        raise InvalidInput("credit.feature_unknown", f"no feature {name[:80]!r} in the catalogue of features")
    return FEATURE_BY_NAME[name]


def _reasons(
    card: Scorecard, *, definitions: Sequence[FeatureDefinition], points: Integers, values: Integers
) -> tuple[Reason, ...]:
    losses = [feature.best_points - int(earned) for feature, earned in zip(card.features, points, strict=True)]
    order = sorted(range(len(losses)), key=lambda place: (-losses[place], place))
    return tuple(
        _reason(definitions[place], points_lost=losses[place], is_unknown=bool(values[place] == UNKNOWN))
        for place in order[:MAX_REASONS]
        if losses[place] > 0
    )


def _reason(definition: FeatureDefinition, *, points_lost: int, is_unknown: bool) -> Reason:
    if not is_unknown:
        return Reason(
            feature=definition.name, points_lost=points_lost, words=definition.reason, change=definition.change
        )
    types = ", ".join(sorted({need.record_type for need in definition.needs}))
    return Reason(
        feature=definition.name,
        points_lost=points_lost,
        words=Words(en=f"Not known: {definition.name}", zh=f"缺少数据：{definition.name_zh}"),
        change=Words(en=f"Records of {types} that allow it to be computed", zh=f"提供可供计算的记录（{types}）"),
    )


class _CardFile(Scorecard, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A card as it stands in its file."""

    format: Literal["shuiqiao-scorecard@1"]
    base_score: int
    base_odds: int
    points_to_double: int


def encode_scorecard(card: Scorecard) -> bytes:
    """Return the canonical bytes of a card: JSON of integers and text, so that one model has one digest."""
    return encode_json({"format": FORMAT, **_SCALE, **msgspec.to_builtins(card)})


def decode_scorecard(data: bytes) -> Scorecard:
    """Return the card that canonical bytes stand for; what does not re-encode to the same bytes is refused.

    Raises as ``read_scorecard``.
    """
    card = read_scorecard(data)
    if encode_scorecard(card) != data:
        raise InvalidInput("credit.scorecard_malformed", "the bytes are not the canonical form of their content")
    return card


def read_scorecard(data: bytes) -> Scorecard:
    """Return the card that JSON of any layout stands for, as a person or another program writes it.

    Raises InvalidInput ``credit.scorecard_malformed`` (and those of ``base.encoding.decode_json``).
    """
    try:
        file = typed(decode_json(data, max_bytes=MAX_SCORECARD_BYTES), _CardFile)
    except msgspec.ValidationError as error:
        raise InvalidInput("credit.scorecard_malformed", f"not a scorecard: {error}") from error
    problem = _problem(file)
    if problem:
        raise InvalidInput("credit.scorecard_malformed", f"not a scorecard: {problem}")
    return Scorecard(name=file.name, base_points=file.base_points, features=file.features, n=file.n, bad=file.bad)


def scorecard_digest(card: Scorecard, *, digest: Callable[[bytes], bytes]) -> bytes:
    """Return the model's digest under a suite hash: the name by which a network registers and approves it."""
    return digest(encode_scorecard(card))


def _problem(file: _CardFile) -> str:
    """Say what is impossible about a well-typed card, or nothing."""
    scale = (file.base_score, file.base_odds, file.points_to_double)
    if scale != (BASE_SCORE, BASE_ODDS, POINTS_TO_DOUBLE):
        return f"its scale is {scale}, not {(BASE_SCORE, BASE_ODDS, POINTS_TO_DOUBLE)}"
    names = [feature.name for feature in file.features]
    if len(set(names)) != len(names):
        return "a feature stands in it twice"
    for feature in file.features:
        if len(feature.points) != len(feature.cuts) + 1:
            return f"{feature.name} has {len(feature.cuts)} cuts and {len(feature.points)} bins"
        if list(feature.cuts) != sorted(set(feature.cuts)):
            return f"the cuts of {feature.name} do not rise"
        if not len(feature.counts) == len(feature.bad) == len(feature.points) + 1:
            return f"{feature.name} does not count the firms of each of its bins"
    return ""

"""From features to a score with its reasons: points, probability of default, what cost points and what would help.

Reasons follow the usual practice of the trade: for each feature the points lost against the best bin of that feature,
the four largest losses first, ties in the order of the card. An unknown value is a reason of its own kind.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.words import Words
from shuiqiao.credit.binning import UNKNOWN, quantise
from shuiqiao.credit.model import Reason, Score
from shuiqiao.credit.scorecard import Scorecard, default_probability
from shuiqiao.features.catalogue import FEATURE_BY_NAME
from shuiqiao.features.engine import feature_matrix
from shuiqiao.features.model import FeatureDefinition

Integers = npt.NDArray[np.int64]

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
    """
    values = feature_values(features, names=card.feature_names)
    definitions = [_definition(name) for name in card.feature_names]
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


def _definition(name: str) -> FeatureDefinition:
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

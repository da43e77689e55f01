"""The indicators of a card's features: which bin a value is in, or that it is not known.

The indicators of a feature are its bins in order, then that it is not known. A card whose weights nobody else sees
counts points from the middle of what it can give, and what it gives to everybody stands in the weights of its first
feature [BLIND-8].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
import numpy as np
import numpy.typing as npt
from msgspec import Meta

from shuiqiao.base.errors import InvalidInput
from shuiqiao.credit.binning import UNKNOWN
from shuiqiao.credit.model_content import MAX_POINTS_VALUES
from shuiqiao.credit.scorecard import Integers, Name, Scorecard, definition_of
from shuiqiao.privacy.model import indicator

if TYPE_CHECKING:
    from datetime import date

MAX_BINS = 64

Cut = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class BinnedFeature(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One feature: bin i holds values v with cuts[i-1] <= v < cuts[i], in millionths."""

    cuts: Annotated[tuple[Cut, ...], Meta(max_length=MAX_BINS - 1)]
    name: Name

    @property
    def indicators(self) -> int:
        """One for each bin, and one for a value that is not known."""
        return len(self.cuts) + 2


def features_of(card: Scorecard) -> tuple[BinnedFeature, ...]:
    """Return the features of a card, without its points."""
    return tuple(BinnedFeature(cuts=feature.cuts, name=feature.name) for feature in card.features)


def plain_features(features: Sequence[BinnedFeature]) -> list[dict[str, object]]:
    """Return features as the CBOR data model."""
    return [{"cuts": list(feature.cuts), "name": feature.name} for feature in features]


def verify_features(features: Sequence[BinnedFeature]) -> None:
    """Return if features can be computed and cut.

    Raises InvalidInput ``credit.feature_unknown``, ``credit.content_malformed``.
    """
    for feature in features:
        definition_of(feature.name)
    if len({feature.name for feature in features}) != len(features):
        raise malformed("a feature stands in it twice")
    if any(list(feature.cuts) != sorted(set(feature.cuts)) for feature in features):
        raise malformed("cuts of it do not rise")


def indicators_of(features: Sequence[BinnedFeature], values: Integers) -> npt.NDArray[np.bool_]:
    """Return which indicators hold, indicators x taxpayers.

    values: taxpayers x features, in millionths, UNKNOWN where null.
    """
    return np.concatenate([_holding(feature, values[:, place]) for place, feature in enumerate(features)], axis=0)


def unseen_row(features: Sequence[BinnedFeature], *, since: date, as_of: date) -> dict[str, int]:
    """Return a form of unseen weights: zero for each indicator, so that all are asked of their features [LEAK-7]."""
    return {
        indicator(feature.name, cut=cut, since=since, as_of=as_of): 0
        for feature in features
        for cut in (None, *feature.cuts)
    }


def centred_points(card: Scorecard) -> list[int]:
    """Return the points of each indicator, counted from the middle of what the card gives.

    Raises InvalidInput ``credit.output_too_fine`` for a card of more than 4,096 values from the least to the most.
    """
    least, most = points_range(card)
    if most - least >= MAX_POINTS_VALUES:
        raise InvalidInput(
            "credit.output_too_fine",
            f"the points of this card lie from {least} to {most}; {MAX_POINTS_VALUES} values are carried at the most",
        )
    rows = [[*feature.points, feature.unknown_points] for feature in card.features]
    if rows:
        rows[0] = [points + card.base_points - middle_of(card) for points in rows[0]]
    return [each for row in rows for each in row]


def points_range(card: Scorecard) -> tuple[int, int]:
    """Return the least and the most points that a card can give."""
    scores = [(*feature.points, feature.unknown_points) for feature in card.features]
    return card.base_points + sum(map(min, scores)), card.base_points + sum(map(max, scores))


def middle_of(card: Scorecard) -> int:
    """Return the points that a result counts from, which the bank keeps."""
    least, most = points_range(card)
    return (least + most + 1) // 2


def malformed(problem: str) -> InvalidInput:
    """Return what refuses content that is no model."""
    return InvalidInput("credit.content_malformed", f"not a model that can be run: {problem}")


def _holding(feature: BinnedFeature, values: Integers) -> npt.NDArray[np.bool_]:
    places = np.searchsorted(np.array(feature.cuts, dtype=np.int64), values, side="right")
    places = np.where(values == UNKNOWN, feature.indicators - 1, places)
    holds: npt.NDArray[np.bool_] = places == np.arange(feature.indicators)[:, np.newaxis]
    return holds

"""What an output of a card says for sure: the points that it leaves possible, and the values of each feature.

A band says that the points lie between two cuts. A bin of a feature can stand behind it only if some bins of the other
features make up the rest, so a feature has at least the least edge and at most the greatest edge of the bins that can.
What can be unknown has no edge. Whoever lends by the lower edge of an amount lends no more than by the amount itself.

Source: docs/spec/lending.md [LENDING-15].
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, localcontext
from typing import TYPE_CHECKING

from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.money import MAX_FEN
from shuiqiao.credit.model import MICRO

if TYPE_CHECKING:
    from shuiqiao.credit.model_content import ModelContent
    from shuiqiao.credit.scorecard import ScorecardFeature
    from shuiqiao.exchange.modes.score import ScoreOutput

_FEN_PER_YUAN = 100
_LARGEST_LOG = 35 * MICRO
"""exp(35) yuan is more than all money; beyond it an edge says no more."""

_DECIMAL = Context(prec=40, rounding=ROUND_HALF_EVEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The least and the greatest value that a feature can have, in millionths; None where nothing is said for sure."""

    least: int | None = None
    most: int | None = None


def points_range(content: ModelContent, output: ScoreOutput) -> tuple[int, int]:
    """Return the least and the most points of a card behind an output.

    Raises IntegrityError ``exchange.output_wrong`` for one that no points give.
    """
    declared = content.outputs
    least, most = content.card.reach
    if output.points is not None:
        least, most = max(least, output.points), min(most, output.points)
    if output.band is not None:
        place = declared.bands.index(output.band)
        edges = (least, *declared.cuts, most + 1)
        least, most = max(least, edges[place]), min(most, edges[place + 1] - 1)
    if output.yes_no is not None and declared.yes_from is not None:
        least, most = (
            (max(least, declared.yes_from), most) if output.yes_no else (least, min(most, declared.yes_from - 1))
        )
    if least > most:
        raise IntegrityError("exchange.output_wrong", "the model cannot give this: no points stand behind it")
    return least, most


def feature_bounds(content: ModelContent, output: ScoreOutput) -> dict[str, Bounds]:
    """Return what an output says for sure of each feature of its card; raises as ``points_range``.

    Example::

        bounds = feature_bounds(decode_content(data), ScoreOutput(band="C"))
        least_fen(bounds["log_annual_tax_12m"], months=12)
    """
    least, most = points_range(content, output)
    reach_least, reach_most = content.card.reach
    return {
        feature.name: _bounds(
            feature,
            # What the feature itself has to bring, given the most and the least that all others can.
            at_least=least - (reach_most - feature.reach[1]),
            at_most=most - (reach_least - feature.reach[0]),
        )
        for feature in content.card.features
    }


def _bounds(feature: ScorecardFeature, *, at_least: int, at_most: int) -> Bounds:
    if at_least <= feature.unknown_points <= at_most:
        return Bounds()
    places = [place for place, points in enumerate(feature.points) if at_least <= points <= at_most]
    if not places:
        return Bounds()
    first, last = places[0], places[-1]
    return Bounds(
        least=feature.cuts[first - 1] if first else None,
        most=feature.cuts[last] - 1 if last < len(feature.cuts) else None,
    )


def least_fen(bounds: Bounds, *, months: int) -> int | None:
    """Return the least amount behind a feature that is ln(1 + yuan / months), in fen, rounded down.

    None where nothing is said for sure. A value is rounded to millionths before it meets a cut, so the true one lies
    less than one millionth below it.
    """
    if bounds.least is None:
        return None
    with localcontext(_DECIMAL):
        log = Decimal(min(max(bounds.least - 1, 0), _LARGEST_LOG)) / MICRO
        fen = (log.exp() - 1) * _FEN_PER_YUAN * months
        return min(int(fen.to_integral_value(rounding=ROUND_FLOOR)), MAX_FEN)

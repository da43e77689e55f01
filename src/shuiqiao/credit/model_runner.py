"""Runs an approved scorecard where the records are: declared features, points, and of those only what was agreed.

The features are computed by the one engine that a bank uses too (``features.engine``), so that bureau and bank mean the
same number. An engine costs a second to make and belongs to a set of features: the last few are kept.

LIMIT: a runner scores one taxpayer after another; others under way wait for it.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING

from shuiqiao.base.errors import IntegrityError
from shuiqiao.consent.model import Output
from shuiqiao.credit.binning import UNKNOWN
from shuiqiao.credit.model_content import ModelContent, decode_content, output_values
from shuiqiao.credit.scorecard import definition_of, feature_values
from shuiqiao.exchange.modes.score import MAX_REASONS, ModelRunner, ReasonCode, ScoreOutput, Session
from shuiqiao.features.engine import FeatureEngine
from shuiqiao.privacy.model import Revealed, indicator, millibits_of
from shuiqiao.standards.model import CORE_GROUP

if TYPE_CHECKING:
    import pyarrow as pa

    from shuiqiao.credit.scorecard import Integers, Scorecard

MAX_ENGINES = 4
"""Feature engines that are kept, each for one set of features: about 50 MB each."""

decode_kept_content = lru_cache(maxsize=64)(decode_content)
"""``decode_content`` of what was read before: a provider runs the same few models again and again."""


class ScorecardRunner(ModelRunner):
    """Runs scorecards with declared outputs; any number of threads may ask. Whoever opens it closes it.

    Example::

        runner = ScorecardRunner()
        runner.run(content, outputs=[Output.BAND], tables=tables, taxpayer=uscc, as_of=last_day).band
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._engines: OrderedDict[frozenset[str], FeatureEngine] = OrderedDict()

    def close(self) -> None:
        """Close the engines."""
        with self._lock:
            for engine in self._engines.values():
                engine.close()
            self._engines.clear()

    def inputs(self, content: bytes) -> Mapping[str, Sequence[str]]:
        """Return what a card's features need, by record type; raises InvalidInput as ``decode_content``."""
        return inputs_of(decode_kept_content(content).card.feature_names)

    def run(
        self,
        content: bytes,
        *,
        outputs: Collection[Output],
        tables: Mapping[str, pa.Table],
        taxpayer: str,
        as_of: date,
        session: Session | None = None,
    ) -> ScoreOutput:
        """Return the outputs of a card on a taxpayer's records; raises InvalidInput ``credit.*``."""
        del session
        model = decode_kept_content(content)
        values = self.values(model.card.feature_names, tables=tables, taxpayer=taxpayer, as_of=as_of)
        earned = model.card.feature_points(values)[0]
        return output_of(model, points=earned, values=values[0], outputs=outputs)

    def values(self, names: Sequence[str], *, tables: Mapping[str, pa.Table], taxpayer: str, as_of: date) -> Integers:
        """Return features of a taxpayer, 1 x names, in millionths, UNKNOWN where null."""
        with self._lock:
            features = self._engine(frozenset(names)).compute(tables, population={taxpayer: as_of})
        return feature_values(features, names=names)

    def reveals(
        self, content: bytes, *, outputs: Collection[Output], since: date, as_of: date, session: Session | None = None
    ) -> Revealed:
        """Return what outputs of a card reveal at most; raises InvalidInput as ``decode_content``."""
        del session
        return _reveals(content, tuple(sorted(set(outputs))), since, as_of)

    def card(self, content: bytes) -> bytes:
        """Return the content itself, which is open."""
        return content

    def opened(self, content: bytes, output: ScoreOutput, *, session: Session | None = None) -> ScoreOutput:
        """Return an output that a card can give; raises IntegrityError ``exchange.output_wrong``."""
        del session
        problem = _problem(decode_kept_content(content), output)
        if problem:
            raise IntegrityError("exchange.output_wrong", f"the model cannot give this: {problem}")
        return output

    def _engine(self, names: frozenset[str]) -> FeatureEngine:
        engine = self._engines.pop(names, None) or FeatureEngine(threads=1, features=names)
        self._engines[names] = engine
        if len(self._engines) > MAX_ENGINES:
            _, oldest = self._engines.popitem(last=False)
            oldest.close()
        return engine


def inputs_of(names: Sequence[str]) -> dict[str, list[str]]:
    """Return what features need: record type to disclosure groups in order; raises InvalidInput ``credit.*``."""
    groups: dict[str, set[str]] = {}
    for name in names:
        for need in definition_of(name).needs:
            groups.setdefault(need.record_type, {CORE_GROUP}).add(need.group)
    return {record_type: sorted(groups[record_type]) for record_type in sorted(groups)}


@lru_cache(maxsize=256)
def _reveals(content: bytes, outputs: tuple[Output, ...], since: date, as_of: date) -> Revealed:
    """Return the bits of some outputs, and the card as a sum over indicators [LEAK-2], [LEAK-3].

    Band and yes-or-no follow from the points, so beside these they reveal nothing.
    """
    model = decode_kept_content(content)
    implied = {Output.BAND, Output.YES_NO} if Output.POINTS in outputs else set[Output]()
    millibits = sum(millibits_of(output_values(model, output)) for output in outputs if output not in implied)
    return Revealed(millibits=millibits, row=_row_of(model.card, since=since, as_of=as_of))


def _row_of(card: Scorecard, *, since: date, as_of: date) -> dict[str, int]:
    """Return the weights of a card's indicators: that a feature is at or above a cut, and that it is not known.

    Of one day and one period of records: the same feature of others is another number.
    """
    row: dict[str, int] = {}
    for feature in card.features:
        least = feature.points[0]
        row[indicator(feature.name, cut=None, since=since, as_of=as_of)] = feature.unknown_points - least
        for cut, below, above in zip(feature.cuts, feature.points, feature.points[1:], strict=False):
            row[indicator(feature.name, cut=cut, since=since, as_of=as_of)] = above - below
    return {name: weight for name, weight in row.items() if weight}


def output_of(model: ModelContent, *, points: Integers, values: Integers, outputs: Collection[Output]) -> ScoreOutput:
    """Return what of a result is asked for. points, values: of one taxpayer, by feature in the card's order."""
    total = model.card.base_points + int(points.sum())
    threshold = model.outputs.yes_from
    return ScoreOutput(
        band=model.band_of(total) if Output.BAND in outputs else None,
        points=total if Output.POINTS in outputs else None,
        reasons=_reasons(model.card, points=points, values=values) if Output.REASONS in outputs else None,
        yes_no=threshold is not None and total >= threshold if Output.YES_NO in outputs else None,
    )


def score_of(model: ModelContent, *, points: int) -> ScoreOutput:
    """Return points with the band and the yes or no that a card makes of them."""
    threshold = model.outputs.yes_from
    return ScoreOutput(
        points=points,
        band=model.band_of(points) if model.outputs.bands else None,
        yes_no=None if threshold is None else points >= threshold,
    )


def _reasons(card: Scorecard, *, points: Integers, values: Integers) -> list[ReasonCode]:
    """Return why points were lost, as ``score_taxpayers`` orders reasons: the largest loss first."""
    losses = [feature.best_points - int(earned) for feature, earned in zip(card.features, points, strict=True)]
    order = sorted(range(len(losses)), key=lambda place: (-losses[place], place))
    return [
        ReasonCode(feature=card.features[place].name, is_known=bool(values[place] != UNKNOWN))
        for place in order[:MAX_REASONS]
        if losses[place] > 0
    ]


def _problem(model: ModelContent, output: ScoreOutput) -> str:
    """Say why a card cannot give an output, or nothing."""
    if output.ciphertext is not None or output.shared is not None:
        return "it is open, and what it gives too"
    undeclared = sorted(set(output.given) - set(model.outputs.allowed))
    if undeclared:
        return f"it does not declare {', '.join(undeclared)}"
    if output.band is not None and output.band not in model.outputs.bands:
        return f"it has no band {output.band}"
    names = [reason.feature for reason in output.reasons or ()]
    if len(set(names)) != len(names) or not set(names) <= set(model.card.feature_names):
        return f"the reasons {', '.join(names)} are not features of it, each once"
    return "" if output.points is None else _problem_of_points(model, output, points=output.points)


def _problem_of_points(model: ModelContent, output: ScoreOutput, *, points: int) -> str:
    least, most = model.card.reach
    if not least <= points <= most:
        return f"{points} points where it gives {least} to {most}"
    if output.band is not None and output.band != model.band_of(points):
        return f"{points} points are of the band {model.band_of(points)}, not {output.band}"
    threshold = model.outputs.yes_from
    if output.yes_no is not None and threshold is not None and output.yes_no != (points >= threshold):
        return f"{points} points with the threshold {threshold} are not {output.yes_no}"
    return ""

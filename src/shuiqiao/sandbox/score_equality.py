"""Whether every mode of scoring gives a taxpayer the score that a bank computes from records that it was shown.

The taxpayers are those of the sandbox's economy. What a score is held against is the card's points by the features of
200 taxpayers at once. *At source* each taxpayer is run alone on its own records, as a bureau does. *Blind* the same
features meet encrypted weights, 4,096 taxpayers in a batch, and the bank opens the points. *Secure* two processes
compute points and bands of the same features, 4,096 taxpayers in a run. Features are those of the room ``features``
everywhere. The records of 200 taxpayers are in memory at a time, and the features of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from shuiqiao.base.errors import Unavailable
from shuiqiao.base.ids import system_entropy
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.consent.model import Output
from shuiqiao.sandbox.economy.files import record_tables
from shuiqiao.sandbox.economy.generation import generate_economy
from shuiqiao.sandbox.extraction import a_card
from shuiqiao.sandbox.scenario.population import SYNTHETIC_AS_OF

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa

    from shuiqiao.credit.model_content import ModelContent
    from shuiqiao.credit.scorecard import Integers

TAXPAYERS: Final = 10_000
SEED: Final = 20260930

_CARD: Final = {
    "log_monthly_sales_12m": (-45, -30, -15, 0, 10, 20, 30, 40),
    "log_annual_tax_12m": (-30, -18, -6, 0, 6, 12, 18, 24),
    "zero_sales_months_12m": (25, 11, -5, -19, -31, -47),
    "days_since_last_sale": (13, 4, -9, -40),
    "tax_credit_grade_rank": (-60, -20, 0, 15, 30),
    "registered_months": (-22, -7, 3, 9),
    "log_arrears_owed": (7, -16, -33, -52),
}
"""Points of the parts of each feature."""
_SPANS: Final = {
    "log_monthly_sales_12m": (8, 16),
    "log_annual_tax_12m": (4, 14),
    "zero_sales_months_12m": (0, 12),
    "days_since_last_sale": (0, 120),
    "tax_credit_grade_rank": (1, 6),
    "registered_months": (0, 96),
    "log_arrears_owed": (0, 12),
}
"""From and to where each feature is cut evenly."""
_OUTPUTS: Final = {"points": True, "bands": ["E", "D", "C", "B", "A"], "cuts": [520, 560, 600, 640]}
_BASE: Final = 600
_ROWS_OF_A_RUN: Final = 4_096


def score_equality(
    *, taxpayers: int = TAXPAYERS, seed: int = SEED, progress: Progress = no_progress
) -> dict[str, dict[str, Any]]:
    """Return {mode: {"n", "max_points_error", "bands_equal"}}, see ``compare``.

    A mode whose extra is absent has {"refused"} in its place. Raises as ``generate_economy``::

        score_equality(taxpayers=400)["blind"]["max_points_error"]  # 0 or 1
    """
    from shuiqiao.credit.model_content import decode_content

    economy, content = generate_economy(taxpayers=taxpayers, seed=seed, as_of=SYNTHETIC_AS_OF), scored_content()
    model, scorer = decode_content(content), Scorer(content)
    plain, at_source = list[Any](), list[tuple[int, str]]()
    try:
        for numbers, tables in record_tables(economy):
            progress("score equality", len(at_source), taxpayers)
            plain.append(scorer.features(numbers, tables))
            at_source += scorer.at_source(numbers, tables)
    finally:
        scorer.close()
    values = np.concatenate(plain)
    points = [int(each) for each in model.card.points(values)]
    return {
        "at_source": compare(model, plain=points, found=at_source),
        "blind": _compared(model, _blind, values=values, plain=points),
        "secure": _compared(model, _secure, values=values, plain=points),
    }


def scored_content() -> bytes:
    """Return the card by which taxpayers are scored, with what of it may leave."""
    known = {name: (low * 1_000_000, high * 1_000_000) for name, (low, high) in _SPANS.items()}
    return a_card(_CARD, _OUTPUTS, known=known, base=_BASE)


def compare(model: ModelContent, *, plain: Sequence[int], found: Iterable[tuple[int, str]]) -> dict[str, Any]:
    """Return how points and bands that were found stand beside the plain points of the same taxpayers.

    bands_equal: a band differs only where a point more or less is that other one.
    """
    rows = list(zip(plain, found, strict=True))
    return {
        "n": len(rows),
        "max_points_error": max(abs(points - expected) for expected, (points, _) in rows),
        "bands_equal": all(
            band in {model.band_of(expected + near) for near in (-1, 0, 1)} for expected, (_, band) in rows
        ),
    }


class Scorer:
    """Computes a card's features, and runs it at source. Whoever opens it closes it."""

    def __init__(self, content: bytes) -> None:
        from shuiqiao.credit.model_content import decode_content
        from shuiqiao.credit.model_runner import ScorecardRunner
        from shuiqiao.features.engine import FeatureEngine

        self._content = content
        self._runner = ScorecardRunner()
        self._types = tuple(self._runner.inputs(content))
        self._names = decode_content(content).card.feature_names
        self._engine = FeatureEngine(threads=1, features=self._names)

    def features(self, numbers: Sequence[str], tables: Mapping[str, pa.Table]) -> Integers:
        """Return what the card reads of all these taxpayers by one statement, in their order."""
        from shuiqiao.credit.scorecard import feature_values

        found = self._engine.compute(
            {name: tables[name] for name in self._types}, population=dict.fromkeys(numbers, SYNTHETIC_AS_OF)
        )
        places = {number: place for place, number in enumerate(found.column("uscc").to_pylist())}
        ordered: Integers = feature_values(found, names=self._names)[[places[number] for number in numbers]]
        return ordered

    def at_source(self, numbers: Sequence[str], tables: Mapping[str, pa.Table]) -> Iterator[tuple[int, str]]:
        """Yield points and band of each taxpayer, run on its own records alone."""
        import pyarrow.compute

        compute: Any = pyarrow.compute
        for number in numbers:
            output = self._runner.run(
                self._content,
                outputs=(Output.POINTS, Output.BAND),
                tables={name: tables[name].filter(compute.equal(tables[name]["uscc"], number)) for name in self._types},
                taxpayer=number,
                as_of=SYNTHETIC_AS_OF,
            )
            yield output.points or 0, output.band or ""

    def close(self) -> None:
        """Close the engines."""
        self._engine.close()
        self._runner.close()


def _compared(
    model: ModelContent,
    found: Callable[[ModelContent, Integers], Iterator[tuple[int, str]]],
    *,
    values: Integers,
    plain: Sequence[int],
) -> dict[str, Any]:
    try:
        return compare(model, plain=plain, found=found(model, values))
    except Unavailable as refused:
        return {"refused": refused.as_dict()}


def _blind(model: ModelContent, values: Integers) -> Iterator[tuple[int, str]]:
    """Yield points and band of each taxpayer as the bank opens them; raises what ``blind_scheme`` raises."""
    from shuiqiao.credit.blind_content import decode_blind, encrypt_card, points_in
    from shuiqiao.credit.indicators import indicators_of
    from shuiqiao.privacy.blind.scheme import SLOTS, blind_scheme

    scheme = blind_scheme()
    keys = scheme.generate_keys()
    content = decode_blind(encrypt_card(model, keys=keys))
    weights = scheme.read_weights(content.weights, public=content.public)
    for first in range(0, len(values), SLOTS):
        batch = values[first : first + SLOTS]
        result = scheme.evaluate(weights, indicators_of(content.features, batch), entropy=system_entropy)
        for found in scheme.decrypt(result, secret=keys.secret, count=len(batch)):
            points = points_in(model.card, float(found))
            yield points, model.band_of(points)


def _secure(model: ModelContent, values: Integers) -> Iterator[tuple[int, str]]:
    """Yield points and band of each taxpayer as two processes compute them; raises what ``SecureLinks`` raises."""
    from shuiqiao.credit.indicators import indicators_of, middle_of
    from shuiqiao.credit.secure_content import bank_values, decode_secure, secure_content
    from shuiqiao.sandbox.secure_pair import SecurePair

    content = decode_secure(secure_content(model, salt=system_entropy(32)))
    pair, asked = SecurePair().open(), (Output.POINTS, Output.BAND)
    try:
        for first in range(0, len(values), _ROWS_OF_A_RUN):
            batch = values[first : first + _ROWS_OF_A_RUN]
            holds = indicators_of(content.features, batch).T.astype(np.int64)
            points, bands = (
                pair.outputs(
                    content.function(output, rows=len(batch)),
                    bank_values(model, output),
                    holds,
                    binding=sha256(f"{output} of {first}".encode()).digest(),
                )
                for output in asked
            )
            for each, band in zip(points, bands, strict=True):
                yield each + middle_of(model.card), model.outputs.bands[band]
    finally:
        pair.close()

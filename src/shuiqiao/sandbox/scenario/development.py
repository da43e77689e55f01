"""Model development at the lead bank: its loan book's outcomes, and records that each enterprise consented to.

Every record comes through a consent for model development and is proven like any other. The figures are nested
cross-validation; an applicant who is also in the loan book is later scored by models that never saw it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa

from shuiqiao.credit.features.definition import FeatureDefinition
from shuiqiao.credit.features.definitions import FEATURES
from shuiqiao.credit.features.engine import FeatureEngine
from shuiqiao.credit.features.inputs import granted_needs
from shuiqiao.credit.scorecard import Scorecard, make_scorecard, points_from_probability
from shuiqiao.credit.scoring import feature_values
from shuiqiao.credit.training import TrainingData, TrainingSettings, train
from shuiqiao.credit.validation import Validation, ValidationSettings, validate

_PROBABILITY_FLOOR = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class DevelopedModel:
    """A scorecard with its honest figures.

    out_of_fold_points: taxpayer to the score given by models that never saw it.
    """

    card: Scorecard
    validation: Validation
    candidates: int
    out_of_fold_points: Mapping[str, int]
    features: pa.Table


def develop_model(
    tables: Sequence[Mapping[str, Any]],
    *,
    outcomes: Mapping[str, bool],
    as_of: date,
    engine: FeatureEngine,
    seed: int,
) -> DevelopedModel:
    """Compute features of everyone in the loan book, validate the procedure, fit the card on all of them.

    tables: proven records per taxpayer, record type to table. outcomes: taxpayer to whether it defaulted. Raises
    InvalidInput ``credit.too_few_firms`` where there is too little to learn from.
    """
    pooled = _pool(tables)
    features = engine.compute(pooled, population=dict.fromkeys(outcomes, as_of))
    usable = _usable_features(pooled)
    names = tuple(feature.name for feature in usable)
    taxpayers: list[str] = features.column("uscc").to_pylist()
    data = TrainingData(
        names=names,
        directions=tuple(feature.expected for feature in usable),
        values=feature_values(features, names=names),
        bad=np.array([outcomes[taxpayer] for taxpayer in taxpayers], dtype=np.bool_),
    )
    rng = np.random.Generator(np.random.PCG64(seed))
    validation = validate(data, settings=ValidationSettings(), rng=rng)
    fitted = train(data, settings=TrainingSettings(), rng=rng)
    card = make_scorecard(fitted, name="tax-record-scorecard", n=validation.n, bad=validation.bad)
    probability = np.clip(np.array(validation.probability), _PROBABILITY_FLOOR, 1 - _PROBABILITY_FLOOR)
    points = points_from_probability(probability)
    return DevelopedModel(
        card=card,
        validation=validation,
        candidates=len(names),
        out_of_fold_points=dict(zip(taxpayers, (int(value) for value in points), strict=True)),
        features=features,
    )


def age_in_months(registered_on: date | None, *, as_of: date) -> int | None:
    """Return whole months since registration, None where it is unknown."""
    if registered_on is None:
        return None
    return (as_of.year - registered_on.year) * 12 + as_of.month - registered_on.month - (as_of.day < registered_on.day)


def decimal_or_none(value: float | None) -> Decimal | None:
    """Return a feature value as a Decimal with six places, None where it is unknown."""
    return None if value is None else Decimal(repr(round(value, 6)))


def _pool(tables: Sequence[Mapping[str, Any]]) -> dict[str, pa.Table]:
    types = {record_type for entry in tables for record_type in entry}
    return {
        record_type: pa.concat_tables([entry[record_type] for entry in tables if record_type in entry])
        for record_type in sorted(types)
    }


def _usable_features(tables: Mapping[str, pa.Table]) -> tuple[FeatureDefinition, ...]:
    granted = granted_needs(tables)
    return tuple(feature for feature in FEATURES if all(need in granted for need in feature.needs))

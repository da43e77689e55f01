"""Model development at a bank: its loan book's outcomes, and records that each enterprise consented to.

Every record comes through a consent for model development and is proven like any other. The figures are nested
cross-validation. A firm that helped to train a card must not be decided by it: the firms are cut into folds, one card
is trained without each fold, and an applicant who is in the loan book is scored by the card that never saw it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from shuiqiao.credit.scorecard import Scorecard, feature_values, make_scorecard
from shuiqiao.credit.training import TrainingData, TrainingSettings, stratified_folds, train
from shuiqiao.credit.validation import Validation, ValidationSettings, validate
from shuiqiao.features.catalogue import FEATURES
from shuiqiao.features.engine import FeatureEngine
from shuiqiao.features.inputs import granted_needs
from shuiqiao.features.model import FeatureDefinition


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossFit:
    """One card per fold, and the number of the card that each firm is to be scored by."""

    cards: tuple[Scorecard, ...]
    card_of: tuple[int, ...]


def cross_fit(
    data: TrainingData, *, name: str, settings: TrainingSettings, folds: int, rng: np.random.Generator
) -> CrossFit:
    """Return the cards ``<name>-fold<k>`` and the card of each firm, in the order of the data.

    Raises InvalidInput ``credit.too_few_firms`` (from training) where a fold leaves too few firms of one outcome.
    """
    numbers = stratified_folds(data.bad, folds=folds, rng=rng)
    cards = tuple(
        train_scorecard(data.subset(numbers != number), name=f"{name}-fold{number}", settings=settings, rng=rng)
        for number in range(folds)
    )
    return CrossFit(cards=cards, card_of=tuple(int(number) for number in numbers))


def train_scorecard(
    data: TrainingData, *, name: str, settings: TrainingSettings, rng: np.random.Generator
) -> Scorecard:
    """Return the card of all firms handed over: what a bank would put into use."""
    model = train(data, settings=settings, rng=rng)
    return make_scorecard(model, name=name, n=data.bad.size, bad=int(data.bad.sum()))


CARD_NAME = "tax-record-scorecard"
DECISION_FOLDS = 5

REPEATS = 4
"""Repeats of the nested cross-validation: the interval is of the firms, more repeats only steady its middle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoringModel:
    """A scorecard in use, and the cards for those whose outcomes it learned from.

    card: of all firms, for strangers. unseeing: taxpayer in the loan book to the card that was trained without it.
    """

    card: Scorecard
    unseeing: Mapping[str, Scorecard]

    def card_for(self, taxpayer: str) -> Scorecard:
        """Return the card to score a taxpayer with: never one that learned from its outcome."""
        return self.unseeing.get(taxpayer, self.card)

    @property
    def feature_names(self) -> frozenset[str]:
        """Every feature that any of the cards reads."""
        return frozenset(name for card in (self.card, *self.unseeing.values()) for name in card.feature_names)


@dataclass(frozen=True, slots=True, kw_only=True)
class DevelopedModel(ScoringModel):
    """A model with its honest figures. candidates: features that could have been chosen."""

    validation: Validation
    candidates: int


def develop_model(
    tables: Sequence[Mapping[str, Any]],
    *,
    outcomes: Mapping[str, bool],
    as_of: date,
    seed: int,
) -> DevelopedModel:
    """Compute features of everyone in the loan book, validate the procedure, fit the card on all of them.

    Example::

        model = develop_model([received.tables for received in book], outcomes=outcomes, as_of=today, seed=1)
        card = model.card_for(uscc)

    tables: proven records per taxpayer, record type to table. outcomes: taxpayer to whether it defaulted. Raises
    InvalidInput ``credit.too_few_firms`` where there is too little to learn from.
    """
    pooled = _pool(tables)
    usable = _usable_features(pooled)
    names = tuple(feature.name for feature in usable)
    with FeatureEngine(features=names) as engine:
        features = engine.compute(pooled, population=dict.fromkeys(outcomes, as_of))
    taxpayers: list[str] = features.column("uscc").to_pylist()
    data = TrainingData(
        names=names,
        directions=tuple(feature.expected for feature in usable),
        values=feature_values(features, names=names),
        bad=np.array([outcomes[taxpayer] for taxpayer in taxpayers], dtype=np.bool_),
    )
    rng = np.random.Generator(np.random.PCG64(seed))
    validation = validate(data, settings=ValidationSettings(repeats=REPEATS), rng=rng)
    folds = cross_fit(data, name=CARD_NAME, settings=TrainingSettings(), folds=DECISION_FOLDS, rng=rng)
    return DevelopedModel(
        card=train_scorecard(data, name=CARD_NAME, settings=TrainingSettings(), rng=rng),
        validation=validation,
        candidates=len(names),
        unseeing={taxpayer: folds.cards[number] for taxpayer, number in zip(taxpayers, folds.card_of, strict=True)},
    )


def _pool(tables: Sequence[Mapping[str, Any]]) -> dict[str, pa.Table]:
    types = {record_type for entry in tables for record_type in entry}
    return {
        record_type: pa.concat_tables([entry[record_type] for entry in tables if record_type in entry])
        for record_type in sorted(types)
    }


def _usable_features(tables: Mapping[str, pa.Table]) -> tuple[FeatureDefinition, ...]:
    granted = granted_needs(tables)
    return tuple(feature for feature in FEATURES if all(need in granted for need in feature.needs))

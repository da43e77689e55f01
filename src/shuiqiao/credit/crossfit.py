"""Scoring firms of known outcome without letting any of them judge itself.

A firm that helped to train a card must not be decided by it. So the firms are cut into folds, one card is trained
without each fold, and every firm is scored by the card that never saw it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shuiqiao.credit.scorecard import Scorecard, make_scorecard
from shuiqiao.credit.training import TrainingData, TrainingSettings, stratified_folds, train


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

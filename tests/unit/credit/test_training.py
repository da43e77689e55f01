"""Training, nested validation and cross-fitting on firms whose truth is known because it was made up."""

from __future__ import annotations

import numpy as np
import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.credit.binning import quantise
from shuiqiao.credit.development import cross_fit
from shuiqiao.credit.discrimination import area
from shuiqiao.credit.training import TrainingData, TrainingSettings, stratified_folds, train
from shuiqiao.credit.validation import BASELINE_FEATURE, ValidationSettings, validate
from shuiqiao.features.model import Direction


def made_up(*, n: int = 150, signal: float, noise_features: int = 8, seed: int = 4) -> TrainingData:
    rng = np.random.default_rng(seed)
    health = rng.normal(size=n)
    bad = np.zeros(n, dtype=bool)
    bad[np.argsort(health + 0.5 * rng.normal(size=n))[: n // 4]] = True
    informative = signal * health[:, None] + rng.normal(size=(n, 3))
    values = np.column_stack([informative, rng.normal(size=(n, noise_features))])
    names = (BASELINE_FEATURE, *(f"feature_{place}" for place in range(values.shape[1] - 1)))
    return TrainingData(names=names, directions=(Direction.OPEN,) * len(names), values=quantise(values), bad=bad)


FAST = TrainingSettings(feature_counts=(3, 6), penalties=(5.0,), inner_folds=3)


def test_folds_deal_out_both_outcomes_evenly():
    bad = np.arange(123) < 27
    numbers = stratified_folds(bad, folds=5, rng=np.random.default_rng(0))
    assert sorted(np.bincount(numbers[bad]).tolist()) == [5, 5, 5, 6, 6]
    assert sorted(np.bincount(numbers).tolist()) == [24, 24, 25, 25, 25]


def test_training_finds_the_features_that_matter():
    data = made_up(signal=1.0)
    model = train(data, settings=FAST, rng=np.random.default_rng(1))
    assert {bins.feature for bins in model.bins} >= {BASELINE_FEATURE, "feature_0", "feature_1"}
    assert area(data.bad, risk=model.log_odds(data.values)) > 0.85
    assert max(model.coefficients) <= 0.0


def test_calibrated_probabilities_add_up_to_about_the_bad_firms():
    data = made_up(signal=1.0, n=400)
    model = train(data, settings=FAST, rng=np.random.default_rng(1))
    expected = float((1 / (1 + np.exp(-model.log_odds(data.values)))).sum())
    assert expected == pytest.approx(data.bad.sum(), rel=0.05)


def test_nested_validation_sees_the_signal_and_compares_it_with_the_baseline():
    data = made_up(signal=1.0, n=300)
    found = validate(data, settings=ValidationSettings(repeats=2, training=FAST), rng=np.random.default_rng(2))
    assert found.area.interval.low < found.area.auc < found.area.interval.high
    assert found.area.auc > found.baseline.auc > 0.7
    assert found.comparison.difference == pytest.approx(found.area.auc - found.baseline.auc)
    assert found.comparison.p_value < 0.05
    assert (found.n, found.bad, len(found.probability)) == (300, 75, 300)
    assert found.brier < 0.1875  # of the base rate alone


def test_no_information_is_reported_as_none():
    """A leak anywhere in the nesting would show here: features of pure noise, chosen among many, look good in sample."""
    areas = [
        validate(
            made_up(signal=0.0, n=120, noise_features=25, seed=seed),
            settings=ValidationSettings(repeats=1, training=FAST),
            rng=np.random.default_rng(seed),
        ).area.auc
        for seed in range(6)
    ]
    assert np.mean(areas) < 0.58
    in_sample = made_up(signal=0.0, n=120, noise_features=25, seed=0)
    model = train(in_sample, settings=FAST, rng=np.random.default_rng(0))
    assert area(in_sample.bad, risk=model.log_odds(in_sample.values)) > 0.62


def test_validation_is_repeatable_and_depends_on_its_seed():
    data = made_up(signal=1.0)
    settings = ValidationSettings(repeats=1, training=FAST)
    runs = [validate(data, settings=settings, rng=np.random.default_rng(seed)) for seed in (7, 7, 8)]
    assert runs[0] == runs[1]
    assert runs[0].probability != runs[2].probability


def test_no_firm_is_scored_by_a_card_that_saw_it():
    data = made_up(signal=1.0)
    found = cross_fit(data, name="demo", settings=FAST, folds=5, rng=np.random.default_rng(3))
    assert [card.name for card in found.cards] == [f"demo-fold{number}" for number in range(5)]
    held_out = np.bincount(found.card_of, minlength=5)
    assert [card.n for card in found.cards] == (150 - held_out).tolist()
    changed = data.values.copy()
    mine = np.array(found.card_of) == 2
    changed[mine] = -changed[mine]
    again = cross_fit(
        TrainingData(names=data.names, directions=data.directions, values=changed, bad=data.bad),
        name="demo",
        settings=FAST,
        folds=5,
        rng=np.random.default_rng(3),
    )
    assert again.cards[2] == found.cards[2]
    assert again.cards[1] != found.cards[1]


@pytest.mark.parametrize(("bad_count", "code"), [(2, "credit.too_few_firms"), (5, "credit.too_few_firms")])
def test_too_few_bad_firms_are_refused(bad_count, code):
    data = made_up(signal=1.0)
    few = TrainingData(names=data.names, directions=data.directions, values=data.values, bad=np.arange(150) < bad_count)
    with pytest.raises(InvalidInput) as refused:
        validate(few, settings=ValidationSettings(training=FAST), rng=np.random.default_rng(0))
    assert refused.value.code == code


def test_shapes_and_the_baseline_feature_are_checked():
    data = made_up(signal=1.0)
    with pytest.raises(InvalidInput) as refused:
        TrainingData(names=data.names[1:], directions=data.directions, values=data.values, bad=data.bad)
    assert refused.value.code == "credit.training_shape_wrong"
    with pytest.raises(InvalidInput) as refused:
        validate(data, settings=ValidationSettings(baseline_feature="absent"), rng=np.random.default_rng(0))
    assert refused.value.code == "credit.baseline_feature_missing"

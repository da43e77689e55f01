"""Honest nested cross-validation: everything that is learned is learned inside each training fold.

Outer: ``repeats`` times stratified ``outer_folds``-fold. Inner (``training.train``): choice of the number of features,
the penalty and the calibration line. Pooled out-of-fold means: each firm is scored by a model that never saw it, and
one curve is drawn over all firms of a repeat. The AUC is the mean over repeats; its interval is of n firms.

The baseline is a logistic regression on log monthly sales alone, fitted in the same folds. `LIMIT:` where the data has
no dates of default, look-ahead in the labels cannot be excluded by any cross-validation.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shuiqiao.base.errors import InvalidInput
from shuiqiao.credit.binning import UNKNOWN
from shuiqiao.credit.discrimination import (
    AreaComparison,
    AreaEstimate,
    CalibrationBand,
    CurvePoint,
    area,
    brier,
    calibration_table,
    compare_areas,
    curve,
    estimate_area,
    kolmogorov_smirnov,
)
from shuiqiao.credit.logistic import fit_logistic, sigmoid
from shuiqiao.credit.model import MICRO
from shuiqiao.credit.training import TrainingData, TrainingSettings, stratified_folds, train

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

BASELINE_FEATURE = "log_monthly_sales_36m"
_BASELINE_PENALTY = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationSettings:
    """How much is repeated. Ten repeats of five folds take about ten seconds for 200 firms."""

    outer_folds: int = 5
    repeats: int = 10
    training: TrainingSettings = field(default_factory=TrainingSettings)
    baseline_feature: str = BASELINE_FEATURE


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """What nested cross-validation found.

    area, baseline: mean pooled AUC over the repeats with intervals; comparison: paired, model less baseline.
    fold_area_mean, fold_area_sd: over single folds, for comparison with figures given that way. ks, brier: means over
    repeats. curve, baseline_curve and calibration: of each firm's mean out-of-fold probability. probability: that
    mean, one per firm. feature_use: in how many of the fitted models a feature stood.
    """

    n: int
    bad: int
    repeats: int
    outer_folds: int
    area: AreaEstimate
    baseline: AreaEstimate
    comparison: AreaComparison
    fold_area_mean: float
    fold_area_sd: float
    ks: float
    brier: float
    curve: tuple[CurvePoint, ...]
    baseline_curve: tuple[CurvePoint, ...]
    calibration: tuple[CalibrationBand, ...]
    probability: tuple[float, ...]
    feature_use: tuple[tuple[str, int], ...]


def validate(data: TrainingData, *, settings: ValidationSettings, rng: np.random.Generator) -> Validation:
    """Return the nested cross-validation of the training procedure on these firms.

    Raises InvalidInput ``credit.too_few_firms`` where a class has fewer firms than outer folds, and
    ``credit.baseline_feature_missing`` where the baseline's feature is not in the data.
    """
    _require_firms(data, settings=settings)
    risk = np.zeros((settings.repeats, data.bad.size))
    baseline = np.zeros_like(risk)
    fold_areas: list[float] = []
    use: Counter[str] = Counter()
    sales = _baseline_values(data, feature=settings.baseline_feature)
    for repeat in range(settings.repeats):
        numbers = stratified_folds(data.bad, folds=settings.outer_folds, rng=rng)
        for number in range(settings.outer_folds):
            inside, outside = numbers != number, numbers == number
            model = train(data.subset(inside), settings=settings.training, rng=rng)
            use.update(bins.feature for bins in model.bins)
            risk[repeat, outside] = model.log_odds(data.values[outside])
            fold_areas.append(area(data.bad[outside], risk=risk[repeat, outside]))
            baseline[repeat, outside] = _baseline_log_odds(sales[inside], bad=data.bad[inside], of=sales[outside])
    return _summary(data, settings=settings, risk=risk, baseline=baseline, fold_areas=fold_areas, use=use)


def _summary(
    data: TrainingData,
    *,
    settings: ValidationSettings,
    risk: Floats,
    baseline: Floats,
    fold_areas: list[float],
    use: Counter[str],
) -> Validation:
    bad = data.bad
    probability, baseline_probability = sigmoid(risk).mean(axis=0), sigmoid(baseline).mean(axis=0)
    return Validation(
        n=bad.size,
        bad=int(bad.sum()),
        repeats=settings.repeats,
        outer_folds=settings.outer_folds,
        area=estimate_area(bad, risk=risk),
        baseline=estimate_area(bad, risk=baseline),
        comparison=compare_areas(bad, risk=risk, baseline=baseline),
        fold_area_mean=float(np.mean(fold_areas)),
        fold_area_sd=float(np.std(fold_areas, ddof=1)),
        ks=float(np.mean([kolmogorov_smirnov(bad, risk=row) for row in risk])),
        brier=float(np.mean([brier(bad, probability=sigmoid(row)) for row in risk])),
        curve=curve(bad, risk=probability),
        baseline_curve=curve(bad, risk=baseline_probability),
        calibration=calibration_table(bad, probability=probability),
        probability=tuple(float(value) for value in probability),
        feature_use=tuple(sorted(use.items(), key=lambda entry: (-entry[1], entry[0]))),
    )


def _require_firms(data: TrainingData, *, settings: ValidationSettings) -> None:
    least = min(int(data.bad.sum()), int((~data.bad).sum()))
    if least < 2 * settings.outer_folds:
        raise InvalidInput(
            "credit.too_few_firms",
            f"{least} firms of the rarer outcome, fewer than twice {settings.outer_folds} outer folds",
        )


def _baseline_log_odds(sales: Floats, *, bad: Flags, of: Floats) -> Floats:
    """Fit on log sales standardised by the training firms, and return the log odds of other firms."""
    centre, spread = float(np.nanmean(sales)), max(float(np.nanstd(sales)), 1e-9)
    train_x, other_x = (np.nan_to_num((part - centre) / spread)[:, None] for part in (sales, of))
    return fit_logistic(train_x, bad=bad, penalty=_BASELINE_PENALTY).log_odds(other_x)


def _baseline_values(data: TrainingData, *, feature: str) -> Floats:
    """Return the baseline's feature, NaN where unknown."""
    if feature not in data.names:
        raise InvalidInput("credit.baseline_feature_missing", f"no feature {feature!r} among {len(data.names)}")
    column = data.values[:, data.names.index(feature)]
    return np.where(column == UNKNOWN, np.nan, column / MICRO)

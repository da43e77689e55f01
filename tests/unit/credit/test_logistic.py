"""Ridge logistic regression against scikit-learn, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from shuiqiao.base.errors import InvalidInput
from shuiqiao.credit.logistic import fit_logistic, sigmoid


def sample(*, n: int = 150, k: int = 6, seed: int = 1):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, k)) * np.arange(1, k + 1)
    odds = features @ np.linspace(-0.6, 0.6, k) - 1
    return features, rng.random(n) < sigmoid(odds)


@pytest.mark.parametrize("penalty", [0.01, 1.0, 50.0])
def test_it_finds_the_minimum_that_scikit_learn_finds(penalty):
    features, bad = sample()
    ours = fit_logistic(features, bad=bad, penalty=penalty)
    oracle = LogisticRegression(C=1 / penalty, tol=1e-10, max_iter=10_000).fit(features, bad)
    assert ours.coefficients == pytest.approx(oracle.coef_[0], abs=1e-5)
    assert ours.intercept == pytest.approx(oracle.intercept_[0], abs=1e-5)


def test_separated_classes_converge_because_of_the_penalty():
    features = np.array([[-2.0], [-1.0], [1.0], [2.0]]) * 1000
    fit = fit_logistic(features, bad=np.array([False, False, True, True]), penalty=0.001)
    assert np.isfinite(fit.coefficients).all()
    assert fit.coefficients[0] > 0


def test_without_features_the_intercept_is_the_base_rate():
    fit = fit_logistic(np.empty((4, 0)), bad=np.array([True, False, False, False]), penalty=1.0)
    assert sigmoid(fit.log_odds(np.empty((1, 0)))) == pytest.approx([0.25])


@pytest.mark.parametrize(
    ("bad", "penalty", "code"),
    [
        ([True, True], 1.0, "credit.labels_of_one_kind"),
        ([True, False], 0.0, "credit.penalty_not_positive"),
        ([True, False], float("nan"), "credit.penalty_not_positive"),
    ],
)
def test_impossible_fits_are_refused(bad, penalty, code):
    with pytest.raises(InvalidInput) as refused:
        fit_logistic(np.ones((2, 1)), bad=np.array(bad), penalty=penalty)
    assert refused.value.code == code

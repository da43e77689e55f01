"""Ridge-penalised logistic regression by Newton's method (iteratively reweighted least squares), in numpy.

Minimises  sum log(1 + exp(-s·(a + x·b))) + penalty/2 · |b|²,  s = +1 for bad and -1 for good firms; the intercept a is
not penalised. With penalty = 1/C this is the model of the same name in scikit-learn, which the tests hold it to.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from shuiqiao.base.errors import InvalidInput

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_MAX_STEPS = 100
_TOLERANCE = 1e-7
_MAX_HALVINGS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticFit:
    """A fitted model: log odds of bad = intercept + x · coefficients."""

    intercept: float
    coefficients: Floats

    def log_odds(self, features: Floats) -> Floats:
        """Return the log odds of bad of each row."""
        odds: Floats = self.intercept + features @ self.coefficients
        return odds


def fit_logistic(features: Floats, *, bad: Flags, penalty: float) -> LogisticFit:
    """Return the minimum. features: n x k; bad: bool of length n; penalty > 0.

    Raises InvalidInput ``credit.penalty_not_positive``, ``credit.labels_of_one_kind``.
    """
    if not penalty > 0:
        raise InvalidInput("credit.penalty_not_positive", f"penalty {penalty} where more than 0 is needed")
    if bad.all() or not bad.any():
        raise InvalidInput("credit.labels_of_one_kind", f"all {bad.size} firms have the same outcome")
    ridge = np.full(1 + features.shape[1], penalty)
    ridge[0] = 0.0
    problem = _Problem(
        design=np.column_stack([np.ones(len(features)), features]), target=bad.astype(np.float64), ridge=ridge
    )
    rate = problem.target.mean()
    weights = np.zeros(ridge.size)
    weights[0] = np.log(rate / (1 - rate))
    point = problem.at(weights)
    for _ in range(_MAX_STEPS):
        step = _newton_step(problem, point)
        point = _descend(problem, point, step=step)
        if np.abs(step).max() < _TOLERANCE:
            break
    return LogisticFit(intercept=float(point.weights[0]), coefficients=point.weights[1:])


def sigmoid(log_odds: Floats) -> Floats:
    """Return probabilities of log odds, without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * log_odds))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    """Weights with the log odds and the loss that they give."""

    weights: Floats
    odds: Floats
    loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Problem:
    """What is minimised. design: n x (1 + k), its first column ones; target: 1.0 for bad; ridge: 1 + k penalties."""

    design: Floats
    target: Floats
    ridge: Floats

    def at(self, weights: Floats) -> _Point:
        odds = self.design @ weights
        loss = (np.logaddexp(0.0, odds) - self.target * odds).sum() + 0.5 * (self.ridge * weights**2).sum()
        return _Point(weights=weights, odds=odds, loss=float(loss))


def _newton_step(problem: _Problem, point: _Point) -> Floats:
    design, ridge = problem.design, problem.ridge
    probability = sigmoid(point.odds)
    gradient = design.T @ (probability - problem.target) + ridge * point.weights
    curvature = (design * (probability * (1 - probability))[:, None]).T @ design
    diagonal = np.einsum("ii->i", curvature)
    diagonal += ridge
    # A tiny term keeps the intercept's curvature from vanishing when every probability saturates.
    diagonal[0] += 1e-12
    step: Floats = -np.linalg.solve(curvature, gradient).astype(np.float64)
    return step


def _descend(problem: _Problem, point: _Point, *, step: Floats) -> _Point:
    """Take the step, halved until the objective does not rise (a full step does nearly always)."""
    size = 1.0
    for _ in range(_MAX_HALVINGS):
        moved = problem.at(point.weights + size * step)
        if moved.loss <= point.loss + 1e-12 * abs(point.loss):
            return moved
        size /= 2
    return point

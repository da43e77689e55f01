"""Who will default: a draw on hidden health at the end of the window, and on chance.

risk = 1 / (1 + exp(-(INTERCEPT - SLOPE * health + SHOCK * noise))). Within a neighbourhood the draw is systematic:
every firm keeps exactly its own probability, but the number of defaults is the rounded sum of the risks, so
that a run with 200 taxpayers has neither 15 nor 45 bad ones.
"""

from __future__ import annotations

import numpy as np

from shuiqiao.sandbox.economy.seeds import BoolArray, FloatArray

INTERCEPT = -3.6
SLOPE = 3.1
SHOCK = 0.4


def default_risk(generator: np.random.Generator, final_health: FloatArray) -> FloatArray:
    """Return each firm's probability of default within twelve months."""
    noise = SHOCK * generator.standard_normal(len(final_health))
    return 1.0 / (1.0 + np.exp(-(INTERCEPT - SLOPE * final_health + noise)))


def draw_defaults(generator: np.random.Generator, risk: FloatArray) -> BoolArray:
    """Draw defaults by systematic sampling in random order: firm i is drawn with probability risk[i] exactly."""
    order = generator.permutation(len(risk))
    edges = np.cumsum(risk[order]) + generator.random()
    defaulted = np.zeros(len(risk), dtype=np.bool_)
    defaulted[order] = np.floor(edges) > np.floor(np.concatenate((edges[:1] - risk[order][:1], edges[:-1])))
    return defaulted

"""The hidden health of firms: a lasting part and a slow autoregressive part. Never written to any file.

health[t] = sqrt(w) * firm + sqrt(1 - w) * drift[t], drift[t] = r * drift[t-1] + sqrt(1 - r^2) * noise[t].
Both parts are standard normal over the population, and so is their sum. The lasting part is drawn by strata (one firm
per 25th part of the distribution in every neighbourhood), so that small economies are representative too.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from shuiqiao.sandbox.economy.model import NEIGHBOURHOOD, HiddenLife
from shuiqiao.sandbox.economy.seeds import FloatArray, Purpose, stream

LASTING_SHARE = 0.70
"""w: share of the variance that does not change."""
PERSISTENCE = 0.93
"""r: what remains of the drift after a month; half of a shock is gone after about ten months."""
FINAL_MONTHS = 6


def stratified_normals(generator: np.random.Generator) -> FloatArray:
    """Return one standard normal per member of a neighbourhood, one from each stratum, in random order."""
    strata = generator.permutation(NEIGHBOURHOOD) + generator.random(NEIGHBOURHOOD)
    quantile = NormalDist().inv_cdf
    # The bounds keep a draw of exactly 0 from becoming minus infinity.
    return np.array([quantile(min(max(u / NEIGHBOURHOOD, 1e-9), 1 - 1e-9)) for u in strata])


def live(seed: int, index: int, *, firm: float, months: int) -> HiddenLife:
    """Return the hidden life of one taxpayer over the window."""
    noise = stream(seed, index, Purpose.HEALTH).standard_normal(months)
    drift = np.empty(months)
    drift[0] = noise[0]
    for month in range(1, months):
        drift[month] = PERSISTENCE * drift[month - 1] + (1 - PERSISTENCE**2) ** 0.5 * noise[month]
    monthly = LASTING_SHARE**0.5 * firm + (1 - LASTING_SHARE) ** 0.5 * drift
    return HiddenLife(monthly=monthly, firm=firm, final=float(monthly[-FINAL_MONTHS:].mean()))

"""One independent random stream per taxpayer and purpose, so that adding taxpayers changes nobody else's life.

Streams are numpy PCG64 generators keyed by (seed, index, purpose); facts that must be known of a party without
generating its life (province, industry, number) come from a 64-bit mix of (seed, party, purpose) instead.
"""

from __future__ import annotations

from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

_GOLDEN = 0x9E3779B97F4A7C15
_MIX_1 = 0xBF58476D1CE4E5B9
_MIX_2 = 0x94D049BB133111EB
_WORD = 0xFFFF_FFFF_FFFF_FFFF


class Purpose(IntEnum):
    """What a stream is drawn for. The numbers are part of the seed: changing one changes every economy."""

    STRATA = 1
    TRAITS = 2
    HEALTH = 3
    PLAN = 4
    SALES = 5
    PURCHASES = 6
    FILINGS = 7
    CONDUCT = 8
    BANK = 9
    PAPERS = 10
    OUTCOME = 11
    PROVINCE = 12
    SECTION = 13
    NAME = 14
    NUMBER = 15


def stream(seed: int, index: int, purpose: Purpose) -> np.random.Generator:
    """Return the generator of one taxpayer (or neighbourhood) for one purpose."""
    sequence = np.random.SeedSequence(entropy=seed, spawn_key=(index, int(purpose)))
    return np.random.Generator(np.random.PCG64(sequence))


def mix(seed: int, parties: IntArray, purpose: Purpose) -> NDArray[np.uint64]:
    """Return 64 well-mixed bits per party (the SplitMix64 finaliser), the same on every machine."""
    start = (seed * _GOLDEN + int(purpose) * _MIX_1) & _WORD
    words = parties.astype(np.uint64) * np.uint64(_GOLDEN) + np.uint64(start)
    words = (words ^ (words >> np.uint64(30))) * np.uint64(_MIX_1)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(_MIX_2)
    return words ^ (words >> np.uint64(31))


def uniform(seed: int, parties: IntArray, purpose: Purpose) -> FloatArray:
    """Return one number in [0, 1) per party."""
    return (mix(seed, parties, purpose) >> np.uint64(11)).astype(np.float64) / float(1 << 53)

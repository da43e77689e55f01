"""WOE binning: monotone, shrunk, direction kept, unknown apart."""

from __future__ import annotations

import math

import numpy as np
import pytest

from shuiqiao.credit.binning import UNKNOWN, BinningSettings, fit_bins, quantise
from shuiqiao.features.model import Direction


def firms(*, n: int = 4000, slope: float = -1.0, seed: int = 2):
    rng = np.random.default_rng(seed)
    value = rng.normal(size=n)
    return quantise(value), rng.random(n) < 1 / (1 + np.exp(1.5 - slope * value))


def bins_of(values, bad, *, direction=Direction.LOWER_RISK, **settings):
    return fit_bins("x", values=values, bad=bad, direction=direction, settings=BinningSettings(**settings))


def test_values_become_whole_millionths_and_nan_unknown():
    values = np.array([1.5, -0.0000004, 0.0000006, np.nan, np.inf, 1e300])
    assert quantise(values).tolist() == [1_500_000, 0, 1, UNKNOWN, UNKNOWN, 9 * 10**18]


def test_weights_rise_where_more_of_it_lowers_the_risk():
    values, bad = firms()
    found = bins_of(values, bad)
    assert list(found.woe) == sorted(found.woe)
    assert len(found.woe) > 5
    assert found.woe[0] < -1 < 1 < found.woe[-1]
    assert sum(found.counts) == 4000
    assert sum(found.bad) == bad.sum()


def test_with_many_firms_the_weight_is_the_plain_weight_of_evidence():
    values, bad = firms()
    found = bins_of(values, bad, bins=4, smoothing=1e-6)
    total, total_bad = sum(found.counts), sum(found.bad)
    for weight, count, of_bad in zip(found.woe, found.counts, found.bad, strict=False):
        plain = math.log((count - of_bad) / of_bad) - math.log((total - total_bad) / total_bad)
        assert weight == pytest.approx(plain, abs=1e-3)


def test_a_feature_that_runs_against_its_declared_direction_drops_out():
    values, bad = firms()
    found = bins_of(values, bad, direction=Direction.HIGHER_RISK)
    assert found.woe == (0.0,)
    assert found.cuts == ()


def test_an_open_direction_follows_the_training_firms():
    values, bad = firms()
    assert bins_of(values, bad, direction=Direction.OPEN) == bins_of(values, bad)
    mirrored = bins_of(-values, bad, direction=Direction.OPEN)
    assert list(mirrored.woe) == sorted(mirrored.woe, reverse=True)


def test_unknown_values_are_a_bin_of_their_own_and_few_of_them_weigh_little():
    values, bad = firms()
    few, many = values.copy(), values.copy()
    few[np.flatnonzero(bad)[:2]] = UNKNOWN
    many[np.flatnonzero(bad)[:300]] = UNKNOWN
    found_few, found_many = bins_of(few, bad), bins_of(many, bad)
    assert (found_few.counts[-1], found_few.bad[-1]) == (2, 2)
    assert found_many.unknown_woe < found_few.unknown_woe < 0
    assert found_few.transform(np.array([UNKNOWN])) == found_few.unknown_woe


def test_a_feature_that_is_never_known_has_one_empty_bin_of_weight_zero():
    bad = np.array([True, False] * 20)
    found = bins_of(np.full(40, UNKNOWN), bad)
    assert (found.cuts, found.woe, found.counts) == ((), (0.0,), (0, 40))
    assert found.unknown_woe == pytest.approx(0.0)


def test_a_constant_feature_has_one_bin_of_weight_zero():
    found = bins_of(np.full(40, 7_000_000), np.array([True, False, False, False] * 10))
    assert found.woe == (0.0,)


def test_a_value_on_a_cut_belongs_to_the_bin_above():
    values, bad = firms()
    found = bins_of(values, bad)
    cut = found.cuts[0]
    assert found.bin_of(np.array([cut - 1, cut])).tolist() == [0, 1]


def test_extreme_values_do_not_overflow_the_cuts():
    values = np.array([-9 * 10**18, 9 * 10**18] * 50)
    found = bins_of(values, values < 0, bins=2)
    assert [-9 * 10**18 < cut < 9 * 10**18 for cut in found.cuts] == [True]

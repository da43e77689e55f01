"""AUC, DeLong, KS, Brier and curves against scikit-learn and against the definitions written out."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, roc_auc_score, roc_curve

from shuiqiao.base.errors import InvalidInput
from shuiqiao.credit.discrimination import (
    area,
    brier,
    calibration_table,
    compare_areas,
    curve,
    estimate_area,
    grouped_area,
    kolmogorov_smirnov,
)


def sample(seed: int = 3, n: int = 80):
    rng = np.random.default_rng(seed)
    bad = rng.random(n) < 0.3
    return bad, np.round(rng.normal(size=n) + bad, 1)  # rounded, so that there are ties


def placements(bad, risk):
    """The structural components by definition: every pair of a bad and a good firm."""
    wins = (risk[bad][:, None] > risk[~bad][None, :]) + 0.5 * (risk[bad][:, None] == risk[~bad][None, :])
    return wins.mean(axis=1), wins.mean(axis=0)


def test_area_is_that_of_scikit_learn_ties_included():
    bad, risk = sample()
    assert area(bad, risk=risk) == pytest.approx(roc_auc_score(bad, risk), abs=1e-12)
    assert estimate_area(bad, risk=risk).auc == pytest.approx(roc_auc_score(bad, risk), abs=1e-12)


def test_the_area_of_groups_is_that_of_their_firms_to_the_last_bit():
    bad, risk = sample()
    groups = [(level, int((risk == level).sum()), int(bad[risk == level].sum())) for level in set(risk.tolist())]
    apart = [(level, part, bad_part) for level, n, k in groups for part, bad_part in ((n - k, 0), (k, k))]
    assert grouped_area(groups) == area(bad, risk=risk)
    assert grouped_area(apart) == area(bad, risk=risk)


def test_the_standard_error_is_delongs_by_definition():
    bad, risk = sample()
    of_bad, of_good = placements(bad, risk)
    expected = np.sqrt(of_bad.var(ddof=1) / of_bad.size + of_good.var(ddof=1) / of_good.size)
    assert estimate_area(bad, risk=risk).standard_error == pytest.approx(expected, abs=1e-12)


def test_the_interval_covers_the_true_area_about_as_often_as_it_says():
    rng = np.random.default_rng(11)
    true_area = 0.8555  # of two unit normals that stand 1.5 apart: Phi(1.5 / sqrt 2)
    covered = 0
    for _ in range(400):
        bad = np.arange(123) < 27
        found = estimate_area(bad, risk=rng.normal(size=123) + 1.5 * bad)
        covered += found.interval.low <= true_area <= found.interval.high
    assert 0.91 <= covered / 400 <= 0.98


def test_repeats_do_not_shrink_the_uncertainty_of_the_firms():
    bad, risk = sample()
    once = estimate_area(bad, risk=risk)
    assert estimate_area(bad, risk=np.vstack([risk] * 10)).standard_error == pytest.approx(once.standard_error)


def test_comparison_is_delongs_paired_test_by_definition():
    bad, risk = sample()
    other = risk + np.random.default_rng(5).normal(size=risk.size)
    found = compare_areas(bad, risk=risk, baseline=other)
    parts = [ours - theirs for ours, theirs in zip(placements(bad, risk), placements(bad, other), strict=True)]
    expected = np.sqrt(sum(part.var(ddof=1) / part.size for part in parts))
    assert found.difference == pytest.approx(roc_auc_score(bad, risk) - roc_auc_score(bad, other), abs=1e-12)
    assert found.standard_error == pytest.approx(expected, abs=1e-12)
    assert 0 < found.p_value < 1


def test_a_score_is_no_better_than_itself():
    bad, risk = sample()
    found = compare_areas(bad, risk=risk, baseline=risk)
    assert (found.difference, found.p_value) == (0.0, 1.0)


def test_perfect_order_has_no_estimable_spread():
    bad = np.array([True, True, False, False])
    found = estimate_area(bad, risk=np.array([4.0, 3.0, 2.0, 1.0]))
    assert (found.auc, found.interval.low, found.interval.high) == (1.0, 1.0, 1.0)


def test_curve_and_ks_are_those_of_scikit_learn():
    bad, risk = sample()
    good_share, bad_share, _ = roc_curve(bad, risk, drop_intermediate=False)
    points = curve(bad, risk=risk)
    assert [point.good_share for point in points] == pytest.approx(good_share)
    assert [point.bad_share for point in points] == pytest.approx(bad_share)
    assert kolmogorov_smirnov(bad, risk=risk) == pytest.approx(max(bad_share - good_share))


def test_brier_and_calibration_count_every_firm_once():
    bad, risk = sample()
    probability = 1 / (1 + np.exp(-risk))
    assert brier(bad, probability=probability) == pytest.approx(brier_score_loss(bad, probability))
    bands = calibration_table(bad, probability=probability)
    assert (sum(band.n for band in bands), sum(band.bad for band in bands)) == (bad.size, bad.sum())
    assert [band.mean_predicted for band in bands] == sorted(band.mean_predicted for band in bands)


def test_one_class_has_no_area():
    with pytest.raises(InvalidInput) as refused:
        estimate_area(np.array([True, False, False]), risk=np.arange(3.0))
    assert refused.value.code == "credit.one_class_only"

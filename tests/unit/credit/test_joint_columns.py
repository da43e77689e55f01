"""How a party cuts its features for joint training, and how rows are ordered."""

from __future__ import annotations

import numpy as np
import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.credit.binning import UNKNOWN
from shuiqiao.credit.joint_columns import cut_feature, split_order

VALUES = np.array([5, 1, 3, 3, 9, 7, 2, 8, UNKNOWN, UNKNOWN], dtype=np.int64)


def test_each_known_value_is_in_one_bin_and_below_the_cuts_above_it():
    """[TRAIN-5]"""
    cut = cut_feature("sales", values=VALUES, bins=4, least=2)
    assert cut.cuts == (3, 5, 8)
    assert cut.bins(VALUES).sum(axis=1).tolist() == [1] * 10
    assert cut.bins(VALUES).argmax(axis=1).tolist() == [2, 0, 1, 1, 3, 2, 0, 3, 4, 4]
    assert cut.steps(VALUES).tolist()[0] == [False, False, True, False]
    assert cut.steps(VALUES).tolist()[1] == [True, True, True, False]
    assert cut.steps(VALUES).tolist()[8] == [False, False, False, True]


@pytest.mark.parametrize("least", [1, 2, 3, 4])
def test_no_bin_has_fewer_rows_than_the_cohort(least):
    """[TRAIN-5]"""
    random = np.random.default_rng(least)
    values = random.integers(0, 12, 200) ** 2 // 8
    cut = cut_feature("sales", values=values, bins=40, least=5 * least)
    assert cut.bins(values).sum(axis=0).min() >= 5 * least
    assert len(cut.cuts) >= 2


def test_unknown_values_of_few_rows_have_no_column():
    cut = cut_feature("sales", values=VALUES, bins=3, least=3)
    assert not cut.has_unknown
    assert cut.bins(VALUES)[8].tolist() == [False] * (len(cut.cuts) + 1)


def test_a_feature_has_two_bins_at_least():
    with pytest.raises(InvalidInput, match=r"credit\.joint_plan_wrong"):
        cut_feature("sales", values=VALUES, bins=1, least=2)


def test_an_order_follows_from_its_seed_alone():
    assert split_order(50, seed=b"a").tolist() == split_order(50, seed=b"a").tolist()
    assert sorted(split_order(50, seed=b"a")) == list(range(50))
    assert split_order(50, seed=b"a").tolist() != split_order(50, seed=b"b").tolist()

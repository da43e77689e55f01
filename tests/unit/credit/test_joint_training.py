"""Plans of joint training and what a party may put in, before anything is computed."""

from __future__ import annotations

from dataclasses import fields, replace
from types import SimpleNamespace

import numpy as np
import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.credit.joint_training import Bucket, JointForm, JointPlan, bucket_area, train_jointly

PLAN = JointPlan(form=JointForm.LOGISTIC, rows=400, trained=300, bank=3, bureau=2)
COLUMNS, LABELS = np.ones((400, 3), dtype=np.bool_), np.arange(400) % 3 == 0


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 65_537},
        {"trained": 361},
        {"trained": 39},
        {"bank": 0},
        {"bureau": 1_025},
        {"cohort": 9},
        {"rate": 0},
        {"epochs": 101},
        {"batch": 100},
        {"trees": 0},
        {"depth": 4},
        {"penalty": 0},
    ],
)
def test_a_plan_beyond_its_bounds_is_refused(change):
    """[TRAIN-9]"""
    with pytest.raises(InvalidInput, match=r"credit\.joint_plan_wrong.*" + next(iter(change))):
        replace(PLAN, **change)


def test_every_number_of_a_plan_is_in_its_digest():
    changes = {"form": JointForm.TREES, "depth": 2}
    others = {each.name: changes.get(each.name) or getattr(PLAN, each.name) + 1 for each in fields(PLAN)}
    found = {replace(PLAN, **{name: other}).digest for name, other in others.items()}
    assert len(found | {PLAN.digest}) == len(others) + 1


@pytest.mark.parametrize(
    ("rank", "columns", "labels"),
    [
        (0, COLUMNS, None),
        (0, COLUMNS[:-1], LABELS),
        (0, COLUMNS, LABELS[:-1]),
        (0, COLUMNS, np.arange(400) > 390),
        (0, COLUMNS, np.arange(400) < 281),
        (1, COLUMNS, None),
        (1, COLUMNS[:, :2], LABELS),
        (2, COLUMNS, None),
    ],
)
def test_inputs_that_are_not_those_of_the_party_are_refused(rank, columns, labels):
    """[TRAIN-9]"""
    with pytest.raises(InvalidInput, match=r"credit\.joint_inputs_wrong"):
        train_jointly(SimpleNamespace(rank=rank), PLAN, columns=columns, labels=labels)


def test_an_area_of_counts_ties_the_rows_of_a_bucket():
    """[TRAIN-8]"""
    assert bucket_area([Bucket(rows=10, bad=0), Bucket(rows=5, bad=5)]) == 1.0
    assert bucket_area([Bucket(rows=10, bad=2), Bucket(rows=10, bad=2)]) == 0.5

"""Bank, bureau and a third party train on the real data of a bank's borrowers, and do as well as with pooled data."""

from __future__ import annotations

import numpy as np
import pytest

from absence import absent
from patience import PATIENCE_S
from shuiqiao.base.encoding import decode_cbor
from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.credit.discrimination import area
from shuiqiao.credit.joint_training import EDGES, Bucket, JointForm, JointPlan, bucket_area, train_jointly
from shuiqiao.privacy.secure.joint import BANK, BUREAU
from shuiqiao.privacy.secure.library import require_library
from shuiqiao.sandbox.joint_training import default_credit, joint_plan, joint_scores, party_columns, plain_scores
from shuiqiao.sandbox.joint_trio import JointTrio

ROWS = 4_000


@pytest.fixture(scope="module", autouse=True)
def _library():
    try:
        require_library()
    except Unavailable as error:
        absent(error.message)


@pytest.fixture(scope="module")
def data(data_folder):
    return default_credit(data_folder).fold(0, folds=5, rows=ROWS)


def counted(scores, bad, *, cohort):
    """Return rows and bad rows of each bucket, small ones put together with the next that is none."""
    found, pending = [], np.zeros(2, dtype=int)
    places = np.searchsorted(EDGES, scores, side="right")
    for place in range(len(EDGES) + 1):
        here = np.array([(places == place).sum(), bad[places == place].sum()])
        pending += here
        if here[0] >= cohort:
            found.append(pending)
            pending = np.zeros(2, dtype=int)
    found[-1] = found[-1] + pending
    return [tuple(each.tolist()) for each in found]


def trained(data, form, **numbers):
    bank, bureau = (party_columns(values, form, trained=data.trained) for values in (data.bank, data.bureau))
    plan = joint_plan(form, data, bank=bank.shape[1], bureau=bureau.shape[1], **numbers)
    inputs = {BANK: {"columns": bank, "labels": data.bad}, BUREAU: {"columns": bureau}}
    with JointTrio(timeout_s=PATIENCE_S).open() as trio:
        results = trio.results(lambda party: train_jointly(party, plan, **inputs.get(party.rank, {})))
    return plan, bank, bureau, results


@pytest.mark.parametrize(("form", "numbers"), [(JointForm.LOGISTIC, {}), (JointForm.TREES, {"trees": 6})])
def test_one_fold_does_as_well_as_pooled_data_and_better_than_the_bank_alone(data, form, numbers):
    """[TRAIN-5] [TRAIN-6] [TRAIN-7] [TRAIN-8]"""
    plan, bank, bureau, (ours, theirs, third) = trained(data, form, **numbers)
    held = data.bad[data.trained :]
    central = plain_scores(plan, np.column_stack([bank, bureau]), data.bad)
    guest = plain_scores(plan, bank, data.bad)
    model = decode_cbor(ours.model)
    joint = joint_scores(plan, model, bank, bureau)[data.trained :]
    assert abs(area(held, risk=joint) - area(held, risk=central)) < 0.002
    assert area(held, risk=joint) > area(held, risk=guest) + 0.01
    # What is counted in secret is what the model that came out gives, but for a row that is right at an edge.
    wanted = counted(joint, held, cohort=plan.cohort)
    assert len(ours.evaluation) == len(wanted)
    assert max(abs(each.rows - rows) for each, (rows, _) in zip(ours.evaluation, wanted, strict=True)) <= 2
    assert abs(ours.auc - bucket_area([Bucket(rows=rows, bad=bad) for rows, bad in wanted])) < 0.002
    assert sum(each.rows for each in ours.evaluation) == held.size
    assert sum(each.bad for each in ours.evaluation) == held.sum()
    assert min(each.rows for each in ours.evaluation) >= plan.cohort
    assert (theirs.evaluation, third.evaluation, third.model) == ((), (), b"")
    assert ours.steps == theirs.steps == third.steps
    own = decode_cbor(theirs.model)
    if form is JointForm.LOGISTIC:
        assert own["bureau"] == model["bureau"]
        assert set(own) == {"form", "format", "bureau"}
    else:
        mine = [each - plan.bank if plan.bank <= each < plan.bank + plan.bureau else -1 for each in model["splits"]]
        assert own["splits"] == mine
        assert set(own) == {"form", "format", "splits"}


def test_plans_that_differ_give_nobody_a_result(data):
    """[TRAIN-3]"""
    columns = np.ones((ROWS, 2), dtype=np.bool_)

    def party(each):
        plan = JointPlan(
            form=JointForm.LOGISTIC,
            rows=ROWS,
            trained=data.trained,
            bank=2,
            bureau=2,
            rate=1_000_000 if each.rank == BUREAU else 2_000_000,
        )
        inputs = {BANK: {"columns": columns, "labels": data.bad}, BUREAU: {"columns": columns}}
        return train_jointly(each, plan, **inputs.get(each.rank, {}))

    with JointTrio(timeout_s=PATIENCE_S).open() as trio:
        found = trio.each(party)
    assert [each.code for each in found if isinstance(each, ShuiqiaoError)] == ["privacy.secure_function_differs"] * 3

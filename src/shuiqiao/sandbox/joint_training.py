"""What joint training is held against: the same steps on pooled data, in plain numbers; with the bank's columns alone.

The same columns, batches, rates, rounds and bounds as ``credit/joint_training.py``, in double precision. What is left
between the two is what 18 bits behind the point and approximate division cost.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from shuiqiao.base.encoding import decode_cbor
from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.credit.binning import quantise
from shuiqiao.credit.discrimination import area, compare_areas
from shuiqiao.credit.joint_columns import cut_feature, split_order
from shuiqiao.credit.joint_training import JointForm, JointPlan, JointResult, prior_log_odds, train_jointly
from shuiqiao.credit.logistic import sigmoid
from shuiqiao.credit.model import MICRO
from shuiqiao.privacy.secure.joint import BANK, BUREAU, JointSession
from shuiqiao.sandbox.joint_trio import JointTrio

if TYPE_CHECKING:
    from pathlib import Path

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

FOLDS: Final = 5
TREES: Final = 20
COHORT: Final = 20
_BINS: Final = {JointForm.LOGISTIC: 10, JointForm.TREES: 8}
_RATES: Final = {JointForm.LOGISTIC: 2_000_000, JointForm.TREES: 300_000}


def study_joint_training(
    folder: Path | None, *, folds: int = FOLDS, rows: int = 0, progress: Progress = no_progress
) -> dict[str, dict[str, Any]]:
    """Return {"logistic", "trees": {"joint_auc", "central_auc", "guest_auc", "auc_difference_ci", ...}}.

    AUC of rows while they were held out, over ``folds`` parts: of the joint model as it was opened, of the same steps
    on pooled data (central), of those on the bank's columns alone (guest). auc_difference_ci: joint less central, 95 %
    by DeLong on the same rows; gain_ci: joint less guest. counted_auc: mean of what the bank was told by counts.
    s_per_fold: of a joint run with its opening. rows: of the first so many alone, 0 for all 30,000.

    folder: of the research data. Without it, or without the extra, there is {"refused"} in place of both::

        study_joint_training(Path("../shared/data"), folds=5)["logistic"]["joint_auc"]
    """
    try:
        if folder is None:
            raise InvalidInput("sandbox.data_file_missing", "no folder of research data was named")  # noqa: TRY301
        data = default_credit(folder)
        return {form.value: _study(form, data, folds=folds, rows=rows, progress=progress) for form in JointForm}
    except (InvalidInput, Unavailable) as refused:
        return {"refused": refused.as_dict()}


def _study(form: JointForm, data: Borrowers, *, folds: int, rows: int, progress: Progress) -> dict[str, Any]:
    scores: list[tuple[Floats, Floats, Floats]] = []
    bad, counted, taken = list[Flags](), list[float](), list[float]()
    for number in range(folds):
        progress(f"joint training 联合训练 {form.value}", number, folds)
        fold = data.fold(number, folds=folds, rows=rows)
        bank, bureau = (party_columns(each, form, trained=fold.trained) for each in (fold.bank, fold.bureau))
        plan = joint_plan(form, fold, bank=bank.shape[1], bureau=bureau.shape[1])
        began = time.perf_counter()
        result = train_here(plan, bank=bank, bureau=bureau, bad=fold.bad)
        taken.append(time.perf_counter() - began)
        joint = joint_scores(plan, decode_cbor(result.model), bank, bureau)[plan.trained :]
        central = plain_scores(plan, np.column_stack([bank, bureau]), fold.bad)
        scores.append((joint, central, plain_scores(plan, bank, fold.bad)))
        bad.append(fold.bad[plan.trained :])
        counted.append(result.auc)
    labels = np.concatenate(bad)
    joint, central, guest = (np.concatenate(each) for each in zip(*scores, strict=True))
    return {
        "joint_auc": round(area(labels, risk=joint), 4),
        "central_auc": round(area(labels, risk=central), 4),
        "guest_auc": round(area(labels, risk=guest), 4),
        "auc_difference_ci": _interval(labels, joint, central),
        "gain_ci": _interval(labels, joint, guest),
        "counted_auc": round(sum(counted) / folds, 4),
        "rows": len(labels),
        "folds": folds,
        "s_per_fold": round(sum(taken) / folds, 1),
    }


def _interval(labels: Flags, risk: Floats, baseline: Floats) -> list[float]:
    found = compare_areas(labels, risk=risk, baseline=baseline)
    return [round(found.interval_low, 5), round(found.interval_high, 5)]


def train_here(plan: JointPlan, *, bank: Flags, bureau: Flags, bad: Flags) -> JointResult:
    """Return what the bank has of a run of three workers of this machine."""
    columns = {BANK: bank, BUREAU: bureau}

    def train(party: JointSession) -> JointResult:
        labels = bad if party.rank == BANK else None
        return train_jointly(party, plan, columns=columns.get(party.rank), labels=labels)

    with JointTrio().open() as trio:
        return trio.results(train)[BANK]


@dataclass(frozen=True, slots=True, kw_only=True)
class Borrowers:
    """Rows that two parties have features of, in the agreed order: values in millionths, whether bad.

    trained: how many are trained on, the first of them.
    """

    bank: Integers
    bureau: Integers
    bad: Flags
    trained: int

    def fold(self, number: int, *, folds: int, rows: int = 0) -> Borrowers:
        """Return the rows with one part of ``folds`` held out, last. rows: of the first so many alone, 0 for all."""
        count = rows or len(self.bad)
        held = np.arange(count) % folds == number
        order = np.concatenate([np.flatnonzero(~held), np.flatnonzero(held)])
        return Borrowers(
            bank=self.bank[order], bureau=self.bureau[order], bad=self.bad[order], trained=int((~held).sum())
        )


def default_credit(folder: Path) -> Borrowers:
    """Return the borrowers of the public data set that is split between a bank and another party, in a seeded order.

    folder: of research data, which has ``default_credit``. Raises InvalidInput ``sandbox.data_file_missing``.
    """
    import pyarrow.parquet as pq

    def table(side: str) -> tuple[Floats, list[str]]:
        path = folder / "default_credit" / f"default_credit_hetero_{side}.parquet"
        if not path.is_file():
            raise InvalidInput("sandbox.data_file_missing", f"the research data is not at {path}")
        read = pq.read_table(path).sort_by("id")
        return np.column_stack([read[name].to_numpy() for name in read.column_names]), read.column_names

    guest, names = table("guest")
    host, _ = table("host")
    order = split_order(len(guest), seed=b"default_credit")
    guest, host = guest[order], host[order]
    return Borrowers(
        bank=quantise(guest[:, [place for place, name in enumerate(names) if name.startswith("x")]]),
        bureau=quantise(host[:, 1:]),
        bad=guest[:, names.index("y")] == 1,
        trained=len(guest),
    )


def joint_plan(form: JointForm, data: Borrowers, *, bank: int, bureau: int, trees: int = TREES) -> JointPlan:
    """Return the plan of the study for some rows. bank, bureau: columns of each."""
    return JointPlan(
        form=form,
        rows=len(data.bad),
        trained=data.trained,
        bank=bank,
        bureau=bureau,
        cohort=COHORT,
        rate=_RATES[form],
        trees=trees,
    )


def party_columns(values: Integers, form: JointForm, *, trained: int) -> Flags:
    """Return what a party puts in. values: rows x features, in the agreed order."""
    parts: list[Flags] = []
    for place in range(values.shape[1]):
        feature = values[:, place]
        cut = cut_feature(str(place), values=feature[:trained], bins=_BINS[form], least=COHORT)
        parts.append(cut.bins(feature) if form is JointForm.LOGISTIC else cut.steps(feature))
    return np.column_stack(parts)


def plain_scores(plan: JointPlan, columns: Flags, labels: Flags) -> Floats:
    """Return log odds of the rows held out, of a model trained alone on these columns."""
    if plan.form is JointForm.LOGISTIC:
        weights, intercept = _plain_logistic(plan, columns, labels)
        scores: Floats = intercept + columns[plan.trained :] @ weights
        return scores
    return _plain_trees(plan, columns, labels)[plan.trained :]


def joint_scores(plan: JointPlan, model: Mapping[str, Any], bank: Flags, bureau: Flags) -> Floats:
    """Return log odds of all rows by an opened model of all columns. model: what the bank got, decoded."""
    if plan.form is JointForm.LOGISTIC:
        intercept = model["intercept"][0] / MICRO
        ours, theirs = (np.asarray(model[name], dtype=np.float64) / MICRO for name in ("bank", "bureau"))
        scores: Floats = intercept + bank @ ours + bureau @ theirs
        return scores
    columns = np.column_stack([bank, bureau, np.ones(plan.rows, dtype=np.bool_)])
    odds = np.full(plan.rows, model["start"][0] / MICRO)
    nodes, leaves = (1 << plan.depth) - 1, 1 << plan.depth
    for tree in range(plan.trees):
        members, first = np.ones((plan.rows, 1), dtype=np.bool_), tree * nodes
        for level in range(plan.depth):
            goes = columns[:, model["splits"][first : first + (1 << level)]]
            members = np.concatenate([members & goes, members & ~goes], axis=1)
            first += 1 << level
        odds += members @ (np.asarray(model["leaves"][tree * leaves : (tree + 1) * leaves]) / MICRO)
    return odds


def _plain_logistic(plan: JointPlan, columns: Flags, labels: Flags) -> tuple[Floats, float]:
    held, bad = columns[: plan.trained].astype(np.float64), labels[: plan.trained].astype(np.float64)
    weights, intercept = np.zeros(columns.shape[1]), prior_log_odds(labels[: plan.trained])
    for _ in range(plan.epochs):
        for first in range(0, plan.trained, plan.batch):
            rows = held[first : first + plan.batch]
            missed = bad[first : first + plan.batch] - sigmoid(rows @ weights + intercept)
            weights += plan.rate / MICRO * (missed @ rows) / len(rows)
            intercept += plan.rate / MICRO * float(missed.mean())
    return weights, intercept


def _plain_trees(plan: JointPlan, columns: Flags, labels: Flags) -> Floats:
    bad = labels[: plan.trained].astype(np.float64)
    odds = np.full(plan.rows, prior_log_odds(labels[: plan.trained]))
    held = np.column_stack([columns, np.ones(plan.rows, dtype=np.bool_)])
    learned = columns[: plan.trained].astype(np.float64)
    for _ in range(plan.trees):
        rate = sigmoid(odds[: plan.trained])
        gradient, curvature = rate - bad, rate * (1 - rate)
        members = np.ones((plan.rows, 1), dtype=np.bool_)
        for _ in range(plan.depth):
            goes = held[:, _best_columns(plan, members[: plan.trained], learned, gradient, curvature)]
            members = np.concatenate([members & goes, members & ~goes], axis=1)
        learners = members[: plan.trained]
        odds += members @ (-plan.rate / MICRO * (gradient @ learners) / (curvature @ learners + plan.penalty))
    return odds


def _best_columns(plan: JointPlan, members: Flags, learned: Floats, gradient: Floats, curvature: Floats) -> Integers:
    measures = [members * each[:, np.newaxis] for each in (gradient, curvature, np.ones(len(gradient)))]
    below, totals = [each.T @ learned for each in measures], [each.sum(axis=0)[:, np.newaxis] for each in measures]
    above = [total - part for total, part in zip(totals, below, strict=True)]

    def worth(parts: list[Floats]) -> Floats:
        return parts[0] ** 2 / (parts[1] + plan.penalty)

    gains = worth(below) + worth(above) - worth(totals)
    gains[(below[2] < plan.cohort) | (above[2] < plan.cohort)] = -1.0
    best: Integers = np.column_stack([gains, np.zeros(len(gains))]).argmax(axis=1)
    return best

"""Trains a scorecard or boosted trees on the features of a bank and a bureau, with a third party that has none.

Rule: docs/spec/training.md. The bank has labels and columns, the bureau columns, of the same rows in the same order.
All three call ``train_jointly`` with one plan; nothing is opened before the end: then the bank gets the model and how
it does on rows held out, in buckets of at least ``cohort`` rows, and the bureau its own part of the model. That the
rows may be used, and who says so, is decided above.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.credit.discrimination import grouped_area
from shuiqiao.credit.model import MICRO
from shuiqiao.privacy.secure.joint import BANK, BUREAU, MAX_SHARED, THIRD
from shuiqiao.privacy.secure.training_functions import (
    bucket_counts,
    logistic_score,
    logistic_step,
    merged_counts,
    tree_gradients,
    tree_leaves,
    tree_level,
)

if TYPE_CHECKING:
    from shuiqiao.privacy.secure.joint import JointSession

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MAX_ROWS: Final = 65_536
MAX_COLUMNS: Final = 1_024
LEAST_COHORT: Final = 10
"""No bin, leaf or bucket that is opened has fewer rows, whatever a plan says."""

EDGES: Final = tuple(number / 8 for number in range(-48, 25))
"""Log odds of bad between which scores of held-out rows are counted."""

_ALL: Final = (BANK, BUREAU, THIRD)


class JointForm(StrEnum):
    """What is trained."""

    LOGISTIC = "logistic"
    TREES = "trees"


@dataclass(frozen=True, slots=True, kw_only=True)
class JointPlan:
    """What all three agree to compute; whole numbers, so that its bytes are the same everywhere.

    rows: in all; the first ``trained`` are trained on, the rest is held out. bank, bureau: columns of each. cohort:
    rows that leaves and counts rest on, at least. rate: step size in millionths. epochs, batch: of the logistic form,
    whose columns are bins. trees, depth, penalty: of trees, whose columns are [value below cut].

    Raises InvalidInput ``credit.joint_plan_wrong``.
    """

    form: JointForm
    rows: int
    trained: int
    bank: int
    bureau: int
    cohort: int = 20
    rate: int = 2_000_000
    epochs: int = 10
    batch: int = 4_096
    trees: int = 20
    depth: int = 3
    penalty: int = 1

    def __post_init__(self) -> None:
        bounds = {
            "rows": (4 * self.cohort, MAX_ROWS),
            "trained": (2 * self.cohort, self.rows - 2 * self.cohort),
            "bank": (1, min(MAX_COLUMNS, MAX_SHARED // max(self.rows, 1))),
            "bureau": (1, min(MAX_COLUMNS, MAX_SHARED // max(self.rows, 1))),
            "cohort": (LEAST_COHORT, MAX_ROWS),
            "rate": (1_000, 4_000_000),
            "epochs": (1, 100),
            "batch": (256, 8_192),
            "trees": (1, 100),
            "depth": (1, 3),
            "penalty": (1, 1_000),
        }
        for name, (least, most) in bounds.items():
            value: int = getattr(self, name)
            if not least <= value <= most:
                raise InvalidInput("credit.joint_plan_wrong", f"{name} {value}, where {least} to {most} is taken")

    @property
    def digest(self) -> bytes:
        """32 bytes of all of it."""
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        return sha256(encode_cbor({"form": self.form.value, **numbers})).digest()


_NUMBERS: Final = (
    "rows",
    "trained",
    "bank",
    "bureau",
    "cohort",
    "rate",
    "epochs",
    "batch",
    "trees",
    "depth",
    "penalty",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """Held-out rows whose scores lie together, by how many are bad; buckets rise in risk."""

    rows: int
    bad: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JointResult:
    """What one party has after the end.

    model: canonical CBOR; the bank's has all of it, the bureau's its own part, the third's is empty. evaluation: the
    bank's. steps: digests of all steps, alike at all three.
    """

    model: bytes
    evaluation: tuple[Bucket, ...]
    steps: tuple[bytes, ...]

    @property
    def digest(self) -> bytes:
        """32 bytes of this party's model."""
        return sha256(self.model).digest()

    @property
    def auc(self) -> float:
        """AUC on held-out rows, rows of one bucket being tied; at the bank alone."""
        return bucket_area(self.evaluation)


def bucket_area(buckets: Sequence[Bucket]) -> float:
    """Return the AUC of rows counted by score."""
    return grouped_area((float(place), each.rows, each.bad) for place, each in enumerate(buckets))


def train_jointly(
    session: JointSession,
    plan: JointPlan,
    *,
    columns: Flags | None = None,
    labels: Flags | None = None,
    progress: Progress = no_progress,
) -> JointResult:
    """Do one party's part; the two others do theirs at the same time. It ends the session.

    session: connected, its binding made of the plan's digest. columns: rows x columns of bank or bureau, rows in the
    agreed order. labels: whether each row is bad, at the bank.

    Raises InvalidInput ``credit.joint_inputs_wrong`` before anything is shared, and what ``JointSession`` raises: then
    there is no result at any party, unless all had agreed that they have it.

    Example::

        result = train_jointly(session, plan, columns=features, labels=bad)
    """
    _verify_inputs(session.rank, plan, columns, labels)
    run = _Run(session, plan, columns, labels, progress)
    trained = run.logistic() if plan.form is JointForm.LOGISTIC else run.trees()
    evaluation = run.evaluation()
    model = trained.opened()
    session.end()
    return JointResult(model=model, evaluation=evaluation, steps=session.steps)


def _verify_inputs(rank: int, plan: JointPlan, columns: Flags | None, labels: Flags | None) -> None:
    wanted = {BANK: (plan.rows, plan.bank), BUREAU: (plan.rows, plan.bureau)}.get(rank)
    found = None if columns is None else columns.shape
    rows = (plan.rows,) if rank == BANK else None
    labelled = None if labels is None else labels.shape
    if found != wanted or labelled != rows:
        raise InvalidInput(
            "credit.joint_inputs_wrong",
            f"columns of shape {found} and labels of {labelled}, where the plan has {wanted} and {rows} of this party",
        )
    if labels is not None and not plan.cohort <= int(labels[: plan.trained].sum()) <= plan.trained - plan.cohort:
        raise InvalidInput(
            "credit.joint_inputs_wrong", f"fewer than {plan.cohort} bad or good rows among those trained on"
        )


class _Run:
    """One party's steps; the same at all three but for what it puts in."""

    def __init__(
        self,
        session: JointSession,
        plan: JointPlan,
        columns: Flags | None,
        labels: Flags | None,
        progress: Progress,
    ) -> None:
        self.session, self.plan, self._progress = session, plan, progress
        self._columns, self._labels = columns, labels

    def logistic(self) -> _Logistic:
        """Train weights by steps on one batch after the other, then score the rows held out."""
        plan, session = self.plan, self.session
        batches = [(first, min(first + plan.batch, plan.trained)) for first in range(0, plan.trained, plan.batch)]
        self._share_start(("wb", plan.bank), ("wt", plan.bureau))
        session.share("c", owner=BANK, shape=(1,), values=self._prior(1))
        for number, span in enumerate((*batches, (plan.trained, plan.rows))):
            self._share_rows(span, suffix=str(number))
        functions = {
            size: logistic_step(rows=size, bank=plan.bank, bureau=plan.bureau, rate=plan.rate / MICRO)
            for size in {last - first for first, last in batches}
        }
        for epoch in range(plan.epochs):
            for number, (first, last) in enumerate(batches):
                names = [f"xb{number}", f"xt{number}", f"y{number}", "wb", "wt", "c"]
                session.run(functions[last - first], names, ["wb", "wt", "c"])
            self._progress("joint training 联合训练", epoch + 1, plan.epochs)
        held = len(batches)
        score = logistic_score(rows=plan.rows - plan.trained, bank=plan.bank, bureau=plan.bureau)
        session.run(score, [f"xb{held}", f"xt{held}", "wb", "wt", "c"], ["odds"])
        self._held_out = f"y{held}"
        return _Logistic(self.session, self.plan)

    def trees(self) -> _Trees:
        """Grow one tree after the other, over all rows, from the gradients of those trained on."""
        plan, session = self.plan, self.session
        rows, trained = plan.rows, plan.trained
        self._share_rows((0, rows), suffix="", labels=False)
        for name, span in (("y", (0, trained)), ("y_held", (trained, rows))):
            session.share(name, owner=BANK, shape=(span[1] - span[0],), values=_part(self._labels, span))
        session.share("start", owner=BANK, shape=(1,), values=self._prior(1))
        session.share("odds", owner=BANK, shape=(rows,), values=self._prior(rows))
        ones = np.ones((rows, 1), dtype=np.bool_) if session.rank == BANK else None
        session.share("all", owner=BANK, shape=(rows, 1), values=ones)
        gradients = tree_gradients(rows=rows, trained=trained)
        levels = [
            tree_level(
                rows=rows,
                trained=trained,
                bank=plan.bank,
                bureau=plan.bureau,
                nodes=1 << level,
                penalty=plan.penalty,
                least=plan.cohort,
            )
            for level in range(plan.depth)
        ]
        leaves = tree_leaves(
            rows=rows, trained=trained, leaves=1 << plan.depth, rate=plan.rate / MICRO, penalty=plan.penalty
        )
        for tree in range(plan.trees):
            session.run(gradients, ["odds", "y"], ["g", "h"])
            members = "all"
            for level, function in enumerate(levels):
                names = [f"m{level}", f"s{tree}.{level}", f"p{tree}.{level}"]
                done = [members] if level else []
                session.run(function, ["xb", "xt", members, "g", "h"], names, done=done)
                members = names[0]
            session.run(leaves, ["odds", members, "g", "h"], [f"v{tree}", "odds"], done=[members, "g", "h"])
            self._progress("joint training 联合训练", tree + 1, plan.trees)
        self._held_out = "y_held"
        return _Trees(self.session, self.plan)

    def evaluation(self) -> tuple[Bucket, ...]:
        """Count held-out rows by score and label; open counts of at least ``cohort`` rows to the bank [TRAIN-8].

        To all is opened which buckets have as many; those that have not are put together with the next that has.
        """
        plan, session = self.plan, self.session
        of_all = plan.form is JointForm.TREES
        rows = plan.rows if of_all else plan.rows - plan.trained
        function = bucket_counts(rows=rows, first=plan.trained if of_all else 0, edges=EDGES, least=plan.cohort)
        session.run(function, ["odds", self._held_out], ["counted", "bad", "enough"])
        enough = np.rint(session.open(["enough"], to=_ALL)) == 1
        if not enough.any():
            return ()
        groups = list(_groups(enough))
        session.run(merged_counts(groups=groups), ["counted", "bad"], ["counted", "bad"])
        # Both come in one row: rows of all groups, then bad ones.
        opened = np.rint(session.open(["counted", "bad"], to=[BANK])).astype(int).reshape(2, -1).T
        return tuple(Bucket(rows=int(total), bad=int(bad)) for total, bad in opened) if opened.size else ()

    def _share_rows(self, span: tuple[int, int], *, suffix: str, labels: bool = True) -> None:
        size = span[1] - span[0]
        for name, owner, wide in (("xb", BANK, self.plan.bank), ("xt", BUREAU, self.plan.bureau)):
            values = _part(self._columns, span) if owner == self.session.rank else None
            self.session.share(f"{name}{suffix}", owner=owner, shape=(size, wide), values=values)
        if labels:
            self.session.share(f"y{suffix}", owner=BANK, shape=(size,), values=_part(self._labels, span))

    def _share_start(self, *weights: tuple[str, int]) -> None:
        for name, count in weights:
            values = np.zeros(count) if self.session.rank == BANK else None
            self.session.share(name, owner=BANK, shape=(count,), values=values)

    def _prior(self, count: int) -> Floats | None:
        """Return the log odds of bad among the rows trained on, at the bank, which has the labels."""
        return None if self._labels is None else np.full(count, prior_log_odds(self._labels[: self.plan.trained]))


@dataclass(frozen=True, slots=True)
class _Logistic:
    session: JointSession
    plan: JointPlan

    def opened(self) -> bytes:
        """Open all weights to the bank, and to the bureau those of its own columns."""
        card = self.session.open(["c", "wb"], to=[BANK])
        part = self.session.open(["wt"], to=[BANK, BUREAU])
        return _encoded(
            self.plan.form,
            {"intercept": _micro(card[:1]), "bank": _micro(card[1:])} if card.size else {},
            {"bureau": _micro(part)} if part.size else {},
        )


@dataclass(frozen=True, slots=True)
class _Trees:
    session: JointSession
    plan: JointPlan

    def opened(self) -> bytes:
        """Open splits and leaves to the bank, and to the bureau where its own columns split."""
        places = [f"{tree}.{level}" for tree in range(self.plan.trees) for level in range(self.plan.depth)]
        leaves = self.session.open(["start", *(f"v{tree}" for tree in range(self.plan.trees))], to=[BANK])
        splits = self.session.open([f"s{place}" for place in places], to=[BANK])
        own = self.session.open([f"p{place}" for place in places], to=[BUREAU])
        return _encoded(
            self.plan.form,
            {"start": _micro(leaves[:1]), "leaves": _micro(leaves[1:]), "splits": _whole(splits)}
            if leaves.size
            else {},
            {"splits": _whole(own)} if own.size else {},
        )


def prior_log_odds(labels: Flags) -> float:
    """Return the log odds of bad."""
    rate = float(labels.mean())
    return float(np.log(rate / (1 - rate)))


def _groups(enough: Flags) -> Iterator[int]:
    """Yield each bucket's group: one for each bucket that has enough rows, taking those before it that have not."""
    last = int(enough.sum()) - 1
    group = 0
    for has_enough in enough.tolist():
        yield min(group, last)
        group += bool(has_enough)


def _encoded(form: JointForm, *parts: dict[str, Any]) -> bytes:
    together = {name: value for part in parts for name, value in part.items()}
    return encode_cbor({"form": form.value, "format": "shuiqiao-joint@1", **together}) if together else b""


def _part(values: Flags | None, span: tuple[int, int]) -> Flags | None:
    return None if values is None else values[span[0] : span[1]]


def _micro(values: Floats) -> list[int]:
    return [int(each) for each in np.rint(values * MICRO)]


def _whole(values: Floats) -> list[int]:
    return [int(each) for each in np.rint(values)]

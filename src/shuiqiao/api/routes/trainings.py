"""``/trainings``: on whose records models are trained; never whose."""

from __future__ import annotations

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routes.requests import RequestCursor
from shuiqiao.api.routing import DEFAULT_LIMIT, Caller, Limit, Routes
from shuiqiao.client.pages import PageQuery
from shuiqiao.client.resources.trainings import (
    AGREE_TRAINING,
    LIST_TRAININGS,
    NewTraining,
    TrainingPage,
    TrainingRecord,
)

trainings = Routes("trainings")


@trainings.perform(
    AGREE_TRAINING,
    permission="requests.write",
    problems=(412, 422),
    codes=(
        "node.role_wrong",
        "node.regulator_unclear",
        "exchange.cohort_too_small",
        "exchange.cohorts_too_close",
        "exchange.frequency_exceeded",
        "exchange.plan_malformed",
    ),
)
def agree_training(asked: NewTraining, running: Running, caller: Caller) -> TrainingRecord:
    """Agree with a bureau and the regulator to train a model on all firms whose consents allow it, as a bank."""
    return performed(running, caller, AGREE_TRAINING, asked)


@trainings.perform(LIST_TRAININGS, permission="requests.read", codes=("api.cursor_unknown", "node.role_wrong"))
def list_trainings(
    running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: RequestCursor | None = None
) -> TrainingPage:
    """List the trainings that this bank proposed, or that this bureau agreed to, by name."""
    return performed(running, caller, LIST_TRAININGS, PageQuery(limit=limit, cursor=cursor))

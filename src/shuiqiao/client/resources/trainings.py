"""On whose records a model is trained: what a bank, a bureau and the regulator agreed on."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Final

from pydantic import Field, StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import Page, PageQuery
from shuiqiao.client.resources.requests import REQUEST_FORM
from shuiqiao.client.wire import Count, Name, TimeMs, Wire, example

AGREE_TIMEOUT_S: Final = 300.0
"""How long two others may take to look at a cohort of 20,000 consents."""

TypeName = Annotated[str, StringConstraints(max_length=80)]
GroupNames = Annotated[tuple[TypeName, ...], Field(min_length=1, max_length=4)]


class NewTraining(Wire):
    """Train on all firms whose consents allow it: which records, of which days, at which bureau."""

    model_config = example(
        bureau="tax-bureau",
        items={"invoice_issued@2": ["amounts", "core"]},
        period_from="2024-01-01",
        period_to="2025-12-31",
    )

    bureau: Name
    items: Annotated[dict[TypeName, GroupNames], Field(min_length=1, max_length=32)]
    period_from: date
    period_to: date


_TRAINING = {
    "training": "first-bank/" + "3d" * 16,
    "other": "tax-bureau",
    "size": 120,
    "ended": 0,
    "made_ms": 1_767_225_600_000,
    "is_agreed": True,
}


class TrainingRecord(Wire):
    """A cohort as this institution keeps it. other: the member at its other end."""

    model_config = example(**_TRAINING)

    training: Annotated[str, StringConstraints(pattern=REQUEST_FORM)]
    other: Name
    size: Count
    """Firms."""
    ended: Count
    """Consents of it under which nothing may flow now."""
    made_ms: TimeMs
    is_agreed: bool
    """Whether the ledger has it, signed by all three."""


class TrainingPage(Page[TrainingRecord]):
    """Trainings by name."""

    model_config = example(items=[_TRAINING], next=None)


AGREE_TRAINING: Final = Operation(
    path="/trainings",
    sent=NewTraining,
    told=TrainingRecord,
    timeout_s=AGREE_TIMEOUT_S,
    act="trainings.agree",
    subject=lambda asked: f"member/{asked.bureau}",
)
LIST_TRAININGS: Final = Operation(method="GET", path="/trainings", sent=PageQuery, told=TrainingPage)

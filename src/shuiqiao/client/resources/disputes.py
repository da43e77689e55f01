"""Disputes of enterprises about records that their bureau gave to banks."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import Page, PageQuery
from shuiqiao.client.resources.consents import Message
from shuiqiao.client.wire import Count, Id, Name, TimeMs, Wire, example

_DISPUTE = {
    "dispute": "d1" * 16,
    "taxpayer": "91440300MA5LEAKME7",
    "batch": "5e" * 16,
    "leaf": 3,
    "reason": "the invoice was red-lettered in March",
    "received_ms": 1_767_225_600_000,
    "status": "open",
    "answer": None,
    "answered_ms": None,
    "recipients": ["first-bank"],
}

Words = Annotated[str, Field(min_length=1, max_length=500)]


class DisputeStatement(Wire):
    """What an enterprise signed with its enrolment key: which record, and why it is wrong."""

    model_config = example(dispute="d284")

    dispute: Message


class DisputeRecord(Wire):
    """A dispute, and what became of it. recipients: the banks that the record was given to."""

    model_config = example(**_DISPUTE)

    dispute: Id
    taxpayer: Name
    batch: Id
    leaf: Count
    reason: Words
    received_ms: TimeMs
    status: Name
    """open, corrected or refused."""
    answer: Words | None
    answered_ms: TimeMs | None
    recipients: tuple[Name, ...]


class DisputePage(Page[DisputeRecord]):
    """Disputes, oldest first."""

    model_config = example(items=[_DISPUTE], next=None)


class DisputeChoice(Wire):
    """Which dispute."""

    model_config = example(dispute="d1" * 16)

    dispute: Id


class DisputeAnswer(Wire):
    """A bureau's answer: corrected, which the ledger has to show, or refused."""

    model_config = example(dispute="d1" * 16, outcome="corrected", words="the invoice stands as red-lettered now")

    dispute: Id
    outcome: Literal["corrected", "refused"]
    words: Annotated[str, Field(max_length=2_000)]
    """At most 500 characters."""


LIST_DISPUTES: Final = Operation(
    method="GET", path="/disputes", sent=PageQuery, told=DisputePage, act="disputes.list", shows_taxpayer=True
)
ANSWER_DISPUTE: Final = Operation(
    path="/disputes/answers",
    sent=DisputeAnswer,
    told=DisputeRecord,
    act="disputes.answer",
    subject=lambda answer: f"dispute/{answer.dispute}",
    shows_taxpayer=True,
)
RAISE_DISPUTE: Final = Operation(path="/own/disputes", sent=DisputeStatement, told=DisputeRecord)
LIST_OWN_DISPUTES: Final = Operation(method="GET", path="/own/disputes", sent=PageQuery, told=DisputePage)
READ_OWN_DISPUTE: Final = Operation(
    method="GET", path="/own/disputes/{dispute}", sent=DisputeChoice, told=DisputeRecord
)

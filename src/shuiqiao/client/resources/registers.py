"""The registers of an institution: assessments before data are shared, incidents, complaints."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import Page, PageQuery
from shuiqiao.client.wire import MAX_EXACT, Count, Name, TimeMs, Wire, example

Words = Annotated[str, Field(max_length=2_100)]
"""What it is about, or what became of it; at most 2,000 characters."""

_ENTRY = {
    "seq": 3,
    "kind": "incident",
    "member": "",
    "grade": "serious",
    "opened_ms": 1_767_225_600_000,
    "due_ms": 1_767_240_000_000,
    "closed_ms": None,
    "words": "a laptop with a source file was stolen",
    "outcome": None,
    "is_overdue": False,
}


class RegisterRecord(Wire):
    """An entry of the registers.

    grade: of an incident its severity, of an assessment its finding. due_ms: until when an assessment is good, an
    incident to be reported, a complaint to be answered. outcome: what became of it, none while it is open.
    """

    model_config = example(**_ENTRY)

    seq: Count
    kind: Name
    member: Name
    grade: Name
    opened_ms: TimeMs
    due_ms: TimeMs
    closed_ms: TimeMs | None
    words: Words
    outcome: Words | None
    is_overdue: bool


class RegisterPage(Page[RegisterRecord]):
    """Entries of all kinds, in the order in which they were made."""

    model_config = example(items=[_ENTRY], next=None)


class NewAssessment(Wire):
    """An assessment of sharing data with a member. words: its scope. until_ms: the last moment that it is good."""

    model_config = example(
        member="first-bank", outcome="acceptable", words="scores at source", until_ms=1_798_761_600_000
    )

    member: Name
    outcome: Literal["acceptable", "unacceptable"]
    words: Words
    until_ms: TimeMs


class NewIncident(Wire):
    """An incident. found_ms: when it was found; its time to be reported runs from then."""

    model_config = example(severity="serious", words=_ENTRY["words"], found_ms=1_767_225_600_000)

    severity: Literal["general", "serious", "major"]
    words: Words
    found_ms: TimeMs


class NewComplaint(Wire):
    """A complaint about the use of data; that a record is wrong is a dispute."""

    model_config = example(words="a bank called with figures that it was not to have")

    words: Words


class RegisterClosure(Wire):
    """Closes an entry. words: to whom an incident was reported, what a complaint was answered."""

    model_config = example(seq=3, words="reported to the regulator by telephone at 10:20")

    seq: Annotated[int, Field(ge=1, le=MAX_EXACT)]
    words: Words


LIST_REGISTER: Final = Operation(
    method="GET", path="/registers", sent=PageQuery, told=RegisterPage, act="registers.list"
)
ASSESS: Final = Operation(
    path="/registers/assessments",
    sent=NewAssessment,
    told=RegisterRecord,
    act="registers.assess",
    subject=lambda made: f"member/{made.member}",
)
REPORT_INCIDENT: Final = Operation(
    path="/registers/incidents", sent=NewIncident, told=RegisterRecord, act="registers.incident"
)
COMPLAIN: Final = Operation(
    path="/registers/complaints", sent=NewComplaint, told=RegisterRecord, act="registers.complaint"
)
CLOSE_ENTRY: Final = Operation(
    path="/registers/closures",
    sent=RegisterClosure,
    told=RegisterRecord,
    act="registers.close",
    subject=lambda closed: f"register/{closed.seq}",
)

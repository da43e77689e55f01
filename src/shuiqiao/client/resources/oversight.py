"""What a regulator publishes of decisions, and the alarms that members raised."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import Page, PageQuery
from shuiqiao.client.wire import Count, Hex, Id, Name, TimeMs, Wire, example

_ROW = {"category": "A", "counts": [12, 5]}
_TABLE = {"attribute": "grade", "columns": [["approved"], ["refused", "referred"]], "rows": [_ROW]}
_RELEASE = {
    "number": 1,
    "published_ms": 1_767_225_600_000,
    "decisions": 17,
    "least_firms": 5,
    "tables": [_TABLE],
}


class StatisticsRow(Wire):
    """One category, or ``others``, with the decisions in each column."""

    model_config = example(**_ROW)

    category: Name
    counts: tuple[Count, ...]


class StatisticsTable(Wire):
    """Decisions by one attribute; each column counts some outcomes together."""

    model_config = example(**_TABLE)

    attribute: Name
    columns: tuple[tuple[Name, ...], ...]
    rows: tuple[StatisticsRow, ...]


class StatisticsRelease(Wire):
    """Tables of decisions that no other release counts; every cell holds at least so many firms."""

    model_config = example(**_RELEASE)

    number: Count
    published_ms: TimeMs
    decisions: Count
    least_firms: Count
    tables: tuple[StatisticsTable, ...]


class StatisticsReleasePage(Page[StatisticsRelease]):
    """Releases, the first one first."""

    model_config = example(items=[_RELEASE], next=None)


_ALARM = {
    "index": 77,
    "height": 30,
    "time_ms": 1_767_225_600_000,
    "author": "regulator",
    "alarm": "6b" * 16,
    "subject": "false_record",
    "accused": "tax-bureau",
    "evidence_digest": "e1" * 32,
}


class AlarmRecord(Wire):
    """An alarm that a member raised on the ledger."""

    model_config = example(**_ALARM)

    index: Count
    height: Count
    time_ms: TimeMs
    author: Name
    alarm: Id
    subject: Name
    accused: Name | None
    evidence_digest: Hex
    """Of the evidence, which lies with whoever raised it."""


class AlarmQuestion(PageQuery):
    """Asks for alarms from a leaf index on, which is the cursor."""

    model_config = example(limit=100, cursor="12")

    cursor: Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,15})$")] | None = None


class AlarmPage(Page[AlarmRecord]):
    """Alarms in the order of the log. A page may be empty and name a next one: so far there was none."""

    model_config = example(items=[_ALARM], next=None)


_PAST = {
    "id": "tax-bureau/" + "4f" * 16,
    "author": "tax-bureau",
    "recipient": "bank-east",
    "status": "active",
    "index": 12,
    "time_ms": 1_767_225_600_000,
    "detail": {"purpose": "underwriting", "valid_from_ms": 1_767_225_600_000, "valid_to_ms": 1_775_001_600_000},
}
_MOMENT = {"height": 30, "size": 130, "root": "2a" * 32, "time_ms": 1_767_229_200_000}


class PastRecord(Wire):
    """One thing that held at a moment gone by: ``/ledger/entries/{index}/receipt`` proves the entry that made it so."""

    model_config = example(**_PAST)

    id: Name
    author: Name
    recipient: Name
    """Empty where there is none."""
    status: Name
    """As of that moment."""
    index: Count
    time_ms: TimeMs
    """Of the entry."""
    detail: dict[str, Any]
    receipt: Hex | None = None
    """Where proofs were asked for: of the entry, and of what the state holds of it at the newest checkpoint."""


class PastPage(Page[PastRecord]):
    """What held at a moment, in the order of the log, and which block the moment is."""

    model_config = example(items=[_PAST], next=None, **_MOMENT)

    height: Count
    size: Count
    root: Hex
    time_ms: TimeMs


_PAST_USE = {
    "request": "first-bank/" + "7a" * 16,
    "consent": "tax-bureau/" + "4f" * 16,
    "recipient": "first-bank",
    "purpose": "credit_approval",
    "mode": "disclose",
    "items": {"invoice_issued": ["core"]},
    "records": {"invoice_issued": 5000},
    "status": "acknowledged",
    "index": 12,
    "time_ms": 1_767_225_600_000,
    "receipt": None,
}


class PastUse(Wire):
    """A use of a taxpayer's data that the ledger had by a moment: what a bank had been given of whom, and for what."""

    model_config = example(**_PAST_USE)

    request: Name
    consent: Name
    recipient: Name
    purpose: Name
    mode: Name
    items: dict[str, list[str]]
    """Record type to the disclosure groups asked for."""
    records: dict[str, int]
    """Record type to how many records were disclosed."""
    status: Name
    """As of that moment: delivered, acknowledged or destroyed."""
    index: Count
    time_ms: TimeMs
    """Of the entry that says that it was delivered."""
    receipt: Hex | None
    """Where proofs were asked for: of that entry, and of what the state holds of it at the newest checkpoint."""


class PastUsePage(Page[PastUse]):
    """Uses of one taxpayer's data by a moment, in the order of the log, and which block the moment is."""

    model_config = example(items=[_PAST_USE], next=None, **_MOMENT)

    height: Count
    size: Count
    root: Hex
    time_ms: TimeMs


_CELL = {
    "release": 1,
    "published_ms": 1_767_225_600_000,
    "attribute": "grade",
    "category": "A",
    "outcomes": ["approved"],
    "decisions": 12,
}


class StatisticsCell(Wire):
    """One cell of a published table: the decisions of a category, or of ``others``, with some outcomes together."""

    model_config = example(**_CELL)

    release: Count
    published_ms: TimeMs
    attribute: Name
    """grade, industry or province."""
    category: Name
    outcomes: tuple[Name, ...]
    decisions: Count


class StatisticsPage(Page[StatisticsCell]):
    """Cells of all releases, the first one first; each decision is counted in one release, so they may be added up."""

    model_config = example(items=[_CELL], next=None)


class StatisticsQuestion(PageQuery):
    """Asks for cells, of one attribute or of all."""

    model_config = example(limit=100, cursor=None, attribute="grade")

    attribute: Literal["grade", "industry", "province"] | None = None


class NewRelease(Wire):
    """Publish what no release counted yet; every cell holds at least so many firms."""

    model_config = example(least_firms=5)

    least_firms: Annotated[int, Field(ge=1, le=1_000_000)] = 5


_STANDING = {
    "kind": "request_unanswered",
    "about": "first-bank/" + "7a" * 16,
    "says": "tax-bureau has not answered since 2026-01-05T08:15:00Z",
    "says_zh": "请求逾时未答复",
    "since_ms": 1_767_225_600_000,
}


class StandingAlarmRecord(Wire):
    """An alarm that this institution's node raised by itself and that stands now."""

    model_config = example(**_STANDING)

    kind: Name
    """fork, member_diverged, refusal_rate, clock, request_unanswered, register_overdue or
    block_not_taken_in."""
    about: Name
    """The member or request that it is about."""
    says: Annotated[str, Field(max_length=1_000)]
    says_zh: Name
    since_ms: TimeMs


class StandingAlarmPage(Page[StandingAlarmRecord]):
    """The alarms that stood when the node last looked, at most 50."""

    model_config = example(items=[_STANDING], next=None)


LIST_STATISTICS: Final = Operation(method="GET", path="/statistics", sent=StatisticsQuestion, told=StatisticsPage)
PUBLISH_STATISTICS: Final = Operation(
    path="/statistics/releases", sent=NewRelease, told=StatisticsRelease, act="statistics.publish"
)
LIST_ALARMS: Final = Operation(method="GET", path="/alarms", sent=AlarmQuestion, told=AlarmPage)
LIST_STANDING_ALARMS: Final = Operation(method="GET", path="/alarms/standing", sent=PageQuery, told=StandingAlarmPage)

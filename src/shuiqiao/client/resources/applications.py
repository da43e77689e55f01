"""A bank's applications: handed in, on their way with a timeline of every step, referred to people, decided."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import Page, PageQuery
from shuiqiao.client.resources.answers import ConsentName
from shuiqiao.client.resources.models import Date
from shuiqiao.client.resources.products import ProductId
from shuiqiao.client.wire import MAX_EXACT, Count, Id, Name, Nothing, Wire, example

MAX_PAPERS: Final = 1_000
"""Papers that one applicant hands in; as ``lending.file``."""

PROCESS_TIMEOUT_S: Final = 600.0
"""How long one application may take: a provider may send 63 MiB, which are proven one record after another."""

ApplicationName = Annotated[
    str, StringConstraints(pattern=r"^[0-9a-f]{4,32}$"), Field(description="Its id, or enough of its beginning")
]
AmountFen = Annotated[int, Field(ge=1, le=MAX_EXACT)]
Reason = Annotated[str, Field(min_length=1, max_length=500)]
OutcomeName = Literal["approved", "refused"]
StatusName = Literal["submitted", "referred", "approved", "refused", "closed"]

_APPLICATION = "a7" * 16
_ROW = {
    "application": _APPLICATION,
    "product": "tax-credit-loan",
    "taxpayer": "91440300MA5EXAMPL1",
    "amount_fen": 50_000_000,
    "submitted": "2026-01-05T08:00:00.000Z",
    "status": "referred",
}


class PaperClaim(Wire):
    """What a paper copy of an issued invoice claims."""

    paper: Annotated[str, Field(min_length=1, max_length=64)]
    invoice_no: Annotated[str, Field(min_length=1, max_length=64)]
    issue_date: Date
    total_fen: Annotated[int, Field(ge=-MAX_EXACT, le=MAX_EXACT)]


class HandedInApplication(Wire):
    """An enterprise's wish for a loan under a consent on file; the taxpayer is that of the consent.

    application: sixteen random bytes that whoever hands it in chooses; the same ones again are the same application.
    Left out, it follows from all the rest: the same wish is the same application while that is open, and for a day.
    """

    model_config = example(
        application=_APPLICATION,
        product="tax-credit-loan",
        consent="tax-bureau/" + "4f" * 16,
        amount_fen=50_000_000,
        other_debt_fen=0,
        industry="C",
        province="44",
        papers=[],
    )

    application: Id | None = None
    product: ProductId
    consent: ConsentName
    amount_fen: AmountFen
    other_debt_fen: Annotated[int, Field(ge=0, le=MAX_EXACT)] = 0
    """Debts elsewhere, as declared."""
    industry: Annotated[str, StringConstraints(pattern=r"^[A-T]$")] | None = None
    province: Annotated[str, StringConstraints(pattern=r"^[0-9]{2}$")] | None = None
    papers: Annotated[tuple[PaperClaim, ...], Field(max_length=MAX_PAPERS)] = ()


class ApplicationRow(Wire):
    """One application in a list."""

    model_config = example(**_ROW)

    application: Id
    product: Name
    taxpayer: Name
    amount_fen: int
    submitted: Name
    status: StatusName


class ApplicationPage(Page[ApplicationRow]):
    """Applications, the oldest first."""

    model_config = example(items=[_ROW], next=None)


class ApplicationsQuestion(PageQuery):
    """Which applications are asked for; what is left out fits any."""

    model_config = example(status="referred", product=None, limit=100, cursor=None)

    status: StatusName | None = None
    product: ProductId | None = None


class ApplicationQuestion(Wire):
    """One application."""

    model_config = example(application=_APPLICATION)

    application: ApplicationName


class Step(Wire):
    """A step that was taken, or that failed. times: how often it failed so."""

    step: Name
    time: Name
    entry: Count | None
    """Leaf index of its ledger entry, where it has one."""
    code: Name
    """Why it failed, empty where it was taken."""
    cause: Annotated[str, Field(max_length=2_000)]
    times: Count


class ApplicationFileRecord(Wire):
    """Everything that the bank has of one application, for its own people."""

    model_config = example(
        **_ROW,
        consent="tax-bureau/" + "4f" * 16,
        request="7a" * 16,
        applicant={"papers": 0, "other_debt_fen": 0, "industry": "C", "province": "44"},
        assessment={"outcome": "referred", "offered_fen": 20_000_000, "offered_rate": "0.0465"},
        decision=None,
        next_try=None,
        timeline=[
            {
                "step": "received",
                "time": "2026-01-05T08:00:00.000Z",
                "entry": None,
                "code": "",
                "cause": "",
                "times": 1,
            }
        ],
    )

    application: Id
    product: Name
    taxpayer: Name
    consent: Name
    amount_fen: int
    submitted: Name
    status: StatusName
    request: Id
    """Its request for data."""
    applicant: dict[str, Any]
    assessment: dict[str, Any] | None
    """What the product's rules made of the proven records; none before."""
    decision: dict[str, Any] | None
    next_try: Name | None = None
    """When the server takes it up next by itself; none where it ended, or people decide on it first."""
    timeline: tuple[Step, ...]


class ApplicationProcessing(Wire):
    """Take an application on from where it stands: until its data are proven, or as far as it goes."""

    model_config = example(application=_APPLICATION, until="closed")

    application: ApplicationName
    until: Literal["proven", "closed"] = "closed"


class ApplicationClosing(Wire):
    """End a file without a decision."""

    model_config = example(application=_APPLICATION, reason="withdrawn by the enterprise")

    application: ApplicationName
    reason: Reason


_REFERRAL = {
    "application": _APPLICATION,
    "product": "tax-credit-loan",
    "taxpayer": "91440300MA5EXAMPL1",
    "amount_fen": 50_000_000,
    "submitted": "2026-01-05T08:00:00.000Z",
    "points": 527,
    "default_probability": "0.1210",
    "offered_fen": 20_000_000,
    "offered_rate": "0.0465",
    "rules": ["risk_needs_review"],
    "reviewed": False,
}


class ReferralRecord(Wire):
    """An application that people decide on. offered: what the rules could offer."""

    model_config = example(**_REFERRAL)

    application: Id
    product: Name
    taxpayer: Name
    amount_fen: int
    submitted: Name
    points: int
    default_probability: Name
    offered_fen: int
    offered_rate: Name | None
    rules: tuple[Name, ...]
    outputs: tuple[dict[str, Any], ...] = ()
    """In the mode score: what the models said, which is all that the bank knows of the firm's records."""
    reviewed: bool
    """Whether two people decided, which is not on the ledger yet."""


class ReferralPage(Page[ReferralRecord]):
    """Referrals, the oldest first."""

    model_config = example(items=[_REFERRAL], next=None)


_DECISION = {
    "application": _APPLICATION,
    "product": "tax-credit-loan",
    "outcome": "approved",
    "limit_fen": 20_000_000,
    "annual_rate": "0.0465",
    "maker": None,
    "checker": None,
    "decided": "2026-01-05T08:00:00.400Z",
    "entry": 42,
}


class DecisionRecord(Wire):
    """A decision. maker, checker: ids of the people who took it; none where the product's rules decided alone."""

    model_config = example(**_DECISION)

    application: Id
    product: Name
    outcome: Name
    limit_fen: int
    annual_rate: Name | None
    maker: Name | None
    checker: Name | None
    decided: Name | None
    entry: Count | None
    """Leaf index of its ledger entry, none before it is there."""


class DecisionPage(Page[DecisionRecord]):
    """Decisions, by when their applications were handed in."""

    model_config = example(items=[_DECISION], next=None)


class DecisionsQuestion(PageQuery):
    """Which decisions are asked for; what is left out fits any."""

    model_config = example(outcome="approved", limit=100, cursor=None)

    outcome: OutcomeName | None = None


class ExplainedDecision(DecisionRecord):
    """A decision with what it rests on, in the words that the enterprise is given."""

    model_config = example(
        **_DECISION,
        explanation={"outcome": "approved", "points": 640, "model": "6c" * 32},
        rules=[{"rule": "risk_needs_review", "en": "needs a person's judgement", "zh": "需人工复核"}],
    )

    explanation: dict[str, Any]
    rules: tuple[dict[str, str], ...]


class HandedInOpenings(Wire):
    """How many sealed openings are on their way to the regulator, those that wait already left out."""

    model_config = example(count=12)

    count: Count


HAND_IN: Final = Operation(
    path="/applications",
    sent=HandedInApplication,
    told=ApplicationFileRecord,
    act="applications.hand_in",
    subject=lambda asked: f"application/{asked.application}" if asked.application else f"consent/{asked.consent}",
    shows_taxpayer=True,
)
LIST_APPLICATIONS: Final = Operation(
    method="GET",
    path="/applications",
    sent=ApplicationsQuestion,
    told=ApplicationPage,
    act="applications.list",
    shows_taxpayer=True,
)
READ_APPLICATION: Final = Operation(
    method="GET",
    path="/applications/{application}",
    sent=ApplicationQuestion,
    told=ApplicationFileRecord,
    act="applications.read",
    subject=lambda asked: f"application/{asked.application}",
    shows_taxpayer=True,
)
PROCESS: Final = Operation(
    path="/applications/steps",
    sent=ApplicationProcessing,
    told=ApplicationFileRecord,
    timeout_s=PROCESS_TIMEOUT_S,
    act="applications.process",
    subject=lambda asked: f"application/{asked.application}",
    shows_taxpayer=True,
)
CLOSE: Final = Operation(
    path="/applications/closings",
    sent=ApplicationClosing,
    told=ApplicationFileRecord,
    act="applications.close",
    subject=lambda asked: f"application/{asked.application}",
    shows_taxpayer=True,
)
ASK_ANEW: Final = Operation(
    path="/applications/renewals",
    sent=ApplicationQuestion,
    told=ApplicationFileRecord,
    act="applications.ask_anew",
    subject=lambda asked: f"application/{asked.application}",
    shows_taxpayer=True,
)
HAND_IN_OPENINGS: Final = Operation(
    path="/decisions/openings", sent=Nothing, told=HandedInOpenings, act="decisions.hand_in"
)
LIST_REFERRALS: Final = Operation(
    method="GET", path="/referrals", sent=PageQuery, told=ReferralPage, act="applications.list", shows_taxpayer=True
)
LIST_DECISIONS: Final = Operation(
    method="GET",
    path="/decisions",
    sent=DecisionsQuestion,
    told=DecisionPage,
    act="decisions.list",
    shows_taxpayer=True,
)
READ_DECISION: Final = Operation(
    method="GET",
    path="/decisions/{application}",
    sent=ApplicationQuestion,
    told=ExplainedDecision,
    act="decisions.read",
    subject=lambda asked: f"application/{asked.application}",
    shows_taxpayer=True,
)

"""One application from its receipt to its end: what the bank knows of it, and a timeline of every step.

    received -> submitted -> requested -> answered -> proven -> assessed -> decided -> handed_in -> closed
                                                                assessed -> referred -> reviewed -> decided

Each step stands in the timeline once, with its time and, where it is one, its ledger entry. A step that failed stands
there too, with the cause, once for each cause. ``processing`` takes these steps; ``store`` keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

import msgspec

from shuiqiao.base.clock import iso_from_ms
from shuiqiao.base.encoding import decode_json, encode_json, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.credit.pricing import ChurnCurve
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.lending.model import ApplicantFile, Application, Decision, Outcome

MAX_KEPT_BYTES = 1 << 20
"""Of an applicant's file or a judgement, as kept: 1,000 papers take under 200 kB."""

MAX_PAPERS = 1_000
"""Papers that one applicant hands in."""

MAX_CAUSE_CHARS = 500
"""Of the words that say why a step failed."""

_REQUEST = b"shuiqiao/lending/request/1\x00"


class Step(StrEnum):
    """What was done on an application, in this order."""

    RECEIVED = "received"
    SUBMITTED = "submitted"
    REQUESTED = "requested"
    ANSWERED = "answered"
    PROVEN = "proven"
    ASSESSED = "assessed"
    REFERRED = "referred"
    REVIEWED = "reviewed"
    DECIDED = "decided"
    HANDED_IN = "handed_in"
    CLOSED = "closed"


STEPS = tuple(Step)


class ApplicationStatus(StrEnum):
    """Where an application stands: under way, waiting for a person, decided, or ended without a decision."""

    SUBMITTED = "submitted"
    REFERRED = "referred"
    APPROVED = "approved"
    REFUSED = "refused"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineEntry:
    """A step that was taken, or that failed.

    code, cause: why it failed, empty where it was taken. times: how often it failed so; time_ms is of the last time.
    entry_index: its leaf in the ledger's log.
    """

    step: Step
    time_ms: int
    entry_index: int | None = None
    code: str = ""
    cause: str = ""
    times: int = 1

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "step": str(self.step),
            "time": iso_from_ms(self.time_ms),
            "entry": self.entry_index,
            "code": self.code,
            "cause": self.cause,
            "times": self.times,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What a product's rules made of an assessment: all that a decision is recorded from.

    request: the acknowledged answer that it rests on. firm: the tag in the consent. offered_fen, offered_rate: what can
    be offered, also where a person decides. decision: of the rules alone.
    """

    request: bytes
    firm: bytes
    offered_fen: int
    offered_rate: Decimal | None
    decision: Decision

    @property
    def is_referred(self) -> bool:
        """Whether a person decides."""
        return self.decision.outcome is Outcome.REFERRED


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What two persons decided on a referred application. raw: the bytes that the checker approved."""

    raw: bytes
    maker: str
    checker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedDecision:
    """Everything that a decision says, to be kept before the ledger has it. body: of its transaction, encoded."""

    decision: Decision
    sealed_opening: bytes
    reasons_salt: bytes
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptDecision:
    """A decision as kept before the ledger has it. body: of its transaction, encoded."""

    outcome: Outcome
    limit_fen: int
    annual_rate: str | None
    explanation: str
    sealed_opening: bytes
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplicationFile:
    """Everything that a bank has of one application. attempt: how often data was asked for anew, from 0."""

    application: Application
    salt: bytes
    status: ApplicationStatus
    applicant: ApplicantFile
    attempt: int
    closed_ms: int | None
    judgement: Judgement | None
    review: Review | None
    decision: KeptDecision | None
    timeline: tuple[TimelineEntry, ...]

    @property
    def has_failed(self) -> bool:
        """Whether its newest step failed, and is tried again."""
        return bool(self.timeline) and bool(self.timeline[-1].code)

    def has(self, step: Step) -> bool:
        """Return whether a step was taken."""
        return any(entry.step is step and not entry.code for entry in self.timeline)

    def request_id(self, suite: CipherSuite, asked: str = "") -> bytes:
        """Return the id of this application's request for data, or for the output that is asked [LENDING-11].

        It follows from the application's secret salt, so that a bank that crashed asks under the same id again, and
        nobody else can tell which request belongs to which application.
        """
        return suite.digest(_REQUEST + bytes([self.attempt]) + asked.encode() + self.salt)[:16]

    def as_json(self, *, suite: CipherSuite) -> dict[str, Any]:
        """Return it as a JSON object, for the bank's own people."""
        application, judgement = self.application, self.judgement
        return {
            "application": application.id.hex(),
            "product": application.product,
            "taxpayer": application.taxpayer,
            "consent": application.consent,
            "amount_fen": application.amount_fen,
            "submitted": iso_from_ms(application.submitted_ms),
            "status": str(self.status),
            "request": (self.request_id(suite) if judgement is None else judgement.request).hex(),
            "applicant": {
                "papers": len(self.applicant.papers),
                "other_debt_fen": self.applicant.other_debt_fen,
                "industry": self.applicant.industry,
                "province": self.applicant.province,
            },
            "assessment": None if judgement is None else _assessment(judgement),
            "decision": None if self.decision is None else _decision(self.decision, review=self.review),
            "timeline": [entry.as_json() for entry in self.timeline],
        }


def _assessment(judgement: Judgement) -> dict[str, Any]:
    explained = judgement.decision.explanation()
    return {
        "outcome": explained["outcome"],
        "points": explained["points"],
        "default_probability": explained["default_probability"],
        "offered_fen": judgement.offered_fen,
        "offered_rate": None if judgement.offered_rate is None else str(judgement.offered_rate),
        "rules": explained["rules"],
        "reasons": explained["reasons"],
        "model": explained["model"],
        **({"outputs": explained["outputs"]} if judgement.decision.outputs else {}),
    }


def _decision(kept: KeptDecision, *, review: Review | None) -> dict[str, Any]:
    return {
        "outcome": str(kept.outcome),
        "limit_fen": kept.limit_fen,
        "annual_rate": kept.annual_rate,
        "maker": None if review is None else review.maker,
        "checker": None if review is None else review.checker,
    }


def encode_applicant(applicant: ApplicantFile) -> bytes:
    """Return what is kept of an applicant; raises InvalidInput ``lending.papers_too_many``."""
    if len(applicant.papers) > MAX_PAPERS:
        raise InvalidInput(
            "lending.papers_too_many", f"{len(applicant.papers)} papers where at most {MAX_PAPERS} are taken"
        )
    return encode_json(msgspec.to_builtins(applicant))


def decode_applicant(data: bytes | None) -> ApplicantFile:
    """Return what was kept of an applicant, None standing for nothing."""
    applicant: ApplicantFile = ApplicantFile() if data is None else _kept(data, ApplicantFile)
    return applicant


def encode_judgement(judgement: Judgement) -> bytes:
    """Return a judgement as it is kept."""
    return encode_json(msgspec.to_builtins(judgement))


def decode_judgement(data: bytes) -> Judgement:
    """Return a kept judgement; raises IntegrityError ``lending.file_damaged``."""
    judgement: Judgement = _kept(data, Judgement)
    return judgement


def encode_curve(curve: ChurnCurve) -> bytes:
    """Return a churn curve as it is kept."""
    return encode_json(msgspec.to_builtins(curve))


def decode_curve(data: bytes) -> ChurnCurve:
    """Return a kept churn curve; raises IntegrityError ``lending.file_damaged``."""
    curve: ChurnCurve = _kept(data, ChurnCurve)
    return curve


def in_order(entries: Mapping[tuple[Step, str], TimelineEntry]) -> tuple[TimelineEntry, ...]:
    """Return a timeline in order of time, steps of one moment in the order in which they are taken."""
    return tuple(sorted(entries.values(), key=lambda entry: (entry.time_ms, STEPS.index(entry.step), entry.code)))


def _kept(data: bytes, kind: Any) -> Any:
    try:
        return typed(decode_json(data, max_bytes=MAX_KEPT_BYTES), kind)
    except (InvalidInput, msgspec.ValidationError) as error:
        raise IntegrityError("lending.file_damaged", f"a kept {kind.__name__} is damaged: {error}") from error

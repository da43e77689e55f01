"""Ledger rules of applications and decisions.

An application names an active consent given to the bank that writes it; a decision closes one application once, by the
same bank, and rests on an answer that this bank acknowledged. Outcome, grade, industry section and province stand in
clear so that statistics need no private data; the amount is a salted commitment whose opening goes sealed to the
regulator, and the ledger keeps the digest of that sealed opening. No rule here reads or writes an amount.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from shuiqiao.base.errors import Conflict, Denied
from shuiqiao.consent.model import grant_from_state, grant_key, verify_usable
from shuiqiao.ledger.model import BlockContext, Event, Kind, State, StateView, Transaction
from shuiqiao.lending.model import Outcome
from shuiqiao.members.contract import require_role
from shuiqiao.members.model import Role

ROOM = "lending"
NO_INDUSTRY = "none"
NO_PROVINCE = "00"

RecordedGrade = Literal["A", "B", "M", "C", "D", "none"]
Id = Annotated[bytes, Meta(min_length=16, max_length=16)]
Digest = Annotated[bytes, Meta(min_length=32, max_length=32)]


class ApplicationSubmitBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An enterprise applied at this bank under this consent; the amount wanted is committed to, not shown."""

    application: Id
    product: Annotated[str, Meta(max_length=32, pattern=r"^[a-z][a-z0-9-]{1,31}\Z")]
    consent: Id
    amount_commitment: Digest


class DecisionRecordBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The bank decided. reasons_digest commits (salted) to the reasons that the enterprise was given."""

    application: Id
    request: Id
    outcome: Outcome
    grade: RecordedGrade
    industry: Annotated[str, Meta(max_length=4, pattern=r"^([A-T]|none)\Z")]
    province: Annotated[str, Meta(max_length=2, pattern=r"^[0-9]{2}\Z")]
    model_digest: Digest
    reasons_digest: Digest
    amount_commitment: Digest
    opening_digest: Digest


def application_key(application: bytes) -> str:
    """Return the state key of an application."""
    return f"{ROOM}/application/{application.hex()}"


def decision_key(application: bytes) -> str:
    """Return the state key of the decision on an application."""
    return f"{ROOM}/decision/{application.hex()}"


def _check_application(tx: Transaction, state: StateView, ctx: BlockContext) -> None:
    body: ApplicationSubmitBody = tx.body
    require_role(state, tx.author, Role.BANK)
    if state.get(application_key(body.application)) is not None:
        raise Conflict("lending.application_repeated", f"application {body.application.hex()} is on the ledger already")
    grant = grant_from_state(body.consent, state.get(grant_key(body.consent)))
    if grant.recipient != tx.author:
        raise Denied(
            "lending.consent_not_ours",
            f"consent {body.consent.hex()} was given to {grant.recipient}, the application is at {tx.author}",
        )
    verify_usable(grant, now_ms=ctx.time_ms)


def _apply_application(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: ApplicationSubmitBody = tx.body
    state.put(
        application_key(body.application),
        {"bank": tx.author, "product": body.product, "consent": body.consent, "status": "submitted"},
    )
    return (Event(name="application.submitted", attributes={"application": body.application, "bank": tx.author}),)


def _check_decision(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    body: DecisionRecordBody = tx.body
    application = _own_application(state, body.application, bank=tx.author)
    if application["status"] != "submitted":
        raise Conflict("lending.decision_repeated", f"application {body.application.hex()} was decided already")
    request = state.get(f"exchange/request/{body.request.hex()}")
    if request is None or request["author"] != tx.author or request["status"] != "acknowledged":
        raise Denied(
            "lending.evidence_missing",
            f"request {body.request.hex()} is not an answer that {tx.author} acknowledged; a decision rests on one",
        )
    if request["consent"] != application["consent"]:
        raise Denied(
            "lending.evidence_foreign",
            f"request {body.request.hex()} was made under another consent than application {body.application.hex()}",
        )


def _apply_decision(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: DecisionRecordBody = tx.body
    application = state.get(application_key(body.application))
    state.put(application_key(body.application), {**application, "status": "decided"})
    state.put(
        decision_key(body.application),
        {
            "bank": tx.author,
            "outcome": str(body.outcome),
            "grade": body.grade,
            "industry": body.industry,
            "province": body.province,
            "amount_commitment": body.amount_commitment,
            "opening_digest": body.opening_digest,
        },
    )
    return (Event(name="decision.recorded", attributes={"application": body.application, "bank": tx.author}),)


def _own_application(state: StateView, application: bytes, *, bank: str) -> dict[str, Any]:
    found = state.get(application_key(application))
    if found is None or found["bank"] != bank:
        raise Denied("lending.application_unknown", f"{bank} has no application {application.hex()} on the ledger")
    record: dict[str, Any] = found
    return record


KINDS: tuple[Kind, ...] = (
    Kind(
        name="application.submit",
        room=ROOM,
        version=1,
        body=ApplicationSubmitBody,
        check=_check_application,
        apply=_apply_application,
    ),
    Kind(
        name="decision.record",
        room=ROOM,
        version=1,
        body=DecisionRecordBody,
        check=_check_decision,
        apply=_apply_decision,
    ),
)

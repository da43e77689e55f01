"""Ledger rules of applications and decisions.

An application names an active consent given to the bank that writes it; a decision closes one application once, by the
same bank, and rests on an answer that this bank acknowledged. Rule: docs/spec/lending.md [LENDING-1] to [LENDING-4]:
ids and salted commitments only. Product, outcome, grade, industry section, province and amounts stand in openings
(``openings``), which no rule here reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from shuiqiao.base.errors import Conflict, Denied
from shuiqiao.base.ids import MemberId
from shuiqiao.consent.model import Digest, MemberName, grant_from_state, grant_key, verify_usable
from shuiqiao.ledger.model import BlockContext, Event, Kind, State, StateView, Transaction
from shuiqiao.lending.openings import Id
from shuiqiao.members.contract import require_role
from shuiqiao.members.model import Role

ROOM = "lending"
VERSION = 2
"""Version 1 showed outcome, grade, industry section and province of every decision; it was withdrawn unused."""


class ApplicationSubmitBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An enterprise applied at this bank under this consent; for what is committed to, not shown [LENDING-2]."""

    application: Id
    consent: Id
    commitment: Digest


class DecisionRecordBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The bank decided; what and on whom is committed to, not shown [LENDING-3].

    commitment: to the opening that went sealed to the regulator, whose ciphertext opening_digest is of.
    reasons_digest: commits (salted) to the reasons that the enterprise was given.
    """

    application: Id
    request: Id
    regulator: MemberName
    commitment: Digest
    opening_digest: Digest
    reasons_digest: Digest


def application_key(application: bytes) -> str:
    """Return the state key of an application."""
    return f"{ROOM}/application/{application.hex()}"


def decision_key(application: bytes) -> str:
    """Return the state key of the decision on an application."""
    return f"{ROOM}/decision/{application.hex()}"


def _check_application(tx: Transaction, state: StateView, ctx: BlockContext) -> None:
    """[LENDING-1]: under an active consent given to this bank."""
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
        {"bank": tx.author, "consent": body.consent, "status": "submitted"},
    )
    return (Event(name="application.submitted", attributes={"application": body.application, "bank": tx.author}),)


def _check_decision(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    """[LENDING-1]: one decision of an own application, on an own acknowledged answer; [LENDING-4]: for a regulator."""
    body: DecisionRecordBody = tx.body
    require_role(state, MemberId(body.regulator), Role.REGULATOR)
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
            "regulator": body.regulator,
            "commitment": body.commitment,
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
        version=VERSION,
        body=ApplicationSubmitBody,
        check=_check_application,
        apply=_apply_application,
    ),
    Kind(
        name="decision.record",
        room=ROOM,
        version=VERSION,
        body=DecisionRecordBody,
        check=_check_decision,
        apply=_apply_decision,
    ),
)

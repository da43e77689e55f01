"""The ledger's rules for applications and decisions: application.submit and decision.record.

An application names an active consent given to the bank that writes it; a decision closes one application once, by the
same bank, and rests on an answer that this bank acknowledged and decided nothing else on. Rule: docs/spec/lending.md,
[LENDING-1] to [LENDING-4]:
ids and salted commitments only. Product, outcome, grade, industry section, province and amounts stand in openings
(``openings``), which no rule here reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from shuiqiao.base.errors import Conflict, Denied
from shuiqiao.base.ids import MemberId, owned_id
from shuiqiao.base.wire import Digest, Id, MemberName, OwnedRef
from shuiqiao.consent.model import grant_from_state, grant_key, verify_usable
from shuiqiao.exchange.model import request_key
from shuiqiao.ledger.model import BlockContext, Event, Kind, State, StateView, Transaction
from shuiqiao.members.model import Role
from shuiqiao.members.roster import require_role

APPLICATION = "application.submit"
DECISION = "decision.record"
ROOM = "lending"
VERSION = 2
"""Version 1 showed outcome, grade, industry section and province of every decision; it was withdrawn unused."""


class ApplicationSubmitBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An enterprise applied at this bank under this consent; for what is committed to, not shown [LENDING-2]."""

    application: Id
    consent: OwnedRef
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


def application_key(bank: str, application: bytes) -> str:
    """Return the state key of an application at a bank: its id belongs to the bank."""
    return f"{ROOM}/application/{owned_id(bank, application)}"


def decision_key(bank: str, application: bytes) -> str:
    """Return the state key of a bank's decision on an application."""
    return f"{ROOM}/decision/{owned_id(bank, application)}"


def evidence_key(bank: str, request: bytes) -> str:
    """Return the state key that is present once a decision rests on the answer to a request."""
    return f"{ROOM}/evidence/{owned_id(bank, request)}"


def _check_application(tx: Transaction, state: StateView, ctx: BlockContext) -> None:
    """[LENDING-1]: under an active consent given to this bank."""
    body: ApplicationSubmitBody = tx.body
    require_role(state, tx.author, Role.BANK)
    if state.get(application_key(tx.author, body.application)) is not None:
        raise Conflict("lending.application_repeated", f"application {body.application.hex()} is on the ledger already")
    grant = grant_from_state(body.consent, state.get(grant_key(body.consent)))
    if grant.recipient != tx.author:
        raise Denied(
            "lending.consent_not_ours",
            f"consent {body.consent} was given to {grant.recipient}, the application is at {tx.author}",
        )
    verify_usable(grant, now_ms=ctx.time_ms)


def _apply_application(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: ApplicationSubmitBody = tx.body
    state.put(
        application_key(tx.author, body.application),
        {"consent": body.consent, "status": "submitted"},
    )
    return (Event(name="application.submitted", attributes={"application": body.application, "bank": tx.author}),)


def _check_decision(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    """[LENDING-1]: one decision of an own application, on an own acknowledged answer; [LENDING-4]: for a regulator."""
    body: DecisionRecordBody = tx.body
    require_role(state, MemberId(body.regulator), Role.REGULATOR)
    application = _own_application(state, body.application, bank=tx.author)
    if application["status"] != "submitted":
        raise Conflict("lending.decision_repeated", f"application {body.application.hex()} was decided already")
    request = state.get(request_key(owned_id(tx.author, body.request)))
    if request is None or request["status"] != "acknowledged":
        raise Denied(
            "lending.evidence_missing",
            f"request {body.request.hex()} is not an answer that {tx.author} acknowledged; a decision rests on one",
        )
    if request["consent"] != application["consent"]:
        raise Denied(
            "lending.evidence_foreign",
            f"request {body.request.hex()} was made under another consent than application {body.application.hex()}",
        )
    if (decided := state.get(evidence_key(tx.author, body.request))) is not None:
        raise Conflict(
            "lending.evidence_used",
            f"application {decided.hex()} was decided on the answer to request {body.request.hex()} already; "
            f"one answer carries one decision, so application {body.application.hex()} needs its own",
            next_step="ask the provider again for this application",
        )


def _apply_decision(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: DecisionRecordBody = tx.body
    key = application_key(tx.author, body.application)
    state.put(key, {**state.get(key), "status": "decided"})
    state.put(evidence_key(tx.author, body.request), body.application)
    state.put(
        decision_key(tx.author, body.application),
        {
            "regulator": body.regulator,
            "commitment": body.commitment,
            "opening_digest": body.opening_digest,
        },
    )
    return (Event(name="decision.recorded", attributes={"application": body.application, "bank": tx.author}),)


def _own_application(state: StateView, application: bytes, *, bank: str) -> dict[str, Any]:
    found = state.get(application_key(bank, application))
    if found is None:
        raise Denied("lending.application_unknown", f"{bank} has no application {application.hex()} on the ledger")
    record: dict[str, Any] = found
    return record


KINDS: tuple[Kind, ...] = (
    Kind(
        name=APPLICATION,
        room=ROOM,
        version=VERSION,
        body=ApplicationSubmitBody,
        check=_check_application,
        apply=_apply_application,
    ),
    Kind(
        name=DECISION,
        room=ROOM,
        version=VERSION,
        body=DecisionRecordBody,
        check=_check_decision,
        apply=_apply_decision,
    ),
)

"""The ledger's rules for consent: who must sign, which steps exist, how long a consent may last.

Rule: docs/spec/consent-exchange.md [CONSENT-6] to [CONSENT-14]. Valid steps, and no others::

    (absent) --grant--> active --pause--> paused --resume--> active
                        active, paused --revoke--> revoked
                        active, paused --time--> expired        (derived: block time > valid_to_ms)

Pure: block time is the only time. The artefact itself never comes here: its commitment does [CONSENT-14].
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.base.ids import ID_BYTES, MemberId, owned_id
from shuiqiao.base.wire import CalendarMs, Digest, Id, MemberName, OwnedRef, PublicKey
from shuiqiao.consent.ceilings import longest_validity_ms
from shuiqiao.consent.model import (
    ConsentArtefact,
    Grant,
    Purpose,
    RevokeReason,
    Status,
    grant_from_state,
    grant_key,
    is_whole_hours,
)
from shuiqiao.ledger.model import BlockContext, Event, Kind, State, StateView, Transaction
from shuiqiao.members.model import Role
from shuiqiao.members.roster import consent_key_entry, member_record, require_role, signing_key, used_key

GRANT = "consent.grant"
PAUSE = "consent.pause"
RESUME = "consent.resume"
REVOKE = "consent.revoke"

MAX_LEAD_MS = 90 * MS_PER_DAY
"""A consent may begin at most this long after its grant: what is needed later is asked for later."""


class ConsentGrantBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that the ledger is told of a consent when it begins."""

    consent: Id
    provider: MemberName
    recipient: MemberName
    purpose: Purpose
    valid_from_ms: CalendarMs
    valid_to_ms: CalendarMs
    key: PublicKey
    commitment: Digest


class ConsentPauseBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Stop the flow for now."""

    consent: OwnedRef


class ConsentResumeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Lift one pause, named by the id of its transaction, so that a resume kept back cannot lift a later pause."""

    consent: OwnedRef
    pause: Id


class ConsentRevokeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """End a consent for good."""

    consent: OwnedRef
    reason: RevokeReason


def grant_body(artefact: ConsentArtefact, *, commitment: bytes) -> ConsentGrantBody:
    """Return the one body that may grant an artefact."""
    return ConsentGrantBody(
        consent=artefact.consent,
        provider=artefact.provider,
        recipient=artefact.recipient,
        purpose=artefact.purpose,
        valid_from_ms=artefact.valid_from_ms,
        valid_to_ms=artefact.valid_to_ms,
        key=artefact.key,
        commitment=commitment,
    )


def grant_transaction_id(commitment: bytes) -> bytes:
    """Return the one id that a grant's transaction may have: nobody can make it meet an id that the provider chose."""
    return commitment[:ID_BYTES]


def _check_grant(tx: Transaction, state: StateView, ctx: BlockContext) -> None:
    body: ConsentGrantBody = tx.body
    if tx.author != body.provider:
        raise Denied("consent.provider_wrong", f"{tx.author} cannot grant for the provider {body.provider}")
    require_role(state, tx.author, Role.TAX_BUREAU)
    require_role(state, MemberId(body.recipient), Role.BANK)
    _check_window(body, state, ctx)
    # [CONSENT-13]: an id and a key each serve one consent.
    name = owned_id(tx.author, body.consent)
    if state.get(grant_key(name)) is not None:
        raise Conflict("consent.already_granted", f"consent {name} is on the ledger already")
    if state.get(consent_key_entry(body.key)) is not None:
        raise Conflict("consent.key_reused", f"the key of consent {name} belongs to another consent, which links them")
    # Any member may name any sealing key, so another's takes no consent its key.
    is_own = member_record(state, tx.author)["seal"] == body.key
    if (owner := tx.author if is_own else state.get(used_key(body.key))) is not None:
        raise Denied(
            "consent.key_of_member",
            f"the key of consent {name} is one of {owner}; a consent speaks by a key that no member has",
            next_step="let the enterprise sign with a key of its own",
        )


def _check_window(body: ConsentGrantBody, state: StateView, ctx: BlockContext) -> None:
    """[CONSENT-7]: whole hours, open or soon to be, and no longer than its purpose allows."""
    if not is_whole_hours(body.valid_from_ms, body.valid_to_ms):
        raise InvalidInput(
            "consent.window_uneven",
            f"a window from {body.valid_from_ms} to {body.valid_to_ms} ms, whose ends are not both full hours",
            next_step="Sign the consent again with a window of whole hours.",
        )
    length_ms = body.valid_to_ms - body.valid_from_ms
    most_ms = longest_validity_ms(state, body.purpose, recipient=body.recipient)
    if length_ms <= 0 or body.valid_to_ms <= ctx.time_ms:
        raise InvalidInput(
            "consent.window_invalid",
            f"a window from {body.valid_from_ms} to {body.valid_to_ms} ms is empty or past at {ctx.time_ms} ms",
        )
    if body.valid_from_ms > ctx.time_ms + MAX_LEAD_MS:
        raise InvalidInput(
            "consent.window_too_early",
            f"a consent from {body.valid_from_ms} ms is granted at {ctx.time_ms} ms, more than {MAX_LEAD_MS} ms before",
        )
    if length_ms > most_ms:
        raise Denied("consent.ceiling_exceeded", f"{length_ms} ms of validity where {body.purpose} allows {most_ms} ms")


def _apply_grant(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: ConsentGrantBody = tx.body
    value = {
        "recipient": body.recipient,
        "purpose": str(body.purpose),
        "valid_from_ms": body.valid_from_ms,
        "valid_to_ms": body.valid_to_ms,
        "status": str(Status.ACTIVE),
        "key": body.key,
        "commitment": body.commitment,
        "pause": b"",
    }
    name = owned_id(tx.author, body.consent)
    state.put(grant_key(name), value)
    state.put(consent_key_entry(body.key), name)
    return (_event("consent.granted", name, recipient=body.recipient),)


def _check_pause(tx: Transaction, state: StateView, ctx: BlockContext) -> None:
    _expect_status(_grant(tx, state), ctx, Status.ACTIVE)


def _check_resume(tx: Transaction, state: StateView, ctx: BlockContext) -> None:
    _expect_status(_grant(tx, state), ctx, Status.PAUSED)
    paused_by = state.get(grant_key(tx.body.consent))["pause"]
    if tx.body.pause != paused_by:
        raise Conflict(
            "consent.pause_superseded",
            f"this resume lifts pause {tx.body.pause.hex()}, the one in force is {paused_by.hex()}",
        )


def _check_revoke(tx: Transaction, state: StateView, ctx: BlockContext) -> None:
    grant = _grant(tx, state)
    if tx.body.reason is RevokeReason.KEY_LOST and tx.author != grant.provider:
        raise Denied(
            "consent.provider_wrong", f"{tx.author} cannot revoke for a lost key; {grant.provider}, the provider, can"
        )
    _expect_status(grant, ctx, Status.ACTIVE, Status.PAUSED)


def _expect_status(grant: Grant, ctx: BlockContext, *allowed: Status) -> None:
    """[CONSENT-9]: only the valid steps."""
    status = grant.status_at(ctx.time_ms)
    if status not in allowed:
        raise Conflict(
            "consent.step_invalid",
            f"consent {grant.consent} is {status}; this step is for one that is {' or '.join(allowed)}",
        )


_STEPS = {
    PAUSE: (Status.PAUSED, "consent.paused"),
    RESUME: (Status.ACTIVE, "consent.resumed"),
    REVOKE: (Status.REVOKED, "consent.revoked"),
}


def _apply_step(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    key, (status, event) = grant_key(tx.body.consent), _STEPS[tx.kind]
    state.put(key, {**state.get(key), "status": str(status), "pause": tx.id if tx.kind == PAUSE else b""})
    reason = {"reason": str(tx.body.reason)} if tx.kind == REVOKE else {}
    return (_event(event, tx.body.consent, **reason),)


def _grant(tx: Transaction, state: StateView) -> Grant:
    return grant_from_state(tx.body.consent, state.get(grant_key(tx.body.consent)))


def _event(name: str, consent: str, **attributes: Any) -> Event:
    return Event(name=name, attributes={"consent": consent, **attributes})


def _consent_author(tx: Transaction) -> str | None:
    """[CONSENT-10]: the consent itself, named as in the body; for a lost key the provider."""
    by_provider = tx.kind == REVOKE and tx.body.reason is RevokeReason.KEY_LOST
    return None if by_provider else str(tx.body.consent)


def _grant_signers(tx: Transaction, state: StateView) -> Sequence[bytes]:
    """[CONSENT-6]: the enterprise by the consent's own key, and the provider."""
    return (tx.body.key, signing_key(state, tx.author))


def _consent_signer(tx: Transaction, state: StateView) -> Sequence[bytes]:
    """[CONSENT-10]: the consent key alone."""
    return (_grant(tx, state).key,)


def _revoke_signer(tx: Transaction, state: StateView) -> Sequence[bytes]:
    """[CONSENT-11]: for a lost key the provider signs, else the consent key alone."""
    if tx.body.reason is RevokeReason.KEY_LOST:
        return (signing_key(state, tx.author),)
    return _consent_signer(tx, state)


_by_consent = partial(Kind, room="consent", version=1, author=_consent_author)

KINDS: tuple[Kind, ...] = (
    Kind(
        name=GRANT,
        room="consent",
        version=1,
        body=ConsentGrantBody,
        check=_check_grant,
        apply=_apply_grant,
        signers=_grant_signers,
    ),
    _by_consent(name=PAUSE, body=ConsentPauseBody, check=_check_pause, apply=_apply_step, signers=_consent_signer),
    _by_consent(name=RESUME, body=ConsentResumeBody, check=_check_resume, apply=_apply_step, signers=_consent_signer),
    _by_consent(name=REVOKE, body=ConsentRevokeBody, check=_check_revoke, apply=_apply_step, signers=_revoke_signer),
)
"""consent.grant, consent.pause, consent.resume, consent.revoke."""

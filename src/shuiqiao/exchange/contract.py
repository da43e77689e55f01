"""The ledger's rules for requests and answers: they come in pairs, under a live consent, between its two parties.

Rule: docs/spec/consent-exchange.md, exchange, 1 to 5. Valid steps, and no others::

    (absent) --request--> requested --deliver--> delivered --acknowledge--> acknowledged
                          requested --refuse---> refused
    delivered, acknowledged --destroy--> destroyed

Of an answer that both computed together each records its log beside that, once (``computation.record``).

Every digest is of bytes that hold fresh randomness, so none can be guessed. Pure: block time is the only time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.base.ids import MemberId, OwnedId, owned_id, split_owned_id
from shuiqiao.base.wire import Digest, Id, MemberName, OwnedRef
from shuiqiao.consent.model import FieldCode, Grant, Mode, Purpose, grant_from_state, grant_key, verify_usable
from shuiqiao.exchange.model import RequestStatus, computation_key, request_key, training_key
from shuiqiao.ledger.model import BlockContext, Event, Kind, State, StateView, Transaction
from shuiqiao.members.model import Role
from shuiqiao.members.roster import is_suspended, require_role, signing_key

REQUEST = "access.request"
DELIVER = "access.deliver"
ACKNOWLEDGE = "access.acknowledge"
REFUSE = "access.refuse"
DESTROY = "access.destroy"
COMPUTATION = "computation.record"
TRAINING = "training.agree"


class AccessRequestBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bank asks; what exactly it asks stands in the request message behind the digest."""

    request: Id
    consent: OwnedRef
    purpose: Purpose
    mode: Mode
    request_digest: Digest


class AccessDeliverBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The provider answered; answer_digest is of the ciphertext, manifest_digest of the signed manifest inside."""

    request: OwnedRef
    answer_digest: Digest
    manifest_digest: Digest


class AccessAcknowledgeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The bank opened this very answer and every check held; the request is its own."""

    request: Id
    answer_digest: Digest


class AccessRefuseBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The provider refused, with the field's return code."""

    request: OwnedRef
    field_code: FieldCode


class AccessDestroyBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The bank destroyed what it had received; the request is its own, answer_digest of the ciphertext delivered."""

    request: Id
    answer_digest: Digest


class ComputationRecordBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A party of an answer that both computed keeps this log of it; log_digest is of the signed log [SECURE-18]."""

    request: OwnedRef
    log_digest: Digest


class TrainingAgreeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bank, a provider and a third member agree to train a model together; plan: the salted commitment to it."""

    training: Id
    provider: MemberName
    third: MemberName
    plan: Digest


def _check_request(tx: Transaction, state: StateView, ctx: BlockContext) -> None:
    """[EXCHANGE-1]: the recipient asks, for the purpose, while data may flow."""
    body: AccessRequestBody = tx.body
    require_role(state, tx.author, Role.BANK)
    grant = _grant(body.consent, state)
    if tx.author != grant.recipient:
        raise Denied(
            "consent.recipient_wrong", f"{tx.author} asks under a consent whose recipient is {grant.recipient}"
        )
    if body.purpose is not grant.purpose:
        raise Denied("consent.purpose_wrong", f"{body.purpose} is asked under a consent for {grant.purpose}")
    verify_usable(grant, now_ms=ctx.time_ms)
    name = owned_id(tx.author, body.request)
    if state.get(request_key(name)) is not None:
        raise Conflict("exchange.request_repeated", f"request {name} is on the ledger already")


def _apply_request(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: AccessRequestBody = tx.body
    provider = _grant(body.consent, state).provider
    value = {
        "consent": body.consent,
        "provider": provider,
        "purpose": str(body.purpose),
        "mode": str(body.mode),
        "status": str(RequestStatus.REQUESTED),
        "request_digest": body.request_digest,
        "answer_digest": b"",
        "manifest_digest": b"",
    }
    state.put(request_key(owned_id(tx.author, body.request)), value)
    return (_event("access.requested", tx, consent=body.consent, provider=provider),)


def _check_deliver(tx: Transaction, state: StateView, ctx: BlockContext) -> None:
    """[EXCHANGE-2]: the provider answers an open request, while data may flow still, to a bank that may act."""
    entry = _entry(tx, state)
    _expect_party(tx, MemberId(entry["provider"]))
    _expect_status(tx, entry, RequestStatus.REQUESTED)
    verify_usable(_grant(entry["consent"], state), now_ms=ctx.time_ms)
    verify_recipient_active(state, split_owned_id(OwnedId(tx.body.request))[0])


def verify_recipient_active(state: StateView, recipient: MemberId) -> None:
    """Return if data may go to a bank; raises Denied ``exchange.recipient_suspended``."""
    if is_suspended(state, recipient):
        raise Denied("exchange.recipient_suspended", f"{recipient} is suspended: no answer goes to it until that ends")


def _apply_deliver(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: AccessDeliverBody = tx.body
    _update(
        tx,
        state,
        status=str(RequestStatus.DELIVERED),
        answer_digest=body.answer_digest,
        manifest_digest=body.manifest_digest,
    )
    return (_event("access.delivered", tx),)


def _check_acknowledge(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    """[EXCHANGE-3]: the bank that asked repeats the digest of what was delivered."""
    entry = _entry(tx, state)
    _expect_status(tx, entry, RequestStatus.DELIVERED)
    _expect_answer(tx, entry, what="acknowledged")


def _apply_acknowledge(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    _update(tx, state, status=str(RequestStatus.ACKNOWLEDGED))
    return (_event("access.acknowledged", tx),)


def _check_destroy(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    """[EXCHANGE-23]: the bank that asked says once that it destroyed what was delivered."""
    entry = _entry(tx, state)
    _expect_status(tx, entry, RequestStatus.DELIVERED, RequestStatus.ACKNOWLEDGED)
    _expect_answer(tx, entry, what="destroyed")


def _apply_destroy(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    _update(tx, state, status=str(RequestStatus.DESTROYED))
    return (_event("access.destroyed", tx),)


def _check_refuse(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    """[EXCHANGE-4]: the provider closes an open request with a code that is not ok."""
    entry = _entry(tx, state)
    _expect_party(tx, MemberId(entry["provider"]))
    _expect_status(tx, entry, RequestStatus.REQUESTED)
    if tx.body.field_code is FieldCode.OK:
        raise InvalidInput("exchange.field_code_wrong", f"a refusal cannot carry the code {FieldCode.OK}, which is ok")


def _apply_refuse(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    _update(tx, state, status=str(RequestStatus.REFUSED))
    return (_event("access.refused", tx, field_code=str(tx.body.field_code)),)


def _check_computation(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    """[SECURE-18]: each of its two parties records the log of a score that was answered, once."""
    entry = _entry(tx, state)
    if tx.author not in {entry["provider"], split_owned_id(OwnedId(tx.body.request))[0]}:
        raise Denied("exchange.party_wrong", f"{tx.author} is no party of request {tx.body.request}")
    if entry["mode"] != Mode.SCORE:
        raise InvalidInput(
            "exchange.nothing_computed", f"request {tx.body.request} is in the mode {entry['mode']}, not {Mode.SCORE}"
        )
    _expect_status(tx, entry, RequestStatus.DELIVERED, RequestStatus.ACKNOWLEDGED, RequestStatus.DESTROYED)
    if tx.author in (state.get(computation_key(tx.body.request)) or {}):
        raise Conflict("exchange.log_repeated", f"{tx.author} recorded its log of request {tx.body.request} already")


def _apply_computation(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: ComputationRecordBody = tx.body
    key = computation_key(body.request)
    state.put(key, {**(state.get(key) or {}), tx.author: body.log_digest})
    return (_event("computation.recorded", tx, party=tx.author),)


def _check_training(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    """[COHORT-4]: a bank, a bureau and a regulator, none of them suspended; once."""
    body: TrainingAgreeBody = tx.body
    require_role(state, tx.author, Role.BANK)
    for member, role in ((MemberId(body.provider), Role.TAX_BUREAU), (MemberId(body.third), Role.REGULATOR)):
        require_role(state, member, role)
        verify_recipient_active(state, member)
    if state.get(training_key(owned_id(tx.author, body.training))) is not None:
        raise Conflict("exchange.training_repeated", f"training {body.training.hex()} is on the ledger already")


def _apply_training(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: TrainingAgreeBody = tx.body
    name = owned_id(tx.author, body.training)
    state.put(training_key(name), {"provider": body.provider, "third": body.third, "plan": body.plan})
    return (Event(name="training.agreed", attributes={"training": name, "provider": body.provider}),)


def _training_signers(tx: Transaction, state: StateView) -> Sequence[bytes]:
    """[COHORT-4]: all three."""
    members = (tx.author, MemberId(tx.body.provider), MemberId(tx.body.third))
    return [signing_key(state, member) for member in members]


def _entry(tx: Transaction, state: StateView) -> dict[str, Any]:
    """[EXCHANGE-5]: what is not paired with a request does not exist."""
    entry: dict[str, Any] | None = state.get(request_key(_name(tx)))
    if entry is None:
        raise Denied("exchange.request_unknown", f"the ledger has no request {_name(tx)}")
    return entry


def _name(tx: Transaction) -> str:
    """Return the request that is meant: a bank names its own by the id alone, a provider names the bank too."""
    request: str | bytes = tx.body.request
    return owned_id(tx.author, request) if isinstance(request, bytes) else request


def _expect_party(tx: Transaction, party: MemberId) -> None:
    if tx.author != party:
        raise Denied("exchange.party_wrong", f"{tx.kind} of this request is for {party}, not for {tx.author}")


def _expect_status(tx: Transaction, entry: dict[str, Any], *allowed: RequestStatus) -> None:
    if entry["status"] not in allowed:
        raise Conflict(
            "exchange.step_invalid",
            f"request {_name(tx)} is {entry['status']}; {tx.kind} is for one that is {' or '.join(allowed)}",
        )


def _expect_answer(tx: Transaction, entry: dict[str, Any], *, what: str) -> None:
    if tx.body.answer_digest != entry["answer_digest"]:
        raise InvalidInput(
            "exchange.answer_digest_wrong",
            f"answer {tx.body.answer_digest.hex()[:16]} is {what}, {entry['answer_digest'].hex()[:16]} delivered",
        )


def _grant(consent: str, state: StateView) -> Grant:
    return grant_from_state(consent, state.get(grant_key(consent)))


def _update(tx: Transaction, state: State, **fields: Any) -> None:
    key = request_key(_name(tx))
    state.put(key, {**state.get(key), **fields})


def _event(name: str, tx: Transaction, **attributes: Any) -> Event:
    return Event(name=name, attributes={"request": _name(tx), **attributes})


KINDS: tuple[Kind, ...] = (
    Kind(name=REQUEST, room="exchange", version=1, body=AccessRequestBody, check=_check_request, apply=_apply_request),
    Kind(name=DELIVER, room="exchange", version=1, body=AccessDeliverBody, check=_check_deliver, apply=_apply_deliver),
    Kind(
        name=ACKNOWLEDGE,
        room="exchange",
        version=1,
        body=AccessAcknowledgeBody,
        check=_check_acknowledge,
        apply=_apply_acknowledge,
    ),
    Kind(name=REFUSE, room="exchange", version=1, body=AccessRefuseBody, check=_check_refuse, apply=_apply_refuse),
    Kind(name=DESTROY, room="exchange", version=1, body=AccessDestroyBody, check=_check_destroy, apply=_apply_destroy),
    Kind(
        name=COMPUTATION,
        room="exchange",
        version=1,
        body=ComputationRecordBody,
        check=_check_computation,
        apply=_apply_computation,
    ),
    Kind(
        name=TRAINING,
        room="exchange",
        version=1,
        body=TrainingAgreeBody,
        check=_check_training,
        apply=_apply_training,
        signers=_training_signers,
    ),
)
"""access.request, deliver, acknowledge, refuse and destroy; computation.record; training.agree."""

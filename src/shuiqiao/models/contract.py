"""The ledger's rules for models: who registers, reviews, approves and retires one, and in which order.

Rule: docs/spec/models.md [MODEL-1] to [MODEL-6]. Valid steps, and no others::

    (absent) --register--> registered --retire, by its owner or a regulator--> retired
    at each provider, while it is registered:
    (absent) --review, accepted--> reviewed --approve--> approved
    (absent) --review, rejected--> rejected
    reviewed, approved --retire, by that provider--> retired

An approval is per provider: who holds the records decides what is computed on them. Content never comes here: its
commitment does. Pure: nothing depends on time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.base.ids import OwnedId, owned_id, split_owned_id
from shuiqiao.base.wire import Digest, Id, MemberName, OwnedRef
from shuiqiao.consent.model import Output, Purpose
from shuiqiao.ledger.model import BlockContext, Event, Kind, State, StateView, Transaction
from shuiqiao.members.model import Role
from shuiqiao.members.roster import member_record, require_role
from shuiqiao.models.model import (
    ModelForm,
    ModelStatus,
    RetireReason,
    ReviewOutcome,
    ReviewStatus,
    approval_key,
    model_key,
)
from shuiqiao.models.roster import live_model, model_at

REGISTER = "model.register"
REVIEW = "model.review"
APPROVE = "model.approve"
RETIRE = "model.retire"

Outputs = Annotated[list[Output], Meta(min_length=1, max_length=len(Output))]


class ModelRegisterBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that the ledger is told of a model when its author registers it; the id is the author's own."""

    model: Id
    digest: Digest
    form: ModelForm
    outputs: Outputs
    purpose: Purpose


class ModelReviewBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A provider looked at a model; report_digest is of its signed report."""

    model: OwnedRef
    digest: Digest
    outcome: ReviewOutcome
    report_digest: Digest


class ModelApproveBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A provider lets a model run on its records, by the review whose report this names."""

    model: OwnedRef
    report_digest: Digest


class ModelRetireBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A model runs no more: at the one provider that says so, or at all where its owner or a regulator does."""

    model: OwnedRef
    provider: MemberName | None
    reason: RetireReason


def _check_register(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    """[MODEL-2]: a bank or a bureau, once under each id."""
    body: ModelRegisterBody = tx.body
    require_role(state, tx.author, Role.BANK, Role.TAX_BUREAU)
    if body.outputs != sorted(set(body.outputs)):
        raise InvalidInput("models.outputs_uneven", f"outputs {body.outputs} are not in order, each once")
    name = owned_id(tx.author, body.model)
    if state.get(model_key(name)) is not None:
        raise Conflict("models.already_registered", f"model {name} is on the ledger already")


def _apply_register(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: ModelRegisterBody = tx.body
    name = owned_id(tx.author, body.model)
    value = {
        "digest": body.digest,
        "form": str(body.form),
        "outputs": [str(output) for output in body.outputs],
        "purpose": str(body.purpose),
        "status": str(ModelStatus.REGISTERED),
    }
    state.put(model_key(name), value)
    return (_event("model.registered", name),)


def _check_review(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    """[MODEL-3]: a bureau, once, of the very content that is registered."""
    body: ModelReviewBody = tx.body
    require_role(state, tx.author, Role.TAX_BUREAU)
    model = live_model(state, OwnedId(body.model))
    if body.digest != model.digest:
        raise InvalidInput(
            "models.digest_wrong",
            f"{body.digest.hex()[:16]} was reviewed, model {model.name} has the digest {model.digest.hex()[:16]}",
        )
    _expect_status(tx, state)


def _apply_review(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: ModelReviewBody = tx.body
    status = ReviewStatus.REVIEWED if body.outcome is ReviewOutcome.ACCEPTED else ReviewStatus.REJECTED
    state.put(approval_key(body.model, tx.author), {"status": str(status), "report_digest": body.report_digest})
    return (_event("model.reviewed", body.model, provider=tx.author, outcome=str(body.outcome)),)


def _check_approve(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    """[MODEL-4]: the provider that reviewed it, by that very report."""
    body: ModelApproveBody = tx.body
    live_model(state, OwnedId(body.model))
    found = _expect_status(tx, state, ReviewStatus.REVIEWED)
    if body.report_digest != found:
        raise InvalidInput(
            "models.report_wrong",
            f"model {body.model} is approved by the report {body.report_digest.hex()[:16]}, its review has "
            f"{(found or b'').hex()[:16]}",
        )


def _apply_approve(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    _move(tx, state, ReviewStatus.APPROVED)
    return (_event("model.approved", tx.body.model, provider=tx.author),)


def _check_retire(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    """[MODEL-5]: a provider for itself; for all the owner, or a regulator."""
    body: ModelRetireBody = tx.body
    model = live_model(state, OwnedId(body.model))
    if body.provider is None:
        owner, _ = split_owned_id(model.name)
        if tx.author != owner and member_record(state, tx.author)["role"] != Role.REGULATOR:
            raise Denied(
                "models.party_wrong", f"{tx.author} retires model {model.name} for all; {owner} or a regulator does"
            )
        return
    if body.provider != tx.author:
        raise Denied("models.party_wrong", f"{tx.author} retires model {model.name} at {body.provider}, for another")
    _expect_status(tx, state, ReviewStatus.REVIEWED, ReviewStatus.APPROVED)


def _apply_retire(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: ModelRetireBody = tx.body
    if body.provider is None:
        key = model_key(body.model)
        state.put(key, {**state.get(key), "status": str(ModelStatus.RETIRED)})
    else:
        _move(tx, state, ReviewStatus.RETIRED)
    return (_event("model.retired", body.model, provider=body.provider or "", reason=str(body.reason)),)


def _expect_status(tx: Transaction, state: StateView, *allowed: ReviewStatus) -> bytes | None:
    """Return the report digest of a model's review at the author. allowed: none, where it must not be reviewed yet."""
    found = model_at(state, OwnedId(tx.body.model), provider=tx.author)
    status = None if found is None else found.status
    if status not in (allowed or (None,)):
        wanted = " or ".join(allowed) or "not reviewed"
        raise Conflict(
            "models.step_invalid",
            f"model {tx.body.model} is {status or 'not reviewed'} at {tx.author}; {tx.kind} is for one {wanted}",
        )
    return None if found is None else found.report_digest


def _move(tx: Transaction, state: State, status: ReviewStatus) -> None:
    key = approval_key(tx.body.model, tx.author)
    state.put(key, {**state.get(key), "status": str(status)})


def _event(name: str, model: str, **attributes: Any) -> Event:
    return Event(name=name, attributes={"model": model, **attributes})


_kind = partial(Kind, room="models", version=1)

KINDS: tuple[Kind, ...] = (
    _kind(name=REGISTER, body=ModelRegisterBody, check=_check_register, apply=_apply_register),
    _kind(name=REVIEW, body=ModelReviewBody, check=_check_review, apply=_apply_review),
    _kind(name=APPROVE, body=ModelApproveBody, check=_check_approve, apply=_apply_approve),
    _kind(name=RETIRE, body=ModelRetireBody, check=_check_retire, apply=_apply_retire),
)
"""model.register, model.review, model.approve, model.retire."""

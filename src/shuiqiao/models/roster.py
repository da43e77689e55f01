"""Which models the ledger knows, how they stand, and whether one may run at a provider now (``approved_model``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.errors import Denied
from shuiqiao.base.ids import MemberId, OwnedId
from shuiqiao.members.model import Role
from shuiqiao.members.roster import roster
from shuiqiao.models.model import (
    ModelAtProvider,
    ModelStatus,
    RegisteredModel,
    ReviewStatus,
    approval_key,
    model_from_state,
    model_key,
)

if TYPE_CHECKING:
    from shuiqiao.ledger.model import StateView


def find_model(state: StateView, model: OwnedId) -> RegisteredModel | None:
    """Return a model that is registered, retired ones too; None for one that never was."""
    value = state.get(model_key(model))
    return None if value is None else model_from_state(model, value)


def registered_model(state: StateView, model: OwnedId) -> RegisteredModel:
    """Return a model that is registered, retired ones too; raises Denied ``models.unknown``."""
    found = find_model(state, model)
    if found is None:
        raise Denied("models.unknown", f"the ledger has no model {model}")
    return found


def live_model(state: StateView, model: OwnedId) -> RegisteredModel:
    """Return a model that is registered and not retired; raises Denied ``models.unknown``, ``models.retired``."""
    found = registered_model(state, model)
    if found.status is ModelStatus.RETIRED:
        raise Denied("models.retired", f"model {model} was retired for every provider")
    return found


def model_at(state: StateView, model: OwnedId, *, provider: MemberId) -> ModelAtProvider | None:
    """Return how a model stands at a provider, None where that has not reviewed it."""
    value = state.get(approval_key(model, provider))
    if value is None:
        return None
    return ModelAtProvider(
        provider=provider, status=ReviewStatus(value["status"]), report_digest=value["report_digest"]
    )


def providers_of(state: StateView, model: OwnedId) -> tuple[ModelAtProvider, ...]:
    """Return how a model stands at each provider that has reviewed it, in order of their ids."""
    bureaus = sorted(MemberId(member) for member, role in roster(state).items() if role == Role.TAX_BUREAU)
    found = (model_at(state, model, provider=bureau) for bureau in bureaus)
    return tuple(each for each in found if each is not None)


def approved_model(state: StateView, model: OwnedId, *, provider: MemberId) -> RegisteredModel:
    """Return a model that may run at a provider now; nothing else does [MODEL-6].

    Raises Denied ``models.unknown``, ``models.retired``, ``models.not_approved``::

        model = approved_model(engine.state(), OwnedId("third-bank/6c6c..."), provider=bureau)
        model.digest, model.outputs, model.purpose
    """
    found = live_model(state, model)
    standing = model_at(state, model, provider=provider)
    if standing is None or standing.status is not ReviewStatus.APPROVED:
        status = "not reviewed" if standing is None else str(standing.status)
        raise Denied("models.not_approved", f"model {model} is {status} at {provider}; only an approved one runs")
    return found

"""``/models``: a bank's models with their cards and uses; and the models on the ledger, offered, reviewed, approved.

Where people have accounts a use, an offer and an approval are proposed under ``/approvals`` for a second person.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routing import DEFAULT_LIMIT, Caller, Cursor, Limit, Routes
from shuiqiao.client.pages import PageQuery
from shuiqiao.client.resources import models as api
from shuiqiao.client.resources.products import ProductRecord

models = Routes("models")

Model = Annotated[
    str, Path(pattern=r"^[0-9a-f]{1,64}$", description="Its digest, or enough of its beginning", examples=["6c" * 32])
]


@models.perform(api.LIST_MODELS, permission="models.read", codes=("node.role_wrong",))
def list_models(
    running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> api.ModelPage:
    """List the models that this bank keeps, the oldest first."""
    return performed(running, caller, api.LIST_MODELS, PageQuery(limit=limit, cursor=cursor))


Member = Annotated[str, Path(pattern=r"^[a-z][a-z0-9-]{1,31}$", description="Its owner", examples=["first-bank"])]
Entry = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$", description="Its id", examples=["6c" * 16])]


@models.perform(api.LIST_LEDGER_MODELS, permission="models.read")
def list_ledger_models(
    running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> api.LedgerModelPage:
    """List the models on the ledger whose contents are kept here, the oldest first."""
    return performed(running, caller, api.LIST_LEDGER_MODELS, PageQuery(limit=limit, cursor=cursor))


@models.perform(api.READ_LEDGER_MODEL, permission="models.read", codes=("models.unknown",))
def read_ledger_model(member: Member, entry: Entry, running: Running, caller: Caller) -> api.LedgerModelFile:
    """Tell how a model on the ledger stands, with its content and this institution's report where they are here."""
    asked = api.LedgerModelQuestion(member=member, entry=entry)
    return performed(running, caller, api.READ_LEDGER_MODEL, asked)


@models.perform(
    api.OFFER_MODEL,
    permission="models.make",
    codes=(
        "node.role_wrong",
        "node.two_people_needed",
        "credit.model_unclear",
        "credit.content_malformed",
        "credit.output_too_fine",
        "members.role_wrong",
        "models.offer_unclear",
    ),
)
def offer_model(asked: api.ModelOffer, running: Running, caller: Caller) -> api.LedgerModelRecord:
    """Put a model on the ledger and hand its content to a provider, where nobody has an account."""
    return performed(running, caller, api.OFFER_MODEL, asked)


@models.perform(
    api.REVIEW_MODEL,
    permission="models.review",
    codes=(
        "node.role_wrong",
        "models.unknown",
        "models.retired",
        "models.content_missing",
        "models.outputs_differ",
        "models.step_invalid",
    ),
)
def review_model(asked: api.ModelReview, running: Running, caller: Caller) -> api.LedgerModelRecord:
    """Put this bureau's signed review of a model on the ledger, by its digest."""
    return performed(running, caller, api.REVIEW_MODEL, asked)


@models.perform(
    api.APPROVE_RUN,
    permission="models.review",
    codes=("node.role_wrong", "node.two_people_needed", "models.unknown", "models.retired", "models.step_invalid"),
)
def approve_run(asked: api.LedgerModelChoice, running: Running, caller: Caller) -> api.LedgerModelRecord:
    """Let a reviewed model run on this bureau's records, where nobody has an account."""
    return performed(running, caller, api.APPROVE_RUN, asked)


@models.perform(
    api.RETIRE_MODEL,
    permission="models.retire",
    codes=("models.unknown", "models.retired", "models.party_wrong", "models.step_invalid"),
)
def retire_model(asked: api.ModelRetirement, running: Running, caller: Caller) -> api.LedgerModelRecord:
    """Let a model on the ledger run no more: as its owner or a regulator at all, as a provider here."""
    return performed(running, caller, api.RETIRE_MODEL, asked)


@models.perform(api.READ_MODEL, permission="models.read", codes=("node.role_wrong", "credit.model_unclear"))
def read_model(model: Model, running: Running, caller: Caller) -> api.ModelCardRecord:
    """Tell of a model with its card: what it was made of, how well it did, where not to trust it."""
    return performed(running, caller, api.READ_MODEL, api.ModelQuestion(model=model))


@models.perform(
    api.REGISTER_MODEL,
    permission="models.make",
    codes=("node.role_wrong", "credit.scorecard_malformed", "credit.feature_unknown"),
)
def register_model(given: api.ModelRegistration, running: Running, caller: Caller) -> api.ModelRecord:
    """Register a scorecard that was developed elsewhere, with what its owner says of it."""
    return performed(running, caller, api.REGISTER_MODEL, given)


@models.perform(
    api.DEVELOP_MODEL,
    permission="models.make",
    codes=("node.role_wrong", "lending.loan_book_empty", "credit.too_few_firms"),
)
def develop_model(asked: api.ModelDevelopment, running: Running, caller: Caller) -> api.ModelRecord:
    """Develop a model on the kept records of the loan book, validate it, and register it."""
    return performed(running, caller, api.DEVELOP_MODEL, asked)


@models.perform(
    api.USE_MODEL,
    permission="models.make",
    codes=("node.role_wrong", "node.two_people_needed", "lending.product_unknown", "credit.model_unclear"),
)
def use_model(asked: api.ModelUse, running: Running, caller: Caller) -> ProductRecord:
    """Let a model decide for a product, or retire the one that does, where nobody has an account."""
    told = performed(running, caller, api.USE_MODEL, asked)
    running.process_open_soon()
    return told

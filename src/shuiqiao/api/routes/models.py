"""``/models``: a bank's credit models: developed or registered, shown with their cards, in use for products.

Where people have accounts a use is proposed under ``/approvals`` and approved by a second person.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routing import Caller, Routes
from shuiqiao.client.resources import models as api
from shuiqiao.client.resources.products import ProductRecord
from shuiqiao.client.wire import Nothing

models = Routes("models")

Model = Annotated[
    str, Path(pattern=r"^[0-9a-f]{1,64}$", description="Its digest, or enough of its beginning", examples=["6c" * 32])
]


@models.perform(api.LIST_MODELS, permission="models.read", codes=("node.role_wrong",))
def list_models(running: Running, caller: Caller) -> api.ModelPage:
    """List the models that this bank keeps, the oldest first."""
    return performed(running, caller, api.LIST_MODELS, Nothing())


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

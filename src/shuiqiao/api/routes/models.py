"""``/models``: a bank's credit models: developed or registered, shown with their cards, in use for products.

Where people have accounts a use is proposed under ``/approvals`` and approved by a second person.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import journaled
from shuiqiao.api.routing import Caller, Routes
from shuiqiao.client.resources import models as api
from shuiqiao.client.resources.products import ProductRecord
from shuiqiao.client.wire import Nothing
from shuiqiao.node.operations import models as acts

models = Routes("models")

Model = Annotated[
    str, Path(pattern=r"^[0-9a-f]{1,64}$", description="Its digest, or enough of its beginning", examples=["6c" * 32])
]


@models.get(api.LIST_MODELS.path, permission="models.read", codes=("node.role_wrong",))
def list_models(running: Running) -> api.ModelPage:
    """List the models that this bank keeps, the oldest first."""
    return acts.list_models(running.institution, Nothing())


@models.get(api.READ_MODEL.path, permission="models.read", codes=("node.role_wrong", "credit.model_unclear"))
def read_model(model: Model, running: Running) -> api.ModelCardRecord:
    """Tell of a model with its card: what it was made of, how well it did, where not to trust it."""
    return acts.read_model(running.institution, api.ModelQuestion(model=model))


@models.post(
    api.REGISTER_MODEL.path,
    permission="models.make",
    codes=("node.role_wrong", "credit.scorecard_malformed", "credit.feature_unknown"),
)
def register_model(given: api.ModelRegistration, running: Running, caller: Caller) -> api.ModelRecord:
    """Register a scorecard that was developed elsewhere, with what its owner says of it."""
    with journaled(running, caller, act="models.register"):
        return acts.register_model(running.institution, given)


@models.post(
    api.DEVELOP_MODEL.path,
    permission="models.make",
    codes=("node.role_wrong", "lending.loan_book_empty", "credit.too_few_firms"),
)
def develop_model(asked: api.ModelDevelopment, running: Running, caller: Caller) -> api.ModelRecord:
    """Develop a model on the kept records of the loan book, validate it, and register it."""
    with journaled(running, caller, act="models.develop"):
        return acts.develop_model(running.institution, asked)


@models.post(
    api.USE_MODEL.path,
    permission="models.make",
    codes=("node.role_wrong", "node.two_people_needed", "lending.product_unknown", "credit.model_unclear"),
)
def use_model(asked: api.ModelUse, running: Running, caller: Caller) -> ProductRecord:
    """Let a model decide for a product, or retire the one that does, where nobody has an account."""
    with journaled(running, caller, act="models.use", subject=f"product/{asked.product}"):
        return acts.use_model(running.institution, asked)

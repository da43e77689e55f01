"""Works on a bank's models for a message of the API: each function is one operation of the resource's file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shuiqiao.base.progress import no_progress
from shuiqiao.client.resources import models as api
from shuiqiao.client.resources.products import ProductRecord
from shuiqiao.node.accounts.opening import require_no_users
from shuiqiao.node.operations.applications import day_in
from shuiqiao.node.operations.products import product_in_use

if TYPE_CHECKING:
    from shuiqiao.base.progress import Progress
    from shuiqiao.client.wire import Nothing
    from shuiqiao.credit.store import KeptModel
    from shuiqiao.node.institution import Institution


def list_models(institution: Institution, _asked: Nothing) -> api.ModelPage:
    """List the models that this bank keeps, the oldest first."""
    found = institution.lending_models.models.models()
    return api.ModelPage(items=tuple(api.ModelRecord(**_row(institution, model)) for model in found), next=None)


def read_model(institution: Institution, asked: api.ModelQuestion) -> api.ModelCardRecord:
    """Tell of a model with its card; raises Denied ``credit.model_unclear``."""
    model = institution.lending_models.models.find(asked.model)
    return api.ModelCardRecord(**_row(institution, model), model_card=dict(model.model_card))


def register_model(institution: Institution, given: api.ModelRegistration) -> api.ModelRecord:
    """Register a scorecard that was developed elsewhere; raises InvalidInput ``credit.scorecard_malformed``."""
    model = institution.lending_models.register(
        given.scorecard.encode(),
        data=given.data,
        metrics={"auc": given.auc, "auc_ci_95": given.auc_ci_95, "ks": given.ks},
        limits=given.limits,
        as_of=institution.today(),
    )
    return api.ModelRecord(**_row(institution, model))


def develop_model(
    institution: Institution, asked: api.ModelDevelopment, progress: Progress = no_progress
) -> api.ModelRecord:
    """Develop a model and register it by its digest; raises what ``LendingModels.develop`` raises."""
    progress("develop and validate the model 建模与验证", 0, None)
    day = institution.today() if asked.as_of is None else day_in(asked.as_of)
    model = institution.lending_models.develop(asked.outcomes, as_of=day, seed=asked.seed)
    return api.ModelRecord(**_row(institution, model))


def use_model(institution: Institution, asked: api.ModelUse) -> ProductRecord:
    """Let a model decide for a product, or retire the one that does, where the owner of the home acts alone.

    Raises Denied ``node.two_people_needed`` or ``credit.model_unclear``, InvalidInput ``lending.product_unknown``.
    """
    require_no_users(institution, f"model {asked.product} {asked.model or '--retire'}")
    models = institution.lending_models
    if asked.model is None:
        models.retire(asked.product)
    else:
        models.use(models.models.find(asked.model).digest, product=asked.product)
    return ProductRecord(**product_in_use(institution, asked.product).as_json())


def _row(institution: Institution, model: KeptModel) -> dict[str, Any]:
    return {**model.as_json(), "products": institution.lending_models.uses().get(model.digest, ())}

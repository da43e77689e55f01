"""A bank's credit models: developed, registered by their digest, approved for a product by two people, retired."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import Page
from shuiqiao.client.resources.products import ProductId, ProductRecord
from shuiqiao.client.wire import Hex, Name, Nothing, Wire, example

MAX_OUTCOMES: Final = 200_000
"""Firms of one loan book."""

DEVELOP_TIMEOUT_S: Final = 6 * 3_600.0
"""How long developing a model may take, in seconds."""

_MODEL = {
    "digest": "6c" * 32,
    "name": "tax-2026-01",
    "as_of": "2026-01-05",
    "n": 120,
    "bad": 14,
    "auc": "0.7421",
    "auc_ci_95": "0.6520 to 0.8243",
    "ks": "0.4100",
    "products": ["tax-credit-loan"],
}

MAX_LOAN_BOOK_BYTES: Final = 16 * 1024 * 1024
"""Of the outcomes of one loan book, as they are sent."""

MAX_SCORECARD_CHARS: Final = 262_144
"""Of a scorecard's text; one of 40 features has under 20,000."""

Measure = Annotated[str, StringConstraints(pattern=r"^[01]\.[0-9]{1,6}$")]
Taxpayer = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{1,32}$")]
Date = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
ModelName = Annotated[str, Field(max_length=64, description="Its digest in hex, or enough of its beginning")]


class ModelRecord(Wire):
    """A model that this bank keeps, and how well it did on firms that it had not seen."""

    model_config = example(**_MODEL)

    digest: Hex
    name: Name
    as_of: Date
    n: int
    bad: int
    auc: Name
    auc_ci_95: Name
    ks: Name
    products: tuple[ProductId, ...]
    """For which it decides."""


class ModelPage(Page[ModelRecord]):
    """Models, the oldest first."""

    model_config = example(items=[_MODEL], next=None)


class ModelQuestion(Wire):
    """One model."""

    model_config = example(model="6c" * 32)

    model: ModelName


class ModelCardRecord(ModelRecord):
    """A model with its card: what it was made of, how well it did, where not to trust it."""

    model_config = example(**_MODEL, model_card={"model": "tax-2026-01", "metrics": {"auc": "0.7421"}})

    model_card: dict[str, Any]


class ModelDevelopment(Wire):
    """Develop a model on the loan book's kept records. outcomes: taxpayer to whether it defaulted."""

    model_config = example(outcomes={"91440300MA5EXAMPL1": False}, as_of="2026-01-05", seed=1)

    outcomes: Annotated[dict[Taxpayer, bool], Field(min_length=1, max_length=MAX_OUTCOMES)]
    as_of: Date | None = None
    """Day of judgement; left out, that of this institution."""
    seed: Annotated[int, Field(ge=0, le=2**31)] = 1
    """Of the validation's folds."""


class ModelRegistration(Wire):
    """Register a scorecard that was developed elsewhere. scorecard: its JSON text. data: what it was made of."""

    model_config = example(
        scorecard="{}", data="Loan book of 2025.", auc="0.7421", auc_ci_95="0.6520 to 0.8243", ks="0.4100", limits=[]
    )

    scorecard: Annotated[str, Field(min_length=2, max_length=MAX_SCORECARD_CHARS)]
    data: Annotated[str, Field(min_length=1, max_length=500)]
    auc: Measure
    auc_ci_95: Annotated[str, StringConstraints(pattern=r"^[01]\.[0-9]{1,6} to [01]\.[0-9]{1,6}$")]
    ks: Measure
    limits: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=500)], ...], Field(max_length=50)] = ()
    """Where it must not be trusted."""


class ModelUse(Wire):
    """Let a model decide for a product from now on, or retire the one that does. model: none retires it."""

    model_config = example(product="tax-credit-loan", model="6c" * 32)

    product: ProductId
    model: ModelName | None


LIST_MODELS: Final = Operation(method="GET", path="/models", sent=Nothing, told=ModelPage)
READ_MODEL: Final = Operation(method="GET", path="/models/{model}", sent=ModelQuestion, told=ModelCardRecord)
REGISTER_MODEL: Final = Operation(path="/models", sent=ModelRegistration, told=ModelRecord, act="models.register")
DEVELOP_MODEL: Final = Operation(
    path="/models/developments",
    sent=ModelDevelopment,
    told=ModelRecord,
    timeout_s=DEVELOP_TIMEOUT_S,
    act="models.develop",
)
USE_MODEL: Final = Operation(
    path="/models/uses",
    sent=ModelUse,
    told=ProductRecord,
    act="models.use",
    subject=lambda asked: f"product/{asked.product}",
)

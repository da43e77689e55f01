"""Models: a bank's own, by their digest and with their cards; and those on the ledger, by their owner and id."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import Page, PageQuery
from shuiqiao.client.resources.products import ProductId, ProductRecord
from shuiqiao.client.wire import Count, Hex, Id, Name, TimeMs, Wire, example

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

MAX_FINDINGS: Final = 4_000
"""As ``models.model``: characters of a reviewer's findings."""

_ON_LEDGER = {
    "model": "first-bank/" + "6c" * 16,
    "digest": "9d" * 32,
    "form": "scorecard",
    "outputs": ["band", "yes_no"],
    "purpose": "underwriting",
    "status": "registered",
    "providers": [{"provider": "tax-bureau", "status": "approved", "report_digest": "4e" * 32}],
    "is_kept": True,
}
_OUTPUTS = {"points": False, "bands": ["C", "B", "A"], "cuts": [560, 620], "yes_from": 580, "reasons": False}
_REPORT = {
    "outcome": "accepted",
    "inputs": ["sales_12m"],
    "output_values": {"band": 3, "yes_no": 2},
    "output_bits": {"band": 2, "yes_no": 1},
    "rank": 1,
    "findings": "Bands are wide; no counterparty is read.",
    "made_ms": 1_767_225_600_000,
}

Measure = Annotated[str, StringConstraints(pattern=r"^[01]\.[0-9]{1,6}$")]
Taxpayer = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{1,32}$")]
Date = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
LedgerModelName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,31}/[0-9a-f]{32}$"),
    Field(description="A model on the ledger: its owner and its id"),
]
MemberId = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,31}$")]
PointsValue = Annotated[int, Field(ge=-100_000, le=100_000)]
BandName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,31}$")]
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


class OutputsDeclared(Wire):
    """What of a card's points may leave a provider; what is left out never does.

    bands: names from the worst to the best, with the least points of each but the first as cuts. yes_from: the least
    points that are a yes.
    """

    model_config = example(**_OUTPUTS)

    points: bool = False
    bands: Annotated[tuple[BandName, ...], Field(max_length=64)] = ()
    cuts: Annotated[tuple[PointsValue, ...], Field(max_length=63)] = ()
    yes_from: PointsValue | None = None
    reasons: bool = False


class ModelOffer(Wire):
    """Put a model on the ledger, and hand its content to a provider that would run it.

    model: one that this bank keeps; scorecard: the JSON text of a card instead, at a bureau.
    """

    model_config = example(
        model="6c" * 32,
        scorecard=None,
        to="tax-bureau",
        purpose="underwriting",
        outputs=_OUTPUTS,
        blind=False,
        secure=False,
    )

    model: ModelName | None = None
    scorecard: Annotated[str, Field(min_length=2, max_length=MAX_SCORECARD_CHARS)] | None = None
    to: MemberId
    purpose: Literal["underwriting", "loan_monitoring", "model_development", "one_time"]
    outputs: OutputsDeclared
    blind: bool = False
    """Whether its weights are encrypted first, by a fresh key that stays here: points alone leave the provider."""
    secure: bool = False
    """Whether its weights stay here: bank and provider compute each output together, and only this bank reads it."""


class ProviderStanding(Wire):
    """How a model stands at a provider that has reviewed it."""

    model_config = example(provider="tax-bureau", status="approved", report_digest="4e" * 32)

    provider: Name
    status: Name
    """reviewed or rejected; reviewed, then approved; retired by that provider."""
    report_digest: Hex


class LedgerModelRecord(Wire):
    """A model as the ledger has it."""

    model_config = example(**_ON_LEDGER)

    model: Name
    digest: Hex
    """The salted commitment to its content."""
    form: Name
    outputs: tuple[Name, ...]
    purpose: Name
    status: Name
    """registered, or retired for every provider."""
    providers: tuple[ProviderStanding, ...]
    is_kept: bool
    """Whether its content is here."""


class LedgerModelPage(Page[LedgerModelRecord]):
    """Models on the ledger whose contents are kept here, the oldest first."""

    model_config = example(items=[_ON_LEDGER], next=None)


class LedgerModelQuestion(Wire):
    """One model on the ledger. member: its owner. entry: its id."""

    model_config = example(member="first-bank", entry="6c" * 16)

    member: MemberId
    entry: Id


class ReportRecord(Wire):
    """What this institution's review of a model says."""

    model_config = example(**_REPORT)

    outcome: Name
    inputs: tuple[Name, ...]
    """The features that it reads."""
    output_values: dict[str, Count]
    """How many different values each output can have."""
    output_bits: dict[str, Count]
    """What one answer reveals at most."""
    rank: Count
    findings: Annotated[str, Field(max_length=MAX_FINDINGS)]
    made_ms: TimeMs


class LedgerModelFile(LedgerModelRecord):
    """A model on the ledger with its content and the report on it, where they are kept here."""

    model_config = example(**_ON_LEDGER, content="{}", report=_REPORT)

    content: str
    """The text of what runs, of encrypted weights their indicators; empty where it is not here."""
    report: ReportRecord | None


class ModelReview(Wire):
    """What a reviewer found about a model, as a provider."""

    model_config = example(ledger_model="first-bank/" + "6c" * 16, outcome="accepted", findings="Bands are wide.")

    ledger_model: LedgerModelName
    outcome: Literal["accepted", "rejected"]
    findings: Annotated[str, Field(min_length=1, max_length=MAX_FINDINGS)]


class LedgerModelChoice(Wire):
    """Names a model on the ledger."""

    model_config = example(ledger_model="first-bank/" + "6c" * 16)

    ledger_model: LedgerModelName


class ModelRetirement(Wire):
    """Let a model on the ledger run no more. here_only: at this provider alone, not at all of them."""

    model_config = example(ledger_model="first-bank/" + "6c" * 16, reason="superseded", here_only=False)

    ledger_model: LedgerModelName
    reason: Literal["superseded", "unfit", "ordered"]
    here_only: bool = False


LIST_MODELS: Final = Operation(method="GET", path="/models", sent=PageQuery, told=ModelPage)
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
LIST_LEDGER_MODELS: Final = Operation(method="GET", path="/models/on-ledger", sent=PageQuery, told=LedgerModelPage)
READ_LEDGER_MODEL: Final = Operation(
    method="GET", path="/models/on-ledger/{member}/{entry}", sent=LedgerModelQuestion, told=LedgerModelFile
)


def _of_model(asked: ModelReview | LedgerModelChoice | ModelRetirement) -> str:
    return f"model/{asked.ledger_model}"


OFFER_MODEL: Final = Operation(
    path="/models/offers",
    sent=ModelOffer,
    told=LedgerModelRecord,
    act="models.offer",
    subject=lambda asked: f"member/{asked.to}",
)
REVIEW_MODEL: Final = Operation(
    path="/models/reviews", sent=ModelReview, told=LedgerModelRecord, act="models.review", subject=_of_model
)
APPROVE_RUN: Final = Operation(
    path="/models/approvals",
    sent=LedgerModelChoice,
    told=LedgerModelRecord,
    act="models.approve_run",
    subject=_of_model,
)
RETIRE_MODEL: Final = Operation(
    path="/models/retirements", sent=ModelRetirement, told=LedgerModelRecord, act="models.retire", subject=_of_model
)

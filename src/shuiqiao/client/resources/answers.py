"""Asking a provider for what a consent grants, and what is told of the proven answer; never the data."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.wire import Count, Id, Name, Wire, example

ConsentName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,31}/[0-9a-f]{32}$")]

ASK_TIMEOUT_S: Final = 600.0
"""How long an answer may take: a provider may send 63 MiB, which are proven one record after another."""


OutputName = Literal["band", "points", "reasons", "yes_no"]


class ConsentRequest(Wire):
    """Ask a provider for all that a consent grants, or to run a model of this bank's on it.

    request: sixteen random bytes that whoever asks chooses; the same ones again are the same request. model: by its
    name on the ledger, OWNER/ID; then outputs say what of its result is wanted, and no record comes.
    """

    model_config = example(request="7a" * 16, consent="tax-bureau/" + "4f" * 16, model=None, outputs=[])

    request: Id
    consent: ConsentName
    model: ConsentName | None = None
    outputs: Annotated[tuple[OutputName, ...], Field(max_length=4)] = ()


class ScoreReason(Wire):
    """Why points were lost: by the value of a feature, or because it is not known."""

    model_config = example(feature="zero_sales_months_12m", is_known=True)

    feature: Name
    is_known: bool


class ScoreRecord(Wire):
    """What of a model's result left the bureau: the outputs asked for, none of the others."""

    model_config = example(model="first-bank/" + "6c" * 16, band="B", points=None, reasons=None, yes_no=None)

    model: Name
    band: Name | None
    points: int | None
    reasons: tuple[ScoreReason, ...] | None
    yes_no: bool | None


class ProvenAnswer(Wire):
    """An answer that was proven against the ledger, and which is kept until its data life ends.

    Every record of it, or that the provider signed a score within what the model declares.
    """

    model_config = example(
        request="first-bank/" + "7a" * 16,
        consent="tax-bureau/" + "4f" * 16,
        provider="tax-bureau",
        as_of_size=130,
        records={"invoice_issued@2": 5000},
        changed=0,
        score=None,
    )

    request: Name
    consent: Name
    provider: Name
    as_of_size: Count
    """Size of the log that it is as of."""
    records: dict[str, int]
    """Record type to how many were proven; none where a model was run."""
    changed: Count
    """Records of earlier answers on this taxpayer that were amended or erased since."""
    score: ScoreRecord | None = None


ASK_PROVIDER: Final = Operation(
    path="/requests",
    sent=ConsentRequest,
    told=ProvenAnswer,
    timeout_s=ASK_TIMEOUT_S,
    act="requests.ask",
    subject=lambda asked: f"request/{asked.request}",
)

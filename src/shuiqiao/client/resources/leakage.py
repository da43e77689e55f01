"""What is known of a taxpayer by what was answered: fields, bits and independent sums, and how much more may be."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.wire import Count, Name, Nothing, Wire, example

_LINE = {
    "recipient": "first-bank",
    "purpose": "underwriting",
    "mode": "score",
    "answers": 2,
    "fields": 0,
    "bits": "4.644",
    "rank": 1,
}
_USE = {
    "recipient": "first-bank",
    "purpose": "underwriting",
    "bits": "4.644",
    "most_bits": "72.000",
    "rank": 1,
    "most_rank": 8,
    "feature": "sales_growth_12m",
    "feature_bits": "3.170",
    "most_feature_bits": "8.000",
}


class LeakageLine(Wire):
    """What one recipient learned in one mode for one purpose within 365 days."""

    model_config = example(**_LINE)

    recipient: Name | None
    """None for every recipient that there is: of a credential, which any bank may be shown."""
    purpose: Name | None
    mode: Name | None
    """None for credentials."""
    answers: Count
    fields: Count
    """Different fields that were shown in the clear."""
    bits: Name
    """What was shown, or what the results can have revealed at most."""
    rank: Count
    """Independent sums of what models read."""


class LeakageBudget(Wire):
    """How much of a budget is used up within 365 days. recipient: none for all of them together.

    feature: the one that can be placed the finest by the cuts that were asked of it, and how finely, in bits.
    """

    model_config = example(**_USE)

    recipient: Name | None
    purpose: Name | None
    bits: Name
    most_bits: Name
    rank: Count
    most_rank: Count
    feature: Name | None
    feature_bits: Name
    most_feature_bits: Name


class LeakageRecord(Wire):
    """What is known of a taxpayer: at its bureau by all recipients, at a bank by that bank.

    At a regulator: what the bureau that was asked states.
    """

    model_config = example(taxpayer="91440300MA5LEAKME7", lines=[_LINE], budgets=[_USE])

    taxpayer: Name
    lines: tuple[LeakageLine, ...]
    budgets: tuple[LeakageBudget, ...]


class LeakageQuestion(Wire):
    """Whose account."""

    model_config = example(taxpayer="91440300MA5LEAKME7", bureau=None)

    taxpayer: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{1,32}$")]
    bureau: Annotated[
        Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,31}$")] | None,
        Field(description="At a regulator: which tax bureau is asked for the account"),
    ] = None


READ_LEAKAGE: Final = Operation(
    path="/usage/leakage",
    sent=LeakageQuestion,
    told=LeakageRecord,
    act="usage.read",
    subject=lambda asked: f"taxpayer/{asked.taxpayer}",
    shows_taxpayer=True,
)
READ_OWN_LEAKAGE: Final = Operation(method="GET", path="/own/leakage", sent=Nothing, told=LeakageRecord)

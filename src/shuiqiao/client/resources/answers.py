"""Asking a provider for what a consent grants, and what is told of the proven answer; never the data."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.wire import Count, Id, Name, Wire, example

ConsentName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,31}/[0-9a-f]{32}$")]

ASK_TIMEOUT_S: Final = 600.0
"""How long an answer may take: a provider may send 63 MiB, which are proven one record after another."""


class ConsentRequest(Wire):
    """Ask a provider for all that a consent grants.

    request: sixteen random bytes that whoever asks chooses; the same ones again are the same request.
    """

    model_config = example(request="7a" * 16, consent="tax-bureau/" + "4f" * 16)

    request: Id
    consent: ConsentName


class ProvenAnswer(Wire):
    """An answer whose every record was proven against the ledger, and which is kept until its data life ends."""

    model_config = example(
        request="first-bank/" + "7a" * 16,
        consent="tax-bureau/" + "4f" * 16,
        provider="tax-bureau",
        as_of_size=130,
        records={"invoice_issued@2": 5000},
        changed=0,
    )

    request: Name
    consent: Name
    provider: Name
    as_of_size: Count
    """Size of the log that it is as of."""
    records: dict[str, int]
    """Record type to how many were proven."""
    changed: Count
    """Records of earlier answers on this taxpayer that were amended or erased since."""


ASK_PROVIDER: Final = Operation(
    path="/requests",
    sent=ConsentRequest,
    told=ProvenAnswer,
    timeout_s=ASK_TIMEOUT_S,
    act="requests.ask",
    subject=lambda asked: f"request/{asked.request}",
)

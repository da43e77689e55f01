"""Requests for data under consent, and who used which data of a taxpayer; ids and states, never data."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import StringConstraints

from shuiqiao.base.forms import DAY_FORM
from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import Page, PageQuery
from shuiqiao.client.wire import Count, Hex, Id, Name, TimeMs, Wire, example

REQUEST_FORM: Final = r"^[a-z][a-z0-9-]{1,31}/[0-9a-f]{32}$"
"""A request by the bank that asked and its id; a list of requests goes on after one."""

_REQUEST = {
    "request": "first-bank/" + "7a" * 16,
    "consent": "tax-bureau/" + "4f" * 16,
    "recipient": "first-bank",
    "purpose": "credit_approval",
    "made_ms": 1_767_225_600_000,
    "outcome": "delivered",
    "field_code": "00",
    "answered_ms": 1_767_225_600_250,
    "entry_index": None,
}


class RequestRecord(Wire):
    """A request as its provider or its sender has it; what only the other one knows is none."""

    model_config = example(**_REQUEST)

    request: Name
    consent: Name
    recipient: Name
    """The bank that asks."""
    purpose: Name | None
    made_ms: TimeMs
    outcome: Name
    """At the provider answering, delivered or refused; at the bank sent, received or erased."""
    field_code: Name | None
    """00 for an answer, else why it was refused."""
    answered_ms: TimeMs | None
    entry_index: Count | None
    """Leaf index of its ledger entry."""


class RequestPage(Page[RequestRecord]):
    """Requests by id."""

    model_config = example(items=[_REQUEST], next=None)


class RequestChoice(Wire):
    """One request, by who asked and its own id."""

    model_config = example(sender="first-bank", request="7a" * 16)

    sender: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,31}$")]
    request: Id


_USE = {
    "request": "first-bank/" + "7a" * 16,
    "consent": "tax-bureau/" + "4f" * 16,
    "recipient": "first-bank",
    "purpose": "credit_approval",
    "mode": "disclose",
    "items": {"invoice_issued": ["core"]},
    "period_from": "2024-01-01",
    "period_to": "2025-12-31",
    "asked_ms": 1_767_225_600_000,
    "answered_ms": 1_767_225_600_250,
    "outcome": "delivered",
    "field_code": "00",
    "records": {"invoice_issued": 5000},
    "model": None,
    "outputs": [],
}


class UseRecord(Wire):
    """One use of a taxpayer's data: who, what, when, for what, how much."""

    model_config = example(**_USE)

    request: Name
    consent: Name
    recipient: Name
    purpose: Name
    mode: Name
    items: dict[str, list[str]]
    """Record type to the disclosure groups asked for."""
    period_from: Name
    period_to: Name
    asked_ms: TimeMs
    answered_ms: TimeMs
    outcome: Name
    field_code: Name
    records: dict[str, int]
    """Record type to how many records were disclosed, or a score was computed from."""
    model: Name | None = None
    """Which model was run, where one was; then only the outputs left, and no record."""
    outputs: tuple[Name, ...] = ()
    status: Name | None = None
    """As of the moment or with the proof that was asked for: delivered, acknowledged or destroyed."""
    index: Count | None = None
    """Then, too: of the entry that says that it was delivered."""
    receipt: Hex | None = None
    """Where proofs were asked for: of that entry, and of what the state holds of it at the newest checkpoint."""


class UsePage(Page[UseRecord]):
    """Uses of one taxpayer's data, oldest first."""

    model_config = example(items=[_USE], next=None)


class PastQuery(PageQuery):
    """Asks for what the ledger had by the end of a day (UTC), or at a size; for all of today where neither is named."""

    model_config = example(limit=100, cursor=None, day="2026-11-30", size=None, proof=False)

    day: Annotated[str, StringConstraints(pattern=DAY_FORM)] | None = None
    size: Count | None = None
    proof: bool = False
    """With the receipt of each that the ledger has."""


class UseQuery(PastQuery):
    """Whose uses."""

    model_config = example(taxpayer="91440300MA5LEAKME7", limit=100, cursor=None, day=None, size=None, proof=False)

    taxpayer: Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z]{1,32}$")]


class PastUseQuery(UseQuery):
    """Whose uses, as of a moment. cursor: the index of an entry."""

    model_config = example(
        taxpayer="91440300MA5LEAKME7", limit=100, cursor=None, day="2026-11-30", size=None, proof=False
    )

    cursor: Annotated[str, StringConstraints(pattern=r"^[0-9]{1,15}$")] | None = None


class OpeningQuestion(Wire):
    """An answer that showed no records, by the request that it answers."""

    model_config = example(ledger_request="first-bank/" + "7a" * 16)

    ledger_request: Annotated[str, StringConstraints(pattern=REQUEST_FORM)]
    """A request on the ledger: the bank that asked, and its id."""


class ManifestOpeningRecord(Wire):
    """What opens the manifest of an answer that showed no records: which records it rests on, by their names."""

    model_config = example(
        request="first-bank/" + "7a" * 16,
        salt="5e" * 32,
        records={"invoice_issued@2": {"0d" * 16: [0, 1, 7]}},
    )

    request: Name
    salt: Hex
    """Goes before the names of each type's records, whose digest the bureau signed [EXCHANGE-27]."""
    records: dict[str, dict[str, list[int]]]
    """Record type to batch on the ledger to the records' places in it."""


LIST_REQUESTS: Final = Operation(
    method="GET", path="/requests", sent=PageQuery, told=RequestPage, act="requests.list", shows_taxpayer=True
)
READ_REQUEST: Final = Operation(
    method="GET",
    path="/requests/{sender}/{request}",
    sent=RequestChoice,
    told=RequestRecord,
    act="requests.read",
    subject=lambda asked: f"request/{asked.sender}/{asked.request}",
    shows_taxpayer=True,
)
LIST_USES: Final = Operation(
    path="/usage/searches",
    sent=UseQuery,
    told=UsePage,
    act="usage.read",
    subject=lambda asked: f"taxpayer/{asked.taxpayer}",
    shows_taxpayer=True,
)
OPEN_MANIFEST: Final = Operation(
    path="/requests/openings",
    sent=OpeningQuestion,
    told=ManifestOpeningRecord,
    act="usage.read",
    subject=lambda asked: f"request/{asked.ledger_request}",
    shows_taxpayer=True,
)

"""Credentials at a bank: what a product asks one to say, what an enterprise shows, and what was shown lately."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import Page
from shuiqiao.client.resources.consents import Message
from shuiqiao.client.resources.products import ProductId
from shuiqiao.client.wire import Hex, Id, Name, Nothing, TimeMs, Wire, example
from shuiqiao.members.model import MAX_GENESIS_BYTES

GenesisBytes = Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{2})+$", max_length=2 * MAX_GENESIS_BYTES)]
RegistryName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,31}/[0-9a-f]{32}$")]
ShownText = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.~-]+$", max_length=262_144)]
ClaimText = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,47}$")]


class PresentationQuestion(Wire):
    """For which product, and whether by predicates.

    registry: of the definition by which predicates are to be proven (anoncreds); null asks for claims (sd-jwt).
    """

    model_config = example(product="tax-credit-loan", registry=None)

    product: ProductId
    registry: RegistryName | None = None


class PresentationRequest(Wire):
    """What the bank signed (the claims that the product asks for, and a nonce), and what shows that it is that bank's.

    The receipt is checked with the genesis, whose hash is the network's id, and proves the bank's member record, that
    it is not suspended, and what stands of the registry that was named.
    """

    model_config = example(request="d284", genesis="7b7d", receipt="a1")

    request: Message
    genesis: GenesisBytes
    receipt: Hex


class Presentation(Wire):
    """A credential as it is shown for a request of this bank.

    An SD-JWT with the holder's key binding; or, for a request by predicates, definition and proof in base64url, a ~
    between them.
    """

    model_config = example(request="d284", presentation="eyJh.eyJi.c2ln~WyJz~eyJr.eyJi.c2ln")

    request: Message
    presentation: ShownText


class PresentationOutcome(Wire):
    """Whether what was shown is what the product asks for; no decision, and no promise of one."""

    model_config = example(product="tax-credit-loan", is_met=False, unmet=["tax_paid_12m_band"])

    product: ProductId
    is_met: bool
    unmet: tuple[ClaimText, ...]
    """The claims whose values the product does not take."""


_SHOWN = {
    "request": "7e" * 16,
    "product": "tax-credit-loan",
    "issuer": "tax-bureau",
    "claims": {"tax_credit_grade": "A", "tax_paid_12m_band": 4, "no_arrears": True},
    "is_met": True,
    "shown_ms": 1_767_225_600_000,
}


class ShownRecord(Wire):
    """What this bank was shown."""

    model_config = example(**_SHOWN)

    request: Id
    product: ProductId
    issuer: Name
    claims: dict[ClaimText, str | int | bool | None]
    is_met: bool
    shown_ms: TimeMs


class ShownPage(Page[ShownRecord]):
    """What was shown lately, the newest first."""

    model_config = example(items=[_SHOWN], next=None)


ASK_PRESENTATION: Final = Operation(path="/presentations/requests", sent=PresentationQuestion, told=PresentationRequest)
SHOW_CREDENTIAL: Final = Operation(path="/presentations", sent=Presentation, told=PresentationOutcome)
LIST_SHOWN: Final = Operation(
    method="GET",
    path="/presentations",
    sent=Nothing,
    told=ShownPage,
    act="presentations.list",
    shows_taxpayer=True,
)

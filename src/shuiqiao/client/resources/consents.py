"""Consents as this institution has them on file, and what is handed in about them."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import Field, StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import Page
from shuiqiao.client.wire import Count, Hex, Name, TimeMs, Wire, example

_ID = "tax-bureau/" + "4f" * 16
_CONSENT = {
    "consent": _ID,
    "provider": "tax-bureau",
    "recipient": "first-bank",
    "purpose": "credit_approval",
    "status": "active",
    "valid_from_ms": 1_767_225_600_000,
    "valid_to_ms": 1_774_915_200_000,
    "received_ms": 1_767_225_601_000,
    "granted_index": 17,
}

MAX_MESSAGE_HEX: int = 262_144
"""Longest message in an act, in hexadecimal digits."""

Message = Annotated[
    str,
    StringConstraints(pattern=r"^([0-9a-f]{2})+$", max_length=MAX_MESSAGE_HEX),
    Field(description="Signed bytes in hexadecimal digits"),
]


ConsentText = Annotated[str, StringConstraints(max_length=32_768)]
"""The text of a consent in one language, its lines ended by line feeds."""

TEXT_EXAMPLE = {
    "text_en": "Authorisation to use tax data\n1. I sign for the taxpayer ...\n",
    "text_zh": "税务数据使用授权书\n1. 本人代表纳税人 ...\n",
}


class ConsentRecord(Wire):
    """A consent on file: its terms and state as the ledger has them; whose it is, its artefact alone says."""

    model_config = example(**_CONSENT)

    consent: Name
    provider: Name
    recipient: Name
    purpose: Name
    status: Name
    """active, paused, revoked or expired; ``pending`` while its grant is not on the ledger."""
    valid_from_ms: TimeMs | None
    valid_to_ms: TimeMs | None
    received_ms: TimeMs
    granted_index: Count | None
    """Leaf index of the grant."""
    receipt: Annotated[Hex | None, Field(description="Where proofs were asked for")] = None
    """Of what the state holds of the consent at the newest checkpoint, with the grant where that is known here, else
    with the newest entry."""


class ConsentPage(Page[ConsentRecord]):
    """Consents on file, by id."""

    model_config = example(items=[_CONSENT], next=None)


class ConsentSubmissionMessage(Wire):
    """What an enterprise hands its bureau: artefact, endorsement by its enrolment key, and the grant to countersign."""

    model_config = example(artefact="d2ff", endorsement="a1" * 64, grant="d284")

    artefact: Message
    endorsement: Message
    grant: Message


class ConsentStatement(Wire):
    """A pause, resumption or revocation, signed by the key of its consent."""

    model_config = example(transaction="d284")

    transaction: Message


class EntryPlace(Wire):
    """Where an act stands on the ledger."""

    model_config = example(index=17, height=9, time_ms=1_767_225_600_000)

    index: Count
    height: Count
    time_ms: TimeMs


class RelayedStatement(Wire):
    """Where a pause, a resumption or a revocation stands on the ledger; all nothing while it waits for the ledger.

    The institution that answered so has taken it, and hands it in once the ledger can be reached [CONSENT-34].
    """

    model_config = example(index=17, height=9, time_ms=1_767_225_600_000)

    index: Count | None
    height: Count | None
    time_ms: TimeMs | None


class ArtefactMessage(Wire):
    """A consent artefact, signed by its consent's key."""

    model_config = example(artefact="d284")

    artefact: Message


class FiledArtefact(Wire):
    """A consent that this bank was given, its artefact on file."""

    model_config = example(
        consent=_ID,
        taxpayer="91440300MA5LEAKME7",
        purpose="underwriting",
        product="tax-credit-loan",
        period_from="2024-01-01",
        period_to="2025-12-31",
        items={"invoice_issued@2": ["core", "amounts"]},
        **TEXT_EXAMPLE,
    )

    consent: Name
    taxpayer: Name
    purpose: Name
    product: Name
    period_from: Name
    period_to: Name
    items: dict[str, list[str]]
    text_en: ConsentText
    text_zh: ConsentText
    """What the enterprise read and signed."""


class LostKey(Wire):
    """A consent whose key its enterprise lost, and was identified again at the counter."""

    model_config = example(consent=_ID)

    consent: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,31}/[0-9a-f]{32}$")]


TAKE_IN_CONSENT: Final = Operation(path="/consents", sent=ConsentSubmissionMessage, told=EntryPlace)
FILE_ARTEFACT: Final = Operation(
    path="/consents/artefacts",
    sent=ArtefactMessage,
    told=FiledArtefact,
    act="consents.file",
    shows_taxpayer=True,
)
RELAY_STATEMENT: Final = Operation(path="/consents/statements", sent=ConsentStatement, told=RelayedStatement)
REVOKE_FOR_LOST_KEY: Final = Operation(
    path="/consents/lost-keys",
    sent=LostKey,
    told=EntryPlace,
    act="consents.revoke_for_lost_key",
    subject=lambda lost: f"consent/{lost.consent}",
)

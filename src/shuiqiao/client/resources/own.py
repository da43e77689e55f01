"""What an enterprise sees and does of its own: consents, uses of its data, applications, entries of the ledger.

Whoever proved an enrolment key at a bureau has what is of that taxpayer there; whoever proved a consent's key at a bank
has what is under that consent there. Of anything else these routes know nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import Field, StringConstraints

from shuiqiao.base.errors import InvalidInput
from shuiqiao.client.operation import Operation
from shuiqiao.client.pages import Page, PageQuery
from shuiqiao.client.resources.consents import (
    TEXT_EXAMPLE,
    ArtefactMessage,
    ConsentStatement,
    ConsentSubmissionMessage,
    ConsentText,
    Message,
    RelayedStatement,
)
from shuiqiao.client.resources.ledger import EntryPage
from shuiqiao.client.resources.members import MemberPage
from shuiqiao.client.resources.requests import PastQuery, UsePage
from shuiqiao.client.wire import Count, Hex, Id, Name, Nothing, TimeMs, Wire, example
from shuiqiao.privacy.credentials.format import CredentialFormat

MAX_AMOUNT_FEN: Final = 2**53 - 1

_CONSENT: Final[dict[str, Any]] = {
    "consent": "tax-bureau/" + "4f" * 16,
    "recipient": "first-bank",
    "purpose": "underwriting",
    "product": "tax-credit-loan",
    "items": {"invoice_issued@2": ["core", "amounts"]},
    "period_from": "2024-01-01",
    "period_to": "2025-12-31",
    "modes": ["disclose"],
    "outputs": [],
    "answers": "4 a year",
    "data_life_days": 180,
    "valid_from_ms": 1_767_225_600_000,
    "valid_to_ms": 1_769_817_600_000,
    "status": "active",
    "pause": None,
    "granted_index": 17,
    **TEXT_EXAMPLE,
    "fetch": "periodic",
    "renews": None,
    "joint": None,
    "joint_with": None,
    "text_digest": "5c" * 32,
}


class OwnConsent(Wire):
    """A consent of this enterprise in full: who may use what, for what, how often, until when, and where it stands."""

    model_config = example(**_CONSENT)

    consent: Name
    recipient: Name
    purpose: Name
    product: Name
    items: dict[str, list[str]]
    """Record type to the disclosure groups granted."""
    period_from: Name
    period_to: Name
    modes: tuple[Name, ...]
    outputs: tuple[Name, ...] = ()
    """What of a score may leave."""
    answers: Name
    """How often it may be used."""
    data_life_days: Count
    valid_from_ms: TimeMs
    valid_to_ms: TimeMs
    status: Name
    """active, paused, revoked or expired; ``pending`` while its grant is not on the ledger."""
    pause: Id | None
    """The pause in force, which a resumption names."""
    granted_index: Count | None
    """Leaf index of the grant, where this institution took it in."""
    text_en: ConsentText
    text_zh: ConsentText
    """The text of the consent, made from its fields in both languages."""
    fetch: Name
    """one_time or periodic."""
    renews: Name | None
    """The consent whose place it takes."""
    joint: Id | None
    """The joint id, where it is good only together with another one."""
    joint_with: Name | None
    """The other one."""
    text_digest: Hex | None
    """Of both, as the artefact that was signed holds it; nothing in consents of earlier releases."""


class OwnConsentPage(Page[OwnConsent]):
    """Consents, oldest first."""

    model_config = example(items=[_CONSENT], next=None)


class ConsentChoice(Wire):
    """Which consent."""

    model_config = example(provider="tax-bureau", consent="4f" * 16)

    provider: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,31}$")]
    consent: Id

    @classmethod
    def of(cls, name: str) -> Self:
        """Return the choice of a consent by its name, BUREAU/ID; raises InvalidInput ``client.consent_invalid``."""
        try:
            provider, consent = name.split("/")
            return cls(provider=provider, consent=consent)
        except ValueError as error:
            raise InvalidInput("client.consent_invalid", f"{name[:100]!r} is no consent: it is BUREAU/ID") from error


_APPLICATION = {
    "application": "a1" * 16,
    "consent": "tax-bureau/" + "4f" * 16,
    "product": "tax-credit-loan",
    "amount_fen": 50_000_000,
    "submitted_ms": 1_767_225_600_000,
    "status": "approved",
}


class OwnApplication(Wire):
    """An application of this enterprise, and where it stands."""

    model_config = example(**_APPLICATION)

    application: Id
    consent: Name
    product: Name
    amount_fen: Count
    submitted_ms: TimeMs
    status: Name


class OwnApplicationPage(Page[OwnApplication]):
    """Applications under a consent, oldest first."""

    model_config = example(items=[_APPLICATION], next=None)


_STEP = {"step": "submitted", "time_ms": 1_767_225_600_100, "entry": 21}


class OwnStep(Wire):
    """A step that was taken on an application. entry: its leaf in the ledger's log, where it is one."""

    model_config = example(**_STEP)

    step: Name
    time_ms: TimeMs
    entry: Count | None
    code: Name = ""
    """Of the end of a file without a decision: what ended it; empty of every other step."""
    cause_en: Name = ""
    """The same in words."""
    cause_zh: Name = ""


class DecisionReason(Wire):
    """Why a bank decided so, in words. change: what would better it, empty where nothing is known."""

    model_config = example(
        code="log_monthly_sales_12m",
        en="Invoiced sales are small",
        zh="开票销售额偏低",
        change_en="Higher invoiced sales, month after month",
        change_zh="持续提高开票销售额",
    )

    code: Name
    en: Name
    zh: Name
    change_en: Name = ""
    change_zh: Name = ""


_DECISION = {
    "outcome": "refused",
    "limit_fen": 0,
    "annual_rate": None,
    "persons": False,
    "reasons": [
        {
            "code": "arrears_open",
            "en": "tax arrears are open",
            "zh": "存在未缴清的欠税",
            "change_en": "",
            "change_zh": "",
        }
    ],
}


class OwnDecision(Wire):
    """What a bank decided, and why. persons: whether two people decided."""

    model_config = example(**_DECISION)

    outcome: Name
    limit_fen: Count
    annual_rate: Name | None
    persons: bool
    reasons: tuple[DecisionReason, ...]


class OwnApplicationFile(OwnApplication):
    """An application with its timeline, and the decision on it once there is one."""

    model_config = example(**_APPLICATION, timeline=[_STEP], decision=_DECISION, note_en="", note_zh="")

    timeline: tuple[OwnStep, ...]
    decision: OwnDecision | None
    note_en: Name = ""
    """Who is at work on it while it is not decided, and that nothing is needed of the enterprise; empty afterwards."""
    note_zh: Name = ""


class ApplicationChoice(Wire):
    """Which application."""

    model_config = example(application="a1" * 16)

    application: Id


class OwnApplying(Wire):
    """An application for the product that the consent names."""

    model_config = example(amount_fen=50_000_000, other_debt_fen=0, industry="C", province="44")

    amount_fen: Annotated[int, Field(ge=1, le=MAX_AMOUNT_FEN)]
    other_debt_fen: Annotated[int, Field(ge=0, le=MAX_AMOUNT_FEN)] = 0
    """Debts elsewhere, as declared."""
    industry: Annotated[str, StringConstraints(pattern=r"^[A-T]$")] | None = None
    province: Annotated[str, StringConstraints(pattern=r"^[0-9]{2}$")] | None = None


Base64Text = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$", max_length=131_072)]
"""Base64url without padding, of 98 kB at most."""

CredentialText = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.~-]+$", max_length=32_768)]


class CredentialRequest(Wire):
    """What an enterprise signed to be issued credentials.

    By the format sd-jwt one for each key that it names; by anoncreds one, bound to the secret that it blinded.
    """

    model_config = example(request="d284", format="sd-jwt")

    request: Message
    format: CredentialFormat = CredentialFormat.SD_JWT


class CredentialDefinition(Wire):
    """By what credentials of the format anoncreds are issued now, the same for every enterprise.

    content: of which the ledger has the digest. tails: by which a holder proves that it is not revoked.
    """

    model_config = example(content="eyJjbG9zZXNfcyI6MX0", tails="AAI")

    content: Base64Text
    tails: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$", max_length=4_194_304)]


class IssuedCopies(Wire):
    """Copies of a credential, each to be shown once, and the anchored batches that they rest on."""

    model_config = example(
        request="7d" * 16, issuer_key="9c" * 32, credentials=["eyJh.eyJi.c2ln~WyJz~"], batches=["5e" * 16]
    )

    request: Id
    issuer_key: Hex
    """The bureau's public key, under which they hold."""
    credentials: tuple[CredentialText, ...]
    batches: tuple[Id, ...]


_RECORD = {
    "type": "invoice_issued@2",
    "key": {"invoice_no": "24990000000000000000"},
    "day": "2026-03-01",
    "status": "live",
    "batch": "5e" * 16,
    "leaf": 3,
}


class OwnRecordSearch(Wire):
    """What to look for among one's own records at the bureau; what is left out fits any."""

    model_config = example(record_type="invoice_issued", number=None)

    record_type: Name | None = None
    number: Name | None = None
    """A number in the natural key, e.g. of an invoice."""


class OwnRecord(Wire):
    """One version of a record that the bureau holds, and its place on the ledger, by which it is disputed."""

    model_config = example(**_RECORD)

    type: Name
    key: dict[str, int | str | None]
    day: Name
    status: Name
    """live, superseded or erased; pending while its batch is not on the ledger."""
    batch: Id
    leaf: Count


class OwnRecords(Wire):
    """Every version of the records that fit, by type, the oldest version first."""

    model_config = example(records=[_RECORD])

    records: tuple[OwnRecord, ...]


GRANT_OWN_CONSENT: Final = Operation(path="/own/consents", sent=ConsentSubmissionMessage, told=OwnConsent)
HAND_OWN_ARTEFACT: Final = Operation(path="/own/consents/artefacts", sent=ArtefactMessage, told=OwnConsent)
RELAY_OWN_STATEMENT: Final = Operation(path="/own/consents/statements", sent=ConsentStatement, told=RelayedStatement)
LIST_OWN_MEMBERS: Final = Operation(method="GET", path="/own/members", sent=PageQuery, told=MemberPage)
LIST_OWN_CONSENTS: Final = Operation(method="GET", path="/own/consents", sent=PageQuery, told=OwnConsentPage)
READ_OWN_CONSENT: Final = Operation(
    method="GET", path="/own/consents/{provider}/{consent}", sent=ConsentChoice, told=OwnConsent
)
READ_OWN_ARTEFACT: Final = Operation(
    method="GET", path="/own/consents/{provider}/{consent}/artefact", sent=ConsentChoice, told=ArtefactMessage
)
LIST_OWN_USES: Final = Operation(method="GET", path="/own/usage", sent=PastQuery, told=UsePage)
SEARCH_OWN_RECORDS: Final = Operation(path="/own/records/searches", sent=OwnRecordSearch, told=OwnRecords)
READ_CREDENTIAL_DEFINITION: Final = Operation(
    method="GET", path="/own/credentials/definition", sent=Nothing, told=CredentialDefinition, timeout_s=180.0
)
ISSUE_OWN_CREDENTIALS: Final = Operation(path="/own/credentials", sent=CredentialRequest, told=IssuedCopies)
LIST_OWN_ENTRIES: Final = Operation(method="GET", path="/own/entries", sent=PageQuery, told=EntryPage)
APPLY: Final = Operation(path="/own/applications", sent=OwnApplying, told=OwnApplicationFile)
LIST_OWN_APPLICATIONS: Final = Operation(
    method="GET", path="/own/applications", sent=PageQuery, told=OwnApplicationPage
)
READ_OWN_APPLICATION: Final = Operation(
    method="GET", path="/own/applications/{application}", sent=ApplicationChoice, told=OwnApplicationFile
)

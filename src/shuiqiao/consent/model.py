"""The consent artefact 授权书: purpose, modes, status, and whether data may flow under it now (``verify_usable``).

An artefact is immutable: every field below is fixed when the enterprise signs it. What changes later (paused, revoked,
expired) stands on the ledger, which knows the artefact by a salted commitment only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from shuiqiao.base.clock import MS_PER_DAY, MS_PER_HOUR
from shuiqiao.base.encoding import typed
from shuiqiao.base.errors import Conflict, Denied, InvalidInput, ShuiqiaoError
from shuiqiao.base.ids import OwnedId, owned_id
from shuiqiao.base.wire import CalendarMs, Digest, Id, MemberName, PublicKey, Salt
from shuiqiao.standards.model import MAX_GROUPS, GroupId, StandardId

WHOLE_DAYS_FROM_MS = 7 * MS_PER_DAY

MAX_ARTEFACT_BYTES = 16_384
"""A full artefact of 32 types with 4 groups each is under 6 kB; the rest is margin."""

MAX_TYPES = 32
"""Record types one artefact may name: the whole standard has 19."""

Groups = Annotated[list[GroupId], Meta(min_length=1, max_length=MAX_GROUPS)]
Items = Annotated[dict[StandardId, Groups], Meta(min_length=1, max_length=MAX_TYPES)]
TaxpayerNumber = Annotated[str, Meta(pattern=r"^[0-9A-Za-z_-]{1,32}\Z", max_length=32)]
ShortText = Annotated[str, Meta(min_length=1, max_length=64)]


class Purpose(StrEnum):
    """What the data may be used for; each has its own ceilings."""

    UNDERWRITING = "underwriting"
    LOAN_MONITORING = "loan_monitoring"
    MODEL_DEVELOPMENT = "model_development"
    ONE_TIME = "one_time"


class Mode(StrEnum):
    """How a request may be answered."""

    DISCLOSE = "disclose"
    PROVE = "prove"
    SCORE = "score"
    TRAIN = "train"
    EXPOSURE = "exposure"
    """The recipient asks other banks to which the enterprise gave such a consent what they have lent it [PSI-5]."""


class Output(StrEnum):
    """What of a score may leave the provider."""

    BAND = "band"
    """Which of the model's declared bands the points fall into."""
    POINTS = "points"
    """The points themselves."""
    REASONS = "reasons"
    """The codes of the reasons for lost points, four at most."""
    YES_NO = "yes_no"
    """Whether the points reach the model's declared threshold."""


Outputs = Annotated[list[Output], Meta(min_length=1, max_length=len(Output))]


class Status(StrEnum):
    """Where a consent is in its life. EXPIRED is never stored: it follows from block time."""

    ACTIVE = "active"
    PAUSED = "paused"
    REVOKED = "revoked"
    EXPIRED = "expired"


class RevokeReason(StrEnum):
    """Why a consent ended early; KEY_LOST is the provider's, the others are the enterprise's."""

    WITHDRAWN = "withdrawn"
    KEY_LOST = "key_lost"


class FrequencyUnit(StrEnum):
    """The rolling window in which answers are counted."""

    DAY = "day"
    MONTH = "month"
    YEAR = "year"


WINDOW_DAYS: Mapping[FrequencyUnit, int] = {FrequencyUnit.DAY: 1, FrequencyUnit.MONTH: 30, FrequencyUnit.YEAR: 365}
"""Length in days of each window; a month is 30 days and a year 365, so that no calendar is needed."""


class Frequency(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """At most ``count`` answers in any rolling window of one ``unit``."""

    count: Annotated[int, Meta(ge=1, le=1000)]
    unit: FrequencyUnit

    @property
    def window_ms(self) -> int:
        """Length of the window in milliseconds."""
        return WINDOW_DAYS[self.unit] * MS_PER_DAY


class Fetch(StrEnum):
    """Whether a consent is good for one answer, or for as many as its frequency allows."""

    ONE_TIME = "one_time"
    PERIODIC = "periodic"


class JointRole(StrEnum):
    """As what an enterprise takes part in a joint consent."""

    BORROWER = "borrower"
    GUARANTOR = "guarantor"


class JointConsent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """That another enterprise consents too, and that neither consent is good alone [CONSENT-27]."""

    id: Id
    """Random, the same in both artefacts: the ids of both consents follow from it."""
    role: JointRole
    """Of this artefact's enterprise; the other one has the other role."""
    other_provider: MemberName
    """The bureau of the other enterprise."""


class IdentityCheck(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The bureau's check of the legal representative that this consent rests on."""

    reference: ShortText
    """The bureau's own random reference of the check; says nothing of the person."""
    checked_ms: CalendarMs


class ConsentArtefact(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What the enterprise allows, to whom, for what, until when. Field names are the signed form.

    A field that is None is left out of it, so that artefacts of earlier releases keep their bytes.
    """

    consent: Id
    taxpayer: TaxpayerNumber
    provider: MemberName
    recipient: MemberName
    purpose: Purpose
    items: Items
    """Record type id to the disclosure groups granted; every type includes ``core``."""
    period_from: date
    period_to: date
    """First and last day (inclusive) of the data."""
    modes: Annotated[list[Mode], Meta(min_length=1, max_length=len(Mode))]
    frequency: Frequency
    data_life_days: Annotated[int, Meta(ge=1, le=3660)]
    valid_from_ms: CalendarMs
    valid_to_ms: CalendarMs
    product: ShortText
    identity_check: IdentityCheck
    key: PublicKey
    """The consent's own public key; its owner alone pauses, resumes and withdraws."""
    firm: Digest
    """The enterprise's firm tag: the same in all its consents at this bureau, and never on the ledger [CONSENT-18]."""
    salt: Salt
    """Random, so that the commitment on the ledger cannot be guessed."""
    outputs: Outputs | None = None
    """What of a score may leave the provider, in order; there exactly where *score* is among the modes."""
    text: Digest | None = None
    """Of the text that a person read and signed, in both languages: ``consent.text`` makes it from the other fields
    [CONSENT-23]."""
    fetch: Fetch | None = None
    """None: periodic, as in earlier releases [CONSENT-25]."""
    renews: Id | None = None
    """The consent at the same bureau whose place this one takes from its start on [CONSENT-26]."""
    joint: JointConsent | None = None

    @property
    def name(self) -> OwnedId:
        """What the ledger knows the consent by: its id belongs to its provider."""
        return owned_id(self.provider, self.consent)


class Endorsement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The enrolment key's signature over an artefact: for the bureau's eyes only, because that key links consents."""

    consent: Id
    taxpayer: TaxpayerNumber
    artefact_digest: Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentSubmission:
    """What an enterprise hands to its bureau."""

    artefact: bytes
    """Signed by the consent key. The recipient receives the same bytes."""
    endorsement: bytes
    """Signed by the enrolment key. Stays with the bureau."""
    grant: bytes
    """The consent.grant transaction, signed by the consent key and awaiting the bureau's signature."""


class Grant(msgspec.Struct, frozen=True, kw_only=True):
    """A consent as the ledger knows it."""

    consent: OwnedId
    provider: str
    recipient: str
    purpose: Purpose
    valid_from_ms: int
    valid_to_ms: int
    status: Status
    key: bytes
    commitment: bytes

    def status_at(self, now_ms: int) -> Status:
        """Return the status at a moment: revoked stays revoked, the rest expires after valid_to_ms."""
        if self.status is not Status.REVOKED and now_ms > self.valid_to_ms:
            return Status.EXPIRED
        return self.status


def whole_hours(valid_from_ms: int, valid_to_ms: int) -> tuple[int, int]:
    """Return the window of whole hours for a wish: from the full hour before, as long as was wished, rounded up.

    A window to the millisecond would mark its consent on the ledger like a serial number [CONSENT-7]. The length is
    rounded, not the end, so that a wish within a ceiling stays within it.
    """
    return _even(valid_from_ms, valid_to_ms, step_ms=MS_PER_HOUR)


def whole_days(valid_from_ms: int, valid_to_ms: int) -> tuple[int, int]:
    """Return the window of whole days, as UTC has them, for a wish of a week or longer; a shorter one stays as it is.

    Where grants enter the ledger later than they are signed, the hour of the window would still say when [CONSENT-33].
    A day less is too much of a shorter one.
    """
    if valid_to_ms - valid_from_ms < WHOLE_DAYS_FROM_MS:
        return valid_from_ms, valid_to_ms
    return _even(valid_from_ms, valid_to_ms, step_ms=MS_PER_DAY)


def _even(valid_from_ms: int, valid_to_ms: int, *, step_ms: int) -> tuple[int, int]:
    starts_ms = valid_from_ms - valid_from_ms % step_ms
    return starts_ms, starts_ms - (valid_from_ms - valid_to_ms) // step_ms * step_ms


def is_whole_hours(valid_from_ms: int, valid_to_ms: int) -> bool:
    """Return whether a window begins and ends at full hours."""
    return not (valid_from_ms % MS_PER_HOUR or valid_to_ms % MS_PER_HOUR)


def grant_key(consent: str) -> str:
    """Return the state key of a consent, by provider and id."""
    return f"consent/grant/{consent}"


def grant_from_state(consent: str, value: Any) -> Grant:
    """Return the grant that a state value describes; raises Denied ``consent.unknown`` for an absent one."""
    if value is None:
        raise Denied("consent.unknown", f"the ledger has no consent {consent}")
    grant: Grant = typed(
        {**value, "consent": consent, "provider": consent.partition("/")[0]}, Grant, builtin_types=(bytes,)
    )
    return grant


def verify_usable(grant: Grant, *, now_ms: int) -> None:
    """Return if data may flow under the grant now [CONSENT-12].

    Raises Denied ``consent.revoked``, ``consent.paused``, ``consent.expired`` or ``consent.not_yet_valid``.
    """
    name = grant.consent
    status = grant.status_at(now_ms)
    if status is Status.REVOKED:
        raise Denied("consent.revoked", f"consent {name} was revoked")
    if status is Status.EXPIRED:
        raise Denied("consent.expired", f"consent {name} ended at {grant.valid_to_ms} ms; it is {now_ms} ms")
    if status is Status.PAUSED:
        raise Denied("consent.paused", f"consent {name} is paused", next_step="The enterprise can resume it.")
    if now_ms < grant.valid_from_ms:
        raise Denied("consent.not_yet_valid", f"consent {name} begins at {grant.valid_from_ms} ms; it is {now_ms} ms")


class FieldCode(StrEnum):
    """Return codes of the field's authorisation service, kept stable for existing systems."""

    OK = "00"
    TAXPAYER_MISMATCH = "02"
    EXPIRED = "03"
    INVALID = "04"
    BAD_PARAMETER = "08"
    SYSTEM_ERROR = "09"
    FAILED = "10"
    ALREADY_AUTHORISED = "11"
    CEILING_EXCEEDED = "412"


FIELD_CODES: Mapping[str, FieldCode] = {
    "consent.taxpayer_mismatch": FieldCode.TAXPAYER_MISMATCH,
    "consent.expired": FieldCode.EXPIRED,
    "consent.unknown": FieldCode.INVALID,
    "consent.revoked": FieldCode.INVALID,
    "consent.paused": FieldCode.INVALID,
    "consent.not_yet_valid": FieldCode.INVALID,
    "consent.renewed": FieldCode.INVALID,
    "consent.representative_changed": FieldCode.INVALID,
    "consent.joint_incomplete": FieldCode.INVALID,
    "consent.commitment_mismatch": FieldCode.INVALID,
    "consent.artefact_missing": FieldCode.INVALID,
    "consent.recipient_wrong": FieldCode.FAILED,
    "consent.purpose_wrong": FieldCode.FAILED,
    "consent.product_wrong": FieldCode.FAILED,
    "consent.not_covered": FieldCode.FAILED,
    "consent.identity_unchecked": FieldCode.FAILED,
    "consent.already_granted": FieldCode.ALREADY_AUTHORISED,
    "exchange.recipient_suspended": FieldCode.FAILED,
    "consent.ceiling_exceeded": FieldCode.CEILING_EXCEEDED,
    "exchange.frequency_exceeded": FieldCode.CEILING_EXCEEDED,
    "privacy.budget_exceeded": FieldCode.CEILING_EXCEEDED,
}
"""Our stable error code to the field's return code; what is not listed is mapped by the class of the error
[CONSENT-17]."""


def field_code(error: ShuiqiaoError) -> FieldCode:
    """Return the field's return code for an error."""
    known = FIELD_CODES.get(error.code)
    if known is not None:
        return known
    if isinstance(error, InvalidInput):
        return FieldCode.BAD_PARAMETER
    if isinstance(error, Denied | Conflict):
        return FieldCode.FAILED
    return FieldCode.SYSTEM_ERROR

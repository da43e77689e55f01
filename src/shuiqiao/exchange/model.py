"""The frozen types of the exchange: requests, answers, manifests, and the list of uses of a taxpayer's data."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from shuiqiao.base.ids import MemberId, OwnedId, owned_id
from shuiqiao.base.wire import CalendarMs, Digest, Id, MemberName, OwnedRef, Salt
from shuiqiao.consent.model import MAX_TYPES, FieldCode, Items, Mode, Output, Outputs, Purpose, TaxpayerNumber
from shuiqiao.standards.model import StandardId

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shuiqiao.ledger.model import StateView

MAX_REQUEST_BYTES = 16_384
"""A request names at most 32 types with 4 groups each: under 6 kB."""

MAX_CELLS = MAX_TYPES * 256
"""Months with records per type in one answer. The ceilings allow 60 of data; a type whose records stand until
superseded is counted in the months since its oldest standing record."""

MAX_MANIFEST_BYTES = 1 << 20
"""8,192 cells of at most 90 bytes are under it."""

MAX_DISCLOSURE_BYTES = 62 << 20
"""With manifest and framing it fits one sealed message (64 MiB); a taxpayer with more is asked period by period."""

MAX_ANSWER_BYTES = MAX_DISCLOSURE_BYTES + MAX_MANIFEST_BYTES + 4096
"""A disclosure, a manifest, and the framing of both."""

MAX_RECORDS = 1_000_000
"""Records one manifest cell can count."""

Month = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}\Z", max_length=7)]
"""A calendar month, ``2024-03``."""


class RequestStatus(StrEnum):
    """Where a request is in its life on the ledger."""

    REQUESTED = "requested"
    DELIVERED = "delivered"
    REFUSED = "refused"
    ACKNOWLEDGED = "acknowledged"
    DESTROYED = "destroyed"


class AnswerStatus(StrEnum):
    """What became of a request at the provider."""

    ANSWERING = "answering"
    """Its place in the frequency is taken; the answer may be stored already, its ledger entry is not known yet."""
    DELIVERED = "delivered"
    REFUSED = "refused"


class ModelAsk(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which model is to be run, by its name and digest on the ledger, and what of its result is asked for, in order."""

    model: OwnedRef
    digest: Digest
    outputs: Outputs


class RequestMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What a bank asks of a provider, in full; the ledger holds its digest only."""

    request: Id
    consent: Id
    sender: MemberName
    receiver: MemberName
    purpose: Purpose
    mode: Mode
    items: Items
    """Record type id to the disclosure groups asked for."""
    period_from: date
    period_to: date
    """First and last day (inclusive) asked for."""
    made_ms: CalendarMs
    salt: Salt
    """Random, so that the digest on the ledger cannot be guessed."""
    model: ModelAsk | None = None
    """There exactly in the mode *score*, and left out of the signed form else."""

    @property
    def name(self) -> OwnedId:
        """What the ledger knows the request by: its id belongs to the bank that asks."""
        return owned_id(self.sender, self.request)

    @property
    def consent_name(self) -> OwnedId:
        """What the ledger knows its consent by."""
        return owned_id(self.receiver, self.consent)


class ManifestCell(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How many live records of one type fall into one month; a year counts in its December."""

    type: StandardId
    month: Month
    count: Annotated[int, Meta(ge=1, le=MAX_RECORDS)]


class ManifestType(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which live records of one type there are.

    names: digest of their sorted names on the ledger, each batch id and leaf index (4 bytes, big-endian); salted where
    the answer shows no records.
    """

    type: StandardId
    names: Digest


class AnswerManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The provider's signed count of live records: a type and month without a cell has no live record.

    Of an answer that shows no records it counts none, and fixes which ones the answer rests on by salted digests.
    """

    request: Id
    consent: Id
    provider: MemberName
    recipient: MemberName
    taxpayer: TaxpayerNumber
    items: Items
    period_from: date
    period_to: date
    types: Annotated[list[ManifestType], Meta(max_length=MAX_TYPES)]
    """One for each type asked for, in order."""
    cells: Annotated[list[ManifestCell], Meta(max_length=MAX_CELLS)]
    """In order of type, then month."""
    as_of_size: Annotated[int, Meta(ge=1, le=2**53)]
    as_of_root: Digest
    """The checkpoint at which the provider looked: what was anchored before it is counted."""
    made_ms: CalendarMs
    salt: Salt
    result: Digest | None = None
    """Of the content of an answer that was computed from the records: the provider signs what came out."""


class SealedAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A ciphertext and the data it is bound to, which the sender signs together."""

    request: Id
    consent: Id
    sender: MemberName
    receiver: MemberName
    sealed: Annotated[bytes, Meta(max_length=MAX_ANSWER_BYTES)]


class AnswerContent(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is inside the ciphertext."""

    manifest: Annotated[bytes, Meta(max_length=MAX_MANIFEST_BYTES)]
    disclosure: Annotated[bytes, Meta(max_length=MAX_DISCLOSURE_BYTES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRequest:
    """What a bank's officer or process wants to know under a consent."""

    consent: OwnedId
    items: Mapping[str, list[str]]
    period_from: date
    period_to: date
    mode: Mode = Mode.DISCLOSE
    model: ModelAsk | None = None
    """In the mode *score*: what is to be run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accusation:
    """A verified statement that a provider left a record out of what it signed was everything.

    Anybody can be shown the three things it rests on: the signed manifest, the names of the records delivered of the
    type, and the proof that another live record was anchored before the manifest's checkpoint.
    """

    provider: MemberId
    """The member that signed the manifest."""
    request: bytes
    consent: bytes
    manifest_digest: bytes
    type_id: str
    month: str
    counted: int
    """What the manifest says of type and month."""
    batch: bytes
    index: int
    """The record left out, by its name on the ledger."""
    anchored_index: int
    as_of_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEntry:
    """One use of a taxpayer's data, for the enterprise to read: who, what, when, for what, how much."""

    request: OwnedId
    consent: OwnedId
    recipient: MemberId
    purpose: Purpose
    mode: Mode
    items: Mapping[str, list[str]]
    period_from: date
    period_to: date
    asked_ms: int
    answered_ms: int
    outcome: AnswerStatus
    field_code: FieldCode
    """00 for an answer, else why it was refused."""
    records: Mapping[str, int]
    """Record type id to how many records were disclosed, or a score was computed from."""
    model: OwnedId | None = None
    outputs: tuple[Output, ...] = ()
    """In the mode *score*: which model was run, and what of its result was asked for."""


def request_key(request: str) -> str:
    """Return the state key of a request, by the bank that asked and id."""
    return f"exchange/request/{request}"


def computation_key(request: str) -> str:
    """Return the state key of the logs of a request that both its parties computed: party to digest of its log."""
    return f"exchange/computation/{request}"


def training_key(training: str) -> str:
    """Return the state key of an agreement on a training, by the bank that proposed it and id."""
    return f"exchange/training/{training}"


def is_recorded(state: StateView, request: str, *, provider: str, field: str, digest: bytes) -> bool:
    """Tell whether the ledger's entry of a request to a provider holds a digest.

    field: ``request_digest``, which the bank put there; ``answer_digest`` or ``manifest_digest``, which the provider
    did.
    """
    entry = state.get(request_key(request))
    return entry is not None and (entry["provider"], entry[field]) == (provider, digest)

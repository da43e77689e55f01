"""What bureau, holder and bank mean by a credential: its type, its place in a status list, how it is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Protocol

import msgspec
from msgspec import Meta

from shuiqiao.base.ids import OWNED_ID_CHARS, OWNED_ID_PATTERN, MemberId, OwnedId
from shuiqiao.base.wire import CalendarMs, Digest, Id, MemberName, PublicKey
from shuiqiao.consent.model import TaxpayerNumber
from shuiqiao.ledger.transactions.document import decode_document, sign_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.ledger.model import StateView
    from shuiqiao.ledger.transactions.document import Document


MEDIA_TYPE: Final = "dc+sd-jwt"
"""``typ`` of a credential, as SD-JWT VC names it."""

CREDENTIAL_TYPE: Final = "shuiqiao-tax-facts@1"
"""``vct`` of a credential: which claims it has and where their bands are cut."""

BATCH: Final = 10
"""Copies that are issued at once, each to be shown once."""

LIST_SIZE: Final = 8_192
"""Places of a status list: among so many a copy hides, in a kilobyte of the ledger's state."""

REQUEST: Final = "privacy.credential_request/1"
_MAX_REQUEST_BYTES = 4_096

BLINDED_REQUEST: Final = "privacy.anoncreds_request/1"
MAX_BLINDED_BYTES: Final = 8_192
"""Of a holder's secret as it is blinded: 2 kB of numbers."""
_MAX_BLINDED_REQUEST_BYTES = 10_240

_STATUS_KEY = "privacy/status/"


class CredentialRequestBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an enterprise signs with its enrolment key to be issued credentials, one for each key."""

    request: Id
    bureau: MemberName
    taxpayer: TaxpayerNumber
    keys: Annotated[list[PublicKey], Meta(min_length=1, max_length=BATCH)]
    made_ms: CalendarMs


class BlindedRequestBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an enterprise signs with its enrolment key to be issued a credential for predicates.

    definition: the digest of the definition that it is to be issued by. blinded: the holder's secret, which nobody
    sees.
    """

    request: Id
    bureau: MemberName
    taxpayer: TaxpayerNumber
    definition: Digest
    blinded: Annotated[bytes, Meta(min_length=1, max_length=MAX_BLINDED_BYTES)]
    made_ms: CalendarMs


class StatusReference(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where on the ledger a copy's status stands. status_list: ``<bureau>/<id>``. place: of its bit."""

    status_list: Annotated[str, Meta(pattern=OWNED_ID_PATTERN, max_length=OWNED_ID_CHARS)]
    place: Annotated[int, Meta(ge=0, lt=LIST_SIZE)]


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedCredentials:
    """What an enterprise gets. batches: the anchored batches that the claims rest on, in order of their ids."""

    credentials: tuple[str, ...]
    batches: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """What the ledger has of a definition: its digest, the places that are revoked, and the accumulator of the rest."""

    definition: bytes
    bits: bytes
    accumulator: bytes

    @property
    def revision(self) -> int:
        """A number that grows with every place that is revoked; 1 where none is."""
        return 1 + int.from_bytes(self.bits, "big").bit_count()


class LeakageLedger(Protocol):
    """The account of what was learned of a taxpayer."""

    def charge(self, taxpayer: str, *, recipient: MemberId | None, bits: int, reference: OwnedId) -> None:
        """Note bits about a taxpayer, the same reference once. recipient: None for every one that there is.

        Raises Denied where it is over.
        """
        ...

    def withdraw(self, reference: OwnedId) -> None:
        """Give a charge back: nothing was given for it."""
        ...


def encode_request(body: CredentialRequestBody, *, network: bytes, suite: CipherSuite, key: SigningKey) -> bytes:
    """Return a request signed by the enterprise. key: its enrolment key at that bureau."""
    return sign_document(body, name=REQUEST, network=network, suite=suite, keys=(key,))


def decode_request(raw: bytes, *, network: bytes, suite: CipherSuite) -> Document[CredentialRequestBody]:
    """Return a request in outside bytes, its signature not verified; raises InvalidInput ``ledger.document_*``."""
    return decode_document(
        raw, CredentialRequestBody, name=REQUEST, network=network, suite=suite, max_bytes=_MAX_REQUEST_BYTES
    )


def encode_blinded(body: BlindedRequestBody, *, network: bytes, suite: CipherSuite, key: SigningKey) -> bytes:
    """Return a request signed by the enterprise. key: its enrolment key at that bureau."""
    return sign_document(body, name=BLINDED_REQUEST, network=network, suite=suite, keys=(key,))


def decode_blinded(raw: bytes, *, network: bytes, suite: CipherSuite) -> Document[BlindedRequestBody]:
    """Return a request in outside bytes, its signature not verified; raises InvalidInput ``ledger.document_*``."""
    return decode_document(
        raw,
        BlindedRequestBody,
        name=BLINDED_REQUEST,
        network=network,
        suite=suite,
        max_bytes=_MAX_BLINDED_REQUEST_BYTES,
    )


def status_key(status_list: OwnedId | str) -> str:
    """Return the state key of a status list."""
    return _STATUS_KEY + status_list


def find_bits(state: StateView, status_list: OwnedId | str) -> bytes | None:
    """Return the bits of a status list, ``LIST_SIZE`` of them, the lowest of each byte first; None for no list."""
    value: dict[str, Any] | None = state.get(status_key(status_list))
    return None if value is None else value["bits"]


def find_registry(state: StateView, status_list: OwnedId | str) -> Registry | None:
    """Return the registry under a name; None for no list, and for one of credentials that are shown whole."""
    return registry_of(state.get(status_key(status_list)))


def registry_of(value: Mapping[str, Any] | None) -> Registry | None:
    """Return the registry that a value of the state is; None for no value, and for a list that is none."""
    if value is None or "accumulator" not in value:
        return None
    return Registry(definition=value["definition"], bits=value["bits"], accumulator=value["accumulator"])


def is_set(bits: bytes, place: int) -> bool:
    """Return whether a place of a status list is revoked."""
    return bool(bits[place // 8] >> place % 8 & 1)

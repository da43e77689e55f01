"""What two banks say of exposures 敞口: bands of amounts, what both sign, the lists that they put in.

Rule: docs/spec/psi.md [PSI-5] to [PSI-9]. An item of a list is a digest of a taxpayer and a band, so that the bands of
common taxpayers are what both lists have in common.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import OwnedId
from shuiqiao.base.money import FEN_PER_YUAN
from shuiqiao.base.wire import CalendarMs, Digest, Id, MemberName, OwnedRef, Salt
from shuiqiao.consent.model import TaxpayerNumber
from shuiqiao.exchange.modes.exposure import EXPOSURE_BANDS
from shuiqiao.ledger.transactions.document import to_plain
from shuiqiao.privacy.secure.intersection import MAX_ITEMS

QUESTION: Final = "lending.exposure_question/1"
STATEMENT: Final = "lending.exposure_statement/1"

MAX_APPLICANTS: Final = 1_000
"""Of one question."""

MAX_QUESTION_BYTES: Final = 24_576
MAX_STATEMENT_BYTES: Final = 4_096
MAX_LIST_BYTES: Final = 64 * 2**20
"""Of a list as it is kept: 131,072 entries of about 150 bytes have 20 MB."""

_WAN_FEN: Final = 10_000 * FEN_PER_YUAN
BAND_TOPS_FEN: Final = tuple(each * _WAN_FEN for each in (10, 30, 50, 100, 200, 300, 500, 1_000))
"""The upper end of each band; beyond the last it is that band all the same."""


def band_of(amount_fen: int) -> int:
    """Return the band of an amount above zero: 0 to 7.

    ::

        assert [band_of(1), band_of(10_000_000), band_of(10_000_001), band_of(10**12)] == [0, 0, 1, 7]
    """
    return min(bisect_left(BAND_TOPS_FEN, amount_fen), EXPOSURE_BANDS - 1)


def item_of(taxpayer: str, band: int, *, network: bytes) -> bytes:
    """Return what stands for a taxpayer in a band in the list of either bank."""
    return hashlib.sha256(encode_cbor({"band": band, "network": network, "taxpayer": taxpayer})).digest()


class ExposureQuestion(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A bank asks another one. requests: of its own that a bureau answered. inputs: commits to its list."""

    asks: MemberName
    asked: MemberName
    requests: Annotated[list[Id], Meta(min_length=1, max_length=MAX_APPLICANTS)]
    inputs: Digest
    made_ms: CalendarMs


class ExposureStatement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The other bank takes part. question: the digest of the question. inputs: commits to its own list."""

    asked: MemberName
    asks: MemberName
    question: Digest
    inputs: Digest
    made_ms: CalendarMs


class InputEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One taxpayer of a list, by which consent. request: of the bank that asks. band: of the one that is asked."""

    consent: OwnedRef
    taxpayer: TaxpayerNumber
    request: Id | None = None
    band: Annotated[int, Meta(ge=0, lt=EXPOSURE_BANDS)] | None = None


class InputList(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that a bank put into a run; opens the commitment that it signed before."""

    salt: Salt
    entries: Annotated[list[InputEntry], Meta(max_length=MAX_ITEMS)]

    def encode(self) -> bytes:
        """Return the bytes that are committed to and kept."""
        return encode_cbor(to_plain(self))


def decode_inputs(raw: bytes) -> InputList:
    """Return the list in outside bytes; raises InvalidInput ``lending.exposure_list_malformed``."""
    try:
        found: InputList = typed(decode_cbor_strict(raw, max_bytes=MAX_LIST_BYTES), InputList, builtin_types=(bytes,))
    except (InvalidInput, msgspec.ValidationError) as error:
        raise InvalidInput("lending.exposure_list_malformed", f"these bytes are no list of a run: {error}") from error
    return found


def binding_of(question: bytes, statement: bytes) -> bytes:
    """Return what both compare before a run: SHA-256 of what both signed."""
    return hashlib.sha256(question + statement).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """What another bank told of an applicant. band: None where it told none. taxpayer: whose it is.

    It tells none where it has lent nothing, and where it holds no such consent: these are not told apart.
    """

    consent: OwnedId
    bank: str
    taxpayer: str
    request: OwnedId
    band: int | None
    asked_ms: int
    erase_after_ms: int

    @property
    def counted_fen(self) -> int:
        """What it counts as in a limit: the upper end of its band."""
        return 0 if self.band is None else BAND_TOPS_FEN[self.band]

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "consent": self.consent,
            "bank": self.bank,
            "request": self.request,
            "band": self.band,
            "from_fen": None if self.band is None else (0 if self.band == 0 else BAND_TOPS_FEN[self.band - 1]),
            "counted_fen": self.counted_fen,
            "asked_ms": self.asked_ms,
            "erase_after_ms": self.erase_after_ms,
        }

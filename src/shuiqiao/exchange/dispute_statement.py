"""What an enterprise signs on its own device to dispute a record that its bureau gave to a bank.

Rule: docs/spec/consent-exchange.md [EXCHANGE-25]. Pure: no clock, no ledger, no storage. The bureau's side is
``disputes``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec import Meta

from shuiqiao.base.wire import CalendarMs, Id, MemberName
from shuiqiao.consent.model import TaxpayerNumber
from shuiqiao.ledger.transactions.document import decode_document, sign_document

if TYPE_CHECKING:
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.ledger.transactions.document import Document

DISPUTE: Final = "exchange.dispute/1"
MAX_DISPUTE_BYTES: Final = 4096
MAX_REASON_CHARS: Final = 500

Reason = Annotated[str, Meta(min_length=1, max_length=MAX_REASON_CHARS)]


class DisputeBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an enterprise signs. batch, leaf: the record by its place on the ledger."""

    dispute: Id
    bureau: MemberName
    taxpayer: TaxpayerNumber
    batch: Id
    leaf: Annotated[int, Meta(ge=0, le=2**32 - 1)]
    reason: Reason
    made_ms: CalendarMs


def encode_dispute(body: DisputeBody, *, network: bytes, suite: CipherSuite, key: SigningKey) -> bytes:
    """Return a dispute signed by the enterprise. key: its enrolment key at that bureau."""
    return sign_document(body, name=DISPUTE, network=network, suite=suite, keys=(key,))


def decode_dispute(raw: bytes, *, network: bytes, suite: CipherSuite) -> Document[DisputeBody]:
    """Return a dispute in outside bytes, its signature not verified; raises InvalidInput ``ledger.document_*``."""
    return decode_document(raw, DisputeBody, name=DISPUTE, network=network, suite=suite, max_bytes=MAX_DISPUTE_BYTES)

"""What an enterprise signs on its own device to be enrolled, and to have its encrypted keys kept by its bureau.

Rule: docs/spec/consent-exchange.md [CONSENT-20], [CONSENT-22]. Pure: no clock, no ledger, no storage. The bureau's side
is ``codes``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from shuiqiao.base.wire import MemberName, PublicKey
from shuiqiao.consent.model import TaxpayerNumber
from shuiqiao.crypto.keyfile import MAX_FILE_BYTES, verify_key_file
from shuiqiao.ledger.transactions.document import decode_document, sign_document

if TYPE_CHECKING:
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.ledger.transactions.document import Document

ENROLMENT = "consent.enrolment/1"
BACKUP = "consent.key_backup/1"

MAX_DOCUMENT_BYTES = 8192
"""An encrypted key file of 4,096 bytes and its envelope."""


class EnrolmentBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an enterprise signs with its enrolment key to be known by it."""

    bureau: MemberName
    taxpayer: TaxpayerNumber
    key: PublicKey
    code: Annotated[str, Meta(max_length=32)]


class KeyBackupBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An encrypted key file that an enterprise asks its bureau to keep."""

    bureau: MemberName
    taxpayer: TaxpayerNumber
    key_file: Annotated[bytes, Meta(min_length=1, max_length=MAX_FILE_BYTES)]


def encode_enrolment(body: EnrolmentBody, *, network: bytes, suite: CipherSuite, key: SigningKey) -> bytes:
    """Return what an enterprise sends its bureau with its code. key: its enrolment key."""
    return sign_document(body, name=ENROLMENT, network=network, suite=suite, keys=(key,))


def encode_backup(body: KeyBackupBody, *, network: bytes, suite: CipherSuite, key: SigningKey) -> bytes:
    """Return what an enterprise sends its bureau to be kept; raises as ``verify_key_file`` for what is no key file."""
    verify_key_file(body.key_file)
    return sign_document(body, name=BACKUP, network=network, suite=suite, keys=(key,))


def decode_enrolment(raw: bytes, *, network: bytes, suite: CipherSuite) -> Document[EnrolmentBody]:
    """Return an enrolment in outside bytes, its signature not verified; raises InvalidInput ``ledger.document_*``."""
    return decode_document(
        raw, EnrolmentBody, name=ENROLMENT, network=network, suite=suite, max_bytes=MAX_DOCUMENT_BYTES
    )


def decode_backup(raw: bytes, *, network: bytes, suite: CipherSuite) -> Document[KeyBackupBody]:
    """Return a backup in outside bytes, its signature not verified; raises InvalidInput ``ledger.document_*``."""
    return decode_document(raw, KeyBackupBody, name=BACKUP, network=network, suite=suite, max_bytes=MAX_DOCUMENT_BYTES)

"""Applications and decisions as salted commitments on the ledger, and the openings (content and salt) kept off it.

Rule: docs/spec/lending.md [LENDING-2] to [LENDING-5]. commitment = H(domain || 0x00 || opening), the opening being
deterministic CBOR with a random 32-byte salt inside: without it nothing in an opening can be found by trying. The bank
keeps what opens an application, and seals what opens a decision to the regulator, for that network, bank and
application.

LIMIT: the length of a sealed opening differs by a few bytes with what is inside; it is not on the ledger, and the
party that carries it sees it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.base.money import MAX_FEN
from shuiqiao.base.wire import Digest, Id, MemberName, OwnedRef, Salt
from shuiqiao.crypto.model import CipherSuite, SealingKey
from shuiqiao.ledger.transactions.document import to_plain
from shuiqiao.lending.model import Outcome

SALT_BYTES = 32

MAX_OPENING_BYTES = 2_560
"""The longest opening of a decision on records has about 400 bytes; each of eight outputs adds under 220."""

MAX_OUTPUTS = 8

NO_INDUSTRY = "none"
NO_PROVINCE = "00"

_APPLICATION = b"shuiqiao/lending/application/2\x00"
_DECISION = b"shuiqiao/lending/decision/2\x00"
_SEALED = b"shuiqiao/lending/opening/2\x00"

ProductId = Annotated[str, Meta(max_length=32, pattern=r"^[a-z][a-z0-9-]{1,31}\Z")]
AmountFen = Annotated[int, Meta(ge=0, le=MAX_FEN)]
RecordedGrade = Literal["A", "B", "M", "C", "D", "none"]


class ApplicationOpening(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an enterprise applied for; the bank keeps it."""

    bank: MemberName
    application: Id
    product: ProductId
    amount_fen: AmountFen
    salt: Salt

    def commitment(self, suite: CipherSuite) -> bytes:
        """Return the 32-byte commitment to this application."""
        return suite.digest(_APPLICATION + encode_cbor(to_plain(self)))


class OpenedOutput(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """One output of a model that a decision rests on, and the request that it answers."""

    request: Id
    model: OwnedRef
    band: Annotated[str, Meta(min_length=1, max_length=32)] | None = None
    yes_no: bool | None = None


class DecisionOpening(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """What a bank decided, on what kind of firm. amount_fen: the limit approved, 0 with any other outcome."""

    bank: MemberName
    application: Id
    firm: Digest
    """The enterprise's firm tag, from its consent [CONSENT-18]."""
    product: ProductId
    outcome: Outcome
    amount_fen: AmountFen
    grade: RecordedGrade
    industry: Annotated[str, Meta(max_length=4, pattern=r"^([A-T]|none)\Z")]
    province: Annotated[str, Meta(max_length=2, pattern=r"^[0-9]{2}\Z")]
    model_digest: Digest
    salt: Salt
    outputs: Annotated[tuple[OpenedOutput, ...], Meta(max_length=MAX_OUTPUTS)] = ()
    """Of a decision without records; left out of one on records."""

    def commitment(self, suite: CipherSuite) -> bytes:
        """Return the 32-byte commitment to this decision."""
        return suite.digest(_DECISION + encode_cbor(to_plain(self)))

    def seal(self, suite: CipherSuite, *, regulator_key: bytes, network: bytes) -> bytes:
        """Return this opening sealed to the regulator, bound to network, bank and application."""
        binding = _binding(network, bank=self.bank, application=self.application)
        return suite.seal(encode_cbor(to_plain(self)), recipient=regulator_key, associated_data=binding)


def open_decision(sealed: bytes, *, key: SealingKey, network: bytes, bank: str, application: bytes) -> DecisionOpening:
    """Return the opening that a bank sealed to the regulator for an application.

    Raises IntegrityError ``crypto.seal_broken`` or ``lending.opening_misplaced``, InvalidInput ``base.cbor_*`` or
    ``lending.opening_malformed``.
    """
    plain = key.open_sealed(sealed, associated_data=_binding(network, bank=bank, application=application))
    value = decode_cbor_strict(plain, max_bytes=MAX_OPENING_BYTES)
    try:
        opening = typed(value, DecisionOpening, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise InvalidInput("lending.opening_malformed", f"not an opening of a decision: {error}") from error
    if (opening.bank, opening.application) != (bank, application):
        raise IntegrityError(
            "lending.opening_misplaced",
            f"the opening is of application {opening.application.hex()} at {opening.bank}, not of {application.hex()} "
            f"at {bank}",
        )
    if (opening.outcome is Outcome.APPROVED) != (opening.amount_fen > 0):
        raise InvalidInput(
            "lending.opening_malformed", f"an opening says {opening.outcome} with a limit of {opening.amount_fen} fen"
        )
    return opening


def _binding(network: bytes, *, bank: str, application: bytes) -> bytes:
    return _SEALED + network + application + bank.encode()

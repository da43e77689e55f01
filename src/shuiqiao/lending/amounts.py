"""Amounts on the ledger: a salted commitment in public, its opening sealed to the regulator.

commitment = H("shuiqiao/amount/1" || application || salt32 || fen as 8 bytes big-endian). Without the salt an amount
cannot be found by trying; with the opening the regulator checks totals to the fen, and a missing or wrong opening is an
audit problem.
"""

from __future__ import annotations

from dataclasses import dataclass

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.base.ids import ID_BYTES, Entropy
from shuiqiao.base.money import MAX_FEN
from shuiqiao.crypto.model import CipherSuite, SealingKey

SALT_BYTES = 32
MAX_OPENING_BYTES = 256

_DOMAIN = b"shuiqiao/amount/1"
_AMOUNT_BYTES = 8
_FIELDS = {"application", "amount_fen", "salt"}


@dataclass(frozen=True, slots=True, kw_only=True)
class AmountOpening:
    """What opens a commitment: the application, the amount in fen, the salt."""

    application: bytes
    amount_fen: int
    salt: bytes

    @classmethod
    def fresh(cls, *, application: bytes, amount_fen: int, entropy: Entropy) -> AmountOpening:
        """Return an opening with a new salt."""
        return cls(application=application, amount_fen=amount_fen, salt=entropy(SALT_BYTES))

    def commitment(self, suite: CipherSuite) -> bytes:
        """Return the 32-byte commitment to this amount."""
        amount = self.amount_fen.to_bytes(_AMOUNT_BYTES, "big")
        return suite.digest(_DOMAIN + self.application + self.salt + amount)

    def seal(self, suite: CipherSuite, *, regulator_key: bytes, network: bytes) -> bytes:
        """Return this opening sealed to the regulator and bound to network and application."""
        plain = encode_cbor({"application": self.application, "amount_fen": self.amount_fen, "salt": self.salt})
        return suite.seal(plain, recipient=regulator_key, associated_data=_binding(network, self.application))


def open_amount(sealed: bytes, *, key: SealingKey, network: bytes, application: bytes) -> AmountOpening:
    """Return the opening that a bank sealed to the regulator for an application.

    Raises IntegrityError ``crypto.seal_broken``, InvalidInput ``lending.opening_malformed`` or IntegrityError
    ``lending.opening_misplaced``.
    """
    plain = key.open_sealed(sealed, associated_data=_binding(network, application))
    fields = decode_cbor_strict(plain, max_bytes=MAX_OPENING_BYTES)
    if not isinstance(fields, dict) or set(fields) != _FIELDS:
        raise InvalidInput("lending.opening_malformed", "an opening has exactly application, amount_fen and salt")
    amount, salt = fields["amount_fen"], fields["salt"]
    if type(amount) is not int or not 0 <= amount <= MAX_FEN or type(salt) is not bytes or len(salt) != SALT_BYTES:
        raise InvalidInput("lending.opening_malformed", "an opening's amount or salt is out of bounds")
    if fields["application"] != application:
        raise IntegrityError("lending.opening_misplaced", f"the opening is not for application {application.hex()}")
    return AmountOpening(application=application, amount_fen=amount, salt=salt)


def _binding(network: bytes, application: bytes) -> bytes:
    if len(application) != ID_BYTES:
        raise InvalidInput(
            "lending.opening_malformed", f"an application id has {ID_BYTES} bytes, not {len(application)}"
        )
    return b"shuiqiao/opening/1" + network + application

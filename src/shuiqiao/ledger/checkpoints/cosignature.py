r"""The cosignature: a witness's or validator's timestamped signature over a checkpoint (c2sp.org/tlog-cosignature, v1).

::

    signed    = "cosignature/v1" "\n" "time " decimal(time) "\n" text
    line      = U+2014 " " origin "/" member id " " base64(key hash || time as 8 bytes, big-endian || signature) "\n"

The key hash is that of every signed note, its type 0x04 in an ``intl`` network (Ed25519) and 0xFF followed by the ASCII
text ``shuiqiao/sm2-sm3-cosignature-v1`` in a ``gm`` network, whose signature is r || s by SM2 with SM3 [NOTE-3].

It states that at this time the text was the largest head of this log the signer had seen, and that it extends all
heads the signer cosigned before. Whether that is so is decided by ``ledger/witness/witness.py``; who may sign, by the
policy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.model import CipherSuite, SigningKey, SuiteName
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.checkpoints.signed_note import (
    SIGNATURE_BYTES,
    TIME_BYTES,
    SignatureLine,
    decode_text,
    encode_line,
    is_key_name,
    key_hash,
    malformed,
)

MAX_TIME_S: Final = 2**53 - 1
"""Latest time of a cosignature, in seconds since 1970: exact in every JSON reader, far below C2SP's 2^63 - 1."""

_KEY_TYPES = {SuiteName.INTL: b"\x04", SuiteName.GM: b"\xffshuiqiao/sm2-sm3-cosignature-v1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosignature:
    """One cosignature that holds."""

    member: MemberId
    time_s: int


def cosigner_key_hash(name: str, *, public_key: bytes, suite: CipherSuite) -> bytes:
    """Return the four bytes by which a note names a cosigner's key [NOTE-3]."""
    return key_hash(name, key_type=_KEY_TYPES[suite.name], public_key=public_key, suite=suite)


def cosigned_message(text: bytes, *, time_s: int) -> bytes:
    """Return the bytes that a cosigner signs [NOTE-4]."""
    return f"cosignature/v1\ntime {time_s}\n".encode() + text


def sign_cosignature(text: bytes, *, name: str, key: SigningKey, suite: CipherSuite, time_s: int) -> bytes:
    """Return the cosignature line over the three lines of a checkpoint, with its newline [NOTE-4].

    The caller has shown before that the checkpoint extends all it cosigned. Raises IntegrityError
    ``ledger.checkpoint_malformed`` for a text that is none, ValueError for a name or time out of range.
    """
    decode_text(text)
    if not is_key_name(name) or not 0 < time_s <= MAX_TIME_S:
        raise ValueError(f"{name[:100]!r} at {time_s} s cannot cosign")
    signature = key.sign(cosigned_message(text, time_s=time_s))
    return encode_line(
        SignatureLine(
            name=name,
            key_hash=cosigner_key_hash(name, public_key=key.public_key, suite=suite),
            signature=time_s.to_bytes(TIME_BYTES, "big") + signature,
        )
    )


def verify_cosignature(
    line: SignatureLine, *, text: bytes, policy: CheckpointPolicy, suite: CipherSuite
) -> Cosignature:
    """Return who cosigned a checkpoint text and when, once the signature holds under the policy's key.

    Raises IntegrityError ``ledger.cosigner_unknown`` (a name or key that the policy does not have),
    ``ledger.checkpoint_malformed`` or ``ledger.cosignature_invalid``.
    """
    member = policy.member_of(line.name)
    if member is None:
        raise IntegrityError(
            "ledger.cosigner_unknown", f"{line.name[:150]!r} is not a witness of {policy.origin} by its policy"
        )
    expected = cosigner_key_hash(line.name, public_key=policy.witnesses[member], suite=suite)
    if line.key_hash != expected:
        raise IntegrityError(
            "ledger.cosigner_unknown",
            f"{member} cosigned with key hash {line.key_hash.hex()}, the policy has {expected.hex()}",
        )
    if len(line.signature) != TIME_BYTES + SIGNATURE_BYTES:
        raise malformed(f"the cosignature of {member} has no time")
    time_s = int.from_bytes(line.signature[:TIME_BYTES], "big")
    message = cosigned_message(text, time_s=time_s)
    try:
        suite.verify_signature(
            public_key=policy.witnesses[member], message=message, signature=line.signature[TIME_BYTES:]
        )
    except IntegrityError as error:
        raise IntegrityError(
            "ledger.cosignature_invalid", f"the cosignature of {member} does not hold: {error.message}"
        ) from error
    if not 0 < time_s <= MAX_TIME_S:
        raise malformed(f"the cosignature of {member} is of second {time_s}")
    return Cosignature(member=member, time_s=time_s)

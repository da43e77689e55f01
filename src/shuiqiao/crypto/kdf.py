"""Derives keys: HKDF (RFC 5869) over any hash that hashlib offers, and the children of a 32-byte seed.

One derivation serves SHA-256 and SM3. Labels are for a suite and its callers to choose. The same inputs give the same
bytes for ever.
"""

from __future__ import annotations

import hashlib
import hmac

from shuiqiao.base.errors import InvalidInput, Unavailable

SEED_BYTES = 32

MAX_BLOCKS = 255
"""RFC 5869 section 2.3: the block counter is one byte, so at most 255 hash lengths come out."""


def verify_hash_present(hash_name: str) -> None:
    """Return if hashlib offers a hash; raises Unavailable (``crypto.hash_missing``) with the next step if not.

    SM3 comes from the OpenSSL that Python was built with, and a few distributions leave it out. Nothing replaces it
    in silence: a node without it must not take part.
    """
    try:
        hashlib.new(hash_name)
    except ValueError as error:
        raise Unavailable(
            "crypto.hash_missing",
            f"this Python's hashlib has no {hash_name}: {error}",
            next_step="use a Python that is linked with OpenSSL 3 with SM3 enabled, or run a network of suite intl",
        ) from error


def hkdf_extract(key_material: bytes, *, hash_name: str, salt: bytes = b"") -> bytes:
    """Return the pseudorandom key of RFC 5869 section 2.2; an empty salt means one hash length of zeros."""
    zeros = bytes(hashlib.new(hash_name).digest_size)
    return hmac.digest(salt or zeros, key_material, hash_name)


def hkdf_expand(pseudorandom_key: bytes, *, hash_name: str, info: bytes, length: int) -> bytes:
    """Return length bytes by RFC 5869 section 2.3.

    Raises InvalidInput (``crypto.derived_length``) unless 1 to 255 hash lengths are asked.
    """
    size = hashlib.new(hash_name).digest_size
    if not 0 < length <= MAX_BLOCKS * size:
        raise InvalidInput(
            "crypto.derived_length", f"{length} bytes asked where 1 to {MAX_BLOCKS * size} can be derived"
        )
    output = block = b""
    for counter in range(1, -(-length // size) + 1):
        block = hmac.digest(pseudorandom_key, block + info + bytes([counter]), hash_name)
        output += block
    return output[:length]


def hkdf(key_material: bytes, *, hash_name: str, info: bytes, length: int, salt: bytes = b"") -> bytes:
    """Extract, then expand: length bytes from key material, bound to info."""
    pseudorandom_key = hkdf_extract(key_material, hash_name=hash_name, salt=salt)
    return hkdf_expand(pseudorandom_key, hash_name=hash_name, info=info, length=length)


def verify_seed(seed: bytes) -> None:
    """Raise InvalidInput (``crypto.seed_length``) unless a seed has 32 bytes."""
    if len(seed) != SEED_BYTES:
        raise InvalidInput("crypto.seed_length", f"a seed has {SEED_BYTES} bytes, not {len(seed)}")


def child_seed(seed: bytes, *, hash_name: str, label: str, context: bytes) -> bytes:
    """Return a 32-byte child: HKDF over the suite hash with info = label || 0x00 || context.

    A label contains no zero byte, so two pairs of label and context never give the same info. Raises InvalidInput
    (``crypto.seed_length``, ``crypto.seed_label``).
    """
    verify_seed(seed)
    if not label or "\0" in label:
        raise InvalidInput("crypto.seed_label", f"{label!r} is empty or contains a zero byte")
    return hkdf(seed, hash_name=hash_name, info=label.encode() + b"\0" + context, length=SEED_BYTES)

"""The suite ``intl``: Ed25519 (RFC 8032), SHA-256, X25519 (RFC 7748) with HKDF-SHA256 and AES-256-GCM.

Inside consensus libsodium alone verifies signatures (ADR 0002); ``cryptography`` signs, agrees on keys and encrypts.
Accepted are exactly: a canonical public key that is not of small order, an s below the group order, an R that is
canonical and not of small order, and the cofactorless equation. What can be decided by comparing bytes is decided
here, before the provider, so that a change of provider could not move that line: of sealing keys that is everything.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

from cryptography import __version__ as cryptography_version
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from nacl import __version__ as pynacl_version
from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.crypto.kdf import hkdf, verify_seed
from shuiqiao.crypto.model import KEY_ID_BYTES, CipherSuite, SealingKey, SigningKey, SuiteName, provider_failed
from shuiqiao.crypto.sealing import (
    AES_256_GCM,
    INTL_ENVELOPE,
    decode_envelope,
    seal_broken,
    verify_sealable,
)

PUBLIC_KEY_BYTES = 32
SIGNATURE_BYTES = 64
FIELD_PRIME = 2**255 - 19
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493

_EIGHTH_ORDER_Y = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826

_SMALL_ORDER_Y = frozenset({0, 1, FIELD_PRIME - 1, _EIGHTH_ORDER_Y, FIELD_PRIME - _EIGHTH_ORDER_Y})
"""The y coordinates of the eight points whose order divides 8: under such a key one signature fits any message."""

_SMALL_ORDER_U = frozenset(
    {
        0,
        1,
        FIELD_PRIME - 1,
        0x00B8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0,
        0x57119FD0DD4E22D8868E1C58C45C44045BEF839C55B1D0B1248C50A3BC959C5F,
    }
)
"""The u coordinates of the points of curve25519 and its twist whose order divides 8: with those every private key
agrees on zeros, and with no others (RFC 7748 section 6.1)."""

_SIGN_BIT = 1 << 255
_SEAL_LABEL = b"shuiqiao/seal/intl/1"
_SEALING_PROVIDER = f"cryptography {cryptography_version}"


class Ed25519SigningKey:
    """An Ed25519 private key in this process; the seed is RFC 8032's 32-byte secret."""

    __slots__ = ("_private", "key_id", "public_key")

    def __init__(self, seed: bytes) -> None:
        verify_seed(seed)
        self._private = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._private.public_key().public_bytes_raw()
        self.key_id = hashlib.sha256(self.public_key).digest()[:KEY_ID_BYTES]

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of a message; the same message gives the same signature."""
        return self._private.sign(message)


class X25519SealingKey:
    """An X25519 private key in this process; the seed is RFC 7748's scalar before clamping."""

    __slots__ = ("_private", "public_key")

    def __init__(self, seed: bytes) -> None:
        verify_seed(seed)
        self._private = X25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._private.public_key().public_bytes_raw()

    def open_sealed(self, sealed: bytes, *, associated_data: bytes) -> bytes:
        """See SealingKey."""
        envelope = decode_envelope(sealed, form=INTL_ENVELOPE)
        try:
            shared = _agree(self._private, envelope.encapsulation)
            key = _message_key(shared, ephemeral=envelope.encapsulation, recipient=self.public_key)
            return envelope.open(key=key, recipient=self.public_key, associated_data=associated_data)
        except (InvalidTag, InvalidInput) as error:
            raise seal_broken() from error


class IntlSuite(CipherSuite):
    """The suite ``intl`` behind the CipherSuite port: stateless, safe to share between threads."""

    name = SuiteName.INTL
    cose_algorithm = -19
    hash_name = "sha256"
    verifying_provider = f"libsodium of PyNaCl {pynacl_version}"

    def digest(self, data: bytes) -> bytes:
        """See CipherSuite."""
        return hashlib.sha256(data).digest()

    def signing_key_from_seed(self, seed: bytes) -> SigningKey:
        """See CipherSuite."""
        return Ed25519SigningKey(seed)

    def sealing_key_from_seed(self, seed: bytes) -> SealingKey:
        """See CipherSuite."""
        return X25519SealingKey(seed)

    def verify_signing_key(self, public_key: bytes) -> None:
        """See CipherSuite."""
        _verify_public_key(public_key)

    def verify_sealing_key(self, public_key: bytes) -> None:
        """See CipherSuite."""
        _verify_sealing_key(public_key)

    def verify_signature(self, *, public_key: bytes, message: bytes, signature: bytes) -> None:
        """See CipherSuite."""
        try:
            _verify_public_key(public_key)
            _verify_signature_form(signature)
            crypto_sign_open(signature + message, public_key)
        except (BadSignatureError, InvalidInput) as error:
            raise IntegrityError(
                "crypto.signature_invalid",
                f"the Ed25519 signature of {len(message)} bytes does not hold under key {public_key[:8].hex()}",
            ) from error
        except Exception as error:
            raise provider_failed(self.verifying_provider, error) from error

    def seal(self, plaintext: bytes, *, recipient: bytes, associated_data: bytes) -> bytes:
        """See CipherSuite."""
        verify_sealable(plaintext, associated_data=associated_data)
        ephemeral = X25519PrivateKey.generate()
        shared = _agree(ephemeral, recipient)
        ephemeral_public = ephemeral.public_key().public_bytes_raw()
        key = _message_key(shared, ephemeral=ephemeral_public, recipient=recipient)
        return INTL_ENVELOPE.seal(
            plaintext, key=key, encapsulation=ephemeral_public, recipient=recipient, associated_data=associated_data
        )


def _agree(private: X25519PrivateKey, public_key: bytes) -> bytes:
    _verify_sealing_key(public_key)
    try:
        return private.exchange(X25519PublicKey.from_public_bytes(public_key))
    except Exception as error:
        raise provider_failed(_SEALING_PROVIDER, error) from error


def _verify_sealing_key(public_key: bytes) -> None:
    # RFC 7748 section 5: the highest bit is ignored, and any other encoding stands for its remainder.
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise _bad_key(public_key, f"it has {len(public_key)} bytes instead of {PUBLIC_KEY_BYTES}")
    if (int.from_bytes(public_key, "little") & (_SIGN_BIT - 1)) % FIELD_PRIME in _SMALL_ORDER_U:
        raise _bad_key(public_key, "the key is a point of small order")


def _message_key(shared: bytes, *, ephemeral: bytes, recipient: bytes) -> bytes:
    info = _SEAL_LABEL + ephemeral + recipient
    return hkdf(shared, hash_name="sha256", info=info, length=AES_256_GCM.key_bytes)


@lru_cache(maxsize=4096)
def _verify_public_key(public_key: bytes) -> None:
    if len(public_key) != PUBLIC_KEY_BYTES:
        raise _bad_key(public_key, f"it has {len(public_key)} bytes instead of {PUBLIC_KEY_BYTES}")
    _verify_point(public_key, what="the key")


def _verify_point(encoded: bytes, *, what: str) -> None:
    # RFC 8032 section 5.1.3 step 1 and small orders; that the point is on the curve is left to the provider.
    y = int.from_bytes(encoded, "little") & (_SIGN_BIT - 1)
    if y >= FIELD_PRIME:
        raise _bad_key(encoded, f"{what} is not canonically encoded")
    if y in _SMALL_ORDER_Y:
        raise _bad_key(encoded, f"{what} is a point of small order")


def _verify_signature_form(signature: bytes) -> None:
    if len(signature) != SIGNATURE_BYTES:
        raise _bad_form(f"it has {len(signature)} bytes instead of {SIGNATURE_BYTES}")
    if int.from_bytes(signature[32:], "little") >= GROUP_ORDER:
        raise _bad_form("s is not below the group order")
    _verify_point(signature[:32], what="R")


def _bad_key(encoded: bytes, reason: str) -> InvalidInput:
    return InvalidInput("crypto.public_key_invalid", f"{encoded[:32].hex()} is not acceptable: {reason}")


def _bad_form(reason: str) -> InvalidInput:
    return InvalidInput("crypto.signature_form", f"the signature is malformed: {reason}")

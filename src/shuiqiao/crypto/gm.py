"""The suite ``gm``: SM2 signatures with SM3 (GM/T 0003, user id 1234567812345678), sealing by SM2 and SM4-GCM.

Inside consensus Tongsuo alone verifies signatures (ADR 0002); GmSSL signs, encrypts and decrypts, drawing its nonces
from the operating system. Accepted are exactly: an uncompressed key on the curve, r and s in [1, n-1], r + s not 0
modulo n, and the equation of GM/T 0003.2 section 7.1. All but the equation is decided in ``sm2.py``, before the
provider.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache

import gmssl_pyx
import tongsuopy
from cryptography.exceptions import InvalidTag
from tongsuopy.backends.tongsuo import backend
from tongsuopy.crypto import hashes
from tongsuopy.crypto.asymciphers import ec
from tongsuopy.crypto.exceptions import InvalidSignature

from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto import sm2
from shuiqiao.crypto.kdf import verify_seed
from shuiqiao.crypto.model import KEY_ID_BYTES, CipherSuite, SealingKey, SigningKey, SuiteName, provider_failed
from shuiqiao.crypto.sealing import (
    GM_ENVELOPE,
    SM4_GCM,
    decode_envelope,
    seal_broken,
    verify_sealable,
)

_CURVE = ec.SM2()
_SM2_WITH_SM3 = ec.ECDSA(hashes.SM3())
"""Tongsuo's name for it; on an SM2 key it computes SM2 with the default user id, as the vectors show."""

_SEALING_PROVIDER = f"GmSSL of gmssl-pyx {gmssl_pyx.__version__}"
_IDENTITY_PREFIX = sm2.identity_prefix()


def _sm3(data: bytes) -> bytes:
    return hashlib.new("sm3", data).digest()


class Sm2SigningKey:
    """An SM2 private key in this process; made from a number in [1, n-2]."""

    __slots__ = ("_identity", "_private", "key_id", "public_key")

    def __init__(self, scalar: int) -> None:
        self.public_key = public_key_of(scalar)
        self.key_id = _sm3(self.public_key)[:KEY_ID_BYTES]
        self._private = scalar.to_bytes(sm2.COORDINATE_BYTES, "big")
        self._identity = _sm3(_IDENTITY_PREFIX + self.public_key[1:])

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature r || s of a message; two signatures of one message differ."""
        digest = _sm3(self._identity + message)
        return sm2.decode_signature_der(gmssl_pyx.sm2_sign_sm3_digest(self._private, digest))


class Sm2SealingKey:
    """An SM2 private key in this process, used for decryption only."""

    __slots__ = ("_private", "public_key")

    def __init__(self, scalar: int) -> None:
        self.public_key = public_key_of(scalar)
        self._private = scalar.to_bytes(sm2.COORDINATE_BYTES, "big")

    def open_sealed(self, sealed: bytes, *, associated_data: bytes) -> bytes:
        """See SealingKey."""
        envelope = decode_envelope(sealed, form=GM_ENVELOPE)
        try:
            key = self._message_key(envelope.encapsulation)
            return envelope.open(key=key, recipient=self.public_key, associated_data=associated_data)
        except (InvalidTag, InvalidInput) as error:
            raise seal_broken() from error
        except gmssl_pyx.GmsslInnerError as error:
            # The provider says the same of everything: it must still open what was sealed to this key just now.
            self._require_verdicts()
            raise seal_broken() from error

    def _message_key(self, encapsulation: bytes) -> bytes:
        # A point off the curve would let an attacker read the private key piece by piece, so C1 is checked first.
        sm2.verify_public_key(encapsulation[: sm2.PUBLIC_KEY_BYTES])
        return bytes(gmssl_pyx.sm2_decrypt(self._private, sm2.encode_ciphertext_der(encapsulation)))

    def _require_verdicts(self) -> None:
        try:
            gmssl_pyx.sm2_decrypt(self._private, gmssl_pyx.sm2_encrypt(self.public_key[1:], bytes(SM4_GCM.key_bytes)))
        except Exception as error:
            raise provider_failed(_SEALING_PROVIDER, error) from error


class GmSuite(CipherSuite):
    """The suite ``gm`` behind the CipherSuite port: stateless, safe to share between threads."""

    name = SuiteName.GM
    cose_algorithm = -65537
    hash_name = "sm3"
    verifying_provider = f"Tongsuo ({backend.openssl_version_text()}) of tongsuopy {tongsuopy.__version__}"
    # Naming the version loads the compiled library with this module, while suites.py keeps it apart from others.

    def digest(self, data: bytes) -> bytes:
        """See CipherSuite."""
        return hashlib.new("sm3", data).digest()

    def signing_key_from_seed(self, seed: bytes) -> SigningKey:
        """See CipherSuite."""
        verify_seed(seed)
        return Sm2SigningKey(sm2.scalar_from_seed(seed, purpose=b"sign"))

    def sealing_key_from_seed(self, seed: bytes) -> SealingKey:
        """See CipherSuite."""
        verify_seed(seed)
        return Sm2SealingKey(sm2.scalar_from_seed(seed, purpose=b"seal"))

    def verify_signing_key(self, public_key: bytes) -> None:
        """See CipherSuite."""
        sm2.verify_public_key(public_key)

    def verify_sealing_key(self, public_key: bytes) -> None:
        """See CipherSuite."""
        sm2.verify_public_key(public_key)

    def verify_signature(self, *, public_key: bytes, message: bytes, signature: bytes) -> None:
        """See CipherSuite."""
        try:
            der = sm2.encode_signature_der(signature)
            _load_public_key(public_key).verify(der, message, _SM2_WITH_SM3)
        except InvalidInput as error:
            raise _invalid(public_key, message) from error
        except InvalidSignature as error:
            # The provider says the same where it lacks memory: it must still accept a signature that is known to hold.
            _require_verdicts()
            raise _invalid(public_key, message) from error
        except Exception as error:
            raise _provider_failed(error) from error

    def seal(self, plaintext: bytes, *, recipient: bytes, associated_data: bytes) -> bytes:
        """See CipherSuite."""
        verify_sealable(plaintext, associated_data=associated_data)
        sm2.verify_public_key(recipient)
        key = system_entropy(SM4_GCM.key_bytes)
        encapsulation = sm2.decode_ciphertext_der(gmssl_pyx.sm2_encrypt(recipient[1:], key))
        return GM_ENVELOPE.seal(
            plaintext, key=key, encapsulation=encapsulation, recipient=recipient, associated_data=associated_data
        )


def public_key_of(scalar: int) -> bytes:
    """Return 0x04 || x || y for a private key in [1, n-2]; raises InvalidInput (``crypto.private_key_invalid``)."""
    if not sm2.is_private_scalar(scalar):
        raise InvalidInput("crypto.private_key_invalid", "an SM2 private key is a number from 1 to n-2")
    point = ec.derive_private_key(scalar, _CURVE).public_key().public_numbers()
    return b"\x04" + point.x.to_bytes(sm2.COORDINATE_BYTES, "big") + point.y.to_bytes(sm2.COORDINATE_BYTES, "big")


def _require_verdicts() -> None:
    """Return if the provider accepts the published signature; raises Unavailable ``crypto.provider_failed``."""
    public_key, message, signature = (bytes.fromhex(part) for part in sm2.KNOWN_SIGNATURE)
    try:
        _load_public_key(public_key).verify(sm2.encode_signature_der(signature), message, _SM2_WITH_SM3)
    except Exception as error:
        raise _provider_failed(error) from error


def _invalid(public_key: bytes, message: bytes) -> IntegrityError:
    return IntegrityError(
        "crypto.signature_invalid",
        f"the SM2 signature of {len(message)} bytes does not hold under key {public_key[:8].hex()}",
    )


def _provider_failed(error: Exception) -> Unavailable:
    return provider_failed(GmSuite.verifying_provider, error)


@lru_cache(maxsize=4096)
def _load_public_key(public_key: bytes) -> ec.EllipticCurvePublicKey:
    sm2.verify_public_key(public_key)
    return ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, public_key)

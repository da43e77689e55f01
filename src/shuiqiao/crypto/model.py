"""What a cipher suite offers to the rest of the product: computed by software here, by an HSM elsewhere.

Public keys and signatures are fixed-size raw bytes: Ed25519 32 and 64; SM2 65 (0x04 || x || y) and 64 (r || s).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final, Protocol

from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.base.ids import Entropy
from shuiqiao.crypto.kdf import SEED_BYTES, child_seed

KEY_ID_BYTES = 16
"""A key id (COSE kid) is the first 16 bytes of the suite hash of the raw public key."""


def provider_failed(provider: str, error: Exception) -> Unavailable:
    """Return the error of a provider that gave no verdict: it stops this node and refuses nothing."""
    return Unavailable(
        "crypto.provider_failed", f"{provider} failed and gave no verdict: {type(error).__name__}: {error}"
    )


class SuiteName(StrEnum):
    """The two suites, chosen once per network in its genesis."""

    INTL = "intl"
    GM = "gm"


SUITE_HASHES: Final = {SuiteName.INTL: "sha256", SuiteName.GM: "sm3"}
"""The hash of each suite, for callers that tell the two apart without loading a provider."""


class SigningKey(Protocol):
    """A private signing key, in this process or in a device."""

    @property
    def public_key(self) -> bytes:
        """The raw public key."""
        ...

    @property
    def key_id(self) -> bytes:
        """The first 16 bytes of the suite hash of the public key."""
        ...

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of a message."""
        ...


class SealingKey(Protocol):
    """A private key to which others seal."""

    @property
    def public_key(self) -> bytes:
        """The raw public key (X25519 32 bytes, SM2 65 bytes)."""
        ...

    def open_sealed(self, sealed: bytes, *, associated_data: bytes) -> bytes:
        """Return the plaintext.

        Raises IntegrityError (``crypto.seal_broken``), InvalidInput (``crypto.sealed_too_large``), Unavailable
        (``crypto.provider_failed``) where the provider gave no verdict.
        """
        ...


class CipherSuite(Protocol):
    """One suite: hash, signature, sealing. Stateless and safe to share between threads.

    A suite says what is its own; what follows from that, the same for every suite, stands here.
    """

    name: SuiteName
    cose_algorithm: int
    """COSE algorithm number of the signature (-19 Ed25519, -65537 SM2 with SM3)."""
    hash_name: str
    """Name for ``hashlib.new``: sha256 or sm3."""
    verifying_provider: str
    """Name and version of the one library that verifies signatures inside consensus."""

    def digest(self, data: bytes) -> bytes:
        """Return the 32-byte suite hash."""
        ...

    def new_hash(self) -> Any:
        """Return a fresh hashlib object of the suite hash."""
        return hashlib.new(self.hash_name)

    def generate_signing_key(self, entropy: Entropy) -> SigningKey:
        """Make a signing key from 32 injected random bytes."""
        return self.signing_key_from_seed(entropy(SEED_BYTES))

    def signing_key_from_seed(self, seed: bytes) -> SigningKey:
        """Derive the signing key that a 32-byte seed stands for; raises InvalidInput (``crypto.seed_length``)."""
        ...

    def generate_sealing_key(self, entropy: Entropy) -> SealingKey:
        """Make a sealing key from 32 injected random bytes."""
        return self.sealing_key_from_seed(entropy(SEED_BYTES))

    def sealing_key_from_seed(self, seed: bytes) -> SealingKey:
        """Derive the sealing key that a 32-byte seed stands for; raises InvalidInput (``crypto.seed_length``)."""
        ...

    def derive_seed(self, seed: bytes, *, label: str, context: bytes) -> bytes:
        """Return a 32-byte child seed (HKDF over the suite hash, info = label || 0x00 || context)."""
        return child_seed(seed, hash_name=self.hash_name, label=label, context=context)

    def key_id(self, public_key: bytes) -> bytes:
        """Return the first 16 bytes of the suite hash of a raw public key."""
        return self.digest(public_key)[:KEY_ID_BYTES]

    def verify_signature(self, *, public_key: bytes, message: bytes, signature: bytes) -> None:
        """Return if a signature holds.

        Raises IntegrityError (``crypto.signature_invalid``), and Unavailable (``crypto.provider_failed``) for anything
        else that the provider does: that is no verdict on the signature.
        """
        ...

    def verify_signatures(self, items: Sequence[tuple[bytes, bytes, bytes]]) -> list[str | None]:
        """Verify many (public key, message, signature), each by itself, for a thread or process that does only that.

        Returns one entry per item in order: None where the signature holds, else the error code. Plain values,
        so that they cross a process border; never one equation for many, on which nodes could part.
        """
        return [self._signature_problem(*item) for item in items]

    def _signature_problem(self, public_key: bytes, message: bytes, signature: bytes) -> str | None:
        try:
            self.verify_signature(public_key=public_key, message=message, signature=signature)
        except IntegrityError as error:
            return error.code
        return None

    def verify_signing_key(self, public_key: bytes) -> None:
        """Return if raw bytes are an acceptable signing key, else raise InvalidInput ``crypto.public_key_invalid``."""
        ...

    def verify_sealing_key(self, public_key: bytes) -> None:
        """Return if one can seal to raw bytes, else raise InvalidInput ``crypto.public_key_invalid``."""
        ...

    def seal(self, plaintext: bytes, *, recipient: bytes, associated_data: bytes) -> bytes:
        """Encrypt to a recipient's raw sealing key, bound to associated data (form: ``sealing``).

        Raises InvalidInput (``crypto.public_key_invalid``, ``crypto.plaintext_too_large``,
        ``crypto.associated_data_too_large``), Unavailable (``crypto.provider_failed``).
        """
        ...

"""Authenticated encryption of the two suites: AES-256-GCM and SM4-GCM (RFC 8998), both from ``cryptography``.

Ciphertexts carry their 16-byte tag at the end. A key is used for one message or with a fresh random nonce; choosing
both is the caller's part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

if TYPE_CHECKING:
    from collections.abc import Callable

NONCE_BYTES = 12
TAG_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthenticatedCipher:
    """One block cipher in Galois/counter mode with 12-byte nonces and 16-byte tags."""

    name: str
    """As written into files: ``aes-256-gcm`` or ``sm4-gcm``."""
    key_bytes: int
    algorithm: Callable[[bytes], algorithms.AES | algorithms.SM4]

    def encrypt(self, plaintext: bytes, *, key: bytes, nonce: bytes, associated_data: bytes) -> bytes:
        """Return ciphertext and tag."""
        encryptor = Cipher(self.algorithm(key), modes.GCM(nonce)).encryptor()
        encryptor.authenticate_additional_data(associated_data)
        return encryptor.update(plaintext) + encryptor.finalize() + encryptor.tag

    def decrypt(self, ciphertext: bytes, *, key: bytes, nonce: bytes, associated_data: bytes) -> bytes:
        """Return the plaintext; raises cryptography's InvalidTag if anything was changed or the key is another."""
        if len(ciphertext) < TAG_BYTES:
            raise InvalidTag
        body, tag = ciphertext[:-TAG_BYTES], ciphertext[-TAG_BYTES:]
        decryptor = Cipher(self.algorithm(key), modes.GCM(nonce, tag)).decryptor()
        decryptor.authenticate_additional_data(associated_data)
        return decryptor.update(body) + decryptor.finalize()


AES_256_GCM = AuthenticatedCipher(name="aes-256-gcm", key_bytes=32, algorithm=algorithms.AES)
SM4_GCM = AuthenticatedCipher(name="sm4-gcm", key_bytes=16, algorithm=algorithms.SM4)

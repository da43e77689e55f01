"""Authenticated encryption, and the byte form of a sealed message, the same for both suites.

The ciphers are AES-256-GCM and SM4-GCM (RFC 8998), both from ``cryptography``. Ciphertexts carry their 16-byte tag at
the end. A key is used for one message or with a fresh random nonce; choosing both is the caller's part.

    sealed  = header || ciphertext || tag16
    header  = "SQSEAL" || version u8 = 1 || suite u8 (1 intl, 2 gm)
              || encapsulation length u16 || encapsulation || nonce12
    authenticated = header || recipient's public key || associated data

The encapsulation is what lets the recipient find the message key: an ephemeral X25519 key (32 bytes) in ``intl``, the
SM2 encryption of the SM4 key (113 bytes, C1C3C2) in ``gm``. Lengths are fixed per suite, so one message has one form.
The recipient's key is authenticated too: a recipient cannot pass the ciphertext on as if it had been sealed to another.
Does not sign: the sender signs the sealed bytes where it matters who sent them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto.model import SuiteName

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

SUITE_CIPHERS: Final = {SuiteName.INTL: AES_256_GCM, SuiteName.GM: SM4_GCM}
"""The cipher of each suite, for what is encrypted under a key that is there already."""

MAX_PLAINTEXT_BYTES = 64 * 1024 * 1024
"""In bytes: about 100,000 invoices with their proofs. A message is held in memory as a whole, several times over."""

MAX_ASSOCIATED_DATA_BYTES = 64 * 1024
"""In bytes: ids and addresses are bound, not documents."""

_MAGIC = b"SQSEAL"
_VERSION = 1
_PREFIX_BYTES = len(_MAGIC) + 4


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeForm:
    """What distinguishes the sealed messages of one suite."""

    suite_number: int
    encapsulation_bytes: int
    cipher: AuthenticatedCipher

    @property
    def prefix(self) -> bytes:
        """Return the fixed first bytes."""
        return _MAGIC + bytes([_VERSION, self.suite_number]) + self.encapsulation_bytes.to_bytes(2, "big")

    @property
    def header_bytes(self) -> int:
        """Return the length of the header."""
        return _PREFIX_BYTES + self.encapsulation_bytes + NONCE_BYTES

    def seal(
        self, plaintext: bytes, *, key: bytes, encapsulation: bytes, recipient: bytes, associated_data: bytes
    ) -> bytes:
        """Return a sealed message. encapsulation: what gives the message key to the recipient."""
        nonce = system_entropy(NONCE_BYTES)
        header = self.prefix + encapsulation + nonce
        authenticated = header + recipient + associated_data
        return header + self.cipher.encrypt(plaintext, key=key, nonce=nonce, associated_data=authenticated)


INTL_ENVELOPE = EnvelopeForm(suite_number=1, encapsulation_bytes=32, cipher=AES_256_GCM)
GM_ENVELOPE = EnvelopeForm(suite_number=2, encapsulation_bytes=113, cipher=SM4_GCM)


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """A sealed message taken apart."""

    form: EnvelopeForm
    header: bytes
    ciphertext: bytes

    @property
    def encapsulation(self) -> bytes:
        """What gives the message key to the recipient."""
        return self.header[_PREFIX_BYTES:-NONCE_BYTES]

    def open(self, *, key: bytes, recipient: bytes, associated_data: bytes) -> bytes:
        """Return the plaintext; raises InvalidTag if anything was changed or the key is another."""
        authenticated = self.header + recipient + associated_data
        nonce = self.header[-NONCE_BYTES:]
        return self.form.cipher.decrypt(self.ciphertext, key=key, nonce=nonce, associated_data=authenticated)


def decode_envelope(sealed: bytes, *, form: EnvelopeForm) -> Envelope:
    """Take a sealed message apart.

    Raises InvalidInput (``crypto.sealed_too_large``) for oversize and IntegrityError (``crypto.seal_broken``) for what
    is not a sealed message of this version and suite.
    """
    limit = form.header_bytes + MAX_PLAINTEXT_BYTES + TAG_BYTES
    if len(sealed) > limit:
        raise InvalidInput("crypto.sealed_too_large", f"{len(sealed)} sealed bytes where at most {limit} are allowed")
    if len(sealed) < form.header_bytes + TAG_BYTES:
        raise seal_broken(f"{len(sealed)} bytes are fewer than header and tag take")
    prefix = sealed[:_PREFIX_BYTES]
    if prefix != form.prefix:
        raise seal_broken(f"it starts with {prefix.hex()} where this suite's messages start with {form.prefix.hex()}")
    return Envelope(form=form, header=sealed[: form.header_bytes], ciphertext=sealed[form.header_bytes :])


def verify_sealable(plaintext: bytes, *, associated_data: bytes) -> None:
    """Raise InvalidInput (``crypto.plaintext_too_large``, ``crypto.associated_data_too_large``) beyond the limits."""
    if len(plaintext) > MAX_PLAINTEXT_BYTES:
        raise InvalidInput(
            "crypto.plaintext_too_large", f"{len(plaintext)} bytes to seal where at most {MAX_PLAINTEXT_BYTES} fit"
        )
    if len(associated_data) > MAX_ASSOCIATED_DATA_BYTES:
        raise InvalidInput(
            "crypto.associated_data_too_large",
            f"{len(associated_data)} bytes of associated data where at most {MAX_ASSOCIATED_DATA_BYTES} are allowed",
        )


def seal_broken(reason: str = "it was changed, or sealed to another key or other associated data") -> IntegrityError:
    """Return the one error of a sealed message that does not open."""
    return IntegrityError("crypto.seal_broken", f"the sealed message does not open: {reason}")

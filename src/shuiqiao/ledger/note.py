"""The checkpoint: a C2SP signed note (c2sp.org/signed-note) of exactly three lines (c2sp.org/tlog-checkpoint).

::

    <origin>
    <size in decimal, no leading zero>
    <root in base64>

    — <origin> <base64(4-byte key hash || signature)>

The key name is the origin, as tlog-checkpoint recommends for a log. The key hash is
``H(name || 0x0A || type || public key)[:4]``: in an ``intl`` network H is SHA-256 and the type is 0x01 (Ed25519); in a
``gm`` network H is SM3 and the type is 0xFF followed by the ASCII text ``shuiqiao/sm2-sm3-v1``, the public key is
0x04 || x || y, and the signature is raw r || s with user id 1234567812345678 [LEDGER-NOTE-3].

Stricter than C2SP on purpose: a receipt must fail when any byte of it changes, so unknown signatures, extension lines
and any second spelling are refused, not ignored [LEDGER-NOTE-2]. It does not decide whether a size or root is right.
"""

from __future__ import annotations

import base64
import binascii

from shuiqiao.base.errors import IntegrityError, ShuiqiaoError
from shuiqiao.crypto.model import CipherSuite, SigningKey, SuiteName
from shuiqiao.ledger.log import HASH_BYTES, MAX_TREE_SIZE
from shuiqiao.ledger.model import Checkpoint

MAX_NOTE_BYTES = 4096
"""Three lines and one signature take under 400 bytes; witnesses will need more."""

KEY_HASH_BYTES = 4
_SIGNATURE_BYTES = 64
_MAX_SIZE_DIGITS = len(str(MAX_TREE_SIZE))
_SIGNATURE_LINE = "— "
_TEXT_LINES = 3
_KEY_TYPES = {SuiteName.INTL: b"\x01", SuiteName.GM: b"\xffshuiqiao/sm2-sm3-v1"}


def sign_checkpoint(*, origin: str, size: int, root: bytes, key: SigningKey, suite: CipherSuite) -> Checkpoint:
    """Return the checkpoint of a log, signed under the name of its origin [LEDGER-NOTE-1].

    Raises ValueError for an origin that cannot be a key name, or a size or root out of range.
    """
    text = _encode_text(origin=origin, size=size, root=root)
    signature = key.sign(text)
    blob = note_key_hash(origin, public_key=key.public_key, suite=suite) + signature
    note = text + b"\n" + f"{_SIGNATURE_LINE}{origin} {_base64(blob)}\n".encode()
    return Checkpoint(origin=origin, size=size, root=root, note=note)


def verify_checkpoint(note: bytes, *, origin: str, operator_key: bytes, suite: CipherSuite) -> Checkpoint:
    """Return what a note says, once it is of the one form and the operator's signature holds.

    Raises IntegrityError ``ledger.checkpoint_malformed``, ``ledger.checkpoint_foreign`` (another origin or key) or
    ``ledger.checkpoint_signature_invalid``.
    """
    checkpoint, name, blob = _decode(note)
    if checkpoint.origin != origin or name != origin:
        raise IntegrityError("ledger.checkpoint_foreign", f"the checkpoint is of {name[:100]!r}, not of {origin!r}")
    expected = note_key_hash(origin, public_key=operator_key, suite=suite)
    if blob[:KEY_HASH_BYTES] != expected:
        raise IntegrityError(
            "ledger.checkpoint_foreign",
            f"the checkpoint is signed by key hash {blob[:KEY_HASH_BYTES].hex()}, the operator's is {expected.hex()}",
        )
    text = _encode_text(origin=origin, size=checkpoint.size, root=checkpoint.root)
    try:
        suite.verify_signature(public_key=operator_key, message=text, signature=blob[KEY_HASH_BYTES:])
    except ShuiqiaoError as error:
        raise IntegrityError(
            "ledger.checkpoint_signature_invalid", f"the operator's signature does not hold: {error.message}"
        ) from error
    return checkpoint


def note_key_hash(name: str, *, public_key: bytes, suite: CipherSuite) -> bytes:
    """Return the four bytes by which a note names a key [LEDGER-NOTE-3]."""
    return suite.digest(name.encode() + b"\n" + _KEY_TYPES[suite.name] + public_key)[:KEY_HASH_BYTES]


def _encode_text(*, origin: str, size: int, root: bytes) -> bytes:
    if not _is_key_name(origin) or not 0 <= size <= MAX_TREE_SIZE or len(root) != HASH_BYTES:
        raise ValueError(f"{origin[:100]!r}, size {size} and a root of {len(root)} bytes make no checkpoint")
    return f"{origin}\n{size}\n{_base64(root)}\n".encode()


def _decode(note: bytes) -> tuple[Checkpoint, str, bytes]:
    """Return the checkpoint, the signer's name, and key hash with signature, refusing any other spelling."""
    lines = _lines(note)
    origin, size_text, root_text, blank, signature_line = lines
    root = _decode_base64(root_text, length=HASH_BYTES)
    size = _decode_size(size_text)
    if blank or not _is_key_name(origin):
        raise _malformed("it does not begin with an origin, a size, a root and a blank line")
    dash, name, blob_text = _split_three(signature_line)
    if dash + " " != _SIGNATURE_LINE:
        raise _malformed("its last line is not a signature line")
    blob = _decode_base64(blob_text, length=KEY_HASH_BYTES + _SIGNATURE_BYTES)
    return Checkpoint(origin=origin, size=size, root=root, note=note), name, blob


def _lines(note: bytes) -> list[str]:
    if len(note) > MAX_NOTE_BYTES:
        raise _malformed(f"it has {len(note)} bytes where {MAX_NOTE_BYTES} are allowed")
    try:
        *lines, rest = note.decode().split("\n")
    except UnicodeDecodeError as error:
        raise _malformed("it is not UTF-8") from error
    if rest or len(lines) != _TEXT_LINES + 2:
        raise _malformed(f"it has {len(lines)} lines where three of text, a blank and one signature are allowed")
    return lines


def _split_three(line: str) -> tuple[str, str, str]:
    parts = line.split(" ")
    if len(parts) != 3:  # noqa: PLR2004 - dash, name, signature
        raise _malformed("its signature line is not: dash, name, base64")
    return parts[0], parts[1], parts[2]


def _decode_size(text: str) -> int:
    is_decimal = text.isascii() and text.isdigit() and len(text) <= _MAX_SIZE_DIGITS
    if not is_decimal or str(int(text)) != text or int(text) > MAX_TREE_SIZE:
        raise _malformed("its second line is not a size in decimal without leading zeros")
    return int(text)


def _decode_base64(text: str, *, length: int) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed("a line of it is not base64") from error
    # Base64 leaves spare bits in its last group: only the spelling with zeros there is accepted.
    if len(data) != length or _base64(data) != text:
        raise _malformed(f"a line of it is not the base64 form of {length} bytes")
    return data


def _is_key_name(name: str) -> bool:
    return bool(name) and name.isprintable() and "+" not in name and not any(char.isspace() for char in name)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _malformed(reason: str) -> IntegrityError:
    return IntegrityError("ledger.checkpoint_malformed", f"not a three-line checkpoint of one signature: {reason}")

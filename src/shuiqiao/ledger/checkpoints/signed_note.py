r"""The form of a C2SP signed note (c2sp.org/signed-note) whose text is a checkpoint (c2sp.org/tlog-checkpoint).

::

    note = text "\n" 1*line                      text = origin "\n" size "\n" base64(root) "\n"
    line = U+2014 " " name " " base64(key hash || signature) "\n"

There is one spelling of a note, stricter than C2SP on purpose [LEDGER-NOTE-2]. Nothing here verifies a signature or
decides who may sign: ``ledger/checkpoints/note.py`` does.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.visible import HIDDEN
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.ledger.log.tree import HASH_BYTES, MAX_TREE_SIZE, verify_consistency

MAX_COSIGNATURES = 64
"""Most witnesses of a log; C2SP asks verifiers to accept at least 16 signatures."""

MAX_SIGNED_NOTE_BYTES = 16_384
"""64 cosignature lines of 216 bytes, the operator's line and the text take 14,200 bytes."""

MAX_LINE_BYTES = 512
"""Twice the cosignature line of a witness with the longest name."""

KEY_HASH_BYTES = 4
SIGNATURE_BYTES = 64
TIME_BYTES = 8
"""A cosignature carries its time before its signature."""

_BLOB_LENGTHS = {KEY_HASH_BYTES + SIGNATURE_BYTES, KEY_HASH_BYTES + TIME_BYTES + SIGNATURE_BYTES}
_MAX_SIZE_DIGITS = len(str(MAX_TREE_SIZE))
_KEY_NAME = re.compile(rf"[^+\s{HIDDEN}]+")
_DASH = "—"
_TEXT_LINES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeHead:
    """What the text of a note says."""

    origin: str
    size: int
    root: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint(TreeHead):
    """A tree head with the note that says it."""

    note: bytes
    """The complete signed note as published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureLine:
    """One signature of a note, not verified."""

    name: str
    key_hash: bytes
    signature: bytes
    """64 bytes, before which a cosignature has the 8 of its time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedNote:
    """The parts of a note, nothing of them verified."""

    text: bytes
    head: TreeHead
    lines: tuple[SignatureLine, ...]


def is_key_name(name: str) -> bool:
    """Return whether a text may be an origin or the name of a key: not empty, all visible, without spaces and plus."""
    return _KEY_NAME.fullmatch(name) is not None


def key_hash(name: str, *, key_type: bytes, public_key: bytes, suite: CipherSuite) -> bytes:
    """Return the four bytes by which a note names a key [LEDGER-NOTE-3] [NOTE-3]."""
    return suite.digest(name.encode() + b"\n" + key_type + public_key)[:KEY_HASH_BYTES]


def encode_text(*, origin: str, size: int, root: bytes) -> bytes:
    """Return the three lines of a checkpoint, which is what its signers sign [NOTE-1].

    Raises ValueError for an origin that cannot be a key name, or a size or root out of range.
    """
    if not is_key_name(origin) or not 0 <= size <= MAX_TREE_SIZE or len(root) != HASH_BYTES:
        raise ValueError(f"{origin[:100]!r}, size {size} and a root of {len(root)} bytes make no checkpoint")
    return f"{origin}\n{size}\n{_base64(root)}\n".encode()


def decode_text(text: bytes) -> TreeHead:
    """Return what the three lines of a checkpoint say; raises IntegrityError ``ledger.checkpoint_malformed``."""
    lines = _lines(text)
    if len(lines) != _TEXT_LINES or not is_key_name(lines[0]):
        raise malformed("it does not begin with an origin, a size and a root")
    return TreeHead(origin=lines[0], size=_decode_size(lines[1]), root=_decode_base64(lines[2], lengths={HASH_BYTES}))


def encode_line(line: SignatureLine) -> bytes:
    """Return a signature line with its newline."""
    return f"{_DASH} {line.name} {_base64(line.key_hash + line.signature)}\n".encode()


def decode_line(data: bytes) -> SignatureLine:
    """Return the parts of one signature line with its newline; raises ``ledger.checkpoint_malformed``."""
    if len(data) > MAX_LINE_BYTES:
        raise malformed(f"a signature line has {len(data)} bytes where {MAX_LINE_BYTES} are allowed")
    lines = _lines(data)
    if len(lines) != 1:
        raise malformed("a signature line is not one line")
    return _decode_line(lines[0])


def decode_signed_note(note: bytes) -> SignedNote:
    """Return the parts of a note, refusing any second spelling; raises IntegrityError ``ledger.checkpoint_malformed``.

    Verified are the form and the bounds only [NOTE-2].
    """
    if len(note) > MAX_SIGNED_NOTE_BYTES:
        raise malformed(f"it has {len(note)} bytes where {MAX_SIGNED_NOTE_BYTES} are allowed")
    text, blank, rest = note.partition(b"\n\n")
    head = decode_text(text + b"\n")
    lines = _lines(rest)
    if not blank or not 1 <= len(lines) <= MAX_COSIGNATURES + 1:
        raise malformed(f"after a blank line it has {len(lines)} lines, not 1 to {MAX_COSIGNATURES + 1} signatures")
    return SignedNote(text=text + b"\n", head=head, lines=tuple(_decode_line(line) for line in lines))


def read_checkpoint(note: bytes) -> Checkpoint:
    """Return what a note says, its signatures unverified; raises IntegrityError ``ledger.checkpoint_malformed``."""
    head = decode_signed_note(note).head
    return Checkpoint(origin=head.origin, size=head.size, root=head.root, note=note)


def verify_extension(old: TreeHead, new: TreeHead, *, path: Sequence[bytes], hash_name: str) -> None:
    """Return if the log of a newer head begins with that of an older one; raises what ``verify_consistency`` raises."""
    verify_consistency(
        old_size=old.size, old_root=old.root, new_size=new.size, new_root=new.root, path=path, hash_name=hash_name
    )


def malformed(reason: str) -> IntegrityError:
    """Return the error for bytes that are not a note in its one spelling."""
    return IntegrityError("ledger.checkpoint_malformed", f"not a signed three-line checkpoint: {reason}")


def _lines(data: bytes) -> list[str]:
    if not data:
        return []
    try:
        *lines, rest = data.decode().split("\n")
    except UnicodeDecodeError as error:
        raise malformed("it is not UTF-8") from error
    if rest:
        raise malformed("its last line does not end with a newline")
    return lines


def _decode_line(line: str) -> SignatureLine:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != _DASH or not is_key_name(parts[1]):  # noqa: PLR2004 - dash, name, signature
        raise malformed("a signature line is not: dash, name, base64")
    blob = _decode_base64(parts[2], lengths=_BLOB_LENGTHS)
    return SignatureLine(name=parts[1], key_hash=blob[:KEY_HASH_BYTES], signature=blob[KEY_HASH_BYTES:])


def _decode_size(text: str) -> int:
    is_decimal = text.isascii() and text.isdigit() and len(text) <= _MAX_SIZE_DIGITS
    if not is_decimal or str(int(text)) != text or int(text) > MAX_TREE_SIZE:
        raise malformed("its second line is not a size in decimal without leading zeros")
    return int(text)


def _decode_base64(text: str, *, lengths: set[int]) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise malformed("a line of it is not base64") from error
    # Base64 leaves spare bits in its last group: only the spelling with zeros there is accepted.
    if len(data) not in lengths or _base64(data) != text:
        raise malformed(f"a line of it is not the base64 form of {' or '.join(map(str, sorted(lengths)))} bytes")
    return data


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()

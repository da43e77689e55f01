r"""The request to a witness and its answer as bytes (c2sp.org/tlog-witness, ``add-checkpoint``).

::

    request = "old " decimal(old size) "\n"  0*63(base64(hash) "\n")  "\n"  note
    answer  = 1*line                          signature lines of the witness

It says how the bytes read, not which are true: ``witness.py`` decides. Which status a refusal has over HTTP is
in docs/spec/checkpoints.md [WITNESS-8].
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from shuiqiao.base.errors import InvalidInput
from shuiqiao.ledger.checkpoints.signed_note import MAX_SIGNED_NOTE_BYTES
from shuiqiao.ledger.log.tree import HASH_BYTES, MAX_TREE_SIZE

MAX_REQUEST_BYTES: Final = 20_000
"""A note of 16,384 bytes, 63 hashes in base64 and the size."""

MAX_PROOF_LINES: Final = 63
_OLD = "old "
_MAX_SIZE_DIGITS = len(str(MAX_TREE_SIZE))


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessRequest:
    """A checkpoint to be cosigned, nothing of it verified."""

    old_size: int
    proof: tuple[bytes, ...]
    note: bytes


def encode_request(*, old_size: int, proof: Sequence[bytes], note: bytes) -> bytes:
    """Return the body of an ``add-checkpoint`` request."""
    lines = [f"{_OLD}{old_size}", *(base64.b64encode(item).decode() for item in proof), "", ""]
    return "\n".join(lines).encode() + note


def decode_request(body: bytes) -> WitnessRequest:
    """Return the parts of an ``add-checkpoint`` request; raises InvalidInput ``ledger.witness_request_malformed``."""
    if len(body) > MAX_REQUEST_BYTES:
        raise _malformed(f"it has {len(body)} bytes where {MAX_REQUEST_BYTES} are allowed")
    head, blank, note = body.partition(b"\n\n")
    try:
        first, *proof = head.decode("ascii").split("\n")
    except UnicodeDecodeError as error:
        raise _malformed("its first lines are not ASCII") from error
    if not blank or not 0 < len(note) <= MAX_SIGNED_NOTE_BYTES or len(proof) > MAX_PROOF_LINES:
        raise _malformed("it is not a size, at most 63 hashes, an empty line and a note")
    return WitnessRequest(old_size=_size(first), proof=tuple(map(_hash, proof)), note=note)


def _size(line: str) -> int:
    text = line.removeprefix(_OLD)
    is_decimal = line.startswith(_OLD) and text.isdigit() and len(text) <= _MAX_SIZE_DIGITS
    if not is_decimal or str(int(text)) != text:
        raise _malformed("its first line is not: old, size")
    return int(text)


def _hash(line: str) -> bytes:
    try:
        data = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError) as error:
        raise _malformed("a line of its proof is not base64") from error
    if len(data) != HASH_BYTES or base64.b64encode(data).decode() != line:
        raise _malformed(f"a line of its proof is not the base64 form of {HASH_BYTES} bytes")
    return data


def _malformed(reason: str) -> InvalidInput:
    return InvalidInput("ledger.witness_request_malformed", f"not a request to a witness: {reason}")

"""The receipt: one small file by which an outsider checks a transaction with the genesis alone.

::

    receipt (version 3) = {version, transaction, index, path, entry, entry_index, entry_path, checkpoint, epochs, state,
                           digest}
    epoch step          = {epoch, proof, entry, path, checkpoint}
    state               = {entry, path, claims}, and a claim {key, value, proof}

in deterministic CBOR. An epoch step shows the epoch document that was in force behind the last leaf of a checkpoint,
signed as the epoch before asks for. ``state`` shows the last leaf of the receipt's own checkpoint, which says of which
epoch it is, and values of the state behind it, and their absence. Both entries are that last leaf, so their index is
the checkpoint's size less one. ``digest`` is the suite hash of the receipt without it: a proof of absence holds for
more than one key, and a receipt in which any byte was changed must not verify, even where what it then says is true.

This file is about the form; ``making`` makes receipts of an open copy, ``verification`` judges them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import IntegrityError
from shuiqiao.crypto.model import SUITE_HASHES
from shuiqiao.ledger.checkpoints.signed_note import MAX_SIGNED_NOTE_BYTES
from shuiqiao.ledger.log.entry import MAX_ENTRY_BYTES
from shuiqiao.ledger.log.tree import HASH_BYTES, MAX_PATH, MAX_TREE_SIZE, hash_function, inclusion_path
from shuiqiao.ledger.model import MAX_TRANSACTION_BYTES
from shuiqiao.ledger.state.overlay import MAX_KEY_BYTES
from shuiqiao.ledger.state.state_map import StateProof

if TYPE_CHECKING:
    from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
    from shuiqiao.ledger.log.tree import HashReader

RECEIPT_VERSION = 3
MAX_RECEIPT_BYTES = 1 << 20
"""Most receipts have 1 to 4 kB; a megabyte holds the largest transaction, 16 values of the state and a long walk."""

MAX_EPOCH_STEPS = 512
"""Steps over epochs; a step has 1 to 2 kB in a network of few members, so that bytes bound those of many sooner."""

MAX_STATE_CLAIMS = 16
MAX_EPOCH_BYTES = 16_384
"""Two sets of 64 members with their keys take 13 kB."""

MAX_STATE_VALUE_BYTES = 65_536

_Path = Annotated[
    tuple[Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)], ...], Meta(max_length=MAX_PATH)
]
_Entry = Annotated[bytes, Meta(min_length=1, max_length=MAX_ENTRY_BYTES)]
_Note = Annotated[bytes, Meta(min_length=1, max_length=MAX_SIGNED_NOTE_BYTES)]
_Index = Annotated[int, Meta(ge=0, lt=MAX_TREE_SIZE)]
_Key = Annotated[str, Meta(min_length=1, max_length=MAX_KEY_BYTES, pattern=r"^[\x00-\x7f]*\Z")]


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A map in a receipt: no field is left out, and there is no other [LEDGER-RECEIPT-1]."""


class LastEntry(_Part, frozen=True, kw_only=True):
    """The block entry that is the last leaf under a checkpoint, with its inclusion path."""

    entry: _Entry
    path: _Path


class EpochStep(LastEntry, frozen=True, kw_only=True):
    """One step of the walk from the genesis to today."""

    epoch: Annotated[bytes, Meta(min_length=1, max_length=MAX_EPOCH_BYTES)]
    """The epoch document: an encoded state value."""
    proof: StateProof
    checkpoint: _Note
    """A note that is valid under the epoch before."""


class StateClaim(_Part, frozen=True, kw_only=True):
    """What the state holds at a key: an encoded value, or None for nothing."""

    key: _Key
    value: Annotated[bytes, Meta(min_length=1, max_length=MAX_STATE_VALUE_BYTES)] | None
    proof: StateProof


class StateEvidence(LastEntry, frozen=True, kw_only=True):
    """The last leaf of the receipt's checkpoint, and what the state behind it holds at some keys, in their order."""

    claims: Annotated[tuple[StateClaim, ...], Meta(max_length=MAX_STATE_CLAIMS)]


class Receipt(_Part, frozen=True, kw_only=True):
    """The parts of a receipt, nothing of them verified."""

    transaction: Annotated[bytes, Meta(min_length=1, max_length=MAX_TRANSACTION_BYTES)]
    index: _Index
    path: _Path
    entry: _Entry
    entry_index: _Index
    entry_path: _Path
    checkpoint: _Note
    """The signed note."""
    epochs: Annotated[tuple[EpochStep, ...], Meta(max_length=MAX_EPOCH_STEPS)]
    state: StateEvidence


def encode_receipt(receipt: Receipt, *, hash_name: str) -> bytes:
    """Return the bytes of a receipt [LEDGER-RECEIPT-1]; hash_name: that of the network's suite."""
    fields = {"version": RECEIPT_VERSION, **msgspec.to_builtins(receipt, builtin_types=(bytes,))}
    return encode_cbor({**fields, "digest": _digest(fields, hash_name=hash_name)})


def _digest(fields: Mapping[str, Any], *, hash_name: str) -> bytes:
    """Return the hash of all fields but the digest, in their one encoding."""
    return hash_function(hash_name)(encode_cbor(fields))


def build_receipt(
    *,
    transaction: bytes,
    index: int,
    entry: bytes,
    entry_index: int,
    reader: HashReader,
    checkpoint: Checkpoint,
    hash_name: str,
    state: StateEvidence,
    epochs: Sequence[EpochStep] = (),
) -> bytes:
    """Return the receipt bytes of a transaction, its two paths leading to the root of a checkpoint.

    Raises InvalidInput ``ledger.index_unknown`` if the checkpoint does not reach to the block entry.
    """
    return encode_receipt(
        Receipt(
            transaction=transaction,
            index=index,
            path=inclusion_path(reader, index=index, size=checkpoint.size, hash_name=hash_name),
            entry=entry,
            entry_index=entry_index,
            entry_path=inclusion_path(reader, index=entry_index, size=checkpoint.size, hash_name=hash_name),
            checkpoint=checkpoint.note,
            epochs=tuple(epochs),
            state=state,
        ),
        hash_name=hash_name,
    )


def decode_receipt(data: bytes, *, hash_name: str) -> Receipt:
    """Return the parts of receipt bytes, strictly; verifies nothing but their digest.

    Raises InvalidInput ``base.cbor_too_large``, ``base.cbor_malformed``, ``base.cbor_not_deterministic``, or
    IntegrityError ``ledger.receipt_malformed``, ``ledger.receipt_version_unknown``, ``ledger.receipt_altered``,
    ``ledger.receipt_suite_other``.
    """
    fields = decode_cbor_strict(data, max_bytes=MAX_RECEIPT_BYTES)
    if type(fields) is not dict or type(fields.get("version")) is not int:
        raise malformed("it is not a map with a version")
    if fields["version"] != RECEIPT_VERSION:
        raise IntegrityError(
            "ledger.receipt_version_unknown",
            f"the receipt has version {fields['version']}, this program knows {RECEIPT_VERSION}",
        )
    named = fields.pop("digest", None)
    if type(named) is not bytes or not 0 < len(named) <= HASH_BYTES:
        raise malformed(f"digest is not 1 to {HASH_BYTES} bytes")
    try:
        receipt = typed({name: fields[name] for name in fields if name != "version"}, Receipt, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise malformed(f"a field of version {RECEIPT_VERSION} is not allowed: {error}") from error
    keys = [claim.key for claim in receipt.state.claims]
    if keys != sorted(set(keys)):
        raise malformed("claims are in order of key, none twice")
    _require_digest(fields, named, hash_name=hash_name)
    return receipt


def _require_digest(fields: dict[str, Any], named: bytes, *, hash_name: str) -> None:
    digest = _digest(fields, hash_name=hash_name)
    if named == digest:
        return
    for suite, other in SUITE_HASHES.items():
        if other in hashlib.algorithms_available and _digest(fields, hash_name=other) == named:
            raise IntegrityError(
                "ledger.receipt_suite_other",
                f"the receipt is of a network of suite {suite} ({other}), the genesis is of one by {hash_name}",
            )
    raise IntegrityError(
        "ledger.receipt_altered",
        f"the receipt was altered or damaged: its digest is {digest.hex()}, and it says {named.hex()}",
    )


def malformed(reason: str) -> IntegrityError:
    """Return the error for bytes that are not a receipt."""
    return IntegrityError("ledger.receipt_malformed", f"the bytes are not a receipt: {reason}")

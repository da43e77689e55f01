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

This file is about the form and about making receipts; ``receipt_verification`` judges them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor
from shuiqiao.base.errors import IntegrityError
from shuiqiao.crypto.model import SUITE_HASHES
from shuiqiao.ledger.checkpoints.signed_note import MAX_SIGNED_NOTE_BYTES
from shuiqiao.ledger.log.entry import MAX_ENTRY_BYTES
from shuiqiao.ledger.log.tree import HASH_BYTES, MAX_PATH, MAX_TREE_SIZE, hash_function, inclusion_path
from shuiqiao.ledger.model import MAX_TRANSACTION_BYTES
from shuiqiao.ledger.state.overlay import MAX_KEY_BYTES
from shuiqiao.ledger.state.state_map import StateProof, state_proof_from_value, state_proof_value

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

_PLACED = {"entry", "path"}
_FIELDS = {
    "version",
    "transaction",
    "index",
    "path",
    "entry",
    "entry_index",
    "entry_path",
    "checkpoint",
    "epochs",
    "state",
    "digest",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class LastEntry:
    """The block entry that is the last leaf under a checkpoint, with its inclusion path."""

    entry: bytes
    path: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochStep:
    """One step of the walk from the genesis to today."""

    epoch: bytes
    """The epoch document: an encoded state value."""
    proof: StateProof
    last: LastEntry
    checkpoint: bytes
    """A note that is valid under the epoch before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StateClaim:
    """What the state holds at a key: an encoded value, or None for nothing."""

    key: str
    value: bytes | None
    proof: StateProof


@dataclass(frozen=True, slots=True, kw_only=True)
class StateEvidence:
    """The last leaf of the receipt's checkpoint, and what the state behind it holds at some keys."""

    last: LastEntry
    claims: tuple[StateClaim, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The parts of a receipt, nothing of them verified."""

    transaction: bytes
    index: int
    path: tuple[bytes, ...]
    entry: bytes
    entry_index: int
    entry_path: tuple[bytes, ...]
    checkpoint: bytes
    """The signed note."""
    state: StateEvidence
    epochs: tuple[EpochStep, ...] = ()


def encode_receipt(receipt: Receipt, *, hash_name: str) -> bytes:
    """Return the bytes of a receipt [LEDGER-RECEIPT-1]; hash_name: that of the network's suite."""
    fields = {
        "version": RECEIPT_VERSION,
        "transaction": receipt.transaction,
        "index": receipt.index,
        "path": list(receipt.path),
        "entry": receipt.entry,
        "entry_index": receipt.entry_index,
        "entry_path": list(receipt.entry_path),
        "checkpoint": receipt.checkpoint,
        "epochs": [_step_fields(step) for step in receipt.epochs],
        "state": _state_fields(receipt.state),
    }
    return encode_cbor({**fields, "digest": _digest(fields, hash_name=hash_name)})


def _digest(fields: Mapping[str, Any], *, hash_name: str) -> bytes:
    """Return the hash of all fields but the digest, in their one encoding."""
    return hash_function(hash_name)(encode_cbor({name: fields[name] for name in fields if name != "digest"}))


def _step_fields(step: EpochStep) -> dict[str, Any]:
    return {
        "epoch": step.epoch,
        "proof": state_proof_value(step.proof),
        "entry": step.last.entry,
        "path": list(step.last.path),
        "checkpoint": step.checkpoint,
    }


def _state_fields(state: StateEvidence) -> dict[str, Any]:
    return {
        "entry": state.last.entry,
        "path": list(state.last.path),
        "claims": [
            {"key": claim.key, "value": claim.value, "proof": state_proof_value(claim.proof)} for claim in state.claims
        ],
    }


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


def last_entry(entry: bytes, *, reader: HashReader, size: int, hash_name: str) -> LastEntry:
    """Return the entry that is the last of a log of some leaves, with its path."""
    return LastEntry(entry=entry, path=inclusion_path(reader, index=size - 1, size=size, hash_name=hash_name))


def decode_receipt(data: bytes, *, hash_name: str) -> Receipt:
    """Return the parts of receipt bytes, strictly; verifies nothing but their digest.

    Raises InvalidInput ``base.cbor_too_large``, ``base.cbor_malformed``, ``base.cbor_not_deterministic``, or
    IntegrityError ``ledger.receipt_malformed``, ``ledger.receipt_version_unknown``, ``ledger.receipt_altered``,
    ``ledger.state_proof_malformed``.
    """
    fields = decode_cbor_strict(data, max_bytes=MAX_RECEIPT_BYTES)
    if type(fields) is not dict or type(fields.get("version")) is not int:
        raise malformed("it is not a map with a version")
    if fields["version"] != RECEIPT_VERSION:
        raise IntegrityError(
            "ledger.receipt_version_unknown",
            f"the receipt has version {fields['version']}, this program knows {RECEIPT_VERSION}",
        )
    _require_fields(fields, _FIELDS, f"a receipt of version {RECEIPT_VERSION}")
    receipt = Receipt(
        transaction=_bytes(fields, "transaction", limit=MAX_TRANSACTION_BYTES),
        index=_index(fields, "index"),
        path=_path(fields, "path"),
        entry=_bytes(fields, "entry", limit=MAX_ENTRY_BYTES),
        entry_index=_index(fields, "entry_index"),
        entry_path=_path(fields, "entry_path"),
        checkpoint=_bytes(fields, "checkpoint", limit=MAX_SIGNED_NOTE_BYTES),
        epochs=_list(fields, "epochs", limit=MAX_EPOCH_STEPS, decode=_step),
        state=_state(fields["state"]),
    )
    _require_digest(fields, hash_name=hash_name)
    return receipt


def _require_own_suite(fields: dict[str, Any], named: bytes, *, hash_name: str) -> None:
    """Return unless a digest that is not this suite's is another's; raises ``ledger.receipt_suite_other``."""
    for suite, other in SUITE_HASHES.items():
        if other in hashlib.algorithms_available and _digest(fields, hash_name=other) == named:
            raise IntegrityError(
                "ledger.receipt_suite_other",
                f"the receipt is of a network of suite {suite} ({other}), the genesis is of one by {hash_name}",
            )


def _require_digest(fields: dict[str, Any], *, hash_name: str) -> None:
    named, digest = _bytes(fields, "digest", limit=HASH_BYTES), _digest(fields, hash_name=hash_name)
    if named != digest:
        _require_own_suite(fields, named, hash_name=hash_name)
        raise IntegrityError(
            "ledger.receipt_altered",
            f"the receipt was altered or damaged: its digest is {digest.hex()}, and it says {named.hex()}",
            next_step="ask a member of the network for the receipt again",
        )


def _step(fields: Any) -> EpochStep:
    _require_fields(fields, {"epoch", "proof", "checkpoint", *_PLACED}, "an epoch step")
    return EpochStep(
        epoch=_bytes(fields, "epoch", limit=MAX_EPOCH_BYTES),
        proof=state_proof_from_value(fields["proof"]),
        last=_last(fields),
        checkpoint=_bytes(fields, "checkpoint", limit=MAX_SIGNED_NOTE_BYTES),
    )


def _state(fields: Any) -> StateEvidence:
    _require_fields(fields, {"claims", *_PLACED}, "state")
    claims = _list(fields, "claims", limit=MAX_STATE_CLAIMS, decode=_claim)
    keys = [claim.key for claim in claims]
    if keys != sorted(set(keys)):
        raise malformed("claims are in order of key, none twice")
    return StateEvidence(last=_last(fields), claims=claims)


def _claim(fields: Any) -> StateClaim:
    _require_fields(fields, {"key", "value", "proof"}, "a claim")
    key, value = fields["key"], fields["value"]
    if type(key) is not str or not key or not key.isascii() or len(key) > MAX_KEY_BYTES:
        raise malformed(f"a key is not 1 to {MAX_KEY_BYTES} ASCII characters")
    return StateClaim(
        key=key,
        value=None if value is None else _bytes(fields, "value", limit=MAX_STATE_VALUE_BYTES),
        proof=state_proof_from_value(fields["proof"]),
    )


def _last(fields: dict[str, Any]) -> LastEntry:
    return LastEntry(entry=_bytes(fields, "entry", limit=MAX_ENTRY_BYTES), path=_path(fields, "path"))


def _require_fields(fields: Any, expected: set[str], what: str) -> None:
    if type(fields) is not dict or fields.keys() != expected:
        raise malformed(f"{what} has exactly the fields {', '.join(sorted(expected))}")


def _list(fields: dict[str, Any], name: str, *, limit: int, decode: Callable[[Any], Any]) -> tuple[Any, ...]:
    value = fields[name]
    if type(value) is not list or len(value) > limit:
        raise malformed(f"{name} is not a list of at most {limit}")
    return tuple(decode(item) for item in value)


def _bytes(fields: dict[str, Any], name: str, *, limit: int) -> bytes:
    value = fields[name]
    if type(value) is not bytes or not 0 < len(value) <= limit:
        raise malformed(f"{name} is not 1 to {limit} bytes")
    return value


def _index(fields: dict[str, Any], name: str) -> int:
    value = fields[name]
    if type(value) is not int or not 0 <= value < MAX_TREE_SIZE:
        raise malformed(f"{name} is not the index of an entry")
    return value


def _path(fields: dict[str, Any], name: str) -> tuple[bytes, ...]:
    value = fields[name]
    if type(value) is not list or len(value) > MAX_PATH:
        raise malformed(f"{name} is not a list of at most {MAX_PATH} hashes")
    if any(type(item) is not bytes or len(item) != HASH_BYTES for item in value):
        raise malformed(f"{name} holds something other than {HASH_BYTES}-byte hashes")
    return tuple(value)


def malformed(reason: str) -> IntegrityError:
    """Return the error for bytes that are not a receipt."""
    return IntegrityError("ledger.receipt_malformed", f"the bytes are not a receipt: {reason}")

"""Making receipts from an open copy of the ledger: what every engine does once it has a checkpoint that counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import InvalidInput
from shuiqiao.ledger.log.tree import inclusion_path
from shuiqiao.ledger.receipts.receipt import (
    MAX_STATE_CLAIMS,
    EpochStep,
    LastEntry,
    StateClaim,
    StateEvidence,
    build_receipt,
)
from shuiqiao.ledger.receipts.verification import keys_to_prove
from shuiqiao.ledger.state.overlay import MAX_KEY_BYTES
from shuiqiao.ledger.store.state_tree import prove

if TYPE_CHECKING:
    from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
    from shuiqiao.ledger.store.log_reading import LogReading
    from shuiqiao.ledger.store.state_view import SnapshotState

MAX_LEAVES_BEHIND: Final = 8_192
"""How many leaves the log may grow while the state behind a confirmed checkpoint is kept: two full blocks.

While it is, nothing that changes takes the place of what was before: the index would grow for as long as confirmations
stay away, on a node that catches up or whose witnesses do not answer [STORE-27].
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmed:
    """A checkpoint with all signatures that its policy asks for, and the state behind its last entry."""

    checkpoint: Checkpoint
    view: SnapshotState


def make_receipt(
    copy: LogReading, index: int, *, checkpoint: Checkpoint, view: SnapshotState, state_keys: Sequence[str] = ()
) -> bytes:
    """Return the receipt of a transaction under a checkpoint, with what the state holds at some keys.

    The values that show who had to sign the transaction are put in by themselves. view: the state at the checkpoint.
    Raises InvalidInput ``ledger.index_unknown``, ``ledger.state_keys_too_many``, ``ledger.state_key_impossible``,
    Unavailable ``ledger.epoch_pending``.
    """
    _require_keys(state_keys)
    place = copy.block_place(index)
    entry_index = place.first_index + place.count
    transaction = copy.leaf(place, index)
    shown = keys_to_prove(copy.machine.decode(transaction), machine=copy.machine, state=view)
    keys = sorted({*state_keys, *shown})
    return build_receipt(
        transaction=transaction,
        index=index,
        entry=copy.leaf(place, entry_index),
        entry_index=entry_index,
        reader=copy.view()[1].snapshot,
        checkpoint=checkpoint,
        hash_name=copy.machine.suite.hash_name,
        epochs=_epoch_steps(copy, below_size=checkpoint.size),
        state=_evidence(copy, checkpoint=checkpoint, view=view, keys=keys),
    )


def _require_keys(keys: Sequence[str]) -> None:
    for key in keys:
        if not key or not key.isascii() or len(key) > MAX_KEY_BYTES:
            raise InvalidInput(
                "ledger.state_key_impossible",
                f"a state key is 1 to {MAX_KEY_BYTES} ASCII characters, not {key[:MAX_KEY_BYTES]!r}",
            )


def _evidence(copy: LogReading, *, checkpoint: Checkpoint, view: SnapshotState, keys: Sequence[str]) -> StateEvidence:
    if len(keys) > MAX_STATE_CLAIMS:
        raise InvalidInput(
            "ledger.state_keys_too_many", f"a receipt carries {MAX_STATE_CLAIMS} values of the state, not {len(keys)}"
        )
    snapshot, hash_name = view.snapshot, copy.machine.suite.hash_name
    last = _last_entry(copy, size=checkpoint.size)
    return StateEvidence(
        entry=last.entry,
        path=last.path,
        claims=tuple(
            StateClaim(key=key, value=snapshot.state_value(key), proof=prove(snapshot, key, hash_name=hash_name))
            for key in keys
        ),
    )


def _epoch_steps(copy: LogReading, *, below_size: int) -> tuple[EpochStep, ...]:
    """Return the steps that a receipt under a checkpoint of a size needs [LEDGER-RECEIPT-5]."""
    steps: list[EpochStep] = []
    for change in copy.epochs.trail.changes:
        if change.size < below_size:
            last, note = _last_entry(copy, size=change.size), copy.epochs.note(change.size)
            step = EpochStep(epoch=change.epoch, proof=change.proof, entry=last.entry, path=last.path, checkpoint=note)
            steps.append(step)
    return tuple(steps)


def _last_entry(copy: LogReading, *, size: int) -> LastEntry:
    """Return the block entry that was the last leaf when the log had a size, with its path."""
    snapshot = copy.view()[1].snapshot
    place = snapshot.block_of_index(size - 1)
    if place is None or place.first_index + place.count != size - 1:
        raise InvalidInput("ledger.size_unknown", f"no block of this log ends at {size} leaves")
    path = inclusion_path(snapshot, index=size - 1, size=size, hash_name=copy.machine.suite.hash_name)
    return LastEntry(entry=copy.leaf(place, size - 1), path=path)

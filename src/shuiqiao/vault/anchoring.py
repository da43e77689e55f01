"""Anchors the vault's durable batches, amendments and erasures on the ledger, and finishes what a crash interrupted.

The life of a batch; there are no other steps [VAULT-STORE-3]::

    (absent) --files durable, index committed--> pending --ledger has its root--> anchored --destroyed--> erased

A pending batch is shown to nobody. Whatever is pending is told again, with the same batch id and root: if the ledger
has it already, by its state, that counts as told; nothing is anchored twice [VAULT-ANCHOR-5].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import groupby

from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.model import LedgerEngine, StateView, Transaction
from shuiqiao.ledger.transactions.listing import find_transaction
from shuiqiao.vault.contract import (
    AMEND,
    COMMIT,
    ERASE,
    MAX_ERASED_INDEXES,
    MAX_REPLACEMENTS,
    AnchorAmendBody,
    AnchorCommitBody,
    AnchorEraseBody,
    Replacement,
    batch_fact,
    erased_key,
    superseded_key,
    tree_depth,
)
from shuiqiao.vault.model import Anchor, ErasureReason
from shuiqiao.vault.storage.index import BatchRow, IndexView, RecordIndex

KNOWN_COMMITTED = -1
"""Stands for the log index of a batch that the ledger was found to have: its state does not say where."""

Place = tuple[int, int]
"""Batch number and leaf index."""


def anchor_batch(anchor: Anchor, row: BatchRow) -> BatchRow:
    """Return the batch's row after its root is on the ledger.

    Raises IntegrityError ``vault.anchor_differs`` where the ledger has another root under its id, else what refused it.
    """
    if is_anchored(anchor.state(), anchor.member, row):
        return replace(row, committed=KNOWN_COMMITTED)
    body = AnchorCommitBody(
        batch=row.id,
        standard=row.standard,
        period_from=row.period_from,
        period_to=row.period_to,
        count=row.count,
        depth=tree_depth(row.count),
        root=row.root,
    )
    try:
        committed = anchor.submit(COMMIT, body)
    except Conflict:
        # An earlier attempt reached the ledger and its answer was lost.
        if not is_anchored(anchor.state(), anchor.member, row):
            raise
        return replace(row, committed=KNOWN_COMMITTED)
    return replace(row, committed=committed.index)


def anchor_index(
    row: BatchRow, *, ledger: LedgerEngine, decode: Callable[[bytes], Transaction], author: MemberId
) -> int:
    """Return the log index of a batch's anchor, looked for in the log where the vault did not note it.

    Raises IntegrityError ``vault.batch_unanchored``.
    """
    if row.committed is not None and row.committed != KNOWN_COMMITTED:
        return row.committed
    return find_anchor(row.id, ledger=ledger, decode=decode, author=author)


def find_anchor(batch: bytes, *, ledger: LedgerEngine, decode: Callable[[bytes], Transaction], author: MemberId) -> int:
    """Return the log index of an author's anchor of a batch; raises IntegrityError ``vault.batch_unanchored``."""
    index = find_transaction(
        ledger.blocks(from_height=1),
        decode=decode,
        fits=lambda tx: (tx.kind, tx.author) == (COMMIT, author) and tx.body.batch == batch,
    )
    if index is None:
        raise IntegrityError("vault.batch_unanchored", f"the log has no anchor of batch {batch.hex()}")
    return index


def is_anchored(state: StateView, author: str, row: BatchRow) -> bool:
    """Return whether an author anchored a batch; raises IntegrityError ``vault.anchor_differs`` for another root."""
    fact = batch_fact(state, author, row.id)
    if fact is None:
        return False
    if fact.root != row.root or fact.count != row.count:
        raise IntegrityError(
            "vault.anchor_differs",
            f"batch {row.id.hex()} has root {row.root.hex()[:16]}… here and {fact.root.hex()[:16]}… on the ledger",
        )
    return True


def amend_leaves(anchor: Anchor, view: IndexView, steps: Sequence[tuple[Place, Place]]) -> None:
    """Submit the replacements (old place, new place) in order, leaving out those that the ledger has."""
    waiting = [
        Replacement(
            old_batch=view.batch(old[0]).id, old_index=old[1], new_batch=view.batch(new[0]).id, new_index=new[1]
        )
        for old, new in unsubmitted_replacements(anchor, view, steps)
    ]
    for start in range(0, len(waiting), MAX_REPLACEMENTS):
        anchor.submit(AMEND, AnchorAmendBody(replacements=waiting[start : start + MAX_REPLACEMENTS]))


def unsubmitted_replacements(
    anchor: Anchor, view: IndexView, steps: Sequence[tuple[Place, Place]]
) -> list[tuple[Place, Place]]:
    """Return those (old place, new place) whose replacement the ledger does not have."""
    state = anchor.state()
    return [
        (old, new)
        for old, new in steps
        if state.get(superseded_key(anchor.member, view.batch(old[0]).id, old[1])) is None
    ]


def submit_erasure(anchor: Anchor, batch: bytes, indexes: Sequence[int], reason: ErasureReason) -> None:
    """Submit that leaves of a batch (all, where none is listed) were destroyed, except those that the ledger knows."""
    state = anchor.state()
    fact = batch_fact(state, anchor.member, batch)
    if fact is not None and fact.erased:
        return
    if not indexes:
        anchor.submit(ERASE, AnchorEraseBody(batch=batch, indexes=[], reason=reason))
        return
    unsubmitted = [index for index in sorted(indexes) if state.get(erased_key(anchor.member, batch, index)) is None]
    for start in range(0, len(unsubmitted), MAX_ERASED_INDEXES):
        part = unsubmitted[start : start + MAX_ERASED_INDEXES]
        anchor.submit(ERASE, AnchorEraseBody(batch=batch, indexes=part, reason=reason))


def submit_batch(index: RecordIndex, anchor: Anchor, row: BatchRow) -> BatchRow:
    """Return a pending batch's row after its root is on the ledger; what refuses it is noted and raised."""
    try:
        return anchor_batch(anchor, row)
    except Unavailable:
        raise
    except ShuiqiaoError as error:
        with index.write() as writer:
            writer.refuse_batch(row.number, error)
        raise


def submit_replacements(
    index: RecordIndex, anchor: Anchor, steps: Sequence[tuple[Place, Place]]
) -> list[tuple[Place, Place]]:
    """Submit the replacements (old place, new place), and return those that the ledger has.

    What refuses them is noted, beside those it took, and raised. A version whose older one waits to supersede another
    waits as well: the ledger lets nothing be superseded by what is superseded itself.
    """
    ready: list[tuple[Place, Place]] = []
    with index.read() as view:
        held = set(view.refused_replacements()) - {new for _old, new in steps}
    for old, new in steps:
        if old in held:
            held.add(new)
        else:
            ready.append((old, new))
    try:
        with index.read() as view:
            amend_leaves(anchor, view, ready)
    except Unavailable:
        raise
    except ShuiqiaoError as error:
        with index.write() as writer:
            refused = unsubmitted_replacements(anchor, writer, ready)
            for old, new in ready:
                if (old, new) in refused:
                    writer.refuse_replacement(old=old, new=new, error=error)
                else:
                    writer.finish_replacement(old=old, new=new)
        raise
    return ready


def finish_replacements(index: RecordIndex, anchor: Anchor, steps: Sequence[tuple[Place, Place]]) -> None:
    """Submit replacements and note those that the ledger has; raises as ``submit_replacements``."""
    if told := submit_replacements(index, anchor, steps):
        with index.write() as writer:
            for old, new in told:
                writer.finish_replacement(old=old, new=new)


def finish_pending(index: RecordIndex, anchor: Anchor) -> list[BatchRow]:
    """Submit what an interrupted run left pending; return the batches that the ledger has now [VAULT-STORE-3].

    What the ledger refuses stays pending with the reason and stops nothing else [VAULT-STORE-6].
    """
    with index.read() as view:
        numbers, steps = view.pending_batches(), view.pending_replacements()
        rows = [view.batch(number) for number in numbers]
    anchored: list[BatchRow] = []
    for row in rows:
        with suppress(Conflict, Denied, InvalidInput, IntegrityError):
            anchored.append(submit_batch(index, anchor, row))
    refused = set(numbers) - {row.number for row in anchored}
    if anchored:
        with index.write() as writer:
            for row in anchored:
                writer.put_batch(row)
    for _number, group in groupby(steps, key=lambda step: step[1][0]):
        own = [step for step in group if refused.isdisjoint((step[0][0], step[1][0]))]
        with suppress(Conflict, Denied, InvalidInput):
            finish_replacements(index, anchor, own)
    return anchored

"""The ledger's rules for anchors: a batch's root is fixed once; a leaf is superseded once; erasures are recorded.

Rule: docs/spec/vault.md, [VAULT-ANCHOR-1] to [VAULT-ANCHOR-7]. Pure. The ledger learns the standard, the period, the
count and the root of a batch: no taxpayer, no value, nothing that could be guessed and hashed [VAULT-ANCHOR-6].
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from shuiqiao.base.errors import Conflict, InvalidInput
from shuiqiao.base.ids import MemberId, owned_id
from shuiqiao.ledger.model import BlockContext, Event, Kind, State, StateView, Transaction
from shuiqiao.members.model import Role
from shuiqiao.members.roster import require_role
from shuiqiao.standards.model import StandardId
from shuiqiao.vault.model import MAX_BATCH_DEPTH, BatchFact, BatchLookup, ErasureReason, LeafStatus

COMMIT = "anchor.commit"
AMEND = "anchor.amend"
ERASE = "anchor.erase"

MAX_REPLACEMENTS = 256
"""Replacements in one anchor.amend: 256 of about 70 bytes stay far below the transaction limit."""

MAX_ERASED_INDEXES = 4096
"""Leaf indexes in one anchor.erase; a larger erasure is several, or the whole batch."""

_MAX_COUNT = 1 << MAX_BATCH_DEPTH

BatchId = Annotated[bytes, Meta(min_length=16, max_length=16)]
LeafIndex = Annotated[int, Meta(ge=0, lt=_MAX_COUNT)]
IsoDate = Annotated[str, Meta(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}\Z", max_length=10)]


class AnchorCommitBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Fix the root of a batch."""

    batch: BatchId
    standard: StandardId
    period_from: IsoDate
    period_to: IsoDate
    count: Annotated[int, Meta(ge=1, le=_MAX_COUNT)]
    depth: Annotated[int, Meta(ge=0, le=MAX_BATCH_DEPTH)]
    root: Annotated[bytes, Meta(min_length=32, max_length=32)]


class Replacement(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One leaf is superseded by a newer one."""

    old_batch: BatchId
    old_index: LeafIndex
    new_batch: BatchId
    new_index: LeafIndex


class AnchorAmendBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Leaves are superseded by newer ones; both stay provable."""

    replacements: Annotated[list[Replacement], Meta(min_length=1, max_length=MAX_REPLACEMENTS)]


class AnchorEraseBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Bytes and salts were destroyed: of the listed leaves, or of the whole batch where none is listed."""

    batch: BatchId
    indexes: Annotated[list[LeafIndex], Meta(max_length=MAX_ERASED_INDEXES)]
    reason: ErasureReason


def batch_key(author: str, batch: bytes) -> str:
    """Return the state key of a batch of a member: batch ids are unique for their author alone."""
    return f"vault/batch/{owned_id(author, batch)}"


def superseded_key(author: str, batch: bytes, index: int) -> str:
    """Return the state key that is present once a leaf is superseded."""
    return f"vault/superseded/{owned_id(author, batch)}/{index}"


def erased_key(author: str, batch: bytes, index: int) -> str:
    """Return the state key that is present once a leaf was erased by itself."""
    return f"vault/erased/{owned_id(author, batch)}/{index}"


def batch_fact(state: StateView, author: str, batch: bytes) -> BatchFact | None:
    """Return what the ledger holds of a batch of a member, or None."""
    value = state.get(batch_key(author, batch))
    return None if value is None else BatchFact(**value)


def batch_lookup(state: StateView, author: str) -> BatchLookup:
    """Return batch id -> BatchFact over a state, of one member's batches."""
    return lambda batch: batch_fact(state, author, batch)


class LedgerLeaves:
    """The leaves of one member's batches over a state that does not change: a ``LeafLookup``.

    ::

        status_of = LedgerLeaves(engine.state(), author="bureau")
        status_of(batch, 3) is LeafStatus.LIVE
    """

    def __init__(self, state: StateView, author: str) -> None:
        self._state = state
        self._author = author
        self._facts: dict[bytes, Mapping[str, Any] | None] = {}

    def __call__(self, batch: bytes, index: int, /) -> LeafStatus:
        """Return the status of a leaf; erased comes before superseded."""
        if self.is_unchanged(batch):
            return LeafStatus.LIVE
        fact = self._fact(batch)
        if fact is not None and fact["erased"]:
            return LeafStatus.ERASED
        if self._state.get(erased_key(self._author, batch, index)) is not None:
            return LeafStatus.ERASED
        superseded = self._state.get(superseded_key(self._author, batch, index)) is not None
        return LeafStatus.SUPERSEDED if superseded else LeafStatus.LIVE

    def is_unchanged(self, batch: bytes) -> bool:
        """See LeafLookup: of most batches no leaf ever changes; one that the ledger does not have has none."""
        fact = self._fact(batch)
        return fact is None or not (fact["erased"] or fact["changed"])

    def _fact(self, batch: bytes) -> Mapping[str, Any] | None:
        if batch not in self._facts:
            self._facts[batch] = self._state.get(batch_key(self._author, batch))
        return self._facts[batch]


def _check_commit(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    """[VAULT-ANCHOR-1] a tax bureau anchors; [VAULT-ANCHOR-2] a batch id is used once; the figures agree."""
    body: AnchorCommitBody = tx.body
    require_role(state, tx.author, Role.TAX_BUREAU)
    if state.get(batch_key(tx.author, body.batch)) is not None:
        raise Conflict("vault.batch_exists", f"{tx.author} has anchored a batch {body.batch.hex()} already")
    if body.depth != tree_depth(body.count):
        raise InvalidInput(
            "vault.depth_wrong", f"depth {body.depth} for {body.count} leaves, whose tree has {tree_depth(body.count)}"
        )
    if _iso_date(body.period_from) > _iso_date(body.period_to):
        raise InvalidInput("vault.period_invalid", f"the period {body.period_from} to {body.period_to} runs backwards")


def tree_depth(count: int) -> int:
    """Return the height of the tree over a number of leaves: 0 for one, k for up to 2^k."""
    return (count - 1).bit_length()


def _iso_date(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput("vault.period_invalid", f"{text!r} is not a date: {error}") from error


def new_batch(body: AnchorCommitBody) -> dict[str, Any]:
    """Return the state value of a batch whose root was fixed just now: the fields of ``BatchFact``."""
    given = msgspec.structs.asdict(body)
    del given["batch"]
    return {**given, "erased": False, "changed": 0}


def _apply_commit(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: AnchorCommitBody = tx.body
    state.put(batch_key(tx.author, body.batch), new_batch(body))
    return (Event(name="anchor.committed", attributes={"batch": body.batch, "count": body.count}),)


def _check_amend(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    """[VAULT-ANCHOR-3] each leaf is superseded once, by the same author's live leaf of the same type.

    A replacement that is itself superseded already is refused, so no chain of replacements closes on itself; one that
    is erased is refused too, since the record would then be nowhere.
    """
    body: AnchorAmendBody = tx.body
    superseded: set[tuple[bytes, int]] = set()
    for step in body.replacements:
        old, new = (step.old_batch, step.old_index), (step.new_batch, step.new_index)
        if old == new:
            raise InvalidInput("vault.replaces_itself", f"leaf {step.old_index} cannot supersede itself")
        old_fact, new_fact = (_own_leaf(state, tx.author, *leaf) for leaf in (old, new))
        if _type_of(old_fact) != _type_of(new_fact):
            raise InvalidInput(
                "vault.type_differs",
                f"a record of {new_fact['standard']} cannot supersede one of {old_fact['standard']}",
            )
        for batch, index in (old, new):
            if (batch, index) in superseded or state.get(superseded_key(tx.author, batch, index)) is not None:
                raise Conflict("vault.already_superseded", f"leaf {index} of batch {batch.hex()} is superseded already")
        # [VAULT-ANCHOR-7]: of most batches no leaf ever changes.
        if new_fact["erased"] or (new_fact["changed"] and state.get(erased_key(tx.author, *new)) is not None):
            raise Conflict(
                "vault.replacement_erased",
                f"leaf {step.new_index} of batch {step.new_batch.hex()} is erased, and so supersedes nothing",
            )
        superseded.add(old)


def _type_of(fact: Mapping[str, Any]) -> str:
    return str(fact["standard"]).partition("@")[0]


def _own_leaf(state: StateView, author: MemberId, batch: bytes, index: int) -> Mapping[str, Any]:
    fact = _own_batch(state, author, batch)
    if index >= fact["count"]:
        raise InvalidInput("vault.leaf_unknown", f"leaf {index} of batch {batch.hex()}, which has {fact['count']}")
    return fact


def _own_batch(state: StateView, author: MemberId, batch: bytes) -> Mapping[str, Any]:
    fact: Mapping[str, Any] | None = state.get(batch_key(author, batch))
    if fact is None:
        raise InvalidInput("vault.batch_unknown", f"{author} has no batch {batch.hex()} on the ledger")
    return fact


def _apply_amend(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: AnchorAmendBody = tx.body
    for step in body.replacements:
        newer = {"batch": step.new_batch, "index": step.new_index}
        state.put(superseded_key(tx.author, step.old_batch, step.old_index), newer)
    for batch, leaves in Counter(step.old_batch for step in body.replacements).items():
        _count_changed(state, tx.author, batch, leaves)
    return tuple(
        Event(name="anchor.amended", attributes={"batch": step.old_batch, "index": step.old_index})
        for step in body.replacements
    )


def _count_changed(state: State, author: str, batch: bytes, leaves: int) -> None:
    """[VAULT-ANCHOR-7]: note in the batch's own row that leaves of it were superseded or erased."""
    key = batch_key(author, batch)
    fact = state.get(key)
    state.put(key, {**fact, "changed": fact["changed"] + leaves})


def _check_erase(tx: Transaction, state: StateView, _ctx: BlockContext) -> None:
    """[VAULT-ANCHOR-4] only the author of a batch says that it was erased, once for each leaf."""
    body: AnchorEraseBody = tx.body
    fact = _own_batch(state, tx.author, body.batch)
    if sorted(set(body.indexes)) != body.indexes:
        raise InvalidInput("vault.indexes_unsorted", "erased leaf indexes must rise, each named once")
    if fact["erased"]:
        raise Conflict("vault.already_erased", f"batch {body.batch.hex()} is erased already")
    for index in body.indexes:
        _own_leaf(state, tx.author, body.batch, index)
        if state.get(erased_key(tx.author, body.batch, index)) is not None:
            raise Conflict("vault.already_erased", f"leaf {index} of batch {body.batch.hex()} is erased already")


def _apply_erase(tx: Transaction, state: State, _ctx: BlockContext) -> Sequence[Event]:
    body: AnchorEraseBody = tx.body
    for index in body.indexes:
        state.put(erased_key(tx.author, body.batch, index), {"reason": str(body.reason)})
    if body.indexes:
        _count_changed(state, tx.author, body.batch, len(body.indexes))
    else:
        key = batch_key(tx.author, body.batch)
        state.put(key, {**state.get(key), "erased": True})
    return (Event(name="anchor.erased", attributes={"batch": body.batch, "leaves": len(body.indexes)}),)


KINDS: tuple[Kind, ...] = (
    Kind(name=COMMIT, room="vault", version=1, body=AnchorCommitBody, check=_check_commit, apply=_apply_commit),
    Kind(name=AMEND, room="vault", version=1, body=AnchorAmendBody, check=_check_amend, apply=_apply_amend),
    Kind(name=ERASE, room="vault", version=1, body=AnchorEraseBody, check=_check_erase, apply=_apply_erase),
)
"""anchor.commit, anchor.amend, anchor.erase."""

"""The ledger's types and ports: what a transaction, a kind, a state, a block and an engine are.

Rooms above the ledger write a ``contract.py`` that declares Kinds; ``node`` collects them into a KindTable. What the
ledger must know of members it asks through KeyRing. What is made for every transaction is a msgspec Struct: building
one costs a tenth of a frozen dataclass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint

if TYPE_CHECKING:
    from concurrent.futures import Future

    from shuiqiao.base.ids import MemberId
    from shuiqiao.crypto.model import SuiteName

MAX_TRANSACTION_BYTES = 60_000
"""Tile entries carry a 16-bit length; the margin leaves room for the entry's own framing."""

MAX_VALIDITY_MS = 24 * 3_600_000
MAX_GOVERNANCE_VALIDITY_MS = 30 * 24 * 3_600_000
MAX_SIGNATURES = 64

FIRST_VERSION = 1

FIRST_VERSIONS: Mapping[str, int] = {"application.submit": 2, "decision.record": 2}
"""Kinds whose version 1 was withdrawn before any network began, so that a network begins with a later one."""


def first_version(kind: str) -> int:
    """Return the version of a kind that is accepted until another one is activated."""
    return FIRST_VERSIONS.get(kind, FIRST_VERSION)


class Signature(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One signer's part of a COSE_Sign message."""

    key_id: bytes
    signature: bytes
    protected: bytes
    """The protected header bytes exactly as received: they are part of what was signed."""


class Transaction(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A decoded transaction together with the bytes it was decoded from."""

    raw: bytes
    payload_bytes: bytes
    network: bytes
    """Network id, 32 bytes."""
    kind: str
    version: int
    id: bytes
    author: MemberId
    """The member that says it; of a kind that no member authors what ``Kind.author`` names."""
    valid_until_ms: int
    body: Any
    """An instance of the kind's body struct."""
    signatures: tuple[Signature, ...]


class StateView(Protocol):
    """The ledger's live state, read-only. Keys are ``room/noun/id`` text."""

    def get(self, key: str) -> Any:
        """Return the value (CBOR data model: int, str, bytes, list, dict, bool, None), or None if absent.

        The value is shared: never change it in place.
        """
        ...


class State(StateView, Protocol):
    """The state while a transaction is applied: a contract may write under its own room only."""

    def put(self, key: str, value: Any) -> None:
        """Set a key; raises ValueError for a key outside the contract's room (a programming error)."""
        ...

    def delete(self, key: str) -> None:
        """Remove a key."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockContext:
    """What a contract may know of its block: never the machine's clock."""

    height: int
    time_ms: int


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """What subscribers receive after a transaction took effect."""

    name: str
    attributes: Mapping[str, Any]


Check = Callable[[Transaction, StateView, BlockContext], None]
"""Raise Denied, Conflict or InvalidInput if the transaction breaks a rule; deterministic, no I/O."""

Apply = Callable[[Transaction, State, BlockContext], Sequence[Event]]
"""Write the transaction's effect after check passed; deterministic, no I/O, must not raise."""

Author = Callable[[Transaction], str | None]
"""Return who is the author of a transaction that no member authors; None where a member is."""

Signers = Callable[[Transaction, StateView], Sequence[bytes]]
"""Return the raw public keys that must have signed, all of them and no others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of transaction: its schema and its rules.

    name: ``noun.verb`` as in the design's table, e.g. ``anchor.commit``.
    room: the room that owns it; state is written under ``<room>/`` only.
    body: a frozen msgspec Struct with forbid_unknown_fields and bounds on every field.
    signers: who must sign; None means the author's member key alone.
    governance: True allows a validity of 30 days instead of 24 hours, and keeps it open while the network is frozen.
    is_vote: True keeps it open to a suspended author whose suspension has an end, so no vote is lost to one.
    author: the author where no member is one (a consent speaks by its key): ids are scoped to it, and the member that
    hands the transaction in is not stated. None: the author is a member, and signs.
    """

    name: str
    room: str
    version: int
    body: type[msgspec.Struct]
    check: Check
    apply: Apply
    signers: Signers | None = None
    governance: bool = False
    is_vote: bool = False
    author: Author | None = None


class KeyRing(Protocol):
    """What the ledger asks about members: their keys, whose signatures a checkpoint needs, which rules they agreed on.

    Implemented by ``members`` over the state.
    """

    def signing_key(self, state: StateView, member: MemberId) -> bytes:
        """Return the member's current raw signing key; raises Denied ``members.unknown`` for a stranger.

        Suspension is not asked here: the ledger checks ``gate/`` keys itself.
        """
        ...

    def kind_versions(self, state: StateView, *, height: int) -> Mapping[str, int]:
        """Return the version accepted in the block of a height of every kind of which it is not the first.

        The block itself never changes the answer for its own height.
        """
        ...

    @property
    def epoch_key(self) -> str:
        """The state key of the epoch document: whose signatures a checkpoint needs."""
        ...

    def epoch_number(self, state: StateView) -> int:
        """Return the number of the epoch in force in a state, 0 until the first change."""
        ...

    def next_policy(self, epoch: bytes, *, previous: bytes, origin: str) -> CheckpointPolicy:
        """Return what a checkpoint needs under an epoch document that comes after another one.

        Both are encoded state values from outside. Raises IntegrityError if either is none, or they do not follow.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkParameters:
    """What the ledger takes from the genesis."""

    network: bytes
    """Network id: suite hash of the genesis bytes, 32 bytes."""
    suite: SuiteName
    origin: str
    """Origin line of checkpoints, ``shuiqiao/<network id in hex>``."""
    operator: MemberId
    operator_key: bytes
    """Raw signing key of the operator of the embedded writer: it signs checkpoints."""
    genesis_time_ms: int
    initial_state: Mapping[str, Any]
    """State written before block 1: members and parameters."""
    witnesses: Mapping[MemberId, bytes] = field(default_factory=dict["MemberId", bytes])
    """Raw keys, by member, of those whose cosignatures count on a checkpoint from the start."""
    quorum: int = 0
    """Least number of cosignatures on a checkpoint."""

    @property
    def policy(self) -> CheckpointPolicy:
        """What a checkpoint must carry until the first change of epoch."""
        return CheckpointPolicy(
            origin=self.origin,
            operator=self.operator or None,
            operator_key=self.operator_key or None,
            witnesses=self.witnesses,
            quorum=self.quorum,
        )


class Committed(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The place of a transaction in the log, returned only once it is durable."""

    index: int
    """Leaf index in the log."""
    height: int
    time_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One committed block: the accepted transactions in order. Its entry leaf follows them in the log."""

    height: int
    time_ms: int
    first_index: int
    """Leaf index of its first transaction; its block entry is at first_index + len(transactions)."""
    transactions: tuple[bytes, ...]
    entry: bytes
    """Encoded block entry, the leaf that closes the block."""


class LedgerEngine(Protocol):
    """The one port through which every room above uses the ledger."""

    @property
    def parameters(self) -> NetworkParameters:
        """The network this engine serves."""
        ...

    def submit(self, raw: bytes) -> Future[Committed]:
        """Hand in a signed transaction from any thread.

        The future resolves only after the transaction is durable, or fails with the error that refused it.
        """
        ...

    def state(self) -> StateView:
        """Return a view of the state after the last committed block."""
        ...

    def last_block(self) -> tuple[int, int]:
        """Return height and time (ms) of the last committed block; (0, genesis time) before the first."""
        ...

    def wait_for_block(self, height: int) -> None:
        """Return once this copy holds a block that somebody else has committed; Unavailable ``ledger.block_awaited``.

        What one member did, another one acts upon: before it does, its own copy has to be as far.
        """
        ...

    def checkpoint(self, *, at_least: int = 0) -> Checkpoint:
        """Return the newest signed checkpoint (size 0 before the first block).

        at_least: a number of leaves, not above those of this copy, that it covers: where others have to sign, theirs
        may come a moment after the block, and are waited for.
        """
        ...

    def blocks(self, *, from_height: int) -> Iterator[Block]:
        """Iterate over committed blocks in order, starting at a height (1 is the first)."""
        ...

    def consistency_proof(self, *, old_size: int, new_size: int) -> tuple[bytes, ...]:
        """Return the RFC 6962 consistency proof between two sizes; InvalidInput ``ledger.size_unknown`` beyond."""
        ...

    def receipt(self, index: int, *, state_keys: Sequence[str] = ()) -> bytes:
        """Return the encoded receipt of the transaction at a leaf, with what the state holds at some keys.

        Raises InvalidInput ``ledger.index_unknown``, Unavailable while signatures that it needs are missing.
        """
        ...

    def subscribe(self, listener: Callable[[Block, Sequence[Event]], None]) -> None:
        """Call a listener after each block is committed, on the engine's own thread: return quickly."""
        ...

    def close(self) -> None:
        """Finish what was accepted for ordering, then release files and processes."""
        ...

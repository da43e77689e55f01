"""How a room puts a transaction on the ledger in the name of its institution, and reads the state back.

Rooms above the ledger take a LedgerSubmitter; ``node`` gives them its ``Outbox``, a LedgerSubmitter that keeps signed
bytes until the ledger has them, so that they survive a crash and are resent unchanged. One without an outbox is for a
single process and for scenarios.

    committed = submitter.submit("consent.pause", body, extra_keys=[consent_key])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.base.ids import Entropy, MemberId, new_id
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint, TreeHead, verify_extension
from shuiqiao.ledger.clock_check import certain_ms, latest_ms, require_not_behind, require_recent
from shuiqiao.ledger.model import (
    MAX_VALIDITY_MS,
    Committed,
    KeyRing,
    LedgerEngine,
    NetworkParameters,
    StateView,
    Transaction,
    first_version,
)
from shuiqiao.ledger.transactions.transaction import (
    TransactionDraft,
    assemble_transaction,
    decode_transaction,
    sign_payload,
    sign_transaction,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import msgspec

    from shuiqiao.base.clock import Clock
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.ledger.transactions.kinds import KindTable

DRAFT_VALIDITY_MS = MAX_VALIDITY_MS // 2
"""A draft may be refused for its age after half of what the ledger allows: the rest is room for slow clocks."""

_CLOCK_TOLERANCE_MS = 10 * 60_000
"""By how much the clock of who signs may be ahead of those who order blocks, and be looked for all the same."""

_LATELY_BLOCKS = 1024
"""Blocks in which is looked for what was handed in a while ago: some minutes of a busy ledger, read in a moment."""

COMMIT_TIMEOUT_S = 60.0
"""How long a caller waits for a durable block before it is told to look again later."""


def log_size(engine: LedgerEngine) -> int:
    """Return the number of leaves of an engine's own copy of the log, whether or not a checkpoint covers them yet."""
    height, _ = engine.last_block()
    last = next(engine.blocks(from_height=height), None) if height else None
    return 0 if last is None else last.first_index + len(last.transactions) + 1


class LedgerSubmitter:
    """The ledger as one institution uses it, straight over an engine.

    Thread-safe; every act returns after the transaction is durable.
    LIMIT: it keeps no outbox, so a transaction signed in the moment of a crash is lost; its caller then sees the act
    undone and starts anew.
    """

    def __init__(
        self,
        engine: LedgerEngine,
        *,
        member: MemberId,
        key: SigningKey,
        kinds: KindTable,
        suite: CipherSuite,
        clock: Clock,
        entropy: Entropy,
        key_ring: KeyRing | None = None,
        is_clock_confirmed: bool = False,
    ) -> None:
        """Take the engine and in whose name it is used.

        key_ring: knows which version of a kind is accepted; None writes the first of every kind.
        is_clock_confirmed: the operator said that the clock is right, however long ago the newest block was.
        """
        self._is_clock_confirmed = is_clock_confirmed
        self._key_ring = key_ring
        self._engine = engine
        self._member = member
        self._key = key
        self._kinds = kinds
        self._suite = suite
        self._clock = clock
        self._entropy = entropy

    @property
    def member(self) -> MemberId:
        """The institution in whose name transactions are made."""
        return self._member

    @property
    def parameters(self) -> NetworkParameters:
        """The network."""
        return self._engine.parameters

    def submit(self, kind: str, body: msgspec.Struct, *, extra_keys: Sequence[SigningKey] = ()) -> Committed:
        """Sign a body with the institution's key (and the extra keys) and commit it; raises what refused it.

        Raises Unavailable ``ledger.clock_behind`` before that: whose clock is behind the ledger signs what has expired.
        """
        require_not_behind(now_ms=self.now_ms(), block_ms=self._engine.last_block()[1])
        return self.relay(self._sign(kind, body, extra_keys=extra_keys))

    def _sign(self, kind: str, body: msgspec.Struct, *, extra_keys: Sequence[SigningKey] = ()) -> bytes:
        draft = TransactionDraft(
            kind=kind,
            version=self._version(kind),
            body=body,
            author=self._member,
            valid_until_ms=self.now_ms() + DRAFT_VALIDITY_MS,
            id=new_id(self._entropy),
        )
        keys = (self._key, *extra_keys)
        return sign_transaction(draft, network=self.parameters.network, suite=self._suite, keys=keys)

    def _version(self, kind: str) -> int:
        """Return the version of a kind that the next block accepts."""
        if self._key_ring is None:
            return first_version(kind)
        height, _ = self._engine.last_block()
        return self._key_ring.kind_versions(self._engine.state(), height=height + 1).get(kind, first_version(kind))

    def countersign(self, raw: bytes) -> Committed:
        """Add the institution's signature to a transaction that others signed, and commit it."""
        tx = self.decode(raw)
        own = sign_payload(tx.payload_bytes, suite=self._suite, key=self._key)
        return self.relay(assemble_transaction(tx.payload_bytes, signatures=(*tx.signatures, own)))

    def relay(self, raw: bytes) -> Committed:
        """Commit a transaction that is signed already; raises what refused it, Unavailable if no block came in time."""
        future = self._engine.submit(raw)
        try:
            return future.result(timeout=COMMIT_TIMEOUT_S)
        except TimeoutError as error:
            raise Unavailable(
                "ledger.commit_late",
                f"no block within {COMMIT_TIMEOUT_S} s; the transaction may still be committed",
                retry_after_s=COMMIT_TIMEOUT_S,
            ) from error

    def decode(self, raw: bytes) -> Transaction:
        """Return what outside transaction bytes say, structure checked, signatures and rules not."""
        return decode_transaction(raw, kinds=self._kinds, network=self.parameters.network, suite=self._suite)

    def find(self, kind: str, *, since_ms: int, fits: Callable[[Transaction], bool]) -> Committed | None:
        """Return where a transaction of this institution's stands whose place was never told, e.g. after a crash.

        since_ms: when it was made, by this institution's clock. Returns None where no block since then has one.
        """
        for block in self._engine.blocks(from_height=self._height_at(since_ms - _CLOCK_TOLERANCE_MS)):
            for index, raw in enumerate(block.transactions, start=block.first_index):
                if kind.encode() in raw:
                    tx = self.decode(raw)
                    if (tx.kind, tx.author) == (kind, self._member) and fits(tx):
                        return Committed(index=index, height=block.height, time_ms=block.time_ms)
        return None

    def find_lately(self, fits: Callable[[bytes], bool]) -> Committed | None:
        """Return where signed bytes stand that were handed in before, and whose place was not told: an answer was lost.

        Whoever hands in the same again asks soon, so the newest 1,024 blocks are looked at and no more: nobody makes
        this institution read its whole log. Returns None where none of them has any that fit.
        """
        for block in self._engine.blocks(from_height=max(1, self._engine.last_block()[0] - _LATELY_BLOCKS + 1)):
            for index, raw in enumerate(block.transactions, start=block.first_index):
                if fits(raw):
                    return Committed(index=index, height=block.height, time_ms=block.time_ms)
        return None

    def _height_at(self, time_ms: int) -> int:
        """Return the height of the first block that is not earlier than a moment."""
        low, high = 1, self._engine.last_block()[0] + 1
        while low < high:
            middle = (low + high) // 2
            block = next(iter(self._engine.blocks(from_height=middle)), None)
            if block is None or block.time_ms >= time_ms:
                high = middle
            else:
                low = middle + 1
        return low

    def state(self) -> StateView:
        """Return the state after the last committed block."""
        return self._engine.state()

    def checkpoint(self) -> Checkpoint:
        """Return a signed checkpoint that covers all of the ledger as it is now; raises what the engine raises."""
        return self._engine.checkpoint(at_least=log_size(self._engine))

    def verify_root(self, *, size: int, root: bytes) -> None:
        """Return if the log had this root at this size, by the institution's own copy [LEDGER-LOG-3].

        A checkpoint that somebody names, and does not bring signed, is worth no more than this. Raises IntegrityError
        ``ledger.checkpoint_unproven``; what ``checkpoint`` raises.
        """
        own = self.checkpoint()
        if not 0 < size <= own.size:
            raise IntegrityError(
                "ledger.checkpoint_unproven", f"a log of {size} leaves is named where this ledger has {own.size}"
            )
        path = self._engine.consistency_proof(old_size=size, new_size=own.size)
        try:
            named = TreeHead(origin=own.origin, size=size, root=root)
            verify_extension(named, own, path=path, hash_name=self._suite.hash_name)
        except IntegrityError as error:
            raise IntegrityError(
                "ledger.checkpoint_unproven",
                f"root {root.hex()[:16]}… at {size} leaves is named; this ledger had another root at that size",
            ) from error

    def now_ms(self) -> int:
        """Return the institution's time, in milliseconds since 1970."""
        return self._clock.now_ms()

    def latest_ms(self) -> int:
        """Return the later of the institution's time and the newest block's: by it a right to read ends."""
        return latest_ms(now_ms=self.now_ms(), block_ms=self._engine.last_block()[1])

    def block_ms(self) -> int:
        """Return the time of the newest block here, which no clock of this machine moves."""
        return self._engine.last_block()[1]

    def certain_ms(self) -> int:
        """Return the moment that has come for sure, by which is done what cannot be undone [LEDGER-TIME-3]."""
        block_ms = self._engine.last_block()[1]
        return certain_ms(now_ms=self.now_ms(), block_ms=block_ms, is_confirmed=self._is_clock_confirmed)

    def require_recent(self) -> None:
        """Return if the newest block here is recent, or this member writes them all itself; raises as it says above."""
        if self.member != self._engine.parameters.operator:
            require_recent(now_ms=self.now_ms(), block_ms=self._engine.last_block()[1])

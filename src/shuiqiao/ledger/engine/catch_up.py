"""Copies blocks of the writer's log and compares roots: what was signed, what was executed and what is kept must agree.

The steps of [STORE-21], in order and for a bounded number of transactions at a time. A block is committed only after
its leaves were shown to lie under the signed checkpoint and its execution gave the very entry that was signed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint, verify_extension
from shuiqiao.ledger.engine.ledger_copy import LedgerCopy
from shuiqiao.ledger.engine.port import BlockSource, FollowerSettings
from shuiqiao.ledger.log.entry import decode_entry
from shuiqiao.ledger.log.tree import Frontier
from shuiqiao.ledger.model import Block, Event, Transaction
from shuiqiao.ledger.replay.replay import Growth, grow, prove_signatures
from shuiqiao.ledger.state.machine import Candidate
from shuiqiao.ledger.store.alarm_file import ForkKind
from shuiqiao.ledger.transactions.verifiers import Verifier
from shuiqiao.ledger.witness.fork_evidence import fork_kind

_BROKEN_BY_A_BLOCK = frozenset({"ledger.entry_malformed", "ledger.block_time_backwards"})
"""What a signed block itself can be wrong by; any other damage is found in this copy's own files, accusing nobody."""


class HistoryBroken(Exception):
    """The signed log and the copy do not agree; the follower turns this into its alarm.

    is_signed: what the operator signed shows it by itself. Else an older note, foreign blocks or a wrong proof would
    look the same, so it says something of the operator only where nobody else could have sent it [PEER-12].
    """

    def __init__(self, kind: ForkKind, detail: str, *, is_signed: bool) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.is_signed = is_signed


class LogCopier:
    """Copies the writer's blocks until a copy stands at a signed checkpoint of the writer."""

    def __init__(
        self,
        copy: LedgerCopy,
        *,
        writer: BlockSource,
        verifier: Verifier,
        settings: FollowerSettings,
        tell: Callable[[Block, Sequence[Event]], None],
    ) -> None:
        self._copy = copy
        self._writer = writer
        self._verifier = verifier
        self._settings = settings
        self._tell = tell
        self._hash_name = copy.machine.suite.hash_name

    def follow(self, checkpoint: Checkpoint, *, accepted: Checkpoint | None) -> None:
        """Copy all blocks up to a verified checkpoint; raises HistoryBroken if it is not of the copied log."""
        # Blocks that could not be indexed the last time are still to come.
        self._copy.publish()
        # Step 1: a log never shrinks.
        if accepted is not None and checkpoint.size < accepted.size:
            raise HistoryBroken(
                ForkKind.SHRUNK,
                f"{accepted.size} leaves were signed before, the new checkpoint says {checkpoint.size}",
                is_signed=False,
            )
        head = self._copy.head
        if checkpoint.size <= head.size:
            # Step 2: what was copied lies under the checkpoint.
            self._require_root(checkpoint, self._copy.root_at(checkpoint.size), is_own=True)
            return
        # Steps 2 to 4 for the next blocks, then 5 to 7; and so on, a bounded number of transactions at a time.
        self._copy_blocks(*self._take_first(checkpoint), checkpoint)
        while self._copy.head.size < checkpoint.size:
            blocks = self._take_blocks(checkpoint)
            self._copy_blocks(blocks, self._grow(blocks), checkpoint)

    def _take_first(self, checkpoint: Checkpoint) -> tuple[list[Block], list[Growth]]:
        """Take the next blocks, and require that what was copied before them lies under the checkpoint.

        Blocks that lead from the copy to the very root that was signed prove that (step 2); in all other cases, and
        whatever is wrong with the blocks, it is proven or refuted first.
        """
        head = self._copy.head
        try:
            blocks = self._take_blocks(checkpoint)
            growths = self._grow(blocks)
        except Exception:
            self._require_consistent(checkpoint, size=head.size, root=head.root, is_own=True)
            raise
        last = growths[-1].frontier
        if (last.size, last.root()) != (checkpoint.size, checkpoint.root):
            self._require_consistent(checkpoint, size=head.size, root=head.root, is_own=True)
        return blocks, growths

    def _grow(self, blocks: Sequence[Block]) -> list[Growth]:
        """Return what each block makes of the tree."""
        frontier = self._copy.frontier
        growths: list[Growth] = []
        for block in blocks:
            growths.append(grow(frontier, (*block.transactions, block.entry), hash_name=self._hash_name))
            frontier = growths[-1].frontier
        return growths

    def _require_root(self, checkpoint: Checkpoint, root: bytes, *, is_own: bool) -> None:
        """Return if a root is the signed one. is_own: of this copy, not of blocks that were only handed out."""
        if root != checkpoint.root:
            raise HistoryBroken(
                ForkKind.ROOT_DIFFERS,
                f"at {checkpoint.size} leaves root {checkpoint.root.hex()} is signed, ours is {root.hex()}",
                is_signed=is_own,
            )

    def _require_consistent(self, checkpoint: Checkpoint, *, size: int, root: bytes, is_own: bool) -> None:
        if size == 0:
            # Every log begins with the empty one.
            return
        path = self._writer.consistency_proof(old_size=size, new_size=checkpoint.size)
        own = Checkpoint(origin=checkpoint.origin, size=size, root=root, note=b"")
        try:
            verify_extension(own, checkpoint, path=path, hash_name=self._hash_name)
        except IntegrityError as error:
            # A wrong path proves nothing; one that leads to the signed root from other leaves does.
            fork = fork_kind(own, checkpoint, proof=path, hash_name=self._hash_name) if is_own else None
            raise HistoryBroken(
                ForkKind.NOT_AN_EXTENSION,
                f"the signed log of {checkpoint.size} leaves does not begin with our {size} of root {root.hex()}",
                is_signed=fork is not None,
            ) from error

    def _take_blocks(self, checkpoint: Checkpoint) -> list[Block]:
        """Take the next blocks that end at or before the checkpoint ([STORE-21] step 3)."""
        head = self._copy.head
        height, size, count = head.height, head.size, 0
        taken: list[Block] = []
        for block in self._writer.blocks(from_height=head.height + 1):
            size += len(block.transactions) + 1
            count += len(block.transactions)
            if block.height != height + 1 or not block.transactions or size > checkpoint.size:
                raise HistoryBroken(
                    ForkKind.BLOCK_INVALID,
                    f"block {block.height} with {len(block.transactions)} transactions was handed out, "
                    f"where block {height + 1} up to leaf {checkpoint.size} follows",
                    is_signed=False,
                )
            height += 1
            taken.append(block)
            if size == checkpoint.size or count >= self._settings.max_batch_transactions:
                return taken
        raise Unavailable(
            "ledger.blocks_missing",
            f"the writer signed {checkpoint.size} leaves and handed out only {size}",
            retry_after_s=1.0,
        )

    def _copy_blocks(self, blocks: Sequence[Block], growths: Sequence[Growth], checkpoint: Checkpoint) -> None:
        # Step 4: these very leaves are what the operator signed.
        self._require_signed(growths[-1].frontier, checkpoint)
        # Step 5: every signature of every transaction.
        decoded = self._decode_all(blocks)
        blocks, growths = blocks[: len(decoded)], growths[: len(decoded)]
        view = self._copy.current
        transactions = [tx for txs in decoded for tx in txs]
        proven = prove_signatures(transactions, view, machine=self._copy.machine, verifier=self._verifier)
        candidates = iter(
            [Candidate(transaction=tx, proven_keys=keys) for tx, keys in zip(transactions, proven, strict=True)]
        )
        # Steps 6 and 7: every rule, block by block. What was stored before one that breaks a rule is indexed too.
        committed: list[tuple[Block, Sequence[Event]]] = []
        try:
            for block, growth in zip(blocks, growths, strict=True):
                committed.append(self._execute(block, [next(candidates) for _ in block.transactions], growth))
        finally:
            self._copy.publish()
            for block, events in committed:
                self._tell(block, events)

    def _require_signed(self, frontier: Frontier, checkpoint: Checkpoint) -> None:
        if frontier.size == checkpoint.size:
            self._require_root(checkpoint, frontier.root(), is_own=False)
        else:
            self._require_consistent(checkpoint, size=frontier.size, root=frontier.root(), is_own=False)

    def _decode_all(self, blocks: Sequence[Block]) -> list[list[Transaction]]:
        """Decode blocks up to one that has a kind unknown here: those before it say whether it should be known.

        Raises Unavailable ``ledger.version_missing`` if the first block needs what this program does not have.
        """
        self._copy.machine.require_versions(self._copy.current, height=blocks[0].height)
        decoded: list[list[Transaction]] = []
        for block in blocks:
            try:
                decoded.append(self._decode(block))
            except HistoryBroken:
                if not decoded:
                    raise
                break
        return decoded

    def _decode(self, block: Block) -> list[Transaction]:
        try:
            return [self._copy.machine.decode(raw) for raw in block.transactions]
        except InvalidInput as error:
            # Nothing else is a verdict on the bytes.
            raise _invalid(block, str(error)) from error

    def _execute(self, block: Block, candidates: Sequence[Candidate], growth: Growth) -> tuple[Block, Sequence[Event]]:
        try:
            time_ms = decode_entry(block.entry).time_ms
            execution = self._copy.execute(candidates, overlay=self._copy.overlay(), time_ms=time_ms)
        except IntegrityError as error:
            if error.code not in _BROKEN_BY_A_BLOCK:
                raise
            raise _invalid(block, str(error)) from error
        for position, outcome in enumerate(execution.result.outcomes):
            if outcome.refusal is not None:
                raise _invalid(block, f"its transaction {position} is refused with {outcome.refusal}")
        if execution.result.entry != block.entry:
            raise _invalid(block, "its entry is not the one its transactions give")
        # All were accepted and the entry is the one that was signed: its leaves are those that ``growth`` was made of.
        stored = self._copy.store(execution, growth=growth)
        return stored, [event for outcome in execution.result.outcomes for event in outcome.events]


def _invalid(block: Block, reason: str) -> HistoryBroken:
    detail = f"block {block.height} was signed and breaks the rules: {reason}"
    return HistoryBroken(ForkKind.BLOCK_INVALID, detail, is_signed=True)

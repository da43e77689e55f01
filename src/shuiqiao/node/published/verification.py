"""Verifies a receipt, or a published log, with a genesis and nothing else: no home, no ledger, no network.

It is what an outsider does who follows a network. The outsider trusts neither the files of a published log nor the
server that has them. Every entry is hashed and leads to the checkpoint; the members' keys are followed from the genesis
to it (``MembersReplay``), so that its signatures are those which its epoch asks for; every tile holds the hashes that
the entries give. A checkpoint that was kept from before shows that nothing it covered was changed or taken away.

LIMIT: it reads the whole log each time; a receipt is compared with a known checkpoint from a few tiles. That its rules
were kept in every transaction is the audit's matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.files import read_regular
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.signed_note import (
    MAX_SIGNED_NOTE_BYTES,
    Checkpoint,
    decode_signed_note,
    read_checkpoint,
)
from shuiqiao.ledger.log.entry import is_entry
from shuiqiao.ledger.model import NetworkParameters
from shuiqiao.ledger.receipts.verification import VerifiedReceipt, verify_receipt
from shuiqiao.ledger.replay.members import MembersReplay, contradicted
from shuiqiao.ledger.tiles.paths import CHECKPOINT_PATH
from shuiqiao.ledger.tiles.reader import FolderTiles, PublishedLog, TileSource, verify_pinned
from shuiqiao.members.genesis import network_parameters
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.node.home.kinds import KEY_ROOMS, network_kinds, network_machine
from shuiqiao.node.home.settings import Home, load_genesis
from shuiqiao.vault.evidence import (
    EVIDENCE_MAGIC,
    MAX_EVIDENCE_FILE_BYTES,
    VerifiedRecord,
    decode_evidence,
    is_evidence,
    verify_evidence,
)

if TYPE_CHECKING:
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
    from shuiqiao.ledger.model import NetworkParameters
    from shuiqiao.ledger.tiles.reader import TileSource

MAX_BLOCK_LEAVES: Final = 1 << 16
MAX_BLOCK_BYTES: Final = 64 * 1024 * 1024
"""Leaves, and bytes of them, without a block entry after which reading ends: a block is kept in memory before any of it
is verified, and no engine makes one of half the bytes [TILE-5]."""

_TELL_EVERY: Final = 500
"""Blocks between two calls of a progress listener."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedLog:
    """A published log that holds. height, time_ms: of its last block. cosigners: member ids."""

    checkpoint: Checkpoint
    height: int
    time_ms: int
    cosigners: tuple[str, ...]


def verify_published(
    source: TileSource,
    *,
    parameters: NetworkParameters,
    suite: CipherSuite,
    since: Checkpoint | None = None,
    progress: Progress = no_progress,
) -> VerifiedLog:
    """Verify every byte of a published log against a genesis.

    E.g. ``verify_published(FolderTiles(Path("/var/www/log")), parameters=parameters, suite=suite).cosigners``.

    since: a checkpoint that is known to be true, which the log must contain. Raises Unavailable
    ``ledger.tile_missing``; IntegrityError ``ledger.tile_malformed``, ``ledger.tile_contradicted``,
    ``ledger.checkpoint_foreign``, ``ledger.pin_contradicted``, ``node.history_contradicted``, ``node.key_forged`` and
    what ``verify_note`` raises; InvalidInput ``node.history_older``.
    """
    note = source.get(CHECKPOINT_PATH, max_bytes=MAX_SIGNED_NOTE_BYTES)
    if note is None:
        raise Unavailable(
            "ledger.tile_missing", "there is no checkpoint", next_step="name the folder that holds the published files"
        )
    head = read_checkpoint(note)
    require_own_network(head, parameters)
    published = PublishedLog(source, checkpoint=head, suite=suite)
    notes = {CHECKPOINT_PATH: note}
    followed = MembersReplay(network_machine(parameters), rooms=KEY_ROOMS, notes=notes, since=since)
    for transactions, entry in blocks_of_leaves(published.entries()):
        followed.take(transactions, entry)
        if followed.height % _TELL_EVERY == 0:
            progress("follow the log 核对日志", followed.size, head.size)
    followed.require_met()
    progress("compare the tiles 核对哈希文件", 0, head.size)
    published.verify_all()
    own = f"{parameters.origin}/"
    names = [line.name for line in decode_signed_note(note).lines]
    return VerifiedLog(
        checkpoint=head,
        height=followed.height,
        time_ms=followed.time_ms,
        cosigners=tuple(name.removeprefix(own) for name in names if name.startswith(own)),
    )


def require_own_network(head: Checkpoint, parameters: NetworkParameters) -> None:
    """Return if a published checkpoint is of a network; raises IntegrityError ``ledger.checkpoint_foreign``."""
    if head.origin != parameters.origin:
        raise IntegrityError(
            "ledger.checkpoint_foreign",
            f"the files are of {head.origin[:100]!r}, the genesis is of {parameters.origin!r}",
            next_step="name the genesis of the network whose files these are, and compare its fingerprint",
        )


def blocks_of_leaves(leaves: Iterable[bytes]) -> Iterator[tuple[list[bytes], bytes]]:
    """Yield the transactions of each block with its entry, which no transaction can be taken for.

    Raises IntegrityError ``node.history_contradicted`` for leaves that are no blocks.
    """
    transactions: list[bytes] = []
    size = 0
    for leaf in leaves:
        if is_entry(leaf):
            yield transactions, leaf
            transactions, size = [], 0
            continue
        transactions.append(leaf)
        size += len(leaf)
        if len(transactions) > MAX_BLOCK_LEAVES or size > MAX_BLOCK_BYTES:
            raise contradicted(f"no block entry follows within {len(transactions)} leaves of {size} bytes")
    if transactions:
        raise contradicted(f"{len(transactions)} leaves at its end belong to no block")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptVerifier:
    """A genesis somebody trusts, ready to judge receipts.

    E.g. ``ReceiptVerifier.from_genesis(genesis=Path("genesis.json"), home=None).verify_file(path).proves``.
    """

    parameters: NetworkParameters
    suite: CipherSuite
    pinned: Checkpoint | None = None
    """A checkpoint that every receipt must be of one history with."""
    tiles: TileSource | None = None

    @classmethod
    def from_genesis(
        cls, *, genesis: Path | None, home: Path | None, since: Path | None = None, tiles: Path | None = None
    ) -> ReceiptVerifier:
        """Take the genesis from a file or from a home; never from a receipt.

        since: a checkpoint that is known to be true. tiles: a folder of the log's static files, to compare with it.
        """
        if genesis is None and home is None:
            raise InvalidInput(
                "node.genesis_unnamed",
                "verifying needs a genesis you trust, and none was named",
                next_step="add --genesis genesis.json or --home FOLDER",
            )
        path = genesis if genesis is not None else Home(home or Path()).genesis
        return replace(
            cls.of(load_genesis(path)),
            pinned=None if since is None else load_known_checkpoint(since),
            tiles=None if tiles is None else FolderTiles(tiles),
        )

    @classmethod
    def of(cls, genesis: bytes) -> ReceiptVerifier:
        """Take the bytes of a genesis that somebody trusts; raises what ``decode_genesis`` raises."""
        parameters = network_parameters(genesis)
        return cls(parameters=parameters, suite=get_suite(parameters.suite))

    @property
    def fingerprint(self) -> str:
        """The network id in hex: what people compare."""
        return self.parameters.network.hex()

    def verify_file(self, path: Path) -> VerifiedReceipt | VerifiedRecord:
        """Verify a file that is a receipt or a record's evidence.

        Raises the code of what failed, or Unavailable ``node.receipt_unreadable``.
        """
        data = _read(path, limit=MAX_EVIDENCE_FILE_BYTES + len(EVIDENCE_MAGIC))
        return self.verify_record(data) if is_evidence(data) else self.verify(data)

    def verify_record(self, data: bytes) -> VerifiedRecord:
        """Verify the evidence of a record; raises the code of what failed."""
        evidence = decode_evidence(data)
        return verify_evidence(evidence, receipt=self.verify(evidence.receipt), suite=self.suite)

    def verify_published(self, *, progress: Progress) -> VerifiedLog:
        """Verify the static files themselves; raises the code of what failed. Only where they were named."""
        if self.tiles is None:
            raise ValueError("no static files were named")
        return verify_published(
            self.tiles, parameters=self.parameters, suite=self.suite, since=self.pinned, progress=progress
        )

    def verify(self, data: bytes) -> VerifiedReceipt:
        """Verify receipt bytes; raises the code of what failed."""
        found = verify_receipt(
            data, parameters=self.parameters, kinds=network_kinds(), key_ring=MemberKeyRing(), suite=self.suite
        )
        if self.pinned is not None:
            verify_pinned(found.checkpoint, pinned=self.pinned, tiles=self.tiles, suite=self.suite)
        return found


def load_known_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint in a file that the caller knows to be true.

    Raises Unavailable ``node.receipt_unreadable``, IntegrityError ``ledger.checkpoint_malformed``.
    """
    return read_checkpoint(_read(path, limit=MAX_SIGNED_NOTE_BYTES))


def _read(path: Path, *, limit: int) -> bytes:
    try:
        return read_regular(path, max_bytes=limit)
    except OSError as error:
        raise Unavailable("node.receipt_unreadable", f"{path} cannot be read: {error.strerror}") from error

"""A published log verified from its static files and a genesis: what an outsider does who follows a network.

The files need not be trusted, nor whoever serves them. Every entry is hashed and leads to the checkpoint; the members'
keys are followed from the genesis to it (``MembersReplay``), so that its signatures are those which its epoch asks for;
every tile holds the hashes that the entries give. A checkpoint that was kept from before shows that nothing it covered
was changed or taken away.

LIMIT: it reads the whole log each time; a receipt is compared with a known checkpoint from a few tiles. That its rules
were kept in every transaction is the audit's matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.ledger.checkpoints.signed_note import MAX_SIGNED_NOTE_BYTES, decode_signed_note, read_checkpoint
from shuiqiao.ledger.log.entry import is_entry
from shuiqiao.ledger.replay.members import MembersReplay, contradicted
from shuiqiao.ledger.tiles.paths import CHECKPOINT_PATH
from shuiqiao.ledger.tiles.reader import PublishedLog
from shuiqiao.node.kinds import KEY_ROOMS, network_machine

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
    if head.origin != parameters.origin:
        raise IntegrityError(
            "ledger.checkpoint_foreign",
            f"the files are of {head.origin[:100]!r}, the genesis is of {parameters.origin!r}",
            next_step="name the genesis of the network whose files these are, and compare its fingerprint",
        )
    published = PublishedLog(source, checkpoint=head, suite=suite)
    notes = {CHECKPOINT_PATH: note}
    followed = MembersReplay(network_machine(parameters), rooms=KEY_ROOMS, notes=notes, since=since)
    for transactions, entry in _blocks(published.entries()):
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


def _blocks(leaves: Iterable[bytes]) -> Iterator[tuple[list[bytes], bytes]]:
    """Yield the transactions of each block with its entry, which no transaction can be taken for."""
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

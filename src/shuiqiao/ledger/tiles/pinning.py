"""A checkpoint that a verifier knows already: what any other must agree with [LEDGER-RECEIPT-7].

A quorum of stolen retired keys can sign another walk from the genesis. Who has seen a newer checkpoint pins it: the
log of a receipt must contain it or be contained in it. The proof of that comes from the log's static files, which need
not be trusted, since it leads to both roots or to none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.ledger.checkpoints.signed_note import MAX_SIGNED_NOTE_BYTES, decode_signed_note
from shuiqiao.ledger.log.tree import consistency_path, verify_consistency
from shuiqiao.ledger.model import Checkpoint
from shuiqiao.ledger.tiles.paths import CHECKPOINT_PATH
from shuiqiao.ledger.tiles.reader import PublishedLog

if TYPE_CHECKING:
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.ledger.tiles.reader import TileSource


def decode_pinned(note: bytes) -> Checkpoint:
    """Return the checkpoint in a note that the verifier trusts, whoever signed it.

    Raises IntegrityError ``ledger.checkpoint_malformed``.
    """
    head = decode_signed_note(note).head
    return Checkpoint(origin=head.origin, size=head.size, root=head.root, note=note)


def verify_pinned(checkpoint: Checkpoint, *, pinned: Checkpoint, tiles: TileSource | None, suite: CipherSuite) -> None:
    """Return if a checkpoint and the pinned one are of one history.

    tiles: the log's static files, needed unless both are of one size. Raises IntegrityError
    ``ledger.pin_contradicted``, ``ledger.tile_malformed``; InvalidInput ``ledger.pin_foreign``,
    ``ledger.pin_unproven``; Unavailable ``ledger.tile_missing``.
    """
    if pinned.origin != checkpoint.origin:
        raise InvalidInput(
            "ledger.pin_foreign", f"the known checkpoint is of {pinned.origin!r}, the receipt of {checkpoint.origin!r}"
        )
    if pinned.size == checkpoint.size:
        if pinned.root != checkpoint.root:
            raise _contradicted(checkpoint, pinned)
        return
    if tiles is None:
        raise InvalidInput(
            "ledger.pin_unproven",
            f"the receipt's log has {checkpoint.size} leaves, the known one {pinned.size}: that they are one history "
            "is shown by the log's static files, and none were named",
            next_step="add --tiles FOLDER, or ask a member for the receipt under the checkpoint that you know",
        )
    old, new = sorted((checkpoint, pinned), key=lambda one: one.size)
    try:
        verify_consistency(
            old_size=old.size,
            old_root=old.root,
            new_size=new.size,
            new_root=new.root,
            path=_path(tiles, old_size=old.size, new_size=new.size, suite=suite),
            hash_name=suite.hash_name,
        )
    except IntegrityError as error:
        raise _contradicted(checkpoint, pinned) from error


def _path(tiles: TileSource, *, old_size: int, new_size: int, suite: CipherSuite) -> tuple[bytes, ...]:
    if old_size == 0:
        return ()
    note = tiles.get(CHECKPOINT_PATH, max_bytes=MAX_SIGNED_NOTE_BYTES)
    published = None if note is None else decode_pinned(note)
    if published is None or published.size < new_size:
        raise Unavailable(
            "ledger.tile_missing",
            f"the static files reach to {0 if published is None else published.size} leaves, {new_size} are needed",
            next_step="fetch newer files of the log",
        )
    log = PublishedLog(tiles, checkpoint=published, suite=suite)
    return consistency_path(log, old_size=old_size, new_size=new_size, hash_name=suite.hash_name)


def _contradicted(checkpoint: Checkpoint, pinned: Checkpoint) -> IntegrityError:
    return IntegrityError(
        "ledger.pin_contradicted",
        f"the receipt's log of {checkpoint.size} leaves has root {checkpoint.root.hex()} and is not of one history "
        f"with the known one of {pinned.size} leaves and root {pinned.root.hex()}",
        next_step="keep both notes and tell the regulator: one of them was signed with stolen keys, or the files are "
        "of another log",
    )

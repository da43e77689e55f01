"""A member alters its own copy of a record, and all on its disk that follows from it, as a skilled cheater would.

It holds its own signing key, so the altered record is signed. Segment files with their digests and chain, the index
with the Merkle hashes, the state value and the state map, and the position that names the application hash: all are
made anew to fit. Opened by itself, such a copy is without a fault; only others can tell.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from shuiqiao.base.durable import ScratchDisk
from shuiqiao.base.errors import InvalidInput
from shuiqiao.ledger.checkpoints.signed_note import encode_text
from shuiqiao.ledger.engine.cometbft.consensus.app_state import CONSENSUS_FOLDER
from shuiqiao.ledger.engine.cometbft.consensus.heights import HeightFile
from shuiqiao.ledger.engine.ledger_copy import INDEX_FOLDER, SEGMENTS_FOLDER
from shuiqiao.ledger.model import Block, Transaction
from shuiqiao.ledger.transactions.transaction import TransactionDraft, sign_transaction
from shuiqiao.node.institution import Institution
from shuiqiao.sandbox.scenario.rebuilding import TimedBlock, execute_blocks, machine_of, open_unflushed

DECISION = "decision.record"


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgery:
    """One record of a member, and what it would rather have said. original, altered: signed transaction bytes."""

    original: bytes
    altered: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AlteredCopy:
    """What became of a copy. honest_app_hash: the one that all agreed on, which the altered blocks no longer give."""

    size: int
    root: bytes
    honest_app_hash: bytes
    app_hash: bytes


def forge_decision(member: Institution) -> Forgery:
    """Put another commitment into the first decision that a bank recorded, under the bank's own signature.

    Raises InvalidInput ``sandbox.decision_missing`` for a bank that has decided nothing.
    """
    for block in member.engine.blocks(from_height=1):
        for raw in block.transactions:
            tx = member.outbox.decode(raw)
            if (tx.kind, tx.author) == (DECISION, member.member):
                return Forgery(original=raw, altered=_turned(tx, member=member))
    raise InvalidInput("sandbox.decision_missing", f"{member.member} has recorded no decision that it could alter")


def _turned(tx: Transaction, *, member: Institution) -> bytes:
    draft = TransactionDraft(
        kind=tx.kind,
        version=tx.version,
        body=msgspec.structs.replace(tx.body, commitment=bytes(32)),
        author=tx.author,
        valid_until_ms=tx.valid_until_ms,
        id=tx.id,
    )
    return sign_transaction(draft, network=tx.network, suite=member.suite, keys=[member.keys.signing])


def alter_copy(member: Institution, forgery: Forgery, *, blocks: Iterable[Block], scratch: Path) -> AlteredCopy:
    """Put the altered record in the place of the original in a closed member's ledger folder, and all that follows.

    blocks: its own, read before it was closed. scratch: an empty folder.
    """
    copy = open_unflushed(scratch, machine=machine_of(member.parameters, kinds=member.kinds))
    try:
        for _ in execute_blocks(copy, _altered(blocks, forgery)):
            pass
        head = copy.head
    finally:
        copy.close()
    for name in (SEGMENTS_FOLDER, INDEX_FOLDER):
        shutil.rmtree(member.home.ledger / name)
        shutil.move(scratch / name, member.home.ledger / name)
    text = encode_text(origin=member.parameters.origin, size=head.size, root=head.root)
    app_hash = member.suite.digest(text)
    honest = _write_position(member, block=head.height, app_hash=app_hash)
    return AlteredCopy(size=head.size, root=head.root, honest_app_hash=honest, app_hash=app_hash)


def _altered(blocks: Iterable[Block], forgery: Forgery) -> Iterator[TimedBlock]:
    for block in blocks:
        kept = [forgery.altered if raw == forgery.original else raw for raw in block.transactions]
        yield TimedBlock(time_ms=block.time_ms, transactions=kept)


def _write_position(member: Institution, *, block: int, app_hash: bytes) -> bytes:
    """Name the altered application hash where the node keeps it, and return the one that stood there."""
    file = HeightFile(member.home.ledger / CONSENSUS_FOLDER / "position", disk=ScratchDisk())
    try:
        position = file.load(block=block)
        assert position is not None
        file.save(msgspec.structs.replace(position, app_hash=app_hash), is_durable=True)
    finally:
        file.close()
    return position.app_hash

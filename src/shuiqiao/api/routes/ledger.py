"""``/ledger``: entries, blocks, checkpoints, receipts, state and proofs of this institution's copy of the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import Path, Query, Response

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routing import DEFAULT_LIMIT, Caller, Limit, Routes
from shuiqiao.api.values import json_value
from shuiqiao.client.problem import not_found
from shuiqiao.client.resources.ledger import (
    LIST_ENTRIES,
    RECEIPT_TYPE,
    BlockPage,
    BlockSummary,
    CheckpointRecord,
    ConsistencyProof,
    Entry,
    EntryPage,
    EntryQuestion,
    StateValue,
)
from shuiqiao.client.wire import MAX_EXACT
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
from shuiqiao.ledger.log.entry import decode_entry
from shuiqiao.ledger.model import Block, Transaction
from shuiqiao.ledger.receipts.receipt import MAX_STATE_CLAIMS
from shuiqiao.ledger.state.overlay import MAX_KEY_BYTES
from shuiqiao.ledger.tiles.publishing import file_of_log
from shuiqiao.ledger.transactions.looking_up import block_at, height_of
from shuiqiao.node.published.publication import PublicEngine

if TYPE_CHECKING:
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.server import RunningInstitution

ledger = Routes("ledger")

RECEIPT_ANSWER: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "The receipt: one file that `shuiqiao verify` checks with the genesis alone",
        "content": {
            RECEIPT_TYPE: {
                "schema": {"type": "string", "format": "binary"},
                "example": "(bytes of deterministic CBOR, which no text shows: save them in a file)",
            }
        },
    }
}
TILE: Final = "application/octet-stream"

Index = Annotated[int, Path(ge=0, le=MAX_EXACT, examples=[12])]
Height = Annotated[int, Path(ge=1, le=MAX_EXACT, examples=[5])]
TilePath = Annotated[str, Path(max_length=64, pattern=r"^[a-z0-9/.]+$", examples=["checkpoint"])]
Size = Annotated[int, Query(ge=0, le=MAX_EXACT)]
Place = Annotated[str, Query(pattern=r"^(0|[1-9][0-9]{0,15})$", description="Where the list goes on")]
Proof = Annotated[
    bool,
    Query(description="With the receipt of each, which is checked with the genesis alone; a page has at most 100 then"),
]
Kind = Annotated[str, Query(pattern=r"^[a-z_]{1,40}\.[a-z_]{1,40}$", description="Of this kind alone")]
Author = Annotated[str, Query(max_length=200, description="Of this author alone")]
StateKey = Annotated[
    str, Query(min_length=1, max_length=MAX_KEY_BYTES, pattern=r"^[!-~]+$", examples=["members/epoch"])
]
StateKeys = Annotated[
    list[Annotated[str, Query(min_length=1, max_length=MAX_KEY_BYTES, pattern=r"^[!-~]+$")]],
    Query(max_length=MAX_STATE_CLAIMS, description="Keys whose values the receipt proves, too"),
]


@ledger.perform(LIST_ENTRIES, permission="ledger.read", codes=("ledger.quorum_not_reached",))
def list_entries(
    running: Running,
    caller: Caller,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Place | None = None,
    kind: Kind | None = None,
    author: Author | None = None,
    proof: Proof = False,  # noqa: FBT002 - FastAPI's form of a parameter
) -> EntryPage:
    """List transactions in the order of the log, from a leaf index on."""
    asked = EntryQuestion(limit=limit, cursor=cursor, kind=kind, author=author, proof=proof)
    return performed(running, caller, LIST_ENTRIES, asked)


@ledger.get("/ledger/entries/{index}", permission="ledger.read", codes=("ledger.index_unknown",))
def read_entry(index: Index, running: Running) -> Entry:
    """Return one transaction in full."""
    institution = running.institution
    found = _transaction_at(institution, index)
    if found is None:
        raise not_found()
    block, raw = found
    tx = institution.outbox.decode(raw)
    return Entry(
        index=index,
        height=block.height,
        time_ms=block.time_ms,
        kind=tx.kind,
        author=tx.author,
        id=tx.id.hex(),
        version=tx.version,
        valid_until_ms=tx.valid_until_ms,
        body=json_value(tx.body),
        key_ids=tuple(signature.key_id.hex() for signature in tx.signatures),
        raw=raw.hex(),
    )


def transaction_at(institution: Institution, index: int) -> Transaction | None:
    """Return the transaction at a leaf of the log, None where there is none."""
    found = _transaction_at(institution, index)
    return None if found is None else institution.outbox.decode(found[1])


def _transaction_at(institution: Institution, index: int) -> tuple[Block, bytes] | None:
    height = height_of(institution.engine, index)
    if height > institution.engine.last_block()[0]:
        return None
    block = block_at(institution.engine, height)
    # The leaf behind its transactions is the block's own entry; ``/blocks/{height}`` has it.
    place = index - block.first_index
    return (block, block.transactions[place]) if place < len(block.transactions) else None


@ledger.get(
    "/ledger/entries/{index}/receipt",
    permission="ledger.read",
    codes=("ledger.index_unknown", "ledger.quorum_not_reached"),
    response_class=Response,
    responses=RECEIPT_ANSWER,
)
def read_receipt(index: Index, running: Running, state_key: StateKeys = []) -> Response:  # noqa: B006 - FastAPI copies it
    """Return the receipt of a transaction: inclusion proof, checkpoint, and proofs of what the state holds at keys."""
    return receipt_of(running, index, state_keys=state_key)


def receipt_of(running: RunningInstitution, index: int, *, state_keys: Sequence[str] = ()) -> Response:
    """Return the receipt of a transaction as an answer."""
    data = running.institution.engine.receipt(index, state_keys=state_keys)
    headers = {"Content-Disposition": f'attachment; filename="{index}.receipt"'}
    return Response(data, media_type=RECEIPT_TYPE, headers=headers)


@ledger.get("/ledger/blocks", permission="ledger.read")
def list_blocks(running: Running, limit: Limit = DEFAULT_LIMIT, cursor: Place | None = None) -> BlockPage:
    """List blocks by height."""
    engine, found = running.institution.engine, list[BlockSummary]()
    for block in engine.blocks(from_height=max(1, int(cursor or 1))):
        if len(found) == limit:
            return BlockPage(items=tuple(found), next=str(block.height))
        found.append(_summary(block))
    return BlockPage(items=tuple(found), next=None)


@ledger.get("/ledger/blocks/{height}", permission="ledger.read", codes=("ledger.height_unknown",))
def read_block(height: Height, running: Running) -> BlockSummary:
    """Tell of one block."""
    return _summary(block_at(running.institution.engine, height))


def _summary(block: Block) -> BlockSummary:
    return BlockSummary(
        height=block.height,
        time_ms=block.time_ms,
        first_index=block.first_index,
        transactions=len(block.transactions),
        entry=block.entry.hex(),
        state_root=decode_entry(block.entry).state_root.hex(),
    )


@ledger.get("/ledger/checkpoint", permission="ledger.read")
def read_checkpoint(running: Running) -> CheckpointRecord:
    """Return the newest signed checkpoint."""
    checkpoint: Checkpoint = running.institution.engine.checkpoint()
    return CheckpointRecord(
        origin=checkpoint.origin, size=checkpoint.size, root=checkpoint.root.hex(), note=checkpoint.note.decode()
    )


@ledger.get(
    "/ledger/tiles/{path:path}",
    permission="ledger.read",
    problems=(404,),
    response_class=Response,
    responses={
        200: {
            "description": "A static file of the log (c2sp.org/tlog-tiles): the checkpoint, hashes, or entries",
            "content": {
                TILE: {
                    "schema": {"type": "string", "format": "binary"},
                    "example": "shuiqiao/8f8f\n130\nKio=\n\n— shuiqiao/8f8f/tax-bureau AAAA\n",
                }
            },
        }
    },
)
def read_tile(path: TilePath, running: Running) -> Response:
    """Return a static file of the log as of its newest checkpoint with all its signatures [API-14]."""
    institution = running.institution
    if not isinstance(institution.engine, PublicEngine):
        raise not_found()
    source = institution.engine.public_log()
    data = None if source is None else file_of_log(path, source, hash_name=institution.suite.hash_name)
    if data is None:
        raise not_found()
    return Response(data, media_type=TILE)


@ledger.get("/ledger/consistency", permission="ledger.read", codes=("ledger.size_unknown",))
def read_consistency(old_size: Size, new_size: Size, running: Running) -> ConsistencyProof:
    """Prove that the log of one size is the beginning of the log of another."""
    path = running.institution.engine.consistency_proof(old_size=old_size, new_size=new_size)
    return ConsistencyProof(old_size=old_size, new_size=new_size, path=tuple(step.hex() for step in path))


@ledger.get("/ledger/state", permission="ledger.read")
def read_state(key: StateKey, running: Running) -> StateValue:
    """Return what the state holds at a key now; ``/entries/{index}/receipt?state_key=`` proves it."""
    engine = running.institution.engine
    state, (height, _) = engine.state(), engine.last_block()
    value = state.get(key)
    return StateValue(key=key, height=height, is_set=value is not None, value=json_value(value))

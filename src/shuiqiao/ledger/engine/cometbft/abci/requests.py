"""What CometBFT asks: every request of ABCI 2.0 in v0.38 to v0.40; InsertTx and ReapTxs came with v0.39.

One class per call, and the table by which ``codec`` finds it. Numbers as in ``parts``.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final

from shuiqiao.ledger.engine.cometbft.abci.parts import (
    COMMIT_INFO,
    CONSENSUS_PARAMS,
    EXTENDED_COMMIT_INFO,
    MISBEHAVIOR,
    SNAPSHOT,
    TIMESTAMP,
    VALIDATOR_UPDATE,
    CommitInfo,
    ConsensusParams,
    ExtendedCommitInfo,
    Misbehavior,
    Snapshot,
    Timestamp,
    ValidatorUpdate,
)
from shuiqiao.ledger.engine.cometbft.abci.wire import (
    Message,
    Sort,
    Table,
    bool_field,
    bytes_field,
    int_field,
    many,
    many_nested,
    nested,
    text_field,
    uint_field,
)


class RequestEcho(Message, frozen=True):
    """Say the same back."""

    message: str = ""


class RequestFlush(Message, frozen=True):
    """Send all answers out."""


class RequestInfo(Message, frozen=True):
    """Who CometBFT is; asks for the last committed height."""

    version: str = ""
    block_version: int = 0
    p2p_version: int = 0
    abci_version: str = ""


class RequestInitChain(Message, frozen=True):
    """The CometBFT genesis, once in a network's life."""

    time: Timestamp | None = None
    chain_id: str = ""
    consensus_params: ConsensusParams | None = None
    validators: Sequence[ValidatorUpdate] = ()
    app_state_bytes: bytes = b""
    initial_height: int = 0


class RequestQuery(Message, frozen=True):
    """A question from CometBFT's RPC."""

    data: bytes = b""
    path: str = ""
    height: int = 0
    prove: bool = False


class CheckKind(IntEnum):
    """Why a transaction is checked."""

    NEW = 0
    RECHECK = 1


class RequestCheckTx(Message, frozen=True):
    """May this transaction wait in the mempool?"""

    tx: bytes = b""
    type: int = CheckKind.NEW


class RequestInsertTx(Message, frozen=True):
    """Keep this transaction in the application's own mempool (0.39 and later)."""

    tx: bytes = b""


class RequestReapTxs(Message, frozen=True):
    """Which new transactions shall be told to peers (0.39 and later)? 0 means no limit."""

    max_bytes: int = 0
    max_gas: int = 0


class RequestCommit(Message, frozen=True):
    """Make the finalized block durable."""


class RequestListSnapshots(Message, frozen=True):
    """Which snapshots are there?"""


class RequestOfferSnapshot(Message, frozen=True):
    """A peer's snapshot, and the application hash that a light client verified for its height."""

    snapshot: Snapshot | None = None
    app_hash: bytes = b""


class RequestLoadSnapshotChunk(Message, frozen=True):
    """Hand out a part of a snapshot."""

    height: int = 0
    format: int = 0
    chunk: int = 0


class RequestApplySnapshotChunk(Message, frozen=True):
    """Take a part of the offered snapshot."""

    index: int = 0
    chunk: bytes = b""
    sender: str = ""


class RequestPrepareProposal(Message, frozen=True):
    """Make a block of these transactions."""

    max_tx_bytes: int = 0
    txs: Sequence[bytes] = ()
    local_last_commit: ExtendedCommitInfo | None = None
    misbehavior: Sequence[Misbehavior] = ()
    height: int = 0
    time: Timestamp | None = None
    next_validators_hash: bytes = b""
    proposer_address: bytes = b""


class RequestProcessProposal(Message, frozen=True):
    """May this block be voted for?"""

    txs: Sequence[bytes] = ()
    proposed_last_commit: CommitInfo | None = None
    misbehavior: Sequence[Misbehavior] = ()
    hash: bytes = b""
    height: int = 0
    time: Timestamp | None = None
    next_validators_hash: bytes = b""
    proposer_address: bytes = b""


class RequestExtendVote(Message, frozen=True):
    """What shall our precommit for this block carry?"""

    hash: bytes = b""
    height: int = 0
    time: Timestamp | None = None
    txs: Sequence[bytes] = ()
    proposed_last_commit: CommitInfo | None = None
    misbehavior: Sequence[Misbehavior] = ()
    next_validators_hash: bytes = b""
    proposer_address: bytes = b""


class RequestVerifyVoteExtension(Message, frozen=True):
    """Is what another validator's precommit carries in order?"""

    hash: bytes = b""
    validator_address: bytes = b""
    height: int = 0
    vote_extension: bytes = b""


class RequestFinalizeBlock(Message, frozen=True):
    """A decided block: execute it."""

    txs: Sequence[bytes] = ()
    decided_last_commit: CommitInfo | None = None
    misbehavior: Sequence[Misbehavior] = ()
    hash: bytes = b""
    height: int = 0
    time: Timestamp | None = None
    next_validators_hash: bytes = b""
    proposer_address: bytes = b""


_BLOCK: Final = {
    "hash": bytes_field(4),
    "height": int_field(5),
    "time": nested(6, TIMESTAMP),
    "next_validators_hash": bytes_field(7),
    "proposer_address": bytes_field(8),
}

REQUESTS: Final[dict[int, Table[Any]]] = {
    1: Table(RequestEcho, {"message": text_field(1)}),
    2: Table(RequestFlush, {}),
    3: Table(
        RequestInfo,
        {
            "version": text_field(1),
            "block_version": uint_field(2),
            "p2p_version": uint_field(3),
            "abci_version": text_field(4),
        },
    ),
    5: Table(
        RequestInitChain,
        {
            "time": nested(1, TIMESTAMP),
            "chain_id": text_field(2),
            "consensus_params": nested(3, CONSENSUS_PARAMS),
            "validators": many_nested(4, VALIDATOR_UPDATE),
            "app_state_bytes": bytes_field(5),
            "initial_height": int_field(6),
        },
    ),
    6: Table(
        RequestQuery, {"data": bytes_field(1), "path": text_field(2), "height": int_field(3), "prove": bool_field(4)}
    ),
    8: Table(RequestCheckTx, {"tx": bytes_field(1), "type": uint_field(2)}),
    11: Table(RequestCommit, {}),
    12: Table(RequestListSnapshots, {}),
    13: Table(RequestOfferSnapshot, {"snapshot": nested(1, SNAPSHOT), "app_hash": bytes_field(2)}),
    14: Table(RequestLoadSnapshotChunk, {"height": uint_field(1), "format": uint_field(2), "chunk": uint_field(3)}),
    15: Table(RequestApplySnapshotChunk, {"index": uint_field(1), "chunk": bytes_field(2), "sender": text_field(3)}),
    16: Table(
        RequestPrepareProposal,
        {
            "max_tx_bytes": int_field(1),
            "txs": many(2, Sort.BYTES),
            "local_last_commit": nested(3, EXTENDED_COMMIT_INFO),
            "misbehavior": many_nested(4, MISBEHAVIOR),
            "height": int_field(5),
            "time": nested(6, TIMESTAMP),
            "next_validators_hash": bytes_field(7),
            "proposer_address": bytes_field(8),
        },
    ),
    17: Table(
        RequestProcessProposal,
        {
            "txs": many(1, Sort.BYTES),
            "proposed_last_commit": nested(2, COMMIT_INFO),
            "misbehavior": many_nested(3, MISBEHAVIOR),
            **_BLOCK,
        },
    ),
    18: Table(
        RequestExtendVote,
        {
            "hash": bytes_field(1),
            "height": int_field(2),
            "time": nested(3, TIMESTAMP),
            "txs": many(4, Sort.BYTES),
            "proposed_last_commit": nested(5, COMMIT_INFO),
            "misbehavior": many_nested(6, MISBEHAVIOR),
            "next_validators_hash": bytes_field(7),
            "proposer_address": bytes_field(8),
        },
    ),
    19: Table(
        RequestVerifyVoteExtension,
        {
            "hash": bytes_field(1),
            "validator_address": bytes_field(2),
            "height": int_field(3),
            "vote_extension": bytes_field(4),
        },
    ),
    20: Table(
        RequestFinalizeBlock,
        {
            "txs": many(1, Sort.BYTES),
            "decided_last_commit": nested(2, COMMIT_INFO),
            "misbehavior": many_nested(3, MISBEHAVIOR),
            **_BLOCK,
        },
    ),
    21: Table(RequestInsertTx, {"tx": bytes_field(1)}),
    22: Table(RequestReapTxs, {"max_bytes": uint_field(1), "max_gas": uint_field(2)}),
}
"""Every request by its number in the message that holds them all."""

"""What we answer: every response of ABCI 2.0 in v0.38 to v0.40.

One class per call, and the table by which ``codec`` finds it. Numbers as in ``parts``.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Any, Final

from shuiqiao.ledger.engine.cometbft.abci.parts import (
    ABCI_EVENT,
    CODE_OK,
    CONSENSUS_PARAMS,
    SNAPSHOT,
    TX_RESULT,
    VALIDATOR_UPDATE,
    AbciEvent,
    ConsensusParams,
    Snapshot,
    TxResult,
    ValidatorUpdate,
)
from shuiqiao.ledger.engine.cometbft.abci.wire import (
    Message,
    Sort,
    Table,
    bytes_field,
    int_field,
    many,
    many_nested,
    nested,
    text_field,
    uint_field,
)


class ResponseException(Message, frozen=True):
    """The application cannot go on: CometBFT stops."""

    error: str = ""


class ResponseEcho(Message, frozen=True):
    """The same back."""

    message: str = ""


class ResponseFlush(Message, frozen=True):
    """All answers before it are out."""


class ResponseInfo(Message, frozen=True):
    """The last committed height and its application hash."""

    data: str = ""
    version: str = ""
    app_version: int = 0
    last_block_height: int = 0
    last_block_app_hash: bytes = b""


class ResponseInitChain(Message, frozen=True):
    """The application hash before the first block; changed validators or parameters where given."""

    consensus_params: ConsensusParams | None = None
    validators: Sequence[ValidatorUpdate] = ()
    app_hash: bytes = b""


class ResponseQuery(Message, frozen=True):
    """The answer to a question."""

    code: int = CODE_OK
    log: str = ""
    info: str = ""
    index: int = 0
    key: bytes = b""
    value: bytes = b""
    height: int = 0
    codespace: str = ""


class ResponseCheckTx(Message, frozen=True):
    """CODE_OK lets it in."""

    code: int = CODE_OK
    data: bytes = b""
    log: str = ""
    codespace: str = ""


class ResponseInsertTx(Message, frozen=True):
    """CODE_OK: kept. 32,000 and above: try again later."""

    code: int = CODE_OK


class ResponseReapTxs(Message, frozen=True):
    """Transactions to tell to peers."""

    txs: Sequence[bytes] = ()


class ResponseCommit(Message, frozen=True):
    """Durable; blocks below retain_height may be removed by CometBFT (0: none)."""

    retain_height: int = 0


class ResponseListSnapshots(Message, frozen=True):
    """The snapshots there are."""

    snapshots: Sequence[Snapshot] = ()


class OfferResult(IntEnum):
    """The answer to an offered snapshot."""

    ACCEPT = 1
    ABORT = 2
    REJECT = 3
    REJECT_FORMAT = 4
    REJECT_SENDER = 5


class ResponseOfferSnapshot(Message, frozen=True):
    """Whether to go on with a snapshot."""

    result: int = 0


class ResponseLoadSnapshotChunk(Message, frozen=True):
    """A part of a snapshot, empty if there is no such part."""

    chunk: bytes = b""


class ChunkResult(IntEnum):
    """The answer to a part of a snapshot."""

    ACCEPT = 1
    ABORT = 2
    RETRY = 3
    RETRY_SNAPSHOT = 4
    REJECT_SNAPSHOT = 5


class ResponseApplySnapshotChunk(Message, frozen=True):
    """Whether a part was good, which to fetch again, and whom not to ask again."""

    result: int = 0
    refetch_chunks: Sequence[int] = ()
    reject_senders: Sequence[str] = ()


class ResponsePrepareProposal(Message, frozen=True):
    """The transactions of the block."""

    txs: Sequence[bytes] = ()


class Verdict(IntEnum):
    """The answer to a proposal or a vote extension."""

    ACCEPT = 1
    REJECT = 2


class ResponseProcessProposal(Message, frozen=True):
    """Whether to vote for a block."""

    status: int = 0


class ResponseExtendVote(Message, frozen=True):
    """What our precommit carries."""

    vote_extension: bytes = b""


class ResponseVerifyVoteExtension(Message, frozen=True):
    """Whether a vote counts."""

    status: int = 0


class ResponseFinalizeBlock(Message, frozen=True):
    """What a block did."""

    events: Sequence[AbciEvent] = ()
    tx_results: Sequence[TxResult] = ()
    validator_updates: Sequence[ValidatorUpdate] = ()
    consensus_param_updates: ConsensusParams | None = None
    app_hash: bytes = b""


RESPONSES: Final[dict[int, Table[Any]]] = {
    1: Table(ResponseException, {"error": text_field(1)}),
    2: Table(ResponseEcho, {"message": text_field(1)}),
    3: Table(ResponseFlush, {}),
    4: Table(
        ResponseInfo,
        {
            "data": text_field(1),
            "version": text_field(2),
            "app_version": uint_field(3),
            "last_block_height": int_field(4),
            "last_block_app_hash": bytes_field(5),
        },
    ),
    6: Table(
        ResponseInitChain,
        {
            "consensus_params": nested(1, CONSENSUS_PARAMS),
            "validators": many_nested(2, VALIDATOR_UPDATE),
            "app_hash": bytes_field(3),
        },
    ),
    7: Table(
        ResponseQuery,
        {
            "code": uint_field(1),
            "log": text_field(3),
            "info": text_field(4),
            "index": int_field(5),
            "key": bytes_field(6),
            "value": bytes_field(7),
            "height": int_field(9),
            "codespace": text_field(10),
        },
    ),
    9: Table(
        ResponseCheckTx,
        {"code": uint_field(1), "data": bytes_field(2), "log": text_field(3), "codespace": text_field(8)},
    ),
    12: Table(ResponseCommit, {"retain_height": int_field(3)}),
    13: Table(ResponseListSnapshots, {"snapshots": many_nested(1, SNAPSHOT)}),
    14: Table(ResponseOfferSnapshot, {"result": uint_field(1)}),
    15: Table(ResponseLoadSnapshotChunk, {"chunk": bytes_field(1)}),
    16: Table(
        ResponseApplySnapshotChunk,
        {"result": uint_field(1), "refetch_chunks": many(2, Sort.UINT), "reject_senders": many(3, Sort.TEXT)},
    ),
    17: Table(ResponsePrepareProposal, {"txs": many(1, Sort.BYTES)}),
    18: Table(ResponseProcessProposal, {"status": uint_field(1)}),
    19: Table(ResponseExtendVote, {"vote_extension": bytes_field(1)}),
    20: Table(ResponseVerifyVoteExtension, {"status": uint_field(1)}),
    21: Table(
        ResponseFinalizeBlock,
        {
            "events": many_nested(1, ABCI_EVENT),
            "tx_results": many_nested(2, TX_RESULT),
            "validator_updates": many_nested(3, VALIDATOR_UPDATE),
            "consensus_param_updates": nested(4, CONSENSUS_PARAMS),
            "app_hash": bytes_field(5),
        },
    ),
    22: Table(ResponseInsertTx, {"code": uint_field(1)}),
    23: Table(ResponseReapTxs, {"txs": many(1, Sort.BYTES)}),
}
"""Every response by its number in the message that holds them all."""

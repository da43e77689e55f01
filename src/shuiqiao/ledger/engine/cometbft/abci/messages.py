"""What CometBFT asks and we answer: the calls of ABCI 2.0 in v0.38 to v0.40, and what they are made of.

Field numbers are facts of CometBFT's public definition (tendermint.abci, tendermint.types, tendermint.crypto). A
message holds what we read or say; fields we have no use for are left out and skipped [ABCI-2]. Heights and powers are
signed 64-bit, times seconds and nanoseconds since 1970. InsertTx and ReapTxs, for a mempool of the application's own,
are not among them: the mempool is CometBFT's (type ``flood``).

Errors of ours read in CometBFT's terms as a number by who must act. It follows from the error's class alone, for it is
part of the next header's results hash; our own code stands in ``codespace`` and the words in ``log``, which are part of
no hash [ABCI-12].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Annotated, Final, TypeVar

from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.ledger.engine.cometbft.abci.wire import UNSIGNED, Calls, Message

CODE_OK: Final = 0
RETRY_LATER: Final = 32_000
"""CometBFT tries transactions with this code and above again."""

MAX_LOG: Final = 500
"""Characters of an error's words that are passed on."""

_NUMBERS: Final[dict[type[ShuiqiaoError], int]] = {
    InvalidInput: 1,
    Denied: 2,
    Conflict: 3,
    IntegrityError: 4,
    Unavailable: RETRY_LATER,
}
_NS_PER_MS: Final = 1_000_000


class Timestamp(Message, frozen=True):
    """google.protobuf.Timestamp."""

    seconds: Annotated[int, 1] = 0
    nanos: Annotated[int, 2] = 0

    @property
    def ms(self) -> int:
        """Whole milliseconds since 1970."""
        return self.seconds * 1000 + self.nanos // _NS_PER_MS


class PublicKey(Message, frozen=True):
    """tendermint.crypto.PublicKey: of its kinds the one that we use."""

    ed25519: Annotated[bytes, 1] = b""


class ValidatorUpdate(Message, frozen=True):
    """A validator's new voting power; 0 removes it."""

    pub_key: Annotated[PublicKey | None, 1] = None
    power: Annotated[int, 2] = 0


class Snapshot(Message, frozen=True):
    """A snapshot on offer; hash is equal only if the snapshots are."""

    height: Annotated[int, 1, UNSIGNED] = 0
    format: Annotated[int, 2, UNSIGNED] = 0
    chunks: Annotated[int, 3, UNSIGNED] = 0
    hash: Annotated[bytes, 4] = b""
    metadata: Annotated[bytes, 5] = b""


class TxResult(Message, frozen=True):
    """What became of one transaction of a block; code and data are part of the next header's results hash."""

    code: Annotated[int, 1, UNSIGNED] = CODE_OK
    data: Annotated[bytes, 2] = b""
    log: Annotated[str, 3] = ""
    codespace: Annotated[str, 8] = ""


# What CometBFT asks


class RequestEcho(Message, frozen=True):
    """Say the same back."""

    message: Annotated[str, 1] = ""


class RequestFlush(Message, frozen=True):
    """Send all answers out."""


class RequestInfo(Message, frozen=True):
    """Who CometBFT is; asks for the last committed height."""

    version: Annotated[str, 1] = ""


class RequestInitChain(Message, frozen=True):
    """The CometBFT genesis, once in a network's life."""

    chain_id: Annotated[str, 2] = ""
    validators: Annotated[Sequence[ValidatorUpdate], 4] = ()


class RequestQuery(Message, frozen=True):
    """A question from CometBFT's RPC."""

    data: Annotated[bytes, 1] = b""
    path: Annotated[str, 2] = ""
    height: Annotated[int, 3] = 0


class RequestCheckTx(Message, frozen=True):
    """May this transaction wait in the mempool, be it new there or not?"""

    tx: Annotated[bytes, 1] = b""


class RequestCommit(Message, frozen=True):
    """Make the finalized block durable."""


class RequestListSnapshots(Message, frozen=True):
    """Which snapshots are there?"""


class RequestOfferSnapshot(Message, frozen=True):
    """A peer's snapshot, and the application hash that a light client verified for its height."""

    snapshot: Annotated[Snapshot | None, 1] = None
    app_hash: Annotated[bytes, 2] = b""


class RequestLoadSnapshotChunk(Message, frozen=True):
    """Hand out a part of a snapshot."""

    height: Annotated[int, 1, UNSIGNED] = 0
    chunk: Annotated[int, 3, UNSIGNED] = 0


class RequestApplySnapshotChunk(Message, frozen=True):
    """Take a part of the offered snapshot."""

    index: Annotated[int, 1, UNSIGNED] = 0
    chunk: Annotated[bytes, 2] = b""
    sender: Annotated[str, 3] = ""


class RequestPrepareProposal(Message, frozen=True):
    """Make a block of these transactions."""

    max_tx_bytes: Annotated[int, 1] = 0
    txs: Annotated[Sequence[bytes], 2] = ()
    height: Annotated[int, 5] = 0


class _Block(Message, frozen=True):
    """A block that CometBFT shows us."""

    txs: Annotated[Sequence[bytes], 1] = ()
    height: Annotated[int, 5] = 0
    time: Annotated[Timestamp | None, 6] = None


class RequestProcessProposal(_Block, frozen=True):
    """May this block be voted for?"""


class RequestFinalizeBlock(_Block, frozen=True):
    """A decided block: execute it."""


class RequestExtendVote(Message, frozen=True):
    """What shall our precommit for this block carry?"""

    height: Annotated[int, 2] = 0


class RequestVerifyVoteExtension(Message, frozen=True):
    """Is what another validator's precommit carries in order?"""

    validator_address: Annotated[bytes, 2] = b""
    height: Annotated[int, 3] = 0
    vote_extension: Annotated[bytes, 4] = b""


REQUESTS: Final = Calls(
    {
        1: RequestEcho,
        2: RequestFlush,
        3: RequestInfo,
        5: RequestInitChain,
        6: RequestQuery,
        8: RequestCheckTx,
        11: RequestCommit,
        12: RequestListSnapshots,
        13: RequestOfferSnapshot,
        14: RequestLoadSnapshotChunk,
        15: RequestApplySnapshotChunk,
        16: RequestPrepareProposal,
        17: RequestProcessProposal,
        18: RequestExtendVote,
        19: RequestVerifyVoteExtension,
        20: RequestFinalizeBlock,
    }
)

# What we answer


class ResponseException(Message, frozen=True):
    """The application cannot go on: CometBFT stops."""

    error: Annotated[str, 1] = ""


class ResponseEcho(Message, frozen=True):
    """The same back."""

    message: Annotated[str, 1] = ""


class ResponseFlush(Message, frozen=True):
    """All answers before it are out."""


class ResponseInfo(Message, frozen=True):
    """The last committed height and its application hash."""

    data: Annotated[str, 1] = ""
    version: Annotated[str, 2] = ""
    app_version: Annotated[int, 3, UNSIGNED] = 0
    last_block_height: Annotated[int, 4] = 0
    last_block_app_hash: Annotated[bytes, 5] = b""


class ResponseInitChain(Message, frozen=True):
    """The application hash before the first block; CometBFT's genesis has the validators already."""

    app_hash: Annotated[bytes, 3] = b""


class ResponseQuery(Message, frozen=True):
    """The answer to a question."""

    code: Annotated[int, 1, UNSIGNED] = CODE_OK
    log: Annotated[str, 3] = ""
    key: Annotated[bytes, 6] = b""
    value: Annotated[bytes, 7] = b""
    height: Annotated[int, 9] = 0
    codespace: Annotated[str, 10] = ""


class ResponseCheckTx(TxResult, frozen=True):
    """CODE_OK lets it in."""


class ResponseCommit(Message, frozen=True):
    """Durable; blocks below retain_height may be removed by CometBFT (0: none)."""

    retain_height: Annotated[int, 3] = 0


class ResponseListSnapshots(Message, frozen=True):
    """The snapshots there are."""

    snapshots: Annotated[Sequence[Snapshot], 1] = ()


class OfferResult(IntEnum):
    """The answer to an offered snapshot."""

    ACCEPT = 1
    ABORT = 2
    REJECT = 3


class ResponseOfferSnapshot(Message, frozen=True):
    """Whether to go on with a snapshot."""

    result: Annotated[int, 1, UNSIGNED] = 0


class ResponseLoadSnapshotChunk(Message, frozen=True):
    """A part of a snapshot, empty if there is no such part."""

    chunk: Annotated[bytes, 1] = b""


class ChunkResult(IntEnum):
    """The answer to a part of a snapshot."""

    ACCEPT = 1
    ABORT = 2
    RETRY = 3
    REJECT_SNAPSHOT = 5


class ResponseApplySnapshotChunk(Message, frozen=True):
    """Whether a part was good, which to fetch again, and whom not to ask again."""

    result: Annotated[int, 1, UNSIGNED] = 0
    refetch_chunks: Annotated[Sequence[int], 2] = ()
    reject_senders: Annotated[Sequence[str], 3] = ()


class ResponsePrepareProposal(Message, frozen=True):
    """The transactions of the block."""

    txs: Annotated[Sequence[bytes], 1] = ()


class Verdict(IntEnum):
    """The answer to a proposal or a vote extension."""

    ACCEPT = 1
    REJECT = 2


class ResponseProcessProposal(Message, frozen=True):
    """Whether to vote for a block."""

    status: Annotated[int, 1, UNSIGNED] = 0


class ResponseExtendVote(Message, frozen=True):
    """What our precommit carries."""

    vote_extension: Annotated[bytes, 1] = b""


class ResponseVerifyVoteExtension(Message, frozen=True):
    """Whether a vote counts."""

    status: Annotated[int, 1, UNSIGNED] = 0


class ResponseFinalizeBlock(Message, frozen=True):
    """What a block did."""

    tx_results: Annotated[Sequence[TxResult], 2] = ()
    validator_updates: Annotated[Sequence[ValidatorUpdate], 3] = ()
    app_hash: Annotated[bytes, 5] = b""


RESPONSES: Final = Calls(
    {
        1: ResponseException,
        2: ResponseEcho,
        3: ResponseFlush,
        4: ResponseInfo,
        6: ResponseInitChain,
        7: ResponseQuery,
        9: ResponseCheckTx,
        12: ResponseCommit,
        13: ResponseListSnapshots,
        14: ResponseOfferSnapshot,
        15: ResponseLoadSnapshotChunk,
        16: ResponseApplySnapshotChunk,
        17: ResponsePrepareProposal,
        18: ResponseProcessProposal,
        19: ResponseExtendVote,
        20: ResponseVerifyVoteExtension,
        21: ResponseFinalizeBlock,
    }
)

R = TypeVar("R", TxResult, ResponseCheckTx, ResponseQuery)


def result_of(refusal: ShuiqiaoError | None, *, answer: type[R]) -> R:
    """Return what is said of a transaction or a question, by what refuses it."""
    if refusal is None:
        return answer()
    number = next(number for sort, number in _NUMBERS.items() if isinstance(refusal, sort))
    return answer(code=number, log=refusal.message[:MAX_LOG], codespace=refusal.code)


def first_refusal(refusals: Iterable[ShuiqiaoError | None]) -> ShuiqiaoError | None:
    """Return what refuses a bundle: what refuses the first of its transactions that is refused [ABCI-25]."""
    return next((each for each in refusals if each is not None), None)

"""What ABCI messages are made of: times, keys, validators, votes, parameters, results, snapshots.

Field numbers are facts of CometBFT's public definition (tendermint.abci, tendermint.types, tendermint.crypto). A
struct holds what we read or say; fields we have no use for are left out of its table and skipped [ABCI-2]. Heights and
powers are signed 64-bit, times seconds and nanoseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from shuiqiao.ledger.engine.cometbft.abci.wire import (
    Message,
    Table,
    bool_field,
    bytes_field,
    int_field,
    many_nested,
    nested,
    text_field,
    uint_field,
)

CODE_OK: Final = 0
_NS_PER_MS: Final = 1_000_000


class Timestamp(Message, frozen=True):
    """google.protobuf.Timestamp."""

    seconds: int = 0
    nanos: int = 0

    @property
    def ms(self) -> int:
        """Whole milliseconds since 1970."""
        return self.seconds * 1000 + self.nanos // _NS_PER_MS


TIMESTAMP: Final = Table(Timestamp, {"seconds": int_field(1), "nanos": int_field(2)})


class PublicKey(Message, frozen=True):
    """tendermint.crypto.PublicKey: one of its kinds is set."""

    ed25519: bytes = b""
    secp256k1: bytes = b""


PUBLIC_KEY: Final = Table(PublicKey, {"ed25519": bytes_field(1), "secp256k1": bytes_field(2)})


class ValidatorUpdate(Message, frozen=True):
    """A validator's new voting power; 0 removes it."""

    pub_key: PublicKey | None = None
    power: int = 0


VALIDATOR_UPDATE: Final = Table(ValidatorUpdate, {"pub_key": nested(1, PUBLIC_KEY), "power": int_field(2)})


class Validator(Message, frozen=True):
    """A validator by its address: the first 20 bytes of SHA-256 of its key."""

    address: bytes = b""
    power: int = 0


VALIDATOR: Final = Table(Validator, {"address": bytes_field(1), "power": int_field(3)})


class VoteInfo(Message, frozen=True):
    """Whether a validator signed the last block (flag 2) or not."""

    validator: Validator | None = None
    block_id_flag: int = 0


VOTE_INFO: Final = Table(VoteInfo, {"validator": nested(1, VALIDATOR), "block_id_flag": uint_field(3)})


class CommitInfo(Message, frozen=True):
    """Who signed the last block, in which round."""

    round: int = 0
    votes: Sequence[VoteInfo] = ()


COMMIT_INFO: Final = Table(CommitInfo, {"round": int_field(1), "votes": many_nested(2, VOTE_INFO)})


class ExtendedVoteInfo(Message, frozen=True):
    """A validator's vote for the last block with its extension."""

    validator: Validator | None = None
    vote_extension: bytes = b""
    extension_signature: bytes = b""
    block_id_flag: int = 0


EXTENDED_VOTE_INFO: Final = Table(
    ExtendedVoteInfo,
    {
        "validator": nested(1, VALIDATOR),
        "vote_extension": bytes_field(3),
        "extension_signature": bytes_field(4),
        "block_id_flag": uint_field(5),
    },
)


class ExtendedCommitInfo(Message, frozen=True):
    """The votes for the last block with their extensions, as the proposer has them."""

    round: int = 0
    votes: Sequence[ExtendedVoteInfo] = ()


EXTENDED_COMMIT_INFO: Final = Table(
    ExtendedCommitInfo, {"round": int_field(1), "votes": many_nested(2, EXTENDED_VOTE_INFO)}
)


class Misbehavior(Message, frozen=True):
    """Evidence that CometBFT found against a validator."""

    type: int = 0
    validator: Validator | None = None
    height: int = 0
    time: Timestamp | None = None
    total_voting_power: int = 0


MISBEHAVIOR: Final = Table(
    Misbehavior,
    {
        "type": uint_field(1),
        "validator": nested(2, VALIDATOR),
        "height": int_field(3),
        "time": nested(4, TIMESTAMP),
        "total_voting_power": int_field(5),
    },
)


class BlockParams(Message, frozen=True):
    """Limits of a block, in bytes and gas."""

    max_bytes: int = 0
    max_gas: int = 0


class AbciParams(Message, frozen=True):
    """From which height on votes carry extensions."""

    vote_extensions_enable_height: int = 0


class ConsensusParams(Message, frozen=True):
    """The consensus parameters this application reads; those it leaves alone are not in the table."""

    block: BlockParams | None = None
    abci: AbciParams | None = None


BLOCK_PARAMS: Final = Table(BlockParams, {"max_bytes": int_field(1), "max_gas": int_field(2)})
ABCI_PARAMS: Final = Table(AbciParams, {"vote_extensions_enable_height": int_field(1)})
CONSENSUS_PARAMS: Final = Table(ConsensusParams, {"block": nested(1, BLOCK_PARAMS), "abci": nested(5, ABCI_PARAMS)})


class EventAttribute(Message, frozen=True):
    """One attribute of an event; index asks CometBFT's indexer to find transactions by it."""

    key: str = ""
    value: str = ""
    index: bool = False


class AbciEvent(Message, frozen=True):
    """An event as CometBFT's own subscribers see it."""

    type: str = ""
    attributes: Sequence[EventAttribute] = ()


EVENT_ATTRIBUTE: Final = Table(EventAttribute, {"key": text_field(1), "value": text_field(2), "index": bool_field(3)})
ABCI_EVENT: Final = Table(AbciEvent, {"type": text_field(1), "attributes": many_nested(2, EVENT_ATTRIBUTE)})


class TxResult(Message, frozen=True):
    """What became of one transaction of a block; code and data are part of the next header's results hash."""

    code: int = CODE_OK
    data: bytes = b""
    log: str = ""
    codespace: str = ""


TX_RESULT: Final = Table(
    TxResult, {"code": uint_field(1), "data": bytes_field(2), "log": text_field(3), "codespace": text_field(8)}
)


class Snapshot(Message, frozen=True):
    """A snapshot on offer; hash is equal only if the snapshots are."""

    height: int = 0
    format: int = 0
    chunks: int = 0
    hash: bytes = b""
    metadata: bytes = b""


SNAPSHOT: Final = Table(
    Snapshot,
    {
        "height": uint_field(1),
        "format": uint_field(2),
        "chunks": uint_field(3),
        "hash": bytes_field(4),
        "metadata": bytes_field(5),
    },
)

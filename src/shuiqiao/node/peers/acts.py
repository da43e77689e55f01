"""What each act between members asks and answers, as deterministic CBOR, each part bounded before it is read [PEER-4].

``message`` carries the asking side's bytes, signed; the answer's bytes go back as they are: nothing in them is believed
but what proves itself. Sizes of answers are bounded by the side that reads them, before it reads.
"""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import InvalidInput, ShuiqiaoError
from shuiqiao.base.wire import Id, OwnedRef
from shuiqiao.client.problem import error_of, problem_of
from shuiqiao.exchange.cohorts import MAX_PROPOSAL_BYTES
from shuiqiao.exchange.computation import MAX_EVIDENCE_FILE_BYTES
from shuiqiao.exchange.manifest import MAX_OPENING_BYTES
from shuiqiao.exchange.model import MAX_ANSWER_BYTES as MAX_SEALED_BYTES
from shuiqiao.exchange.model import MAX_REQUEST_BYTES
from shuiqiao.ledger.checkpoints.signed_note import MAX_LINE_BYTES, MAX_SIGNED_NOTE_BYTES
from shuiqiao.ledger.log.tree import HASH_BYTES, MAX_PATH
from shuiqiao.ledger.model import MAX_TRANSACTION_BYTES, Block, Committed
from shuiqiao.ledger.transactions.document import to_plain
from shuiqiao.lending.exposures.model import MAX_QUESTION_BYTES
from shuiqiao.lending.exposures.model import MAX_STATEMENT_BYTES as EXPOSURE_STATEMENT_BYTES
from shuiqiao.models.model import MAX_CONTENT_BYTES
from shuiqiao.node.peers.message import MAX_SUBMITTED, Act
from shuiqiao.privacy.statement import MAX_STATEMENT_BYTES

PAGE_BYTES: Final = 4 * 1024 * 1024
"""A page of blocks ends with the block that reaches it: one block alone may be longer."""

PAGE_BLOCKS: Final = 2_048
MAX_BLOCK_TRANSACTIONS: Final = 8_192
"""What a block's work allows at most [LEDGER-WORK-1]."""

EPOCH_PAGE: Final = 4_096
BROUGHT_BYTES: Final = 256 * 1024
"""Of the blocks that come with an answer to a transaction."""

BROUGHT_BLOCKS: Final = 64
MAX_NEWS_WAIT_MS: Final = 25_000
"""Longest wait for a new block, in milliseconds."""

MAX_PROBLEM_BYTES: Final = 16_384
"""Of a refusal that stands in an answer beside others."""

MAX_OFFER_BYTES: Final = 8_192
"""Of a bureau's end of a link: certificate and configuration have at most 3,072 bytes."""

MAX_ADDRESS_CHARS: Final = 300

_SMALL_ANSWER_BYTES: Final = 65_536
# A page that was not full yet, and behind it the longest block that a writer closes (8 MiB and a transaction).
_MAX_PAGE_BYTES: Final = PAGE_BYTES + 10 * 1024 * 1024
_MAX_ANSWER_BYTES: Final = {
    # An entry of 1,024 bytes stands beside the transactions of a block.
    Act.SUBMIT: MAX_SUBMITTED * (MAX_PROBLEM_BYTES + 64)
    + BROUGHT_BYTES
    + BROUGHT_BLOCKS * 2_048
    + MAX_SIGNED_NOTE_BYTES,
    Act.BLOCKS: _MAX_PAGE_BYTES,
    Act.FOLLOW: _MAX_PAGE_BYTES + MAX_SIGNED_NOTE_BYTES,
    Act.ASK: MAX_SEALED_BYTES + _SMALL_ANSWER_BYTES,
    Act.LEAKAGE: MAX_STATEMENT_BYTES + _SMALL_ANSWER_BYTES,
    Act.EVIDENCE: MAX_EVIDENCE_FILE_BYTES + _SMALL_ANSWER_BYTES,
    Act.MANIFEST: MAX_OPENING_BYTES + _SMALL_ANSWER_BYTES,
}

_Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
_Note = Annotated[bytes, Meta(max_length=MAX_SIGNED_NOTE_BYTES)]
_Raw = Annotated[bytes, Meta(min_length=1, max_length=MAX_TRANSACTION_BYTES)]
_Hash = Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]
_Sealed = Annotated[bytes, Meta(max_length=49_152)]

SecureSession = Annotated[bytes, Meta(min_length=16, max_length=16)]
SecureCertificate = Annotated[bytes, Meta(min_length=1, max_length=2_048)]
SecureConfiguration = Annotated[bytes, Meta(min_length=1, max_length=1_024)]


def max_answer_bytes(act: Act) -> int:
    """Return how long an answer may be at most."""
    return _MAX_ANSWER_BYTES.get(act, _SMALL_ANSWER_BYTES)


class _Wire(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One side of an act."""


class Nothing(_Wire, frozen=True):
    """Asks for what needs no more words, or says that it was done."""


# The ledger


class Submitted(_Wire, frozen=True):
    """Signed transactions to be ordered, each by itself.

    from_height: from where on the blocks are to come with the answer, up to those that hold these; 0 for none.
    """

    transactions: Annotated[list[_Raw], Meta(min_length=1, max_length=MAX_SUBMITTED)]
    from_height: _Count


class Placed(_Wire, frozen=True, tag_field="result", tag="committed"):
    """Where a transaction stands, durably."""

    index: _Count
    height: _Count
    time_ms: _Count

    @classmethod
    def of(cls, committed: Committed) -> Placed:
        """Return it in this form."""
        return cls(index=committed.index, height=committed.height, time_ms=committed.time_ms)

    def committed(self) -> Committed:
        """Return it as the engine's answer."""
        return Committed(index=self.index, height=self.height, time_ms=self.time_ms)


class Refused(_Wire, frozen=True, tag_field="result", tag="refused"):
    """Why a transaction was refused, in the form in which every refusal crosses: problem+json."""

    problem: Annotated[bytes, Meta(max_length=MAX_PROBLEM_BYTES)]

    @classmethod
    def of(cls, error: ShuiqiaoError) -> Refused:
        """Return an error in this form."""
        data = problem_of(error).model_dump_json().encode()
        if len(data) > MAX_PROBLEM_BYTES:
            data = problem_of(type(error)(error.code, error.message[:200])).model_dump_json().encode()
        return cls(problem=data)

    def as_error(self, *, place: str) -> ShuiqiaoError:
        """Return the error that refused it. place: who answered."""
        return error_of(self.problem, status=0, place=place)


class FromHeight(_Wire, frozen=True):
    """Asks for blocks from a height on."""

    from_height: Annotated[int, Meta(ge=1, le=2**53 - 1)]


class WireBlock(_Wire, frozen=True):
    """One block."""

    height: _Count
    time_ms: _Count
    first_index: _Count
    transactions: Annotated[list[_Raw], Meta(max_length=MAX_BLOCK_TRANSACTIONS)]
    entry: Annotated[bytes, Meta(max_length=1_024)]

    @classmethod
    def of(cls, block: Block) -> WireBlock:
        """Return a block in this form."""
        return cls(
            height=block.height,
            time_ms=block.time_ms,
            first_index=block.first_index,
            transactions=list(block.transactions),
            entry=block.entry,
        )

    def block(self) -> Block:
        """Return it as the ledger's type."""
        return Block(
            height=self.height,
            time_ms=self.time_ms,
            first_index=self.first_index,
            transactions=tuple(self.transactions),
            entry=self.entry,
        )


class BlockPage(_Wire, frozen=True):
    """Blocks in order, none where there are no more."""

    blocks: Annotated[list[WireBlock], Meta(max_length=PAGE_BLOCKS)]


class Followed(_Wire, frozen=True):
    """A page of blocks, and a checkpoint that covers them, as its note."""

    blocks: Annotated[list[WireBlock], Meta(max_length=PAGE_BLOCKS)]
    note: _Note


class Results(_Wire, frozen=True):
    """What became of each transaction, in order.

    blocks, note: as of ``Followed``, where they were asked for; they need not go as far as the results.
    """

    results: Annotated[list[Placed | Refused], Meta(min_length=1, max_length=MAX_SUBMITTED)]
    blocks: Annotated[list[WireBlock], Meta(max_length=BROUGHT_BLOCKS)]
    note: _Note


class SignedNote(_Wire, frozen=True):
    """A checkpoint as its note; empty where there is none yet."""

    note: _Note


class OfSize(_Wire, frozen=True):
    """Names a size of the log."""

    size: _Count


class Sizes(_Wire, frozen=True):
    """Sizes of the log, rising."""

    sizes: Annotated[list[_Count], Meta(max_length=EPOCH_PAGE)]


class TwoSizes(_Wire, frozen=True):
    """Asks for the proof between two sizes of the log."""

    old_size: _Count
    new_size: _Count


class Path(_Wire, frozen=True):
    """The hashes of a consistency proof."""

    path: Annotated[list[_Hash], Meta(max_length=MAX_PATH + 2)]


class AfterHeight(_Wire, frozen=True):
    """Asks to be told of a block above a height, and no later than after a time."""

    height: _Count
    wait_ms: Annotated[int, Meta(ge=0, le=MAX_NEWS_WAIT_MS)]


class Height(_Wire, frozen=True):
    """The height of the newest block, or of the block in which an act stands."""

    height: _Count


# Witnesses


class OfOrigin(_Wire, frozen=True):
    """Names a log by its origin."""

    origin: Annotated[str, Meta(max_length=96)]


class Line(_Wire, frozen=True):
    """A cosignature line."""

    line: Annotated[bytes, Meta(max_length=MAX_LINE_BYTES)]


# The exchange and what follows from it


class Asked(_Wire, frozen=True):
    """A request message. height: of the block that the asking side knows of, which the answering side has to have."""

    message: Annotated[bytes, Meta(max_length=MAX_REQUEST_BYTES)]
    height: _Count


class Answered(_Wire, frozen=True):
    """A sealed answer. height: of the block that the asking side has to have before it looks at it."""

    answer: Annotated[bytes, Meta(max_length=MAX_SEALED_BYTES + 4_096)]
    height: _Count


class Artefact(_Wire, frozen=True):
    """A consent artefact, sealed to the bank that it names. height: of a block that holds its grant."""

    sealed: _Sealed
    height: _Count


class Relayed(_Wire, frozen=True):
    """What an enterprise signed: a pause, a resume or a revoke of its consent."""

    transaction: _Raw


class Opening(_Wire, frozen=True):
    """The sealed opening of a decision of the sender. height: of a block that holds the decision."""

    application: Id
    sealed: _Sealed
    height: _Count


class Offer(_Wire, frozen=True):
    """The content of a model of the sender, sealed to the provider. height: of a block that holds its registration."""

    model: OwnedRef
    sealed: Annotated[bytes, Meta(max_length=MAX_CONTENT_BYTES + 4_096)]
    height: _Count


class SealedQuestion(_Wire, frozen=True):
    """The number of a taxpayer, sealed to the bureau that is asked for its leakage account."""

    sealed: _Sealed


class SealedAnswer(_Wire, frozen=True):
    """What the bureau states of it, sealed to the regulator that asked."""

    sealed: Annotated[bytes, Meta(max_length=MAX_STATEMENT_BYTES + 4_096)]


class SecureOpening(_Wire, frozen=True):
    """A bank's end of a link over which both are to compute [SECURE-16]."""

    session: SecureSession
    certificate: SecureCertificate
    configuration: SecureConfiguration


class SecureOpened(_Wire, frozen=True):
    """The bureau's end of it, a statement signed by its member key; see ``secure_link``."""

    statement: Annotated[bytes, Meta(min_length=1, max_length=MAX_OFFER_BYTES)]


class EvidenceQuestion(_Wire, frozen=True):
    """A regulator asks a party of a joint computation for its evidence; request: that the computation answered."""

    request: OwnedRef


class EvidenceShown(_Wire, frozen=True):
    """The party's evidence, sealed to the regulator that asks [SECURE-19]."""

    file: Annotated[bytes, Meta(min_length=1, max_length=MAX_EVIDENCE_FILE_BYTES)]


class ExposureAsked(_Wire, frozen=True):
    """A bank's signed question of exposures. height: of a block that holds the answers that it rests on [PSI-7]."""

    question: Annotated[bytes, Meta(min_length=1, max_length=MAX_QUESTION_BYTES)]
    height: _Count


class ExposureStated(_Wire, frozen=True):
    """The other bank's signed statement, whose half of the run has begun."""

    statement: Annotated[bytes, Meta(min_length=1, max_length=EXPOSURE_STATEMENT_BYTES)]


class OpeningQuestion(_Wire, frozen=True):
    """A regulator asks a bureau to open the manifest of an answer that showed no records."""

    request: OwnedRef


class ManifestOpened(_Wire, frozen=True):
    """What opens it, a document signed by the bureau and sealed to the regulator that asked [EXCHANGE-27]."""

    sealed: Annotated[bytes, Meta(max_length=MAX_OPENING_BYTES + 8_192)]


class TrainingProposed(_Wire, frozen=True):
    """A bank's proposal to train a model [COHORT-5]. sealed: the plan, for a bureau with its cohort."""

    transaction: _Raw
    sealed: Annotated[bytes, Meta(min_length=1, max_length=MAX_PROPOSAL_BYTES + 4_096)]
    height: _Count


class TrainingSigned(_Wire, frozen=True):
    """The proposal with one signature more; of a bureau it is on the ledger, up to that block."""

    transaction: _Raw
    height: _Count


Wired = _Wire
"""Any side of an act."""
Wire = TypeVar("Wire", bound=_Wire)


def encode_wire(value: msgspec.Struct) -> bytes:
    """Return one side of an act as bytes."""
    return encode_cbor(to_plain(value))


def decode_wire(data: bytes, kind: type[Wire], *, max_bytes: int) -> Wire:
    """Return one side of an act from outside bytes; raises InvalidInput ``peer.body_malformed``."""
    try:
        return typed(decode_cbor_strict(data, max_bytes=max_bytes), kind, builtin_types=(bytes,))
    except (InvalidInput, msgspec.ValidationError) as error:
        raise InvalidInput("peer.body_malformed", f"{len(data)} bytes are no {kind.__name__}: {error}") from error

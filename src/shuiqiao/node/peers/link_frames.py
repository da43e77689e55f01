"""The messages between a command and the running node of its home: frames over a Unix socket.

::

    frame     = 4 bytes, length of the rest, big endian || MessagePack array: tag, number, fields in order
    question  = one of ``Question``        answer = one of ``Answer``, under the number of its question
    news      = an answer that nobody asked for, once a connection subscribed

Every frame is bounded and every field has a type and a limit; what is not so ends the connection. Both ends are one
person's processes on one machine: the socket lies in the home, for its owner only.
"""

from __future__ import annotations

import socket
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from shuiqiao.base.errors import (
    Conflict,
    Denied,
    IntegrityError,
    InvalidInput,
    ShuiqiaoError,
    Unavailable,
)
from shuiqiao.ledger.model import MAX_TRANSACTION_BYTES, Block, Event
from shuiqiao.ledger.state.overlay import MAX_KEY_BYTES

MAX_QUESTION_BYTES: Final = 128 * 1024
"""Longest question: a transaction and what names it."""

MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
"""Longest answer: a page of blocks, of which a single one may be the largest that any engine makes."""

MAX_STATE_KEYS: Final = 256
"""Keys that one question may name; how many a receipt may carry is for the engine to say."""

_HEADER_BYTES: Final = 4
_PART_BYTES: Final = 1 << 20
_MOST = 2**63 - 1

Number = Annotated[int, Meta(ge=0, le=_MOST)]


class _Frame(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A question or an answer."""

    number: Number


class Hello(_Frame, frozen=True, tag="hello"):
    """Who is there?"""


class Submit(_Frame, frozen=True, tag="submit"):
    """Put a signed transaction on the ledger."""

    raw: Annotated[bytes, Meta(max_length=MAX_TRANSACTION_BYTES)]


class TakeView(_Frame, frozen=True, tag="take_view"):
    """Keep the state as it is now, to be read."""


class ReadView(_Frame, frozen=True, tag="read_view"):
    """Give the value of a key in a state that was kept."""

    view: Number
    key: Annotated[str, Meta(max_length=MAX_KEY_BYTES)]


class DropView(_Frame, frozen=True, tag="drop_view"):
    """A state that was kept is not read any more. This is not answered."""

    view: Number


class AskHead(_Frame, frozen=True, tag="head"):
    """Give height and time of the last block."""


class AskCheckpoint(_Frame, frozen=True, tag="checkpoint"):
    """Give the newest signed checkpoint."""


class AskBlocks(_Frame, frozen=True, tag="blocks"):
    """Give blocks in order from a height, none above another: as many as fit into one answer, at least one."""

    from_height: Number
    to_height: Number


class AskProof(_Frame, frozen=True, tag="proof"):
    """Give the consistency proof between two sizes."""

    old_size: Number
    new_size: Number


class AskReceipt(_Frame, frozen=True, tag="receipt"):
    """Give the receipt of the transaction at a leaf, with what the state holds at some keys."""

    index: Number
    state_keys: Annotated[tuple[Annotated[str, Meta(max_length=MAX_KEY_BYTES)], ...], Meta(max_length=MAX_STATE_KEYS)]


class Subscribe(_Frame, frozen=True, tag="subscribe"):
    """Tell this connection of each block from now on."""


class ReloadKeys(_Frame, frozen=True, tag="reload_keys"):
    """Read the home's key files again."""


Question = (
    Hello
    | Submit
    | TakeView
    | ReadView
    | DropView
    | AskHead
    | AskCheckpoint
    | AskBlocks
    | AskProof
    | AskReceipt
    | Subscribe
    | ReloadKeys
)


class Welcome(_Frame, frozen=True, tag="welcome"):
    """The node of this member of this network."""

    network: bytes
    member: str


class Done(_Frame, frozen=True, tag="done"):
    """It was done."""


class Placed(_Frame, frozen=True, tag="placed"):
    """The transaction is durable, here."""

    index: Number
    height: Number
    time_ms: Number


class View(_Frame, frozen=True, tag="view"):
    """The state was kept under a number."""

    view: Number


class Value(_Frame, frozen=True, tag="value"):
    """CBOR of a value, None where there is none."""

    data: bytes | None


class Head(_Frame, frozen=True, tag="last_block"):
    """Height and time of the last block."""

    height: Number
    time_ms: Number


class SignedHead(_Frame, frozen=True, tag="signed_head"):
    """A checkpoint."""

    origin: str
    size: Number
    root: bytes
    note: bytes


class LinkedBlock(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A block as it is passed on."""

    height: Number
    time_ms: Number
    first_index: Number
    transactions: tuple[bytes, ...]
    entry: bytes

    @classmethod
    def of(cls, block: Block) -> LinkedBlock:
        """Return a block in this form."""
        return cls(block.height, block.time_ms, block.first_index, block.transactions, block.entry)

    def block(self) -> Block:
        """Return it as the ledger's block."""
        return Block(
            height=self.height,
            time_ms=self.time_ms,
            first_index=self.first_index,
            transactions=self.transactions,
            entry=self.entry,
        )


class BlockPage(_Frame, frozen=True, tag="block_page"):
    """Blocks in order."""

    blocks: list[LinkedBlock]


class Proof(_Frame, frozen=True, tag="consistency"):
    """The hashes of a proof."""

    path: tuple[bytes, ...]


class Receipt(_Frame, frozen=True, tag="receipt_bytes"):
    """An encoded receipt."""

    data: bytes


class News(_Frame, frozen=True, tag="news"):
    """A block was committed; its events are CBOR of [[name, attributes], ...]."""

    block: LinkedBlock
    events: bytes


ErrorName = Literal["InvalidInput", "Denied", "Conflict", "Unavailable", "IntegrityError"]
_ERRORS: Final[dict[str, type[ShuiqiaoError]]] = {
    "InvalidInput": InvalidInput,
    "Denied": Denied,
    "Conflict": Conflict,
    "Unavailable": Unavailable,
    "IntegrityError": IntegrityError,
}


class Refused(_Frame, frozen=True, tag="refused"):
    """An error of the product, whole."""

    error: ErrorName
    code: str
    message: str
    next_step: str
    retry_after_s: float | None

    @classmethod
    def of(cls, number: int, error: ShuiqiaoError) -> Refused:
        """Return an error in this form, under the class by which callers tell what to do."""
        name: ErrorName = "Unavailable"
        for known in ("InvalidInput", "Denied", "Conflict", "IntegrityError"):
            if isinstance(error, _ERRORS[known]):
                name = known
        retry_after_s = error.retry_after_s if isinstance(error, Unavailable) else None
        return cls(number, name, error.code, error.message, error.next_step, retry_after_s)

    def as_error(self) -> ShuiqiaoError:
        """Return the error that the node raised."""
        if self.error == "Unavailable":
            return Unavailable(self.code, self.message, next_step=self.next_step, retry_after_s=self.retry_after_s)
        return _ERRORS[self.error](self.code, self.message, next_step=self.next_step)


Answer = Welcome | Done | Placed | View | Value | Head | SignedHead | BlockPage | Proof | Receipt | News | Refused

_QUESTIONS = msgspec.msgpack.Decoder(Question)
_ANSWERS = msgspec.msgpack.Decoder(Answer)
_ENCODER = msgspec.msgpack.Encoder()


def encode_frame(message: Question | Answer) -> bytes:
    """Return a message with its length before it."""
    data = _ENCODER.encode(message)
    return len(data).to_bytes(_HEADER_BYTES, "big") + data


def read_question(link: socket.socket) -> Question | None:
    """Return the next question, None at the end; raises InvalidInput ``node.link_malformed``, OSError."""
    data = _read_frame(link, max_bytes=MAX_QUESTION_BYTES)
    if data is None:
        return None
    try:
        found: Question = _QUESTIONS.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("node.link_malformed", f"a frame of {len(data)} bytes is no question: {error}") from error
    return found


def read_answer(link: socket.socket) -> Answer | None:
    """Return the next answer, None at the end; raises InvalidInput ``node.link_malformed``, OSError."""
    data = _read_frame(link, max_bytes=MAX_ANSWER_BYTES)
    if data is None:
        return None
    try:
        found: Answer = _ANSWERS.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("node.link_malformed", f"a frame of {len(data)} bytes is no answer: {error}") from error
    return found


def _read_frame(link: socket.socket, *, max_bytes: int) -> bytes | None:
    header = _read_whole(link, _HEADER_BYTES)
    if header is None:
        return None
    length = int.from_bytes(header, "big")
    if length > max_bytes:
        raise InvalidInput("node.link_malformed", f"a frame of {length} bytes where at most {max_bytes} are allowed")
    return _read_whole(link, length)


def _read_whole(link: socket.socket, length: int) -> bytes | None:
    """Return that many bytes, None if the other side ends before."""
    parts: list[bytes] = []
    while length:
        part = link.recv(min(length, _PART_BYTES))
        if not part:
            return None
        parts.append(part)
        length -= len(part)
    return b"".join(parts)


def events_data(events: list[Event]) -> list[list[object]]:
    """Return events in the form that CBOR takes."""
    return [[event.name, dict(event.attributes)] for event in events]

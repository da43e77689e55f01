"""Requests and responses as they stand on the socket: one message around each, which holds exactly one of its kinds."""

from __future__ import annotations

from typing import Final

from shuiqiao.base.errors import InvalidInput
from shuiqiao.ledger.engine.cometbft.abci.requests import REQUESTS
from shuiqiao.ledger.engine.cometbft.abci.responses import RESPONSES
from shuiqiao.ledger.engine.cometbft.abci.wire import Message, Table, decode_uvarint, encode_uvarint, malformed

_LENGTH: Final = 2
_Tables = dict[int, Table[Message]]
_REQUEST_NUMBERS: Final = {table.make: number for number, table in REQUESTS.items()}
_RESPONSE_NUMBERS: Final = {table.make: number for number, table in RESPONSES.items()}


def decode_request(data: bytes, at: int = 0, end: int | None = None) -> Message:
    """Return the request in data[at:end].

    Raises InvalidInput ``ledger.abci_malformed``, or ``ledger.abci_call_unknown`` for a call of no version we speak.
    """
    return _decode(data, at, len(data) if end is None else end, REQUESTS)


def decode_response(data: bytes, at: int = 0, end: int | None = None) -> Message:
    """Return the response in data[at:end]; raises as ``decode_request``."""
    return _decode(data, at, len(data) if end is None else end, RESPONSES)


def encode_request(request: Message) -> bytes:
    """Return a request with its length before it."""
    return _encode(request, REQUESTS, _REQUEST_NUMBERS)


def encode_response(response: Message) -> bytes:
    """Return a response with its length before it."""
    return _encode(response, RESPONSES, _RESPONSE_NUMBERS)


def _decode(data: bytes, at: int, end: int, tables: _Tables) -> Message:
    """[ABCI-1]: exactly one field, whose number names the call."""
    tag, start = decode_uvarint(data, at, end)
    if tag & 7 != _LENGTH:
        raise malformed(f"the call's field has wire type {tag & 7}")
    length, start = decode_uvarint(data, start, end)
    if start + length != end:
        raise malformed(f"a call of {length} bytes in a message that leaves {end - start} for it")
    table = tables.get(tag >> 3)
    if table is None:
        raise InvalidInput("ledger.abci_call_unknown", f"call number {tag >> 3} is in no version of ABCI 2.0 we speak")
    return table.decode(data, start, end)


def _encode(message: Message, tables: _Tables, numbers: dict[type[Message], int]) -> bytes:
    number = numbers[type(message)]
    body = tables[number].encode(message)
    inner = encode_uvarint(number << 3 | _LENGTH) + encode_uvarint(len(body))
    return encode_uvarint(len(inner) + len(body)) + inner + body

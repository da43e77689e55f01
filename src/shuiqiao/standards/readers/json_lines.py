"""Reads records as JSON, one object a line (NDJSON), in constant memory.

Rule: docs/spec/standard.md, [STD-47]. Values are kept as the text that stands there, so that no number is rounded; what
is wrong with a line keeps that line out and no other.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO, Any, Final, NoReturn

from shuiqiao.base.encoding import unique_pairs
from shuiqiao.standards.readers.csv_file import Row, faulted
from shuiqiao.standards.readers.dialect import MARKS, MAX_ROW_BYTES, UTF8

NAMING_LINES: Final = 1_000
"""Lines from the start whose names are the columns: an object may leave out what it does not have."""


def starts_as_json(start: bytes) -> bool:
    """Whether the first bytes of a file are those of a JSON object or list."""
    return start.removeprefix(MARKS[UTF8]).lstrip()[:1] in {b"{", b"["}


def names_of(stream: IO[bytes]) -> Sequence[str]:
    """Return the names in the objects at the start of a stream, as they first stand; none where no object is first."""
    start = list(islice(_objects(stream), NAMING_LINES))
    if not start or isinstance(start[0], Row):
        return []
    return list(dict.fromkeys(name for values in start if isinstance(values, dict) for name in values))


def read_lines(stream: IO[bytes], names: Sequence[str]) -> Iterator[Row]:
    """Yield a row for each line of a stream that is not blank. names: of the columns; what a line lacks is empty."""
    known = set(names)
    for values in _objects(stream):
        if isinstance(values, Row):
            yield values
        elif values.keys() <= known:
            yield Row(cells=[values.get(name) for name in names])
        else:
            yield faulted("line_ragged", json.dumps(values, ensure_ascii=False).encode(errors="replace"), lines=1)


def _objects(stream: IO[bytes]) -> Iterator[dict[str, str | None] | Row]:
    """Yield the values of each object as text, or the fault of a line that is none."""
    stream.seek(0)
    is_first = True
    while line := stream.readline(MAX_ROW_BYTES + 1):
        if is_first:
            line, is_first = line.removeprefix(MARKS[UTF8]), False
        if len(line) > MAX_ROW_BYTES:
            rest = line
            while rest and not rest.endswith(b"\n"):
                rest = stream.readline(MAX_ROW_BYTES)
            yield faulted("line_too_long", line, lines=1)
        elif line.strip():
            yield _object(line.rstrip(b"\r\n"))


def _object(line: bytes) -> dict[str, str | None] | Row:
    try:
        text = line.decode(UTF8)
    except UnicodeDecodeError:
        return faulted("line_not_in_encoding", line, lines=1)
    try:
        values = json.loads(
            text, object_pairs_hook=unique_pairs, parse_int=str, parse_float=str, parse_constant=_refuse_constant
        )
        return {name: _cell(value) for name, value in values.items()}
    except (ValueError, RecursionError, AttributeError, TypeError):
        return faulted("line_malformed", line, lines=1)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _cell(value: Any) -> str | None:
    """Return a value as text; raises TypeError for a list or an object, UnicodeEncodeError for half a character."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        raise TypeError("a cell holds no list and no object")
    value.encode()
    return value

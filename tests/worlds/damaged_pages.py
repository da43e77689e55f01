"""LMDB files of which one page is damaged, and processes of their own for what may end one."""

from __future__ import annotations

import os
import random
import signal
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from patience import PATIENCE_S

PAGE = 4096
_HEADER = 16


def pages_of(data: bytes) -> range:
    return range(len(data) // PAGE)


def damaged(data: bytes, page: int) -> Iterator[tuple[str, bytes]]:
    """Yield what was done to a page, and the bytes of the file after it."""
    start, end = page * PAGE, (page + 1) * PAGE
    source = random.Random(page)
    for name, damage in _DAMAGES.items():
        yield f"page {page}, {name}", data[:start] + damage(data[start:end], source, data) + data[end:]


def _few_bits(page: bytes, source: random.Random, _file: bytes) -> bytes:
    changed = bytearray(page)
    for reach in (64, 256, PAGE):
        changed[source.randrange(_HEADER, reach)] ^= 1 << source.randrange(8)
    return bytes(changed)


def _another(_page: bytes, source: random.Random, file: bytes) -> bytes:
    start = source.choice(pages_of(file)) * PAGE
    return file[start : start + PAGE]


_DAMAGES: dict[str, Callable[[bytes, random.Random, bytes], bytes]] = {
    "random body": lambda page, source, _file: page[:_HEADER] + source.randbytes(PAGE - _HEADER),
    "body of ones": lambda page, _source, _file: page[:_HEADER] + b"\xff" * (PAGE - _HEADER),
    "zeros": lambda _page, _source, _file: bytes(PAGE),
    "ones": lambda _page, _source, _file: b"\xff" * PAGE,
    "random header": lambda page, source, _file: source.randbytes(_HEADER) + page[_HEADER:],
    "few bits": _few_bits,
    "another page": _another,
}


def require_no_signal(act: Callable[[Callable[[str], None]], None], *, said: Path) -> None:
    """Do something in a process of its own, which says what it is about to do.

    Raises AssertionError with its last words and its error, or the signal that ended it.
    """

    def say(words: str) -> None:
        said.write_text(words, encoding="utf-8")

    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(int(PATIENCE_S))
            act(say)
            status = 0
        except BaseException:  # noqa: BLE001 - the parent tells it
            say(f"{said.read_text(encoding='utf-8')}\n{traceback.format_exc()}")
        finally:
            os._exit(status)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended == 0, f"ended with {ended}: {said.read_text(encoding='utf-8')}"

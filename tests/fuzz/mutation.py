"""Seeded changes of bytes: the same executions on every machine, without a fuzzer."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

INTERESTING = (
    b"\x00",
    b"\xff",
    b"\x7f",
    b"\x80",
    b"\xa1\xa0",
    b"\x9f",
    b"\xff" * 8,
    b"\x00" * 9,
    b"9" * 40,
    b"\xd8\x62",
)


def mutants(seeds: Sequence[bytes], *, name: str, count: int) -> Iterator[bytes]:
    """Yield the seeds, then so many changed copies of them; name: what the changes are drawn from."""
    yield from seeds
    yield b""
    draw = random.Random(name)
    for _ in range(count):
        data = bytearray(draw.choice(seeds))
        for _ in range(draw.choice((1, 1, 1, 2, 4, 16))):
            _change(data, draw, seeds)
        yield bytes(data)


def _change(data: bytearray, draw: random.Random, seeds: Sequence[bytes]) -> None:
    place = draw.randrange(len(data) + 1)
    end = min(len(data), place + draw.choice((1, 1, 2, 4, 8, 64)))
    match draw.randrange(6):
        case 0:
            data[place:end] = bytes(draw.randrange(256) for _ in range(end - place))
        case 1:
            del data[place:end]
        case 2:
            data[place:place] = draw.choice(INTERESTING)
        case 3:
            data[place:end] = draw.choice(INTERESTING)
        case 4:
            other = draw.choice(seeds)
            data[place:] = other[draw.randrange(len(other) + 1) :]
        case _:
            if place < len(data):
                data[place] ^= 1 << draw.randrange(8)

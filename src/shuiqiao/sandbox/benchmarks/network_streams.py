"""The loads of the consortium bench, made before anything is measured: one stream of transactions for each node.

A stream's transactions may depend on earlier ones of the same stream (an answer on its request), so each stream goes to
one node, in order. Streams lie in files, for the load generator is another process.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import msgspec

from shuiqiao.base.errors import Unavailable
from shuiqiao.sandbox.benchmarks.ledger_load import MEMBERS, load_network, signed_transactions
from shuiqiao.sandbox.benchmarks.network_load import Stream
from shuiqiao.sandbox.benchmarks.network_validator import MARK_BYTES

_SEED: Final = 40


@dataclass(slots=True)
class Streams:
    """One stream for each node, in files, and how far each is used up. is_bundled: see ``LoadPlan``."""

    paths: Sequence[Path]
    each: int
    is_bundled: bool
    positions: list[int] = field(default_factory=lambda: [0] * len(MEMBERS))

    @property
    def used(self) -> int:
        """How many transactions were sent."""
        return sum(self.positions)

    def streams(self, sockets: Sequence[str], *, most: int) -> list[Stream]:
        """Return the next transactions of the streams for these nodes, so many altogether.

        Raises Unavailable ``sandbox.bench_load_spent`` where a stream has nothing left.
        """
        count = most // len(self.paths)
        left = [self.each - position for position in self.positions]
        if min(left) < 1:
            raise Unavailable(
                "sandbox.bench_load_spent",
                f"{min(left)} signed transactions are left in a stream of {self.each}",
                next_step="measure shorter windows",
            )
        return [
            Stream(rpc=rpc_socket, path=str(path), first=position, count=min(count, rest))
            for rpc_socket, path, position, rest in zip(sockets, self.paths, self.positions, left, strict=True)
        ]

    def use(self, counts: Sequence[int]) -> None:
        """Go on behind what was sent."""
        self.positions = [position + count for position, count in zip(self.positions, counts, strict=True)]


def ledger_streams(folder: Path, *, suite: str, count: int, now_ms: int) -> Streams:
    """Return signed transactions of mixed kinds, about so many in all, acceptable from now on for half a day."""
    folder.mkdir(parents=True)
    each = -(-count // len(MEMBERS))
    paths = [folder / str(number) for number in range(len(MEMBERS))]
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        parts = [
            pool.submit(_sign, path, suite=suite, count=each, seed=_SEED + number, now_ms=now_ms)
            for number, path in enumerate(paths)
        ]
        for part in parts:
            part.result()
    return Streams(paths=paths, each=each, is_bundled=True)


def _sign(path: Path, *, suite: str, count: int, seed: int, now_ms: int) -> None:
    network = load_network(suite, genesis_time_ms=now_ms)
    raws = list(signed_transactions(network, count, seed=seed, now_ms=now_ms))
    path.write_bytes(msgspec.msgpack.encode(raws))


def kvstore_streams(folder: Path, *, count: int, like: Streams) -> Streams:
    """Return ``key=value`` transactions, all different, of the lengths that the transactions of other streams have."""
    folder.mkdir(parents=True)
    each = -(-count // len(like.paths))
    paths = [folder / path.name for path in like.paths]
    for number, path in enumerate(paths):
        lengths = [len(raw) for raw in load_stream(like.paths[number])]
        raws = [_pair(number, place, length=lengths[place % len(lengths)]) for place in range(each)]
        path.write_bytes(msgspec.msgpack.encode(raws))
    return Streams(paths=paths, each=each, is_bundled=False)


def _pair(stream: int, place: int, *, length: int) -> bytes:
    key = b"%d-%d=" % (stream, place)
    return key.ljust(length, b"v")


def load_stream(path: Path) -> list[bytes]:
    """Return the transactions of a stream's file."""
    return msgspec.msgpack.decode(path.read_bytes(), type=list[bytes])


def marks_of(path: Path) -> list[bytes]:
    """Return what tells each transaction of a stream from all others, as journals have it."""
    return [raw[-MARK_BYTES:] for raw in load_stream(path)]

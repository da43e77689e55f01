"""What the consortium bench takes from what nodes and validators noted: rates from blocks, waits from journals."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from shuiqiao.ledger.engine.cometbft.comet.rpc import RpcClient
from shuiqiao.ledger.engine.cometbft.mempool.bundle import transactions_in
from shuiqiao.sandbox.benchmarks.network_load import Sent
from shuiqiao.sandbox.benchmarks.network_validator import Journal

_METAS: Final = 20
"""Headers that one call of CometBFT's RPC gives."""

_P50, _P95 = 0.50, 0.95


def block_counts(rpc: RpcClient, *, after: int, up_to: int) -> list[tuple[float, int]]:
    """Return time (s) and number of transactions of the blocks at heights after < height <= up_to, in order.

    Transactions in bundles are counted on their own.
    """
    found: list[tuple[float, int]] = []
    for first in range(after + 1, up_to + 1, _METAS):
        last = min(up_to, first + _METAS - 1)
        metas = rpc.call("blockchain", minHeight=str(first), maxHeight=str(last))["block_metas"]
        for meta in reversed(metas):
            wholes = rpc.block_transactions(int(meta["header"]["height"])) if int(meta["num_txs"]) else ()
            found.append((_seconds(meta["header"]["time"]), sum(len(transactions_in(whole)) for whole in wholes)))
    return found


def _seconds(rfc3339: str) -> float:
    """Return a header's time; its nanoseconds are cut at the microseconds that datetime knows."""
    whole, _, fraction = rfc3339.removesuffix("Z").partition(".")
    return datetime.fromisoformat(f"{whole}+00:00").timestamp() + float(f"0.{fraction or 0}")


def sustained_rate(counts: Sequence[tuple[float, int]], *, began_s: float) -> float:
    """Return transactions a second from the first that was handed in until all of them were decided.

    From empty mempools to empty ones, as a part of it would count transactions whose signatures were checked before. A
    header's time is that of the votes for the block before, and the last block is an empty one.
    """
    return sum(count for _, count in counts) / (counts[-1][0] - began_s)


def waits_s(sent: Sequence[Sent], marks: Sequence[bytes], journal: Journal) -> tuple[list[float], list[float]]:
    """Return the seconds to the commit, and to the note, of one stream's transactions at its node, from when each came.

    marks: those of the stream's transactions, from its beginning. Transactions that no block of the journal holds are
    left out; the caller compares the counts.
    """
    committed = {mark: block for block in journal.blocks for mark in block.marks}
    sizes = [size for size, _ in journal.notes]
    to_commit: list[float] = []
    to_note: list[float] = []
    for batch in sent:
        came_s = batch.at_s - batch.count * batch.every_s
        for mark in marks[batch.first : batch.first + batch.count]:
            came_s += batch.every_s
            block = committed.get(mark)
            if block is None:
                continue
            to_commit.append(block.committed_s - came_s)
            place = bisect.bisect_left(sizes, block.size)
            if place < len(sizes):
                to_note.append(journal.notes[place][1] - came_s)
    return to_commit, to_note


def quantiles_ms(waits: Sequence[float]) -> dict[str, float]:
    """Return {"p50", "p95"} in milliseconds, zeros for nothing."""
    ordered = sorted(waits)
    return {"p50": _quantile_ms(ordered, _P50), "p95": _quantile_ms(ordered, _P95)}


def _quantile_ms(ordered: Sequence[float], part: float) -> float:
    return round(1000 * ordered[math.ceil(part * len(ordered)) - 1], 1) if ordered else 0.0

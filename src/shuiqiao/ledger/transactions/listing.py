"""Lists the transactions of a log for a person to look through: where each stands, when, what it is and whose."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.model import Block, Transaction

MAX_LISTED = 10_000
"""Most transactions of one list: bounds the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTransaction:
    """One transaction of the log. time_ms: of its block. id: 16 bytes, the author's own."""

    index: int
    height: int
    time_ms: int
    kind: str
    author: MemberId
    id: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPage:
    """A part of the log. next_index: where the next part begins, None after the last."""

    transactions: tuple[ListedTransaction, ...]
    next_index: int | None


def list_transactions(
    blocks: Iterable[Block],
    *,
    decode: Callable[[bytes], Transaction],
    limit: int,
    first_index: int = 0,
    kind: str | None = None,
    author: str | None = None,
    fits: Callable[[Transaction], bool] | None = None,
) -> LogPage:
    """Return up to ``limit`` transactions from an index on that fit, of one kind and one author where these are named.

    Raises InvalidInput ``ledger.limit_wrong``.

        list_transactions(engine.blocks(from_height=1), decode=submitter.decode, limit=20, kind="anchor.commit")
    """
    if not 1 <= limit <= MAX_LISTED:
        raise InvalidInput("ledger.limit_wrong", f"{limit} transactions where 1 to {MAX_LISTED} are listed")
    found: list[ListedTransaction] = []
    for block in blocks:
        for index, raw in enumerate(block.transactions, start=block.first_index):
            if index < first_index:
                continue
            tx = decode(raw)
            if kind not in {None, tx.kind} or author not in {None, tx.author} or not (fits is None or fits(tx)):
                continue
            if len(found) == limit:
                return LogPage(transactions=tuple(found), next_index=index)
            found.append(
                ListedTransaction(
                    index=index, height=block.height, time_ms=block.time_ms, kind=tx.kind, author=tx.author, id=tx.id
                )
            )
    return LogPage(transactions=tuple(found), next_index=None)


def find_transaction(
    blocks: Iterable[Block], *, decode: Callable[[bytes], Transaction], fits: Callable[[Transaction], bool]
) -> int | None:
    """Return the index of the first transaction that fits, or None."""
    for block in blocks:
        for index, raw in enumerate(block.transactions, start=block.first_index):
            if fits(decode(raw)):
                return index
    return None

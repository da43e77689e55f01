"""What the ledger of the last days says of requests for data: who refuses most of them, and which wait for an answer.

Every member can look at it: requests, answers and refusals are entries. How far one look goes is bounded; a request
that is older than that is no longer named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shuiqiao.base.clock import MS_PER_DAY, MS_PER_HOUR
from shuiqiao.base.ids import owned_id
from shuiqiao.exchange.contract import DELIVER, REFUSE, REQUEST
from shuiqiao.exchange.model import RequestStatus, request_key
from shuiqiao.ledger.transactions.looking_up import block_at, height_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from shuiqiao.ledger.model import Block, LedgerEngine, Transaction

MAX_LEAVES: Final = 20_000
"""Leaves that one look goes back."""

WINDOW_MS: Final = 7 * MS_PER_DAY
"""How long ago a request may have been made that is named as unanswered."""

RATE_WINDOW_MS: Final = MS_PER_DAY
"""The time over which refusals are counted."""

LEAST_DECIDED: Final = 20
"""Requests that a provider decided on before its rate says anything."""

ANSWER_MS: Final = MS_PER_HOUR
"""How long a provider has to answer before a request is named."""

_KINDS: Final = {REQUEST: REQUEST.encode(), DELIVER: DELIVER.encode(), REFUSE: REFUSE.encode()}


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalRate:
    """How many of the requests that a provider decided on in a day it refused."""

    provider: str
    refused: int
    decided: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnansweredRequest:
    """A request that waits for its provider longer than it should."""

    request: str
    recipient: str
    provider: str
    made_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What one look found: providers that refuse most of what they are asked, and requests without an answer."""

    refusing: tuple[RefusalRate, ...]
    unanswered: tuple[UnansweredRequest, ...]


def watch_requests(engine: LedgerEngine, *, decode: Callable[[bytes], Transaction], now_ms: int) -> Watched:
    """Look through the ledger's last days.

    ::

        found = watch_requests(institution.engine, decode=institution.decode, now_ms=institution.now_ms())
    """
    state, refused, decided = engine.state(), Counter[str](), Counter[str]()
    unanswered = list[UnansweredRequest]()
    for block, tx in _requests_since(engine, decode=decode, since_ms=now_ms - WINDOW_MS):
        if tx.kind == REQUEST:
            name = owned_id(tx.author, tx.body.request)
            entry = state.get(request_key(name))
            is_waiting = entry is not None and entry["status"] == str(RequestStatus.REQUESTED)
            if entry is not None and is_waiting and now_ms - block.time_ms > ANSWER_MS:
                unanswered.append(
                    UnansweredRequest(
                        request=name, recipient=tx.author, provider=str(entry["provider"]), made_ms=block.time_ms
                    )
                )
        elif now_ms - block.time_ms <= RATE_WINDOW_MS:
            decided[tx.author] += 1
            refused[tx.author] += tx.kind == REFUSE
    return Watched(
        refusing=tuple(
            RefusalRate(provider=provider, refused=refused[provider], decided=count)
            for provider, count in sorted(decided.items())
            if count >= LEAST_DECIDED and 2 * refused[provider] > count
        ),
        unanswered=tuple(unanswered),
    )


def _requests_since(
    engine: LedgerEngine, *, decode: Callable[[bytes], Transaction], since_ms: int
) -> Iterator[tuple[Block, Transaction]]:
    """Iterate over requests, answers and refusals since a moment, as far back as one look goes."""
    height, _ = engine.last_block()
    if not height:
        return
    for block in engine.blocks(from_height=_first_height(engine, newest=height, since_ms=since_ms)):
        for raw in block.transactions:
            if any(kind in raw for kind in _KINDS.values()):
                tx = decode(raw)
                if tx.kind in _KINDS:
                    yield block, tx


def _first_height(engine: LedgerEngine, *, newest: int, since_ms: int) -> int:
    """Return the first block of a time, or as many leaves before the end as one look goes back."""
    last = block_at(engine, newest)
    size = last.first_index + len(last.transactions) + 1
    low = height_of(engine, size - MAX_LEAVES) if size > MAX_LEAVES else 1
    high = newest
    while low < high:
        middle = (low + high) // 2
        if block_at(engine, middle).time_ms < since_ms:
            low = middle + 1
        else:
            high = middle
    return low

"""Finds a taxpayer's live records: neither superseded nor erased.

Live is what is anchored, not superseded by an anchored newer version, and not erased [VAULT-LIVE-1]. A type whose
records stand until superseded belongs to every data period after its date; all others belong to the period that their
day is in [VAULT-LIVE-2].
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache, partial

import numpy as np

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import Uscc
from shuiqiao.ledger.model import StateView
from shuiqiao.standards.model import RecordType
from shuiqiao.vault.contract import batch_fact
from shuiqiao.vault.identity import day_bytes, keys_hold_days, taxpayer_prefix
from shuiqiao.vault.storage.index import ENTRY, BatchRow, Entry, IndexView, unpack_entries

_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A data period, both days included. Raises InvalidInput ``vault.period_invalid`` if it runs backwards."""

    first: date
    last: date

    def __post_init__(self) -> None:
        if self.first > self.last:
            raise InvalidInput("vault.period_invalid", f"the period {self.first} to {self.last} runs backwards")

    @property
    def first_day(self) -> int:
        """Days since 1970 of the first day."""
        return (self.first - _EPOCH).days

    @property
    def last_day(self) -> int:
        """Days since 1970 of the last day."""
        return (self.last - _EPOCH).days


def live_entries(view: IndexView, record_type: RecordType, *, uscc: Uscc, period: Period) -> Sequence[Entry]:
    """Return the live records of one taxpayer and type in a period, in index order."""
    number = view.type_number(record_type.id)
    if number is None:
        return ()
    return view.once((number, uscc, period), partial(_read_live, view, record_type, number, uscc=uscc, period=period))


def _read_live(view: IndexView, record_type: RecordType, number: int, *, uscc: Uscc, period: Period) -> Iterator[Entry]:
    first, last = (-(1 << 31) if record_type.standing else period.first_day), period.last_day
    start, stop = b"", None
    if keys_hold_days(record_type):
        start, stop = (day_bytes(np.array([day], dtype=np.int32)) for day in (first, last + 1))
    hidden = set(view.pending_batches())
    replacement = view.replacement if view.has_replacements() else _nothing_replaced
    for value in view.records(taxpayer_prefix(number, uscc), start=start, stop=stop):
        entry = _newest_live(value, replacement)
        if entry is not None and entry.batch not in hidden and first <= entry.day <= last:
            yield entry


def is_behind(view: IndexView, record_type: RecordType, *, uscc: Uscc, state: StateView, author: str) -> bool:
    """Return whether the ledger knows more of a taxpayer's records of a type than the index shows [VAULT-LIVE-3].

    A batch that holds one of them is anchored and not noted so yet: the batch is hidden, and what it supersedes is
    shown, though the ledger may say otherwise by now. Or an erasure is begun and not told yet: who was erased is no
    longer known, so it may be any record of the type.
    """
    if any(_is_of(view.batch(number), record_type) for number, _ in view.pending_erasures()):
        return True
    pending = [row for row in map(view.batch, view.pending_batches()) if _is_of(row, record_type)]
    facts = ((row, batch_fact(state, author, row.id)) for row in pending)
    unnoted = {row.number for row, fact in facts if fact is not None and fact.root == row.root}
    number = view.type_number(record_type.id)
    if not unnoted or number is None:
        return False
    values = view.records(taxpayer_prefix(number, uscc))
    return any(entry.batch in unnoted for value in values for entry in unpack_entries(value))


def _is_of(row: BatchRow, record_type: RecordType) -> bool:
    return row.standard.partition("@")[0] == record_type.id


def _nothing_replaced(_place: tuple[int, int]) -> tuple[int, int] | None:
    return None


def _newest_live(value: bytes, replacement: Callable[[tuple[int, int]], tuple[int, int] | None]) -> Entry | None:
    """Return the version that counts: the first that nothing anchored has superseded."""
    if len(value) == ENTRY.size:
        entry = Entry(*ENTRY.unpack(value))
        return None if replacement((entry.batch, entry.index)) else entry
    versions = unpack_entries(value)
    return next((entry for entry in versions if replacement((entry.batch, entry.index)) is None), None)


@lru_cache(maxsize=16_384)
def month_of_day(day: int) -> str:
    """Return the month of a day since 1970, e.g. ``2019-07``."""
    return (_EPOCH + timedelta(days=day)).isoformat()[:7]

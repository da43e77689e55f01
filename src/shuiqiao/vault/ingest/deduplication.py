"""Tells new rows from known ones: duplicates, newer versions, contradictions [VAULT-IDENTITY-2].

For a row whose identity is known:

1. the same values as the newest version: a duplicate;
2. an older version read again from the very place it was first read at: a duplicate, so that a re-run changes nothing;
3. other values, and the type allows it: a newer version, which supersedes;
4. the same values but for a state that went forward: a newer version; one that is behind: outdated, kept out, so that
   the order in which files are read does not decide;
5. other values otherwise: a conflict, kept out.

A row that amends supersedes whatever its type allows, but needs a record, and takes no state back [VAULT-IDENTITY-3].
Where the newest version was erased, the record is gone, and what comes under its key is a new one.

Nearly every chunk has new rows only; that case is one look-up of all keys at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec
import numpy as np
import numpy.typing as npt

from shuiqiao.standards.model import RecordType
from shuiqiao.vault.ingest.preparation import PreparedRows
from shuiqiao.vault.ingest.quarantine import (
    ALREADY_INGESTED,
    DUPLICATE,
    GOES_BACK,
    IDENTITY_CONFLICT,
    OUTDATED,
    RECORD_UNKNOWN,
)
from shuiqiao.vault.storage.index import ENTRY, Entry, IndexView, unpack_entries

Place = tuple[int, int]

_ENTRY_FIELDS = np.dtype(
    [
        ("batch", ">u4"),
        ("index", ">u4"),
        ("day", ">i4"),
        ("source", ">u4"),
        ("row", ">u4"),
        ("digest", "V16"),
        ("state", "V9"),
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the kept rows of a chunk will go: on from ``count`` in a batch, then into the batches after it."""

    batch: int
    count: int
    batch_records: int

    def of(self, number: int) -> Place:
        """Return the place of one kept row, by its number among them."""
        further, index = divmod(self.count + number, self.batch_records)
        return self.batch + further, index


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownRow:
    """A row kept out for its identity. position: in the chunk. first: the known one, if there is one."""

    position: int
    rule: str
    first: Entry | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sifted:
    """What of a chunk goes into batches.

    kept: positions in the chunk, or None for all. items: (index key, packed entries) per kept row. superseding: per
    kept row that is a newer version, its number among the kept and the place of the older one.
    """

    kept: npt.NDArray[np.int64] | None
    items: list[tuple[bytes, bytes]]
    superseding: list[tuple[int, Place]] = field(default_factory=list[tuple[int, Place]])
    known: list[KnownRow] = field(default_factory=list[KnownRow])


def sift(
    view: IndexView,
    record_type: RecordType,
    prepared: PreparedRows,
    *,
    source: int,
    placement: Placement,
    amending: bool,
) -> Sifted:
    """Sift the rows of a chunk from a numbered source. amending: whether they are to supersede records."""
    found = view.find(prepared.keys)
    if not amending and not found and len(set(prepared.keys)) == len(prepared.keys):
        packed = _pack_all(prepared, source, placement)
        return Sifted(kept=None, items=list(zip(prepared.keys, packed, strict=True)))
    return _Sieve(
        record_type,
        prepared,
        found,
        replacement=view.replacement,
        source=source,
        placement=placement,
        amending=amending,
    ).run()


def _pack_all(prepared: PreparedRows, source: int, placement: Placement) -> list[bytes]:
    """Return the entries of rows that are all new, packed in one array."""
    count = len(prepared.keys)
    if not count:
        return []
    entries = np.empty(count, dtype=_ENTRY_FIELDS)
    further, indexes = np.divmod(placement.count + np.arange(count), placement.batch_records)
    entries["batch"], entries["index"] = placement.batch + further, indexes
    entries["day"], entries["source"], entries["row"] = prepared.days, source, prepared.source_rows
    entries["digest"] = np.frombuffer(b"".join(prepared.digests), dtype="V16")
    entries["state"] = np.frombuffer(b"".join(prepared.states), dtype="V9")
    packed = entries.tobytes()
    return [packed[at : at + ENTRY.size] for at in range(0, len(packed), ENTRY.size)]


class _Sieve:
    """Row by row, for chunks in which something is known."""

    def __init__(
        self,
        record_type: RecordType,
        prepared: PreparedRows,
        found: dict[bytes, bytes],
        *,
        replacement: Callable[[Place], Place | None],
        source: int,
        placement: Placement,
        amending: bool,
    ) -> None:
        self._supersedable = record_type.supersedable
        self._amending = amending
        self._prepared = prepared
        self._replacement = replacement
        self._versions = {key: unpack_entries(value) for key, value in found.items()}
        self._source = source
        self._placement = placement
        self._kept: list[int] = []
        self._items: list[tuple[bytes, bytes]] = []
        self._superseding: list[tuple[int, Place]] = []
        self._known: list[KnownRow] = []

    def run(self) -> Sifted:
        days, rows = self._prepared.days.tolist(), self._prepared.source_rows.tolist()
        prepared = self._prepared
        for position, (key, *values) in enumerate(zip(prepared.keys, prepared.digests, prepared.states, strict=True)):
            versions = self._versions.setdefault(key, [])
            row = Entry(0, 0, days[position], self._source, rows[position], *values)
            rule, first = self._judge(versions, row)
            if rule:
                self._known.append(KnownRow(position=position, rule=rule, first=first))
                continue
            number = len(self._kept)
            batch, index = self._placement.of(number)
            if not self._is_gone(versions):
                self._superseding.append((number, (versions[-1].batch, versions[-1].index)))
            versions.append(msgspec.structs.replace(row, batch=batch, index=index))
            self._kept.append(position)
            self._items.append((key, b"".join(entry.pack() for entry in versions)))
        return Sifted(
            kept=np.array(self._kept, dtype=np.int64),
            items=self._items,
            superseding=self._superseding,
            known=self._known,
        )

    def _judge(self, versions: list[Entry], row: Entry) -> tuple[str, Entry | None]:
        """Return the rule that keeps a row out and the entry it meets; an empty rule for a row to be ingested."""
        if self._is_gone(versions):
            return (RECORD_UNKNOWN if self._amending else ""), None
        for entry in versions:
            if _same_values(entry, row) and (entry.source, entry.row) == (row.source, row.row):
                return ALREADY_INGESTED, entry
        newest = versions[-1]
        if _same_values(newest, row):
            return DUPLICATE, newest
        if row.rank < newest.rank and (self._amending or row.digest == newest.digest):
            return (GOES_BACK if self._amending else OUTDATED), newest
        if self._amending or self._supersedable or (row.digest == newest.digest and row.rank > newest.rank):
            return "", newest
        return IDENTITY_CONFLICT, versions[0]

    def _is_gone(self, versions: list[Entry]) -> bool:
        """Whether there is no record: none was ever taken in, or what superseded the newest one known was erased."""
        return not versions or self._replacement((versions[-1].batch, versions[-1].index)) is not None


def _same_values(one: Entry, other: Entry) -> bool:
    return (one.digest, one.state) == (other.digest, other.state)

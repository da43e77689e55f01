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
from dataclasses import dataclass, field, replace

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
class Deduplicated:
    """What of a chunk goes into batches.

    kept: positions in the chunk, or None for all. items: (index key, packed entries) per kept row. superseding: per
    kept row that is a newer version, its number among the kept and the place of the older one.
    """

    kept: npt.NDArray[np.int64] | None
    items: list[tuple[bytes, bytes]]
    superseding: list[tuple[int, Place]] = field(default_factory=list[tuple[int, Place]])
    known: list[KnownRow] = field(default_factory=list[KnownRow])


def deduplicate(
    view: IndexView,
    record_type: RecordType,
    prepared: PreparedRows,
    *,
    source: int,
    placement: Placement,
    amending: bool,
) -> Deduplicated:
    """Tell the new rows of a chunk from a numbered source. amending: whether they are to supersede records."""
    keys = prepared.identities.keys
    found = view.find(keys)
    if not amending and not found and len(set(keys)) == len(keys):
        packed = _pack_all(prepared, source, placement)
        return Deduplicated(kept=None, items=list(zip(keys, packed, strict=True)))
    versions = {key: unpack_entries(value) for key, value in found.items()}
    comparison = _Comparison(supersedable=record_type.supersedable, amending=amending, replacement=view.replacement)
    return _row_by_row(prepared, versions, comparison, source=source, placement=placement)


def _pack_all(prepared: PreparedRows, source: int, placement: Placement) -> list[bytes]:
    """Return the entries of rows that are all new, packed in one array."""
    identities, count = prepared.identities, len(prepared.identities.keys)
    if not count:
        return []
    entries = np.empty(count, dtype=_ENTRY_FIELDS)
    further, indexes = np.divmod(placement.count + np.arange(count), placement.batch_records)
    entries["batch"], entries["index"] = placement.batch + further, indexes
    entries["day"], entries["source"], entries["row"] = identities.days, source, prepared.source_rows
    entries["digest"] = np.frombuffer(b"".join(identities.digests), dtype="V16")
    entries["state"] = np.frombuffer(b"".join(identities.states), dtype="V9")
    packed = entries.tobytes()
    return [packed[at : at + ENTRY.size] for at in range(0, len(packed), ENTRY.size)]


def _row_by_row(
    prepared: PreparedRows,
    known: dict[bytes, list[Entry]],
    comparison: _Comparison,
    *,
    source: int,
    placement: Placement,
) -> Deduplicated:
    """Go through a chunk in which something is known. known: versions by key, to which those of the chunk are added."""
    kept: list[int] = []
    done = Deduplicated(kept=None, items=[])
    identities, rows = prepared.identities, prepared.source_rows.tolist()
    columns = (identities.keys, identities.days.tolist(), rows, identities.digests, identities.states)
    for position, (key, day, source_row, digest, state) in enumerate(zip(*columns, strict=True)):
        versions = known.setdefault(key, [])
        row = Entry(0, 0, day, source, source_row, digest, state)
        rule, first = comparison.judge(versions, row)
        if rule:
            done.known.append(KnownRow(position=position, rule=rule, first=first))
            continue
        batch, index = placement.of(len(kept))
        if not comparison.is_gone(versions):
            done.superseding.append((len(kept), (versions[-1].batch, versions[-1].index)))
        versions.append(msgspec.structs.replace(row, batch=batch, index=index))
        kept.append(position)
        done.items.append((key, b"".join(entry.pack() for entry in versions)))
    return replace(done, kept=np.array(kept, dtype=np.int64))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Comparison:
    """The rules by which a row is compared with the known versions under its key."""

    supersedable: bool
    amending: bool
    replacement: Callable[[Place], Place | None]

    def judge(self, versions: list[Entry], row: Entry) -> tuple[str, Entry | None]:
        """Return the rule that keeps a row out and the entry it meets; an empty rule for a row to be ingested."""
        if self.is_gone(versions):
            return (RECORD_UNKNOWN if self.amending else ""), None
        for entry in versions:
            if _same_values(entry, row) and (entry.source, entry.row) == (row.source, row.row):
                return ALREADY_INGESTED, entry
        newest = versions[-1]
        if _same_values(newest, row):
            return DUPLICATE, newest
        if row.rank < newest.rank and (self.amending or row.digest == newest.digest):
            return (GOES_BACK if self.amending else OUTDATED), newest
        if self.amending or self.supersedable or (row.digest == newest.digest and row.rank > newest.rank):
            return "", newest
        return IDENTITY_CONFLICT, versions[0]

    def is_gone(self, versions: list[Entry]) -> bool:
        """Whether there is no record: none was ever taken in, or what superseded the newest one known was erased."""
        return not versions or self.replacement((versions[-1].batch, versions[-1].index)) is not None


def _same_values(one: Entry, other: Entry) -> bool:
    return (one.digest, one.state) == (other.digest, other.state)

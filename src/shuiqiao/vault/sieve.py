"""Tells new rows from known ones: duplicates, newer versions, contradictions [VAULT-IDENTITY-2].

For a row whose identity is known:

1. the same values as the newest version: a duplicate;
2. an older version read again from the very place it was first read at: a duplicate, so that a re-run changes nothing;
3. other values, and the type allows it: a newer version, which supersedes;
4. other values otherwise: a conflict, kept out.

Nearly every chunk has new rows only; that case is one look-up of all keys at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from shuiqiao.standards.model import RecordType
from shuiqiao.vault.index import ENTRY, Entry, IndexView, unpack_entries
from shuiqiao.vault.preparation import PreparedRows
from shuiqiao.vault.quarantine import ALREADY_INGESTED, DUPLICATE, IDENTITY_CONFLICT

Place = tuple[int, int]

_ENTRY_FIELDS = np.dtype(
    [("batch", ">u4"), ("index", ">u4"), ("day", ">i4"), ("source", ">u4"), ("row", ">u4"), ("digest", "V16")]
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
    """A row kept out because its identity is known. position: in the chunk. first: where the known one came from."""

    position: int
    rule: str
    first: Entry


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
) -> Sifted:
    """Sift the rows of a chunk from a numbered source."""
    found = view.find(prepared.keys)
    if not found and len(set(prepared.keys)) == len(prepared.keys):
        packed = _pack_all(prepared, source, placement)
        return Sifted(kept=None, items=list(zip(prepared.keys, packed, strict=True)))
    return _Sieve(record_type, prepared, found, source=source, placement=placement).run()


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
        source: int,
        placement: Placement,
    ) -> None:
        self._supersedable = record_type.supersedable
        self._prepared = prepared
        self._versions = {key: unpack_entries(value) for key, value in found.items()}
        self._source = source
        self._placement = placement
        self._kept: list[int] = []
        self._items: list[tuple[bytes, bytes]] = []
        self._superseding: list[tuple[int, Place]] = []
        self._known: list[KnownRow] = []

    def run(self) -> Sifted:
        days, rows = self._prepared.days.tolist(), self._prepared.source_rows.tolist()
        for position, (key, digest) in enumerate(zip(self._prepared.keys, self._prepared.digests, strict=True)):
            versions = self._versions.setdefault(key, [])
            rule, first = self._judge(versions, digest, rows[position])
            if first is not None:
                self._known.append(KnownRow(position=position, rule=rule, first=first))
                continue
            number = len(self._kept)
            batch, index = self._placement.of(number)
            if versions:
                self._superseding.append((number, (versions[-1].batch, versions[-1].index)))
            versions.append(Entry(batch, index, days[position], self._source, rows[position], digest))
            self._kept.append(position)
            self._items.append((key, b"".join(entry.pack() for entry in versions)))
        return Sifted(
            kept=np.array(self._kept, dtype=np.int64),
            items=self._items,
            superseding=self._superseding,
            known=self._known,
        )

    def _judge(self, versions: list[Entry], digest: bytes, row: int) -> tuple[str, Entry | None]:
        """Return the rule that keeps a row out and the entry it meets, or no entry for a row to be ingested."""
        for entry in versions:
            if entry.digest == digest and (entry.source, entry.row) == (self._source, row):
                return ALREADY_INGESTED, entry
        if not versions:
            return "", None
        if versions[-1].digest == digest:
            return DUPLICATE, versions[-1]
        return ("", None) if self._supersedable else (IDENTITY_CONFLICT, versions[0])

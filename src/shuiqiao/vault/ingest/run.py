"""The ingest: from source files to anchored batches, every row accounted for.

For every chunk of rows, in the order of the sources:

1. prepare it: validate, order, hash, identify (in worker processes for large sources);
2. tell its new rows from those that the index knows, which are kept out and reported;
3. gather what is new into the open batch, its identities into the open index transaction;
4. when the batch is full: files durable, then the index transaction, then the ledger [VAULT-STORE-2].

A crash loses at most what was not yet acknowledged: before the index transaction there is nothing but two unnamed
files, after it the batch is pending and the next ingest tells the ledger first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from shuiqiao.base.ids import Entropy, new_id
from shuiqiao.base.progress import Progress
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.standards.readers.source import Source
from shuiqiao.standards.sensitivity import guarded_fields
from shuiqiao.vault.anchoring import KNOWN_COMMITTED, Place, submit_batch, submit_replacements
from shuiqiao.vault.ingest.deduplication import Deduplicated, KnownRow, Placement, deduplicate
from shuiqiao.vault.ingest.preparation import Chunk, PreparedRows, open_preparers
from shuiqiao.vault.ingest.quarantine import KEPT_OUT, Report
from shuiqiao.vault.model import SALT_BYTES, Anchor, AnchoredBatch, IngestReport, VaultSettings
from shuiqiao.vault.storage.batch_file import BatchBuilder, BatchFiles
from shuiqiao.vault.storage.index import BatchRow, IndexWriter, RecordIndex
from shuiqiao.vault.tree import HashedRows

FULL_BATCH_BYTES = 64 << 20
"""Bytes of groups from which a batch is full, however few its records: writing it takes some five times as much."""

_BYTES_PER_TEXT_ROW = 100
"""Length of a typical row of CSV; it only decides whether workers are worth their start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedSource:
    """An opened source file with its number in the index, the name it is reported by and its length."""

    source: Source
    number: int
    name: str
    size_bytes: int

    @property
    def expected_rows(self) -> int:
        """Its rows, or a guess from its length where the format does not say."""
        known = self.source.row_count
        return self.size_bytes // _BYTES_PER_TEXT_ROW if known is None else known


@dataclass(slots=True, kw_only=True)
class _Counts:
    read: int = 0
    ingested: int = 0
    quarantined: int = 0
    duplicates: int = 0
    superseding: int = 0


@dataclass(kw_only=True)
class Ingest:
    """One run of the ingest over opened sources; the caller holds the vault's writing lock.

    amending: every row is to supersede a record that is there.
    """

    files: BatchFiles
    index: RecordIndex
    suite: CipherSuite
    settings: VaultSettings
    entropy: Entropy
    anchor: Anchor
    report: Report
    progress: Progress
    amending: bool = False

    def __post_init__(self) -> None:
        self._counts = _Counts()
        self._writer: IndexWriter | None = None
        self._builder: BatchBuilder | None = None
        self._replacing: list[tuple[Place, Place]] = []
        self._anchored: list[BatchRow] = []
        self._told: list[BatchRow] = []

    def run(
        self, sources: Sequence[NumberedSource], *, type_numbers: dict[str, int], finished: Sequence[BatchRow]
    ) -> IngestReport:
        """Ingest sources type by type. finished: batches that were anchored for an interrupted run before."""
        self._told = list(finished)
        for entry in sources:
            self.report.allow(entry.name, size_bytes=entry.size_bytes)
        rows = [entry.source.row_count for entry in sources]
        total = None if None in rows else sum(count or 0 for count in rows)
        expected = sum(entry.expected_rows for entry in sources)
        is_large = expected >= self.settings.parallel_from_rows
        types = {entry.source.record_type.id: entry.source.record_type for entry in sources}
        try:
            workers = self.settings.workers if is_large else 0
            with open_preparers(hash_name=self.suite.hash_name, workers=workers) as prepare_all:
                for record_type in types.values():
                    own = [entry for entry in sources if entry.source.record_type.id == record_type.id]
                    names = {entry.number: entry.name for entry in own}
                    chunks = self._chunks(own, type_numbers[record_type.id])
                    for chunk, prepared in prepare_all(chunks):
                        self._take(chunk, prepared, name=names[chunk.source])
                        self.progress("records read 读取记录", self._counts.read, total)
                    self._seal()
            self._settle()
        except BaseException as error:
            if self._writer is not None:
                self._writer.abort()
            if isinstance(error, KeyboardInterrupt):
                told = sum(row.count for row in self._told)
                error.add_note(
                    f"{told:,} records are in and stay; the same files again go on from there 已入库 {told} 条"
                )
            raise
        return self._finished()

    def _chunks(self, sources: Iterable[NumberedSource], type_number: int) -> Iterator[Chunk]:
        size = self.settings.batch_records
        for entry in sources:
            record_type = entry.source.record_type
            first_row = 1
            for rows in entry.source.batches(size):
                yield Chunk(
                    record_type=record_type,
                    type_number=type_number,
                    source=entry.number,
                    first_row=first_row,
                    rows=rows,
                    salts=self.entropy(rows.num_rows * len(record_type.groups) * SALT_BYTES),
                    batch=new_id(self.entropy),
                    key_is_all=entry.source.plan.natural_key_is_all,
                )
                first_row += rows.num_rows

    def _take(self, chunk: Chunk, prepared: PreparedRows, *, name: str) -> None:
        writer = self._open_writer()
        builder = self._builder or self._begin_batch(chunk)
        placement = Placement(batch=builder.number, count=builder.count, batch_records=self.settings.batch_records)
        found = deduplicate(
            writer, chunk.record_type, prepared, source=chunk.source, placement=placement, amending=self.amending
        )
        self.report.add_issues(name, prepared.issues, hidden=guarded_fields(chunk.record_type))
        self._report_known(writer, name, chunk.source, prepared, found.known)
        self._counts.read += prepared.read
        self._counts.quarantined += prepared.quarantined
        self._counts.superseding += len(found.superseding)
        rows = prepared.hashed if found.kept is None else prepared.hashed.take(found.kept)
        self._gather(chunk, rows, found, placement)

    def _open_writer(self) -> IndexWriter:
        if self._writer is None:
            self._writer = self.index.begin()
        return self._writer

    def _begin_batch(self, chunk: Chunk) -> BatchBuilder:
        number = self._open_writer().next_batch_number()
        self._builder = BatchBuilder(chunk.record_type, number=number, batch=chunk.batch)
        return self._builder

    def _report_known(
        self, writer: IndexWriter, name: str, source: int, prepared: PreparedRows, known: list[KnownRow]
    ) -> None:
        for entry in known:
            is_kept_out = entry.rule in KEPT_OUT
            self._counts.quarantined += is_kept_out
            self._counts.duplicates += not is_kept_out
            first = None
            if entry.first is not None:
                file = name if entry.first.source == source else writer.source(entry.first.source)
                first = (file, entry.first.row)
            self.report.add_known(
                name,
                row=int(prepared.source_rows[entry.position]),
                rule=entry.rule,
                value=prepared.identities.keys[entry.position][2:].partition(b"\x00")[0].decode(),
                first=first,
            )

    def _gather(self, chunk: Chunk, rows: HashedRows, found: Deduplicated, placement: Placement) -> None:
        """Put new rows into the open batch, closing it and opening the next where it is full."""
        superseding = dict(found.superseding)
        start, total = 0, len(found.items)
        self._counts.ingested += total
        while start < total:
            builder, writer = self._builder or self._begin_batch(chunk), self._open_writer()
            stop = min(total, start + self.settings.batch_records - builder.count)
            builder.add(rows.slice(start, stop))
            writer.put_records(found.items[start:stop])
            for number in range(start, stop) if superseding else ():
                if number in superseding:
                    old, new = superseding[number], placement.of(number)
                    writer.begin_replacement(old=old, new=new)
                    self._replacing.append((old, new))
            if builder.count == self.settings.batch_records:
                self._seal()
            start = stop
        # [VAULT-TREE-1]: large records make a smaller batch.
        if self._builder is not None and self._builder.size_bytes > FULL_BATCH_BYTES:
            self._seal()

    def _seal(self) -> None:
        """Make the open batch durable, then pending in the index, then anchored on the ledger."""
        builder, self._builder = self._builder, None
        if builder is None or not builder.count:
            return
        row = builder.write(self.files, suite=self.suite)
        writer = self._open_writer()
        self._settle_in(writer)
        writer.put_batch(row)
        writer.commit()
        self._writer = None
        anchored = submit_batch(self.index, self.anchor, row)
        self._anchored.append(anchored)
        self._told.append(anchored)
        self._amend()

    def _amend(self) -> None:
        if not self._replacing:
            return
        told = submit_replacements(self.index, self.anchor, self._replacing)
        # What the ledger has said is live from now on: not something to leave for the next batch.
        with self.index.write() as writer:
            self._settle_in(writer)
            for old, new in told:
                writer.finish_replacement(old=old, new=new)
        self._replacing = []

    def _settle_in(self, writer: IndexWriter) -> None:
        """Note in a transaction which batches the ledger has; it rides with the next batch and saves a disk wait."""
        for row in self._anchored:
            writer.put_batch(row)
        self._anchored = []

    def _settle(self) -> None:
        if self._writer is not None:
            self._writer.abort()
            self._writer = None
        with self.index.write() as writer:
            self._settle_in(writer)

    def _finished(self) -> IngestReport:
        counts = self._counts
        return IngestReport(
            records_read=counts.read,
            records_ingested=counts.ingested,
            records_quarantined=counts.quarantined,
            duplicates_reported=counts.duplicates,
            records_superseding=counts.superseding,
            anchored=tuple(
                AnchoredBatch(
                    batch=row.id,
                    standard=row.standard,
                    records=row.count,
                    index=None if row.committed == KNOWN_COMMITTED else row.committed,
                )
                for row in self._told
            ),
            report=self.report.path,
        )

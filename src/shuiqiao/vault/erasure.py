"""Destroys records: their bytes, their salts and what the index knows of them; their leaves stay [VAULT-ERASE-1].

Steps, each of which may be repeated after a crash:

1. the intent and the removal of the identities become durable together: from here on nobody is shown the records;
2. both files are written anew without bytes and salts, and renamed over the old ones;
3. the ledger is told, so that its statement was true when it was made;
4. the intent is forgotten.

An erased record that is ingested again is a new record: its identity was erased too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import pyarrow as pa

from shuiqiao.base.durable import SYSTEM_DISK, sync_folder
from shuiqiao.base.errors import Conflict, Denied, InvalidInput, ShuiqiaoError
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.standards.columns import canonical_schema
from shuiqiao.standards.model import Catalogue
from shuiqiao.vault.anchoring import submit_erasure
from shuiqiao.vault.contract import batch_fact
from shuiqiao.vault.identity import identify
from shuiqiao.vault.model import Anchor, ErasureReason
from shuiqiao.vault.storage.batch_file import (
    LEAVES_SUFFIX,
    PARQUET_SUFFIX,
    BatchFiles,
    BatchReader,
    GroupBytes,
    LeavesFile,
    LeavesHeader,
    encode_parquet,
)
from shuiqiao.vault.storage.index import BatchRow, IndexView, RecordIndex

NEW_SUFFIX = ".new"


@dataclass(frozen=True, slots=True, kw_only=True)
class Eraser:
    """Erases leaves of one vault; the caller holds the vault's writing lock.

    Example::

        eraser = Eraser(files=files, index=index, reader=reader, suite=suite, catalogue=catalogue)
        eraser.erase(batch, [3], reason=ErasureReason.TAXPAYER_REQUEST, anchor=outbox)
    """

    files: BatchFiles
    index: RecordIndex
    reader: BatchReader
    suite: CipherSuite
    catalogue: Catalogue

    def erase(self, batch: bytes, indexes: Sequence[int], *, reason: ErasureReason, anchor: Anchor) -> None:
        """Destroy leaves of a batch, or all of it where none is listed.

        Raises InvalidInput ``vault.batch_unknown`` and ``vault.leaf_unknown``, also for what is erased already.
        """
        with self.index.write() as writer:
            row = writer.batch_by_id(batch)
            if row is None:
                raise InvalidInput("vault.batch_unknown", f"batch {batch.hex()} is not in this vault")
            if row.committed is None:
                raise InvalidInput(
                    "vault.batch_pending",
                    f"batch {batch.hex()} is not on the ledger: there is nothing to tell of its erasure",
                    next_step="see `shuiqiao pending list`; `shuiqiao pending abandon ID` gives the batch up",
                )
            if any(number == row.number for number, _ in writer.pending_erasures()):
                raise Conflict(
                    "vault.erasure_pending",
                    f"an erasure of batch {batch.hex()} is begun and the ledger does not take it yet",
                    next_step="once the reason that the first attempt gave is gone, any ingest or erasure finishes it",
                )
            with self._opened(row) as file:
                gone = set(file.header.erased)
            chosen = sorted(set(indexes)) if indexes else [at for at in range(row.count) if at not in gone]
            for index in chosen:
                if not 0 <= index < row.count or index in gone:
                    raise InvalidInput("vault.leaf_unknown", f"leaf {index} of batch {batch.hex()} is not there")
            if not chosen:
                raise InvalidInput("vault.leaf_unknown", f"batch {batch.hex()} is erased already")
            places = {(row.number, index) for index in chosen}
            writer.drop_versions(self._keys(writer, row, chosen), places)
            writer.drop_replacements(places)
            writer.begin_erasure(row.number, indexes=list(indexes) and chosen, reason=reason)
        if (refusal := self.finish_pending(anchor).get(row.number)) is not None:
            raise refusal

    def finish_pending(self, anchor: Anchor) -> dict[int, ShuiqiaoError]:
        """Carry out what was begun, be it by this run or by one that was interrupted.

        What the ledger refuses to be told is returned by batch number; it stays begun and stops nothing else.
        """
        refused: dict[int, ShuiqiaoError] = {}
        with self.index.read() as view:
            waiting = [(view.batch(number), fields) for number, fields in view.pending_erasures()]
        for row, fields in waiting:
            indexes = fields["indexes"]
            parquet = self._destroy(row, indexes or list(range(row.count)))
            try:
                submit_erasure(anchor, row.id, indexes, ErasureReason(fields["reason"]))
            except (Conflict, Denied, InvalidInput) as error:
                refused[row.number] = error
                continue
            with self.index.write() as writer:
                writer.put_batch(replace(row, parquet=parquet, erased=row.erased or not indexes))
                writer.finish_erasure(row.number)
        return refused

    def renew(self, batch: bytes, *, new: bytes, anchor: Anchor) -> None:
        """Put a pending batch under another id: the same records, tree and root [VAULT-STORE-6]."""
        with self.index.read() as view:
            row = _pending(view, batch, anchor)
        with self._opened(row) as file:
            header = msgspec.structs.replace(file.header, batch=new)
            groups = [file.group(position) for position in range(len(header.groups))]
            self.files.write_leaves(header, tree=file.tree(), salts=file.salts().tobytes(), groups=groups)
        self.files.write_parquet(new, self.files.parquet(batch))
        sync_folder(self.files.folder)
        with self.index.write() as writer:
            writer.rename_batch(row, batch=new)
        self._remove(batch)

    def abandon(self, batch: bytes, *, anchor: Anchor) -> None:
        """Give a pending batch up: its records count as never taken in, and may be ingested again [VAULT-STORE-6]."""
        with self.index.write() as writer:
            row = _pending(writer, batch, anchor)
            places = {(row.number, index) for index in range(row.count)}
            writer.drop_versions(self._keys(writer, row, list(range(row.count))), places)
            writer.drop_batch(row)
        self._remove(batch)

    def _remove(self, batch: bytes) -> None:
        self.reader.forget(batch)
        for suffix in (LEAVES_SUFFIX, PARQUET_SUFFIX):
            self.files.path(batch, suffix).unlink()
        sync_folder(self.files.folder)

    def _opened(self, row: BatchRow) -> LeavesFile:
        groups = self.catalogue.get(row.standard).group_ids
        return self.files.leaves(row.id, count=row.count, groups=groups)

    def _keys(self, view: IndexView, row: BatchRow, indexes: list[int]) -> list[bytes]:
        """Return the index keys of records, made again from their bytes."""
        record_type = self.catalogue.get(row.standard)
        number = view.type_number(record_type.id)
        assert number is not None
        with self._opened(row) as file:
            groups = [file.group(position).records(indexes) for position in range(len(record_type.groups))]
        table = self.files.read_rows(row.id, record_type.field_names, indexes)
        rows = table.combine_chunks().to_batches()[0]
        # Which of the two keys a record has depends on its source, which is not in these files.
        return [
            key
            for key_is_all in (False, True)
            for key in identify(
                record_type, rows, groups, type_number=number, hash_name=self.suite.hash_name, key_is_all=key_is_all
            ).keys
        ]

    def _destroy(self, row: BatchRow, indexes: Sequence[int]) -> bytes:
        """Write both files without the records; return the digest of the new Parquet file."""
        with self._opened(row) as file:
            header = file.header
            gone = np.zeros(row.count, dtype=np.bool_)
            gone[[*header.erased, *indexes]] = True
            salts = file.salts().copy()
            salts[gone] = 0
            groups = [_without(file.group(position), gone) for position in range(len(header.groups))]
            columns = self._without_rows(row, gone)
            header = msgspec.structs.replace(
                header,
                erased=np.flatnonzero(gone).tolist(),
                parquet=self.suite.digest(columns),
                sizes=[len(group.data) for group in groups],
            )
            self._replace(header, columns, tree=file.tree(), salts=salts.tobytes(), groups=groups)
        return header.parquet

    def encrypt(self, row: BatchRow) -> None:
        """Write a batch that lies in clear anew, with the same content [VAULT-STORE-7]."""
        with self._opened(row) as file:
            groups = [file.group(position) for position in range(len(file.header.groups))]
            content = self.files.parquet(row.id)
            self._replace(file.header, content, tree=file.tree(), salts=file.salts().tobytes(), groups=groups)

    def _replace(
        self, header: LeavesHeader, parquet: bytes, *, tree: bytes, salts: bytes, groups: Sequence[GroupBytes]
    ) -> None:
        """Write both files of a batch and rename them over the old ones."""
        written = {
            LEAVES_SUFFIX: self.files.write_leaves(header, tree=tree, salts=salts, groups=groups, suffix=NEW_SUFFIX),
            PARQUET_SUFFIX: self.files.write_parquet(header.batch, parquet, suffix=NEW_SUFFIX),
        }
        for suffix, path in written.items():
            SYSTEM_DISK.replace(path, self.files.path(header.batch, suffix))
        # What is kept open would keep the old files' blocks, and what is decoded the records.
        self.reader.forget(header.batch)
        sync_folder(self.files.folder)

    def _without_rows(self, row: BatchRow, gone: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> bytes:
        """Return the Parquet file with empty rows in the place of erased records, so that the others keep theirs."""
        record_type = self.catalogue.get(row.standard)
        table = self.files.read_rows(row.id, record_type.field_names, range(row.count))
        places = pa.array(np.arange(row.count), mask=gone)
        return encode_parquet(record_type, table.take(places).cast(canonical_schema(record_type)))


def _pending(view: IndexView, batch: bytes, anchor: Anchor) -> BatchRow:
    """Return a batch that is not on the ledger; one that arrived after all is noted by the next ingest."""
    row = view.batch_by_id(batch)
    fact = batch_fact(anchor.state(), anchor.member, batch)
    is_there = row is not None and fact is not None and fact.root == row.root
    if row is None or row.committed is not None or is_there:
        raise InvalidInput(
            "vault.batch_not_pending", f"this vault has no batch {batch.hex()} that waits for the ledger"
        )
    return row


def _without(group: GroupBytes, gone: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> GroupBytes:
    lengths = np.diff(group.ends.astype(np.int64), prepend=0)
    lengths[gone] = 0
    data = b"".join(group.records(np.flatnonzero(~gone).tolist()))
    return GroupBytes(ends=np.cumsum(lengths).astype(np.uint32), data=data)

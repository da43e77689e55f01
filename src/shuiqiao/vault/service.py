"""The vault of one institution: takes records in, proves them, amends and erases them.

One writer at a time holds a lock file; any number of readers go on beside it. Nothing is shown before the ledger has
its root. The ledger is reached through an ``Anchor`` only, which the ledger's submitter is.
"""

from __future__ import annotations

import fcntl
import os
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path

from shuiqiao.base.clock import Clock, iso_from_ms
from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.files import open_descriptor, open_regular
from shuiqiao.base.ids import Entropy, MemberId, Uscc, new_id
from shuiqiao.base.memory import memory_given_back
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.crypto.file_cipher import FileCipher
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.ledger.model import LedgerEngine, Transaction
from shuiqiao.standards.model import Catalogue, RecordType
from shuiqiao.standards.readers.source import Source, open_source
from shuiqiao.vault.anchoring import Place, anchor_index, finish_pending, finish_replacements
from shuiqiao.vault.disclosure import Disclosure, disclose_records, granted_groups
from shuiqiao.vault.erasure import Eraser
from shuiqiao.vault.evidence import RecordEvidence, RecordProof, encode_evidence, evidence_keys, prove_record
from shuiqiao.vault.ingest.quarantine import Report
from shuiqiao.vault.ingest.run import Ingest, NumberedSource
from shuiqiao.vault.inspection import FileCheck, Inspector, unknown_files
from shuiqiao.vault.live import Period, is_behind, live_entries, month_of_day
from shuiqiao.vault.model import (
    Anchor,
    BatchLookup,
    ErasureReason,
    IngestReport,
    LeafLookup,
    LeafRef,
    PendingBatch,
    Problem,
    VaultSettings,
)
from shuiqiao.vault.search import FoundRecord, RecordQuery, find_records
from shuiqiao.vault.storage.batch_file import BatchFiles, BatchReader
from shuiqiao.vault.storage.index import (
    BATCHES_FOLDER,
    INDEX_FOLDER,
    LOCK_FILE,
    QUARANTINE_FOLDER,
    BatchRow,
    RecordIndex,
)

MAX_UNNAMED_FILES = 8
"""Files of no batch that an ingest clears away: a crash leaves two. More mean that the index is not this vault's."""

MAX_SOURCES = 10_000
"""Source files of one ingest: bounds the file handles and the report."""

_READ_BYTES = 1 << 20


class Vault:
    """The records of one institution under one folder, made where it is not there. One process opens a folder once.

    cipher: encrypts the batch files. reads_only: to look at one that is there; acts that write are refused by its
    index.

    Example::

        vault = Vault(
            home / "vault",
            suite=suite,
            catalogue=catalogue,
            clock=SystemClock(),
            entropy=system_entropy,
            cipher=cipher.files,
        )
        report = vault.ingest([Path("invoices.csv")], anchor=submitter)
    """

    def __init__(
        self,
        folder: Path,
        *,
        suite: CipherSuite,
        catalogue: Catalogue,
        clock: Clock,
        entropy: Entropy,
        cipher: FileCipher,
        settings: VaultSettings | None = None,
        reads_only: bool = False,
    ) -> None:
        self._folder = folder
        self._suite = suite
        self._catalogue = catalogue
        self._clock = clock
        self._entropy = entropy
        self._settings = settings or VaultSettings()
        self._batches = folder / BATCHES_FOLDER
        self._files = BatchFiles(folder=self._batches, cipher=cipher)
        self._is_all_encrypted = False
        self._quarantine = folder / QUARANTINE_FOLDER
        for path in () if reads_only else (self._batches, self._quarantine, folder / INDEX_FOLDER):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._index = RecordIndex(folder / INDEX_FOLDER, reads_only=reads_only)
        self._reader = BatchReader(self._files)
        self._eraser = Eraser(
            files=self._files, index=self._index, reader=self._reader, suite=suite, catalogue=catalogue
        )

    def close(self) -> None:
        """Release the files."""
        self._reader.close()
        self._index.close()

    def ingest(
        self,
        paths: Sequence[Path],
        *,
        anchor: Anchor,
        record_type: RecordType | None = None,
        progress: Progress = no_progress,
        amending: bool = False,
    ) -> IngestReport:
        """Take source files in: every row is anchored, or listed in the report with the reason [VAULT-INGEST-1].

        record_type: of all files; None sees it from each file's columns. amending: see ``amend``. What an interrupted
        run left is finished first; reading the same files again changes nothing [VAULT-INGEST-3]. Raises what
        ``readers.source.open_source`` refuses, before anything is taken in; Unavailable ``vault.busy``; what the anchor
        raises, after which the next ingest takes up where this one ended.
        """
        if not 0 < len(paths) <= MAX_SOURCES:
            raise InvalidInput("vault.sources_count", f"{len(paths)} source files where 1 to {MAX_SOURCES} are allowed")
        opened = [open_source(path, record_type=record_type, catalogue=self._catalogue) for path in paths]
        with memory_given_back(), self._writing():
            finished = self._finish_interrupted(anchor)
            sources, numbers = self._number(paths, opened)
            report = Report(self._quarantine, name=self._report_name())
            try:
                run = Ingest(
                    files=self._files,
                    index=self._index,
                    suite=self._suite,
                    settings=self._settings,
                    entropy=self._entropy,
                    anchor=anchor,
                    report=report,
                    progress=progress,
                    amending=amending,
                )
                result = run.run(sources, type_numbers=numbers, finished=finished)
            except BaseException:
                report.abandon()
                with suppress(Exception):
                    # What a full disk cut short belongs to no batch; where this fails too, the next run does it.
                    self._clear_unnamed()
                raise
            report.close()
            return result

    def amend(self, path: Path, *, anchor: Anchor, record_type: RecordType | None = None) -> IngestReport:
        """Supersede records by corrected ones from a file, found by their natural key [VAULT-IDENTITY-3].

        For what an ingest keeps out as ``identity_conflict``: a person has found out which values are right. Both
        versions stay provable. Rows that amend nothing are kept out and listed in the report. Raises as ``ingest``.
        """
        return self.ingest((path,), anchor=anchor, record_type=record_type, amending=True)

    def _number(self, paths: Sequence[Path], opened: Sequence[Source]) -> tuple[list[NumberedSource], dict[str, int]]:
        """Give source files and record types their numbers in the index, those that they have if it knows them."""
        with self._index.write() as writer:
            types = {source.record_type.id: writer.number_type(source.record_type.id) for source in opened}
            sources = [
                NumberedSource(
                    source=source,
                    number=writer.number_source(name=_shown_name(path), digest=self._file_digest(path)),
                    name=_shown_name(path),
                    size_bytes=path.stat().st_size,
                )
                for path, source in zip(paths, opened, strict=True)
            ]
        return sources, types

    def recover(self, anchor: Anchor) -> int:
        """Finish what an interrupted ingest or erasure left; return how many batches were anchored. Safe to repeat."""
        with self._writing():
            return len(self._finish_interrupted(anchor))

    def pending(self) -> list[PendingBatch]:
        """Return the batches that are not known to be on the ledger, with what refused them if anything did."""
        with self._index.read() as view:
            refusals = view.refusals()
            rows = [view.batch(number) for number in view.pending_batches()]
        return [PendingBatch(row.id, row.standard, row.count, *refusals.get(row.number, ("", ""))) for row in rows]

    def refused_amendments(self) -> list[PendingBatch]:
        """Return the batches whose records the ledger does not let supersede older ones, with what refused it.

        count: how many of their records. The older versions are the live ones [VAULT-STORE-6].
        """
        with self._index.read() as view:
            counts = Counter(new[0] for _old, new in view.pending_replacements())
            reasons = {place[0]: reason for place, reason in view.refused_replacements().items()}
            rows = [(view.batch(number), reason) for number, reason in reasons.items()]
        return [PendingBatch(row.id, row.standard, counts[row.number], *reason) for row, reason in rows]

    def redo_amendment(self, batch: bytes, *, anchor: Anchor) -> None:
        """Submit the replacements of a batch again; raises what refuses them, which stays [VAULT-STORE-6].

        Raises InvalidInput ``vault.batch_not_pending``.
        """
        with self._writing():
            _, steps = self._amendment(batch)
            finish_replacements(self._index, anchor, steps)
            self._finish_interrupted(anchor)

    def abandon_amendment(self, batch: bytes, *, anchor: Anchor) -> None:
        """Erase the newer versions that the ledger refused to let supersede older ones [VAULT-STORE-6].

        They are anchored, so that they are not forgotten but told as erased: no record is live twice. Their rows may
        be ingested again. Raises InvalidInput ``vault.batch_not_pending``, and what refuses the erasure.
        """
        with self._writing():
            self._finish_interrupted(anchor)
            row, steps = self._amendment(batch)
            indexes = [new[1] for _old, new in steps]
            self._eraser.erase(row.id, indexes, reason=ErasureReason.RETENTION_OVER, anchor=anchor)

    def _amendment(self, batch: bytes) -> tuple[BatchRow, list[tuple[Place, Place]]]:
        """Return a batch with what it waits to supersede."""
        with self._index.read() as view:
            row = view.batch_by_id(batch)
            steps = [step for step in view.pending_replacements() if row is not None and step[1][0] == row.number]
        if row is None or not steps:
            raise InvalidInput("vault.batch_not_pending", f"batch {batch.hex()} supersedes nothing that is refused")
        return row, steps

    def redo(self, batch: bytes, *, anchor: Anchor) -> bytes:
        """Put a batch that the ledger refused under a new id, tell the ledger, and return the id [VAULT-STORE-6].

        Raises InvalidInput ``vault.batch_not_pending``; what refuses it again stands in ``pending``.
        """
        with self._writing():
            new = new_id(self._entropy)
            self._eraser.renew(batch, new=new, anchor=anchor)
            self._finish_interrupted(anchor)
        return new

    def abandon(self, batch: bytes, *, anchor: Anchor) -> None:
        """Give up a batch that the ledger refused; its rows may be ingested again [VAULT-STORE-6].

        Raises InvalidInput ``vault.batch_not_pending``.
        """
        with self._writing():
            self._eraser.abandon(batch, anchor=anchor)

    def settle(self, *, uscc: Uscc, type_ids: Iterable[str], anchor: Anchor) -> None:
        """Note what the ledger has of a taxpayer's records of some types by now [VAULT-LIVE-3].

        What is read after this lacks no record that was anchored before it. Raises Unavailable ``vault.busy`` while an
        ingest or erasure at work has those records in hand, and what the anchor raises.
        """
        types = [self._catalogue.get(type_id) for type_id in type_ids]
        state = anchor.state()
        with self._index.read() as view:
            is_late = any(
                is_behind(view, record_type, uscc=uscc, state=state, author=anchor.member) for record_type in types
            )
        if is_late:
            self.recover(anchor)
            state = anchor.state()
            with self._index.read() as view:
                is_late = any(is_behind(view, each, uscc=uscc, state=state, author=anchor.member) for each in types)
            if is_late:
                raise Conflict("vault.unsettled", "what the ledger was to be told of this vault's records is refused")

    def disclose(
        self, *, uscc: Uscc, groups: Mapping[str, Sequence[str]], period_from: date, period_to: date
    ) -> Disclosure:
        """Return a taxpayer's live records of some types, with the granted groups opened and all of it provable.

        groups: type id or standard id -> disclosure group ids. Both days are included. A type without records is
        there with no rows. Raises InvalidInput ``vault.period_invalid``, ``vault.taxpayer_invalid``,
        ``vault.groups_empty``, ``standards.type_unknown``, ``standards.group_unknown``.
        """
        period = Period(first=period_from, last=period_to)
        types = [self._catalogue.get(type_id) for type_id in groups]
        wanted = [granted_groups(kind, tuple(ids)) for kind, ids in zip(types, groups.values(), strict=True)]
        with self._index.read() as view:
            found = tuple(
                disclose_records(
                    view,
                    live_entries(view, record_type, uscc=uscc, period=period),
                    reader=self._reader,
                    record_type=record_type,
                    groups=granted,
                    hash_name=self._suite.hash_name,
                )
                for record_type, granted in zip(types, wanted, strict=True)
            )
        return Disclosure(uscc=uscc, period_from=period_from, period_to=period_to, types=found)

    def count_live(self, *, uscc: Uscc, type_id: str, period_from: date, period_to: date) -> dict[str, int]:
        """Return the number of live records of one taxpayer and type by month, e.g. ``{"2019-07": 12}``.

        A record counts in the month of its day, a year in its December; months without records are left out.
        """
        period = Period(first=period_from, last=period_to)
        with self._index.read() as view:
            entries = live_entries(view, self._catalogue.get(type_id), uscc=uscc, period=period)
        counts = Counter([month_of_day(entry.day) for entry in entries])
        return dict(sorted(counts.items()))

    def holds(self, record_type: str) -> bool:
        """Return whether records of a type were ever taken in here."""
        with self._index.read() as view:
            return view.type_number(record_type) is not None

    def revision(self) -> int:
        """Return a number that changes with every change of what the vault holds."""
        return self._index.revision()

    def live_leaves(self, *, uscc: Uscc, type_id: str, period_from: date, period_to: date) -> list[LeafRef]:
        """Return the places of the live records of one taxpayer and type, in the order of the index."""
        period = Period(first=period_from, last=period_to)
        with self._index.read() as view:
            entries = live_entries(view, self._catalogue.get(type_id), uscc=uscc, period=period)
            ids = {number: view.batch(number).id for number in {entry.batch for entry in entries}}
        return [LeafRef(ids[entry.batch], entry.index) for entry in entries]

    def prove_record(self, leaf: LeafRef, *, groups: Sequence[str]) -> RecordProof:
        """Return a proof of one record that stands alone, with some groups opened [VAULT-EVIDENCE-1].

        Superseded records are provable as well. Raises InvalidInput ``vault.batch_unknown``, ``vault.leaf_unknown``.
        """
        row = self._anchored_row(leaf.batch)
        return prove_record(
            self._reader,
            row,
            self._catalogue.get(row.standard),
            index=leaf.index,
            groups=tuple(groups),
            hash_name=self._suite.hash_name,
        )

    def prove_to_outsider(
        self,
        leaf: LeafRef,
        *,
        groups: Sequence[str],
        ledger: LedgerEngine,
        decode: Callable[[bytes], Transaction],
        author: MemberId,
    ) -> bytes:
        """Return a file that proves one record against the genesis, with some groups opened [VAULT-EVIDENCE-2].

        It has the receipt of the batch's anchor, which shows too whether the record is live. author: whose vault this
        is. Raises as ``prove_record`` and ``LedgerEngine.receipt``; InvalidInput ``standards.group_unknown``.

            vault.prove_to_outsider(leaf, groups=("core",), ledger=engine, decode=submitter.decode, author=bureau)
        """
        row = self._anchored_row(leaf.batch)
        granted_groups(self._catalogue.get(row.standard), tuple(groups))
        proof = self.prove_record(leaf, groups=groups)
        index = anchor_index(row, ledger=ledger, decode=decode, author=author)
        receipt = ledger.receipt(index, state_keys=evidence_keys(author, leaf.batch, leaf.index))
        return encode_evidence(RecordEvidence(proof=proof, receipt=receipt))

    def record_type_of(self, batch: bytes) -> RecordType:
        """Return the type of a batch's records; raises InvalidInput ``vault.batch_unknown``."""
        return self._catalogue.get(self._anchored_row(batch).standard)

    def find(self, query: RecordQuery, *, status_of: LeafLookup) -> list[FoundRecord]:
        """Return every version of the records that a query fits; raises as ``search.find_records``."""
        with self._index.read() as view:
            return find_records(view, query, files=self._files, catalogue=self._catalogue, status_of=status_of)

    def erase(self, batch: bytes, indexes: Sequence[int], *, reason: ErasureReason, anchor: Anchor) -> None:
        """Destroy records of a batch, or all of it where none is listed, and tell the ledger [VAULT-ERASE-1].

        Raises InvalidInput ``vault.batch_unknown``, ``vault.leaf_unknown``; Unavailable ``vault.busy``.
        """
        with self._writing():
            self._finish_interrupted(anchor)
            self._eraser.erase(batch, indexes, reason=reason, anchor=anchor)

    def verify_files(self, *, batch_of: BatchLookup, status_of: LeafLookup | None = None) -> FileCheck:
        """Recompute every leaf and root from the stored bytes and compare with the ledger [VAULT-CHECK-1].

        Where the key of the batch files is not at hand, of those that are encrypted only header and tree are checked.
        """
        why = self._key_missing()
        inspector = Inspector(
            files=self._files,
            suite=self._suite,
            catalogue=self._catalogue,
            batch_of=batch_of,
            status_of=status_of,
            has_key=not why,
        )
        batches = records = unread = 0
        problems: list[Problem] = []
        with self._index.read() as view:
            rows = list(view.batches())
        for row in rows:
            if row.committed is None:
                continue
            found = inspector.inspect(row)
            problems += found
            is_unread = bool(why) and not found and self._files.is_encrypted(row.id)
            unread += is_unread
            if not found and not is_unread:
                batches, records = batches + 1, records + row.count
        for name in unknown_files(self._batches, {row.id.hex() for row in rows}):
            problems.append(Problem(code="vault.file_unknown", place=name, message="it belongs to no batch"))
        return FileCheck(
            batches=batches, records=records, problems=tuple(problems), unread=unread, why=why if unread else ""
        )

    def _key_missing(self) -> str:
        """Return why the key of the batch files cannot be had, empty where it can."""
        try:
            _ = self._files.cipher.key_id
        except (Denied, Unavailable) as error:
            return error.message
        return ""

    def encrypt_batches(self, *, at_most: int) -> int:
        """Write so many batches anew that a release before left in clear; return how many were [VAULT-STORE-7].

        It may be repeated, and a crash leaves each file whole, in clear or not. Raises Unavailable ``vault.busy``.
        """
        if self._is_all_encrypted:
            return 0
        done = 0
        with self._writing():
            with self._index.read() as view:
                rows = list(view.batches())
            for row in rows:
                if self._files.is_encrypted(row.id):
                    continue
                if done == at_most:
                    return done
                self._eraser.encrypt(row)
                done += 1
        # Whatever is written from now on is encrypted.
        self._is_all_encrypted = True
        return done

    def _anchored_row(self, batch: bytes) -> BatchRow:
        with self._index.read() as view:
            row = view.batch_by_id(batch)
        if row is None or row.committed is None:
            raise InvalidInput("vault.batch_unknown", f"batch {batch.hex()} is not anchored by this vault")
        return row

    @contextmanager
    def _writing(self) -> Generator[None]:
        """Hold the lock of the one writer; the system releases it if the process dies."""
        with os.fdopen(open_descriptor(self._folder / LOCK_FILE, flags=os.O_RDWR | os.O_CREAT), "ab") as file:
            try:
                fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Unavailable(
                    "vault.busy", "another ingest or erasure is at work in this vault", retry_after_s=5.0
                ) from error
            yield

    def _finish_interrupted(self, anchor: Anchor) -> list[BatchRow]:
        self._clear_unnamed()
        finished = finish_pending(self._index, anchor)
        self._eraser.finish_pending(anchor)
        return finished

    def _clear_unnamed(self) -> None:
        """Remove files that a crash left before the index knew of them [VAULT-STORE-4]."""
        with self._index.read() as view:
            known = {row.id.hex() for row in view.batches()}
        unnamed = unknown_files(self._batches, known)
        if len(unnamed) > MAX_UNNAMED_FILES:
            raise IntegrityError(
                "vault.index_incomplete",
                f"{len(unnamed)} files in {self._batches} belong to no batch of the index",
                next_step="The index is not the one of these batches; restore it from the backup of the same moment.",
            )
        for name in unnamed:
            (self._batches / name).unlink()

    def _report_name(self) -> str:
        moment = iso_from_ms(self._clock.now_ms()).replace(":", "").replace("-", "")
        return f"{moment}-{os.getpid()}-{len(list(self._quarantine.iterdir()))}.ndjson"

    def _file_digest(self, path: Path) -> bytes:
        state = self._suite.new_hash()
        with open_regular(path) as file:
            while block := file.read(_READ_BYTES):
                state.update(block)
        digest: bytes = state.digest()
        return digest


def _shown_name(path: Path) -> str:
    """Return a file's name as text that can be stored: bytes that are not UTF-8 are escaped."""
    return path.name.encode(errors="backslashreplace").decode()

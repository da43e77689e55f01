"""How fast invoices are ingested and anchored, beside a bare loop of the same parse and leaf formula.

Measured: ``Vault.ingest`` over Parquet files written beforehand, end to end: read, validated, checked for duplicates,
hashed, written durably, one signed ``anchor.commit`` per 16,384 records committed durably by a real embedded ledger;
the start of the worker processes is part of it. The bare loop runs after it in this process alone, on the same files:
read, canonical JSON of the three groups, salts, leaves, appended to one file with one fdatasync a batch; no
validation, no duplicates, no index, no tree, no ledger.

The files have the shape of a bureau's extract: the invoices of some taxpayers, one after the other, in time order, with
three disclosure groups, all optional columns present, Chinese names among the counterparties. Everything follows from
the seed; nothing is drawn from real firms.

``peak_rss_mb`` is the peak of the anonymous memory (RssAnon) of this process and all its descendants, which is what a
run really takes from the machine: mapped files (the index, libraries) can be dropped by the kernel at any time.
LIMIT: Linux only; a peak shorter than the interval of sampling is missed.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shuiqiao.base.clock import SystemClock
from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.ids import MemberId, system_entropy
from shuiqiao.crypto.file_cipher import FileCipher
from shuiqiao.crypto.kdf import SEED_BYTES
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.ledger.transactions.submitter import LedgerSubmitter
from shuiqiao.members.genesis import encode_genesis, network_parameters
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.members.model import Genesis, Role
from shuiqiao.members.roster import Registration
from shuiqiao.standards.columns import canonical_schema
from shuiqiao.standards.model import RecordType
from shuiqiao.standards.publication import load_catalogue
from shuiqiao.standards.readers.source import open_source
from shuiqiao.vault import contract
from shuiqiao.vault.ingest.preparation import encode_and_hash
from shuiqiao.vault.model import DEFAULT_BATCH_DEPTH, SALT_BYTES, VaultSettings
from shuiqiao.vault.service import Vault

MAX_BARE_RECORDS = 1_000_000
"""The bare loop reads at most this many records: its rate does not depend on more."""

_BUREAU = MemberId("bureau")
_SEED = 20_260_401


def run_anchor_bench(
    *, records: int, suite: str, folder: Path | None = None, settings: VaultSettings | None = None
) -> dict[str, object]:
    """Return ``{"records", "suite", "records_per_s", "bare_records_per_s", "ratio", "peak_rss_mb"}``.

    folder: where the files go while it runs; by default the system's temporary folder, which should be on a disk.
    """
    chosen = get_suite(suite)
    record_type = load_catalogue().get("invoice_issued")
    with tempfile.TemporaryDirectory(prefix="shuiqiao-bench-", dir=folder) as name:
        place = Path(name)
        paths = write_invoice_files(place, record_type=record_type, records=records, seed=_SEED)
        with memory_peak() as peak:
            rate = _ingest_rate(place, paths, records=records, suite=chosen, settings=settings or VaultSettings())
        bare = _bare_rate(place / "bare", paths, record_type=record_type, suite=chosen)
    return {
        "records": records,
        "suite": suite,
        "records_per_s": round(rate),
        "bare_records_per_s": round(bare),
        "ratio": round(rate / bare, 3),
        "peak_rss_mb": round(peak.megabytes, 1),
    }


def _ingest_rate(
    place: Path, paths: Sequence[Path], *, records: int, suite: CipherSuite, settings: VaultSettings
) -> float:
    ledger, anchor = _open_ledger(place / "ledger", suite)
    vault = Vault(
        place / "vault",
        suite=suite,
        catalogue=load_catalogue(),
        clock=SystemClock(),
        entropy=system_entropy,
        cipher=FileCipher(partial(system_entropy, SEED_BYTES), suite=suite.name, entropy=system_entropy),
        settings=settings,
    )
    try:
        start = time.perf_counter()
        report = vault.ingest(paths, anchor=anchor)
        seconds = time.perf_counter() - start
    finally:
        vault.close()
        ledger.close()
    if report.records_ingested != records:
        raise IntegrityError("sandbox.bench_lost_records", f"{report.records_ingested} of {records} were ingested")
    return records / seconds


def _open_ledger(folder: Path, suite: CipherSuite) -> tuple[EmbeddedLedger, LedgerSubmitter]:
    """A network of one bureau with its embedded writer, and the bureau's way to it."""
    clock, key = SystemClock(), suite.generate_signing_key(system_entropy)
    bureau = Registration.in_genesis("bench", _BUREAU).register(
        role=Role.TAX_BUREAU,
        name="Bureau",
        name_zh="税务局",
        signing=key,
        sealing_key=suite.generate_sealing_key(system_entropy).public_key,
    )
    genesis = Genesis(name="bench", suite=suite.name, writer=_BUREAU, created_ms=clock.now_ms(), members=(bureau,))
    kinds = KindTable(contract.KINDS)
    ledger = EmbeddedLedger.open(
        folder,
        parameters=network_parameters(encode_genesis(genesis)),
        kinds=kinds,
        key_ring=MemberKeyRing(),
        clock=clock,
        operator_key=key,
        settings=EmbeddedSettings(),
    )
    submitter = LedgerSubmitter(
        ledger, member=_BUREAU, key=key, kinds=kinds, suite=suite, clock=clock, entropy=system_entropy
    )
    return ledger, submitter


def _bare_rate(target: Path, paths: Sequence[Path], *, record_type: RecordType, suite: CipherSuite) -> float:
    done, start = 0, time.perf_counter()
    with target.open("wb", buffering=0) as file:
        for path in paths:
            source = open_source(path, record_type=record_type, catalogue=load_catalogue())
            for rows in source.batches(1 << DEFAULT_BATCH_DEPTH):
                salts = system_entropy(rows.num_rows * len(record_type.groups) * SALT_BYTES)
                _, parts, leaves = encode_and_hash(record_type, rows, salts, hash_name=suite.hash_name)
                lengths = np.array([[len(part) for part in column] for column in parts], dtype=np.uint32)
                file.write(b"".join([*leaves, salts, lengths.tobytes(), *(b"".join(column) for column in parts)]))
                os.fdatasync(file.fileno())
                done += rows.num_rows
            if done >= MAX_BARE_RECORDS:
                break
    return done / (time.perf_counter() - start)


FILE_RECORDS = 100_000
INVOICES_PER_TAXPAYER = 500
"""About two and a half years of a small firm in the real data set (median of 123 firms: 600 issued)."""

_FIRST_DAY, _DAYS = 19_358, 912
_COUNTERPARTIES = 20_000
_RATE_PERCENT = 13
_VOID_SHARE = 0.05


def write_invoice_files(folder: Path, *, record_type: RecordType, records: int, seed: int) -> list[Path]:
    """Write issued invoices into as many files as needed; return their paths in order."""
    names = pa.array([f"第{number:05d}号商贸有限公司" for number in range(_COUNTERPARTIES)])
    ids = pa.array([f"91440300MA5{number:07d}" for number in range(_COUNTERPARTIES)])
    paths: list[Path] = []
    for number, (start, count) in enumerate(_spans(records)):
        path = folder / f"invoices-{number:05d}.parquet"
        rows = _invoices(record_type, start=start, count=count, seed=seed, parties=(ids, names))
        pq.write_table(rows, path, compression="zstd", row_group_size=FILE_RECORDS)
        paths.append(path)
    return paths


def _spans(records: int) -> Iterator[tuple[int, int]]:
    for start in range(0, records, FILE_RECORDS):
        yield start, min(FILE_RECORDS, records - start)


def _invoices(record_type: RecordType, *, start: int, count: int, seed: int, parties: tuple[Any, Any]) -> pa.Table:
    random = np.random.default_rng([seed, start])
    serials = np.arange(start, start + count)
    taxpayers = serials // INVOICES_PER_TAXPAYER
    amounts = random.integers(10_000, 50_000_000, count)
    taxes = amounts * _RATE_PERCENT // 100
    days = _FIRST_DAY + (serials % INVOICES_PER_TAXPAYER) * _DAYS // INVOICES_PER_TAXPAYER
    other = random.integers(0, _COUNTERPARTIES, count)
    columns: dict[str, Any] = {
        "uscc": pa.array([f"91320100MA1{number:07d}" for number in taxpayers.tolist()]),
        "invoice_no": pa.array([f"2532{number:016d}" for number in serials.tolist()]),
        "issue_date": pa.array(days.astype(np.int32)).cast(pa.date32()),
        "status": pa.array(np.where(random.random(count) < _VOID_SHARE, "void", "valid")),
        "is_red_letter": pa.array(np.zeros(count, dtype=np.bool_)),
        "amount_fen": pa.array(amounts),
        "tax_fen": pa.array(taxes),
        "total_fen": pa.array(amounts + taxes),
        "tax_rate": pa.repeat("0.13", count),
        "counterparty_id": parties[0].take(other),
        "counterparty_name": parties[1].take(other),
    }
    schema = canonical_schema(record_type)
    arrays = [columns[name] if name in columns else pa.nulls(count, schema.field(name).type) for name in schema.names]
    return pa.Table.from_arrays(
        [array.cast(field.type) for array, field in zip(arrays, schema, strict=True)], schema=schema
    )


INTERVAL_S = 0.05
_PROC = Path("/proc")
_KB_PER_MB = 1024


class MemoryPeak:
    """The highest sum seen so far, in megabytes (2^20 bytes)."""

    def __init__(self) -> None:
        self.megabytes = 0.0

    def sample(self) -> None:
        """Look once."""
        kilobytes = sum(_anonymous_kb(process) for process in _family(os.getpid()))
        self.megabytes = max(self.megabytes, kilobytes / _KB_PER_MB)


@contextmanager
def memory_peak() -> Generator[MemoryPeak]:
    """Sample until the context ends."""
    peak, stopped = MemoryPeak(), threading.Event()

    def run() -> None:
        while not stopped.wait(INTERVAL_S):
            peak.sample()

    thread = threading.Thread(target=run, name="memory-peak", daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        stopped.set()
        thread.join()
        peak.sample()


def _family(root: int) -> list[int]:
    """Return a process and its living descendants."""
    family = [root]
    for process in family:
        for tasks in (_PROC / str(process) / "task").glob("*/children"):
            try:
                family += [int(child) for child in tasks.read_text().split()]
            except OSError:  # the thread ended in between
                continue
    return family


def _anonymous_kb(process: int) -> int:
    try:
        status = (_PROC / str(process) / "status").read_text()
    except OSError:  # the process ended in between
        return 0
    lines = (line for line in status.splitlines() if line.startswith("RssAnon:"))
    return sum(int(line.split()[1]) for line in lines)

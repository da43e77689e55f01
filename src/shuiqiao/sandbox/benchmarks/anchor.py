"""How fast invoices are ingested and anchored, beside a bare loop of the same parse and leaf formula.

Measured: ``Vault.ingest`` over Parquet files written beforehand, end to end: read, validated, checked for duplicates,
hashed, written durably, one signed ``anchor.commit`` per 16,384 records committed durably by a real embedded ledger;
the start of the worker processes is part of it. The bare loop runs after it in this process alone, on the same files:
read, canonical JSON of the three groups, salts, leaves, appended to one file with one fdatasync a batch; no
validation, no duplicates, no index, no tree, no ledger. ``peak_rss_mb`` is the peak of RssAnon of all processes.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from shuiqiao.base.clock import SystemClock
from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.ids import MemberId, system_entropy
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.ledger.transactions.submitter import DirectSubmitter
from shuiqiao.members.genesis import encode_genesis, network_parameters
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.members.model import Genesis, Role
from shuiqiao.members.roster import Registration
from shuiqiao.sandbox.benchmarks.invoice_files import write_invoice_files
from shuiqiao.sandbox.benchmarks.process_memory import memory_peak
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
    vault = Vault.open(
        place / "vault",
        suite=suite,
        catalogue=load_catalogue(),
        clock=SystemClock(),
        entropy=system_entropy,
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


def _open_ledger(folder: Path, suite: CipherSuite) -> tuple[EmbeddedLedger, DirectSubmitter]:
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
    submitter = DirectSubmitter(
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

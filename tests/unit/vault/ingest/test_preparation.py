from __future__ import annotations

import gc
import os
import signal
import time
from pathlib import Path

import pyarrow as pa
import pytest

from shuiqiao.base.errors import Unavailable
from shuiqiao.standards.readers.source import open_source
from shuiqiao.vault.ingest.preparation import Chunk, open_preparers
from vault_world import CATALOGUE, invoice, write_rows
from worker_pids import worker_pids


def views_of_a_bytesio():
    found = [each for each in gc.get_objects() if type(each) is memoryview]
    return [view for view in found if type(view.obj).__name__ == "_BytesIOBuffer"]


def test_the_error_of_a_lost_worker_keeps_no_view_of_a_bytesio():
    # An interpreter that collects such a view and its BytesIO together crashes (3.12.1) or reports an error (3.13).
    invoices = CATALOGUE.get("invoice_issued")
    chunk = Chunk(
        record_type=invoices,
        type_number=0,
        source=0,
        first_row=1,
        rows=pa.record_batch({"uscc": ["91320100MA1000000A"]}),
        salts=b"",
        batch=bytes(16),
        key_is_all=False,
    )
    gc.collect()
    with open_preparers(hash_name="sha256", workers=1) as prepare_all:
        (worker,) = worker_pids("run_worker")
        os.kill(worker, signal.SIGKILL)
        wait_until(worker, "Z")
        with pytest.raises(Unavailable, match=r"vault\.worker_lost.*exit code -9") as lost:
            list(prepare_all([chunk]))
        assert isinstance(lost.value.__cause__, BrokenPipeError)
        assert views_of_a_bytesio() == []


def wait_until(pid, state):
    """Return when a process is in a state for a while: S waits (it writes and nobody reads), Z has ended."""
    seen = 0
    while seen < 20:
        found = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        seen = seen + 1 if found == state else 0
        time.sleep(0.01)


def test_a_worker_that_is_killed_while_it_writes_its_result_is_told(tmp_path):
    path = write_rows(tmp_path / "a.parquet", "invoice_issued", [invoice(number) for number in range(4000)])
    source = open_source(path, record_type=None, catalogue=CATALOGUE)
    chunks = [
        Chunk(
            record_type=source.record_type,
            type_number=1,
            source=1,
            first_row=1 + 2000 * number,
            rows=rows,
            salts=bytes(2000 * 64),
            batch=bytes(16),
            key_is_all=False,
        )
        for number, rows in enumerate(source.batches(2000))
    ]
    with open_preparers(hash_name="sha256", workers=1) as prepare_all:
        prepared = prepare_all(chunks)
        assert next(prepared)[1].read == 2000
        (worker,) = worker_pids("run_worker")
        wait_until(worker, "S")
        os.kill(worker, signal.SIGKILL)
        # A worker that is not yet scheduled to die could still finish its write into the room that reading makes.
        wait_until(worker, "Z")
        with pytest.raises(Unavailable, match=r"vault\.worker_lost.*exit code -9"):
            next(prepared)

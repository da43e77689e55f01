from __future__ import annotations

import gc
import multiprocessing
import time
from pathlib import Path

import pyarrow as pa
import pytest

from shuiqiao.base.errors import Unavailable
from shuiqiao.standards.readers.source import open_source
from shuiqiao.vault.ingest.preparation import Chunk, open_preparers
from vault_world import CATALOGUE, invoice, write_rows


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
        for child in multiprocessing.active_children():
            child.kill()
            child.join()
        with pytest.raises(Unavailable, match=r"vault\.worker_lost.*exit code -9") as lost:
            list(prepare_all([chunk]))
        assert isinstance(lost.value.__cause__, BrokenPipeError)
        assert views_of_a_bytesio() == []


def wait_until_it_waits(process):
    """Return when a process did nothing for a while: it writes into a pipe that nobody reads."""
    idle = 0
    while idle < 20:
        state = Path(f"/proc/{process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
        idle = idle + 1 if state == "S" else 0
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
        (worker,) = multiprocessing.active_children()
        wait_until_it_waits(worker)
        worker.kill()
        with pytest.raises(Unavailable, match=r"vault\.worker_lost.*exit code -9"):
            next(prepared)

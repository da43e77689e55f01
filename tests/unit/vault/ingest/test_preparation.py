from __future__ import annotations

import gc
import multiprocessing

import pyarrow as pa
import pytest

from shuiqiao.base.errors import Unavailable
from shuiqiao.vault.ingest.preparation import Chunk, open_preparers
from vault_world import CATALOGUE


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

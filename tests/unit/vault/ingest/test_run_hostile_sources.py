"""What is made of a file that holds little and claims much stays small, up to the batches and the report.

Each of these files has a few kB. A small ingest takes some 20 MiB of what is measured here.
"""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.standards.readers.parquet_file import MAX_PART_BYTES
from shuiqiao.vault.ingest.run import FULL_BATCH_BYTES
from taken_memory import measured
from vault_world import CATALOGUE

MIB = 1 << 20
USCC = "91320100MA1000000A"


def written(path, columns, **options):
    table = pa.table(columns)
    pq.write_table(table, path, compression="brotli", write_statistics=False, store_schema=False, **options)
    return path


def grades(path, texts, **options):
    count = len(texts)
    return written(path, {"uscc": [USCC] * count, "year": [2024] * count, "grade": texts}, **options)


def lines_of(report):
    return [json.loads(line) for line in report.report.read_text().splitlines()]


def test_a_file_of_one_endless_text_is_refused_before_it_is_unpacked(open_world, tmp_path):
    path = grades(tmp_path / "a.parquet", ["a" * (140 * MIB)], use_dictionary=False)
    world = open_world()
    with measured() as taken, pytest.raises(InvalidInput, match=r"a page of column 2 has 14\d{7} bytes, at most"):
        world.ingest(path)
    assert taken.python + taken.arrow < 20 * MIB


def test_of_a_text_that_fills_its_page_no_object_is_made(open_world, tmp_path):
    """[STD-39]: one emoji makes four bytes of every letter: this took Python 250 MiB."""
    path = grades(tmp_path / "a.parquet", ["a" * (50 * MIB) + "\U0001f600", "A"], use_dictionary=False)
    assert path.stat().st_size < 2000
    world = open_world()
    with measured() as taken:
        report = world.ingest(path)
    assert taken.python < 20 * MIB
    assert (report.records_quarantined, report.records_ingested) == (1, 1)
    (line,) = lines_of(report)
    assert (line["row"], line["field"], line["rule"]) == (1, "grade", "too_long")
    assert line["value"] == "a" * 199 + "…"


def test_long_texts_that_a_dictionary_repeats_are_written_out_a_few_at_a_time(open_world, tmp_path):
    """3,900 texts of 64 kB are 242 MiB, and took twice as much."""
    path = grades(tmp_path / "a.parquet", ["\U0001f600" + "a" * 65_000] * 3900)
    world = open_world(batch_depth=12)
    with measured() as taken:
        report = world.ingest(path)
    assert taken.python + taken.arrow < 120 * MIB
    assert {line["rule"] for line in lines_of(report)} == {"not_in_code_list"}
    assert report.records_quarantined == 3900


def test_a_batch_is_full_where_its_records_are_large(open_world, tmp_path):
    """[VAULT-TREE-1]: 8,000 registrations with the longest texts there may be: 90 MiB in one batch took 450."""
    count = 8000
    longest = {
        entry.name: "\U0001f600" * (entry.max_length or 0)
        for entry in CATALOGUE.get("registration").fields
        if str(entry.type) == "text" and entry.pattern is None
    }
    columns = {
        "uscc": [f"{number:018d}" for number in range(count)],
        "status": ["normal"] * count,
        "industry_code": ["A"] * count,
        "province_code": ["11"] * count,
        "registered_on": pa.array([18_000] * count, pa.int32()).cast(pa.date32()),
    }
    repeated = pa.array([0] * count, pa.int32())
    columns |= {name: pa.DictionaryArray.from_arrays(repeated, pa.array([text])) for name, text in longest.items()}
    path = written(tmp_path / "a.parquet", columns)
    world = open_world(batch_depth=13)
    with measured() as taken:
        report = world.ingest(path)
    assert taken.python + taken.arrow < 380 * MIB
    assert report.records_ingested == count
    sizes = [batch.records for batch in report.anchored]
    assert len(sizes) == 2
    text_bytes = sum(len(text.encode()) for text in longest.values())
    assert abs(sizes[0] * text_bytes - FULL_BATCH_BYTES) < MAX_PART_BYTES
    assert world.ingest(path).duplicates_reported == count
    assert not world.problems()

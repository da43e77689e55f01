"""[STD-37]: what a Parquet page claims to unpack to is bounded before it is unpacked."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shuiqiao.base.errors import InvalidInput
from shuiqiao.standards.publication import load_catalogue
from shuiqiao.standards.readers.parquet_file import MAX_PAGE_BYTES, require_small_pages
from shuiqiao.standards.readers.source import open_source


def written(table, **options):
    out = io.BytesIO()
    pq.write_table(table, out, **options)
    return out.getvalue()


def checked(data):
    require_small_pages(io.BytesIO(data), pq.ParquetFile(io.BytesIO(data)).metadata, longest_text=lambda *_, **__: 0)


def varint(number):
    number <<= 1
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def written_one():
    return written(pa.table({"a": [7] * 5}), compression="snappy", use_dictionary=False, write_statistics=False)


def lying(claim):
    """A file of one page, whose header claims so many bytes unpacked."""
    data = written_one()
    # After the magic: field 1 (the kind of page), field 2 (size unpacked), field 3 (size in the file).
    assert data[4:7] == b"\x15\x00\x15"
    end = 7
    while data[end] >= 0x80:
        end += 1
    return data[:7] + varint(claim) + data[end + 1 :]


@pytest.mark.parametrize(
    "options", [{}, {"compression": "zstd"}, {"data_page_version": "2.0"}, {"use_dictionary": False}]
)
def test_the_pages_of_honest_files_are_small(options):
    table = pa.table({"n": list(range(50_000)), "t": [f"text {n % 300}" for n in range(50_000)], "b": [True] * 50_000})
    checked(written(table, data_page_size=4096, row_group_size=20_000, write_page_index=True, **options))


def test_a_page_that_claims_two_gigabytes_is_refused_before_it_is_unpacked(tmp_path):
    path = tmp_path / "claim.parquet"
    path.write_bytes(lying((1 << 31) - 1))
    assert path.stat().st_size < 500
    with pytest.raises(InvalidInput, match=rf"has {(1 << 31) - 1} bytes, at most {MAX_PAGE_BYTES} may"):
        open_source(path, record_type=None, catalogue=load_catalogue())


def test_a_page_counts_as_it_stands_in_the_file_where_that_is_more():
    """One that is not compressed is taken whole, whatever it claims to unpack to."""
    data = written(pa.table({"a": [7] * 5}), compression="none", use_dictionary=False, write_statistics=False)
    assert data[6] == data[8] == 0x15
    with pytest.raises(ValueError, match=rf"a page of column 0 has {1 << 28} bytes, at most {MAX_PAGE_BYTES} may"):
        checked(data[:9] + varint(1 << 28) + data[10:])


@pytest.mark.parametrize("place", range(4, 30))
def test_a_header_with_a_changed_byte_is_read_or_refused(place):
    data = written_one()
    for bit in range(8):
        changed = data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
        try:
            checked(changed)
        except ValueError:
            continue


def test_a_column_name_that_is_not_utf8_is_a_damaged_file(tmp_path):
    data = written(pa.table({"abcdefgh": [1]}), store_schema=False)
    (tmp_path / "f.parquet").write_bytes(data.replace(b"abcdefgh", b"abcd\xff\xfegh"))
    with pytest.raises(InvalidInput, match=r"^standards\.file_unreadable: 'f\.parquet'"):
        open_source(tmp_path / "f.parquet", record_type=None, catalogue=load_catalogue())

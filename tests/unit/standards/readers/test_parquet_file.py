"""[STD-38]: one text that a dictionary repeats is measured before it is written out."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.crypto.file_cipher import FileCipher
from shuiqiao.crypto.model import SuiteName
from shuiqiao.standards.columns import MAX_CELL_BYTES
from shuiqiao.standards.publication import load_catalogue
from shuiqiao.standards.readers import parquet_file
from shuiqiao.standards.readers.parquet_file import (
    MAX_BATCH_BYTES,
    MAX_PART_BYTES,
    decode_in_parts,
    decode_texts,
    open_parquet,
)
from shuiqiao.standards.readers.source import open_source
from shuiqiao.vault.storage.batch_file import BatchFiles
from taken_memory import measured

ROWS = 4000
TEXT_BYTES = 450_000
"""4,000 times 450 kB are 1.8 GB."""


def repeating(names):
    text = pa.array(["x" * TEXT_BYTES])
    column = pa.DictionaryArray.from_arrays(pa.array([0] * ROWS, pa.int32()), text)
    return pa.table(dict.fromkeys(names, column))


def written(path, names):
    pq.write_table(repeating(names), path, compression="zstd", store_schema=False, write_statistics=False)
    assert path.stat().st_size < 5000
    return path


def test_a_repeated_text_of_a_source_takes_no_gigabytes(tmp_path):
    record_type = load_catalogue().get("tax_credit_grade")
    path = written(tmp_path / "bomb.parquet", [field.name for field in record_type.fields])
    source = open_source(path, record_type=record_type, catalogue=load_catalogue())
    with (
        measured() as taken,
        pytest.raises(InvalidInput, match=rf"fill \d+ bytes where at most {MAX_BATCH_BYTES} are allowed"),
    ):
        next(source.batches(ROWS))
    assert taken.arrow < 20 << 20


def test_a_repeated_text_of_a_stored_batch_takes_no_gigabytes(tmp_path):
    written(tmp_path / f"{bytes(16).hex()}.parquet", ["name"])
    with measured() as taken, pytest.raises(IntegrityError) as refused:
        in_clear(tmp_path).read_rows(bytes(16), ["name"], [0])
    assert refused.value.code == "vault.file_damaged"
    assert taken.arrow < 20 << 20


@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}], ids=["dictionary", "plain"])
@pytest.mark.parametrize("kind", [pa.string(), pa.string_view(), pa.binary(), pa.binary_view()], ids=str)
def test_a_text_of_a_stored_batch_that_is_longer_than_any_of_a_record_is_damage(tmp_path, kind, options):
    """[STD-39]"""
    table = pa.table({"name": pa.array(["x", "y" * (MAX_CELL_BYTES + 1)]).cast(kind)})
    pq.write_table(table, tmp_path / f"{bytes(16).hex()}.parquet", **options)
    with pytest.raises(IntegrityError, match=rf"a text has {MAX_CELL_BYTES + 1} bytes, at most {MAX_CELL_BYTES} may"):
        in_clear(tmp_path).read_rows(bytes(16), ["name"], [0])


def in_clear(folder):
    """The batches of a folder that a release before left in clear: no key is asked for."""
    return BatchFiles(folder=folder, cipher=FileCipher(lambda: b"", suite=SuiteName.INTL, entropy=bytes))


def footed(body, footer):
    return body + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def test_a_footer_that_claims_sixteen_million_items_is_refused_before_they_are_made(tmp_path):
    """A list is allocated as long as it says, and each of its items has some 200 bytes: 36 bytes took 3 GB."""
    path = tmp_path / "claim.parquet"
    # Field 1, the version; field 2, a list of structs whose count follows (16,000,000 in seven bits a byte).
    path.write_bytes(footed(b"PAR1", b"\x15\x02\x19\xfc\x80\xc8\xd0\x07"))
    with pytest.raises(InvalidInput, match=r"^standards\.file_unreadable: 'claim\.parquet'.*Exceeded size limit"):
        open_source(path, record_type=None, catalogue=load_catalogue())


def test_a_text_that_its_dictionary_does_not_have_is_damage(tmp_path):
    record_type = load_catalogue().get("tax_credit_grade")
    names = [field.name for field in record_type.fields]
    path = tmp_path / f"{bytes(16).hex()}.parquet"
    table = pa.table(dict.fromkeys(names, ["a"] * 8 + ["b"] * 40))
    pq.write_table(table, path, compression="none", store_schema=False)
    data = path.read_bytes()
    # A run of forty times the second text, and of forty times a sixth one.
    assert data.count(b"\x50\x01") == len(names)
    path.write_bytes(data.replace(b"\x50\x01", b"\x50\x05"))
    source = open_source(path, record_type=record_type, catalogue=load_catalogue())
    with pytest.raises(InvalidInput, match=r"^standards\.file_unreadable"):
        next(source.batches(ROWS))
    with pytest.raises(IntegrityError, match=r"^vault\.file_damaged"):
        in_clear(tmp_path).read_rows(bytes(16), [names[0]], [0])


def test_row_groups_of_more_rows_than_any_number_holds_are_damage(tmp_path):
    """Two groups that claim 2^62 rows each end in an OverflowError where their sum is counted."""
    path = tmp_path / f"{bytes(16).hex()}.parquet"
    pq.write_table(pa.table({"name": ["a", "b"]}), path, store_schema=False, row_group_size=1)
    data = path.read_bytes()
    length = int.from_bytes(data[-8:-4], "little")
    # Behind the rows of a group, its third field, stands its place in the file two fields on.
    parts = data[-8 - length : -8].split(b"\x16\x02\x26")
    assert len(parts) == 3
    path.write_bytes(footed(data[: -8 - length], (b"\x16" + b"\x80" * 9 + b"\x01\x26").join(parts)))
    with pytest.raises(IntegrityError) as refused:
        in_clear(tmp_path).read_rows(bytes(16), ["name"], [0])
    assert refused.value.code == "vault.file_damaged"


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary(), pa.dictionary(pa.int8(), pa.string())])
def test_what_is_read_as_a_dictionary_is_the_same_text(tmp_path, kind):
    values = ["one", None, "two", "one", ""]
    pq.write_table(pa.table({"a": pa.array(values).cast(kind), "n": range(5)}), tmp_path / "f", row_group_size=2)
    with open_parquet(tmp_path / "f") as file:
        table = decode_texts(file.read())
    found = [value.decode() if isinstance(value, bytes) else value for value in table["a"].to_pylist()]
    assert (values, list(range(5))) == (found, table["n"].to_pylist())
    assert not pa.types.is_dictionary(table["a"].type)


@pytest.mark.parametrize(
    ("table", "options", "why"),
    [
        ({"a": ["x"]}, {"use_dictionary": False, "column_encoding": "DELTA_BYTE_ARRAY"}, "differs from the one before"),
        ({"a": pa.array([b"x" * 33], pa.binary(33))}, {}, "have 33 bytes, at most 32 may"),
        ({"a": [{"x": 1, "y": 2}]}, {}, "nested"),
    ],
)
def test_values_longer_than_their_pages_and_nested_columns_are_refused(tmp_path, table, options, why):
    pq.write_table(pa.table(table), tmp_path / "f", store_schema=False, **options)
    with pytest.raises(ValueError, match=why):
        open_parquet(tmp_path / "f")


KINDS = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_rows_come_in_parts_that_are_small_however_their_texts_lie(kind):
    """[STD-38]: the long ones stand together, so that no share of the rows is a share of the bytes."""
    texts = ["x" * 60_000] * 700 + ["y" * (MAX_PART_BYTES + 1), None] + ["z"] * 3000
    rows = pa.record_batch({"n": list(range(len(texts))), "a": pa.array(texts).cast(kind)}).slice(100)
    parts = list(decode_in_parts(rows))
    assert texts[100:] == [text for part in parts for text in part["a"].to_pylist()]
    assert list(range(100, len(texts))) == [number for part in parts for number in part["n"].to_pylist()]
    sizes = [sum(len(text or "") for text in part["a"].to_pylist()) for part in parts]
    assert [size for size in sizes if size > MAX_PART_BYTES] == [MAX_PART_BYTES + 1]
    assert len(parts) == 5
    assert not any(pa.types.is_dictionary(part["a"].type) for part in parts)


def test_a_column_that_left_its_dictionary_is_read_page_by_page(tmp_path):
    """[STD-35]: read as a dictionary it keeps all texts of a row group, which here took 150 MB."""
    record_type = load_catalogue().get("tax_credit_grade")
    texts = [f"{number:05d}" * 200 for number in range(40_000)]
    table = pa.table({"uscc": texts, "year": [2024] * len(texts), "grade": ["A"] * len(texts)})
    pq.write_table(table, tmp_path / "f", compression="zstd", store_schema=False)
    with measured() as taken:
        source = open_source(tmp_path / "f", record_type=record_type, catalogue=load_catalogue())
        found = [text for batch in source.batches(2000) for text in batch["uscc"].to_pylist()]
    assert texts == found
    assert taken.arrow < 40 << 20


def by_duckdb(table, path):
    """One page of each column for 122,880 rows."""
    duckdb.from_arrow(table).write_parquet(str(path))


def by_arrow(table, path):
    """One row group of up to a million rows, dictionaries and pages of a MiB."""
    pq.write_table(table, path)


@pytest.mark.parametrize("write", [by_arrow, by_duckdb])
def test_large_files_of_real_writers_are_read(tmp_path, write):
    texts = pa.array([f"{number:06d}" * 50 for number in range(250_000)])
    repeated = pa.array(["x" * 300, "y", None, "z" * 1000, "w"] * 50_000)
    write(pa.table({"long": texts, "repeated": repeated, "number": list(range(250_000))}), tmp_path / "f")
    with open_parquet(tmp_path / "f") as file:
        parts = [part for rows in file.iter_batches(16_384) for part in decode_in_parts(rows)]
    read = pa.Table.from_batches(parts)
    assert read["long"].combine_chunks().equals(texts)
    assert read["repeated"].combine_chunks().equals(repeated)
    assert max(part.nbytes for part in parts) <= MAX_PART_BYTES


def test_columns_with_and_without_dictionaries_are_the_same_texts(tmp_path):
    few, many = [None, "x" * 50, "y"] * 500, [f"{number:010d}" for number in range(1500)]
    options = {"row_group_size": 1500, "dictionary_pagesize_limit": 2000, "data_page_size": 500}
    pq.write_table(pa.table({"a": few + few + many + few[:700] + many[700:]}), tmp_path / "f", **options)
    with open_parquet(tmp_path / "f") as file:
        assert decode_texts(file.read())["a"].to_pylist() == few + few + many + few[:700] + many[700:]


def test_a_text_that_is_repeated_before_its_column_leaves_its_dictionary_counts_each_time(tmp_path):
    """[STD-37]: 20,000 times 60 kB are 1.2 GB."""
    texts = ["x" * 60_000] * 20_000 + [f"{number:06d}" for number in range(20_000)]
    options = {"dictionary_pagesize_limit": 100_000, "data_page_size": 1000}
    pq.write_table(pa.table({"a": texts}), tmp_path / "f", compression="zstd", **options)
    with measured() as taken, pytest.raises(ValueError, match=r"pages of 65536 rows unpack to \d+ bytes"):
        open_parquet(tmp_path / "f")
    assert taken.arrow < 40 << 20


def test_pages_that_go_back_to_a_dictionary_are_refused(tmp_path):
    pq.write_table(pa.table({"a": ["x", "y"] * 9000}), tmp_path / "f", data_page_size=100, write_batch_size=100)
    data = (tmp_path / "f").read_bytes()
    # The encodings of a page's values and levels: 8 refers to the dictionary, 0 is plain.
    refers, plain = b"\x15\x10\x15\x06\x15\x06", b"\x15\x00\x15\x06\x15\x06"
    assert data.count(refers) > 1
    (tmp_path / "f").write_bytes(data.replace(refers, plain, 1))
    with pytest.raises(ValueError, match="column 0 has a page of the kind referring after plain"):
        open_parquet(tmp_path / "f")


def test_a_column_that_is_declared_a_dictionary_and_has_none_is_refused(tmp_path):
    table = pa.table({"a": pa.array(["x", "y"]).dictionary_encode()})
    pq.write_table(table, tmp_path / "f", use_dictionary=False)
    with pytest.raises(ValueError, match="'a' is declared as a dictionary and has pages without one"):
        open_parquet(tmp_path / "f")


def test_many_large_pages_of_few_rows_are_refused(tmp_path):
    table = pa.table({"a": ["x" * (1 << 20)] * 300})
    options = {"use_dictionary": False, "data_page_size": 1 << 20, "write_batch_size": 8}
    pq.write_table(table, tmp_path / "f", compression="zstd", **options)
    with pytest.raises(ValueError, match=r"pages of 65536 rows unpack to \d+ bytes"):
        open_parquet(tmp_path / "f")


def test_statistics_that_are_malformed_do_not_end_the_process(tmp_path):
    pq.write_table(pa.table({"a": ["x", "y"]}), tmp_path / "f", store_schema=False)
    whole = (tmp_path / "f").read_bytes()
    begin = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for at in range(begin, len(whole) - 8):
        (tmp_path / "g").write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
        try:
            with open_parquet(tmp_path / "g") as file:
                file.read()
        except (pa.ArrowException, OSError, ValueError, KeyError):
            continue


def test_a_file_that_another_one_is_renamed_over_meanwhile_is_read_as_the_other(tmp_path, monkeypatch):
    """As an erasure does: no page is read by the footer of another file."""
    path, fresh = tmp_path / "rows.parquet", tmp_path / "fresh.parquet"
    pq.write_table(pa.table({"name": ["a" * 500, "b" * 500], "number": [1, 2]}), path, compression="none")
    pq.write_table(pa.table({"number": [3]}), fresh)
    require_small_pages = parquet_file.require_small_pages

    def renamed_over(*arguments, **options):
        if fresh.exists():
            fresh.rename(path)
        return require_small_pages(*arguments, **options)

    monkeypatch.setattr(parquet_file, "require_small_pages", renamed_over)
    with open_parquet(path, memory_map=True) as file:
        assert file.read().to_pylist() == [{"number": 3}]

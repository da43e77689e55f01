from __future__ import annotations

import io
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.standards.conversion import convert_column
from shuiqiao.standards.model import AmountUnit
from shuiqiao.standards.publication import load_catalogue
from shuiqiao.standards.readers.csv_file import RowCutter
from shuiqiao.standards.readers.dialect import SEPARATORS, Dialect
from shuiqiao.standards.readers.source import open_source
from shuiqiao.standards.validation import validate_batch

CATALOGUE = load_catalogue()
ISSUED = CATALOGUE.get("invoice_issued")
HEADER = "纳税人识别号,发票号码,开票日期,发票状态,红字标志,金额,税额,价税合计,购买方识别号\n".encode()
GOOD = "E1,12345678,2024-03-05,有效发票,否,1000.00,130.00,1130.00,B1\n".encode()


@settings(max_examples=200, deadline=None)
@given(st.integers(min_value=-(10**14), max_value=10**14))
def test_whole_fen_survive_the_way_through_text_and_double(fen):
    # Holds [STD-17].
    field = ISSUED.field("amount_fen")
    text = format(Decimal(fen).scaleb(-2), "f")
    for raw in (pa.array([text]), pa.array([float(text)])):
        converted = convert_column(field, raw, unit=AmountUnit.YUAN)
        assert (converted.values.to_pylist(), converted.failures) == ([fen], ())


@settings(max_examples=300, deadline=None)
@given(st.floats(width=64))
@example(0.005)
@example(1e-5)
def test_a_double_is_whole_fen_or_refused(yuan):
    # Holds [STD-17].
    converted = convert_column(ISSUED.field("amount_fen"), pa.array([yuan]), unit=AmountUnit.YUAN)
    (fen,) = converted.values.to_pylist()
    if fen is None:
        assert [failure.rule for failure in converted.failures] in (["part_of_a_fen"], ["amount_out_of_range"])
    else:
        assert abs(Decimal(yuan) * 100 - fen) <= Decimal("0.0001") + abs(fen) * Decimal(2) ** -50


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=60) | st.just(GOOD.rstrip()), max_size=12), st.integers(1, 5))
def test_whatever_the_bytes_every_line_is_a_good_row_or_an_issue(lines, max_rows):
    # Holds [STD-12], [STD-42], [STD-43].
    # Without quotes a line is a row.
    lines = [line.replace(b"\n", b"").replace(b'"', b"") for line in lines]
    rows = sum(bool(line.removesuffix(b"\r").strip()) for line in lines)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "rows.csv"
        path.write_bytes(HEADER + b"".join(line + b"\n" for line in [GOOD.rstrip(), *lines]))
        source = open_source(path, record_type=None, catalogue=CATALOGUE)
        good, bad, first_row = 0, set(), 1
        for batch in source.batches(max_rows):
            validated = validate_batch(source.record_type, batch, first_row=first_row)
            first_row += batch.num_rows
            good += validated.rows.num_rows
            bad |= {issue.row for issue in validated.issues}
    assert first_row - 1 == rows + 1
    assert good + len(bad) == rows + 1


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=300))
def test_bytes_that_are_no_source_are_refused_with_a_code(content):
    # Holds [STD-36], [STD-45].
    with TemporaryDirectory() as folder:
        path = Path(folder) / "noise"
        path.write_bytes(content)
        try:
            source = open_source(path, record_type=None, catalogue=CATALOGUE)
        except ShuiqiaoError as refused:
            assert refused.code.startswith("standards.")  # noqa: PT017  # either way is an answer
        else:
            raise AssertionError(f"noise was taken for {source.record_type.id}")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300))
def test_bytes_that_begin_like_parquet_are_refused_with_a_code(content):
    # Holds [STD-36].
    with TemporaryDirectory() as folder:
        path = Path(folder) / "noise"
        path.write_bytes(b"PAR1" + content)
        try:
            open_source(path, record_type=None, catalogue=CATALOGUE)
        except ShuiqiaoError as refused:
            assert refused.code == "standards.file_unreadable"  # noqa: PT017  # the only answer expected
        else:
            raise AssertionError("noise was taken for Parquet")


PIECES = st.sampled_from(
    [b"a", b" ", b",", b'"', b"\r", b"\r\n", b"\n", b"\x81", b"\xe7\xa8\x8e", b"\x00", b",", b"b\n"]
)


@settings(max_examples=400, deadline=None)
@given(st.lists(PIECES, max_size=14).map(b"".join), st.sampled_from(["utf-8", "gb18030"]))
@example(b'"a\n",b\n', "utf-8")
@example(b'"a" b,c\n', "utf-8")
@example(b"a,b\ra,b\n\n", "utf-8")
@example(b'"",""\n', "utf-8")
@example(b'"a""b",""""\n', "utf-8")
def test_the_fast_way_of_cutting_never_differs_from_the_plain_one(block, encoding):
    # Holds [STD-41], [STD-42].
    block += b"\n"
    cutter = RowCutter(Dialect(encoding=encoding), columns=2)
    fast = cutter.cut_regular(block)
    if fast is not None:
        assert cutter.end_of_rows(block) == len(block)
        plain = list(cutter.cut_rows(block))
        assert [row.fault for row in plain] == [None] * len(plain)
        assert [tuple(row.values()) for row in fast.to_pylist()] == [tuple(row.cells) for row in plain]


def byte_by_byte(data: bytes) -> list[tuple[bytes, ...] | None]:
    """Cut UTF-8 into rows of cells one byte at a time; None for a row whose quoting or line ends are wrong."""
    rows, cells, cell, state, good, raw = [], [], b"", "start", True, b""
    for position in range(len(data) + 1):
        byte = data[position : position + 1]
        ends = byte == b"" or (byte == b"\n" and state != "quoted")
        if ends or (byte == b"," and state != "quoted"):
            if state == "return":
                good, cell = good and ends, cell if ends else cell + b"\r"
            good &= state != "quoted"
            cells, cell, state = [*cells, cell], b"", "start"
            if ends:
                if raw.strip():
                    rows.append(tuple(cells) if good else None)
                cells, good, raw = [], True, b""
                continue
        elif state == "start" and byte == b'"':
            state = "quoted"
        elif state == "quoted":
            state, cell = ("closed", cell) if byte == b'"' else (state, cell + byte)
        elif state == "closed" and byte == b'"':
            state, cell = "quoted", cell + byte
        elif state in {"start", "plain", "closed"} and byte == b"\r":
            state = "return"
        else:
            good &= state in {"start", "plain"} and byte != b'"'
            state, cell = "plain", cell + byte
        raw += byte
    return rows


class Dripping(io.BytesIO):
    """A stream that gives a few bytes at a time, so that every place is an end of a block once."""

    def __init__(self, data: bytes, step: int) -> None:
        super().__init__(data)
        self.step = step

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(self.step, size) if size is not None and size > 0 else size)


QUOTING = st.sampled_from([b"a", b",", b'"', b'"', b'""', b"\r", b"\r\n", b"\n", b'","', b'"\n"', b'"\n', b"b,c\n"])


@settings(max_examples=600, deadline=None)
@given(st.lists(QUOTING, max_size=16).map(b"".join), st.integers(1, 9), st.sampled_from(SEPARATORS))
@example(b'"a""\nb",c\n', 3, ",")
@example(b'"a\nb,c\n', 4, ",")
@example(b'a"\nb,c\n"d\n', 9, ",")
def test_rows_are_those_of_a_reader_that_goes_byte_by_byte(data, step, separator):
    # Holds [STD-41], [STD-42], [STD-44]. Cells are compared where there are two, as the columns are.
    expected = byte_by_byte(data)
    data = data.replace(b",", separator.encode())
    expected = [row and tuple(cell.replace(b",", separator.encode()) for cell in row) for row in expected]
    rows = []
    for batch in RowCutter(Dialect(separator=separator), columns=2).read_rows(Dripping(data, step)):
        faults = batch.column("_fault").to_pylist() if "_fault" in batch.schema.names else [None] * batch.num_rows
        cells = [
            tuple(row[name].encode() if row[name] is not None else b"" for name in "01") for row in batch.to_pylist()
        ]
        rows += zip(faults, cells, strict=True)
    assert [fault in {"line_malformed", "quote_not_closed"} for fault, _ in rows] == [row is None for row in expected]
    for (fault, cells), row in zip(rows, expected, strict=True):
        if row is not None:
            assert (fault, cells) == ((None, row) if len(row) == 2 else ("line_ragged", (b"", b"")))

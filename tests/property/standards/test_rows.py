from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.money import fen_from_yuan
from shuiqiao.standards import csv_lines
from shuiqiao.standards.conversion import convert_column
from shuiqiao.standards.model import AmountUnit
from shuiqiao.standards.publication import load_catalogue
from shuiqiao.standards.readers import open_source
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
    assert fen_from_yuan(text) == fen


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
    # Holds [STD-12], [STD-41], [STD-42].
    lines = [line.replace(b"\n", b"") for line in lines]
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
    # Holds [STD-36], [STD-43].
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
def test_the_fast_way_of_cutting_never_differs_from_the_plain_one(block, encoding):
    # Holds [STD-41], [STD-42].
    block += b"\n"
    fast = csv_lines._cut_regular(block, encoding=encoding, columns=2)
    if fast is not None:
        plain = csv_lines._cut_by_line(block, encoding=encoding, columns=2)
        assert plain.column(2).null_count == plain.num_rows
        assert fast.to_pylist() == plain.select(["0", "1"]).to_pylist()

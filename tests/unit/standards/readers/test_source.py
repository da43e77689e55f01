from __future__ import annotations

import codecs
import csv
import io
import json
import struct
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.standards.columns import STANDARD_KEY
from shuiqiao.standards.readers.csv_file import RowCutter
from shuiqiao.standards.readers.dialect import BLOCK_BYTES, SEPARATORS, Dialect
from shuiqiao.standards.readers.source import open_source, recognise_columns
from shuiqiao.standards.validation import validate_batch

CHINESE = [
    "纳税人识别号",
    "发票号码",
    "开票日期",
    "发票状态",
    "红字标志",
    "金额",
    "税额",
    "价税合计",
    "购买方识别号",
    "购买方名称",
]
ROW = ["E1", "12345678", "2024/3/5", "有效发票", "否", "1000.00", "130", "1130.00", "B1", "甲公司"]


def text(*rows, header=CHINESE, end="\n"):
    return "".join(",".join(cells) + end for cells in (header, *rows))


def read(path: Path, catalogue, *, record_type=None, max_rows=1000):
    """Read and validate a whole file: (rows as dictionaries, their row numbers, issues)."""
    source = open_source(path, record_type=record_type, catalogue=catalogue)
    rows, numbers, issues, first_row = [], [], [], 1
    for batch in source.batches(max_rows):
        validated = validate_batch(source.record_type, batch, first_row=first_row)
        rows += validated.rows.to_pylist()
        numbers += validated.source_rows.tolist()
        issues += validated.issues
        first_row += batch.num_rows
    return rows, numbers, issues


@pytest.fixture
def write(tmp_path):
    def write_file(content: str | bytes) -> Path:
        path = tmp_path / "source.csv"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


@pytest.mark.parametrize(
    "content",
    [
        text(ROW),
        text(ROW, end="\r\n"),
        text(ROW).removesuffix("\n"),
        "\ufeff" + text(ROW),
        text(ROW).encode("gb18030"),
        ("\ufeff" + text(ROW)).encode("gb18030"),
        text([f'"{cell}"' for cell in ROW]),
        text([" " + cell for cell in ROW]),
    ],
    ids=["utf-8", "crlf", "no last line feed", "mark", "gb18030", "gb18030 mark", "quoted", "spaces"],
)
def test_a_chinese_csv_in_yuan_is_read_in_its_usual_encodings(write, catalogue, content):
    # Holds [STD-31], [STD-40].
    rows, numbers, issues = read(write(content), catalogue)
    assert issues == []
    assert numbers == [1]
    assert (rows[0]["counterparty_name"], rows[0]["total_fen"], rows[0]["status"]) == ("甲公司", 113000, "valid")


def test_source_codes_name_columns_too(write, catalogue):
    # Holds [STD-31].
    codes = ["NSRSBH", "FPHM", "KPRQ", "ZFBZ", "HZBZ", "JE", "SE", "JSHJ", "XSFSBH"]
    path = write(text(["E1", "1" * 20, "20240305", "N", "N", "10", "1.3", "11.3", "B1"], header=codes))
    source = open_source(path, record_type=None, catalogue=catalogue)
    assert source.record_type.id == "invoice_received"
    assert source.plan.layout == "standard"
    assert source.row_count is None
    rows, _, issues = read(path, catalogue)
    assert issues == []
    assert rows[0]["total_fen"] == 1130


def test_canonical_names_are_in_fen_and_need_the_direction_of_the_invoice(write, catalogue):
    # Holds [STD-31], [STD-32].
    names = [
        "uscc",
        "invoice_no",
        "issue_date",
        "status",
        "is_red_letter",
        "amount_fen",
        "tax_fen",
        "total_fen",
        "counterparty_id",
    ]
    path = write(text(["E1", "12345678", "2024-03-05", "valid", "false", "100", "13", "113", "B1"], header=names))
    with pytest.raises(InvalidInput) as refused:
        open_source(path, record_type=None, catalogue=catalogue)
    assert refused.value.code == "standards.type_unrecognised"
    assert "invoice_issued, invoice_received" in refused.value.message
    rows, _, _ = read(path, catalogue, record_type=catalogue.get("invoice_received"))
    assert rows[0]["total_fen"] == 113


@pytest.mark.parametrize(
    ("header", "code", "shown"),
    [
        (["a", "b"], "standards.type_unrecognised", "no record type has the columns a, b; nearest: "),
        ([*CHINESE, "备注"], "standards.type_unrecognised", "invoice_issued does not know 备注"),
        (CHINESE[1:], "standards.type_unrecognised", "invoice_issued lacks uscc"),
        ([*CHINESE, "uscc"], "standards.type_unrecognised", "invoice_issued repeats uscc"),
        ([*CHINESE, "金额"], "standards.header_invalid", "'金额' stands 2 times"),
        ([*CHINESE, ""], "standards.header_invalid", "0 characters"),
        (["x" * 201], "standards.header_invalid", "201 characters"),
        ([f"c{n}" for n in range(257)], "standards.header_invalid", "257 columns"),
    ],
)
def test_columns_that_fit_no_type_are_refused_with_the_nearest(write, catalogue, header, code, shown):
    # Holds [STD-30], [STD-32], [STD-45].
    with pytest.raises(InvalidInput) as refused:
        open_source(write(text(header=header)), record_type=None, catalogue=catalogue)
    assert refused.value.code == code
    assert shown in refused.value.message


def test_columns_that_do_not_fit_the_named_type_are_refused_with_the_difference(catalogue):
    # Holds [STD-32].
    with pytest.raises(InvalidInput) as refused:
        recognise_columns(
            ["uscc", "grade", "colour"], catalogue=catalogue, record_type=catalogue.get("tax_credit_grade")
        )
    assert refused.value.code == "standards.columns_wrong"
    assert refused.value.message == "the columns do not fit: tax_credit_grade lacks year; does not know colour"


@pytest.mark.parametrize(
    "content",
    [
        "a\x00b\n",
        text(ROW, end="\r"),
        "a\rb\n",
        'a"b\n',
        "c" * 65_535 + "," + text(ROW),
        "\x00\n",
        b"\xff\n",
        "\ufeff",
        '"a\n',
        "x" * 70_000,
    ],
    ids=[
        "nul",
        "only CR",
        "a CR",
        "stray quote",
        "overlong",
        "only nul",
        "no encoding",
        "only a mark",
        "open quote",
        "endless",
    ],
)
def test_a_first_line_that_is_no_header_is_refused(write, catalogue, content):
    # Holds [STD-45].
    with pytest.raises(InvalidInput) as refused:
        open_source(write(content), record_type=None, catalogue=catalogue)
    assert refused.value.code == "standards.header_invalid"


def test_what_is_named_as_parquet_is_not_read_as_csv(tmp_path, catalogue):
    path = tmp_path / "grades.PARQUET"
    path.write_text("uscc,year,grade\n91440300MA5LEAKME7,2024,A\n")
    with pytest.raises(InvalidInput, match="named as a Parquet file and does not begin as one") as refused:
        open_source(path, record_type=None, catalogue=catalogue)
    assert refused.value.code == "standards.file_unreadable"


def test_a_workbook_is_called_that_with_the_way_out(write, catalogue):
    with pytest.raises(InvalidInput, match=r"^standards\.header_invalid: .*XLSX.* save the sheet as CSV"):
        open_source(write(b"PK\x03\x04\x14\x00\x06\x00"), record_type=None, catalogue=catalogue)


def test_utf_32_is_refused(write, catalogue):
    # Holds [STD-40].
    with pytest.raises(InvalidInput) as refused:
        open_source(write(text(ROW).encode("utf-32")), record_type=None, catalogue=catalogue)
    assert refused.value.code == "standards.encoding_unknown"


def dialect_text(separator, *rows):
    """Rows whose cells may hold the separator, quoted as a program would."""
    held = io.StringIO()
    csv.writer(held, delimiter=separator, lineterminator="\r\n").writerows((CHINESE, *rows))
    return held.getvalue()


@pytest.mark.parametrize("separator", SEPARATORS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16", "utf-16-be"])
def test_a_dialect_is_told_by_what_its_header_means(write, catalogue, encoding, separator):
    # Holds [STD-40].
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    # A tab within a cell is a control character, whatever separates cells.
    named = [*ROW[:-1], "甲,乙;丙|丁公司"]
    content = (mark + dialect_text(separator, *[named] * 3, ROW[:-1], ROW)).encode(encoding)
    path = write(content)
    source = open_source(path, record_type=None, catalogue=catalogue)
    assert source.dialect.separator == separator
    rows, numbers, issues = read(path, catalogue)
    assert ([row["counterparty_name"] for row in rows], numbers) == ([named[-1]] * 3 + ["甲公司"], [1, 2, 3, 5])
    assert [(issue.row, issue.rule) for issue in issues] == [(4, "line_ragged")]


def test_a_file_of_several_blocks_in_utf_16_is_read_whole(write, catalogue):
    # Holds [STD-40], [STD-35].
    count = 3 * BLOCK_BYTES // len(line(*ROW))
    rows, numbers, issues = read(write(text(*[ROW] * count).encode("utf-16")), catalogue, max_rows=65_536)
    assert (len(rows), numbers[-1], issues) == (count, count, [])


def test_what_is_no_utf_16_keeps_its_row_out_and_no_other(write, catalogue):
    # Holds [STD-43].
    content = (
        text(ROW, [*ROW[:-1], "LONE"], ROW).encode("utf-16-le").replace("LO".encode("utf-16-le"), b"\x00\xd8A\x00")
    )
    rows, numbers, issues = read(write(codecs.BOM_UTF16_LE + content), catalogue)
    assert (len(rows), numbers) == (2, [1, 3])
    assert [(issue.row, issue.rule) for issue in issues] == [(2, "line_not_in_encoding")]


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;", "\ufeffsep=;"])
def test_a_first_line_may_name_the_separator(write, catalogue, first):
    # Holds [STD-40].
    path = write(f"{first}\r\n" + dialect_text(";", ROW))
    assert open_source(path, record_type=None, catalogue=catalogue).header.line == 2
    assert len(read(path, catalogue)[0]) == 1


def test_a_separator_that_is_not_read_is_refused(write, catalogue):
    # Holds [STD-40].
    with pytest.raises(InvalidInput) as refused:
        open_source(write("sep=#\n" + text(ROW)), record_type=None, catalogue=catalogue)
    assert refused.value.code == "standards.separator_unknown"


def test_titles_above_the_header_are_left_out(write, catalogue):
    # Holds [STD-45].
    path = write("开具发票明细表,,,\n\n所属期:2024-03;单位:元\n" + text(ROW))
    source = open_source(path, record_type=None, catalogue=catalogue)
    assert source.header.line == 4
    assert read(path, catalogue)[1] == [1]
    with pytest.raises(InvalidInput) as refused:
        open_source(write("title\n" * 10 + text(ROW)), record_type=None, catalogue=catalogue)
    assert refused.value.code == "standards.type_unrecognised"


def line(*cells: str) -> bytes:
    return ",".join(cells).encode() + b"\n"


@pytest.mark.parametrize(
    ("broken", "rule"),
    [
        (line(*ROW[:-1]), "line_ragged"),
        (line(*ROW, "more"), "line_ragged"),
        (line("E\x001", *ROW[1:]), "line_has_nul"),
        (line("E1", *ROW[1:-1]).rstrip() + b",\xff\xff\n", "line_not_in_encoding"),
        (line(*ROW[:-1], 'stray " quote'), "line_malformed"),
        (line(*ROW[:-1], '"closed" too early'), "line_malformed"),
        (line(*ROW[:-1], '"closed" "twice"'), "line_malformed"),
        (line(*ROW[:-1], "a\rb"), "line_malformed"),
        (line(*ROW[:-1], "x" * 70_000), "line_too_long"),
        (line(*ROW[:-1], "x" * 3_000_000), "line_too_long"),
    ],
    ids=[
        "short",
        "long",
        "nul",
        "encoding",
        "stray quote",
        "early quote",
        "quoted twice",
        "carriage return",
        "overlong",
        "huge",
    ],
)
def test_a_broken_line_costs_its_own_row_only(write, catalogue, broken, rule):
    # Holds [STD-12], [STD-43], [STD-44].
    content = text(ROW).encode() + broken + line(*ROW)
    rows, numbers, issues = read(write(content), catalogue)
    assert len(rows) == 2
    assert numbers == [1, 3]
    assert [(issue.row, issue.field, issue.rule) for issue in issues] == [(2, "", rule)]
    assert len(issues[0].value) <= 200
    assert issues[0].value.startswith("E")


def test_blank_lines_are_no_rows(write, catalogue):
    # Holds [STD-42].
    content = text(ROW) + "\n  \r\n" + ",".join(ROW) + "\n\n"
    assert read(write(content), catalogue)[1] == [1, 2]


def test_a_quoted_cell_may_hold_commas_and_quotes(write, catalogue):
    # Holds [STD-41].
    good = [*ROW[:-1], '"甲,""乙""公司"']
    rows, _, issues = read(write(text(good, good)), catalogue)
    assert [row["counterparty_name"] for row in rows] == ['甲,"乙"公司'] * 2
    assert issues == []


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_text_after_a_line_break_in_a_quoted_cell_is_never_a_row(write, catalogue, end):
    # Holds [STD-14], [STD-41]: the text is that of a row of another taxpayer.
    torn = [*ROW[:-1], '"甲' + end + ",".join(["E9", *ROW[1:]]) + end + '公司"']
    rows, numbers, issues = read(write(text(ROW, torn, ROW)), catalogue)
    assert [row["uscc"] for row in rows] == ["E1", "E1"]
    assert numbers == [1, 3]
    assert [(issue.row, issue.field, issue.rule) for issue in issues] == [(2, "counterparty_name", "control_character")]


def test_a_quote_that_is_closed_in_a_later_row_keeps_the_rows_between_out_and_counts_them(write, catalogue):
    # Holds [STD-44].
    rows, numbers, issues = read(write(text(ROW, [*ROW[:-1], '"open'], ROW, [*ROW[:-1], '"甲"'], ROW)), catalogue)
    assert numbers == [1, 3]
    assert len(rows) == 2
    assert [(issue.row, issue.field, issue.rule) for issue in issues] == [(2, "", "line_malformed")]
    assert issues[0].value.startswith("(3 lines) E1,12345678,")


@pytest.mark.parametrize("rows_after", [3, 60_000])
def test_a_quote_that_is_never_closed_keeps_the_rest_of_the_file_out_and_counts_it(write, catalogue, rows_after):
    # Holds [STD-35], [STD-44].
    _, numbers, issues = read(write(text(ROW, [*ROW[:-1], '"open'], *[ROW] * rows_after)), catalogue)
    assert numbers == [1]
    assert [(issue.row, issue.field, issue.rule) for issue in issues] == [(2, "", "quote_not_closed")]
    # The line after the last line feed is empty, and is counted.
    assert issues[0].value.startswith(f"({rows_after + 2} lines) E1,12345678,")


def test_an_overlong_quoted_cell_is_skipped_to_its_end_and_no_text_of_it_is_a_row(write, catalogue):
    # Holds [STD-35], [STD-41], [STD-43].
    inside = "\n".join([",".join(["E9", *ROW[1:]])] * 50_000)
    rows, numbers, issues = read(write(text(ROW, [*ROW[:-1], f'"{inside}\n""'], ['"', *ROW[1:]], ROW)), catalogue)
    assert [row["uscc"] for row in rows] == ["E1", "E1"]
    assert numbers == [1, 3]
    assert [(issue.row, issue.rule) for issue in issues] == [(2, "line_too_long")]
    assert issues[0].value.startswith("(50002 lines) E1,")


def test_a_byte_order_mark_anywhere_but_at_the_start_is_kept_out(write, catalogue):
    # Holds [STD-14], [STD-40].
    rows, numbers, issues = read(write(text(ROW, [*ROW[:-1], "\ufeff甲公司"], ROW)), catalogue)
    assert len(rows) == 2
    assert numbers == [1, 3]
    assert [(issue.row, issue.field, issue.rule) for issue in issues] == [(2, "counterparty_name", "control_character")]


def test_a_line_of_utf8_among_lines_of_gb18030_is_kept_out(write, catalogue):
    # Holds [STD-43]: GB18030 reads its bytes as other characters, without an error.
    name = "杭州某某公司03".encode()
    rows = text(ROW, [*ROW[:-1], "NAME"], ROW).encode("gb18030")
    assert name.decode("gb18030") != name.decode()
    both = rows.replace(b"NAME", name)
    rows, numbers, issues = read(write(both), catalogue)
    assert (len(rows), numbers) == (2, [1, 3])
    assert [(issue.row, issue.rule) for issue in issues] == [(2, "line_not_in_encoding")]


@pytest.mark.parametrize("name", ["女", "睿", "睿博科技", "联通", "甲公司 & 乙公司", "鑫睿闵钰琪玥祺"])
def test_names_in_gb18030_are_no_utf8(write, catalogue, name):
    # Holds [STD-43].
    rows, _numbers, issues = read(write(text([*ROW[:-1], name], ROW).encode("gb18030")), catalogue)
    assert (len(rows), issues) == (2, [])


def test_bad_cells_of_a_csv_are_issues_under_their_row(write, catalogue):
    # Holds [STD-12].
    bad = [*ROW[:2], "5 March", *ROW[3:5], "1,00", *ROW[6:]]
    _rows, numbers, issues = read(write(text(ROW, [f'"{cell}"' for cell in bad], ROW)), catalogue)
    assert numbers == [1, 3]
    assert [(i.row, i.field, i.rule, i.value) for i in issues] == [
        (2, "issue_date", "not_a_date", "5 March"),
        (2, "amount_fen", "not_an_amount", "1,00"),
    ]


def test_a_header_alone_is_a_source_without_rows(write, catalogue):
    assert read(write(text()), catalogue) == ([], [], [])


def test_an_empty_file_and_one_that_is_not_there_are_told_apart(write, catalogue, tmp_path, monkeypatch):
    # Holds [STD-36].
    with pytest.raises(InvalidInput) as empty:
        open_source(write(b""), record_type=None, catalogue=catalogue)
    assert empty.value.code == "standards.file_empty"
    monkeypatch.chdir(tmp_path)
    for path, reason in ((tmp_path / "nothing.csv", "No such file"), (tmp_path, "Is a dir"), (Path(), "Is a dir")):
        with pytest.raises(Unavailable) as missing:
            open_source(path, record_type=None, catalogue=catalogue)
        assert missing.value.code == "standards.file_missing"
        assert missing.value.message.startswith(f"{path} cannot be read: {reason}")


def test_rows_are_numbered_across_blocks_and_batches(write, catalogue):
    # Holds [STD-13], [STD-35].
    count = 3 * BLOCK_BYTES // len(line(*ROW))
    lines = [line(*ROW)] * count
    lines[count // 2] = line(*ROW[:-1])
    lines[-1] = line("bad id!", *ROW[1:])
    _, numbers, issues = read(write(text().encode() + b"".join(lines)), catalogue, max_rows=4096)
    assert [issue.row for issue in issues] == [count // 2 + 1, count]
    assert numbers == [row for row in range(1, count + 1) if row not in {count // 2 + 1, count}]


@pytest.mark.parametrize("max_rows", [0, 65_537])
def test_batches_have_a_bounded_size(write, catalogue, max_rows):
    # Holds [STD-35].
    source = open_source(write(text(ROW)), record_type=None, catalogue=catalogue)
    with pytest.raises(InvalidInput) as refused:
        next(source.batches(max_rows))
    assert refused.value.code == "standards.batch_too_large"


class Endless(io.RawIOBase):
    """A stream without a line feed that counts what was asked of it."""

    def __init__(self, size: int) -> None:
        self.left = size
        self.largest = 0

    def read(self, size: int = -1) -> bytes:
        self.largest = max(self.largest, size)
        taken = min(size, self.left)
        self.left -= taken
        return b"x" * taken


def test_a_line_without_end_is_never_held_in_memory():
    # Holds [STD-35], [STD-43].
    stream = Endless(64 * BLOCK_BYTES)
    (batch,) = RowCutter(Dialect(), columns=2).read_rows(stream)
    assert stream.largest == BLOCK_BYTES
    assert batch.column("_fault").to_pylist() == ["line_too_long"]
    assert batch.nbytes < 1000


def parquet(path: Path, columns, metadata=None) -> Path:
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path, row_group_size=1000)
    return path


def foreign(count=1):
    return {
        "src_row": pa.array(range(count), pa.int32()),
        "firm_id": ["E1"] * count,
        "invoice_no": [f"{n:08d}" for n in range(count)],
        "issue_date": pa.array([18000] * count, pa.int32()).view(pa.date32()),
        "buyer_id": ["B1"] * count,
        "amount": [943.4] * count,
        "tax": [56.6] * count,
        "total": [1000.0] * count,
        "status_zh": [" 有效发票"] * count,
        "status": ["valid"] * count,
        "is_red_letter": [False] * count,
    }


def test_a_foreign_parquet_is_read_by_its_profile(tmp_path, catalogue):
    # Holds [STD-33].
    path = parquet(tmp_path / "a.bin", foreign(2500))
    source = open_source(path, record_type=None, catalogue=catalogue)
    assert source.plan.layout == "cumcm2020c_output_invoices"
    assert source.plan.ignored == ("src_row", "status_zh")
    assert source.row_count == 2500
    rows, numbers, issues = read(path, catalogue)
    assert issues == []
    assert numbers == list(range(1, 2501))
    assert (rows[-1]["invoice_no"], rows[-1]["amount_fen"], rows[-1]["counterparty_id"]) == ("00002499", 94340, "B1")


def test_a_foreign_csv_is_read_by_the_same_profile(write, catalogue):
    # Holds [STD-33].
    columns = foreign()
    cells = ["0", "E1", "00000001", "2019-04-14", "B1", "943.4", "56.6", "1000", " 有效发票", "valid", "False"]
    rows, _, issues = read(write(text(cells, header=list(columns))), catalogue)
    assert issues == []
    assert rows[0]["tax_fen"] == 5660


def test_a_parquet_may_name_its_record_type(tmp_path, catalogue):
    # Holds [STD-34].
    columns = {"uscc": ["E1"], "year": [2024], "grade": ["A"]}
    declared = parquet(tmp_path / "a", columns, {STANDARD_KEY: b"tax_credit_grade@1"})
    assert open_source(declared, record_type=None, catalogue=catalogue).record_type.id == "tax_credit_grade"
    newer = parquet(tmp_path / "b", columns, {STANDARD_KEY: b"tax_credit_grade@9"})
    with pytest.raises(InvalidInput) as refused:
        open_source(newer, record_type=None, catalogue=catalogue)
    assert refused.value.code == "standards.type_unknown"


def test_a_column_of_an_unfit_type_is_refused_before_a_row_is_read(tmp_path, catalogue):
    # Holds [STD-34].
    columns = foreign() | {"amount": [[1.0]]}
    with pytest.raises(InvalidInput) as refused:
        open_source(parquet(tmp_path / "a", columns), record_type=None, catalogue=catalogue)
    assert refused.value.code == "standards.column_type_unfit"
    assert "'amount'" in refused.value.message


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_a_parquet_cut_off_is_refused(tmp_path, catalogue, share):
    # Holds [STD-36].
    whole = parquet(tmp_path / "a", foreign(5000)).read_bytes()
    path = tmp_path / "half.parquet"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InvalidInput) as refused:
        open_source(path, record_type=None, catalogue=catalogue)
    assert refused.value.code == "standards.file_unreadable"
    assert "'half.parquet' is damaged or incomplete" in refused.value.message


def test_a_parquet_damaged_inside_is_refused(tmp_path, catalogue):
    # Holds [STD-36].
    path = parquet(tmp_path / "a", foreign(5000))
    damaged = bytearray(path.read_bytes())
    (footer,) = struct.unpack("<I", damaged[-8:-4])
    damaged[4 : len(damaged) - footer - 8] = b"\xff" * (len(damaged) - footer - 12)
    path.write_bytes(damaged)
    with pytest.raises(InvalidInput) as refused:
        list(open_source(path, record_type=None, catalogue=catalogue).batches(1000))
    assert refused.value.code == "standards.file_unreadable"


def test_a_source_can_be_read_twice(write, catalogue):
    source = open_source(write(text(ROW, ROW)), record_type=None, catalogue=catalogue)
    assert [batch.num_rows for batch in source.batches(1)] == [1, 1]
    assert [batch.num_rows for batch in source.batches(10)] == [2]


def test_a_batch_that_unpacks_beyond_its_limit_is_refused(tmp_path, catalogue):
    # Holds [STD-35].
    columns = foreign(700) | {"buyer_id": ["B" * 400_000] * 700}
    path = parquet(tmp_path / "bomb", columns)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(InvalidInput) as refused:
        list(open_source(path, record_type=None, catalogue=catalogue).batches(700))
    assert refused.value.code == "standards.batch_too_large"


def objects(*rows, header=CHINESE):
    return "".join(json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False) + "\n" for row in rows)


def test_objects_are_read_by_their_names(write, catalogue):
    # Holds [STD-47]: in any order, numbers as they stand, what an object lacks as empty.
    typed = json.dumps(dict(zip(CHINESE, ROW, strict=True)) | {"金额": 1000.00, "税额": 130, "红字标志": False})
    exact = typed.replace("1000.0", "1000.00")
    path = write("\ufeff" + objects(ROW) + "\n" + exact + "\r\n" + objects(ROW[::-1], header=CHINESE[::-1]))
    source = open_source(path, record_type=None, catalogue=catalogue)
    rows, numbers, issues = read(path, catalogue)
    assert (source.form, source.record_type.id, numbers, issues) == ("NDJSON", "invoice_issued", [1, 2, 3], [])
    assert rows[0] == rows[1] == rows[2]
    without = {name: cell for name, cell in zip(CHINESE, ROW, strict=True) if name != "购买方名称"}
    rows, _, issues = read(write(json.dumps(without) + "\n" + objects(ROW)), catalogue)
    assert ([row["counterparty_name"] for row in rows], issues) == ([None, "甲公司"], [])


@pytest.mark.parametrize(
    ("wrong", "rule"),
    [
        ('{"a": 1', "line_malformed"),
        ("[1]", "line_malformed"),
        ("7", "line_malformed"),
        ('{"金额": [1]}', "line_malformed"),
        ('{"金额": {"v": 1}}', "line_malformed"),
        ('{"金额": NaN}', "line_malformed"),
        ('{"金额": 1, "金额": 2}', "line_malformed"),
        ('{"购买方名称": "\\ud800"}', "line_malformed"),
        ("[" * 60_000, "line_malformed"),
        ('{"another": 1}', "line_ragged"),
        ('{"金额": "' + "9" * 70_000 + '"}', "line_too_long"),
        (b'{"\xff": 1}', "line_not_in_encoding"),
    ],
)
def test_a_line_that_is_no_object_of_the_file_is_kept_out_and_no_other(write, catalogue, wrong, rule):
    # Holds [STD-47].
    body = wrong if isinstance(wrong, bytes) else wrong.encode()
    rows, numbers, issues = read(
        write((objects(ROW) * 1_000).encode() + body + b"\n" + objects(ROW).encode()), catalogue
    )
    assert (len(rows), numbers[-2:]) == (1_001, [1_000, 1_002])
    assert [(issue.row, issue.rule) for issue in issues] == [(1_001, rule)]


@pytest.mark.parametrize("content", ["[\n" + objects(ROW) + "]\n", "{\n}\n", "{}\n"])
def test_json_of_another_form_is_refused(write, catalogue, content):
    # Holds [STD-47].
    with pytest.raises(InvalidInput) as refused:
        open_source(write("[" + content if content.startswith("[") else content), record_type=None, catalogue=catalogue)
    assert refused.value.code in {"standards.header_invalid", "standards.type_unrecognised"}

"""What people hand to ``ingest``: each wrong file gets a stable code, each wrong row a line in the report."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
import pytest

import consortium_world as worlds
from shuiqiao.node.home.settings import Home
from shuiqiao.node.institution import Institution
from vault_world import leave_in_clear

ROWS = list(worlds.invoice_rows())


def text_of(rows, *, names=None):
    out = io.StringIO()
    writer = csv.DictWriter(out, names or list(rows[0]), extrasaction="ignore")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def refused(here, home, path, *options):
    said = here("ingest", path, "--home", home, *options, "--json")
    assert list(said.json) == ["error"]
    assert "Traceback" not in said.err
    return said.code, said.json["error"]["code"], said.json["error"]["message"]


def taken(here, home, path):
    said = here("ingest", path, "--home", home, "--type", "invoice_issued", "--json")
    assert said.code == (0 if said.json["records_ingested"] else 1), said.json
    lines = [json.loads(line) for line in Path(said.json["report"]).read_text().splitlines()]
    return said.json, lines


@pytest.fixture
def good(tmp_path):
    """The invoices as Parquet."""
    path = tmp_path / "good.parquet"
    (tmp_path / "good.csv").write_text(text_of(ROWS), encoding="utf-8")
    options = arrow_csv.ConvertOptions(column_types={"invoice_no": "string", "tax_fen": "int64"})
    pq.write_table(arrow_csv.read_csv(tmp_path / "good.csv", convert_options=options), path)
    return path


@pytest.mark.parametrize("as_parquet", [False, True], ids=["csv", "parquet"])
def test_a_file_of_names_of_columns_alone_is_told_as_that(here, home, tmp_path, good, as_parquet):
    path = tmp_path / ("none.parquet" if as_parquet else "none.csv")
    if as_parquet:
        pq.write_table(pq.read_table(good).slice(0, 0), path)
    else:
        path.write_text(text_of([], names=list(ROWS[0])), encoding="utf-8")
    words = ("--type", "invoice_issued", "--home", home, "--json")
    said = here("ingest", path, *words)
    assert (said.code, said.json.get("records_read"), said.json.get("anchors")) == (1, 0, 0), said.json
    assert "no row was read: there are names of columns and nothing below them 文件只有表头" in said.err
    assert "no row was read" not in here("ingest", good, *words).err


def test_files_that_cannot_be_read_at_all(here, home, tmp_path, good):
    half = tmp_path / "half.parquet"
    half.write_bytes(good.read_bytes()[: good.stat().st_size // 2])
    (tmp_path / "empty.csv").write_bytes(b"")
    (tmp_path / "noise.csv").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "noise.parquet").write_bytes(b"PAR1" + bytes(500) + b"PAR1")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "notes.docx").write_bytes(b"PK")
    shown = {}
    for name in ("half.parquet", "empty.csv", "noise.csv", "noise.parquet", "folder.csv", "notes.docx", "absent.csv"):
        code, error, message = refused(here, home, tmp_path / name)
        shown[name] = (code, error.partition(".")[0])
        assert name in message
    assert shown.pop("absent.csv") == (3, "standards")
    assert shown.pop("folder.csv")[0] in {1, 3}
    assert set(shown.values()) == {(1, "standards")}


def test_columns_that_are_no_record_type(here, home, tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    code, error, message = refused(here, home, tmp_path / "a.csv")
    assert (code, error) == (1, "standards.type_unrecognised")
    assert message.startswith("'a.csv': ")
    assert here("ingest", tmp_path / "a.csv", "--home", home, "--type", "invoice_issued", "--json").code == 1


def test_a_required_column_that_is_missing_or_twice(here, home, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(text_of(ROWS, names=[name for name in ROWS[0] if name != "amount_fen"]))
    code, _, message = refused(here, home, path, "--type", "invoice_issued")
    assert (code, "amount_fen" in message) == (1, True)
    head, _, rest = text_of(ROWS).partition("\n")
    path.write_text(head.replace("tax_fen", "amount_fen") + "\n" + rest)
    assert refused(here, home, path, "--type", "invoice_issued")[0] == 1


def test_a_type_that_does_not_exist(here, home, good):
    code, error, message = refused(here, home, good, "--type", "lottery")
    assert (code, error) == (1, "standards.type_unknown")
    assert "lottery" in message


def test_other_encodings_are_read_or_refused_never_garbled(here, home, tmp_path):
    path = tmp_path / "gb.csv"
    path.write_bytes(text_of(ROWS).encode("gb18030"))
    said = here("ingest", path, "--home", home, "--type", "invoice_issued", "--json")
    if said.code == 0:
        assert said.json["records_ingested"] == len(ROWS)
        with Institution.open(Home(home)) as bureau:
            leave_in_clear(bureau.vault)
        assert worlds.PARTNER_NAME.encode() in b"".join(
            file.read_bytes() for file in (home / "vault" / "batches").iterdir()
        )
    else:
        assert said.json["error"]["code"].startswith("standards.")
    path.write_bytes(text_of(ROWS).encode("utf-16"))
    assert here("ingest", path, "--home", home, "--type", "invoice_issued", "--json").code in {0, 1}


BAD_CELLS = [
    ("issue_date", "2024-02-30"),
    ("issue_date", "30/12/2024"),
    ("issue_date", ""),
    ("amount_fen", "12.5"),
    ("amount_fen", "a lot"),
    ("amount_fen", "1e30"),
    ("amount_fen", str(10**18)),
    ("total_fen", "1"),
    ("status", "maybe"),
    ("is_red_letter", "perhaps"),
    ("uscc", ""),
    ("uscc", "9144 030"),
    ("invoice_no", "x" * 500),
]


def test_how_a_file_would_be_read_is_said_and_nothing_is_taken_in(here, home, tmp_path):
    """[STD-46]"""
    path = tmp_path / "grades.csv"
    rows = "sep=;\r\nuscc;年度;grade\r\n91000000000000001A;2018;A\r\n91000000000000001A;2019;Q\r\n"
    path.write_bytes(rows.replace("年度", "评价年度").encode("utf-16"))
    said = here("ingest", "--explain", path, "--json")
    assert said.code == 0, said.err
    (found,) = said.json["files"]
    assert (found["encoding"], found["separator"], found["header_line"]) == ("utf-16", ";", 2)
    assert (found["record_type"], found["layout"]) == ("tax_credit_grade@1", "standard")
    assert found["columns"][1] == {"source": "评价年度", "field": "year", "name_zh": "评价年度", "unit": ""}
    assert [(row["uscc"], row["year"], row["grade"]) for row in found["rows"]] == [("91000000000000001A", 2018, "A")]
    assert found["issues"] == [{"row": 2, "field": "grade", "rule": "not_in_code_list", "value": "Q"}]
    spoken = here("ingest", "--explain", path)
    assert "separator 分隔符            ';'" in spoken.out
    assert "kept out 拒收  row 2, grade: not_in_code_list, Q" in spoken.out
    assert here("record", "find", "--type", "tax_credit_grade", "--home", home, "--json").code == 1
    wrong = here("ingest", "--explain", tmp_path / "none.csv", "--json")
    assert (wrong.code, wrong.json["error"]["code"]) == (3, "standards.file_missing")


def test_every_bad_cell_is_quarantined_with_row_field_rule_and_value_and_the_rest_goes_on(here, home, tmp_path):
    rows = [dict(row) for row in ROWS]
    for row, (field, value) in zip(rows, BAD_CELLS, strict=False):
        row[field] = value
    path = tmp_path / "bad.csv"
    path.write_text(text_of(rows), encoding="utf-8")
    figures, lines = taken(here, home, path)
    assert figures["records_read"] == len(ROWS)
    assert figures["records_quarantined"] == len(BAD_CELLS)
    assert figures["records_ingested"] == len(ROWS) - len(BAD_CELLS)
    first = min(line["row"] for line in lines)
    for number, (field, value) in enumerate(BAD_CELLS):
        found = [line for line in lines if line["row"] == first + number]
        assert found, (field, value)
        assert all({"file", "row", "field", "rule", "value"} <= set(line) for line in found)
        assert any(field in line["field"] or line["field"] in {"", "amount_fen"} for line in found), found
        assert max(len(str(line["value"])) for line in found) < 400
    said = here("audit", "--home", home, "--json")
    assert (said.code, said.json["records_anchored"]) == (0, len(ROWS) - len(BAD_CELLS))


def test_the_same_records_from_another_file_are_duplicates(here, home, tmp_path, good):
    (tmp_path / "a.csv").write_text(text_of(ROWS), encoding="utf-8")
    assert taken(here, home, good)[0]["records_ingested"] == len(ROWS)
    figures, lines = taken(here, home, tmp_path / "a.csv")
    assert (figures["records_ingested"], figures["duplicates_reported"]) == (0, len(ROWS))
    assert {line["rule"] for line in lines} == {"duplicate"}
    assert {line["first_seen"]["file"] for line in lines} == {"good.parquet"}


def test_one_bad_file_among_good_ones_takes_nothing_in(here, home, tmp_path, files):
    (tmp_path / "bad.csv").write_text("a,b\n1,2\n")
    said = here("ingest", files["registration"], tmp_path / "bad.csv", "--home", home, "--json")
    assert said.code == 1
    said = here("audit", "--home", home, "--json")
    assert (said.json["replayed"], said.json["records_anchored"]) == (0, 0)

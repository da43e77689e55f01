"""[VAULT-INGEST-4]: a report stays in proportion to the files it tells of, and redraws no screen."""

from __future__ import annotations

import json

import pytest

from shuiqiao.standards.validation import Issue
from shuiqiao.vault.ingest.quarantine import LISTED_BYTES, LISTED_PER_BYTE, Report, rows_by_rule


def issues(count, *, rule="required", first=1):
    return [Issue(row=first + number, field="grade", rule=rule, value="v" * 150) for number in range(count)]


def lines_of(report):
    return [json.loads(line) for line in report.path.read_bytes().splitlines()]


@pytest.mark.parametrize("hidden", ["\x1b[2J", "\x7f", "\x9b", "\u202e", "\u2028", "\u200b", "\U000e0041"])
def test_characters_that_redraw_a_screen_are_escaped_and_stay_what_they_are(tmp_path, hidden):
    report = Report(tmp_path, name="report.ndjson")
    report.allow(f"a{hidden}.csv", size_bytes=10)
    report.add_issues(f"a{hidden}.csv", [Issue(row=1, field="grade", rule="required", value=f"税{hidden}桥")])
    report.close()
    assert hidden not in report.path.read_text()
    assert lines_of(report) == [
        {"file": f"a{hidden}.csv", "row": 1, "field": "grade", "rule": "required", "value": f"税{hidden}桥"}
    ]


def test_rows_that_a_small_file_has_no_room_for_are_counted_by_rule(tmp_path):
    report = Report(tmp_path, name="report.ndjson")
    report.allow("small.parquet", size_bytes=1000)
    report.add_issues("small.parquet", issues(20_000))
    report.add_issues("small.parquet", issues(7, rule="too_long", first=20_001))
    report.add_known("small.parquet", row=20_008, rule="duplicate", value="9132", first=("small.parquet", 3))
    report.close()
    *listed, unlisted, too_long, duplicate = lines_of(report)
    room = LISTED_BYTES + LISTED_PER_BYTE * 1000
    assert room - 1000 < report.path.stat().st_size < room + 1000
    assert [line["row"] for line in listed] == list(range(1, len(listed) + 1))
    more = {"file": "small.parquet", "field": "grade", "value": ""}
    assert unlisted == more | {"rule": "required", "row": len(listed) + 1, "rows": 20_000 - len(listed)}
    assert too_long == more | {"rule": "too_long", "row": 20_001, "rows": 7}
    assert duplicate == more | {"rule": "duplicate", "row": 20_008, "rows": 1, "field": ""}
    assert list(rows_by_rule(report.path).items()) == [("required", 20_000), ("too_long", 7), ("duplicate", 1)]


def test_a_row_counts_once_for_each_rule_that_it_broke(tmp_path):
    report = Report(tmp_path, name="report.ndjson")
    report.allow("a.csv", size_bytes=10)
    report.allow("b.csv", size_bytes=10)
    twice = [Issue(row=1, field=field, rule="required", value="") for field in ("grade", "year")]
    report.add_issues("a.csv", [*twice, Issue(row=1, field="year", rule="too_long", value="")])
    report.add_issues("b.csv", twice)
    report.close()
    assert rows_by_rule(report.path) == {"required": 2, "too_long": 1}


def test_the_room_of_a_source_grows_with_its_file_and_is_its_own(tmp_path):
    report = Report(tmp_path, name="report.ndjson")
    report.allow("small.parquet", size_bytes=0)
    report.allow("large.parquet", size_bytes=200_000)
    report.add_issues("small.parquet", issues(20_000))
    report.add_issues("large.parquet", issues(20_000))
    report.close()
    large = [line for line in lines_of(report) if line["file"] == "large.parquet"]
    assert len(large) == 20_000
    assert not [line for line in large if "rows" in line]

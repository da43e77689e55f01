"""Files over HTTP: what is taken in, what is kept out, and that nothing is left of what is cut off [API-11]."""

from __future__ import annotations

import csv
import io

import pytest

from api_world import ALL
from consortium_world import record_files
from shuiqiao.client.resources.ingests import IngestRecord, QuarantinedRowPage, QuarantineReportPage


@pytest.fixture
def send(bureau):
    def act(body, *, key, name="grades.csv", record_type="tax_credit_grade"):
        return bureau.public.post(
            "/api/v1/ingests",
            params={"name": name, "record_type": record_type},
            content=body,
            headers={"Authorization": f"Bearer {ALL}", "Idempotency-Key": key},
        )

    return act


def left(bureau):
    folder = bureau.running.institution.home.folder / "uploads"
    return list(folder.iterdir()) if folder.exists() else []


def test_rows_that_break_a_rule_are_listed_with_field_rule_and_value(bureau, send, tmp_path):
    text = record_files(tmp_path)["tax_credit_grade"].read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    rows[0]["grade"] = "=Z"
    broken = io.StringIO()
    writer = csv.DictWriter(broken, fieldnames=rows[0])
    writer.writeheader()
    writer.writerows(rows)
    record = IngestRecord.model_validate_json(send(broken.getvalue(), key="broken-grades").content)
    assert (record.records_read, record.records_quarantined) == (len(rows), 1)
    reports = QuarantineReportPage.model_validate_json(bureau.get("/api/v1/ingests").content)
    assert record.ingest in [report.ingest for report in reports.items]
    address = f"/api/v1/ingests/{record.ingest}/quarantine"
    listed = QuarantinedRowPage.model_validate_json(bureau.get(address).content).items
    assert ("grade", "=Z") in [(row.field, row.value) for row in listed]
    page = QuarantinedRowPage.model_validate_json(bureau.get(address, limit=1).content)
    assert page.items == listed[:1]
    # A spreadsheet must not take a value for a formula.
    text = bureau.get(address, headers={"Accept": "text/csv"}).text
    assert "'=Z" in text
    assert left(bureau) == []


def test_what_is_no_file_of_records_is_refused_and_leaves_nothing(bureau, send):
    answer = send(b"\x00\x01 no table", key="no-table-here")
    assert answer.status_code == 400
    assert answer.json()["code"].startswith("standards.")
    assert left(bureau) == []


@pytest.mark.parametrize("name", ["../up.csv", "a/b.csv", "..", "x.csv\n", "x.exe", "", "y" * 80 + ".csv"])
def test_a_name_that_is_none_is_refused(bureau, send, name):
    answer = send(b"a,b\n", key="no-name-of-a-file", name=name)
    assert (answer.status_code, answer.json()["code"]) == (400, "api.request_invalid")
    assert left(bureau) == []


def test_an_ingest_that_is_not_there_is_not_found(bureau):
    assert bureau.get("/api/v1/ingests/nothing/quarantine").json()["code"] == "api.not_found"

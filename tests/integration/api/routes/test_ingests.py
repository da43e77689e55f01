"""Files over HTTP: what is taken in, what is kept out, and that nothing is left of what is cut off [API-11]."""

from __future__ import annotations

import csv
import io
import time

import pytest

from api_world import ALL
from consortium_world import record_files
from patience import PATIENCE_S
from shuiqiao.client.resources.ingests import QuarantinedRowPage, QuarantineReportPage
from shuiqiao.client.resources.jobs import JobRecord


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


def done(bureau, answer):
    """What came of an ingest, once its job has ended."""
    assert answer.status_code == 202, answer.text
    asked = JobRecord.model_validate_json(answer.content)
    ends = time.monotonic() + PATIENCE_S
    while not (job := JobRecord.model_validate_json(bureau.get(f"/api/v1/jobs/{asked.id}").content)).finished_ms:
        assert time.monotonic() < ends, "the job never ended"
        time.sleep(0.02)
    assert (job.state, job.parameters["sent"]) == ("done", "grades.csv"), job
    return job.result


def left(bureau):
    folder = bureau.running.institution.home.folder / "uploads"
    return list(folder.iterdir()) if folder.exists() else []


def test_the_example_of_the_document_is_taken_in(bureau, send):
    [content] = bureau.document("public")["paths"]["/api/v1/ingests"]["post"]["requestBody"]["content"].values()
    told = done(bureau, send(content["example"], key="the-example"))
    assert (told["records_read"], told["records_quarantined"]) == (1, 0)


def test_rows_that_break_a_rule_are_listed_with_field_rule_and_value(bureau, send, tmp_path):
    text = record_files(tmp_path)["tax_credit_grade"].read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    rows[0]["grade"] = "=Z"
    broken = io.StringIO()
    writer = csv.DictWriter(broken, fieldnames=rows[0])
    writer.writeheader()
    writer.writerows(rows)
    told = done(bureau, send(broken.getvalue(), key="broken-grades"))
    assert (told["records_read"], told["records_quarantined"]) == (len(rows), 1)
    reports = QuarantineReportPage.model_validate_json(bureau.get("/api/v1/ingests").content)
    assert told["ingest"] in [report.ingest for report in reports.items]
    address = f"/api/v1/ingests/{told['ingest']}/quarantine"
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


def test_who_takes_a_file_in_is_an_entry_of_the_journal_under_its_job(bureau, send, tmp_path):
    body = record_files(tmp_path)["tax_credit_grade"].read_bytes()
    job = send(body, key="grades-by-name").json()["id"]
    rows = bureau.get("/api/v1/journal", act="ingest.take_in", object=f"job/{job}").json()["items"]
    assert [(row["who"], row["outcome"]) for row in rows] == [(ALL, "done")]
    refused = bureau.get("/api/v1/journal", act="ingest.take_in", limit=500).json()["items"]
    send(b"\x00\x01 no table", key="no-table-by-name")
    entries = bureau.get("/api/v1/journal", act="ingest.take_in", limit=500).json()["items"]
    assert len(entries) == len(refused) + 1
    assert entries[0]["outcome"].startswith("standards.")

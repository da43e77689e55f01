"""Traces reach a collector over a real socket, go from one institution to the next, and hold nothing of a taxpayer.

[API-19]
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from api_world import ALL
from consortium_world import PARTNER, TAXPAYER, invoice_rows, record_files
from firms_world import ITEMS, PERIOD, firms_world
from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.client import tracing
from shuiqiao.client.request_id import HEADER
from shuiqiao.exchange.model import DataRequest
from shuiqiao.node.jobs.duties import PROCESS_APPLICATION
from shuiqiao.node.jobs.ingests import INGEST
from shuiqiao.sandbox.scenario.consortium import BUREAU
from web_server import inbox

PARENT = f"00-{'5e' * 16}-{'7a' * 8}-01"
SECRET = "PRIVATE-WORDS"
REQUEST = "5a" * 16
ANY_REQUEST = r"[0-9a-f]{32}"
APPLICATION = "a7" * 16


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """What a collector took of a day's work: an ingest, a consent, a request between two members, refusals."""
    folder = tmp_path_factory.mktemp("traced")
    with inbox() as found, tracing.exported(found.url, member=BUREAU), firms_world(folder) as world:
        bureau, bank = world.bureau, world.bank
        path = record_files(folder / "again")["invoice_issued"]
        bureau.running.ask_soon(INGEST, {"files": [str(path)], "record_type": "invoice_issued"}, id=b"\x01" * 16)
        world.wait_for(lambda: not bureau.running.job_of(b"\x01" * 16).finished_ms or None, while_raised=())
        consent = world.consented(world.enrolled("firm", TAXPAYER))
        institution = bank.running.institution
        wanted = DataRequest(consent=consent, items=ITEMS, period_from=PERIOD[0], period_to=PERIOD[1])
        with tracing.span("work", parent=PARENT):
            institution.recipient.obtain(wanted, provider=institution.provider_at(BUREAU))
        wish = {"application": APPLICATION, "product": "invoice-loan", "consent": consent, "amount_fen": 5_000_000}
        assert bank.search("/api/v1/applications", headers={HEADER: REQUEST}, **wish).status_code == 200
        # It waits for a model, which is one more step than this is about.
        job = bytes.fromhex(APPLICATION)
        world.wait_for(lambda: not bank.running.job_of(job).finished_ms or None, while_raised=())
        headers = {HEADER: TAXPAYER, tracing.HEADER: PARENT}
        assert bureau.search("/api/v1/usage/searches", taxpayer=TAXPAYER, headers=headers).status_code == 200
        assert (
            bureau.search("/api/v1/usage/searches", taxpayer=SECRET, headers={tracing.HEADER: SECRET}).status_code
            == 400
        )
        assert bureau.get(f"/api/v1/{SECRET}/{TAXPAYER}", token=ALL).status_code == 404
    return found.bodies


def spans(bodies):
    found = []
    for body in bodies:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            assert {each.key for each in resource.resource.attributes} == {
                "service.name",
                "service.version",
                "service.instance.id",
            }
            found += [span for scope in resource.scope_spans for span in scope.spans]
    return found


def told(span):
    return {each.key: each.value.string_value or each.value.int_value for each in span.attributes}


def test_a_trace_goes_from_one_institution_to_the_next(collected):
    found = spans(collected)
    own = {span.span_id: span for span in found if span.trace_id == bytes.fromhex(PARENT[3:35])}
    asked = next(span for span in own.values() if span.name == "peer exchange.ask")
    assert told(asked) == {"shuiqiao.peer": BUREAU, "shuiqiao.act": "exchange.ask"}
    answered = next(span for span in own.values() if span.parent_span_id == asked.span_id)
    assert (answered.name, answered.kind) == ("POST /peer/v1/{act}", 2)
    assert re.fullmatch(ANY_REQUEST, told(answered)["shuiqiao.request_id"])
    assert told(answered) | {"shuiqiao.request_id": ""} == {
        "shuiqiao.door": "peers",
        "shuiqiao.act": "exchange.ask",
        "http.request.method": "POST",
        "http.route": "/peer/v1/{act}",
        "http.response.status_code": 200,
        "shuiqiao.request_id": "",
    }
    # What the bank does meanwhile hangs together with it as well.
    work = own[asked.parent_span_id]
    assert (work.name, work.parent_span_id) == ("work", bytes.fromhex(PARENT[36:52]))


def test_what_a_job_asks_of_others_stands_under_the_request_by_which_it_was_asked_for(collected):
    """[API-21]: in the bank's own job, and at the bureau, which was asked long after the request was answered."""
    found = {
        (span.name, told(span).get("shuiqiao.door"), told(span).get("shuiqiao.act"))
        for span in spans(collected)
        if told(span).get("shuiqiao.request_id") == REQUEST
    }
    assert {
        ("POST /api/v1/applications", "public", None),
        (f"job {PROCESS_APPLICATION}", None, None),
        ("POST /peer/v1/{act}", "peers", "exchange.ask"),
        ("POST /peer/v1/{act}", "peers", "ledger.submit"),
    } <= found
    jobs = {told(span).get("shuiqiao.job.id") for span in spans(collected)} - {None}
    assert APPLICATION in jobs
    assert not jobs & {told(span).get("shuiqiao.request_id") for span in spans(collected)}


def test_calls_jobs_and_refusals_are_told(collected):
    found = {span.name: span for span in spans(collected)}
    assert {"POST /api/v1/usage/searches", "POST /peer/v1/{act}", f"job {INGEST}"} <= {*found}
    job = told(found[f"job {INGEST}"])
    assert (job["shuiqiao.job.kind"], job["shuiqiao.job.state"], job["shuiqiao.job.attempt"]) == (INGEST, "done", 1)
    refused = [told(span) for span in spans(collected) if told(span).get("http.response.status_code") == 404]
    assert "api.not_found" in {span.get("error.type") for span in refused}


def test_nothing_of_a_taxpayer_is_in_any_byte(collected):
    sent = b"".join(collected)
    assert b"vault.ingest" in sent
    private = {TAXPAYER, PARTNER, SECRET, str(datetime.now(tz=UTC).year) + "-"}
    private |= {str(value) for row in invoice_rows() for value in row.values() if len(str(value)) > 5}
    for value in private:
        assert value.encode() not in sent, value
    for span in spans(collected):
        assert {*told(span)} <= {*tracing.TOLD.values()}
        assert not span.events
        assert not span.status.message
        assert re.fullmatch(ANY_REQUEST, told(span).get("shuiqiao.request_id", REQUEST))


def test_without_the_setting_nothing_is_loaded_and_nothing_sent():
    words = (
        "import sys, shuiqiao.api.serving, shuiqiao.client.tracing as tracing\n"
        "from starlette.testclient import TestClient\n"
        "with TestClient(shuiqiao.api.app.public_api()) as client:\n"
        "    assert client.get('/nowhere').status_code == 404\n"
        "with tracing.exported('', member='bureau'), tracing.span('x') as span:\n"
        "    span.tell(code='y')\n"
        "    assert tracing.context() == ''\n"
        "assert not [name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'opentelemetry.exporter'))]\n"
    )
    # FastAPI sends traces of its own where the environment says so; not here.
    with inbox() as found:
        told_by_environment = {"FASTAPI_OTEL_AUTO_CONFIGURE": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": found.url}
        environment = {**os.environ, **told_by_environment}
        assert subprocess.run([sys.executable, "-c", words], env=environment, check=False).returncode == 0
    assert found.bodies == []


def test_a_missing_extra_and_a_wrong_address_are_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    with (
        pytest.raises(Unavailable, match=r"^node\.opentelemetry_missing") as missing,
        tracing.exported("http://127.0.0.1:4318/v1/traces", member="bureau"),
    ):
        pytest.fail("nothing sends")
    assert "opentelemetry-sdk" in missing.value.next_step
    for url in ("127.0.0.1:4318", "ftp://127.0.0.1/", "http://user:word@127.0.0.1/v1/traces", "http://127.0.0.1:x/"):
        with pytest.raises(InvalidInput, match=r"^node\.collector_invalid"), tracing.exported(url, member="bureau"):
            pytest.fail("nothing sends")

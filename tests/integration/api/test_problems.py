"""Refusals have one form and leave nothing behind: what a refused request held is free once it is answered [API-6]."""

from __future__ import annotations

import gc
from pathlib import Path
from secrets import token_hex
from types import TracebackType

import pytest
from starlette.testclient import TestClient
from structlog.testing import capture_logs

import shuiqiao
from api_world import ALL
from shuiqiao.api.app import peers_app, public_api
from shuiqiao.api.observing import Metrics, Observing
from shuiqiao.base.errors import Denied
from shuiqiao.client.http import IDEMPOTENCY_HEADER
from shuiqiao.node.peers.acts import OfSize, TwoSizes, encode_wire
from shuiqiao.node.peers.message import Act

TIMES = 8
PACKAGE = Path(shuiqiao.__file__).parent
REFUSED = (
    ("GET", "/ledger/entries/99999999/receipt", None),
    ("GET", "/ledger/consistency?old_size=1&new_size=99999999", None),
    ("GET", "/ledger/entries?limit=none", None),
    ("GET", "/nowhere", None),
    ("POST", "/jobs/00000000000000000000000000000000/cancel", {}),
)


@pytest.fixture(scope="module")
def no_collector():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def held_calls():
    """Return how many calls of this package errors hold that nobody let go."""
    held = [each.tb_frame.f_code.co_filename for each in gc.get_objects() if isinstance(each, TracebackType)]
    return sum(PACKAGE in Path(name).parents for name in held)


def require_nothing_left(refused):
    refused()
    before = held_calls()
    for _ in range(TIMES):
        refused()
    assert held_calls() == before


@pytest.mark.usefixtures("no_collector")
def test_a_refused_request_leaves_nothing(offices):
    def refused():
        for method, path, message in REFUSED:
            answer = offices["bureau"].request(method, f"/api/v1{path}", message)
            assert answer.json()["code"] != "api.method_wrong", answer.text

    require_nothing_left(refused)


@pytest.mark.usefixtures("no_collector")
def test_a_refused_message_of_a_member_leaves_nothing(offices):
    bureau, bank = offices["bureau"].asked.running, offices["bank"].institution
    door = TestClient(peers_app(bureau, metrics=Metrics(bureau)))
    asked = {
        Act.CONSISTENCY: TwoSizes(old_size=1, new_size=99_999_999),
        Act.EPOCH_NOTE: OfSize(size=99_999_999),
    }

    def refused():
        for act, body in asked.items():
            raw = bank.peer_client._signer.sign(encode_wire(body), act=act, receiver=bureau.institution.member)
            assert "code" in door.post(f"/peer/v1/{act}", content=raw).json()

    require_nothing_left(refused)


def test_what_nobody_foresaw_is_a_problem_that_says_nothing_and_stands_in_the_log(bureau):
    app = public_api()

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("what nobody may read")

    door = Observing(app, door="public", metrics=Metrics(bureau.running))
    with capture_logs() as lines:
        answer = TestClient(door, raise_server_exceptions=False).get("/broken")
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert (problem["code"], problem["request_id"]) == ("api.failed", answer.headers["x-request-id"])
    assert b"nobody may read" not in answer.content
    assert ("request.failed", "RuntimeError") in [(line["event"], line.get("error_type")) for line in lines]


def test_records_are_taken_in_at_a_bureau_alone(offices, tmp_path):
    path = tmp_path / "grades.csv"
    path.write_text("uscc,year,grade\n", encoding="utf-8")
    for name, office in offices.items():
        running = office.asked.running
        if name != "bureau":
            with pytest.raises(Denied, match=r"^node\.role_wrong"):
                running.ingests.take_in([str(path)], record_type="tax_credit_grade", jobs=running)


def test_a_body_that_is_no_json_is_named_with_the_place_and_a_piece_of_it(bureau):
    def refused(text):
        headers = {"Authorization": f"Bearer {ALL}", "Content-Type": "application/json"}
        headers[IDEMPOTENCY_HEADER] = token_hex(16)
        answer = bureau.public.post("/api/v1/past/usage/searches", content=text, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (400, "api.request_invalid")
        return answer.json()

    told = refused('{"taxpayer": 91440300MA5LEAKME7' + "9" * 4_000)
    assert (told["fields"][0]["field"], "{}" in told["detail"]) == ("body", False)
    assert "91440300" in told["fields"][0]["value"]
    assert len(told["fields"][0]["value"]) < 60
    assert "no JSON at character" in told["detail"]
    secret = refused('{"password": "hunter-two-hunter", "x": }')
    assert "hunter" not in str(secret)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"taxpayer": "91320100MA1000000A", "taxpayer": "91320100MA1000001B"}', "a key appears twice"),
        ('{"taxpayer": "91320100MA1000000A"}'.encode("utf-16"), "it is not UTF-8"),
        (b'{"taxpayer": "\xff"}', "it is not UTF-8"),
    ],
)
def test_a_body_that_two_readers_would_read_in_two_ways_is_refused(bureau, body, words):
    sent = {
        "Authorization": f"Bearer {ALL}",
        IDEMPOTENCY_HEADER: "0d4c3a52f1b94c0e",
        "Content-Type": "application/json",
    }
    found = bureau.public.post("/api/v1/usage/searches", content=body, headers=sent)
    assert (found.status_code, found.json()["code"]) == (400, "api.request_invalid")
    assert words in found.json()["detail"]

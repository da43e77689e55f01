"""Acts are done once, whatever is sent again."""

from __future__ import annotations

import threading

import pytest

from api_world import ALL
from consortium_world import record_files
from shuiqiao.api.store import ActName, ActStore

HEADERS = {"Authorization": f"Bearer {ALL}", "Content-Type": "application/octet-stream"}


@pytest.fixture(scope="module")
def grades(tmp_path_factory):
    return record_files(tmp_path_factory.mktemp("acts"))["tax_credit_grade"].read_bytes()


def send(bureau, key, body, *, name="grades.csv", client=None):
    headers = HEADERS | ({"Idempotency-Key": key} if key else {})
    parameters = {"name": name, "record_type": "tax_credit_grade"}
    return (client or bureau.public).post("/api/v1/ingests", params=parameters, content=body, headers=headers)


def test_an_act_without_a_key_is_refused(bureau, grades):
    assert send(bureau, "", grades).json()["code"] == "api.key_missing"
    assert send(bureau, "short", grades).json()["code"] == "api.key_missing"


def test_the_same_request_again_gets_the_same_answer_and_does_nothing(bureau, grades):
    first = send(bureau, "key-of-one-act", grades)
    height = bureau.running.institution.engine.last_block()
    again = send(bureau, "key-of-one-act", grades)
    assert first.status_code == again.status_code == 200
    assert first.content == again.content
    assert (again.headers["idempotency-replayed"], "idempotency-replayed" in first.headers) == ("true", False)
    assert bureau.running.institution.engine.last_block() == height


def test_another_request_under_the_same_key_is_refused(bureau, grades):
    send(bureau, "key-of-two-acts", grades)
    other = send(bureau, "key-of-two-acts", grades, name="other.csv")
    assert (other.status_code, other.json()["code"]) == (409, "api.key_reused")


def test_a_key_belongs_to_its_caller(bureau, grades):
    send(bureau, "key-of-a-caller", grades)
    token = bureau.tokens.issue("another", "ingest.write")
    answer = bureau.public.post(
        "/api/v1/ingests",
        params={"name": "mine.csv", "record_type": "tax_credit_grade"},
        content=grades,
        headers=HEADERS | {"Authorization": f"Bearer {token}", "Idempotency-Key": "key-of-a-caller"},
    )
    assert (answer.status_code, "idempotency-replayed" in answer.headers) == (200, False)


def test_of_two_requests_at_once_one_acts(bureau, grades):
    answers = []

    def ask():
        answers.append(send(bureau, "key-of-many-at-once", grades))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    acted = [answer for answer in answers if answer.status_code == 200 and "idempotency-replayed" not in answer.headers]
    others = [answer for answer in answers if answer not in acted]
    assert len(acted) == 1
    assert {answer.content if answer.status_code == 200 else answer.json()["code"].encode() for answer in others} <= {
        acted[0].content,
        b"api.act_in_progress",
    }


def test_what_a_process_left_unanswered_is_done_by_the_next_one(bureau, grades):
    store = ActStore(bureau.running.institution.database)
    first = send(bureau, "key-of-the-past", grades)
    name = ActName(caller="user:all", key="key-of-the-past")
    row = store.begin(name, question=b"", run=b"r" * 16, now_ms=0)
    assert row.status == first.status_code
    left = ActName(caller="user:all", key="key-of-the-dead")
    assert store.begin(left, question=row.question, run=b"d" * 16, now_ms=row.begun_ms) is None
    answer = send(bureau, "key-of-the-dead", grades)
    assert (answer.status_code, "idempotency-replayed" in answer.headers) == (200, False)
    assert store.begin(left, question=b"", run=b"r" * 16, now_ms=0).body == answer.content


def test_answers_are_forgotten_after_a_day(bureau, grades):
    store = ActStore(bureau.running.institution.database)
    name = ActName(caller="user:all", key="key-of-long-ago")
    store.begin(name, question=b"", run=b"r" * 16, now_ms=1)
    store.forget_before(2)
    assert send(bureau, "key-of-long-ago", grades).status_code == 200

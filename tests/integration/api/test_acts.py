"""Acts are done once, whatever is sent again [API-9]."""

from __future__ import annotations

import threading

import pytest

from api_world import ALL
from consortium_world import record_files
from shuiqiao.api.store import ActRow, ActStore

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
    refused = send(bureau, "short", grades).json()
    assert refused["code"] == "api.key_missing"
    assert [(each["field"], each["value"]) for each in refused["fields"]] == [("header.Idempotency-Key", "short")]


def test_the_same_request_again_gets_the_same_answer_and_does_nothing(bureau, grades):
    first = send(bureau, "key-of-one-act", grades)
    jobs = len(bureau.running.jobs.jobs())
    again = send(bureau, "key-of-one-act", grades)
    assert first.status_code == again.status_code == 202
    assert first.content == again.content
    assert (again.headers["idempotency-replayed"], "idempotency-replayed" in first.headers) == ("true", False)
    assert len(bureau.running.jobs.jobs()) == jobs


def test_another_request_under_the_same_key_is_refused(bureau, grades):
    send(bureau, "key-of-two-acts", grades)
    other = send(bureau, "key-of-two-acts", grades, name="other.csv")
    assert (other.status_code, other.json()["code"]) == (409, "api.key_reused")


@pytest.mark.parametrize("as_sent", [lambda body: body, lambda body: iter([body])], ids=["length", "chunks"])
def test_another_file_under_the_same_key_is_refused_and_not_taken_for_the_first(bureau, grades, as_sent):
    key = "key-of-a-file"
    send(bureau, key, grades)
    place = grades.rindex(b"2")
    other = grades[:place] + b"3" + grades[place + 1 :]
    held = bureau.running.ingests.sent.count()
    refused, same = send(bureau, key, as_sent(other)), send(bureau, key, as_sent(grades))
    assert (refused.status_code, refused.json()["code"]) == (409, "api.key_reused")
    assert (same.status_code, same.headers["idempotency-replayed"]) == (202, "true")
    assert bureau.running.ingests.sent.count() <= held


def test_a_key_belongs_to_its_caller(bureau, grades):
    send(bureau, "key-of-a-caller", grades)
    token = bureau.tokens.issue("another", "ingest.write")
    answer = bureau.public.post(
        "/api/v1/ingests",
        params={"name": "mine.csv", "record_type": "tax_credit_grade"},
        content=grades,
        headers=HEADERS | {"Authorization": f"Bearer {token}", "Idempotency-Key": "key-of-a-caller"},
    )
    assert (answer.status_code, "idempotency-replayed" in answer.headers) == (202, False)


def test_of_two_requests_at_once_one_acts(bureau, grades):
    answers = []

    def ask():
        answers.append(send(bureau, "key-of-many-at-once", grades))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    acted = [answer for answer in answers if answer.status_code == 202 and "idempotency-replayed" not in answer.headers]
    others = [answer for answer in answers if answer not in acted]
    assert len(acted) == 1
    assert {answer.content if answer.status_code == 202 else answer.json()["code"].encode() for answer in others} <= {
        acted[0].content,
        b"api.act_in_progress",
    }


@pytest.fixture
def store(bureau):
    institution = bureau.running.institution
    return ActStore(institution.database, cipher=institution.cipher)


def test_what_a_process_left_unanswered_is_done_by_the_next_one(bureau, grades, store):
    send(bureau, "key-of-the-past", grades)
    row = store.find(store.tag("user", ALL, "key-of-the-past"))
    left = store.tag("user", ALL, "key-of-the-dead")
    assert store.begin(ActRow(act=left, question=row.question, run=b"d" * 16, begun_ms=row.begun_ms)) is None
    answer = send(bureau, "key-of-the-dead", grades)
    assert (answer.status_code, "idempotency-replayed" in answer.headers) == (202, False)
    assert store.find(left).body == answer.content


def test_a_refused_act_leaves_its_key_free(bureau, grades):
    assert send(bureau, "key-of-a-mistake", b"no table").status_code == 400
    assert send(bureau, "key-of-a-mistake", grades).status_code == 202


def test_answers_are_forgotten_after_a_day(bureau, grades, store):
    act = store.tag("user", ALL, "key-of-long-ago")
    store.begin(ActRow(act=act, question=b"q" * 32, run=b"r" * 16, begun_ms=1))
    assert send(bureau, "key-of-long-ago", grades).status_code == 409
    store.forget_before(2)
    assert send(bureau, "key-of-long-ago", grades).status_code == 202


def test_the_table_holds_neither_caller_nor_key_nor_answer_in_clear(bureau, grades):
    answer = send(bureau, "key-that-could-leak", grades)
    with bureau.running.institution.database.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM api_act").all()
    stored = repr(rows).encode() + b"".join(bytes(value) for row in rows for value in row if isinstance(value, bytes))
    assert answer.json()["id"].encode() not in stored
    assert b"key-that-could-leak" not in stored

"""Logging in at the door of a real institution: its own accounts, no tokens of a test."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient


@pytest.fixture(scope="module")
def door(bureau):
    return TestClient(bureau.apps["accounts"], raise_server_exceptions=False)


@pytest.fixture(scope="module")
def password(bureau):
    return bureau.running.accounts.service.add_first_user("chen.wei")


def log_in(door, **proof):
    return door.post("/api/v1/sessions/user", json={"name": "chen.wei", **proof})


def test_a_token_is_good_until_it_is_ended(door, password):
    answer = log_in(door, password=password)
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    headers = {"Authorization": f"Bearer {answer.json()['token']}", "Idempotency-Key": "end-my-session"}
    assert door.get("/api/v1/me", headers=headers).json()["name"] == "chen.wei"
    # Whoever has a first password chooses one of its own before anything else.
    assert door.get("/api/v1/consents", headers=headers).json()["code"] == "node.password_first"
    assert door.post("/api/v1/sessions/end", headers=headers).json()["name"] == "chen.wei"
    assert door.get("/api/v1/me", headers=headers).json()["code"] == "api.unauthenticated"


def test_a_name_that_is_not_there_is_refused_like_a_wrong_password(door, password):
    wrong, unknown = log_in(door, password="no"), log_in(door, name="nobody", password=password)
    assert wrong.status_code == unknown.status_code == 401
    assert wrong.json()["detail"] == unknown.json()["detail"]
    assert wrong.json()["code"] == unknown.json()["code"] == "node.login_refused"


def test_a_program_without_its_secret_and_an_unsigned_challenge_get_nothing(door):
    client = door.post("/api/v1/sessions/client", json={"client": "core", "secret": "x"})
    assert (client.status_code, client.json()["code"]) == (401, "node.login_refused")
    challenge = door.get("/api/v1/sessions/challenge").json()["challenge"]
    answer = door.post("/api/v1/sessions/enterprise", json={"signed": challenge})
    assert answer.status_code in {400, 401}

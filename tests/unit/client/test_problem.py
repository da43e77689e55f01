"""Refusals over the wire: what a server raised is what its client raises [API-6]."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, Unavailable
from shuiqiao.client.problem import error_of, problem_of

ERRORS = [
    InvalidInput("ledger.tx_malformed", "it is no transaction"),
    Denied("consent.revoked", "the consent was revoked", next_step="ask the enterprise"),
    Conflict("node.server_running", "process 7 serves it"),
    Unavailable("ledger.busy", "16,384 wait", retry_after_s=0.5),
    IntegrityError("ledger.inclusion_broken", "roots differ: 00 and 11"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.code)
def test_an_error_comes_back_as_it_was(error):
    body = problem_of(error, request_id="r1").model_dump_json().encode()
    found = error_of(body, status=400, place="there")
    assert (type(found), found.code, found.message) == (type(error), error.code, error.message)
    assert found.as_dict()["next_step_zh"] == error.as_dict()["next_step_zh"]
    assert getattr(found, "retry_after_s", None) == getattr(error, "retry_after_s", None)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InvalidInput("api.not_found", ""), 404),
        (Denied("api.unauthenticated", ""), 401),
        (Denied("consent.ceiling_exceeded", ""), 412),
        (Denied("consent.revoked", ""), 403),
        (InvalidInput("ledger.tx_malformed", ""), 400),
        (Conflict("ledger.tx_replayed", ""), 409),
        (IntegrityError("ledger.inclusion_broken", ""), 422),
        (Unavailable("ledger.busy", ""), 503),
    ],
    ids=lambda value: getattr(value, "code", value),
)
def test_class_and_code_give_the_status(error, status):
    assert problem_of(error).status == status


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"kind":"denied"}',
        b'{"kind":[],"code":1,"detail":2}',
        b"[" * 100_000,
        b"\xff",
        # A code that no entry of the journal could hold: it would keep the entry of the whole act from being written.
        b'{"kind":"denied","code":"a\\u001b[2J","detail":""}',
        b'{"kind":"denied","code":"consent.revoked!","detail":""}',
        b'{"kind":"denied","code":"a.' + b"b" * 79 + b'","detail":""}',
    ],
    ids=range(10),
)
def test_what_is_no_refusal_of_ours_is_told_as_foreign(body):
    found = error_of(body, status=502, place="https://bank:1")
    assert (found.code, "502" in found.message) == ("client.answer_foreign", True)


def test_text_of_a_hostile_server_cannot_redraw_a_screen_nor_be_long():
    body = b'{"kind":"unavailable","code":"a.b","detail":"' + b"\\u001b" * 5_000 + b'","retry_after_s":1e300}'
    found = error_of(body, status=503, place="there")
    assert "\x1b" not in found.message
    assert len(found.message) <= 2_000
    assert found.retry_after_s is None

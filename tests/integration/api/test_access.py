"""Who may do what: generated from the OpenAPI document of each door, so that a route without a rule fails.

[API-3] [API-4]
"""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from api_world import ALL, NOTHING
from shuiqiao.api.access import ANY_CALLER, OPEN, OWNER_ONLY
from shuiqiao.api.limits import KNOWN_RATE, UNKNOWN_RATE
from shuiqiao.api.routing import ACT_FIELD, PERMISSION_FIELD
from shuiqiao.node.accounts.model import ENTERPRISE_ROLE, roles_of


def operations(document):
    return [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def address(path, operation):
    """A route's address, each part of it as in the example of the document."""
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            example = (parameter.get("examples") or parameter["schema"].get("examples"))[0]
            path = path.replace("{" + parameter["name"] + "}", str(example))
    return path


@pytest.mark.parametrize("door", ["public", "home"])
def test_every_route_says_which_permission_it_asks_for(bureau, door):
    found = operations(bureau.document(door))
    assert found
    assert [path for _, path, operation in found if not operation.get(PERMISSION_FIELD)] == []


def test_only_logging_in_a_code_credentials_what_a_bank_offers_and_what_a_supervisor_asks_is_open(bureau):
    found = {
        path for _, path, operation in operations(bureau.document("public")) if operation[PERMISSION_FIELD] == OPEN
    }
    assert {path for path in found if not path.startswith("/api/v1/sessions/")} == {
        "/healthz",
        "/readyz",
        "/metrics",
        "/api/v1/offered-products",
        "/api/v1/openapi.json",
        "/api/v1/enrolments",
        "/api/v1/enrolments/recoveries",
        "/api/v1/presentations",
        "/api/v1/presentations/requests",
    }


def test_a_caller_that_is_not_known_learns_the_same_of_every_route(bureau):
    answers = set()
    for method, path, operation in operations(bureau.document("public")):
        if operation[PERMISSION_FIELD] == OPEN:
            continue
        for headers in ({}, {"Authorization": "Bearer nobody-has-this"}, {"Authorization": "Basic YTpi"}):
            answer = bureau.public.request(method, address(path, operation), headers=headers)
            body = answer.json()
            assert answer.headers["www-authenticate"] == "Bearer"
            answers.add((answer.status_code, body["code"], bool(headers), body["detail"]))
    # A token that is none is told apart from none at all, which its sender knows, and nothing more.
    assert sorted(each[:3] for each in answers) == [(401, "api.unauthenticated", sent) for sent in (False, True)]


def test_each_permission_opens_its_routes_and_no_other(bureau):
    found = operations(bureau.document("public"))
    permissions = {operation[PERMISSION_FIELD] for _, _, operation in found} - {OPEN, ANY_CALLER}
    for permission in permissions:
        token = bureau.tokens.issue(f"only-{permission}", *(permissions - {permission}))
        for method, path, operation in found:
            if operation[PERMISSION_FIELD] != permission:
                continue
            answer = bureau.public.request(
                method, address(path, operation), headers={"Authorization": f"Bearer {token}"}
            )
            assert (answer.status_code, answer.json()["code"]) == (403, "api.forbidden"), path


def test_each_role_reaches_the_routes_of_its_permissions_and_no_other(offices):
    """[API-3]: every role of each institution, an enterprise's too, on every route of its door."""
    crossed = 0
    for office in offices.values():
        found = operations(office.asked.document("public"))
        for name, rule in roles_of(office.institution.settings.role).items():
            token = office.asked.tokens.issue(f"as-{name}", *rule.permissions)
            for method, path, operation in found:
                permission = operation[PERMISSION_FIELD]
                may = permission == ANY_CALLER or permission in rule.permissions
                # A stream does not end; what is open is asked by nobody in particular; what is an enterprise's own is
                # reached by its key, and by no token of a user.
                if permission == OPEN or (may and (path.endswith("/events") or name == ENTERPRISE_ROLE)):
                    continue
                # An act is refused for want of its key, so those that may do nothing here either.
                answer = office.asked.public.request(
                    method, address(path, operation), headers={"Authorization": f"Bearer {token}"}
                )
                is_forbidden = answer.status_code == 403 and answer.json()["code"] == "api.forbidden"
                assert is_forbidden != may, (office.institution.member, name, method, path)
                crossed += 1
    assert crossed > 2_000


def test_whatever_shows_a_taxpayers_records_is_an_entry_of_the_journal(bureau):
    """[API-16]"""
    found = [
        operation.get(ACT_FIELD)
        for _, path, operation in operations(bureau.document("public"))
        if operation[PERMISSION_FIELD] in {"records.read", "applications.read"}
        or (path.endswith("/searches") and operation[PERMISSION_FIELD] != "own.read")
    ]
    assert None not in found
    assert {"records.search", "usage.read", "applications.read", "decisions.read"} <= {*found}
    journal = bureau.running.accounts.journal
    assert bureau.search("/api/v1/usage/searches", taxpayer="91440300MA5LEAKME7").status_code == 200
    [entry] = journal.rows(act="usage.read", subject="taxpayer/91440300MA5LEAKME7")
    assert (entry["who"], entry["outcome"]) == (ALL, "done")


def test_a_refusal_comes_before_the_body_is_looked_at(bureau):
    for method, path, operation in operations(bureau.document("public")):
        if method != "POST" or operation[PERMISSION_FIELD] in {OPEN, ANY_CALLER}:
            continue
        answer = bureau.public.request(
            method, address(path, operation), content=b"{", headers={"Authorization": f"Bearer {NOTHING}"}
        )
        assert answer.status_code == 403, path


def test_the_owner_of_a_home_needs_a_token_for_all_but_what_its_key_gives(bureau):
    for method, path, operation in operations(bureau.document("home")):
        permission = operation[PERMISSION_FIELD]
        answer = bureau.home.request(method, address(path, operation))
        assert (answer.status_code == 401) == (permission not in {OPEN, OWNER_ONLY, ANY_CALLER}), path


def test_one_stranger_behind_a_proxy_uses_up_nobody_elses_requests(bureau):
    """[API-4]"""
    bureau.leaps.step_s = 0.0
    proxy, asked = TestClient(bureau.public.app, client=("127.0.0.1", 1)), {"X-Forwarded-For": "198.51.100.7"}
    try:
        for _ in range(UNKNOWN_RATE.burst):
            bureau.rates.count("198.51.100.7", rate=UNKNOWN_RATE)
        refused = proxy.get("/healthz", headers=asked)
        other = proxy.get("/healthz", headers=asked | {"X-Forwarded-For": "198.51.100.7, 198.51.100.8"})
    finally:
        bureau.leaps.step_s = 1_000.0
    assert (refused.status_code, other.status_code) == (429, 200)


def test_a_caller_that_asks_too_often_is_told_when_to_come_again(bureau):
    token = bureau.tokens.issue("hasty", "ledger.read")
    caller = bureau.tokens.callers[token]
    bureau.leaps.step_s = 0.0
    try:
        for _ in range(KNOWN_RATE.burst - 1):
            bureau.rates.count((caller.kind, caller.id), rate=KNOWN_RATE)
        assert bureau.get("/api/v1/network", token=token).status_code == 200
        refused = bureau.get("/api/v1/network", token=token)
        assert bureau.get("/api/v1/network", token=ALL).status_code == 200
    finally:
        bureau.leaps.step_s = 1_000.0
    assert (refused.status_code, refused.json()["code"]) == (429, "api.too_many_requests")
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["connection"] == "close"


def test_who_shows_tokens_that_are_none_is_counted_as_a_stranger(bureau):
    bureau.leaps.step_s = 0.0
    try:
        codes = [
            bureau.get("/api/v1/network", token="nobody-has-this").json()["code"] for _ in range(UNKNOWN_RATE.burst + 1)
        ]
        opened = bureau.get("/api/v1/network", token=ALL).status_code
    finally:
        bureau.leaps.step_s = 1_000.0
    assert codes == ["api.unauthenticated"] * UNKNOWN_RATE.burst + ["api.too_many_requests"]
    assert opened == 200

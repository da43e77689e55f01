"""Accounts over HTTP: who manages users does so by name, a first password allows nothing, a secret is told once."""

from __future__ import annotations

import pytest
from pyotp.totp import TOTP

from shuiqiao.base.clock import SystemClock


@pytest.fixture(scope="module")
def chen(office, admin):
    added = office.post("/users", {"user": "chen", "roles": ["internal_auditor"]}, token=admin).json()
    assert (added["user"], added["roles"]) == ("chen", ["internal_auditor"])
    early = office.log_in("chen", password=added["first_password"])
    assert office.get("/journal", token=early).json()["code"] == "node.password_first"
    return office.take_up("chen", added["first_password"])


def test_who_manages_users_lists_changes_and_disables_them(office, admin, chen):
    names = sorted([*(user["user"] for user in office.get("/users", token=admin).json()["items"]), "li"])
    office.post("/users", {"user": "li", "roles": ["data_officer"]}, token=admin)
    first = office.get("/users", token=admin, limit=2).json()
    assert [user["user"] for user in first["items"]] == names[:2] == ["admin", "chen"]
    rest = office.get("/users", token=admin, cursor=first["next"]).json()
    assert [user["user"] for user in rest["items"]] == names[2:]

    roles = office.post("/users/roles", {"user": "li", "roles": ["data_supervisor"]}, token=admin).json()
    assert roles["roles"] == ["data_supervisor"]
    assert office.post("/users/names", {"user": "li", "to": "li.na"}, token=admin).json()["id"] == roles["id"]
    assert office.post("/users/disablings", {"user": "li.na"}, token=admin).json()["is_disabled"]
    assert not office.post("/users/enablings", {"user": "li.na"}, token=admin).json()["is_disabled"]

    refused = {
        ("/users", "li.na"): office.post("/users", {"user": "li.na", "roles": ["data_officer"]}, token=admin),
        ("/users", "chen"): office.post("/users", {"user": "wu", "roles": ["data_officer"]}, token=chen),
        ("/users/roles", "admin"): office.post("/users/disablings", {"user": "admin"}, token=admin),
        ("/users/resets", "nobody"): office.post("/users/resets", {"user": "nobody"}, token=admin),
    }
    told = [(answer.status_code, answer.json()["code"]) for answer in refused.values()]
    assert told == [
        (409, "node.user_exists"),
        (403, "api.forbidden"),
        (403, "node.own_account"),
        (404, "node.user_unknown"),
    ]


def test_a_secret_is_told_once_and_not_kept_for_who_asks_again(office, admin, chen):
    office.post("/users", {"user": "wang", "roles": ["data_officer"]}, token=admin)
    reset = [
        office.post("/users/resets", {"user": "wang"}, token=admin, key="reset-wang-once").json()["first_password"]
        for _ in range(2)
    ]
    assert reset[0] != reset[1]
    client = {"client": "core", "owner": "chen", "roles": ["data_officer"]}
    made = office.post("/clients", client, token=admin, key="add-core-once").json()
    token = office.post("/sessions/client", {"client": made["client_id"], "secret": made["client_secret"]}).json()
    assert office.get("/me", token=token["token"]).json()["kind"] == "machine"
    again = office.post("/clients", client, token=admin, key="add-core-once")
    assert (again.status_code, again.json()["code"]) == (409, "node.user_exists")
    assert [each["owner"] for each in office.get("/clients", token=admin).json()["items"]] == ["chen"]
    assert office.post("/clients/disablings", {"client": "core"}, token=admin).json()["is_disabled"]
    assert office.get("/me", token=token["token"]).status_code == 401


def test_a_list_of_users_is_a_table_too(office, admin):
    answer = office._client().get("/api/v1/users", headers={"Authorization": f"Bearer {admin}", "Accept": "text/csv"})
    assert answer.text.splitlines()[0] == "user,id,roles,is_disabled,must_change_password,has_second_factor,added"


def test_a_second_factor_is_taken_into_use_by_its_owner(office, chen):
    refused = office.post("/me/second-factor", {"password": "not the password"}, token=chen)
    assert (refused.status_code, refused.json()["code"]) == (401, "node.login_refused")
    made = office.post("/me/second-factor", {"password": "one password of mine"}, token=chen).json()
    code = TOTP(made["secret"]).at(SystemClock().now_ms() // 1000)
    assert office.post("/me/second-factor/confirmation", {"code": code}, token=chen).json()["confirmed"]


def test_what_was_done_stands_in_the_journal_and_reading_it_does_too(office, admin, chen):
    seen = office.get("/journal", token=chen, limit=1).json()
    [newest] = office.get("/journal", token=chen, act="journal.read", limit=1).json()["items"]
    assert (newest["outcome"], newest["request"] != "") == ("done", True)
    older = office.get("/journal", token=chen, cursor=seen["next"], limit=500).json()["items"]
    assert all(entry["seq"] < int(seen["next"]) for entry in older)
    assert {"users.add_first", "users.add", "own.password"} <= {entry["act"] for entry in older}
    [added] = office.get("/journal", token=chen, act="users.add_first").json()["items"]
    about = office.get("/journal", token=chen, object=added["object"]).json()["items"]
    assert {entry["object"] for entry in about} == {added["object"]}
    assert office.get("/journal", token=admin).json()["code"] == "api.forbidden"

    verified = office.post("/journal/verifications", {}, token=chen).json()
    assert (verified["holds"], verified["anchored_days"]) == (True, 0)
    [day] = office.get("/journal/days", token=chen).json()["items"]
    assert (day["root"], day["count"] > 5) == (None, True)
    assert office.get("/journal/days", token=chen, cursor=day["day"]).json() == {"items": [], "next": None}

"""Two people over HTTP: the second approves the digest of the exact bytes, and nobody sees what is not theirs [API-17]."""

from __future__ import annotations

import pytest

from shuiqiao.members.model import KeyPurpose
from shuiqiao.node.home.keys import ledger_key


@pytest.fixture(scope="module")
def call(office):
    """An act or a question of whoever has some permissions."""
    public = office.asked.public
    tokens = office.asked.tokens

    def asked(path, message=None, *, who, may=()):
        token = tokens.issue(who, *may)
        headers = {"Authorization": f"Bearer {token}"}
        if message is None:
            return public.get(f"/api/v1{path}", headers=headers)
        headers["Idempotency-Key"] = f"{who}-{len(message)}-{path.replace('/', '-')}-{id(message)}"[:64]
        return public.post(f"/api/v1{path}", json=message, headers=headers)

    return asked


def test_a_key_is_replaced_by_two_people_and_the_server_goes_on_with_it(office, call):
    institution = office.asked.running.institution
    before = ledger_key(institution.engine.state(), institution.member, KeyPurpose.SEALING)
    made = call("/approvals/key-rotations", {"purpose": "sealing"}, who="maker", may=["keys.rotate"]).json()
    assert (made["state"], made["what"]) == ("waiting", {"purpose": "sealing", "replaces": before.hex()})

    waiting = call("/approvals?for_me=true", who="checker", may=["keys.check"]).json()["items"]
    assert [each["digest"] for each in waiting] == [made["digest"]]
    assert call(f"/approvals/{made['approval']}", who="checker", may=["keys.check"]).json() == made
    assert call("/approvals?for_me=true", who="maker", may=["keys.rotate", "keys.check"]).json()["items"] == []

    given = {"approval": made["approval"], "digest": made["digest"]}
    refused = [
        call("/approvals/checks", dict(given), who="nobody"),
        call("/approvals/checks", dict(given), who="other", may=["keys.rotate"]),
        call("/approvals/checks", dict(given), who="maker", may=["keys.rotate", "keys.check"]),
        call("/approvals/checks", {**given, "digest": "00" * 32}, who="checker", may=["keys.check"]),
        call(f"/approvals/{made['approval']}", who="nobody"),
    ]
    assert [(each.status_code, each.json()["code"]) for each in refused] == [
        (404, "node.approval_unknown"),
        (403, "node.permission_missing"),
        (403, "node.same_person"),
        (409, "node.digest_differs"),
        (404, "node.approval_unknown"),
    ]

    done = call("/approvals/checks", given, who="checker", may=["keys.check"]).json()
    after = ledger_key(institution.engine.state(), institution.member, KeyPurpose.SEALING)
    assert (done["state"], done["checker"], done["outcome"]["public_key"]) == ("done", "checker", after.hex())
    assert after != before
    assert call("/keys", who="reader", may=["ledger.read"]).json()["sealing_key"] == after.hex()


def test_what_was_proposed_is_withdrawn_or_rejected_for_good_and_listed_by_pages(call):
    erasure = {"batch": "5e" * 16, "leaves": [0], "reason": "legal_order"}
    made = [
        call("/approvals/erasures", {**erasure, "leaves": [leaf]}, who="officer", may=["erasures.make"]).json()
        for leaf in range(3)
    ]
    again = call("/approvals/erasures", dict(erasure), who="officer", may=["erasures.make"])
    assert (again.status_code, again.json()["code"]) == (409, "node.approval_repeated")
    rejected = call(
        "/approvals/rejections",
        {"approval": made[0]["approval"], "reason": "no such order"},
        who="supervisor",
        may=["erasures.check"],
    ).json()
    assert (rejected["state"], rejected["reason"]) == ("rejected", "no such order")
    withdrawn = call("/approvals/rejections", {"approval": made[1]["approval"], "reason": ""}, who="officer")
    assert withdrawn.json()["state"] == "rejected"

    seen, cursor = [], ""
    while cursor is not None:
        page = call(f"/approvals?limit=1{cursor}", who="supervisor", may=["erasures.check"]).json()
        seen += [each["approval"] for each in page["items"]]
        cursor = page["next"] and f"&cursor={page['next']}"
    assert sorted(seen) == sorted(each["approval"] for each in made)


def test_what_nobody_here_carries_out_or_what_stands_against_it_is_refused(call):
    freeze = {"days": 1, "reason_digest": "5c" * 32}
    curves = {"curves": {"A": {"rates": ["0.03", "0.15"], "churn": ["0", "0.5"]}}}
    refused = [
        call("/approvals/freezes", freeze, who="maker", may=["oversight.freeze"]),
        call("/approvals/unfreezes", {}, who="maker", may=["oversight.unfreeze"]),
        call("/approvals/freezes", freeze, who="other", may=["oversight.unfreeze"]),
        call("/approvals/models", {"product": "tax-credit-loan", "model": "4b"}, who="maker", may=["models.make"]),
        call("/approvals/churn-curves", curves, who="maker", may=["products.make"]),
    ]
    assert [(each.status_code, each.json()["code"]) for each in refused] == [
        (403, "node.act_unregistered"),
        (403, "node.not_frozen"),
        (403, "api.forbidden"),
        (403, "node.role_wrong"),
        (403, "node.role_wrong"),
    ]


def test_an_act_is_named_by_enough_of_its_beginning(call):
    made = call("/approvals/key-rotations", {"purpose": "signing"}, who="maker", may=["keys.rotate"]).json()
    name = made["approval"]
    for beginning in (name[:8], name[:4], name):
        assert call(f"/approvals/{beginning}", who="checker", may=["keys.check"]).json() == made
    for wrong in (name[:3], f"{name[:8]}g", f"{name}0", "%", f"{name[:6]}_"):
        refused = call("/approvals/rejections", {"approval": wrong, "reason": ""}, who="maker", may=["keys.rotate"])
        assert refused.json()["code"] == "node.approval_unknown"
    assert call(f"/approvals/{name[:8]}", who="nobody").status_code == 404
    withdrawn = call("/approvals/rejections", {"approval": name[:8], "reason": ""}, who="maker", may=["keys.rotate"])
    assert (withdrawn.json()["approval"], withdrawn.json()["state"]) == (name, "rejected")

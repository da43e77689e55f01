"""The log as static files over HTTP, for an auditor [API-14], and what held at a moment gone by [API-15]."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from shuiqiao.base.clock import SystemClock
from shuiqiao.client.resources.members import MemberPage
from shuiqiao.client.resources.oversight import PastPage
from shuiqiao.node.published.http_tiles import TILES_PATH
from shuiqiao.node.published.standing_audit import StandingAudit


def today():
    return datetime.now(tz=UTC).date()


class AskedTiles:
    """The static files of an institution that is asked in this process."""

    def __init__(self, asked):
        self.asked = asked

    def get(self, path, *, max_bytes):
        answer = self.asked.get(f"{TILES_PATH}/{path}")
        assert answer.status_code in {200, 404}, answer.text
        assert len(answer.content) <= max_bytes
        return answer.content if answer.status_code == 200 else None


def test_an_auditor_follows_a_members_api(bureau, tmp_path):
    institution = bureau.running.institution
    source = AskedTiles(bureau)
    with StandingAudit(
        tmp_path / "audit", source=source, parameters=institution.parameters, clock=SystemClock()
    ) as audit:
        assert audit.go_round().checkpoint.root == institution.engine.checkpoint().root


@pytest.mark.parametrize("path", ["tile/0/001", "tile/entries/000.p/255", "tile/9/000", "etc/passwd", "tile/0/000.p/0"])
def test_what_the_log_does_not_have_is_not_found(bureau, path):
    answer = bureau.get(f"{TILES_PATH}/{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "api.not_found")


def past(bureau, subject, **asked):
    answer = bureau.get(f"/api/v1/past/{subject}", **asked)
    assert answer.status_code == 200, answer.text
    return PastPage.model_validate_json(answer.content)


def test_what_held_is_listed_by_pages_and_names_the_entries_that_made_it_so(bureau):
    now = past(bureau, "anchors")
    assert {"tax_credit_grade"} <= {row.detail["standard"].partition("@")[0] for row in now.items}
    assert past(bureau, "anchors", day=str(today())).items == now.items
    for path in ("anchors", "members"):
        early = bureau.get(f"/api/v1/past/{path}", day=str(date.max))
        assert (early.status_code, early.json()["code"]) == (400, "oversight.day_not_over")
        assert (str(date.max) in early.json()["detail"], str(today()) in early.json()["detail"]) == (True, True)
    first = now.items[0]
    assert past(bureau, "anchors", size=first.index).items == ()
    found, cursor = [], {}
    while True:
        page = past(bureau, "anchors", limit=1, **cursor)
        found += page.items
        if page.next is None:
            break
        cursor = {"cursor": page.next}
    assert tuple(found) == now.items
    receipt = bureau.get(f"/api/v1/ledger/entries/{first.index}/receipt")
    assert receipt.status_code == 200
    unknown = bureau.get("/api/v1/past/anchors", about="nobody")
    assert unknown.json()["code"] == "members.unknown"
    assert past(bureau, "anchors", about="bureau").items == now.items
    before = bureau.get("/api/v1/past/anchors", day="1000-02-28")
    assert (before.status_code, before.json()["code"]) == (400, "oversight.day_before_network")
    members = MemberPage.model_validate_json(bureau.get("/api/v1/past/members", day=str(today())).content)
    assert [row.member for row in members.items] == ["bureau"]
    for day in ("0", "2026-13-01", "2026-1-1", "0001-01-01", "today"):
        refused = bureau.get("/api/v1/past/anchors", day=day)
        assert (day, refused.status_code, refused.json()["code"]) == (day, 400, "api.request_invalid")
        assert "YYYY-MM-DD" in refused.json()["detail"]
    between = bureau.get("/api/v1/past/anchors", size=first.index + 1)
    assert (between.status_code, between.json()["code"]) == (404, "ledger.size_unknown")

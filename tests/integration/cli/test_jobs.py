"""``jobs``: what goes on by itself is listed, shown, cancelled and confirmed by commands on a home."""

from __future__ import annotations

import pytest

from shuiqiao.base.clock import SystemClock
from shuiqiao.base.ids import system_entropy
from shuiqiao.node.home.settings import Home
from shuiqiao.node.institution import Institution
from shuiqiao.node.jobs.duties import job_kinds
from shuiqiao.node.jobs.ingests import INGEST
from shuiqiao.node.jobs.model import JobState
from shuiqiao.node.jobs.service import JobService
from shuiqiao.node.jobs.store import Ending, JobStore


@pytest.fixture
def asked(home):
    """Two ingests that were asked for: one waits, one stopped to be confirmed."""
    with Institution.open(Home(home)) as bureau:
        store = JobStore(bureau.database, cipher=bureau.cipher)
        service = JobService(store, kinds=job_kinds(bureau), clock=SystemClock(), entropy=system_entropy)
        held = service.ask(INGEST, {"files": ["/none.csv"]}, id=b"\x01" * 16)
        now_ms = SystemClock().now_ms()
        claimed = store.claim(owner="test", kinds=[INGEST], now_ms=now_ms, until_ms=now_ms + 1000)
        ending = Ending(
            state=JobState.HELD,
            due_ms=now_ms,
            attempts=0,
            code="jobs.confirmation_needed",
            message="30 of 60 would go",
            result={"due": 30},
        )
        assert store.end(claimed, ending, now_ms=now_ms)
        waiting = service.ask(INGEST, {"files": ["/other.csv"]}, id=b"\x02" * 16)
        return held.id.hex(), waiting.id.hex()


def test_jobs_are_listed_shown_cancelled_and_confirmed(here, home, asked):
    held, waiting = asked
    states = {job["id"]: job["state"] for job in here("jobs", "list", "--home", home, "--json").json["jobs"]}
    assert states == {held: "held", waiting: "waiting"}
    listed = here("jobs", "list", "--home", home).out
    assert "jobs.confirmation_needed" in listed
    assert "shuiqiao jobs confirm" in listed
    for words, found in (
        (("--state", "held"), {held}),
        (("--kind", INGEST), {held, waiting}),
        (("--kind", INGEST, "--state", "waiting"), {waiting}),
        (("--kind", "ledger.publish"), set()),
    ):
        rows = here("jobs", "list", *words, "--home", home, "--json").json["jobs"]
        assert {job["id"] for job in rows} == found
    shown = here("jobs", "show", held[:8], "--home", home, "--json").json
    assert (shown["cause"]["message"], shown["result"]) == ("30 of 60 would go", {"due": 30})
    assert "30 of 60 would go" in here("jobs", "show", held[:8], "--home", home).out
    assert here("jobs", "cancel", waiting[:8], "--home", home, "--json").json["state"] == "cancelled"
    assert here("jobs", "confirm", held[:8], "--home", home, "--json").json["state"] == "waiting"


def test_what_is_not_there_or_not_held_is_refused(here, home, asked):
    _, waiting = asked
    refused = here("jobs", "confirm", waiting[:8], "--home", home, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "jobs.not_held")
    unknown = here("jobs", "list", "--kind", "Vault Ingest", "--home", home, "--json")
    assert (unknown.code, unknown.json["error"]["code"]) == (2, "api.request_invalid")
    unclear = here("jobs", "show", "ff", "--home", home, "--json")
    assert (unclear.code, unclear.json["error"]["code"]) == (1, "jobs.name_unclear")

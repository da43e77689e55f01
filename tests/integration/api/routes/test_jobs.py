"""Jobs over HTTP."""

from __future__ import annotations

from api_world import ALL
from shuiqiao.client.resources.jobs import JobPage, JobRecord


def act(bureau, job, what, *, key):
    headers = {"Authorization": f"Bearer {ALL}", "Idempotency-Key": key}
    return bureau.public.post(f"/api/v1/jobs/{job}/{what}", headers=headers)


def test_duties_are_listed_by_pages_and_one_is_told_of_by_its_id(bureau):
    whole = JobPage.model_validate_json(bureau.get("/api/v1/jobs").content).items
    assert {"consent.expiry", "exchange.release"} <= {job.kind for job in whole}
    first = JobPage.model_validate_json(bureau.get("/api/v1/jobs", limit=1).content)
    rest = JobPage.model_validate_json(bureau.get("/api/v1/jobs", cursor=first.next).content)
    assert [job.id for job in (*first.items, *rest.items)] == [job.id for job in whole]
    one = JobRecord.model_validate_json(bureau.get(f"/api/v1/jobs/{whole[0].id[:12]}").content)
    assert (one.id, one.kind) == (whole[0].id, whole[0].kind)


def test_jobs_of_a_kind_and_in_a_state_are_asked_for_alone(bureau):
    def listed(**asked):
        return [
            (job.kind, job.state)
            for job in JobPage.model_validate_json(bureau.get("/api/v1/jobs", **asked).content).items
        ]

    whole = listed()
    assert len(set(whole)) > 1
    kind, state = whole[0]
    assert listed(kind=kind) == [each for each in whole if each[0] == kind] != whole
    assert set(listed(state=state)) == {each for each in whole if each[1] == state}
    assert listed(kind=kind, state="cancelled") == []
    refused = bureau.get("/api/v1/jobs", sate="waiting").json()
    assert refused["code"] == "api.parameter_unknown"
    assert [(each["field"], each["value"]) for each in refused["fields"]] == [("query.sate", "waiting")]
    assert bureau.get("/api/v1/jobs", state="asleep").json()["fields"][0]["field"] == "query.state"


def test_a_job_that_ended_cannot_be_cancelled_and_one_that_nobody_holds_not_confirmed(bureau):
    job = bureau.running.jobs.ask("vault.ingest", {"files": ["/nowhere/at-all.csv"]})
    assert act(bureau, job.id.hex(), "confirm", key="confirm-it-once").json()["code"] == "jobs.not_held"
    cancelled = act(bureau, job.id.hex(), "cancel", key="cancel-it-once")
    assert cancelled.status_code in {200, 409}
    refused = act(bureau, "0" * 32, "cancel", key="cancel-nothing")
    assert (refused.status_code, refused.json()["code"]) == (404, "jobs.name_unclear")

"""What becomes of a job: done, tried again later each time, failed, held, cancelled, given back, taken over."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from consent_world import a_cipher
from patience import PATIENCE_S
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import Conflict, Denied, InvalidInput, Unavailable
from shuiqiao.base.ids import system_entropy
from shuiqiao.node.home.database import open_database
from shuiqiao.node.jobs.model import MAX_CAUSE_CHARS, ConfirmationWanted, JobInterrupted, JobKind, JobState
from shuiqiao.node.jobs.runner import FIRST_RETRY_MS, KEPT_MS, LAST_RETRY_MS, LEASE_MS, JobRunner
from shuiqiao.node.jobs.service import JobService
from shuiqiao.node.jobs.store import Ending, JobStore

NOW_MS = 1_775_001_600_000
EVERY_MS = 600_000


class Bench:
    """One home's jobs; ``act`` is what its kinds do."""

    def __init__(self, folder):
        self.engine = open_database(folder / "node.db")
        self.store = JobStore(self.engine, cipher=a_cipher())
        self.clock = ManualClock(NOW_MS)
        self.act = lambda running: {"seen": running.job.parameters.get("number", 0)}
        kinds = [
            JobKind(name="work", act=self.do, max_attempts=3),
            JobKind(name="duty", act=self.do, max_attempts=3, every_ms=EVERY_MS),
        ]
        self.kinds = {kind.name: kind for kind in kinds}
        self.service = JobService(self.store, kinds=self.kinds, clock=self.clock, entropy=system_entropy)
        self.runner = self.another()

    def do(self, running):
        return self.act(running)

    def another(self):
        """A runner as another process has one."""
        return JobRunner(self.store, service=self.service, kinds=self.kinds, clock=self.clock, entropy=system_entropy)

    def asked(self, number=7):
        return self.service.ask("work", {"number": number}).id

    def job(self, id):  # noqa: A002
        return self.store.job(id)

    def duty(self):
        self.service.add_duties()
        (found,) = [job for job in self.service.jobs() if job.kind == "duty"]
        return found.id


@pytest.fixture
def bench(tmp_path):
    made = Bench(tmp_path)
    yield made
    made.engine.dispose()


def wait_done(bench, job):
    end = time.monotonic() + PATIENCE_S
    while bench.job(job).state is not JobState.DONE:
        assert time.monotonic() < end, bench.job(job)
        time.sleep(0.02)


def raising(error):
    def act(_running):
        raise error

    return act


def test_a_job_is_done_once_and_its_result_stays(bench):
    job = bench.asked()
    assert bench.runner.run_one()
    assert not bench.runner.run_one()
    found = bench.job(job)
    assert (found.state, found.result, found.attempts, found.code) == (JobState.DONE, {"seen": 7}, 1, "")
    assert (found.owner, found.lease_until_ms, found.finished_ms) == (None, None, NOW_MS)


def test_the_same_id_is_the_same_job(bench):
    asked = [bench.service.ask("work", {"number": 1}, id=bytes(16)) for _ in range(2)]
    assert asked[0] == asked[1]
    with pytest.raises(Conflict, match=r"^jobs\.id_taken"):
        bench.service.ask("work", {"number": 2}, id=bytes(16))


@pytest.mark.parametrize(
    ("kind", "parameters", "code"),
    [
        ("none", {}, "jobs.kind_unknown"),
        ("duty", {}, "jobs.kind_unknown"),
        ("work", {"number": "9" * 16_384}, "jobs.parameters_too_large"),
    ],
)
def test_what_cannot_be_asked_is_refused(bench, kind, parameters, code):
    with pytest.raises(InvalidInput) as caught:
        bench.service.ask(kind, parameters)
    assert caught.value.code == code


def test_what_is_away_is_tried_again_later_each_time_until_attempts_are_used_up(bench):
    bench.act = raising(Unavailable("ledger.block_awaited", "the writer is away"))
    job = bench.asked()
    waits = []
    for _ in range(2):
        assert bench.runner.run_one()
        assert not bench.runner.run_one()
        found = bench.job(job)
        assert (found.state, found.code, found.message) == (
            JobState.WAITING,
            "ledger.block_awaited",
            "the writer is away",
        )
        waits.append(found.due_ms - bench.clock.now_ms())
        bench.clock.advance(waits[-1])
    assert FIRST_RETRY_MS // 2 <= waits[0] <= FIRST_RETRY_MS <= waits[1] <= 2 * FIRST_RETRY_MS
    assert bench.runner.run_one()
    assert (bench.job(job).state, bench.job(job).code) == (JobState.FAILED, "ledger.block_awaited")


def test_no_wait_is_shorter_than_asked_nor_without_end(bench):
    bench.act = raising(Unavailable("a.b", "later", retry_after_s=60.0))
    job = bench.asked()
    bench.runner.run_one()
    assert bench.job(job).due_ms == NOW_MS + 60_000
    assert bench.runner._backoff_ms(10**6) <= LAST_RETRY_MS


def test_what_another_try_would_not_change_fails_at_once(bench):
    bench.act = raising(Denied("consent.revoked", "it was revoked"))
    job = bench.asked()
    bench.runner.run_one()
    assert (bench.job(job).state, bench.job(job).code) == (JobState.FAILED, "consent.revoked")


def test_an_error_of_the_program_is_told_and_tried_again(bench):
    bench.act = raising(ZeroDivisionError("by zero"))
    job = bench.asked()
    for _ in range(3):
        bench.runner.run_one()
        bench.clock.advance(LAST_RETRY_MS)
    found = bench.job(job)
    assert (found.state, found.code, found.attempts) == (JobState.FAILED, "jobs.act_broken", 3)
    assert "ZeroDivisionError: by zero" in found.message


def test_a_result_that_is_too_large_is_no_result(bench):
    bench.act = lambda _running: {"much": "9" * 20_000}
    job = bench.asked()
    bench.runner.run_one()
    assert (bench.job(job).state, bench.job(job).code) == (JobState.FAILED, "jobs.result_too_large")


def test_progress_is_seen_while_it_runs(bench):
    seen = []

    def act(running):
        running.progress("read", 1, 3)
        running.progress("read", 2, 3)
        running.progress("read", 3, 3)
        found = bench.job(running.job.id)
        seen.append((found.state, found.step, found.done, found.total, found.owner))
        return {}

    bench.act = act
    bench.asked()
    bench.runner.run_one()
    assert seen == [(JobState.RUNNING, "read", 3, 3, bench.runner.owner)]


def test_a_job_that_stops_to_be_confirmed_gets_what_was_confirmed(bench):
    confirmed = []

    def act(running):
        if running.job.confirmed is None:
            raise ConfirmationWanted("3 of 4 would go", offer={"until_ms": 5})
        confirmed.append(running.job.confirmed)
        return {"gone": 3}

    bench.act = act
    for make in (bench.asked, bench.duty):
        job = make()
        bench.runner.run_one()
        held = bench.job(job)
        assert (held.state, held.code, held.result) == (JobState.HELD, "jobs.confirmation_needed", {"until_ms": 5})
        assert held.message == "3 of 4 would go"
        bench.clock.advance(EVERY_MS)
        assert not bench.runner.run_one()
        assert bench.service.confirm(job.hex()[:8]).state is JobState.WAITING
        with pytest.raises(Conflict, match=r"^jobs\.not_held"):
            bench.service.confirm(job.hex())
        assert bench.runner.run_one()
        assert bench.job(job).result == {"gone": 3}
        assert bench.job(job).confirmed is None
    assert confirmed == [{"until_ms": 5}] * 2


def test_what_was_confirmed_is_kept_while_it_is_tried_again(bench):
    confirmed = []

    def act(running):
        if running.job.confirmed is None:
            raise ConfirmationWanted("all", offer={"until_ms": 5})
        confirmed.append(running.job.confirmed)
        if len(confirmed) == 1:
            raise Unavailable("a.b", "away")
        return {}

    bench.act = act
    job = bench.asked()
    bench.runner.run_one()
    bench.service.confirm(job.hex())
    bench.runner.run_one()
    bench.clock.advance(LAST_RETRY_MS)
    bench.runner.run_one()
    assert confirmed == [{"until_ms": 5}] * 2
    assert bench.job(job).state is JobState.DONE


def test_a_job_that_waits_is_cancelled_at_once(bench):
    job = bench.asked()
    assert bench.service.cancel(job.hex()).state is JobState.CANCELLED
    assert not bench.runner.run_one()
    with pytest.raises(Conflict, match=r"^jobs\.ended"):
        bench.service.cancel(job.hex())


def test_a_job_that_runs_ends_at_its_next_progress(bench):
    def act(running):
        bench.service.cancel(running.job.id.hex())
        running.progress("too late", 1, 2)
        running.progress("too late", 2, 2)
        raise AssertionError

    bench.act = act
    job = bench.asked()
    bench.runner.run_one()
    assert (bench.job(job).state, bench.job(job).code) == (JobState.CANCELLED, "jobs.cancelled")


def test_a_job_that_was_cancelled_while_its_run_failed_is_not_tried_again(bench):
    def act(running):
        bench.service.cancel(running.job.id.hex())
        raise Unavailable("a.b", "away")

    bench.act = act
    job = bench.asked()
    bench.runner.run_one()
    assert bench.job(job).state is JobState.CANCELLED
    assert bench.job(job).finished_ms == NOW_MS


def test_a_duty_comes_round_however_it_went(bench):
    duty = bench.duty()
    bench.service.add_duties()
    for number, act in enumerate([lambda _: {"done": 1}, raising(Denied("a.b", "no")), lambda _: {"done": 2}]):
        bench.act = act
        assert bench.runner.run_one()
        found = bench.job(duty)
        assert (found.state, found.due_ms) == (JobState.WAITING, bench.clock.now_ms() + EVERY_MS)
        assert (found.code, found.result) == [("", {"done": 1}), ("a.b", None), ("", {"done": 2})][number]
        assert not bench.runner.run_one()
        bench.clock.advance(EVERY_MS)
    bench.service.cancel(duty.hex())
    assert not bench.runner.run_one()
    bench.clock.advance(EVERY_MS)
    assert bench.runner.run_one()


def claimed(bench, runner):
    now_ms = bench.clock.now_ms()
    return bench.store.claim(owner=runner.owner, kinds=["work"], now_ms=now_ms, until_ms=now_ms + LEASE_MS)


def test_a_lease_that_ended_is_taken_over_and_its_first_owner_changes_nothing_any_more(bench):
    job = bench.asked()
    first = claimed(bench, bench.runner)
    bench.clock.advance(LEASE_MS - 1)
    assert not bench.another().run_one()
    assert bench.store.renew(first, until_ms=bench.clock.now_ms() + LEASE_MS) is False
    bench.clock.advance(LEASE_MS)
    second = claimed(bench, bench.another())
    assert (second.id, second.attempts) == (job, 2)
    assert bench.store.renew(first, until_ms=bench.clock.now_ms() + LEASE_MS) is None
    assert bench.store.tell(first, step="late", done=1, total=1) is None
    ending = Ending(state=JobState.DONE, due_ms=0, attempts=1, result={})
    assert not bench.store.end(first, ending, now_ms=bench.clock.now_ms())
    assert bench.job(job) == second
    assert bench.store.end(second, ending, now_ms=bench.clock.now_ms())


def test_a_job_whose_owner_goes_away_each_time_fails(bench):
    job = bench.asked()
    for _ in range(3):
        assert claimed(bench, bench.another()) is not None
        bench.clock.advance(LEASE_MS)
        bench.runner.tend()
    assert claimed(bench, bench.runner) is None
    assert (bench.job(job).state, bench.job(job).code) == (JobState.FAILED, "jobs.worker_lost")


def test_a_job_whose_owner_came_back_while_it_was_called_lost_is_its_owners(bench):
    bench.asked()
    job = claimed(bench, bench.another())
    bench.clock.advance(LEASE_MS)
    now_ms = bench.clock.now_ms()
    bench.store.renew(job, until_ms=now_ms + LEASE_MS)
    failed = Ending(state=JobState.FAILED, due_ms=now_ms, attempts=1, code="jobs.worker_lost")
    assert not bench.store.end(job, failed, now_ms=now_ms, only_if_lost=True)
    assert bench.job(job.id).state is JobState.RUNNING


def test_a_job_that_was_to_be_cancelled_ends_with_its_owner(bench):
    job = bench.asked()
    claimed(bench, bench.another())
    bench.service.cancel(job.hex())
    bench.clock.advance(LEASE_MS)
    bench.runner.tend()
    assert bench.job(job).state is JobState.CANCELLED


def test_a_runner_that_closes_gives_back_what_runs(bench):
    def act(running):
        bench.runner.close(timeout_s=0)
        running.progress("on", 1, 2)
        raise AssertionError

    bench.act = act
    job = bench.asked()
    bench.runner.run_one()
    found = bench.job(job)
    assert (found.state, found.attempts, found.due_ms) == (JobState.WAITING, 0, NOW_MS)
    bench.act = lambda _running: {}
    assert bench.another().run_one()
    assert bench.job(job).state is JobState.DONE


def test_who_handles_errors_on_the_way_does_not_handle_an_interruption():
    assert not issubclass(JobInterrupted, Exception)


def test_jobs_that_ended_long_ago_are_forgotten_and_others_never(bench):
    done, waits = bench.asked(), bench.asked()
    bench.store.cancel(bench.job(done), now_ms=NOW_MS)
    bench.clock.advance(KEPT_MS + 1)
    bench.runner.tend()
    assert bench.job(done) is None
    assert bench.job(waits) is not None


def test_a_started_runner_does_what_is_asked(bench):
    bench.runner.start()
    job = bench.asked()
    bench.runner.wake()
    wait_done(bench, job)
    bench.runner.close(timeout_s=60)
    assert not any(thread.is_alive() for thread in bench.runner._workers)


@pytest.mark.parametrize(("is_alone", "again"), [(True, ["resuming"]), (False, [])])
def test_a_duty_that_resumes_is_due_at_once_where_a_server_starts(bench, is_alone, again):
    ran = list[str]()
    bench.act = lambda running: {"times": ran.append(running.job.kind)}
    bench.kinds["resuming"] = JobKind(name="resuming", act=bench.do, every_ms=EVERY_MS, resumes=True)
    bench.service.add_duties()
    while bench.runner.run_one():
        pass
    assert sorted(ran) == ["duty", "resuming"]
    starting = bench.another()
    starting.start(is_alone=is_alone)
    starting.close(timeout_s=60)
    while bench.runner.run_one():
        pass
    assert ran[2:] == again


def test_what_a_job_names_is_encrypted(bench, tmp_path):
    bench.act = raising(Denied("a.b", "taxpayer 91440300MA5LEAKME7"))
    job = bench.service.ask("work", {"number": "91440300MA5LEAKME8"}).id
    bench.runner.run_one()
    assert bench.job(job).message == "taxpayer 91440300MA5LEAKME7"
    bench.engine.dispose()
    data = b"".join(path.read_bytes() for path in tmp_path.glob("node.db*"))
    assert b"node_job" in data
    assert b"91440300MA5LEAKME" not in data
    assert replace(bench.job(job), message="").as_json()["cause"] == {"code": "a.b", "message": ""}


def test_a_duty_is_listed_and_found_however_many_jobs_came_after_it(bench, monkeypatch):
    """A bank takes thousands of applications in a month, and its held duty waits for a person all the same."""
    monkeypatch.setattr("shuiqiao.node.jobs.service.MAX_LISTED", 2)
    duty = bench.duty()
    for number in range(3):
        bench.clock.advance(1)
        last = bench.asked(number)
    assert [job.id for job in bench.service.jobs()] == [duty, last]
    assert bench.service.find(duty.hex()).kind == "duty"
    assert bench.service.find(duty.hex()[:9].upper()).kind == "duty"
    for unclear in ("", duty.hex()[:3], "zzzz", "0" * 33, "0" * 32):
        with pytest.raises(InvalidInput, match=r"^jobs\.name_unclear"):
            bench.service.find(unclear)


def test_the_words_of_a_cause_are_kept_as_text_and_not_without_end(bench):
    bench.act = raising(ValueError("\udcff" + "x" * 20_000))
    job = bench.asked()
    assert bench.runner.run_one()
    assert bench.job(job).code == "jobs.act_broken"
    assert bench.job(job).message.startswith("ValueError: \\udcffxx")
    assert len(bench.job(job).message) < MAX_CAUSE_CHARS + 10


def test_a_worker_outlives_what_nobody_foresaw(bench):
    class Clock(ManualClock):
        """Fails where a worker begins with it, a few times."""

        left = 2

        def now_ms(self):
            if self.left:
                self.left -= 1
                raise ZeroDivisionError
            return super().now_ms()

    job = bench.asked()
    runner = JobRunner(
        bench.store,
        service=bench.service,
        kinds=bench.kinds,
        clock=Clock(NOW_MS),
        entropy=system_entropy,
        threads=1,
    )
    runner.start()
    wait_done(bench, job)
    runner.close(timeout_s=60)


def test_of_a_kind_that_is_done_one_at_a_time_the_others_wait_untried(bench):
    seen = []

    def act(running):
        other = bench.runner.run_one()
        seen.append((running.job.parameters["number"], other))
        return {}

    bench.act = act
    bench.kinds["alone"] = JobKind(name="alone", act=bench.do, one_at_a_time=True)
    jobs = [bench.service.ask("alone", {"number": number}).id for number in (1, 2)]
    assert bench.runner.run_one()
    assert sorted(bench.job(job).attempts for job in jobs) == [0, 1]
    assert bench.runner.run_one()
    assert sorted(seen) == [(1, False), (2, False)]
    assert {bench.job(job).state for job in jobs} == {JobState.DONE}


def test_what_was_kept_for_a_job_is_removed_once_it_has_ended_for_good(bench):
    cleared = []
    bench.kinds["work"] = JobKind(name="work", act=bench.do, max_attempts=2, clear=lambda job: cleared.append(job.id))
    bench.act = raising(Unavailable("ledger.block_awaited", "the writer is away"))
    tried = bench.asked()
    bench.runner.run_one()
    assert cleared == []
    bench.clock.advance(LAST_RETRY_MS)
    bench.runner.run_one()
    assert (cleared, bench.job(tried).state) == ([tried], JobState.FAILED)
    idle = bench.asked()
    bench.service.cancel(idle.hex())
    lost = bench.asked()
    now_ms = bench.clock.now_ms()
    for _ in range(2):
        bench.store.claim(owner="gone", kinds=["work"], now_ms=now_ms, until_ms=now_ms)
    bench.runner.tend()
    assert cleared == [tried, idle, lost]

"""Jobs over one database by many workers in many processes: each job is done, and by one at a time, whoever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest

import job_process
from shuiqiao.node.jobs.model import JobState

WORLDS = Path(job_process.__file__).parent
LEASE_MS = 4_000
JOBS = 24


class Processes:
    """The processes of a test, and what they wrote."""

    def __init__(self, url, folder):
        self.url, self.log = url, folder / "log"
        self.started, self.ends_ns = [], {}

    def start(self):
        process = subprocess.Popen(
            [sys.executable, str(WORLDS / "job_process.py"), self.url, str(self.log), str(LEASE_MS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(WORLDS)},
        )
        self.started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    def kill(self, process):
        """End it as a power cut does; what it wrote counts until now."""
        process.kill()
        process.wait()
        self.ends_ns[process.pid] = time.monotonic_ns()

    def lines(self):
        return [line.split() for line in self.log.read_text().splitlines()] if self.log.exists() else []

    def runs_of(self, job):
        """(first, last) line of each run of a job, by when it began; a run begins with its step 0."""
        runs = []
        for name, process, number, at in self.lines():
            if name == job.id.hex():
                if number == "0":
                    runs.append([process, int(at), int(at)])
                else:
                    own = next(run for run in reversed(runs) if run[0] == process)
                    own[2] = int(at)
        return runs

    def close(self):
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()


@pytest.fixture
def processes(url, tmp_path):
    made = Processes(url, tmp_path)
    yield made
    made.close()


@pytest.fixture
def jobs(url):
    service, store = job_process.jobs_of(url)
    yield service
    store._engine.dispose()


def until(holds):
    while not holds():
        time.sleep(0.05)


def states(jobs):
    return {job.state for job in jobs.jobs()}


def test_each_job_is_done_and_nothing_runs_twice_at_one_time(processes, jobs):
    asked = [jobs.ask("work", {"number": number}) for number in range(JOBS)]
    first, second = processes.start(), processes.start()
    until(lambda: len(processes.lines()) > JOBS)
    processes.kill(first)
    processes.start()
    until(lambda: len(processes.lines()) > 3 * JOBS)
    processes.kill(second)
    processes.start()
    until(lambda: states(jobs) == {JobState.DONE})
    runs = {job.id: processes.runs_of(job) for job in asked}
    assert all(runs.values())
    for found in runs.values():
        for (_, _, last), (_, begun, _) in pairwise(found):
            assert last < begun
    taken_over = [found for found in runs.values() if len(found) > 1]
    assert {run[0] for found in taken_over for run in found[:-1]} <= {str(first.pid), str(second.pid)}


def test_a_process_that_stood_still_finds_that_another_has_its_job(processes, jobs, tmp_path):
    gate = tmp_path / "gate"
    job = jobs.ask("work", {"gate": str(gate)})
    still = processes.start()
    until(processes.lines)
    still.send_signal(signal.SIGSTOP)
    processes.start()
    until(lambda: len(processes.runs_of(job)) == 2)
    still.send_signal(signal.SIGCONT)
    gate.touch()
    until(lambda: states(jobs) == {JobState.DONE})
    (found,) = jobs.jobs()
    assert found.result["by"] != still.pid
    assert [number for _, process, number, _ in processes.lines() if process == str(still.pid)] == ["0"]


def test_a_process_that_is_asked_to_end_gives_its_job_back(processes, jobs, tmp_path):
    gate = tmp_path / "gate"
    job = jobs.ask("work", {"gate": str(gate)})
    process = processes.start()
    until(processes.lines)
    process.stdin.close()
    gate.touch()
    assert process.wait() == 0
    found = jobs.find(job.id.hex())
    assert found.state in {JobState.WAITING, JobState.DONE}
    assert found.owner is None

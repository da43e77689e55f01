"""A process that does jobs until it is killed, and writes down when it worked at which.

``python job_process.py URL LOG LEASE_MS``. Each line of the log is ``job process what time``, the time that of the
machine's monotonic clock, which all processes share. A job whose parameters name a gate waits at it, without a word,
until the file is there.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from consent_world import a_cipher
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.ids import system_entropy
from shuiqiao.node.home.database import open_database
from shuiqiao.node.jobs.model import JobKind
from shuiqiao.node.jobs.runner import JobRunner
from shuiqiao.node.jobs.service import JobService
from shuiqiao.node.jobs.store import JobStore

STEPS, STEP_S = 6, 0.02


def kinds(log):
    """What its jobs do: a few steps with a line for each."""

    def work(running):
        gate = running.job.parameters.get("gate")
        for number in range(STEPS):
            running.progress("work", number, STEPS)
            line = f"{running.job.id.hex()} {os.getpid()} {number} {time.monotonic_ns()}\n"
            os.write(log, line.encode())
            while gate and number == 0 and not Path(gate).exists():
                time.sleep(STEP_S)
            time.sleep(STEP_S)
        return {"by": os.getpid()}

    return {"work": JobKind(name="work", act=work, max_attempts=20)}


def jobs_of(url):
    """The service and the store over a database, for who only asks and looks."""
    store = JobStore(open_database(url), cipher=a_cipher())
    service = JobService(store, kinds=kinds(-1), clock=SystemClock(), entropy=system_entropy)
    return service, store


def main():
    url, path, lease_ms = sys.argv[1:]
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    store = JobStore(open_database(url), cipher=a_cipher())
    clock, done = SystemClock(), kinds(log)
    service = JobService(store, kinds=done, clock=clock, entropy=system_entropy)
    runner = JobRunner(store, service=service, kinds=done, clock=clock, entropy=system_entropy, lease_ms=int(lease_ms))
    runner.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.read()
    runner.close(timeout_s=30)


if __name__ == "__main__":
    main()

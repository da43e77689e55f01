"""Signature checking, inline and in processes that may be killed."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from patience import PATIENCE_S
from shuiqiao.base.errors import Unavailable
from shuiqiao.ledger.transactions.transaction import SignatureClaim
from shuiqiao.ledger.transactions.verifiers import (
    MAX_BARREN_DEATHS,
    MAX_CHUNK_JOBS,
    Batches,
    InlineVerifier,
    ProcessVerifier,
    open_verifier,
    split_chunks,
    verify_all,
)


def pids_of(verifier):
    return [worker.process.pid for worker in verifier._workers]


def jobs_of(network: Any, count: int, *, size: int = 100) -> tuple[list[SignatureClaim], list[bool]]:
    """Return signature jobs, every third of which does not hold."""
    key = network.keys["bureau"]
    jobs: list[SignatureClaim] = []
    for number in range(count):
        message = number.to_bytes(4, "big") * (size // 4)
        signature = key.sign(message)
        jobs.append((key.public_key, message if number % 3 else message + b"!", signature))
    return jobs, [number % 3 != 0 for number in range(count)]


@pytest.mark.parametrize("processes", [0, 1, 2])
def test_every_signature_gets_its_own_verdict(network: Any, processes: int) -> None:
    verifier = open_verifier(network.suite, processes=processes)
    jobs, expected = jobs_of(network, 3 * MAX_CHUNK_JOBS + 5)
    assert expected == verify_all(verifier, jobs)
    assert verify_all(verifier, []) == []
    verifier.close()


@pytest.mark.parametrize("processes", [0, 1])
def test_keys_and_signatures_of_any_length_do_no_harm(intl: Any, processes: int) -> None:
    verifier = open_verifier(intl.suite, processes=processes)
    strange = [
        (b"", b"", b""),
        (bytes(65), b"m", bytes(64)),
        (bytes(32), b"m", b""),
    ]
    jobs, expected = jobs_of(intl, 6)
    assert [False, *expected, False, False] == verify_all(verifier, [strange[0], *jobs, *strange[1:]])
    verifier.close()


def test_large_messages_pass_through_the_pipes(intl: Any) -> None:
    verifier = open_verifier(intl.suite, processes=2)
    jobs, expected = jobs_of(intl, 60, size=60_000)
    assert expected == verify_all(verifier, jobs)
    verifier.close()


def test_a_killed_worker_loses_nothing(intl: Any) -> None:
    """[STORE-20]."""
    verifier = ProcessVerifier(intl.suite, processes=2)
    jobs, expected = jobs_of(intl, 1000)
    pids = pids_of(verifier)
    for number, chunk in enumerate(split_chunks(jobs)):
        verifier.start(number, chunk)
        if number == 5:
            os.kill(pids[0], signal.SIGKILL)
    answers: dict[int, bytes] = {}
    quiet, other = os.pipe()
    while len(answers) < len(split_chunks(jobs)):
        answers.update(
            {ticket: holds for ticket, holds in verifier.finished(wake=quiet, timeout_s=PATIENCE_S) if holds}
        )
    os.close(quiet)
    os.close(other)
    assert expected == [bool(holds) for ticket in sorted(answers) for holds in answers[ticket]]
    # The dead worker was replaced, and the pool goes on with as many as before.
    assert expected == verify_all(verifier, jobs)
    assert pids[1:] == pids_of(verifier)[1:]
    assert pids[0] != pids_of(verifier)[0]
    verifier.close()


def test_verdicts_that_nobody_took_are_not_taken_for_others(intl: Any) -> None:
    for verifier in (InlineVerifier(intl.suite), ProcessVerifier(intl.suite, processes=2)):
        jobs, expected = jobs_of(intl, 200)
        with Batches(verifier) as left:
            left.give([(key, message + b"!", signature) for key, message, signature in jobs])
        with Batches(verifier) as batches:
            first, second = batches.give(jobs[:150]), batches.give(jobs[150:])
            assert (batches.take(second), batches.take(first)) == (expected[150:], expected[:150])
        verifier.close()


def test_workers_that_keep_dying_are_given_up(intl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = ProcessVerifier(intl.suite, processes=1)
    # Whatever takes the interpreter away from the workers: here, a suite no worker knows.
    monkeypatch.setattr(verifier, "_suite_name", "unknown")
    os.kill(pids_of(verifier)[0], signal.SIGKILL)
    jobs, _ = jobs_of(intl, 3 * MAX_CHUNK_JOBS)
    with pytest.raises(Unavailable) as caught:
        verify_all(verifier, jobs)
    assert (caught.value.code, caught.value.retry_after_s) == ("ledger.verifier_failed", 1.0)
    assert MAX_BARREN_DEATHS > 0
    verifier.close()

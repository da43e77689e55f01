"""[STORE-19], [STORE-20]: how much is taken in before a block is made, and how much is checked meanwhile."""

from __future__ import annotations

from collections.abc import Sequence

import cbor2
import pytest

from shuiqiao.base.errors import Unavailable
from shuiqiao.ledger.engine.admission import MIN_CHECKED_AHEAD, Admission, Intake
from shuiqiao.ledger.transactions.transaction import SignatureClaim
from shuiqiao.ledger.transactions.verifiers import Verdicts


class PatientVerifier:
    """Takes chunks up to a number of them and answers when it is told to."""

    def __init__(self, *, room: int) -> None:
        self.room = room
        self.work: list[tuple[int, int]] = []

    def has_room(self) -> bool:
        return len(self.work) < self.room

    def start(self, ticket: int, jobs: Sequence[SignatureClaim]) -> None:
        self.work.append((ticket, len(jobs)))

    def finished(self, *, wake: int, timeout_s: float | None) -> list[Verdicts]:
        done, self.work = self.work, []
        return [Verdicts(ticket, b"\x01" * jobs) for ticket, jobs in done]

    def close(self) -> None:
        self.work = []


@pytest.fixture
def intake():
    intake = Intake(max_waiting=10_000)
    yield intake
    intake.close()


def admit(admission, intake, network, count):
    raw = network.write()
    for _ in range(count):
        intake.put(raw)
    while len(intake):
        admission.admit(intake.take(128), network.state)
        admission.start_checks()


def test_what_was_submitted_cannot_be_cancelled(intake):
    answer = intake.put(b"raw")
    assert not answer.cancel()
    [submission] = intake.take(1)
    submission.future.set_exception(Unavailable("test.refused", "refused"))
    assert (answer.cancelled(), answer.exception().code) == (False, "test.refused")


def test_the_verifier_is_hungry_until_it_has_work_for_the_time_of_a_block(intl, intake):
    verifier = PatientVerifier(room=1_000)
    admission = Admission(machine=intl.machine, verifier=verifier, intake=intake)
    assert admission.needs_submissions()
    admit(admission, intake, intl, MIN_CHECKED_AHEAD - 1)
    assert admission.needs_submissions()
    admit(admission, intake, intl, 1)
    assert not admission.needs_submissions()
    admission.receive(verifier.finished(wake=intake.wake_descriptor, timeout_s=0))
    assert admission.needs_submissions()
    assert admission.is_ready()


def test_a_verifier_without_room_is_not_hungry(intl, intake):
    """Else a block would wait for what cannot be taken in."""
    verifier = PatientVerifier(room=1)
    admission = Admission(machine=intl.machine, verifier=verifier, intake=intake)
    admit(admission, intake, intl, 1)
    assert not verifier.has_room()
    assert not admission.needs_submissions()


def test_memory_that_runs_out_asks_for_the_same_bytes_again(intl, intake, monkeypatch):  # [LEDGER-SIGN-4]
    admission = Admission(machine=intl.machine, verifier=PatientVerifier(room=10), intake=intake)
    raw = intl.write()

    def fail(*_arguments, **_options):
        raise MemoryError

    refused = intake.put(raw)
    with monkeypatch.context() as patch:
        patch.setattr(cbor2, "loads", fail)
        admission.admit(intake.take(1), intl.state)
    with pytest.raises(Unavailable, match=r"ledger\.tx_undecided"):
        refused.result(timeout=0)
    intake.put(raw)
    admission.admit(intake.take(1), intl.state)
    assert not admission.is_empty()

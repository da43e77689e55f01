"""[EXCHANGE-22]: several processes of a provider on one database make one answer to a request, and count it once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count

import pytest

from consent_world import a_charge
from patience import PATIENCE_S
from shuiqiao.base.errors import Conflict, Denied, Unavailable
from shuiqiao.base.ids import MemberId, Uscc, owned_id
from shuiqiao.consent.model import Frequency, FrequencyUnit
from shuiqiao.exchange.model import AnswerStatus

BANK_A = MemberId("bank-a")
ONE_A_YEAR = Frequency(count=1, unit=FrequencyUnit.YEAR)
_numbers = count(1)


class Case:
    """A request that two processes of the bureau answer: each has a Provider of its own over one database."""

    def __init__(self, world):
        self.world = world
        self.taxpayer = Uscc(f"91440300MA5TWICE{next(_numbers):02d}")
        self.enterprise = world.enterprise(80)
        self.consent = world.granted(self.enterprise, taxpayer=self.taxpayer, frequency=ONE_A_YEAR)
        self.sent = world.asked(self.consent)
        self.name = owned_id(BANK_A, self.sent.request)

    @property
    def kept(self):
        return self.world.provider_store.asked(self.name)

    def in_another_process(self):
        return self.world.provider_with(self.world.vault).answer(self.sent.message)

    def reading(self, act):
        """A provider whose vault does something else before it reads."""
        return self.world.provider_with(Reading(self.world.vault, act))

    def is_next_refused(self):
        with pytest.raises(Denied) as refusal:
            self.world.provider.answer(self.world.asked(self.consent).message)
        return refusal.value.code == "exchange.frequency_exceeded"


class Reading:
    def __init__(self, vault, act):
        self._vault, self._act = vault, act

    def __getattr__(self, name):
        return getattr(self._vault, name)

    def disclose(self, **scope):
        self._act()
        return self._vault.disclose(**scope)


@pytest.fixture
def case(world):
    return Case(world)


def test_an_attempt_that_fails_gives_back_no_place_but_its_own(world, case):
    """Another process answers in the meantime: that answer stays counted."""
    answers = []

    def busy():
        answers.append(case.in_another_process())
        raise Unavailable("vault.busy", "an ingest is at work")

    with pytest.raises(Unavailable, match=r"^vault\.busy"):
        case.reading(busy).answer(case.sent.message)
    world.banks[BANK_A].receive(case.sent.request, answers[0])
    assert case.kept.outcome is AnswerStatus.DELIVERED
    assert [entry.records for entry in world.provider.usage_account(case.taxpayer)] == [case.kept.counts]
    assert case.is_next_refused()


def test_an_attempt_that_comes_late_overwrites_no_answer(world, case):
    answers = []
    late = case.reading(lambda: answers.append(case.in_another_process()))
    with pytest.raises(Unavailable, match=r"^exchange\.request_in_progress"):
        late.answer(case.sent.message)
    assert case.kept.answer_digest == world.entry(case.sent.request)["answer_digest"]
    assert world.provider.answer(case.sent.message) == answers[0] == case.kept.answer


def test_a_process_reads_for_a_request_once_at_a_time(world, case):
    readings = []

    def ask_again():
        readings.append(None)
        if len(readings) == 1:
            with pytest.raises(Unavailable, match=r"^exchange\.request_in_progress"):
                asked_twice.answer(case.sent.message)

    asked_twice = case.reading(ask_again)
    assert asked_twice.answer(case.sent.message) == case.kept.answer
    assert len(readings) == 1


def test_two_that_read_at_the_same_moment_make_one_answer(world, case):
    both = threading.Barrier(2)
    with ThreadPoolExecutor(max_workers=2) as pool:
        outcomes = [
            pool.submit(case.reading(lambda: both.wait(PATIENCE_S)).answer, case.sent.message) for _ in range(2)
        ]
    (refused,) = [outcome.exception() for outcome in outcomes if outcome.exception()]
    (answer,) = [outcome.result() for outcome in outcomes if not outcome.exception()]
    assert refused.code == "exchange.request_in_progress"
    assert world.provider.answer(case.sent.message) == answer
    assert world.banks[BANK_A].receive(case.sent.request, answer).request == case.sent.request


def test_the_place_of_an_attempt_that_died_is_taken_by_the_next(case):
    class PowerCut(BaseException):
        pass

    def die():
        raise PowerCut

    dying = case.reading(die)
    dying._store = KeepsPlaces(dying._store)
    with pytest.raises(PowerCut):
        dying.answer(case.sent.message)
    dead = case.kept
    assert (dead.outcome, dead.answer) == (AnswerStatus.ANSWERING, None)
    assert case.in_another_process() == case.kept.answer
    assert case.kept.attempt != dead.attempt


class KeepsPlaces:
    """The store of a process that dies: nothing is given back."""

    def __init__(self, store):
        self._store = store

    def __getattr__(self, name):
        return getattr(self._store, name)

    def release(self, row):
        pass


def test_a_refusal_overwrites_no_answer_that_another_process_delivered(world, case):
    """[EXCHANGE-20]: a process that holds the kept answer for undelivered refuses it after it left."""
    case.in_another_process()
    kept = case.kept
    held = replace(kept, outcome=AnswerStatus.ANSWERING)
    with pytest.raises(Unavailable, match=r"^exchange\.request_in_progress"):
        world.provider._refuse(held, Denied("consent.revoked", "revoked"))
    assert case.kept == kept
    assert world.entry(case.sent.request)["status"] == "delivered"
    assert case.is_next_refused()


def test_an_answer_that_another_process_refused_does_not_leave(world, case):
    """Between its entry in the ledger and its leaving, another process judged it anew and refused it."""
    slow = world.provider_with(world.vault)
    slow._submitter = RefusedOnItsWay(case, slow._submitter)
    with pytest.raises(Unavailable, match=r"^exchange\.request_in_progress"):
        slow.answer(case.sent.message)
    assert (case.kept.outcome, case.kept.answer) == (AnswerStatus.REFUSED, None)
    with pytest.raises(Conflict, match=r"^exchange\.request_closed"):
        world.provider.answer(case.sent.message)


class RefusedOnItsWay:
    """The way to the ledger of a process that is overtaken while its delivery is entered."""

    def __init__(self, case, submitter):
        self._case, self._submitter = case, submitter

    def __getattr__(self, name):
        return getattr(self._submitter, name)

    def submit(self, kind, body):
        kept = self._case.kept
        committed = self._submitter.submit(kind, body)
        with pytest.raises(Conflict, match=r"^exchange\.step_invalid"):
            self._case.world.provider._refuse(kept, Denied("consent.ceiling_exceeded", "lower by now"))
        return committed


def test_an_attempt_gives_back_nothing_of_the_one_that_took_its_place(world, case):
    store = world.provider_store
    case.in_another_process()
    fields = {"request": owned_id(BANK_A, b"two at one place"), "outcome": AnswerStatus.ANSWERING}
    answered = replace(case.kept, **fields, attempt=b"the second of it")
    second = replace(answered, counts={}, leaves=None, answer=None, answer_digest=None, manifest_digest=None)
    first = replace(second, attempt=b"the first of it.")
    for each in (first, second):
        store.reserve(
            each, since_ms=case.world.clock.now_ms(), verify=len, charge=a_charge(b"two at one place", owner=BANK_A)
        )
    store.release(first)
    assert store.asked(second.request) == second
    store.keep_answer(answered, shown_millibits=None)
    for each in (first, second):
        store.release(each)
    assert store.asked(second.request) == answered

"""Scores that a bank's server and a bureau's compute together, each in a process of its own, and what goes wrong midway.

Whatever it is, it has a code at both ends, no part of a result is left, and both servers go on.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace

import pytest

from absence import absent
from hostile_party import HostileBank
from killed_servers import wait_until
from patience import PATIENCE_S
from sandbox_world import served_story
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.base.ids import system_entropy
from shuiqiao.client.http import new_idempotency_key
from shuiqiao.client.resources.answers import ASK_PROVIDER
from shuiqiao.client.resources.leakage import READ_LEAKAGE, LeakageQuestion
from shuiqiao.client.resources.requests import READ_REQUEST, RequestChoice
from shuiqiao.node.home.keys import read_passphrase
from shuiqiao.node.operations.answers import ask_provider
from shuiqiao.node.server import RunningInstitution
from shuiqiao.node.services import Dependencies
from shuiqiao.privacy.secure.library import require_library
from shuiqiao.privacy.secure.links import SecureLinks
from shuiqiao.sandbox.benchmarks.api_lending import put_in_use
from shuiqiao.sandbox.scenario.consortium import BUREAU, LEAD_BANK
from shuiqiao.sandbox.scenario.modes import SECURE
from shuiqiao.sandbox.servers.modes import let_run, points_asked, score_consent
from shuiqiao.sandbox.servers.parties import Office
from shuiqiao.sandbox.servers.story import enrol

FIRMS = 20


class Between:
    """A bank's secure model at a bureau, and firms of which each is asked for once."""

    def __init__(self, story, bank, bureau):
        self.story, self.bank, self.bureau = story, bank, bureau
        enrol(story, bureau)
        digest = put_in_use(bank, story.data, product=story.data.product)
        self.model = let_run(digest, way=SECURE, bank=bank, bureau=bureau)
        self.firms = iter(story.firms)
        self.asked()

    def asked(self):
        """A request of a firm that was never asked for."""
        self.firm = next(self.firms)
        self.consent = score_consent(self.story, self.firm, bank=self.bank)
        # Once it can log in there, the bank was told of the consent.
        self.firm.at_bank(self.bank.url, self.consent)
        return points_asked(self.story, self.consent, self.model)

    def ask(self, asked):
        """Ask once, without the patience of a person."""
        client = self.bank.person("relationship_manager")
        return client.perform(ASK_PROVIDER, asked, idempotency_key=new_idempotency_key())

    def goes_on(self, asked):
        """The same request is answered; the bureau's account has one answer."""
        told = self.bank.perform("relationship_manager", ASK_PROVIDER, asked)
        assert told.score.points is not None
        assert self.answers() == 1

    def answers(self):
        account = self.bureau.perform(
            "internal_auditor", READ_LEAKAGE, LeakageQuestion(taxpayer=self.firm.applicant.uscc)
        )
        return sum(line.answers for line in account.lines)

    def outcome(self, asked):
        """What a request has come to at the bureau."""
        choice = RequestChoice(sender=LEAD_BANK, request=asked.request)
        found = self.bureau.perform("internal_auditor", READ_REQUEST, choice)
        return found.outcome, found.field_code

    @contextmanager
    def halted(self, asked):
        """Ask while the bureau's worker stands still; inside, the bureau waits for it in the run."""
        worker = self.worker()
        os.kill(worker, signal.SIGSTOP)
        with ThreadPoolExecutor(1) as pool:
            try:
                told = pool.submit(self.ask, asked)
                wait_until(lambda: told.done() or self.is_answering(asked), "the bureau did not take the request up")
                assert not told.done(), told.exception()
                yield told, worker
            finally:
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGCONT)

    def is_answering(self, asked):
        try:
            return self.outcome(asked)[0] == "answering"
        except ShuiqiaoError as error:
            assert error.code == "api.not_found"  # noqa: PT017 - it has not come in yet
            return False

    def have_a_worker(self):
        """An honest score has the link opened, where it is not."""
        self.goes_on(self.asked())

    def worker(self):
        """The bureau's process that computes with the bank."""
        (found,) = workers_of(self.story.sandbox.server(BUREAU).pid)
        return found


def workers_of(server):
    """The processes of a server that compute with others."""
    listed = subprocess.check_output(["ps", "-ww", "-o", "pid=,args=", "--ppid", str(server)], text=True)
    return [int(line.split()[0]) for line in listed.splitlines() if "run_worker" in line]


def code_of(told):
    with pytest.raises(ShuiqiaoError) as refusal:
        told()
    return refusal.value.code


@pytest.fixture(scope="module")
def between(tmp_path_factory):
    try:
        require_library()
    except Unavailable as error:
        absent(error.message)
    folder = tmp_path_factory.mktemp("secure") / "sandbox"
    with (
        served_story(folder, suite="intl", taxpayers=FIRMS) as story,
        Office(story.sandbox, BUREAU, clock=story.clock) as bureau,
        Office(story.sandbox, LEAD_BANK, clock=story.clock) as bank,
    ):
        yield Between(story, bank, bureau)


BROKEN = {"privacy.secure_peer_silent", "privacy.secure_link_missing"}


def test_a_worker_that_is_killed_in_a_run(between):
    """[SECURE-13]"""
    between.have_a_worker()
    asked = between.asked()
    with between.halted(asked) as (told, worker):
        os.kill(worker, signal.SIGKILL)
        assert code_of(told.result) in BROKEN
    # What was begun at the bureau was taken back, with its charge.
    assert (between.is_answering(asked), between.answers()) == (False, 0)
    between.goes_on(asked)


def test_a_bureau_that_is_killed_in_a_run(between):
    """[SECURE-13]"""
    between.have_a_worker()
    asked = between.asked()
    with between.halted(asked) as (told, _):
        between.story.sandbox.server(BUREAU).kill()
        assert code_of(told.result) in {*BROKEN, "client.unreachable", "client.cut_off"}
    server = between.story.sandbox.server(BUREAU)
    server.start()
    server.wait_ready(timeout_s=PATIENCE_S)
    between.goes_on(asked)


def test_a_consent_that_is_revoked_while_both_compute(between):
    """[SECURE-13] [EXCHANGE-20]: the bureau's half is done, and no part of the result leaves."""
    between.have_a_worker()
    asked = between.asked()
    with between.halted(asked) as (told, worker):
        between.firm.revoke(between.consent)
        os.kill(worker, signal.SIGCONT)
        assert code_of(told.result) == "consent.revoked"
    assert (between.outcome(asked), between.answers()) == (("refused", "04"), 0)
    assert code_of(lambda: between.ask(asked)) == "exchange.request_closed"
    between.goes_on(between.asked())


class OtherFunction(SecureLinks):
    """A bank that computes something else than its model says."""

    def run(self, peer, function, values, **named):
        wider = replace(function, indicators=function.indicators + 1)
        return super().run(peer, wider, [0, *values], **named)


class SpoiledMessages(SecureLinks):
    """A bank whose process sends what no CHEETAH sends."""

    def __init__(self):
        super().__init__()
        self._hostile, self._over = HostileBank("cut", honest_frames=0), threading.Event()

    def offer(self, peer):
        return self._hostile.offer

    def connect(self, peer, offer):
        self._hostile.go(offer)

    def is_open(self, peer):
        return False

    def run(self, *_arguments, **_named):
        self._over.wait(PATIENCE_S)
        raise Unavailable("privacy.secure_peer_silent", "it computes nothing")

    def give_up(self, peer):
        self._over.set()

    def close(self):
        self._hostile.end()


@contextmanager
def bank_here(between, links):
    """The bank's home is served by nobody; a bank of this process acts in its name, over links of the test."""
    server = between.story.sandbox.server(LEAD_BANK)
    server.ask_to_end()
    server.wait_ended()
    around = Dependencies(clock=SystemClock(), entropy=system_entropy)
    try:
        passphrase = read_passphrase(server.home.passphrase)
        with RunningInstitution.open(server.home, dependencies=around, passphrase=passphrase) as running:
            running.institution.secure_links = links
            yield running.institution
    finally:
        server.start()
        server.wait_ready(timeout_s=PATIENCE_S)


@pytest.mark.parametrize(
    ("links", "codes"),
    [
        (OtherFunction, {"privacy.secure_function_differs"}),
        (SpoiledMessages, {"privacy.secure_failed", *BROKEN}),
    ],
    ids=["another function", "messages of no protocol"],
)
def test_a_bank_that_keeps_to_no_agreement(between, links, codes):
    """[SECURE-7] [SECURE-8] [SECURE-13]: what the bureau refuses with is what the bank is told."""
    asked = between.asked()
    with bank_here(between, links()) as bank:
        assert code_of(lambda: ask_provider(bank, asked)) in codes
        assert between.answers() == 0
    between.goes_on(between.asked())


def test_an_answer_that_is_replayed(between, monkeypatch):
    """[SECURE-14] [EXCHANGE-10]: it is of its own request; the true one gives the result still."""
    first = between.asked()
    again = points_asked(between.story, between.consent, between.model)
    with bank_here(between, SecureLinks(timeout_s=PATIENCE_S)) as bank:
        came, real = [], bank.provider_at

        class Replaying:
            def __init__(self, provider):
                self._provider = real(provider)

            def ask(self, message):
                came.append(self._provider.ask(message))
                return came[0]

        monkeypatch.setattr(bank, "provider_at", Replaying, raising=False)
        assert ask_provider(bank, first).score.points is not None
        assert code_of(lambda: ask_provider(bank, again)) == "exchange.answer_misdirected"
        monkeypatch.undo()
        assert ask_provider(bank, again).score.points is not None
    assert between.answers() == 2
    between.goes_on(between.asked())

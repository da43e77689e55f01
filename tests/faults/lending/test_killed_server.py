"""A bank's server is killed again and again while applications come in over HTTP: every file ends, nothing is done twice.

[LENDING-10] [LENDING-14]: bureau and bank are processes that reach each other over sockets. ``make test-long`` kills more.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import ExitStack
from decimal import Decimal

import pytest

import consortium_world as worlds
from patience import PATIENCE_S
from peers_world import BUREAU, LEAD_BANK, REGULATOR, PeerNetwork
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.client.http import HttpClient
from shuiqiao.client.resources.applications import (
    HAND_IN,
    LIST_APPLICATIONS,
    READ_APPLICATION,
    ApplicationQuestion,
    ApplicationsQuestion,
    HandedInApplication,
)
from shuiqiao.credit.development import ScoringModel
from shuiqiao.credit.pricing import ChurnCurve
from shuiqiao.credit.scorecard import Scorecard
from shuiqiao.oversight.openings import indexed_transactions

KILLS, APPLICATIONS = (20, 100) if os.environ.get("SHUIQIAO_TEST_LONG") else (2, 10)
PRODUCT = worlds.INVOICE_LOAN.id
STRAIGHT = ["received", "submitted", "requested", "answered", "proven", "assessed", "decided", "handed_in", "closed"]


def prepared(folder):
    """Homes of a consortium whose bank has consents on file and a model that approves; return the consents."""
    world = worlds.ConsortiumWorld(folder, "intl", clock=SystemClock())
    bank = world.bank
    card = Scorecard(name="flat", base_points=worlds.APPROVED_POINTS, features=(), n=1, bad=0)
    model = bank.lending_models.models.keep(
        ScoringModel(card=card, unseeing={}),
        model_card={"metrics": {"auc": "0.7", "auc_ci_95": "0.6 to 0.8", "ks": "0.3"}, "n": 1, "bad": 0},
        as_of=worlds.PERIOD[1],
        developed_ms=1,
    )
    bank.lending_models.use(model, product=PRODUCT)
    bank.products.set_churn(dict.fromkeys("ABC", ChurnCurve(rates=(Decimal("0.03"),), churn=(Decimal(0),))))
    rules = bank.products.in_force(PRODUCT)
    # The records of this world end long before the day on which a server judges.
    without_age = rules.text.replace("max_days_without_sales = 92", "")
    bank.products.change(PRODUCT, without_age, replaces=rules.digest)
    consents = [world.consent() for _ in range(APPLICATIONS)]
    world.close()
    return consents


@pytest.fixture
def network(tmp_path):
    """The bureau's server as a process, the regulator's in this one; the bank's comes and goes."""
    consents = prepared(tmp_path)
    found = PeerNetwork(tmp_path, "intl")
    with found.process(BUREAU), found.here(REGULATOR) as regulator:
        yield found, regulator, consents


def patiently(network, act):
    """Do something at the bank's server, however often that is away."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with HttpClient.at_socket(network.home(LEAD_BANK).socket) as client:
                return act(client)
        except (ShuiqiaoError, OSError):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_every_application_ends_and_none_is_decided_twice_however_often_the_bank_is_killed(network):
    served, regulator, consents = network
    ids = [f"{number:032x}" for number in range(1, APPLICATIONS + 1)]
    handed_in = []

    def hand_in(application, consent):
        wanted = HandedInApplication(application=application, product=PRODUCT, consent=consent, amount_fen=50_000_000)
        patiently(served, lambda client: client.perform(HAND_IN, wanted, idempotency_key=f"hand-in-{application}"))
        handed_in.append(application)

    enterprises = threading.Thread(target=lambda: [hand_in(*each) for each in zip(ids, consents, strict=True)])
    with ExitStack() as stack:
        bank = stack.enter_context(served.process(LEAD_BANK))
        enterprises.start()
        chance = random.Random(7)
        for kill in range(1, KILLS + 1):
            while len(handed_in) < kill * APPLICATIONS // (KILLS + 1):
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.3))
            bank.end(signal.SIGKILL)
            bank = stack.enter_context(served.process(LEAD_BANK))
        enterprises.join()
        files = patiently(served, all_closed)
        deadline = time.monotonic() + PATIENCE_S
        while len(regulator.openings.all()) < APPLICATIONS:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert sorted(file.application for file in files) == ids
    for file in files:
        assert sorted({step.step for step in file.timeline if not step.code}) == sorted(STRAIGHT)
    found = Counter(tx.kind for _, tx in indexed_transactions(regulator.engine, kinds=regulator.kinds))
    once = ("application.submit", "access.request", "access.deliver", "access.acknowledge", "decision.record")
    assert {kind: found[kind] for kind in once} == dict.fromkeys(once, APPLICATIONS)
    assert regulator.opened_decisions().problems == ()


def all_closed(client):
    """Return every file once all of them are closed; raises Unavailable until then."""
    rows = client.perform(LIST_APPLICATIONS, ApplicationsQuestion(status="approved", limit=500)).items
    files = [client.perform(READ_APPLICATION, ApplicationQuestion(application=row.application)) for row in rows]
    if len(files) < APPLICATIONS or any(file.timeline[-1].step != "closed" for file in files):
        raise Unavailable("test.open", "not all files have ended")
    return files

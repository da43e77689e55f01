"""What must reach another member is kept until it has, however long that one is away [PEER-11]."""

from __future__ import annotations

import threading
from itertools import pairwise

import pytest

from patience import PATIENCE_S
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import Denied, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.suites import get_suite
from shuiqiao.node.home.database import open_database
from shuiqiao.node.peers.acts import Nothing
from shuiqiao.node.peers.delivery import (
    MAX_PAUSE_MS,
    MAX_REFUSED_PAUSE_MS,
    Deliveries,
    DeliveryStore,
    waiting_in_words,
)
from shuiqiao.node.peers.message import Act

START_MS = 1_775_000_000_000
BANK, OTHER, REGULATOR = MemberId("bank-east"), MemberId("bank-north"), MemberId("regulator")


class Members:
    """The other members: who is away, what each refuses, what each has."""

    def __init__(self) -> None:
        self.away = set()
        self.refused = {}
        self.broken = set()
        self.has = []
        self.asked = []
        self.arrived = threading.Event()

    def ask(self, member, act, body, *, answer, timeout_s=30.0):
        self.asked.append((member, body))
        if member in self.away:
            raise Unavailable("client.unreachable", f"{member} cannot be reached")
        if body in self.broken:
            raise ZeroDivisionError("a fault of this program")
        if body in self.refused:
            raise Denied(self.refused[body], "not now")
        self.has.append((member, act, body))
        self.arrived.set()
        return Nothing()


class World:
    def __init__(self, folder) -> None:
        self.database = open_database(folder / "shuiqiao.db")
        self.clock = ManualClock(START_MS)
        self.members = Members()
        self.drawn = 0
        self.deliveries = self.open()

    def open(self):
        return Deliveries(
            DeliveryStore(self.database),
            client=self.members,
            suite=get_suite("intl"),
            clock=self.clock,
            entropy=lambda count: self.drawn.to_bytes(count, "big"),
        )

    def send(self, receiver, act, body):
        """Send a message a moment after the last."""
        self.clock.advance(1)
        return self.deliveries.send(receiver, act, body)

    def due(self, receiver):
        return DeliveryStore(self.database).due(receiver, now_ms=self.clock.now_ms(), most=100)

    def close(self):
        self.deliveries.close()
        self.database.dispose()


@pytest.fixture
def world(tmp_path):
    opened = World(tmp_path)
    yield opened
    opened.close()


def test_what_arrived_is_forgotten_and_the_same_again_is_sent_once(world):
    first = world.send(BANK, Act.ARTEFACT, b"one")
    assert world.send(BANK, Act.ARTEFACT, b"one") == first
    assert world.send(BANK, Act.ARTEFACT, b"two") != first
    assert [each.body for each in world.due(BANK)] == [b"one", b"two"]
    assert world.deliveries.count() == 2
    world.deliveries.deliver_due()
    assert world.members.has == [(BANK, Act.ARTEFACT, b"one"), (BANK, Act.ARTEFACT, b"two")]
    assert world.deliveries.waiting() == []


def test_a_receiver_that_is_away_keeps_nobody_else_waiting_and_is_asked_once_a_pause(world):
    world.members.away.add(REGULATOR)
    for body in (b"one", b"two", b"three"):
        world.send(REGULATOR, Act.OPENING, body)
    world.send(BANK, Act.ARTEFACT, b"one")
    world.deliveries.deliver_due()
    assert world.members.has == [(BANK, Act.ARTEFACT, b"one")]
    assert [member for member, _ in world.members.asked].count(REGULATOR) == 1
    waiting = world.deliveries.waiting()
    assert [each.receiver for each in waiting] == [REGULATOR] * 3
    assert world.deliveries.waiting(most=2) == waiting[:2]
    assert world.deliveries.waiting(after=(waiting[0].kept_ms, waiting[0].id)) == waiting[1:]
    assert waiting_in_words(waiting).startswith(f"3 messages wait: 3 for {REGULATOR} (")
    assert waiting_in_words(()) == ""
    told = [each.as_json() for each in waiting if each.attempts]
    assert [(each["code"], each["attempts"]) for each in told] == [("client.unreachable", 1)]
    assert "cannot be reached" in told[0]["reason"]
    world.deliveries.deliver_due()
    assert [member for member, _ in world.members.asked].count(REGULATOR) == 1


@pytest.mark.parametrize(("refuses", "longest_ms"), [(False, MAX_PAUSE_MS), (True, MAX_REFUSED_PAUSE_MS)])
@pytest.mark.parametrize("drawn", [0, 2**32 - 1, 12_345])
def test_pauses_double_up_to_a_bound_and_are_drawn_from_their_upper_half(world, refuses, longest_ms, drawn):
    world.drawn = drawn
    if refuses:
        world.members.refused[b"one"] = "lending.decision_unknown"
    else:
        world.members.away.add(REGULATOR)
    world.send(REGULATOR, Act.OPENING, b"one")
    times = []
    for _ in range(16):
        world.deliveries.deliver_due()
        (waiting,) = world.deliveries.waiting()
        times.append(world.clock.now_ms())
        world.clock.advance(waiting.next_ms - world.clock.now_ms())
    pauses = [later - sooner for sooner, later in pairwise(times)]
    for number, pause in enumerate(pauses):
        whole = min(1_000 << number, longest_ms)
        assert whole // 2 <= pause <= whole
    assert waiting.attempts == 16


def test_what_a_receiver_refuses_keeps_the_rest_from_nothing(world):
    world.members.refused[b"bad"] = "consent.unknown"
    bad = world.send(BANK, Act.ARTEFACT, b"bad")
    world.send(BANK, Act.ARTEFACT, b"good")
    world.deliveries.deliver_due()
    assert world.members.has == [(BANK, Act.ARTEFACT, b"good")]
    (waiting,) = world.deliveries.waiting()
    assert (waiting.id, waiting.code) == (bad, "consent.unknown")
    # Its copy has caught up meanwhile.
    world.members.refused.clear()
    world.clock.advance(waiting.next_ms - world.clock.now_ms())
    world.deliveries.deliver_due()
    assert world.deliveries.waiting() == []


def test_what_nobody_foresaw_holds_up_one_message_and_no_other(world):
    world.members.broken.add(b"bad")
    bad = world.send(BANK, Act.ARTEFACT, b"bad")
    world.deliveries.deliver_due()
    (waiting,) = world.deliveries.waiting()
    assert (waiting.id, waiting.code, waiting.attempts) == (bad, "client.unreachable", 1)
    assert waiting.next_ms > world.clock.now_ms()
    world.send(OTHER, Act.ARTEFACT, b"good")
    world.deliveries.deliver_due()
    assert world.members.has == [(OTHER, Act.ARTEFACT, b"good")]


def test_a_start_goes_on_where_the_last_run_ended(world):
    world.members.away.add(BANK)
    world.send(BANK, Act.ARTEFACT, b"one")
    world.deliveries.deliver_due()
    world.deliveries.close()
    world.members.away.clear()
    world.deliveries = world.open()
    world.clock.advance(MAX_PAUSE_MS)
    world.deliveries.deliver_due()
    assert world.members.has == [(BANK, Act.ARTEFACT, b"one")]


def test_what_waits_of_one_act_is_read_apart(world):
    for act, body in ((Act.ARTEFACT, b"one"), (Act.OPENING, b"two"), (Act.ARTEFACT, b"three")):
        world.send(BANK, act, body)
    assert (sorted(world.deliveries.bodies(Act.ARTEFACT)), world.deliveries.bodies(Act.OPENING)) == (
        [b"one", b"three"],
        [b"two"],
    )


def test_in_the_background_it_is_sent_at_once(world):
    world.deliveries.start()
    world.send(BANK, Act.ARTEFACT, b"one")
    assert world.members.arrived.wait(PATIENCE_S)
    assert world.members.has == [(BANK, Act.ARTEFACT, b"one")]


def test_a_message_can_wait_for_what_it_rests_on(world):
    world.deliveries.send(BANK, Act.ARTEFACT, b"one", pause_ms=10_000)
    world.deliveries.deliver_due()
    assert world.members.asked == []
    world.clock.advance(10_000)
    world.deliveries.deliver_due()
    assert world.members.has == [(BANK, Act.ARTEFACT, b"one")]


def test_a_message_takes_the_place_of_one_that_waits(world):
    kept = world.deliveries.send(BANK, Act.ARTEFACT, b"one", pause_ms=10_000)
    world.deliveries.send(BANK, Act.ARTEFACT, b"two", instead_of=kept)
    assert world.deliveries.bodies(Act.ARTEFACT) == [b"two"]
    again = world.deliveries.send(BANK, Act.ARTEFACT, b"one", pause_ms=10_000)
    world.deliveries.send(BANK, Act.ARTEFACT, b"two", instead_of=again)
    assert world.deliveries.bodies(Act.ARTEFACT) == [b"two"]
    world.clock.advance(10_000)
    world.deliveries.deliver_due()
    assert world.members.has == [(BANK, Act.ARTEFACT, b"two")]


def test_nothing_but_a_person_gives_a_message_up(world):
    world.members.away.add(BANK)
    world.send(BANK, Act.ARTEFACT, b"one")
    world.deliveries.deliver_due()
    (waiting,) = world.deliveries.waiting()
    assert world.deliveries.abandon(waiting.id)
    assert not world.deliveries.abandon(waiting.id)
    assert world.deliveries.waiting() == []

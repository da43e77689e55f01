"""A node raises alarms by itself, and says since when each stands [API-18]."""

from __future__ import annotations

import itertools

import pytest
from structlog.testing import capture_logs

import consortium_world as worlds
from shuiqiao.base.clock import MS_PER_DAY, MS_PER_HOUR, MS_PER_SECOND, ManualClock
from shuiqiao.base.errors import Denied, IntegrityError
from shuiqiao.base.ids import owned_id, system_entropy
from shuiqiao.client.pages import PageQuery
from shuiqiao.exchange.model import DataRequest
from shuiqiao.ledger.checkpoints.note import sign_checkpoint
from shuiqiao.node.jobs.alarms import ALARMS, AlarmKind, alarm_duty, standing
from shuiqiao.node.jobs.runner import JobRunner
from shuiqiao.node.jobs.service import JobService, duty_id
from shuiqiao.node.jobs.store import JobStore
from shuiqiao.node.operations.oversight import list_standing_alarms
from shuiqiao.oversight.watch import ANSWER_MS, LEAST_DECIDED, watch_requests

_DAYS = itertools.count()


class Look:
    """The one duty of an institution that looks for alarms."""

    def __init__(self, institution):
        # Later than any look before, so that the duty is due.
        self.clock = ManualClock(institution.now_ms() + next(_DAYS) * MS_PER_DAY)
        self._store = JobStore(institution.database, cipher=institution.cipher)
        duty = {ALARMS: alarm_duty(institution)}
        more = {"kinds": duty, "clock": self.clock, "entropy": system_entropy}
        service = JobService(self._store, **more)
        self._runner = JobRunner(self._store, service=service, **more)
        service.add_duties()

    def again(self):
        """Let it look once more; return what stands."""
        self.clock.advance(MS_PER_HOUR)
        assert self._runner.run_one()
        job = self._store.job(duty_id(ALARMS))
        assert job.code == ""
        return standing(job.result)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = worlds.ConsortiumWorld(tmp_path_factory.mktemp("watched"), "intl")
    yield made
    made.close()


@pytest.fixture
def forked(tmp_path):
    """A world of its own: its witness signs for this writer no more."""
    made = worlds.ConsortiumWorld(tmp_path / "forked", "intl")
    yield made
    made.close()


def requested(world, consent):
    wanted = DataRequest(consent=consent, items=worlds.ITEMS, period_from=worlds.PERIOD[0], period_to=worlds.PERIOD[1])
    return world.bank.recipient.request(wanted)


def test_a_request_without_an_answer_stands_from_the_first_look_until_it_is_answered(world):
    # What was refused on the day before is told of no more.
    world.clock.advance(2 * MS_PER_DAY)
    sent = requested(world, world.consent())
    name = owned_id(world.bank.member, sent.request)
    bank, others = Look(world.bank), [Look(world.consortium.banks[each]) for each in worlds.BANKS[1:]]
    assert bank.again() == []
    world.clock.advance(ANSWER_MS + MS_PER_SECOND)
    [found] = bank.again()
    assert (found.kind, found.about, found.since_ms) == (AlarmKind.REQUEST_UNANSWERED, name, world.clock.now_ms())
    assert "has not answered since" in found.says
    world.clock.advance(MS_PER_SECOND)
    assert bank.again() == [found]
    world.regulator.catch_up_with(world.bureau)
    assert [each.about for each in Look(world.regulator).again()] == [name]
    for other, institution in zip(others, worlds.BANKS[1:], strict=True):
        world.consortium.banks[institution].catch_up_with(world.bureau)
        assert other.again() == []

    [told] = list_standing_alarms(world.bank, PageQuery()).items
    assert (told.kind, told.about, told.says_zh) == ("request_unanswered", name, "请求逾时未答复")
    world.bureau.provider.answer(sent.message)
    world.bank.catch_up_with(world.bureau)
    assert bank.again() == []
    assert list_standing_alarms(world.bank, PageQuery()).items == ()


def test_a_provider_that_refuses_most_of_what_it_is_asked_is_named(world):
    consent = world.consent()
    look = Look(world.bureau)

    def ask(times):
        for _ in range(times):
            sent = requested(world, consent)
            try:
                world.bureau.provider.answer(sent.message)
            except Denied as error:
                assert error.code == "exchange.frequency_exceeded"  # noqa: PT017 - the first four are answered

    ask(LEAST_DECIDED // 2)
    assert look.again() == []
    ask(LEAST_DECIDED // 2)
    [found] = look.again()
    assert (found.kind, found.about) == (AlarmKind.REFUSAL_RATE, world.bureau.member)
    now_ms = world.bureau.now_ms()
    [rate] = watch_requests(world.bureau.engine, decode=world.bureau.decode, now_ms=now_ms).refusing
    assert found.says == f"{rate.refused} of {rate.decided} requests of a day were refused"
    later = watch_requests(world.bureau.engine, decode=world.bureau.decode, now_ms=now_ms + 30 * MS_PER_HOUR)
    assert later.refusing == ()


def test_a_clock_behind_the_newest_block_is_told(tmp_path):
    home = worlds.solo_home(tmp_path / "home")
    with worlds.open_solo(home, ManualClock(worlds.NOW_MS + MS_PER_HOUR)) as bureau:
        bureau.outbox.submit("anchor.commit", worlds.anchor_body(b"\x01" * 16))
    with worlds.open_solo(home, ManualClock(worlds.NOW_MS)) as bureau:
        [found] = Look(bureau).again()
        assert (found.kind, found.about) == (AlarmKind.CLOCK, bureau.member)
        assert "this machine's clock shows" in found.says


def test_a_fork_that_a_witness_saw_stands_and_goes_onto_the_ledger_once(forked, monkeypatch):
    bureau, regulator = forked.bureau, forked.regulator
    policy = regulator.parameters.policy
    size, origin = bureau.engine.checkpoint().size, policy.origin
    regulator.catch_up_with(bureau)
    real = bureau.engine.confirmed()
    regulator.witness.cosign(real.note, old_size=regulator.witness.witnessed_size(origin), proof=())
    false = sign_checkpoint(origin=origin, size=size, root=b"\x01" * 32, key=bureau.keys.signing, suite=bureau.suite)
    with pytest.raises(IntegrityError) as caught:
        regulator.witness.cosign(false.note, old_size=regulator.witness.witnessed_size(origin), proof=())
    assert caught.value.code == "ledger.fork_detected"

    look = Look(regulator)
    with monkeypatch.context() as away:
        away.setattr(regulator.outbox, "_engine", worlds.LossyEngine(regulator.engine, reaches_the_ledger=False))
        for _ in range(3):
            assert AlarmKind.FORK in {each.kind for each in look.again()}
        assert [row.kind for row in regulator.outbox.rows()] == ["oversight.alarm"]
    for _ in range(2):
        [found] = [each for each in look.again() if each.kind is AlarmKind.FORK]
        assert found.about == bureau.member
    assert regulator.outbox.rows() == []
    accused = [tx for tx in map(regulator.decode, forked.transactions()) if tx.kind == "oversight.alarm"]
    assert [(tx.author, tx.body.accused, tx.body.subject) for tx in accused] == [
        (regulator.member, bureau.member, "fork")
    ]


def test_a_part_that_failed_at_a_block_is_told_until_the_node_is_started_again(tmp_path):
    def deaf(block, _events):
        raise OSError(f"no room for block {block.height}")

    with worlds.open_solo(worlds.solo_home(tmp_path / "home"), ManualClock(worlds.NOW_MS)) as node:
        bureau = Look(node)
        assert bureau.again() == []
        node.engine.subscribe(deaf)
        node.outbox.submit("anchor.commit", worlds.anchor_body(b"\x01" * 16))
        # Listeners are called after the answer; once the next block is there, they were told of the one before.
        node.outbox.submit("anchor.commit", worlds.anchor_body(b"\x02" * 16))
        with capture_logs() as logged:
            [failed] = bureau.again()
            [still] = bureau.again()
    assert failed.kind is still.kind is AlarmKind.BLOCK_NOT_TAKEN_IN
    assert failed.about.endswith("deaf")
    assert failed.says.startswith("OSError at block ")
    # What it said of itself may hold anything, so it is told nowhere.
    assert "no room" not in failed.says
    assert [line["code"] for line in logged if line["event"] == "alarm.raised"] == ["block_not_taken_in"]

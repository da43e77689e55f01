"""[EXCHANGE-20]: an answer that was kept leaves again only while it may be given now."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest
from sqlalchemy import text

from shuiqiao.base.clock import MS_PER_DAY, MS_PER_HOUR, ManualClock
from shuiqiao.base.errors import Conflict, Denied, IntegrityError, Unavailable
from shuiqiao.base.ids import MemberId, Uscc, owned_id
from shuiqiao.consent import ceilings
from shuiqiao.consent.model import FieldCode, Mode, Purpose, field_code
from shuiqiao.exchange.contract import DELIVER, KINDS, AccessDeliverBody
from shuiqiao.exchange.model import AnswerStatus
from shuiqiao.ledger.model import BlockContext

BUREAU, BANK_A = MemberId("bureau"), MemberId("bank-a")
_numbers = count(1)


class StopsBeforeDelivery:
    """A way to the ledger whose process ends when the answer is to be entered."""

    def __init__(self, world):
        self._world = world

    def __getattr__(self, name):
        return getattr(self._world.submitters[BUREAU], name)

    def submit(self, kind, body, *, extra_keys=()):
        raise ConnectionAbortedError(kind)


class OnACopy:
    """A bureau's way to a ledger that somebody else writes."""

    def __init__(self, world):
        self._world = world

    def __getattr__(self, name):
        return getattr(self._world.submitters[BANK_A if name == "require_recent" else BUREAU], name)


class Case:
    """A request, its consent, and an answer that the bureau keeps: delivered, or not yet entered in the ledger."""

    def __init__(self, world, *, is_delivered):
        self.world = world
        self.enterprise = world.enterprise(70)
        taxpayer = Uscc(f"91440300MA5AGAIN{next(_numbers):02d}")
        self.consent = world.granted(self.enterprise, taxpayer=taxpayer)
        self.sent = world.asked(self.consent)
        if is_delivered:
            self.answer = world.provider.answer(self.sent.message)
        else:
            self._keep_only()

    def _keep_only(self):
        crashing = self.world.provider_with(self.world.vault)
        crashing._submitter = StopsBeforeDelivery(self.world)
        with pytest.raises(ConnectionAbortedError):
            crashing.answer(self.sent.message)
        self.answer = self.kept.answer

    @property
    def kept(self):
        return self.world.provider_store.asked(owned_id(BANK_A, self.sent.request))

    @property
    def status(self):
        return self.world.entry(self.sent.request)["status"]

    def again(self):
        return self.world.provider.answer(self.sent.message)

    def control(self, act, **more):
        now_ms = self.world.clock.now_ms()
        statement = getattr(self.enterprise, act)(self.consent, now_ms=now_ms, **more)
        self.world.consents.relay(statement.raw)
        return statement.id


@pytest.fixture(params=[True, False], ids=["delivered", "kept"])
def case(world, request):
    return Case(world, is_delivered=request.param)


@pytest.fixture
def suspended(world, monkeypatch):
    """Close the gates of members, as a vote or a regulator does, for as long as a test lasts."""
    state = world.ledger.state
    closed = {}

    class Gated:
        def __init__(self, inner):
            self._inner = inner

        def get(self, key):
            return closed.get(key) or self._inner.get(key)

    monkeypatch.setattr(world.ledger, "state", lambda: Gated(state()))
    return lambda key: closed.update({key: {"until_ms": 0}})


def expect_refusal(case, code):
    was_delivered = case.status == "delivered"
    with pytest.raises(Denied) as refusal:
        case.again()
    assert refusal.value.code == code
    assert case.status == ("delivered" if was_delivered else "refused")
    kept = case.kept
    if was_delivered:
        assert (kept.outcome, kept.answer) == (AnswerStatus.DELIVERED, case.answer)
    else:
        assert (kept.outcome, kept.answer) == (AnswerStatus.REFUSED, None)
        assert kept.field_code == str(field_code(refusal.value))
        assert kept.taxpayer is not None


def test_the_same_request_gets_the_kept_answer_while_it_may(case):
    assert case.again() == case.answer == case.again()
    assert (case.status, case.kept.outcome) == ("delivered", AnswerStatus.DELIVERED)


@pytest.mark.parametrize(("act", "code"), [("revoke", "consent.revoked"), ("pause", "consent.paused")])
def test_nothing_leaves_after_a_withdrawal(case, act, code):
    case.control(act)
    expect_refusal(case, code)


def test_nothing_leaves_after_the_window(world, case):
    world.clock.advance(61 * MS_PER_DAY)
    expect_refusal(case, "consent.expired")


def test_a_paused_consent_that_goes_on_gives_the_same_answer(world):
    case = Case(world, is_delivered=True)
    pause = case.control("pause")
    with pytest.raises(Denied, match=r"^consent\.paused"):
        case.again()
    case.control("resume", pause=pause)
    assert case.again() == case.answer


def test_what_was_delivered_leaves_again_only_on_a_recent_copy(world):
    """A bureau that is cut off knows of no withdrawal, and the ledger is not asked again for what was delivered."""
    case = Case(world, is_delivered=True)
    follower = world.provider_with(world.vault)
    follower._submitter = OnACopy(world)
    world.clock.advance(MS_PER_HOUR + 1_000)
    with pytest.raises(Unavailable, match=r"^ledger\.copy_old") as refusal:
        follower.answer(case.sent.message)
    assert refusal.value.retry_after_s
    assert (case.status, case.kept.answer) == ("delivered", case.answer)
    # Who writes the ledger has every block that there is.
    assert case.again() == case.answer
    world.asked(case.consent)
    assert follower.answer(case.sent.message) == case.answer


def test_what_was_not_delivered_yet_asks_the_ledger_itself(world):
    case = Case(world, is_delivered=False)
    world.clock.advance(MS_PER_DAY)
    assert case.again() == case.answer
    assert case.status == "delivered"


def test_a_clock_that_is_behind_the_newest_block_prolongs_no_window(world, monkeypatch):
    """[LEDGER-TIME-3]"""
    case = Case(world, is_delivered=True)
    started_ms = world.clock.now_ms()
    world.clock.advance(61 * MS_PER_DAY)
    world.granted(world.enterprise(73), taxpayer=Uscc("91440300MA5LATER01"))
    monkeypatch.setattr(world.submitters[BUREAU], "_clock", ManualClock(started_ms))
    with pytest.raises(Denied, match=r"^consent\.expired"):
        case.again()


def test_nothing_leaves_for_a_suspended_bank(case, suspended):
    suspended("gate/member/bank-a")
    expect_refusal(case, "exchange.recipient_suspended")


def test_a_suspended_bank_is_refused_before_anything_is_read(world, suspended):
    sent = world.asked(world.granted(world.enterprise(71), taxpayer=Uscc("91440300MA5SUSPEND")))
    suspended("gate/member/bank-a")
    with pytest.raises(Denied, match=r"^exchange\.recipient_suspended.*bank-a") as refusal:
        world.provider.answer(sent.message)
    assert field_code(refusal.value) is FieldCode.FAILED
    assert world.entry(sent.request)["status"] == "refused"


@pytest.mark.parametrize("gate", ["gate/member/bureau", "gate/network"])
def test_nothing_leaves_a_suspended_bureau_or_a_frozen_network(case, suspended, gate):
    """No withdrawal could reach the ledger then; the request stays as it is, to be sent again."""
    status = case.status
    suspended(gate)
    with pytest.raises(Unavailable, match=r"^exchange\.provider_stopped"):
        case.again()
    assert (case.status, case.kept.answer) == (status, case.answer)


def test_nothing_leaves_beyond_a_ceiling_that_is_lower_now(case, monkeypatch):
    lower = replace(ceilings.CEILINGS[Purpose.UNDERWRITING], max_period_months=12)
    monkeypatch.setitem(ceilings.CEILINGS, Purpose.UNDERWRITING, lower)
    expect_refusal(case, "consent.ceiling_exceeded")


def test_nothing_leaves_in_a_mode_that_the_purpose_no_longer_allows(case, monkeypatch):
    lower = replace(ceilings.CEILINGS[Purpose.UNDERWRITING], modes=frozenset({Mode.PROVE}))
    monkeypatch.setitem(ceilings.CEILINGS, Purpose.UNDERWRITING, lower)
    expect_refusal(case, "consent.ceiling_exceeded")


def test_the_ledger_takes_no_delivery_to_a_suspended_bank(world, suspended):
    """[EXCHANGE-2]: whatever the bureau's own check says."""
    sent = world.asked(world.granted(world.enterprise(72), taxpayer=Uscc("91440300MA5NOLEDGR")))
    body = AccessDeliverBody(request=owned_id(BANK_A, sent.request), answer_digest=bytes(32), manifest_digest=bytes(32))
    raw = world.signed(DELIVER, body, author=BUREAU, keys=[world.signing[BUREAU]])
    kind = next(kind for kind in KINDS if kind.name == DELIVER)
    now = BlockContext(height=1, time_ms=world.clock.now_ms())
    tx = world.submitters[BUREAU].decode(raw)
    assert kind.check(tx, world.ledger.state(), now) is None
    suspended("gate/member/bank-a")
    with pytest.raises(Denied, match=r"^exchange\.recipient_suspended"):
        kind.check(tx, world.ledger.state(), now)


@pytest.mark.parametrize("lost", ["answer_digest", "manifest_digest"])
def test_a_kept_answer_that_is_incomplete_is_never_sent(case, lost):
    """[EXCHANGE-18]: damage in the provider's database."""
    with case.world.databases[BUREAU].begin() as connection:
        where = {"request": case.kept.request}
        connection.execute(text(f"UPDATE exchange_asked SET {lost} = NULL WHERE request = :request"), where)
    status = case.status
    with pytest.raises(IntegrityError, match=r"^exchange\.answer_lost.*incomplete"):
        case.again()
    assert status == case.status


def test_a_request_meant_for_another_provider_is_not_answered(world):
    """[EXCHANGE-5]: the ledger's entry names the consent's provider; this one is not it."""
    case = Case(world, is_delivered=True)
    other = world.provider_with(world.vault)
    other._submitter = AnotherMember(world)
    with pytest.raises(Denied, match=r"^exchange\.request_unpaired.*provider"):
        other.answer(case.sent.message)


class AnotherMember:
    """The way to the ledger of a bureau that is not the one asked."""

    member = MemberId("bureau-2")

    def __init__(self, world):
        self._world = world

    def __getattr__(self, name):
        return getattr(self._world.submitters[BUREAU], name)


def test_an_answer_lost_after_delivery_is_not_made_anew(world):
    """[EXCHANGE-18]: the ledger holds the digest of the first; a second one would contradict it."""
    case = Case(world, is_delivered=True)
    world.provider_store.drop_answer(owned_id(BANK_A, case.sent.request))
    with pytest.raises(Conflict, match=r"^exchange\.request_closed.*delivered"):
        case.again()


def test_a_delivery_is_entered_once(world):
    """[EXCHANGE-2]"""
    case = Case(world, is_delivered=True)
    body = AccessDeliverBody(
        request=owned_id(BANK_A, case.sent.request), answer_digest=bytes(32), manifest_digest=bytes(32)
    )
    with pytest.raises(Conflict, match=r"^exchange\.step_invalid"):
        world.submitters[BUREAU].submit(DELIVER, body)


def test_an_answer_leaves_unchanged_after_its_provider_replaced_the_key(world, case):
    """[MEMBER-26]: the ledger records it, if need be by an entry that the new key signs, and so the bank reads it."""
    world.rotate(BUREAU)
    assert case.again() == case.answer
    assert world.banks[BANK_A].receive(case.sent.request, case.answer).request == case.sent.request

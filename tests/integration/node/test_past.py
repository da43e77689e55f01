"""What held at a moment gone by, from a home, with proofs, and for the callers of a server."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

import consortium_world as worlds
from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.exchange.model import RequestStatus
from shuiqiao.ledger.checkpoints.signed_note import read_checkpoint
from shuiqiao.node.home.ledger_folder import LedgerFolder
from shuiqiao.node.past import AskedMoment, PastReader, moment_of, past_of_folder, prove_rows, told_members
from shuiqiao.node.published.verification import ReceiptVerifier
from shuiqiao.oversight.as_of import Moment, Subject
from shuiqiao.sandbox.scenario.consortium import BUREAU, REGULATOR, home_of


@pytest.fixture(scope="module")
def story(tmp_path_factory):
    """A network closed after three days: a consent and an answer, a pause, and the end of the consent."""
    folder = tmp_path_factory.mktemp("past")
    world = worlds.ConsortiumWorld(folder, "intl")
    moments = {}

    def keep(name):
        note = world.bureau.engine.confirmed()
        moments[name] = (world.clock.now_ms(), note)
        (folder / f"{name}.note").write_bytes(note.note)

    consent = world.consent(validity_ms=3 * MS_PER_DAY)
    request = world.evidence(consent)
    keep("answered")
    world.clock.advance(MS_PER_DAY)
    later = world.consent(world.other_bank)
    keep("later")
    world.clock.advance(4 * MS_PER_DAY)
    world.consent(world.other_bank)
    keep("expired")
    bank, other = world.bank.member, world.other_bank.member
    world.close()
    told = {"folder": folder, "consent": consent, "later": later, "request": request, "moments": moments}
    return told | {"bank": bank, "other": other}


def ledger_of(story, member=BUREAU):
    return LedgerFolder.of_home(home_of(story["folder"], member))


def now_ms(story):
    return story["moments"]["expired"][0]


def at(story, text, member=BUREAU):
    return past_of_folder(ledger_of(story, member), AskedMoment.from_text(str(text), now_ms=now_ms(story)))


def ids(past, subject, about=""):
    return [row.id for row in past.rows(subject, about=about)]


@pytest.mark.parametrize("member", [BUREAU, REGULATOR])
def test_what_was_live_and_given_is_told_as_of_a_checkpoint(story, member):
    size = story["moments"]["answered"][1].size
    past = at(story, size, member)
    assert (past.size, past.root) == (size, story["moments"]["answered"][1].root)
    assert ids(past, Subject.CONSENTS) == [story["consent"]]
    assert ids(past, Subject.CONSENTS, about=story["other"]) == []
    [given] = past.rows(Subject.GIVEN, about=story["bank"])
    assert (given.status, given.detail["consent"]) == (RequestStatus.ACKNOWLEDGED, story["consent"])
    anchored = {row.detail["standard"].partition("@")[0] for row in past.rows(Subject.ANCHORS)}
    assert "tax_credit_grade" in anchored
    assert {BUREAU, REGULATOR} <= {row["member"] for row in told_members(past)}


def test_a_day_is_looked_at_to_its_end_and_a_consent_expires_by_block_time(story):
    def day(name):
        return datetime.fromtimestamp(story["moments"][name][0] / 1000, tz=UTC).date()

    assert ids(at(story, day("answered")), Subject.CONSENTS) == [story["consent"]]
    assert ids(at(story, day("later")), Subject.CONSENTS) == [story["consent"], story["later"]]
    expired = at(story, day("expired"))
    assert (story["consent"] in ids(expired, Subject.CONSENTS), story["later"] in ids(expired, Subject.CONSENTS)) == (
        False,
        True,
    )
    assert len(ids(expired, Subject.GIVEN)) == 1


def test_a_consent_stands_as_its_window_says_though_no_block_came_since(story):
    begun = story["moments"]["later"][0]
    day = datetime.fromtimestamp((begun + 2 * MS_PER_DAY) / 1000, tz=UTC).date()
    asked = AskedMoment.from_text(day.isoformat(), now_ms=begun + 4 * MS_PER_DAY)
    past = past_of_folder(ledger_of(story), asked)
    assert past.time_ms <= begun, "nothing was written since"
    assert (story["consent"] in ids(past, Subject.CONSENTS), story["later"] in ids(past, Subject.CONSENTS)) == (
        False,
        True,
    )
    [waiting] = past.rows(Subject.CONSENTS)
    before = past.judged(Moment(judged_ms=begun))
    assert set(ids(before, Subject.CONSENTS)) == {story["consent"], waiting.id}
    assert past.judged(asked.moment) is past


def test_a_day_to_come_and_a_member_that_is_none_are_refused(story):
    today = datetime.fromtimestamp(now_ms(story) / 1000, tz=UTC).date()
    tomorrow = today + timedelta(days=1)
    with pytest.raises(ShuiqiaoError, match=r"^oversight\.day_not_over") as caught:
        at(story, tomorrow)
    assert (tomorrow.isoformat() in caught.value.message, today.isoformat() in caught.value.message) == (True, True)
    with pytest.raises(ShuiqiaoError, match=r"^oversight\.day_not_over"):
        moment_of(day=tomorrow.isoformat(), size=None, now_ms=now_ms(story))
    with pytest.raises(ShuiqiaoError, match=r"^oversight\.day_before_network"):
        at(story, date(2020, 1, 1))
    past = at(story, today)
    past.require_member(story["bank"])
    with pytest.raises(ShuiqiaoError, match=r"^members\.unknown"):
        past.require_member("nobody")


def test_a_kept_checkpoint_is_compared_and_its_state_proven(story, tmp_path):
    ledger = ledger_of(story)
    asked = AskedMoment.from_text(str(story["folder"] / "answered.note"), now_ms=now_ms(story))
    past = past_of_folder(ledger, asked)
    rows = [*past.rows(Subject.CONSENTS), *past.rows(Subject.GIVEN)]
    verifier = ReceiptVerifier.from_genesis(genesis=home_of(story["folder"], BUREAU).genesis, home=None)
    for row, data in prove_rows(ledger, rows, known=asked.known):
        found = verifier.verify(data)
        assert (found.index, found.checkpoint.size) == (row.index, asked.known.size)
        assert row.keys[0] in {claim.key for claim in found.state if claim.value is not None}
    for _, data in prove_rows(ledger, rows, known=None):
        assert verifier.verify(data).checkpoint.size == story["moments"]["expired"][1].size
    forged = read_checkpoint(asked.known.note)
    other = asked.known.note.replace(b"\n%d\n" % forged.size, b"\n%d\n" % story["moments"]["later"][1].size)
    (tmp_path / "forged").write_bytes(other)
    with pytest.raises(ShuiqiaoError, match=r"^ledger\.pin_contradicted"):
        past_of_folder(ledger, AskedMoment.from_text(str(tmp_path / "forged"), now_ms=now_ms(story)))


@pytest.mark.parametrize(
    ("text", "code"),
    [("2026-13-40", "node.moment_unclear"), ("yesterday", "node.moment_unclear"), ("3", "ledger.size_unknown")],
)
def test_a_moment_that_is_none_is_refused(story, text, code):
    with pytest.raises(ShuiqiaoError) as caught:
        at(story, text)
    assert caught.value.code == code


def test_a_server_keeps_the_last_answer_until_the_log_has_more_of_that_moment(tmp_path):
    home = worlds.solo_home(tmp_path / "home")
    clock = worlds.ManualClock(worlds.NOW_MS + 1000)
    with worlds.open_solo(home, clock) as node:
        reader = PastReader(node.engine, parameters=node.parameters)
        node.outbox.submit("anchor.commit", worlds.anchor_body(bytes(16)))
        today = Moment.of_day(datetime.fromtimestamp(clock.now_ms() / 1000, tz=UTC).date(), now_ms=clock.now_ms())
        first = reader.at(today)
        assert reader.at(today) is first
        node.outbox.submit("anchor.commit", worlds.anchor_body(bytes([1] * 16)))
        second = reader.at(today)
        assert (first.height, second.height) == (1, 2)
        assert [row.status for row in second.rows(Subject.ANCHORS)] == ["live", "live"]
        clock.advance(2 * MS_PER_DAY)
        node.outbox.submit("anchor.commit", worlds.anchor_body(bytes([2] * 16)))
        assert reader.at(today) is second

"""What a review says of real homes: it changes with what is looked at, and what cannot be read is not called met."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest

import consortium_world as worlds
from shuiqiao.base.clock import MS_PER_DAY, ManualClock
from shuiqiao.base.errors import Unavailable
from shuiqiao.client.wire import Nothing
from shuiqiao.node.auditing import audit_institution
from shuiqiao.node.home_reader import read_home
from shuiqiao.node.obligations.checks import CHECKS, MAX_DISPUTE_MS, MAX_KEY_AGE_MS, Facts
from shuiqiao.node.obligations.review import Standing, review_obligations
from shuiqiao.node.operations.audits import review, review_at


@pytest.fixture(scope="module")
def settled(world):
    """The world after one whole journey."""
    world.decided()
    for member in world.consortium.followers:
        member.catch_up_with(world.bureau)
    return world


def facts_of(institution):
    return Facts(
        copy=institution,
        report=audit_institution(institution),
        database=lambda: nullcontext(institution.database),
        cipher=lambda _database: institution.cipher,
    )


def unmet(institution):
    return {each.id for each in review(institution, Nothing()).obligations if each.standing != "met"}


def test_unmet_rules_come_first_and_each_institution_has_those_that_bind_it(settled):
    found = {
        member.member: review_obligations(facts_of(member))
        for member in (settled.bureau, settled.bank, settled.regulator)
    }
    for rows in found.values():
        standings = [each.standing for each in rows]
        assert standings == sorted(standings, key=[*Standing].index)
    names = [{each.obligation.id for each in rows} for rows in found.values()]
    assert ("complaints" in names[0], "destruction" in names[0]) == (True, False)
    assert ("complaints" in names[1], "destruction" in names[1]) == (False, True)
    assert names[2] == names[0] & names[1]


def test_a_bank_with_no_users_and_no_backup_meets_the_rest(settled):
    expected = {"fault_tolerance", "two_people", "backup", "assessment_before_sharing"}
    assert unmet(settled.bank) - {"national_cryptography"} == expected
    assert ("national_cryptography" in unmet(settled.bank)) is (settled.bank.settings.suite == "intl")


def test_consents_requests_and_destructions_are_counted_from_the_log(settled):
    found = CHECKS["consent"](facts_of(settled.bank))
    kinds = [settled.bureau.decode(raw).kind for raw in settled.transactions()]
    assert f"{kinds.count('access.request')} requests" in found.evidence
    assert f"{kinds.count('consent.grant')} consents" in found.evidence


def test_an_audit_that_finds_something_leaves_integrity_and_consent_unmet(settled):
    sound = facts_of(settled.bank)
    damaged = replace(sound, report=replace(sound.report, problems=("block 3: root",), codes=("",)))
    for name in ("integrity", "consent"):
        assert (CHECKS[name](sound).is_met, CHECKS[name](damaged).is_met) == (True, False)


def test_a_key_in_use_for_longer_than_a_year_and_a_dispute_that_waits_are_unmet_by_the_clock(tmp_path):
    clock = ManualClock(worlds.NOW_MS)
    home = worlds.solo_home(tmp_path / "home", clock=clock)
    with worlds.open_solo(home, clock) as bureau:
        facts = facts_of(bureau)
        assert CHECKS["key_age"](facts).is_met
        clock.advance(MAX_KEY_AGE_MS + MS_PER_DAY)
        assert not CHECKS["key_age"](facts).is_met
        assert CHECKS["disputes"](facts).is_met
    assert MAX_DISPUTE_MS == 15 * MS_PER_DAY


def test_what_cannot_be_read_is_unseen_and_not_met(settled):
    def away():
        raise Unavailable("node.database_missing", "the database is gone")

    rows = review_obligations(replace(facts_of(settled.bank), database=away))
    unseen = {each.obligation.id for each in rows if each.standing is Standing.UNSEEN}
    assert unseen == {
        "computation_evidence",
        "access_journal",
        "two_people",
        "second_factor",
        "destruction",
        "assessment_before_sharing",
        "incidents",
    }


def test_a_home_that_lies_still_is_reviewed_by_its_files(tmp_path):
    clock = ManualClock(worlds.NOW_MS)
    home = worlds.solo_home(tmp_path / "home", clock=clock)
    with worlds.open_solo(home, clock) as bureau:
        at_work = unmet(bureau)
    with read_home(home) as reader:
        read = {each.id for each in review_at(reader, Nothing()).obligations if each.standing != "met"}
    assert at_work - {"confidentiality_at_rest", "key_rotation"} == read - {"confidentiality_at_rest", "key_rotation"}

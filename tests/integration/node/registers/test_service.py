"""The registers on both databases: what is entered stays, what is late is told, and sharing waits for an assessment."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from accounts_world import NOW_MS
from shuiqiao.base.clock import MS_PER_DAY, MS_PER_HOUR
from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.node.registers.model import (
    COMPLAINT_MS,
    MAX_ASSESSMENT_MS,
    MAX_WORDS,
    REPORT_WITHIN_MS,
    Finding,
    RegisterKind,
    Severity,
)

BANK, OTHER = "first-bank", "second-bank"
GOOD = Finding.ACCEPTABLE
SECRET = "张三的笔记本电脑被盗"


def test_entries_stand_in_their_order_and_what_they_say_is_encrypted(world):
    registers = world.registers
    made = [
        registers.assess(BANK, finding=GOOD, words="scores at source", until_ms=NOW_MS + MS_PER_DAY),
        registers.report_incident(severity=Severity.MAJOR, words=SECRET, found_ms=NOW_MS - MS_PER_HOUR),
        registers.complain(words="a call about taxes"),
    ]
    assert [1, 2, 3] == [entry.seq for entry in made]
    assert [(*RegisterKind,)] == [tuple(entry.kind for entry in made)]
    assert made == registers.entries(after=0, most=9)
    assert made[1:2] == registers.entries(after=1, most=1)
    closed = registers.close(2, words=f"{SECRET} 已报告")
    assert (closed.closed_ms, closed.outcome, closed.words) == (NOW_MS, f"{SECRET} 已报告", SECRET)
    assert closed in registers.entries(after=0, most=9)
    with world.database.connect() as connection:
        stored = connection.execute(text("SELECT words, outcome FROM node_register")).all()
    assert len(stored) == 3
    assert not any(SECRET.encode() in bytes(value) for row in stored for value in row if value is not None)


def test_an_entry_is_closed_once_and_one_that_is_not_there_never(world):
    world.registers.complain(words="x")
    world.registers.close(1, words="answered")
    with pytest.raises(Conflict, match=r"^node\.register_closed"):
        world.registers.close(1, words="otherwise")
    assert "answered" == world.store.entry(1).outcome
    with pytest.raises(InvalidInput, match=r"^node\.register_unknown"):
        world.registers.close(2, words="answered")


@pytest.mark.parametrize("severity", Severity)
def test_an_incident_is_overdue_once_the_time_of_its_severity_is_over_until_it_is_reported(world, severity):
    world.registers.report_incident(severity=severity, words="x", found_ms=NOW_MS)
    world.clock.advance(REPORT_WITHIN_MS[severity])
    assert world.registers.overdue() == []
    world.clock.advance(1)
    [entry] = world.registers.overdue()
    assert (entry.grade, entry.due_ms) == (severity, NOW_MS + REPORT_WITHIN_MS[severity])
    world.registers.close(entry.seq, words="reported")
    assert world.registers.overdue() == []


def test_a_complaint_is_overdue_after_15_days_and_an_assessment_never(world):
    world.registers.complain(words="x")
    world.registers.assess(BANK, finding=GOOD, words="x", until_ms=NOW_MS + MS_PER_DAY)
    world.clock.advance(COMPLAINT_MS)
    assert world.registers.overdue() == []
    world.clock.advance(1)
    assert [RegisterKind.COMPLAINT] == [entry.kind for entry in world.registers.overdue()]


def test_a_member_is_assessed_from_a_good_finding_to_its_end_or_its_withdrawal(world):
    registers = world.registers
    registers.assess(OTHER, finding=Finding.UNACCEPTABLE, words="x", until_ms=NOW_MS + MS_PER_DAY)
    assert [False, False] == [registers.is_assessed(member) for member in (BANK, OTHER)]
    first = registers.assess(BANK, finding=GOOD, words="x", until_ms=NOW_MS + MS_PER_DAY)
    assert [True, False] == [registers.is_assessed(member) for member in (BANK, OTHER)]
    world.clock.advance(MS_PER_DAY)
    assert registers.is_assessed(BANK)
    world.clock.advance(1)
    assert not registers.is_assessed(BANK)
    again = registers.assess(BANK, finding=GOOD, words="x", until_ms=world.clock.now_ms() + MS_PER_DAY)
    assert (first.seq, registers.is_assessed(BANK)) != (again.seq, False)
    registers.close(again.seq, words="withdrawn")
    assert not registers.is_assessed(BANK)


def test_sharing_waits_for_an_assessment_where_the_settings_say_so(world):
    world.registers.require_assessment(BANK)
    required = world.open(is_required=True)
    with pytest.raises(Denied, match=rf"^node\.assessment_missing.*{BANK}"):
        required.require_assessment(BANK)
    required.assess(BANK, finding=GOOD, words="x", until_ms=NOW_MS + MS_PER_DAY)
    required.require_assessment(BANK)


def test_what_cannot_be_is_not_entered(world):
    registers = world.registers
    for until_ms in (NOW_MS, NOW_MS + MAX_ASSESSMENT_MS + 1, 2**53 - 1):
        with pytest.raises(InvalidInput, match=r"^node\.assessment_period"):
            registers.assess(BANK, finding=GOOD, words="x", until_ms=until_ms)
    with pytest.raises(InvalidInput, match=r"^node\.incident_ahead"):
        registers.report_incident(severity=Severity.MAJOR, words="x", found_ms=NOW_MS + 1)
    for words in ("", "  ", "x" * (MAX_WORDS + 1), "\u200b", "\u202e", "a\0b", "\x1b[2J"):
        with pytest.raises(InvalidInput, match=r"^node\.register_words"):
            registers.complain(words=words)
    assert registers.entries(after=0, most=9) == []

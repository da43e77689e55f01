"""Registers at institutions that work together: sharing, alarms, obligations and the journal."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

import consortium_world as worlds
from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import Denied
from shuiqiao.client.pages import PageQuery
from shuiqiao.client.resources import registers as api
from shuiqiao.node.auditing import audit_institution
from shuiqiao.node.jobs.alarms import AlarmKind, alarm_duty, standing
from shuiqiao.node.obligations.checks import CHECKS, Facts
from shuiqiao.node.operations.calling import Call
from shuiqiao.node.operations.performing import perform
from shuiqiao.node.registers.model import Finding, Severity


@pytest.fixture
def world(tmp_path):
    """Institutions of a test's own: what it enters is seen by no other."""
    made = worlds.ConsortiumWorld(tmp_path / "consortium", "intl")
    yield made
    made.close()


def facts_of(institution):
    return Facts(
        copy=institution,
        report=audit_institution(institution),
        database=lambda: nullcontext(institution.database),
        cipher=lambda _database: institution.cipher,
    )


def assessed(institution, member):
    until_ms = institution.now_ms() + MS_PER_DAY
    institution.registers.assess(member, finding=Finding.ACCEPTABLE, words="disclosure", until_ms=until_ms)


def test_neither_side_shares_before_its_own_assessment_where_it_requires_one(world):
    # Holds [EXCHANGE-29].
    bureau, bank = world.bureau, world.bank
    consent = world.consent()
    for registers in (bureau.registers, bank.registers):
        registers._is_required = True
    unmet = {each.member: CHECKS["assessments"](facts_of(each)) for each in (bureau, bank)}
    assert [False, False] == [each.is_met for each in unmet.values()]
    assert bank.member in unmet[bureau.member].evidence
    with pytest.raises(Denied, match=rf"^node\.assessment_missing.*{bureau.member}"):
        world.evidence(consent)
    assessed(bank, bureau.member)
    with pytest.raises(Denied, match=rf"^node\.assessment_missing.*{bank.member}"):
        world.evidence(consent)
    assessed(bureau, bank.member)
    world.evidence(consent)
    assert [True, True] == [CHECKS["assessments"](facts_of(each)).is_met for each in (bureau, bank)]


def test_what_is_late_raises_an_alarm_and_leaves_its_rule_unmet(world):
    bureau = world.bureau
    bureau.registers.report_incident(severity=Severity.MAJOR, words="x", found_ms=bureau.now_ms() - MS_PER_DAY)
    bureau.registers.complain(words="y")
    assert (False, True) == (CHECKS["incidents"](facts_of(bureau)).is_met, CHECKS["disputes"](facts_of(bureau)).is_met)
    assert "1 incidents" in CHECKS["incidents"](facts_of(bureau)).evidence
    late = [each for each in looked(bureau) if each.kind is AlarmKind.REGISTER_OVERDUE]
    assert ["register/1"] == [each.about for each in late]
    bureau.registers.close(1, words="reported")
    assert AlarmKind.REGISTER_OVERDUE not in {each.kind for each in looked(bureau)}
    assert CHECKS["incidents"](facts_of(bureau)).is_met


def looked(institution):
    running = SimpleNamespace(job=SimpleNamespace(result=None))
    return standing(alarm_duty(institution).act(running))


def test_an_official_enters_and_closes_by_the_api_and_the_journal_says_so(world):
    bank = world.bank
    call = Call.of_owner(bank)
    until_ms = bank.now_ms() + MS_PER_DAY
    asked = api.NewAssessment(member=world.bureau.member, outcome="acceptable", words="scores", until_ms=until_ms)
    with pytest.raises(Denied, match=r"^members\.unknown"):
        perform(api.ASSESS, asked.model_copy(update={"member": "nobody"}), call=call)
    made = perform(api.ASSESS, asked, call=call)
    assert (made.member, made.grade, made.due_ms, made.is_overdue) == (asked.member, "acceptable", until_ms, False)
    incident = api.NewIncident(severity="general", words="a stolen laptop", found_ms=0)
    found = perform(api.REPORT_INCIDENT, incident, call=call)
    assert found.is_overdue
    perform(api.COMPLAIN, api.NewComplaint(words="a call"), call=call)
    closed = perform(api.CLOSE_ENTRY, api.RegisterClosure(seq=found.seq, words="reported"), call=call)
    assert (closed.outcome, closed.is_overdue) == ("reported", False)
    first = perform(api.LIST_REGISTER, PageQuery(limit=2), call=call)
    rest = perform(api.LIST_REGISTER, PageQuery(limit=2, cursor=first.next), call=call)
    assert ([1, 2], [3], None) == ([each.seq for each in first.items], [each.seq for each in rest.items], rest.next)
    rows = {(row["act"], row["object"], row["outcome"]) for row in call.accounts.journal.rows(limit=20)}
    assert {
        ("registers.assess", f"member/{asked.member}", "done"),
        ("registers.assess", "member/nobody", "members.unknown"),
        ("registers.close", f"register/{found.seq}", "done"),
        ("registers.list", "", "done"),
    } <= rows

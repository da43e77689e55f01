"""Maker and checker: never one person, over the digest of the exact bytes, carried out once, on both databases."""

from __future__ import annotations

import threading
from functools import partial

import msgspec
import pytest
from sqlalchemy import text

from patience import PATIENCE_S
from shuiqiao.base.errors import Conflict, Denied, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import system_entropy
from shuiqiao.node.accounts.approvals.model import RegisteredAct
from shuiqiao.node.accounts.approvals.service import ApprovalService
from shuiqiao.node.accounts.approvals.store import ApprovalStore
from shuiqiao.node.accounts.model import ActName

WEEK_MS = 7 * 86_400_000


class Decision(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    application: str
    limit_fen: int


class Bank:
    """A bank with makers, checkers and a register of what was carried out. fails: what to raise instead, in order."""

    def __init__(self, world):
        self.world, self.carried_out, self.fails = world, [], []
        self.admin = world.administrator()
        self.maker = world.user(self.admin, "chen", "credit_officer")
        self.checker = world.checker(self.admin, "li", "credit_supervisor")
        self.approvals = self.service()

    def service(self, *, acts=None):
        act = RegisteredAct(
            name=ActName.DECIDE,
            body=Decision,
            execute=self._execute,
            describe=msgspec.to_builtins,
            about=lambda body: body.application,
        )
        return ApprovalService(
            ApprovalStore(self.world.database, cipher=self.world.cipher),
            journal=self.world.journal,
            acts=[act] if acts is None else acts,
            clock=self.world.clock,
            entropy=system_entropy,
            hash_name="sha256",
            height=lambda: 7,
            name_of=self.world.store.name_of,
            permissions_of=self.world.service.permissions_of_account,
        )

    def _execute(self, act):
        if self.fails:
            raise self.fails.pop(0)
        self.carried_out.append((act.id, act.body, act.height))
        return {"decision": act.body.application}

    def propose(self, *, by=None, application="a1", limit_fen=50_000_000):
        body = Decision(application=application, limit_fen=limit_fen)
        return self.approvals.propose(by or self.maker, ActName.DECIDE, body)


@pytest.fixture
def bank(world):
    return Bank(world)


@pytest.mark.parametrize("ended", ["disabled", "role"])
def test_what_was_proposed_by_somebody_who_may_not_any_more_is_not_carried_out(bank, ended):
    proposed = bank.propose()
    if ended == "disabled":
        bank.world.service.disable(bank.admin, "chen")
    else:
        bank.world.service.give_roles(bank.admin, "chen", roles=["credit_supervisor"])
    with pytest.raises(Denied, match=r"^node\.maker_gone.*chen"):
        bank.approvals.approve(bank.checker, proposed["approval"], digest=proposed["digest"])
    assert bank.carried_out == []
    assert bank.approvals.reject(bank.checker, proposed["approval"], reason="left")["state"] == "rejected"


def test_what_one_proposes_another_approves_and_it_is_carried_out_once(bank):
    proposed = bank.propose()
    assert proposed["state"] == "waiting"
    assert proposed["what"] == {"application": "a1", "limit_fen": 50_000_000}
    assert bank.carried_out == []
    assert [row["approval"] for row in bank.approvals.page(bank.checker, only_for_me=True)[0]] == [proposed["approval"]]
    done = bank.approvals.approve(bank.checker, proposed["approval"], digest=proposed["digest"])
    assert (done["state"], done["outcome"], done["checker"]) == ("done", {"decision": "a1"}, bank.checker.id)
    assert [(body.application, height) for _, body, height in bank.carried_out] == [("a1", 7)]
    other = bank.world.checker(bank.admin, "wu", "credit_supervisor")
    with pytest.raises(Conflict, match=r"^node\.approval_closed"):
        bank.approvals.approve(other, proposed["approval"], digest=proposed["digest"])
    assert bank.approvals.resume() == []
    assert len(bank.carried_out) == 1
    acts = [row["act"] for row in bank.world.journal.rows() if row["act"].startswith("approvals.")]
    assert acts == ["approvals.approve", "approvals.propose"]


def test_of_two_decisions_on_one_application_one_waits_for_a_checker(bank):
    first = bank.propose()
    assert (first["maker_name"], first["checker_name"]) == ("chen", "")
    with pytest.raises(Conflict, match=rf"^node\.approval_contradicts.*{first['approval']}"):
        bank.propose(limit_fen=1)
    assert bank.propose(application="a2")["state"] == "waiting", "of another application"
    bank.approvals.reject(bank.maker, first["approval"], reason="withdrawn")
    second = bank.propose(limit_fen=1)
    done = bank.approvals.approve(bank.checker, second["approval"], digest=second["digest"])
    assert (done["state"], done["maker_name"], done["checker_name"]) == ("done", "chen", "li")


def test_who_neither_makes_nor_checks_learns_not_even_that_something_waits(bank):
    for number in range(3):
        bank.propose(application=f"a{number}")
    stranger = bank.world.user(bank.admin, "wu", "operator")
    assert bank.approvals.page(stranger, at_most=1) == ([], None)
    assert bank.approvals.page(bank.maker, only_for_me=True, at_most=1) == ([], None)
    rows, following = bank.approvals.page(bank.checker, only_for_me=True, at_most=2)
    assert len(rows) == 2
    assert following is not None
    rows, following = bank.approvals.page(bank.checker, only_for_me=True, at_most=2, after=following)
    assert (len(rows), following) == (1, None)


def test_nobody_checks_what_they_made_whatever_roles_they_hold(bank):
    bank.world.service.give_roles(bank.admin, "li", roles=["credit_officer", "credit_supervisor"])
    secret = bank.world.store.user_named("li").secret
    bank.world.clock.advance(60_000)
    both = bank.world.log_in("li", code=bank.world.code(secret))
    proposed = bank.propose(by=both)
    assert bank.approvals.page(both, only_for_me=True)[0] == []
    with pytest.raises(Denied, match=r"^node\.same_person"):
        bank.approvals.approve(both, proposed["approval"], digest=proposed["digest"])
    bank.world.service.rename(bank.admin, "li", to="li.new")
    bank.world.clock.advance(60_000)
    renamed = bank.world.log_in("li.new", code=bank.world.code(secret))
    with pytest.raises(Denied, match=r"^node\.same_person"):
        bank.approvals.approve(renamed, proposed["approval"], digest=proposed["digest"])
    assert bank.carried_out == []


def test_nobody_checks_what_a_program_of_theirs_made(bank):
    client, secret = bank.world.service.add_client(bank.admin, "core", owner="li", roles=["credit_officer"])
    program = bank.world.service.authenticate(bank.world.service.log_in_client(client, secret=secret).token)
    proposed = bank.propose(by=program)
    with pytest.raises(Denied, match=r"^node\.same_person"):
        bank.approvals.approve(bank.checker, proposed["approval"], digest=proposed["digest"])
    other = bank.world.checker(bank.admin, "wu", "credit_supervisor")
    assert bank.approvals.approve(other, proposed["approval"], digest=proposed["digest"])["state"] == "done"


def test_who_may_not_make_proposes_nothing_and_who_may_not_check_approves_nothing(bank):
    with pytest.raises(Denied, match=r"^node\.permission_missing"):
        bank.propose(by=bank.checker)
    proposed = bank.propose()
    colleague = bank.world.user(bank.admin, "zhao", "credit_officer")
    with pytest.raises(Denied, match=r"^node\.permission_missing"):
        bank.approvals.approve(colleague, proposed["approval"], digest=proposed["digest"])
    without_code = bank.world.user(bank.admin, "sun", "credit_supervisor")
    with pytest.raises(ShuiqiaoError, match=r"^node\.(permission_missing|approval_unknown)"):
        bank.approvals.approve(without_code, proposed["approval"], digest=proposed["digest"])
    assert bank.carried_out == []


def test_an_act_is_hidden_from_who_neither_makes_nor_checks_it(bank):
    proposed = bank.propose()
    assert bank.approvals.page(bank.admin)[0] == []
    for read in (
        lambda: bank.approvals.row(bank.admin, proposed["approval"]),
        lambda: bank.approvals.approve(bank.admin, proposed["approval"], digest=proposed["digest"]),
        lambda: bank.approvals.reject(bank.admin, proposed["approval"], reason=""),
        lambda: bank.approvals.row(bank.checker, "0" * 32),
    ):
        with pytest.raises(InvalidInput, match=r"^node\.approval_unknown"):
            read()
    assert bank.approvals.row(bank.maker, proposed["approval"])["state"] == "waiting"


def test_the_digest_is_of_the_exact_bytes(bank):
    one, other = bank.propose(), bank.propose(application="a2")
    assert one["digest"] != other["digest"]
    with pytest.raises(Conflict, match=r"^node\.digest_differs"):
        bank.approvals.approve(bank.checker, one["approval"], digest=other["digest"])
    with pytest.raises(Conflict, match=r"^node\.approval_repeated"):
        bank.propose()
    assert bank.carried_out == []


def test_what_was_rejected_or_withdrawn_is_not_carried_out(bank):
    one, other = bank.propose(), bank.propose(application="a2")
    assert bank.approvals.reject(bank.checker, one["approval"], reason="too much")["reason"] == "too much"
    assert bank.approvals.reject(bank.maker, other["approval"], reason="a slip")["state"] == "rejected"
    for row in (one, other):
        with pytest.raises(Conflict, match=r"^node\.approval_closed"):
            bank.approvals.approve(bank.checker, row["approval"], digest=row["digest"])
    assert bank.carried_out == []
    assert bank.propose()["state"] == "waiting"


def test_who_asks_again_because_an_answer_was_lost_proposes_and_approves_nothing_twice(bank):
    """[API-9]"""
    body = Decision(application="a1", limit_fen=50_000_000)
    proposed = bank.approvals.propose(bank.maker, ActName.DECIDE, body, act=bytes(16))
    assert bank.approvals.propose(bank.maker, ActName.DECIDE, body, act=bytes(16)) == proposed
    with pytest.raises(Conflict, match=r"^node\.approval_repeated"):
        bank.approvals.propose(bank.maker, ActName.DECIDE, Decision(application="a2", limit_fen=1), act=bytes(16))
    approve = partial(bank.approvals.approve, bank.checker, proposed["approval"])
    with pytest.raises(Conflict, match=r"^node\.digest_differs"):
        approve(digest="00" * 32)
    done = approve(digest=proposed["digest"])
    assert (approve(digest=proposed["digest"]), done["state"]) == (done, "done")
    with pytest.raises(Conflict, match=r"^node\.approval_closed"):
        approve(digest="00" * 32)
    assert bank.approvals.propose(bank.maker, ActName.DECIDE, body, act=bytes(16))["state"] == "done"
    assert len(bank.carried_out) == 1


def test_what_waits_longer_than_a_week_expires(bank):
    proposed = bank.propose()
    bank.world.clock.advance(WEEK_MS - 1)
    assert bank.approvals.row(bank.maker, proposed["approval"])["state"] == "waiting"
    bank.world.clock.advance(1)
    with pytest.raises(Conflict, match=r"^node\.approval_closed: .* is expired"):
        bank.approvals.approve(bank.checker, proposed["approval"], digest=proposed["digest"])
    assert bank.carried_out == []


def test_what_refuses_the_act_is_its_outcome(bank):
    bank.fails = [Conflict("lending.decision_repeated", "was decided already")]
    proposed = bank.propose()
    row = bank.approvals.approve(bank.checker, proposed["approval"], digest=proposed["digest"])
    assert (row["state"], row["outcome"]["code"]) == ("failed", "lending.decision_repeated")
    assert bank.approvals.resume() == []


def test_what_could_not_be_carried_out_now_is_taken_up_again(bank):
    bank.fails = [Unavailable("ledger.commit_late", "no block yet")]
    proposed = bank.propose()
    with pytest.raises(Unavailable, match=r"^ledger\.commit_late"):
        bank.approvals.approve(bank.checker, proposed["approval"], digest=proposed["digest"])
    bank.fails = [Unavailable("ledger.commit_late", "no block yet")]
    assert [row["state"] for row in bank.approvals.resume()] == ["approved"]
    # Its checker may ask again, too.
    row = bank.approvals.approve(bank.checker, proposed["approval"], digest=proposed["digest"])
    assert row["state"] == "done"
    assert len(bank.carried_out) == 1


def test_however_long_an_act_takes_nobody_takes_it_up_a_second_time(bank):
    started, may_end = threading.Event(), threading.Event()
    execute = bank._execute

    def slowly(act):
        started.set()
        assert may_end.wait(PATIENCE_S)
        return execute(act)

    act = RegisteredAct(name=ActName.DECIDE, body=Decision, execute=slowly, describe=msgspec.to_builtins)
    bank.approvals = bank.service(acts=[act])
    proposed, told = bank.propose(), []

    def approve():
        return bank.approvals.approve(bank.checker, proposed["approval"], digest=proposed["digest"])

    thread = threading.Thread(target=lambda: told.append(approve()["state"]))
    thread.start()
    assert started.wait(PATIENCE_S)
    # A day later: neither the duty nor its checker, who asks again.
    bank.world.clock.advance(86_400_000)
    assert [row["state"] for row in bank.approvals.resume()] == ["approved"]
    with pytest.raises(Unavailable, match=r"^node\.act_taken"):
        approve()
    may_end.set()
    thread.join()
    assert (told, len(bank.carried_out)) == (["done"], 1)
    assert approve()["state"] == "done"
    assert (bank.approvals.resume(), len(bank.carried_out)) == ([], 1)


def test_an_act_that_breaks_keeps_no_other_from_being_taken_up(bank):
    approved = []
    for application in ("a1", "a2"):
        bank.fails = [Unavailable("ledger.commit_late", "no block yet")]
        row = bank.propose(application=application)
        with pytest.raises(Unavailable, match=r"^ledger\.commit_late"):
            bank.approvals.approve(bank.checker, row["approval"], digest=row["digest"])
        approved.append(row["approval"])
    bank.fails = [ZeroDivisionError("by zero")]
    with pytest.raises(ZeroDivisionError):
        bank.approvals.resume()
    states = {bank.approvals.row(bank.maker, each)["state"] for each in approved}
    assert (states, len(bank.carried_out)) == ({"approved", "done"}, 1)


def test_after_a_crash_the_next_process_takes_it_up_at_once(bank):
    bank.fails = [KeyboardInterrupt()]
    proposed = bank.propose()
    with pytest.raises(KeyboardInterrupt):
        bank.approvals.approve(bank.checker, proposed["approval"], digest=proposed["digest"])
    anew = bank.service()
    assert [row["state"] for row in anew.resume()] == ["done"]
    assert len(bank.carried_out) == 1


def test_of_two_checkers_at_once_one_decides(bank):
    other = bank.world.checker(bank.admin, "wu", "credit_supervisor")
    proposed, told = bank.propose(), []

    def approve(by):
        try:
            told.append(bank.approvals.approve(by, proposed["approval"], digest=proposed["digest"])["state"])
        except ShuiqiaoError as error:
            told.append(error.code)

    threads = [threading.Thread(target=approve, args=(by,)) for by in (bank.checker, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["done", "node.approval_closed"]
    assert len(bank.carried_out) == 1


def test_what_nobody_carries_out_is_not_proposed(bank):
    with pytest.raises(Unavailable, match=r"^node\.act_unregistered"):
        bank.service(acts=[]).propose(bank.maker, ActName.DECIDE, Decision(application="a1", limit_fen=1))


def test_what_was_proposed_is_encrypted(bank):
    bank.approvals.reject(bank.checker, bank.propose(application="secret-a1")["approval"], reason="secret-reason")
    with bank.world.database.connect() as connection:
        rows = connection.execute(text("SELECT body, reason FROM accounts_approval")).all()
    assert all(b"secret" not in bytes(value) for row in rows for value in row)

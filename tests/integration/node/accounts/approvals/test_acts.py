"""What two people do at a real institution: freeze, suspend, rotate, erase; once, whatever happened before."""

from __future__ import annotations

import pytest

from accounts_world import CHEAP
from consortium_world import NOW_MS, TAXPAYER, ConsortiumWorld, open_solo, solo_home
from shuiqiao.base.clock import MS_PER_DAY, ManualClock, iso_from_ms
from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.client.resources.governance import Vote
from shuiqiao.ledger.state.machine import NETWORK_GATE
from shuiqiao.members.action import SetQuorum
from shuiqiao.members.contract import SUSPEND
from shuiqiao.members.journal import anchored_root
from shuiqiao.members.model import KeyPurpose
from shuiqiao.members.proposal import listed_proposals, read_proposal
from shuiqiao.node import governance
from shuiqiao.node.accounts.approvals.acts import (
    RecordErasure,
    emergency_suspension,
    freeze_of_days,
    institution_acts,
    key_rotation,
    suspension_proposal,
    suspension_vote,
    unfreeze_of_now,
)
from shuiqiao.node.accounts.approvals.model import ApprovedAct
from shuiqiao.node.accounts.approvals.submission import submit_once
from shuiqiao.node.accounts.model import ActName, Principal, PrincipalKind, act_rules
from shuiqiao.node.accounts.opening import InstitutionAccounts, LedgerEnterpriseKeys
from shuiqiao.node.home.keys import ledger_key
from shuiqiao.node.operations.governance import vote
from shuiqiao.oversight.contract import FREEZE, OversightFreezeBody
from shuiqiao.vault.contract import COMMIT, batch_key
from shuiqiao.vault.model import ErasureReason


def person(name, *permissions):
    return Principal(kind=PrincipalKind.USER, id=name, name=name, person=name, permissions=frozenset(permissions))


MAKER = person("m" * 32, *(rule.make for rule in act_rules().values()))
CHECKER = person("c" * 32, *(rule.check for rule in act_rules().values()))


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = ConsortiumWorld(tmp_path_factory.mktemp("consortium"), "intl")
    yield made
    made.close()


def accounts_of(institution):
    return InstitutionAccounts(institution, cost=CHEAP)


def first_batch(bureau):
    for block in bureau.engine.blocks(from_height=1):
        for raw in block.transactions:
            if (tx := bureau.outbox.decode(raw)).kind == COMMIT:
                return tx.body.batch
    raise AssertionError("nothing was anchored")


def both(accounts, name, body):
    proposed = accounts.approvals.propose(MAKER, name, body)
    return accounts.approvals.approve(CHECKER, proposed["approval"], digest=proposed["digest"])


def test_the_regulator_freezes_and_unfreezes_with_two_people(world):
    regulator = world.regulator
    accounts = accounts_of(regulator)
    why = "两个机构的账本互相矛盾\nreport of 3 May"
    digest = regulator.suite.digest(why.encode())
    with pytest.raises(InvalidInput, match=r"^node\.act_invalid"):
        freeze_of_days(regulator, days=2, reason_digest=digest, reason="another reason")
    order = freeze_of_days(regulator, days=2, reason_digest=digest, reason=why)
    row = both(accounts, ActName.FREEZE, order)
    assert row["what"]["reason"] == why, "the checker reads why, and approves the digest of those words with the rest"
    body = OversightFreezeBody(until_ms=order.until_ms, reason_digest=digest)
    assert row["state"] == "done", row
    gate = regulator.engine.state().get(NETWORK_GATE)
    assert (gate["until_ms"], gate["reason_digest"]) == (body.until_ms, digest)
    assert submit_once(regulator, FREEZE, body, after=0) == row["outcome"]["height"]
    lifting = accounts.approvals.propose(MAKER, ActName.UNFREEZE, unfreeze_of_now(regulator))
    assert lifting["what"]["in_force_until"] == iso_from_ms(order.until_ms)
    assert lifting["what"]["ordered_by"] == regulator.member
    lifted = accounts.approvals.approve(CHECKER, lifting["approval"], digest=lifting["digest"])
    assert lifted["state"] == "done"
    assert regulator.engine.state().get(NETWORK_GATE) is None


def test_a_suspension_is_proposed_by_two_people(world):
    before = {each.id for each in listed_proposals(world.regulator.engine.state())}
    body = suspension_proposal(world.regulator, "bank-east", days=5)
    assert both(accounts_of(world.regulator), ActName.PROPOSE_SUSPENSION, body)["state"] == "done"
    (proposal,) = (each for each in listed_proposals(world.regulator.engine.state()) if each.id not in before)
    assert proposal.action.member == "bank-east"
    assert proposal.deadline_ms == body.deadline_ms
    # A vote for it is one of two people as well, at every member.
    world.bank.catch_up_with(world.bureau)
    row = both(accounts_of(world.bank), ActName.VOTE_SUSPENSION, suspension_vote(world.bank, proposal.id))
    assert (row["state"], row["what"]) == ("done", {"member": "bank-east", "proposal": proposal.id.hex()})
    world.bank.engine.wait_for_block(row["outcome"]["height"])
    voted = read_proposal(world.bank.engine.state(), proposal.id)
    assert voted.votes == {world.regulator.member: True, world.bank.member: True}
    # What was voted once is not voted again.
    again = both(accounts_of(world.bank), ActName.VOTE_SUSPENSION, suspension_vote(world.bank, proposal.id))
    assert again["outcome"]["code"] == "members.vote_repeated"
    # Alone nobody does where there are users; to vote against it is nobody else's business.
    accounts_of(world.bank).service.add_first_user("chen.wei")
    with pytest.raises(Denied, match=r"^node\.two_people_needed"):
        vote(world.bank, Vote(proposal=proposal.id.hex(), approve=True))
    with pytest.raises(Conflict, match=r"^members\.vote_repeated"):
        vote(world.bank, Vote(proposal=proposal.id.hex(), approve=False))


def test_a_vote_on_anything_else_is_nothing_for_two_people(world):
    other = governance.propose(world.regulator, SetQuorum(quorum_count=1))["proposal"]
    with pytest.raises(InvalidInput, match=r"^node\.act_invalid: .* suspends nobody"):
        suspension_vote(world.regulator, bytes.fromhex(other))


def test_who_runs_no_validator_has_no_key_to_vote_with(world):
    with pytest.raises(InvalidInput, match=r"^node\.not_validator"):
        key_rotation(world.bank, KeyPurpose.VALIDATOR)


def test_a_batch_is_erased_by_two_people_and_not_twice(world):
    bureau = world.bureau
    accounts = accounts_of(bureau)
    batch = first_batch(bureau)
    body = RecordErasure(batch=batch, indexes=[0], reason=ErasureReason.LEGAL_ORDER)
    assert both(accounts, ActName.ERASE, body)["state"] == "done"
    changed = bureau.engine.state().get(batch_key(bureau.member, batch))["changed"]
    assert both(accounts, ActName.ERASE, body)["state"] == "done"
    assert bureau.engine.state().get(batch_key(bureau.member, batch))["changed"] == changed


def test_a_journal_is_anchored_once_a_day_is_over(world):
    bureau = world.bureau
    accounts = accounts_of(bureau)
    accounts.journal.record(MAKER, act="records.read", subject="record/1")
    day = world.clock.now_ms() // MS_PER_DAY
    world.clock.advance(MS_PER_DAY)
    anchored = accounts.journal.anchor(bureau.outbox)
    assert anchored
    assert accounts.journal.anchor(bureau.outbox) == []
    assert anchored_root(bureau.engine.state(), bureau.member, day)[1].hex() == anchored[-1]["root"]
    found = accounts.journal.verify(state=bureau.engine.state(), member=bureau.member)
    assert found.anchored == len(anchored)


def test_a_key_is_rotated_by_two_people_and_what_was_done_is_not_done_again(tmp_path):
    home, clock = solo_home(tmp_path / "home"), ManualClock(NOW_MS + 1000)
    with open_solo(home, clock) as bureau:
        body = key_rotation(bureau, KeyPurpose.SEALING)
        row = both(accounts_of(bureau), ActName.ROTATE_KEY, body)
        after = ledger_key(bureau.engine.state(), bureau.member, KeyPurpose.SEALING)
        assert (row["state"], row["outcome"]["public_key"]) == ("done", after.hex())
        # The institution goes on, with the new key.
        assert bureau.keys.sealing.public_key == after
        assert after not in {None, body.replaces}
    with open_solo(home, clock) as bureau:
        stale = both(accounts_of(bureau), ActName.ROTATE_KEY, body)
        assert (stale["state"], stale["outcome"]["code"]) == ("failed", "node.key_replaced")
        assert ledger_key(bureau.engine.state(), bureau.member, KeyPurpose.SEALING) == after
        crashed = ApprovedAct(id="0" * 32, body=body, height=0, maker="m", checker="c")
        acts = {act.name: act for act in institution_acts(bureau)}
        assert acts[ActName.ROTATE_KEY].execute(crashed)["public_key"] == after.hex()
        assert ledger_key(bureau.engine.state(), bureau.member, KeyPurpose.SEALING) == after


def test_an_enterprise_proves_the_key_that_its_institution_knows(world):
    bureau = world.bureau
    keys = LedgerEnterpriseKeys(bureau)
    assert len(keys.key_of(f"taxpayer:{TAXPAYER}")) == 32
    assert keys.key_of("taxpayer:nobody") is None
    assert keys.key_of(f"consent:bureau/{'00' * 16}") is None
    assert LedgerEnterpriseKeys(world.bank).key_of(f"taxpayer:{TAXPAYER}") is None
    assert LedgerEnterpriseKeys(world.bank).key_of(f"consent:bureau/{'00' * 16}") is None


def test_the_checker_of_an_emergency_reads_who_until_when_and_why(world):
    regulator = world.regulator
    accounts = accounts_of(regulator)
    why = "two checkpoints of one size\n同一高度有两份检查点"
    digest = regulator.suite.digest(why.encode())
    for member, words, said in (("bank-south", "another reason", "another digest"), ("nobody", why, "no member")):
        with pytest.raises(InvalidInput, match=rf"^node\.act_invalid: .*{said}"):
            emergency_suspension(regulator, member, days=3, evidence_digest=digest, evidence=words)
    order = emergency_suspension(regulator, "bank-south", days=3, evidence_digest=digest, evidence=why)
    proposed = accounts.approvals.propose(MAKER, ActName.SUSPEND, order)
    seen = accounts.approvals.row(CHECKER, proposed["approval"])
    assert seen["what"] == {
        "member": "bank-south",
        "role": "bank",
        "name": "Example South Bank",
        "name_zh": "示例南方银行",
        "until": iso_from_ms(order.ground.until_ms),
        "reason": why,
        "evidence_digest": digest.hex(),
    }
    done = accounts.approvals.approve(CHECKER, proposed["approval"], digest=seen["digest"])
    assert done["state"] == "done", done
    block = next(iter(regulator.engine.blocks(from_height=done["outcome"]["height"])))
    (raw,) = (each for each in block.transactions if regulator.outbox.decode(each).kind == SUSPEND)
    assert digest in raw
    assert why.splitlines()[0].encode() not in raw, "the ledger has the digest of the words, and no word"

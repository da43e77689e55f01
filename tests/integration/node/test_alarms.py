"""[MEMBER-21]: a member accuses another one on the ledger only of what its evidence proves to it."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.checkpoints.cosignature import sign_cosignature
from shuiqiao.ledger.checkpoints.note import join_note, sign_checkpoint
from shuiqiao.ledger.checkpoints.signed_note import encode_text
from shuiqiao.ledger.witness.fork_evidence import ForkEvidence, encode_evidence
from shuiqiao.oversight.contract import alarm_key
from shuiqiao.sandbox.scenario.consortium import BANKS

ACCUSER, CHEAT = BANKS[0], BANKS[1]


def cosigned(cheat, *, root):
    """What a member cosigned: a log of 7 leaves under some root."""
    policy = cheat.parameters.policy.for_witness(cheat.member)
    text = encode_text(origin=policy.origin, size=7, root=root)
    name = policy.witness_name(cheat.member)
    line = sign_cosignature(text, name=name, key=cheat.keys.signing, suite=cheat.suite, time_s=1)
    return join_note(text, [line], policy=policy, suite=cheat.suite)


def evidence(cheat, *roots):
    old, new = (cosigned(cheat, root=root) for root in roots)
    return encode_evidence(ForkEvidence(old_note=old, new_note=new, proof=()))


def accused(world, member, proof):
    with pytest.raises(IntegrityError) as caught:
        world.consortium.banks[ACCUSER].alarms.accuse_of_fork(MemberId(member), evidence=proof)
    return caught.value.code


def test_two_cosignatures_over_one_size_are_an_alarm_on_the_ledger(world):
    accuser, cheat = (world.consortium.banks[bank] for bank in (ACCUSER, CHEAT))
    proof = evidence(cheat, bytes(32), b"\x01" * 32)
    committed = accuser.alarms.accuse_of_fork(CHEAT, evidence=proof)
    [block] = accuser.engine.blocks(from_height=committed.height)
    [tx] = [accuser.outbox.decode(raw) for raw in block.transactions]
    assert (tx.author, tx.body.accused, tx.body.subject) == (ACCUSER, CHEAT, "fork")
    found = world.bureau.engine.state().get(alarm_key(ACCUSER, tx.body.alarm))
    assert (found["accused"], found["evidence_digest"]) == (CHEAT, accuser.suite.digest(proof))


def test_an_operator_that_signed_two_histories_is_accused_like_any_other(world):
    bureau, regulator = world.bureau, world.regulator
    notes = [
        sign_checkpoint(
            origin=bureau.parameters.origin, size=7, root=root, key=bureau.keys.signing, suite=bureau.suite
        ).note
        for root in (bytes(32), b"\x01" * 32)
    ]
    proof = encode_evidence(ForkEvidence(old_note=notes[0], new_note=notes[1], proof=()))
    committed = regulator.alarms.accuse_of_fork(bureau.member, evidence=proof)
    [block] = regulator.engine.blocks(from_height=committed.height)
    assert [regulator.outbox.decode(raw).body.accused for raw in block.transactions] == [bureau.member]


def test_what_proves_nothing_accuses_nobody(world):
    cheat = world.consortium.banks[CHEAT]
    before = len(world.transactions())
    fork = evidence(cheat, bytes(32), b"\x01" * 32)
    assert accused(world, CHEAT, evidence(cheat, bytes(32), bytes(32))) == "ledger.fork_unproven"
    assert accused(world, BANKS[2], fork) == "ledger.cosigner_unknown"
    assert accused(world, "bureau", fork) == "ledger.checkpoint_foreign"
    assert accused(world, "stranger", fork) == "ledger.fork_unproven"
    assert accused(world, CHEAT, b"") == "ledger.evidence_malformed"
    assert len(world.transactions()) == before

"""[WITNESS-6]: evidence convicts only where two signed notes cannot both be true."""

from __future__ import annotations

import dataclasses

import pytest
from msgspec.structs import replace

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.checkpoints.note import cosigners_of, join_note, verify_note
from shuiqiao.ledger.checkpoints.signed_note import decode_signed_note
from shuiqiao.ledger.witness.fork_evidence import (
    MAX_EVIDENCE_BYTES,
    ForkEvidence,
    decode_evidence,
    encode_evidence,
    latest_cosigned,
    verify_fork_evidence,
)


def refusal(log, evidence, **more):
    data = evidence if isinstance(evidence, bytes) else encode_evidence(evidence)
    with pytest.raises(IntegrityError) as caught:
        verify_fork_evidence(data, **{"policies": [log.policy()], "suite": log.suite, **more})
    return caught.value.code


def evidence_of(log, other, old, new):
    return ForkEvidence(
        old_note=log.checkpoint(old).note, new_note=other.checkpoint(new).note, proof=other.proof(old, new)
    )


@pytest.mark.parametrize(("old", "new"), [(3, 4), (3, 300), (100, 300), (255, 300), (299, 300), (257, 700)])
def test_another_past_is_proven(log, old, new):
    other = log.forked(old - 1)
    assert "not_an_extension" == verify_fork_evidence(
        encode_evidence(evidence_of(log, other, old, new)), policies=[log.policy()], suite=log.suite
    )
    # One history against itself is no fork, whatever the proof.
    assert refusal(log, evidence_of(log, log, old, new)) == "ledger.fork_unproven"
    assert refusal(log, replace(evidence_of(log, other, old, new), proof=log.proof(old, new))) == "ledger.fork_unproven"


def cosigned(log, size, *members):
    policy = log.policy(operator=False, quorum=1)
    found = log.checkpoint(size)
    lines = [log.line(found, member) for member in members]
    note = join_note(decode_signed_note(found.note).text, lines, policy=policy, suite=log.suite)
    return dataclasses.replace(found, note=note)


def test_the_latest_that_one_member_cosigned_convicts_it_alone(log):
    """[WITNESS-6]: what others cosigned beside it or later does not count."""
    policy = log.policy(operator=False, quorum=1)
    terms = {"member": "regulator", "policy": policy, "suite": log.suite}
    known = [
        cosigned(log, 100, "first-bank", "regulator"),
        cosigned(log, 50, "regulator"),
        cosigned(log, 300, "second-bank"),
    ]
    found = latest_cosigned(known, **terms)
    assert (found.size, found.root) == (100, known[0].root)
    own = policy.for_witness("regulator")
    assert cosigners_of(verify_note(found.note, policy=own, suite=log.suite).note, policy=own) == ("regulator",)
    assert latest_cosigned(known[2:], **terms) is None

    other = log.forked(99)
    later = latest_cosigned([cosigned(other, 300, "regulator", "second-bank")], **terms)
    evidence = encode_evidence(ForkEvidence(old_note=found.note, new_note=later.note, proof=other.proof(100, 300)))
    assert "not_an_extension" == verify_fork_evidence(evidence, policies=[own], suite=log.suite)
    assert refusal(log, evidence, policies=[policy.for_witness("second-bank")]) == "ledger.cosigner_unknown"


def test_a_cosignature_that_does_not_hold_is_refused(log):
    known = cosigned(log, 100, "regulator")
    stranger = log.policy(operator=False, quorum=1)
    stranger = dataclasses.replace(stranger, witnesses={**stranger.witnesses, "regulator": log.key("other").public_key})
    with pytest.raises(IntegrityError):
        latest_cosigned([known], member="regulator", policy=stranger, suite=log.suite)


def test_what_is_not_of_this_log_convicts_nobody(log):
    other = log.forked(99)
    evidence = evidence_of(log, other, 100, 300)
    forged = replace(evidence, new_note=evidence.new_note.replace(b"\n300\n", b"\n301\n"))
    assert refusal(log, forged) == "ledger.checkpoint_signature_invalid"
    assert refusal(log, replace(evidence, old_note=b"x")) == "ledger.checkpoint_malformed"
    assert refusal(log, evidence, policies=[]) == "ledger.fork_unproven"
    stranger = dataclasses.replace(log.policy(), operator_key=log.key("stranger").public_key)
    assert refusal(log, evidence, policies=[stranger]) == "ledger.checkpoint_foreign"


def test_notes_of_two_epochs_convict_too(log):
    """The operator's key changed between the notes."""
    later = dataclasses.replace(log.policy(), operator_key=log.key("new").public_key)
    key = log.key
    other = log.forked(99)
    other.key = lambda name: key("new" if name == "bureau" else name)  # type: ignore[method-assign]
    evidence = encode_evidence(evidence_of(log, other, 100, 300))
    assert "not_an_extension" == verify_fork_evidence(evidence, policies=[log.policy(), later], suite=log.suite)
    assert refusal(log, evidence) == "ledger.checkpoint_foreign"


def test_older_against_newer_only(log):
    other = log.forked(99)
    turned = ForkEvidence(
        old_note=other.checkpoint(300).note, new_note=log.checkpoint(100).note, proof=other.proof(100, 300)
    )
    assert refusal(log, turned) == "ledger.fork_unproven"
    same = ForkEvidence(old_note=log.checkpoint(300).note, new_note=other.checkpoint(300).note, proof=(bytes(32),))
    assert refusal(log, same) == "ledger.fork_unproven"


def test_other_bytes_are_no_evidence(intl_log):
    evidence = evidence_of(intl_log, intl_log.forked(99), 100, 300)
    good = encode_evidence(evidence)
    assert evidence == decode_evidence(good)
    fields = {"version": 1, "old_note": b"a", "new_note": b"b", "proof": []}
    others = [
        b"",
        good[:-1],
        good + b"\x00",
        encode_cbor([]),
        encode_cbor({}),
        encode_cbor({**fields, "version": 2}),
        encode_cbor({**fields, "more": 1}),
        encode_cbor({**fields, "old_note": b""}),
        encode_cbor({**fields, "old_note": "text"}),
        encode_cbor({**fields, "new_note": bytes(16_385)}),
        encode_cbor({**fields, "proof": None}),
        encode_cbor({**fields, "proof": [bytes(31)]}),
        encode_cbor({**fields, "proof": ["x" * 32]}),
        encode_cbor({**fields, "proof": [bytes(32)] * 56}),
        bytes(MAX_EVIDENCE_BYTES + 1),
    ]
    for data in others:
        assert refusal(intl_log, data) == "ledger.evidence_malformed"


def one_cosigned(log, member, size):
    """The note in which one validator alone vouches for its log."""
    checkpoint, policy = log.checkpoint(size), log.policy(operator=False)
    text = decode_signed_note(checkpoint.note).text
    return join_note(text, [log.line(checkpoint, member)], policy=policy.for_witness(member), suite=log.suite)


def test_one_validators_two_words_convict_it_and_nobody_else(log):
    """Where a quorum signs, whoever cosigned two histories is proven to have, by its own two cosignatures."""
    other, policy = log.forked(299), log.policy(operator=False)
    same_size = ForkEvidence(
        old_note=one_cosigned(log, "regulator", 300), new_note=one_cosigned(other, "regulator", 300), proof=()
    )
    later = ForkEvidence(
        old_note=same_size.old_note, new_note=one_cosigned(other, "regulator", 700), proof=other.proof(300, 700)
    )
    for evidence, kind in ((same_size, "root_differs"), (later, "not_an_extension")):
        data = encode_evidence(evidence)
        assert kind == verify_fork_evidence(data, policies=[policy.for_witness("regulator")], suite=log.suite)
        # It says nothing of others, and is no word of the log itself.
        assert refusal(log, data, policies=[policy.for_witness("first-bank")]) == "ledger.cosigner_unknown"
        assert refusal(log, data, policies=[policy]) == "ledger.quorum_missing"
    mixed = replace(same_size, new_note=one_cosigned(other, "first-bank", 300))
    assert refusal(log, mixed, policies=[policy.for_witness("regulator")]) == "ledger.cosigner_unknown"
    with pytest.raises(KeyError):
        policy.for_witness("stranger")

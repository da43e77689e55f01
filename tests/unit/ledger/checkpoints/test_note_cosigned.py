"""[NOTE-1] to [NOTE-6]: what a cosigned checkpoint must carry, and that nothing else passes for it."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace

import pytest

from log_world import cosignatures_of
from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.checkpoints.cosignature import cosigned_message, cosigner_key_hash, verify_cosignature
from shuiqiao.ledger.checkpoints.note import (
    add_cosignatures,
    cosigners_of,
    join_note,
    note_key_hash,
    sign_checkpoint,
    verify_log_signature,
    verify_note,
)
from shuiqiao.ledger.checkpoints.signed_note import (
    MAX_COSIGNATURES,
    MAX_LINE_BYTES,
    MAX_SIGNED_NOTE_BYTES,
    SignatureLine,
    decode_line,
    decode_signed_note,
    encode_line,
)
from witnessed_world import ORIGIN, WITNESSES


def cosigned(log, *members, size=300):
    checkpoint = log.checkpoint(size)
    lines = [log.line(checkpoint, member) for member in members]
    return add_cosignatures(checkpoint.note, lines, policy=log.policy(), suite=log.suite)


def refusal(log, note, **policy):
    with pytest.raises(IntegrityError) as caught:
        verify_note(note, policy=log.policy(**policy), suite=log.suite)
    return caught.value.code


@pytest.mark.parametrize(("members", "quorum"), [((), 0), (WITNESSES[:1], 1), (WITNESSES[1:], 2), (WITNESSES, 2)])
def test_a_note_with_its_quorum_is_accepted(log, members, quorum):
    """[NOTE-6]"""
    note = cosigned(log, *reversed(members))
    checkpoint = verify_note(note, policy=log.policy(quorum=quorum), suite=log.suite)
    assert (ORIGIN, 300, log.checkpoint(300).root, note) == (
        checkpoint.origin,
        checkpoint.size,
        checkpoint.root,
        checkpoint.note,
    )
    found = cosignatures_of(note, policy=log.policy(quorum=quorum), suite=log.suite)
    assert list(members) == [cosignature.member for cosignature in found]
    assert members == cosigners_of(note, policy=log.policy(quorum=quorum))


def test_one_cosignature_fewer_is_refused_and_the_message_says_who_could_help(log):
    with pytest.raises(IntegrityError) as caught:
        verify_note(cosigned(log, "regulator"), policy=log.policy(), suite=log.suite)
    assert caught.value.code == "ledger.quorum_missing"
    assert "first-bank, second-bank" in caught.value.message


def test_validators_sign_without_an_operator(log):
    text = decode_signed_note(log.checkpoint(300).note).text
    policy = log.policy(operator=False)
    lines = [log.line(log.checkpoint(300), member) for member in ("second-bank", "first-bank")]
    note = join_note(text, lines, policy=policy, suite=log.suite)
    assert log.checkpoint(300).root == verify_note(note, policy=policy, suite=log.suite).root
    # Neither policy accepts the other's note.
    assert refusal(log, note) == "ledger.checkpoint_foreign"
    assert refusal(log, cosigned(log, *WITNESSES), operator=False) == "ledger.cosigner_unknown"
    more = add_cosignatures(note, [log.line(log.checkpoint(300), "regulator")], policy=policy, suite=log.suite)
    assert list(WITNESSES) == [one.member for one in cosignatures_of(more, policy=policy, suite=log.suite)]
    with pytest.raises(ValueError):
        join_note(text, lines, policy=log.policy(), suite=log.suite)
    with pytest.raises(IntegrityError, match="the checkpoint is of 'elsewhere/"):
        join_note(text.replace(b"shuiqiao", b"elsewhere"), lines, policy=policy, suite=log.suite)


def test_every_changed_byte_is_refused(log):
    """[NOTE-6]: also where more cosignatures than the quorum are there."""
    note = cosigned(log, *WITNESSES)
    flips = (0x01, 0x20, 0x80) if log.suite.name == "intl" else (0x01,)
    for at in range(len(note)):
        for flip in flips:
            changed = note[:at] + bytes([note[at] ^ flip]) + note[at + 1 :]
            assert refusal(log, changed).startswith("ledger."), at


def test_every_missing_byte_is_refused(intl_log):
    note = cosigned(intl_log, "regulator", "second-bank")
    for at in range(len(note)):
        refusal(intl_log, note[:at] + note[at + 1 :])


def test_every_truncation_is_refused(intl_log):
    note = cosigned(intl_log, "regulator", "second-bank")
    for end in range(len(note)):
        refusal(intl_log, note[:end])


def test_lines_out_of_place_are_refused(log):
    """[NOTE-2] [NOTE-6]"""
    text, own, first, second, third = split(cosigned(log, *WITNESSES))
    expected = {
        "ledger.checkpoint_malformed": [
            [own, second, first],
            [own, first, first, second],
            [own, first, second, b"\n"],
            [own, b"\n", first, second],
            [own, first, second, b"anything\n"],
        ],
        "ledger.checkpoint_foreign": [[first, second], [first, own, second], [first, second, own]],
        "ledger.cosigner_unknown": [[own, own, first, second], [own, first, second, third, own]],
        "ledger.quorum_missing": [[own], [own, second]],
    }
    for code, cases in expected.items():
        for lines in cases:
            assert code == refusal(log, text + b"\n" + b"".join(lines)), lines
    assert refusal(log, text + b"\n") == "ledger.checkpoint_malformed"


def test_strangers_and_foreign_keys_are_refused(log):
    text, own, first, second = split(cosigned(log, "first-bank", "second-bank"))
    checkpoint = log.checkpoint(300)
    strangers = [
        log.line(checkpoint, "third-bank"),
        log.line(checkpoint, "second-bank", key=log.key("third-bank")),
        log.line(checkpoint, "second-bank", name="second-bank"),
        log.line(checkpoint, "second-bank", name=f"{ORIGIN}x/second-bank"),
        log.line(checkpoint, "bureau", name=f"{ORIGIN}/bureau"),
    ]
    for line in strangers:
        assert refusal(log, text + b"\n" + own + first + line, quorum=1) == "ledger.cosigner_unknown"
        with pytest.raises(IntegrityError, match="cosigner_unknown"):
            add_cosignatures(text + b"\n" + own, [first, second, line], policy=log.policy(), suite=log.suite)


def test_a_signature_of_one_sort_is_none_of_the_other(log):
    """[NOTE-3]: types keep a log's signature and a cosignature of the same key apart."""
    policy = replace(log.policy(quorum=1), witnesses={"bank": log.key("bank").public_key})
    checkpoint = log.checkpoint(300)
    name, key = policy.witness_name("bank"), log.key("bank")
    as_log = sign_checkpoint(origin=ORIGIN, size=300, root=checkpoint.root, key=key, suite=log.suite).note
    blob = decode_signed_note(as_log).lines[0].signature
    kinds = {
        "the log's type": note_key_hash(name, public_key=key.public_key, suite=log.suite),
        "the cosigner's type": cosigner_key_hash(name, public_key=key.public_key, suite=log.suite),
    }
    for key_hash in kinds.values():
        for signature in (blob, bytes(8) + blob, (1_775_000_000).to_bytes(8, "big") + blob):
            line = encode_line(SignatureLine(name=name, key_hash=key_hash, signature=signature))
            with pytest.raises(IntegrityError):
                verify_note(checkpoint.note + line, policy=policy, suite=log.suite)
    timed = bytes(8) + decode_signed_note(checkpoint.note).lines[0].signature
    own = replace(decode_signed_note(checkpoint.note).lines[0], signature=timed)
    text = decode_signed_note(checkpoint.note).text
    assert refusal(log, text + b"\n" + encode_line(own), quorum=0) == "ledger.checkpoint_malformed"


def test_the_time_is_signed(log):
    checkpoint = log.checkpoint(300)
    line = decode_line(log.line(checkpoint, "regulator"))
    moved = replace(line, signature=(1_775_000_001).to_bytes(8, "big") + line.signature[8:])
    with pytest.raises(IntegrityError, match="cosignature_invalid"):
        verify_cosignature(moved, text=decode_signed_note(checkpoint.note).text, policy=log.policy(), suite=log.suite)


@pytest.mark.parametrize("time_s", [1, 1_775_000_000, 2**53 - 1])
def test_times_in_range_are_told(intl_log, time_s):
    checkpoint = intl_log.checkpoint(5)
    note = add_cosignatures(
        checkpoint.note,
        [intl_log.line(checkpoint, "regulator", time_s=time_s)],
        policy=intl_log.policy(),
        suite=intl_log.suite,
    )
    assert [time_s] == [c.time_s for c in cosignatures_of(note, policy=intl_log.policy(quorum=1), suite=intl_log.suite)]


@pytest.mark.parametrize("time_s", [-1, 0, 2**53, 2**64])
def test_times_out_of_range_are_not_signed(intl_log, time_s):
    with pytest.raises(ValueError):
        intl_log.line(intl_log.checkpoint(5), "regulator", time_s=time_s)


def test_what_is_no_checkpoint_is_not_cosigned(intl_log):
    from shuiqiao.ledger.checkpoints.cosignature import sign_cosignature

    key, suite = intl_log.key("regulator"), intl_log.suite
    for text in (b"", b"a\n1\n", b"transfer everything\n", intl_log.checkpoint(5).note):
        with pytest.raises(IntegrityError, match="checkpoint_malformed"):
            sign_cosignature(text, name=f"{ORIGIN}/regulator", key=key, suite=suite, time_s=1)
    text = decode_signed_note(intl_log.checkpoint(5).note).text
    for name in ("", "two words", "a+b", "a\nb"):
        with pytest.raises(ValueError):
            sign_cosignature(text, name=name, key=key, suite=suite, time_s=1)


def test_key_hashes_follow_the_cosignature_rule(log):
    """[NOTE-3]"""
    key = log.key("regulator").public_key
    sequences = {
        "intl": b"name\n\x04" + key,
        "gm": b"name\n\xffshuiqiao/sm2-sm3-cosignature-v1" + key,
    }
    expected = hashlib.new(log.suite.hash_name, sequences[str(log.suite.name)]).digest()[:4]
    assert expected == cosigner_key_hash("name", public_key=key, suite=log.suite)


def test_adding_verifies_and_the_newer_word_of_a_member_stands(log):
    checkpoint = log.checkpoint(300)
    note = cosigned(log, "regulator")
    newer = log.line(checkpoint, "regulator", time_s=1_775_000_009)
    again = add_cosignatures(note, [newer], policy=log.policy(), suite=log.suite)
    assert [1_775_000_009] == [c.time_s for c in cosignatures_of(again, policy=log.policy(quorum=1), suite=log.suite)]
    both = add_cosignatures(note, [log.line(checkpoint, "second-bank")], policy=log.policy(), suite=log.suite)
    assert cosigners_of(both, policy=log.policy()) == ("regulator", "second-bank")
    other = log.line(log.checkpoint(299), "second-bank")
    with pytest.raises(IntegrityError, match="cosignature_invalid"):
        add_cosignatures(note, [other], policy=log.policy(), suite=log.suite)
    with pytest.raises(IntegrityError, match="signature_invalid"):
        add_cosignatures(note.replace(b"\n300\n", b"\n301\n"), [], policy=log.policy(), suite=log.suite)


def test_a_witness_looks_at_the_logs_own_signature_only(log):
    """As c2sp.org/tlog-witness says: signatures of others are ignored, and not handed on."""
    text, own, *lines = split(cosigned(log, *WITNESSES))
    stranger = log.line(log.checkpoint(300), "third-bank")
    for note in (
        text + b"\n" + own,
        text + b"\n" + own + lines[1] + lines[0] + stranger,
        text + b"\n" + stranger + own,
    ):
        assert text + b"\n" + own == verify_log_signature(note, policy=log.policy(quorum=3), suite=log.suite).note
    with pytest.raises(IntegrityError, match="checkpoint_foreign"):
        verify_log_signature(text + b"\n" + lines[0], policy=log.policy(), suite=log.suite)


def test_a_log_without_witnesses_takes_no_second_signature(log):
    note = cosigned(log, "regulator")
    policy = replace(log.policy(), witnesses={}, quorum=0)
    with pytest.raises(IntegrityError, match="cosigner_unknown"):
        verify_note(note, policy=policy, suite=log.suite)


def test_bounds_come_before_work(intl_log):
    """[NOTE-2]"""
    note = cosigned(intl_log, "regulator", "second-bank")
    line = note[note.rindex(b"\xe2") :]
    assert refusal(intl_log, note + line * MAX_COSIGNATURES) == "ledger.checkpoint_malformed"
    with pytest.raises(IntegrityError, match="it has 66 lines, not 1 to 65"):
        decode_signed_note(note + line * 63)
    with pytest.raises(IntegrityError, match="it has 16385 bytes where 16384 are allowed"):
        decode_signed_note(bytes(16_385))
    with pytest.raises(IntegrityError, match="it does not begin with an origin"):
        decode_signed_note(b"x" * 16_384)
    assert refusal(intl_log, note + b"x" * MAX_SIGNED_NOTE_BYTES) == "ledger.checkpoint_malformed"
    assert refusal(intl_log, b"\n" * MAX_SIGNED_NOTE_BYTES) == "ledger.checkpoint_malformed"
    for data in (b"", b"\n", line[:-1], line + line, b"x" * (MAX_LINE_BYTES + 1), b"\xff\n"):
        with pytest.raises(IntegrityError, match="checkpoint_malformed"):
            decode_line(data)


def test_spellings_of_a_cosignature_line(intl_log):
    note = cosigned(intl_log, "regulator", "second-bank")
    line = note[note.rindex(b"\xe2") :].decode()
    dash, name, blob = line.rstrip("\n").split(" ")
    raw = base64.b64decode(blob)
    others = [
        f"{dash} {name}  {blob}\n",
        f"{dash}  {name} {blob}\n",
        f"- {name} {blob}\n",
        f"{dash} {name} {blob} \n",
        f" {dash} {name} {blob}\n",
        f"{dash} {name} {blob}\r\n",
        f"{dash} {name} {blob}\n\n",
        f"{dash} {name} {blob.rstrip('=')}\n",
        f"{dash} {name} {base64.b64encode(raw[:-1]).decode()}\n",
        f"{dash} {name} {base64.b64encode(raw + b'0').decode()}\n",
        f"{dash} {name} {base64.b64encode(raw[:4] + raw[12:]).decode()}\n",
        f"{dash} {name.upper()} {blob}\n",
        f"{dash} {name}\u200b {blob}\n",
        f"{dash} {name} {base64.urlsafe_b64encode(raw).decode()}=\n",
    ]
    for other in others:
        assert refusal(intl_log, note.replace(line.encode(), other.encode())) in {
            "ledger.checkpoint_malformed",
            "ledger.cosigner_unknown",
        }, other


def split(note):
    """Return the text and the signature lines of a note."""
    text, lines = note.split(b"\n\n")
    return text + b"\n", *(line + b"\n" for line in lines.split(b"\n")[:-1])


@pytest.mark.parametrize("time_s", [0, 2**53, 2**63, 2**64 - 1])
def test_a_time_out_of_range_is_refused_even_if_it_was_signed(log, time_s):
    """[NOTE-4]"""
    checkpoint = log.checkpoint(300)
    text = decode_signed_note(checkpoint.note).text
    signature = log.key("regulator").sign(cosigned_message(text, time_s=time_s))
    honest = decode_line(log.line(checkpoint, "regulator"))
    line = encode_line(replace(honest, signature=time_s.to_bytes(8, "big") + signature))
    assert refusal(log, checkpoint.note + line, quorum=1) == "ledger.checkpoint_malformed"


def test_the_largest_set_of_witnesses_may_cosign_as_one(intl_log):
    """[NOTE-2] [NOTE-6]"""
    witnesses = tuple(f"bank-{number:02}" for number in range(64))
    policy, checkpoint = intl_log.policy(quorum=64, witnesses=witnesses), intl_log.checkpoint(5)
    lines = [intl_log.line(checkpoint, member) for member in witnesses]
    note = add_cosignatures(checkpoint.note, lines, policy=policy, suite=intl_log.suite)
    assert checkpoint.root == verify_note(note, policy=policy, suite=intl_log.suite).root

"""Any requests, lines and sizes: one history is cosigned, one spelling accepted, every fork provable."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from log_world import LeafHashes
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import IntegrityError, ShuiqiaoError
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.cosignature import sign_cosignature
from shuiqiao.ledger.checkpoints.note import sign_checkpoint, verify_note
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.checkpoints.signed_note import (
    MAX_SIGNED_NOTE_BYTES,
    Checkpoint,
    decode_line,
    decode_signed_note,
    encode_line,
)
from shuiqiao.ledger.log.tree import consistency_path, leaf_hashes, root_from_reader
from shuiqiao.ledger.store.alarm_file import ForkKind
from shuiqiao.ledger.witness.fork_evidence import fork_kind
from shuiqiao.ledger.witness.request import decode_request, encode_request
from shuiqiao.ledger.witness.witness import Witness

SUITE = get_suite("intl")


ORIGIN = "shuiqiao/" + "5a" * 32


MEMBERS = ("first-bank", "regulator", "second-bank", "third-bank")


SIZES = st.integers(0, 40)


def key(name):
    return SUITE.signing_key_from_seed(name.encode().ljust(32, b"."))


def policy(quorum):
    return CheckpointPolicy(
        origin=ORIGIN,
        operator=MemberId("bureau"),
        operator_key=key("bureau").public_key,
        witnesses={MemberId(name): key(name).public_key for name in MEMBERS},
        quorum=quorum,
    )


def history(fork_at):
    """Return a reader of 40 leaves that differ from those of other histories from a leaf on."""
    leaves = [b"%d %d" % (fork_at if number >= fork_at else 99, number) for number in range(40)]
    return LeafHashes(leaf_hashes(leaves, hash_name="sha256"), hash_name="sha256")


HISTORIES = {fork_at: history(fork_at) for fork_at in (5, 16, 20, 40)}


def checkpoint(reader, size):
    root = root_from_reader(reader, size=size, hash_name="sha256")
    return sign_checkpoint(origin=ORIGIN, size=size, root=root, key=key("bureau"), suite=SUITE)


def path(reader, old, new):
    return consistency_path(reader, old_size=old, new_size=new, hash_name="sha256") if 0 < old <= new else ()


REQUESTS = st.lists(
    st.tuples(st.sampled_from(sorted(HISTORIES)), st.sampled_from(sorted(HISTORIES)), SIZES, st.integers(-1, 1)),
    max_size=12,
)


@settings(max_examples=60, deadline=None)
@given(requests=REQUESTS, restarts=st.sets(st.integers(0, 11)))
def test_what_a_witness_cosigns_is_one_history(requests, restarts):
    """[WITNESS-2] [WITNESS-6]"""
    with tempfile.TemporaryDirectory() as name:
        witness = open_witness(name)
        cosigned: list[Checkpoint] = []
        for number, (signed_by, proven_by, size, error) in enumerate(requests):
            if number in restarts:
                witness.close()
                witness = open_witness(name)
            old = witness.witnessed_size(ORIGIN)
            one = checkpoint(HISTORIES[signed_by], size)
            proof = path(HISTORIES[proven_by], old, size)
            try:
                witness.cosign(one.note, old_size=old + error, proof=proof)
            except ShuiqiaoError:
                continue
            cosigned.append(one)
        alarm = witness.alarm(ORIGIN)
        witness.close()
    sizes = [one.size for one in cosigned]
    assert sorted(sizes) == sizes
    assert any(
        all(one.root == root_from_reader(reader, size=one.size, hash_name="sha256") for one in cosigned)
        for reader in HISTORIES.values()
    )
    if alarm is not None:
        # Nobody is accused who signed one history only.
        assert len({signed_by for signed_by, _, _, _ in requests}) > 1


def open_witness(name):
    witness = Witness(
        Path(name), member=MemberId("regulator"), key=key("regulator"), suite=SUITE, clock=ManualClock(10**12)
    )
    witness.watch(policy(0))
    return witness


@settings(max_examples=100, deadline=None)
@given(data=st.data(), old=st.integers(1, 40), first=st.sampled_from(sorted(HISTORIES)))
def test_a_proof_convicts_exactly_where_two_pasts_differ(data, old, first):
    """[WITNESS-6]"""
    second = data.draw(st.sampled_from(sorted(HISTORIES)))
    new = data.draw(st.integers(old + 1, 41)) if old < 40 else 40
    new = min(new, 40)
    ours, theirs = HISTORIES[first], HISTORIES[second]
    proof = path(theirs, old, new)
    if old < new and old & (old - 1) == 0:
        proof = (root_from_reader(theirs, size=old, hash_name="sha256"), *proof)
    kind = fork_kind(checkpoint(ours, old), checkpoint(theirs, new), proof=proof, hash_name="sha256")
    differ = first != second and old > min(first, second)
    expected = (ForkKind.ROOT_DIFFERS if old == new else ForkKind.NOT_AN_EXTENSION) if differ else None
    assert expected == kind
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        bad = (*proof[:at], bytes([proof[at][0] ^ 1]) + proof[at][1:], *proof[at + 1 :])
        assert fork_kind(checkpoint(ours, old), checkpoint(theirs, new), proof=bad, hash_name="sha256") is None


LINES = {
    name: sign_cosignature(
        decode_signed_note(checkpoint(HISTORIES[40], 33).note).text,
        name=f"{ORIGIN}/{name}",
        key=key(name),
        suite=SUITE,
        time_s=1_775_000_000,
    )
    for name in (*MEMBERS, "stranger")
}


@settings(max_examples=120, deadline=None)
@given(names=st.lists(st.sampled_from(sorted(LINES)), max_size=6), quorum=st.integers(0, 4))
def test_lines_are_accepted_in_one_arrangement(names, quorum):
    """[NOTE-6]"""
    note = checkpoint(HISTORIES[40], 33).note + b"".join(LINES[name] for name in names)
    is_valid = sorted(set(names)) == names and "stranger" not in names and len(names) >= quorum
    if is_valid:
        assert note == verify_note(note, policy=policy(quorum), suite=SUITE).note
    else:
        with pytest.raises(IntegrityError):
            verify_note(note, policy=policy(quorum), suite=SUITE)


@settings(max_examples=200, deadline=None)
@given(
    data=st.one_of(
        st.binary(max_size=300),
        st.text(alphabet="—shuiqiao/ \n0123456789=ABCab+\r\u3000é", max_size=300).map(str.encode),
        st.builds(
            lambda note, at, junk: note[:at] + junk + note[at:],
            st.just(checkpoint(HISTORIES[40], 33).note + LINES["regulator"]),
            st.integers(0, 500),
            st.binary(min_size=1, max_size=5),
        ),
    )
)
def test_garbage_is_refused_with_codes(data):
    """[NOTE-2] [WITNESS-8]"""
    assert len(data) < MAX_SIGNED_NOTE_BYTES
    assert code_of(lambda: verify_note(data, policy=policy(0), suite=SUITE)).startswith("ledger.c")
    assert code_of(lambda: require_same(encode_line(decode_line(data)), data)) in {"", "ledger.checkpoint_malformed"}
    assert code_of(lambda: require_same(encode_request(**fields(decode_request(data))), data)) in {
        "",
        "ledger.witness_request_malformed",
    }


def code_of(act):
    try:
        act()
    except ShuiqiaoError as error:
        return error.code
    return ""


def require_same(written, read):
    assert read == written, "two spellings of one thing"


def fields(request):
    return {"old_size": request.old_size, "proof": request.proof, "note": request.note}


LEAVES = [b"leaf %d" % number for number in range(1100)]

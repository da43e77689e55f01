"""What an ``intl`` log publishes is accepted by ``tlog_scales``, an independent reader of C2SP logs, and refused alike.

[NOTE-1] to [NOTE-4], [TILE-1] to [TILE-3], [WITNESS-5]. The package knows SHA-256 and Ed25519; the gm variant has vectors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from tlog_scales.backend import LocalBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import Vkey, VkeySet
from tlog_scales.tiles import leaf_hash as their_leaf_hash
from tlog_scales.tlog import Checkpoint as TheirCheckpoint
from tlog_scales.tlog import ConsistencyProof, ConsistencyProofInvalid, InclusionProof, InclusionProofInvalid
from tlog_scales.writer import TilesWriter

from log_world import LeafHashes
from patience import PATIENCE_S
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.note import sign_checkpoint, verify_note
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
from shuiqiao.ledger.log.tree import (
    consistency_path,
    inclusion_path,
    leaf_hashes,
    root_from_reader,
    verify_consistency,
    verify_inclusion,
)
from shuiqiao.ledger.tiles.publishing import TileWriter
from shuiqiao.ledger.tiles.reader import FolderTiles, PublishedLog
from shuiqiao.ledger.witness.cosigning import CosignatureCollector
from shuiqiao.ledger.witness.witness import Witness

SUITE = get_suite("intl")
ORIGIN = "shuiqiao/" + "5a" * 32
LEAVES = [b"leaf %d" % number for number in range(70_000)]
READER = LeafHashes(leaf_hashes(LEAVES, hash_name="sha256"), hash_name="sha256")
MEMBERS = ("first-bank", "regulator", "second-bank")


def key(name: str) -> Any:
    return SUITE.signing_key_from_seed(name.encode().ljust(32, b"."))


POLICY = CheckpointPolicy(
    origin=ORIGIN,
    operator=MemberId("bureau"),
    operator_key=key("bureau").public_key,
    witnesses={MemberId(name): key(name).public_key for name in MEMBERS},
    quorum=2,
)
LOG_KEY = Vkey(ORIGIN, None, 1, key("bureau").public_key)
WITNESS_KEYS = {name: Vkey(f"{ORIGIN}/{name}", None, 4, key(name).public_key) for name in MEMBERS}


def signed(size: int) -> Checkpoint:
    root = root_from_reader(READER, size=size, hash_name="sha256")
    return sign_checkpoint(origin=ORIGIN, size=size, root=root, key=key("bureau"), suite=SUITE)


def cosigned(folder: Path, *sizes: int) -> Checkpoint:
    """Return the last checkpoint, cosigned by three witnesses that saw all of them."""
    peers = []
    for name in MEMBERS:
        (folder / name).mkdir()
        witness = Witness(
            folder / name, member=MemberId(name), key=key(name), suite=SUITE, clock=ManualClock(1_775_000_000_000)
        )
        witness.watch(POLICY)
        peers.append(witness)
    asks = CosignatureCollector(
        POLICY,
        suite=SUITE,
        peers=peers,
        proofs=lambda old, new: consistency_path(READER, old_size=old, new_size=new, hash_name="sha256"),
        timeout_s=PATIENCE_S,
        linger_s=20.0,
    )
    result = [asks.collect(signed(size)) for size in sizes][-1]
    assert result.cosigners == MEMBERS
    for witness in peers:
        witness.close()
    return result.checkpoint


def their_verdict(note: bytes) -> bool:
    """Return whether the checker finds the log's signature and a quorum of two cosignatures in a note."""
    try:
        checkpoint = TheirCheckpoint.from_text(note.decode())
        checkpoint.verify(LOG_KEY)
    except (ValueError, RuntimeError, InvalidSignature, IndexError, UnicodeDecodeError):
        return False
    return len(VkeySet(*WITNESS_KEYS.values()).verify(checkpoint.signatures, checkpoint)) >= POLICY.quorum


def our_verdict(note: bytes) -> bool:
    try:
        verify_note(note, policy=POLICY, suite=SUITE)
    except IntegrityError:
        return False
    return True


def test_a_cosigned_note_is_accepted_by_both(tmp_path):
    checkpoint = cosigned(tmp_path, 1, 300, 70_000)
    theirs = TheirCheckpoint.from_text(checkpoint.note.decode())
    assert (ORIGIN, 70_000, checkpoint.root) == (theirs.origin, theirs.size, theirs.root_hash)
    assert checkpoint.note.decode() == theirs.serialize()
    theirs.verify(LOG_KEY)
    for vkey in WITNESS_KEYS.values():
        theirs.verify(vkey)
    found = VkeySet(LOG_KEY, *WITNESS_KEYS.values()).verify(theirs.signatures, theirs)
    assert {ORIGIN, *(vkey.name for vkey in WITNESS_KEYS.values())} == {vkey.name for vkey, _ in found}
    assert (True, True) == (their_verdict(checkpoint.note), our_verdict(checkpoint.note))


def test_altered_bodies_and_signatures_are_refused_by_both(tmp_path):
    note = cosigned(tmp_path, 300).note
    other = signed(299)
    body, lines = note.split(b"\n\n")
    own, first, second, third = (line + b"\n" for line in lines.rstrip(b"\n").split(b"\n"))
    altered = {
        "size": note.replace(b"\n300\n", b"\n301\n"),
        "root": note.replace(body.split(b"\n")[2], other.note.split(b"\n")[2]),
        "origin": note.replace(ORIGIN.encode() + b"\n", ORIGIN.encode()[:-1] + b"b\n", 1),
        "no operator": body + b"\n\n" + first + second + third,
        "one witness": body + b"\n\n" + own + first,
        "operator's signature of another checkpoint": body + b"\n\n" + other.note.split(b"\n\n")[1] + first + second,
        "operator's signature altered": note.replace(own[-20:-10], b"AAAAAAAAAA"),
        "two cosignatures altered": note.replace(first[-20:-10], b"AAAAAAAAAA").replace(second[-20:-10], b"BBBBBBBBBB"),
    }
    for what, changed in altered.items():
        assert note != changed, what
        assert (False, False) == (their_verdict(changed), our_verdict(changed)), what
    # Theirs is lenient where C2SP is, ours is not: a receipt must fail when any byte of it changes.
    lenient = body + b"\n\n" + own + second + first + third
    assert (True, False) == (their_verdict(lenient), our_verdict(lenient))


@pytest.mark.parametrize("size", [1, 255, 256, 257, 700, 65_536, 70_000])
def test_the_files_are_read_and_proven_by_both(tmp_path, size):
    checkpoint = signed(size)
    TileWriter(tmp_path, hash_name="sha256").publish(
        checkpoint, reader=READER, leaves=lambda start, end: LEAVES[start:end]
    )
    theirs = TilesReader(LocalBackend(tmp_path))
    assert checkpoint.root == theirs.get_checkpoint().root_hash == theirs.calculate_root_hash()
    ours = PublishedLog(FolderTiles(tmp_path), checkpoint=checkpoint, suite=SUITE)
    assert size == ours.verify_all()
    for index in {0, 1, 255, size // 2, size - 1} & set(range(size)):
        assert LEAVES[index] == ours.entry(index) == theirs.get_entry(index)
        proof = theirs.get_inclusion_proof(index, size)
        assert list(ours.inclusion_proof(index)) == proof.node_hashes
        proof.check(their_leaf_hash(LEAVES[index]), checkpoint.root)
    for old in {1, 2, 255, 256, size // 3, size} & set(range(1, size + 1)):
        proof = theirs.get_consistency_proof(old, size)
        assert list(ours.consistency_proof(signed(old))) == proof.node_hashes
        proof.check(signed(old).root, checkpoint.root)


def test_altered_proofs_are_refused_by_both():
    size, old, index = 700, 277, 300
    root, old_root = signed(size).root, signed(old).root
    inclusion = list(inclusion_path(READER, index=index, size=size, hash_name="sha256"))
    consistency = list(consistency_path(READER, old_size=old, new_size=size, hash_name="sha256"))
    InclusionProof(index, size, inclusion).check(their_leaf_hash(LEAVES[index]), root)
    ConsistencyProof(old, size, consistency).check(old_root, root)
    for proof in altered(inclusion):
        with pytest.raises(InclusionProofInvalid):
            InclusionProof(index, size, proof).check(their_leaf_hash(LEAVES[index]), root)
        with pytest.raises(IntegrityError):
            verify_inclusion(
                leaf_hash=READER.node(0, index), index=index, size=size, path=proof, root=root, hash_name="sha256"
            )
    for proof in altered(consistency):
        with pytest.raises(ConsistencyProofInvalid):
            ConsistencyProof(old, size, proof).check(old_root, root)
        with pytest.raises(IntegrityError):
            verify_consistency(
                old_size=old, old_root=old_root, new_size=size, new_root=root, path=proof, hash_name="sha256"
            )


def altered(proof: list[bytes]) -> list[list[bytes]]:
    changed = [[*proof[:at], bytes([proof[at][0] ^ 1]) + proof[at][1:], *proof[at + 1 :]] for at in range(len(proof))]
    return [*changed, proof[:-1], proof[1:], [*proof, bytes(32)], proof[::-1], []]


def test_both_write_the_same_files(tmp_path):
    """Their writer, given the same leaves in the same steps, leaves the same bytes under the same names."""
    theirs = TilesWriter.create(tmp_path / "theirs", ORIGIN)
    (tmp_path / "ours").mkdir()
    done = 0

    class OurSigner:
        vkey = LOG_KEY

        def sign(self, checkpoint: TheirCheckpoint) -> Any:
            from tlog_scales.signing import NoteSignature

            return NoteSignature.from_vkey_signature(LOG_KEY, key("bureau").sign(checkpoint.serialize_body().encode()))

    for size in (1, 100, 256, 300, 1000):
        for leaf in LEAVES[done:size]:
            theirs.add_leaf(leaf)
        done = size
        theirs.commit([OurSigner()])
        TileWriter(tmp_path / "ours", hash_name="sha256").publish(
            signed(size), reader=READER, leaves=lambda start, end: LEAVES[start:end]
        )
        assert files(tmp_path / "theirs") == files(tmp_path / "ours")


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

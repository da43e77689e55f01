"""What tests compute of a log or a state map from all its leaves, held in memory: the definitions, written plainly."""

from __future__ import annotations

from collections.abc import Sequence

from shuiqiao.crypto.model import CipherSuite
from shuiqiao.ledger.checkpoints.cosignature import Cosignature, verify_cosignature
from shuiqiao.ledger.checkpoints.note import verify_note
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.checkpoints.signed_note import decode_signed_note
from shuiqiao.ledger.log.tree import HashFunction, hash_function
from shuiqiao.ledger.state.state_map import (
    MAX_LEAVES,
    NewHash,
    StateProof,
    by_nibble,
    nibble,
    others_of,
    proof_step,
    subtree_places,
)


def root_from_leaf_hashes(hashes: Sequence[bytes], *, hash_name: str) -> bytes:
    """Return the Merkle tree hash (RFC 6962 section 2.1) of leaf hashes."""
    digest = hash_function(hash_name)
    if not hashes:
        return digest(b"")
    level = list(hashes)
    while len(level) > 1:
        paired = _parents(level, digest)
        # A last node without a neighbour rises unchanged: it meets its sibling where the split of the RFC puts it.
        level = [*paired, level[-1]] if len(level) % 2 else paired
    return level[0]


def _parents(level: Sequence[bytes], digest: HashFunction) -> list[bytes]:
    return [digest(b"\x01" + level[i] + level[i + 1]) for i in range(0, len(level) - 1, 2)]


class LeafHashes:
    """A HashReader over leaf hashes."""

    def __init__(self, hashes: Sequence[bytes], *, hash_name: str) -> None:
        digest = hash_function(hash_name)
        self._levels = [list(hashes)]
        while len(self._levels[-1]) > 1:
            self._levels.append(_parents(self._levels[-1], digest))

    def node(self, level: int, index: int) -> bytes:
        return self._levels[level][index]


def prove_among(records: Sequence[bytes], path: bytes, *, new: NewHash) -> StateProof:
    """Return the proof of what stands at a path, from all records of a map in order of path."""
    steps: list[bytes] = []
    while len(records) > MAX_LEAVES:
        depth = len(steps)
        slot = nibble(path, depth)
        steps.append(proof_step(subtree_places(records, depth, new=new), slot))
        records = by_nibble(records, depth).get(slot, ())
    return StateProof(steps=tuple(steps), others=others_of(records, path))


def cosignatures_of(note: bytes, *, policy: CheckpointPolicy, suite: CipherSuite) -> tuple[Cosignature, ...]:
    """Return who cosigned a note and when, in order of the members; raises what ``verify_note`` raises."""
    verify_note(note, policy=policy, suite=suite)
    parts = decode_signed_note(note)
    lines = parts.lines if policy.operator_key is None else parts.lines[1:]
    return tuple(verify_cosignature(line, text=parts.text, policy=policy, suite=suite) for line in lines)

"""Evidence of two histories: two notes that one log signed and that cannot both be true, checked by anybody.

::

    evidence = {"proof": [bytes32, ...], "version": 1, "new_note": bytes, "old_note": bytes}      deterministic CBOR

Two cases are proven [WITNESS-6]. Both notes are of one size and their roots differ; ``proof`` is empty. Or the newer
one is larger and ``proof`` leads to its root, and so shows what its first leaves are, and these have another root than
the older note says. ``proof`` is then an RFC 6962 consistency path, preceded by the root of those first leaves where
their number is a power of two, since such a path leaves it out.

A wrong path alone proves nothing: anybody can send one along with an honest note.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.ledger.checkpoints.note import join_note, verify_log_signature
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.checkpoints.signed_note import (
    MAX_SIGNED_NOTE_BYTES,
    Checkpoint,
    decode_signed_note,
    encode_line,
)
from shuiqiao.ledger.log.tree import HASH_BYTES, MAX_PATH, roots_of_path
from shuiqiao.ledger.store.alarm_file import ForkKind

EVIDENCE_VERSION: Final = 1
MAX_EVIDENCE_BYTES: Final = 36_000
"""Two notes of 16,384 bytes, 55 hashes and their framing."""

_MAX_PROOF = MAX_PATH + 2
_Note = Annotated[bytes, Meta(min_length=1, max_length=MAX_SIGNED_NOTE_BYTES)]
_Hash = Annotated[bytes, Meta(min_length=HASH_BYTES, max_length=HASH_BYTES)]


class ForkEvidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Two signed notes that contradict each other, and what shows it."""

    old_note: _Note
    new_note: _Note
    proof: Annotated[tuple[_Hash, ...], Meta(max_length=_MAX_PROOF)]


def encode_evidence(evidence: ForkEvidence) -> bytes:
    """Return the bytes of evidence."""
    return encode_cbor({"version": EVIDENCE_VERSION, **msgspec.to_builtins(evidence, builtin_types=(bytes,))})


def decode_evidence(data: bytes) -> ForkEvidence:
    """Return the parts of evidence, none of them verified; raises IntegrityError ``ledger.evidence_malformed``."""
    try:
        fields = decode_cbor_strict(data, max_bytes=MAX_EVIDENCE_BYTES)
        if type(fields) is not dict or fields.pop("version", None) != EVIDENCE_VERSION:
            raise _malformed(f"it is no map of version {EVIDENCE_VERSION}")
        return typed(fields, ForkEvidence, builtin_types=(bytes,))
    except (InvalidInput, msgspec.ValidationError) as error:
        raise _malformed(str(error)) from error


def latest_cosigned(
    checkpoints: Iterable[Checkpoint], *, member: MemberId, policy: CheckpointPolicy, suite: CipherSuite
) -> Checkpoint | None:
    """Return the largest of some checkpoints that a member cosigned, with its cosignature alone; None where none is.

    Its cosignature says that all it cosigned before is extended, so a later one can be held against it. policy: of the
    log. Raises what ``join_note`` raises for a cosignature that does not hold.
    """
    name = policy.witness_name(member)
    for checkpoint in sorted(checkpoints, key=lambda each: each.size, reverse=True):
        parts = decode_signed_note(checkpoint.note)
        own = [encode_line(line) for line in parts.lines if line.name == name]
        if own:
            note = join_note(parts.text, own, policy=policy.for_witness(member), suite=suite)
            return Checkpoint(origin=checkpoint.origin, size=checkpoint.size, root=checkpoint.root, note=note)
    return None


def verify_fork_evidence(data: bytes, *, policies: Sequence[CheckpointPolicy], suite: CipherSuite) -> ForkKind:
    """Return in which way a log was shown to have two histories.

    policies: those of the log under which its notes may have been signed, one for each epoch in question. Raises
    IntegrityError ``ledger.evidence_malformed``, ``ledger.fork_unproven``, or what ``verify_log_signature`` raises.
    """
    evidence = decode_evidence(data)
    old, new = (_verify_signed(note, policies=policies, suite=suite) for note in (evidence.old_note, evidence.new_note))
    kind = fork_kind(old, new, proof=evidence.proof, hash_name=suite.hash_name)
    if kind is None:
        raise IntegrityError(
            "ledger.fork_unproven",
            f"the notes of {old.size} and {new.size} leaves may both be true: nothing in this evidence contradicts it",
        )
    return kind


def fork_kind(old: Checkpoint, new: Checkpoint, *, proof: Sequence[bytes], hash_name: str) -> ForkKind | None:
    """Return how two signed checkpoints of one log contradict each other by a proof, None if they are not shown to.

    proof: hashes of 32 bytes each; the caller has checked that, or a node could be cut in other halves.
    """
    if old.size == new.size:
        return ForkKind.ROOT_DIFFERS if old.root != new.root and not proof else None
    roots = roots_of_path(old.size, new.size, proof, hash_name=hash_name)
    if roots is None:
        return None
    prefix_root, whole_root = roots
    is_fork = whole_root == new.root and prefix_root != old.root
    return ForkKind.NOT_AN_EXTENSION if is_fork else None


def _verify_signed(note: bytes, *, policies: Sequence[CheckpointPolicy], suite: CipherSuite) -> Checkpoint:
    refusal = IntegrityError("ledger.fork_unproven", "there is no policy by which the notes could be of one log")
    for policy in policies:
        try:
            return verify_log_signature(note, policy=policy, suite=suite)
        except IntegrityError as error:
            refusal = error
    raise refusal


def _malformed(reason: str) -> IntegrityError:
    return IntegrityError("ledger.evidence_malformed", f"the bytes are not evidence of a fork: {reason}")

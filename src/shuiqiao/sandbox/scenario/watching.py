"""Detects a member that cosigned two histories, by comparing its cosignatures over time.

A cosignature says that all heads cosigned before are extended (c2sp.org/tlog-cosignature). An auditor that
keeps the cosignatures of one validator can therefore prove against it alone that it signed two histories, no matter
what the quorum did.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from shuiqiao.base.clock import MS_PER_SECOND
from shuiqiao.base.errors import IntegrityError, ShuiqiaoError
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.checkpoints.cosignature import sign_cosignature
from shuiqiao.ledger.checkpoints.note import join_note
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint, encode_text
from shuiqiao.ledger.witness.fork_evidence import latest_cosigned
from shuiqiao.ledger.witness.witness import Witness
from shuiqiao.members.epoch import checkpoint_policy, read_epoch
from shuiqiao.node.institution import Institution
from shuiqiao.sandbox.scenario.consortium import Consortium
from shuiqiao.sandbox.scenario.scene import NOT_CAUGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a watching member says. code: what it refused the second checkpoint with. evidence: for anybody to check."""

    code: str
    evidence: bytes | None


def policy_of(member: Institution) -> CheckpointPolicy:
    """Return whose cosignatures count by a member's own copy of the state."""
    return checkpoint_policy(read_epoch(member.engine.state()), origin=member.parameters.origin)


def former_cosigned(consortium: Consortium, *, member: Institution) -> Checkpoint:
    """Return the largest checkpoint that anybody here has with one member's cosignature, and with that alone.

    Raises IntegrityError ``sandbox.word_missing`` where none carries it.
    """
    known = [each.engine.checkpoint() for each in consortium.members]
    found = latest_cosigned(known, member=member.member, policy=policy_of(member), suite=member.suite)
    if found is None:
        raise IntegrityError(
            "sandbox.word_missing", f"no checkpoint at hand carries the cosignature of {member.member}"
        )
    return found


def sign_checkpoint(member: Institution, *, policy: CheckpointPolicy, size: int, root: bytes) -> Checkpoint:
    """Return a checkpoint of whatever log a member chooses, with its own cosignature and nobody else's."""
    text = encode_text(origin=policy.origin, size=size, root=root)
    line = sign_cosignature(
        text,
        name=policy.witness_name(member.member),
        key=member.keys.signing,
        suite=member.suite,
        time_s=member.dependencies.clock.now_ms() // MS_PER_SECOND,
    )
    note = join_note(text, [line], policy=policy.for_witness(member.member), suite=member.suite)
    return Checkpoint(origin=policy.origin, size=size, root=root, note=note)


def watch(
    watcher: Institution,
    *,
    first: Checkpoint,
    second: Checkpoint,
    proof: Sequence[bytes],
    accused: MemberId,
    folder: Path,
) -> Verdict:
    """Let a member witness another one's two checkpoints and return what it says to the second.

    proof: consistency path between the two. folder: where the watcher keeps what it saw, in an existing one.
    """
    policy = policy_of(watcher).for_witness(accused)
    with closing(
        Witness(
            folder,
            member=watcher.member,
            key=watcher.keys.signing,
            suite=watcher.suite,
            clock=watcher.dependencies.clock,
        )
    ) as witness:
        witness.watch(policy)
        witness.cosign(first.note, old_size=0, proof=())
        try:
            witness.cosign(second.note, old_size=first.size, proof=proof)
        except ShuiqiaoError as error:
            return Verdict(code=error.code, evidence=witness.evidence(policy.origin))
        return Verdict(code=NOT_CAUGHT, evidence=None)

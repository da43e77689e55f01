"""What a checkpoint must carry to count: who signs it, who may witness it, and how many witnesses must have.

The policy of a log follows from its genesis and, later, from its epochs; it never comes with the note it judges. What
is decided by it, and how, is in ``ledger/checkpoints/note.py``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.checkpoints.signed_note import MAX_COSIGNATURES, is_key_name

MAX_ORIGIN_BYTES: Final = 96
"""``shuiqiao/`` and a network id in hex take 73; with 64 witnesses a note then stays under its bound."""

_MEMBER_ID = re.compile(r"[a-z][a-z0-9-]{1,31}")
_KEY_LENGTHS = frozenset({32, 65})


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointPolicy:
    """The policy of one log at one time [NOTE-5].

    Raises InvalidInput ``ledger.policy_invalid`` for a policy that could not be kept or would not mean what it says.
    """

    origin: str
    operator: MemberId | None
    operator_key: bytes | None
    """Raw key that signs the note first; None where a quorum of validators signs and nobody operates the log."""
    witnesses: Mapping[MemberId, bytes]
    """Raw keys of those whose cosignatures count, by member; of the validators where there is no operator."""
    quorum: int
    """Least number of distinct cosignatures."""
    epoch: int = 0
    """Number of the epoch that it follows from; the last entry under a checkpoint that it judges says the same."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "witnesses", dict(sorted(self.witnesses.items())))
        for reason in _faults(self):
            raise InvalidInput("ledger.policy_invalid", f"the checkpoint policy of {self.origin[:100]!r}: {reason}")

    def witness_name(self, member: MemberId) -> str:
        """Return the name under which a member cosigns: the origin, a slash, the member id [NOTE-4]."""
        return f"{self.origin}/{member}"

    def for_witness(self, member: MemberId) -> CheckpointPolicy:
        """Return the policy under which one witness's cosignature counts alone: to prove it cosigned two histories.

        A checkpoint is never trusted by it. Two notes that hold under it and contradict each other are evidence
        against that member [WITNESS-6]. Raises KeyError for a member that is no witness.
        """
        own = {member: self.witnesses[member]}
        return CheckpointPolicy(origin=self.origin, operator=None, operator_key=None, witnesses=own, quorum=1)

    def member_of(self, name: str) -> MemberId | None:
        """Return the witness that cosigns under a name, None if no witness of this policy does."""
        member = MemberId(name.removeprefix(self.origin + "/"))
        return member if member in self.witnesses and self.witness_name(member) == name else None


def _faults(policy: CheckpointPolicy) -> list[str]:
    keys = [*policy.witnesses.values()]
    # Two names of one key would be one witness that counts twice, and the operator is no witness of itself.
    distinct = {*keys, policy.operator_key} - {None}
    expected = len(keys) + (policy.operator_key is not None)
    least = 0 if policy.operator_key is not None else 1
    checks = (
        (is_key_name(policy.origin) and len(policy.origin.encode()) <= MAX_ORIGIN_BYTES, "its origin is no key name"),
        ((policy.operator is None) == (policy.operator_key is None), "operator and operator key go together"),
        (len(keys) <= MAX_COSIGNATURES, f"{len(keys)} witnesses where {MAX_COSIGNATURES} are allowed"),
        (all(_MEMBER_ID.fullmatch(member) for member in _members(policy)), "a member id is none"),
        (all(len(key or b"") in _KEY_LENGTHS for key in distinct), "a key has neither 32 nor 65 bytes"),
        (len(distinct) == expected, "two of its signers have one key"),
        (least <= policy.quorum <= len(keys), f"quorum {policy.quorum} is not from {least} to {len(keys)}"),
    )
    return [reason for holds, reason in checks if not holds]


def _members(policy: CheckpointPolicy) -> list[MemberId]:
    return [*policy.witnesses, *([] if policy.operator is None else [policy.operator])]

"""Members, their roles, and the genesis that names the first of them; the limits and field types of the room.

A member is an institution that keeps the ledger. Taxpayers are not members: a bureau knows them off the ledger.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from msgspec import Meta

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.ids import MemberId
from shuiqiao.base.visible import HIDDEN
from shuiqiao.crypto.model import SuiteName

MAX_MEMBERS = 256
"""Members of a network, those of the genesis and those admitted later, suspended ones included."""

MAX_WITNESSES = 64
"""Witnesses (validators) of an epoch: their keys stand in every receipt's epoch chain."""

MAX_GOVERNING = 64
"""Governing members of an epoch, for the same reason."""

MAX_GENESIS_BYTES = 1 << 20

MAX_NAME_CHARACTERS = 80

MAX_PROPOSAL_MS = 30 * MS_PER_DAY
"""Longest time from a proposal to its deadline: what was not decided by then is proposed again."""

MAX_EXECUTION_MS = 7 * MS_PER_DAY
"""How long after its approval a suspension, a reinstatement or the end of a freeze may still be carried out."""

MAX_EMERGENCY_MS = 7 * MS_PER_DAY
"""Longest suspension by a regulator alone."""

EMERGENCY_PAUSE_MS = 30 * MS_PER_DAY
"""A member suspended in an emergency is not so suspended again until this long after that suspension began."""

EMERGENCY_SHARE = 3
"""At most one in so many members that are no regulators, but always one, is suspended in an emergency at a time."""

MAX_FREEZE_MS = 7 * MS_PER_DAY
"""Longest freeze of the network by a regulator; after it any member lifts it. A week is enough for members to vote."""

FREEZE_PAUSE_MS = 30 * MS_PER_DAY
"""A regulator freezes the network again this long after its last freeze began: one stops it for 7 of 30 days at most.

LIMIT: each regulator has a pause of its own, so four keys in turn can stop the network for 28 days. A pause of the
whole network would let the misuse of one key keep every other regulator from an honest freeze; members end a freeze by
vote, and suspend its author by vote.
"""

GOVERNANCE_WORK = 1024
"""Units of work that an act about members declares [LEDGER-WORK-1]: for three proofs of keys and the form of
the keys, for every seat, member and listed proposal that its rules may ask about, and the epoch that it may write."""

MAX_ROTATIONS = 4
"""Signing keys that a member takes into use in ROTATION_PERIOD_MS: each may begin an epoch, which receipts carry."""

ROTATION_PERIOD_MS = 30 * MS_PER_DAY

VALIDATOR_KEY_BYTES = 32
"""CometBFT's own Ed25519 key, whatever the suite of the network."""

PROOF_BYTES = 64
"""The signature by which a key is proven, of either suite."""

VALIDATOR_POWER = 10
"""Every validator counts the same: no weight by holdings, on any ledger of ours.

Not 1, for CometBFT divides powers as integers: of four or five validators with power 1 each would hold "a third"
(4 // 3), be taken for one without which no block is made, and come back without fetching the blocks that it missed.
"""

MEMBER_ID = re.compile(r"[a-z][a-z0-9-]{1,31}\Z")

ValidatorKey = Annotated[bytes, Meta(max_length=VALIDATOR_KEY_BYTES)]
"""32 bytes, or none for a member that is no validator."""
KeyProof = Annotated[bytes, Meta(max_length=PROOF_BYTES)]
"""64 bytes, or none where no key is registered by it."""
NAME_PATTERN = rf"^(?=.*[^ \u00a0\u1680\u2000-\u200a\u202f\u205f\u3000])[^{HIDDEN}]+\Z"
DisplayName = Annotated[str, Meta(pattern=NAME_PATTERN, min_length=1, max_length=MAX_NAME_CHARACTERS)]
"""A name people read: no line ends, no invisible or direction-changing characters, not spaces alone [MEMBER-27]."""


class Role(StrEnum):
    """What an institution is, and so what it may do."""

    TAX_BUREAU = "tax_bureau"
    BANK = "bank"
    REGULATOR = "regulator"


class EngineName(StrEnum):
    """Who orders transactions: one operator, or validators by consensus."""

    EMBEDDED = "embedded"
    COMETBFT = "cometbft"


class KeyPurpose(StrEnum):
    """What a member's key is for; each purpose has one key at a time."""

    SIGNING = "signing"
    SEALING = "sealing"
    VALIDATOR = "validator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One institution: who it is and the raw public keys it signs with and is sealed to."""

    id: MemberId
    role: Role
    name: str
    name_zh: str
    signing_key: bytes
    sealing_key: bytes
    signing_proof: bytes
    """Signature by the signing key over its own registration, 64 bytes [MEMBER-24]."""
    sealing_proof: bytes
    """Signature by the signing key over the registration of the sealing key."""
    validator_key: bytes | None = None
    """CometBFT's Ed25519 key, 32 bytes; None unless the member is a validator."""
    validator_proof: bytes | None = None
    """Signature by the validator key over its own registration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """The agreement a network starts from. Its bytes, hashed, are the network's id."""

    name: str
    suite: SuiteName
    writer: MemberId
    """The member that runs the embedded writer and signs checkpoints; empty in a cometbft network."""
    created_ms: int
    members: tuple[Member, ...]
    """Sorted by id."""
    engine: EngineName = EngineName.EMBEDDED
    quorum: int = 0
    """Cosignatures that a checkpoint needs."""
    witnesses: tuple[MemberId, ...] = ()
    """Sorted; in a cometbft network the validators."""
    governing: tuple[MemberId, ...] = ()
    """Sorted, never empty: left out, every member governs."""

    def __post_init__(self) -> None:
        if not self.governing:
            object.__setattr__(self, "governing", tuple(member.id for member in self.members))

"""Members, their roles, and the genesis that names the first of them.

A member is an institution that keeps the ledger. Taxpayers are not members: a bureau knows them off the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.model import SuiteName

MAX_MEMBERS = 256
"""Members in a genesis; later ones are admitted by vote."""

MAX_GENESIS_BYTES = 1 << 20


class Role(StrEnum):
    """What an institution is, and so what it may do."""

    TAX_BUREAU = "tax_bureau"
    BANK = "bank"
    REGULATOR = "regulator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One institution: who it is and the raw public keys it signs with and is sealed to."""

    id: MemberId
    role: Role
    name: str
    name_zh: str
    signing_key: bytes
    sealing_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """The agreement a network starts from. Its bytes, hashed, are the network's id."""

    name: str
    suite: SuiteName
    writer: MemberId
    """The member that runs the embedded writer and signs checkpoints."""
    created_ms: int
    members: tuple[Member, ...]
    """Sorted by id."""

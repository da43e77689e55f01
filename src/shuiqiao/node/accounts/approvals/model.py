"""What waits for a second person, what became of it, and what a room registers so that it can be carried out.

The maker proposes exact bytes, the deterministic CBOR of the act's body; the checker approves their digest; those bytes
are what is carried out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Generic, TypeVar

import msgspec

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.encoding import decode_cbor_strict, encode_cbor, typed
from shuiqiao.base.errors import InvalidInput
from shuiqiao.node.accounts.model import ActName

MAX_ACT_BYTES: Final = 65_536
"""Of the body of an act."""

WAITING_MS: Final = 7 * MS_PER_DAY
"""How long an act waits for its checker."""

MAX_WAITING: Final = 1000
"""Acts that wait for a checker at a time."""

MAX_REASON_CHARACTERS: Final = 500

Body = TypeVar("Body", bound=msgspec.Struct)


class ApprovalState(StrEnum):
    """Where an act is on its way; WAITING, then one of the others, APPROVED then DONE or FAILED."""

    WAITING = "waiting"
    REJECTED = "rejected"
    EXPIRED = "expired"
    APPROVED = "approved"
    """Its checker approved it and it is being carried out, or was when this machine stopped: it is taken up again."""
    DONE = "done"
    FAILED = "failed"
    """It was refused when it was carried out; the outcome says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """One act of two people. maker, checker: ids of who did it; persons: of who answers for them."""

    id: str
    act: str
    digest: bytes
    body: bytes
    maker_kind: str
    maker: str
    maker_person: str
    proposed_ms: int
    until_ms: int
    state: ApprovalState
    checker: str
    decided_ms: int
    reason: str
    height: int
    """The newest block when it was approved, so that what it put on the ledger is in a later one."""
    outcome: str
    """JSON of what the act returned, or the code and message of what refused it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovedAct(Generic[Body]):
    """An approved act as it is given to whoever carries it out.

    It may come again: a machine that stopped in the midst cannot tell whether all was done.
    """

    id: str
    body: Body
    height: int
    """What the act put on the ledger, if anything, is in a block above this one."""
    maker: str
    checker: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredAct(Generic[Body]):
    """An act that a room can carry out once it is approved.

    body: its closed schema. execute: does it, once however often it is called, and returns what to show of it.
    describe: what a checker is shown of a body, in words: what the bytes say, and what the ledger has under an id.
    about: what such an act decides on, where that is decided once: of two about the same one waits at a time.
    """

    name: ActName
    body: type[Body]
    execute: Callable[[ApprovedAct[Body]], Mapping[str, Any]]
    describe: Callable[[Body], Mapping[str, Any]]
    about: Callable[[Body], str] | None = None


def encode_body(body: msgspec.Struct) -> bytes:
    """Return the exact bytes of an act's body; raises InvalidInput ``node.act_invalid`` for what is too large."""
    raw = encode_cbor(msgspec.to_builtins(body, builtin_types=(bytes,)))
    if len(raw) > MAX_ACT_BYTES:
        raise InvalidInput("node.act_invalid", f"an act of {len(raw)} bytes where {MAX_ACT_BYTES} are allowed")
    return raw


def decode_body(raw: bytes, body: type[Body]) -> Body:
    """Return the body in bytes; raises InvalidInput ``node.act_invalid``, ``base.cbor_*``."""
    try:
        return typed(decode_cbor_strict(raw, max_bytes=MAX_ACT_BYTES), body, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise InvalidInput("node.act_invalid", f"the body of an act is not allowed: {error}") from error

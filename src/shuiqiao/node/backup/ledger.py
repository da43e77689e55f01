"""The ledger in a backup: followed from the genesis up to the moment that the manifest says.

``ledger/replay/members`` says what leads to what. Here the blocks come from segment files, whose chain is verified as
they are read, and the notes are those that lie beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.ledger.replay.members import MembersReplay, contradicted
from shuiqiao.ledger.store.frame import EMPTY_TAIL, Broken
from shuiqiao.members.contract import member_key
from shuiqiao.node.kinds import KEY_ROOMS, network_machine

if TYPE_CHECKING:
    from shuiqiao.base.ids import MemberId
    from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
    from shuiqiao.node.backup.manifest import LedgerMoment
    from shuiqiao.node.home.ledger_place import LedgerPlace

_TELL_EVERY: Final = 500
"""Blocks between two calls of a progress listener."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerMember:
    """A member as a ledger has it. role: as the ledger spells it. signing, sealing: its raw public keys."""

    role: str
    signing: bytes
    sealing: bytes


def follow_member(
    place: LedgerPlace,
    member: MemberId,
    *,
    moment: LedgerMoment,
    notes: Mapping[str, bytes],
    since: Checkpoint | None = None,
    progress: Progress = no_progress,
) -> LedgerMember | None:
    """Follow a ledger from its genesis to a moment and return what it says of a member there, None of a stranger.

    notes: what ``LedgerPlace.stored_notes`` returns, or as much of it as was copied. since: a checkpoint that is known
    to be true, which the ledger must contain.

    Raises IntegrityError ``node.history_contradicted`` where the blocks do not lead to the moment, or to a note;
    ``node.key_forged`` for a change of members or keys that the rules do not allow; ``ledger.pin_contradicted``;
    InvalidInput ``node.history_older``; and what ``verify_note`` raises.
    """
    followed = MembersReplay(network_machine(place.parameters), rooms=KEY_ROOMS, notes=notes, since=since)
    files = place.files()
    for found in files.scan(EMPTY_TAIL) if moment.height else ():
        if isinstance(found, Broken):
            name = files.path(found.segment).name
            raise contradicted(f"segments/{name} cannot be read from byte {found.offset} on: {found.reason}")
        followed.take(found.frame.transactions, found.frame.entry)
        if followed.height % _TELL_EVERY == 0:
            progress("follow the members' keys 核对成员密钥", followed.height, moment.height)
        if followed.height == moment.height:
            break
    state_root = None if followed.state_root is None else followed.state_root.hex()
    led_to = (followed.height, followed.size, followed.root.hex(), state_root)
    said = (moment.height, moment.size, moment.root, moment.state_root)
    if led_to != said:
        raise contradicted(f"the blocks lead to {led_to}, the manifest says {said}: height, leaves, root, state root")
    followed.require_met()
    record: dict[str, Any] | None = followed.state.get(member_key(member))
    if record is None:
        return None
    return LedgerMember(role=record["role"], signing=record["sign"], sealing=record["seal"])

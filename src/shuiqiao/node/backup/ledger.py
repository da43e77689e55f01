"""The ledger in a backup: followed from the genesis up to the moment that the manifest says.

``ledger_walk`` says what leads to what. Here the blocks come from segment files, whose chain is verified as they are
read, and the notes are those that lie beside them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.ledger.store.frame import EMPTY_TAIL, Broken
from shuiqiao.node.ledger_walk import LedgerMember, LedgerWalk, contradicted

if TYPE_CHECKING:
    from shuiqiao.base.ids import MemberId
    from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
    from shuiqiao.node.backup.manifest import LedgerMoment
    from shuiqiao.node.home.ledger_place import LedgerPlace

_TELL_EVERY: Final = 500
"""Blocks between two calls of a progress listener."""


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
    walk = LedgerWalk(place.parameters, notes=notes, since=since)
    files = place.files()
    for found in files.scan(EMPTY_TAIL) if moment.height else ():
        if isinstance(found, Broken):
            name = files.path(found.segment).name
            raise contradicted(f"segments/{name} cannot be read from byte {found.offset} on: {found.reason}")
        walk.take(found.frame.transactions, found.frame.entry)
        if walk.height % _TELL_EVERY == 0:
            progress("follow the members' keys 核对成员密钥", walk.height, moment.height)
        if walk.height == moment.height:
            break
    state_root = None if walk.state_root is None else walk.state_root.hex()
    led_to = (walk.height, walk.size, walk.root.hex(), state_root)
    said = (moment.height, moment.size, moment.root, moment.state_root)
    if led_to != said:
        raise contradicted(f"the blocks lead to {led_to}, the manifest says {said}: height, leaves, root, state root")
    walk.require_met()
    return walk.member(member)

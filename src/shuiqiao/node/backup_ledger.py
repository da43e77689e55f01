"""Whose ledger a backup holds, and which keys its member has in it: followed from the genesis, by nobody's word.

What leads to what:

1. the genesis, which the caller pins or recognises by its fingerprint, names the first keys and the first policy;
2. every leaf is hashed, and the blocks are chained, up to the height, size and root that the manifest says;
3. every transaction that can change who is a member, with which keys, is executed on the members' state again, its
   signatures verified by the keys of the state before it: so nobody but a member itself, or a vote, replaces its keys;
4. each epoch follows from that state, and every stored note is verified under the policy of its epoch, its root against
   the leaves: a quorum signed this log, and no other;
5. the state so reached names the member's keys.

What other rooms write does not lead to a key. Restoring executes it, and the audit verifies its signatures.

LIMIT: a ledger that was cut off before a key was replaced is a true ledger of that time, in which the old key counts.
Who stole that key can make a backup of then. Its height and time are shown; a checkpoint that is known (``since``)
refuses it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.ledger.check import ReplayMemory
from shuiqiao.ledger.engine.cometbft.keeper import CONSENSUS_FOLDER
from shuiqiao.ledger.engine.epoch_keeping import EPOCHS_FOLDER
from shuiqiao.ledger.engine.replica import CHECKPOINTS_FOLDER
from shuiqiao.ledger.entry import decode_entry
from shuiqiao.ledger.kinds import GATE_ROOM
from shuiqiao.ledger.log import Frontier, leaf_hashes
from shuiqiao.ledger.machine import Candidate
from shuiqiao.ledger.memory_state import MemoryState
from shuiqiao.ledger.model import BlockContext, Checkpoint
from shuiqiao.ledger.note import verify_log_signature, verify_note
from shuiqiao.ledger.signed_note import MAX_SIGNED_NOTE_BYTES, decode_signed_note
from shuiqiao.ledger.state import OverlayState, genesis_writes
from shuiqiao.ledger.store.place import EMPTY_TAIL, Broken
from shuiqiao.members.contract import member_key
from shuiqiao.node.backup_manifest import LedgerMoment

if TYPE_CHECKING:
    from shuiqiao.base.ids import MemberId
    from shuiqiao.ledger.model import Transaction
    from shuiqiao.ledger.store.frame import Frame
    from shuiqiao.node.ledger_place import LedgerPlace

LATEST_NOTE: Final = f"{CHECKPOINTS_FOLDER}/latest"
CONSENSUS_NOTE: Final = f"{CONSENSUS_FOLDER}/note"
EPOCH_NOTES: Final = f"{CHECKPOINTS_FOLDER}/{EPOCHS_FOLDER}"

MAX_EPOCH_NOTES: Final = 4096
"""Notes of epochs that are kept in memory, of 16 kB each at most: one for each vote or key that changes who signs."""

_KEY_ROOMS: Final = frozenset({"members", GATE_ROOM})
"""The rooms whose kinds decide on members, keys and who may act; a contract writes under its own room only."""

_TELL_EVERY: Final = 500
"""Blocks between two calls of a progress listener."""

Progress = Callable[[str, int, "int | None"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerMember:
    """A member as a ledger has it. role: as the ledger spells it. signing, sealing: its raw public keys."""

    role: str
    signing: bytes
    sealing: bytes


def stored_notes(place: LedgerPlace) -> dict[str, bytes]:
    """Return the notes that lie in a ledger folder, by their names below it.

    Raises InvalidInput ``node.backup_notes_many``.
    """
    epochs = sorted(path.name for path in (place.folder / EPOCH_NOTES).glob("[0-9]*") if path.name.isdigit())
    if len(epochs) > MAX_EPOCH_NOTES:
        raise InvalidInput("node.backup_notes_many", f"{len(epochs)} epochs where {MAX_EPOCH_NOTES} are followed")
    notes: dict[str, bytes] = {}
    for name in (LATEST_NOTE, CONSENSUS_NOTE, *(f"{EPOCH_NOTES}/{name}" for name in epochs)):
        path = place.folder / name
        if path.is_file():
            with path.open("rb") as file:
                notes[name] = file.read(MAX_SIGNED_NOTE_BYTES + 1)
    return notes


def follow_member(
    place: LedgerPlace,
    member: MemberId,
    *,
    moment: LedgerMoment,
    notes: Mapping[str, bytes],
    since: Checkpoint | None = None,
    progress: Progress = lambda _step, _done, _total: None,
) -> LedgerMember | None:
    """Follow a ledger from its genesis to a moment and return what it says of a member there, None of a stranger.

    notes: what ``stored_notes`` returns, or as much of it as was copied. since: a checkpoint that is known to be true,
    which the ledger must contain.

    Raises IntegrityError ``node.backup_contradicted`` where the blocks do not lead to the moment, or to a note;
    ``node.backup_key_forged`` for a change of members or keys that the rules do not allow; ``ledger.pin_contradicted``;
    InvalidInput ``node.backup_older``; and what ``verify_note`` raises.
    """
    walk = _Walk(place, notes=notes, since=since)
    files = place.files()
    for found in files.scan(EMPTY_TAIL) if moment.height else ():
        if isinstance(found, Broken):
            name = files.path(found.segment).name
            raise _contradicted(f"segments/{name} cannot be read from byte {found.offset} on: {found.reason}")
        walk.take(found.frame)
        if walk.height % _TELL_EVERY == 0:
            progress("follow the members' keys 核对成员密钥", walk.height, moment.height)
        if walk.height == moment.height:
            break
    walk.require_end(moment)
    return walk.member(member)


class _Walk:
    """A ledger followed as far as it was read: its leaves, the members' state, the policy of its notes."""

    def __init__(self, place: LedgerPlace, *, notes: Mapping[str, bytes], since: Checkpoint | None) -> None:
        self._machine = place.machine()
        self._parameters = place.parameters
        self._hash_name = place.hash_name
        self._state = MemoryState(genesis_writes(place.parameters))
        self._epoch = self._state.encoded_value(self._machine.key_ring.epoch_key) or b""
        self._policy = place.parameters.policy
        self._replay = ReplayMemory()
        self._frontier = Frontier(hash_name=self._hash_name)
        self._time_ms = place.parameters.genesis_time_ms
        self._entry: bytes | None = None
        self._since = since
        self._notes: dict[int, dict[str, bytes]] = {}
        for name, note in notes.items():
            self._notes.setdefault(decode_signed_note(note).head.size, {})[name] = note
        self.height = 0
        self._meet_notes()

    def take(self, frame: Frame) -> None:
        """Go on behind the next block, whose chain was verified by whoever read it."""
        entry = decode_entry(frame.entry)
        self.height = frame.height
        self._entry = frame.entry
        self._execute([self._machine.decode(raw) for raw in frame.transactions], time_ms=entry.time_ms)
        self._time_ms = entry.time_ms
        self._frontier.append(leaf_hashes((*frame.transactions, frame.entry), hash_name=self._hash_name))
        # A block is closed under the epoch before the one that it begins [EPOCH-4].
        self._meet_notes()
        self._begin_epoch()

    def _execute(self, transactions: list[Transaction], *, time_ms: int) -> None:
        """Execute what decides on keys, every signature verified; the other rooms never write there."""
        kinds = self._machine.kinds
        chosen = [Candidate(transaction=tx) for tx in transactions if kinds.get(tx.kind, tx.version).room in _KEY_ROOMS]
        if not chosen:
            return
        overlay = OverlayState(self._state)
        result = self._machine.execute_block(
            chosen,
            overlay,
            BlockContext(height=self.height, time_ms=time_ms),
            previous_time_ms=self._time_ms,
            replay=self._replay,
        )
        for outcome in result.outcomes:
            if outcome.refusal is not None:
                raise IntegrityError(
                    "node.backup_key_forged",
                    f"block {self.height} holds a {outcome.transaction.kind} by {outcome.transaction.author} that the "
                    f"ledger before it does not allow: {outcome.refusal}",
                    next_step="do not use it: the ledger in it was altered, or made by somebody else",
                ) from outcome.refusal
        self._state.write(overlay.writes)
        for record in result.replay_records:
            self._replay.remember(record.author, record.id, record.expiry_hour)

    def _meet_notes(self) -> None:
        """Verify the notes of this size under the policy of its epoch, and the known checkpoint."""
        size = self._frontier.size
        for name, note in self._notes.pop(size, {}).items():
            # The writer stores its checkpoints before witnesses have seen them; every other note carries its quorum.
            verify = verify_log_signature if name == LATEST_NOTE else verify_note
            found = verify(note, policy=self._policy, suite=self._machine.suite)
            if found.root != self._frontier.root():
                raise _contradicted(
                    f"{name} says root {found.root.hex()} at {size} leaves, the blocks give "
                    f"{self._frontier.root().hex()}"
                )
        if self._since is not None and self._since.size == size:
            self._meet_known(self._since)

    def _meet_known(self, since: Checkpoint) -> None:
        if (since.origin, since.root) != (self._parameters.origin, self._frontier.root()):
            raise IntegrityError(
                "ledger.pin_contradicted",
                f"the known checkpoint is of {since.origin[:100]!r}, {since.size} leaves, root {since.root.hex()}; the "
                f"ledger in the backup is of {self._parameters.origin!r}, root {self._frontier.root().hex()}",
                next_step="do not use it: its ledger is another one than that of the known checkpoint",
            )
        self._since = None

    def _begin_epoch(self) -> None:
        key_ring = self._machine.key_ring
        epoch = self._state.encoded_value(key_ring.epoch_key)
        if epoch is not None and epoch != self._epoch:
            self._policy = key_ring.next_policy(epoch, previous=self._epoch, origin=self._parameters.origin)
            self._epoch = epoch

    def require_end(self, moment: LedgerMoment) -> None:
        """Return if the blocks led to a moment, and met every note on the way."""
        state_root = None if self._entry is None else decode_entry(self._entry).state_root.hex()
        found = (self.height, self._frontier.size, self._frontier.root().hex(), state_root)
        said = (moment.height, moment.size, moment.root, moment.state_root)
        if found != said:
            raise _contradicted(f"the blocks lead to {found}, where {said} is said: height, leaves, root, state root")
        if self._notes:
            size, names = min((size, [*names]) for size, names in self._notes.items())
            raise _contradicted(f"{names[0]} is of {size} leaves, and no block ends there")
        if self._since is not None and self._since.size > self._frontier.size:
            raise InvalidInput(
                "node.backup_older",
                f"the ledger in the backup has {self._frontier.size} leaves, the known checkpoint {self._since.size}: "
                "it was taken before",
                next_step="take a newer backup, or name an older checkpoint that you know",
            )
        if self._since is not None:
            raise _contradicted(f"no block ends at the {self._since.size} leaves of the known checkpoint")

    def member(self, member: MemberId) -> LedgerMember | None:
        """Return a member as the state has it now."""
        record: dict[str, Any] | None = self._state.get(member_key(member))
        if record is None:
            return None
        return LedgerMember(role=record["role"], signing=record["sign"], sealing=record["seal"])


def _contradicted(reason: str) -> IntegrityError:
    return IntegrityError(
        "node.backup_contradicted",
        f"the ledger in the backup does not hold together: {reason}",
        next_step="take another copy of the backup, or another backup",
    )

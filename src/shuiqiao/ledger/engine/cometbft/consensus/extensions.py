"""Makes notes of the validators' votes, each of which carries a cosignature over the last committed checkpoint.

An extension is one cosignature line (``checkpoints/cosignature.py``) or nothing. It counts if it holds, under the
policy of the last committed state, over the text of the last committed checkpoint; nothing else of this node enters the
judgement, so all nodes judge alike [ABCI-17]. What was collected goes into the note, never into log, state or block
[ABCI-18].
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from shuiqiao.base.clock import MS_PER_SECOND, Clock
from shuiqiao.base.durable import Disk, replace_file
from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.base.files import read_regular
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.model import CipherSuite, SigningKey
from shuiqiao.ledger.checkpoints.cosignature import sign_cosignature, verify_cosignature
from shuiqiao.ledger.checkpoints.note import join_note, verify_note
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.checkpoints.signed_note import (
    MAX_LINE_BYTES,
    MAX_SIGNED_NOTE_BYTES,
    Checkpoint,
    decode_line,
    decode_signed_note,
    encode_text,
)
from shuiqiao.ledger.model import StateView
from shuiqiao.ledger.receipts.making import MAX_LEAVES_BEHIND, Confirmed
from shuiqiao.ledger.store.epochs import StoredEpochs
from shuiqiao.ledger.store.state_view import SnapshotState

_STORE_INTERVAL_S: Final = 1.0

PolicyOf = Callable[[StateView], CheckpointPolicy]
"""Return the checkpoint policy that a state says: whose cosignatures count, and how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosigner:
    """Who this validator is in the policy, and the suite keys it can cosign with: a policy names one of them.

    others: the key that comes next, and one that a policy still in force may name.
    """

    member: MemberId
    key: SigningKey
    others: tuple[SigningKey, ...] = ()

    def key_under(self, policy: CheckpointPolicy) -> SigningKey | None:
        """Return the key by which this validator is known under a policy, None if it is not."""
        named = policy.witnesses.get(self.member)
        return next((key for key in (self.key, *self.others) if key.public_key == named), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tip:
    """The last committed checkpoint, unsigned, the policy that judges it, and the state behind it."""

    size: int
    root: bytes
    policy: CheckpointPolicy
    view: SnapshotState

    @property
    def text(self) -> bytes:
        """What is cosigned."""
        return encode_text(origin=self.policy.origin, size=self.size, root=self.root)


class VoteExtensions:
    """Gives this validator's cosignature, judges those of others, and keeps the newest note that has its quorum."""

    def __init__(
        self,
        folder: Path,
        *,
        suite: CipherSuite,
        clock: Clock,
        cosigner: Cosigner | None,
        disk: Disk,
        epochs: Callable[[], StoredEpochs],
    ) -> None:
        """cosigner: None for a node that only follows. The note is kept in the folder's file ``note``.

        epochs: those of the copy of the ledger that is open now.
        """
        self._path = folder / "note"
        self._epochs = epochs
        self._suite = suite
        self._clock = clock
        self._cosigner = cosigner
        self._disk = disk
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._next_store = 0.0
        self._tip: Tip | None = None
        self._lines: dict[MemberId, bytes] = {}
        self._note: Checkpoint | None = None
        self._note_view: SnapshotState | None = None
        self._is_stored = True

    def load(self, tip: Tip) -> None:
        """Begin at the last committed checkpoint, with the stored note if it is one of this log.

        A note that cannot be read or verified under its policy is left out: it is made again by the next votes.
        """
        with self._lock:
            self._tip = tip
            if self._path.exists():
                self._note = self._verified(read_regular(self._path, max_bytes=MAX_SIGNED_NOTE_BYTES))
            self._note_view = tip.view if self._note is not None and self._note.size == tip.size else None

    def _verified(self, note: bytes) -> Checkpoint | None:
        if len(note) > MAX_SIGNED_NOTE_BYTES:
            return None
        try:
            policy = self._epochs().trail.policy_at(decode_signed_note(note).head.size)
            return verify_note(note, policy=policy, suite=self._suite)
        except IntegrityError:
            return None

    def move(self, tip: Tip) -> None:
        """Go on to the next committed checkpoint; cosignatures of the one before are no longer collected.

        The state behind a note that lies far behind is let go [STORE-27]: receipts then wait for the next note.
        """
        with self._lock:
            if self._tip is not None and (self._tip.text, self._tip.policy) == (tip.text, tip.policy):
                return
            self._tip = tip
            self._lines = {}
            if self._note is not None and tip.size - self._note.size > MAX_LEAVES_BEHIND:
                self._note_view = None

    def sign_as(self, cosigner: Cosigner) -> None:
        """Go on with other keys of the same validator."""
        with self._lock:
            self._cosigner = cosigner

    def own_extension(self) -> bytes:
        """Return our cosignature over the last committed checkpoint, empty if the policy does not ask for ours."""
        with self._lock:
            tip, cosigner = self._tip, self._cosigner
            if tip is None or cosigner is None:
                return b""
            key = cosigner.key_under(tip.policy)
            if key is None:
                return b""
            line = sign_cosignature(
                tip.text,
                name=tip.policy.witness_name(cosigner.member),
                key=key,
                suite=self._suite,
                time_s=self._clock.now_ms() // MS_PER_SECOND,
            )
            self._keep(tip, cosigner.member, line)
            return line

    def judge(self, extension: bytes, *, member: MemberId | None) -> None:
        """Return if another validator's extension is in order, and keep it; raises IntegrityError else [ABCI-17].

        member: the validator that voted, None if the state does not know its key (it is on its way in or out).
        """
        if not extension:
            return
        if len(extension) > MAX_LINE_BYTES:
            raise IntegrityError("ledger.extension_malformed", f"an extension of {len(extension)} bytes is no line")
        with self._lock:
            tip = self._tip
            if tip is None:
                raise IntegrityError("ledger.extension_malformed", "an extension came before the first checkpoint")
            found = verify_cosignature(decode_line(extension), text=tip.text, policy=tip.policy, suite=self._suite)
            if member not in {None, found.member}:
                raise IntegrityError(
                    "ledger.extension_foreign", f"the vote of {member} carries the cosignature of {found.member}"
                )
            self._keep(tip, found.member, extension)

    def _keep(self, tip: Tip, member: MemberId, line: bytes) -> None:
        """Put a line into the note; where it was missing for the quorum, the note is complete."""
        if member in self._lines:
            return
        self._lines[member] = line
        if len(self._lines) >= tip.policy.quorum:
            note = join_note(tip.text, self._lines.values(), policy=tip.policy, suite=self._suite)
            self._hand_out(Checkpoint(origin=tip.policy.origin, size=tip.size, root=tip.root, note=note), tip)

    def _hand_out(self, note: Checkpoint, tip: Tip) -> None:
        self._note, self._note_view, self._is_stored = note, tip.view, False
        epochs = self._epochs()
        if epochs.trail.closes_epoch(note.size):
            # A disk that refuses it: a block will carry it [ABCI-28].
            with contextlib.suppress(Unavailable):
                epochs.keep_note(note)
        self._changed.notify_all()

    def note(self) -> Checkpoint | None:
        """Return the newest checkpoint with its quorum, None before there is one."""
        return self._note

    def confirmed(self, size: int, *, timeout_s: float) -> Confirmed | None:
        """Return a checkpoint of at least a size with its quorum and the state behind it, None within the time."""
        with self._changed:
            self._changed.wait_for(lambda: self._covers(size) and self._note_view is not None, timeout=timeout_s)
            if not self._covers(size) or self._note is None or self._note_view is None:
                return None
            return Confirmed(checkpoint=self._note, view=self._note_view)

    def wait_for(self, size: int, *, timeout_s: float) -> Checkpoint | None:
        """Return a checkpoint of at least a size with its quorum, None if there is none within the time."""
        with self._changed:
            return self._note if self._changed.wait_for(lambda: self._covers(size), timeout=timeout_s) else None

    def _covers(self, size: int) -> bool:
        return self._note is not None and self._note.size >= size

    def store(self, *, is_urgent: bool) -> None:
        """Keep the newest note on the medium, at most once a second unless it is urgent.

        What the disk refuses waits for the next time: the note can be made again by the next votes.
        """
        with self._lock:
            note = self._note
            if note is None or self._is_stored or not (is_urgent or time.monotonic() >= self._next_store):
                return
            self._is_stored = True
            self._next_store = time.monotonic() + _STORE_INTERVAL_S
        with contextlib.suppress(OSError):
            replace_file(self._path, note.note, disk=self._disk)

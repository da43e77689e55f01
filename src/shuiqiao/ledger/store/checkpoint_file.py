"""The newest signed checkpoint on disk: what this node told others, and so may never contradict ([STORE-18]).

The one that witnesses confirmed is kept beside it, in the same way, under another name.

It is stored at most once in a while, because it need not come first: every block under a checkpoint was on the medium
before the checkpoint was made, and the blocks give its root again. What waits is stored by the engine's own thread,
which asks ``due_in_s`` how long that may take.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from shuiqiao.base.durable import SYSTEM_DISK, Disk, replace_file
from shuiqiao.base.files import read_regular
from shuiqiao.crypto.model import CipherSuite
from shuiqiao.ledger.checkpoints.note import verify_log_signature
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.checkpoints.signed_note import MAX_SIGNED_NOTE_BYTES, Checkpoint, decode_signed_note

CHECKPOINTS_FOLDER: Final = "checkpoints"
"""Name of their folder in that of a ledger."""

LATEST_NAME: Final = "latest"
COSIGNED_NAME: Final = "cosigned"
COSIGNED_INTERVAL_S: Final = 1.0
"""The newest checkpoint that witnesses confirmed, kept to be published; how long it may wait for that, in seconds."""

RETRY_S: Final = 1.0
"""Time from an attempt that the disk refused to the engine's next one, in seconds; ``keep`` tries at once."""


class CheckpointFile:
    """A file of a ledger folder's ``checkpoints``; safe between threads."""

    def __init__(
        self,
        folder: Path,
        *,
        suite: CipherSuite,
        disk: Disk = SYSTEM_DISK,
        interval_s: float = 0.0,
        name: str = LATEST_NAME,
    ) -> None:
        """interval_s: how long, in seconds, a checkpoint handed to ``keep`` may wait to be stored."""
        self.path = folder / name
        self._suite = suite
        self._disk = disk
        self._interval_s = interval_s
        self._next_at = 0.0
        self._retry_at = 0.0
        self._lock = threading.Lock()
        self._waiting: Checkpoint | None = None

    def claimed_size(self) -> int:
        """Return how many leaves the stored checkpoint says that were acknowledged, 0 before the first.

        Its signature is not verified: whose it must be is known only once the blocks below it were read. Raises
        IntegrityError ``ledger.checkpoint_malformed``.
        """
        return decode_signed_note(self._note()).head.size if self.path.exists() else 0

    def load(self, policy_at: Callable[[int], CheckpointPolicy]) -> Checkpoint | None:
        """Return the stored checkpoint, the log's own signature verified; None before the first.

        policy_at: the policy that judges a checkpoint of a size. Raises what ``verify_log_signature`` raises.
        """
        size = self.claimed_size()
        if not self.path.exists():
            return None
        return verify_log_signature(self._note(), policy=policy_at(size), suite=self._suite)

    def _note(self) -> bytes:
        return read_regular(self.path, max_bytes=MAX_SIGNED_NOTE_BYTES)

    def keep(self, checkpoint: Checkpoint) -> None:
        """Replace the stored checkpoint now, or let it wait if one was stored just before. Raises OSError."""
        with self._lock:
            self._waiting = checkpoint
            if time.monotonic() >= self._next_at:
                self._store()

    def due_in_s(self) -> float | None:
        """Return after how many seconds the checkpoint that waits is to be stored, None if none waits."""
        if self._waiting is None:
            return None
        return max(0.0, max(self._next_at, self._retry_at) - time.monotonic())

    def flush_due(self) -> None:
        """Store what has waited long enough; what the disk refuses waits on and is tried again."""
        if self.due_in_s() == 0.0:
            try:
                self.flush()
            except OSError:
                # The members that were told this checkpoint have it, and its blocks are stored: nothing stops for it.
                return

    def flush(self) -> None:
        """Store what waits; it is on the medium when this returns. Raises OSError, and what waits then waits on."""
        with self._lock:
            self._store()

    def _store(self) -> None:
        if self._waiting is None:
            return
        self._retry_at = time.monotonic() + RETRY_S
        replace_file(self.path, self._waiting.note, disk=self._disk)
        self._waiting = None
        self._next_at = time.monotonic() + self._interval_s
        self._retry_at = 0.0

"""The newest signed checkpoint on disk: what this node told others, and so may never contradict ([STORE-18]).

It is stored at most once in a while, because it need not come first: every block under a checkpoint was on the medium
before the checkpoint was made, and the blocks give its root again.
"""

from __future__ import annotations

import time
from pathlib import Path

from shuiqiao.crypto.model import CipherSuite
from shuiqiao.ledger.model import Checkpoint, NetworkParameters
from shuiqiao.ledger.note import verify_checkpoint
from shuiqiao.ledger.store.disk import Disk, replace_file


class CheckpointFile:
    """``checkpoints/latest`` of a ledger folder."""

    def __init__(
        self, folder: Path, *, parameters: NetworkParameters, suite: CipherSuite, disk: Disk, interval_s: float = 0.0
    ) -> None:
        """interval_s: how long, in seconds, a checkpoint handed to ``keep`` may wait to be stored."""
        self.path = folder / "latest"
        self._parameters = parameters
        self._suite = suite
        self._disk = disk
        self._interval_s = interval_s
        self._stored_at = -interval_s
        self._waiting: Checkpoint | None = None

    def load(self) -> Checkpoint | None:
        """Return the stored checkpoint, its signature verified; None before the first.

        Raises what ``verify_checkpoint`` raises for a file that is not the operator's note.
        """
        if not self.path.exists():
            return None
        return verify_checkpoint(
            self.path.read_bytes(),
            origin=self._parameters.origin,
            operator_key=self._parameters.operator_key,
            suite=self._suite,
        )

    def keep(self, checkpoint: Checkpoint) -> None:
        """Replace the stored checkpoint now, or with one of the next if one was stored just before. Raises OSError."""
        self._waiting = checkpoint
        if time.monotonic() - self._stored_at >= self._interval_s:
            self.flush()

    def flush(self) -> None:
        """Store what waits; it is on the medium when this returns. Raises OSError."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            replace_file(self.path, waiting.note, disk=self._disk)
            self._stored_at = time.monotonic()

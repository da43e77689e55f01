"""The newest signed checkpoint on disk: what this node told others, and so may never contradict ([STORE-18])."""

from __future__ import annotations

from pathlib import Path

from shuiqiao.crypto.model import CipherSuite
from shuiqiao.ledger.model import Checkpoint, NetworkParameters
from shuiqiao.ledger.note import verify_checkpoint
from shuiqiao.ledger.store.disk import Disk, replace_file


class CheckpointFile:
    """``checkpoints/latest`` of a ledger folder."""

    def __init__(self, folder: Path, *, parameters: NetworkParameters, suite: CipherSuite, disk: Disk) -> None:
        self.path = folder / "latest"
        self._parameters = parameters
        self._suite = suite
        self._disk = disk

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

    def save(self, checkpoint: Checkpoint) -> None:
        """Replace the stored checkpoint; it is on the medium when this returns. Raises OSError."""
        replace_file(self.path, checkpoint.note, disk=self._disk)

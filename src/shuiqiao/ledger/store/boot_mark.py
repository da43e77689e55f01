"""Tells whether files that nobody flushed can be trusted: yes after a killed process, no after a stopped machine.

What a process wrote and the system has not yet put on the medium survives the process, not the machine. So while the
index is open a mark beside it holds the id of this start of the system; it goes away when the index is flushed and
closed. A mark of another start means that the machine stopped in between: the index is then made again from the
segments ([STORE-16]). Where the system tells no such id there is no mark, and the index is flushed with every block.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from shuiqiao.base.durable import Disk, replace_file
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.files import open_regular

BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
MARK: Final = "open"
MAX_ID_BYTES: Final = 64


class BootMark:
    """The mark in one folder."""

    def __init__(self, folder: Path, *, disk: Disk, boot_id: Path = BOOT_ID) -> None:
        self._path = folder / MARK
        self._disk = disk
        self._start = _read(boot_id)

    @property
    def is_kept(self) -> bool:
        """Whether this system tells one start from another."""
        return bool(self._start)

    def is_stale(self) -> bool:
        """Whether the machine stopped while the files were open."""
        return self._path.exists() and _read(self._path) != self._start

    def put(self) -> None:
        """Mark the files as open; on the medium when this returns."""
        if self._start and _read(self._path) != self._start:
            replace_file(self._path, self._start, disk=self._disk)

    def clear(self) -> None:
        """Take the mark away: everything is on the medium."""
        self._path.unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(MAX_ID_BYTES).strip()
    except (OSError, InvalidInput):
        return b""

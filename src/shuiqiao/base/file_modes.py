"""Who may read the files that this product writes: their owner alone, unless one is made to be handed out.

A process takes ``owner_only`` once, at its door: whatever is made behind it (databases and their journals, indexes,
keys, logs, backups) belongs to its owner from the first byte, whatever the umask was [STORE-28]. What is made for
others (static files of the log, receipts, a genesis, a report) is opened to them by name: its mode is set, not taken
from the umask. Who uses the rooms as a library has no door; ``create_home`` therefore makes the home owner-only itself.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

OWNER_ONLY_FOLDER: Final = 0o700
SHARED_FILE: Final = 0o644
SHARED_FOLDER: Final = 0o755
_OWNER_ONLY_UMASK: Final = 0o077
OTHERS: Final = 0o077
"""The bits of a mode that let anybody but the owner in."""


@contextmanager
def owner_only() -> Generator[None]:
    """Make every new file of this process its owner's alone, until the door is left."""
    before = os.umask(_OWNER_ONLY_UMASK)
    try:
        yield
    finally:
        os.umask(before)


def share_file(path: Path) -> None:
    """Let everybody read a file that was made to be handed out; a device or a pipe keeps its mode."""
    if path.is_file():
        path.chmod(SHARED_FILE)


def make_shared_folder(folder: Path) -> None:
    """Make a folder that everybody may look into, with those above it that are missing; one that is there stays."""
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        each.chmod(SHARED_FOLDER)
    folder.mkdir(exist_ok=True)

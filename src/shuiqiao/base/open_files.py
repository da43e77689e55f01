"""How many files and connections this process may have open at a time: more are asked for than a shell gives."""

from __future__ import annotations

import resource
from typing import Final

MAX_OPEN_FILES: Final = 65_536


def allow_open_files() -> int:
    """Ask the system for as many as MAX_OPEN_FILES; return how many it allows.

    ::

        connections = allow_open_files() - files_of_the_home
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_OPEN_FILES)
    if soft == resource.RLIM_INFINITY or soft >= most:
        return most
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most

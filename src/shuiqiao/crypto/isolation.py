"""Loads compiled libraries so that each uses its own copy of OpenSSL.

Tongsuo's wheel contains an OpenSSL whose symbols are visible. Where another OpenSSL is visible to the whole process
(preloaded, or loaded globally by an embedding program), the loader would join the two, and Tongsuo then refuses every
signature. With RTLD_DEEPBIND a library looks into itself first. The suite's self-test would notice, and stop the node;
this keeps it from having to.
"""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator


@contextmanager
def own_symbols() -> Generator[None]:
    """Let compiled modules that are imported inside the block prefer their own symbols, where the system can."""
    before = sys.getdlopenflags()
    sys.setdlopenflags(before | getattr(os, "RTLD_DEEPBIND", 0))
    try:
        yield
    finally:
        sys.setdlopenflags(before)

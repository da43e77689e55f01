"""A process of this program does without pandas, also where it is installed.

Arrow looks for it at its first conversion and would load it into every command, server and worker: a fifth of a second
of processor time and 50 MB of memory, for nothing that this product does.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder


class _WithoutPandas(MetaPathFinder):
    """Says that pandas is not there."""

    def find_spec(self, fullname: str, _path: object, _target: object = None) -> None:
        """Return None for every module but one."""
        if fullname == "pandas":
            raise ModuleNotFoundError("this program does without pandas", name=fullname)


def do_without_pandas() -> None:
    """Let this process load no pandas from now on; for the start of a process that is ours alone."""
    sys.meta_path.insert(0, _WithoutPandas())

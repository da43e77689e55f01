"""Fuzzes the readers of outside bytes with atheris: ``python tests/fuzz/run.py SECONDS [TARGET ...]``.

Each target has a process of its own, for so many seconds. Input that a reader failed on is written to ``crash-*`` in this
folder, and the run ends with 1; its bytes belong into ``found.json`` once the reader is mended.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["shuiqiao"]):
    from targets import TARGETS

from shuiqiao.base.errors import ShuiqiaoError


def fuzz(name: str, seconds: str) -> None:
    target = TARGETS[name]

    def once(data: bytes) -> None:
        try:
            target.read(data)
        except ShuiqiaoError:
            return

    corpus = Path(tempfile.mkdtemp(prefix="shuiqiao-corpus-"))
    for number, seed in enumerate(target.seeds()):
        (corpus / str(number)).write_bytes(seed)
    options = [f"-max_total_time={seconds}", "-max_len=65536", "-rss_limit_mb=2048", "-timeout=20"]
    here = f"-artifact_prefix={Path(__file__).parent}/"
    atheris.Setup([sys.argv[0], *options, here, str(corpus)], once)
    atheris.Fuzz()


def main() -> int:
    seconds, *names = sys.argv[1:]
    if names[:1] == ["--only"]:
        fuzz(names[1], seconds)
        return 0
    command = [sys.executable, __file__, seconds, "--only"]
    failed = [name for name in names or TARGETS if subprocess.run([*command, name], check=False).returncode]
    sys.stdout.write(f"targets that failed: {', '.join(failed) or 'none'}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

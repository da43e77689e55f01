"""Fuzzes the readers of outside bytes with atheris: ``python tests/fuzz/run.py SECONDS [TARGET ...]``.

Each target has a process of its own, for so many seconds; what is instrumented is imported once for all of them. Input
that a reader failed on is written to ``crash-*`` in this folder, and the run ends with 1; its bytes belong into
``found.json`` once the reader is mended.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import atheris

sys.path.append(str(Path(__file__).parent.parent / "worlds"))

with atheris.instrument_imports(include=["shuiqiao"]):
    from targets import TARGETS

from shuiqiao.base.errors import ShuiqiaoError

HERE = Path(__file__).parent


def fuzz(name: str, seconds: str) -> None:
    target = TARGETS[name]

    def once(data: bytes) -> None:
        try:
            target.read(data)
        except ShuiqiaoError:
            return
        except BaseException:
            # The process may end, with all that it has loaded, before the fuzzer itself writes them.
            (HERE / f"crash-{name}").write_bytes(data)
            raise

    corpus = Path(tempfile.mkdtemp(prefix="shuiqiao-corpus-"))
    for number, seed in enumerate(target.seeds()):
        (corpus / str(number)).write_bytes(seed)
    options = [f"-max_total_time={seconds}", "-max_len=65536", "-rss_limit_mb=2048", "-timeout=20"]
    here = f"-artifact_prefix={HERE}/crash-{name}-"
    atheris.Setup([sys.argv[0], *options, here, str(corpus)], once)
    atheris.Fuzz()


def fuzz_apart(name: str, seconds: str) -> int:
    """Fuzz a target in a process of its own, which atheris ends; return its exit code."""
    sys.stdout.write(f"target {name}\n")
    sys.stdout.flush()
    child = os.fork()
    if not child:
        fuzz(name, seconds)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> int:
    seconds, *names = sys.argv[1:]
    failed = [name for name in names or TARGETS if fuzz_apart(name, seconds)]
    sys.stdout.write(f"targets that failed: {', '.join(failed) or 'none'}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

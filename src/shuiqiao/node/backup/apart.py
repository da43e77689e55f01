"""Takes a backup of a home that this very process has open: by a process of its own.

A vault's index may be opened once in a process, so a server cannot copy its own; another process can, as ``shuiqiao
backup create`` does beside a running server. What it is to do goes to it over its input, the passphrase with it, so
that it stands in no argument and no environment; how far it is comes back line by line.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from shuiqiao.base import errors
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.encoding import decode_json, encode_json
from shuiqiao.base.errors import Unavailable
from shuiqiao.base.worker_process import WorkerProcess, begin_worker
from shuiqiao.node.backup.creating import create_backup
from shuiqiao.node.home.settings import Home

if TYPE_CHECKING:
    from shuiqiao.base.progress import Progress

_MAX_LINE_BYTES: Final = 65_536
"""Longest message between the two; the longest are an error's words."""


def create_backup_apart(
    home: Home, target: Path, *, passphrase: bytes, without_database: bool, progress: Progress
) -> dict[str, Any]:
    """Write a backup of a home that is open here, and return the height and whether the database is in it.

    Raises what ``create_backup`` raises; Unavailable ``node.backup_interrupted`` where its process went away.
    """
    worker = WorkerProcess(run_backup)
    try:
        asked = {
            "home": os.fspath(home.folder.absolute()),
            "target": os.fspath(target.absolute()),
            "passphrase": passphrase.hex(),
            "without_database": without_database,
        }
        with os.fdopen(worker.sink, "wb") as sink, os.fdopen(worker.source, "rb") as source:
            sink.write(encode_json(asked) + b"\n")
            sink.flush()
            return _followed(source, progress=progress)
    finally:
        worker.end()


def _followed(source: IO[bytes], *, progress: Progress) -> dict[str, Any]:
    while line := source.readline(_MAX_LINE_BYTES):
        told: dict[str, Any] = decode_json(line, max_bytes=_MAX_LINE_BYTES)
        if "step" in told:
            progress(told["step"], told["done"], told["total"])
        elif "code" in told:
            kind: type[errors.ShuiqiaoError] = getattr(errors, told["kind"])
            raise kind(told["code"], told["message"])
        else:
            return told
    raise Unavailable("node.backup_interrupted", "the process that took the backup went away before it was done")


def run_backup() -> None:
    """Do in a worker what its input asks for."""
    descriptors = begin_worker()
    with os.fdopen(descriptors[0], "rb") as source, os.fdopen(descriptors[1], "wb") as sink:

        def tell(message: dict[str, Any]) -> None:
            sink.write(encode_json(message) + b"\n")
            sink.flush()

        asked: dict[str, Any] = decode_json(source.readline(_MAX_LINE_BYTES), max_bytes=_MAX_LINE_BYTES)
        try:
            manifest = create_backup(
                Home(Path(asked["home"])),
                Path(asked["target"]),
                passphrase=bytes.fromhex(asked["passphrase"]),
                clock=SystemClock(),
                without_database=asked["without_database"],
                progress=lambda step, done, total: tell({"step": step, "done": done, "total": total}),
            )
        except errors.ShuiqiaoError as error:
            tell({"kind": type(error).__name__, "code": error.code, "message": error.message[:8_192]})
            return
        tell({"height": manifest.ledger.height, "database": manifest.database})

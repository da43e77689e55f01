"""A file on its way in: on disk in the home while it comes, and gone again unless a job keeps it.

An upload that is cut off leaves nothing [API-11]; what a killed process left is removed when the home is served again.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from fastapi.concurrency import run_in_threadpool

from shuiqiao.base.durable import flush_file
from shuiqiao.base.errors import Unavailable
from shuiqiao.node.jobs.ingests import SentFiles

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request

    from shuiqiao.node.home.settings import Home

MAX_UPLOAD_BYTES: Final = 4 * 1024**3
"""Longest file that is taken in over HTTP; larger ones are taken in at the bureau's own machine."""

MAX_HELD: Final = 8
"""Files that come in or wait for the end of their job at one time: they lie on the disk of the home."""

RETRY_S: Final = 5.0
_PIECE_BYTES: Final = 1024 * 1024


@dataclass(slots=True)
class Upload:
    """A file that came in whole. job: the id of the job that is to be asked for. is_kept: whether it was.

    digest: SHA-256 of its bytes.
    """

    job: bytes
    path: Path
    digest: bytes = b""
    is_kept: bool = False


class Uploads:
    """The files that come into one home; of one process and one loop, for the lock on the home is that process's."""

    def __init__(self, home: Home) -> None:
        self._sent = SentFiles(home)

    @asynccontextmanager
    async def receive(self, request: Request, *, name: str) -> AsyncGenerator[Upload]:
        """Give the body of a request as a file of a name, whole and on the disk; gone after it unless it is kept.

        Raises Unavailable ``api.uploads_many`` while as many are held as may; OSError where the disk takes no more.
        """
        held = self._sent.count()
        if held >= MAX_HELD:
            raise Unavailable("api.uploads_many", f"{held} files came in, as many as may", retry_after_s=RETRY_S)
        job = secrets.token_bytes(16)
        folder = self._sent.folder_of(job)
        upload = Upload(job=job, path=folder / name)
        try:
            # Not on another thread: between counting and this nothing else may come in.
            folder.mkdir(mode=0o700, parents=True)
            upload.digest = await _write(request, upload.path)
            await run_in_threadpool(self._sent.make_durable, job)
            yield upload
        finally:
            if not upload.is_kept:
                self._sent.remove(job)


async def _write(request: Request, path: Path) -> bytes:
    """Write the body of a request to a file; return its digest."""
    state = hashlib.sha256()

    def take(file: BinaryIO, piece: bytes) -> None:
        state.update(piece)
        file.write(piece)

    with path.open("xb") as file:
        buffer = bytearray()
        async for piece in request.stream():
            buffer += piece
            if len(buffer) >= _PIECE_BYTES:
                await run_in_threadpool(take, file, bytes(buffer))
                buffer.clear()
        await run_in_threadpool(take, file, bytes(buffer))
        await run_in_threadpool(flush_file, file)
    return state.digest()

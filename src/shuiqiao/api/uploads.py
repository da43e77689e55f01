"""A file on its way in: on disk in the home while it comes, gone again whatever becomes of it.

An upload that is cut off leaves nothing [API-11]; what a killed process left is removed when the home is served again.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fastapi.concurrency import run_in_threadpool

from shuiqiao.base.errors import Unavailable

if TYPE_CHECKING:
    from starlette.requests import Request

    from shuiqiao.node.home.settings import Home

MAX_UPLOAD_BYTES: Final = 4 * 1024**3
"""Longest file that is taken in over HTTP; larger ones are taken in at the bureau's own machine."""

MAX_AT_ONCE: Final = 8
"""Uploads at one time: their files lie on the disk of the home."""

RETRY_S: Final = 5.0
_PIECE_BYTES: Final = 1024 * 1024


class Uploads:
    """The files that come into one home; of one process and one loop, for the lock on the home is that process's."""

    def __init__(self, home: Home) -> None:
        """Remove what a process left that was killed while files came in."""
        self._folder = home.folder / "uploads"
        self._open = 0
        shutil.rmtree(self._folder, ignore_errors=True)

    @asynccontextmanager
    async def receive(self, request: Request, *, name: str) -> AsyncGenerator[Path]:
        """Give the body of a request as a file of a name, as long as the block lasts.

        Raises Unavailable ``api.uploads_many`` while as many come in as may.
        """
        if self._open >= MAX_AT_ONCE:
            raise Unavailable("api.uploads_many", f"{self._open} files come in, as many as may", retry_after_s=RETRY_S)
        self._open += 1
        folder = self._folder / secrets.token_hex(8)
        try:
            await run_in_threadpool(folder.mkdir, parents=True)
            path = folder / name
            await _write(request, path)
            yield path
        finally:
            self._open -= 1
            shutil.rmtree(folder, ignore_errors=True)


async def _write(request: Request, path: Path) -> None:
    with path.open("xb") as file:
        buffer = bytearray()
        async for piece in request.stream():
            buffer += piece
            if len(buffer) >= _PIECE_BYTES:
                await run_in_threadpool(file.write, bytes(buffer))
                buffer.clear()
        await run_in_threadpool(file.write, bytes(buffer))

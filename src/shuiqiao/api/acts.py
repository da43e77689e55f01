"""Acts are done once: a request that is sent again under its idempotency key gets the answer of the first one.

[API-9]

Whoever sends a POST names it by a key of its own choice. Under one key there is one act: the same request again is
answered as it was, another one under the same key is refused, and one that comes while the first is at work learns so.
A file that comes in is part of what is asked: its route asks here once the file is on the disk, with its digest.
An act that was refused did nothing: it is forgotten, and its key may be used again. What a killed process left
unanswered, or what could not be ended then, is done again. So what an act makes is found by whoever does it again: by
the signed bytes that were sent, by a business key in them, or by the id of the act (``act_id``), which follows from
caller and key.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final

from fastapi import Request, Response
from fastapi.concurrency import run_in_threadpool

from shuiqiao.api.problems import RefusedValue, answer_of
from shuiqiao.api.store import ActRow, ActStore
from shuiqiao.base.errors import Conflict
from shuiqiao.base.ids import ID_BYTES
from shuiqiao.client.http import IDEMPOTENCY_HEADER

if TYPE_CHECKING:
    from shuiqiao.base.clock import Clock
    from shuiqiao.node.accounts.model import Principal

KEY_FORM: Final = r"^[A-Za-z0-9_-]{8,64}$"
REPLAYED_HEADER: Final = "Idempotency-Replayed"

KEPT_MS: Final = 24 * 3_600_000
"""How long an answer is kept for whoever asks again, in milliseconds."""

_CLEAN_MS: Final = 600_000
_REFUSED: Final = 400
_KEY: Final = re.compile(KEY_FORM)

KEY_PARAMETER: Final = {
    "name": IDEMPOTENCY_HEADER,
    "in": "header",
    "required": True,
    "description": "Names the act; sent again after a failure, so that it is done once",
    "schema": {"type": "string", "pattern": KEY_FORM},
    "example": "0d4c3a52f1b94c0e8d0a4f6b1c2e3d4f",
}
"""How the document of the API tells of the key."""

act_id: ContextVar[bytes] = ContextVar("act_id", default=b"")
"""The id of the act at work in this context, 16 bytes that nobody else can foretell; empty outside of one.

What an act makes takes it for its id, so that the same request makes one thing however often it is done.
"""


class Acts:
    """The acts of one running institution."""

    def __init__(self, store: ActStore, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._run = secrets.token_bytes(16)
        self._cleaning = threading.Lock()
        self._cleaned_ms = 0

    async def once(
        self,
        request: Request,
        *,
        caller: Principal,
        file_digest: bytes | None = None,
        is_secret: bool = False,
        act: Callable[[Request], Awaitable[Response]],
    ) -> Response:
        """Do what a request asks, or return what was answered to it before.

        file_digest: of its body where that was read already, and went to the disk. is_secret: the answer is told once
        and not kept; the act itself answers who asks again, refuses it or makes a new secret. Raises InvalidInput
        ``api.key_missing``, Conflict ``api.key_reused`` or ``api.act_in_progress``.
        """
        name = self._store.tag(caller.kind, caller.id, require_key(request))
        question = self._store.tag(await _question(request, file_digest=file_digest))
        known = await run_in_threadpool(self._begin, name, question)
        if known is not None:
            return _again(known)
        named = act_id.set(name[:ID_BYTES])
        try:
            response = await answer_of(act, request)
        except BaseException:
            await run_in_threadpool(self._store.forget, name, run=self._run)
            raise
        finally:
            act_id.reset(named)
        await run_in_threadpool(self._end, name, response, is_kept=not is_secret)
        return response

    def _begin(self, name: bytes, question: bytes) -> ActRow | None:
        """Begin an act, or return it where it was answered before."""
        now_ms = self._clock.now_ms()
        self._clean(now_ms)
        found = self._store.begin(ActRow(act=name, question=question, run=self._run, begun_ms=now_ms))
        if found is None:
            return None
        if found.question != question:
            raise Conflict("api.key_reused", "the idempotency key names another request of this caller")
        if found.status is not None:
            return found
        if found.run == self._run or not self._store.take_over(name, old_run=found.run, new_run=self._run):
            raise Conflict("api.act_in_progress", "the request under this idempotency key is being answered")
        return None

    def _end(self, name: bytes, response: Response, *, is_kept: bool) -> None:
        if response.status_code >= _REFUSED or not is_kept:
            self._store.forget(name, run=self._run)
            return
        self._store.finish(
            name,
            run=self._run,
            status=response.status_code,
            media_type=response.headers.get("content-type", ""),
            body=bytes(response.body),
        )

    def _clean(self, now_ms: int) -> None:
        with self._cleaning:
            if now_ms - self._cleaned_ms < _CLEAN_MS:
                return
            self._cleaned_ms = now_ms
        self._store.forget_before(now_ms - KEPT_MS)


def require_key(request: Request) -> str:
    """Return the key that a request was sent under; raises InvalidInput ``api.key_missing``."""
    key = request.headers.get(IDEMPOTENCY_HEADER, "")
    if not _KEY.fullmatch(key):
        raise RefusedValue(
            "api.key_missing",
            f"{IDEMPOTENCY_HEADER} has 8 to 64 letters, digits, - or _, sent was {key[:64]!r}",
            field=f"header.{IDEMPOTENCY_HEADER}",
            value=key or "nothing",
        )
    return key


async def _question(request: Request, *, file_digest: bytes | None) -> str:
    """Return the digest of what a request asks."""
    state = hashlib.sha256()
    for part in (request.method, request.url.path, request.url.query):
        state.update(len(part).to_bytes(4) + part.encode())
    state.update(await request.body() if file_digest is None else file_digest)
    return state.hexdigest()


def _again(row: ActRow) -> Response:
    headers = {REPLAYED_HEADER: "true", "content-type": row.media_type or ""}
    return Response(row.body or b"", status_code=row.status or 0, headers=headers)

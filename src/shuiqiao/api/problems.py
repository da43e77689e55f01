"""Refusals of a door: whatever is raised while a request is answered becomes one problem+json answer [API-6].

What nobody foresaw is told as ``api.failed`` without any word of what it was: that stands in the log, under the id of
the request, which the answer names. Only a full disk is told as what it is, whatever was to be written.
"""

from __future__ import annotations

import errno
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import structlog
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from shuiqiao.base.errors import Denied, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.forms import full_width_words, in_words
from shuiqiao.base.memory import let_go_of_calls
from shuiqiao.base.visible import visible_line
from shuiqiao.client import request_id, tracing
from shuiqiao.client.problem import MEDIA_TYPE, FieldProblem, not_found, problem_of, status_of
from shuiqiao.client.wire import holds_secret, names_secret

if TYPE_CHECKING:
    from starlette.types import Send

log: structlog.stdlib.BoundLogger = structlog.get_logger("shuiqiao")

MAX_FIELDS: Final = 20
"""Fields that one refusal names; a caller that gets more wrong corrects these first."""

MAX_VALUE: Final = 100
"""Characters of a value that are shown again."""

MAX_PIECE: Final = 40
"""Characters that are shown around the place where a body stops being JSON."""

INWARD: Final = (
    "base.file_",
    "base.socket_",
    "crypto.column_",
    "crypto.key_file_",
    "crypto.trust_unreadable",
    "ledger.abci_",
    "ledger.alarm_damaged",
    "ledger.app_hash_",
    "ledger.block_contradicted",
    "ledger.checkpoint_contradicted",
    "ledger.checkpoint_missing",
    "ledger.checkpoint_not_stored",
    "ledger.comet_",
    "ledger.epoch_note_",
    "ledger.leaf_damaged",
    "ledger.locked",
    "ledger.node_",
    "ledger.open_failed",
    "ledger.position_",
    "ledger.rpc_",
    "ledger.segment",
    "ledger.snapshot_",
    "ledger.tile_busy",
    "ledger.tile_foreign",
    "ledger.witness_not_stored",
    "ledger.witness_record_",
    "node.backup_",
    "node.data_key_",
    "node.database_",
    "node.file_",
    "node.genesis_missing",
    "node.home_",
    "node.key_",
    "node.keys_",
    "node.passphrase_",
    "node.sealing_key_unusable",
    "node.tiles_checkpoint_missing",
)
"""How codes begin of what is wrong with a home's own files, whose messages name them: for its owner and the log."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


class RefusedValue(InvalidInput):
    """A refusal of one value of a request, which the answer names beside the words."""

    __slots__ = ("fields",)

    def __init__(self, code: str, message: str, *, next_step: str = "", field: str = "", value: str = "") -> None:
        """field: where the value stands, e.g. ``query.limit``. value: what was sent; both are shortened."""
        super().__init__(code, message, next_step=next_step)
        named = FieldProblem(
            field=visible_line(field)[:MAX_VALUE],
            message=visible_line(message)[:300],
            value=visible_line(value[:MAX_VALUE]),
        )
        self.fields = (named,) if field else ()


def install_handlers(app: FastAPI, *, is_owners: bool = False) -> None:
    """Let an app answer every refusal as problem+json. is_owners: whoever reaches it owns the home."""
    app.state.is_owners = is_owners
    app.add_exception_handler(ShuiqiaoError, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_form)
    app.add_exception_handler(HTTPException, _refuse_route)
    # Answered inside the app, and raised again to the door, which logs it: left to the app it would be a plain text.
    app.add_exception_handler(Exception, _refuse_unforeseen)


def response_of(error: ShuiqiaoError, *, fields: Sequence[FieldProblem] = (), is_owners: bool = False) -> Response:
    """Return the answer that tells an error, which then holds nothing any more.

    is_owners: the caller owns the home; anybody else is told no path and no database of it [API-6].
    """
    if not is_owners and error.code.startswith(INWARD):
        log.error("request.home_failed", code=error.code, message=error.message)
        error = _outward(error)
    tracing.tell(code=error.code)
    request_id.note(code=error.code)
    told = error.fields if isinstance(error, RefusedValue) else tuple(fields)
    problem = problem_of(error, request_id=request_id.current.get(), fields=told)
    let_go_of_calls(error)
    return Response(
        problem.model_dump_json(),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=dict(_headers_of(error)),
    )


def _outward(error: ShuiqiaoError) -> ShuiqiaoError:
    """Return an error about this home's files without what it says of them."""
    told = type(error)(
        error.code, "this server's own files or database fail; its log has why, under the id of this request"
    )
    if isinstance(error, Unavailable) and isinstance(told, Unavailable):
        told.retry_after_s = error.retry_after_s
    return told


async def answer_of(act: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
    """Return what a handler answers, a refusal as the answer that tells it."""
    try:
        return await act(request)
    except ShuiqiaoError as error:
        return response_of(error, is_owners=request.app.state.is_owners)
    except RequestValidationError as error:
        return await _refuse_form(request, error)


def _headers_of(error: ShuiqiaoError) -> Mapping[str, str]:
    headers = {"Cache-Control": "no-store"}
    status = status_of(error)
    if status is HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.TOO_MANY_REQUESTS):
        # Whoever is not known, or asks too often, holds no connection open by it.
        headers["Connection"] = "close"
    if isinstance(error, Unavailable) and error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    return headers


async def _refuse(request: Request, error: Exception) -> Response:
    assert isinstance(error, ShuiqiaoError)
    return response_of(error, is_owners=request.app.state.is_owners)


async def _refuse_form(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    body = error.body if isinstance(error.body, str) else ""
    fields = [_field(found, body=body) for found in error.errors()[:MAX_FIELDS]]
    words = "; ".join(f"{field.field}: {field.message}, sent was {field.value}" for field in fields[:3])
    return response_of(InvalidInput("api.request_invalid", f"the request is not well formed: {words}"), fields=fields)


def _field(found: Mapping[str, Any], *, body: str) -> FieldProblem:
    if found.get("type") == "json_invalid":
        return _malformed(found, body=body)
    # A validation error shows the whole object where a field of it is missing; that is not shown again.
    given = found.get("input")
    value = "nothing" if found.get("type") == "missing" else repr(given)
    words = in_words(str(found.get("msg", "")))
    if holds_secret(found.get("loc", ())):
        value = "not shown again"
    elif isinstance(given, str):
        words += full_width_words(given)
    return FieldProblem(
        field=visible_line(".".join(str(part) for part in found.get("loc", ())))[:MAX_VALUE],
        message=visible_line(words)[:300],
        value=visible_line(value[:MAX_VALUE]),
    )


def _malformed(found: Mapping[str, Any], *, body: str) -> FieldProblem:
    """Return what is wrong with a body that is no JSON, and the piece of it where its reading stopped."""
    place = int(found["loc"][1])
    piece = body[max(0, place - MAX_PIECE // 2) : place + MAX_PIECE // 2]
    # A piece without its field's name may be of a secret.
    value = "not shown again" if names_secret(body) else repr(piece)
    words = f"no JSON at character {place + 1}: {found['ctx']['error']}"
    return FieldProblem(field="body", message=visible_line(words)[:300], value=visible_line(value)[:MAX_VALUE])


async def _refuse_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    refused = _refused_route(error, method=request.method)
    answer = response_of(refused)
    for name, value in (error.headers or {}).items():
        answer.headers[name] = value
    return answer


def _refused_route(error: HTTPException, *, method: str) -> ShuiqiaoError:
    match error.status_code:
        case HTTPStatus.NOT_FOUND:
            return not_found()
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return InvalidInput("api.method_wrong", f"{method[:20]} is not a method of this address")
        case HTTPStatus.FORBIDDEN:
            return Denied("api.forbidden", "this caller may not do this")
        case _:
            return InvalidInput("api.request_invalid", "the request is not well formed")


async def _refuse_unforeseen(_request: Request, error: Exception) -> Response:
    return response_of(failed(error))


def failed(error: Exception) -> Unavailable:
    """Return the refusal that tells of an error that nobody foresaw."""
    if isinstance(error, OSError) and error.errno in _FULL:
        return Unavailable("node.home_unwritable", "the disk of the home is full, or a limit of its files is reached")
    return Unavailable("api.failed", "the server met an error of its own; its log has it under the id of this request")


async def send_refusal(error: ShuiqiaoError, send: Send, *, closes: bool) -> None:
    """Answer with an error where no app was reached. closes: the connection ends, for its body was not read."""
    response = response_of(error)
    headers = [*response.raw_headers, *([(b"connection", b"close")] if closes else [])]
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": bytes(response.body)})

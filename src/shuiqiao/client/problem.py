"""A refusal on the wire (RFC 9457, ``application/problem+json``): the product's errors to HTTP and back.

The class of an error says who must act, and gives its HTTP status; some codes have a status of their own. The client
makes the same error of the answer that the server made it of, so a command shows a refusal from another process as it
would show its own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, TypeGuard

from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.visible import visible_line
from shuiqiao.client.wire import Wire, example

MEDIA_TYPE: Final = "application/problem+json"

MAX_PROBLEM_BYTES: Final = 65_536
"""Longest refusal that is read."""

MAX_DETAIL: Final = 2_000
"""Longest message, in characters."""

CODE_FORM: Final = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+", re.ASCII)
MAX_CODE: Final = 80
"""Longest code, in characters: as an entry of the journal has it."""

MAX_RETRY_S: Final = 86_400
"""Longest wait that a server may ask for, in seconds."""

_CLASSES: Final[Mapping[str, type[ShuiqiaoError]]] = {
    "invalid_input": InvalidInput,
    "denied": Denied,
    "conflict": Conflict,
    "unavailable": Unavailable,
    "integrity": IntegrityError,
}
_STATUS_OF_CLASS: Final = {
    "invalid_input": HTTPStatus.BAD_REQUEST,
    "denied": HTTPStatus.FORBIDDEN,
    "conflict": HTTPStatus.CONFLICT,
    "unavailable": HTTPStatus.SERVICE_UNAVAILABLE,
    "integrity": HTTPStatus.UNPROCESSABLE_ENTITY,
}
_STATUS_OF_CODE: Final[Mapping[str, HTTPStatus]] = {
    "api.unauthenticated": HTTPStatus.UNAUTHORIZED,
    "api.not_found": HTTPStatus.NOT_FOUND,
    "api.method_wrong": HTTPStatus.METHOD_NOT_ALLOWED,
    "api.media_type_wrong": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "api.not_acceptable": HTTPStatus.NOT_ACCEPTABLE,
    "api.body_too_large": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "api.body_slow": HTTPStatus.REQUEST_TIMEOUT,
    "api.too_many_requests": HTTPStatus.TOO_MANY_REQUESTS,
    "api.failed": HTTPStatus.INTERNAL_SERVER_ERROR,
    "consent.ceiling_exceeded": HTTPStatus.PRECONDITION_FAILED,
    "exchange.frequency_exceeded": HTTPStatus.PRECONDITION_FAILED,
    "privacy.budget_exceeded": HTTPStatus.PRECONDITION_FAILED,
    "consent.enrolment_unknown": HTTPStatus.NOT_FOUND,
    "exchange.request_unknown": HTTPStatus.NOT_FOUND,
    "jobs.name_unclear": HTTPStatus.NOT_FOUND,
    "ledger.height_unknown": HTTPStatus.NOT_FOUND,
    "ledger.index_unknown": HTTPStatus.NOT_FOUND,
    "ledger.size_unknown": HTTPStatus.NOT_FOUND,
    "credit.model_unclear": HTTPStatus.NOT_FOUND,
    "lending.application_not_here": HTTPStatus.NOT_FOUND,
    "lending.application_unknown": HTTPStatus.NOT_FOUND,
    "lending.product_unknown": HTTPStatus.NOT_FOUND,
    "lending.undecided": HTTPStatus.NOT_FOUND,
    "node.application_unclear": HTTPStatus.NOT_FOUND,
    "node.act_unregistered": HTTPStatus.FORBIDDEN,
    "node.approval_unknown": HTTPStatus.NOT_FOUND,
    "node.challenge_invalid": HTTPStatus.UNAUTHORIZED,
    "node.journal_entry_unknown": HTTPStatus.NOT_FOUND,
    "node.login_locked": HTTPStatus.TOO_MANY_REQUESTS,
    "node.login_refused": HTTPStatus.UNAUTHORIZED,
    "node.not_validator": HTTPStatus.NOT_FOUND,
    "node.pending_unclear": HTTPStatus.NOT_FOUND,
    "node.user_unknown": HTTPStatus.NOT_FOUND,
    "node.version_unknown": HTTPStatus.CONFLICT,
    "standards.file_missing": HTTPStatus.NOT_FOUND,
    "standards.type_unknown": HTTPStatus.NOT_FOUND,
    "vault.batch_unknown": HTTPStatus.NOT_FOUND,
}


class FieldProblem(Wire):
    """What is wrong with one field of a request."""

    field: str
    """Where it stands, e.g. ``query.limit`` or ``body.items.0.type``."""
    message: str
    value: str
    """What was sent, shortened."""


class Problem(Wire):
    """A refusal. ``code`` is stable; ``kind`` says who must act; both languages say what to do next."""

    model_config = example(
        type="about:blank",
        title="Not Found",
        status=404,
        detail="there is nothing at this address for this caller",
        kind="invalid_input",
        code="api.not_found",
        next_step="Compare the address with the reference of the API.",
        next_step_zh="请对照接口文档检查地址",
        request_id="1f0c9a1be0a24d2f8a77c1d4b3e90a55",
        retry_after_s=None,
        fields=[],
    )

    type: str
    title: str
    status: int
    detail: str
    kind: str
    code: str
    next_step: str
    next_step_zh: str
    request_id: str
    retry_after_s: float | None
    fields: tuple[FieldProblem, ...]


def status_of(error: ShuiqiaoError) -> HTTPStatus:
    """Return the HTTP status of an error."""
    return _STATUS_OF_CODE.get(error.code) or _STATUS_OF_CLASS[_kind_of(error)]


def status_of_code(code: str) -> HTTPStatus | None:
    """Return the HTTP status that a code has of its own, None where its class decides."""
    return _STATUS_OF_CODE.get(code)


def unauthenticated(*, is_sent: bool = False) -> Denied:
    """Return the one refusal of who is not known, whatever is wrong with the token. is_sent: there is one."""
    found = "the one that was sent is not valid here, or has ended" if is_sent else "none was given"
    return Denied("api.unauthenticated", f"this needs a valid token, and {found}")


def not_found() -> InvalidInput:
    """Return the one refusal of what is not there, and of what is another's."""
    return InvalidInput("api.not_found", "there is nothing at this address for this caller")


def problem_of(error: ShuiqiaoError, *, request_id: str = "", fields: tuple[FieldProblem, ...] = ()) -> Problem:
    """Return an error as it goes over the wire.

    ::

        problem_of(Denied("consent.revoked", "the consent 4f.. was revoked")).status == 403
    """
    status, shape = status_of(error), error.as_dict()
    return Problem(
        type="about:blank",
        title=status.phrase,
        status=status,
        detail=visible_line(error.message)[:MAX_DETAIL],
        kind=_kind_of(error),
        code=error.code,
        next_step=shape["next_step"],
        next_step_zh=shape["next_step_zh"],
        request_id=request_id,
        retry_after_s=error.retry_after_s if isinstance(error, Unavailable) else None,
        fields=fields,
    )


def error_of(body: bytes, *, status: int, place: str) -> ShuiqiaoError:
    """Return the error that a refusal carries; place: who refused, for an answer that is no refusal of ours.

    Whoever answers may be hostile: text is bounded and made visible, and an unknown kind is told as Unavailable.
    """
    found = _object(body)
    kind, code, detail = found.get("kind"), found.get("code"), found.get("detail")
    known = _CLASSES.get(kind) if isinstance(kind, str) else None
    if known is None or not _is_code(code) or not isinstance(detail, str):
        return Unavailable(
            "client.answer_foreign", f"{place} answered {status} and not in the form of this product's refusals"
        )
    detail, step = visible_line(detail)[:MAX_DETAIL], found.get("next_step")
    next_step = visible_line(step)[:MAX_DETAIL] if isinstance(step, str) else ""
    if known is Unavailable:
        return Unavailable(code, detail, next_step=next_step, retry_after_s=_seconds(found.get("retry_after_s")))
    return known(code, detail, next_step=next_step)


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body[:MAX_PROBLEM_BYTES])
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_code(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and len(value) <= MAX_CODE and CODE_FORM.fullmatch(value) is not None


def _seconds(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= MAX_RETRY_S:
        return None
    return float(value)


def _kind_of(error: ShuiqiaoError) -> str:
    return next((name for name, each in _CLASSES.items() if isinstance(error, each)), "unavailable")

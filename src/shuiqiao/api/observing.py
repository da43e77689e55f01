"""What a door tells of itself: a line for each request in the log, and figures for Prometheus.

A line holds names, ids, codes and times, never a payload: whatever is not on the list of fields is left out. Every
request has an id, which goes on to the institutions that are asked because of it, and which the answer names.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.requests import ClientDisconnect

from shuiqiao.api.problems import failed, send_refusal
from shuiqiao.client import request_id, tracing
from shuiqiao.node.figures import FiguresCollector

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from shuiqiao.node.server import RunningInstitution

LOGGED: Final = frozenset(
    [
        "event",
        "level",
        "timestamp",
        "request_id",
        "door",
        "method",
        "route",
        "status",
        "code",
        "ms",
        "member",
        "role",
        "caller_kind",
        "caller_id",
        "error_type",
        "trace",
        "listening",
        "pid",
        "signal",
        "seconds",
        "job",
        "attempt",
        "peer",
        "act",
        "height",
    ]
)
"""The fields a line may hold; a field that is not here is left out, so that nothing private is logged by mistake."""

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_FAILED: Final = 500
_UNKNOWN_ROUTE: Final = "unknown"
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

log: structlog.stdlib.BoundLogger = structlog.get_logger("shuiqiao")


def set_up_logging() -> None:
    """Log to standard error, one JSON object a line; what granian says of itself is left out."""
    logging.getLogger("_granian").disabled = True
    logging.getLogger("granian.access").disabled = True
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _with_request_id,
            _only_listed,
            structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=_StandardError,
        cache_logger_on_first_use=False,
    )


class _StandardError:
    """Writes lines to standard error as it is now; a reader of the log that is gone ends no request and no job."""

    def __init__(self, *_names: str) -> None:
        """Take what a logger is asked for by; all write to one place."""

    def msg(self, line: str) -> None:
        """Write a line, as far as there is somebody to read it."""
        with suppress(OSError, ValueError):
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()

    info = warning = error = msg


def _with_request_id(_logger: object, _name: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    if found := request_id.current.get():
        line.setdefault("request_id", found)
    return line


def _only_listed(_logger: object, _name: str, line: MutableMapping[str, Any]) -> Mapping[str, Any]:
    return {name: value for name, value in line.items() if name in LOGGED}


class Metrics:
    """The figures of one running institution."""

    def __init__(self, running: RunningInstitution) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "shuiqiao_http_requests",
            "Requests that were answered",
            ["door", "method", "route", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "shuiqiao_http_request_seconds",
            "Time from a request's first byte to its answer's last",
            ["door", "route"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.open = Gauge("shuiqiao_http_open_requests", "Requests being answered", ["door"], registry=self.registry)
        self.registry.register(FiguresCollector(running.figures))

    def text(self) -> bytes:
        """Return all figures in Prometheus' text form."""
        return generate_latest(self.registry)


class Observing:
    """Gives each request its id, counts and logs it, and answers for what nobody foresaw."""

    def __init__(self, app: ASGIApp, *, door: str, metrics: Metrics) -> None:
        self._app = app
        self._door = door
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return
        headers = dict(scope["headers"])
        found = request_id.taken_or_new(headers.get(request_id.HEADER.lower().encode(), b"").decode("ascii", "replace"))
        above = headers.get(tracing.HEADER.encode(), b"").decode("ascii", "replace")
        token, noted = request_id.current.set(found), request_id.noted.set({})
        watched = _Watched(send, request=found)
        began = time.perf_counter()
        self._metrics.open.labels(self._door).inc()
        try:
            with tracing.span("request", kind="server", parent=above, door=self._door, request=found) as span:
                try:
                    await self._answer(scope, receive, watched)
                finally:
                    self._tell(scope, status=watched.status, seconds=time.perf_counter() - began, span=span)
        finally:
            self._metrics.open.labels(self._door).dec()
            request_id.current.reset(token)
            request_id.noted.reset(noted)

    async def _answer(self, scope: Scope, receive: Receive, watched: _Watched) -> None:
        try:
            await self._app(scope, receive, watched.send)
        except ClientDisconnect:
            log.info("request.broken_off")
        except Exception as error:  # noqa: BLE001 - the door answers for whatever went wrong behind it
            # A traceback's own text may hold values.
            log.error("request.failed", error_type=type(error).__name__, trace=_trace_of(error))  # noqa: TRY400
            if not watched.status:
                await send_refusal(failed(error), watched.send, closes=False)

    def _tell(self, scope: Scope, *, status: int, seconds: float, span: tracing.Span) -> None:
        found = scope.get("route")
        route = str(getattr(found, "path", _UNKNOWN_ROUTE))
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._metrics.requests.labels(self._door, method, route, str(status)).inc()
        self._metrics.seconds.labels(self._door, route).observe(seconds)
        span.rename(f"{method} {route}")
        span.tell(method=method, route=route, status=status)
        if status >= _FAILED:
            span.fail()
        log.info(
            "request.answered",
            door=self._door,
            method=method,
            route=route,
            status=status,
            ms=round(seconds * 1000, 1),
            **(request_id.noted.get() or {}),
        )


class _Watched:
    """An answer on its way out, with the id of its request."""

    def __init__(self, send: Send, *, request: str) -> None:
        self.status = 0
        self._send = send
        self._header = (request_id.HEADER.lower().encode(), request.encode())

    async def send(self, message: Message) -> None:
        """Send on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message = {**message, "headers": [*message.get("headers", ()), self._header]}
        await self._send(message)


def _trace_of(error: BaseException) -> list[str]:
    """Return where an error came from, file by file, without the values and messages that it may carry."""
    frames, found = list[str](), error.__traceback__
    while found is not None:
        code = found.tb_frame.f_code
        frames.append(f"{code.co_filename.rpartition('site-packages/')[2]}:{found.tb_lineno} {code.co_name}")
        found = found.tb_next
    return frames[-12:]

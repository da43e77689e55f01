"""Traces 链路追踪: how long each request, each message to another member and each job took, and because of what.

A server whose node.toml names an OpenTelemetry collector sends it spans by OTLP over HTTP. The official SDK does that,
an extra of this package that nothing imports without the setting. The context of a trace (W3C ``traceparent``) goes
along with the id of the request to every institution that is asked because of it.

A span holds what ``TOLD`` lists and no more: names of routes, acts and members, random ids, statuses and codes. No
path, no parameter, no message and no text of an error is among them, so no taxpayer's number or data is [API-19].

LIMIT: what the collector does not take in time is dropped in silence: nothing waits for it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

from shuiqiao import __version__
from shuiqiao.base.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span as SdkSpan
    from opentelemetry.trace import Tracer

HEADER: Final = "traceparent"

EXPORT_TIMEOUT_S: Final = 3.0
"""How long the collector has to take a batch, also of what is left when the server ends."""

QUEUED: Final = 2_048
EVERY_MS: Final = 1_000
"""Spans that wait, and how often they go, all together, so that a dead collector holds up an end twice at most."""

TOLD: Final = {
    "door": "shuiqiao.door",
    "method": "http.request.method",
    "route": "http.route",
    "status": "http.response.status_code",
    "request": "shuiqiao.request_id",
    "peer": "shuiqiao.peer",
    "act": "shuiqiao.act",
    "job": "shuiqiao.job.id",
    "job_kind": "shuiqiao.job.kind",
    "attempt": "shuiqiao.job.attempt",
    "state": "shuiqiao.job.state",
    "code": "error.type",
}
"""The attributes that a span may have, by how the code names them; what is not here is left out."""

_PARENT: Final = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")

INSTALL: Final = (
    "uv pip install --python .venv/bin/python 'opentelemetry-sdk>=1.38,<2' "
    "'opentelemetry-exporter-otlp-proto-http>=1.38,<2'"
)


class Span:
    """Something that takes time; this one is told of nowhere."""

    def tell(self, **_named: str | int) -> None:
        """Say what is known of it."""

    def rename(self, name: str) -> None:
        """Give it the name that is known by now."""

    def fail(self) -> None:
        """Say that it did not end as it should."""

    @property
    def context(self) -> str:
        """What goes along with a request that is made because of it, empty for nothing."""
        return ""


class _SentSpan(Span):
    """One that goes to the collector."""

    def __init__(self, span: SdkSpan) -> None:
        self._span = span

    def tell(self, **named: str | int) -> None:
        for name, value in named.items():
            if name in TOLD:
                self._span.set_attribute(TOLD[name], value if isinstance(value, int) else str(value))

    def rename(self, name: str) -> None:
        self._span.update_name(name)

    def fail(self) -> None:
        from opentelemetry.trace import StatusCode

        self._span.set_status(StatusCode.ERROR)

    @property
    def context(self) -> str:
        found = self._span.get_span_context()
        return f"00-{found.trace_id:032x}-{found.span_id:016x}-{found.trace_flags & 1:02x}"


_NONE: Final = Span()
_current: ContextVar[Span] = ContextVar("span", default=_NONE)
_tracer: Tracer | None = None
"""Of the one institution that this process serves."""


def span(
    name: str, *, kind: Literal["server", "client", "internal"] = "internal", parent: str = "", **named: str | int
) -> AbstractContextManager[Span]:
    """Tell of what is done inside. parent: the context that came with a request, else what is being done here already.

    ::

        with tracing.span("peer exchange.ask", kind="client", peer="tax-bureau", act="exchange.ask"):
            answer = http.request("POST", path)
    """
    return nullcontext(_NONE) if _tracer is None else _spanned(_tracer, name, kind=kind, parent=parent, named=named)


def tell(**named: str | int) -> None:
    """Say something of what is being done in this context."""
    _current.get().tell(**named)


def context() -> str:
    """Return the ``traceparent`` of what is being done in this context, empty for none."""
    return _current.get().context


@contextmanager
def _spanned(tracer: Tracer, name: str, *, kind: str, parent: str, named: dict[str, str | int]) -> Generator[Span]:
    from opentelemetry.trace import SpanKind

    above = _context_of(parent or context())
    started = tracer.start_span(name, context=above, kind=SpanKind[kind.upper()], record_exception=False)
    found = _SentSpan(started)
    found.tell(**named)
    token = _current.set(found)
    try:
        yield found
    except BaseException:
        # What went wrong may say anything: a text of it is no part of a trace.
        found.fail()
        raise
    finally:
        _current.reset(token)
        started.end()


def _context_of(text: str) -> Context:
    """Return the context that a ``traceparent`` names, an empty one for any other text."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    parts = _PARENT.fullmatch(text)
    if parts is None:
        return Context()
    trace, above, flags = (int(part, 16) for part in parts.groups())
    found = SpanContext(trace, above, is_remote=True, trace_flags=TraceFlags(flags & 1))
    return set_span_in_context(NonRecordingSpan(found), Context())


@contextmanager
def exported(endpoint: str, *, member: str) -> Generator[None]:
    """Send what this process does inside to a collector, in the name of a member; nothing where no endpoint is named.

    Raises InvalidInput ``node.collector_invalid``, Unavailable ``node.opentelemetry_missing``.
    """
    global _tracer  # noqa: PLW0603 - a process serves one institution, as it has one log
    if not endpoint:
        yield
        return
    provider = _provider(endpoint, member=member)
    _tracer = provider.get_tracer("shuiqiao", __version__)
    try:
        yield
    finally:
        _tracer = None
        provider.shutdown()


def _provider(endpoint: str, *, member: str) -> TracerProvider:
    _require_url(endpoint)
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise Unavailable(
            "node.opentelemetry_missing",
            f"node.toml names a collector of traces, and {error.name or 'the SDK'} is not installed",
            next_step=INSTALL,
        ) from error
    # It would write each batch that a collector does not take to standard error, which has one JSON object a line.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
    # Named here and not found out: what runs on this machine is nobody's business.
    provider = TracerProvider(
        resource=Resource({"service.name": "shuiqiao", "service.version": __version__, "service.instance.id": member}),
        shutdown_on_exit=False,
    )
    exporter = OTLPSpanExporter(endpoint=endpoint, timeout=EXPORT_TIMEOUT_S)
    provider.add_span_processor(
        BatchSpanProcessor(
            exporter, max_queue_size=QUEUED, max_export_batch_size=QUEUED, schedule_delay_millis=EVERY_MS
        )
    )
    return provider


def _require_url(endpoint: str) -> None:
    try:
        found: Any = urlsplit(endpoint)
        is_url = found.scheme in {"http", "https"} and bool(found.hostname) and not (found.username or found.password)
        _ = found.port
    except ValueError:
        is_url = False
    if not is_url:
        raise InvalidInput(
            "node.collector_invalid", f"{endpoint[:200]!r} does not have the form http://host:port/v1/traces"
        )

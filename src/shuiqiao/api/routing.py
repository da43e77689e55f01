"""How a route of the API is declared: its permission, its refusals and its example stand where it is written.

Access is asked before the body is read. What a route does not declare nobody documents, and a route without a
permission cannot be written.
"""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Coroutine, Hashable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar, get_args, get_type_hints

from anyio import to_thread
from fastapi import Depends, Query, Request, Response
from fastapi.routing import APIRoute
from starlette.routing import Match

from shuiqiao.api.access import OPEN, require_access
from shuiqiao.api.acts import KEY_PARAMETER, require_key
from shuiqiao.api.forms import CSV, WireResponse, csv_of, formed
from shuiqiao.api.limits import KNOWN_RATE, UNKNOWN_RATE, address_of_scope
from shuiqiao.api.problems import RefusedValue
from shuiqiao.base.encoding import unique_pairs
from shuiqiao.base.forms import is_whole_number
from shuiqiao.base.visible import visible_line
from shuiqiao.client.operation import PREFIX
from shuiqiao.client.pages import CURSOR_FORM, DEFAULT_ITEMS, MAX_ITEMS, Page
from shuiqiao.client.problem import MEDIA_TYPE, Problem, status_of_code
from shuiqiao.client.wire import Wire
from shuiqiao.node.accounts.model import Principal

if TYPE_CHECKING:
    from starlette.types import Scope

    from shuiqiao.api.door import Door
    from shuiqiao.api.lanes import Lane, Lanes
    from shuiqiao.client.operation import Operation

PERMISSION_FIELD: Final = "x-permission"
"""Where the OpenAPI document says which permission a route asks for."""

CODES_FIELD: Final = "x-problem-codes"

STREAMED_FIELD: Final = "x-streamed"
"""Where it says that a body is a file, taken in piece by piece."""

ACT_FIELD: Final = "x-journal-act"
"""Where it says under which name each call is an entry of the journal."""

TOLD_ONCE_FIELD: Final = "x-told-once"
"""Where it says that an answer is told once: it is not kept for who sends the same request again."""

_PROBES: Final = "health"
_LOGGING_IN: Final = "sessions"
"""Nouns of what is answered whoever else is at work."""

_ASKS_QUORUM: Final = "ledger.quorum_not_reached"
_REPLAYS: Final = "node.replay_too_long"
"""Codes of what may wait for the signatures of others, or executes the log again."""

_CHOICES: Final = frozenset({"day", "size", "proof"})
_OF_PAST: Final = f"{PREFIX}/past/"

_ALWAYS: Final = (400, 408, 429, 503)
_WITH_ACCESS: Final = (401, 403)
_WORDS: Final = {
    400: "Something sent is malformed or breaks a rule",
    401: "No valid token was sent",
    403: "The caller may not do this",
    404: "There is no such thing for this caller",
    406: "No form of the answer suits what is accepted",
    408: "The body came too slowly",
    409: "It contradicts what already happened",
    412: "It goes beyond a ceiling, or what it was based on has changed",
    413: "The body is larger than it may be",
    415: "The body has another form than this route takes",
    422: "Evidence does not hold",
    429: "The caller asks more often than it may",
    503: "Something that is needed is not there now",
}

Handler = TypeVar("Handler", bound=Callable[..., Any])


class _StrictRequest(Request):
    """A request whose body is read in one way alone: two readers never see two values under one name."""

    async def json(self) -> Any:
        """Return what the body says; raises JSONDecodeError for what is no JSON in UTF-8, or has a key twice."""
        body = await self.body()
        try:
            text = body.decode()
        except UnicodeDecodeError as error:
            raise json.JSONDecodeError("it is not UTF-8", "", 0) from error
        try:
            return json.loads(text, object_pairs_hook=unique_pairs)
        except json.JSONDecodeError:
            raise
        except ValueError as error:
            raise json.JSONDecodeError(str(error), text, 0) from error


class GuardedRoute(APIRoute):
    """A route that asks who calls, and whether it may, before anything of the request's body is read."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        """See APIRoute."""
        super().__init__(path, endpoint, **options)
        self._beginning = path.partition("{")[0]
        self._codes = frozenset((self.openapi_extra or {})[CODES_FIELD])
        self._is_of_past = self._beginning.startswith(_OF_PAST)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Tell whether a request is for this route; most others are known by how their paths begin."""
        return super().matches(scope) if scope["path"].startswith(self._beginning) else (Match.NONE, {})

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler behind the check of access."""
        inner = super().get_route_handler()
        permission = str((self.openapi_extra or {})[PERMISSION_FIELD])

        is_streamed = bool((self.openapi_extra or {}).get(STREAMED_FIELD))
        is_secret = bool((self.openapi_extra or {}).get(TOLD_ONCE_FIELD))
        names = {parameter.alias for parameter in self.dependant.query_params}
        numbers = {
            parameter.alias
            for parameter in (*self.dependant.query_params, *self.dependant.path_params)
            if _is_whole(parameter.field_info.annotation)
        }

        async def handle(plain: Request) -> Response:
            request = _StrictRequest(plain.scope, plain.receive)
            door: Door = request.app.state.door
            caller, holder = await _admitted(request, door=door, permission=permission)
            request.state.caller = caller
            _require_known(request, names)
            _require_whole_numbers(request, numbers)

            async def act(asked: Request) -> Response:
                async with AsyncExitStack() as places:
                    await self._take_places(asked, lanes=door.lanes, holder=holder, places=places)
                    return await inner(asked)

            async with self._lane_of(request, door.lanes).share(holder):
                # Who logs in is nobody yet, and a token that was lost is not given again.
                if is_streamed:
                    # Its handler asks for it to be done once: what is asked is known when the file is on the disk.
                    require_key(request)
                    response = await inner(request)
                elif request.method == "POST" and caller is not None:
                    response = await door.acts.once(request, caller=caller, is_secret=is_secret, act=act)
                else:
                    response = await act(request)
            answer = formed(request, response) if isinstance(response, WireResponse) else response
            if request.method == "POST":
                # It may hold a token or a secret, and is nobody's to keep but the caller's.
                answer.headers["Cache-Control"] = "no-store"
            return answer

        return handle

    def _lane_of(self, request: Request, lanes: Lanes) -> Lane:
        if _PROBES in self.tags:
            return lanes.probes
        return lanes.waiting if self._waits(request) else lanes.quick

    def _waits(self, request: Request) -> bool:
        """Tell whether an answer may wait for the ledger, another member or a replay, as acts and receipts do."""
        if request.method == "POST":
            return _LOGGING_IN not in self.tags
        if not self._codes & {_ASKS_QUORUM, _REPLAYS}:
            return False
        # Of a list that can do without, this is what is asked for.
        choices = _CHOICES & {parameter.alias for parameter in self.dependant.query_params}
        return not choices or self._is_of_past or not choices.isdisjoint(request.query_params)

    async def _take_places(self, request: Request, *, lanes: Lanes, holder: Hashable, places: AsyncExitStack) -> None:
        """Take a request's place in its lane, once its body is there: who is slow to send it takes nobody's."""
        if not self._waits(request):
            return
        if request.method == "POST":
            await request.body()
        if _REPLAYS in self._codes and (self._is_of_past or await _asks_past(request)):
            await places.enter_async_context(lanes.past.share(holder))
            await places.enter_async_context(lanes.past.place())
        else:
            await places.enter_async_context(lanes.waiting.place())


async def _asks_past(request: Request) -> bool:
    """Tell whether a list is to be one of a moment, or to have proofs; what is not well formed its route refuses."""
    sent: Any = request.query_params
    if request.method == "POST":
        try:
            sent = await request.json()
        except (ValueError, RecursionError):
            return False
    return isinstance(sent, Mapping) and any(
        not (sent.get(name) is None or sent.get(name) is False) for name in _CHOICES
    )


class Routes:
    """The routes of one noun.

    ::

        members = Routes("members", prefix="/members")

        @members.get("/{member}", permission="ledger.read", problems=(404,))
        def read_member(member: str, running: Running) -> MemberRecord: ...
    """

    def __init__(self, noun: str, *, prefix: str = "") -> None:
        """noun: under which the reference lists them."""
        self._noun = noun
        self._prefix = prefix
        self._declared: list[tuple[str, Callable[..., Any], dict[str, Any]]] = []
        self._made: dict[str, list[GuardedRoute]] = {}

    def under(self, prefix: str) -> Sequence[GuardedRoute]:
        """Return these routes under a prefix, the same for every app, since to make one takes milliseconds.

        An app has them itself: each router within a router would look for them anew.
        """
        if len(self._made.setdefault(prefix, [])) < len(self._declared):
            self._made[prefix] = [
                GuardedRoute(f"{prefix}{self._prefix}{path}", handler, tags=[self._noun], **options)
                for path, handler, options in self._declared
            ]
        return self._made[prefix]

    def get(
        self, path: str, *, permission: str, problems: Sequence[int] = (), codes: Sequence[str] = (), **more: Any
    ) -> Callable[[Handler], Handler]:
        """Declare a question. problems: the statuses of its refusals. codes: those that are its own."""
        return self._route("GET", path, permission=permission, problems=problems, codes=codes, **more)

    def post(
        self, path: str, *, permission: str, problems: Sequence[int] = (), codes: Sequence[str] = (), **more: Any
    ) -> Callable[[Handler], Handler]:
        """Declare an act."""
        return self._route(
            "POST", path, permission=permission, problems=(409, 413, 415, *problems), codes=codes, **more
        )

    def perform(
        self,
        operation: Operation[Any, Any],
        *,
        permission: str,
        problems: Sequence[int] = (),
        codes: Sequence[str] = (),
        **more: Any,
    ) -> Callable[[Handler], Handler]:
        """Declare the route of an operation, which names address and method."""
        extra: dict[str, Any] = {ACT_FIELD: operation.act} if operation.act else {}
        if operation.tells_secret:
            extra[TOLD_ONCE_FIELD] = True
        declare = self.get if operation.method == "GET" else self.post
        return declare(
            operation.path, permission=permission, problems=problems, codes=codes, openapi_extra=extra, **more
        )

    def _route(
        self, method: str, path: str, *, permission: str, problems: Sequence[int], codes: Sequence[str], **more: Any
    ) -> Callable[[Handler], Handler]:
        own = {status_of_code(code) for code in codes} - {None}
        with_access = () if permission == OPEN else _WITH_ACCESS
        statuses = sorted({*_ALWAYS, *with_access, *problems, *(int(status) for status in own if status)})
        answers: dict[int | str, dict[str, Any]] = {status: _refusal(status) for status in statuses}

        def declare(handler: Handler) -> Handler:
            form = get_type_hints(handler)["return"]
            is_message = isinstance(form, type) and issubclass(form, Wire)
            if is_message:
                answers[406] = _refusal(406)
            if is_message and issubclass(form, Page):
                answers[200] = {"content": {CSV: {"schema": {"type": "string"}, "example": _csv_example(form)}}}
            extra = {PERMISSION_FIELD: permission, CODES_FIELD: list(codes), **more.pop("openapi_extra", {})}
            if permission == OPEN:
                extra["security"] = []
            if method == "POST" and permission != OPEN:
                extra["parameters"] = [KEY_PARAMETER]
            if more.pop("streams", False):
                extra[STREAMED_FIELD] = True
            options = {
                "response_model": more.pop("response_model", form if is_message else None),
                "methods": [method],
                "operation_id": handler.__name__,
                "responses": {**answers, **more.pop("responses", {})},
                "openapi_extra": extra,
                **more,
            }
            self._declared.append((path, _answering(handler) if is_message else handler, options))
            return handler

        return declare


def _csv_example(form: type[Page[Any]]) -> str:
    """Return the example of a list as CSV."""
    more: Any = form.model_config.get("json_schema_extra")
    return csv_of(form.model_validate_json(json.dumps(more["examples"][0])))


def _answering(handler: Callable[..., Any]) -> Callable[..., Any]:
    """Return a handler whose message is an answer already: to check it once more would cost as much as making it."""

    @functools.wraps(handler)
    def answer(*arguments: Any, **named: Any) -> WireResponse:
        return WireResponse(handler(*arguments, **named))

    @functools.wraps(handler)
    async def answer_without_thread(*arguments: Any, **named: Any) -> WireResponse:
        return WireResponse(await handler(*arguments, **named))

    return answer_without_thread if inspect.iscoroutinefunction(handler) else answer


def _require_known(request: Request, names: AbstractSet[str]) -> None:
    """Return if a route has every parameter that was sent: a misspelt filter is not ignored in silence."""
    unknown = sorted(set(request.query_params) - names)
    if unknown:
        raise RefusedValue(
            "api.parameter_unknown",
            f"{visible_line(unknown[0])[:60]!r} is no parameter of this address, which has: "
            f"{', '.join(sorted(names)) or 'none'}",
            field=f"query.{unknown[0]}",
            value=request.query_params[unknown[0]],
        )


def _is_whole(annotation: Any) -> bool:
    return annotation is int or any(map(_is_whole, get_args(annotation)))


def _require_whole_numbers(request: Request, names: AbstractSet[str]) -> None:
    """Return if the numbers in an address are such to every reader; Python alone takes ``1_0`` for ten."""
    in_query = [(f"query.{name}", text) for name, text in request.query_params.multi_items() if name in names]
    in_path = [(f"path.{name}", str(text)) for name, text in request.path_params.items() if name in names]
    for field, text in (*in_query, *in_path):
        # To JSON Schema, by which callers check what they send, 3.0 is a whole number.
        if not is_whole_number(text.removesuffix(".0")):
            raise RefusedValue(
                "api.request_invalid",
                f"the request is not well formed: {field}: {visible_line(text[:60])!r} is no whole number",
                field=field,
                value=text,
            )


async def _admitted(request: Request, *, door: Door, permission: str) -> tuple[Principal | None, Hashable]:
    """Return who calls and whose share its request is of; on a thread that no act takes, or on none."""
    admit = functools.partial(_admit, request, door=door, permission=permission)
    return admit() if permission == OPEN else await to_thread.run_sync(admit, limiter=door.lanes.admissions)


def _admit(request: Request, *, door: Door, permission: str) -> tuple[Principal | None, Hashable]:
    """Return who calls, if it may and does not call too often, and the holder that it belongs to.

    Every request is counted before anything of it is refused: whoever shows a token that is none is a stranger.
    """
    caller: Principal | None = None
    try:
        caller = None if permission == OPEN else door.callers.caller_of(request)
    finally:
        rate = UNKNOWN_RATE if caller is None else KNOWN_RATE
        door.rates.count(_asker_of(request, caller), rate=rate)
    require_access(caller, permission=permission)
    return caller, _asker_of(request, None) if caller is None else door.running.holder_of(caller)


def _asker_of(request: Request, caller: Principal | None) -> Hashable:
    """Return by what the requests of a caller belong together: of one that is not known its address."""
    if caller is not None:
        return caller.kind, caller.id
    return address_of_scope(request.scope)


def _refusal(status: int) -> dict[str, Any]:
    return {
        "description": _WORDS[status],
        "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}},
    }


async def _caller_of(request: Request) -> Principal:
    caller: Principal = request.state.caller
    return caller


Caller = Annotated[Principal, Depends(_caller_of)]
"""Who calls."""

Limit = Annotated[int, Query(ge=1, le=MAX_ITEMS, description="Most items of the page")]
Cursor = Annotated[str, Query(pattern=CURSOR_FORM, description="Where the page before says that the list goes on")]


def cursor_of_form(pattern: str) -> Any:
    """Return the cursor of a list that refuses, as ``api.cursor_unknown``, what has not the form of its own cursors.

    ::

        Cursor = Annotated[str, cursor_of_form(r"^[0-9]{1,15}$")]
    """
    words = "Where the page before says that the list goes on"
    return Query(pattern=CURSOR_FORM, description=words, json_schema_extra={"pattern": pattern})


DEFAULT_LIMIT: Final = DEFAULT_ITEMS

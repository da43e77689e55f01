"""The one HTTP client: of commands over a home's socket, of members among each other, of whoever uses an API.

Every exchange is bounded: in time as a whole, in the bytes of its answer. Nothing is followed (redirects), unpacked
(encodings) or taken from the environment (proxies) [API-12]. A refusal of the server is raised as the error it was
there; a server that cannot be reached is Unavailable ``client.unreachable``.
"""

from __future__ import annotations

import secrets
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self, TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

from shuiqiao.base.encoding import encode_json
from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.client import request_id, tracing
from shuiqiao.client.connection import PIN_BYTES, AddressRule, Connections, Transport
from shuiqiao.client.operation import Download, Operation, Sent, Told
from shuiqiao.client.problem import MAX_PROBLEM_BYTES, error_of

DEFAULT_TIMEOUT_S: Final = 30.0
"""How long an exchange may take, the whole of it, in seconds."""

DEFAULT_ANSWER_BYTES: Final = 8 * 1024 * 1024
"""Longest answer."""

JSON: Final = "application/json"
IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
_RETRY_S: Final = 1.0
_PLAIN: Final = {"", "identity"}

Parameters = Mapping[str, str | int | bool | Sequence[str]]
Message = TypeVar("Message", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a server said that did not refuse."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    place: str
    """Where it came from, in words."""

    def read_as(self, form: type[Message]) -> Message:
        """Return the answer's JSON as a wire type; raises Unavailable ``client.answer_foreign`` for another form."""
        try:
            return form.model_validate_json(self.body)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise Unavailable(
                "client.answer_foreign",
                f"{self.place} answered what is no {form.__name__}: {first['msg'][:200]}",
            ) from error


class HttpClient:
    """A client of one server; threads may share it, and whoever opens it closes it.

    ::

        with HttpClient("https://bureau.example:8600", token=token) as bureau:
            page = bureau.get("/api/v1/members").read_as(MemberPage)
    """

    def __init__(
        self,
        base_url: str,
        *,
        token: str = "",
        pin: bytes | None = None,
        unix_socket: Path | None = None,
        may_connect: AddressRule | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        """base_url: scheme, host and port. pin: SHA-256 of the server's public key, in the place of its certificate.

        Raises InvalidInput ``client.url_invalid``.
        """
        self.place = str(unix_socket) if unix_socket is not None else base_url
        self._token = token
        self._timeout_s = timeout_s
        self._connections = Connections(unix_socket=unix_socket, pin=pin, may_connect=may_connect)
        require_url(base_url, pin=pin)
        self._client = httpx2.Client(
            base_url=base_url,
            transport=Transport(self._connections, pin=pin),
            follow_redirects=False,
            trust_env=False,
            timeout=timeout_s,
        )

    @classmethod
    def at_socket(cls, path: Path, *, token: str = "", timeout_s: float = DEFAULT_TIMEOUT_S) -> Self:
        """Return the client of the process of this user that listens at a Unix socket: a home's running server."""
        return cls("http://home", unix_socket=path, token=token, timeout_s=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def get(
        self,
        path: str,
        *,
        parameters: Parameters | None = None,
        accept: str = JSON,
        max_bytes: int = DEFAULT_ANSWER_BYTES,
        timeout_s: float | None = None,
    ) -> Answer:
        """Return the answer to a question; raises what ``request`` raises."""
        return self.request("GET", path, parameters=parameters, accept=accept, max_bytes=max_bytes, timeout_s=timeout_s)

    def find(
        self, path: str, *, accept: str = "*/*", max_bytes: int = DEFAULT_ANSWER_BYTES, timeout_s: float | None = None
    ) -> bytes | None:
        """Return the bytes of a file, None where the server has none of that name; raises what ``request`` raises."""
        with self._exchange("GET", path, accept=accept, timeout_s=timeout_s) as response:
            if response.status_code == HTTPStatus.NOT_FOUND:
                return None
            return self._read(response, max_bytes=max_bytes).body

    def post(
        self,
        path: str,
        message: BaseModel,
        *,
        idempotency_key: str = "",
        max_bytes: int = DEFAULT_ANSWER_BYTES,
        timeout_s: float | None = None,
    ) -> Answer:
        """Return the answer to an act; whoever repeats it after a failure repeats its idempotency key.

        Raises what ``request`` raises.
        """
        return self.request(
            "POST",
            path,
            content=message.model_dump_json().encode(),
            content_type=JSON,
            headers={IDEMPOTENCY_HEADER: idempotency_key or new_idempotency_key()},
            max_bytes=max_bytes,
            timeout_s=timeout_s,
        )

    def perform(self, operation: Operation[Sent, Told], message: Sent, *, idempotency_key: str = "") -> Told:
        """Have the server perform an operation of its API, and return what it tells; raises what ``request`` raises."""
        path, fields = operation.address(message)
        if operation.method == "GET":
            answer = self.get(path, parameters=_asked(fields), timeout_s=operation.timeout_s)
        else:
            answer = self.request(
                "POST",
                path,
                content=encode_json(fields),
                content_type=JSON,
                headers={IDEMPOTENCY_HEADER: idempotency_key or new_idempotency_key()},
                timeout_s=operation.timeout_s,
            )
        return answer.read_as(operation.told)

    def download(self, download: Download[Sent], message: Sent) -> bytes:
        """Return the file that answers a question; raises what ``request`` raises."""
        path, fields = download.address(message)
        answer = self.get(path, parameters=_asked(fields), accept=download.media_type, max_bytes=download.max_bytes)
        return answer.body

    def request(
        self,
        method: str,
        path: str,
        *,
        parameters: Parameters | None = None,
        content: bytes | Iterable[bytes] | None = None,
        content_type: str = "",
        accept: str = JSON,
        headers: Mapping[str, str] | None = None,
        max_bytes: int = DEFAULT_ANSWER_BYTES,
        timeout_s: float | None = None,
    ) -> Answer:
        """Return a server's answer.

        Raises the error that the server refused with; Unavailable ``client.unreachable``, ``client.timed_out``,
        ``client.redirected``, ``client.answer_too_large``, ``client.answer_foreign``; IntegrityError
        ``client.pin_differs``; Denied ``client.address_refused``.
        """
        sent = {**self._own_headers(content_type), **(headers or {})}
        with self._exchange(
            method, path, parameters=parameters, content=content, accept=accept, headers=sent, timeout_s=timeout_s
        ) as response:
            return self._read(response, max_bytes=max_bytes)

    @contextmanager
    def _exchange(
        self,
        method: str,
        path: str,
        *,
        accept: str,
        timeout_s: float | None,
        parameters: Parameters | None = None,
        content: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Generator[httpx2.Response]:
        """Give the response, to be read inside; its failures get names."""
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        sent = {"Accept": accept, "Accept-Encoding": "identity"}
        sent |= self._own_headers("") if headers is None else headers
        with self._named_failures(limit_s), self._connections.within(limit_s):
            with self._client.stream(
                method, path, params=parameters or None, content=content, headers=sent, timeout=limit_s
            ) as response:
                yield response

    def _own_headers(self, content_type: str) -> dict[str, str]:
        named = {
            "Authorization": f"Bearer {self._token}" if self._token else "",
            "Content-Type": content_type,
            request_id.HEADER: request_id.current.get(),
            tracing.HEADER: tracing.context(),
        }
        return {name: value for name, value in named.items() if value}

    def _read(self, response: httpx2.Response, *, max_bytes: int) -> Answer:
        """Return an answer, or raise what it refuses."""
        status = response.status_code
        if HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST and status != HTTPStatus.NOT_MODIFIED:
            raise Unavailable(
                "client.redirected",
                f"{self.place} answered {status} and named another address, which is not followed: "
                f"{response.headers.get('location', '').partition('?')[0][:200]}",
            )
        if response.headers.get("content-encoding", "") not in _PLAIN:
            raise Unavailable("client.answer_foreign", f"{self.place} answered in an encoding that was not asked for")
        is_refusal = status >= HTTPStatus.BAD_REQUEST
        body = self._bounded(response, max_bytes=MAX_PROBLEM_BYTES if is_refusal else max_bytes)
        if is_refusal:
            raise error_of(body, status=status, place=self.place)
        return Answer(status=status, headers=response.headers, body=body, place=self.place)

    def _bounded(self, response: httpx2.Response, *, max_bytes: int) -> bytes:
        parts, size = list[bytes](), 0
        for part in response.iter_raw():
            size += len(part)
            if size > max_bytes:
                raise Unavailable(
                    "client.answer_too_large", f"{self.place} answered more than the {max_bytes} bytes that are read"
                )
            parts.append(part)
        return b"".join(parts)

    @contextmanager
    def _named_failures(self, limit_s: float) -> Generator[None]:
        try:
            yield
        except httpx2.TimeoutException as error:
            raise Unavailable(
                "client.timed_out",
                f"{self.place} did not answer within {limit_s:g} s",
                retry_after_s=_RETRY_S,
            ) from error
        except (httpx2.RemoteProtocolError, httpx2.ReadError) as error:
            if isinstance(error, httpx2.RemoteProtocolError) and not _is_cut_off(error):
                raise Unavailable(
                    "client.answer_foreign", f"{self.place} does not speak HTTP as it should: {error}"
                ) from error
            raise Unavailable(
                "client.unreachable",
                f"{self.place} ended, or the line to it, before its answer was whole: whether it did what was asked is "
                "not known here",
                retry_after_s=_RETRY_S,
            ) from error
        except httpx2.TransportError as error:
            raise Unavailable(
                "client.unreachable", f"{self.place} cannot be reached: {error}", retry_after_s=_RETRY_S
            ) from error


def _is_cut_off(error: Exception) -> bool:
    """Tell whether a connection ended where more of an answer was to come; its library says so in words alone."""
    return any(words in str(error).lower() for words in ("server disconnected", "peer closed connection"))


def require_url(url: str, *, pin: bytes | None) -> None:
    """Return if a URL names a server: http or https, a host, no user, no path, no question.

    Raises InvalidInput ``client.url_invalid``.
    """
    try:
        found = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError) as error:
        raise InvalidInput("client.url_invalid", f"{url[:200]!r} is not a URL: {error}") from error
    is_bare = found.path in {"", "/"} and not (found.query or found.fragment or found.userinfo)
    if found.scheme not in {"http", "https"} or not found.host or not is_bare:
        raise InvalidInput("client.url_invalid", f"{url[:200]!r} does not have the form https://host:port")
    if pin is not None and (found.scheme != "https" or len(pin) != PIN_BYTES):
        raise InvalidInput(
            "client.url_invalid", f"a pin has {PIN_BYTES} bytes and needs https, the URL is {url[:200]!r}"
        )


def new_idempotency_key() -> str:
    """Return a fresh key for one act."""
    return secrets.token_hex(16)


def _asked(fields: Mapping[str, Any]) -> Parameters:
    """Return the parameters of a question: what is left out is not sent."""
    return {name: value for name, value in fields.items() if value is not None}

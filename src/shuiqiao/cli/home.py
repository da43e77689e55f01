"""How a command has a home do something: through the home's server where one runs, else in this process.

Both ways perform the same operations of the API in the same forms, so a command is written once. In its own process a
command acts as the owner of the home, who holds its key, and no HTTP framework is loaded for it (ADR 0038); a server
asks for the token of somebody who may.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol

from shuiqiao.base.environment import TOKEN_FILE_VARIABLE
from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.cli.output import progress_on_stderr

if TYPE_CHECKING:
    from shuiqiao.client.http import HttpClient
    from shuiqiao.client.operation import Operation, Sent, Told
    from shuiqiao.node.institution import Institution

MAX_TOKEN_BYTES: Final = 512
"""As ``api.access``, which a command does not load."""


class HomeAtWork(Protocol):
    """A home that performs operations of the API."""

    def perform(self, operation: Operation[Sent, Told], message: Sent, *, progress: Progress = no_progress) -> Told:
        """Perform an operation and return what is told of it; raises what refuses it. progress: told of a long one."""
        ...

    def named(self, path: Path) -> str:
        """Return a file of this machine as a message names it."""
        ...


class _Served:
    """A home whose server runs."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    def perform(
        self,
        operation: Operation[Sent, Told],
        message: Sent,
        *,
        progress: Progress = no_progress,  # noqa: ARG002 - LIMIT: a server does not tell how far it is
    ) -> Told:
        """See HomeAtWork."""
        return self._client.perform(operation, message)

    def named(self, path: Path) -> str:
        """See HomeAtWork: from the root, for the server's folder is another one."""
        from shuiqiao.client.resources.own_files import path_text

        return path_text(path.absolute())


class _Opened:
    """A home that is open in this process."""

    def __init__(self, institution: Institution) -> None:
        self._institution = institution

    def perform(self, operation: Operation[Sent, Told], message: Sent, *, progress: Progress = no_progress) -> Told:
        """See HomeAtWork."""
        from shuiqiao.node.operations.performing import perform

        return perform(operation, message, institution=self._institution, progress=progress)

    def named(self, path: Path) -> str:
        """See HomeAtWork."""
        from shuiqiao.client.resources.own_files import path_text

        return path_text(path)


@contextmanager
def home_at_work(folder: Path) -> Generator[HomeAtWork]:
    """Reach a home to have it do something.

    ::

        with home_at_work(home) as at_work:
            standing = at_work.perform(VOTE, Vote(proposal="77ab", approve=True))

    A message that is malformed is InvalidInput ``api.request_invalid`` on both ways. Raises what ``Institution.open``
    raises, or what ``HttpClient.perform`` raises where a server runs.
    """
    from shuiqiao.node.home.settings import Home

    with well_formed():
        if is_served(folder):
            from shuiqiao.client.http import HttpClient

            with HttpClient.at_socket(Home(folder).socket, token=load_token()) as client:
                yield _Served(client)
        else:
            from shuiqiao.node.institution import Institution

            with progress_on_stderr() as progress:
                institution = Institution.open(Home(folder), needs_node=True, progress=progress)
            with institution:
                yield _Opened(institution)


def is_served(folder: Path) -> bool:
    """Tell whether a server of this home runs."""
    from shuiqiao.node.home.settings import Home
    from shuiqiao.node.server import serving_process

    return serving_process(Home(folder)) is not None


@contextmanager
def well_formed() -> Generator[None]:
    """Let messages be made inside; one that is malformed raises InvalidInput ``api.request_invalid``."""
    from pydantic import ValidationError

    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=True)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(
            "api.request_invalid",
            f"the request is not well formed: {field}: {first['msg']}, given was {str(first['input'])[:100]!r}",
        ) from error


def load_token() -> str:
    """Return the token in the file that SHUIQIAO_TOKEN_FILE names, empty where it names none.

    Raises Unavailable ``cli.token_missing``, InvalidInput ``cli.token_unusable``.
    """
    from shuiqiao.base.files import read_regular

    named = os.environ.get(TOKEN_FILE_VARIABLE)
    if not named:
        return ""
    try:
        token = read_regular(Path(named), max_bytes=MAX_TOKEN_BYTES).strip()
    except OSError as error:
        raise Unavailable("cli.token_missing", f"the token file {named} cannot be read: {error.strerror}") from error
    if not token or len(token) > MAX_TOKEN_BYTES or not token.isascii() or any(byte <= ord(" ") for byte in token):
        raise InvalidInput("cli.token_unusable", f"{named} holds no token of at most {MAX_TOKEN_BYTES} characters")
    return token.decode("ascii")

"""How a command has a home do something: through the home's server where one runs, else in this process.

Both ways perform the same operations of the API in the same forms, so a command is written once. In its own process a
command acts as the owner of the home, who holds its key, and no HTTP framework is loaded for it (ADR 0038); a server
asks for the token of somebody who may.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from shuiqiao.base.environment import TOKEN_FILE_VARIABLE
from shuiqiao.base.errors import InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.forms import full_width_words
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.cli.output import progress_on_stderr

if TYPE_CHECKING:
    from shuiqiao.client.http import HttpClient
    from shuiqiao.client.operation import Operation, Sent, Told
    from shuiqiao.client.pages import Page, PageQuery
    from shuiqiao.client.resources.ledger import ReceiptQuestion
    from shuiqiao.node.home.settings import Home as HomeFolder
    from shuiqiao.node.home_reader import HomeReader
    from shuiqiao.node.operations.calling import AccountCall, Call

Question = TypeVar("Question", bound="PageQuery")
Item = TypeVar("Item")

_LOOK_TIMEOUT_S: Final = 5.0
"""How long a server is asked, in seconds, what it goes on with after an interruption."""

MAX_TOKEN_BYTES: Final = 512
"""As ``api.access``, which a command does not load."""


class Performing(Protocol):
    """A home that is open, or its server."""

    def perform(self, operation: Operation[Sent, Told], message: Sent, *, progress: Progress = no_progress) -> Told:
        """Perform an operation and return what is told of it; raises what refuses it. progress: told of a long one."""
        ...


class HomeAtWork(Performing, Protocol):
    """A home that performs operations of the API."""

    def named(self, path: Path) -> str:
        """Return a file of this machine as a message names it."""
        ...


class _Served:
    """A home whose server runs. another: makes a second client of it."""

    def __init__(self, client: HttpClient, *, another: Callable[[], HttpClient]) -> None:
        self.client = client
        self._another = another

    def perform(
        self,
        operation: Operation[Sent, Told],
        message: Sent,
        *,
        progress: Progress = no_progress,  # noqa: ARG002 - LIMIT: a server does not tell how far it is
    ) -> Told:
        """See Performing; an interruption notes what the server goes on with."""
        from shuiqiao.cli.going_on import what_goes_on
        from shuiqiao.client import request_id

        request = request_id.taken_or_new("")
        outside = request_id.current.set(request)
        try:
            return self.client.perform(operation, message)
        except KeyboardInterrupt as error:
            if operation.method == "POST":
                with self._another() as client:
                    error.add_note(what_goes_on(client, request))
            raise
        finally:
            request_id.current.reset(outside)


class _Opened:
    """A home that is open in this process."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def perform(self, operation: Operation[Sent, Told], message: Sent, *, progress: Progress = no_progress) -> Told:
        """See Performing."""
        from shuiqiao.node.operations.performing import perform

        return perform(operation, message, call=self._call, progress=progress)


class _LookedAt:
    """A home that is read, and not written but for the journal."""

    def __init__(self, reader: HomeReader) -> None:
        self.reader = reader

    def perform(
        self,
        operation: Operation[Sent, Told],
        message: Sent,
        *,
        progress: Progress = no_progress,  # noqa: ARG002 - what reads is told at once
    ) -> Told:
        """See Performing."""
        from shuiqiao.node.operations.reading import perform_at_reader

        with _entered(self.reader, operation, message):
            return perform_at_reader(operation, message, reader=self.reader)


class _ByFiles:
    """A home of which some files are read, whoever has its ledger open."""

    def __init__(self, home: HomeFolder) -> None:
        self._home = home

    def perform(self, operation: Operation[Sent, Told], message: Sent, *, progress: Progress = no_progress) -> Told:
        """See Performing."""
        from shuiqiao.node.operations.upkeep import perform_by_files

        return perform_by_files(operation, message, home=self._home, progress=progress)


class _OfAccounts:
    """The accounts of a home, without its ledger."""

    def __init__(self, call: AccountCall) -> None:
        self._call = call

    def perform(
        self,
        operation: Operation[Sent, Told],
        message: Sent,
        *,
        progress: Progress = no_progress,  # noqa: ARG002 - nothing of accounts takes long
    ) -> Told:
        """See Performing."""
        from shuiqiao.node.operations.account_performing import perform_on_accounts

        return perform_on_accounts(operation, message, call=self._call)


@contextmanager
def _entered(reader: HomeReader, operation: Operation[Sent, Told], message: Sent) -> Generator[None]:
    """Write the entry of what is shown of a taxpayer inside in the journal of a home, as its owner.

    LIMIT: in a home that cannot be written there is no entry; whoever has its files reads them by any program.
    """
    if not operation.shows_taxpayer or not os.access(reader.home.folder, os.W_OK):
        yield
        return
    from shuiqiao.node.accounts.model import OWNER
    from shuiqiao.node.accounts.opening import open_accounts
    from shuiqiao.node.operations.calling import entered

    with open_accounts(reader.home) as accounts:
        with entered(operation, message, journal=accounts.journal, caller=OWNER):
            yield


@contextmanager
def home_at_work(folder: Path) -> Generator[HomeAtWork]:
    """Reach a home to have it do something; in this process the owner of the home acts.

    ::

        with home_at_work(home) as at_work:
            standing = at_work.perform(VOTE, Vote(proposal="77ab", approve=True))

    A message that is malformed is InvalidInput ``api.request_invalid`` on both ways. Raises what ``Institution.open``
    raises, or what ``HttpClient.perform`` raises where a server runs.
    """
    with _reached(folder, opened=_opened) as at_work:
        yield at_work


@contextmanager
def home_to_read(folder: Path) -> Generator[_Reached]:
    """Reach a home to ask it what its files tell too: its ledger, its records, what waits.

    Where no server runs they are read as they lie, whoever has the ledger open. Raises what ``read_home`` raises, or as
    ``home_at_work``.
    """
    with _reached(folder, opened=_looked_at) as at_work:
        yield at_work


@contextmanager
def home_files(folder: Path) -> Generator[HomeAtWork]:
    """Reach a home for its keys or to publish its log; where no server runs, by its files alone.

    Raises as ``home_at_work``.
    """
    with _reached(folder, opened=lambda home: nullcontext(_ByFiles(home))) as at_work:
        yield at_work


@contextmanager
def accounts_at_work(folder: Path, token_file: Path | None) -> Generator[HomeAtWork]:
    """Reach the accounts of a home, as whoever has the token in a file; without one as its owner.

    Raises what ``open_accounts`` and ``AccountService.authenticate`` raise, or as ``home_at_work``.
    """
    token = "" if token_file is None else token_in(token_file)
    with _reached(folder, opened=lambda home: _accounts_of(home, token), token=token) as at_work:
        yield at_work


@contextmanager
def home_by_name(folder: Path, token_file: Path | None) -> Generator[HomeAtWork]:
    """Reach a home for what its owner does not do: somebody does it by name, whose token is in a file.

    Raises Denied ``api.unauthenticated``, what ``AccountService.authenticate`` raises, or as ``home_at_work``.
    """
    token = token_in(require_token_file(token_file))
    with _reached(folder, opened=lambda home: _opened(home, token=token), token=token) as at_work:
        yield at_work


@contextmanager
def _reached(
    folder: Path,
    *,
    opened: Callable[[HomeFolder], AbstractContextManager[Performing]],
    token: str | None = None,
) -> Generator[_Reached]:
    with well_formed(), ExitStack() as stack:
        yield _Reached(folder, opened=opened, token=token, stack=stack)


class _Reached:
    """A home that is reached for its first operation: what a person typed is known to be well formed by then."""

    def __init__(
        self,
        folder: Path,
        *,
        opened: Callable[[HomeFolder], AbstractContextManager[Performing]],
        token: str | None,
        stack: ExitStack,
    ) -> None:
        self._folder = folder
        self._opened = opened
        self._token = token
        self._stack = stack

    @cached_property
    def whole(self) -> Performing:
        """The home, through its server or open in this process; raises what hinders that."""
        from shuiqiao.node.home.settings import Home

        home = Home(self._folder)
        if not self._is_served:
            return self._stack.enter_context(self._opened(home))
        from shuiqiao.client.http import HttpClient

        known = load_token() if self._token is None else self._token
        another = partial(HttpClient.at_socket, home.socket, token=known, timeout_s=_LOOK_TIMEOUT_S)
        return _Served(self._stack.enter_context(HttpClient.at_socket(home.socket, token=known)), another=another)

    def perform(self, operation: Operation[Sent, Told], message: Sent, *, progress: Progress = no_progress) -> Told:
        """See Performing."""
        return self.whole.perform(operation, message, progress=progress)

    def named(self, path: Path) -> str:
        """See HomeAtWork: for a server from the root, for its folder is another one."""
        from shuiqiao.client.resources.own_files import path_text

        return path_text(path.absolute() if self._is_served else path)

    @cached_property
    def _is_served(self) -> bool:
        return is_served(self._folder)


@contextmanager
def _opened(home: HomeFolder, *, token: str = "") -> Generator[Performing]:
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.operations.calling import Call

    with progress_on_stderr() as progress:
        institution = Institution.open(home, needs_node=True, progress=progress)
    with institution:
        call = Call.of_owner(institution)
        if token:
            call = replace(call, caller=call.accounts.service.authenticate(token))
        yield _Opened(call)


@contextmanager
def _looked_at(home: HomeFolder) -> Generator[Performing]:
    from shuiqiao.node.home_reader import read_home

    with read_home(home) as reader:
        yield _LookedAt(reader)


@contextmanager
def _accounts_of(home: HomeFolder, token: str) -> Generator[Performing]:
    from shuiqiao.node.accounts.model import OWNER
    from shuiqiao.node.accounts.opening import open_accounts
    from shuiqiao.node.operations.calling import CalledAccounts

    with open_accounts(home) as accounts:
        caller = accounts.service.authenticate(token) if token else OWNER
        yield _OfAccounts(CalledAccounts(accounts=accounts, caller=caller))


def all_items(at_work: HomeAtWork, operation: Operation[Question, Page[Item]], asked: Question) -> list[Item]:
    """Return the items of all pages of a list.

    ::

        jobs = all_items(at_work, LIST_JOBS, JobsQuestion())
    """
    from shuiqiao.client.pages import MAX_ITEMS, read_pages

    whole = asked.model_copy(update={"limit": MAX_ITEMS})
    return [item for page in read_pages(at_work, operation, whole) for item in page.items]


def receipt_of(folder: Path, asked: ReceiptQuestion) -> bytes:
    """Return the receipt of a transaction, from the home's server or its files; raises as ``home_to_read``."""
    from shuiqiao.client.resources.ledger import RECEIPT
    from shuiqiao.node.operations.ledger import receipt_of as own_receipt_of

    with home_to_read(folder) as at_work:
        whole = at_work.whole
        if isinstance(whole, _Served):
            return whole.client.download(RECEIPT, asked)
        assert isinstance(whole, _LookedAt)
        return own_receipt_of(whole.reader, asked)


def require_token_file(token_file: Path | None) -> Path:
    """Return the file that holds a token; raises Denied ``api.unauthenticated`` where none is named."""
    from shuiqiao.client.problem import unauthenticated

    if token_file is None:
        raise unauthenticated()
    return token_file


def is_served(folder: Path) -> bool:
    """Tell whether a server of this home runs."""
    from shuiqiao.node.home.server_lock import serving_process
    from shuiqiao.node.home.settings import Home

    return serving_process(Home(folder)) is not None


@contextmanager
def well_formed() -> Generator[None]:
    """Let messages be made inside; one that is malformed raises InvalidInput ``api.request_invalid``."""
    from pydantic import ValidationError

    from shuiqiao.client.wire import holds_secret

    try:
        yield
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=True)[0]
        field = ".".join(str(part) for part in first["loc"])
        given = str(first["input"])
        told = "" if holds_secret(first["loc"]) else f", given was {given[:100]!r}{full_width_words(given)}"
        raise InvalidInput(
            "api.request_invalid", f"the request is not well formed: {field}: {first['msg']}{told}"
        ) from error


@contextmanager
def of_file(file: Path | None, argument: str, *codes: str) -> Generator[None]:
    """Let what is refused inside by one of these codes name the file that is wrong, and the argument that named it.

    codes: or beginnings of codes. file: None where none was given, and all passes as it is.
    """
    try:
        yield
    except ShuiqiaoError as error:
        if file is None or not error.code.startswith(codes):
            raise
        raise error.within(f"{argument} {file}") from error


def load_token() -> str:
    """Return the token in the file that SHUIQIAO_TOKEN_FILE names, empty for none; raises as ``token_in``."""
    named = os.environ.get(TOKEN_FILE_VARIABLE)
    return token_in(Path(named)) if named else ""


def token_in(path: Path) -> str:
    """Return the token in a file; raises Unavailable ``cli.token_missing``, InvalidInput ``cli.token_unusable``."""
    from shuiqiao.base.files import read_regular

    try:
        token = read_regular(path, max_bytes=MAX_TOKEN_BYTES).strip()
    except OSError as error:
        raise Unavailable("cli.token_missing", f"the token file {path} cannot be read: {error.strerror}") from error
    if not token or len(token) > MAX_TOKEN_BYTES or not token.isascii() or any(byte <= ord(" ") for byte in token):
        raise InvalidInput("cli.token_unusable", f"{path} holds no token of at most {MAX_TOKEN_BYTES} characters")
    return token.decode("ascii")

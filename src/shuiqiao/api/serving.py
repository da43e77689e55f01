"""Serving a home: its doors in one process on one loop, from the recovered ledger to the last answer.

Order at the start: the addresses are taken (a port in use is told at once), the home is opened and its ledger
recovered, and only then does anything listen [API-1]. At the end (SIGTERM or SIGINT) nothing new is accepted, running
requests have DRAIN_S to end, the institution is closed. Whatever the signal meets, the home can be opened again.

granian serves all doors on the event loop of the main thread; a process that it forks would not hold the ledger, so it
forks none (ADR 0034). Routes are plain functions that run on a bounded pool of threads.
"""

from __future__ import annotations

import asyncio
import gc
import ipaddress
import logging
import signal
import socket
import ssl
import stat
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from granian import net as granian_net
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from shuiqiao.api.access import Callers
from shuiqiao.api.acts import Acts
from shuiqiao.api.app import home_app, peers_app, public_app
from shuiqiao.api.door import Door
from shuiqiao.api.lanes import THREADS, Lanes
from shuiqiao.api.news import News
from shuiqiao.api.observing import Metrics, log, set_up_logging
from shuiqiao.api.origins import names_of_certificate, own_origins, read_public_urls
from shuiqiao.api.store import ActStore
from shuiqiao.api.uploads import Uploads
from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.base.files import OTHERS
from shuiqiao.base.memory import COLLECT_EVERY_S, collect_only_what_is_new, share_heaps
from shuiqiao.base.open_files import allow_open_files
from shuiqiao.base.unix_socket import listen_at
from shuiqiao.client import tracing
from shuiqiao.node.home.server_lock import require_not_served
from shuiqiao.node.home.settings import Home, NodeSettings, load_settings, split_address
from shuiqiao.node.server import RunningInstitution

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from shuiqiao.node.services import Dependencies

DRAIN_S: Final = 20.0
"""How long running requests may take to end once the server was asked to, in seconds."""

HEADER_TIMEOUT_MS: Final = 10_000
"""How long a caller may take to send its headers, or the next request on an open connection."""

MAX_CONNECTIONS: Final = 16_384
"""Connections of one address at a time; further ones wait until one is closed. An idle one takes about 12 KB."""

OWN_CONNECTIONS: Final = 512
"""Connections of the home's own socket, which its owner alone opens."""

FILES_OF_HOME: Final = 1_024
"""Open files that connections leave to the ledger, the database and what this server asks of others."""

BACKLOG: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class Listening:
    """Where a server listens, told once it does. Addresses are URLs; empty where there is none."""

    member: str
    role: str
    public: str
    peers: str
    socket: Path
    unfollowed: int
    """Other members that cannot follow this writer, because its server listens for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where to listen, as host:port; what is empty here stands in node.toml."""

    listen: str = ""
    peer_listen: str = ""


def serve_home(
    home: Home,
    *,
    addresses: Addresses,
    when_ready: Callable[[Listening], None],
    dependencies: Dependencies | None = None,
    passphrase: bytes | None = None,
) -> None:
    """Serve a home until SIGTERM or SIGINT; main thread only.

    Raises what ``RunningInstitution.open`` raises, InvalidInput ``api.address_invalid``, ``api.tls_missing``,
    ``api.tls_invalid`` or ``members.endpoint_invalid`` (``public_urls``), Unavailable ``api.address_unavailable``, what
    ``tracing.exported`` raises.
    """
    share_heaps()
    set_up_logging()
    settings = load_settings(home)
    # The process that has the home is told before an address that it listens at.
    require_not_served(home)
    tls = tls_of(home, settings)
    public_urls = read_public_urls(settings.public_urls)
    names = names_of_certificate(tls.certificate.read_bytes()) if tls is not None else []
    with ExitStack() as stack:
        stack.enter_context(tracing.exported(settings.opentelemetry_endpoint, member=settings.member))
        public = stack.enter_context(bound(addresses.listen or settings.listen, tls=tls))
        named = addresses.peer_listen or settings.peer_listen
        peers = stack.enter_context(bound(named, tls=tls)) if named else None
        running = stack.enter_context(RunningInstitution.open(home, dependencies=dependencies, passphrase=passphrase))
        listener = stack.enter_context(_own_socket(home))
        news = News(running.institution.engine)
        origins = [*public_urls, *own_origins(public.getsockname()[:2], names=names, is_secure=tls is not None)]
        listeners = _Listeners(public=public, peers=peers, own=listener)
        doors = _doors(running, listeners, news=news, tls=tls, origins=origins)
        listening = Listening(
            member=settings.member,
            role=settings.role,
            public=_url(public, tls=tls),
            peers=_url(peers, tls=tls) if peers is not None else "",
            socket=home.socket,
            unfollowed=0 if peers is not None else running.institution.others_that_follow(),
        )
        collect_only_what_is_new()
        _run(running, doors, news=news, when_ready=lambda: when_ready(listening))


class _DoorServer(Server):
    """granian over a socket that is bound already: port 0 is known then, and no second process can share the port."""

    def __init__(
        self, app: ASGIApp, *, listener: socket.socket, tls: Tls | None, connections: int = OWN_CONNECTIONS
    ) -> None:
        self._listener = listener
        secure: dict[str, Any] = {} if tls is None else {"ssl_cert": tls.certificate, "ssl_key": tls.key}
        super().__init__(
            app,
            interface=Interfaces.ASGINL,
            http=HTTPModes.http1,
            http1_settings=HTTP1Settings(header_read_timeout=HEADER_TIMEOUT_MS),
            websockets=False,
            backlog=BACKLOG,
            backpressure=connections,
            log_enabled=False,
            log_access=False,
            **secure,
        )

    def end(self) -> None:
        """Accept nothing new, and end once running requests have."""
        self.interrupt_signal = True
        self.main_loop_interrupt.set()

    def _init_shared_socket(self) -> None:
        self._listener.listen(BACKLOG)
        self._listener.setblocking(False)  # noqa: FBT003 - the standard library's form
        is_unix, holder_class = self._listener.family == socket.AF_UNIX, getattr(granian_net, "SocketHolder")  # noqa: B009 - its stub knows neither the name nor its arguments
        holder: Any = holder_class(self._listener.detach(), is_unix, BACKLOG)
        self._ssp, self._shd, self._sfd = None, holder, holder.get_fd()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listeners:
    """The sockets of a server."""

    public: socket.socket
    peers: socket.socket | None
    own: socket.socket


def _doors(
    running: RunningInstitution, listeners: _Listeners, *, news: News, tls: Tls | None, origins: Sequence[str]
) -> list[_DoorServer]:
    institution = running.institution
    metrics, known = Metrics(running), running.accounts.service
    store = ActStore(institution.database, cipher=institution.cipher)
    acts = Acts(store, clock=institution.dependencies.clock)
    uploads, lanes = Uploads(institution.home), Lanes()

    def door(name: str, callers: Callers) -> Door:
        return Door(
            name=name,
            origins=origins,
            running=running,
            callers=callers,
            metrics=metrics,
            acts=acts,
            uploads=uploads,
            news=news,
            lanes=lanes,
        )

    outside = Callers.at_address(known)
    for_public, for_peers = connections_within(allow_open_files())
    public = public_app(door("public", outside))
    found = [
        _DoorServer(public, listener=listeners.public, tls=tls, connections=for_public),
        _DoorServer(home_app(door("home", Callers.at_socket(known))), listener=listeners.own, tls=None),
    ]
    if listeners.peers is not None:
        app = peers_app(running, metrics=metrics)
        found.append(_DoorServer(app, listener=listeners.peers, tls=tls, connections=for_peers))
    return found


def connections_within(files: int) -> tuple[int, int]:
    """Return how many connections the public address and the one for members may have, of so many open files.

    No caller uses up the files that the ledger needs [API-20]. Members have five parts of eight where files are short.
    """
    left = files - min(FILES_OF_HOME + OWN_CONNECTIONS, files // 2)
    return min(MAX_CONNECTIONS, left * 3 // 8), min(MAX_CONNECTIONS, left * 5 // 8)


def _run(
    running: RunningInstitution, doors: Sequence[_DoorServer], *, news: News, when_ready: Callable[[], None]
) -> None:
    """Serve until a signal, then close; a signal during that changes nothing more."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        asyncio.run(_serve(running, doors, news=news, when_ready=when_ready))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


async def _serve(
    running: RunningInstitution, doors: Sequence[_DoorServer], *, news: News, when_ready: Callable[[], None]
) -> None:
    import anyio.to_thread

    loop, asked = asyncio.get_running_loop(), asyncio.Event()
    anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS

    def ask(number: signal.Signals) -> None:
        log.info("server.asked_to_stop", signal=number.name)
        asked.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask, number)
    # granian says of itself that it is experimental, each time, on a logger of its own.
    logging.getLogger("_granian").disabled = True
    tasks = [loop.create_task(door.serve()) for door in doors]
    try:
        ended = loop.create_task(asked.wait())
        # Each door takes its socket over in the first step of its task.
        await asyncio.sleep(0)
        when_ready()
        collecting = loop.create_task(_collect())
        await asyncio.wait([ended, *tasks], return_when=asyncio.FIRST_COMPLETED)
        ended.cancel()
        collecting.cancel()
        news.close()
        for door in doors:
            door.end()
        running.end_waiting()
        _, late = await asyncio.wait(tasks, timeout=DRAIN_S)
        if late:
            log.warning("server.requests_cut_off", seconds=DRAIN_S)
    finally:
        await loop.run_in_executor(None, running.close)
    log.info("server.stopped")
    for task in tasks:
        task.cancel()
    failures = [found for found in await asyncio.gather(*tasks, return_exceptions=True) if isinstance(found, Exception)]
    if failures:
        raise Unavailable("api.door_failed", f"a door of the server ended by itself: {failures[0]}") from failures[0]


async def _collect() -> None:
    """Free what holds itself, until cancelled."""
    while True:
        await asyncio.sleep(COLLECT_EVERY_S)
        gc.collect()


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The files of a certificate."""

    certificate: Path
    key: Path


def tls_of(home: Home, settings: NodeSettings) -> Tls | None:
    """Return the certificate of a home, None where its settings name none; raises InvalidInput ``api.tls_invalid``."""
    if not settings.tls_certificate and not settings.tls_key:
        return None
    if not (settings.tls_certificate and settings.tls_key):
        raise InvalidInput("api.tls_invalid", "node.toml names one of tls_certificate and tls_key, TLS needs both")
    found = Tls(certificate=home.folder / settings.tls_certificate, key=home.folder / settings.tls_key)
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(found.certificate, found.key, password="")
        mode = found.key.stat().st_mode
    except (OSError, ValueError) as error:
        raise InvalidInput("api.tls_invalid", f"{found.certificate} and {found.key} are of no use: {error}") from error
    if stat.S_IMODE(mode) & OTHERS:
        raise InvalidInput("api.tls_invalid", f"{found.key} has mode {stat.S_IMODE(mode):o}, others may not open a key")
    return found


@contextmanager
def bound(address: str, *, tls: Tls | None) -> Generator[socket.socket]:
    """Take an address that nobody else has, without listening yet; without TLS on loopback alone [API-2].

    Raises InvalidInput ``api.address_invalid``, ``api.tls_missing``; Unavailable ``api.address_unavailable``.
    """
    host, port = split_address(address)
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        if tls is None and not ipaddress.ip_address(str(place[0]).partition("%")[0]).is_loopback:
            raise InvalidInput(
                "api.tls_missing", f"{address} can be reached from other machines, and node.toml names no certificate"
            )
        listener = socket.socket(family, kind)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(place)
        except BaseException:
            listener.close()
            raise
    except OSError as error:
        raise Unavailable("api.address_unavailable", f"the server cannot listen at {address}: {error}") from error
    with listener:
        yield listener


@contextmanager
def _own_socket(home: Home) -> Generator[socket.socket]:
    """Listen at the home's own socket; the lock on the home says that nobody else does."""
    with listen_at(home.socket, backlog=BACKLOG) as listener:
        try:
            yield listener
        finally:
            home.socket.unlink(missing_ok=True)


def _url(listener: socket.socket, *, tls: Tls | None) -> str:
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'http' if tls is None else 'https'}://{shown}:{port}"

"""Members that reach each other over HTTP alone: the writer in a process of its own, others here with doors of theirs."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
from starlette.types import ASGIApp

from consortium_world import CHEAP, ConsortiumWorld
from patience import PATIENCE_S
from serving_world import ServedHome, read_listening, start_server
from shuiqiao.api.app import peers_app
from shuiqiao.api.observing import Metrics
from shuiqiao.api.serving import _DoorServer
from shuiqiao.base.clock import Clock, SystemClock
from shuiqiao.base.ids import MemberId, system_entropy
from shuiqiao.crypto.model import SuiteName
from shuiqiao.node.home.keys import read_passphrase
from shuiqiao.node.home.settings import Home, encode_settings, load_settings
from shuiqiao.node.institution import Institution
from shuiqiao.node.server import RunningInstitution
from shuiqiao.node.services import Dependencies
from shuiqiao.sandbox.scenario.consortium import BUREAU, LEAD_BANK, REGULATOR, create_consortium, home_of

MEMBERS = (BUREAU, LEAD_BANK, REGULATOR)
"""Who runs; two witnesses are the quorum."""


def free_port() -> int:
    """A loopback port that was free a moment ago."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class PeerNetwork:
    """Homes whose node.toml names each other's addresses, and what runs of them."""

    def __init__(self, folder: Path, suite_name: str) -> None:
        """Make the homes in a folder, or take those that another world made there and closed."""
        if not (folder / "homes").exists():
            create_consortium(
                folder, suite_name=SuiteName(suite_name), clock=SystemClock(), entropy=system_entropy, cost=CHEAP
            )
        self.folder = folder
        self.ports = {member: free_port() for member in MEMBERS}
        self.stack = ExitStack()
        for member in MEMBERS:
            self.change(member, peers={other: self.url(other) for other in MEMBERS if other != member})

    def home(self, member: MemberId) -> Home:
        return home_of(self.folder, member)

    def url(self, member: MemberId) -> str:
        return f"http://127.0.0.1:{self.ports[member]}"

    def change(self, member: MemberId, **settings: object) -> None:
        """Write a home's settings anew."""
        home = self.home(member)
        home.settings.write_text(encode_settings(msgspec.structs.replace(load_settings(home), **settings)))

    @contextmanager
    def process(self, member: MemberId = BUREAU) -> Generator[ServedHome]:
        """Serve a home in a process of its own."""
        process = start_server(self.home(member), "--peer-listen", f"127.0.0.1:{self.ports[member]}")
        try:
            yield ServedHome(home=self.home(member), process=process, listening=read_listening(process))
        finally:
            if process.poll() is None:
                process.kill()
            process.communicate(timeout=PATIENCE_S)

    @contextmanager
    def here(self, member: MemberId) -> Generator[Institution]:
        """Open a home in this process, and its door for other members."""
        with self.running(member) as running:
            yield running.institution

    @contextmanager
    def running(self, member: MemberId, *, clock: Clock | None = None) -> Generator[RunningInstitution]:
        """Open a home in this process with all that works for it, and its door for other members."""
        home = self.home(member)
        around = Dependencies(clock=clock or SystemClock(), entropy=system_entropy)
        passphrase = read_passphrase(home.passphrase)
        with RunningInstitution.open(home, dependencies=around, passphrase=passphrase) as running:
            with served_door(running, port=self.ports[member]):
                yield running


class Doors:
    """The institutions of a world, each reached by the others at a port of its own."""

    def __init__(self, folder: Path, suite_name: str) -> None:
        self.world = ConsortiumWorld(folder, suite_name)
        members = (self.world.bureau, self.world.bank, self.world.other_bank, self.world.regulator)
        self.ports = {institution.member: free_port() for institution in members}
        self.stack = ExitStack()
        self.stack.callback(self.world.close)
        for institution in members:
            peers = {other: f"http://127.0.0.1:{port}" for other, port in self.ports.items()}
            institution.settings = msgspec.structs.replace(institution.settings, peers=peers)

    def open(self, institution: Institution) -> None:
        """Answer others in an institution's name from now on."""
        running: Any = SimpleNamespace(institution=institution, figures=lambda: ())
        self.stack.enter_context(served_door(running, port=self.ports[institution.member]))


@contextmanager
def served_door(running: RunningInstitution, *, port: int) -> Generator[None]:
    """Answer other members on a thread of its own."""
    app = peers_app(running, metrics=Metrics(running))
    with served_app(app, port=port, before_end=running.institution.peer_service.close):
        yield


@contextmanager
def served_app(app: ASGIApp, *, port: int = 0, before_end: Callable[[], None] = lambda: None) -> Generator[str]:
    """Answer on a thread of its own; give the address."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    port = listener.getsockname()[1]
    begun, ended, loops = threading.Event(), threading.Event(), []

    async def serve() -> None:
        server = _DoorServer(app, listener=listener, tls=None)
        loops.append((asyncio.get_running_loop(), server))
        task = asyncio.ensure_future(server.serve())
        await asyncio.sleep(0)
        begun.set()
        await task

    def run() -> None:
        try:
            asyncio.run(serve())
        finally:
            begun.set()
            ended.set()

    thread = threading.Thread(target=run, name=f"door-{port}", daemon=True)
    thread.start()
    assert begun.wait(PATIENCE_S)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop, server = loops[0]
        before_end()
        loop.call_soon_threadsafe(server.end)
        assert ended.wait(PATIENCE_S)
        thread.join()

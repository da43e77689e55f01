"""Homes that are served: by processes of their own, as ``shuiqiao serve`` serves them, or by a thread of the test."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api_world import AskedInstitution, asked
from consortium_world import CHEAP
from patience import PATIENCE_S
from shuiqiao.api.serving import _DoorServer
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.ids import system_entropy
from shuiqiao.base.unix_socket import listen_at
from shuiqiao.client.http import HttpClient
from shuiqiao.crypto.model import SuiteName
from shuiqiao.node.home.keys import keep_passphrase
from shuiqiao.node.home.making import create_solo_home
from shuiqiao.node.home.settings import Home
from shuiqiao.node.server import RunningInstitution

PASSPHRASE = b"words of a test"


def make_served_home(folder: Path, *, suite: SuiteName = SuiteName.INTL) -> Home:
    """Make a one-institution home, with its passphrase beside it."""
    home = Home(folder)
    create_solo_home(
        home, suite_name=suite, passphrase=PASSPHRASE, clock=SystemClock(), entropy=system_entropy, cost=CHEAP
    )
    keep_passphrase(home, PASSPHRASE)
    return home


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedHome:
    """A home and the process that serves it."""

    home: Home
    process: subprocess.Popen[str]
    listening: dict[str, Any]

    def client(self, *, token: str = "") -> HttpClient:
        """Return a client of its listening address."""
        return HttpClient(self.listening["listen"], token=token)

    def own_client(self, *, token: str = "") -> HttpClient:
        """Return a client of the home's socket."""
        return HttpClient.at_socket(self.home.socket, token=token)

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Ask it to end; return its exit code and what it logged."""
        self.process.send_signal(number)
        self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, log_file(self.home).read_text()


def log_file(home: Home) -> Path:
    """Where the server of a home of this world logs: a pipe that nobody reads would stop it once it is full."""
    return home.folder.with_name(f"{home.folder.name}.log")


def start_server(home: Home, *options: str, **environment: str) -> subprocess.Popen[str]:
    """Start a process that serves a home at a free port."""
    command = [str(Path(sys.executable).with_name("shuiqiao")), "serve", "--home", str(home.folder), "--json"]
    with log_file(home).open("a") as log:
        return subprocess.Popen(
            [*command, "--listen", "127.0.0.1:0", *options],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **environment},
        )


def read_listening(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return what a server says once it listens; fails with what it wrote where it ends before."""
    assert process.stdout is not None
    lines = list[str]()
    for line in process.stdout:
        lines.append(line)
        if line == "}\n":
            found: dict[str, Any] = json.loads("".join(lines))
            if "listen" in found:
                return found
            break
    raise AssertionError(f"{''.join(lines)}{process.communicate(timeout=PATIENCE_S)[0]}")


@contextmanager
def served(home: Home, *options: str) -> Generator[ServedHome]:
    """Serve a home inside; whatever is left of the process is ended."""
    process = start_server(home, *options)
    try:
        yield ServedHome(home=home, process=process, listening=read_listening(process))
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=PATIENCE_S)


@contextmanager
def served_here(home: Home, *, has_users: bool = False) -> Generator[AskedInstitution]:
    """Serve a home's own socket by a thread of this process inside, to its owner and whose tokens a test gives out."""
    with ExitStack() as stack:
        running = stack.enter_context(RunningInstitution.open(home, passphrase=PASSPHRASE))
        yield stack.enter_context(at_its_socket(running, has_users=has_users))


@contextmanager
def at_its_socket(running: RunningInstitution, *, has_users: bool = False) -> Generator[AskedInstitution]:
    """Answer at the socket of a running institution's home by a thread of this process inside."""
    home = running.institution.home
    with ExitStack() as stack:
        found = stack.enter_context(asked(running))
        found.tokens.is_in_use = has_users
        listener = stack.enter_context(listen_at(home.socket, backlog=16))
        stack.callback(home.socket.unlink)
        loop, server = asyncio.new_event_loop(), _DoorServer(found.apps["home"], listener=listener, tls=None)
        stack.callback(loop.close)
        thread = threading.Thread(target=lambda: loop.run_until_complete(server.serve()))
        thread.start()
        stack.callback(thread.join, PATIENCE_S)
        stack.callback(loop.call_soon_threadsafe, server.end)
        yield found

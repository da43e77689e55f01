"""A PostgreSQL of our own, started in a temporary folder; what a test needs it for skips without it, and in CI fails."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest

from absence import absent
from patience import PATIENCE_S
from shuiqiao.node import home_reader, institution
from shuiqiao.node.accounts import opening
from shuiqiao.node.doctor import database, diagnosis
from shuiqiao.node.jobs import duties

USER = "postgres"
READING = (institution, home_reader, opening, database, diagnosis, duties)
"""Who asks which database a home has."""


def programs():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    return Path(on_path).resolve().parent if on_path else absent("PostgreSQL is not installed (no initdb)")


class Server:
    """A PostgreSQL of our own in a folder of its own, reached by a socket in that folder only."""

    def __init__(self, folder, binaries):
        self._folder = folder
        self._binaries = binaries
        self._as = self._unprivileged()
        # Texts compare as people of a country have them in order, as in most databases at work, and not by their bytes.
        words = ("--locale-provider=icu", "--icu-locale=zh-CN", "--locale=C")
        self._run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", USER, "-E", "UTF8", "--no-sync", *words)
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
        self._run("pg_ctl", "-D", str(folder / "data"), "-l", str(folder / "log"), "-w", "-o", options, "start")

    def _unprivileged(self):
        """How to become somebody who may run a server: PostgreSQL refuses to run as root."""
        if os.geteuid() != 0:
            return {}
        try:
            user = pwd.getpwnam(USER)
        except KeyError:
            absent(f"there is no user {USER} to run PostgreSQL as, and root may not")
        os.chown(self._folder, user.pw_uid, user.pw_gid)
        return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

    def _run(self, program, *arguments):
        with (self._folder / "out").open("ab") as out:
            done = subprocess.run(
                [str(self._binaries / program), *arguments],
                cwd=self._folder,
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE_S,
                check=False,
                **self._as,
            )
        assert done.returncode == 0, (self._folder / "out").read_text(errors="replace")[-2000:]

    def create(self, name):
        """Make a database and return its URL."""
        self._run("createdb", "-h", str(self._folder), "-U", USER, name)
        return self.url(name)

    def url(self, name):
        return f"postgresql://{USER}@/{name}?host={self._folder}"

    def stop(self):
        self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "-w", "stop")


@contextmanager
def postgresql_server() -> Generator[Server]:
    # A socket's path has at most 107 bytes, and pytest's own folders are closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="sq-pg-"))
    try:
        running = Server(folder, programs())
        yield running
        running.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def databases_of(url_of) -> Generator[None]:
    """Let homes that are opened in this one process each have a database of their own.

    url_of: the URL of a home's, None for the file in it. A server has it from its own environment.
    """
    with pytest.MonkeyPatch.context() as patch:
        for module in READING:
            patch.setattr(module, "database_of", lambda home: url_of(home) or home.database)
        yield

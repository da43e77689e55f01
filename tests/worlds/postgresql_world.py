"""A PostgreSQL of our own, started in a temporary folder; what a test needs it for skips without it, and in CI fails."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from absence import absent
from patience import PATIENCE_S

USER = "postgres"


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
        self._run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", USER, "-E", "UTF8", "--no-sync")
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
def postgresql_server() -> Iterator[Server]:
    # A socket's path has at most 107 bytes, and pytest's own folders are closed to other users.
    folder = Path(tempfile.mkdtemp(prefix="sq-pg-"))
    try:
        running = Server(folder, programs())
        yield running
        running.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)

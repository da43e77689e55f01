"""The server of a home as a process that lives on: started as a person would start it, awaited, asked, ended.

Whoever serves the home is asked at its own socket. One that this folder's commands did not start is told by the lock in
the home, is left running by all of them, and counts as the home's server all the same.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shuiqiao.base.environment import DATABASE_URL_VARIABLE, PASSPHRASE_FILE_VARIABLE
from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.client.resources.home import HomeStatus
from shuiqiao.node.home.server_lock import serving_process
from shuiqiao.node.localnet.process import START_TIMEOUT_S, RecordedProcess, last_lines

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shuiqiao.node.home.settings import Home

STOP_TIMEOUT_S: Final = 45.0
"""How long a server may take to end: running requests and jobs have their time, then the home is closed."""

_ASK_TIMEOUT_S: Final = 5.0
_POLL_S: Final = 0.02


class ServerProcess:
    """The server of one home, running or not.

    ::

        server = ServerProcess(Home(Path("net/homes/bureau")), run=Path("net/run"))
        server.start()
        server.wait_ready()
    """

    def __init__(self, home: Home, *, run: Path) -> None:
        """run: where its record and its log lie."""
        self.home = home
        self._process = RecordedProcess(run, name=home.folder.name)

    @property
    def pid(self) -> int | None:
        """The id of the process that serves the home, 0 where it is not known yet, None where none does."""
        return self._process.pid if self._process.pid is not None else serving_process(self.home)

    @property
    def is_ours(self) -> bool:
        """Whether the process was started here."""
        return self._process.pid is not None

    @property
    def is_expected(self) -> bool:
        """Whether it was started here and not stopped since: one that is expected and does not run ended by itself."""
        return self._process.is_expected

    def last_words(self) -> str:
        """Return the line of its log with which it ended."""
        return self._process.last_words()

    def start(self, environment: Mapping[str, str] | None = None) -> None:
        """Start it at the addresses of node.toml, unless the home is served already.

        environment: what it finds there besides what this process does.
        """
        if self.pid is not None:
            return
        # -P: what lies in the present folder is not imported. Database and passphrase are the home's own, whatever is
        # named here, but for a passphrase that it has nowhere.
        command = [sys.executable, "-P", "-m", "shuiqiao.cli", "serve", "--home", str(self.home.folder.absolute())]
        found = {DATABASE_URL_VARIABLE: "", **(environment or {})}
        if self.home.passphrase.is_file():
            found[PASSPHRASE_FILE_VARIABLE] = str(self.home.passphrase)
        self._process.start(command, environment=found)

    def wait_ready(self, *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return once it answers requests.

        Raises Unavailable ``node.process_ended``, ``node.process_too_slow``.
        """
        self.wait_until(self._require_ready, timeout_s=timeout_s)

    def wait_until(self, look: Callable[[], object], *, timeout_s: float = START_TIMEOUT_S) -> None:
        """Return once a look at what it does succeeds; raises as ``wait_ready``."""
        self._process.wait_until(look, timeout_s=timeout_s)

    def is_ready(self) -> bool:
        """Tell whether it answers requests now."""
        try:
            self._require_ready()
        except ShuiqiaoError:
            return False
        return True

    def _require_ready(self) -> None:
        from shuiqiao.client.http import HttpClient

        with HttpClient.at_socket(self.home.socket, timeout_s=_ASK_TIMEOUT_S) as client:
            client.get("/readyz")

    def status(self) -> HomeStatus | None:
        """Return where the institution stands, None where nobody answers or its ledger waits for others."""
        from shuiqiao.client.http import HttpClient

        try:
            with HttpClient.at_socket(self.home.socket, timeout_s=_ASK_TIMEOUT_S) as client:
                return client.get("/home/status").read_as(HomeStatus)
        except ShuiqiaoError:
            return None

    def ask_to_end(self) -> None:
        """Ask it to end if it is one of ours."""
        self._process.ask_to_end()

    def wait_ended(self) -> None:
        """Return once it has ended; one of ours that does not within its time is killed."""
        self._process.wait_ended(timeout_s=STOP_TIMEOUT_S)

    def kill(self) -> None:
        """End it at once, as a crash would, if it is one of ours; raises Unavailable ``node.process_unkillable``."""
        pid = self._process.pid
        self._process.kill()
        # A process of many threads holds the lock on its home for a moment after it is gone by its id.
        end = time.monotonic() + STOP_TIMEOUT_S
        while pid is not None and serving_process(self.home) == pid:
            if time.monotonic() > end:
                raise Unavailable("node.process_unkillable", f"the server of {self.home.folder} still holds its lock")
            time.sleep(_POLL_S)

    @property
    def log(self) -> Path:
        """The file that has its output, of all its runs."""
        return self._process.log

    def last_lines(self, *, max_bytes: int) -> Sequence[str]:
        """Return the lines in the last bytes of its log."""
        return last_lines(self.log, max_bytes=max_bytes)

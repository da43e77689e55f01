"""A CometBFT node as a process: start, stop, kill, wait for a height. Its output goes to ``comet.log`` in its home.

A node never outlives the process that started it: one whose application is gone before it was ever connected would
look for it for ever. The kernel ends it (PR_SET_PDEATHSIG, set by ``setpriv``), whatever ended its starter; one whose
starter was gone before the kernel knew of it does not begin.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from shuiqiao.base.environment import COMETBFT_VARIABLE
from shuiqiao.base.errors import IntegrityError, ShuiqiaoError, Unavailable
from shuiqiao.base.files import open_regular
from shuiqiao.ledger.engine.cometbft.comet.home import RPC_SOCKET
from shuiqiao.ledger.engine.cometbft.comet.rpc import NodeStatus, RpcClient

DEFAULT_VERSION: Final = "v0.39.4"
TOOLS: Final = Path(".tools") / "cometbft"
"""Where the script puts it: in the present folder, or else in the checkout that this program runs from."""

_CHECKOUT: Final = Path(__file__).resolve().parents[6]
STOP_TIMEOUT_S: Final = 10.0
LOG_NAME: Final = "comet.log"
_LEASH: Final = ("setpriv", "--pdeathsig", "KILL", "--")
_STARTER: Final = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cometbft-starter")
"""The kernel's leash is tied to the thread that starts a process, so that one lives as long as we do."""

_POLL_S: Final = 0.05
_TAIL_BYTES: Final = 8_000
_HASH_REFUSALS: Final = ("AppHash does not match", "wrong Block.Header.AppHash")
"""What CometBFT says before it ends: at the handshake, and of a block that the others decided."""


def find_program(*, version: str = DEFAULT_VERSION, tools: Path = TOOLS) -> Path:
    """Return the cometbft program of a version, or the one that SHUIQIAO_COMETBFT names.

    Raises Unavailable ``ledger.cometbft_absent``.
    """
    named = os.environ.get(COMETBFT_VARIABLE)
    program = Path(named) if named else tools / version / "cometbft"
    if not named and not program.exists():
        program = _CHECKOUT / tools / version / "cometbft"
    if not os.access(program, os.X_OK):
        raise Unavailable(
            "ledger.cometbft_absent",
            f"there is no cometbft program at {program.absolute()}",
            next_step=f"run scripts/install_cometbft.sh {version}, or name the program in {COMETBFT_VARIABLE}",
        )
    return program.absolute()


def start_command(program: Path, home: Path, *, starter: int) -> list[str]:
    """Return the command that starts a node in its folder, where its sockets have short names.

    starter: the process that runs the command; as the child of another one it ends. CometBFT cannot replace the RPC
    socket that a killed node left behind, so that is removed first.
    """
    words = f'[ "$PPID" = "$3" ] && cd "$2" && rm -f {RPC_SOCKET} && exec "$1" start --home "$2"'
    return ["/bin/sh", "-c", words, "start-cometbft", str(program), str(home), str(starter)]


class NodeProcess:
    """One CometBFT node over a home that ``write_home`` wrote."""

    def __init__(self, home: Path, *, program: Path) -> None:
        self.home = home
        self.rpc = RpcClient(home / RPC_SOCKET)
        self._program = program
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id, None while it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    def start(self) -> None:
        """Start the node; it waits by itself until its application listens. Does nothing while it runs."""
        if self.pid is not None:
            return
        with (self.home / LOG_NAME).open("ab") as log:
            self._process = _STARTER.submit(
                subprocess.Popen,
                [*_LEASH, *start_command(self._program, self.home.absolute(), starter=os.getpid())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            ).result()

    def stop(self) -> None:
        """Ask the node to end, and end it if it does not within ten seconds."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
        self.rpc.close()

    def kill(self) -> None:
        """End the node at once, as a crash would (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.rpc.close()

    def wait_for_height(self, height: int, *, timeout_s: float) -> NodeStatus:
        """Return once the node has a height.

        Raises Unavailable ``ledger.node_too_slow`` with the end of its log, and what ``require_running`` raises.
        """
        end = time.monotonic() + timeout_s
        reached = "it never answered"
        while time.monotonic() < end:
            self.require_running()
            try:
                status = self.rpc.status()
            except ShuiqiaoError as error:
                reached = error.message
            else:
                if status.height >= height:
                    return status
                reached = f"it is at height {status.height}"
            time.sleep(_POLL_S)
        raise Unavailable(
            "ledger.node_too_slow",
            f"{self.home} did not reach height {height} within {timeout_s:g} s: {reached}; log: {self.log_tail()}",
        )

    def wait_for_end(self, *, timeout_s: float) -> None:
        """Return if the node still runs after a time; raises what ``require_running`` raises as soon as it ended."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            self.require_running()
            time.sleep(_POLL_S)

    def require_running(self) -> None:
        """Return if the node was not started or still runs.

        Raises IntegrityError ``ledger.app_hash_refused`` for one that ended because the ledger beside it is not the
        one whose blocks it agreed to, Unavailable ``ledger.node_ended`` for one that ended otherwise.
        """
        if self._process is None or self._process.poll() is None:
            return
        tail = self.log_tail()
        if any(words in tail for words in _HASH_REFUSALS):
            raise IntegrityError(
                "ledger.app_hash_refused",
                f"the node over {self.home} refused the ledger beside it: its application hash is not the agreed one",
                next_step="the ledger was altered: restore its folder, or join again by state sync",
            )
        raise Unavailable(
            "ledger.node_ended",
            f"the node over {self.home} ended with code {self._process.returncode}; log: {tail}",
            next_step=f"read {self.home / LOG_NAME}",
        )

    def log_tail(self) -> str:
        """Return the end of the node's log."""
        path = self.home / LOG_NAME
        if not path.exists():
            return ""
        with open_regular(path) as log:
            log.seek(max(0, path.stat().st_size - _TAIL_BYTES))
            return log.read().decode(errors="replace")

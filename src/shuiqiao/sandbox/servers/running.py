"""Running a sandbox: its institutions as servers of their own on loopback, started, asked and ended together.

Servers start in any order and find each other; the writer ends last, so that what others handed in is answered. A
server that somebody else started for one of these homes is used, and never ended.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shuiqiao.client.http import HttpClient
from shuiqiao.client.resources.own_files import TAKE_IN_FILES, OwnFiles, TakenIn, path_text
from shuiqiao.node.home.settings import load_settings
from shuiqiao.node.localnet.process import acting_alone
from shuiqiao.node.localnet.server_process import ServerProcess
from shuiqiao.sandbox.scenario.consortium import BUREAU
from shuiqiao.sandbox.servers.folder import Account, SandboxFolder, member_unknown
from shuiqiao.sandbox.servers.logging_in import token_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shuiqiao.base.clock import Clock
    from shuiqiao.base.progress import Progress

READY_TIMEOUT_S: Final = 120.0
"""How long a server may take to answer without working on it, in seconds: five programs are loaded at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstitutionStatus:
    """How one institution of a sandbox is. height: of its copy of the ledger, None where it does not answer."""

    member: str
    role: str
    url: str
    is_ready: bool
    height: int | None
    pid: int | None
    users: tuple[Account, ...]
    waits_for: str = ""
    """What its copy of the ledger waits for, and why; empty where it does not."""

    def as_json(self, *, with_secrets: bool = False) -> dict[str, Any]:
        """Return the JSON object. with_secrets: with each user's password and second factor."""
        users: list[dict[str, Any]] = [{"user": user.user, "roles": list(user.roles)} for user in self.users]
        if with_secrets:
            users = [
                {**row, "password": user.password, "second_factor": user.second_factor or None}
                for row, user in zip(users, self.users, strict=True)
            ]
        return {
            "member": self.member,
            "role": self.role,
            "url": self.url,
            "ready": self.is_ready,
            "height": self.height,
            "users": users,
        }


class Sandbox:
    """The servers of a sandbox that was made.

    ::

        sandbox = Sandbox(SandboxFolder(Path("sandbox")))
        sandbox.start(clock=SystemClock(), progress=no_progress)
    """

    def __init__(self, folder: SandboxFolder) -> None:
        """Read the plan; raises what ``load_plan`` raises."""
        self.folder = folder
        self.plan = folder.load_plan()
        self.servers = {member: ServerProcess(folder.home(member), run=folder.run) for member in self.plan.members}
        self.taken: TakenIn | None = None
        """What became of the bureau's data, where this object had it taken in."""
        self.taken_s = 0.0
        """How long that took, in seconds."""

    def start(self, *, clock: Clock, progress: Progress) -> tuple[str, ...]:
        """Start what does not run, wait until all answer, and have the bureau take its data in.

        Returns the members that were started. Raises Conflict ``node.network_busy``, Unavailable
        ``node.process_ended``, ``node.process_too_slow``, what the bureau refuses the data with.
        """
        with acting_alone(self.folder.run):
            started = tuple(member for member, server in self.servers.items() if server.pid is None)
            for server in self.servers.values():
                server.start()
            for done, (member, server) in enumerate(self.servers.items()):
                progress("start servers 启动服务", done, len(self.servers))
                if member in started:
                    server.wait_ready(timeout_s=READY_TIMEOUT_S)
            if not self.plan.has_records:
                progress("take the records in 入库", 0, None)
                began = time.monotonic()
                self.taken = self.take_in(clock=clock)
                self.taken_s = time.monotonic() - began
                self.plan = msgspec.structs.replace(self.plan, has_records=True)
                self.folder.save_plan(self.plan)
        return started

    def take_in(self, *, clock: Clock) -> TakenIn:
        """Have the bureau take in every file that was generated for it; the same files again change nothing."""
        home = self.folder.home(BUREAU)
        files = sorted(path for path in (self.folder.data / "tax").iterdir() if path.is_file())
        with HttpClient.at_socket(home.socket) as client:
            token = token_of(client, self.folder.accounts_of(BUREAU).with_role("data_officer"), clock=clock)
        with HttpClient.at_socket(home.socket, token=token) as client:
            named = OwnFiles(files=tuple(path_text(path.absolute()) for path in files))
            return client.perform(TAKE_IN_FILES, named)

    def stop(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """End the servers that were started here, the writer last.

        Returns the members whose servers ended, and those whose servers somebody else started, which run on.
        """
        with acting_alone(self.folder.run):
            others = [
                member for member, server in self.servers.items() if not server.is_ours and server.pid is not None
            ]
            ours = [member for member, server in self.servers.items() if server.is_ours]
            # The bureau orders what the others hand in until they ended.
            followers = [server for member, server in self.servers.items() if member != BUREAU]
            for together in (followers, [self.servers[BUREAU]]):
                for server in together:
                    server.ask_to_end()
                for server in together:
                    server.wait_ended()
        return tuple(ours), tuple(others)

    def status(self) -> tuple[InstitutionStatus, ...]:
        """Return how each institution is."""
        users = {found.member: found.users for found in self.folder.load_accounts()}
        return tuple(self._status_of(member, users=users.get(member, ())) for member in self.plan.members)

    def _status_of(self, member: str, *, users: tuple[Account, ...]) -> InstitutionStatus:
        server = self.servers[member]
        settings = load_settings(server.home)
        pid = server.pid
        found = server.status() if pid is not None else None
        return InstitutionStatus(
            member=member,
            role=settings.role,
            url=self.url(member),
            is_ready=pid is not None and server.is_ready(),
            height=None if found is None else found.height,
            pid=pid,
            users=users,
            waits_for="" if found is None else found.waits_for,
        )

    def url(self, member: str) -> str:
        """Return where an institution's server listens for callers; raises as ``server``."""
        return f"http://{load_settings(self.server(member).home).listen}"

    def server(self, member: str) -> ServerProcess:
        """Return one institution's server; raises InvalidInput ``sandbox.member_unknown``."""
        if member not in self.servers:
            raise member_unknown(member, known=self.plan.members)
        return self.servers[member]

    def members(self, named: Sequence[str]) -> tuple[str, ...]:
        """Return the named institutions, all where none is named; raises as ``server``."""
        for member in named:
            self.server(member)
        return tuple(named) or self.plan.members

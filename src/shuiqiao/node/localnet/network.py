"""Running a network on one machine: start, look, stop, kill, cut apart, heal.

A validator is the server of its home (``shuiqiao serve``), which starts the CometBFT node beside its ledger as a child.
One process more relays between the nodes. Each command does its act and ends; what it started lives on (``process``).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from shuiqiao.base.environment import COMETBFT_VARIABLE
from shuiqiao.base.errors import InvalidInput, ShuiqiaoError
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.client.http import HttpClient
from shuiqiao.client.resources.governance import ROTATE_KEY, KeyRotation, RotatedKey
from shuiqiao.client.resources.validator import STANDING, ValidatorStanding
from shuiqiao.ledger.engine.cometbft.comet.home import RPC_SOCKET, ValidatorKeyFiles
from shuiqiao.ledger.engine.cometbft.comet.localnet import NodePlace
from shuiqiao.ledger.engine.cometbft.comet.rpc import RpcClient
from shuiqiao.node.localnet.plan import RELAYS, NetworkFolder, NetworkPlan, load_plan
from shuiqiao.node.localnet.process import RecordedProcess, acting_alone, ask_process
from shuiqiao.node.localnet.server_process import ServerProcess
from shuiqiao.node.localnet.status import CometStatus, NodeStatus, Trouble, compare, node_status

READY_TIMEOUT_S = 120.0
"""How long all servers together may take to answer after they were started, in seconds."""

CATCH_UP_S = 10.0
"""How long a start waits for validators to meet the others and catch up, in seconds."""

_POLL_S = 0.1
_RPC_TIMEOUT_S = 3.0
_ASK_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkStatus:
    """How a network is. has_relays: the relays answer. cut: pairs of validators that do not reach each other."""

    plan: NetworkPlan
    nodes: tuple[NodeStatus, ...]
    has_relays: bool
    cut: tuple[tuple[str, str], ...]

    @property
    def agrees(self) -> bool:
        """Whether no two nodes have one size and different roots."""
        roots: dict[int, str] = {}
        return all(roots.setdefault(node.size, node.root) == node.root for node in self.nodes if node.root)


class Network:
    """The processes of a network's folder.

    E.g. ``Network(NetworkFolder(Path("net"))).start([], program=Path("/usr/bin/cometbft"))`` starts all validators.
    """

    def __init__(self, folder: NetworkFolder) -> None:
        """Read the plan; raises what ``load_plan`` raises."""
        self.folder = folder
        self.plan = load_plan(folder)
        self._relays = RecordedProcess(folder.run, name=RELAYS)

    def start(
        self, members: Sequence[str], *, program: Path, progress: Progress = no_progress
    ) -> tuple[NodeStatus, ...]:
        """Start what does not run of the named validators, or of all, and return how they are once they answer.

        They are given a while to catch up with the others; one that is alone cannot, and is returned as it is.

        program: the cometbft program, of the servers that are started. Raises InvalidInput
        ``node.network_not_started``, ``node.validator_unknown``, Conflict ``node.network_busy``, Unavailable
        ``node.process_ended``, ``node.process_too_slow``.
        """
        if self.plan.engine != "cometbft":
            raise InvalidInput(
                "node.network_not_started",
                "an embedded network has no validators, and its followers no link to the writer between processes yet",
                next_step="use the writer's home with the other commands, or make a network with --engine cometbft",
            )
        with acting_alone(self.folder.run):
            return self._start(self._places(members), program=program, progress=progress)

    def _start(self, places: Sequence[NodePlace], *, program: Path, progress: Progress) -> tuple[NodeStatus, ...]:
        # -P: what lies in the present folder is not imported.
        relays = [sys.executable, "-P", "-m", "shuiqiao.node.localnet.relays", str(self.folder.folder.absolute())]
        self._relays.start(relays)
        self._relays.wait_until(self._cut)
        for place in places:
            self._server(place.member).start({COMETBFT_VARIABLE: str(program)})
        for place in places:
            progress(f"open the ledger of {place.member}", 0, None)
            self._server(place.member).wait_ready(timeout_s=READY_TIMEOUT_S)
        for place in places:
            progress(f"connect {place.member}", 0, None)
            self._server(place.member).wait_until(partial(self._look, place.member))
        end = time.monotonic() + CATCH_UP_S
        while any(_is_catching_up(self._socket(place.member)) for place in places) and time.monotonic() < end:
            time.sleep(_POLL_S)
        return tuple(self._status_of(place) for place in places)

    def rotate_key(self, member: str) -> RotatedKey:
        """Have a running validator replace the key that it votes with.

        Raises InvalidInput ``node.validator_unknown``, and what ``rotate_key`` and ``HttpClient`` raise; the same
        call then goes on.
        """
        [place] = self._places([member])
        with self._client(place.member) as client:
            return client.perform(ROTATE_KEY, KeyRotation(purpose="validator"))

    def status(self) -> NetworkStatus:
        """Have validators compare what they signed, and return the status of each, of those that do not answer too."""
        try:
            cut = self._cut()
        except ShuiqiaoError:
            cut = None
        stopped = self._compare()
        nodes = (self._status_of(place) for place in self.plan.validators)
        return NetworkStatus(
            plan=self.plan,
            nodes=tuple(
                replace(node, trouble=(*node.trouble, stopped[node.node])) if node.node in stopped else node
                for node in nodes
            ),
            has_relays=cut is not None,
            cut=tuple(cut or ()),
        )

    def _compare(self) -> dict[str, Trouble]:
        """Have validators that run compare what they signed; return why each one stopped that had to."""
        with ExitStack() as stack:
            clients = {name: stack.enter_context(self._client(name)) for name in self.plan.names}
            standings: dict[str, ValidatorStanding] = {}
            for name, client in clients.items():
                if self._server(name).pid is not None:
                    # One that does not answer is told by its own status.
                    with suppress(ShuiqiaoError):
                        standings[name] = client.get(STANDING).read_as(ValidatorStanding)
            return compare(clients, standings=standings)

    def stop(self) -> None:
        """End everything in order: each server ends its CometBFT node before its ledger; the relays last."""
        with acting_alone(self.folder.run):
            for processes in ([self._server(name) for name in self.plan.names], [self._relays]):
                for process in processes:
                    process.ask_to_end()
                for process in processes:
                    process.wait_ended()

    def kill(self, member: str) -> None:
        """End a validator as a crash of its machine would, its node with it; raises ``node.validator_unknown``."""
        [place] = self._places([member])
        with acting_alone(self.folder.run):
            self._server(place.member).kill()

    def partition(self, members: Sequence[str]) -> tuple[tuple[str, str], ...]:
        """Cut validators off from all others and return all pairs that are cut; they still reach each other.

        Raises InvalidInput ``node.validator_unknown``, Unavailable ``node.control_unreachable``.
        """
        names = [place.member for place in self._places(members)]
        answer = ask_process(self.folder.control(RELAYS), {"act": "cut", "members": names})
        return tuple((near, far) for near, far in answer["cut"])

    def heal(self) -> None:
        """End all partitions; raises Unavailable ``node.control_unreachable``."""
        ask_process(self.folder.control(RELAYS), {"act": "heal"})

    def _places(self, members: Sequence[str]) -> list[NodePlace]:
        unknown = [name for name in members if name not in self.plan.names]
        if unknown:
            raise InvalidInput(
                "node.validator_unknown",
                f"{unknown[0]!r} is no validator of this network: {', '.join(self.plan.names) or 'it has none'}",
            )
        return [place for place in self.plan.validators if not members or place.member in members]

    def _server(self, member: str) -> ServerProcess:
        return ServerProcess(self.folder.home(member), run=self.folder.run)

    def _socket(self, member: str) -> Path:
        return self.folder.home(member).cometbft / RPC_SOCKET

    def _client(self, member: str) -> HttpClient:
        return HttpClient.at_socket(self.folder.home(member).socket, timeout_s=_ASK_TIMEOUT_S)

    def _standing(self, member: str) -> ValidatorStanding:
        with self._client(member) as client:
            return client.get(STANDING).read_as(ValidatorStanding)

    def _look(self, member: str) -> CometStatus:
        return _comet_status(self._socket(member))

    def _cut(self) -> list[tuple[str, str]]:
        return [(near, far) for near, far in ask_process(self.folder.control(RELAYS), {"act": "status"})["cut"]]

    def _status_of(self, place: NodePlace) -> NodeStatus:
        return node_status(
            place.member,
            server=self._server(place.member),
            ask=lambda: self._standing(place.member),
            look=lambda: self._look(place.member),
            votes_with=ValidatorKeyFiles(self.folder.home(place.member).cometbft).current(),
        )


def _comet_status(rpc_socket: Path) -> CometStatus:
    with closing(RpcClient(rpc_socket, timeout_s=_RPC_TIMEOUT_S)) as rpc:
        return CometStatus(peers=rpc.peer_count(), is_catching_up=rpc.status().is_catching_up)


def _is_catching_up(rpc_socket: Path) -> bool:
    try:
        return _comet_status(rpc_socket).is_catching_up
    except ShuiqiaoError:
        return True

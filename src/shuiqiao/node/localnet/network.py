"""Running a network on one machine: start, look, stop, kill, cut apart, heal.

A validator is two processes: ours, which keeps its ledger, and CometBFT, which agrees with the others. One process more
relays between them. Each command does its act and ends; what it started lives on (``process``).
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from shuiqiao.base.errors import InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.ledger.engine.cometbft.comet.home import RPC_SOCKET, ValidatorKeyFiles
from shuiqiao.ledger.engine.cometbft.comet.process import start_command
from shuiqiao.ledger.engine.cometbft.comet.rpc import RpcClient
from shuiqiao.node.localnet.plan import RELAYS, NetworkFolder, NetworkPlan, ValidatorPlace, load_plan
from shuiqiao.node.localnet.process import START_TIMEOUT_S, RecordedProcess, acting_alone, ask_process
from shuiqiao.node.localnet.status import CometStatus, NodeStatus, compare, node_status

CATCH_UP_S = 10.0
"""How long a start waits for validators to meet the others and catch up, in seconds."""

_POLL_S = 0.1
_RPC_TIMEOUT_S = 3.0


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

        program: the cometbft program. Raises InvalidInput ``node.network_not_started``, ``node.validator_unknown``,
        Conflict ``node.network_busy``, Unavailable ``node.process_ended``, ``node.process_too_slow``.
        """
        if self.plan.engine != "cometbft":
            raise InvalidInput(
                "node.network_not_started",
                "an embedded network has no validators, and its followers no link to the writer between processes yet",
                next_step="use the writer's home with the other commands, or make a network with --engine cometbft",
            )
        with acting_alone(self.folder.run):
            return self._start(self._places(members), program=program, progress=progress)

    def _start(self, places: Sequence[ValidatorPlace], *, program: Path, progress: Progress) -> tuple[NodeStatus, ...]:
        folder = str(self.folder.folder.absolute())
        self._relays.start(_own("relays", folder))
        self._relays.wait_until(lambda: self._ask(RELAYS))
        for place in places:
            self._ledger(place.member).start(_own("validator", folder, place.member))
        for place in places:
            progress(f"open the ledger of {place.member}", 0, None)
            self._ledger(place.member).wait_until(partial(self._ask, place.member))
            self._settle_validator_key(place.member)
            home = self.folder.home(place.member).cometbft.absolute()
            self._comet(place.member).start(start_command(program, home))
        for place in places:
            progress(f"connect {place.member}", 0, None)
            self._comet(place.member).wait_until(partial(_comet_status, self._socket(place.member)))
        end = time.monotonic() + CATCH_UP_S
        while any(_is_catching_up(self._socket(place.member)) for place in places) and time.monotonic() < end:
            time.sleep(_POLL_S)
        return tuple(self._status_of(place) for place in places)

    def home(self, member: str) -> Path:
        """Return the folder of a validator's home; raises InvalidInput ``node.validator_unknown``."""
        [place] = self._places([member])
        return self.folder.home(place.member).folder

    def take_validator_key(
        self, member: str, public_key: bytes, *, program: Path, progress: Progress = no_progress
    ) -> None:
        """Start a validator's CometBFT node again with its new key, once the votes of that key count.

        Raises Unavailable ``node.validator_key_awaited`` and what ``start`` raises; the same call then goes on.
        """
        [place] = self._places([member])
        with acting_alone(self.folder.run):
            progress("wait until the new key counts", 0, None)
            _wait_until_it_counts(self._socket(member), public_key)
            node = self._comet(member)
            node.ask_to_end()
            node.wait_ended()
            self._start([place], program=program, progress=progress)

    def _settle_validator_key(self, member: str) -> None:
        """Put a validator's next key in use before its node starts, if its ledger names it."""
        files = ValidatorKeyFiles(self.folder.home(member).cometbft)
        made = files.next()
        if (
            self._comet(member).pid is None
            and made is not None
            and made.hex() == self._ask(member).get("validator_key")
        ):
            files.switch()

    def status(self) -> NetworkStatus:
        """Have validators compare what they signed, and return the status of each, of those that do not answer too."""
        try:
            cut = self._ask(RELAYS)["cut"]
        except ShuiqiaoError:
            cut = None
        stopped = compare(
            self.plan.names, ask=lambda member, question: ask_process(self.folder.control(member), question)
        )
        nodes = (self._status_of(place) for place in self.plan.validators)
        return NetworkStatus(
            plan=self.plan,
            nodes=tuple(
                replace(node, trouble=(*node.trouble, stopped[node.node])) if node.node in stopped else node
                for node in nodes
            ),
            has_relays=cut is not None,
            cut=tuple((near, far) for near, far in cut or ()),
        )

    def stop(self) -> None:
        """End everything, each CometBFT node before its ledger, the relays last."""
        names = self.plan.names
        with acting_alone(self.folder.run):
            for processes in (map(self._comet, names), map(self._ledger, names), [self._relays]):
                asked = list(processes)
                for process in asked:
                    process.ask_to_end()
                for process in asked:
                    process.wait_ended()

    def kill(self, member: str) -> None:
        """End both processes of a validator as a crash of its machine would; raises ``node.validator_unknown``."""
        [place] = self._places([member])
        with acting_alone(self.folder.run):
            for process in (self._comet(place.member), self._ledger(place.member)):
                process.kill()

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

    def _places(self, members: Sequence[str]) -> list[ValidatorPlace]:
        unknown = [name for name in members if name not in self.plan.names]
        if unknown:
            raise InvalidInput(
                "node.validator_unknown",
                f"{unknown[0]!r} is no validator of this network: {', '.join(self.plan.names) or 'it has none'}",
            )
        return [place for place in self.plan.validators if not members or place.member in members]

    def _ledger(self, member: str) -> RecordedProcess:
        return RecordedProcess(self.folder.run, name=f"{member}.ledger")

    def _comet(self, member: str) -> RecordedProcess:
        return RecordedProcess(self.folder.run, name=f"{member}.cometbft")

    def _socket(self, member: str) -> Path:
        return self.folder.home(member).cometbft / RPC_SOCKET

    def _ask(self, process: str) -> dict[str, Any]:
        return ask_process(self.folder.control(process), {"act": "status"})

    def _status_of(self, place: ValidatorPlace) -> NodeStatus:
        return node_status(
            place.member,
            ledger=self._ledger(place.member),
            comet=self._comet(place.member),
            ask=lambda: self._ask(place.member),
            look=lambda: _comet_status(self._socket(place.member)),
            votes_with=ValidatorKeyFiles(self.folder.home(place.member).cometbft).current(),
        )


def _own(*arguments: str) -> list[str]:
    # -P: what lies in the present folder is not imported.
    return [sys.executable, "-P", "-m", "shuiqiao.node.localnet.child", *arguments]


def _comet_status(rpc_socket: Path) -> CometStatus:
    with closing(RpcClient(rpc_socket, timeout_s=_RPC_TIMEOUT_S)) as rpc:
        return CometStatus(peers=rpc.peer_count(), is_catching_up=rpc.status().is_catching_up)


def _wait_until_it_counts(rpc_socket: Path, public_key: bytes) -> None:
    """Return once CometBFT counts votes by a key for the next height: two heights after the block that named it."""
    end = time.monotonic() + START_TIMEOUT_S
    with closing(RpcClient(rpc_socket, timeout_s=_RPC_TIMEOUT_S)) as rpc:
        while public_key not in rpc.validator_keys():
            if time.monotonic() > end:
                raise Unavailable(
                    "node.validator_key_awaited",
                    f"the ledger names the new validator key; after {START_TIMEOUT_S:g} s CometBFT does not count it",
                    next_step="see that more than two thirds of the validators run, then give the same command again",
                )
            time.sleep(_POLL_S)


def _is_catching_up(rpc_socket: Path) -> bool:
    try:
        return _comet_status(rpc_socket).is_catching_up
    except ShuiqiaoError:
        return True

"""The two networks of the consortium bench: four validators over our application, and four over CometBFT's own kvstore.

The same program, homes and settings in both; ours has a process beside each node that runs the application. What all
its processes must know alike is written once (``NetworkSpec``) and read by each of them.
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.ledger.engine.cometbft.comet.home import OWN_APPLICATION, RPC_SOCKET, NodeKeys, Setting, chain_id_of
from shuiqiao.ledger.engine.cometbft.comet.localnet import LocalHomes, LocalNetwork, LocalNode, LocalSettings
from shuiqiao.members.model import VALIDATOR_POWER
from shuiqiao.node.localnet.process import RecordedProcess, ask_process
from shuiqiao.sandbox.benchmarks.ledger_load import MEMBERS, LoadNetwork, load_network


class NetworkSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One network of the bench.

    comet: folder of each validator's CometBFT node. verifier_processes: see ``CometbftSettings``. snapshot_interval:
    CometBFT heights between two snapshots.
    """

    suite: str
    genesis_ms: int
    folder: str
    comet: Mapping[str, str]
    verifier_processes: int
    snapshot_interval: int

    def network(self) -> LoadNetwork:
        """Return the load network that the validators run."""
        keys = {name: comet_keys(name).validator_key for name in MEMBERS}
        return load_network(self.suite, genesis_time_ms=self.genesis_ms, validator_keys=keys)

    def ledger_folder(self, member: str) -> Path:
        """Return where a validator keeps its copy."""
        return Path(self.folder) / "ledger" / member

    def control(self, member: str) -> Path:
        """Return where a validator's process is asked."""
        return Path(self.folder) / f"{member}.sock"

    def save(self, path: Path) -> None:
        """Write it for the other processes."""
        path.write_bytes(msgspec.json.encode(self))


def load_spec(path: Path) -> NetworkSpec:
    """Return what ``NetworkSpec.save`` wrote."""
    return msgspec.json.decode(path.read_bytes(), type=NetworkSpec)


def comet_keys(member: str) -> NodeKeys:
    """Return a validator's CometBFT keys: they follow from its name, for a network that lives for minutes."""
    return NodeKeys(
        node_seed=hashlib.sha256(f"bench node {member}".encode()).digest(),
        validator_seed=hashlib.sha256(f"bench validator {member}".encode()).digest(),
    )


KVSTORE: Final = "kvstore"
"""CometBFT's own application, inside its process: no socket, no signatures, a state in memory."""

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 30.0
ANSWER_TIMEOUT_S: Final = 300.0
_POLL_S: Final = 0.05


class Cluster:
    """Four CometBFT nodes, and what is measured at their RPC."""

    def __init__(self, folder: Path, *, program: Path, suite: str, genesis_ms: int, app: str = OWN_APPLICATION) -> None:
        """Write the homes; nothing runs yet. app: a built-in application of CometBFT, else ours over sockets."""
        network = load_network(suite, genesis_time_ms=genesis_ms).parameters.network
        self.homes = LocalHomes(
            folder / "comet",
            [LocalNode(name=name, keys=comet_keys(name), power=VALIDATOR_POWER) for name in MEMBERS],
            settings=LocalSettings(
                chain_id=chain_id_of(network), genesis_time_ms=genesis_ms, is_relayed=False, app=app
            ),
        )
        self.comet = LocalNetwork(self.homes.folders, program=program)

    def start(self) -> None:
        """Start all nodes and return once each has the first block."""
        self.comet.start()
        self.comet.wait_for_height(1, timeout_s=START_TIMEOUT_S)

    def rpc_sockets(self, names: Sequence[str] = MEMBERS) -> list[str]:
        """Return where the nodes' RPC listens."""
        return [str(self.comet.home(name) / RPC_SOCKET) for name in names]

    def wait_drained(self, *, names: Sequence[str] = MEMBERS, timeout_s: float) -> int:
        """Return the height at which the named nodes stand once no mempool of theirs holds anything."""
        heights: list[int] = []

        def is_drained() -> bool:
            nodes = [self.comet.nodes[name] for name in names]
            waiting = sum(int(node.rpc.call("num_unconfirmed_txs")["n_txs"]) for node in nodes)
            heights[:] = [node.rpc.status().height for node in nodes]
            return waiting == 0 and len(set(heights)) == 1

        wait_for(is_drained, timeout_s=timeout_s, what="the mempools were not drained")
        return heights[0]

    def stop(self) -> None:
        """Stop all nodes."""
        self.comet.stop()


class LedgerCluster(Cluster):
    """The network of ours: beside each node a process with the application."""

    def __init__(
        self,
        folder: Path,
        *,
        program: Path,
        suite: str,
        genesis_ms: int,
        verifier_processes: int,
        snapshot_interval: int,
    ) -> None:
        """Write homes and the specification; nothing runs yet."""
        super().__init__(folder, program=program, suite=suite, genesis_ms=genesis_ms)
        self._spec_path = folder / "spec.json"
        self.spec = NetworkSpec(
            suite=suite,
            genesis_ms=genesis_ms,
            folder=str(folder),
            comet={name: str(self.comet.home(name)) for name in MEMBERS},
            verifier_processes=verifier_processes,
            snapshot_interval=snapshot_interval,
        )
        self.spec.save(self._spec_path)
        self._processes = {name: RecordedProcess(folder, name=name) for name in MEMBERS}

    def start(self) -> None:
        """Start all validators and return once each answers and has the first block."""
        for name in MEMBERS:
            self._spawn(name)
        for name in MEMBERS:
            self.wait_answering(name)
        super().start()

    def start_application(self, name: str) -> None:
        """Start one validator's application and return once it answers."""
        self._spawn(name)
        self.wait_answering(name)

    def _spawn(self, name: str) -> None:
        module = "shuiqiao.sandbox.benchmarks.network_validator"
        self._processes[name].start([sys.executable, "-m", module, str(self._spec_path), name])

    def wait_answering(self, name: str) -> None:
        """Return once a validator's application answers; raises Unavailable with the end of its log if it ended."""

        def is_answering() -> bool:
            process = self._processes[name]
            if process.pid is None:
                raise Unavailable(
                    "sandbox.bench_validator_ended", f"the validator {name} ended: {process.last_words()}"
                )
            try:
                self.standing(name)
            except ShuiqiaoError:
                return False
            return True

        wait_for(is_answering, timeout_s=START_TIMEOUT_S, what=f"the validator {name} did not answer")

    def wait_drained(self, *, names: Sequence[str] = MEMBERS, timeout_s: float) -> int:
        """Return as for any network, once the named validators also hold a note of all that they committed."""

        def is_noted() -> bool:
            standings = [self.standing(name) for name in names]
            return all(each["noted"] == each["size"] for each in standings)

        super().wait_drained(names=names, timeout_s=timeout_s)
        wait_for(is_noted, timeout_s=timeout_s, what="the last checkpoint was not cosigned")
        return super().wait_drained(names=names, timeout_s=timeout_s)

    def ask(self, name: str, **question: Any) -> dict[str, Any]:
        """Ask a validator's application."""
        return ask_process(self.spec.control(name), question, timeout_s=ANSWER_TIMEOUT_S)

    def standing(self, name: str) -> dict[str, Any]:
        """Return where a validator's ledger stands."""
        return self.ask(name, act="standing")

    def kill(self, name: str) -> None:
        """End a validator at once, node and application, as a failing machine would."""
        self.comet.nodes[name].kill()
        self._processes[name].kill()

    def write_home(self, name: str, *, sync: Mapping[str, Setting]) -> None:
        """Write a node's home again with state-sync settings."""
        self.homes.write(name, sync=sync)

    def ledger_bytes(self, name: str) -> int:
        """Return how much of the disk a validator's ledger folder takes, in bytes."""
        files = [path for path in self.spec.ledger_folder(name).rglob("*") if path.is_file()]
        return sum(path.stat().st_blocks for path in files) * _BLOCK_BYTES

    def stop(self) -> None:
        """Stop everything."""
        super().stop()
        for process in self._processes.values():
            process.ask_to_end()
        for process in self._processes.values():
            process.wait_ended(timeout_s=STOP_TIMEOUT_S)


_BLOCK_BYTES: Final = 512


def wait_for(condition: Callable[[], bool], *, timeout_s: float, what: str) -> None:
    """Return once a condition holds; raises Unavailable ``sandbox.bench_too_slow`` if it does not in time."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise Unavailable("sandbox.bench_too_slow", f"{what} within {timeout_s:g} s")
        time.sleep(_POLL_S)

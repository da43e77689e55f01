"""A network of CometBFT nodes on the loopback of one machine: for tests, the demo and ``network init``.

Every node has a home of its own below one folder. Node i dials the nodes after it, through relays that can be cut, so
that a node can be partitioned away for real; without relays every node dials all others. The applications are started
by the caller, over the folder of each.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from shuiqiao.base.errors import Unavailable
from shuiqiao.ledger.engine.cometbft.comet.home import (
    OWN_APPLICATION,
    RPC_SOCKET,
    GenesisValidator,
    HomeSettings,
    NodeKeys,
    Pace,
    Setting,
    comet_genesis,
    write_home,
)
from shuiqiao.ledger.engine.cometbft.comet.process import NodeProcess

_FIRST_PORT: Final = 20_000
_PORTS: Final = 12_000
_PORT_STEP: Final = 64
_COPY_BYTES: Final = 256 * 1024
_CONNECT_TIMEOUT_S: Final = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalNode:
    """What is known of a node before it starts.

    power: how much its vote counts, 0 for a node that follows without one. home: its folder, named as it is if None.
    """

    name: str
    keys: NodeKeys
    power: int = 10
    home: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """How a local network is set up.

    is_relayed: put relays between peers, for partitions; direct connections are a little faster.
    app: a built-in application of CometBFT instead of sockets, for comparison.
    """

    chain_id: str
    genesis_time_ms: int
    pace: Pace = field(default_factory=Pace)
    is_relayed: bool = True
    app: str = OWN_APPLICATION


class LocalNetwork:
    """Homes, processes and relays of validators on one machine.

    ::

        network = LocalNetwork(folder, nodes, program=find_program(), settings=settings)
        network.start()
        network.partition(["node0"])
        network.heal()
        network.stop()
    """

    def __init__(self, folder: Path, nodes: Sequence[LocalNode], *, program: Path, settings: LocalSettings) -> None:
        """Write all homes; nothing is started."""
        self.folder = folder
        self.names = tuple(node.name for node in nodes)
        self._settings = settings
        self._local = nodes
        self._p2p_ports = free_ports(len(nodes))
        self._relays: dict[tuple[int, int], Relay] = {}
        if settings.is_relayed:
            pairs = [(near, far) for far in range(len(nodes)) for near in range(far)]
            self._relays = {(near, far): Relay(target_port=self._p2p_ports[far]) for near, far in pairs}
        self.genesis = comet_genesis(
            chain_id=settings.chain_id,
            time_ms=settings.genesis_time_ms,
            validators=[
                GenesisValidator(name=each.name, key=each.keys.validator_key, power=each.power)
                for each in nodes
                if each.power
            ],
        )
        for index in range(len(nodes)):
            self.write_home(index)
        self.nodes = {name: NodeProcess(self.home(name), program=program) for name in self.names}

    def home(self, name: str) -> Path:
        """Return a node's CometBFT folder."""
        return self._local[self.names.index(name)].home or self.folder / name

    def p2p_port(self, name: str) -> int:
        """Return the loopback port where a node meets its peers."""
        return self._p2p_ports[self.names.index(name)]

    def rpc_address(self, name: str) -> str:
        """Return the address of a node's RPC, as CometBFT writes it."""
        return f"unix://{(self.home(name) / RPC_SOCKET).absolute()}"

    def write_home(self, index: int, *, sync: Mapping[str, Setting] | None = None) -> None:
        """Write a node's folder (again, with state-sync settings where given)."""
        node = self._local[index]
        settings = HomeSettings(
            moniker=node.name,
            app=self._settings.app,
            p2p=f"tcp://127.0.0.1:{self._p2p_ports[index]}",
            peers=self._peers(index),
            pace=self._settings.pace,
            sync=sync or {},
        )
        write_home(self.home(node.name), settings=settings, keys=node.keys, genesis=self.genesis)

    def _peers(self, index: int) -> list[str]:
        """Return whom a node dials: those after it through relays, of which there is one for each pair, else all.

        One that comes back then needs not wait until the others dial it again, which CometBFT does every five seconds.
        """
        first = index + 1 if self._relays else 0
        return [self._peer(index, far) for far in range(first, len(self._local)) if far != index]

    def _peer(self, near: int, far: int) -> str:
        relay = self._relays.get((near, far))
        port = relay.port if relay is not None else self._p2p_ports[far]
        return f"{self._local[far].keys.node_id}@127.0.0.1:{port}"

    def start(self, names: Sequence[str] | None = None) -> None:
        """Start the named nodes, or all."""
        for name in names if names is not None else self.names:
            self.nodes[name].start()

    def wait_for_height(self, height: int, *, timeout_s: float, names: Sequence[str] | None = None) -> None:
        """Return once the named nodes, or all, have a height; raises what ``NodeProcess.wait_for_height`` raises."""
        for name in names if names is not None else self.names:
            self.nodes[name].wait_for_height(height, timeout_s=timeout_s)

    def partition(self, names: Sequence[str]) -> None:
        """Cut the named nodes off from all others; they still reach each other."""
        for relay in self._relays_between(names):
            relay.cut()

    def heal(self) -> None:
        """End all partitions."""
        for relay in self._relays.values():
            relay.heal()

    def _relays_between(self, names: Sequence[str]) -> list[Relay]:
        if not self._relays:
            raise ValueError("this network was set up without relays and cannot be partitioned")
        inside = {self.names.index(name) for name in names}
        return [relay for (near, far), relay in self._relays.items() if (near in inside) != (far in inside)]

    def stop(self) -> None:
        """Stop all nodes and relays."""
        for node in self.nodes.values():
            node.stop()
        for relay in self._relays.values():
            relay.close()


def free_ports(count: int) -> list[int]:
    """Return loopback ports that are free now, below the range the system hands out for outgoing connections.

    Processes begin their search at different places, so that networks set up at the same time do not meet.
    """
    first = _FIRST_PORT + os.getpid() * _PORT_STEP % _PORTS
    found: list[int] = []
    for offset in range(_PORTS):
        if len(found) == count:
            return found
        port = _FIRST_PORT + (first - _FIRST_PORT + offset) % _PORTS
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
    raise Unavailable("ledger.ports_taken", f"fewer than {count} loopback ports are free from {_FIRST_PORT} on")


class Relay:
    """Stands between two peers and can be cut: how a network on one machine is partitioned.

    A node dials its peer through a relay's port, which copies bytes both ways. While it is cut, open connections are
    closed and new ones refused, as if the cable were out. Peers authenticate each other inside: no trust is put in it.
    """

    def __init__(self, *, target_port: int, port: int = 0) -> None:
        """port: where to listen, 0 for any that is free."""
        self._target = ("127.0.0.1", target_port)
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._is_cut = False
        threading.Thread(target=self._accept, name=f"relay-{self.port}", daemon=True).start()

    def cut(self) -> None:
        """Close what is open and refuse what comes."""
        with self._lock:
            self._is_cut = True
            open_now, self._open = self._open, set()
        for end in open_now:
            _shut(end)

    def heal(self) -> None:
        """Let connections through again."""
        with self._lock:
            self._is_cut = False

    def close(self) -> None:
        """Cut, and stop listening."""
        self.cut()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                # Closing the listener is how the thread is told to end.
                return
            threading.Thread(target=self._join, args=(near,), daemon=True).start()

    def _join(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(self._target, timeout=_CONNECT_TIMEOUT_S)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        if not self._admit(near, far):
            near.close()
            far.close()
            return
        back = threading.Thread(target=_copy, args=(far, near), daemon=True)
        back.start()
        _copy(near, far)
        back.join()
        with self._lock:
            self._open -= {near, far}
        near.close()
        far.close()

    def _admit(self, *ends: socket.socket) -> bool:
        with self._lock:
            if not self._is_cut:
                self._open.update(ends)
            return not self._is_cut


def _copy(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(_COPY_BYTES):
            sink.sendall(data)
    except OSError:
        # One side went away or the relay was cut: both ends are shut below.
        pass
    _shut(source)
    _shut(sink)


def _shut(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)

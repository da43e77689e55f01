"""CometBFT nodes that meet on the loopback of one machine: ports, relays, configurations and processes.

A mesh says on which port each node meets the others, and through which relays: node i dials the nodes after it through
relays that can be cut, so that a node can be partitioned away for real; without relays every node dials all others.
Whatever runs nodes on one machine has its mesh from here. Those of ``shuiqiao network`` and of the sandbox are children
of the servers of their homes. ``LocalNetwork`` runs them itself: for the demo in one process, beside the institutions
that it has open, and for applications that no server of a home can be, whose homes are ``LocalHomes``. The bench's has
kinds of its own and notes every commit; tests of the engine have theirs in their own process, to break there.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Annotated, Final, Self

import msgspec

from shuiqiao.base.errors import Unavailable
from shuiqiao.base.wire import MemberName
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

LOOPBACK: Final = "127.0.0.1"
_FIRST_PORT: Final = 20_000
_PORTS: Final = 12_000
_PORT_STEP: Final = 64
_COPY_BYTES: Final = 256 * 1024
_CONNECT_TIMEOUT_S: Final = 3.0

BoundPort = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class NodePlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The port on which one member's node meets its peers."""

    member: MemberName
    p2p_port: BoundPort


class RelayPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The port through which one node dials another."""

    near: MemberName
    far: MemberName
    port: BoundPort


@dataclass(frozen=True, slots=True, kw_only=True)
class Mesh:
    """Where nodes meet. relays: one for each pair of nodes, or none at all.

    E.g. ``Mesh.planned(["bureau", "bank"]).settings("bank", node_id_of=ids.__getitem__)``.
    """

    nodes: tuple[NodePlace, ...]
    relays: tuple[RelayPlace, ...] = ()

    @classmethod
    def planned(cls, names: Sequence[str], *, is_relayed: bool = True) -> Self:
        """Return a mesh at ports that are free now; direct connections are a little faster than relays."""
        pairs = [*combinations(names, 2)] if is_relayed else []
        ports = iter(free_ports(len(names) + len(pairs)))
        return cls(
            nodes=tuple(NodePlace(member=name, p2p_port=next(ports)) for name in names),
            relays=tuple(RelayPlace(near=near, far=far, port=next(ports)) for near, far in pairs),
        )

    def grown(self, name: str) -> Mesh:
        """Return this mesh with one node more, which dials all others through relays."""
        ports = iter(free_ports(1 + len(self.nodes), besides=self.ports))
        place = NodePlace(member=name, p2p_port=next(ports))
        relays = (RelayPlace(near=name, far=each.member, port=next(ports)) for each in self.nodes)
        return Mesh(nodes=(*self.nodes, place), relays=(*self.relays, *relays))

    @property
    def ports(self) -> frozenset[int]:
        """All ports by which nodes meet, whether or not anybody listens there now."""
        return frozenset(self._p2p_ports().values()) | {relay.port for relay in self.relays}

    def _p2p_ports(self) -> dict[str, int]:
        return {place.member: place.p2p_port for place in self.nodes}

    def p2p_port(self, name: str) -> int:
        """Return where a node meets its peers, 0 for a name that has none."""
        return self._p2p_ports().get(name, 0)

    def settings(
        self,
        name: str,
        *,
        node_id_of: Callable[[str], str],
        pace: Pace | None = None,
        app: str = OWN_APPLICATION,
        sync: Mapping[str, Setting] | None = None,
    ) -> HomeSettings:
        """Return the configuration of a node. node_id_of: the id of another one; the rest as in ``HomeSettings``.

        Through relays it dials those after it, of each pair one the other. Without them it dials all others: one that
        comes back then needs not wait until the others dial it again, which CometBFT does every five seconds.
        """
        dialled = {relay.far: relay.port for relay in self.relays if relay.near == name}
        if not self.relays:
            dialled = {each: port for each, port in self._p2p_ports().items() if each != name}
        return HomeSettings(
            moniker=name,
            app=app,
            p2p=f"tcp://{LOOPBACK}:{self.p2p_port(name)}",
            peers=[f"{node_id_of(far)}@{LOOPBACK}:{port}" for far, port in dialled.items()],
            pace=pace or Pace(),
            sync=sync or {},
        )


class LocalNetwork:
    """The nodes over homes that were made, as children of this process, and the relays between them.

    Their applications are the caller's.

    ::

        homes = LocalHomes(folder, nodes, settings=settings)
        network = LocalNetwork(homes.folders, program=find_program(), mesh=homes.mesh)
        network.start()
        network.partition(["node0"])
        network.heal()
        network.stop()
    """

    def __init__(self, homes: Mapping[str, Path], *, program: Path, mesh: Mesh | None = None) -> None:
        """homes: the CometBFT folder of each node. mesh: whose relays run here, none where left out.

        No node is started.
        """
        self.names = tuple(homes)
        self.nodes = {name: NodeProcess(home, program=program) for name, home in homes.items()}
        self._mesh = mesh or Mesh(nodes=())
        self._relays = RelayBoard(self._mesh)

    def home(self, name: str) -> Path:
        """Return a node's CometBFT folder."""
        return self.nodes[name].home

    def rpc_address(self, name: str) -> str:
        """Return the address of a node's RPC, as CometBFT writes it."""
        return f"unix://{(self.home(name) / RPC_SOCKET).absolute()}"

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
        if not self._mesh.relays:
            raise ValueError("this network was set up without relays and cannot be partitioned")
        self._relays.cut(names)

    def heal(self) -> None:
        """End all partitions."""
        self._relays.heal()

    def stop(self) -> None:
        """Stop all nodes and relays."""
        for node in self.nodes.values():
            node.stop()
        self._relays.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalNode:
    """What is known of a node before it starts. power: how much its vote counts."""

    name: str
    keys: NodeKeys
    power: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """How a local network is set up.

    is_relayed: put relays between peers, for partitions. app: a built-in application of CometBFT instead of sockets.
    """

    chain_id: str
    genesis_time_ms: int
    pace: Pace = field(default_factory=Pace)
    is_relayed: bool = True
    app: str = OWN_APPLICATION


class LocalHomes:
    """The homes of validators on one machine, below one folder, and the mesh in which they meet."""

    def __init__(self, folder: Path, nodes: Sequence[LocalNode], *, settings: LocalSettings) -> None:
        """Write all homes."""
        self.folders = {node.name: folder / node.name for node in nodes}
        self.mesh = Mesh.planned([*self.folders], is_relayed=settings.is_relayed)
        self._settings = settings
        self._keys = {node.name: node.keys for node in nodes}
        self._genesis = comet_genesis(
            chain_id=settings.chain_id,
            time_ms=settings.genesis_time_ms,
            validators=[
                GenesisValidator(name=each.name, key=each.keys.validator_key, power=each.power) for each in nodes
            ],
        )
        for name in self.folders:
            self.write(name)

    def write(self, name: str, *, sync: Mapping[str, Setting] | None = None) -> None:
        """Write a node's folder (again, with state-sync settings where given)."""
        settings = self.mesh.settings(
            name,
            node_id_of=lambda far: self._keys[far].node_id,
            pace=self._settings.pace,
            app=self._settings.app,
            sync=sync,
        )
        write_home(self.folders[name], settings=settings, keys=self._keys[name], genesis=self._genesis)


def free_ports(count: int, *, besides: Collection[int] = ()) -> list[int]:
    """Return loopback ports that are free now, below the range the system hands out for outgoing connections.

    Processes begin their search at different places, so that networks set up at the same time do not meet. besides:
    ports that are given out already. Raises Unavailable ``ledger.ports_taken``.
    """
    first = _FIRST_PORT + os.getpid() * _PORT_STEP % _PORTS
    found: list[int] = []
    for offset in range(_PORTS):
        if len(found) == count:
            return found
        port = _FIRST_PORT + (first - _FIRST_PORT + offset) % _PORTS
        if port in besides:
            continue
        with contextlib.suppress(OSError), socket.create_server((LOOPBACK, port)):
            found.append(port)
    raise Unavailable("ledger.ports_taken", f"fewer than {count} loopback ports are free from {_FIRST_PORT} on")


class RelayBoard:
    """All relays of a mesh, and who is cut off from whom."""

    def __init__(self, mesh: Mesh) -> None:
        """Listen on every relay's port."""
        self._relays: dict[tuple[str, str], Relay] = {}
        self._cut: set[tuple[str, str]] = set()
        self.listen(mesh)

    def listen(self, mesh: Mesh) -> None:
        """Listen for what is new in a mesh that has grown."""
        for relay in mesh.relays:
            if (relay.near, relay.far) not in self._relays:
                self._relays[relay.near, relay.far] = Relay(target_port=mesh.p2p_port(relay.far), port=relay.port)

    @property
    def pairs_cut(self) -> list[tuple[str, str]]:
        """The pairs of nodes that do not reach each other, in order."""
        return sorted(self._cut)

    def cut(self, names: Collection[str]) -> None:
        """Cut the named nodes off from all others; they still reach each other."""
        for pair, relay in self._relays.items():
            if len(set(names).intersection(pair)) == 1:
                relay.cut()
                self._cut.add(pair)

    def heal(self) -> None:
        """Let every pair reach each other again."""
        for relay in self._relays.values():
            relay.heal()
        self._cut.clear()

    def close(self) -> None:
        """Stop listening."""
        for relay in self._relays.values():
            relay.close()


class Relay:
    """Stands between two peers and can be cut: how a network on one machine is partitioned.

    A node dials its peer through a relay's port, which copies bytes both ways. While it is cut, open connections are
    closed and new ones refused, as if the cable were out. Peers authenticate each other inside: no trust is put in it.
    """

    def __init__(self, *, target_port: int, port: int = 0) -> None:
        """port: where to listen, 0 for any that is free."""
        self._target = (LOOPBACK, target_port)
        self._listener = socket.create_server((LOOPBACK, port))
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

"""Making a home: the folder in which one institution keeps its settings, keys, ledger, vault and database."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Collection, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shuiqiao.base.durable import replace_file
from shuiqiao.base.errors import Conflict, Unavailable
from shuiqiao.base.files import OWNER_ONLY_FOLDER
from shuiqiao.base.ids import Entropy, MemberId
from shuiqiao.crypto.keyfile import STRONG_COST, PassphraseCost
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.cometbft.comet.home import (
    GenesisValidator,
    HomeSettings,
    NodeKeys,
    Pace,
    chain_id_of,
    comet_genesis,
    configuration_files,
    write_keys,
)
from shuiqiao.ledger.engine.cometbft.comet.localnet import LOOPBACK, Mesh, free_ports
from shuiqiao.members.genesis import decode_genesis, encode_genesis, network_id
from shuiqiao.members.model import VALIDATOR_POWER, Genesis, Member, Role
from shuiqiao.members.roster import Registration
from shuiqiao.node.home.keys import MemberSeeds, save_keys, write_random_passphrase
from shuiqiao.node.home.settings import (
    DEFAULT_LISTEN,
    Home,
    NodeSettings,
    encode_settings,
    home_prepared,
    split_address,
)

if TYPE_CHECKING:
    from pathlib import Path

    from shuiqiao.base.clock import Clock
    from shuiqiao.crypto.model import CipherSuite, SigningKey, SuiteName

_OFFERED = 10
_OFFERED_STEP = 10
"""Pairs of ports that a new home is offered, and how far apart."""

SOLO_NETWORK = "trial"
SOLO_MEMBER = MemberId("bureau")
"""The one member of a network made to try things on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HomeNode:
    """The CometBFT node that a home gets: its keys, where it listens for peers, and whom it dials."""

    keys: NodeKeys
    settings: HomeSettings

    @classmethod
    def in_mesh(
        cls, member: str, mesh: Mesh, *, keys: Mapping[str, NodeKeys], pace: Pace | None = None
    ) -> HomeNode | None:
        """Return a member's node among those of a mesh, None where it has none. keys: of every node of the mesh."""
        if member not in keys:
            return None
        settings = mesh.settings(member, node_id_of=lambda far: keys[far].node_id, pace=pace)
        return cls(keys=keys[member], settings=settings)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a home's server will listen and where it reaches others; left out, as the settings have it by default.

    Raises InvalidInput ``api.address_invalid``.
    """

    listen: str | None = None
    peer_listen: str = ""
    peers: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        for address in filter(None, (self.listen, self.peer_listen)):
            split_address(address)

    def settings(
        self, *, member: str, role: Role, genesis: Genesis, admitted: bool = False, p2p_port: int = 0
    ) -> NodeSettings:
        """Return the settings of a member's home. p2p_port: of its CometBFT node, 0 for none."""
        return NodeSettings(
            member=member,
            role=role,
            suite=genesis.suite,
            engine=genesis.engine.value,
            admitted=admitted,
            p2p_port=p2p_port,
            peer_listen=self.peer_listen,
            peers=dict(self.peers),
            listen=DEFAULT_LISTEN if self.listen is None else self.listen,
        )


def offered_addresses() -> tuple[str, str]:
    """Return where a new home's server may listen on this machine: for callers, and for other members.

    They are the first two ports that are free together, from that of ``DEFAULT_LISTEN`` on in steps of ten.
    """
    host, first = split_address(DEFAULT_LISTEN)
    for port in range(first, first + _OFFERED * _OFFERED_STEP, _OFFERED_STEP):
        with suppress(OSError), socket.create_server((host, port)), socket.create_server((host, port + 1)):
            return f"{host}:{port}", f"{host}:{port + 1}"
    return DEFAULT_LISTEN, f"{host}:{first + 1}"


def loopback_addresses(
    names: Sequence[str], *, besides: Collection[int] = (), known: Mapping[str, str] | None = None
) -> dict[str, Addresses]:
    """Return free ports of this machine for each server, and the addresses of all others that it reaches.

    besides: ports that are given out, whether or not anybody listens there now. known: where further members are
    reached, as host:port. Raises Unavailable ``ledger.ports_taken``.
    """
    ports = [f"{LOOPBACK}:{port}" for port in free_ports(2 * len(names), besides=besides)]
    reached = dict(zip(names, ports[1::2], strict=True)) | dict(known or {})
    return {
        name: Addresses(
            listen=listen,
            peer_listen=reached[name],
            peers={other: f"http://{address}" for other, address in reached.items() if other != name},
        )
        for name, listen in zip(names, ports[::2], strict=True)
    }


def member_from_seeds(
    seeds: MemberSeeds,
    *,
    registration: Registration,
    role: Role,
    name: str,
    name_zh: str,
    suite: CipherSuite,
    validator: SigningKey | None = None,
) -> Member:
    """Return the public face of a member that will hold these seeds, its keys proven. validator: CometBFT's key."""
    keys = seeds.keys(suite)
    return registration.register(
        role=role,
        name=name,
        name_zh=name_zh,
        signing=keys.signing,
        sealing_key=keys.sealing.public_key,
        validator=validator,
    )


def create_solo_home(
    home: Home,
    *,
    suite_name: SuiteName,
    passphrase: bytes | None,
    clock: Clock,
    entropy: Entropy,
    addresses: Addresses | None = None,
    cost: PassphraseCost = STRONG_COST,
) -> bytes:
    """Make the home of a network with one institution, a tax bureau that is its own writer; return the network id.

    passphrase: None writes a random one beside the home, which ``find_passphrase`` finds there.
    Raises Conflict ``node.home_exists`` if the folder is a home already.
    """
    suite = get_suite(suite_name)
    seeds = MemberSeeds.generate(entropy)
    member = member_from_seeds(
        seeds,
        registration=Registration.in_genesis(SOLO_NETWORK, SOLO_MEMBER),
        role=Role.TAX_BUREAU,
        name="Trial tax bureau",
        name_zh="试用税务局",
        suite=suite,
    )
    agreed = Genesis(
        name=SOLO_NETWORK, suite=suite_name, writer=member.id, created_ms=clock.now_ms(), members=(member,)
    )
    return create_home(
        home,
        settings=(addresses or Addresses()).settings(member=member.id, role=member.role, genesis=agreed),
        genesis=encode_genesis(agreed),
        seeds=seeds,
        passphrase=passphrase,
        entropy=entropy,
        cost=cost,
    )


def create_home(
    home: Home,
    *,
    settings: NodeSettings,
    genesis: bytes,
    seeds: MemberSeeds,
    passphrase: bytes | None,
    entropy: Entropy,
    node: HomeNode | None = None,
    cost: PassphraseCost = STRONG_COST,
) -> bytes:
    """Make one member's home and return the network id; node.toml is last, so a folder without it is not a home yet.

    node: the CometBFT node beside its ledger, None for none. Raises what ``prepare_home`` raises.
    """
    suite = get_suite(decode_genesis(genesis).suite)
    files = {home.genesis: genesis, home.settings: encode_settings(settings).encode()}
    if node is not None:
        document = comet_genesis_of(genesis)
        files = configuration_files(home.cometbft, settings=node.settings, genesis=document) | files
    prepare_home(
        home,
        files=files,
        seeds=seeds,
        suite=suite,
        passphrase=passphrase,
        entropy=entropy,
        node_keys=None if node is None else node.keys,
        cost=cost,
    )
    return suite.digest(genesis)


def prepare_home(
    home: Home,
    *,
    files: Mapping[Path, bytes],
    seeds: MemberSeeds,
    suite: CipherSuite,
    passphrase: bytes | None,
    entropy: Entropy,
    node_keys: NodeKeys | None = None,
    cost: PassphraseCost = STRONG_COST,
) -> None:
    """Make the folder of a home with its keys, then some files in their order. node_keys: of its CometBFT node, if any.

    Where the disk refuses, nothing is left of the attempt. Raises Conflict ``node.home_exists``,
    ``node.home_prepared``, Unavailable ``node.home_unwritable``, or, where an earlier attempt was interrupted, Conflict
    ``node.home_unfinished`` or ``crypto.key_file_exists``.
    """
    require_no_home(home)
    try:
        home.folder.mkdir(mode=OWNER_ONLY_FOLDER, parents=True, exist_ok=True)
        # Everything in a home is its owner's alone from the first byte, also in a folder that was there before.
        home.folder.chmod(OWNER_ONLY_FOLDER)
    except OSError as error:
        raise Unavailable("node.home_unwritable", f"{home.folder} cannot be made a folder: {error.strerror}") from error
    with nothing_left_of_a_failure(home.folder, beside=home.passphrase if passphrase is None else None):
        secret = write_random_passphrase(home, entropy=entropy) if passphrase is None else passphrase
        save_keys(home, seeds, suite=suite, passphrase=secret, entropy=entropy, cost=cost)
        if node_keys is not None:
            write_keys(home.cometbft, node_keys)
        for path, data in files.items():
            replace_file(path, data, mode=None)


def require_no_home(home: Home) -> None:
    """Return if a folder can become a home; raises Conflict ``node.home_exists``, ``node.home_prepared``."""
    if home.settings.exists():
        raise Conflict("node.home_exists", f"{home.folder} is a home already", next_step="choose another --home")
    if home.member_file.exists():
        raise home_prepared(home)


@contextmanager
def nothing_left_of_a_failure(folder: Path, *, beside: Path | None = None) -> Generator[None]:
    """Empty a folder again where the system refuses the rest: the same command then begins anew.

    Only one that was empty before: in any other there may be what somebody else keeps, or makes meanwhile.
    beside: a file out of the folder that is made with it, and goes with it where it was not there before.
    """
    was_empty = not folder.exists() or next(folder.iterdir(), None) is None
    is_made = beside is not None and not beside.exists()
    try:
        yield
    except (OSError, Unavailable):
        if was_empty and beside is not None and is_made:
            beside.unlink(missing_ok=True)
        for path in [*folder.iterdir()] if was_empty and folder.exists() else ():
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        raise


def comet_genesis_of(genesis: bytes) -> dict[str, Any]:
    """Return the CometBFT genesis document of a network, from the network's own genesis [ABCI-10]."""
    agreed = decode_genesis(genesis)
    return comet_genesis(
        chain_id=chain_id_of(network_id(genesis)),
        time_ms=agreed.created_ms,
        validators=[
            GenesisValidator(name=member.id, key=member.validator_key, power=VALIDATOR_POWER)
            for member in agreed.members
            if member.validator_key is not None
        ],
    )

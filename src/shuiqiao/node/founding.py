"""From nothing to a member: each institution makes its own keys, and a genesis comes of public files alone.

Of a new network::

    1. each founding member   its keys and ``member.toml``, in a home of its own     ``prepare_member``
    2. one of them            the genesis of all member files                         ``genesis_of_files``
    3. each founding member   finishes its home with that genesis                     ``found_home``

Nobody holds another's keys. What is exchanged are public keys, each proven by its holder for the name of this network,
and the fingerprint of the genesis, which people compare by another way. A network that exists is joined by a vote: an
institution makes its home from the genesis (``join_network``) and hands its member file to a governing member.

LIMIT: of embedded networks. The validators of a CometBFT network are made on one machine (``localnet``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from shuiqiao.base.durable import replace_file
from shuiqiao.base.errors import Conflict, InvalidInput, Unavailable
from shuiqiao.base.ids import Entropy, MemberId
from shuiqiao.crypto.keyfile import STRONG_COST, PassphraseCost
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.members.genesis import decode_genesis, encode_genesis, genesis_of_members, network_id
from shuiqiao.members.model import MEMBER_ID, EngineName, Role
from shuiqiao.members.roster import Registration
from shuiqiao.node.home.keys import MemberSeeds, load_keys, require_first_keys
from shuiqiao.node.home.making import create_home, member_from_seeds, prepare_home
from shuiqiao.node.home.settings import DEFAULT_LISTEN, Home, NodeSettings, encode_settings
from shuiqiao.node.member_file import encode_member_file, load_member_file, member_row

if TYPE_CHECKING:
    from shuiqiao.members.model import Genesis, Member


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMember:
    """Who an institution is, as it says itself."""

    member: str
    role: Role
    name: str
    name_zh: str

    def face(self, seeds: MemberSeeds, registration: Registration, *, suite: SuiteName) -> Member:
        """Return what others see of it, its keys proven."""
        return member_from_seeds(
            seeds,
            registration=registration,
            role=self.role,
            name=self.name,
            name_zh=self.name_zh,
            suite=get_suite(suite),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where a home's server will listen and where it reaches others; left out, as the settings have it by default."""

    listen: str | None = None
    peer_listen: str = ""
    peers: Mapping[str, str] = field(default_factory=dict)

    def settings(self, *, member: str, role: Role, genesis: Genesis, admitted: bool) -> NodeSettings:
        """Return the settings of a member's home."""
        return NodeSettings(
            member=member,
            role=role,
            suite=genesis.suite,
            engine=genesis.engine.value,
            admitted=admitted,
            peer_listen=self.peer_listen,
            peers=dict(self.peers),
            listen=DEFAULT_LISTEN if self.listen is None else self.listen,
        )


def prepare_member(
    home: Home,
    new: NewMember,
    *,
    network: str,
    suite: SuiteName,
    passphrase: bytes | None,
    entropy: Entropy,
    cost: PassphraseCost = STRONG_COST,
) -> Path:
    """Make the keys of a founding member in its home to be; return the file that it shows to the others.

    network: the name that the founding members agreed on, for which the keys are proven. passphrase: None writes a
    random one beside the home. Raises InvalidInput ``node.member_name_invalid``, what ``prepare_home`` raises.
    """
    _require_name(new.member)
    seeds = MemberSeeds.generate(entropy)
    face = new.face(seeds, Registration.in_genesis(network, MemberId(new.member)), suite=suite)
    files = {home.member_file: encode_member_file(face).encode()}
    prepare_home(
        home, files=files, seeds=seeds, suite=get_suite(suite), passphrase=passphrase, entropy=entropy, cost=cost
    )
    return home.member_file


def genesis_of_files(
    files: Sequence[Path],
    *,
    network: str,
    suite: SuiteName,
    writer: str,
    witnesses: Sequence[str],
    quorum: int,
    created_ms: int,
) -> bytes:
    """Return the genesis of the members that some member files show, every one governing.

    writer: the member that orders the transactions. witnesses: those that cosign its checkpoints, quorum of them at
    least. Raises InvalidInput ``members.genesis_invalid``, what ``load_member_file`` raises.
    """
    rows = [member_row(load_member_file(path)) for path in files]
    agreed = {
        "name": network,
        "suite": str(suite),
        "engine": str(EngineName.EMBEDDED),
        "writer": writer,
        "witnesses": sorted(witnesses),
        "quorum": quorum,
    }
    return encode_genesis(genesis_of_members(agreed, rows, created_ms=created_ms))


def found_home(home: Home, genesis: bytes, *, passphrase: Callable[[], bytes], addresses: Addresses) -> NodeSettings:
    """Finish the home of a founding member with the genesis that all have; node.toml is last.

    passphrase: returns that of the keys in the home, which are opened and held against the genesis.
    Raises Conflict ``node.home_exists``; InvalidInput ``node.founder_missing``, ``node.keys_foreign``; what
    ``load_member_file`` and ``load_keys`` raise.
    """
    if home.settings.exists():
        raise Conflict("node.home_exists", f"{home.folder} is a home already", next_step="choose another --home")
    if not home.member_file.exists():
        raise Unavailable(
            "node.keys_unmade",
            f"{home.folder} has no keys that wait for a genesis",
            next_step="make them first: shuiqiao init --member ... --network ...; or join with --member and --genesis",
        )
    own = member_row(load_member_file(home.member_file))
    agreed = decode_genesis(genesis)
    found = next((member for member in agreed.members if member.id == own["id"]), None)
    if found is None:
        raise InvalidInput(
            "node.founder_missing",
            f"the genesis has {', '.join(member.id for member in agreed.members)}, and not {own['id']}, whose keys lie "
            f"in {home.folder}",
        )
    settings = addresses.settings(member=found.id, role=found.role, genesis=agreed, admitted=False)
    require_first_keys(home, settings, genesis, load_keys(home, passphrase=passphrase()))
    replace_file(home.genesis, genesis, mode=None)
    replace_file(home.settings, encode_settings(settings).encode(), mode=None)
    return settings


def join_network(
    home: Home,
    new: NewMember,
    genesis: bytes,
    *,
    addresses: Addresses,
    passphrase: bytes | None,
    entropy: Entropy,
    cost: PassphraseCost = STRONG_COST,
) -> Path:
    """Make the home of an institution that is to be admitted to a network; return its file for those who vote.

    Raises Conflict ``node.member_known``; InvalidInput ``node.member_name_invalid``, ``node.joining_unsupported``; what
    ``create_home`` raises.
    """
    _require_name(new.member)
    agreed = decode_genesis(genesis)
    if any(member.id == new.member for member in agreed.members):
        raise Conflict("node.member_known", f"{new.member} is a member by the genesis: its keys are made already")
    if agreed.engine is not EngineName.EMBEDDED:
        raise InvalidInput(
            "node.joining_unsupported", f"the network is ordered by {agreed.engine}, which init does not join"
        )
    seeds = MemberSeeds.generate(entropy)
    face = new.face(seeds, Registration.on_network(network_id(genesis), MemberId(new.member)), suite=agreed.suite)
    settings = addresses.settings(member=new.member, role=new.role, genesis=agreed, admitted=True)
    create_home(
        home, settings=settings, genesis=genesis, seeds=seeds, passphrase=passphrase, entropy=entropy, cost=cost
    )
    replace_file(home.member_file, encode_member_file(face).encode(), mode=None)
    return home.member_file


def _require_name(member: str) -> None:
    if not MEMBER_ID.match(member):
        raise InvalidInput(
            "node.member_name_invalid", f"{member[:40]!r} is not 2 to 32 of a-z, 0-9 and -, beginning with a letter"
        )

"""From nothing to a member: each institution makes its own keys, and a genesis comes of public files alone.

Of a new network::

    1. each founding member   its keys and ``member.toml``, in a home of its own     ``prepare_member``
    2. one of them            the genesis of all member files                         ``genesis_of_files``
    3. each founding member   finishes its home with that genesis                     ``found_home``

Nobody holds another's keys. What is exchanged are public keys, each proven by its holder for the name of this network,
and the fingerprint of the genesis, which people compare by another way. A network that exists is joined by a vote: an
institution makes its home from the genesis (``join_network``) and hands its member file to a governing member.

Where validators order the transactions, each makes the keys of its CometBFT node too, and its member file says where
that node is reached: the nodes dial each other by the files of all.

LIMIT: every institution of such a network that is made here has a vote.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from shuiqiao.base.durable import replace_file
from shuiqiao.base.errors import Conflict, InvalidInput, Unavailable
from shuiqiao.base.ids import Entropy, MemberId
from shuiqiao.crypto.keyfile import STRONG_COST, PassphraseCost
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.cometbft.comet.home import (
    HomeSettings,
    NodeKeys,
    ValidatorKeyFiles,
    configuration_files,
    require_p2p,
)
from shuiqiao.members.genesis import decode_genesis, encode_genesis, genesis_of_members, network_id
from shuiqiao.members.model import MAX_NAME_CHARACTERS, MEMBER_ID, NAME_PATTERN, EngineName, Role
from shuiqiao.members.roster import Registration
from shuiqiao.node.home.keys import MemberSeeds, load_keys, require_first_keys
from shuiqiao.node.home.making import (
    Addresses,
    HomeNode,
    comet_genesis_of,
    create_home,
    member_from_seeds,
    prepare_home,
)
from shuiqiao.node.home.settings import Home, NodeSettings, encode_settings
from shuiqiao.node.member_file import encode_member_file, load_member_file, member_row, node_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shuiqiao.members.model import Genesis, Member


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMember:
    """Who an institution is, as it says itself."""

    member: str
    role: Role
    name: str
    name_zh: str

    def face(
        self, seeds: MemberSeeds, registration: Registration, *, suite: SuiteName, node: NodeKeys | None
    ) -> Member:
        """Return what others see of it, its keys proven. node: of a validator."""
        return member_from_seeds(
            seeds,
            registration=registration,
            role=self.role,
            name=self.name,
            name_zh=self.name_zh,
            suite=get_suite(suite),
            validator=None if node is None else node.validator,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class NodePlaces:
    """Where a validator's CometBFT node meets the others. peers: member files of the validators that it dials.

    listen: HOST:PORT on its own machine; None: where its member file says that others reach it.
    """

    peers: Sequence[Path] = ()
    listen: str | None = None


NO_NODES = NodePlaces()
"""Of an embedded network."""


def prepare_member(
    home: Home,
    new: NewMember,
    *,
    network: str,
    suite: SuiteName,
    passphrase: bytes | None,
    entropy: Entropy,
    p2p: str | None = None,
    cost: PassphraseCost = STRONG_COST,
) -> Path:
    """Make the keys of a founding member in its home to be; return the file that it shows to the others.

    network: the name that the founding members agreed on, for which the keys are proven. passphrase: None writes a
    random one beside the home. p2p: where others reach the CometBFT node of a validator, as HOST:PORT; None for no
    validator. Raises InvalidInput ``node.member_name_invalid``, ``ledger.p2p_invalid``, what ``prepare_home`` raises.
    """
    _require_names(new)
    require_shown_name(network)
    seeds, node = MemberSeeds.generate(entropy), _node_keys(p2p, entropy=entropy)
    face = new.face(seeds, Registration.in_genesis(network, MemberId(new.member)), suite=suite, node=node)
    prepare_home(
        home,
        files={home.member_file: _shown(face, node=node, p2p=p2p)},
        seeds=seeds,
        suite=get_suite(suite),
        passphrase=passphrase,
        entropy=entropy,
        node_keys=node,
        cost=cost,
    )
    return home.member_file


def _node_keys(p2p: str | None, *, entropy: Entropy) -> NodeKeys | None:
    if p2p is None:
        return None
    require_p2p(p2p)
    return NodeKeys.generate(entropy)


def _shown(face: Member, *, node: NodeKeys | None, p2p: str | None) -> bytes:
    return encode_member_file(face, node="" if node is None else f"{node.node_id}@{p2p}").encode()


def genesis_of_files(
    files: Sequence[Path],
    *,
    network: str,
    suite: SuiteName,
    writer: str | None,
    witnesses: Sequence[str] = (),
    quorum: int = 0,
    created_ms: int,
) -> bytes:
    """Return the genesis of the members that some member files show, every one governing.

    writer: the member that orders the transactions; None where the validators among them do, more than two thirds of
    whom then sign each checkpoint. witnesses: those that cosign the writer's checkpoints, quorum of them at least.
    Raises InvalidInput ``members.genesis_invalid``, what ``load_member_file`` raises.
    """
    rows = [member_row(load_member_file(path)) for path in files]
    agreed: dict[str, object] = {"name": network, "suite": str(suite)}
    if writer is None:
        agreed |= {"engine": str(EngineName.COMETBFT)}
    else:
        agreed |= {
            "engine": str(EngineName.EMBEDDED),
            "writer": writer,
            "witnesses": sorted(witnesses),
            "quorum": quorum,
        }
    return encode_genesis(genesis_of_members(agreed, rows, created_ms=created_ms))


def found_home(
    home: Home, genesis: bytes, *, passphrase: Callable[[], bytes], addresses: Addresses, node: NodePlaces = NO_NODES
) -> NodeSettings:
    """Finish the home of a founding member with the genesis that all have; node.toml is last.

    passphrase: returns that of the keys in the home, which are opened and held against the genesis.
    Raises Conflict ``node.home_exists``; InvalidInput ``node.founder_missing``, ``node.keys_foreign``,
    ``node.joining_unsupported``, ``node.validator_file_wrong``, ``ledger.p2p_invalid``; what ``load_member_file`` and
    ``load_keys`` raise.
    """
    require_prepared(home)
    agreed = decode_genesis(genesis)
    found = founder_of(home, agreed)
    comet = _configuration(found.id, agreed, own=node_of(load_member_file(home.member_file)), node=node)
    settings = addresses.settings(
        member=found.id,
        role=found.role,
        genesis=agreed,
        p2p_port=0 if comet is None else comet.p2p_port,
    )
    require_first_keys(home, settings, genesis, load_keys(home, passphrase=passphrase()))
    files = {home.genesis: genesis, home.settings: encode_settings(settings).encode()}
    if comet is not None:
        if ValidatorKeyFiles(home.cometbft).current() != found.validator_key:
            raise InvalidInput(
                "node.keys_foreign",
                f"{home.cometbft} has another key to vote with than the genesis names for {found.id}",
            )
        files = configuration_files(home.cometbft, settings=comet, genesis=comet_genesis_of(genesis)) | files
    for path, data in files.items():
        replace_file(path, data, mode=None)
    return settings


def require_prepared(home: Home) -> None:
    """Return if a home has keys that wait for a genesis.

    Raises Conflict ``node.home_exists``, Unavailable ``node.keys_unmade``.
    """
    if home.settings.exists():
        raise Conflict("node.home_exists", f"{home.folder} is a home already", next_step="choose another --home")
    if not home.member_file.exists():
        raise Unavailable(
            "node.keys_unmade",
            f"{home.folder} has no keys that wait for a genesis",
            next_step="make them first: shuiqiao init --member ... --network ...; or join with --member and --genesis",
        )


def founder_of(home: Home, agreed: Genesis) -> Member:
    """Return the founding member whose keys lie in a home, as the genesis has it.

    Raises InvalidInput ``node.founder_missing``, what ``load_member_file`` raises.
    """
    own = member_row(load_member_file(home.member_file))["id"]
    found = next((member for member in agreed.members if member.id == own), None)
    if found is None:
        raise InvalidInput(
            "node.founder_missing",
            f"the genesis has {', '.join(member.id for member in agreed.members)}, and not {own}, whose keys lie in "
            f"{home.folder}",
        )
    return found


def require_not_founder(member: str, agreed: Genesis) -> None:
    """Return if an institution is not in the genesis; raises Conflict ``node.member_known``."""
    if any(each.id == member for each in agreed.members):
        raise Conflict("node.member_known", f"{member} is a member by the genesis: its keys are made already")


def _configuration(member: str, agreed: Genesis, *, own: str, node: NodePlaces) -> HomeSettings | None:
    """Return the configuration of a validator's node that dials all others of the genesis; None of a network of none.

    own: where its member file says that others reach it.
    """
    if agreed.engine is EngineName.EMBEDDED:
        return None
    if not own:
        raise InvalidInput(
            "node.joining_unsupported",
            f"the network is ordered by {agreed.engine}, and {member} has no node to take part",
        )
    peers = nodes_dialled(node.peers, agreed=agreed, member=member)
    listen = own.partition("@")[2] if node.listen is None else node.listen
    require_p2p(listen)
    return HomeSettings(moniker=member, p2p=f"tcp://{listen}", peers=peers)


def nodes_dialled(files: Sequence[Path], *, agreed: Genesis, member: str) -> list[str]:
    """Return where the nodes of all other validators are reached, by their member files.

    Raises InvalidInput ``node.validator_file_wrong``, what ``load_member_file`` raises.
    """
    known = {each.id: each.validator_key for each in agreed.members if each.id != member}
    peers = dict(_dialled(path, known=known) for path in files)
    peers.pop(member, None)
    missing = [name for name, key in known.items() if key is not None and name not in peers]
    if missing or not peers:
        raise InvalidInput(
            "node.validator_file_wrong", f"no member file says where the node of {', '.join(missing) or 'another'} is"
        )
    return [*peers.values()]


def _dialled(path: Path, *, known: Mapping[MemberId, bytes | None]) -> tuple[str, str]:
    """Return whose member file it is, and where that member's node is reached.

    known: the keys by which the genesis has validators vote; who was admitted since is not in it.
    """
    text = load_member_file(path)
    row, place = member_row(text), node_of(text)
    key = bytes.fromhex(row.get("validator_key", ""))
    if not place or not key or known.get(MemberId(row["id"]), key) != key:
        raise InvalidInput(
            "node.validator_file_wrong",
            f"{path} shows {row['id']} with validator key {key.hex() or 'none'} at {place or 'no node'}, which is no "
            "validator of this network",
        )
    return row["id"], place


def join_network(
    home: Home,
    new: NewMember,
    genesis: bytes,
    *,
    addresses: Addresses,
    passphrase: bytes | None,
    entropy: Entropy,
    node: NodePlaces = NO_NODES,
    p2p: str | None = None,
    cost: PassphraseCost = STRONG_COST,
) -> Path:
    """Make the home of an institution that is to be admitted to a network; return its file for those who vote.

    p2p: as in ``prepare_member``. Raises Conflict ``node.member_known``; InvalidInput ``node.member_name_invalid``,
    ``node.joining_unsupported``, ``node.validator_file_wrong``, ``ledger.p2p_invalid``; what ``create_home`` raises.
    """
    _require_names(new)
    agreed = decode_genesis(genesis)
    require_not_founder(new.member, agreed)
    seeds = MemberSeeds.generate(entropy)
    keys = _node_keys(p2p if agreed.engine is EngineName.COMETBFT else None, entropy=entropy)
    registration = Registration.on_network(network_id(genesis), MemberId(new.member))
    face = new.face(seeds, registration, suite=agreed.suite, node=keys)
    shown = _shown(face, node=keys, p2p=p2p)
    comet = _configuration(new.member, agreed, own=node_of(shown.decode()), node=node)
    create_home(
        home,
        settings=addresses.settings(
            member=new.member,
            role=new.role,
            genesis=agreed,
            admitted=True,
            p2p_port=0 if comet is None else comet.p2p_port,
        ),
        genesis=genesis,
        seeds=seeds,
        passphrase=passphrase,
        entropy=entropy,
        node=None if comet is None or keys is None else HomeNode(keys=keys, settings=comet),
        cost=cost,
    )
    replace_file(home.member_file, shown, mode=None)
    return home.member_file


def require_member_id(member: str) -> None:
    """Return if a text may be the id of a member; raises InvalidInput ``node.member_name_invalid``."""
    if not MEMBER_ID.match(member):
        raise InvalidInput(
            "node.member_name_invalid", f"{member[:40]!r} is not 2 to 32 of a-z, 0-9 and -, beginning with a letter"
        )


def require_shown_name(name: str) -> None:
    """Return if people can read a name, of a member or of a network; raises InvalidInput ``node.member_name_invalid``.

    [MEMBER-27]
    """
    if len(name) > MAX_NAME_CHARACTERS or not re.match(NAME_PATTERN, name):
        raise InvalidInput(
            "node.member_name_invalid",
            f"{name[:40]!r} is no name of 1 to {MAX_NAME_CHARACTERS} characters that people can see",
        )


def _require_names(new: NewMember) -> None:
    require_member_id(new.member)
    for name in (new.name, new.name_zh):
        require_shown_name(name)

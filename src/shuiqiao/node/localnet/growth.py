"""An institution that is to be admitted to a network on this machine: its home, its place, and the file it asks with.

The home, with fresh keys, comes first; then the relays by which its node will dial the others; the plan is written
last, so that a node which is not in it is not one yet. Whether it becomes a member is decided by vote.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from shuiqiao.base.durable import replace_file
from shuiqiao.base.errors import InvalidInput, ShuiqiaoError
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.keyfile import STRONG_COST, PassphraseCost
from shuiqiao.crypto.model import SEED_BYTES
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.cometbft.comet.home import (
    HomeSettings,
    NodeKeys,
    read_comet_genesis,
    read_node_id,
    write_home,
)
from shuiqiao.ledger.engine.cometbft.comet.localnet import free_ports
from shuiqiao.members.genesis import decode_genesis, network_id
from shuiqiao.members.model import MEMBER_ID, Role
from shuiqiao.members.roster import Registration
from shuiqiao.node.home.keys import MemberSeeds
from shuiqiao.node.home.making import create_home, member_from_seeds
from shuiqiao.node.home.settings import NodeSettings
from shuiqiao.node.localnet.control import ask_process
from shuiqiao.node.localnet.plan import (
    MAX_VALIDATORS,
    RELAYS,
    NetworkFolder,
    NetworkPlan,
    RelayPlace,
    ValidatorPlace,
    encode_plan,
    load_plan,
)
from shuiqiao.node.member_file import encode_member_file
from shuiqiao.node.peers.network_ledger import LOOPBACK

if TYPE_CHECKING:
    from pathlib import Path

    from shuiqiao.base.ids import Entropy
    from shuiqiao.members.model import Genesis, Member

MEMBER_FILE = "member.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMember:
    """Who is to be admitted."""

    member: str
    role: Role
    name: str
    name_zh: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddedMember:
    """What was made. passphrase_written: a random passphrase lies beside the keys because none was given."""

    member: str
    home: Path
    member_file: Path
    passphrase_written: bool


def add_member(
    folder: NetworkFolder,
    *,
    new: NewMember,
    passphrase: bytes | None,
    entropy: Entropy,
    cost: PassphraseCost = STRONG_COST,
) -> AddedMember:
    """Make the home and the node of a validator to be, and the file by which it is proposed.

    Raises InvalidInput ``node.member_name_invalid``, ``node.network_not_started``, ``node.validators_too_many``,
    Conflict ``node.home_exists``, and what ``create_home`` raises.
    """
    plan = load_plan(folder)
    _require_room(plan, new)
    data = folder.genesis.read_bytes()
    genesis = decode_genesis(data)
    node = NodeKeys(node_seed=entropy(SEED_BYTES), validator_seed=entropy(SEED_BYTES))
    seeds = MemberSeeds.generate(entropy)
    face = member_from_seeds(
        seeds,
        registration=Registration.on_network(network_id(data), MemberId(new.member)),
        role=new.role,
        name=new.name,
        name_zh=new.name_zh,
        suite=get_suite(genesis.suite),
        validator=node.validator,
    )
    grown = _grown(plan, new.member)
    home = folder.home(new.member)
    made = create_home(
        home,
        settings=_settings(face, genesis=genesis, place=grown.validators[-1]),
        genesis=data,
        seeds=seeds,
        passphrase=passphrase,
        entropy=entropy,
        cost=cost,
    )
    _write_comet_home(folder, grown, node=node)
    path = home.folder / MEMBER_FILE
    replace_file(path, encode_member_file(face).encode(), mode=None)
    replace_file(folder.plan, encode_plan(grown), mode=None)
    with contextlib.suppress(ShuiqiaoError):
        # Where no relays run, they read the plan when they start.
        ask_process(folder.control(RELAYS), {"act": "reload"})
    return AddedMember(
        member=new.member, home=home.folder, member_file=path, passphrase_written=made.passphrase_written
    )


def _require_room(plan: NetworkPlan, new: NewMember) -> None:
    if not MEMBER_ID.match(new.member):
        raise InvalidInput(
            "node.member_name_invalid", f"{new.member[:40]!r} is not 2 to 32 of a-z, 0-9 and -, beginning with a letter"
        )
    if plan.engine != "cometbft":
        raise InvalidInput("node.network_not_started", "an embedded network has no validators to add to")
    if len(plan.validators) >= MAX_VALIDATORS:
        raise InvalidInput("node.validators_too_many", f"{MAX_VALIDATORS} validators fit on one machine")


def _grown(plan: NetworkPlan, member: str) -> NetworkPlan:
    """Return the plan with one validator more, which dials all others."""
    ports = iter(free_ports(1 + len(plan.validators)))
    place = ValidatorPlace(member=member, p2p_port=next(ports))
    relays = [RelayPlace(near=member, far=far, port=next(ports)) for far in plan.names]
    return msgspec.structs.replace(plan, validators=(*plan.validators, place), relays=(*plan.relays, *relays))


def _settings(face: Member, *, genesis: Genesis, place: ValidatorPlace) -> NodeSettings:
    return NodeSettings(
        member=face.id,
        role=face.role,
        suite=genesis.suite,
        engine=genesis.engine.value,
        admitted=True,
        p2p_port=place.p2p_port,
    )


def _write_comet_home(folder: NetworkFolder, plan: NetworkPlan, *, node: NodeKeys) -> None:
    """Write the CometBFT home of the plan's last validator, with the genesis document that all others have."""
    place = plan.validators[-1]
    settings = HomeSettings(
        moniker=place.member,
        p2p=f"tcp://{LOOPBACK}:{place.p2p_port}",
        peers=[
            f"{read_node_id(folder.home(relay.far).cometbft)}@{LOOPBACK}:{relay.port}"
            for relay in plan.relays
            if relay.near == place.member
        ],
    )
    document = read_comet_genesis(folder.home(plan.validators[0].member).cometbft)
    write_home(folder.home(place.member).cometbft, settings=settings, keys=node, genesis=document)

"""Making a network on one machine: from a members.toml, or from nothing, to one home per institution.

network.json is written last: a folder without it is not a network yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from shuiqiao.base.durable import replace_file
from shuiqiao.base.errors import Conflict, InvalidInput, Unavailable
from shuiqiao.base.files import make_shared_folder, open_regular, share_file
from shuiqiao.base.ids import Entropy
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.crypto.keyfile import STRONG_COST, PassphraseCost
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.cometbft.comet.home import HomeSettings, write_home
from shuiqiao.ledger.engine.cometbft.comet.localnet import free_ports
from shuiqiao.members.genesis import encode_genesis, genesis_from_members_toml
from shuiqiao.members.model import MAX_GENESIS_BYTES, EngineName, Genesis, Member
from shuiqiao.node.home.making import create_home, nothing_left_of_a_failure
from shuiqiao.node.home.settings import NodeSettings
from shuiqiao.node.home.validator_home import comet_genesis_of
from shuiqiao.node.localnet.members import CompletedMembers, complete_members, example_members
from shuiqiao.node.localnet.plan import (
    MAX_VALIDATORS,
    NetworkFolder,
    NetworkPlan,
    RelayPlace,
    ValidatorPlace,
    encode_plan,
)
from shuiqiao.node.peers.network_ledger import LOOPBACK

if TYPE_CHECKING:
    from shuiqiao.base.clock import Clock
    from shuiqiao.crypto.model import SuiteName

_OWNER_ONLY = 0o700


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOrder:
    """What network is wanted. members: a file, None for the example; suite, engine: None as the file says."""

    members: Path | None
    suite: SuiteName | None
    engine: EngineName | None
    validators: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NewNetwork:
    """What was made. passphrases_written: random passphrases lie beside the keys because none was given."""

    plan: NetworkPlan
    members: tuple[str, ...]
    passphrases_written: bool


def create_network(
    folder: NetworkFolder,
    *,
    order: NetworkOrder,
    passphrase: bytes | None,
    clock: Clock,
    entropy: Entropy,
    cost: PassphraseCost = STRONG_COST,
    progress: Progress = no_progress,
) -> NewNetwork:
    """Make the folder, the genesis and all homes; nothing is started. Where the disk refuses, nothing is left of it.

    Raises Conflict ``node.network_exists``, InvalidInput ``node.validators_invalid``, what
    ``complete_members`` and ``genesis_from_members_toml`` refuse, and what ``create_home`` raises.
    """
    _require_new(folder)
    if not 1 <= order.validators <= MAX_VALIDATORS:
        raise InvalidInput("node.validators_invalid", f"{order.validators} validators where 1 to {MAX_VALIDATORS} fit")
    completed = complete_members(
        example_members(order.validators) if order.members is None else _read(order.members),
        suite=order.suite,
        engine=order.engine,
        validators=order.validators,
        entropy=entropy,
    )
    genesis = genesis_from_members_toml(completed.text, created_ms=clock.now_ms())
    plan = _plan(genesis, completed)
    with nothing_left_of_a_failure(folder.folder):
        _make_folders(folder)
        written = False
        for done, member in enumerate(genesis.members):
            progress("make homes 建立主目录", done, len(genesis.members))
            made = create_home(
                folder.home(member.id),
                settings=_settings(member, genesis=genesis, plan=plan),
                genesis=encode_genesis(genesis),
                seeds=completed.secrets[member.id].seeds,
                passphrase=passphrase,
                entropy=entropy,
                cost=cost,
            )
            written = written or made.passphrase_written
        _write_comet_homes(folder, plan=plan, genesis=genesis, completed=completed)
        replace_file(folder.genesis, encode_genesis(genesis), mode=None)
        replace_file(folder.members, completed.text.encode(), mode=None)
        replace_file(folder.plan, encode_plan(plan), mode=None)
        for public in (folder.genesis, folder.members):
            share_file(public)
    return NewNetwork(plan=plan, members=tuple(member.id for member in genesis.members), passphrases_written=written)


def _require_new(folder: NetworkFolder) -> None:
    if folder.folder.exists() and (not folder.folder.is_dir() or any(folder.folder.iterdir())):
        raise Conflict(
            "node.network_exists",
            f"{folder.folder} holds files already",
            next_step="name a new or an empty folder with --folder",
        )


def _read(path: Path) -> str:
    try:
        with open_regular(path) as file:
            return file.read(MAX_GENESIS_BYTES + 1).decode("utf-8-sig")
    except OSError as error:
        raise Unavailable("node.members_missing", f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput("node.members_unreadable", f"{path} cannot be used: it is not UTF-8: {error}") from error


def _make_folders(folder: NetworkFolder) -> None:
    try:
        make_shared_folder(folder.folder)
        folder.run.mkdir(mode=_OWNER_ONLY)
    except OSError as error:
        raise Unavailable("node.home_unwritable", f"{folder.run} cannot be made a folder: {error.strerror}") from error


def _plan(genesis: Genesis, completed: CompletedMembers) -> NetworkPlan:
    names = [name for name, secrets in completed.secrets.items() if secrets.node is not None]
    pairs = list(combinations(names, 2))
    ports = iter(free_ports(len(names) + len(pairs)))
    return NetworkPlan(
        network=get_suite(genesis.suite).digest(encode_genesis(genesis)).hex(),
        suite=genesis.suite.value,
        engine=genesis.engine.value,
        validators=tuple(ValidatorPlace(member=name, p2p_port=next(ports)) for name in names),
        relays=tuple(RelayPlace(near=near, far=far, port=next(ports)) for near, far in pairs),
    )


def _settings(member: Member, *, genesis: Genesis, plan: NetworkPlan) -> NodeSettings:
    settings = NodeSettings(member=member.id, role=member.role, suite=genesis.suite, engine=genesis.engine.value)
    for place in plan.validators:
        if place.member == member.id:
            return msgspec.structs.replace(settings, p2p_port=place.p2p_port)
    return settings


def _write_comet_homes(
    folder: NetworkFolder, *, plan: NetworkPlan, genesis: Genesis, completed: CompletedMembers
) -> None:
    nodes = {name: secrets.node for name, secrets in completed.secrets.items() if secrets.node is not None}
    document = comet_genesis_of(encode_genesis(genesis))
    for place in plan.validators:
        settings = HomeSettings(
            moniker=place.member,
            p2p=f"tcp://{LOOPBACK}:{place.p2p_port}",
            peers=[
                f"{nodes[relay.far].node_id}@{LOOPBACK}:{relay.port}"
                for relay in plan.relays
                if relay.near == place.member
            ],
        )
        write_home(folder.home(place.member).cometbft, settings=settings, keys=nodes[place.member], genesis=document)

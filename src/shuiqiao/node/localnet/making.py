"""Makes a network on one machine, one home per institution: from a members.toml, from nothing, or one more institution.

A consortium of institutions on many machines writes members.toml with the public keys that each made at home. Here all
homes are on this machine, so the keys are made here and must not stand in the file. network.json is written last: a
folder without it is not a network yet, and a node that is not in it is not one yet. Whether an institution that was
added becomes a member is decided by vote.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from shuiqiao.base.durable import replace_file
from shuiqiao.base.encoding import decode_toml
from shuiqiao.base.errors import Conflict, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.files import OWNER_ONLY_FOLDER, make_shared_folder, read_regular, share_file
from shuiqiao.base.ids import Entropy, MemberId
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.crypto.keyfile import STRONG_COST, PassphraseCost
from shuiqiao.crypto.model import SigningKey, SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.cometbft.comet.home import NodeKeys, read_node_id
from shuiqiao.ledger.engine.cometbft.comet.localnet import Mesh
from shuiqiao.members.genesis import decode_genesis, encode_genesis, genesis_from_members_toml, network_id
from shuiqiao.members.model import (
    MAX_GENESIS_BYTES,
    MAX_MEMBERS,
    MEMBER_ID,
    EngineName,
    Genesis,
    KeyPurpose,
    Role,
)
from shuiqiao.members.roster import Registration
from shuiqiao.node.home.keys import MemberKeys, MemberSeeds
from shuiqiao.node.home.making import (
    Addresses,
    HomeNode,
    create_home,
    loopback_addresses,
    member_from_seeds,
    nothing_left_of_a_failure,
)
from shuiqiao.node.home.settings import load_settings
from shuiqiao.node.localnet.plan import (
    MAX_VALIDATORS,
    RELAYS,
    NetworkFolder,
    NetworkPlan,
    encode_plan,
    load_plan,
)
from shuiqiao.node.localnet.process import ask_process
from shuiqiao.node.member_file import encode_member_file

if TYPE_CHECKING:
    from shuiqiao.base.clock import Clock

KEY_FIELDS = ("signing_key", "sealing_key", "validator_key", "signing_proof", "sealing_proof", "validator_proof")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSecrets:
    """What one member's home will hold. node: the CometBFT keys of a validator, None for another member."""

    seeds: MemberSeeds
    node: NodeKeys | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletedMembers:
    """A members.toml with public keys, and the secrets behind them by member in the file's order."""

    text: str
    secrets: Mapping[str, MemberSecrets]


def example_members(count: int) -> str:
    """Return the text of an example without keys: a bureau, then a bank, a regulator, and more banks."""
    banks = [
        {"id": f"bank-{number}", "role": "bank", "name": f"Example bank {number}", "name_zh": f"示例银行{number}"}
        for number in range(1, count)
    ]
    rows = [
        {"id": "bureau", "role": "tax_bureau", "name": "Example tax bureau", "name_zh": "示例税务局"},
        *banks[:1],
        {"id": "regulator", "role": "regulator", "name": "Example regulator", "name_zh": "示例监管局"},
        *banks[1:],
    ]
    return _toml({"name": "example"}, rows[:count])


def complete_members(
    text: str, *, suite: SuiteName | None, engine: EngineName | None, validators: int, entropy: Entropy
) -> CompletedMembers:
    """Return the file with suite, engine and fresh public keys; the first members in it become the validators.

    suite and engine: None takes what the file says, else intl and cometbft. Raises InvalidInput
    ``node.members_unreadable``, ``node.members_keyed``, ``node.members_contradicted``, ``node.validators_too_many``;
    what else the file must hold is for ``genesis_from_members_toml`` to judge.
    """
    network, rows = _tables(text)
    _require_keyless(rows)
    network = {
        **network,
        "suite": _chosen(network, "suite", option=suite, default=SuiteName.INTL),
        "engine": _chosen(network, "engine", option=engine, default=EngineName.COMETBFT),
    }
    is_cometbft = network["engine"] == EngineName.COMETBFT
    if is_cometbft and validators > len(rows):
        raise InvalidInput("node.validators_too_many", f"{validators} validators where there are {len(rows)} members")
    if not is_cometbft:
        network.setdefault("writer", rows[0].get("id"))
    cipher_suite = get_suite(_suite(network["suite"]))
    secrets: dict[str, MemberSecrets] = {}
    for number, row in enumerate(rows):
        node = NodeKeys.generate(entropy) if is_cometbft and number < validators else None
        found = MemberSecrets(seeds=MemberSeeds.generate(entropy), node=node)
        keys = found.seeds.keys(cipher_suite)
        registration = Registration.in_genesis(str(network.get("name")), MemberId(str(row.get("id"))))
        row.update(_proven_keys(registration, keys, validator=None if node is None else node.validator))
        secrets[str(row.get("id"))] = found
    return CompletedMembers(text=_toml(network, rows), secrets=secrets)


def _proven_keys(registration: Registration, keys: MemberKeys, *, validator: SigningKey | None) -> dict[str, str]:
    """Return the public keys and their proofs in the words of members.toml [MEMBER-24]."""
    signing, sealing_key = keys.signing, keys.sealing.public_key
    fields = {
        "signing_key": signing.public_key,
        "sealing_key": sealing_key,
        "signing_proof": registration.prove(signing.public_key, purpose=KeyPurpose.SIGNING, by=signing),
        "sealing_proof": registration.prove(sealing_key, purpose=KeyPurpose.SEALING, by=signing),
    }
    if validator is not None:
        fields["validator_key"] = validator.public_key
        fields["validator_proof"] = registration.prove(validator.public_key, purpose=KeyPurpose.VALIDATOR, by=validator)
    return {name: value.hex() for name, value in fields.items()}


def _tables(text: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    if len(text) > MAX_GENESIS_BYTES:
        raise _unreadable(f"it has {len(text)} of {MAX_GENESIS_BYTES} characters")
    try:
        document = decode_toml(text)
    except InvalidInput as error:
        raise _unreadable(error.message) from error
    network, rows = document.get("network"), document.get("member")
    if set(document) != {"network", "member"} or not isinstance(network, dict) or not isinstance(rows, list):
        raise _unreadable("it has not exactly a [network] table and [[member]] tables")
    if not 1 <= len(rows) <= MAX_MEMBERS or not all(isinstance(row, dict) for row in rows):
        raise _unreadable(f"it has not 1 to {MAX_MEMBERS} [[member]] tables")
    return network, rows


def _unreadable(reason: str) -> InvalidInput:
    return InvalidInput("node.members_unreadable", f"members.toml cannot be used: {reason}")


def _require_keyless(rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        named = [field for field in KEY_FIELDS if field in row]
        if named:
            raise InvalidInput(
                "node.members_keyed",
                f"member {row.get('id')!r} has {', '.join(named)} already, and the private key is not known here",
                next_step="leave the keys out of members.toml: they are made anew for homes on this machine",
            )


def _chosen(network: Mapping[str, Any], field: str, *, option: str | None, default: str) -> str:
    named = network.get(field)
    if option is not None and named not in (None, str(option)):
        raise InvalidInput(
            "node.members_contradicted", f"--{field} says {option}, members.toml says {field} = {named!r}"
        )
    return str(option or named or default)


def _suite(name: str) -> SuiteName:
    if name not in list(SuiteName):
        raise _unreadable(f"suite {name!r} is not one of {', '.join(SuiteName)}")
    return SuiteName(name)


def _toml(network: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> str:
    tables = [("[network]", network), *(("[[member]]", row) for row in rows)]
    return "\n".join("\n".join((head, *map(_setting, table.items()), "")) for head, table in tables)


def _setting(item: tuple[str, Any]) -> str:
    # JSON's texts, whole numbers and lists of texts are TOML's too; anything else is refused when it is read back.
    name, value = item
    return f"{name if name.isidentifier() else json.dumps(name)} = {json.dumps(value, ensure_ascii=False, default=str)}"


# A network from its members


@dataclass(frozen=True, slots=True, kw_only=True)
class NewNetwork:
    """What was made. members: by name, in the order of the genesis."""

    plan: NetworkPlan
    members: tuple[str, ...]


def create_network(
    folder: NetworkFolder,
    *,
    members: Path | None,
    suite: SuiteName | None,
    engine: EngineName | None,
    validators: int,
    passphrase: bytes | None,
    clock: Clock,
    entropy: Entropy,
    cost: PassphraseCost = STRONG_COST,
    progress: Progress = no_progress,
) -> NewNetwork:
    """Make the folder, the genesis and all homes; nothing is started. Where the disk refuses, nothing is left of it.

    members: a members.toml, None for the example. suite, engine: None as the file says.
    Raises Conflict ``node.network_exists``, InvalidInput ``node.validators_invalid``, what
    ``complete_members`` and ``genesis_from_members_toml`` refuse, and what ``create_home`` raises.
    """
    _require_new(folder)
    if not 1 <= validators <= MAX_VALIDATORS:
        raise InvalidInput("node.validators_invalid", f"{validators} validators where 1 to {MAX_VALIDATORS} fit")
    completed = complete_members(
        example_members(validators) if members is None else _read(members),
        suite=suite,
        engine=engine,
        validators=validators,
        entropy=entropy,
    )
    genesis = genesis_from_members_toml(completed.text, created_ms=clock.now_ms())
    plan = _plan(genesis, completed)
    addresses = loopback_addresses(plan.names, besides=plan.mesh.ports)
    nodes = {name: secrets.node for name, secrets in completed.secrets.items() if secrets.node is not None}
    with nothing_left_of_a_failure(folder.folder):
        _make_folders(folder)
        for done, member in enumerate(genesis.members):
            progress("make homes 建立主目录", done, len(genesis.members))
            create_home(
                folder.home(member.id),
                settings=addresses.get(member.id, Addresses()).settings(
                    member=member.id, role=member.role, genesis=genesis, p2p_port=plan.mesh.p2p_port(member.id)
                ),
                genesis=encode_genesis(genesis),
                seeds=completed.secrets[member.id].seeds,
                passphrase=passphrase,
                entropy=entropy,
                node=HomeNode.in_mesh(member.id, plan.mesh, keys=nodes),
                cost=cost,
            )
        for public, data in ((folder.genesis, encode_genesis(genesis)), (folder.members, completed.text.encode())):
            replace_file(public, data, mode=None)
            share_file(public)
        replace_file(folder.plan, encode_plan(plan), mode=None)
    return NewNetwork(plan=plan, members=tuple(member.id for member in genesis.members))


def _require_new(folder: NetworkFolder) -> None:
    if folder.folder.exists() and (not folder.folder.is_dir() or any(folder.folder.iterdir())):
        raise Conflict(
            "node.network_exists",
            f"{folder.folder} holds files already",
            next_step="name a new or an empty folder with --folder",
        )


def _read(path: Path) -> str:
    try:
        return read_regular(path, max_bytes=MAX_GENESIS_BYTES).decode("utf-8-sig")
    except OSError as error:
        raise Unavailable("node.members_missing", f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput("node.members_unreadable", f"{path} cannot be used: it is not UTF-8: {error}") from error


def _make_folders(folder: NetworkFolder) -> None:
    try:
        make_shared_folder(folder.folder)
        folder.run.mkdir(mode=OWNER_ONLY_FOLDER)
    except OSError as error:
        raise Unavailable("node.home_unwritable", f"{folder.run} cannot be made a folder: {error.strerror}") from error


def _plan(genesis: Genesis, completed: CompletedMembers) -> NetworkPlan:
    names = [name for name, secrets in completed.secrets.items() if secrets.node is not None]
    mesh = Mesh.planned(names)
    return NetworkPlan(
        network=get_suite(genesis.suite).digest(encode_genesis(genesis)).hex(),
        suite=genesis.suite.value,
        engine=genesis.engine.value,
        validators=mesh.nodes,
        relays=mesh.relays,
    )


# An institution that joins later


def add_member(
    folder: NetworkFolder,
    *,
    member: str,
    role: Role,
    name: str,
    name_zh: str,
    passphrase: bytes | None,
    entropy: Entropy,
    cost: PassphraseCost = STRONG_COST,
) -> Path:
    """Make the home and the node of a validator to be, and return the file in it by which it is proposed.

    Raises InvalidInput ``node.member_name_invalid``, ``node.network_not_started``, ``node.validators_too_many``,
    Conflict ``node.home_exists``, and what ``create_home`` raises.
    """
    plan = load_plan(folder)
    _require_room(plan, member)
    data = folder.genesis.read_bytes()
    genesis = decode_genesis(data)
    keys, seeds = NodeKeys.generate(entropy), MemberSeeds.generate(entropy)
    face = member_from_seeds(
        seeds,
        registration=Registration.on_network(network_id(data), MemberId(member)),
        role=role,
        name=name,
        name_zh=name_zh,
        suite=get_suite(genesis.suite),
        validator=keys.validator,
    )
    mesh = plan.mesh.grown(member)
    grown = msgspec.structs.replace(plan, validators=mesh.nodes, relays=mesh.relays)
    home = folder.home(member)
    node = mesh.settings(member, node_id_of=lambda name: read_node_id(folder.home(name).cometbft))
    create_home(
        home,
        settings=_addresses_of_newest(folder, grown).settings(
            member=member, role=role, genesis=genesis, admitted=True, p2p_port=mesh.p2p_port(member)
        ),
        genesis=data,
        seeds=seeds,
        passphrase=passphrase,
        entropy=entropy,
        node=HomeNode(keys=keys, settings=node),
        cost=cost,
    )
    path = home.member_file
    replace_file(path, encode_member_file(face).encode(), mode=None)
    replace_file(folder.plan, encode_plan(grown), mode=None)
    with contextlib.suppress(ShuiqiaoError):
        # Where no relays run, they read the plan when they start.
        ask_process(folder.control(RELAYS), {"act": "reload"})
    return path


def _addresses_of_newest(folder: NetworkFolder, grown: NetworkPlan) -> Addresses:
    """Return where the server of the newest validator listens, and where it reaches the others."""
    *former, newest = grown.names
    settings = {name: load_settings(folder.home(name)) for name in former}
    taken = grown.mesh.ports | {
        int(text.rpartition(":")[2] or 0) for each in settings.values() for text in (each.listen, each.peer_listen)
    }
    known = {name: each.peer_listen for name, each in settings.items()}
    return loopback_addresses([newest], besides=taken, known=known)[newest]


def _require_room(plan: NetworkPlan, member: str) -> None:
    if not MEMBER_ID.match(member):
        raise InvalidInput(
            "node.member_name_invalid", f"{member[:40]!r} is not 2 to 32 of a-z, 0-9 and -, beginning with a letter"
        )
    if plan.engine != "cometbft":
        raise InvalidInput("node.network_not_started", "an embedded network has no validators to add to")
    if len(plan.validators) >= MAX_VALIDATORS:
        raise InvalidInput("node.validators_too_many", f"{MAX_VALIDATORS} validators fit on one machine")

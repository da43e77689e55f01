"""The members.toml of a network on one machine: completed with fresh keys, or made up as an example.

A consortium of institutions on many machines writes members.toml with the public keys that each made at home. Here all
homes are on this machine, so the keys are made here and must not stand in the file.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from shuiqiao.base.encoding import decode_toml
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import Entropy, MemberId
from shuiqiao.crypto.model import SEED_BYTES, SigningKey, SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.cometbft.comet.home import NodeKeys
from shuiqiao.members.model import MAX_GENESIS_BYTES, MAX_MEMBERS, EngineName, KeyPurpose
from shuiqiao.members.roster import Registration
from shuiqiao.node.home.keys import MemberKeys, MemberSeeds

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
        node = _node_keys(entropy) if is_cometbft and number < validators else None
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


def _node_keys(entropy: Entropy) -> NodeKeys:
    return NodeKeys(node_seed=entropy(SEED_BYTES), validator_seed=entropy(SEED_BYTES))


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

"""From a hand-written members.toml to genesis.json, and from its bytes to what the ledger needs.

genesis.json is canonical JSON: one agreement has one encoding, hence one network id (suite hash of the bytes). A person
who verifies a receipt is given this file by somebody they trust, and compares its fingerprint.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

from shuiqiao.base.encoding import decode_json, decode_toml, encode_json
from shuiqiao.base.errors import Denied, InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.base.wire import MAX_CALENDAR_MS
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.model import NetworkParameters
from shuiqiao.members.epoch import EPOCH_KEY, epoch_document, genesis_epoch, verify_epoch
from shuiqiao.members.model import (
    MAX_GENESIS_BYTES,
    MAX_MEMBERS,
    MAX_NAME_CHARACTERS,
    MEMBER_ID,
    NAME_PATTERN,
    PROOF_BYTES,
    VALIDATOR_KEY_BYTES,
    EngineName,
    Genesis,
    Member,
    Role,
)
from shuiqiao.members.roster import Registration, genesis_roster, signing_keys_of

_Choice = TypeVar("_Choice", SuiteName, Role, EngineName)

GENESIS_VERSION = 3
_AGREED_FIELDS = {"engine", "quorum", "witnesses", "governing"}
_GENESIS_FIELDS = {"version", "name", "suite", "writer", "created_ms", "members"} | _AGREED_FIELDS
_MEMBER_FIELDS = {"id", "role", "name", "name_zh", "signing_key", "sealing_key", "signing_proof", "sealing_proof"}
_VALIDATOR_FIELDS = _MEMBER_FIELDS | {"validator_key", "validator_proof"}
_KEY_HEX_CHARACTERS = {
    SuiteName.INTL: {"signing_key": 64, "sealing_key": 64},
    SuiteName.GM: {"signing_key": 130, "sealing_key": 130},
}


def genesis_from_members_toml(text: str, *, created_ms: int) -> Genesis:
    """Return the genesis that a members.toml describes.

    The file has ``[network]`` (name, suite; writer unless the engine is cometbft; where they differ from the defaults
    engine, quorum, witnesses, governing) and one ``[[member]]`` table an institution (id, role, name, name_zh,
    signing_key and sealing_key in hex with signing_proof and sealing_proof [MEMBER-24], for a validator validator_key
    and validator_proof). Defaults [MEMBER-1]: engine embedded, quorum 0, no witnesses, every member governing; with
    engine cometbft the validators are the witnesses and more than two thirds of them the quorum.

    Raises InvalidInput ``members.toml_unreadable`` or ``members.genesis_invalid``.
    """
    if len(text) > MAX_GENESIS_BYTES:
        raise InvalidInput("members.toml_unreadable", f"members.toml has {len(text)} of {MAX_GENESIS_BYTES} characters")
    try:
        document = decode_toml(text)
    except InvalidInput as error:
        raise InvalidInput("members.toml_unreadable", f"members.toml: {error.message}") from error
    _expect_fields(document, {"network", "member"}, "members.toml")
    return genesis_of_members(document["network"], document["member"], created_ms=created_ms)


def genesis_of_members(network: Any, members: Any, *, created_ms: int) -> Genesis:
    """Return the genesis of the tables of a members.toml; raises InvalidInput ``members.genesis_invalid``.

    E.g. ``genesis_of_members({"name": "delta", "suite": "intl", "writer": "bureau"}, [row], created_ms=now_ms)``.
    """
    fields = _with_defaults(network, members)
    return _genesis({**fields, "version": GENESIS_VERSION, "created_ms": created_ms, "members": members})


def _with_defaults(network: Any, members: Any) -> dict[str, Any]:
    """Return the network table with everything spelled that a hand-written one may leave out [MEMBER-1]."""
    if not isinstance(network, dict):
        raise _invalid("[network] is not a table")
    is_cometbft = network.get("engine") == EngineName.COMETBFT
    optional = _AGREED_FIELDS | ({"writer"} if is_cometbft else set[str]())
    _expect_fields(network, ({"name", "suite", "writer"} - optional) | (set(network) & optional), "[network]")
    rows = [row for row in members if isinstance(row, dict)] if isinstance(members, list) else []
    validators = [row.get("id") for row in rows if "validator_key" in row]
    defaults = {
        "engine": str(EngineName.EMBEDDED),
        "quorum": 2 * len(validators) // 3 + 1 if is_cometbft else 0,
        "witnesses": validators if is_cometbft else [],
        "governing": [row.get("id") for row in rows],
    }
    return ({"writer": ""} if is_cometbft else {}) | defaults | network


def encode_genesis(genesis: Genesis) -> bytes:
    """Return the canonical bytes of a genesis."""
    return encode_json(
        {
            "version": GENESIS_VERSION,
            "name": genesis.name,
            "suite": str(genesis.suite),
            "engine": str(genesis.engine),
            "writer": genesis.writer,
            "quorum": genesis.quorum,
            "witnesses": list(genesis.witnesses),
            "governing": list(genesis.governing),
            "created_ms": genesis.created_ms,
            "members": [_member_fields(member) for member in genesis.members],
        }
    )


def decode_genesis(data: bytes) -> Genesis:
    """Return the genesis in its canonical bytes; anything else raises InvalidInput."""
    genesis = _genesis(decode_json(data, max_bytes=MAX_GENESIS_BYTES))
    if encode_genesis(genesis) != data:
        raise InvalidInput("members.genesis_not_canonical", "genesis bytes are not the canonical JSON of their content")
    return genesis


def network_id(data: bytes) -> bytes:
    """Return the suite hash of genesis bytes, after checking them."""
    return get_suite(decode_genesis(data).suite).digest(data)


def network_parameters(data: bytes) -> NetworkParameters:
    """Return what the ledger takes from genesis bytes."""
    genesis = decode_genesis(data)
    network = get_suite(genesis.suite).digest(data)
    epoch = genesis_epoch(genesis)
    return NetworkParameters(
        network=network,
        suite=genesis.suite,
        origin=f"shuiqiao/{network.hex()}",
        operator=genesis.writer,
        operator_key=epoch.operator_key or b"",
        genesis_time_ms=genesis.created_ms,
        initial_state={
            **genesis_roster(genesis.members, network=network, suite=genesis.suite, engine=genesis.engine),
            EPOCH_KEY: epoch_document(epoch),
        },
        witnesses=epoch.witnesses,
        quorum=epoch.quorum,
    )


def _member_fields(member: Member) -> dict[str, str]:
    keys = {"validator_key": member.validator_key, "validator_proof": member.validator_proof}
    return {field: key.hex() for field, key in keys.items() if key is not None} | {
        "id": member.id,
        "role": str(member.role),
        "name": member.name,
        "name_zh": member.name_zh,
        "signing_key": member.signing_key.hex(),
        "sealing_key": member.sealing_key.hex(),
        "signing_proof": member.signing_proof.hex(),
        "sealing_proof": member.sealing_proof.hex(),
    }


def _genesis(fields: Any) -> Genesis:
    _expect_fields(fields, _GENESIS_FIELDS, "the genesis")
    if fields["version"] != GENESIS_VERSION:
        raise _invalid(f"genesis version {fields['version']!r} where {GENESIS_VERSION} is known")
    suite = _choice(SuiteName, fields["suite"], "suite")
    engine = _choice(EngineName, fields["engine"], "engine")
    rows = fields["members"]
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_MEMBERS:
        raise _invalid(f"a network has 1 to {MAX_MEMBERS} members")
    name = _text(fields["name"], "name")
    members = tuple(sorted((_member(row, suite) for row in rows), key=lambda member: member.id))
    _expect_distinct(members)
    _expect_proven(members, name=name, suite=suite)
    ids = {member.id for member in members}
    genesis = Genesis(
        name=name,
        suite=suite,
        engine=engine,
        writer=_writer(fields["writer"], engine=engine, ids=ids),
        created_ms=_whole(fields["created_ms"], "created_ms", most=MAX_CALENDAR_MS),
        quorum=_whole(fields["quorum"], "quorum", most=MAX_MEMBERS),
        witnesses=_ids(fields["witnesses"], "witnesses", ids=ids),
        governing=_ids(fields["governing"], "governing", ids=ids),
        members=members,
    )
    if not fields["governing"]:
        raise _invalid("governing names nobody: such a network could never change")
    _expect_workable(genesis)
    return genesis


def _writer(value: Any, *, engine: EngineName, ids: set[MemberId]) -> MemberId:
    """Return the operator of an embedded network, nobody where validators order by consensus."""
    if engine is EngineName.COMETBFT:
        if value != "":
            raise _invalid(f"the writer is {value!r}; in a cometbft network there is none")
        return MemberId("")
    if value not in list(ids):
        raise _invalid(f"the writer {value!r} is not among the members")
    return MemberId(value)


def _ids(value: Any, field: str, *, ids: set[MemberId]) -> tuple[MemberId, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) and each in ids for each in value):
        raise _invalid(f"{field} is not a list of members of this network")
    if len(set(value)) != len(value):
        raise _invalid(f"{field} names a member twice")
    return tuple(sorted(MemberId(each) for each in value))


def _expect_workable(genesis: Genesis) -> None:
    """[MEMBER-2]: witnesses are validators where there are validators; the sets and the quorum can work."""
    validators = tuple(member.id for member in genesis.members if member.validator_key is not None)
    if genesis.engine is EngineName.EMBEDDED and validators:
        raise _invalid(f"{validators[0]} has a validator_key; an embedded network has no validators")
    if genesis.engine is EngineName.COMETBFT and validators != genesis.witnesses:
        raise _invalid(
            f"the witnesses of a cometbft network are its validators: {', '.join(genesis.witnesses) or 'nobody'} is "
            f"named, {', '.join(validators) or 'nobody'} has a validator_key"
        )
    try:
        verify_epoch(genesis_epoch(genesis))
    except (Denied, InvalidInput) as error:
        raise _invalid(error.message) from error


def _member(row: Any, suite: SuiteName) -> Member:
    has_validator = isinstance(row, dict) and "validator_key" in row
    _expect_fields(row, _VALIDATOR_FIELDS if has_validator else _MEMBER_FIELDS, "a member")
    if not isinstance(row["id"], str) or not MEMBER_ID.match(row["id"]):
        raise _invalid(f"member id {row['id']!r} is not 2 to 32 of a-z, 0-9 and -, beginning with a letter")
    return Member(
        id=MemberId(row["id"]),
        role=_choice(Role, row["role"], "role"),
        name=_text(row["name"], "name"),
        name_zh=_text(row["name_zh"], "name_zh"),
        signing_key=_key(row, "signing_key", suite),
        sealing_key=_key(row, "sealing_key", suite),
        # CometBFT's keys are Ed25519 in every suite: what the intl suite signs with.
        validator_key=_key(row, "validator_key", SuiteName.INTL) if has_validator else None,
        **{field: _hex(row, field, characters=2 * PROOF_BYTES) for field in row if field.endswith("_proof")},
    )


def _key(row: Mapping[str, Any], field: str, suite: SuiteName) -> bytes:
    """Return a key that the suite accepts: nobody joins with a key off the curve or of small order."""
    key = _hex(row, field, characters=_KEY_HEX_CHARACTERS[suite].get(field, 2 * VALIDATOR_KEY_BYTES))
    cipher_suite = get_suite(suite)
    verify = cipher_suite.verify_sealing_key if field == "sealing_key" else cipher_suite.verify_signing_key
    try:
        verify(key)
    except InvalidInput as error:
        raise _invalid(f"{field} of {row['id']} is no key of suite {suite}: {error.message}") from error
    return key


def _hex(row: Mapping[str, Any], field: str, *, characters: int) -> bytes:
    text = row[field]
    if not isinstance(text, str) or len(text) != characters or not re.fullmatch(r"[0-9a-f]+", text):
        raise _invalid(f"{field} of {row['id']} is not {characters} lower-case hex characters, as its suite needs")
    return bytes.fromhex(text)


def _expect_distinct(members: tuple[Member, ...]) -> None:
    """[MEMBER-8]: an id is of one member; a key that signs is of one member, and each key of one purpose."""
    ids, keys = [member.id for member in members], [key for member in members for key in signing_keys_of(member)]
    for values, what in ((ids, "id"), (keys, "key, or one uses a key for two purposes")):
        if len(set(values)) != len(values):
            raise _invalid(f"two members share one {what}")
    for member in members:
        if member.sealing_key in signing_keys_of(member):
            raise _invalid(f"{member.id} uses one key to sign and to be sealed to")


def _expect_proven(members: tuple[Member, ...], *, name: str, suite: SuiteName) -> None:
    """[MEMBER-24]: every key was registered by its holder."""
    for member in members:
        try:
            Registration.in_genesis(name, member.id).verify_member(member, suite=get_suite(suite))
        except InvalidInput as error:
            raise _invalid(error.message) from error


def _expect_fields(fields: Any, expected: set[str], where: str) -> None:
    if not isinstance(fields, dict) or set(fields) != expected:
        found = sorted(fields) if isinstance(fields, dict) else type(fields).__name__
        raise _invalid(f"{where} has {found} where {sorted(expected)} are needed")


def _text(value: Any, field: str) -> str:
    """Return a name that is one [MEMBER-27]."""
    if not isinstance(value, str) or len(value) > MAX_NAME_CHARACTERS or not re.match(NAME_PATTERN, value):
        raise _invalid(
            f"{field} {str(value)[:MAX_NAME_CHARACTERS]!r} is not 1 to {MAX_NAME_CHARACTERS} visible characters"
        )
    return value


def _whole(value: Any, field: str, *, most: int) -> int:
    if type(value) is not int or not 0 <= value <= most:
        raise _invalid(f"{field} {str(value)[:MAX_NAME_CHARACTERS]} is not a whole number from 0 to {most}")
    return value


def _choice(kind: type[_Choice], value: Any, field: str) -> _Choice:
    try:
        return kind(value)
    except ValueError:
        allowed = ", ".join(kind)
        raise _invalid(f"{field} {value!r} is not one of {allowed}") from None


def _invalid(message: str) -> InvalidInput:
    return InvalidInput("members.genesis_invalid", message)

"""From a hand-written members.toml to genesis.json, and from its bytes to what the ledger needs.

genesis.json is canonical JSON: one agreement has one encoding, hence one network id (suite hash of the bytes). Whoever
verifies a receipt is given this file by somebody they trust, and compares its fingerprint.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any, TypeVar

from shuiqiao.base.encoding import decode_json, encode_json
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.model import NetworkParameters
from shuiqiao.members.contract import member_key
from shuiqiao.members.model import MAX_GENESIS_BYTES, MAX_MEMBERS, Genesis, Member, Role

_Choice = TypeVar("_Choice", SuiteName, Role)

GENESIS_VERSION = 1
MAX_NAME_CHARACTERS = 80
MAX_TIME_MS = 253_402_300_799_999
"""The last millisecond of the year 9999."""

_MEMBER_ID = re.compile(r"[a-z][a-z0-9-]{1,31}\Z")
_GENESIS_FIELDS = {"version", "name", "suite", "writer", "created_ms", "members"}
_MEMBER_FIELDS = {"id", "role", "name", "name_zh", "signing_key", "sealing_key"}
_KEY_HEX_CHARACTERS = {
    SuiteName.INTL: {"signing_key": 64, "sealing_key": 64},
    SuiteName.GM: {"signing_key": 130, "sealing_key": 130},
}


def genesis_from_members_toml(text: str, *, created_ms: int) -> Genesis:
    """Return the genesis that a members.toml describes.

    The file has ``[network]`` (name, suite, writer) and one ``[[member]]`` table an institution (id, role, name,
    name_zh, signing_key and sealing_key in hex). Raises InvalidInput ``members.toml_unreadable`` or
    ``members.genesis_invalid``.
    """
    if len(text) > MAX_GENESIS_BYTES:
        raise InvalidInput("members.toml_unreadable", f"members.toml has {len(text)} of {MAX_GENESIS_BYTES} characters")
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise InvalidInput("members.toml_unreadable", f"members.toml is not TOML: {error}") from error
    _expect_fields(document, {"network", "member"}, "members.toml")
    network = document["network"]
    _expect_fields(network, {"name", "suite", "writer"}, "[network]")
    return _genesis({**network, "version": GENESIS_VERSION, "created_ms": created_ms, "members": document["member"]})


def encode_genesis(genesis: Genesis) -> bytes:
    """Return the canonical bytes of a genesis."""
    return encode_json(
        {
            "version": GENESIS_VERSION,
            "name": genesis.name,
            "suite": str(genesis.suite),
            "writer": genesis.writer,
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
    writer = next(member for member in genesis.members if member.id == genesis.writer)
    return NetworkParameters(
        network=network,
        suite=genesis.suite,
        origin=f"shuiqiao/{network.hex()}",
        operator=writer.id,
        operator_key=writer.signing_key,
        genesis_time_ms=genesis.created_ms,
        initial_state={member_key(member.id): _member_state(member) for member in genesis.members},
    )


def _member_state(member: Member) -> dict[str, Any]:
    return {
        "role": str(member.role),
        "sign": member.signing_key,
        "seal": member.sealing_key,
        "name": member.name,
        "name_zh": member.name_zh,
    }


def _member_fields(member: Member) -> dict[str, str]:
    return {
        "id": member.id,
        "role": str(member.role),
        "name": member.name,
        "name_zh": member.name_zh,
        "signing_key": member.signing_key.hex(),
        "sealing_key": member.sealing_key.hex(),
    }


def _genesis(fields: Any) -> Genesis:
    _expect_fields(fields, _GENESIS_FIELDS, "the genesis")
    if fields["version"] != GENESIS_VERSION:
        raise _invalid(f"genesis version {fields['version']!r} where {GENESIS_VERSION} is known")
    suite = _choice(SuiteName, fields["suite"], "suite")
    rows = fields["members"]
    if not isinstance(rows, list) or not 1 <= len(rows) <= MAX_MEMBERS:
        raise _invalid(f"a network has 1 to {MAX_MEMBERS} members")
    members = tuple(sorted((_member(row, suite) for row in rows), key=lambda member: member.id))
    _expect_distinct(members)
    created_ms = fields["created_ms"]
    if type(created_ms) is not int or not 0 <= created_ms <= MAX_TIME_MS:
        raise _invalid(f"created_ms {created_ms!r} is not a time in milliseconds")
    writer = fields["writer"]
    if writer not in [member.id for member in members]:
        raise _invalid(f"the writer {writer!r} is not among the members")
    return Genesis(
        name=_text(fields["name"], "name"), suite=suite, writer=writer, created_ms=created_ms, members=members
    )


def _member(row: Any, suite: SuiteName) -> Member:
    _expect_fields(row, _MEMBER_FIELDS, "a member")
    if not isinstance(row["id"], str) or not _MEMBER_ID.match(row["id"]):
        raise _invalid(f"member id {row['id']!r} is not 2 to 32 of a-z, 0-9 and -, beginning with a letter")
    return Member(
        id=MemberId(row["id"]),
        role=_choice(Role, row["role"], "role"),
        name=_text(row["name"], "name"),
        name_zh=_text(row["name_zh"], "name_zh"),
        signing_key=_key(row, "signing_key", suite),
        sealing_key=_key(row, "sealing_key", suite),
    )


def _key(row: Mapping[str, Any], field: str, suite: SuiteName) -> bytes:
    text, expected = row[field], _KEY_HEX_CHARACTERS[suite][field]
    if not isinstance(text, str) or len(text) != expected or not re.fullmatch(r"[0-9a-f]+", text):
        raise _invalid(f"{field} of {row['id']} is not {expected} lower-case hex characters, as suite {suite} needs")
    return _verified_key(bytes.fromhex(text), field, member=row["id"], suite=suite)


def _verified_key(key: bytes, field: str, *, member: str, suite: SuiteName) -> bytes:
    """Return a key that the suite accepts: nobody joins with a key off the curve or of small order."""
    cipher_suite = get_suite(suite)
    verify = cipher_suite.verify_signing_key if field == "signing_key" else cipher_suite.verify_sealing_key
    try:
        verify(key)
    except InvalidInput as error:
        raise _invalid(f"{field} of {member} is no key of suite {suite}: {error.message}") from error
    return key


def _expect_distinct(members: tuple[Member, ...]) -> None:
    for values, what in (([m.id for m in members], "id"), ([m.signing_key for m in members], "signing key")):
        if len(set(values)) != len(values):
            raise _invalid(f"two members share one {what}")


def _expect_fields(fields: Any, expected: set[str], where: str) -> None:
    if not isinstance(fields, dict) or set(fields) != expected:
        found = sorted(fields) if isinstance(fields, dict) else type(fields).__name__
        raise _invalid(f"{where} has {found} where {sorted(expected)} are needed")


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_NAME_CHARACTERS or not value.isprintable():
        raise _invalid(f"{field} {str(value)[:MAX_NAME_CHARACTERS]!r} is not 1 to {MAX_NAME_CHARACTERS} characters")
    return value


def _choice(kind: type[_Choice], value: Any, field: str) -> _Choice:
    try:
        return kind(value)
    except ValueError:
        allowed = ", ".join(kind)
        raise _invalid(f"{field} {value!r} is not one of {allowed}") from None


def _invalid(message: str) -> InvalidInput:
    return InvalidInput("members.genesis_invalid", message)

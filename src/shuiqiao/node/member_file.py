"""The file by which an institution asks to be admitted: who it is and its keys with proofs, as in members.toml.

It is handed to a governing member, who proposes the admission. Nothing in it is secret, and nothing in it is believed:
the vote decides, and the ledger judges the keys. A validator's says where its CometBFT node is reached, too: nodes of
others dial it there, and CometBFT proves its id.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from shuiqiao.base.encoding import decode_toml, typed
from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.base.files import read_regular
from shuiqiao.base.wire import MemberName
from shuiqiao.ledger.engine.cometbft.comet.home import PEER_PATTERN
from shuiqiao.members.action import Admit
from shuiqiao.members.model import DisplayName, Role

if TYPE_CHECKING:
    from pathlib import Path

    from shuiqiao.members.model import Member

MAX_FILE_BYTES = 16_384

_KEYS = ("signing_key", "sealing_key", "signing_proof", "sealing_proof", "validator_key", "validator_proof")

_Hex = Annotated[str, Meta(pattern=r"^([0-9a-f]{2}){32,65}\Z", max_length=130)]
_Proof = Annotated[str, Meta(pattern=r"^[0-9a-f]{128}\Z", max_length=128)]
_OptionalHex = Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?\Z", max_length=64)]
_OptionalNode = Annotated[str, Meta(pattern=rf"^({PEER_PATTERN})?\Z", max_length=320)]
_OptionalProof = Annotated[str, Meta(pattern=r"^([0-9a-f]{128})?\Z", max_length=128)]


class _MemberTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    id: MemberName
    role: Role
    name: DisplayName
    name_zh: DisplayName
    signing_key: _Hex
    sealing_key: _Hex
    signing_proof: _Proof
    sealing_proof: _Proof
    validator_key: _OptionalHex = ""
    validator_proof: _OptionalProof = ""
    node: _OptionalNode = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    member: _MemberTable


def encode_member_file(member: Member, *, node: str = "") -> str:
    """Return the file's text. node: where the member's CometBFT node is reached, ``ID@HOST:PORT``, empty for none."""
    keys = {name: getattr(member, name) for name in _KEYS}
    fields = {
        "id": member.id,
        "role": str(member.role),
        "name": member.name,
        "name_zh": member.name_zh,
        **{name: key.hex() for name, key in keys.items() if key is not None},
        **({"node": node} if node else {}),
    }
    lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    return "\n".join(("[member]", *lines, ""))


def load_member_file(path: Path) -> str:
    """Return the text of a member file, which is looked at here so that a refusal names the file.

    Raises Unavailable ``node.file_unreadable``, InvalidInput ``node.member_file_invalid``.
    """
    try:
        data = read_regular(path, max_bytes=MAX_FILE_BYTES)
    except OSError as error:
        raise Unavailable("node.file_unreadable", f"{path} cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise InvalidInput("node.member_file_invalid", f"{path} is larger than {MAX_FILE_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput("node.member_file_invalid", f"{path} is no member file: {error}") from error
    _decode(text, place=str(path))
    return text


def member_row(text: str) -> dict[str, str]:
    """Return what a member file says, as a table of members.toml; raises InvalidInput ``node.member_file_invalid``."""
    found = msgspec.to_builtins(_decode(text, place="what was sent"))
    return {name: value for name, value in found.items() if value and name != "node"}


def node_of(text: str) -> str:
    """Return where the CometBFT node of a member file is reached, empty where it says nothing of one.

    Raises InvalidInput ``node.member_file_invalid``.
    """
    return _decode(text, place="what was sent").node


def decode_admission(text: str, *, governing: bool, witness: bool) -> Admit:
    """Return the admission that a member file asks for; a validator is a witness whatever is asked.

    Raises InvalidInput ``node.member_file_invalid``.
    """
    found = _decode(text, place="what was sent")
    return Admit(
        member=found.id,
        role=found.role,
        name=found.name,
        name_zh=found.name_zh,
        **{name: bytes.fromhex(getattr(found, name)) for name in _KEYS},
        witness=witness or bool(found.validator_key),
        governing=governing,
    )


def _decode(text: str, *, place: str) -> _MemberTable:
    try:
        return typed(decode_toml(text), _File).member
    except (InvalidInput, msgspec.ValidationError) as error:
        raise InvalidInput("node.member_file_invalid", f"{place} is no member file: {error}") from error

"""What a backup says of itself: which home, which moment of its ledger, which files; signed by the member's key.

Canonical JSON, so that the same content has one signature. It stands last but one in the archive, before the signature
over its hash: a backup that was interrupted has neither.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec

from shuiqiao.base.encoding import decode_json, encode_json, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError
from shuiqiao.members.model import MemberName

if TYPE_CHECKING:
    from shuiqiao.crypto.model import CipherSuite

MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
GENESIS: Final = "genesis.json"
MAX_FILES: Final = 200_000
"""Files of one backup: a vault of a thousand million records has some 120,000."""

MAX_MANIFEST_BYTES: Final = 64 << 20
_MAX_ITEMS: Final = 1 << 20
"""JSON items of a manifest: four for each file, and its own."""

SIGNATURE_BYTES: Final = 64

_NAMES: Final = re.compile(
    r"node\.toml|genesis\.json|shuiqiao\.db|keys/((signing|sealing)\.(next\.|retired-[0-9]{4}\.)?key\.json|passphrase)"
    r"|cometbft/config/(config\.toml|genesis\.json|node_key\.json|priv_validator_key\.json)"
    r"|ledger/(checkpoints/(latest|cosigned|epochs/[0-9]{20})|alarms/fork|consensus/(position|note|closing/[0-9]{20})|segments/[0-9]{20}\.segment)"
    r"|vault/(index\.lmdb/data\.mdb|batches/[0-9a-f]{32}\.(leaves|parquet)|quarantine/[0-9A-Za-z.-]{1,70}\.ndjson)"
)
"""Every name that may stand in a backup beside the manifest and its signature: so none leads out of a home."""

Hex32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Whole = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One file. digest: suite hash in hex."""

    name: Annotated[str, msgspec.Meta(max_length=100)]
    size: Whole
    digest: Hex32


class LedgerMoment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How far the ledger in a backup goes: its last block, its leaves, the roots of log and state in hex."""

    height: Whole
    size: Whole
    root: Hex32
    state_root: Hex32 | None


class BackupManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What manifest.json holds.

    key: the raw signing key that signed it, in hex. validator: a validator's keys are in it.
    """

    format: Literal["shuiqiao-backup"] = "shuiqiao-backup"
    version: Literal[1] = 1
    network: Hex32
    suite: Literal["intl", "gm"]
    engine: Literal["embedded", "cometbft"]
    member: MemberName
    role: Annotated[str, msgspec.Meta(max_length=32)]
    key: Annotated[str, msgspec.Meta(pattern=r"^([0-9a-f]{2}){32,65}\Z")]
    created_ms: Whole
    validator: bool
    passphrase: bool
    database: bool
    ledger: LedgerMoment
    files: Annotated[tuple[FileEntry, ...], msgspec.Meta(max_length=MAX_FILES)]


def encode_manifest(manifest: BackupManifest) -> bytes:
    """Return the one JSON form of a manifest."""
    return encode_json(msgspec.to_builtins(manifest))


def decode_manifest(data: bytes) -> BackupManifest:
    """Return the manifest in its JSON form; raises InvalidInput ``node.backup_manifest_invalid``."""
    try:
        fields = decode_json(data, max_bytes=MAX_MANIFEST_BYTES, max_items=_MAX_ITEMS)
        manifest = typed(fields, BackupManifest)
    except (ShuiqiaoError, msgspec.ValidationError) as error:
        raise _invalid(str(error)) from error
    if encode_manifest(manifest) != data:
        raise _invalid("it is not in the one form that its content has")
    return manifest


def require_name(name: str) -> None:
    """Return if a file of this name may stand in a backup; raises InvalidInput ``node.backup_name_unknown``."""
    if not _NAMES.fullmatch(name):
        raise InvalidInput("node.backup_name_unknown", f"a backup has no file {name[:100]!r}")


def signed_message(manifest: bytes, *, suite: CipherSuite) -> bytes:
    """Return what is signed: no other signature of the product begins like it."""
    return b"shuiqiao backup manifest 1\n" + suite.digest(manifest)


def verify_manifest(data: bytes, *, signature: bytes, key: bytes, suite: CipherSuite) -> None:
    """Return if a key signed a manifest; raises IntegrityError ``node.backup_signature_invalid``.

    Raises Unavailable ``crypto.provider_failed`` where the provider gave no verdict.
    """
    try:
        suite.verify_signature(public_key=key, message=signed_message(data, suite=suite), signature=signature)
    except IntegrityError as error:
        raise IntegrityError(
            "node.backup_signature_invalid",
            f"the manifest is not signed by key {suite.key_id(key).hex()}, by which it says that it is",
            next_step="do not use it: it was altered, or made by somebody else",
        ) from error


def _invalid(reason: str) -> InvalidInput:
    return InvalidInput("node.backup_manifest_invalid", f"the manifest cannot be used: {reason}")

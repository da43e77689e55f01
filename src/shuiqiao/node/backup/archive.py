"""The one file of a backup: an uncompressed tar, and in it the signed manifest of what it holds.

Every byte has one right value. It is written so that any tar program lists and unpacks it, and read by ourselves and
strictly, since it may come from anybody: a header must be byte for byte the one that a plain file of its name and size
gets here, padding is zero, nothing follows the end. So there are no links, no devices, no modes, no sparse files, no
extended headers, and nothing to expand.

The manifest says which home, which moment of its ledger, which files. It is canonical JSON, so that the same content
has one signature, and stands last but one in the archive, before the member's signature over its hash: a backup that
was interrupted has neither.
"""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from typing import IO, TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec

from shuiqiao.base.encoding import decode_json, encode_json, typed
from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError
from shuiqiao.base.wire import MemberName

if TYPE_CHECKING:
    from shuiqiao.crypto.model import CipherSuite

BLOCK_BYTES: Final = tarfile.BLOCKSIZE
READ_BYTES: Final = 1 << 20
MAX_NAME: Final = 100
_SIZE = slice(124, 136)
_LARGE: Final = 0x80
_END: Final = bytes(2 * BLOCK_BYTES)
_OWNER_ONLY: Final = 0o600

NewHash = Callable[[], Any]
"""Returns a fresh hash object."""


Hex32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Whole = Annotated[int, msgspec.Meta(ge=0, le=(1 << 63) - 1)]


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One file of a backup. digest: suite hash of its bytes, in hex."""

    name: Annotated[str, msgspec.Meta(max_length=100)]
    size: Whole
    digest: Hex32


def header_of(name: str, *, size: int) -> bytes:
    """Return the 512 bytes before a file: they say its name and size, and nothing else that could differ."""
    if not name.isascii() or not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"{name[:MAX_NAME]!r} cannot be a name in an archive")
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, _OWNER_ONLY, 0
    return info.tobuf(format=tarfile.GNU_FORMAT)


class ArchiveWriter:
    """Writes files one after another."""

    def __init__(self, file: IO[bytes], *, new_hash: NewHash) -> None:
        self._file = file
        self._new_hash = new_hash
        self.entries: list[FileEntry] = []

    def add(self, name: str, data: bytes) -> None:
        """Write a small file."""
        self.add_chunks(name, [data], size=len(data))

    def add_file(self, name: str, source: IO[bytes], *, size: int | None = None) -> None:
        """Write the first bytes of an open file, all of them where no size is given.

        Raises IntegrityError ``node.backup_source_changed`` if it has fewer.
        """
        length = os.fstat(source.fileno()).st_size if size is None else size
        self.add_chunks(name, _read_chunks(source, size=length), size=length)

    def add_chunks(self, name: str, chunks: Iterable[bytes], *, size: int) -> None:
        """Write chunks that add up to a size."""
        self._file.write(header_of(name, size=size))
        digest, written = self._new_hash(), 0
        for chunk in chunks:
            digest.update(chunk)
            self._file.write(chunk)
            written += len(chunk)
        if written != size:
            raise IntegrityError(
                "node.backup_source_changed", f"{name} had {size} bytes and gave {written} while it was copied"
            )
        self._file.write(bytes(-size % BLOCK_BYTES))
        self.entries.append(FileEntry(name=name, size=size, digest=digest.hexdigest()))

    def end(self) -> None:
        """Write the end mark."""
        self._file.write(_END)


def _read_chunks(source: IO[bytes], *, size: int) -> Iterator[bytes]:
    left = size
    while left and (chunk := source.read(min(left, READ_BYTES))):
        yield chunk
        left -= len(chunk)


class ArchiveFile:
    """A file being read out of an archive: its bytes can be taken once, and are all taken before the next one."""

    def __init__(self, file: IO[bytes], *, name: str, size: int) -> None:
        self.name = name
        self.size = size
        self._file = file
        self._left = size
        self._is_padded = False

    def chunks(self) -> Iterator[bytes]:
        """Iterate over the bytes; raises InvalidInput ``node.backup_truncated`` or ``node.backup_malformed``."""
        while self._left:
            chunk = self._file.read(min(self._left, READ_BYTES))
            if not chunk:
                raise _truncated(self.name)
            self._left -= len(chunk)
            yield chunk
        if not self._is_padded:
            self._is_padded = True
            padding = self._file.read(-self.size % BLOCK_BYTES)
            if padding != bytes(-self.size % BLOCK_BYTES):
                raise _malformed(f"what fills up the block after {self.name} is not zero")

    def read(self, *, most: int) -> bytes:
        """Return all bytes of a small file; raises InvalidInput ``node.backup_malformed`` beyond a size."""
        if self.size > most:
            raise _malformed(f"{self.name} has {self.size} bytes where at most {most} are allowed")
        return b"".join(self.chunks())


def read_archive(file: IO[bytes]) -> Iterator[ArchiveFile]:
    """Iterate over the files of an archive, whose bytes must be taken in turn.

    Raises InvalidInput ``node.backup_truncated``, ``node.backup_malformed``.
    """
    while True:
        block = file.read(BLOCK_BYTES)
        if len(block) < BLOCK_BYTES:
            raise _truncated("the archive")
        if block == bytes(BLOCK_BYTES):
            break
        found = _file_of(file, block)
        yield found
        for _ in found.chunks():
            # What the caller left is passed over, and its padding checked.
            pass
    if file.read(BLOCK_BYTES + 1) != bytes(BLOCK_BYTES):
        raise _malformed("its end mark is not the end of it")


def _file_of(file: IO[bytes], block: bytes) -> ArchiveFile:
    name = block[:MAX_NAME].rstrip(b"\x00")
    field = block[_SIZE]
    try:
        size = int.from_bytes(field[1:], "big") if field[0] == _LARGE else int(field.rstrip(b"\x00 ") or b"0", 8)
        text = name.decode("ascii")
        expected = header_of(text, size=size)
    except (ValueError, OverflowError) as error:
        raise _malformed(
            f"the header of file {text_of_name(name)} is damaged: its name or size cannot be read"
        ) from error
    if expected != block:
        raise _malformed(f"the header of {text!r} is not the one of a plain file of its name and size")
    return ArchiveFile(file, name=text, size=size)


def text_of_name(name: bytes) -> str:
    """Return a name that may be damaged as a message shows it."""
    return repr(name.decode("ascii", errors="replace"))


def _truncated(what: str) -> InvalidInput:
    return InvalidInput(
        "node.backup_truncated",
        f"the backup ends in the midst of {what}",
        next_step="it was not finished, or not copied whole: take another one",
    )


def _malformed(reason: str) -> InvalidInput:
    return InvalidInput(
        "node.backup_malformed",
        f"this is not a backup as this product writes it: {reason}",
        next_step="take another copy of it, or another backup",
    )


MANIFEST: Final = "manifest.json"
SIGNATURE: Final = "manifest.sig"
GENESIS: Final = "genesis.json"
PASSPHRASE: Final = "keys/passphrase"  # noqa: S105 - the name of a file, not a secret
"""Where a backup has the passphrase file that lay beside its home, if it has it."""
MAX_FILES: Final = 200_000
"""Files of one backup: a vault of a thousand million records has some 120,000."""

MAX_MANIFEST_BYTES: Final = 64 << 20
_MAX_ITEMS: Final = 1 << 20
"""JSON items of a manifest: four for each file, and its own."""

SIGNATURE_BYTES: Final = 64

_NAMES: Final = re.compile(
    r"node\.toml|genesis\.json|shuiqiao\.db|keys/((signing|sealing)\.(next\.|retired-[0-9]{4}\.)?key\.json|data\.key\.json|passphrase)"
    r"|cometbft/config/(config\.toml|genesis\.json|node_key\.json|priv_validator_key\.json)"
    r"|ledger/(checkpoints/(latest|cosigned|epochs/[0-9]{20})|alarms/fork|consensus/(position|note|closing/[0-9]{20})|segments/[0-9]{20}\.segment)"
    r"|vault/(index\.lmdb/data\.mdb|batches/[0-9a-f]{32}\.(leaves|parquet)|quarantine/[0-9A-Za-z.-]{1,70}\.ndjson)"
)
"""Every name that may stand in a backup beside the manifest and its signature: so none leads out of a home."""


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

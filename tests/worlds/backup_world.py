"""Backups taken apart and put together again, as somebody could who holds a key, or none."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from shuiqiao.node.backup.archive import (
    MANIFEST,
    SIGNATURE,
    ArchiveWriter,
    BackupManifest,
    decode_manifest,
    encode_manifest,
    read_archive,
    signed_message,
)


def unpacked(archive: Path) -> tuple[list[tuple[str, bytes]], BackupManifest]:
    """The files of a backup in order, and its manifest."""
    with archive.open("rb") as file:
        files = [(found.name, b"".join(found.chunks())) for found in read_archive(file)]
    manifest = decode_manifest(dict(files)[MANIFEST])
    return [(name, data) for name, data in files if name not in {MANIFEST, SIGNATURE}], manifest


def pack(
    target: Path,
    files: Iterable[tuple[str, bytes]],
    *,
    manifest: BackupManifest,
    signer: Any,
    suite: Any,
    **fields: Any,
) -> None:
    """A backup of these files, its manifest changed in some fields and signed by a key."""
    with target.open("wb") as out:
        writer = ArchiveWriter(out, new_hash=suite.new_hash)
        for name, data in files:
            writer.add(name, data)
        text = encode_manifest(msgspec.structs.replace(manifest, files=tuple(writer.entries), **fields))
        writer.add(MANIFEST, text)
        writer.add(SIGNATURE, signer.sign(signed_message(text, suite=suite)))
        writer.end()

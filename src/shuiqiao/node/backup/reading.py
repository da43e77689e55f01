"""Reads a backup that may come from anybody: into a folder, or only to see whether it holds.

Every name is one of a closed set, every byte is hashed, and the manifest says the same names, sizes and hashes in the
same order. It is signed by the key that its member has in the ledger of the backup, followed from the genesis up to the
moment that the manifest says; ``ledger/replay/members`` says what leads to what. The genesis stands first, for it
names the suite. It is believed no more than the backup itself: a person who compares its network id with the one they
know, or names a genesis of their own, knows whose backup it is.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from shuiqiao.base.durable import flush_file
from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.files import open_regular
from shuiqiao.base.ids import MemberId
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.replay.members import MembersReplay, contradicted
from shuiqiao.ledger.store.frame import EMPTY_TAIL, Broken
from shuiqiao.members.genesis import decode_genesis, network_id, network_parameters
from shuiqiao.members.model import MAX_GENESIS_BYTES
from shuiqiao.members.roster import member_key
from shuiqiao.node.backup.archive import (
    GENESIS,
    MANIFEST,
    MAX_FILES,
    MAX_MANIFEST_BYTES,
    SIGNATURE,
    SIGNATURE_BYTES,
    ArchiveFile,
    BackupManifest,
    FileEntry,
    decode_manifest,
    read_archive,
    require_name,
    verify_manifest,
)
from shuiqiao.node.home.kinds import KEY_ROOMS, network_machine
from shuiqiao.node.home.ledger_folder import LedgerFolder

if TYPE_CHECKING:
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
    from shuiqiao.node.backup.archive import LedgerMoment

_TELL_EVERY: Final = 500
"""Blocks between two calls of a progress listener."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerMember:
    """A member as a ledger has it. role: as the ledger spells it. signing, sealing: its raw public keys."""

    role: str
    signing: bytes
    sealing: bytes


def follow_member(
    ledger: LedgerFolder,
    member: MemberId,
    *,
    moment: LedgerMoment,
    notes: Mapping[str, bytes],
    since: Checkpoint | None = None,
    progress: Progress = no_progress,
) -> LedgerMember | None:
    """Follow a ledger from its genesis to a moment and return what it says of a member there, None of a stranger.

    notes: what ``LedgerFolder.stored_notes`` returns, or as much of it as was copied. since: a checkpoint that is known
    to be true, which the ledger must contain.

    Raises IntegrityError ``node.history_contradicted`` where the blocks do not lead to the moment, or to a note;
    ``node.key_forged`` for a change of members or keys that the rules do not allow; ``ledger.pin_contradicted``;
    InvalidInput ``node.history_older``; and what ``verify_note`` raises.
    """
    followed = MembersReplay(network_machine(ledger.parameters), rooms=KEY_ROOMS, notes=notes, since=since)
    files = ledger.files()
    for found in files.scan(EMPTY_TAIL) if moment.height else ():
        if isinstance(found, Broken):
            name = files.path(found.segment).name
            raise contradicted(f"segments/{name} cannot be read from byte {found.offset} on: {found.reason}")
        followed.take(found.frame.transactions, found.frame.entry)
        if followed.height % _TELL_EVERY == 0:
            progress("follow the members' keys 核对成员密钥", followed.height, moment.height)
        if followed.height == moment.height:
            break
    state_root = None if followed.state_root is None else followed.state_root.hex()
    led_to = (followed.height, followed.size, followed.root.hex(), state_root)
    said = (moment.height, moment.size, moment.root, moment.state_root)
    if led_to != said:
        raise contradicted(f"the blocks lead to {led_to}, the manifest says {said}: height, leaves, root, state root")
    followed.require_met()
    record: dict[str, Any] | None = followed.state.get(member_key(member))
    if record is None:
        return None
    return LedgerMember(role=record["role"], signing=record["sign"], sealing=record["seal"])


_OWNER_ONLY: Final = 0o600
_LEDGER: Final = "ledger"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedBackup:
    """A backup whose every byte is what its member signed."""

    manifest: BackupManifest
    genesis: bytes
    bytes_read: int


def verify_backup(
    path: Path,
    *,
    genesis: bytes | None = None,
    since: Checkpoint | None = None,
    into: Path | None = None,
    progress: Progress = no_progress,
) -> VerifiedBackup:
    """Read a backup to its end and return what it says once all of it holds.

    E.g. ``verify_backup(Path("my-bank.tar"), genesis=load_genesis(Path("genesis.json"))).manifest.ledger.height``.

    genesis: of the network it must be of, None to take the backup's own. since: a checkpoint that is known to be true,
    which its ledger must contain. into: an empty folder that its files are written to on the way, flushed; None only to
    look: the ledger alone is then unpacked, where temporary files go, for as long as it takes.

    Raises Unavailable ``node.backup_missing``; InvalidInput ``node.backup_truncated``, ``node.backup_malformed``,
    ``node.backup_name_unknown``, ``node.backup_manifest_invalid``; IntegrityError ``node.backup_altered``,
    ``node.backup_signature_invalid``, ``node.backup_network_foreign``, ``node.backup_key_foreign``; what
    ``decode_genesis`` and ``follow_member`` refuse.
    """
    try:
        file = open_regular(path)
    except OSError as error:
        raise Unavailable("node.backup_missing", f"{path} cannot be read: {error.strerror}") from error
    with file, ExitStack() as stack:
        keeps_all = into is not None
        folder = into or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="shuiqiao-backup-")))
        return _Reading(file, into=folder, keeps_all=keeps_all, expected=genesis, since=since, progress=progress).run()


@dataclass(slots=True)
class _Reading:
    """One backup being read."""

    file: IO[bytes]
    into: Path
    keeps_all: bool
    expected: bytes | None
    since: Checkpoint | None
    progress: Progress
    genesis: bytes = b""
    suite: CipherSuite = field(default_factory=lambda: get_suite("intl"))
    entries: dict[str, FileEntry] = field(default_factory=dict[str, FileEntry])
    manifest: bytes = b""
    signature: bytes = b""

    def run(self) -> VerifiedBackup:
        """Write the ledger, or all files, into the folder, and hold them against each other."""
        total = os.fstat(self.file.fileno()).st_size
        for found in read_archive(self.file):
            self.progress("read the backup 读取备份", self.file.tell(), total)
            self._take(found)
        if not self.signature:
            raise InvalidInput("node.backup_malformed", "the backup has no signed manifest")
        manifest = decode_manifest(self.manifest)
        self._verify(manifest)
        self._verify_member(manifest)
        return VerifiedBackup(manifest=manifest, genesis=self.genesis, bytes_read=total)

    def _take(self, found: ArchiveFile) -> None:
        if self.signature or (self.manifest and found.name != SIGNATURE):
            raise InvalidInput("node.backup_malformed", f"{found.name!r} follows the signed manifest")
        if not self.genesis:
            self._take_genesis(found)
        elif found.name == MANIFEST:
            self.manifest = found.read(most=MAX_MANIFEST_BYTES)
        elif found.name == SIGNATURE and self.manifest:
            self.signature = found.read(most=SIGNATURE_BYTES)
        else:
            self._take_file(found)

    def _take_genesis(self, found: ArchiveFile) -> None:
        if found.name != GENESIS:
            raise InvalidInput("node.backup_malformed", f"it begins with {found.name!r}, not with the genesis")
        data = found.read(most=MAX_GENESIS_BYTES)
        if self.expected is not None and data != self.expected:
            raise IntegrityError(
                "node.backup_network_foreign",
                f"the backup is of network {network_id(data).hex()}, the genesis named is of "
                f"{network_id(self.expected).hex()}",
            )
        self.suite = get_suite(decode_genesis(data).suite)
        self.genesis = data
        self._keep(found.name, FileEntry(name=found.name, size=len(data), digest=self.suite.digest(data).hex()))
        if self.keeps_all:
            with self._created(found.name) as file:
                file.write(data)
                flush_file(file)

    def _take_file(self, found: ArchiveFile) -> None:
        require_name(found.name)
        if found.name in self.entries:
            raise InvalidInput("node.backup_malformed", f"{found.name} stands in it twice")
        digest = self.suite.new_hash()
        if self.keeps_all or found.name.startswith(f"{_LEDGER}/"):
            with self._created(found.name) as file:
                for chunk in found.chunks():
                    digest.update(chunk)
                    file.write(chunk)
                if self.keeps_all:
                    flush_file(file)
        else:
            for chunk in found.chunks():
                digest.update(chunk)
        self._keep(found.name, FileEntry(name=found.name, size=found.size, digest=digest.hexdigest()))

    def _keep(self, name: str, entry: FileEntry) -> None:
        if len(self.entries) >= MAX_FILES:
            raise InvalidInput("node.backup_malformed", f"it has more than {MAX_FILES} files")
        self.entries[name] = entry

    def _created(self, name: str) -> IO[bytes]:
        path = self.into / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _OWNER_ONLY)
        return os.fdopen(descriptor, "wb")

    def _verify(self, manifest: BackupManifest) -> None:
        """Hold what was read against the manifest, and the manifest against the genesis and its own signature."""
        agreed = decode_genesis(self.genesis)
        said = (manifest.network, manifest.suite, manifest.engine)
        known = (network_id(self.genesis).hex(), agreed.suite.value, agreed.engine.value)
        if said != known:
            raise IntegrityError("node.backup_altered", f"the manifest says {said}, its genesis {known}")
        key = bytes.fromhex(manifest.key)
        verify_manifest(self.manifest, signature=self.signature, key=key, suite=self.suite)
        listed, found = [*manifest.files], [*self.entries.values()]
        if listed != found:
            differing = next(
                (one.name for one, other in zip(found, listed, strict=False) if one != other), "the list of files"
            )
            raise IntegrityError(
                "node.backup_altered",
                f"{differing} is not what the signed manifest says",
                next_step="take another copy of the backup, or another backup",
            )

    def _verify_member(self, manifest: BackupManifest) -> None:
        """Return if the key that signed is the one that the ledger in the backup has for its member."""
        ledger = LedgerFolder(folder=self.into / _LEDGER, parameters=network_parameters(self.genesis))
        found = follow_member(
            ledger,
            MemberId(manifest.member),
            moment=manifest.ledger,
            notes=ledger.stored_notes(),
            since=self.since,
            progress=self.progress,
        )
        known = None if found is None else (found.role, found.signing.hex())
        if known != (manifest.role, manifest.key):
            raise IntegrityError(
                "node.backup_key_foreign",
                f"the manifest is signed as {manifest.role} {manifest.member} by key {manifest.key}; the ledger in the "
                f"backup has {'no such member' if known is None else ' with key '.join(known)} at its block "
                f"{manifest.ledger.height}",
                next_step="do not use it: it was altered, or made with a key that no longer counts",
            )

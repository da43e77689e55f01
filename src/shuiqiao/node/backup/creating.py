"""Takes a backup of a home, whether its node runs or not.

In this order, so that nothing in the backup speaks of what is not in it: settings and keys, the database, the vault,
and last the ledger, which database and vault refer to. Of the ledger only checkpoint and segments are taken: index and
state are made again from them when it is restored. Every block is read and its chain checked on the way.

A key may be replaced while a backup is taken, and a copy of the ledger may be behind the keys of its home. So the
ledger that was copied says which keys must be in the backup and which of them signs it, not the file that happens to be
in use.

Left out: the state of what a validator has signed (an old one could sign twice), CometBFT's own blocks (its peers have
them), and, unless it is asked for, the passphrase that ``init`` wrote beside the home.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Generator, Iterable, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from shuiqiao.base.durable import new_file
from shuiqiao.base.environment import DATABASE_URL_VARIABLE
from shuiqiao.base.errors import Conflict, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.files import open_regular, read_regular
from shuiqiao.base.ids import MemberId
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.crypto.keyfile import MAX_FILE_BYTES, load_key_file
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.cometbft.consensus.app_state import CONSENSUS_FOLDER
from shuiqiao.ledger.engine.cometbft.consensus.carried_notes import CARRIED_FOLDER
from shuiqiao.ledger.engine.cometbft.consensus.heights import newest_height
from shuiqiao.ledger.log.entry import decode_entry
from shuiqiao.ledger.replay.check import LogCheck, check_log, preview_recovery
from shuiqiao.ledger.replay.members import LATEST_NOTE
from shuiqiao.ledger.store.index import IndexReader
from shuiqiao.ledger.store.lmdb_file import IndexUnreadable
from shuiqiao.ledger.store.lock import is_held
from shuiqiao.members.model import KeyPurpose
from shuiqiao.node.backup.archive import (
    GENESIS,
    MANIFEST,
    MAX_FILES,
    PASSPHRASE,
    SIGNATURE,
    ArchiveWriter,
    BackupManifest,
    FileEntry,
    LedgerMoment,
    encode_manifest,
    require_name,
    signed_message,
)
from shuiqiao.node.backup.reading import follow_member
from shuiqiao.node.home.database import reading_uri
from shuiqiao.node.home.keys import (
    DATA_FILE,
    KeyFiles,
    all_key_files,
    kept_passphrase_file,
    load_keys,
    public_key_of,
    require_first_keys,
)
from shuiqiao.node.home.ledger_folder import LedgerFolder
from shuiqiao.node.home.settings import Home, NodeSettings, load_genesis, load_settings, require_member
from shuiqiao.vault.storage.index import BATCHES_FOLDER, INDEX_FOLDER, QUARANTINE_FOLDER, copy_index, require_unerased

if TYPE_CHECKING:
    from shuiqiao.base.clock import Clock
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.ledger.store.index import Head
    from shuiqiao.node.backup.archive import FileEntry
    from shuiqiao.node.backup.reading import LedgerMember
    from shuiqiao.node.home.settings import Home


def signing_key_in(
    copied: Iterable[FileEntry], home: Home, *, member: LedgerMember | None, passphrase: bytes, suite: CipherSuite
) -> SigningKey:
    """Return the signing key that a ledger names for its member, once the files of both its keys were copied.

    copied: what is in the backup. Raises Unavailable ``node.backup_member_unknown`` where the ledger does not know the
    member yet; Conflict ``node.backup_keys_replaced``; what ``load_key_file`` raises.
    """
    if member is None:
        raise Unavailable(
            "node.backup_member_unknown",
            f"the ledger in {home.ledger} does not say yet that this home's member was admitted",
            next_step="start its node, let it catch up, then back it up",
        )
    copied_digests = {entry.digest for entry in copied if entry.name.startswith("keys/")}
    seeds: dict[KeyPurpose, bytes] = {}
    for purpose, named in ((KeyPurpose.SEALING, member.sealing), (KeyPurpose.SIGNING, member.signing)):
        files = (file for file in KeyFiles(home, purpose=purpose).held if _digest(file, suite) in copied_digests)
        found = (load_key_file(file, passphrase=passphrase).seed for file in files)
        seed = next((seed for seed in found if public_key_of(seed, purpose=purpose, suite=suite) == named), None)
        if seed is None:
            raise Conflict(
                "node.backup_keys_replaced",
                f"the ledger names the {purpose} key {named.hex()}, and no key file that was copied holds it",
                next_step="if a key was replaced meanwhile, take the backup again; else these are not this home's keys",
            )
        seeds[purpose] = seed
    return suite.signing_key_from_seed(seeds[KeyPurpose.SIGNING])


def _digest(path: Path, suite: CipherSuite) -> str:
    try:
        return suite.digest(read_regular(path, max_bytes=MAX_FILE_BYTES)).hex()
    except FileNotFoundError:
        # It took another name since it was listed.
        return ""


COMET_FILES: Final = ("config.toml", "genesis.json", "node_key.json", "priv_validator_key.json")
MAX_SMALL_BYTES: Final = 1 << 20
"""Longest settings, key or note file that is taken, in bytes."""

_POSITION: Final = f"{CONSENSUS_FOLDER}/position"
_LEDGER_EXTRAS: Final = ("alarms/fork",)
"""What of a ledger folder is neither segments nor made of them, beside its notes and the position of consensus."""

_BATCH_SUFFIXES: Final = (".leaves", ".parquet")


def create_backup(
    home: Home,
    target: Path,
    *,
    passphrase: bytes,
    clock: Clock,
    with_passphrase: bool = False,
    without_database: bool = False,
    progress: Progress = no_progress,
) -> BackupManifest:
    """Write a backup of a home into a new file, which is there whole or not at all, and return what it says.

    E.g. ``create_backup(home, Path("b.tar"), passphrase=find_passphrase(home), clock=SystemClock())``.
    with_passphrase: the file beside the home too. without_database: it is kept by other means.

    Raises Conflict ``node.backup_exists``, ``vault.erasure_pending``; InvalidInput ``node.backup_database_foreign``;
    IntegrityError ``node.backup_source_changed``, ``ledger.segment_damaged`` and what opening the ledger would raise;
    what ``load_settings``, ``load_keys``, ``require_member``, ``require_first_keys``, ``follow_member`` and
    ``signing_key_in`` raise; OSError of the disk.
    """
    settings, genesis = load_settings(home), load_genesis(home.genesis)
    require_member(settings, genesis)
    require_first_keys(home, settings, genesis, load_keys(home, passphrase=passphrase))
    is_database = not without_database and _has_own_database(home)
    suite = get_suite(settings.suite)
    with _new_file(target) as (file, scratch):
        writer = ArchiveWriter(file, new_hash=suite.new_hash)
        writer.add(GENESIS, genesis)
        _add_settings_and_keys(writer, home, settings=settings, with_passphrase=with_passphrase)
        if is_database:
            progress("copy the database 备份数据库", 0, None)
            _add_database(writer, home, scratch=scratch)
        # After the database, for it may be made meanwhile, and never changes once it is.
        _add_small(writer, home, [f"keys/{DATA_FILE}"])
        if home.vault.is_dir():
            _add_vault(writer, home.vault, scratch=scratch, progress=progress)
        ledger = LedgerFolder.of_home(home)
        moment, notes = _add_ledger(writer, ledger, progress=progress)
        found = follow_member(ledger, MemberId(settings.member), moment=moment, notes=notes, progress=progress)
        key = signing_key_in(writer.entries, home, member=found, passphrase=passphrase, suite=suite)
        manifest = BackupManifest(
            network=ledger.parameters.network.hex(),
            suite=settings.suite.value,
            engine=settings.engine,
            member=settings.member,
            role=settings.role.value,
            key=key.public_key.hex(),
            created_ms=clock.now_ms(),
            validator=settings.is_validator,
            passphrase=any(entry.name == PASSPHRASE for entry in writer.entries),
            database=is_database,
            ledger=moment,
            files=_entries(writer),
        )
        data = encode_manifest(manifest)
        writer.add(MANIFEST, data)
        writer.add(SIGNATURE, key.sign(signed_message(data, suite=suite)))
        writer.end()
    return manifest


def _has_own_database(home: Home) -> bool:
    """Return whether there is a SQLite file of the home; raises InvalidInput ``node.backup_database_foreign``."""
    if os.environ.get(DATABASE_URL_VARIABLE):
        raise InvalidInput(
            "node.backup_database_foreign",
            f"{DATABASE_URL_VARIABLE} names a database that is not in this home",
            next_step="back it up with pg_dump first, then this home with --without-database",
        )
    return home.database.is_file()


@contextmanager
def _new_file(target: Path) -> Generator[tuple[IO[bytes], Path]]:
    """Give a file that takes its name only when it is whole and on the medium, and a folder for what is on the way."""
    if target.exists():
        raise Conflict("node.backup_exists", f"{target} is there already", next_step="name a new file with --to")
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.unfinished-", dir=target.parent) as name:
        with new_file(target, draft=Path(name) / "backup") as file:
            yield file, Path(name)


def _add_settings_and_keys(writer: ArchiveWriter, home: Home, *, settings: NodeSettings, with_passphrase: bool) -> None:
    names = ["node.toml", *(f"keys/{path.name}" for path in all_key_files(home))]
    if settings.is_validator:
        names += [f"cometbft/config/{name}" for name in COMET_FILES]
    _add_small(writer, home, names)
    kept = kept_passphrase_file(home) if with_passphrase else None
    if kept is not None and (data := _small(kept)) is not None:
        writer.add(PASSPHRASE, data)


def _add_small(writer: ArchiveWriter, home: Home, names: Iterable[str]) -> None:
    for name in names:
        if (data := _small(home.folder / name)) is not None:
            writer.add(name, data)


def _small(path: Path) -> bytes | None:
    """Return a small file's bytes, None where there is none."""
    try:
        data = read_regular(path, max_bytes=MAX_SMALL_BYTES)
    except FileNotFoundError:
        return None
    if len(data) > MAX_SMALL_BYTES:
        raise InvalidInput("node.backup_file_large", f"{path} has more than {MAX_SMALL_BYTES} bytes")
    return data


def _add_database(writer: ArchiveWriter, home: Home, *, scratch: Path) -> None:
    """Copy the database as of one committed moment; others may write to it meanwhile."""
    copy = scratch / "database"
    try:
        with (
            closing(sqlite3.connect(reading_uri(home.database), uri=True)) as source,
            closing(sqlite3.connect(copy)) as target,
        ):
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")
    except sqlite3.Error as error:
        raise Unavailable("node.backup_database_unreadable", f"{home.database} cannot be copied: {error}") from error
    with copy.open("rb") as file:
        writer.add_file(home.database.name, file)
    copy.unlink()


def _add_vault(writer: ArchiveWriter, vault: Path, *, scratch: Path, progress: Progress) -> None:
    if not (vault / INDEX_FOLDER / "data.mdb").is_file():
        return
    copy = scratch / "index"
    copy.mkdir()
    rows = copy_index(vault, copy)
    with (copy / "data.mdb").open("rb") as file:
        writer.add_file(f"vault/{INDEX_FOLDER}/data.mdb", file)
    shutil.rmtree(copy)
    for done, row in enumerate(rows):
        progress("copy the vault 备份保险库", done, len(rows))
        for suffix in _BATCH_SUFFIXES:
            name = f"{BATCHES_FOLDER}/{row.id.hex()}{suffix}"
            with open_regular(vault / name) as file:
                writer.add_file(f"vault/{name}", file)
    for report in sorted((vault / QUARANTINE_FOLDER).glob("*.ndjson")):
        name = f"vault/{QUARANTINE_FOLDER}/{report.name}"
        require_name(name)
        with open_regular(report) as file:
            writer.add_file(name, file)
    require_unerased(vault, rows)


def _add_ledger(
    writer: ArchiveWriter, ledger: LedgerFolder, *, progress: Progress
) -> tuple[LedgerMoment, Mapping[str, bytes]]:
    """Copy checkpoint, notes and blocks; return how far they go, and what of it is notes."""
    # What is told before the blocks comes before them: the segments then hold at least what it says.
    notes = ledger.stored_notes()
    extras = {name: data for name in _extras(ledger.folder) if (data := _small(ledger.folder / name)) is not None}
    position = newest_height(extras.get(_POSITION, b""))
    most = None if position is None else position.block
    log = _checked(ledger, notes.get(LATEST_NOTE), most=most, progress=progress)
    for name, data in {**extras, **notes}.items():
        writer.add(f"ledger/{name}", data)
    files = ledger.files()
    for segment in files.segments():
        if segment > log.tail.segment:
            break
        progress("copy the ledger 备份账本", segment, log.tail.height)
        size = log.tail.offset if segment == log.tail.segment else None
        with open_regular(files.path(segment)) as file:
            writer.add_file(f"ledger/segments/{files.path(segment).name}", file, size=size)
    moment = LedgerMoment(
        height=log.tail.height,
        size=log.tail.size,
        root=log.root.hex(),
        state_root=None if log.last is None else decode_entry(log.last.entry).state_root.hex(),
    )
    return moment, notes


def _extras(folder: Path) -> list[str]:
    """Return what of a ledger folder is neither segments nor notes that the ledger is followed by."""
    carried = sorted(path.name for path in (folder / CONSENSUS_FOLDER / CARRIED_FOLDER).glob("[0-9]*"))
    closing = [f"{CONSENSUS_FOLDER}/{CARRIED_FOLDER}/{name}" for name in carried if name.isdigit()]
    return [*_LEDGER_EXTRAS, _POSITION, *closing]


def _checked(ledger: LedgerFolder, note: bytes | None, *, most: int | None, progress: Progress) -> LogCheck:
    """Read every block up to the last one that was acknowledged; raises where the ledger would not open.

    most: height of the block that the consensus position leads to, None where there is no such position.
    """
    is_running = is_held(ledger.folder)
    with ExitStack() as stack:
        index: IndexReader | None = None
        with contextlib.suppress(IndexUnreadable):
            index = stack.enter_context(IndexReader(ledger.index))
        if is_running and index is None:
            raise Unavailable(
                "node.backup_index_unreadable",
                f"the node runs, and its index in {ledger.index} cannot be read beside it",
                next_step="stop the node, or look into its disk, then try again",
            )
        head = None if index is None else index.head
        checkpoint = None if note is None else ledger.checkpoint_of(note, index=index)
        if not is_running:
            preview_recovery(
                ledger.files(),
                head=head,
                acknowledged_size=0 if checkpoint is None else checkpoint.size,
                hash_name=ledger.hash_name,
            )
        log = check_log(
            ledger.files(),
            nodes=None if index is None else index.view,
            head=head,
            until_height=_last_height(head, most=most) if is_running else None,
            checkpoint=checkpoint,
            hash_name=ledger.hash_name,
            progress=progress,
            step="check the ledger 核对账本",
        )
    _require_sound(ledger, log, wanted=_last_height(head, most=most))
    return log


def _last_height(head: Head | None, *, most: int | None) -> int:
    """Return the last block to take: one that was acknowledged, and none that the position does not know of."""
    height = 0 if head is None else head.height
    return height if most is None else min(height, most)


def _require_sound(ledger: LedgerFolder, log: LogCheck, *, wanted: int) -> None:
    damaged: ShuiqiaoError | None = None
    if log.broken is not None and log.tail.height < wanted:
        damaged = ledger.files().damaged(log.broken)
    elif log.contradicted is not None or log.difference is not None or not log.reached:
        damaged = IntegrityError(
            "node.backup_ledger_unsound",
            f"the ledger in {ledger.folder} is not the one that its index and its checkpoint say",
            next_step="shuiqiao doctor names what differs; back it up when that is mended",
        )
    if damaged is not None:
        raise damaged


def _entries(writer: ArchiveWriter) -> tuple[FileEntry, ...]:
    if len(writer.entries) > MAX_FILES:
        raise InvalidInput("node.backup_files_many", f"{len(writer.entries)} files where a backup holds {MAX_FILES}")
    return tuple(writer.entries)

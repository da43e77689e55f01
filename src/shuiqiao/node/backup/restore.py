"""Makes a home again from a backup, and proves it before it gets its name.

Everything happens in ``.NAME.restoring`` beside the new home, which says what it is; only when every byte, every block
executed again, every batch and the database hold is it renamed. A restore that was interrupted leaves that folder or
nothing.

A validator's home is restored as one that only follows: the file in which CometBFT keeps what it signed last is made
anew, at a height that no network reaches, so that it signs nothing. An operator who knows that the old node is gone for
good names the height from which on it may sign again. CometBFT's own blocks are in no backup, and it starts with none;
so does the ledger beside it, and the one of the backup is set aside to be compared with. CometBFT reads names without
regard to case and has settings that start another application, open ports or name other files, so its configuration is
not searched for what is forbidden: it is written anew as this product writes it [ABCI-30].
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Generator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final

import msgspec

from shuiqiao.base.clock import SystemClock
from shuiqiao.base.durable import move_into_place, replace_file, sync_folder
from shuiqiao.base.errors import Conflict, IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.ids import system_entropy
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.crypto.file_cipher import FileCipher
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.cometbft.comet.home import (
    NEVER_SIGNS,
    config_text,
    read_comet_file,
    read_comet_genesis,
    read_settings,
    write_configuration,
    write_last_signed,
)
from shuiqiao.ledger.engine.ledger_copy import LedgerCopy
from shuiqiao.ledger.engine.port import CopySettings
from shuiqiao.node.backup.reading import VerifiedBackup, verify_backup
from shuiqiao.node.home.keys import (
    DATA_FILE,
    former_passphrase_file,
    keep_passphrase,
    load_seed,
    named_passphrase,
    read_passphrase,
)
from shuiqiao.node.home.ledger_folder import LedgerFolder
from shuiqiao.node.home.making import comet_genesis_of
from shuiqiao.node.home.settings import Home, NodeSettings, encode_settings, load_genesis, load_settings, require_member
from shuiqiao.standards.publication import load_catalogue
from shuiqiao.vault.contract import LedgerLeaves, batch_lookup
from shuiqiao.vault.inspection import FileCheck
from shuiqiao.vault.service import Vault

if TYPE_CHECKING:
    from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
    from shuiqiao.ledger.model import StateView

NOTICE: Final = "UNFINISHED.txt"
NOTICE_TEXT: Final = (
    "A restore is going on here, or was interrupted. This is not a home: nothing in it was verified.\n"
    "Remove this folder and restore again. 恢复未完成,此目录不是机构主目录;请删除后重新恢复。\n"
)
_PATHS: Final = ("tiles_folder", "backup_folder", "invoice_trust_folder", "tls_certificate", "tls_key")
"""The settings that name a place on the disk."""

RESTORED_LEDGER: Final = "ledger.restored"
"""Where the ledger of a validator's backup is put: its own comes again from its peers, block by block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was restored. batches, records: of the vault, recomputed. signs_above: None if it signs nothing.

    unread: why the records of encrypted batches were not recomputed, which needs the passphrase; empty if they were.
    """

    backup: VerifiedBackup
    batches: int
    records: int
    unread: str
    signs_above: int | None
    settings_left_out: Mapping[str, str]
    """The settings of its node.toml that named a place outside the home, which the restored one does not have."""
    configuration: RenewedConfiguration | None
    """How a validator's CometBFT was configured anew; None for another member."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewedConfiguration:
    """What a configuration that was written anew says of others, and the lines of the stored one that it lacks."""

    p2p: str
    peers: tuple[str, ...]
    left_out: tuple[str, ...]


def restore_backup(
    path: Path,
    home: Home,
    *,
    genesis: Path | None = None,
    since: Checkpoint | None = None,
    signs_above: int | None = None,
    progress: Progress = no_progress,
) -> Restored:
    """Restore a backup into a new or empty folder.

    E.g. ``restore_backup(Path("my-bank.tar"), Home(Path("my-bank")), genesis=Path("genesis.json"))``.

    genesis: of the network it must be of. since: a checkpoint that its ledger must contain. signs_above: for a
    validator whose old node is gone for good, the CometBFT height up to which it signs nothing, at least as high as the
    network is now. Raises Conflict ``node.home_exists``, ``node.restore_unfinished``; InvalidInput
    ``node.backup_not_validator``; Unavailable ``node.disk_short``; IntegrityError ``node.restore_contradicted``; what
    ``verify_backup`` and opening the ledger raise.
    """
    _require_room(path, home)
    expected = None if genesis is None else load_genesis(genesis)
    work = _work_folder(home)
    try:
        made = Home(work / "home")
        made.folder.mkdir(mode=0o700)
        backup = verify_backup(path, genesis=expected, since=since, into=made.folder, progress=progress)
        if signs_above is not None and not backup.manifest.validator:
            raise InvalidInput("node.backup_not_validator", f"{backup.manifest.member} is no validator in this backup")
        settings = load_settings(made)
        require_member(settings, backup.genesis)
        if settings.member != backup.manifest.member:
            raise IntegrityError(
                "node.restore_contradicted",
                f"the backup is signed by {backup.manifest.member}, and the home in it is that of {settings.member}",
            )
        left_out = _keep_inside(made, settings)
        configuration = _renewed(made, backup, settings)
        check = _verify_content(made, backup, beside=home, progress=progress)
        if backup.manifest.validator:
            _make_follow(made, signs_above=signs_above)
        with _passphrase_beside(made, home):
            _flush_folders(made.folder)
            # The one step that makes it a home.
            move_into_place(made.folder, home.folder.absolute())
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Restored(
        backup=backup,
        batches=check.batches,
        records=check.records,
        unread=f"{check.unread} batches: {check.why}" if check.unread else "",
        signs_above=signs_above if backup.manifest.validator else None,
        settings_left_out=left_out,
        configuration=configuration,
    )


@contextmanager
def _passphrase_beside(made: Home, home: Home) -> Generator[None]:
    """Put the passphrase of a backup that has it beside the home to be; where that is not made, it goes again.

    Raises Conflict ``node.home_exists`` where another one lies there: something else needs it.
    """
    inside = former_passphrase_file(made)
    if not inside.is_file():
        yield
        return
    passphrase = read_passphrase(inside)
    is_there = home.passphrase.is_file()
    if not is_there:
        keep_passphrase(home, passphrase)
    elif read_passphrase(home.passphrase) != passphrase:
        raise Conflict(
            "node.home_exists",
            f"{home.passphrase} holds another passphrase than the backup",
            next_step="move it away, or restore into a folder of another name",
        )
    inside.unlink()
    try:
        yield
    except BaseException:
        if not is_there:
            home.passphrase.unlink()
        raise


def _keep_inside(home: Home, settings: NodeSettings) -> dict[str, str]:
    """Let no restored home write to or read from a place outside it; return the settings that were left out.

    A backup may come from anybody who has a member's key, and who restores it may be a stronger user.
    """
    outside = {name: value for name in _PATHS if _leads_out(value := getattr(settings, name))}
    if outside:
        inside = msgspec.structs.replace(settings, **dict.fromkeys(outside, ""))
        replace_file(home.settings, encode_settings(inside).encode(), mode=None)
    return outside


def _renewed(home: Home, backup: VerifiedBackup, settings: NodeSettings) -> RenewedConfiguration | None:
    """Write a validator's configuration anew, None for another member [ABCI-30].

    Manifest, node.toml and files must agree on what it is: else CometBFT would start over keys and a configuration that
    nothing looked at. Raises IntegrityError ``node.restore_contradicted``, what ``renew_configuration`` raises.
    """
    is_validator = backup.manifest.validator
    if len({is_validator, settings.is_validator, home.cometbft.exists()}) > 1:
        raise IntegrityError(
            "node.restore_contradicted",
            f"the manifest says that {settings.member} is {'a' if is_validator else 'no'} validator; node.toml, or the "
            "files of CometBFT in the backup, say otherwise",
        )
    if not is_validator:
        return None
    return renew_configuration(home.cometbft, settings=settings, genesis=backup.genesis)


def renew_configuration(comet: Path, *, settings: NodeSettings, genesis: bytes) -> RenewedConfiguration:
    """Write a restored node's configuration and CometBFT genesis anew; its address and its peers stay [ABCI-30].

    comet: the CometBFT folder. Raises IntegrityError ``ledger.comet_home_damaged``, and ``node.restore_contradicted``
    where the CometBFT genesis is not that of the network.
    """
    own = read_settings(comet, moniker=settings.member)
    document = comet_genesis_of(genesis)
    if _comparable(read_comet_genesis(comet)) != _comparable(document):
        raise IntegrityError(
            "node.restore_contradicted",
            "cometbft/config/genesis.json in the backup is not the one that the network's genesis makes",
        )
    stored = read_comet_file(comet / "config" / "config.toml").decode()
    write_configuration(comet, settings=own, genesis=document)
    written = set(config_text(own).splitlines())
    left_out = tuple(line for line in stored.splitlines() if line.strip() and line not in written)
    return RenewedConfiguration(p2p=own.p2p, peers=tuple(own.peers), left_out=left_out)


def _comparable(document: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return a genesis document in a form that differs wherever the document does, but for the order of validators."""
    found = document.get("validators")
    validators = found if isinstance(found, list) else []
    rest = {**document, "validators": len(validators)}
    return json.dumps(rest, sort_keys=True), sorted(json.dumps(each, sort_keys=True) for each in validators)


def _leads_out(text: str) -> bool:
    path = PurePosixPath(text)
    return path.is_absolute() or ".." in path.parts or text.startswith("~")


def _require_room(path: Path, home: Home) -> None:
    folder = home.folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict("node.home_exists", f"{folder} holds files already", next_step="name a new or an empty folder")
    parent = folder.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    needed, free = path.stat().st_size if path.is_file() else 0, shutil.disk_usage(parent).free
    if needed > free:
        raise Unavailable("node.disk_short", f"the backup has {needed} bytes, {parent} has {free} free")


def _work_folder(home: Home) -> Path:
    work = home.folder.absolute().parent / f".{home.folder.absolute().name}.restoring"
    try:
        work.mkdir(mode=0o700)
    except FileExistsError as error:
        raise Conflict(
            "node.restore_unfinished",
            f"{work} is there: another restore goes on, or one was interrupted",
            next_step=f"if none goes on, remove {work} and restore again",
        ) from error
    replace_file(work / NOTICE, NOTICE_TEXT.encode(), mode=None)
    return work


def _verify_content(home: Home, backup: VerifiedBackup, *, beside: Home, progress: Progress) -> FileCheck:
    """Execute the ledger again, recompute the vault against it, check the database."""
    ledger = LedgerFolder.of_home(home)
    progress("execute the ledger again 重新执行账本", 0, None)
    copy = LedgerCopy(home.ledger, machine=ledger.machine(), settings=CopySettings())
    try:
        head, state = copy.view()
        moment = backup.manifest.ledger
        said = (moment.height, moment.size, moment.root)
        if (head.height, head.size, head.root.hex()) != said or moment.state_root not in {None, head.state_root.hex()}:
            raise IntegrityError(
                "node.restore_contradicted",
                f"executing the ledger gives block {head.height}, {head.size} leaves, root {head.root.hex()}, state "
                f"{head.state_root.hex()}; the manifest says {said}, state {moment.state_root}",
            )
        found = _verify_vault(home, state, beside=beside, progress=progress)
    finally:
        copy.close()
    if home.database.exists():
        _verify_database(home.database)
        _verify_data_key(home)
    return found


def _verify_vault(home: Home, state: StateView, *, beside: Home, progress: Progress) -> FileCheck:
    if not home.vault.is_dir():
        return FileCheck(batches=0, records=0, problems=())
    progress("recompute the vault 重算保险库", 0, None)
    settings = load_settings(home)
    vault = Vault(
        home.vault,
        suite=get_suite(settings.suite),
        catalogue=load_catalogue(),
        clock=SystemClock(),
        entropy=system_entropy,
        cipher=FileCipher(
            lambda: load_seed(home.keys / DATA_FILE, purpose="data", passphrase=_passphrase(home, beside))[0],
            suite=settings.suite,
            entropy=system_entropy,
        ),
    )
    try:
        owner = settings.member
        check = vault.verify_files(batch_of=batch_lookup(state, owner), status_of=LedgerLeaves(state, owner))
    finally:
        vault.close()
    if check.problems:
        first = check.problems[0]
        raise IntegrityError(
            "node.restore_contradicted",
            f"the vault is not the one that the ledger anchors: {first.code} at {first.place}: {first.message}",
        )
    if check.unread and not (home.keys / DATA_FILE).is_file():
        raise IntegrityError(
            "node.restore_contradicted", f"the vault is encrypted, and keys/{DATA_FILE} is not in the backup"
        )
    return check


def _passphrase(made: Home, home: Home) -> bytes:
    """Return the passphrase of the keys in a backup, if it is at hand; nobody is asked for it."""
    found = named_passphrase()
    kept = next((path for path in (former_passphrase_file(made), home.passphrase) if path.is_file()), None)
    if found is None and kept is None:
        raise Unavailable("node.passphrase_missing", "the passphrase of the keys in the backup is not at hand")
    return read_passphrase(kept) if found is None and kept is not None else found or b""


_ACTING: Final = (
    "SELECT type || ' ' || name FROM sqlite_master WHERE NOT (type = 'table' AND sql LIKE 'create table %' "
    "OR type = 'index' AND (sql IS NULL OR sql LIKE 'create index %' OR sql LIKE 'create unique index %')) LIMIT 1"
)
"""What is neither a table nor an index of a SQLite file, by its own text: triggers, views, virtual tables."""


def _verify_database(path: Path) -> None:
    try:
        with closing(sqlite3.connect(path)) as connection:
            # A database that came from elsewhere may hold more than rows: what acts by itself is none of ours.
            acting = connection.execute(_ACTING).fetchone()
            found = connection.execute("PRAGMA quick_check").fetchone() if acting is None else acting
    except sqlite3.Error as error:
        found = (str(error),)
    if found != ("ok",):
        raise IntegrityError("node.restore_contradicted", f"the database does not hold: {found}")


def _verify_data_key(home: Home) -> None:
    """Return unless the database is encrypted under a data key that the backup lacks: nobody could read it."""
    with closing(sqlite3.connect(home.database)) as connection:
        is_there = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'node_data_key'").fetchone()
        is_encrypted = is_there and connection.execute("SELECT 1 FROM node_data_key").fetchone()
    if is_encrypted and not (home.keys / DATA_FILE).is_file():
        raise IntegrityError(
            "node.restore_contradicted", f"the database is encrypted, and keys/{DATA_FILE} is not in the backup"
        )


def _make_follow(home: Home, *, signs_above: int | None) -> None:
    """Let a validator begin from nothing, and sign nothing that the old node may have signed."""
    home.ledger.rename(home.folder / RESTORED_LEDGER)
    write_last_signed(home.cometbft, height=NEVER_SIGNS if signs_above is None else signs_above)


def _flush_folders(folder: Path) -> None:
    for path, _, _ in os.walk(folder):
        sync_folder(Path(path))

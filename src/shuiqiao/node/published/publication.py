"""Publishing a home's log as static files: once from its folder, or again and again while its node runs.

``ledger/tiles`` writes the files, tiles first and the checkpoint last, so a web server may serve the folder meanwhile.
Here is which checkpoint goes out: the newest that carries every signature its epoch asks for. No key is needed: what
is published was signed before. Other files in the folder stay as they are.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from shuiqiao.base.errors import InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.files import make_shared_folder
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.base.visible import visible_line
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.note import cosigners_of
from shuiqiao.ledger.store.index import IndexReader
from shuiqiao.ledger.store.lmdb_file import IndexUnreadable
from shuiqiao.ledger.store.log_reading import read_blocks
from shuiqiao.ledger.tiles.publishing import LogSource, TileWriter, log_source, require_same_log
from shuiqiao.ledger.tiles.reader import FolderTiles, PublishedLog
from shuiqiao.node.home.settings import load_settings

if TYPE_CHECKING:
    from pathlib import Path

    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
    from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
    from shuiqiao.ledger.model import NetworkParameters
    from shuiqiao.node.home.ledger_folder import LedgerFolder
    from shuiqiao.node.home.settings import Home, NodeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What was published. before: leaves that were there before. files: tiles written. cosigners: in order."""

    checkpoint: Checkpoint
    before: int
    files: int
    cosigners: tuple[str, ...]


def publish_log(ledger: LedgerFolder, folder: Path, *, progress: Progress = no_progress) -> Publication:
    """Publish the log in a home to a folder, after reading everything that was published there before.

    E.g. ``publish_log(LedgerFolder.of_home(Home(Path("my-bank"))), Path("/var/www/log"))``.

    It works beside a running node and on a stopped one. Raises Unavailable ``node.tiles_checkpoint_missing``,
    ``node.tiles_index_unreadable``; what ``TileWriter`` and ``PublishedLog.verify_all`` raise; OSError of the disk.
    """
    with _log_of(ledger) as (source, policy):
        return _publish(source, folder, policy=policy, suite=get_suite(ledger.parameters.suite), progress=progress)


def publish_open_log(engine: PublicEngine, folder: Path, *, suite: CipherSuite) -> Publication:
    """Publish the log of an engine that is open, after reading everything that was published there before.

    E.g. ``publish_open_log(institution.engine, folder, suite=institution.suite)``.

    Raises Unavailable ``node.tiles_checkpoint_missing``, else as ``publish_log``.
    """
    source = engine.public_log()
    if source is None:
        raise _checkpoint_missing(folder)
    policy = engine.policy_at(source.checkpoint.size)
    return _publish(source, folder, policy=policy, suite=suite, progress=no_progress)


def _publish(
    source: LogSource, folder: Path, *, policy: CheckpointPolicy, suite: CipherSuite, progress: Progress
) -> Publication:
    make_shared_folder(folder)
    writer = TileWriter(folder, hash_name=suite.hash_name)
    before = writer.published()
    if before is not None:
        progress("check what was published 核对已发布文件", 0, before.size)
        writer.require_extension(source.checkpoint, source.reader)
        PublishedLog(FolderTiles(folder), checkpoint=before, suite=suite).verify_all()
    progress("publish the log 发布日志", 0 if before is None else before.size, source.checkpoint.size)
    files = writer.publish(source.checkpoint, reader=source.reader, leaves=source.leaves)
    return Publication(
        checkpoint=source.checkpoint,
        before=0 if before is None else before.size,
        files=files,
        cosigners=cosigners_of(source.checkpoint.note, policy=policy),
    )


def published_checkpoint(folder: Path, *, parameters: NetworkParameters) -> Checkpoint | None:
    """Return the checkpoint up to which a folder has a network's log, None where nothing was published there.

    Raises InvalidInput ``ledger.tile_foreign``, IntegrityError ``ledger.checkpoint_malformed``.
    """
    found = TileWriter(folder, hash_name=get_suite(parameters.suite).hash_name).published()
    if found is not None:
        require_same_log(found, origin=parameters.origin, folder=folder)
    return found


def _checkpoint_missing(folder: Path) -> Unavailable:
    return Unavailable(
        "node.tiles_checkpoint_missing",
        f"no checkpoint in {folder} carries all signatures that it needs",
        next_step="start the node with its witnesses or validators, then try again",
        retry_after_s=1.0,
    )


def describe_published(ledger: LedgerFolder, folder: Path) -> str:
    """Return in words how far a folder has been published to; raises as ``published_checkpoint``."""
    found = published_checkpoint(folder, parameters=ledger.parameters)
    if found is None:
        return f"nothing was published to {folder} yet"
    return f"{found.size} leaves are published in {folder}"


@contextmanager
def _log_of(ledger: LedgerFolder) -> Generator[tuple[LogSource, CheckpointPolicy]]:
    """Give the log at the newest stored note that counts, and the policy by which it does."""
    # The notes before the index: that then covers at least what they say.
    notes = ledger.stored_notes()
    try:
        index = IndexReader(ledger.index)
    except IndexUnreadable as error:
        raise Unavailable(
            "node.tiles_index_unreadable",
            f"the ledger's index cannot be used: {error}",
            next_step="shuiqiao doctor says why; a home without blocks has nothing to publish",
        ) from error
    with index:
        trail = ledger.trail(index)
        found = ledger.confirmed(notes, index=index, trail=trail)
        if found is None:
            raise _checkpoint_missing(ledger.folder)
        files, view, height = ledger.files(), index.view, index.head.height
        source = log_source(
            found,
            blocks=lambda first: read_blocks(files, view, from_height=first, last_height=height),
            snapshot=view,
        )
        yield source, trail.policy_at(found.size)


@runtime_checkable
class PublicEngine(Protocol):
    """An engine whose log can be published while it is open."""

    def public_log(self) -> LogSource | None:
        """Return the log at its newest checkpoint with all its signatures; None before the first."""
        ...

    def policy_at(self, size: int, /) -> CheckpointPolicy:
        """Return the policy that judges the checkpoint of a size."""
        ...


class TilePublisher:
    """Publishes an open log to a folder from time to time, and when it is closed."""

    def __init__(
        self,
        folder: Path,
        *,
        engine: PublicEngine,
        hash_name: str,
        interval_s: float,
    ) -> None:
        """Begin. What went wrong is told on standard error, whenever that changes.

        It is tried again: a full disk, a folder that is of another log. Nothing stops for it.
        """
        self._folder = folder
        self._engine = engine
        self._hash_name = hash_name
        self._interval_s = interval_s
        self._told = ""
        self._closing = threading.Event()
        self._publishing = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="tile-publisher", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closing.wait(self._interval_s):
            self._publish()

    def publish(self) -> int | None:
        """Publish what is new, and return how many leaves are public; None before the first checkpoint that counts.

        Raises what ``TileWriter`` raises; OSError of the disk.
        """
        with self._publishing:
            source = self._engine.public_log()
            if source is None:
                return None
            make_shared_folder(self._folder)
            writer = TileWriter(self._folder, hash_name=self._hash_name)
            before = writer.published()
            if before is None or before.note != source.checkpoint.note:
                writer.publish(source.checkpoint, reader=source.reader, leaves=source.leaves)
            return source.checkpoint.size

    def _publish(self) -> None:
        trouble = ""
        try:
            self.publish()
        except (ShuiqiaoError, OSError) as error:
            trouble = f"the log was not published to {self._folder}: {error}"
        if trouble != self._told and trouble:
            sys.stderr.write(f"warning: {visible_line(trouble)}\n")
        self._told = trouble

    def close(self) -> None:
        """Publish what is new once more, and stop; the engine is closed after it."""
        if not self._closing.is_set():
            self._closing.set()
            self._thread.join()
            self._publish()


def publishing_folder(home: Home) -> Path:
    """Return the folder that a home's settings name.

    Raises InvalidInput ``node.tiles_folder_unnamed``, and what ``load_settings`` raises.
    """
    folder = home.tiles(load_settings(home))
    if folder is None:
        raise InvalidInput(
            "node.tiles_folder_unnamed",
            f"{home.settings} names no tiles_folder",
            next_step="add --out FOLDER, or set tiles_folder in node.toml",
        )
    return folder


def open_publisher(home: Home, *, settings: NodeSettings, engine: object) -> TilePublisher | None:
    """Return a publisher of an open ledger, None where none is wanted or the ledger is kept by another process."""
    folder = home.tiles(settings)
    if folder is None or not isinstance(engine, PublicEngine):
        return None
    return TilePublisher(
        folder,
        engine=engine,
        hash_name=get_suite(settings.suite).hash_name,
        interval_s=settings.tiles_interval_s,
    )

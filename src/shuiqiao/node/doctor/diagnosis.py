"""What ``doctor`` looks at in a home, in order: settings, genesis, keys, disk, ledger, vault index, database, others.

Nothing is changed while anything is wrong. Where all is well and no process has the ledger open, an institution that
orders its own transactions is opened as a start would, which finishes what an interrupted run left.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from shuiqiao.base.clock import SystemClock, iso_from_ms
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.ledger.clock_check import require_not_behind
from shuiqiao.ledger.store.lmdb_file import DATA_FILE
from shuiqiao.ledger.store.lock import is_held
from shuiqiao.members.genesis import network_id
from shuiqiao.members.model import Role
from shuiqiao.members.roster import followers_of
from shuiqiao.node.doctor.comparison import compare_copies
from shuiqiao.node.doctor.database import look_at_database
from shuiqiao.node.doctor.finding import Finding, finding_of_error
from shuiqiao.node.doctor.ledger import LedgerDoctor
from shuiqiao.node.doctor.validator import look_at_validator
from shuiqiao.node.home.database import open_database_to_read
from shuiqiao.node.home.keys import find_passphrase, load_keys, require_first_keys
from shuiqiao.node.home.ledger_folder import LedgerFolder
from shuiqiao.node.home.modes import readable_by_others
from shuiqiao.node.home.settings import (
    Home,
    NodeSettings,
    database_of,
    load_genesis,
    load_settings,
    require_member,
)
from shuiqiao.node.home_reader import read_home
from shuiqiao.node.institution import Institution
from shuiqiao.node.peers.delivery import DeliveryStore, waiting_in_words
from shuiqiao.node.pending import describe_refused, settle_and_describe
from shuiqiao.node.published.publication import describe_published
from shuiqiao.vault.storage.index import INDEX_FOLDER, RecordIndex

_SHOWN_PATHS = 3

LEAST_FREE_MB = 500
"""Free disk space below which a home is warned about, in megabytes."""


def diagnose_home(
    home: Home, *, against: Path | None = None, is_replay_asked: bool = False, progress: Progress = no_progress
) -> Iterator[Finding]:
    """Examine a home and tell what was found; nothing of it is raised.

    E.g. ``[finding.code for finding in diagnose_home(home) if not finding.ok]`` for what is wrong.
    against: another home, or a copy of a ledger folder, to compare with. is_replay_asked: execute the log again.
    """
    before = [*_settings_and_keys(home)]
    yield from before
    if not all(finding.ok for finding in before if finding.what in {"settings", "genesis"}):
        return
    settings, ledger = load_settings(home), LedgerFolder.of_home(home)
    with tempfile.TemporaryDirectory(prefix="shuiqiao-doctor-") as scratch:
        doctor = LedgerDoctor(ledger, scratch=Path(scratch) / "own", progress=progress, is_replay_asked=is_replay_asked)
        found = doctor.findings()
        found += _clock(doctor)
        if (home.vault / INDEX_FOLDER / DATA_FILE).is_file():
            found.append(_look("vault index", lambda: _vault_index(home.vault / INDEX_FOLDER)))
        yield from found
        if (tiles := home.tiles(settings)) is not None:
            found.append(_look("tiles", lambda: describe_published(ledger, tiles)))
            yield found[-1]
        found.append(look_at_database(home))
        yield found[-1]
        if found[-1].ok and (waiting := _deliveries(home)) is not None:
            yield waiting
        if settings.role is Role.TAX_BUREAU or (settings.role is Role.BANK and settings.secure_listen):
            yield _look("secure scores", lambda: _secure_scores(settings))
        yield from _no_door_for_members(home, settings)
        if settings.is_validator:
            looked = [*look_at_validator(home, settings=settings)]
            found += looked
            yield from looked
        if against is not None:
            yield from compare_copies(ledger, against, scratch=Path(scratch), progress=progress)
    if not os.access(home.folder, os.W_OK):
        yield Finding(what="ledger and vault", says=f"{home.folder} cannot be written: it is not opened")
    elif all(finding.ok for finding in (*before, *found)) and _is_opened_alone(settings, ledger):
        yield _look("ledger and vault", lambda: _opened(home))


def _clock(doctor: LedgerDoctor) -> list[Finding]:
    """Hold this machine's clock against the newest block [LEDGER-TIME-1]."""
    if doctor.newest_block_ms is None:
        return []
    now_ms = SystemClock().now_ms()
    try:
        require_not_behind(now_ms=now_ms, block_ms=doctor.newest_block_ms)
    except ShuiqiaoError as error:
        return [finding_of_error("clock", error)]
    says = f"shows {iso_from_ms(now_ms)}, not before the newest block of {iso_from_ms(doctor.newest_block_ms)}"
    return [Finding(what="clock", says=says, says_zh="本机时钟不早于最新区块")]


def _settings_and_keys(home: Home) -> Iterator[Finding]:
    yield _look("settings", lambda: _settings(home))
    yield _look("genesis", lambda: _genesis(home))
    yield _look("keys", lambda: _keys(home))
    if home.folder.is_dir():
        yield _modes(home)
        yield _disk(home.folder)


def _settings(home: Home) -> str:
    settings = load_settings(home)
    return f"{settings.member}, a {settings.role}, suite {settings.suite}, engine {settings.engine}"


def _genesis(home: Home) -> str:
    genesis = load_genesis(home.genesis)
    require_member(load_settings(home), genesis)
    return f"network {network_id(genesis).hex()}"


def _keys(home: Home) -> str:
    keys = load_keys(home, passphrase=find_passphrase(home))
    require_first_keys(home, load_settings(home), load_genesis(home.genesis), keys)
    return f"signing key {keys.signing.key_id.hex()[:16]} opens"


def _secure_scores(settings: NodeSettings) -> str:
    """Tell whether banks may compute together with this member; raises Unavailable ``privacy.extra_missing``."""
    if not settings.secure_listen:
        return "none: secure_listen is not set, so no bank computes with this bureau"
    from shuiqiao.privacy.secure.library import require_library

    require_library()
    return f"banks are waited for at {settings.secure_listen}, the first of {settings.secure_workers} ports"


def _modes(home: Home) -> Finding:
    """Look where others than the owner are let into the home [STORE-28]; what is published is for them anyway."""
    readable = readable_by_others(home)
    if not readable:
        return Finding(what="privacy", says="files and folders are their owner's alone", says_zh="仅所有者可读")
    return Finding(
        what="privacy",
        code="node.home_readable",
        says=f"{len(readable)} files and folders let in others than their owner, e.g. "
        + ", ".join(f"{path} (mode {stat.S_IMODE(path.lstat().st_mode):o})" for path in readable[:_SHOWN_PATHS]),
        next_step=f"chmod -R go= {shlex.quote(str(home.folder))}",
        says_zh=f"有 {len(readable)} 个文件或目录可被所有者以外的人访问",
    )


def _disk(folder: Path) -> Finding:
    free_mb = shutil.disk_usage(folder).free // 2**20
    if free_mb >= LEAST_FREE_MB:
        return Finding(what="disk", says=f"{free_mb:,} MB free, {LEAST_FREE_MB} needed")
    return Finding(
        what="disk",
        code="node.disk_nearly_full",
        says=f"{free_mb:,} MB free, {LEAST_FREE_MB} needed",
        next_step="free disk space before the next ingest",
        says_zh=f"磁盘仅余 {free_mb:,} MB;请先清理空间",
    )


def _deliveries(home: Home) -> Finding | None:
    """Tell what waits for which member and why, None where nothing does; others being away is no fault of a home."""
    what = "deliveries"
    try:
        with open_database_to_read(database_of(home)) as database:
            waiting = DeliveryStore(database).waiting()
    except ShuiqiaoError as error:
        # Tables of an earlier release are brought up to date when the home is opened; nothing is wrong with them.
        return None if error.code == "node.database_older" else finding_of_error(what, error)
    if not waiting:
        return None
    return Finding(what=what, says=waiting_in_words(waiting), says_zh="有消息待其他成员接收")


def _no_door_for_members(home: Home, settings: NodeSettings) -> Iterator[Finding]:
    """Tell where members follow a writer whose node.toml has its server listen for none; serve may be told another."""
    if settings.peer_listen:
        return
    try:
        with read_home(home) as reader:
            others = followers_of(reader.engine.state(), reader.member)
    except ShuiqiaoError:
        # What is wrong with the ledger is told where that is looked at.
        return
    if others:
        says = f"{others} other members follow this writer, and node.toml names no peer_listen where they reach it"
        yield Finding(what="address for members", says=says, says_zh="node.toml 未设成员间地址,其他成员无法跟随")


def _vault_index(folder: Path) -> str:
    """Look at the index, which another process may have open: opening it looks at every page [STORE-29]."""
    index = RecordIndex(folder, reads_only=True)
    try:
        with index.read() as view:
            return f"{sum(1 for _ in view.batches())} batches, no page of it is damaged"
    finally:
        index.close()


def _is_opened_alone(settings: NodeSettings, ledger: LedgerFolder) -> bool:
    """Whether this home can be opened by itself: followers need their writer, validators their CometBFT node."""
    is_writer = settings.engine == "embedded" and settings.member == ledger.parameters.operator
    return is_writer and not is_held(ledger.folder)


def _opened(home: Home) -> str:
    """Open the node as a start would: recovery, index, unfinished work."""
    with Institution.open(home) as institution:
        height, _ = institution.engine.last_block()
        says = f"height {height}, log size {institution.engine.checkpoint().size}"
        if institution.settings.role is Role.TAX_BUREAU:
            finished = institution.vault.recover(institution.outbox)
            says += f", vault opens, {finished} unfinished batches anchored now" if finished else ", vault opens"
        return "; ".join(filter(None, (says, settle_and_describe(institution), describe_refused(institution))))


def _look(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what=what, says=look())
    except ShuiqiaoError as error:
        return finding_of_error(what, error)

"""What is wrong with a ledger on disk, in words: found by looking, never by opening it, so that no evidence changes.

In order: who has it open, an alarm, the stored checkpoint, the index, what opening would say, every byte of the log
against its Merkle tree, the state against the root in the last block entry. Where that last comparison fails, or where
it is asked for, the log is executed again from the genesis, and the first state key that differs is named.
It works on a node that is down and beside one that runs: of a running one it sees one committed block.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb

from shuiqiao.base.clock import iso_from_ms
from shuiqiao.base.durable import PosixDisk
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.progress import Progress
from shuiqiao.ledger.engine.follower import ALARMS_FOLDER
from shuiqiao.ledger.engine.ledger_copy import open_scratch
from shuiqiao.ledger.log.entry import decode_entry
from shuiqiao.ledger.replay.check import LogCheck, check_log, look_at_opening
from shuiqiao.ledger.replay.differences import compare_states
from shuiqiao.ledger.replay.map_check import MapFault, check_state_map
from shuiqiao.ledger.replay.reexecution import EntryDifference, reexecute
from shuiqiao.ledger.store.alarm_file import AlarmFile, ForkKind
from shuiqiao.ledger.store.frame import EMPTY_TAIL, Broken, Damage, StoredFrame
from shuiqiao.ledger.store.index import INDEX_FOLDER, IndexReader
from shuiqiao.ledger.store.index_record import IndexUnreadable
from shuiqiao.ledger.store.lock import holder, is_held
from shuiqiao.node.doctor.finding import Finding, finding_of_error
from shuiqiao.node.doctor.ledger_findings import (
    behind,
    contradicted,
    index_damaged,
    leaf_differs,
    map_damaged,
    state_compared,
)
from shuiqiao.node.home.ledger_place import LedgerPlace, no_checkpoint

if TYPE_CHECKING:
    from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
    from shuiqiao.ledger.store.segments import SegmentFiles


_FORK_WORDS = {
    ForkKind.SHRUNK: ("signed a shorter log than before", "签署的日志比此前更短"),
    ForkKind.ROOT_DIFFERS: ("signed another root for the same blocks", "对同样的区块签署了另一个根"),
    ForkKind.NOT_AN_EXTENSION: ("signed a log that does not begin with this one", "签署的日志不以本副本为前缀"),
    ForkKind.BLOCK_INVALID: ("signed a block that breaks the rules", "签署了违反规则的区块"),
}


class LedgerDoctor:
    """Looks at one ledger folder."""

    def __init__(self, place: LedgerPlace, *, scratch: Path, progress: Progress, is_replay_asked: bool) -> None:
        """scratch: an empty folder for what is executed again. is_replay_asked: execute it whatever is found."""
        self._place = place
        self._scratch = scratch
        self._progress = progress
        self._is_replay_asked = is_replay_asked
        self._files: SegmentFiles = place.files()
        self.newest_block_ms: int | None = None
        """The time of the newest block that the index has, once ``findings`` looked."""

    def findings(self) -> Iterator[Finding]:
        """Look, and tell what was found, in the order in which it should be read."""
        place = self._place
        is_running = is_held(place.folder)
        yield from self._alarm()
        if not place.has_blocks and not place.index.is_dir():
            yield Finding(what="log", says="no block was written yet", says_zh="尚无区块")
            return
        yield self._lock(is_running=is_running)
        # The checkpoint before the index: what is committed meanwhile then only makes the index longer.
        with ExitStack() as stack:
            note, unread = self._note()
            yield from unread
            index, found = self._index(stack)
            yield from found
            checkpoint, found = (None, []) if note is None else self._checkpoint(note, index)
            yield from found
            if not is_running:
                yield from self._opening(index, checkpoint)
            try:
                log = self._check_log(index, checkpoint, is_running=is_running)
                yield from self._log(log, checkpoint)
                yield from self._state(index, log)
            except lmdb.Error as error:
                yield index_damaged(str(error))
            except ShuiqiaoError as error:
                yield finding_of_error("ledger", error)

    # What lies beside the log

    def _lock(self, *, is_running: bool) -> Finding:
        if not is_running:
            return Finding(what="lock", says="no process has the ledger open", says_zh="账本未被任何进程打开")
        process = holder(self._place.folder)
        who = "a process" if process is None else f"process {process}"
        return Finding(
            what="lock",
            says=f"{who} has the ledger open: it is looked at beside it, as of its last committed block",
            says_zh=f"进程 {process or ''} 正打开账本;以其最近提交的区块为准在旁查看",
        )

    def _alarm(self) -> Iterator[Finding]:
        try:
            alarm = AlarmFile(self._place.folder / ALARMS_FOLDER, disk=PosixDisk()).load()
        except ShuiqiaoError as error:
            yield finding_of_error("fork alarm", error)
            return
        if alarm is None:
            return
        words, words_zh = _FORK_WORDS[alarm.kind]
        yield Finding(
            what="fork alarm",
            code="ledger.fork_detected",
            says=f"on {iso_from_ms(alarm.found_ms)} this node stopped following: the operator {words} "
            f"({alarm.detail}); this copy has {alarm.own_size} leaves under root {alarm.own_root.hex()}",
            next_step=f"keep {self._place.folder / ALARMS_FOLDER / 'fork'} as evidence and show it to the other "
            "members and the regulator; do not delete it to go on",
            says_zh=f"发现分叉,本节点已停止跟随:记账者{words_zh};证据在 alarms/fork,请保存并出示给其他成员与监管",
        )

    def _note(self) -> tuple[bytes | None, list[Finding]]:
        try:
            note = self._place.newest_note()
        except ShuiqiaoError as error:
            return None, [finding_of_error("checkpoint", error)]
        return note, [] if note is not None else [finding_of_error("checkpoint", no_checkpoint(self._place.folder))]

    def _checkpoint(self, note: bytes, index: IndexReader | None) -> tuple[Checkpoint | None, list[Finding]]:
        try:
            found = self._place.checkpoint_of(note, index=index)
        except ShuiqiaoError as error:
            return None, [finding_of_error("checkpoint", error)]
        says = f"signed at {found.size} leaves, root {found.root.hex()}"
        if index is None:
            says += "; whose signature it must bear is known once there is an index"
        return found, [Finding(what="checkpoint", says=says, says_zh=f"已签名检查点:{found.size} 个叶子")]

    def _index(self, stack: ExitStack) -> tuple[IndexReader | None, list[Finding]]:
        if not (self._place.index / "data.mdb").is_file():
            says = "there is none: the next start makes it again from the segments"
            return None, [Finding(what="index", says=says, says_zh="索引不存在;下次启动时由区块文件重建")]
        try:
            index = stack.enter_context(IndexReader(self._place.index))
        except (IndexUnreadable, ShuiqiaoError) as error:
            return None, [index_damaged(str(error))]
        head = index.head
        self.newest_block_ms = head.time_ms
        says = f"covers height {head.height}, {head.size} leaves"
        return index, [Finding(what="index", says=says, says_zh=f"索引到高度 {head.height}")]

    def _opening(self, index: IndexReader | None, checkpoint: Checkpoint | None) -> Iterator[Finding]:
        """Say what a start would meet in the files."""
        try:
            found = look_at_opening(
                self._place.files(),
                head=None if index is None else index.head,
                acknowledged_size=0 if checkpoint is None else checkpoint.size,
                hash_name=self._place.hash_name,
            )
        except ShuiqiaoError as error:
            yield finding_of_error("opening", error)
            return
        if found.cut is not None:
            says = (
                f"the last start ended in the midst of a block: {found.cut.removed_bytes} bytes at the end of "
                f"{found.cut.path.name} that nobody was told of will be cut off"
            )
            yield Finding(what="opening", says=says, says_zh="末尾有一个未写完且未确认的区块,启动时会截去")
        elif found.replayed:
            says = f"a start will index {found.replayed} blocks that a crash left unindexed"
            yield Finding(what="opening", says=says, says_zh=f"启动时将补建 {found.replayed} 个区块的索引")

    # The log

    def _check_log(self, index: IndexReader | None, checkpoint: Checkpoint | None, *, is_running: bool) -> LogCheck:
        head = None if index is None else index.head
        return check_log(
            self._files,
            nodes=None if index is None else index.view,
            head=head,
            until_height=head.height if head is not None and is_running else None,
            checkpoint=checkpoint,
            hash_name=self._place.hash_name,
            on_height=lambda height: self._progress("read the log 读取日志", height, None),
        )

    def _log(self, log: LogCheck, checkpoint: Checkpoint | None) -> Iterator[Finding]:
        is_sound = True
        if log.broken is not None:
            is_sound = False
            yield finding_of_error("log", self._files.damaged(log.broken))
        if log.difference is not None:
            is_sound = False
            yield leaf_differs(log.difference)
        if log.contradicted is not None and checkpoint is not None:
            is_sound = False
            yield contradicted(checkpoint, log.contradicted)
        if not log.reached and log.broken is None and checkpoint is not None:
            is_sound = False
            yield behind(checkpoint, log)
        if is_sound:
            says = f"{log.tail.height} blocks, {log.tail.size} leaves, root {log.root.hex()}: every byte as written"
            yield Finding(what="log", says=says, says_zh=f"{log.tail.height} 个区块,逐字节完好")

    # The state

    def _state(self, index: IndexReader | None, log: LogCheck) -> Iterator[Finding]:
        if index is None:
            if self._is_replay_asked:
                yield from self._replayed(None, self._reexecute(until_height=None))
            return
        if log.tail.height < index.head.height and not self._is_replay_asked:
            says = f"the log can be read up to height {log.tail.height}, the index covers {index.head.height}"
            yield Finding(what="state", says=f"{says}: the state is not compared", says_zh="无法核对状态")
            return
        fault = self._map_fault(index)
        if fault is None and not self._is_replay_asked and log.difference is None and log.contradicted is None:
            says = f"the stored state is the one whose root stands in block {index.head.height}"
            yield Finding(what="state", says=says, says_zh=f"状态与区块 {index.head.height} 所记的根一致")
            return
        found = list(self._replayed(index, self._reexecute(until_height=index.head.height)))
        yield from found
        if fault is not None and all(finding.ok for finding in found):
            # Every value is right, so it is the map beside the values that was damaged.
            yield map_damaged(fault)

    def _map_fault(self, index: IndexReader) -> MapFault | None:
        head = index.head
        root = head.state_root
        if head.height and self._files.path(head.segment).is_file():
            frame = self._files.frame_at(head.segment, head.offset)
            if isinstance(frame, Damage):
                return MapFault(key="", says=f"block {head.height} cannot be read: {frame.reason}")
            root = decode_entry(frame.entry).state_root
        return check_state_map(
            index.view,
            root=root,
            hash_name=self._place.hash_name,
            progress=self._progress,
        )

    def _reexecute(self, *, until_height: int | None) -> Reexecuted:
        return reexecute_log(self._place, self._scratch, until_height=until_height, progress=self._progress)

    def _replayed(self, index: IndexReader | None, replay: Reexecuted) -> Iterator[Finding]:
        """Tell where a log executed again parts from what is stored."""
        if replay.first is not None:
            first = replay.first
            yield Finding(
                what="blocks",
                code="node.block_differs",
                says=f"block {first.height} (entry at leaf {first.leaf}) is the first that does not follow by the "
                f"rules: it says state root {first.recorded.hex() or 'nothing'}, executing it gives "
                f"{first.computed.hex() or 'no block'}: {first.reason}",
                next_step="another version wrote it, or it was altered: compare with another copy (--against)",
                says_zh=f"区块 {first.height} 是第一个与重新执行结果不符的区块(叶子 {first.leaf})",
            )
        if index is None:
            return
        if replay.height != index.head.height:
            says = f"the log can be executed up to height {replay.height}, the index covers {index.head.height}"
            yield Finding(what="state", says=f"{says}: states are not compared", says_zh="无法比较状态")
            return
        with IndexReader(replay.index) as scratch:
            found = compare_states(
                index.view.state_items(),
                scratch.view.state_items(),
                hash_name=self._place.hash_name,
                progress=self._progress,
            )
        yield state_compared(found, height=replay.height)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reexecuted:
    """What a log gives. index: of the scratch state. first: the first block that does not follow, None if all do."""

    index: Path
    height: int
    first: EntryDifference | None


def reexecute_log(place: LedgerPlace, scratch: Path, *, until_height: int | None, progress: Progress) -> Reexecuted:
    """Execute a ledger's log again up to a height, or as far as it can be read; open the index with ``IndexReader``."""
    copy = open_scratch(scratch, machine=place.machine())
    try:
        first = reexecute(
            _frames(place.files(), until_height=until_height),
            copy,
            on_height=lambda height: progress("execute the log again 重新执行日志", height, None),
        )
        return Reexecuted(index=scratch / INDEX_FOLDER, height=copy.head.height, first=first)
    finally:
        copy.close()


def _frames(files: SegmentFiles, *, until_height: int | None) -> Iterator[StoredFrame]:
    for found in files.scan(EMPTY_TAIL) if until_height != 0 else ():
        if isinstance(found, Broken):
            return
        yield found
        if found.frame.height == until_height:
            return

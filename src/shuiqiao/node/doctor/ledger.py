"""Says what is wrong with a ledger on disk: found by reading it, never by opening it, so that no evidence changes.

In order: who has it open, an alarm, the stored checkpoint, the index, what opening would say, every byte of the log
against its Merkle tree, the state against the root in the last block entry. Where that last comparison fails, or where
it is asked for, the log is executed again from the genesis, and the first state key that differs is named.
It works on a node that is down and beside one that runs: of a running one it sees one committed block.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb

from shuiqiao.base.clock import iso_from_ms
from shuiqiao.base.durable import SYSTEM_DISK
from shuiqiao.base.errors import IntegrityError, ShuiqiaoError
from shuiqiao.base.progress import Progress
from shuiqiao.ledger.engine.follower import ALARMS_FOLDER
from shuiqiao.ledger.log.entry import decode_entry
from shuiqiao.ledger.replay.check import LogCheck, check_log, preview_recovery
from shuiqiao.ledger.replay.differences import MapFault, check_state_map, compare_states
from shuiqiao.ledger.replay.replay import EntryDifference
from shuiqiao.ledger.store.alarm_file import AlarmFile, ForkKind
from shuiqiao.ledger.store.frame import Damage
from shuiqiao.ledger.store.index import IndexReader
from shuiqiao.ledger.store.lmdb_file import IndexUnreadable
from shuiqiao.ledger.store.lock import holder, is_held
from shuiqiao.node.doctor.finding import Finding, finding_of_error
from shuiqiao.node.home.ledger_folder import LedgerFolder, no_checkpoint, reexecute_log

if TYPE_CHECKING:
    from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
    from shuiqiao.ledger.replay.check import LogCheck, NodeDifference
    from shuiqiao.ledger.replay.differences import StateComparison
    from shuiqiao.ledger.store.segments import SegmentFiles


_FORK_WORDS = {
    ForkKind.SHRUNK: ("signed a shorter log than before", "签署的日志比此前更短"),
    ForkKind.ROOT_DIFFERS: ("signed another root for the same blocks", "对同样的区块签署了另一个根"),
    ForkKind.NOT_AN_EXTENSION: ("signed a log that does not begin with this one", "签署的日志不以本副本为前缀"),
    ForkKind.BLOCK_INVALID: ("signed a block that breaks the rules", "签署了违反规则的区块"),
}


class LedgerDoctor:
    """Looks at one ledger folder."""

    def __init__(self, ledger: LedgerFolder, *, scratch: Path, progress: Progress, is_replay_asked: bool) -> None:
        """scratch: an empty folder for what is executed again. is_replay_asked: execute it whatever is found."""
        self._ledger = ledger
        self._scratch = scratch
        self._progress = progress
        self._is_replay_asked = is_replay_asked
        self._files: SegmentFiles = ledger.files()
        self._found: list[Finding] = []
        self.newest_block_ms: int | None = None
        """The time of the newest block that the index has, once ``findings`` looked."""

    def findings(self) -> list[Finding]:
        """Look, and return what was found, in the order in which it should be read."""
        ledger = self._ledger
        is_running = is_held(ledger.folder)
        self._alarm()
        if not ledger.has_blocks and not ledger.index.is_dir():
            self._tell("log", "no block was written yet", "尚无区块")
            return self._found
        self._lock(is_running=is_running)
        # The checkpoint before the index: what is committed meanwhile then only makes the index longer.
        with ExitStack() as stack:
            note = self._note()
            index = self._index(stack)
            if note == b"":
                self._no_note(index)
            checkpoint = self._checkpoint(note, index) if note else None
            if not is_running:
                self._opening(index, checkpoint)
            try:
                log = self._check_log(index, checkpoint, is_running=is_running)
                self._log(log, checkpoint)
                self._state(index, log)
            except lmdb.Error as error:
                self._found.append(_index_damaged(str(error)))
            except ShuiqiaoError as error:
                self._fail("ledger", error)
        return self._found

    def _tell(self, what: str, says: str, says_zh: str) -> None:
        self._found.append(Finding(what=what, says=says, says_zh=says_zh))

    def _fail(self, what: str, error: ShuiqiaoError) -> None:
        self._found.append(finding_of_error(what, error))

    # What lies beside the log

    def _lock(self, *, is_running: bool) -> None:
        if not is_running:
            self._tell("lock", "no process has the ledger open", "账本未被任何进程打开")
            return
        process = holder(self._ledger.folder)
        who = "a process" if process is None else f"process {process}"
        self._tell(
            "lock",
            f"{who} has the ledger open: it is looked at beside it, as of its last committed block",
            f"进程 {process or ''} 正打开账本;以其最近提交的区块为准在旁查看",
        )

    def _alarm(self) -> None:
        try:
            alarm = AlarmFile(self._ledger.folder / ALARMS_FOLDER, disk=SYSTEM_DISK).load()
        except ShuiqiaoError as error:
            self._fail("fork alarm", error)
            return
        if alarm is None:
            return
        words, words_zh = _FORK_WORDS[alarm.kind]
        self._found.append(
            Finding(
                what="fork alarm",
                code="ledger.fork_detected",
                says=f"on {iso_from_ms(alarm.found_ms)} this node stopped following: the operator {words} "
                f"({alarm.detail}); this copy has {alarm.own_size} leaves under root {alarm.own_root.hex()}",
                next_step=f"keep {self._ledger.folder / ALARMS_FOLDER / 'fork'} as evidence and show it to the other "
                "members and the regulator; do not delete it to go on",
                says_zh=f"发现分叉,本节点已停止跟随:记账者{words_zh};证据在 alarms/fork,请保存并出示给其他成员与监管",
            )
        )

    def _note(self) -> bytes | None:
        """Return the newest stored note, nothing where there is none, None where one cannot be read."""
        try:
            return self._ledger.newest_note() or b""
        except ShuiqiaoError as error:
            self._fail("checkpoint", error)
            return None

    def _no_note(self, index: IndexReader | None) -> None:
        """Tell a copy that never had a block from one that lost its checkpoint."""
        if self._ledger.has_blocks or index is None or index.head.height:
            self._fail("checkpoint", no_checkpoint(self._ledger.folder))
        else:
            says = "there is none and no block yet: nothing was written, or copied from the writer, so far"
            self._tell("checkpoint", says, "尚无区块与检查点:尚未写入,或尚未从记账者处复制")

    def _checkpoint(self, note: bytes, index: IndexReader | None) -> Checkpoint | None:
        try:
            found = self._ledger.checkpoint_of(note, index=index)
        except ShuiqiaoError as error:
            self._fail("checkpoint", error)
            return None
        says = f"signed at {found.size} leaves, root {found.root.hex()}"
        if index is None:
            says += "; whose signature it must bear is known once there is an index"
        self._tell("checkpoint", says, f"已签名检查点:{found.size} 个叶子")
        return found

    def _index(self, stack: ExitStack) -> IndexReader | None:
        if not (self._ledger.index / "data.mdb").is_file():
            says = "there is none: the next start makes it again from the segments"
            self._tell("index", says, "索引不存在;下次启动时由区块文件重建")
            return None
        try:
            index = stack.enter_context(IndexReader(self._ledger.index))
        except (IndexUnreadable, ShuiqiaoError) as error:
            self._found.append(_index_damaged(str(error)))
            return None
        head = index.head
        self.newest_block_ms = head.time_ms
        self._tell("index", f"covers height {head.height}, {head.size} leaves", f"索引到高度 {head.height}")
        return index

    def _opening(self, index: IndexReader | None, checkpoint: Checkpoint | None) -> None:
        """Say what a start would meet in the files."""
        try:
            found = preview_recovery(
                self._ledger.files(),
                head=None if index is None else index.head,
                acknowledged_size=0 if checkpoint is None else checkpoint.size,
                hash_name=self._ledger.hash_name,
            )
        except ShuiqiaoError as error:
            self._fail("opening", error)
            return
        if found.cut is not None:
            says = (
                f"the last start ended in the midst of a block: {found.cut.removed_bytes} bytes at the end of "
                f"{found.cut.path.name} that nobody was told of will be cut off"
            )
            self._tell("opening", says, "末尾有一个未写完且未确认的区块,启动时会截去")
        elif found.replayed:
            says = f"a start will index {found.replayed} blocks that a crash left unindexed"
            self._tell("opening", says, f"启动时将补建 {found.replayed} 个区块的索引")

    # The log

    def _check_log(self, index: IndexReader | None, checkpoint: Checkpoint | None, *, is_running: bool) -> LogCheck:
        head = None if index is None else index.head
        return check_log(
            self._files,
            nodes=None if index is None else index.view,
            head=head,
            until_height=head.height if head is not None and is_running else None,
            checkpoint=checkpoint,
            hash_name=self._ledger.hash_name,
            progress=self._progress,
        )

    def _log(self, log: LogCheck, checkpoint: Checkpoint | None) -> None:
        before = len(self._found)
        if log.broken is not None:
            self._fail("log", self._files.damaged(log.broken))
        if log.difference is not None:
            self._found.append(_leaf_differs(log.difference))
        if log.contradicted is not None and checkpoint is not None:
            self._found.append(_contradicted(checkpoint, log.contradicted))
        if not log.reached and log.broken is None and checkpoint is not None:
            self._found.append(_behind(checkpoint, log))
        if len(self._found) == before:
            says = f"{log.tail.height} blocks, {log.tail.size} leaves, root {log.root.hex()}: every byte as written"
            self._tell("log", says, f"{log.tail.height} 个区块,逐字节完好")

    # The state

    def _state(self, index: IndexReader | None, log: LogCheck) -> None:
        if index is None:
            if self._is_replay_asked:
                self._replay(None)
            return
        if log.tail.height < index.head.height and not self._is_replay_asked:
            says = f"the log can be read up to height {log.tail.height}, the index covers {index.head.height}"
            self._tell("state", f"{says}: the state is not compared", "无法核对状态")
            return
        fault = self._map_fault(index)
        if fault is None and not self._is_replay_asked and log.difference is None and log.contradicted is None:
            says = f"the stored state is the one whose root stands in block {index.head.height}"
            self._tell("state", says, f"状态与区块 {index.head.height} 所记的根一致")
            return
        before = len(self._found)
        self._replay(index)
        if fault is not None and all(finding.ok for finding in self._found[before:]):
            # Every value is right, so it is the map beside the values that was damaged.
            self._found.append(_map_damaged(fault))

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
            hash_name=self._ledger.hash_name,
            progress=self._progress,
        )

    def _replay(self, index: IndexReader | None) -> None:
        """Execute the log again, and tell where it parts from what is stored."""
        until_height = None if index is None else index.head.height
        replay = reexecute_log(self._ledger, self._scratch, until_height=until_height, progress=self._progress)
        if replay.first is not None:
            self._found.append(_block_differs(replay.first))
        if index is None:
            return
        if replay.height != index.head.height:
            says = f"the log can be executed up to height {replay.height}, the index covers {index.head.height}"
            self._tell("state", f"{says}: states are not compared", "无法比较状态")
            return
        with IndexReader(replay.index) as scratch:
            found = compare_states(
                index.view.state_items(),
                scratch.view.state_items(),
                hash_name=self._ledger.hash_name,
                progress=self._progress,
            )
        self._found.append(_state_compared(found, height=replay.height))


# What is wrong, in words


def _index_damaged(reason: str) -> Finding:
    return Finding(
        what="index",
        code="node.index_damaged",
        says=f"the index cannot be read: {reason}",
        next_step="check the disk, stop the node, move the index folder away and start: it is made again",
        says_zh="索引无法读取;请检查磁盘,停止节点后移走索引目录再启动,索引将由区块文件重建",
    )


def _leaf_differs(found: NodeDifference) -> Finding:
    what = f"leaf {found.index}" if found.level == 0 else f"the hash over subtree {found.index} at level {found.level}"
    stored = "is missing" if found.stored is None else f"is {found.stored.hex()}"
    return Finding(
        what="log",
        code="node.leaf_differs",
        says=f"{what}, in block {found.height}, is the first that differs from the Merkle tree: the stored hash "
        f"{stored}, the stored bytes give {found.computed.hex()}",
        next_step="segments or index were altered: compare with another member's copy (--against), then restore",
        says_zh=f"区块 {found.height} 中有第一个与默克尔树不符之处:"
        f"{'叶子' if found.level == 0 else '内部节点'} {found.index}",
    )


def _contradicted(checkpoint: Checkpoint, root: bytes) -> Finding:
    return finding_of_error(
        "checkpoint",
        IntegrityError(
            "ledger.checkpoint_contradicted",
            f"the signed checkpoint says root {checkpoint.root.hex()} at {checkpoint.size} leaves, the blocks give "
            f"{root.hex()}",
            next_step="the blocks or the checkpoint were altered: restore both from another member's copy",
        ),
    )


def _behind(checkpoint: Checkpoint, log: LogCheck) -> Finding:
    return Finding(
        what="log",
        code="ledger.segments_behind",
        says=f"the log ends at {log.tail.size} leaves, the signed checkpoint says {checkpoint.size}",
        next_step="restore the segment files from a backup or from another member's copy",
        says_zh=f"日志止于 {log.tail.size} 个叶子,少于已签名检查点的 {checkpoint.size};请从备份或其他成员处恢复",
    )


def _map_damaged(fault: MapFault) -> Finding:
    return Finding(
        what="state map",
        code="node.state_map_damaged",
        says=f"every value of the state is right, and its map is not: {fault.says}",
        next_step="stop the node, move the index folder away and start: it is made again from the segments",
        says_zh="状态的值无误,但状态映射的页面已损坏;请停止节点、移走索引目录后启动以重建",
    )


def _block_differs(first: EntryDifference) -> Finding:
    return Finding(
        what="blocks",
        code="node.block_differs",
        says=f"block {first.height} (entry at leaf {first.leaf}) is the first that does not follow by the "
        f"rules: it says state root {first.recorded.hex() or 'nothing'}, executing it gives "
        f"{first.computed.hex() or 'no block'}: {first.reason}",
        next_step="another version wrote it, or it was altered: compare with another copy (--against)",
        says_zh=f"区块 {first.height} 是第一个与重新执行结果不符的区块(叶子 {first.leaf})",
    )


def _state_compared(found: StateComparison, *, height: int) -> Finding:
    first = found.first
    if first is None:
        says = f"{found.compared} keys at height {height} are what executing the log again gives"
        return Finding(what="state", says=says, says_zh=f"高度 {height} 的 {found.compared} 个键与重新执行一致")
    return Finding(
        what="state",
        code="node.state_differs",
        says=f"{first.key} is the first of {found.differing} state keys that differ at height {height}: stored "
        f"{_digest(first.here)}, executing the log gives {_digest(first.there)}",
        next_step="stop the node, move the index folder away and start: the state is made again from the segments; "
        "then look for who or what altered it",
        says_zh=f"状态中第一个不符的键:{first.key}(共 {found.differing} 个);请停止节点、移走索引目录后启动以重建状态",
    )


def _digest(value: bytes | None) -> str:
    return "nothing" if value is None else f"a value of hash {value.hex()}"

"""What a look at a ledger came to, as findings in words: what differs, both digests, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.errors import IntegrityError
from shuiqiao.node.doctor.finding import Finding, finding_of_error

if TYPE_CHECKING:
    from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
    from shuiqiao.ledger.replay.check import LogCheck, NodeDifference
    from shuiqiao.ledger.replay.differences import StateComparison
    from shuiqiao.ledger.replay.map_check import MapFault


def index_damaged(reason: str) -> Finding:
    """Return the finding of an index that cannot be read."""
    return Finding(
        what="index",
        code="node.index_damaged",
        says=f"the index cannot be read: {reason}",
        next_step="check the disk, stop the node, move the index folder away and start: it is made again",
        says_zh="索引无法读取;请检查磁盘,停止节点后移走索引目录再启动,索引将由区块文件重建",
    )


def leaf_differs(found: NodeDifference) -> Finding:
    """Return the finding of a leaf that is not the one whose hash is stored."""
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


def contradicted(checkpoint: Checkpoint, root: bytes) -> Finding:
    """Return the finding of blocks that do not give the signed root."""
    return finding_of_error(
        "checkpoint",
        IntegrityError(
            "ledger.checkpoint_contradicted",
            f"the signed checkpoint says root {checkpoint.root.hex()} at {checkpoint.size} leaves, the blocks give "
            f"{root.hex()}",
            next_step="the blocks or the checkpoint were altered: restore both from another member's copy",
        ),
    )


def behind(checkpoint: Checkpoint, log: LogCheck) -> Finding:
    """Return the finding of a log that ends before the signed checkpoint."""
    return Finding(
        what="log",
        code="ledger.segments_behind",
        says=f"the log ends at {log.tail.size} leaves, the signed checkpoint says {checkpoint.size}",
        next_step="restore the segment files from a backup or from another member's copy",
        says_zh=f"日志止于 {log.tail.size} 个叶子,少于已签名检查点的 {checkpoint.size};请从备份或其他成员处恢复",
    )


def map_damaged(fault: MapFault) -> Finding:
    """Return the finding of a damaged page of the state map."""
    return Finding(
        what="state map",
        code="node.state_map_damaged",
        says=f"every value of the state is right, and its map is not: {fault.says}",
        next_step="stop the node, move the index folder away and start: it is made again from the segments",
        says_zh="状态的值无误,但状态映射的页面已损坏;请停止节点、移走索引目录后启动以重建",
    )


def state_compared(found: StateComparison, *, height: int) -> Finding:
    """Return the finding of a state compared with what executing its log gives."""
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

"""Explains why a validator makes no progress: its server, its CometBFT node and that one's log, its peers, its quorum.

What runs is asked (its server, its CometBFT node) and not opened. The other validators of a network on this machine are
asked too; of a home alone only its own node is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.ledger.engine.cometbft.comet.home import NEVER_SIGNS, RPC_SOCKET, read_last_signed
from shuiqiao.ledger.engine.cometbft.comet.process import LOG_NAME
from shuiqiao.ledger.engine.cometbft.comet.rpc import RpcClient
from shuiqiao.ledger.store.lock import is_held
from shuiqiao.node.doctor.finding import Finding, finding_of_error
from shuiqiao.node.localnet.network import Network
from shuiqiao.node.localnet.plan import NetworkFolder
from shuiqiao.node.localnet.process import last_lines

if TYPE_CHECKING:
    from shuiqiao.node.home.settings import Home, NodeSettings
    from shuiqiao.node.localnet.status import NodeStatus

MAX_LOG_BYTES: Final = 1 << 20
"""How much of the end of a CometBFT log is read, in bytes."""

_RPC_TIMEOUT_S: Final = 3.0
_START_MARK: Final = "Starting multiAppConn service"
_TOLD_CHARACTERS: Final = 300
_HOMES: Final = "homes"


def look_at_validator(home: Home, *, settings: NodeSettings) -> Iterator[Finding]:
    """Report the state of a validator and, where it makes no progress, the reason."""
    folder = network_of(home)
    if folder is None:
        yield from _alone(home)
        return
    try:
        status = Network(folder).status()
    except ShuiqiaoError as error:
        yield finding_of_error("validator", error)
        return
    own = next((node for node in status.nodes if node.node == settings.member), None)
    if own is None:
        return
    yield from explain_own(own)
    yield from _signing(home)
    yield from explain_log(home.cometbft / LOG_NAME)
    if any(node.running or node.trouble for node in status.nodes):
        yield from explain_others(own, status.nodes)
    if own.running:
        yield _note(own)


def network_of(home: Home) -> NetworkFolder | None:
    """Return the network on this machine that a home lies in (NET/homes/MEMBER), None for a home elsewhere."""
    homes = home.folder.absolute().parent
    folder = NetworkFolder(homes.parent)
    return folder if homes.name == _HOMES and folder.plan.is_file() else None


def _alone(home: Home) -> Iterator[Finding]:
    with closing(RpcClient(home.cometbft / RPC_SOCKET, timeout_s=_RPC_TIMEOUT_S)) as rpc:
        try:
            status, peers = rpc.status(), rpc.peer_count()
        except ShuiqiaoError as error:
            if is_held(home.ledger):
                yield finding_of_error("validator", error)
            else:
                yield _not_started()
            return
    state = "catches up" if status.is_catching_up else "takes part"
    says = f"CometBFT {status.version} {state} at height {status.height} with {peers} peers"
    yield Finding(what="validator", says=says, says_zh=f"CometBFT 高度 {status.height},{peers} 个对等节点")


def explain_own(own: NodeStatus) -> Iterator[Finding]:
    """Report the state of a validator's own processes."""
    words = {
        "node.ledger_down": "本机服务进程已意外结束",
        "node.cometbft_down": "CometBFT 进程已意外结束",
        "node.validator_named": "有验证节点投出错误的会签",
        "node.connection_fault": "与 CometBFT 的连接因故中断",
        "node.validator_key_differs": "账本登记的验证节点密钥与本机所用不同,其投票不计入",
    }
    for trouble in own.trouble:
        yield Finding(
            what="validator",
            code=trouble.code,
            says=trouble.message,
            next_step="read its log, mend what it names, then shuiqiao network start",
            says_zh=words.get(trouble.code, "验证节点异常"),
        )
    if own.running:
        state = "catches up with the others" if own.catching_up else "takes part"
        says = f"{state} at CometBFT height {own.height}, {own.blocks} blocks of ours, {own.peers} peers"
        says_zh = f"{'正在追赶' if own.catching_up else '正常参与'},高度 {own.height},{own.peers} 个对等节点"
        yield Finding(what="validator", says=says, says_zh=says_zh)
    elif not own.trouble:
        yield _not_started()


def _signing(home: Home) -> Iterator[Finding]:
    if read_last_signed(home.cometbft) == NEVER_SIGNS:
        says = "this home was restored from a backup and signs nothing until it is told that the old node is gone"
        yield Finding(what="signing", says=says, says_zh="由备份恢复,只跟随不签名;确认旧节点已停用后方可恢复签名")


def _not_started() -> Finding:
    says = "stopped in order, or never started: CometBFT does not run here"
    return Finding(what="validator", says=says, says_zh="未启动或已正常停止")


def explain_others(own: NodeStatus, nodes: Sequence[NodeStatus]) -> Iterator[Finding]:
    """Report which validators answer, whether they are enough, and whether this one reaches and agrees with them."""
    up = [node.node for node in nodes if node.running]
    down = [node.node for node in nodes if not node.running]
    # Every validator has one vote; more than two thirds of them commit a block.
    needed = 2 * len(nodes) // 3 + 1
    if len(up) < needed:
        yield Finding(
            what="quorum",
            code="node.quorum_lost",
            says=f"{len(up)} of {len(nodes)} validators answer ({', '.join(up) or 'none'}) and {needed} are needed: "
            f"nothing is committed, nothing is lost; down: {', '.join(down)}",
            next_step=f"start {' and '.join(down[: needed - len(up)])}: the network goes on by itself",
            says_zh=f"{len(nodes)} 个验证节点中仅 {len(up)} 个应答,至少需要 {needed} 个;网络暂停但不丢失数据",
        )
    else:
        says = f"{len(up)} of {len(nodes)} validators answer, {needed} are needed"
        says += f"; down: {', '.join(down)}" if down else ""
        yield Finding(what="quorum", says=says, says_zh=f"{len(up)}/{len(nodes)} 个验证节点应答")
    if own.running and needed <= len(up) and _is_cut_off(own, nodes, needed=needed):
        yield Finding(
            what="peers",
            code="node.peers_few",
            says=f"this node reaches {own.peers} peers, {needed - 1} are needed, though {len(up) - 1} others run: it "
            "is cut off",
            next_step="look into the network between them; shuiqiao network heal ends a partition that was made",
            says_zh=f"本节点只连到 {own.peers} 个对等节点,与其余节点隔断",
        )
    yield from _disagreement(own, nodes)


def _is_cut_off(own: NodeStatus, nodes: Sequence[NodeStatus], *, needed: int) -> bool:
    """Whether a node reaches too few others, and stands still for it: blocks go from node to node, so one peer may do.

    It does where the node has none, or falls behind, or where all nodes have as few: then they are cut in parts.
    """
    if own.peers + 1 >= needed:
        return False
    running = [node for node in nodes if node.running]
    is_behind = own.height < max(node.height for node in running)
    return not own.peers or is_behind or all(node.peers + 1 < needed for node in running)


def _disagreement(own: NodeStatus, nodes: Sequence[NodeStatus]) -> Iterator[Finding]:
    others = [node for node in nodes if node.node != own.node and node.size == own.size and node.root]
    parted = [node for node in others if own.root and node.root != own.root]
    if parted:
        yield Finding(
            what="agreement",
            code="node.root_disagrees",
            says=f"at {own.size} leaves this node has root {own.root}, {parted[0].node} has {parted[0].root}",
            next_step=f"shuiqiao doctor --home HERE --against the home of {parted[0].node} names where they part",
            says_zh=f"在 {own.size} 个叶子处,本节点的根与 {parted[0].node} 不同",
        )


def _note(own: NodeStatus) -> Finding:
    if own.note_size >= own.size:
        says = f"the checkpoint of {own.note_size} leaves has its quorum: {', '.join(own.cosigners) or 'nobody needed'}"
        return Finding(what="note", says=says, says_zh="最新检查点已达会签法定数")
    says = (
        f"the checkpoint of {own.size} leaves is undecided: the votes for the next block bring its cosignatures; the "
        f"newest with its quorum has {own.note_size}"
    )
    return Finding(what="note", says=says, says_zh="最新检查点尚未达到会签法定数,待下一区块的投票补齐")


def explain_log(path: Path) -> Iterator[Finding]:
    """Report what CometBFT logged since its last start that stops a node."""
    lines = _last_run(path)
    for line in lines:
        if "AppHash" in line and ("wrong" in line or "does not match" in line or "mismatch" in line):
            yield Finding(
                what="CometBFT's log",
                code="node.app_hash_differs",
                says=f"what this node computed is not what the others agreed on: {_short(line)}",
                next_step="doctor --replay names the first state key that differs; restore the ledger folder, or move "
                "it and cometbft/data away (not priv_validator_state.json) and join again",
                says_zh="本节点算出的应用哈希与其他节点商定的不同;请用 doctor --replay 找出第一个不同的状态键",
            )
            return
    for line in lines:
        if "CONSENSUS FAILURE" in line or line.startswith("panic"):
            yield Finding(
                what="CometBFT's log",
                code="node.consensus_failed",
                says=f"CometBFT stopped deciding: {_short(line)}",
                next_step=f"read {path} from there on, mend what it names, then start the node again",
                says_zh="CometBFT 已停止参与共识,原因见其日志",
            )
            return


def _last_run(path: Path) -> list[str]:
    """Return the lines since the last start, of the end of the file."""
    lines = last_lines(path, max_bytes=MAX_LOG_BYTES)
    starts = [number for number, line in enumerate(lines) if _START_MARK in line]
    return lines[starts[-1] :] if starts else lines


def _short(line: str) -> str:
    text = " ".join(line.split())
    return text if len(text) <= _TOLD_CHARACTERS else f"{text[:_TOLD_CHARACTERS]} ..."

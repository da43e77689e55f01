"""Two copies of one ledger side by side: the first leaf and the first state key at which they part.

Logs are descended by the hashes of their trees, states walked in order of key; neither is executed again unless a copy
has no usable index or ends at another height. Which of two values is right is told by the state map of each.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import lmdb

from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.base.progress import Progress
from shuiqiao.ledger.replay.differences import LeafDifference, StateDifference, compare_states, first_leaf_difference
from shuiqiao.ledger.state.state_map import verify_state_proof
from shuiqiao.ledger.store.index import IndexReader
from shuiqiao.ledger.store.lmdb_file import IndexUnreadable
from shuiqiao.ledger.store.state_tree import prove
from shuiqiao.node.doctor.finding import Finding, finding_of_error
from shuiqiao.node.home.ledger_folder import LedgerFolder, reexecute_log
from shuiqiao.node.home.settings import Home

if TYPE_CHECKING:
    from shuiqiao.ledger.store.index import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class _Copy:
    ledger: LedgerFolder
    index: IndexReader


def folder_of_copy(folder: Path, *, own: LedgerFolder) -> LedgerFolder:
    """Return where the other ledger lies: in a home, or in a bare copy of a ledger folder.

    Raises Unavailable ``node.copy_missing``, and what ``load_genesis`` refuses.
    """
    home = Home(folder)
    if home.genesis.is_file():
        return LedgerFolder.of_home(home)
    ledger = replace(own, folder=folder)
    if not ledger.has_blocks:
        raise Unavailable(
            "node.copy_missing",
            f"{folder} is neither a home nor a copy of a ledger folder",
            next_step="name a home, or a folder that holds segments/",
        )
    return ledger


def compare_copies(own: LedgerFolder, folder: Path, *, scratch: Path, progress: Progress) -> Iterator[Finding]:
    """Report where this ledger and another copy of it differ."""
    what = f"against {folder.name}"
    try:
        other = folder_of_copy(folder, own=own)
        if other.parameters.network != own.parameters.network:
            yield _other_network(what, own, other)
            return
        with ExitStack() as stack:
            here = _Copy(ledger=own, index=_index(own, stack, scratch=scratch / "here", progress=progress))
            there = _Copy(ledger=other, index=_index(other, stack, scratch=scratch / "there", progress=progress))
            yield from _compare(what, here, there, scratch=scratch / "longer", progress=progress)
    except ShuiqiaoError as error:
        yield finding_of_error(what, error)
    except lmdb.Error as error:
        unreadable = Unavailable("node.copy_unreadable", f"the index of one of the copies cannot be read: {error}")
        yield finding_of_error(what, unreadable)


def _index(ledger: LedgerFolder, stack: ExitStack, *, scratch: Path, progress: Progress) -> IndexReader:
    try:
        return stack.enter_context(IndexReader(ledger.index))
    except IndexUnreadable:
        made = reexecute_log(ledger, scratch, until_height=None, progress=progress)
        return stack.enter_context(IndexReader(made.index))


def _compare(what: str, here: _Copy, there: _Copy, *, scratch: Path, progress: Progress) -> Iterator[Finding]:
    size = min(here.index.head.size, there.index.head.size)
    found = first_leaf_difference(here.index.view, there.index.view, size=size)
    if found is not None:
        yield _logs_differ(what, found, here.index.view, there.index.view)
    elif here.index.head.size != there.index.head.size:
        yield _lengths_differ(what, here, there)
    else:
        says = f"both logs have {size} leaves under root {here.index.head.root.hex()}"
        yield Finding(what=what, says=says, says_zh=f"两份日志相同,{size} 个叶子")
    with ExitStack() as stack:
        one, other = _at_one_height(here, there, stack, scratch=scratch, progress=progress)
        if one.head.height != other.head.height:
            says = f"one log can be executed up to height {one.head.height}, the other to {other.head.height}"
            yield Finding(what=what, says=f"{says}: states are not compared", says_zh="无法比较状态")
            return
        compared = compare_states(
            one.view.state_items(),
            other.view.state_items(),
            hash_name=here.ledger.hash_name,
            progress=progress,
        )
        if compared.first is None:
            says = f"both states have the same {compared.compared} keys and values at height {one.head.height}"
            yield Finding(what=what, says=says, says_zh=f"高度 {one.head.height} 的状态相同")
            return
        judged = _judged(compared.first, one, other, hash_name=here.ledger.hash_name)
        yield _states_differ(what, compared.first, count=compared.differing, height=one.head.height, judged=judged)


def _at_one_height(
    here: _Copy, there: _Copy, stack: ExitStack, *, scratch: Path, progress: Progress
) -> tuple[IndexReader, IndexReader]:
    """Return both states at the height of the shorter log: the longer one is executed again up to there."""
    lower = min(here.index.head.height, there.index.head.height)
    indexes: list[IndexReader] = []
    for copy in (here, there):
        index = copy.index
        if index.head.height > lower:
            made = reexecute_log(copy.ledger, scratch, until_height=lower, progress=progress)
            index = stack.enter_context(IndexReader(made.index))
        indexes.append(index)
    return indexes[0], indexes[1]


def _other_network(what: str, own: LedgerFolder, other: LedgerFolder) -> Finding:
    return Finding(
        what=what,
        code="node.network_differs",
        says=f"it is of network {other.parameters.network.hex()}, this home of {own.parameters.network.hex()}",
        next_step="name a home of the same network",
        says_zh="对方属于另一个网络",
    )


def _logs_differ(what: str, found: LeafDifference, here: Snapshot, there: Snapshot) -> Finding:
    heights = [block.height if block else 0 for block in (view.block_of_index(found.index) for view in (here, there))]
    where = f"block {heights[0]}" if heights[0] == heights[1] else f"block {heights[0]} here, {heights[1]} there"
    return Finding(
        what=what,
        code="node.logs_differ",
        says=f"the logs part at leaf {found.index} ({where}): {found.here.hex()} here, {found.there.hex()} there",
        next_step="one log was written twice: hold both against the signed checkpoints and a third member's copy, and "
        "keep both as evidence",
        says_zh=f"两份日志在叶子 {found.index} 处分叉({where});请与第三方副本及已签名检查点核对,并保存证据",
    )


def _lengths_differ(what: str, here: _Copy, there: _Copy) -> Finding:
    own, other = here.index.head, there.index.head
    side, side_zh = ("behind", "落后") if own.size < other.size else ("ahead", "领先")
    return Finding(
        what=what,
        says=f"one log begins with the other; this one is {side} by {abs(own.height - other.height)} blocks, "
        f"{abs(own.size - other.size)} leaves",
        says_zh=f"两份日志前缀一致,本节点{side_zh} {abs(own.height - other.height)} 个区块",
    )


def _judged(found: StateDifference, here: IndexReader, there: IndexReader, *, hash_name: str) -> str:
    """Say which of two values its own state map holds: the root of that stands in the log."""
    held = [_is_held(found.key, index, hash_name=hash_name) for index in (here, there)]
    if held == [True, False]:
        return "the one here is under its root, the one there is not"
    if held == [False, True]:
        return "the one there is under its root, the one here is not"
    return "each is under its own root" if all(held) else "neither is under its root"


def _is_held(key: str, index: IndexReader, *, hash_name: str) -> bool:
    try:
        proof = prove(index.view, key, hash_name=hash_name)
        value = index.view.state_value(key)
        verify_state_proof(proof, key=key, value=value, root=index.head.state_root, hash_name=hash_name)
    except ShuiqiaoError:
        return False
    return True


def _states_differ(what: str, first: StateDifference, *, count: int, height: int, judged: str) -> Finding:
    here, there = (
        "nothing" if value is None else f"a value of hash {value.hex()}" for value in (first.here, first.there)
    )
    return Finding(
        what=what,
        code="node.states_differ",
        says=f"{first.key} is the first of {count} state keys that differ at height {height}: {here} here, {there} "
        f"there; {judged}",
        next_step="run doctor --replay on each of the two: the one whose log gives another state is the one to restore",
        says_zh=f"高度 {height} 第一个不同的状态键:{first.key}(共 {count} 个);请对两方分别运行 doctor --replay",
    )

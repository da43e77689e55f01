"""The bureau writes its history again, signed and long enough, and a bank that holds the first one notices.

As the operator of an embedded ledger it signs alone, and a follower is to follow. As one validator of several it can
only cosign, which no quorum confirms; who watches it holds its two words against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from shuiqiao.base.clock import ManualClock
from shuiqiao.base.durable import ScratchDisk
from shuiqiao.base.ids import new_id
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.follower import FollowerLedger
from shuiqiao.ledger.engine.ledger_copy import LedgerCopy
from shuiqiao.ledger.engine.port import EmbeddedSettings, FollowerSettings
from shuiqiao.ledger.model import FIRST_VERSION
from shuiqiao.ledger.transactions.submitter import DRAFT_VALIDITY_MS, DirectSubmitter
from shuiqiao.ledger.transactions.transaction import TransactionDraft, sign_transaction
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.members.model import EngineName
from shuiqiao.node.institution import Institution
from shuiqiao.sandbox.scenario.rebuilding import (
    TimedBlock,
    execute_blocks,
    machine_of,
    open_unflushed,
)
from shuiqiao.sandbox.scenario.tamper_scene import ISSUED, TamperScene, code_of, copy_ledger
from shuiqiao.sandbox.scenario.watching import known_checkpoints, policy_of, sign_word, watch, word_in
from shuiqiao.vault.contract import AnchorCommitBody


def rewrite_history(scene: TamperScene) -> str:
    """Let the bureau write its history again without one decision, longer than before; a bank holds the first one."""
    scene.bank.catch_up_with(scene.consortium.bureau)
    return _REWRITES[scene.consortium.stage.engine](scene)


def _rewrite_as_operator(scene: TamperScene) -> str:
    """Let the operator sign the new log as it signed the old one; a follower that holds the first one is to follow."""
    bureau = scene.consortium.bureau
    clock = ManualClock(bureau.parameters.genesis_time_ms)
    rewritten = EmbeddedLedger.open(
        scene.scratch / "rewritten",
        parameters=bureau.parameters,
        kinds=bureau.kinds,
        key_ring=MemberKeyRing(),
        clock=clock,
        operator_key=bureau.keys.signing,
        settings=EmbeddedSettings(linger_ms=0, disk=ScratchDisk()),
    )
    try:
        _write_again(bureau, rewritten, clock=clock)
        copy = copy_ledger(scene.bank, scene.scratch / "follower")
        return _follow(scene.bank, copy, writer=rewritten)
    finally:
        rewritten.close()


def _write_again(bureau: Institution, rewritten: EmbeddedLedger, *, clock: ManualClock) -> None:
    """Submit every block at its own time but for one decision, then as many anchors of nothing as hide the gap."""
    for block in _without_one_decision(bureau):
        clock.advance(max(0, block.time_ms - clock.now_ms()))
        for future in [rewritten.submit(raw) for raw in block.transactions]:
            future.result()
    forger = DirectSubmitter(
        rewritten,
        member=bureau.member,
        key=bureau.keys.signing,
        kinds=bureau.kinds,
        suite=bureau.suite,
        clock=clock,
        entropy=bureau.surroundings.entropy,
    )
    while rewritten.checkpoint().size <= bureau.engine.checkpoint().size:
        forger.submit("anchor.commit", anchor_of_nothing(bureau))


def _without_one_decision(bureau: Institution) -> Iterator[TimedBlock]:
    """Yield what every block is made from, the first decision left out."""
    is_left_out = False
    for block in bureau.engine.blocks(from_height=1):
        kept = list(block.transactions)
        if not is_left_out:
            decisions = [raw for raw in kept if bureau.outbox.decode(raw).kind == "decision.record"]
            is_left_out = bool(decisions)
            kept = [raw for raw in kept if raw not in decisions[:1]]
        yield TimedBlock(time_ms=block.time_ms, transactions=kept)


def anchor_of_nothing(bureau: Institution) -> AnchorCommitBody:
    """Return the anchor of a batch of one record that nobody has, under random names."""
    entropy = bureau.surroundings.entropy
    return AnchorCommitBody(
        batch=entropy(16),
        standard=ISSUED,
        period_from="2020-01-01",
        period_to="2020-01-31",
        count=1,
        depth=0,
        root=entropy(32),
    )


def _follow(bank: Institution, folder: Path, *, writer: EmbeddedLedger) -> str:
    """Return the code by which a follower over a copied ledger refuses a writer."""
    follower = FollowerLedger.open(
        folder,
        parameters=bank.parameters,
        kinds=bank.kinds,
        key_ring=MemberKeyRing(),
        clock=bank.surroundings.clock,
        writer=writer,
        settings=FollowerSettings(),
    )
    try:
        return code_of(follower.sync)
    finally:
        follower.close()


def _rewrite_as_validator(scene: TamperScene) -> str:
    """Let one validator write the log again and cosign it; a bank that knows its former word watches that validator."""
    bureau, bank = scene.consortium.bureau, scene.bank
    former = word_in(known_checkpoints(scene.consortium), member=bureau)
    copy = open_unflushed(scene.scratch / "rewritten", machine=machine_of(bureau.parameters, kinds=bureau.kinds))
    try:
        for _ in execute_blocks(copy, _without_one_decision(bureau)):
            pass
        _grow_beyond(copy, bureau=bureau, size=former.size)
        new = sign_word(bureau, policy=policy_of(bureau), size=copy.head.size, root=copy.head.root)
        proof = copy.consistency_proof(old_size=former.size, new_size=new.size)
        return watch(
            bank, first=former, second=new, proof=proof, accused=bureau.member, folder=scene.scratch / "watch"
        ).code
    finally:
        copy.close()


def _grow_beyond(copy: LedgerCopy, *, bureau: Institution, size: int) -> None:
    """Add anchors of nothing until the log is longer than it was, so that its length does not give it away."""
    while copy.head.size <= size:
        raw = _signed(bureau, anchor_of_nothing(bureau))
        for _ in execute_blocks(copy, [TimedBlock(time_ms=copy.head.time_ms + 1, transactions=[raw])]):
            pass


def _signed(bureau: Institution, body: AnchorCommitBody) -> bytes:
    draft = TransactionDraft(
        kind="anchor.commit",
        version=FIRST_VERSION,
        body=body,
        author=bureau.member,
        valid_until_ms=bureau.surroundings.clock.now_ms() + DRAFT_VALIDITY_MS,
        id=new_id(bureau.surroundings.entropy),
    )
    return sign_transaction(draft, network=bureau.parameters.network, suite=bureau.suite, keys=[bureau.keys.signing])


_REWRITES: Mapping[EngineName, Callable[[TamperScene], str]] = {
    EngineName.EMBEDDED: _rewrite_as_operator,
    EngineName.COMETBFT: _rewrite_as_validator,
}
"""Who could write the log again: the operator who signs alone, or one of those who sign together."""

"""The operator writes its history again, signed and long enough, and a follower that holds the first one notices."""

from __future__ import annotations

from pathlib import Path

from shuiqiao.base.clock import ManualClock
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.follower import FollowerLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings, FollowerSettings
from shuiqiao.ledger.store.disk import PosixDisk
from shuiqiao.ledger.submitter import DirectSubmitter
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.node.institution import Institution
from shuiqiao.sandbox.scenario.tamper_scene import ISSUED, TamperScene, code_of, copy_ledger
from shuiqiao.vault.contract import AnchorCommitBody


class _UnflushedDisk(PosixDisk):
    """A disk that does not wait: a forged history need not survive a power cut."""

    def sync(self, descriptor: int) -> None:
        """Leave the bytes to the system."""

    def sync_folder(self, folder: Path) -> None:
        """Leave the names to the system."""


def rewrite_history(scene: TamperScene) -> str:
    """Let the operator write its log again without one decision, longer than before; a follower holds the first one."""
    bureau = scene.consortium.bureau
    scene.bank.sync()
    clock = ManualClock(bureau.parameters.genesis_time_ms)
    rewritten = EmbeddedLedger.open(
        scene.scratch / "rewritten",
        parameters=bureau.parameters,
        kinds=bureau.kinds,
        key_ring=MemberKeyRing(),
        clock=clock,
        operator_key=bureau.keys.signing,
        settings=EmbeddedSettings(linger_ms=0, disk=_UnflushedDisk()),
    )
    try:
        _write_again(bureau, rewritten, clock=clock)
        copy = copy_ledger(scene.bank, scene.scratch / "follower")
        return _follow(scene.bank, copy, writer=rewritten)
    finally:
        rewritten.close()


def _write_again(bureau: Institution, rewritten: EmbeddedLedger, *, clock: ManualClock) -> None:
    """Submit every block at its own time but for one decision, then as many anchors of nothing as hide the gap."""
    is_left_out = False
    for block in bureau.engine.blocks(from_height=1):
        clock.advance(max(0, block.time_ms - clock.now_ms()))
        kept = list(block.transactions)
        if not is_left_out:
            decisions = [raw for raw in kept if bureau.outbox.decode(raw).kind == "decision.record"]
            is_left_out = bool(decisions)
            kept = [raw for raw in kept if raw not in decisions[:1]]
        for future in [rewritten.submit(raw) for raw in kept]:
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
        forger.submit("anchor.commit", _anchor_of_nothing(bureau))


def _anchor_of_nothing(bureau: Institution) -> AnchorCommitBody:
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

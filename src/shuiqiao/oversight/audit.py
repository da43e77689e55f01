"""The audit: replay a member's ledger from genesis, compare with the live node, and check the records behind it.

1. every block is executed again on an empty state: signatures, contract rules, roots;
2. size and root are compared with the live node's checkpoint;
3. every anchored batch that the vault holds is recomputed from its stored bytes and compared with the replayed root;
4. every decision that was sealed to the auditing regulator is opened and compared with its commitment [LENDING-6];
5. the record-management-only rules are walked, and a mint, a transfer and a fee are tried on the live engine.

Nothing is believed and nothing is repaired: what does not hold becomes a problem that names the place and both values.

    report = audit_ledger(engine, kinds=kinds, key_ring=MemberKeyRing(), record_rules=rules, ...)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shuiqiao.base.errors import Unavailable, next_step_shape
from shuiqiao.ledger.clock_check import require_not_behind
from shuiqiao.ledger.replay.check import ReplayResult, check_segment_headers, replay_ledger
from shuiqiao.oversight.openings import AuditProblem, OpenedDecisions
from shuiqiao.oversight.record_rules import RecordRulesReport
from shuiqiao.vault.contract import LedgerLeaves, batch_lookup

if TYPE_CHECKING:
    from shuiqiao.base.ids import MemberId
    from shuiqiao.ledger.model import KeyRing, LedgerEngine
    from shuiqiao.ledger.transactions.kinds import KindTable
    from shuiqiao.vault.service import Vault


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What the audit found. anchors_verified, records_anchored: batches and records recomputed and found to hold."""

    replayed: int
    height: int
    root: str
    root_matches: bool
    signatures_verified: int
    anchors_verified: int
    records_anchored: int
    openings_checked: int
    """Decisions that opened to what the bank committed to."""
    openings_unopened: str
    """Why what was sealed to the auditor could not be opened; empty where it was, or nothing can be sealed to it."""
    records_unread: str
    """Why the records of encrypted batches were not recomputed; empty where they were, or there are none."""
    record_rules: RecordRulesReport
    problems: tuple[str, ...]
    codes: tuple[str, ...]
    """Of each problem, in their order; empty where a problem has none."""

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def as_json(self) -> dict[str, Any]:
        """Return the JSON contract of ``shuiqiao audit``."""
        return {
            "replayed": self.replayed,
            "root_matches": self.root_matches,
            "signatures_verified": self.signatures_verified,
            "anchors_verified": self.anchors_verified,
            "records_anchored": self.records_anchored,
            "openings_checked": self.openings_checked,
            "openings_unopened": self.openings_unopened,
            "records_unread": self.records_unread,
            "record_management_only": {
                "kinds_walked": self.record_rules.kinds_walked,
                "fields_walked": self.record_rules.fields_walked,
                "violations": list(self.record_rules.violations),
                "mint_refused": self.record_rules.mint_refused,
                "transfer_refused": self.record_rules.transfer_refused,
                "fee_refused": self.record_rules.fee_refused,
            },
            "problems": list(self.problems),
            "next_steps": [{"code": code, **next_step_shape(code)} if code else None for code in self.codes],
        }


def audit_ledger(
    engine: LedgerEngine,
    *,
    kinds: KindTable,
    key_ring: KeyRing,
    vault: Vault | None,
    vault_owner: MemberId,
    record_rules: RecordRulesReport,
    opened: OpenedDecisions | None = None,
    unopened: str = "",
    verifier_processes: int = 0,
    live: LedgerEngine | None = None,
    folder: Path | None = None,
    now_ms: int | None = None,
) -> AuditReport:
    """Replay an engine's blocks and compare with the live node (itself, or another member's engine).

    folder: the engine's files, whose segment headers are then checked too: no block is read from them.
    now_ms: the auditor's clock, with which the time of the newest block is compared [LEDGER-TIME-1].
    vault: the records behind the anchors of vault_owner, where the auditor may see them (at the bureau).
    opened: the decisions sealed to the auditor, where it is a regulator. unopened: why they could not be opened.
    """
    # The live checkpoint comes before the replay: what is committed meanwhile is then not taken for a difference.
    own_size = engine.checkpoint().size
    compared = (live or engine).checkpoint()
    blocks = (block for block in engine.blocks(from_height=1) if block.first_index < compared.size)
    replay = replay_ledger(
        blocks,
        parameters=engine.parameters,
        kinds=kinds,
        key_ring=key_ring,
        verifier_processes=verifier_processes,
    )
    headers = () if folder is None else check_segment_headers(folder, parameters=engine.parameters)
    problems = [AuditProblem(_sentence(problem), problem.code) for problem in (*headers, *replay.problems)]
    root_matches = (replay.size, replay.root) == (compared.size, compared.root) or not (replay.size or compared.size)
    if not root_matches:
        problems.append(_root_differs(replay, size=compared.size, root=compared.root))
    if own_size > compared.size:
        problems.append(_is_behind(compared.size, own_size=own_size))
    anchors, records, unread = _check_vault(engine, vault, vault_owner, problems)
    problems += () if opened is None else opened.problems
    problems += _rule_problems(record_rules)
    if now_ms is not None:
        problems += _clock_problems(engine, now_ms=now_ms)
    return AuditReport(
        replayed=replay.transactions,
        height=replay.height,
        root=replay.root.hex(),
        root_matches=root_matches and not replay.problems,
        signatures_verified=replay.signatures_verified,
        anchors_verified=anchors,
        records_anchored=records,
        openings_checked=0 if opened is None else len(opened.decisions),
        openings_unopened=unopened,
        records_unread=unread,
        record_rules=record_rules,
        problems=tuple(problem.says for problem in problems),
        codes=tuple(problem.code for problem in problems),
    )


def _check_vault(
    engine: LedgerEngine, vault: Vault | None, owner: MemberId, problems: list[AuditProblem]
) -> tuple[int, int, str]:
    if vault is None:
        return 0, 0, ""
    state = engine.state()
    check = vault.verify_files(batch_of=batch_lookup(state, owner), status_of=LedgerLeaves(state, owner))
    problems += [
        AuditProblem(f"{problem.code} at {problem.place}: {problem.message}", problem.code)
        for problem in check.problems
    ]
    return check.batches, check.records, f"{check.unread} batches: {check.why}" if check.unread else ""


def _clock_problems(engine: LedgerEngine, *, now_ms: int) -> list[AuditProblem]:
    """Say that the newest block is ahead of the auditor's clock: else every later error blames something else."""
    _, block_ms = engine.last_block()
    try:
        require_not_behind(now_ms=now_ms, block_ms=block_ms)
    except Unavailable as error:
        return [AuditProblem(str(error), error.code)]
    return []


def _rule_problems(rules: RecordRulesReport) -> Sequence[AuditProblem]:
    attempts: Mapping[str, bool] = {
        "mint": rules.mint_refused,
        "transfer": rules.transfer_refused,
        "fee": rules.fee_refused,
    }
    accepted = [
        f"a {name} was not refused as unknown: {rules.refusals[name]}" for name, ok in attempts.items() if not ok
    ]
    return [AuditProblem(says) for says in (*rules.violations, *accepted)]


def _sentence(problem: Any) -> str:
    return f"{problem.place}: {problem.rule}: expected {problem.expected}, found {problem.found}"


def _is_behind(size: int, *, own_size: int) -> AuditProblem:
    return AuditProblem(f"the live checkpoint says size {size}, and this copy has seen {own_size}")


def _root_differs(replay: ReplayResult, *, size: int, root: bytes) -> AuditProblem:
    return AuditProblem(
        f"the replay ends at size {replay.size} with root {replay.root.hex()}, "
        f"the live checkpoint says size {size} with root {root.hex()}"
    )

"""What is looked at in a home for each rule: one function a check, which ``obligations.toml`` names.

A check returns evidence with both values, the one that is there and the one that is wanted; what it cannot read it
raises, and the rule is then unseen. All of them read, from the files of the home; whose check needs an encrypted column
needs the passphrase where the home is only read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

from shuiqiao.base.clock import MS_PER_DAY, MS_PER_HOUR, iso_from_ms
from shuiqiao.base.errors import Denied
from shuiqiao.base.ids import MemberId
from shuiqiao.consent.contract import GRANT, REVOKE
from shuiqiao.crypto.model import SuiteName
from shuiqiao.exchange.contract import COMPUTATION, DESTROY, REQUEST
from shuiqiao.exchange.disputes import DisputeStatus
from shuiqiao.exchange.store import ProviderStore, RecipientStore
from shuiqiao.members.contract import rotations_key
from shuiqiao.members.endpoint import HTTPS
from shuiqiao.members.epoch import read_epoch
from shuiqiao.members.journal import last_anchored_day
from shuiqiao.members.model import Role
from shuiqiao.members.roster import endpoint_key, is_suspended, roster
from shuiqiao.node.accounts.journal.store import JournalStore
from shuiqiao.node.accounts.model import act_rules, permissions_of
from shuiqiao.node.accounts.store import AccountStore
from shuiqiao.node.home.modes import readable_by_others
from shuiqiao.node.jobs.duties import BACKUP
from shuiqiao.node.jobs.service import duty_id
from shuiqiao.node.jobs.store import JobStore
from shuiqiao.node.registers.model import RegisterKind
from shuiqiao.node.registers.store import RegisterStore
from shuiqiao.standards.publication import load_catalogue
from shuiqiao.standards.sensitivity import OPEN_LEVEL, guarded_fields, require_reason
from shuiqiao.vault.storage.batch_file import count_clear_files
from shuiqiao.vault.storage.index import BATCHES_FOLDER

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from sqlalchemy import Engine

    from shuiqiao.crypto.column_cipher import ColumnCipher
    from shuiqiao.ledger.model import StateView
    from shuiqiao.node.accounts.store import User
    from shuiqiao.node.member_copy import MemberCopy
    from shuiqiao.node.registers.model import RegisterEntry
    from shuiqiao.oversight.audit import AuditReport

LEAST_VALIDATORS: Final = 4
"""3f + 1 with one that fails."""

MAX_KEY_AGE_MS: Final = 365 * MS_PER_DAY
"""After which a signing key counts as due. LIMIT: our choice; a cryptography assessment may ask for less."""

MAX_DISPUTE_MS: Final = 15 * MS_PER_DAY
"""After which an open dispute is overdue. LIMIT: calendar days, where the rules count working days."""

_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a check saw."""

    is_met: bool
    evidence: str
    evidence_zh: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What checks look at: a home, whether it is at work or only read, and the report of its audit."""

    copy: MemberCopy
    report: AuditReport
    database: Callable[[], AbstractContextManager[Engine]]
    cipher: Callable[[Engine], ColumnCipher]

    @property
    def state(self) -> StateView:
        """The state after the last block."""
        return self.copy.engine.state()

    @cached_property
    def active(self) -> Mapping[MemberId, str]:
        """The members that are not suspended, with their roles."""
        members = {MemberId(name): role for name, role in roster(self.state).items()}
        return {name: role for name, role in members.items() if not is_suspended(self.state, name)}

    @cached_property
    def entries(self) -> Counter[str]:
        """How many entries of each kind the ledger has."""
        blocks = self.copy.engine.blocks(from_height=1)
        return Counter(self.copy.decode(raw).kind for block in blocks for raw in block.transactions)

    @cached_property
    def register(self) -> list[RegisterEntry]:
        """The entries of the registers that are not closed."""
        with self.database() as database:
            return RegisterStore(database, cipher=self.cipher(database)).open_entries()

    def registered(self, kind: RegisterKind) -> tuple[int, int]:
        """Return how many entries of a kind are open, and how many of those overdue."""
        waiting = [entry for entry in self.register if entry.kind is kind]
        return len(waiting), sum(entry.is_overdue(self.copy.now_ms()) for entry in waiting)

    @cached_property
    def users(self) -> list[User]:
        """The users who may log in."""
        with self.database() as database:
            users = AccountStore(database, cipher=self.cipher(database)).users()
        return [user for user in users if not user.is_disabled]


def _suite(facts: Facts) -> Evidence:
    name = facts.copy.settings.suite
    return Evidence(is_met=name is SuiteName.GM, evidence=f"suite {name}; gm wanted", evidence_zh=f"密码套件 {name}")


def _key_age(facts: Facts) -> Evidence:
    replaced = facts.state.get(rotations_key(facts.copy.member)) or []
    # Of a member that was admitted later its key is younger than the network.
    since_ms = max(replaced, default=facts.copy.parameters.genesis_time_ms)
    age_days = max(0, facts.copy.now_ms() - since_ms) // MS_PER_DAY
    return Evidence(
        is_met=age_days * MS_PER_DAY <= MAX_KEY_AGE_MS,
        evidence=f"the signing key is at most {age_days} days old; {MAX_KEY_AGE_MS // MS_PER_DAY} wanted",
        evidence_zh=f"签名密钥使用至多 {age_days} 日,应不超过 {MAX_KEY_AGE_MS // MS_PER_DAY} 日",
    )


def _endpoints(facts: Facts) -> Evidence:
    places = {name: facts.state.get(endpoint_key(name)) for name in facts.active}
    known = {name: place for name, place in places.items() if place is not None}
    # A plain address is for loopback and private networks alone [MEMBER-28].
    bare = [name for name, place in known.items() if not (place["url"].startswith(HTTPS) and place["pin"])]
    said = f"{len(known)} of {len(places)} active members have an address on the ledger, {len(bare)} lack https or pin"
    return Evidence(
        is_met=not bare,
        evidence=said + (f": {_named(bare)}" if bare else ""),
        evidence_zh=f"{len(places)} 个成员中 {len(known)} 个登记了地址,其中 {len(bare)} 个缺少 https 或公钥指纹",
    )


def _integrity(facts: Facts) -> Evidence:
    report = facts.report
    found = f"{report.replayed} entries executed again, {report.anchors_verified} batches recomputed"
    problems = f"; {len(report.problems)} problems, the first: {report.problems[0]}" if report.problems else ""
    return Evidence(
        is_met=report.holds,
        evidence=found + problems,
        evidence_zh=f"重放 {report.replayed} 条,重算 {report.anchors_verified} 个批次,问题 {len(report.problems)} 个",
    )


def _fault_tolerance(facts: Facts) -> Evidence:
    epoch = read_epoch(facts.state)
    count = len(epoch.witnesses)
    if epoch.operator is None:
        return Evidence(
            is_met=count >= LEAST_VALIDATORS,
            evidence=f"{count} validators; {LEAST_VALIDATORS} wanted",
            evidence_zh=f"{count} 个验证节点,应至少 {LEAST_VALIDATORS} 个",
        )
    return Evidence(
        is_met=False,
        evidence=f"one writer, {epoch.operator}, and {count} witnesses: it may stop, its fork is seen",
        evidence_zh=f"单一记账者 {epoch.operator},见证者 {count} 个:可发现分叉,不容忍其停机",
    )


def _regulator(facts: Facts) -> Evidence:
    found = [name for name, role in facts.active.items() if role == Role.REGULATOR]
    return Evidence(
        is_met=bool(found),
        evidence=f"active regulators: {_named(found) or 'none'}",
        evidence_zh=f"在网监管机构:{_named(found) or '无'}",
    )


def _record_rules(facts: Facts) -> Evidence:
    rules = facts.report.record_rules
    tried = (rules.mint_refused, rules.transfer_refused, rules.fee_refused)
    return Evidence(
        is_met=all(tried) and not rules.violations,
        evidence=f"{rules.kinds_walked} kinds with {rules.fields_walked} fields walked, {len(rules.violations)} "
        f"violations; {sum(tried)} of {len(tried)} acts refused",
        evidence_zh=f"检查条目 {rules.kinds_walked} 类,违规 {len(rules.violations)},{sum(tried)}/{len(tried)} 试行被拒",
    )


def _journal(facts: Facts) -> Evidence:
    today = facts.copy.now_ms() // MS_PER_DAY
    last = last_anchored_day(facts.state, facts.copy.member)
    with facts.database() as database:
        store = JournalStore(database, cipher=facts.cipher(database))
        # The day that is just over is anchored by the next look of the server's.
        waiting = store.days(after=last, before=today - 1)
    return Evidence(
        is_met=not waiting,
        evidence=f"{len(waiting)} days with entries that are over and not anchored; 0 wanted",
        evidence_zh=f"已结束而未上链的日志 {len(waiting)} 日",
    )


def _two_people(facts: Facts) -> Evidence:
    role = facts.copy.settings.role
    allowed = {user.name: permissions_of(user.roles, institution=role) for user in facts.users}
    alone = list[str]()
    for name, act in act_rules().items():
        makers = {user for user, may in allowed.items() if act.make in may}
        checkers = {user for user, may in allowed.items() if act.check in may}
        if any(not checkers - {maker} for maker in makers):
            alone.append(str(name))
    return Evidence(
        is_met=bool(allowed) and not alone,
        evidence=f"{len(allowed)} users; acts that nobody else may check: {_named(alone) or 'none'}",
        evidence_zh=f"用户 {len(allowed)} 个;有人经办而无他人可复核的事项:{_named(alone) or '无'}",
    )


def _second_factor(facts: Facts) -> Evidence:
    without = [user.name for user in facts.users if not user.is_secret_confirmed]
    return Evidence(
        is_met=not without,
        evidence=f"{len(without)} of {len(facts.users)} users have no second factor"
        + (f": {_named(without)}" if without else ""),
        evidence_zh=f"{len(facts.users)} 个用户中 {len(without)} 个未启用双因素",
    )


def _at_rest(facts: Facts) -> Evidence:
    readable, vault = len(readable_by_others(facts.copy.home)), facts.copy.home.vault
    batches = batches_zh = ""
    if vault.is_dir():
        clear = count_clear_files(vault / BATCHES_FOLDER)
        # LIMIT: index and reports are not encrypted here, and whether the disk is cannot be seen.
        batches = (
            f"; {clear} batch files in clear; the vault's index and its quarantine reports name taxpayers and lie in "
            "clear, which an encrypted disk hides"
        )
        batches_zh = f";批次文件未加密 {clear} 个;保险库索引与隔离报告含纳税人识别号且为明文,须置于加密磁盘"
    return Evidence(
        is_met=not readable and not batches,
        evidence=f"columns of the database are encrypted; {readable} files let in others than their owner{batches}",
        evidence_zh=f"数据库字段已加密;{readable} 个文件可被所有者以外的人访问{batches_zh}",
    )


def _levels(_facts: Facts) -> Evidence:
    kinds = list(load_catalogue())
    fields, guarded, open_ = 0, 0, list[str]()
    for kind in kinds:
        fields += len(kind.fields)
        for name in sorted(guarded_fields(kind)):
            guarded += 1
            try:
                require_reason(kind, [name], reason=None)
            except Denied:
                continue
            open_.append(f"{kind.id}.{name}")
    return Evidence(
        is_met=not open_,
        evidence=f"{fields} fields of {len(kinds)} record types have a level; {guarded} above {OPEN_LEVEL}, each tried "
        f"without a reason: {len(open_)} shown",
        evidence_zh=f"{len(kinds)} 类记录 {fields} 个字段均已分级;高于 {OPEN_LEVEL} 级 {guarded} 个,"
        f"无理由试查通过 {len(open_)} 个",
    )


def _destruction(facts: Facts) -> Evidence:
    _, block_ms = facts.copy.engine.last_block()
    with facts.database() as database:
        store = RecipientStore(database, cipher=facts.cipher(database))
        due = store.count_due(now_ms=block_ms - MS_PER_DAY).due
        erased, waiting = len(store.erasures()), len(store.unrecorded_erasures(at_most=_SHOWN))
    return Evidence(
        is_met=not due and not waiting,
        evidence=f"{erased} answers destroyed, {facts.entries[DESTROY]} destructions on the ledger by all banks; "
        f"overdue by a day {due}, not on the ledger {waiting}",
        evidence_zh=f"已销毁 {erased} 份,逾期一日未销毁 {due} 份,未上链 {waiting} 份",
    )


def _consent(facts: Facts) -> Evidence:
    counts = facts.entries
    return Evidence(
        is_met=facts.report.holds,
        evidence=f"{counts[REQUEST]} requests, each under one of {counts[GRANT]} consents by the rules executed again; "
        f"{counts[REVOKE]} revoked",
        evidence_zh=f"请求 {counts[REQUEST]} 笔,授权 {counts[GRANT]} 份,撤回 {counts[REVOKE]} 份,经重放核对",
    )


def _disputes(facts: Facts) -> Evidence:
    with facts.database() as database:
        rows = ProviderStore(database, cipher=facts.cipher(database)).disputes()
    waiting = [row for row in rows if row.status == DisputeStatus.OPEN]
    late = [row for row in waiting if facts.copy.now_ms() - row.received_ms > MAX_DISPUTE_MS]
    complaints, overdue = facts.registered(RegisterKind.COMPLAINT)
    return Evidence(
        is_met=not late and not overdue,
        evidence=f"{len(rows)} disputes, {len(waiting)} open, {len(late)} for more than "
        f"{MAX_DISPUTE_MS // MS_PER_DAY} days; {complaints} complaints open, {overdue} overdue",
        evidence_zh=f"异议 {len(rows)} 件,待答复 {len(waiting)} 件,逾期 {len(late)} 件;"
        f"投诉未办结 {complaints} 件,逾期 {overdue} 件",
    )


def _incidents(facts: Facts) -> Evidence:
    waiting, overdue = facts.registered(RegisterKind.INCIDENT)
    return Evidence(
        is_met=not overdue,
        evidence=f"{waiting} incidents in the register are not reported yet, {overdue} of them overdue",
        evidence_zh=f"登记的安全事件未报告 {waiting} 件,其中逾期 {overdue} 件",
    )


def _assessments(facts: Facts) -> Evidence:
    own = facts.copy.member
    blocks = facts.copy.engine.blocks(from_height=1)
    grants = (tx for block in blocks for raw in block.transactions if (tx := facts.copy.decode(raw)).kind == GRANT)
    pairs = {(tx.body.provider, tx.body.recipient) for tx in grants}
    others = sorted({other for pair in pairs if own in pair for other in pair if other != own})
    now_ms = facts.copy.now_ms()
    missing = [each for each in others if not any(entry.permits(each, now_ms=now_ms) for entry in facts.register)]
    is_required = facts.copy.settings.assessments_required
    return Evidence(
        is_met=not missing,
        evidence=f"data may be shared with {len(others)} members under consents; without a valid assessment: "
        f"{_named(missing) or 'none'}; assessments_required is {str(is_required).lower()}",
        evidence_zh=f"依授权共享的成员 {len(others)} 个,无有效评估:{_named(missing) or '无'}",
    )


def _computations(facts: Facts) -> Evidence:
    # What reads logs brings the libraries of credit, which no other check needs.
    from shuiqiao.credit.store import ComputationStore

    with facts.database() as database:
        store = ComputationStore(database, cipher=facts.cipher(database))
        kept, late = store.count_due(now_ms=0).kept, store.count_unrecorded(before_ms=facts.copy.now_ms() - MS_PER_DAY)
    return Evidence(
        is_met=not late,
        evidence=f"{kept} logs of joint computations kept, {facts.entries[COMPUTATION]} on the ledger by all parties; "
        f"not on the ledger after a day {late}",
        evidence_zh=f"留存多方计算日志 {kept} 份,全网上链 {facts.entries[COMPUTATION]} 份,逾一日未上链 {late} 份",
    )


def _backup(facts: Facts) -> Evidence:
    settings = facts.copy.settings
    if not settings.backup_folder:
        return Evidence(is_met=False, evidence="backup_folder is not set", evidence_zh="未设置 backup_folder")
    with facts.database() as database:
        job = JobStore(database, cipher=facts.cipher(database)).job(duty_id(BACKUP))
    taken_ms = None if job is None or job.code else job.finished_ms
    most_ms = 2 * settings.backup_interval_h * MS_PER_HOUR
    last = "never" if taken_ms is None else iso_from_ms(taken_ms)
    return Evidence(
        is_met=taken_ms is not None and facts.copy.now_ms() - taken_ms <= most_ms,
        evidence=f"the last backup that succeeded: {last}; one every {settings.backup_interval_h} hours wanted"
        + (f"; the last try: {job.code}" if job is not None and job.code else ""),
        evidence_zh=f"最近一次成功备份:{'无' if taken_ms is None else last},应每 {settings.backup_interval_h} 小时一次",
    )


def _named(names: list[str] | list[MemberId]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


CHECKS: Final[Mapping[str, Callable[[Facts], Evidence]]] = {
    "suite": _suite,
    "key_age": _key_age,
    "endpoints": _endpoints,
    "integrity": _integrity,
    "fault_tolerance": _fault_tolerance,
    "regulator": _regulator,
    "record_rules": _record_rules,
    "journal": _journal,
    "two_people": _two_people,
    "second_factor": _second_factor,
    "at_rest": _at_rest,
    "levels": _levels,
    "destruction": _destruction,
    "consent": _consent,
    "disputes": _disputes,
    "incidents": _incidents,
    "assessments": _assessments,
    "computations": _computations,
    "backup": _backup,
}

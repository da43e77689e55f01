"""Seven acts of tampering on copies of the run's real files and documents, each of which must be caught.

What was not touched must still pass, so that catching the rest means something. Nothing here is a flag: the code that
caught an act is the code of the error or problem that was really raised.

The last two need more than a file. The bureau leaves records out of an answer and signs a manifest to match; the
regulator proves it afterwards. And the bureau writes its history again, signed and long enough: as the operator of an
embedded ledger it signs alone, and a follower that holds the first history is to follow; as one validator of several it
can only cosign, which no quorum confirms, and a bank holds its former cosignature against the new one (``watching``).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from shuiqiao.base.clock import MS_PER_HOUR, ManualClock
from shuiqiao.base.durable import DRAFT_SUFFIX, ScratchDisk
from shuiqiao.base.ids import Uscc, new_id
from shuiqiao.base.words import Words
from shuiqiao.exchange.contract import REQUEST, AccessRequestBody
from shuiqiao.exchange.provider import Provider
from shuiqiao.exchange.store import ProviderStore, RecipientStore
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.follower import FollowerLedger
from shuiqiao.ledger.engine.ledger_copy import LedgerCopy
from shuiqiao.ledger.engine.port import EmbeddedSettings, FollowerSettings
from shuiqiao.ledger.model import FIRST_VERSION
from shuiqiao.ledger.replay.check import replay_ledger
from shuiqiao.ledger.store.checkpoint_file import CHECKPOINTS_FOLDER
from shuiqiao.ledger.store.segments import SEGMENTS_FOLDER
from shuiqiao.ledger.transactions.submitter import DRAFT_VALIDITY_MS, LedgerSubmitter
from shuiqiao.ledger.transactions.transaction import TransactionDraft, sign_transaction
from shuiqiao.lending.assessment import unproven_papers
from shuiqiao.lending.contract import DECISION
from shuiqiao.lending.model import PaperInvoice
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.members.model import EngineName
from shuiqiao.node.institution import Institution
from shuiqiao.sandbox.scenario.rebuilding import TimedBlock, execute_blocks, judge, scratch_ledger
from shuiqiao.sandbox.scenario.result import TamperStory
from shuiqiao.sandbox.scenario.scene import NOT_CAUGHT, Scene, code_of
from shuiqiao.sandbox.scenario.watching import former_cosigned, policy_of, sign_checkpoint, watch
from shuiqiao.vault.contract import COMMIT, AnchorCommitBody, LedgerLeaves, batch_lookup
from shuiqiao.vault.disclosure import decode_disclosure, verify_disclosure
from shuiqiao.vault.model import Anchor, LeafRef
from shuiqiao.vault.service import Vault

if TYPE_CHECKING:
    from shuiqiao.consent.model import ConsentArtefact
    from shuiqiao.exchange.model import Accusation
    from shuiqiao.exchange.recipient import ReceivedData
    from shuiqiao.vault.disclosure import Disclosure
    from shuiqiao.vault.inspection import FileCheck

ISSUED = "invoice_issued@2"


def copy_ledger(member: Institution, folder: Path) -> Path:
    """Copy a member's ledger while it is open and no block is under way: what is not derived ([STORE-1])."""
    source = member.home.ledger
    # The checkpoint first: it may be replaced at any moment, and the segments then hold at least what it says.
    # A draft is gone again as soon as it is whole, be it between its listing and its copy.
    drafts = shutil.ignore_patterns(f"*{DRAFT_SUFFIX}")
    shutil.copytree(source / CHECKPOINTS_FOLDER, folder / CHECKPOINTS_FOLDER, ignore=drafts)
    shutil.copytree(source / SEGMENTS_FOLDER, folder / SEGMENTS_FOLDER)
    return folder


def flip_vault_byte(scene: Scene) -> str:
    """Flip one bit in the middle of the largest file of a copy of the bureau's vault.

    That the untouched files pass is what the audit shows; here every batch but the one altered must still pass.
    """
    bureau = scene.bureau
    copy = scene.scratch / "vault"
    shutil.copytree(bureau.home.vault, copy)
    largest = max((copy / "batches").iterdir(), key=lambda path: path.stat().st_size)
    _flip_bit(largest, offset=largest.stat().st_size // 2)
    check = _check_vault(bureau, copy)
    is_named = bool(check.problems) and all(largest.stem in problem.place for problem in check.problems)
    return check.problems[0].code if is_named else NOT_CAUGHT


def flip_ledger_byte(scene: Scene) -> str:
    """Flip one bit in the middle of a segment of a copy of the regulator's ledger, then replay it."""
    regulator = scene.consortium.regulator
    scene.consortium.settle()
    copy = copy_ledger(regulator, scene.scratch / "ledger")
    if _replay_problems(regulator, copy):
        return "the untouched copy does not pass"
    segment = max((copy / "segments").iterdir(), key=lambda path: path.stat().st_size)
    _flip_bit(segment, offset=segment.stat().st_size // 2)
    problems = _replay_problems(regulator, copy)
    return problems[0] if problems else NOT_CAUGHT


def forge_invoice(scene: Scene) -> str:
    """Raise the amount of one proven invoice, and hand in a paper copy of an invoice that never was."""
    received = scene.received
    kept = RecipientStore(scene.bank.database, cipher=scene.bank.cipher).received(received.request)
    assert kept is not None
    forged = _with_doubled_amount(decode_disclosure(kept.disclosure, catalogue=scene.bank.catalogue))
    code = code_of(lambda: _prove(scene, forged))
    paper = PaperInvoice(
        paper="invented", invoice_no="00000000", issue_date=scene.terms.period[1], total_fen=88_888_800
    )
    if unproven_papers([paper], issued=received.tables["invoice_issued"]) != ("invented",):
        return NOT_CAUGHT
    return code


def use_revoked_consent(scene: Scene) -> str:
    """Ask under a consent that the enterprise has just withdrawn."""
    consent = scene.fresh_consent()
    bureau = scene.bureau
    now_ms = bureau.dependencies.clock.now_ms()
    statement = scene.owner.enterprise.revoke(consent, now_ms=now_ms)
    bureau.consent_service.relay(statement.raw)
    scene.bank.catch_up_with(bureau)
    return code_of(lambda: scene.ask(consent))


def use_expired_consent(scene: Scene) -> str:
    """Ask under a consent of one hour in a block after it, on a copy of the ledger: the run cannot wait that long."""
    consent = scene.owner.consent(replace(scene.wanted(), validity_ms=MS_PER_HOUR), bank=scene.bank).artefact
    bureau = scene.bureau
    blocks = map(TimedBlock.of, bureau.engine.blocks(from_height=1))
    with scratch_ledger(bureau, scene.scratch / "later", blocks=blocks) as copy:
        later_ms = consent.valid_to_ms + 1
        return judge(copy, _signed_request(scene, consent, until_ms=later_ms + MS_PER_HOUR), time_ms=later_ms)


def _signed_request(scene: Scene, consent: ConsentArtefact, *, until_ms: int) -> bytes:
    entropy = scene.bank.dependencies.entropy
    body = AccessRequestBody(
        request=new_id(entropy),
        consent=consent.name,
        purpose=consent.purpose,
        mode=consent.modes[0],
        request_digest=entropy(32),
    )
    return _signed(scene.bank, REQUEST, body, until_ms=until_ms)


def _signed(member: Institution, kind: str, body: Struct, *, until_ms: int) -> bytes:
    draft = TransactionDraft(
        kind=kind,
        version=FIRST_VERSION,
        body=body,
        author=member.member,
        valid_until_ms=until_ms,
        id=new_id(member.dependencies.entropy),
    )
    return sign_transaction(draft, network=member.parameters.network, suite=member.suite, keys=[member.keys.signing])


def _prove(scene: Scene, disclosure: Disclosure) -> object:
    state, bureau = scene.bank.engine.state(), scene.bureau.member
    return verify_disclosure(
        disclosure,
        batch_of=batch_lookup(state, bureau),
        suite=scene.bank.suite,
        catalogue=scene.bank.catalogue,
        status_of=LedgerLeaves(state, bureau),
    )


def _with_doubled_amount(disclosure: Disclosure) -> Disclosure:
    """Return the disclosure with the first issued invoice's amounts doubled."""
    return replace(
        disclosure,
        types=tuple(
            replace(entry, rows=_double_first(entry.rows)) if entry.standard == ISSUED else entry
            for entry in disclosure.types
        ),
    )


def _double_first(rows: Any) -> Any:
    import pyarrow as pa

    columns = {name: rows.column(name) for name in rows.schema.names}
    for name in ("amount_fen", "tax_fen", "total_fen"):
        values = columns[name].to_pylist()
        columns[name] = pa.array([values[0] * 2, *values[1:]], type=columns[name].type)
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=rows.schema)


def _check_vault(bureau: Institution, folder: Path) -> FileCheck:
    with closing(
        Vault(
            folder,
            suite=bureau.suite,
            catalogue=bureau.catalogue,
            clock=bureau.dependencies.clock,
            entropy=bureau.dependencies.entropy,
            cipher=bureau.cipher.files,
        )
    ) as vault:
        return vault.verify_files(batch_of=batch_lookup(bureau.engine.state(), bureau.member))


def _replay_problems(member: Institution, folder: Path) -> list[str]:
    replay = replay_ledger(folder, parameters=member.parameters, kinds=member.kinds, key_ring=MemberKeyRing())
    return [f"replay: {problem.rule}" for problem in replay.problems]


def _flip_bit(path: Path, *, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes((byte ^ 0x01,)))


def withhold_record(scene: Scene) -> str:
    """Let the bureau leave the newest invoice out of an answer, and prove it to anybody afterwards."""
    bureau = scene.bureau
    newest = _newest_issued(scene)
    dishonest = Provider(
        submitter=bureau.outbox,
        store=ProviderStore(bureau.database, cipher=bureau.cipher),
        consents=bureau.consent_service,
        vault=_Withholding(bureau.vault, before=newest.day),
        key=bureau.keys.signing,
        suite=bureau.suite,
        catalogue=bureau.catalogue,
        entropy=bureau.dependencies.entropy,
    )
    received = scene.ask(scene.fresh_consent(), provider=dishonest)
    if newest.leaf in received.records.types[ISSUED].leaves:
        return NOT_CAUGHT
    accusation = _accuse(scene, received, newest.leaf)
    return "exchange.record_withheld" if accusation.provider == bureau.member else NOT_CAUGHT


@dataclass(frozen=True, slots=True, kw_only=True)
class _Newest:
    leaf: LeafRef
    day: date


class _Withholding:
    """A vault that hides what is dated on or after a day, and says nothing about it."""

    def __init__(self, vault: Vault, *, before: date) -> None:
        self._vault = vault
        self._last = before - timedelta(days=1)

    def disclose(
        self, *, uscc: Uscc, groups: Mapping[str, Sequence[str]], period_from: date, period_to: date
    ) -> Disclosure:
        """Return an answer that claims the whole period and holds less."""
        shorter = self._vault.disclose(
            uscc=uscc, groups=groups, period_from=period_from, period_to=self._end(period_from)
        )
        return replace(shorter, period_to=period_to)

    def settle(self, *, uscc: Uscc, type_ids: Iterable[str], anchor: Anchor) -> None:
        """Let the vault catch up with the ledger."""
        self._vault.settle(uscc=uscc, type_ids=type_ids, anchor=anchor)

    def revision(self) -> int:
        """Return the vault's own."""
        return self._vault.revision()

    def count_live(self, *, uscc: Uscc, type_id: str, period_from: date, period_to: date) -> dict[str, int]:
        """Return counts that agree with what is disclosed, whatever end is asked for."""
        del period_to
        end = self._end(period_from)
        return self._vault.count_live(uscc=uscc, type_id=type_id, period_from=period_from, period_to=end)

    def live_leaves(self, *, uscc: Uscc, type_id: str, period_from: date, period_to: date) -> list[LeafRef]:
        """Return places that agree with what is disclosed, whatever end is asked for."""
        del period_to
        end = self._end(period_from)
        return self._vault.live_leaves(uscc=uscc, type_id=type_id, period_from=period_from, period_to=end)

    def _end(self, period_from: date) -> date:
        return max(self._last, period_from)


def _newest_issued(scene: Scene) -> _Newest:
    """Return the place and day of the enterprise's last issued invoice, as the bank proved it."""
    entry = scene.received.records.types[ISSUED]
    days: list[date] = entry.rows.column("issue_date").to_pylist()
    place = max(range(len(days)), key=lambda index: days[index])
    return _Newest(leaf=entry.leaves[place], day=days[place])


def _accuse(scene: Scene, received: ReceivedData, leaf: LeafRef) -> Accusation:
    """On the bureau's premises the regulator finds the record; with the bank's manifest it proves the omission."""
    bureau, regulator = scene.bureau, scene.consortium.regulator
    regulator.catch_up_with(bureau)
    return regulator.accuse_of_withholding(
        received.manifest_bytes,
        delivered=received.records.types[ISSUED].leaves,
        record=bureau.vault.prove_record(leaf, groups=["core"]),
        provider=bureau.member,
    )


def _rewrite_as_operator(scene: Scene) -> str:
    """Let the operator sign the new log as it signed the old one; a follower that holds the first one is to follow."""
    scene.bank.catch_up_with(scene.bureau)
    bureau = scene.bureau
    clock = ManualClock(bureau.parameters.genesis_time_ms)
    with closing(
        EmbeddedLedger.open(
            scene.scratch / "rewritten",
            parameters=bureau.parameters,
            kinds=bureau.kinds,
            key_ring=MemberKeyRing(),
            clock=clock,
            operator_key=bureau.keys.signing,
            settings=EmbeddedSettings(linger_ms=0, disk=ScratchDisk()),
        )
    ) as rewritten:
        _write_again(bureau, rewritten, clock=clock)
        copy = copy_ledger(scene.bank, scene.scratch / "follower")
        return _follow(scene.bank, copy, writer=rewritten)


def _write_again(bureau: Institution, rewritten: EmbeddedLedger, *, clock: ManualClock) -> None:
    """Submit every block at its own time but for one decision, then as many anchors of nothing as hide the gap."""
    for block in _without_one_decision(bureau):
        clock.advance(max(0, block.time_ms - clock.now_ms()))
        for future in [rewritten.submit(raw) for raw in block.transactions]:
            future.result()
    forger = LedgerSubmitter(
        rewritten,
        member=bureau.member,
        key=bureau.keys.signing,
        kinds=bureau.kinds,
        suite=bureau.suite,
        clock=clock,
        entropy=bureau.dependencies.entropy,
    )
    while rewritten.checkpoint().size <= bureau.engine.checkpoint().size:
        forger.submit(COMMIT, _anchor_of_nothing(bureau))


def _without_one_decision(bureau: Institution) -> Iterator[TimedBlock]:
    """Yield what every block is made from, the first decision left out."""
    is_left_out = False
    for block in bureau.engine.blocks(from_height=1):
        kept = list(block.transactions)
        if not is_left_out:
            decisions = [raw for raw in kept if bureau.outbox.decode(raw).kind == DECISION]
            is_left_out = bool(decisions)
            kept = [raw for raw in kept if raw not in decisions[:1]]
        yield TimedBlock(time_ms=block.time_ms, transactions=kept)


def _anchor_of_nothing(bureau: Institution) -> AnchorCommitBody:
    """Return the anchor of a batch of one record that nobody has, under random names."""
    entropy = bureau.dependencies.entropy
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
    with closing(
        FollowerLedger.open(
            folder,
            parameters=bank.parameters,
            kinds=bank.kinds,
            key_ring=MemberKeyRing(),
            clock=bank.dependencies.clock,
            writer=writer,
            settings=FollowerSettings(),
        )
    ) as follower:
        return code_of(follower.sync)


def _rewrite_as_validator(scene: Scene) -> str:
    """Let one validator write the log again and cosign it; a bank that knows its former cosignature watches it."""
    scene.bank.catch_up_with(scene.bureau)
    bureau, bank = scene.bureau, scene.bank
    former = former_cosigned(scene.consortium, member=bureau)
    with scratch_ledger(bureau, scene.scratch / "rewritten", blocks=_without_one_decision(bureau)) as copy:
        _grow_beyond(copy, bureau=bureau, size=former.size)
        new = sign_checkpoint(bureau, policy=policy_of(bureau), size=copy.head.size, root=copy.head.root)
        proof = copy.consistency_proof(old_size=former.size, new_size=new.size)
        return watch(
            bank, first=former, second=new, proof=proof, accused=bureau.member, folder=scene.scratch / "watch"
        ).code


def _grow_beyond(copy: LedgerCopy, *, bureau: Institution, size: int) -> None:
    """Add anchors of nothing until the log is longer than it was, so that its length does not give it away."""
    while copy.head.size <= size:
        until_ms = bureau.dependencies.clock.now_ms() + DRAFT_VALIDITY_MS
        raw = _signed(bureau, COMMIT, _anchor_of_nothing(bureau), until_ms=until_ms)
        for _ in execute_blocks(copy, [TimedBlock(time_ms=copy.head.time_ms + 1, transactions=[raw])]):
            pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One act. check: its field of ``TamperChecks``. code_begins: how the code begins that must catch it."""

    check: str
    run: Callable[[Scene], str]
    act: Words
    caught_by: Words
    code_begins: str


_ACTS = (
    Act(
        check="vault_byte_flip_caught",
        run=flip_vault_byte,
        act=Words(
            en="One bit was flipped in the middle of a batch file in a copy of the bureau's vault.",
            zh="在税务局数据库副本的批次文件中间翻转一个比特。",
        ),
        caught_by=Words(
            en="What is encrypted does not open any more, or its leaves no longer lead to the root on the ledger.",
            zh="密文无法再打开，或逐条重算的叶子哈希与账本上的根不再一致。",
        ),
        code_begins="vault.",
    ),
    Act(
        check="ledger_byte_flip_caught",
        run=flip_ledger_byte,
        act=Words(
            en="One bit was flipped in a segment of a copy of the regulator's ledger.",
            zh="在监管方账本副本的分段文件中翻转一个比特。",
        ),
        caught_by=Words(
            en="The replay from genesis named the file and the byte.",
            zh="自创世起重放时指出了文件与位置。",
        ),
        code_begins="replay: ",
    ),
    Act(
        check="forged_invoice_caught",
        run=forge_invoice,
        act=Words(
            en="The amounts of one disclosed invoice were doubled, and a paper copy of an invented one handed in.",
            zh="将一张已披露发票的金额翻倍，并提交一张虚构发票的纸质复印件。",
        ),
        caught_by=Words(
            en="The altered record is no leaf of an anchored batch; the invented one is in no proven record.",
            zh="被改的记录不属于任何锚定批次；虚构发票在已证明的记录中不存在。",
        ),
        code_begins="vault.leaf_mismatch",
    ),
    Act(
        check="revoked_consent_refused",
        run=use_revoked_consent,
        act=Words(
            en="A bank asked under a consent that the enterprise had just withdrawn.",
            zh="企业刚撤销授权，银行仍凭该授权请求数据。",
        ),
        caught_by=Words(
            en="The ledger refused the request: the consent is revoked.",
            zh="账本拒绝请求：授权已撤销。",
        ),
        code_begins="consent.revoked",
    ),
    Act(
        check="expired_consent_refused",
        run=use_expired_consent,
        act=Words(
            en="A bank asked in the first block after a consent's last hour, on a copy of the ledger.",
            zh="在账本副本上，授权到期后的第一个区块中，银行仍凭该授权请求数据。",
        ),
        caught_by=Words(
            en="The ledger's rules refused the request: the consent has expired.",
            zh="账本拒绝请求：授权已过期。",
        ),
        code_begins="consent.expired",
    ),
    Act(
        check="withheld_record_caught",
        run=withhold_record,
        act=Words(
            en="The bureau left the newest invoices out of an answer and signed a manifest to match.",
            zh="税务局在答复中隐去最新发票，并签署与之相符的清单。",
        ),
        caught_by=Words(
            en="The regulator proved an anchored record of the period that the signed manifest leaves out.",
            zh="监管方证明：该期间内有一条已锚定的记录未列入所签清单。",
        ),
        code_begins="exchange.record_withheld",
    ),
)

_REWRITES: Mapping[EngineName, Act] = {
    EngineName.EMBEDDED: Act(
        check="operator_rewrite_caught_by_follower",
        run=_rewrite_as_operator,
        act=Words(
            en="The operator wrote its log again without one decision, a little longer, and signed it.",
            zh="写入节点重写日志，抹去一笔审批并补足长度后重新签名。",
        ),
        caught_by=Words(
            en="A bank's follower compared the signed roots, raised an alarm with both notes, and stopped.",
            zh="银行的跟随节点比对签名的根，保留两份检查点作为证据并告警停机。",
        ),
        code_begins="ledger.fork_detected",
    ),
    EngineName.COMETBFT: Act(
        check="operator_rewrite_caught_by_follower",
        run=_rewrite_as_validator,
        act=Words(
            en="The bureau wrote the log again without one decision, longer, and cosigned it as a validator.",
            zh="税务局重写日志，抹去一笔审批并补足长度，再以验证节点身份签名。",
        ),
        caught_by=Words(
            en="A bank held its two cosignatures against each other: evidence that anybody can check.",
            zh="银行比对其前后两次签名，得到任何人都可核验的分叉证据。",
        ),
        code_begins="ledger.fork_detected",
    ),
}
"""Who could write the log again: the operator who signs alone, or one of those who sign together."""


def try_tampering(scene: Scene) -> tuple[TamperStory, ...]:
    """Commit every act and return what caught it."""
    return tuple(_story(act, scene) for act in (*_ACTS, _REWRITES[scene.consortium.prepared.engine]))


def _story(act: Act, scene: Scene) -> TamperStory:
    code = act.run(scene)
    return TamperStory(
        check=act.check, act=act.act, caught_by=act.caught_by, code=code, caught=code.startswith(act.code_begins)
    )

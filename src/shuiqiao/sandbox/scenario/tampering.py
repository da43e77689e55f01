"""Seven acts of tampering on copies of the run's real files and documents, each of which must be caught.

Every act first shows that the untouched copy passes, so that catching it means something. Nothing here is a flag: the
code that caught an act is the code of the error or problem that was really raised.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shuiqiao.base.clock import MS_PER_SECOND, ManualClock
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import Uscc
from shuiqiao.exchange.accusation import WithheldEvidence, prove_withheld
from shuiqiao.exchange.provider import Provider
from shuiqiao.exchange.store import ProviderStore
from shuiqiao.ledger.check import replay_ledger
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.follower import FollowerLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings, FollowerSettings
from shuiqiao.ledger.submitter import DirectSubmitter
from shuiqiao.lending.papers import PaperInvoice, unproven_papers
from shuiqiao.members.contract import MemberKeyRing
from shuiqiao.node.verification import ReceiptVerifier
from shuiqiao.sandbox.scenario.cast import Consortium
from shuiqiao.sandbox.scenario.enterprises import EnterpriseOwner
from shuiqiao.sandbox.scenario.evidence import Evidence, gather, tables_of
from shuiqiao.sandbox.scenario.journey import Underwriting
from shuiqiao.sandbox.scenario.refusals import wish_of
from shuiqiao.sandbox.scenario.result import TamperStory
from shuiqiao.sandbox.scenario.words import TAMPER_WORDS
from shuiqiao.vault.contract import AnchorCommitBody, batch_lookup, leaf_lookup
from shuiqiao.vault.model import LeafRef
from shuiqiao.vault.proofs import verify_disclosure
from shuiqiao.vault.service import Vault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shuiqiao.exchange.recipient import ReceivedData
    from shuiqiao.node.institution import Institution
    from shuiqiao.vault.disclosure import Disclosure

SHORT_VALIDITY_MS = 1_500
NOT_CAUGHT = "not_caught"
_ISSUED = "invoice_issued@1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TamperScene:
    """What the acts play with: the open consortium, one enterprise with proven evidence, and a folder for copies."""

    consortium: Consortium
    owner: EnterpriseOwner
    bank: Institution
    terms: Underwriting
    evidence: Evidence
    scratch: Path


def play_tampering(scene: TamperScene) -> tuple[TamperStory, ...]:
    """Commit every act and return what caught it."""
    acts: dict[str, Callable[[TamperScene], str]] = {
        "vault_byte_flip_caught": flip_vault_byte,
        "ledger_byte_flip_caught": flip_ledger_byte,
        "forged_invoice_caught": forge_invoice,
        "revoked_consent_refused": use_revoked_consent,
        "expired_consent_refused": use_expired_consent,
        "withheld_record_caught": withhold_record,
        "operator_rewrite_caught_by_follower": rewrite_history,
    }
    return tuple(_story(name, act(scene)) for name, act in acts.items())


def flip_vault_byte(scene: TamperScene) -> str:
    """Flip one bit in the middle of the largest file of a copy of the bureau's vault."""
    bureau = scene.consortium.bureau
    copy = scene.scratch / "vault"
    shutil.copytree(bureau.home.vault, copy)
    if _vault_problems(bureau, copy):
        return "the untouched copy does not pass"
    largest = max((copy / "batches").iterdir(), key=lambda path: path.stat().st_size)
    _flip_bit(largest, offset=largest.stat().st_size // 2)
    problems = _vault_problems(bureau, copy)
    return problems[0] if problems else NOT_CAUGHT


def flip_ledger_byte(scene: TamperScene) -> str:
    """Flip one bit in the middle of a segment of a copy of the regulator's ledger, then replay it."""
    regulator = scene.consortium.regulator
    copy = _copy_ledger(regulator, scene.scratch / "ledger")
    if _replay_problems(regulator, copy):
        return "the untouched copy does not pass"
    segment = max((copy / "segments").iterdir(), key=lambda path: path.stat().st_size)
    _flip_bit(segment, offset=segment.stat().st_size // 2)
    problems = _replay_problems(regulator, copy)
    return problems[0] if problems else NOT_CAUGHT


def forge_invoice(scene: TamperScene) -> str:
    """Raise the amount of one proven invoice, and hand in a paper copy of an invoice that never was."""
    received = scene.evidence.received
    forged = _with_doubled_amount(received.disclosure)
    code = _code_of(lambda: _prove(scene, forged))
    paper = PaperInvoice(paper="invented", invoice_no="00000000", issue_date=scene.terms.as_of, total_fen=88_888_800)
    if unproven_papers([paper], issued=tables_of(received)["invoice_issued"]) != ("invented",):
        return NOT_CAUGHT
    return code


def use_revoked_consent(scene: TamperScene) -> str:
    """Ask under a consent that the enterprise has just withdrawn."""
    consent = scene.owner.consent(wish_of(scene), bank=scene.bank).artefact.consent
    bureau = scene.consortium.bureau
    now_ms = bureau.surroundings.clock.now_ms()
    statement = scene.owner.enterprise.revoke(consent, relay=bureau.member, now_ms=now_ms)
    bureau.consent_desk.relay(statement.raw)
    scene.bank.sync()
    return _code_of(lambda: _ask(scene, consent))


def use_expired_consent(scene: TamperScene) -> str:
    """Ask under a consent after its last moment."""
    wish = replace(wish_of(scene), validity_ms=SHORT_VALIDITY_MS)
    consent = scene.owner.consent(wish, bank=scene.bank).artefact.consent
    time.sleep((SHORT_VALIDITY_MS + 50) / MS_PER_SECOND)
    return _code_of(lambda: _ask(scene, consent))


def withhold_record(scene: TamperScene) -> str:
    """Let the bureau leave the newest invoice out of an answer, and prove it to anybody afterwards."""
    bureau = scene.consortium.bureau
    newest = _newest_issued(scene)
    dishonest = Provider(
        submitter=bureau.outbox,
        store=ProviderStore(bureau.database),
        desk=bureau.consent_desk,
        vault=_Withholding(bureau.vault, before=newest.day),
        key=bureau.keys.signing,
        suite=bureau.suite,
        catalogue=bureau.catalogue,
        entropy=bureau.surroundings.entropy,
    )
    consent = scene.owner.consent(wish_of(scene), bank=scene.bank).artefact.consent
    evidence = gather(
        scene.bank,
        bureau=bureau,
        consent=consent,
        items=scene.terms.items,
        period=scene.terms.period,
        provider=dishonest,
    )
    if newest.leaf in _delivered(evidence.received):
        return NOT_CAUGHT
    accusation = _accuse(scene, evidence.received, newest.leaf)
    return "exchange.record_withheld" if accusation.provider == bureau.member else NOT_CAUGHT


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
        settings=EmbeddedSettings(linger_ms=0),
    )
    try:
        _write_again(bureau, rewritten, clock=clock)
        copy = _copy_ledger(scene.bank, scene.scratch / "follower")
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
        standard=_ISSUED,
        period_from="2020-01-01",
        period_to="2020-01-31",
        count=1,
        depth=0,
        root=entropy(32),
    )


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


def _story(check: str, code: str) -> TamperStory:
    words = TAMPER_WORDS[check]
    return TamperStory(
        check=check,
        act_en=words.act_en,
        act_zh=words.act_zh,
        caught_by_en=words.caught_by_en,
        caught_by_zh=words.caught_by_zh,
        code=code,
        caught=code.startswith(words.code_begins),
    )


def _ask(scene: TamperScene, consent: bytes) -> object:
    return gather(
        scene.bank,
        bureau=scene.consortium.bureau,
        consent=consent,
        items=scene.terms.items,
        period=scene.terms.period,
    )


def _code_of(act: Callable[[], object]) -> str:
    """Return the stable code that refused an act."""
    try:
        act()
    except ShuiqiaoError as error:
        return error.code
    return NOT_CAUGHT


def _prove(scene: TamperScene, disclosure: Disclosure) -> object:
    state = scene.bank.engine.state()
    return verify_disclosure(
        disclosure,
        batch_of=batch_lookup(state),
        suite=scene.bank.suite,
        catalogue=scene.bank.catalogue,
        status_of=leaf_lookup(state),
    )


def _with_doubled_amount(disclosure: Disclosure) -> Disclosure:
    """Return the disclosure with the first issued invoice's amounts doubled."""
    return replace(
        disclosure,
        types=tuple(
            replace(entry, rows=_double_first(entry.rows)) if entry.standard == _ISSUED else entry
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


def _newest_issued(scene: TamperScene) -> _Newest:
    """Return the place and day of the enterprise's last issued invoice, as the bank proved it."""
    entry = scene.evidence.received.records.types[_ISSUED]
    days: list[date] = entry.rows.column("issue_date").to_pylist()
    place = max(range(len(days)), key=lambda index: days[index])
    batch = entry.batches[int(entry.batch_numbers[place])]
    return _Newest(leaf=LeafRef(batch=batch, index=int(entry.indexes[place])), day=days[place])


def _delivered(received: ReceivedData) -> list[LeafRef]:
    entry = received.records.types[_ISSUED]
    return [
        LeafRef(batch=entry.batches[int(number)], index=int(index))
        for number, index in zip(entry.batch_numbers, entry.indexes, strict=True)
    ]


def _accuse(scene: TamperScene, received: ReceivedData, leaf: LeafRef) -> Any:
    """On the bureau's premises the regulator finds the record; with the bank's manifest it proves the omission."""
    bureau, regulator = scene.consortium.bureau, scene.consortium.regulator
    regulator.sync()
    verifier = ReceiptVerifier(parameters=regulator.parameters, suite=regulator.suite)
    state = regulator.engine.state()
    return prove_withheld(
        WithheldEvidence(
            manifest=received.manifest_bytes,
            delivered=_delivered(received),
            record=bureau.vault.prove_record(leaf, groups=["core"]),
            anchor=verifier.verify(regulator.engine.receipt(_anchor_index(regulator, leaf.batch))),
        ),
        provider_key=bureau.keys.signing.public_key,
        network=regulator.parameters.network,
        batch_of=batch_lookup(state),
        status_of=leaf_lookup(state),
        suite=regulator.suite,
        catalogue=regulator.catalogue,
    )


def _anchor_index(member: Institution, batch: bytes) -> int:
    """Return the leaf index of the anchor.commit of a batch."""
    from shuiqiao.oversight.statistics import indexed_transactions

    return next(
        index
        for index, tx in indexed_transactions(member.engine, kinds=member.kinds)
        if tx.kind == "anchor.commit" and tx.body.batch == batch
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
        return _code_of(follower.sync)
    finally:
        follower.close()


def _vault_problems(bureau: Institution, folder: Path) -> list[str]:
    vault = Vault.open(
        folder,
        suite=bureau.suite,
        catalogue=bureau.catalogue,
        clock=bureau.surroundings.clock,
        entropy=bureau.surroundings.entropy,
    )
    try:
        check = vault.verify_files(batch_of=batch_lookup(bureau.engine.state()))
    finally:
        vault.close()
    return [problem.code for problem in check.problems]


def _replay_problems(member: Institution, folder: Path) -> list[str]:
    replay = replay_ledger(folder, parameters=member.parameters, kinds=member.kinds, key_ring=MemberKeyRing())
    return [f"replay: {problem.rule}" for problem in replay.problems]


def _copy_ledger(member: Institution, folder: Path) -> Path:
    """Copy a member's ledger folder while it rests: the engine has no block under way."""
    member.sync()
    shutil.copytree(member.home.ledger, folder, ignore=shutil.ignore_patterns("*.lock", "lock"))
    return folder


def _flip_bit(path: Path, *, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes((byte ^ 0x01,)))

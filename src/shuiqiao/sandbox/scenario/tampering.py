"""Seven acts of tampering on copies of the run's real files and documents, each of which must be caught.

What was not touched must still pass, so that catching the rest means something. Nothing here is a flag: the code that
caught an act is the code of the error or problem that was really raised.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shuiqiao.base.clock import MS_PER_HOUR
from shuiqiao.base.ids import new_id
from shuiqiao.exchange.contract import REQUEST, AccessRequestBody
from shuiqiao.ledger.model import FIRST_VERSION
from shuiqiao.ledger.replay.check import replay_ledger
from shuiqiao.ledger.transactions.transaction import TransactionDraft, sign_transaction
from shuiqiao.lending.papers import PaperInvoice, unproven_papers
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.members.model import EngineName
from shuiqiao.sandbox.scenario.evidence import gather, tables_of
from shuiqiao.sandbox.scenario.rebuilding import TimedBlock, execute_blocks, judge, machine_of, open_unflushed
from shuiqiao.sandbox.scenario.refusals import wish_of
from shuiqiao.sandbox.scenario.result import TamperStory
from shuiqiao.sandbox.scenario.rewriting import rewrite_history
from shuiqiao.sandbox.scenario.tamper_scene import ISSUED, NOT_CAUGHT, TamperScene, code_of, copy_ledger
from shuiqiao.sandbox.scenario.withholding import withhold_record
from shuiqiao.sandbox.scenario.words import TAMPER_WORDS, VALIDATOR_WORDS, TamperWords
from shuiqiao.vault.contract import batch_lookup, leaf_lookup
from shuiqiao.vault.disclosure import verify_disclosure
from shuiqiao.vault.service import Vault

if TYPE_CHECKING:
    from shuiqiao.base.ids import OwnedId
    from shuiqiao.consent.model import ConsentArtefact
    from shuiqiao.node.institution import Institution
    from shuiqiao.vault.disclosure import Disclosure
    from shuiqiao.vault.inspection import FileCheck


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
    words = _WORDS[scene.consortium.stage.engine]
    return tuple(_story(name, act(scene), words=words[name]) for name, act in acts.items())


def flip_vault_byte(scene: TamperScene) -> str:
    """Flip one bit in the middle of the largest file of a copy of the bureau's vault.

    That the untouched files pass is what the audit shows; here every batch but the one altered must still pass.
    """
    bureau = scene.consortium.bureau
    copy = scene.scratch / "vault"
    shutil.copytree(bureau.home.vault, copy)
    largest = max((copy / "batches").iterdir(), key=lambda path: path.stat().st_size)
    _flip_bit(largest, offset=largest.stat().st_size // 2)
    check = _check_vault(bureau, copy)
    is_named = bool(check.problems) and all(largest.stem in problem.place for problem in check.problems)
    return check.problems[0].code if is_named else NOT_CAUGHT


def flip_ledger_byte(scene: TamperScene) -> str:
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


def forge_invoice(scene: TamperScene) -> str:
    """Raise the amount of one proven invoice, and hand in a paper copy of an invoice that never was."""
    received = scene.evidence.received
    forged = _with_doubled_amount(received.disclosure)
    code = code_of(lambda: _prove(scene, forged))
    paper = PaperInvoice(paper="invented", invoice_no="00000000", issue_date=scene.terms.as_of, total_fen=88_888_800)
    if unproven_papers([paper], issued=tables_of(received)["invoice_issued"]) != ("invented",):
        return NOT_CAUGHT
    return code


def use_revoked_consent(scene: TamperScene) -> str:
    """Ask under a consent that the enterprise has just withdrawn."""
    consent = scene.owner.consent(wish_of(scene), bank=scene.bank).artefact.name
    bureau = scene.consortium.bureau
    now_ms = bureau.surroundings.clock.now_ms()
    statement = scene.owner.enterprise.revoke(consent, now_ms=now_ms)
    bureau.consent_desk.relay(statement.raw)
    scene.bank.catch_up_with(bureau)
    return code_of(lambda: _ask(scene, consent))


def use_expired_consent(scene: TamperScene) -> str:
    """Ask under a consent of one hour in a block after it, on a copy of the ledger: the run cannot wait that long."""
    consent = scene.owner.consent(replace(wish_of(scene), validity_ms=MS_PER_HOUR), bank=scene.bank).artefact
    bureau = scene.consortium.bureau
    copy = open_unflushed(scene.scratch / "later", machine=machine_of(bureau.parameters, kinds=bureau.kinds))
    try:
        blocks = bureau.engine.blocks(from_height=1)
        for _ in execute_blocks(copy, (TimedBlock(time_ms=b.time_ms, transactions=b.transactions) for b in blocks)):
            pass
        later_ms = consent.valid_to_ms + 1
        return judge(copy, _signed_request(scene, consent, until_ms=later_ms + MS_PER_HOUR), time_ms=later_ms)
    finally:
        copy.close()


def _signed_request(scene: TamperScene, consent: ConsentArtefact, *, until_ms: int) -> bytes:
    bank, entropy = scene.bank, scene.bank.surroundings.entropy
    body = AccessRequestBody(
        request=new_id(entropy),
        consent=consent.name,
        purpose=consent.purpose,
        mode=consent.modes[0],
        request_digest=entropy(32),
    )
    draft = TransactionDraft(
        kind=REQUEST,
        version=FIRST_VERSION,
        body=body,
        author=bank.member,
        valid_until_ms=until_ms,
        id=new_id(entropy),
    )
    return sign_transaction(draft, network=bank.parameters.network, suite=bank.suite, keys=[bank.keys.signing])


_WORDS: Mapping[EngineName, Mapping[str, TamperWords]] = {
    EngineName.EMBEDDED: TAMPER_WORDS,
    EngineName.COMETBFT: VALIDATOR_WORDS,
}


def _story(check: str, code: str, *, words: TamperWords) -> TamperStory:
    return TamperStory(
        check=check,
        act_en=words.act_en,
        act_zh=words.act_zh,
        caught_by_en=words.caught_by_en,
        caught_by_zh=words.caught_by_zh,
        code=code,
        caught=code.startswith(words.code_begins),
    )


def _ask(scene: TamperScene, consent: OwnedId) -> object:
    return gather(
        scene.bank,
        bureau=scene.consortium.bureau,
        consent=consent,
        items=scene.terms.items,
        period=scene.terms.period,
    )


def _prove(scene: TamperScene, disclosure: Disclosure) -> object:
    state, bureau = scene.bank.engine.state(), scene.consortium.bureau.member
    return verify_disclosure(
        disclosure,
        batch_of=batch_lookup(state, bureau),
        suite=scene.bank.suite,
        catalogue=scene.bank.catalogue,
        status_of=leaf_lookup(state, bureau),
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
    vault = Vault.open(
        folder,
        suite=bureau.suite,
        catalogue=bureau.catalogue,
        clock=bureau.surroundings.clock,
        entropy=bureau.surroundings.entropy,
    )
    try:
        return vault.verify_files(batch_of=batch_lookup(bureau.engine.state(), bureau.member))
    finally:
        vault.close()


def _replay_problems(member: Institution, folder: Path) -> list[str]:
    replay = replay_ledger(folder, parameters=member.parameters, kinds=member.kinds, key_ring=MemberKeyRing())
    return [f"replay: {problem.rule}" for problem in replay.problems]


def _flip_bit(path: Path, *, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes((byte ^ 0x01,)))

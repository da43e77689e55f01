"""What is written of a finished run: receipts and model on disk, the JSON contract's figures, the report's details.

Who saw what, and what each party never received, is counted from the answers that were really proven.
Fields and bits of one applicant are those of the bureau's leakage account.
"""

from __future__ import annotations

import os
import platform
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING

from shuiqiao.base.clock import iso_from_ms
from shuiqiao.base.files import make_shared_folder, share_file
from shuiqiao.base.words import Words
from shuiqiao.consent.contract import GRANT
from shuiqiao.credit.model_card import model_card, model_card_markdown
from shuiqiao.credit.scorecard import encode_scorecard, scorecard_digest
from shuiqiao.features.catalogue import FEATURE_BY_NAME
from shuiqiao.lending.model import RULE_WORDS, Outcome
from shuiqiao.oversight.openings import indexed_transactions
from shuiqiao.sandbox.scenario.consortium import BANKS, BUREAU, FOUNDERS, LEAD_BANK, REGULATOR, Consortium
from shuiqiao.sandbox.scenario.result import (
    AuditFigures,
    Curve,
    DecisionCounts,
    DecisionRow,
    LedgerFigures,
    ModelDetails,
    ModelFigures,
    Party,
    Percentiles,
    RecordManagement,
    ScenarioDetails,
    ScenarioFigures,
    ScenarioResult,
    Share,
    TamperChecks,
    Visibility,
)
from shuiqiao.sandbox.scenario.story import DecidedApplication, FinishedRun
from shuiqiao.vault.ingest.quarantine import rows_by_rule

if TYPE_CHECKING:
    from shuiqiao.credit.discrimination import CurvePoint
    from shuiqiao.credit.validation import Validation
    from shuiqiao.node.institution import Institution

RECEIPT_KINDS = frozenset({GRANT, "anchor.commit", "access.deliver", "decision.record"})
"""Kinds of which every transaction gets a receipt file."""

_HEX = 16
_PLACES = 4


def summarise(finished: FinishedRun) -> ScenarioResult:
    """Write the receipts and return figures and details; the institutions are still open."""
    settings = finished.run.settings
    receipts = settings.folder / "receipts"
    paths = _write_receipts(finished.run.consortium, receipts)
    _write_model(finished, settings.folder / "model")
    figures = _figures(finished, receipts=receipts, report=settings.folder / "report.html")
    example = next(path for path in paths if path.name.startswith("decision"))
    return ScenarioResult(
        figures=figures, details=_details(finished, paths=paths, example=example), folder=settings.folder
    )


def _write_receipts(consortium: Consortium, folder: Path) -> list[Path]:
    """Write a receipt for every transaction that somebody outside may want to verify."""
    make_shared_folder(folder)
    engine = consortium.bureau.engine
    paths: list[Path] = []
    for index, tx in indexed_transactions(engine, kinds=consortium.bureau.kinds):
        if tx.kind in RECEIPT_KINDS:
            path = folder / f"{tx.kind.split('.', maxsplit=1)[0]}-{index:06d}.receipt"
            path.write_bytes(engine.receipt(index))
            share_file(path)
            paths.append(path)
    return paths


def _write_model(finished: FinishedRun, folder: Path) -> None:
    """Write the scorecard as it would be put into use, and its model card for people."""
    folder.mkdir(parents=True, exist_ok=True)
    model = finished.model
    (folder / "scorecard.json").write_bytes(encode_scorecard(model.card))
    content = model_card(model.card, validation=model.validation, data=f"{finished.run.settings.data.source.en}.")
    (folder / "model-card.md").write_text(model_card_markdown(content), encoding="utf-8")


def _figures(finished: FinishedRun, *, receipts: Path, report: Path) -> ScenarioFigures:
    run, ingest = finished.run, finished.ingest
    kinds = finished.transactions_by_kind
    ingest_s = run.step_seconds["ingest and anchor 入库锚定"]
    return ScenarioFigures(
        network=run.consortium.bureau.parameters.network.hex(),
        suite=str(run.settings.suite),
        taxpayers=len(run.settings.data.population.applicants),
        records_read=ingest.records_read,
        records_ingested=ingest.records_ingested,
        records_quarantined=ingest.records_quarantined,
        duplicates_reported=ingest.duplicates_reported,
        anchors=ingest.anchors,
        ingest_records_per_s=round(ingest.records_read / ingest_s),
        consents=kinds.get(GRANT, 0),
        requests=kinds.get("access.request", 0),
        refusals=run.refusals.total(),
        decisions=_decision_counts(finished.decided),
        decision_ms=_percentiles([each.milliseconds for each in finished.decided]),
        model=_model_figures(finished.model.validation),
        ledger=LedgerFigures(
            transactions=sum(kinds.values()), height=finished.audit.height, root=finished.checkpoint.root.hex()
        ),
        audit=AuditFigures(
            replayed=finished.audit.replayed,
            root_matches=finished.audit.root_matches,
            signatures_verified=finished.audit.signatures_verified,
            anchors_verified=finished.audit.anchors_verified,
        ),
        record_management_only=RecordManagement(
            kinds_walked=finished.audit.record_rules.kinds_walked,
            mint_refused=finished.audit.record_rules.mint_refused,
            transfer_refused=finished.audit.record_rules.transfer_refused,
        ),
        tamper_checks=TamperChecks(**{story.check: story.caught for story in finished.tamper}),
        network_checks=finished.network,
        who_saw_what=finished.modes.who_saw_what,
        modes_refused=finished.modes.refused,
        receipts_dir=str(receipts),
        report=str(report),
    )


def _details(finished: FinishedRun, *, paths: Sequence[Path], example: Path) -> ScenarioDetails:
    run = finished.run
    data, consortium = run.settings.data, run.consortium
    received = [*finished.development, *(each.received for each in finished.decided)]
    return ScenarioDetails(
        started=iso_from_ms(consortium.bureau.parameters.genesis_time_ms),
        data_source=data.source,
        is_synthetic=data.is_synthetic,
        parties=tuple(_parties(consortium)),
        step_seconds=dict(run.step_seconds),
        transactions_by_kind=finished.transactions_by_kind,
        kept_out=rows_by_rule(finished.ingest.report),
        refusals_by_code=dict(run.refusals),
        decisions=tuple(_decision_row(each) for each in finished.decided),
        model=_model_details(finished),
        tamper=finished.tamper,
        visibility=_visibility(finished),
        records_disclosed=sum(entry.records.record_count for entry in received),
        bytes_disclosed=finished.bytes_disclosed,
        receipts=len(paths),
        receipt_example=shlex.join(
            ["shuiqiao", "verify", str(example), "--genesis", str(run.settings.folder / "genesis.json")]
        ),
        checkpoint_note=finished.checkpoint.note.decode(),
        release=finished.release,
        followers=finished.heights,
        assumptions=data.assumptions,
        audit_problems=finished.audit.problems,
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    )


def _parties(consortium: Consortium) -> Iterator[Party]:
    members = {member.member: member for member in consortium.members}
    for founder in FOUNDERS:
        found = members[founder.member]
        yield Party(
            member=founder.member,
            role=str(founder.role),
            names=founder.names,
            share=_share_of(found, consortium=consortium),
            fingerprint=found.keys.signing.key_id.hex()[:_HEX],
        )


def _share_of(member: Institution, *, consortium: Consortium) -> Share:
    if consortium.prepared.network is not None:
        return Share.VALIDATOR if member.member in consortium.prepared.validators else Share.OBSERVER
    return Share.WRITER if member.member == member.parameters.operator else Share.FOLLOWER


def _decision_counts(decided: Sequence[DecidedApplication]) -> DecisionCounts:
    counts = Counter(each.decision.outcome for each in decided)
    return DecisionCounts(
        approved=counts[Outcome.APPROVED], refused=counts[Outcome.REFUSED], referred=counts[Outcome.REFERRED]
    )


def _percentiles(values: Sequence[float]) -> Percentiles:
    cuts = quantiles(values, n=100, method="inclusive")
    return Percentiles(p50=round(cuts[49], 1), p99=round(cuts[98], 1))


def _model_figures(validation: Validation) -> ModelFigures:
    interval = validation.area.interval
    return ModelFigures(
        auc=round(validation.area.auc, _PLACES),
        auc_ci=(round(interval.low, _PLACES), round(interval.high, _PLACES)),
        baseline_auc=round(validation.baseline.auc, _PLACES),
        ks=round(validation.ks, _PLACES),
        brier=round(validation.brier, _PLACES),
        n=validation.n,
        bad=validation.bad,
    )


def _model_details(finished: FinishedRun) -> ModelDetails:
    model, validation = finished.model, finished.model.validation
    baseline = validation.baseline.interval
    definitions = [FEATURE_BY_NAME[name] for name in model.card.feature_names]
    digest = finished.run.consortium.bureau.suite.digest
    return ModelDetails(
        roc=_roc(validation.curve),
        baseline_roc=_roc(validation.baseline_curve),
        ks_good=_share([point.good_share for point in validation.curve]),
        ks_bad=_share([point.bad_share for point in validation.curve]),
        calibration=tuple((band.mean_predicted, band.bad / band.n, band.n) for band in validation.calibration),
        paired_p_value=validation.comparison.p_value,
        features=tuple((entry.name, entry.name_zh, entry.formula) for entry in definitions),
        candidate_features=model.candidates,
        baseline_auc_ci=(round(baseline.low, _PLACES), round(baseline.high, _PLACES)),
        digest=scorecard_digest(model.card, digest=digest).hex(),
    )


def _roc(points: Sequence[CurvePoint]) -> Curve:
    """Return (share of good refused, share of bad refused)."""
    return tuple((point.good_share, point.bad_share) for point in points)


def _share(shares: Sequence[float]) -> Curve:
    """Return a cumulative share over the ranking from riskiest to safest."""
    last = max(len(shares) - 1, 1)
    return tuple((place / last, share) for place, share in enumerate(shares))


def _decision_row(each: DecidedApplication) -> DecisionRow:
    decision, applicant = each.decision, each.owner.applicant
    return DecisionRow(
        applicant=decision.application.hex()[:8],
        bank=each.bank,
        outcome=str(decision.outcome),
        amount_fen=each.application.amount_fen,
        limit_fen=decision.limit_fen,
        annual_rate=None if decision.annual_rate is None else str(decision.annual_rate),
        points=decision.points,
        default_probability=str(decision.default_probability),
        reasons=(*(RULE_WORDS[rule] for rule in decision.rules), *(reason.words for reason in decision.reasons)),
        grade="none" if decision.grade is None else str(decision.grade),
        industry=decision.industry,
        defaulted=applicant.defaulted,
        milliseconds=round(each.milliseconds, 1),
    )


_HIDDEN_FROM_BANKS = (
    Words(en="counterparties' identities and names", zh="交易对手身份与名称"),
    Words(en="legal representatives", zh="法定代表人信息"),
    Words(en="records of taxpayers who did not apply here", zh="未在本行申请的纳税人记录"),
)


def _visibility(finished: FinishedRun) -> tuple[Visibility, ...]:
    """Return one entry a party, the outsider included."""
    return (
        Visibility(
            party=BUREAU,
            seen=(
                Words(en="its own tax records", zh="本局税务记录"),
                Words(en="who asked for which types, when and for what purpose", zh="谁、何时、为何目的请求了哪些类型"),
            ),
            hidden=(
                Words(en="the banks' model and scores", zh="银行模型与评分"),
                Words(en="amounts asked for and approved", zh="申请与批准金额"),
                Words(en="account data of the banks", zh="银行账户数据"),
            ),
            records=finished.ingest.records_ingested,
        ),
        *(_bank_visibility(finished, bank) for bank in BANKS),
        Visibility(
            party=REGULATOR,
            seen=(
                Words(
                    en="outcome, grade, industry and province of every decision, sealed to it",
                    zh="封装给监管的每笔审批结果、等级、行业与省份",
                ),
                Words(en="approved amounts, sealed to it", zh="封装给监管的批准金额"),
            ),
            hidden=(
                Words(en="names and numbers of taxpayers", zh="纳税人名称与税号"),
                Words(en="tax records and invoices", zh="税务记录与发票"),
            ),
            records=len(finished.opened.decisions),
        ),
        Visibility(
            party="outsider",
            seen=(
                Words(en="that a receipt's transaction stands in the signed log", zh="回执所述交易确在签名日志中"),
                Words(en="the regulator's totals", zh="监管发布的汇总"),
            ),
            hidden=(
                Words(en="who the taxpayers are", zh="纳税人是谁"),
                Words(en="every outcome, grade and amount", zh="任何结果、等级与金额"),
                Words(en="which consents belong together", zh="哪些授权属于同一企业"),
            ),
            records=0,
        ),
    )


def _bank_visibility(finished: FinishedRun, bank: str) -> Visibility:
    asked = [each.received for each in finished.decided if each.bank == bank]
    is_lead = bank == LEAD_BANK
    received = [*finished.development, *asked] if is_lead else asked
    purpose_en = "for its own applicants" + (" and for model development" if is_lead else "")
    purpose_zh = "仅限本行申请人" + ("及建模授权" if is_lead else "")
    return Visibility(
        party=bank,
        seen=(
            Words(
                en=f"dates, status and amounts of granted records, {purpose_en}",
                zh=f"已授权记录的日期、状态与金额（{purpose_zh}）",
            ),
        ),
        hidden=_HIDDEN_FROM_BANKS,
        records=sum(entry.records.record_count for entry in received),
    )

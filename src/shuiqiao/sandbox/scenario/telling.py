"""From what happened to what is told: receipts and model on disk, the JSON contract's figures, the report's details."""

from __future__ import annotations

import json
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
from shuiqiao.consent.contract import GRANT
from shuiqiao.credit.model_card import model_card, model_card_markdown
from shuiqiao.credit.scorecard_file import encode_scorecard, scorecard_digest
from shuiqiao.features.catalogue import FEATURE_BY_NAME
from shuiqiao.lending.model import RULE_WORDS, Outcome
from shuiqiao.oversight.openings import indexed_transactions
from shuiqiao.sandbox.scenario.cast import CAST, Consortium
from shuiqiao.sandbox.scenario.journey import Journey
from shuiqiao.sandbox.scenario.result import (
    AuditFigures,
    Curve,
    DecisionCounts,
    DecisionRow,
    KeptOut,
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
)
from shuiqiao.sandbox.scenario.sightings import sightings
from shuiqiao.sandbox.scenario.story import Outcome as Told

if TYPE_CHECKING:
    from shuiqiao.credit.discrimination import CurvePoint
    from shuiqiao.credit.validation import Validation
    from shuiqiao.node.institution import Institution

RECEIPT_KINDS = frozenset({GRANT, "anchor.commit", "access.deliver", "decision.record"})
"""Kinds of which every transaction gets a receipt file."""

_HEX = 16
_PLACES = 4


def tell(told: Told) -> ScenarioResult:
    """Write the receipts and return figures and details; the institutions are still open."""
    settings = told.run.settings
    receipts = settings.folder / "receipts"
    paths = _write_receipts(told.run.consortium, receipts)
    _write_model(told, settings.folder / "model")
    figures = _figures(told, receipts=receipts, report=settings.folder / "report.html")
    example = next(path for path in paths if path.name.startswith("decision"))
    return ScenarioResult(figures=figures, details=_details(told, paths=paths, example=example), folder=settings.folder)


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


def _write_model(told: Told, folder: Path) -> None:
    """Write the scorecard as it would be put into use, and its model card for people."""
    folder.mkdir(parents=True, exist_ok=True)
    model = told.model
    (folder / "scorecard.json").write_bytes(encode_scorecard(model.card))
    content = model_card(model.card, validation=model.validation, data=f"{told.run.settings.data.source_en}.")
    (folder / "model-card.md").write_text(model_card_markdown(content), encoding="utf-8")


def _figures(told: Told, *, receipts: Path, report: Path) -> ScenarioFigures:
    run, ingest = told.run, told.ingest
    kinds = told.transactions_by_kind
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
        decisions=_decision_counts(told.journeys),
        decision_ms=_percentiles([journey.milliseconds for journey in told.journeys]),
        model=_model_figures(told.model.validation),
        ledger=LedgerFigures(
            transactions=sum(kinds.values()), height=told.audit.height, root=told.checkpoint.root.hex()
        ),
        audit=AuditFigures(
            replayed=told.audit.replayed,
            root_matches=told.audit.root_matches,
            signatures_verified=told.audit.signatures_verified,
            anchors_verified=told.audit.anchors_verified,
        ),
        record_management_only=RecordManagement(
            kinds_walked=told.audit.record_rules.kinds_walked,
            mint_refused=told.audit.record_rules.mint_refused,
            transfer_refused=told.audit.record_rules.transfer_refused,
        ),
        tamper_checks=TamperChecks(**{story.check: story.caught for story in told.tamper}),
        network_checks=told.network,
        receipts_dir=str(receipts),
        report=str(report),
    )


def _details(told: Told, *, paths: Sequence[Path], example: Path) -> ScenarioDetails:
    run = told.run
    data, consortium = run.settings.data, run.consortium
    evidence = [*told.development, *(journey.evidence for journey in told.journeys)]
    return ScenarioDetails(
        started=iso_from_ms(consortium.bureau.parameters.genesis_time_ms),
        data_source_en=data.source_en,
        data_source_zh=data.source_zh,
        is_synthetic=data.is_synthetic,
        parties=tuple(_parties(consortium)),
        step_seconds=dict(run.step_seconds),
        transactions_by_kind=told.transactions_by_kind,
        kept_out=_kept_out(told.ingest.report),
        refusals_by_code=dict(run.refusals),
        decisions=tuple(_decision_row(journey) for journey in told.journeys),
        model=_model_details(told),
        tamper=told.tamper,
        sightings=sightings(told),
        records_disclosed=sum(entry.received.records.record_count for entry in evidence),
        bytes_disclosed=sum(entry.answer_bytes for entry in evidence),
        receipts=len(paths),
        receipt_example=shlex.join(
            ["shuiqiao", "verify", str(example), "--genesis", str(run.settings.folder / "genesis.json")]
        ),
        checkpoint_note=told.checkpoint.note.decode(),
        release=told.release,
        followers=told.heights,
        assumptions_en=data.assumptions_en,
        assumptions_zh=data.assumptions_zh,
        audit_problems=told.audit.problems,
        machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
    )


def _kept_out(report: Path) -> tuple[KeptOut, ...]:
    """Count the rows of an ingest's report by rule."""
    with report.open("rb") as lines:
        rows = {(entry["rule"], entry["file"], entry["row"]) for entry in map(json.loads, lines)}
    counts = Counter(rule for rule, _, _ in rows)
    return tuple(KeptOut(rule=rule, records=count) for rule, count in counts.most_common())


def _parties(consortium: Consortium) -> Iterator[Party]:
    members = {member.member: member for member in consortium.members}
    for part in CAST:
        found = members[part.member]
        yield Party(
            member=part.member,
            role=str(part.role),
            name=part.name,
            name_zh=part.name_zh,
            share=_share_of(found, consortium=consortium),
            fingerprint=found.keys.signing.key_id.hex()[:_HEX],
        )


def _share_of(member: Institution, *, consortium: Consortium) -> Share:
    if consortium.stage.network is not None:
        return Share.VALIDATOR if member.member in consortium.stage.validators else Share.OBSERVER
    return Share.WRITER if member.member == member.parameters.operator else Share.FOLLOWER


def _decision_counts(journeys: Sequence[Journey]) -> DecisionCounts:
    counts = Counter(journey.recorded.decision.outcome for journey in journeys)
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


def _model_details(told: Told) -> ModelDetails:
    model, validation = told.model, told.model.validation
    baseline = validation.baseline.interval
    definitions = [FEATURE_BY_NAME[name] for name in model.card.feature_names]
    digest = told.run.consortium.bureau.suite.digest
    return ModelDetails(
        roc=_roc("roc", validation.curve),
        baseline_roc=_roc("baseline_roc", validation.baseline_curve),
        ks_good=_share("ks_good", [point.good_share for point in validation.curve]),
        ks_bad=_share("ks_bad", [point.bad_share for point in validation.curve]),
        calibration=tuple((band.mean_predicted, band.bad / band.n, band.n) for band in validation.calibration),
        paired_p_value=validation.comparison.p_value,
        features=tuple((entry.name, entry.name_zh, entry.formula) for entry in definitions),
        candidate_features=model.candidates,
        baseline_auc_ci=(round(baseline.low, _PLACES), round(baseline.high, _PLACES)),
        digest=scorecard_digest(model.card, digest=digest).hex(),
    )


def _roc(name: str, points: Sequence[CurvePoint]) -> Curve:
    """Return (share of good refused, share of bad refused)."""
    return Curve(name=name, points=tuple((point.good_share, point.bad_share) for point in points))


def _share(name: str, shares: Sequence[float]) -> Curve:
    """Return a cumulative share over the ranking from riskiest to safest."""
    last = max(len(shares) - 1, 1)
    return Curve(name=name, points=tuple((place / last, share) for place, share in enumerate(shares)))


def _decision_row(journey: Journey) -> DecisionRow:
    decision, applicant = journey.recorded.decision, journey.owner.applicant
    rules = [RULE_WORDS[rule] for rule in decision.rules]
    reasons = [reason.words for reason in decision.reasons]
    return DecisionRow(
        applicant=decision.application.hex()[:8],
        bank=journey.bank,
        outcome=str(decision.outcome),
        amount_fen=journey.application.amount_fen,
        limit_fen=decision.limit_fen,
        annual_rate=None if decision.annual_rate is None else str(decision.annual_rate),
        points=decision.points,
        default_probability=str(decision.default_probability),
        reasons_en=tuple(words.en for words in (*rules, *reasons)),
        reasons_zh=tuple(words.zh for words in (*rules, *reasons)),
        grade="none" if decision.grade is None else str(decision.grade),
        industry=decision.industry,
        defaulted=applicant.defaulted,
        milliseconds=round(journey.milliseconds, 1),
    )

"""A seeded run's result as the report page receives it, in the shapes of the real one."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

from shuiqiao.base.words import Words
from shuiqiao.oversight.model import OTHERS, Release, Table, TableRow
from shuiqiao.sandbox.scenario.result import (
    Alteration,
    AuditFigures,
    DecisionCounts,
    DecisionRow,
    LedgerFigures,
    ModelDetails,
    ModelFigures,
    NetworkChecks,
    Party,
    Percentiles,
    RecordManagement,
    ReplayChecks,
    ScenarioDetails,
    ScenarioFigures,
    ScenarioResult,
    Share,
    TamperChecks,
    TamperStory,
    Visibility,
)

BANKS = ("bank-east", "bank-north", "bank-south")
REASONS = (
    ("monthly revenue is low for this product", "月均收入偏低"),
    ("few buyers carry most of the sales", "客户集中度偏高"),
    ("many red-letter invoices", "红字发票占比偏高"),
    ("a long time without invoices", "开票间隔过长"),
)
KINDS = (
    ("core fields of invoices", "发票核心字段"),
    ("invoice amounts", "发票金额"),
    ("counterparties of invoices", "发票对方名称"),
    ("taxpayer number", "纳税人识别号"),
    ("filings and payments", "申报与缴款"),
    ("the bank's model weights", "银行模型权重"),
    ("loan amounts", "贷款金额"),
)
CHECKS = (
    ("vault_byte_flip_caught", "vault.leaf_mismatch"),
    ("ledger_byte_flip_caught", "ledger.entry_damaged"),
    ("forged_invoice_caught", "lending.paper_unproven"),
    ("revoked_consent_refused", "consent.revoked"),
    ("expired_consent_refused", "consent.expired"),
    ("withheld_record_caught", "exchange.record_withheld"),
    ("operator_rewrite_caught_by_follower", "ledger.root_differs"),
)


def sample_result(*, folder: Path = Path("demo-out"), seed: int = 7, firms: int = 123) -> ScenarioResult:
    """Return a result of a run that went well."""
    draws = random.Random(seed)
    decisions = tuple(_decision(draws, number) for number in range(firms))
    count = {
        outcome: sum(row.outcome == outcome for row in decisions) for outcome in ("approved", "refused", "referred")
    }
    return ScenarioResult(figures=_figures(count, firms), details=_details(draws, decisions), folder=folder)


def with_details(result: ScenarioResult, **changes: Any) -> ScenarioResult:
    """Return a result with some of its details replaced."""
    return replace(result, details=replace(result.details, **changes))


def with_figures(result: ScenarioResult, **changes: Any) -> ScenarioResult:
    """Return a result with some of its figures replaced."""
    return replace(result, figures=replace(result.figures, **changes))


def on_validators(result: ScenarioResult, **changes: Any) -> ScenarioResult:
    """Return a result as a run on four validators gives it."""
    shares = dict.fromkeys(("bureau", "bank-east", "bank-north", "regulator"), Share.VALIDATOR)
    parties = tuple(replace(party, share=shares.get(party.member, Share.OBSERVER)) for party in result.details.parties)
    checks = NetworkChecks(
        engine="cometbft",
        engine_version="0.39.4",
        validators=4,
        nodes=5,
        agreed_roots=True,
        replayed_through_embedded=ReplayChecks(
            blocks=416,
            transactions=2_027,
            log_roots_equal=True,
            log_root_equal=True,
            state_root_equal=True,
            state_equal=True,
        ),
        altered=Alteration(
            member="bank-north", record_index=1_049, kind="decision.record", state_key="lending/decision/00ff"
        ),
        refused_code="ledger.app_hash_refused",
        outvoted=True,
        named=("bank-north",),
        named_by=("bank-east", "bank-south", "bureau", "regulator"),
        named_in_votes_by=(),
        evidence_codes=("ledger.fork_detected",),
        blocks_after_alteration=4,
        honest_roots_equal=True,
    )
    return with_figures(with_details(result, parties=parties), network_checks=replace(checks, **changes))


def _decision(draws: random.Random, number: int) -> DecisionRow:
    points = int(draws.gauss(590, 42))
    risk = 1 / (1 + 2.718 ** ((points - 535) / 18))
    outcome = "approved" if points > 575 else "refused" if points < 540 else "referred"
    amount = draws.choice((30, 50, 80, 120, 200, 300)) * 1_000_000
    limit = min(amount, draws.randrange(8_0000, 300_0000) * 100) if outcome == "approved" else 0
    reasons = draws.sample(REASONS, draws.randrange(1, 4)) if outcome != "approved" else draws.sample(REASONS, 1)
    return DecisionRow(
        applicant=f"企-{draws.getrandbits(24):06x}",
        bank=BANKS[number % 3],
        outcome=outcome,
        amount_fen=amount,
        limit_fen=limit,
        annual_rate=f"{draws.uniform(0.0365, 0.0585):.4f}" if outcome == "approved" else None,
        points=points,
        default_probability=f"{risk:.4f}",
        reasons=tuple(Words(en=en, zh=zh) for en, zh in reasons),
        grade=draws.choice("AABBBMMCD"),
        industry=draws.choice("ACEFFGIL"),
        defaulted=draws.random() < risk if number % 20 else None,
        milliseconds=draws.uniform(38, 95),
    )


def _figures(count: dict[str, int], firms: int) -> ScenarioFigures:
    return ScenarioFigures(
        network="9f2c4d7be1a05386c4b1d2f09a7e6c5b3d8f1e2a4c6b8d0f1a3c5e7b9d2f4a6c",
        suite="gm",
        taxpayers=firms,
        records_read=373_431,
        records_ingested=371_904,
        records_quarantined=5,
        duplicates_reported=1_522,
        anchors=137,
        ingest_records_per_s=41_872,
        consents=369,
        requests=258,
        refusals=12,
        decisions=DecisionCounts(**count),
        decision_ms=Percentiles(p50=58.412, p99=131.97),
        model=ModelFigures(
            auc=0.8874, auc_ci=(0.8012, 0.9431), baseline_auc=0.8721, ks=0.6413, brier=0.1084, n=123, bad=27
        ),
        ledger=LedgerFigures(transactions=1_873, height=412, root="ab" * 32),
        audit=AuditFigures(replayed=1_873, root_matches=True, signatures_verified=2_611, anchors_verified=136),
        record_management_only=RecordManagement(kinds_walked=21, mint_refused=True, transfer_refused=True),
        tamper_checks=TamperChecks(**{check: True for check, _ in CHECKS}),
        network_checks=None,
        who_saw_what={
            BANKS[0]: {"disclose": {"fields": 12, "bits": 8_123.5}},
            BANKS[1]: {"at_source": {"fields": 0, "bits": 6.644}, "blind": {"fields": 0, "bits": 12.0}},
            "anybody": {"prove": {"fields": 0, "bits": 21.5}, "predicates": {"fields": 0, "bits": 21.5}},
        },
        modes_refused={
            "secure": {
                "code": "privacy.extra_missing",
                "message": "the extra mpc is not installed",
                "next_step": "Install the extra that the message names.",
            }
        },
        receipts_dir="demo-out/receipts",
        report="demo-out/report.html",
    )


def _details(draws: random.Random, decisions: tuple[DecisionRow, ...]) -> ScenarioDetails:
    return ScenarioDetails(
        started="2026-11-21T08:30:00.000Z",
        data_source=Words(en="invoices of 123 real enterprises (research data)", zh="123 家真实企业的发票（研究数据）"),
        is_synthetic=False,
        parties=_parties(),
        step_seconds={
            "enrol enterprises 企业登记": 1.31,
            "ingest and anchor 入库锚定": 8.918,
            "consent for model development 建模授权与取数": 4.27,
            "develop and validate the model 建模与验证": 6.05,
            "apply and decide 申请与审批": 9.44,
            "tampering 篡改检验": 3.83,
            "audit from genesis 重放审计": 2.16,
            "statistics and receipts 统计与回执": 0.37,
        },
        transactions_by_kind={
            "anchor.commit": 137,
            "consent.grant": 369,
            "consent.revoke": 1,
            "access.request": 258,
            "access.deliver": 246,
            "access.refuse": 12,
            "access.acknowledge": 246,
            "application.submit": 123,
            "decision.record": 123,
        },
        kept_out={"duplicate": 1_522, "amount_plus_tax_is_total": 5},
        refusals_by_code={"consent.revoked": 5, "consent.expired": 4, "exchange.frequency_exceeded": 3},
        decisions=decisions,
        model=_model(draws),
        tamper=_stories(),
        visibility=_visibility(),
        records_disclosed=746_862,
        bytes_disclosed=412_331_008,
        receipts=9,
        receipt_example="shuiqiao verify demo-out/receipts/decision-001.receipt --genesis demo-out/receipts/genesis.json",
        checkpoint_note="shuiqiao/9f2c4d7be1a05386\n2285\nq6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=\n\n— bureau Zm9vYmFyYmF6\n",
        release=Release(
            number=1,
            published_ms=0,
            decisions=123,
            least_firms=5,
            tables=(
                Table(
                    attribute="grade",
                    columns=(("approved",), ("refused", "referred")),
                    rows=(TableRow(category="A", counts=(21, 6)), TableRow(category=OTHERS, counts=(41, 55))),
                ),
                Table(
                    attribute="industry",
                    columns=(("approved",), ("refused", "referred")),
                    rows=(TableRow(category="F", counts=(31, 30)), TableRow(category=OTHERS, counts=(31, 31))),
                ),
                Table(
                    attribute="province",
                    columns=(("approved", "refused", "referred"),),
                    rows=(TableRow(category=OTHERS, counts=(123,)),),
                ),
            ),
        ),
        followers={"bank-east": 412, "bank-north": 412, "bank-south": 411, "regulator": 412},
        assumptions=(
            Words(en="All institutions run on one machine.", zh="所有机构运行在同一台机器上。"),
            Words(en="Pseudonyms are drawn anew in each run.", zh="每次运行重新生成化名。"),
        ),
        audit_problems=(),
        machine="2 cores, 8 GB, Linux",
    )


def _parties() -> tuple[Party, ...]:
    parts = (
        ("bureau", "tax_bureau", "Example Tax Bureau", "示例税务局"),
        ("bank-east", "bank", "Example East Bank", "示例东方银行"),
        ("bank-north", "bank", "Example North Bank", "示例北方银行"),
        ("bank-south", "bank", "Example South Bank", "示例南方银行"),
        ("regulator", "regulator", "Example Financial Regulator", "示例金融监管局"),
    )
    return tuple(
        Party(
            member=member,
            role=role,
            names=Words(en=name, zh=name_zh),
            share=Share.WRITER if member == "bureau" else Share.FOLLOWER,
            fingerprint=f"{number * 7:x}c04be19f2d7a381"[:16],
        )
        for number, (member, role, name, name_zh) in enumerate(parts, 1)
    )


def _model(draws: random.Random) -> ModelDetails:
    steps = [step / 60 for step in range(61)]
    return ModelDetails(
        roc=tuple((x, x**0.14) for x in steps),
        baseline_roc=tuple((x, x**0.17) for x in steps),
        ks_good=tuple((x, x**2.1) for x in steps),
        ks_bad=tuple((x, x**0.28) for x in steps),
        calibration=((0.03, 0.0, 25), (0.08, 0.08, 25), (0.17, 0.2, 25), (0.29, 0.24, 24), (0.58, 0.63, 24)),
        paired_p_value=0.318,
        features=(
            ("log_monthly_revenue", "月均收入对数", "ln(1 + revenue of valid sales invoices / months)"),
            ("red_share", "红字占比", "red-letter invoices / all invoices, last 12 months"),
            ("days_since_last_sale", "距最近开票天数", "as_of - last issue_date"),
        ),
        candidate_features=24,
        baseline_auc_ci=(0.7751, 0.9523),
        digest=f"{draws.getrandbits(256):064x}",
    )


def _stories() -> tuple[TamperStory, ...]:
    return tuple(
        TamperStory(
            check=check,
            act=Words(
                en=f"Did it to a copy of the real file ({check.replace('_', ' ')}).",
                zh="在真实文件的副本上改动一个字节，然后照常使用。",
            ),
            caught_by=Words(en="The proof did not lead to the anchored root.", zh="证明路径算不出账本上的锚定根。"),
            code=code,
            caught=True,
        )
        for check, code in CHECKS
    )


def _visibility() -> tuple[Visibility, ...]:
    seen = {
        "bureau": (0, 1, 2, 3, 4),
        "bank-east": (0, 1, 4, 6),
        "bank-north": (0, 1, 4, 6),
        "regulator": (6,),
        "ledger": (),
        "outsider": (),
    }
    records = {"bureau": 371_904, "bank-east": 402_110, "bank-north": 190_220}
    return tuple(
        Visibility(
            party=party,
            seen=tuple(Words(en=KINDS[place][0], zh=KINDS[place][1]) for place in places),
            hidden=tuple(Words(en=en, zh=zh) for place, (en, zh) in enumerate(KINDS) if place not in places),
            records=records.get(party, 0),
        )
        for party, places in seen.items()
    )

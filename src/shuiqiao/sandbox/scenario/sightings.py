"""Who saw what in a run, and what each party never received: counted from the answers that were really proven."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.sandbox.scenario.cast import BANKS, BUREAU, LEAD_BANK, REGULATOR
from shuiqiao.sandbox.scenario.result import Sighting

if TYPE_CHECKING:
    from shuiqiao.sandbox.scenario.story import Outcome

_HIDDEN_EN = (
    "counterparties' identities and names",
    "legal representatives",
    "records of taxpayers who did not apply here",
)
_HIDDEN_ZH = ("交易对手身份与名称", "法定代表人信息", "未在本行申请的纳税人记录")


def sightings(told: Outcome) -> tuple[Sighting, ...]:
    """Return one entry a party, the outsider included."""
    return (
        _bureau(told),
        *(_bank(told, bank) for bank in BANKS),
        Sighting(
            party=REGULATOR,
            seen_en=(
                "outcome, grade, industry and province of every decision, sealed to it",
                "approved amounts, sealed to it",
            ),
            seen_zh=("封装给监管的每笔审批结果、等级、行业与省份", "封装给监管的批准金额"),
            hidden_en=("names and numbers of taxpayers", "tax records and invoices"),
            hidden_zh=("纳税人名称与税号", "税务记录与发票"),
            records=len(told.opened.decisions),
        ),
        Sighting(
            party="outsider",
            seen_en=("that a receipt's transaction stands in the signed log", "the regulator's totals"),
            seen_zh=("回执所述交易确在签名日志中", "监管发布的汇总"),
            hidden_en=("who the taxpayers are", "every outcome, grade and amount", "which consents belong together"),
            hidden_zh=("纳税人是谁", "任何结果、等级与金额", "哪些授权属于同一企业"),
            records=0,
        ),
    )


def _bureau(told: Outcome) -> Sighting:
    return Sighting(
        party=BUREAU,
        seen_en=("its own tax records", "who asked for which types, when and for what purpose"),
        seen_zh=("本局税务记录", "谁、何时、为何目的请求了哪些类型"),
        hidden_en=("the banks' model and scores", "amounts asked for and approved", "account data of the banks"),
        hidden_zh=("银行模型与评分", "申请与批准金额", "银行账户数据"),
        records=told.ingest.records_ingested,
    )


def _bank(told: Outcome, bank: str) -> Sighting:
    asked = [journey.evidence for journey in told.journeys if journey.bank == bank]
    evidence = [*told.development, *asked] if bank == LEAD_BANK else asked
    purpose_en = "for its own applicants" + (" and for model development" if bank == LEAD_BANK else "")
    purpose_zh = "仅限本行申请人" + ("及建模授权" if bank == LEAD_BANK else "")
    return Sighting(
        party=bank,
        seen_en=(f"dates, status and amounts of granted records, {purpose_en}",),
        seen_zh=(f"已授权记录的日期、状态与金额（{purpose_zh}）",),
        hidden_en=_HIDDEN_EN,
        hidden_zh=_HIDDEN_ZH,
        records=sum(entry.received.records.record_count for entry in evidence),
    )

"""How the sections of GB/T 4754-2017 that occur here trade: rates, margins, invoice sizes, season.

The figures are assumptions, set so that the aggregates resemble real invoices (see the page on the synthetic economy);
the VAT rates are the legal ones since April 2019.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from shuiqiao.sandbox.economy.seeds import FloatArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Industry:
    """One section of the national industry classification and the assumptions made about it."""

    section: str
    """GB/T 4754 section letter."""
    name_zh: str
    weight: float
    """Share of taxpayers."""
    main_rate: int
    """Main VAT rate of a general taxpayer, percent."""
    other_rate: int
    """Second VAT rate of a general taxpayer, percent."""
    ticket_yuan: float
    """Median total of one issued invoice, in yuan."""
    cost_ratio: float
    """Purchases over sales, both with tax, for a firm of average health."""
    swing: float
    """Multiplier of the season's amplitude."""
    trades: tuple[str, ...]
    """Neutral trade words for synthetic names."""


INDUSTRIES: tuple[Industry, ...] = (
    Industry(
        section="A",
        name_zh="农、林、牧、渔业",
        weight=0.03,
        main_rate=9,
        other_rate=13,
        ticket_yuan=30_000,
        cost_ratio=0.66,
        swing=1.6,
        trades=("农产", "苗木", "水产"),
    ),
    Industry(
        section="C",
        name_zh="制造业",
        weight=0.22,
        main_rate=13,
        other_rate=6,
        ticket_yuan=62_000,
        cost_ratio=0.72,
        swing=0.8,
        trades=("机械", "建材", "五金", "塑料", "纺织"),
    ),
    Industry(
        section="E",
        name_zh="建筑业",
        weight=0.12,
        main_rate=9,
        other_rate=3,
        ticket_yuan=95_000,
        cost_ratio=0.70,
        swing=1.3,
        trades=("建筑", "装饰", "园林"),
    ),
    Industry(
        section="F",
        name_zh="批发和零售业",
        weight=0.28,
        main_rate=13,
        other_rate=9,
        ticket_yuan=40_000,
        cost_ratio=0.82,
        swing=1.0,
        trades=("商贸", "物资", "百货", "电器"),
    ),
    Industry(
        section="G",
        name_zh="交通运输、仓储和邮政业",
        weight=0.06,
        main_rate=9,
        other_rate=6,
        ticket_yuan=28_000,
        cost_ratio=0.62,
        swing=0.7,
        trades=("物流", "运输", "仓储"),
    ),
    Industry(
        section="H",
        name_zh="住宿和餐饮业",
        weight=0.04,
        main_rate=6,
        other_rate=13,
        ticket_yuan=9_000,
        cost_ratio=0.52,
        swing=1.2,
        trades=("餐饮", "酒店"),
    ),
    Industry(
        section="I",
        name_zh="信息传输、软件和信息技术服务业",
        weight=0.09,
        main_rate=6,
        other_rate=13,
        ticket_yuan=58_000,
        cost_ratio=0.45,
        swing=0.9,
        trades=("软件", "信息", "网络"),
    ),
    Industry(
        section="L",
        name_zh="租赁和商务服务业",
        weight=0.08,
        main_rate=6,
        other_rate=9,
        ticket_yuan=34_000,
        cost_ratio=0.50,
        swing=0.8,
        trades=("商务", "租赁", "咨询"),
    ),
    Industry(
        section="M",
        name_zh="科学研究和技术服务业",
        weight=0.05,
        main_rate=6,
        other_rate=13,
        ticket_yuan=50_000,
        cost_ratio=0.46,
        swing=0.9,
        trades=("检测", "设计", "工程技术"),
    ),
    Industry(
        section="O",
        name_zh="居民服务、修理和其他服务业",
        weight=0.02,
        main_rate=6,
        other_rate=13,
        ticket_yuan=8_000,
        cost_ratio=0.50,
        swing=0.7,
        trades=("维修", "保洁"),
    ),
    Industry(
        section="R",
        name_zh="文化、体育和娱乐业",
        weight=0.01,
        main_rate=6,
        other_rate=13,
        ticket_yuan=24_000,
        cost_ratio=0.48,
        swing=1.3,
        trades=("文化", "传媒"),
    ),
)

SEASON: FloatArray = np.array([0.20, -0.50, -0.08, -0.05, -0.02, 0.0, 0.04, 0.05, 0.02, 0.02, 0.08, 0.18])
"""Logarithm of a calendar month's sales against the mean month: the Spring Festival dip and the year-end rush."""

PROVINCES: tuple[tuple[str, str, float], ...] = (
    ("11", "北京市", 0.07),
    ("31", "上海市", 0.08),
    ("32", "江苏省", 0.15),
    ("33", "浙江省", 0.14),
    ("35", "福建省", 0.06),
    ("37", "山东省", 0.11),
    ("41", "河南省", 0.07),
    ("42", "湖北省", 0.06),
    ("44", "广东省", 0.18),
    ("51", "四川省", 0.08),
)
"""GB/T 2260 province codes, names and shares of taxpayers (assumed)."""

"""How the sections of GB/T 4754-2017 that occur here trade: rates, margins, invoice sizes, season.

The figures are assumptions, set so that the aggregates resemble real invoices (see the page on the synthetic economy);
the VAT rates are the legal ones since April 2019.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from shuiqiao.sandbox.economy.seeds import FloatArray


class Industry(NamedTuple):
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
    # section, name, weight, main and other VAT rate, ticket in yuan, cost ratio, swing, trades
    Industry("A", "农、林、牧、渔业", 0.03, 9, 13, 30_000, 0.66, 1.6, ("农产", "苗木", "水产")),
    Industry("C", "制造业", 0.22, 13, 6, 62_000, 0.72, 0.8, ("机械", "建材", "五金", "塑料", "纺织")),
    Industry("E", "建筑业", 0.12, 9, 3, 95_000, 0.70, 1.3, ("建筑", "装饰", "园林")),
    Industry("F", "批发和零售业", 0.28, 13, 9, 40_000, 0.82, 1.0, ("商贸", "物资", "百货", "电器")),
    Industry("G", "交通运输、仓储和邮政业", 0.06, 9, 6, 28_000, 0.62, 0.7, ("物流", "运输", "仓储")),
    Industry("H", "住宿和餐饮业", 0.04, 6, 13, 9_000, 0.52, 1.2, ("餐饮", "酒店")),
    Industry("I", "信息传输、软件和信息技术服务业", 0.09, 6, 13, 58_000, 0.45, 0.9, ("软件", "信息", "网络")),
    Industry("L", "租赁和商务服务业", 0.08, 6, 9, 34_000, 0.50, 0.8, ("商务", "租赁", "咨询")),
    Industry("M", "科学研究和技术服务业", 0.05, 6, 13, 50_000, 0.46, 0.9, ("检测", "设计", "工程技术")),
    Industry("O", "居民服务、修理和其他服务业", 0.02, 6, 13, 8_000, 0.50, 0.7, ("维修", "保洁")),
    Industry("R", "文化、体育和娱乐业", 0.01, 6, 13, 24_000, 0.48, 1.3, ("文化", "传媒")),
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

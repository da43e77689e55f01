"""Features of how a taxpayer handles invoices: voids, red letters, trading with itself, length of record."""

from __future__ import annotations

from ibis import _

from shuiqiao.credit.features.definition import FeatureDefinition, needs, words
from shuiqiao.credit.features.formulas import ratio
from shuiqiao.credit.features.frames import month_age
from shuiqiao.credit.model import Direction, Unit

_ISSUED = needs("invoice_issued/core")
_ISSUED_AMOUNTS = needs("invoice_issued/core", "invoice_issued/amounts")
_RECEIVED = needs("invoice_received/core")
_RECEIVED_AMOUNTS = needs("invoice_received/core", "invoice_received/amounts")
_VOIDS = words("Many issued invoices were voided", "开具发票作废率高")
_FEWER_VOIDS = words("Fewer voided invoices", "减少发票作废")
_REDS = words("Many sales were reversed by red-letter invoices", "红字发票占比高")
_FEWER_REDS = words("Fewer returns and reversals", "减少退货与红冲")

CONDUCT_FEATURES: tuple[FeatureDefinition, ...] = (
    FeatureDefinition(
        name="void_rate_issued_24m",
        name_zh="近24个月销项作废率（张数）",
        window="24 months",
        formula="void issued invoices / all issued invoices",
        needs=_ISSUED,
        unit=Unit.SHARE,
        expected=Direction.HIGHER_RISK,
        expression=ratio(_.sales_void_count_24m, _.sales_void_count_24m + _.sales_count_24m),
        reason=_VOIDS,
        change=_FEWER_VOIDS,
    ),
    FeatureDefinition(
        name="void_value_share_issued_24m",
        name_zh="近24个月销项作废率（金额）",
        window="24 months",
        formula="absolute amount of void issued invoices / of all issued invoices",
        needs=_ISSUED_AMOUNTS,
        unit=Unit.SHARE,
        expected=Direction.HIGHER_RISK,
        expression=ratio(_.sales_void_absolute_24m, _.sales_absolute_24m),
        reason=_VOIDS,
        change=_FEWER_VOIDS,
    ),
    FeatureDefinition(
        name="void_rate_received_24m",
        name_zh="近24个月进项作废率（张数）",
        window="24 months",
        formula="void received invoices / all received invoices",
        needs=_RECEIVED,
        unit=Unit.SHARE,
        expected=Direction.HIGHER_RISK,
        expression=ratio(_.purchase_void_count_24m, _.purchase_void_count_24m + _.purchase_count_24m),
        reason=words("Many received invoices were voided", "取得发票作废率高"),
        change=words("Suppliers that void fewer invoices", "选择开票规范的供应商"),
    ),
    FeatureDefinition(
        name="red_rate_issued_24m",
        name_zh="近24个月销项红字率（张数）",
        window="24 months",
        formula="red-letter issued invoices / valid issued invoices",
        needs=_ISSUED,
        unit=Unit.SHARE,
        expected=Direction.HIGHER_RISK,
        expression=ratio(_.sales_red_count_24m, _.sales_count_24m),
        reason=_REDS,
        change=_FEWER_REDS,
    ),
    FeatureDefinition(
        name="red_value_share_issued_24m",
        name_zh="近24个月销项红字率（金额）",
        window="24 months",
        formula="absolute amount of red-letter issued invoices / of all issued invoices",
        needs=_ISSUED_AMOUNTS,
        unit=Unit.SHARE,
        expected=Direction.HIGHER_RISK,
        expression=ratio(_.sales_red_absolute_24m, _.sales_absolute_24m),
        reason=_REDS,
        change=_FEWER_REDS,
    ),
    FeatureDefinition(
        name="red_rate_received_24m",
        name_zh="近24个月进项红字率（张数）",
        window="24 months",
        formula="red-letter received invoices / valid received invoices",
        needs=_RECEIVED,
        unit=Unit.SHARE,
        expected=Direction.HIGHER_RISK,
        expression=ratio(_.purchase_red_count_24m, _.purchase_count_24m),
        reason=words("Many purchases were reversed", "进项红字发票占比高"),
        change=words("Fewer purchases sent back", "减少采购退货"),
    ),
    FeatureDefinition(
        name="self_trading_share_24m",
        name_zh="近24个月自我交易占比",
        window="24 months",
        formula="amount of valid issued invoices that stand among the taxpayer's own valid received ones "
        "(same number, day and total) / absolute amount of all issued invoices",
        needs=(*_ISSUED_AMOUNTS, *_RECEIVED_AMOUNTS),
        unit=Unit.SHARE,
        expected=Direction.HIGHER_RISK,
        expression=ratio(_.self_traded_24m, _.sales_absolute_24m),
        reason=words("Some sales are to the taxpayer itself", "存在自开自收发票"),
        change=words("Sales to independent buyers only", "仅与独立客户真实交易"),
    ),
    FeatureDefinition(
        name="invoice_history_months",
        name_zh="发票历史月数",
        window="all",
        formula="whole months from the first issued invoice to as_of",
        needs=_ISSUED,
        unit=Unit.MONTHS,
        expected=Direction.LOWER_RISK,
        expression=month_age(_.sales_first_day, _.as_of),
        reason=words("A short record of sales", "开票历史短"),
        change=words("Time in business", "持续经营积累记录"),
    ),
)

"""What a credential can say of a taxpayer: a grade, bands and flags, and nothing finer [CREDENTIAL-4].

Each claim is declared once, with the feature or amount that it is made of, the record type that it needs and how many
values it can have. The cuts between bands are the same for every taxpayer and every bank, so nobody can move one to
find an amount. A claim is null where the bureau takes in no records of its type, or the taxpayer has none to say it by.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from shuiqiao.base.words import Words
from shuiqiao.features.facts import GRADE_RANKS
from shuiqiao.standards.tax_credit_grade import Grade

ClaimValue = str | int | bool | None

TAX_CUTS_FEN: Final = tuple(yuan * 100 for yuan in (10_000, 50_000, 100_000, 200_000, 500_000, 1_000_000, 5_000_000))
SALES_CUTS_FEN: Final = tuple(
    yuan * 100 for yuan in (100_000, 500_000, 1_000_000, 3_000_000, 5_000_000, 10_000_000, 50_000_000, 100_000_000)
)
AGE_CUTS_MONTHS: Final = (12, 24, 36, 60, 120)
"""Band i holds what is at least i of the cuts: band 0 is below the first."""

_GRADE_OF_RANK: Final = {rank: Grade(letter) for letter, rank in GRADE_RANKS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """One claim. column: of the features' table. values: different values it can have, null left out."""

    name: str
    words: Words
    record_type: str
    column: str
    values: int
    of: Callable[[Any], ClaimValue]

    def value(self, row: Mapping[str, Any], *, held: frozenset[str]) -> ClaimValue:
        """Return the claim's value from a row of features. held: record types that the bureau takes in."""
        found = row[self.column] if self.record_type in held else None
        return None if found is None else self.of(found)


def _band_by(cuts: tuple[int, ...]) -> Callable[[Any], int]:
    return lambda found: sum(found >= cut for cut in cuts)


CLAIMS: Final = (
    Claim(
        name="tax_credit_grade",
        words=Words(en="tax credit grade", zh="纳税信用等级"),
        record_type="tax_credit_grade",
        column="tax_credit_grade_rank",
        values=len(Grade),
        of=lambda rank: _GRADE_OF_RANK[int(rank)].value,
    ),
    Claim(
        name="tax_paid_12m_band",
        words=Words(en="tax paid in 12 months, band 0 to 7", zh="近12个月已缴税额档(0至7)"),
        record_type="payment",
        column="tax_paid_12m_fen",
        values=len(TAX_CUTS_FEN) + 1,
        of=_band_by(TAX_CUTS_FEN),
    ),
    Claim(
        name="sales_12m_band",
        words=Words(en="invoiced sales in 12 months, band 0 to 8", zh="近12个月开票销售额档(0至8)"),
        record_type="invoice_issued",
        column="sales_12m_fen",
        values=len(SALES_CUTS_FEN) + 1,
        of=_band_by(SALES_CUTS_FEN),
    ),
    Claim(
        name="registered_band",
        words=Words(en="age of the business, band 0 to 5", zh="经营年限档(0至5)"),
        record_type="registration",
        column="registered_months",
        values=len(AGE_CUTS_MONTHS) + 1,
        of=_band_by(AGE_CUTS_MONTHS),
    ),
    Claim(
        name="no_arrears",
        words=Words(en="no tax arrears are open", zh="无欠缴税款"),
        record_type="arrears",
        column="arrears_owed_fen",
        values=2,
        of=lambda owed: owed <= 0,
    ),
    Claim(
        name="no_serious_violation_36m",
        words=Words(en="no serious violation in 36 months", zh="近36个月无严重违法"),
        record_type="violation",
        column="serious_violations_36m",
        values=2,
        of=lambda count: count == 0,
    ),
)

FEATURES: Final = frozenset({"tax_credit_grade_rank", "registered_months", "serious_violations_36m"})
"""The features among the columns; the others are amounts that always stand beside them."""

BITS: Final = sum(math.ceil(math.log2(claim.values + 1)) for claim in CLAIMS)
"""What a credential says at most, null counted as a value: charged at issue against every recipient [CREDENTIAL-8]."""


def claims_of(row: Mapping[str, Any], *, held: frozenset[str]) -> dict[str, ClaimValue]:
    """Return every claim of a taxpayer from its row of features: always all, so that none tells by absence."""
    return {claim.name: claim.value(row, held=held) for claim in CLAIMS}

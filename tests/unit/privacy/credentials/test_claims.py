"""What a credential says of a row of features: each cut from both of its sides."""

from __future__ import annotations

import pytest

from shuiqiao.features.catalogue import FEATURE_BY_NAME
from shuiqiao.features.engine import FACTS
from shuiqiao.privacy.credentials.claims import (
    AGE_CUTS_MONTHS,
    BITS,
    CLAIMS,
    FEATURES,
    SALES_CUTS_FEN,
    TAX_CUTS_FEN,
    claims_of,
)

CLAIM_BY_NAME = {claim.name: claim for claim in CLAIMS}
EVERY_TYPE = frozenset(claim.record_type for claim in CLAIMS)
ROW = {claim.column: 1 for claim in CLAIMS}


@pytest.mark.parametrize(
    ("name", "cuts"),
    [("tax_paid_12m_band", TAX_CUTS_FEN), ("sales_12m_band", SALES_CUTS_FEN), ("registered_band", AGE_CUTS_MONTHS)],
)
def test_a_band_begins_at_its_cut(name, cuts):
    """[CREDENTIAL-4]"""
    claim = CLAIM_BY_NAME[name]
    assert list(cuts) == sorted(set(cuts))
    assert claim.values == len(cuts) + 1
    for band, cut in enumerate(cuts, start=1):
        found = [claims_of({**ROW, claim.column: value}, held=EVERY_TYPE)[name] for value in (cut - 1, cut)]
        assert found == [band - 1, band]
    assert claims_of({**ROW, claim.column: -5}, held=EVERY_TYPE)[name] == 0


@pytest.mark.parametrize(("rank", "grade"), [(5, "A"), (4, "B"), (3, "M"), (2, "C"), (1, "D")])
def test_a_grade_is_the_letter_of_its_rank(rank, grade):
    row = {**ROW, "tax_credit_grade_rank": float(rank)}
    assert claims_of(row, held=EVERY_TYPE)["tax_credit_grade"] == grade


@pytest.mark.parametrize(
    ("column", "name"), [("arrears_owed_fen", "no_arrears"), ("serious_violations_36m", "no_serious_violation_36m")]
)
def test_a_flag_is_true_of_none(column, name):
    found = [claims_of({**ROW, column: value}, held=EVERY_TYPE)[name] for value in (0, 1)]
    assert found == [True, False]


def test_what_a_bureau_does_not_hold_or_know_it_does_not_state():
    """[CREDENTIAL-4]"""
    names = set(CLAIM_BY_NAME)
    for claim in CLAIMS:
        lacking = claims_of(ROW, held=EVERY_TYPE - {claim.record_type})
        unknown = claims_of({**ROW, claim.column: None}, held=EVERY_TYPE)
        assert lacking.keys() == unknown.keys() == names
        assert {name for name, value in lacking.items() if value is None} == {claim.name}
        assert {name for name, value in unknown.items() if value is None} == {claim.name}


def test_every_claim_is_made_of_a_declared_feature_or_amount_of_its_type():
    for claim in CLAIMS:
        needed = FEATURE_BY_NAME[claim.column].needs if claim.column in FEATURES else (FACTS[claim.column][1],)
        assert {need.record_type for need in needed} == {claim.record_type}
    # Six claims with null: 6, 9, 10, 7, 3 and 3 values.
    assert BITS == 3 + 4 + 4 + 3 + 2 + 2

"""A decision explains itself in text and numbers: what the ledger commits to and an applicant is shown."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shuiqiao.base.words import Words
from shuiqiao.credit.model import Reason
from shuiqiao.lending.model import Decision, Outcome, RuleCode
from shuiqiao.standards.tax_credit_grade import Grade

WORDS = Words(en="young", zh="年限短")


@pytest.mark.parametrize(("rate", "shown"), [(Decimal("0.0465"), "0.0465"), (None, None)])
def test_a_decision_is_explained_with_all_that_it_rests_on(rate, shown):
    decision = Decision(
        application=b"a" * 16,
        outcome=Outcome.REFUSED,
        points=650,
        default_probability=Decimal("0.0100"),
        limit_fen=7,
        annual_rate=rate,
        rules=(RuleCode.ARREARS_OPEN,),
        reasons=(Reason(feature="age_months", points_lost=3, words=WORDS, change=WORDS),),
        grade=Grade.A,
        industry="C",
        province="44",
        model_digest=bytes(32),
    )
    assert decision.explanation() == {
        "application": "61" * 16,
        "outcome": "refused",
        "points": 650,
        "default_probability": "0.0100",
        "limit_fen": 7,
        "annual_rate": shown,
        "rules": ["arrears_open"],
        "reasons": [{"feature": "age_months", "points_lost": 3}],
        "model": "00" * 32,
    }

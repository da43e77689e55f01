"""A limit made of outputs is never above the one that the records give, and what it approves the records approve."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pyarrow as pa
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from scored_loans import contents, product_text
from shuiqiao.base.errors import Conflict
from shuiqiao.base.ids import OwnedId
from shuiqiao.consent.model import Output
from shuiqiao.credit.development import ScoringModel
from shuiqiao.credit.model_content import encode_content
from shuiqiao.credit.model_runner import ScorecardRunner
from shuiqiao.credit.pricing import ChurnCurve
from shuiqiao.features.inputs import input_schema
from shuiqiao.lending.assessment import Assessor
from shuiqiao.lending.catalogue import product_from_toml
from shuiqiao.lending.model import ApplicantFile, Application, Outcome, RuleCode
from shuiqiao.lending.output_assessment import OutputAssessor
from shuiqiao.lending.rules import broken_rules, outcome_of

AS_OF = date(2026, 3, 31)
TAXPAYER = "F1"
MODELS = {f"bank/{number:032x}": (job, content) for number, (job, content) in enumerate(contents().items())}
PRODUCT = product_from_toml(product_text({job: model for model, (job, _) in MODELS.items()}), where="test")
CURVE = ChurnCurve(rates=(Decimal("0.04"), Decimal("0.15")), churn=(Decimal(0), Decimal("0.5")))
CHURN = dict.fromkeys("ABC", CURVE)
APPLICATION = Application(
    id=b"a" * 16, product=PRODUCT.id, taxpayer=TAXPAYER, consent=OwnedId("bureau/00"), amount_fen=300_000_000,
    submitted_ms=0,
)  # fmt: skip

FILES = {name: encode_content(content) for name, (_, content) in MODELS.items()}


class _Contents:
    """What the bank has of its models."""

    def model_card(self, model, *, digest):
        assert digest == model.encode()
        return FILES[model]


@pytest.fixture(scope="module")
def ways():
    runner = ScorecardRunner()
    model = ScoringModel(card=contents()["risk"].card, unseeing={})
    with Assessor(PRODUCT, model=model, churn=CHURN, as_of=AS_OF, digest=lambda data: data[:8]) as raw:
        yield runner, raw, OutputAssessor(PRODUCT, recipient=_Contents(), churn=CHURN, as_of=AS_OF)
    runner.close()


def table(record_type, *rows):
    return pa.Table.from_pylist([{"uscc": TAXPAYER, **row} for row in rows], schema=input_schema(record_type))


days = st.integers(0, 400).map(lambda ago: AS_OF - timedelta(days=ago))
near = st.sampled_from([10_000, 50_000, 402_000]).flatmap(lambda yuan: st.integers(yuan * 100 - 3, yuan * 100 + 3))
FIRMS = st.fixed_dictionaries(
    {
        "invoice_issued": st.lists(st.tuples(days, st.integers(-(10**8), 10**9)), max_size=14),
        "payment": st.lists(st.tuples(days, st.one_of(near, st.integers(0, 10**8))), max_size=3),
        "arrears": st.lists(st.tuples(days, st.integers(0, 3)), max_size=1),
        "tax_credit_grade": st.lists(st.tuples(days, st.sampled_from("ABMCD")), max_size=2),
        "registration": st.lists(st.integers(650, 900).map(lambda ago: AS_OF - timedelta(days=ago)), max_size=1),
    }
)


def tables_of(firm):
    return {
        "invoice_issued": table(
            "invoice_issued",
            *(
                {
                    "invoice_no": str(number), "issue_date": day, "status": "valid", "is_red_letter": fen < 0,
                    "amount_fen": fen, "tax_fen": 0, "total_fen": fen,
                }
                for number, (day, fen) in enumerate(firm["invoice_issued"])
            ),
        ),
        "payment": table(
            "payment", *({"payment_kind": "tax", "due_on": day, "paid_on": day, "paid_fen": fen} for day, fen in firm["payment"])
        ),
        "arrears": table(
            "arrears", *({"due_on": day, "arose_on": day, "due_fen": fen, "owed_fen": fen} for day, fen in firm["arrears"])
        ),
        "tax_credit_grade": table(
            "tax_credit_grade",
            *({"year": day.year - 1, "grade": letter, "evaluated_on": day} for day, letter in firm["tax_credit_grade"]),
        ),
        "registration": table(
            "registration", *({"registered_on": day, "registered_capital_fen": 1} for day in firm["registration"])
        ),
    }  # fmt: skip


def answers_of(runner, tables):
    """What the bureau answers to each ask, in the form in which the bank has proven it."""
    for number, ask in enumerate(PRODUCT.score.asks):
        output = runner.run(FILES[ask.model], outputs=[ask.output], tables=tables, taxpayer=TAXPAYER, as_of=AS_OF)
        score = SimpleNamespace(model=ask.model, digest=ask.model.encode(), output=output)
        yield SimpleNamespace(
            request=bytes([number]) * 16,
            score=score,
            artefact=SimpleNamespace(firm=b"f" * 32),
            manifest=SimpleNamespace(period_to=AS_OF),
            entry=number,
        )


def rules_of(assessment):
    return broken_rules(
        PRODUCT,
        facts=assessment.facts,
        default_probability=assessment.score.default_probability,
        offer=assessment.offer,
    )


@settings(max_examples=60, deadline=None)
@given(firm=FIRMS)
def test_outputs_lend_no_more_than_the_records(ways, firm):
    """[LENDING-15]"""
    runner, raw, unseen = ways
    tables = tables_of(firm)
    whole = raw.assess(APPLICATION, received=SimpleNamespace(tables=tables, request=b"r" * 16, artefact=SimpleNamespace(firm=b"f" * 32)), file=ApplicantFile())  # fmt: skip
    risk, *further = answers_of(runner, tables)
    seen = unseen.assess(APPLICATION, received=risk, further=further, file=ApplicantFile())
    assert seen.offer.limit.limit_fen <= whole.offer.limit.limit_fen
    assert seen.score.points <= whole.score.points
    assert seen.score.default_probability >= whole.score.default_probability
    decided = outcome_of(rules_of(seen))
    event(str(decided))
    if decided is Outcome.APPROVED:
        assert outcome_of(rules_of(whole)) is Outcome.APPROVED
    again = unseen.assess(APPLICATION, received=risk, further=further, file=ApplicantFile())
    assert again == seen


GOOD = {
    "invoice_issued": [(AS_OF - timedelta(days=30 * month + 5), 4 * 10**8) for month in range(12)],
    "payment": [(AS_OF, 5_100_000)],
    "arrears": [],
    "tax_credit_grade": [(date(2025, 4, 20), "A")],
    "registration": [date(2010, 1, 1)],
}


def test_a_good_firm_is_lent_the_multiple_of_the_lower_edge_of_its_tax(ways):
    runner, _, unseen = ways
    risk, *further = answers_of(runner, tables_of(GOOD))
    seen = unseen.assess(APPLICATION, received=risk, further=further, file=ApplicantFile())
    assert (rules_of(seen), seen.facts.grade, seen.facts.age_months) == ((), "M", 24)
    # Six times at least 50,000 yuan of tax: the yes to the conditions says M or better, and no more.
    assert (seen.offer.limit.limit_fen, seen.offer.limit.bound_by) == (30_000_000, "tax")
    assert [(each.job, each.band, each.yes_no, each.entry) for each in seen.outputs] == [
        ("risk", "A", None, 0), ("conditions", None, True, 1), ("sales", "3", None, 2), ("tax", "2", None, 3),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [{"arrears": [(AS_OF, 1)]}, {"registration": [date(2025, 6, 1)]}, {"tax_credit_grade": []}, {"payment": []}],
    ids=["arrears", "young", "no grade", "no tax"],
)
def test_what_no_output_shows_refuses_and_is_not_said_to_be_otherwise(ways, change):
    runner, _, unseen = ways
    risk, *further = answers_of(runner, tables_of(GOOD | change))
    seen = unseen.assess(APPLICATION, received=risk, further=further, file=ApplicantFile())
    assert rules_of(seen) == (RuleCode.CONDITION_NOT_SHOWN,)


def test_the_days_since_the_data_count_as_days_without_sales(ways):
    runner, _, _ = ways
    risk, *further = answers_of(runner, tables_of(GOOD))
    later = OutputAssessor(PRODUCT, recipient=_Contents(), churn=CHURN, as_of=AS_OF + timedelta(days=1))
    seen = later.assess(APPLICATION, received=risk, further=further, file=ApplicantFile())
    assert seen.facts.days_since_last_sale == 93
    assert rules_of(seen) == (RuleCode.CONDITION_NOT_SHOWN,)


def test_answers_to_other_asks_are_no_basis(ways):
    runner, _, unseen = ways
    risk, *further = answers_of(runner, tables_of(GOOD))
    for answers in ((risk, *further[:-1]), (further[0], risk, *further[1:])):
        with pytest.raises(Conflict, match=r"lending\.product_changed"):
            unseen.assess(APPLICATION, received=answers[0], further=answers[1:], file=ApplicantFile())


def test_what_is_asked_is_the_risk_first():
    assert [ask.job for ask in PRODUCT.score.asks] == ["risk", "conditions", "sales", "tax"]
    assert [ask.output for ask in PRODUCT.score.asks] == [Output.BAND, Output.YES_NO, Output.BAND, Output.BAND]

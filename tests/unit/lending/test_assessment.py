"""What a decision rests on comes from proven records; a paper is believed only if one of them says the same."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from types import SimpleNamespace

import msgspec
import pyarrow as pa
import pytest

from shuiqiao.base.ids import OwnedId
from shuiqiao.credit.development import ScoringModel
from shuiqiao.credit.limit import LimitRefusal
from shuiqiao.credit.pricing import ChurnCurve
from shuiqiao.credit.scorecard import Scorecard, ScorecardFeature, scorecard_digest
from shuiqiao.features.inputs import input_schema
from shuiqiao.lending.assessment import Assessor, record_needs, unproven_papers
from shuiqiao.lending.catalogue import load_products
from shuiqiao.lending.model import ApplicantFile, Application, PaperInvoice
from shuiqiao.standards.tax_credit_grade import Grade

DAY = date(2025, 3, 1)


def issued(*rows):
    names = ("invoice_no", "issue_date", "total_fen", "status")
    columns = list(zip(*rows, strict=True)) if rows else [[], [], [], []]
    types = (pa.string(), pa.date32(), pa.int64(), pa.string())
    return pa.table({name: pa.array(column, kind) for name, column, kind in zip(names, columns, types, strict=True)})


RECORDS = issued(("00000001", DAY, 11_300, "valid"), ("00000002", DAY, 22_600, "void"), ("00000001", DAY, 5, "valid"))


def paper(name="p", *, number="00000001", day=DAY, total=11_300):
    return PaperInvoice(paper=name, invoice_no=number, issue_date=day, total_fen=total)


def test_a_paper_that_a_record_proves_is_believed():
    assert unproven_papers([paper(), paper("q", total=5)], issued=RECORDS) == ()


@pytest.mark.parametrize(
    "change",
    [{"number": "99999999"}, {"day": date(2025, 3, 2)}, {"total": 11_301}, {"number": "00000002", "total": 22_600}],
    ids=["invented", "another day", "another total", "voided"],
)
def test_a_paper_that_nothing_proves_is_named(change):
    assert unproven_papers([paper("good"), paper("forged", **change)], issued=RECORDS) == ("forged",)


def test_without_records_no_paper_is_believed_and_without_papers_nothing_is_unproven():
    assert unproven_papers([paper("a"), paper("b")], issued=issued()) == ("a", "b")
    assert unproven_papers([], issued=RECORDS) == ()


def test_record_batches_do_as_well_as_tables():
    assert unproven_papers([paper("x", total=1)], issued=RECORDS.to_batches()[0]) == ("x",)


AS_OF = date(2026, 3, 31)
TAXPAYER, KNOWN = "F1", "F2"
FEATURE = ScorecardFeature(
    name="log_monthly_sales_12m", cuts=(), points=(150,), unknown_points=0, counts=(1, 0), bad=(0, 0)
)
CARD = Scorecard(name="all", base_points=600, features=(FEATURE,), n=1, bad=0)
UNSEEING = Scorecard(name="without-f2", base_points=600, features=(FEATURE,), n=1, bad=0)
MODEL = ScoringModel(card=CARD, unseeing={KNOWN: UNSEEING})
CHURN = {
    band: ChurnCurve(rates=(Decimal("0.04"), Decimal("0.15")), churn=(Decimal(0), Decimal(top)))
    for band, top in (("A", "0.9"), ("B", "0.8"), ("C", "0.7"))
}
MILLION = 100_000_000


def digest(data):
    return data[:8]


@pytest.fixture(scope="module")
def assessor():
    with Assessor(load_products()["tax-credit-loan"], model=MODEL, churn=CHURN, as_of=AS_OF, digest=digest) as assessor:
        yield assessor


def table(record_type, *rows):
    schema = input_schema(record_type)
    return pa.Table.from_pylist([{"uscc": TAXPAYER, **row} for row in rows], schema=schema)


def invoice(**changes):
    amounts = {"amount_fen": MILLION, "tax_fen": 13_000_000, "total_fen": 113_000_000}
    when = {"invoice_no": "1", "issue_date": AS_OF - timedelta(days=10), "status": "valid", "is_red_letter": False}
    return {**when, **amounts, **changes}


def payment(**changes):
    return {"payment_kind": "tax", "due_on": AS_OF, "paid_on": AS_OF, "paid_fen": 10_000_000, **changes}


def grade(letter, *, year, evaluated_on):
    return {"year": year, "grade": letter, "evaluated_on": evaluated_on}


def tables(**changes):
    found = {
        "invoice_issued": table("invoice_issued", invoice()),
        "payment": table("payment", payment()),
        "arrears": table("arrears"),
        "tax_credit_grade": table("tax_credit_grade", grade("B", year=2024, evaluated_on=date(2025, 4, 20))),
        "registration": table("registration", {"registered_on": date(2016, 3, 30), "registered_capital_fen": 1}),
    } | changes
    return {name: rows for name, rows in found.items() if rows is not None}


def assessed(assessor, *, file=ApplicantFile(), taxpayer=TAXPAYER, amount_fen=50_000_000, **changes):  # noqa: B008
    application = Application(
        id=b"a" * 16, product="tax-credit-loan", taxpayer=taxpayer, consent=OwnedId("bureau/00"),
        amount_fen=amount_fen, submitted_ms=0,
    )  # fmt: skip
    received = SimpleNamespace(tables=tables(**changes), request=b"r" * 16, artefact=SimpleNamespace(firm=b"f" * 32))
    return assessor.assess(application, received=received, file=file)


def test_an_assessment_names_what_it_rests_on(assessor):
    found = assessed(assessor, file=ApplicantFile(industry="C", province="44"))
    assert (found.request, found.firm, found.industry, found.province) == (b"r" * 16, b"f" * 32, "C", "44")
    assert found.score.points == 750
    assert found.model_digest == scorecard_digest(CARD, digest=digest)
    facts = found.facts
    assert (facts.grade, facts.age_months, facts.days_since_last_sale) == (Grade.B, 120, 10)
    assert (facts.has_open_arrears, facts.has_forged_paper) == (False, False)


def test_who_is_in_the_loan_book_is_scored_by_the_card_that_never_saw_it(assessor):
    rows = {name: rows.set_column(0, "uscc", pa.array([KNOWN] * rows.num_rows)) for name, rows in tables().items()}
    found = assessed(assessor, taxpayer=KNOWN, **rows)
    assert found.model_digest == scorecard_digest(UNSEEING, digest=digest)


def test_the_newest_grade_that_was_published_by_the_day_counts(assessor):
    rows = (
        grade("A", year=2023, evaluated_on=date(2024, 4, 20)),
        grade("C", year=2024, evaluated_on=AS_OF),
        grade("B", year=2025, evaluated_on=AS_OF + timedelta(days=1)),
        grade("A", year=2025, evaluated_on=None),
    )
    assert assessed(assessor, tax_credit_grade=table("tax_credit_grade", *rows)).facts.grade is Grade.C
    none = table("tax_credit_grade", rows[2])
    assert assessed(assessor, tax_credit_grade=none).facts.grade is None
    assert assessed(assessor, tax_credit_grade=None).facts.grade is None


def test_what_the_records_do_not_hold_is_unknown(assessor):
    assert assessed(assessor, registration=None).facts.age_months is None
    assert assessed(assessor, registration=table("registration")).facts.age_months is None
    assert assessed(assessor, invoice_issued=table("invoice_issued")).facts.days_since_last_sale is None
    without_payments = assessed(assessor, payment=None).offer
    assert (without_payments.limit.refusal, without_payments.price) == (LimitRefusal.TAX_UNKNOWN, None)


def test_open_arrears_are_a_fact_and_lower_the_room_for_debt(assessor):
    owed = table("arrears", {"due_on": AS_OF, "arose_on": AS_OF, "due_fen": 60_000_000, "owed_fen": 60_000_000})
    found = assessed(assessor, arrears=owed)
    parts = {part.name: part.amount_fen for part in found.offer.limit.parts}
    assert found.facts.has_open_arrears
    assert parts["debt"] == 70_000_000 - 60_000_000


def test_debts_elsewhere_are_believed_for_they_only_lower_the_limit(assessor):
    parts = {
        part.name: part.amount_fen
        for part in assessed(assessor, file=ApplicantFile(other_debt_fen=30_000_000)).offer.limit.parts
    }
    assert (parts["debt"], parts["request"]) == (40_000_000, 50_000_000)


@pytest.mark.parametrize(("letter", "band"), [("A", "A"), ("B", "B"), ("M", "C")])
def test_the_price_follows_the_churn_of_the_grade(assessor, letter, band):
    rows = table("tax_credit_grade", grade(letter, year=2024, evaluated_on=AS_OF))
    price = assessed(assessor, tax_credit_grade=rows).offer.price
    assert {point.rate: point.churn for point in price.tried}[Decimal("0.1500")] == CHURN[band].churn[-1]
    assert price.limit_fen == 20_000_000  # a fifth of one million yuan of sales


def test_a_paper_that_contradicts_the_records_is_a_fact(assessor):
    good = PaperInvoice(paper="p", invoice_no="1", issue_date=AS_OF - timedelta(days=10), total_fen=113_000_000)
    forged = PaperInvoice(paper="q", invoice_no="1", issue_date=AS_OF - timedelta(days=10), total_fen=226_000_000)
    assert not assessed(assessor, file=ApplicantFile(papers=(good,))).facts.has_forged_paper
    assert assessed(assessor, file=ApplicantFile(papers=(good, forged))).facts.has_forged_paper


def test_what_an_assessment_reads_is_what_its_model_and_the_rules_read():
    """[LENDING-17]"""
    rules = record_needs(None)
    assert {"tax_credit_grade", "registration", "invoice_issued", "payment", "arrears"} == {*rules}
    assert rules["payment"] == rules["arrears"] == ("amounts", "core")
    assert rules["tax_credit_grade"] == ("core",)
    # Whom a firm sells to is read where a scorecard has a feature of it, also one that some applicants alone get.
    assert rules["invoice_issued"] == ("amounts", "core") == record_needs(MODEL)["invoice_issued"]
    partners = msgspec.structs.replace(FEATURE, name="top5_customer_share_12m")
    told = record_needs(
        ScoringModel(card=CARD, unseeing={KNOWN: msgspec.structs.replace(UNSEEING, features=(partners,))})
    )
    assert told == rules | {"invoice_issued": ("amounts", "core", "counterparty")}

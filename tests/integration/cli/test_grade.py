"""``grade explain``: a year's grade from a file of facts, in words and as JSON; what is no such file is refused."""

from __future__ import annotations

import json

import pytest

FACTS = {
    "year": 2025,
    "as_of": "2025-07-01",
    "operating_since": "2019-03-01",
    "has_income": True,
    "has_non_regular_indicators": False,
    "is_fee_information_complete": True,
    "events": [
        {"rule": "late_filing", "since": "2025-06-16", "reference": "VAT 2025-05"},
        {"rule": "late_payment", "since": "2025-06-16", "corrected_on": "2025-06-17"},
    ],
}


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "facts.json"
    path.write_text(json.dumps(FACTS), encoding="utf-8")
    return path


def test_a_grade_is_explained_in_words(here, file):
    told = here("grade", "explain", file).out

    assert told.startswith("2025  B 88 points 分  as of 截至 2025-07-01  2025 No. 12 纳税缴费信用管理办法\n")
    assert "     -5  A return of taxes or fees was not filed in time 未按规定期限办理纳税缴费申报  VAT 2025-05" in told
    assert "[points as before 2025]  unconfirmed 未证实\n" in told
    assert "unconfirmed, no advice 未证实,不作建议  late_payment\n" in told
    assert "by 不晚于 2025-07-16: +4, then 则 A 92 points 分" in told
    assert told.endswith("if all is repaired today 若今日全部修复  A 92 points 分\n")


def test_a_grade_is_explained_as_json(here, file):
    told = here("grade", "explain", file, "--json").json

    assert ("B", "88", ["late_payment"]) == (told["grade"], told["points"], told["unconfirmed"])


def test_without_a_day_it_is_of_the_day_on_which_it_is_read(here, file):
    file.write_text(json.dumps({**FACTS, "as_of": None}), encoding="utf-8")

    assert here("grade", "explain", file, "--json").json["as_of"] > "2025-07-01"


def test_what_is_no_file_of_facts_is_refused(here, file):
    file.write_text("{}", encoding="utf-8")
    refused = here("grade", "explain", file, "--json")

    assert (1, "tax_credit.facts_invalid") == (refused.code, refused.json["error"]["code"])


def test_an_event_of_no_rule_is_refused(here, file):
    file.write_text(json.dumps({**FACTS, "events": [{"rule": "nothing", "since": "2025-06-16"}]}), encoding="utf-8")
    refused = here("grade", "explain", file, "--json")

    assert (1, "tax_credit.rule_unknown") == (refused.code, refused.json["error"]["code"])
    assert refused.json["error"]["next_step_zh"]


FIRM = "91440300MA5LEAKME7"
FILINGS = (
    "uscc,tax_code,tax_item,period_from,period_to,due_on,filed_on,filing_kind,revenue_fen,tax_payable_fen,relief_fen,"
    "prepaid_fen,tax_due_fen\n"
    f"{FIRM},vat,general,2025-05-01,2025-05-31,2025-06-16,2025-06-20,original,900000,300000,0,0,300000\n"
    f"{FIRM},vat,general,2025-06-01,2025-06-30,2025-07-15,2025-07-15,original,900000,300000,0,0,300000\n"
)


@pytest.fixture
def bureau(here, home, files, tmp_path):
    """A bureau with a registration, the grades of three years, and two returns of which one was late."""
    (tmp_path / "filing.csv").write_text(FILINGS, encoding="utf-8")
    for name, path in {**files, "filing": tmp_path / "filing.csv"}.items():
        taken = here("ingest", path, "--type", name, "--home", home, "--json").json
        assert taken["records_quarantined"] == 0, (name, taken)
    return home


@pytest.fixture
def by_records(here, bureau):
    def call(*words):
        return here("grade", "explain", "--home", bureau, "--taxpayer", FIRM, *words, "--json")

    return call


def test_a_bureau_explains_a_grade_by_its_records(by_records, here, bureau):
    told = by_records("--year", "2025").json

    assert [("start_fees_complete", "93"), ("late_filing", "-5"), ("corrected_within_30_days", "4")] == [
        (line["rule"], line["points"]) for line in told["lines"] if line["kind"] == "points"
    ]
    assert ("A", "92", {"grade": "A", "points": None, "evaluated_on": None}) == (
        told["grade"],
        told["points"],
        told["issued"],
    )
    assert "has_non_regular_indicators" in [remark["about"] for remark in told["remarks"]]
    said = here("grade", "explain", "--home", bureau, "--taxpayer", FIRM, "--year", "2025").out
    assert "issued 税务机关公布  A" in said
    assert "filing vat 2025-05-01 2025-05-31" in said


def test_who_is_not_known_and_a_year_that_has_not_begun_are_refused(by_records, here, bureau):
    unknown = here("grade", "explain", "--home", bureau, "--taxpayer", "9199", "--year", "2025", "--json")

    assert (1, "tax_credit.registration_missing") == (unknown.code, unknown.json["error"]["code"])
    late = by_records("--year", "2099")
    assert (1, "tax_credit.year_not_begun") == (late.code, late.json["error"]["code"])


def test_one_of_a_file_and_records_is_asked_for(here, bureau):
    assert here("grade", "explain", "--home", bureau, "--json").code == 2
    assert here("grade", "explain", "--taxpayer", FIRM, "--year", "2025", "--json").code == 2


def test_a_grade_is_issued_as_an_anchored_record_and_superseded_by_another(here, bureau, file, by_records):
    """[GRADE-11]"""

    def issue(*words, **changes):
        file.write_text(json.dumps({**FACTS, "taxpayer": FIRM, **changes}), encoding="utf-8")
        return here("grade", "issue", file, "--home", bureau, *words, "--json")

    refused = issue()
    assert (1, "tax_credit.rule_unconfirmed") == (refused.code, refused.json["error"]["code"])
    assert "late_payment" in refused.json["error"]["message"]

    issued = issue("--confirm", "late_payment").json
    assert ("B", "88", True, "2025-12") == (issued["grade"], issued["points"], issued["is_new"], issued["rules"])
    again = issue("--confirm", "late_payment").json
    assert {**issued, "is_new": False} == again

    better = issue(events=[], as_of="2025-08-01").json
    assert ("A", True) == (better["grade"], better["is_new"])
    versions = here("record", "find", "--taxpayer", FIRM, "--type", "tax_credit_grade", "--key", "year=2025", "--home", bureau, "--json").json["records"]  # fmt: skip
    assert ["superseded", "superseded", "live"] == [version["status"] for version in versions]
    assert (better["batch"], better["leaf"]) == (versions[-1]["batch"], versions[-1]["leaf"])
    assert {"grade": "A", "points": "93", "evaluated_on": "2025-08-01"} == by_records("--year", "2025").json["issued"]
    proof = here("record", "prove", better["batch"], better["leaf"], "--home", bureau, "--out", file.with_suffix(".record"), "--json")  # fmt: skip
    assert proof.json["status"] == "live"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, "tax_credit.taxpayer_missing"),
        (
            {
                "taxpayer": FIRM,
                "year": 2015,
                "as_of": "2016-04-20",
                "has_income": False,
                "operating_since": "2012-05-01",
            },
            "tax_credit.not_rated",
        ),
        ({"taxpayer": FIRM, "events": [{"rule": "no_rule", "since": "2025-06-16"}]}, "tax_credit.rule_unknown"),
    ],
    ids=["taxpayer", "not rated", "rule"],
)
def test_what_cannot_be_issued_is_refused(here, home, file, changes, code):
    file.write_text(json.dumps({**FACTS, "events": [], **changes}), encoding="utf-8")
    refused = here("grade", "issue", file, "--home", home, "--json")

    assert (1, code) == (refused.code, refused.json["error"]["code"])

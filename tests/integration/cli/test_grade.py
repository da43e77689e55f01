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

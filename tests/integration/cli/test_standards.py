"""What the standard says of its record types, asked without a home."""

from __future__ import annotations

import json

from shuiqiao.standards.publication import load_catalogue
from shuiqiao.standards.reference import record_schema


def test_the_record_types_are_listed_with_their_groups(here):
    said = here("standards", "list", "--json")
    assert said.code == 0
    assert [row["standard"] for row in said.json["standards"]] == [each.standard_id for each in load_catalogue()]
    assert all("core" in row["groups"] and row["name_zh"] for row in said.json["standards"])
    assert "invoice_issued@2" in here("standards", "list").out


def test_a_record_type_is_shown_with_each_field(here):
    found = load_catalogue().get("tax_credit_grade")
    said = here("standards", "show", "tax_credit_grade", "--json")
    assert (said.code, said.json["natural_key"]) == (0, list(found.natural_key))
    assert [field["name"] for field in said.json["fields"]] == list(found.field_names)
    (grade,) = (field for field in said.json["fields"] if field["name"] == "grade")
    assert (grade["codes"], grade["required"], grade["level"]) == (
        ["A", "B", "M", "C", "D"],
        True,
        found.field("grade").level,
    )
    spoken = here("standards", "show", found.standard_id).out
    assert "grade  纳税信用级别" in spoken
    assert "A, B, M, C, D" in spoken


def test_a_schema_is_written_as_the_api_tells_it(here, tmp_path):
    out = tmp_path / "filing.json"
    said = here("standards", "export", "filing", "--out", out, "--json")
    assert (said.code, said.json) == (0, {"standard": load_catalogue().get("filing").standard_id, "file": str(out)})
    assert json.loads(out.read_text(encoding="utf-8")) == record_schema(load_catalogue().get("filing"))


def test_a_type_that_there_is_not_is_refused_with_those_that_there_are(here):
    said = here("standards", "show", "lottery@1", "--json")
    assert (said.code, said.json["error"]["code"]) == (1, "standards.type_unknown")
    assert "invoice_issued@2" in said.json["error"]["message"]

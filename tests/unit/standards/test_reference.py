from __future__ import annotations

from pathlib import Path

import pytest

from shuiqiao.standards.reference import group_schema, record_schema, render_reference

ROOT = Path(__file__).resolve().parents[3]


def test_the_committed_reference_is_what_the_catalogue_says(catalogue):
    # Holds [STD-61].
    committed = (ROOT / "docs" / "reference" / "record-types.md").read_text(encoding="utf-8")
    assert committed == render_reference(catalogue)


def test_the_reference_shows_every_field_with_its_chinese_name_and_source_code(catalogue):
    # Holds [STD-3].
    page = render_reference(catalogue)
    for record_type in catalogue:
        for entry in record_type.fields:
            assert f"| {entry.name_zh} | `{entry.source_code}` |" in page


def test_a_record_schema_carries_types_bounds_and_sensitivity(catalogue):
    # Holds [STD-60].
    schema = record_schema(catalogue.get("invoice_issued"))
    assert schema["additionalProperties"] is False
    assert schema["x-standard"] == "invoice_issued@2"
    assert schema["properties"]["invoice_no"]["pattern"] == "^(?:[0-9]{8}|[0-9]{20})$"
    assert schema["properties"]["status"]["enum"] == ["valid", "red_lettered_in_part", "red_lettered", "void"]
    assert schema["properties"]["invoice_kind"]["enum"][-1] is None
    assert schema["properties"]["tax_rate"]["type"] == ["string", "null"]
    assert schema["properties"]["amount_fen"]["x-sensitivity-level"] == 3
    assert schema["x-rules"][0] == "amount_plus_tax_is_total"


@pytest.mark.parametrize("group_id", ["core", "amounts", "counterparty"])
def test_a_group_schema_requires_every_member(catalogue, group_id):
    # Holds [STD-52], [STD-60].
    record_type = catalogue.get("invoice_received")
    schema = group_schema(record_type, group_id)
    assert schema["required"] == sorted(["group", "type", *record_type.group(group_id).fields])
    assert schema["properties"]["group"] == {"const": group_id}
    assert schema["properties"]["type"] == {"const": "invoice_received@2"}

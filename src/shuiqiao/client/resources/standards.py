"""The shared data standard: record types, their fields and disclosure groups."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from shuiqiao.client.pages import Page
from shuiqiao.client.wire import Count, Name, Wire, example

_TYPE = {
    "standard": "invoice_issued@2",
    "name": "Issued invoice",
    "name_zh": "开具发票",
    "fields": 21,
    "groups": ["core", "counterparty"],
    "natural_key": ["seller_uscc", "invoice_no"],
}


class RecordTypeSummary(Wire):
    """One record type of the standard."""

    model_config = example(**_TYPE)

    standard: Name
    """Id and version."""
    name: Name
    name_zh: Name
    fields: Count
    groups: tuple[Name, ...]
    natural_key: tuple[Name, ...]


class RecordTypePage(Page[RecordTypeSummary]):
    """Record types by id."""

    model_config = example(items=[_TYPE], next=None)


class FieldRecord(Wire):
    """One field of a record type."""

    name: Name
    title: Name
    name_zh: Name
    source_code: Name
    type: Name
    is_required: bool
    level: Count
    """Sensitivity, 1 to 5 (JR/T 0197-2020)."""
    personal_class: Name
    """Personal financial information class (JR/T 0171-2020)."""
    group: Name
    """Disclosure group."""


class RecordTypeRecord(Wire):
    """A record type in full, with the JSON Schema of its records."""

    model_config = example(
        standard="tax_credit_grade@1",
        name="Tax credit grade",
        name_zh="纳税信用等级",
        fields=[
            {
                "name": "uscc",
                "title": "Taxpayer number",
                "name_zh": "纳税人识别号",
                "source_code": "NSRSBH",
                "type": "text",
                "is_required": True,
                "level": 3,
                "personal_class": "none",
                "group": "core",
            }
        ],
        natural_key=["uscc", "year"],
        period_field="year",
        json_schema={"type": "object"},
    )

    standard: Name
    name: Name
    name_zh: Name
    fields: tuple[FieldRecord, ...]
    natural_key: tuple[Name, ...]
    period_field: Name
    json_schema: Annotated[dict[str, Any], Field(description="JSON Schema 2020-12")]

"""``/standards``: the record types of the shared data standard."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path

from shuiqiao.api.door import Running
from shuiqiao.api.routes.members import first_rows
from shuiqiao.api.routing import DEFAULT_LIMIT, Cursor, Limit, Routes
from shuiqiao.client.resources.standards import FieldRecord, RecordTypePage, RecordTypeRecord, RecordTypeSummary
from shuiqiao.standards.reference import record_schema

standards = Routes("standards", prefix="/standards")

Standard = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{0,59}(@[0-9]{1,9})?$", examples=["tax_credit_grade"])]


@standards.get("", permission="ledger.read")
def list_record_types(running: Running, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None) -> RecordTypePage:
    """List the record types of the standard, by id."""
    types = sorted(running.institution.catalogue, key=lambda each: each.standard_id)
    summaries = [
        RecordTypeSummary(
            standard=each.standard_id,
            name=each.name,
            name_zh=each.name_zh,
            fields=len(each.fields),
            groups=each.group_ids,
            natural_key=each.natural_key,
        )
        for each in types
        if each.standard_id > (cursor or "")
    ]
    found, following = first_rows(summaries, limit=limit)
    return RecordTypePage(items=found, next=found[-1].standard if following else None)


@standards.get("/{standard}", permission="ledger.read", codes=("standards.type_unknown",))
def read_record_type(standard: Standard, running: Running) -> RecordTypeRecord:
    """Return a record type with its fields and the JSON Schema of its records."""
    found = running.institution.catalogue.get(standard)
    return RecordTypeRecord(
        standard=found.standard_id,
        name=found.name,
        name_zh=found.name_zh,
        fields=tuple(
            FieldRecord(
                name=field.name,
                title=field.title,
                name_zh=field.name_zh,
                source_code=field.source_code,
                type=field.type,
                is_required=field.required,
                level=field.level,
                personal_class=field.personal,
                group=field.group,
            )
            for field in found.fields
        ),
        natural_key=found.natural_key,
        period_field=found.period_field,
        json_schema=record_schema(found),
    )

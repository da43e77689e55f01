"""Describes a record type, and each of its disclosure groups, as JSON Schema (draft 2020-12) for other software.

Rule: docs/spec/standard.md, [STD-60]. The schema states types, bounds, code lists and sensitivity of single fields;
row rules stand in it by name only, since JSON Schema cannot compare fields.
"""

from __future__ import annotations

from typing import Any

from shuiqiao.base.money import MAX_FEN
from shuiqiao.standards import cells
from shuiqiao.standards.model import Field, FieldType, RecordType

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_BASE: dict[FieldType, dict[str, Any]] = {
    FieldType.TEXT: {"type": "string", "minLength": 1},
    FieldType.CODE: {"type": "string"},
    FieldType.INTEGER: {"type": "integer", "minimum": -MAX_FEN, "maximum": MAX_FEN},
    FieldType.AMOUNT_FEN: {"type": "integer", "minimum": -MAX_FEN, "maximum": MAX_FEN},
    FieldType.RATE: {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"},
    FieldType.DATE: {"type": "string", "format": "date"},
    FieldType.YEAR: {"type": "integer", "minimum": cells.FIRST_YEAR, "maximum": cells.LAST_YEAR},
    FieldType.MONTH: {"type": "string", "pattern": "^[0-9]{4}-(0[1-9]|1[0-2])$"},
    FieldType.BOOLEAN: {"type": "boolean"},
}


def record_schema(record_type: RecordType) -> dict[str, Any]:
    """Return the JSON Schema of one record as an object of its fields, dates as ISO text."""
    return {
        **_head(record_type, f"{record_type.name} {record_type.name_zh}"),
        "properties": {entry.name: _field_schema(entry) for entry in record_type.fields},
        "required": [entry.name for entry in record_type.fields if entry.required],
        "x-natural-key": list(record_type.natural_key),
        "x-rules": [rule.name for rule in record_type.rules],
    }


def group_schema(record_type: RecordType, group_id: str) -> dict[str, Any]:
    """Return the JSON Schema of a disclosed group: every member is there, empty ones as null.

    Raises InvalidInput ``standards.group_unknown``.
    """
    group = record_type.group(group_id)
    members = {
        "group": {"const": group.id},
        "type": {"const": record_type.standard_id},
        **{name: _field_schema(record_type.field(name)) for name in group.fields},
    }
    return {
        **_head(record_type, f"{record_type.name}: {group.name} {group.name_zh}"),
        "properties": members,
        "required": sorted(members),
    }


def _head(record_type: RecordType, title: str) -> dict[str, Any]:
    return {
        "$schema": _DIALECT,
        "title": title,
        "x-standard": record_type.standard_id,
        "type": "object",
        "additionalProperties": False,
    }


def _field_schema(field: Field) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "title": f"{field.title} {field.name_zh}",
        "x-source-code": field.source_code,
        "x-sensitivity-level": field.level,
        "x-personal-class": field.personal.value,
        "x-disclosure-group": field.group,
        **_BASE[field.type],
        **_constraints(field),
    }
    if not field.required:
        schema["type"] = [schema["type"], "null"]
        if "enum" in schema:
            schema["enum"] = [*schema["enum"], None]
    return schema


def _constraints(field: Field) -> dict[str, Any]:
    stated = {
        "maxLength": field.max_length,
        "pattern": None if field.pattern is None else f"^(?:{field.pattern})$",
        "minimum": field.minimum,
        "maximum": field.maximum,
        "enum": None if field.code_list is None else list(field.code_list.codes),
        "x-unit": field.unit or None,
    }
    return {key: value for key, value in stated.items() if value is not None}

"""Describes record types to others: as JSON Schema (draft 2020-12) for software, as a page in Markdown for people.

Rule: docs/spec/standard.md, [STD-60], [STD-61]. The schema states types, bounds, code lists and sensitivity of single
fields; row rules stand in it by name only, since JSON Schema cannot compare fields. A test holds that the committed
page, ``docs/reference/record-types.md``, is what ``render_reference`` returns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shuiqiao.base.money import MAX_FEN
from shuiqiao.standards import conversion
from shuiqiao.standards.model import Catalogue, CodeList, Field, FieldType, PersonalClass, RecordType, SourceProfile

_DIALECT = "https://json-schema.org/draft/2020-12/schema"

_BASE: dict[FieldType, dict[str, Any]] = {
    FieldType.TEXT: {"type": "string", "minLength": 1},
    FieldType.CODE: {"type": "string"},
    FieldType.INTEGER: {"type": "integer", "minimum": -MAX_FEN, "maximum": MAX_FEN},
    FieldType.AMOUNT_FEN: {"type": "integer", "minimum": -MAX_FEN, "maximum": MAX_FEN},
    FieldType.RATE: {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$"},
    FieldType.DATE: {"type": "string", "format": "date"},
    FieldType.YEAR: {"type": "integer", "minimum": conversion.FIRST_YEAR, "maximum": conversion.LAST_YEAR},
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


_INTRODUCTION = """# Record types 记录类型

Generated from `src/shuiqiao/standards/catalogue/`; do not edit by hand. The rules behind this page stand in
[the standard](../spec/standard.md).

*Level* is the sensitivity level of JR/T 0197-2020 (1 to 5); *PI* is the personal financial information class of
JR/T 0171-2020 (C1 to C3, – for facts about a firm); *group* is the disclosure group. `*` marks a required field.
"""


def render_reference(catalogue: Catalogue) -> str:
    """Return the page in Markdown: every record type, code list and source profile."""
    parts = [_INTRODUCTION, _overview(catalogue), *(_record_type(entry) for entry in catalogue)]
    lists = {
        field.code_list.id: field.code_list
        for entry in catalogue
        for field in entry.fields
        if field.code_list is not None
    }
    parts.append("## Code lists 代码表\n")
    parts.extend(_code_list(lists[key]) for key in sorted(lists))
    parts.append("## Source profiles 来源布局\n")
    parts.extend(_profile(profile) for profile in catalogue.profiles)
    return "\n".join(parts)


def _table(header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _overview(catalogue: Catalogue) -> str:
    rows = [
        (f"[{e.standard_id}](#{e.id})", e.name, e.name_zh, f"`{e.source_code}`", str(len(e.fields))) for e in catalogue
    ]
    return _table(("type", "name", "名称", "source code", "fields"), rows)


def _record_type(record_type: RecordType) -> str:
    key = ", ".join(f"`{name}`" for name in record_type.natural_key) + _series(record_type)
    other = "a newer version" if record_type.supersedable else "a conflict, kept out"
    if record_type.advances:
        forward = ", ".join(f"`{name}`" for name in record_type.advances)
        other = f"a newer version where {forward} went forward and nothing else changed; else {other}"
    facts = [
        f"- Natural key: {key}",
        f"- Other values under the same key: {other}",
        f"- Placed in time by: `{record_type.period_field}`" + ("; holds until superseded" * record_type.standing),
        "- Disclosure groups: " + ", ".join(f"`{group.id}` {group.name_zh}" for group in record_type.groups),
    ]
    fields = _table(
        ("field", "meaning", "名称", "source code", "type", "constraint", "level", "PI", "group"),
        [_field_row(entry) for entry in record_type.fields],
    )
    rules = [f"- `{rule.name}`: {rule.title}. {rule.name_zh}。" for rule in record_type.rules]
    heading = f'## <a id="{record_type.id}"></a>{record_type.standard_id}: {record_type.name} {record_type.name_zh}\n'
    body = [heading, "\n".join(facts) + "\n", fields]
    if rules:
        body.append("Row rules:\n\n" + "\n".join(rules) + "\n")
    return "\n".join(body)


def _series(record_type: RecordType) -> str:
    series = record_type.series
    if series is None:
        return ""
    named = " or ".join(f"`{name}`" for name in series.fields)
    return f", and {named} where `{series.number}` is shorter than {series.unique_length} characters"


def _field_row(field: Field) -> tuple[str, ...]:
    personal = "–" if field.personal is PersonalClass.NONE else field.personal.value
    return (
        f"`{field.name}`{'*' if field.required else ''}",
        field.title,
        field.name_zh,
        f"`{field.source_code}`",
        field.type.value + (f" ({field.unit})" if field.unit else ""),
        _constraint(field),
        str(field.level),
        personal,
        f"`{field.group}`",
    )


def _constraint(field: Field) -> str:
    parts: list[str] = []
    if field.code_list is not None:
        parts.append(f"[{field.code_list.id}](#codes-{field.code_list.id})")
    if field.pattern is not None:
        parts.append(f"`{field.pattern}`")
    elif field.max_length is not None:
        parts.append(f"at most {field.max_length} characters")
    if field.minimum is not None:
        parts.append(f"from {field.minimum:,}")
    if field.maximum is not None:
        parts.append(f"to {field.maximum:,}")
    return ", ".join(parts)


def _code_list(codes: CodeList) -> str:
    rows = [
        (f"`{value.code}`", value.name, value.name_zh, ", ".join(f"`{alias}`" for alias in value.aliases))
        for value in codes.values
    ]
    heading = f'### <a id="codes-{codes.id}"></a>{codes.id}: {codes.name} {codes.name_zh}\n'
    return heading + "\n" + _table(("code", "meaning", "名称", "also read"), rows)


def _profile(profile: SourceProfile) -> str:
    amounts = {column.source for column in profile.columns if column.field.endswith("_fen")}
    taken = [
        (f"`{column.source}`", f"`{column.field}`", column.unit.value if column.source in amounts else "")
        for column in profile.columns
    ]
    left = [(f"`{column.source}`", "not taken", column.reason) for column in profile.ignored]
    heading = f"### {profile.id}: {profile.name} {profile.name_zh}\n\nBecomes `{profile.record_type}`.\n"
    return heading + "\n" + _table(("column", "field", "unit or reason"), taken + left)

"""``standards``: the record types of the shared data standard, as this release has them; no home is needed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from shuiqiao.cli.options import Json, command_group
from shuiqiao.cli.output import joined, print_json, say, say_rows, show, show_list

standards_app = command_group("The shared data standard 数据标准.")

Standard = Annotated[str, typer.Argument(help="Record type, with or without its version: filing, filing@1 记录类型.")]


@standards_app.command("list")
def standards_list(*, json: Json = False) -> None:
    """List the record types of the standard 列出记录类型."""
    from shuiqiao.standards.publication import load_catalogue

    rows = [
        {
            "standard": each.standard_id,
            "name": each.name,
            "name_zh": each.name_zh,
            "fields": len(each.fields),
            "groups": list(each.group_ids),
        }
        for each in load_catalogue()
    ]
    show_list("standards", rows, as_json=json)


@standards_app.command("show")
def standards_show(*, standard: Standard, json: Json = False) -> None:
    """Show a record type: its key, and each field with type, group, level and code list 查看记录类型."""
    from shuiqiao.standards.publication import load_catalogue

    found = load_catalogue().get(standard)
    head = {
        "standard": found.standard_id,
        "name": found.name,
        "name_zh": found.name_zh,
        "natural_key": list(found.natural_key),
        "period_field": found.period_field,
        "rules": [rule.name for rule in found.rules],
    }
    fields: list[dict[str, Any]] = [
        {
            "name": field.name,
            "name_zh": field.name_zh,
            "source_code": field.source_code,
            "type": str(field.type),
            "required": field.required,
            "group": field.group,
            "level": field.level,
            "personal": str(field.personal),
            "codes": [] if field.code_list is None else list(field.code_list.codes),
        }
        for field in found.fields
    ]
    if json:
        print_json(head | {"fields": fields})
        return
    say_rows(head)
    for field in fields:
        must = "required 必填" if field["required"] else ""
        parts = (field["name"], field["name_zh"], field["source_code"], field["type"], field["group"])
        codes = joined(field["codes"], nothing="")
        say("  ".join(filter(None, (*parts, f"level {field['level']} 级", must, codes))))


@standards_app.command("export")
def standards_export(
    *,
    standard: Standard,
    out: Annotated[Path, typer.Option("--out", help="File to write 输出文件.")],
    json: Json = False,
) -> None:
    """Write the JSON Schema of a record type's records to a file 导出 JSON Schema."""
    from json import dumps

    from shuiqiao.base.files import share_file
    from shuiqiao.standards.publication import load_catalogue
    from shuiqiao.standards.reference import record_schema

    found = load_catalogue().get(standard)
    out.write_text(dumps(record_schema(found), ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    share_file(out)
    show({"standard": found.standard_id, "file": str(out)}, as_json=json)

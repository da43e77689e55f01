"""``grade``: explain a tax credit grade, from a file of facts or from a bureau's records, and issue one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from shuiqiao.cli.options import Json, command_group
from shuiqiao.cli.output import say, show

grade_app = command_group("Tax credit grades 纳税信用等级.")

_POINTS_WIDTH = 7


@grade_app.command("explain")
def grade_explain(
    *,
    file: Annotated[Path, typer.Argument(help="JSON file of the year's facts and events 年度事实与事件文件.")],
    json: Json = False,
) -> None:
    """Work a year's grade out: each line that led to it, and what to repair, by when, and for what 解释等级."""
    from datetime import UTC, datetime

    from shuiqiao.base.clock import MS_PER_SECOND, SystemClock
    from shuiqiao.base.files import read_regular
    from shuiqiao.tax_credit.explanation import explain_grade
    from shuiqiao.tax_credit.facts_file import MAX_FACTS_BYTES, decode_facts

    today = datetime.fromtimestamp(SystemClock().now_ms() / MS_PER_SECOND, tz=UTC).astimezone().date()
    facts = decode_facts(read_regular(file, max_bytes=MAX_FACTS_BYTES)).facts(today=today)
    show(explain_grade(facts), as_json=json, speak=speak_explanation)


def speak_explanation(told: Mapping[str, Any]) -> None:
    """Show an explanation in words, as ``tax_credit.explanation`` makes it."""
    rules = told["rules"]
    say(f"{told['year']}  {_outcome(told)}  as of 截至 {told['as_of']}  {rules['source']} {rules['name_zh']}")
    if issued := told["issued"]:
        day = issued["evaluated_on"] or "-"
        say(f"issued 税务机关公布  {issued['grade']}  {issued['points'] or '-'} points 分  {day}")
    for line in told["lines"]:
        _speak_line(line)
    for remark in told["remarks"]:
        say(f"not known 未知  {remark['about']}: {remark['en']} {remark['zh']}")
    if told["unconfirmed"]:
        say(f"unconfirmed, no advice 未证实,不作建议  {', '.join(told['unconfirmed'])}")
    for repair in told["repairs"]:
        _speak_repair(repair)
    if told["repairs"]:
        say(f"if all is repaired today 若今日全部修复  {_outcome(told['after_repair'])}")
    else:
        say("nothing to repair 无可修复项")


def _speak_line(line: Mapping[str, Any]) -> None:
    points = "" if line["points"] is None else line["points"] if line["points"][0] == "-" else f"+{line['points']}"
    when = "" if line["since"] is None else f"  since 自 {line['since']}"
    until = "" if line["until"] is None else f"  until 至 {line['until']}"
    mark = "" if line["confirmed"] else "  unconfirmed 未证实"
    about = "".join(f"  {reference}" for reference in line["references"])
    say(f"{points:>{_POINTS_WIDTH}}  {line['name']} {line['name_zh']}{about}{when}{until}  [{line['source']}]{mark}")


def _speak_repair(repair: Mapping[str, Any]) -> None:
    about = ", ".join(repair["references"]) or repair["since"]
    say(f"repair 可修复  {repair['name']} {repair['name_zh']} ({about})")
    for option in repair["options"]:
        by = "at any time later 之后任何时间" if option["by"] is None else f"by 不晚于 {option['by']}"
        say(f"{'':{_POINTS_WIDTH}}  {by}: +{option['gives_back']}, then 则 {_outcome(option)}  [{option['source']}]")


def _outcome(told: Mapping[str, Any]) -> str:
    """Return a letter and points in words."""
    letter = told["grade"] or "not rated 不参评"
    return letter if told["points"] is None else f"{letter} {told['points']} points 分"

"""``grade``: explain a tax credit grade, from a file of facts or from a bureau's records, and issue one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from shuiqiao.cli.enterprise_device import required
from shuiqiao.cli.options import Home, Json, OptionalHome, command_group
from shuiqiao.cli.output import say, say_rows, show

grade_app = command_group("Tax credit grades 纳税信用等级.")

_POINTS_WIDTH = 7


YearOption = Annotated[int | None, typer.Option(min=2014, max=2099, help="Of which calendar year 评价年度.")]


@grade_app.command("explain")
def grade_explain(
    *,
    file: Annotated[
        Path | None, typer.Argument(help="JSON file of the year's facts and events 年度事实与事件文件.")
    ] = None,
    home: OptionalHome = None,
    taxpayer: Annotated[
        str | None, typer.Option(help="With --home and --year: by the bureau's records of this taxpayer 纳税人识别号.")
    ] = None,
    year: YearOption = None,
    json: Json = False,
) -> None:
    """Work a year's grade out: each line that led to it, and what to repair, by when, and for what 解释等级."""
    if file is not None:
        told = _explained_file(file)
    elif taxpayer is not None and year is not None:
        from shuiqiao.cli.home import home_to_read, well_formed
        from shuiqiao.client.resources.grades import EXPLAIN_GRADE, GradeQuestion

        with well_formed(), home_to_read(required(home, "--home")) as at_work:
            told = at_work.perform(EXPLAIN_GRADE, GradeQuestion(taxpayer=taxpayer, year=year)).model_dump(mode="json")
    else:
        raise typer.BadParameter("name a FILE of facts, or --home, --taxpayer and --year for a bureau's records")
    show(told, as_json=json, speak=speak_explanation)


def _explained_file(file: Path) -> dict[str, Any]:
    from datetime import UTC, datetime

    from shuiqiao.base.clock import MS_PER_SECOND, SystemClock
    from shuiqiao.base.files import read_regular
    from shuiqiao.tax_credit.explanation import explain_grade
    from shuiqiao.tax_credit.facts_file import MAX_FACTS_BYTES, decode_facts

    today = datetime.fromtimestamp(SystemClock().now_ms() / MS_PER_SECOND, tz=UTC).astimezone().date()
    return explain_grade(decode_facts(read_regular(file, max_bytes=MAX_FACTS_BYTES)).facts(today=today))


@grade_app.command("issue")
def grade_issue(
    *,
    file: Annotated[Path, typer.Argument(help="JSON file of facts that names the taxpayer 年度事实与事件文件.")],
    home: Home,
    confirm: Annotated[
        list[str] | None,
        typer.Option(help="An unconfirmed rule that the bureau confirms, by its id; repeatable 确认规则."),
    ] = None,
    json: Json = False,
) -> None:
    """Issue the grade that follows from a file of facts as an anchored record of this bureau 出具等级."""
    from shuiqiao.base.files import read_regular
    from shuiqiao.cli.home import home_at_work, well_formed
    from shuiqiao.client.resources.grades import ISSUE_GRADE, GradeIssue
    from shuiqiao.tax_credit.facts_file import MAX_FACTS_BYTES, decode_facts

    data = read_regular(file, max_bytes=MAX_FACTS_BYTES)
    decode_facts(data)
    with well_formed(), home_at_work(home) as at_work:
        asked = GradeIssue(facts=data.decode(), confirmed=tuple(confirm or ()))
        told = at_work.perform(ISSUE_GRADE, asked).model_dump(mode="json")
    show(told, as_json=json, speak=say_rows)


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

"""``registers``: assessments before data are shared, incidents and complaints, and their deadlines."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from shuiqiao.base.clock import MS_PER_DAY, MS_PER_SECOND, iso_from_ms
from shuiqiao.cli.home import all_items, home_at_work, well_formed
from shuiqiao.cli.options import Home, Json, command_group
from shuiqiao.cli.output import print_json, say

if TYPE_CHECKING:
    from shuiqiao.client.resources.registers import RegisterRecord

registers_app = command_group("Registers of assessments, incidents and complaints 评估、事件与投诉登记.")

_Words = Annotated[str, typer.Option(help="What it is about, or what became of it 说明.")]


class FindingChoice(StrEnum):
    """As ``node.registers.model.Finding``."""

    ACCEPTABLE = "acceptable"
    UNACCEPTABLE = "unacceptable"


class SeverityChoice(StrEnum):
    """As ``node.registers.model.Severity``."""

    GENERAL = "general"
    SERIOUS = "serious"
    MAJOR = "major"


@registers_app.command("list")
def list_register(*, home: Home, json: Json = False) -> None:
    """List all entries; what is overdue is marked 列出."""
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.client.resources.registers import LIST_REGISTER

    with home_at_work(home) as at_work:
        entries = all_items(at_work, LIST_REGISTER, PageQuery())
    if json:
        print_json({"entries": [entry.model_dump(mode="json") for entry in entries]})
        return
    for entry in entries:
        _speak(entry)
    if not entries:
        say("the registers are empty 登记簿为空")


@registers_app.command("assess")
def assess(
    *,
    home: Home,
    member: Annotated[str, typer.Argument(help="With whom data are shared 共享对象成员.")],
    finding: Annotated[FindingChoice, typer.Option(help="What the assessment found 评估结论.")],
    words: _Words,
    until: Annotated[datetime, typer.Option(formats=["%Y-%m-%d"], help="The last day that it is good, UTC 有效期至.")],
    json: Json = False,
) -> None:
    """Enter a security assessment of sharing data with a member 登记共享前评估."""
    from shuiqiao.client.resources.registers import ASSESS, NewAssessment

    until_ms = int(until.replace(tzinfo=UTC).timestamp()) * MS_PER_SECOND + MS_PER_DAY - 1
    with well_formed():
        made = NewAssessment(member=member, outcome=finding.value, words=words, until_ms=until_ms)
    with home_at_work(home) as at_work:
        _show(at_work.perform(ASSESS, made), as_json=json)


@registers_app.command("incident")
def incident(
    *,
    home: Home,
    severity: Annotated[SeverityChoice, typer.Option(help="How grave it is: its time to be reported 等级.")],
    words: _Words,
    found: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%dT%H:%M", "%Y-%m-%d"], help="When it was found, UTC; by default now 发现时间."),
    ] = None,
    json: Json = False,
) -> None:
    """Enter a security incident, and until when it is to be reported 登记安全事件."""
    from shuiqiao.client.resources.registers import REPORT_INCIDENT, NewIncident

    moment = datetime.now(tz=UTC) if found is None else found.replace(tzinfo=UTC)
    with well_formed():
        made = NewIncident(severity=severity.value, words=words, found_ms=int(moment.timestamp()) * MS_PER_SECOND)
    with home_at_work(home) as at_work:
        _show(at_work.perform(REPORT_INCIDENT, made), as_json=json)


@registers_app.command("complaint")
def complaint(*, home: Home, words: _Words, json: Json = False) -> None:
    """Enter a complaint about the use of data, to be answered within 15 days 登记投诉."""
    from shuiqiao.client.resources.registers import COMPLAIN, NewComplaint

    with well_formed():
        made = NewComplaint(words=words)
    with home_at_work(home) as at_work:
        _show(at_work.perform(COMPLAIN, made), as_json=json)


@registers_app.command("close")
def close_entry(
    *,
    home: Home,
    entry: Annotated[int, typer.Argument(min=1, max=1_000_000_000, help="The entry's number 登记序号.")],
    words: _Words,
    json: Json = False,
) -> None:
    """Close an entry: an incident was reported, a complaint answered, an assessment withdrawn 办结."""
    from shuiqiao.client.resources.registers import CLOSE_ENTRY, RegisterClosure

    with well_formed():
        closed = RegisterClosure(seq=entry, words=words)
    with home_at_work(home) as at_work:
        _show(at_work.perform(CLOSE_ENTRY, closed), as_json=json)


def _show(entry: RegisterRecord, *, as_json: bool) -> None:
    if as_json:
        print_json(entry.model_dump(mode="json"))
    else:
        _speak(entry)


def _speak(entry: RegisterRecord) -> None:
    state = "closed 已办结" if entry.closed_ms is not None else "OVERDUE 逾期" if entry.is_overdue else "open 未办结"
    about = "  ".join(word for word in (entry.member, entry.grade) if word)
    say(f"{entry.seq:>6}  {entry.kind:<10}  {state}  until {iso_from_ms(entry.due_ms)}  {about}")
    say(f"        {entry.words}")
    if entry.outcome is not None:
        say(f"        {entry.outcome}")

"""``shuiqiao exposure``: what other banks have lent to applicants who consented at both, in bands."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.cli.home import home_at_work, of_file, well_formed
from shuiqiao.cli.lending import Form, rows_of
from shuiqiao.cli.options import Home, Json, command_group
from shuiqiao.cli.output import ListForm, progress_on_stderr, say, say_rows, show, show_list

if TYPE_CHECKING:
    from collections.abc import Mapping

exposure_app = command_group("What other banks have lent to this bank's applicants, in bands 他行敞口.")


@exposure_app.command("ask")
def exposure_ask(
    *,
    bank: Annotated[str, typer.Argument(help="The bank that is asked, by its id 被询问的银行.")],
    home: Home,
    consent: Annotated[
        str | None, typer.Option(help="Under this consent alone, BUREAU/ID; left out, all not used yet 授权书.")
    ] = None,
    json: Json = False,
) -> None:
    """Ask a bank what it has lent to those who consented at both; it is not told who they are 询问他行敞口."""
    from shuiqiao.client.resources.exposures import ASK_EXPOSURES, ExposureAsking

    with home_at_work(home) as here, well_formed(), progress_on_stderr() as progress:
        progress("ask the bank 询问银行", 0, None)
        told = here.perform(ASK_EXPOSURES, ExposureAsking(member=bank, consent=consent))
    show(told.model_dump(), as_json=json, speak=_speak_told)


@exposure_app.command("list")
def exposure_list(*, home: Home, form: Form = ListForm.TEXT, json: Json = False) -> None:
    """List what other banks told, oldest first, 1,000 at most 他行敞口列表."""
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.client.resources.exposures import LIST_EXPOSURES

    with home_at_work(home) as here:
        rows = rows_of(here, LIST_EXPOSURES, PageQuery())
    show_list("exposures", rows, form=form, as_json=json)


@exposure_app.command("runs")
def exposure_runs(*, home: Home, form: Form = ListForm.TEXT, json: Json = False) -> None:
    """List the runs in which this bank took part, oldest first, 1,000 at most 比对记录."""
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.client.resources.exposures import LIST_RUNS

    with home_at_work(home) as here:
        rows = rows_of(here, LIST_RUNS, PageQuery())
    show_list("runs", rows, form=form, as_json=json)


@exposure_app.command("evidence")
def exposure_evidence(
    *,
    run: Annotated[str, typer.Argument(help="The run, 64 hex digits 比对编号.")],
    home: Home,
    out: Annotated[Path, typer.Option(help="File to write it to 输出文件.")],
    json: Json = False,
) -> None:
    """Write what this bank put into a run, with what both banks signed, for an auditor 导出比对证据."""
    from shuiqiao.client.resources.exposures import READ_EVIDENCE, RunChoice

    with home_at_work(home) as here, well_formed():
        found = here.perform(READ_EVIDENCE, RunChoice(run=run))
    out.write_text(found.evidence, encoding="ascii")
    show({"file": str(out), "run": run}, as_json=json, speak=partial(say_rows, width=12))


@exposure_app.command("check")
def exposure_check(
    *,
    file: Annotated[Path, typer.Argument(help="What `exposure evidence` wrote 证据文件.")],
    home: Home,
    json: Json = False,
) -> None:
    """Hold what a bank put into a run against what it signed and against the ledger 核验比对输入."""
    from shuiqiao.base.files import read_regular
    from shuiqiao.client.resources.exposures import CHECK_EVIDENCE, MAX_EVIDENCE_CHARS, Evidence

    text = read_regular(file, max_bytes=MAX_EVIDENCE_CHARS).decode("ascii", "replace")
    with home_at_work(home) as here, well_formed(), of_file(file, "FILE", "lending.exposure_"):
        found = here.perform(CHECK_EVIDENCE, Evidence(evidence=text))
    show(found.model_dump(), as_json=json, speak=partial(say_rows, width=12))


def _speak_told(told: Mapping[str, Any]) -> None:
    show_list("exposures", told["exposures"], as_json=False)
    for each in told["refused"]:
        say(f"not asked 未询问  {each['consent']}  {each['code']}")

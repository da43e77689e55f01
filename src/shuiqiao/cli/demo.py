"""``shuiqiao demo``: the whole loop on real nodes, ending in figures, receipts and a report page."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from shuiqiao.base.errors import Conflict
from shuiqiao.cli.output import EXIT_DONE, EXIT_REFUSED, Progress, print_json, progress_on_stderr, say
from shuiqiao.crypto.model import SuiteName

if TYPE_CHECKING:
    from shuiqiao.sandbox.scenario.result import ScenarioResult

MARK = ".shuiqiao-demo"
"""A file that says a folder is a demo's own, so that the next demo may replace it and nothing else."""


def run_demo(*, taxpayers: int, seed: int, data: Path | None, suite: str, out: Path, as_json: bool) -> int:
    """Play the scenario; exit 1 if a check did not hold."""
    from shuiqiao.sandbox.report.page import write_report

    _claim(out)
    with progress_on_stderr() as progress:
        result = _play(taxpayers=taxpayers, seed=seed, data=data, suite=SuiteName(suite), out=out, progress=progress)
        write_report(result, Path(result.figures.report))
    failed = [*result.figures.failed_checks(), *result.details.audit_problems]
    if as_json:
        print_json(result.figures.as_json())
    else:
        _speak(result, failed=failed)
    return EXIT_REFUSED if failed else EXIT_DONE


def _play(
    *, taxpayers: int, seed: int, data: Path | None, suite: SuiteName, out: Path, progress: Progress
) -> ScenarioResult:
    from shuiqiao.sandbox.scenario.population import research_data, synthetic_data
    from shuiqiao.sandbox.scenario.story import RunSettings, play
    from shuiqiao.sandbox.scenario.telling import tell

    progress("prepare the data 准备数据", 0, None)
    run_data = synthetic_data(out / "data", taxpayers=taxpayers, seed=seed) if data is None else research_data(data)
    return play(RunSettings(suite=suite, folder=out.resolve(), seed=seed, data=run_data, progress=progress), tell=tell)


def _claim(out: Path) -> None:
    """Make the folder ours: new, empty, or an earlier demo's, which is replaced."""
    if (out / MARK).is_file():
        shutil.rmtree(out)
    if out.exists() and any(out.iterdir()):
        raise Conflict(
            "cli.folder_in_use",
            f"{out} holds files that are not an earlier demo's",
            next_step="name an empty folder with --out",
        )
    out.mkdir(parents=True, exist_ok=True)
    (out / MARK).touch()


def _speak(result: ScenarioResult, *, failed: list[str]) -> None:
    figures, details = result.figures, result.details
    decisions = figures.decisions
    low, high = figures.model.auc_ci
    say(f"data            {details.data_source_en} {details.data_source_zh}")
    say(
        f"records         {figures.records_read:,} read, {figures.records_ingested:,} ingested in {figures.anchors} "
        f"anchors; reported: {figures.duplicates_reported:,} duplicates, {figures.records_quarantined:,} quarantined"
    )
    say(f"consent         {figures.consents:,} consents, {figures.requests:,} requests, {figures.refusals} refusals")
    say(
        f"decisions       {decisions.approved} approved 通过, {decisions.refused} refused 拒绝, "
        f"{decisions.referred} referred 转人工; "
        f"p50 {figures.decision_ms.p50:.0f} ms, p99 {figures.decision_ms.p99:.0f} ms"
    )
    say(
        f"model           AUC {figures.model.auc:.3f} ({low:.3f} to {high:.3f}), log revenue alone "
        f"{figures.model.baseline_auc:.3f}; {figures.model.n} firms, {figures.model.bad} bad"
    )
    say(f"ledger          {figures.ledger.transactions:,} transactions, {figures.ledger.height:,} blocks")
    say(
        f"audit           {figures.audit.replayed:,} replayed, {figures.audit.signatures_verified:,} signatures and "
        f"{figures.audit.anchors_verified} anchors verified, "
        f"root {'matches' if figures.audit.root_matches else 'DIFFERS'}"
    )
    for story in details.tamper:
        say(f"tampering       {'caught 已发现' if story.caught else 'NOT CAUGHT 未发现'}  {story.act_en}")
    for name in failed:
        say(f"FAILED 未通过    {name}")
    say(f"report          {figures.report}")
    say(f"verify it       {details.receipt_example}")

"""``shuiqiao demo``: the whole loop on real nodes, ending in figures, receipts and a report page."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.base.errors import Conflict
from shuiqiao.base.files import SHARED_FOLDER, make_shared_folder
from shuiqiao.base.progress import Progress
from shuiqiao.cli.options import EngineChoice, Json, Suite, SuiteChoice
from shuiqiao.cli.output import EXIT_DONE, EXIT_REFUSED, print_json, program, progress_on_stderr, say

if TYPE_CHECKING:
    from shuiqiao.sandbox.scenario.consortium import RunEngine
    from shuiqiao.sandbox.scenario.modes import WhoSawWhat
    from shuiqiao.sandbox.scenario.result import NetworkChecks, ScenarioResult

DEFAULT_OUT = "demo-out"


def demo(
    *,
    taxpayers: Annotated[
        int, typer.Option(min=100, max=100_000, help="How many synthetic taxpayers 模拟纳税人数.")
    ] = 200,
    seed: Annotated[int, typer.Option(min=0, max=2**31, help="Seed of the synthetic economy 随机种子.")] = 1,
    data: Annotated[Path | None, typer.Option(help="A folder of real invoices (cumcm2020c) 真实发票数据.")] = None,
    suite: Suite = SuiteChoice.INTL,
    engine: Annotated[
        EngineChoice, typer.Option(help="embedded: the bureau writes. cometbft: validators decide together 共识引擎.")
    ] = EngineChoice.EMBEDDED,
    validators: Annotated[
        int,
        typer.Option(min=4, max=5, help="With cometbft: how many of the five vote; the fifth follows 验证节点数."),
    ] = 4,
    out: Annotated[
        Path | None,
        typer.Option(
            help="A new or empty folder for homes, receipts and report; demo-out, or demo-out-2, ... 输出目录."
        ),
    ] = None,
    servers: Annotated[
        bool, typer.Option("--servers", help="Between five servers over HTTP, with users and enterprises 五个服务.")
    ] = False,
    json: Json = False,
) -> int:
    """Play the whole Bank-Tax Interaction loop on real nodes 端到端演示."""
    if servers:
        return _play_between_servers(
            taxpayers=taxpayers, seed=seed, invoices=data, suite=suite, engine=engine, out=out, as_json=json
        )
    from shuiqiao.sandbox.report.page import write_report

    chosen = _run_engine(engine, validators)
    out = _new_folder(Path(DEFAULT_OUT)) if out is None else _claim(out)
    with progress_on_stderr() as progress:
        result = _play(
            taxpayers=taxpayers, seed=seed, invoices=data, suite=suite, engine=chosen, out=out, progress=progress
        )
        write_report(result, Path(result.figures.report))
    failed = [*result.figures.failed_checks(), *result.details.audit_problems]
    if json:
        print_json(result.figures.as_json())
    else:
        _speak(result, failed=failed)
    return EXIT_REFUSED if failed else EXIT_DONE


def _play_between_servers(
    *,
    taxpayers: int,
    seed: int,
    invoices: Path | None,
    suite: SuiteChoice,
    engine: EngineChoice,
    out: Path | None,
    as_json: bool,
) -> int:
    from shuiqiao.crypto.model import SuiteName
    from shuiqiao.members.model import EngineName
    from shuiqiao.sandbox.servers.demo import failed_checks, run_between_servers

    if invoices is not None:
        raise typer.BadParameter("--servers judges today and plays on synthetic data: leave --data out")
    out = _new_folder(Path(DEFAULT_OUT)) if out is None else _claim(out)
    with progress_on_stderr() as progress:
        figures = run_between_servers(
            out.resolve(),
            suite=SuiteName(suite.value),
            engine=EngineName(engine.value),
            taxpayers=taxpayers,
            seed=seed,
            progress=progress,
        )
    failed = failed_checks(figures)
    if as_json:
        print_json(figures)
    else:
        _speak_servers(figures, failed=failed)
    return EXIT_REFUSED if failed else EXIT_DONE


def _run_engine(engine: EngineChoice, validators: int) -> RunEngine:
    """Return on what to play, the program found before anything is made; raises ``ledger.cometbft_absent``."""
    from shuiqiao.ledger.engine.cometbft.comet.process import find_program
    from shuiqiao.members.model import EngineName
    from shuiqiao.sandbox.scenario.consortium import EMBEDDED, RunEngine

    if engine is EngineChoice.EMBEDDED:
        return EMBEDDED
    return RunEngine(engine=EngineName.COMETBFT, validators=validators, program=find_program())


def _play(
    *, taxpayers: int, seed: int, invoices: Path | None, suite: str, engine: RunEngine, out: Path, progress: Progress
) -> ScenarioResult:
    """Play on the real invoices of a folder, or on so many synthetic taxpayers."""
    from shuiqiao.crypto.model import SuiteName
    from shuiqiao.sandbox.scenario.population import research_data, synthetic_data
    from shuiqiao.sandbox.scenario.story import RunSettings, run_scenario
    from shuiqiao.sandbox.scenario.summary import summarise

    progress("prepare the data 准备数据", 0, None)
    data = synthetic_data(out / "data", taxpayers=taxpayers, seed=seed) if invoices is None else research_data(invoices)
    settings = RunSettings(
        suite=SuiteName(suite), folder=out.resolve(), seed=seed, data=data, progress=progress, engine=engine
    )
    return run_scenario(settings, conclude=summarise)


def _new_folder(wanted: Path) -> Path:
    """Make a folder that nobody else has: the one wanted, or with the first number behind its name that is free."""
    for folder in chain((wanted,), (wanted.with_name(f"{wanted.name}-{number}") for number in count(2))):
        with suppress(FileExistsError):
            folder.mkdir()
            folder.chmod(SHARED_FOLDER)
            return folder
    raise AssertionError("numbers do not end")


def _claim(out: Path) -> Path:
    """Make the folder and return it; raises Conflict ``cli.folder_in_use`` where there is anything in it already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise Conflict(
            "cli.folder_in_use",
            f"{out} is in use already, by an earlier run or other files, and a demo replaces nothing",
            next_step="leave --out away for a free folder, name another one, or remove this one",
        )
    make_shared_folder(out)
    return out


def _speak(result: ScenarioResult, *, failed: list[str]) -> None:
    figures, details = result.figures, result.details
    decisions = figures.decisions
    low, high = figures.model.auc_ci
    say(f"data            {details.data_source.en} {details.data_source.zh}")
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
        say(f"tampering       {'caught 已发现' if story.caught else 'NOT CAUGHT 未发现'}  {story.act.en}")
    _speak_modes(figures.who_saw_what, figures.modes_refused)
    if figures.network_checks is not None:
        _speak_network(figures.network_checks)
    for name in failed:
        say(f"FAILED 未通过    {name}")
    say(f"report          {figures.report}")
    say(f"verify it       {program()} {details.receipt_example.removeprefix('shuiqiao ')}")


def _speak_modes(seen: WhoSawWhat, refused: Mapping[str, Mapping[str, Any]]) -> None:
    for party, modes in seen.items():
        for mode, known in modes.items():
            say(f"one applicant   {mode}: {party} knows {known['fields']} fields, {known['bits']} bits 字段与比特")
    for mode, error in refused.items():
        say(f"one applicant   {mode}: {error['code']}, {error['message']}; {error['next_step']}")


def _speak_network(checks: NetworkChecks) -> None:
    replay, altered = checks.replayed_through_embedded, checks.altered
    say(
        f"consortium 联盟   {checks.engine} {checks.engine_version}: {checks.validators} of {checks.nodes} nodes vote "
        f"投票; {replay.blocks} blocks replayed through embedded 经嵌入式引擎重放"
    )
    say(
        f"altered 被改动    {altered.member}: record {altered.record_index} ({altered.kind}), "
        f"state {altered.state_key}; {checks.refused_code}"
    )
    say(
        f"outvoted 否决     {checks.blocks_after_alteration} blocks without it 其后出块; named 点名 "
        f"{', '.join(checks.named)} by {', '.join(checks.named_by)}"
    )


def _speak_servers(figures: Mapping[str, Any], *, failed: list[str]) -> None:
    decisions, audit, served = figures["decisions"], figures["audit"], figures["servers"]
    say(f"servers         {served['count']} institutions over HTTP, engine {served['engine']}")
    say(f"records         {figures['records_read']:,} read, {figures['records_ingested']:,} ingested")
    say(f"consent         {figures['consents']:,} consents, {figures['requests']:,} requests")
    say(f"refused         {', '.join(f'{code} x{times}' for code, times in served['refusals_by_code'].items())}")
    say(
        f"decisions       {decisions['approved']} approved 通过, {decisions['refused']} refused 拒绝, "
        f"{decisions['referred']} referred 转人工; p50 {figures['decision_ms']['p50']:.0f} ms, "
        f"p99 {figures['decision_ms']['p99']:.0f} ms"
    )
    say(
        f"audit           {audit['replayed']:,} replayed, {audit['signatures_verified']:,} signatures and "
        f"{audit['anchors_verified']} anchors verified, {served['openings_checked']} openings checked, "
        f"root {'matches' if audit['root_matches'] else 'DIFFERS'}"
    )
    _speak_modes(figures["who_saw_what"], figures["modes_refused"])
    say(f"receipts        {served['receipts_verified']} verified with the genesis alone, in {figures['receipts_dir']}")
    for name in failed:
        say(f"FAILED 未通过    {name}")

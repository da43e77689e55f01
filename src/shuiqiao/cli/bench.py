"""``shuiqiao bench``: speed and memory, measured on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from shuiqiao.cli.options import Json, Suite, SuiteChoice, command_group
from shuiqiao.cli.output import progress_on_stderr, say_rows, show

bench_app = command_group("Measure speed and memory 性能测试.")


@bench_app.command("anchor")
def bench_anchor(
    *,
    records: Annotated[int, typer.Option(min=1_000, max=100_000_000, help="Invoices to ingest.")] = 1_000_000,
    suite: Suite = SuiteChoice.INTL,
    json: Json = False,
) -> None:
    """Measure ingest and anchoring of invoices."""
    from shuiqiao.sandbox.benchmarks.anchor import run_anchor_bench

    with progress_on_stderr() as progress:
        progress("bench anchor", 0, None)
        _show_figures(run_anchor_bench(records=records, suite=suite.value), as_json=json)


@bench_app.command("ledger")
def bench_ledger(
    *,
    suite: Suite = SuiteChoice.INTL,
    transactions: Annotated[int, typer.Option(min=100, max=10_000_000, help="Transactions per run.")] = 20_000,
    json: Json = False,
) -> None:
    """Measure durable transactions per second beside raw signature verification."""
    from shuiqiao.sandbox.benchmarks.ledger import run_ledger_bench

    with progress_on_stderr() as progress:
        progress("bench ledger", 0, None)
        _show_figures(run_ledger_bench(suite=suite.value, transactions=transactions), as_json=json)


@bench_app.command("receipt")
def bench_receipt(*, suite: Suite = SuiteChoice.INTL, json: Json = False) -> None:
    """Measure how long verifying one receipt takes."""
    from shuiqiao.sandbox.benchmarks.ledger import run_receipt_bench

    _show_figures(run_receipt_bench(suite=suite.value), as_json=json)


@bench_app.command("network")
def bench_network(
    *,
    suite: Suite = SuiteChoice.INTL,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="Length of each window of load, in seconds.")] = 15,
    windows: Annotated[int, typer.Option(min=1, max=99, help="Windows of full load of each network.")] = 3,
    missed: Annotated[int, typer.Option(min=100, max=10_000_000, help="Transactions that one node misses.")] = 50_000,
    json: Json = False,
) -> None:
    """Measure four validators on this machine beside CometBFT's own kvstore 联盟网络性能测试."""
    from shuiqiao.sandbox.benchmarks.network import NetworkBench, run_network_bench

    bench = NetworkBench(suite=suite.value, seconds=seconds, windows=windows, missed=missed)
    with progress_on_stderr() as progress:
        figures = run_network_bench(bench, progress=progress)
    _show_figures(figures, as_json=json)


@bench_app.command("api")
def bench_api(
    *,
    suite: Suite = SuiteChoice.INTL,
    missed: Annotated[int, typer.Option(min=100, max=10_000_000, help="Transactions that a follower misses.")] = 20_000,
    readers: Annotated[int, typer.Option(min=1, max=1_000, help="Readers of lists and receipts at a time.")] = 200,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="Length of each load, in seconds.")] = 20,
    firms: Annotated[int, typer.Option(min=1, max=25, help="Firms that apply.")] = 25,
    records: Annotated[int, typer.Option(min=1, max=100_000, help="Invoices of each firm.")] = 5_000,
    applications: Annotated[int, typer.Option(min=1, max=1_000, help="Applications one at a time.")] = 20,
    minutes: Annotated[float, typer.Option(min=0, max=600, help="How long memory is watched; 0: not at all.")] = 30,
    hostile: Annotated[
        float, typer.Option(min=0, max=60, help="Seconds beside each hostile peer; 0: none are measured.")
    ] = 5,
    json: Json = False,
) -> None:
    """Measure five servers of a sandbox over HTTP, the load client beside them 五个服务的接口性能测试."""
    from shuiqiao.sandbox.benchmarks.api import ApiBench, run_api_bench
    from shuiqiao.sandbox.benchmarks.api_hostile import HostilePeers
    from shuiqiao.sandbox.benchmarks.api_lending import LendingLoad

    load = LendingLoad(firms=firms, records=records, alone=applications, seconds=seconds)
    bench = ApiBench(
        suite=suite.value,
        missed=missed,
        readers=readers,
        seconds=seconds,
        minutes=minutes,
        load=load,
        hostile=HostilePeers(seconds=hostile) if hostile else None,
    )
    with progress_on_stderr() as progress:
        figures = run_api_bench(bench, progress=progress)
    _show_figures(figures, as_json=json)


@bench_app.command("privacy")
def bench_privacy(*, json: Json = False) -> None:
    """Measure the modes in which a bank sees no record 隐私计算性能测试."""
    from shuiqiao.sandbox.benchmarks.privacy import run_privacy_bench

    _show_figures(run_privacy_bench(), as_json=json)


@bench_app.command("invoices")
def bench_invoices(
    *,
    seconds: Annotated[float, typer.Option(min=0.1, max=600, help="Processor time of each figure, in seconds.")] = 5,
    json: Json = False,
) -> None:
    """Measure how many files of e-invoices one core verifies in a second 电子发票核验性能测试."""
    from shuiqiao.sandbox.benchmarks.invoices import run_invoice_bench

    _show_figures(run_invoice_bench(seconds=seconds), as_json=json)


def _show_figures(figures: dict[str, object], *, as_json: bool) -> None:
    show(figures, as_json=as_json, speak=lambda result: say_rows(result, width=24))

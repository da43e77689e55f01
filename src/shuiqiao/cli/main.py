"""The command ``shuiqiao``: parses arguments, calls the use case, speaks the result. No rule of the field is here.

Each command imports what it needs when it runs, so that ``--help`` starts at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.main
from typer.exceptions import TyperException

from shuiqiao import __version__
from shuiqiao.base.errors import InvalidInput, ShuiqiaoError
from shuiqiao.base.files import owner_only
from shuiqiao.base.visible import visible
from shuiqiao.cli.backup import backup_app
from shuiqiao.cli.members import members_app
from shuiqiao.cli.network import network_app
from shuiqiao.cli.output import (
    EXIT_REFUSED,
    EXIT_USAGE,
    STANDARD_OUTPUT,
    Language,
    choose_language,
    print_json,
    progress_on_stderr,
    say,
    show_error,
    speak_to_any_terminal,
)
from shuiqiao.cli.pending import pending_app
from shuiqiao.cli.records import record_app
from shuiqiao.cli.system import error_of_full_disk, error_of_system
from shuiqiao.cli.tiles import tiles_app

HOME_VARIABLE = "SHUIQIAO_HOME"
"""As in ``node.settings``, which the help text must not wait for; a test holds the two together."""

app = typer.Typer(
    name="shuiqiao",
    help="Shuiqiao 税桥: the bridge between tax bureaus, banks, enterprises and the regulator.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
bench_app = typer.Typer(help="Measure speed and memory 性能测试.", no_args_is_help=True, rich_markup_mode=None)
keys_app = typer.Typer(help="Show and check a home's keys 密钥.", no_args_is_help=True, rich_markup_mode=None)
app.add_typer(bench_app, name="bench")
app.add_typer(keys_app, name="keys")
app.add_typer(network_app, name="network")
app.add_typer(backup_app, name="backup")
app.add_typer(members_app, name="members")
app.add_typer(tiles_app, name="tiles")
app.add_typer(pending_app, name="pending")
app.add_typer(record_app, name="record")


MAX_INDEX = 2**53 - 1
"""As ``ledger.log``: what every JSON reader can hold exactly."""


class SuiteChoice(StrEnum):
    """The cipher suites."""

    INTL = "intl"
    GM = "gm"


class EngineChoice(StrEnum):
    """Who orders transactions."""

    EMBEDDED = "embedded"
    COMETBFT = "cometbft"


Home = Annotated[Path, typer.Option("--home", envvar=HOME_VARIABLE, help="Home folder of the institution 机构主目录.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Suite = Annotated[SuiteChoice, typer.Option("--suite", help="intl: Ed25519, SHA-256. gm: SM2, SM3, SM4 国密.")]
Bounded = Annotated[int, typer.Option(min=100, max=100_000, help="How many synthetic taxpayers 模拟纳税人数.")]


@owner_only()
def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    as_json = "--json" in words
    speak_to_any_terminal()
    try:
        result: object = _command()(args=arguments, standalone_mode=False, prog_name="shuiqiao")
        code = result if isinstance(result, int) else 0
    except ShuiqiaoError as error:
        told = error_of_full_disk(error, place=_named_place(words))
        code = show_error(told, as_json=as_json)
    except TyperException as error:
        code = _show_usage(error.format_message(), as_json=as_json)
    except typer.Abort:
        code = EXIT_REFUSED
    except Exception as error:
        # A full disk or a file that may not be read can meet any command; rooms map what they can say more about.
        refused = error_of_system(error, place=_named_place(words))
        if refused is None:
            raise
        is_heard = getattr(error, "filename", None) != STANDARD_OUTPUT
        code = show_error(refused, as_json=as_json and is_heard)
    sys.exit(code)


def _command() -> Any:
    """Return the command tree, every parameter of which refuses a text that is not UTF-8 before anything is done."""
    root: Any = typer.main.get_command(app)
    commands = [root]
    for command in commands:
        commands += getattr(command, "commands", {}).values()
        for parameter in command.params:
            parameter.callback = _of_text(parameter.callback)
    return root


def _of_text(callback: Callable[..., Any] | None) -> Callable[..., Any]:
    """Return a parameter's callback that looks at its texts first; paths, which may have any bytes, are no texts."""

    def checked(context: Any, parameter: Any, value: Any) -> Any:
        for text in value if isinstance(value, list | tuple) else (value,):
            if isinstance(text, str) and any("\ud800" <= character <= "\udfff" for character in text):
                raise typer.BadParameter(f"{text[:60]!r} is not UTF-8")
        return value if callback is None else callback(context, parameter, value)

    return checked


def _named_place(words: Sequence[str]) -> str:
    """Return the home that a command line names, and what it writes to elsewhere, in words for a person."""
    named: dict[str, str] = {}
    for option in ("--home", "--to", "--out"):
        following = [word.partition("=")[2] for word in words if word.startswith(f"{option}=")]
        following += [value for name, value in pairwise(words) if name == option]
        named |= {option: following[0]} if following else {}
    named.setdefault("--home", os.environ.get(HOME_VARIABLE, "the folder that was named"))
    return " or ".join(named[option] for option in ("--home", "--to", "--out") if option in named)


def _show_usage(message: str, *, as_json: bool) -> int:
    if message.startswith("Usage:") and not as_json:
        sys.stderr.write(visible(message) + "\n")
    else:
        error = InvalidInput("cli.usage_wrong", message, next_step="shuiqiao --help, or --help after a command")
        show_error(error, as_json=as_json)
    return EXIT_USAGE


def _print_version(value: bool) -> None:  # noqa: FBT001 - the callback's form is typer's
    if value:
        say(f"shuiqiao {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[  # noqa: ARG001, FBT002 - a flag, whose callback acts
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
    lang: Annotated[
        Language | None, typer.Option("--lang", help="Language of what to do next; left out, the locale's 语言.")
    ] = None,
    clock_is_right: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--clock-is-right", help="Order though the newest block is over 30 days old 时钟无误.")
    ] = False,
) -> None:
    """Shuiqiao 税桥: tax facts on a permissioned record ledger, lent on under consent."""
    if clock_is_right:
        from shuiqiao.node.home.settings import CLOCK_VARIABLE

        os.environ[CLOCK_VARIABLE] = "1"
    choose_language(lang)


@app.command()
def demo(
    taxpayers: Bounded = 200,
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
    json: Json = False,  # noqa: FBT002 - a flag
) -> int:
    """Play the whole Bank-Tax Interaction loop on real nodes 端到端演示."""
    from shuiqiao.cli.demo import DemoWish, run_demo

    wish = DemoWish(
        taxpayers=taxpayers,
        seed=seed,
        data=data,
        suite=suite.value,
        engine=engine.value,
        validators=validators,
    )
    return run_demo(wish, out=out, as_json=json)


@app.command()
def init(
    home: Home,
    suite: Suite = SuiteChoice.INTL,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Make the home of a one-institution network to try things on 初始化."""
    from shuiqiao.cli.institution import run_init

    run_init(home=home, suite=suite.value, as_json=json)


@app.command()
def ingest(
    files: Annotated[list[Path], typer.Argument(help="Parquet or CSV files of tax records.")],
    home: Home,
    record_type: Annotated[
        str | None, typer.Option("--type", help="Record type, if it cannot be seen from the columns.")
    ] = None,
    json: Json = False,  # noqa: FBT002 - a flag
) -> int:
    """Validate records, keep them in the vault, anchor them on the ledger 入库并锚定; 1 if nothing was taken in."""
    from shuiqiao.cli.institution import run_ingest

    return run_ingest(files=files, home=home, record_type=record_type, as_json=json)


@app.command()
def verify(
    files: Annotated[list[Path] | None, typer.Argument(help="Receipt files; none to verify --tiles itself.")] = None,
    genesis: Annotated[Path | None, typer.Option(help="The network's public genesis.json; or the home's.")] = None,
    home: Annotated[Path | None, typer.Option("--home", envvar=HOME_VARIABLE, help="Home folder.")] = None,
    since: Annotated[
        Path | None,
        typer.Option(help="A checkpoint known to be true; receipts or log must be of one history with it 已知检查点."),
    ] = None,
    tiles: Annotated[
        Path | None, typer.Option(help="Folder of the log's static files, to verify, or to compare with 静态文件目录.")
    ] = None,
    json: Json = False,  # noqa: FBT002 - a flag
) -> int:
    """Verify receipts, or a published log, offline, trusting the genesis alone 离线验证回执或日志."""
    from shuiqiao.cli.receipts import run_verify, run_verify_log

    if not files and tiles is None:
        raise typer.BadParameter("name receipt files, or --tiles FOLDER to verify a published log")
    if not files and tiles is not None:
        return run_verify_log(genesis=genesis, home=home, since=since, tiles=tiles, as_json=json)
    return run_verify(files=files or [], genesis=genesis, home=home, since=since, tiles=tiles, as_json=json)


@app.command()
def receipt(
    home: Home,
    index: Annotated[int, typer.Argument(min=0, max=MAX_INDEX, help="The transaction's place in the log 日志位置.")],
    state: Annotated[
        list[str] | None,
        typer.Option("--state", help="A key of the state whose value, or absence, is proven too; repeatable 状态键."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write; by default KIND-INDEX.receipt here.")] = None,
    json: Json = False,  # noqa: FBT002 - a flag
) -> int:
    """Write the receipt of a transaction for whoever shall verify it 开具回执."""
    from shuiqiao.cli.receipts import run_receipt

    return run_receipt(home=home, index=index, state_keys=state or (), out=out, as_json=json)


@app.command()
def log(
    home: Home,
    kind: Annotated[str | None, typer.Option(help="Transactions of this kind alone, e.g. anchor.commit 类型.")] = None,
    author: Annotated[str | None, typer.Option(help="Transactions of this member alone 作者.")] = None,
    first: Annotated[
        int, typer.Option("--from", min=0, max=MAX_INDEX, help="The first place in the log 起始位置.")
    ] = 0,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most transactions to list 最多条数.")] = 100,
    json: Json = False,  # noqa: FBT002 - a flag
) -> int:
    """List transactions of this home's copy of the ledger 列出账目."""
    from shuiqiao.cli.records import run_log

    return run_log(home=home, kind=kind, author=author, first_index=first, limit=limit, as_json=json)


@app.command()
def audit(
    home: Home,
    json: Json = False,  # noqa: FBT002 - a flag
) -> int:
    """Replay the ledger from genesis and check everything 重放审计."""
    from shuiqiao.cli.institution import run_audit

    return run_audit(home=home, as_json=json)


@app.command()
def doctor(
    home: Annotated[Path | None, typer.Option("--home", envvar=HOME_VARIABLE, help="Home folder.")] = None,
    against: Annotated[
        Path | None, typer.Option(help="Another home, or a copy of a ledger folder, to compare with 与另一副本比较.")
    ] = None,
    replay: Annotated[  # noqa: FBT002 - a flag
        bool, typer.Option("--replay", help="Execute the whole log again, even if nothing is found 重新执行日志.")
    ] = False,
    json: Json = False,  # noqa: FBT002 - a flag
) -> int:
    """Say what this machine and this home have, and what is wrong 诊断."""
    from shuiqiao.cli.doctor import run_doctor

    return run_doctor(home=home, against=against, is_replay_asked=replay, as_json=json)


@keys_app.command("show")
def keys_show(
    home: Home,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Show the public keys of a home, after opening the private ones 显示公钥."""
    from shuiqiao.cli.institution import run_keys_show

    run_keys_show(home=home, as_json=json)


@bench_app.command("anchor")
def bench_anchor(
    records: Annotated[int, typer.Option(min=1_000, max=100_000_000, help="Invoices to ingest.")] = 1_000_000,
    suite: Suite = SuiteChoice.INTL,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Measure ingest and anchoring of invoices."""
    from shuiqiao.sandbox.benchmarks.anchor import run_anchor_bench

    with progress_on_stderr() as progress:
        progress("bench anchor", 0, None)
        _show_figures(run_anchor_bench(records=records, suite=suite.value), as_json=json)


@bench_app.command("ledger")
def bench_ledger(
    suite: Suite = SuiteChoice.INTL,
    transactions: Annotated[int, typer.Option(min=100, max=10_000_000, help="Transactions per run.")] = 20_000,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Measure durable transactions per second beside raw signature verification."""
    from shuiqiao.sandbox.benchmarks.ledger import run_ledger_bench

    with progress_on_stderr() as progress:
        progress("bench ledger", 0, None)
        _show_figures(run_ledger_bench(suite=suite.value, transactions=transactions), as_json=json)


@bench_app.command("receipt")
def bench_receipt(
    suite: Suite = SuiteChoice.INTL,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Measure how long verifying one receipt takes."""
    from shuiqiao.sandbox.benchmarks.receipt import run_receipt_bench

    _show_figures(run_receipt_bench(suite=suite.value), as_json=json)


@bench_app.command("network")
def bench_network(
    suite: Suite = SuiteChoice.INTL,
    seconds: Annotated[float, typer.Option(min=1, max=600, help="Length of each window of load, in seconds.")] = 15,
    windows: Annotated[int, typer.Option(min=1, max=99, help="Windows of full load of each network.")] = 3,
    missed: Annotated[int, typer.Option(min=100, max=10_000_000, help="Transactions that one node misses.")] = 50_000,
    json: Json = False,  # noqa: FBT002 - a flag
) -> None:
    """Measure four validators on this machine beside CometBFT's own kvstore 联盟网络性能测试."""
    from shuiqiao.sandbox.benchmarks.network import NetworkBench, run_network_bench

    bench = NetworkBench(suite=suite.value, seconds=seconds, windows=windows, missed=missed)
    with progress_on_stderr() as progress:
        figures = run_network_bench(bench, progress=progress)
    _show_figures(figures, as_json=json)


def _show_figures(figures: dict[str, object], *, as_json: bool) -> None:
    if as_json:
        print_json(figures)
        return
    for name, value in figures.items():
        say(f"{name:24} {value}")

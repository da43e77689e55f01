"""The command ``shuiqiao``: the tree of its commands. No rule of the field is here.

Each command imports what it needs when it runs, so that ``--help`` starts at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Annotated, Any

import typer
import typer.main

from shuiqiao import __version__
from shuiqiao.base.environment import CLOCK_VARIABLE
from shuiqiao.cli.approvals import approvals_app
from shuiqiao.cli.audit import audit
from shuiqiao.cli.backup import backup_app
from shuiqiao.cli.bench import bench_app
from shuiqiao.cli.demo import demo
from shuiqiao.cli.doctor import doctor
from shuiqiao.cli.enterprise import enterprise_app
from shuiqiao.cli.init import init
from shuiqiao.cli.institution import ingest, keys_app
from shuiqiao.cli.jobs import jobs_app
from shuiqiao.cli.journal import journal_app
from shuiqiao.cli.lending import applications_app, apply, consent_app, decide, products_app, request, score
from shuiqiao.cli.members import members_app
from shuiqiao.cli.models import models_app
from shuiqiao.cli.network import network_app
from shuiqiao.cli.output import Language, choose_language, say
from shuiqiao.cli.pending import pending_app
from shuiqiao.cli.receipts import receipt, tiles_app, verify
from shuiqiao.cli.records import log, record_app
from shuiqiao.cli.sandbox import sandbox_app
from shuiqiao.cli.serve import serve
from shuiqiao.cli.users import users_app

app = typer.Typer(
    name="shuiqiao",
    help="Shuiqiao 税桥: the bridge between tax bureaus, banks, enterprises and the regulator.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (demo, init, serve, ingest, verify, receipt, log, audit, doctor, apply, request, score, decide):
    app.command()(command)
for name, group in {
    "bench": bench_app,
    "keys": keys_app,
    "network": network_app,
    "backup": backup_app,
    "members": members_app,
    "applications": applications_app,
    "models": models_app,
    "products": products_app,
    "consent": consent_app,
    "enterprise": enterprise_app,
    "tiles": tiles_app,
    "pending": pending_app,
    "jobs": jobs_app,
    "record": record_app,
    "users": users_app,
    "journal": journal_app,
    "approvals": approvals_app,
    "sandbox": sandbox_app,
}.items():
    app.add_typer(group, name=name)


def command_tree() -> Any:
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


def _print_version(value: bool) -> None:  # noqa: FBT001 - the callback's form is typer's
    if value:
        say(f"shuiqiao {__version__}")
        raise typer.Exit


@app.callback()
def options(
    *,
    version: Annotated[  # noqa: ARG001 - its callback acts
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
    lang: Annotated[
        Language | None, typer.Option("--lang", help="Language of what to do next; left out, the locale's 语言.")
    ] = None,
    clock_is_right: Annotated[
        bool, typer.Option("--clock-is-right", help="Order though the newest block is over 30 days old 时钟无误.")
    ] = False,
) -> None:
    """Shuiqiao 税桥: tax facts on a permissioned record ledger, lent on under consent."""
    if clock_is_right:
        os.environ[CLOCK_VARIABLE] = "1"
    choose_language(lang)

"""The command ``shuiqiao``: the tree of its commands. No rule of the field is here.

Each command imports what it needs when it runs, so that ``--help`` starts at once.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from copy import copy
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any, get_args

import typer
import typer.main

from shuiqiao import __version__
from shuiqiao.base.environment import CLOCK_VARIABLE
from shuiqiao.base.forms import full_width_words, is_whole_number
from shuiqiao.cli.approvals import approvals_app
from shuiqiao.cli.audit import audit_app
from shuiqiao.cli.backup import backup_app
from shuiqiao.cli.bench import bench_app
from shuiqiao.cli.demo import demo
from shuiqiao.cli.doctor import doctor, status
from shuiqiao.cli.enterprise import enterprise_app
from shuiqiao.cli.exposure import exposure_app
from shuiqiao.cli.grade import grade_app
from shuiqiao.cli.init import init
from shuiqiao.cli.institution import ingest, keys_app
from shuiqiao.cli.invoices import invoice_app
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
from shuiqiao.cli.registers import registers_app
from shuiqiao.cli.sandbox import sandbox_app
from shuiqiao.cli.serve import serve
from shuiqiao.cli.standards import standards_app
from shuiqiao.cli.study import study_app
from shuiqiao.cli.train import train_app
from shuiqiao.cli.users import users_app

app = typer.Typer(
    name="shuiqiao",
    help="Shuiqiao 税桥: the bridge between tax bureaus, banks, enterprises and the regulator.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
for command in (demo, init, serve, ingest, verify, receipt, log, doctor, status, apply, request, score, decide):
    app.command()(command)
for name, group in {
    "audit": audit_app,
    "bench": bench_app,
    "study": study_app,
    "keys": keys_app,
    "network": network_app,
    "backup": backup_app,
    "members": members_app,
    "applications": applications_app,
    "models": models_app,
    "train": train_app,
    "products": products_app,
    "consent": consent_app,
    "exposure": exposure_app,
    "enterprise": enterprise_app,
    "standards": standards_app,
    "tiles": tiles_app,
    "invoice": invoice_app,
    "pending": pending_app,
    "jobs": jobs_app,
    "registers": registers_app,
    "record": record_app,
    "grade": grade_app,
    "users": users_app,
    "journal": journal_app,
    "approvals": approvals_app,
    "sandbox": sandbox_app,
}.items():
    app.add_typer(group, name=name)


def command_tree(word: str = "") -> Any:
    """Return the command tree, whose parameters refuse what no text or no number is, before anything is done.

    word: what a line begins with; where it names a command or a group, the tree holds no other. It is the same tree
    each time: to make all of it takes longer than most commands take to read their arguments.
    """
    return _tree_of(word if word in _first_words() else "")


@cache
def _first_words() -> dict[str, Any]:
    """Return what the words of the command's root stand for."""
    named: list[Any] = [*app.registered_groups, *app.registered_commands]
    return {each.name or typer.main.get_command_name(each.callback.__name__): each for each in named}


@cache
def _tree_of(word: str) -> Any:
    narrowed = copy(app)
    if word:
        found = _first_words()[word]
        narrowed.registered_groups = [found] if found in app.registered_groups else []
        narrowed.registered_commands = [found] if found in app.registered_commands else []
    root: Any = typer.main.get_command(narrowed)
    commands = [root]
    for command in commands:
        commands += getattr(command, "commands", {}).values()
        for parameter in command.params:
            parameter.process_value = partial(_judged, parameter, parameter.process_value)
    return root


def _judged(parameter: Any, process: Callable[[Any, Any], Any], context: Any, value: Any) -> Any:
    """Look at the texts of a parameter before they are read; paths, which may have any bytes, are no texts."""
    annotation = parameter.type_descriptor.annotation
    kinds = {annotation, *get_args(annotation)}
    for text in value if isinstance(value, list | tuple) else (value,):
        if not isinstance(text, str) or Path in kinds:
            continue
        if any("\ud800" <= character <= "\udfff" for character in text):
            raise typer.BadParameter(f"{text[:60]!r} is not UTF-8", param=parameter)
        if int in kinds and not is_whole_number(text):
            raise typer.BadParameter(f"{text[:60]!r} is no whole number{full_width_words(text)}", param=parameter)
    return process(context, value)


def _print_version(value: bool) -> None:  # noqa: FBT001 - the callback's form is typer's
    if value:
        say(f"shuiqiao {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
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
    if clock_is_right and CLOCK_VARIABLE not in os.environ:
        # For this command alone: another in the same process says it for itself.
        os.environ[CLOCK_VARIABLE] = "1"
        context.call_on_close(partial(os.environ.pop, CLOCK_VARIABLE, None))
    choose_language(lang)

"""What many commands share: their options, how a group of them is made, and the home that ``--home`` names."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from shuiqiao.base.environment import HOME_VARIABLE


class SuiteChoice(StrEnum):
    """The cipher suites; as ``crypto.model.SuiteName``, which the help text must not wait for."""

    INTL = "intl"
    GM = "gm"


class RoleChoice(StrEnum):
    """What an institution is; as ``members.model.Role``, which the help text must not wait for."""

    TAX_BUREAU = "tax_bureau"
    BANK = "bank"
    REGULATOR = "regulator"


class EngineChoice(StrEnum):
    """Who orders transactions; as ``members.model.EngineName``."""

    EMBEDDED = "embedded"
    COMETBFT = "cometbft"


class OutputChoice(StrEnum):
    """What of a score may leave; as ``consent.model.Output``."""

    BAND = "band"
    POINTS = "points"
    REASONS = "reasons"
    YES_NO = "yes_no"


MAX_INDEX = 2**53 - 1
"""As ``ledger.log.tree.MAX_TREE_SIZE``: what every JSON reader can hold exactly."""

Home = Annotated[Path, typer.Option("--home", envvar=HOME_VARIABLE, help="Home folder of the institution 机构主目录.")]
OptionalHome = Annotated[Path | None, typer.Option("--home", envvar=HOME_VARIABLE, help="Home folder.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]
Suite = Annotated[SuiteChoice, typer.Option("--suite", help="intl: Ed25519, SHA-256. gm: SM2, SM3, SM4 国密.")]


def command_group(words: str) -> typer.Typer:
    """Return an empty group of commands. words: its help, in both languages."""
    return typer.Typer(help=words, no_args_is_help=True, rich_markup_mode=None)


def item_of(text: str) -> tuple[str, list[str]]:
    """Return the record type and groups of ``TYPE@VERSION=GROUP,GROUP``; raises BadParameter."""
    type_id, _, groups = text.partition("=")
    if not type_id or not groups:
        raise typer.BadParameter(f"{text[:60]!r} is not TYPE@VERSION=GROUP,GROUP")
    return type_id, groups.split(",")

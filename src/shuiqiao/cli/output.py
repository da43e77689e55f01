"""Output, errors and exit codes of every command.

One JSON object or plain sentences on standard output, progress and errors on standard error; exit codes are 0 done,
1 refused or failed check, 2 bad usage, 3 unavailable.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from enum import StrEnum
from shlex import quote
from shutil import which
from typing import Any, Final

from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.base.progress import Progress
from shuiqiao.base.visible import visible, visible_line

EXIT_DONE = 0
EXIT_REFUSED = 1
EXIT_USAGE = 2
EXIT_UNAVAILABLE = 3

MALFORMED: Final = frozenset(
    {
        "api.address_invalid",
        "api.request_invalid",
        "cli.batch_malformed",
        "cli.home_unnamed",
        "cli.key_malformed",
        "client.consent_invalid",
        "client.path_invalid",
        "client.reason_invalid",
        "client.url_invalid",
        "consent.taxpayer_invalid",
        "members.endpoint_invalid",
        "node.member_name_invalid",
        "node.user_name_invalid",
    }
)
"""Codes of a value that was typed in a form which no such value has: bad usage, whichever room noticed it."""


class Language(StrEnum):
    """The languages of the reader."""

    EN = "en"
    ZH = "zh"


class ListForm(StrEnum):
    """How a list is written."""

    TEXT = "text"
    CSV = "csv"


_chosen: Language | None = None

STANDARD_OUTPUT: Final = "standard output"
"""What an error is of that standard output refused: nothing can be told there."""


def speak_to_any_terminal() -> None:
    """Show characters that a terminal's encoding does not have as escapes, on both streams, instead of failing.

    A stream that was closed before the command began leads nowhere: its number must not become that of a file of ours.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, open(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))  # noqa: SIM115 - lives as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def print_json(value: Mapping[str, Any]) -> None:
    """Write one JSON object to standard output; what its encoding does not have is escaped as JSON does."""
    text = json.dumps(value, ensure_ascii=False, indent=2, default=str)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value, indent=2, default=str)
    _put(text + "\n")


def say(line: str = "") -> None:
    """Write a line for a person to standard output."""
    _put(line + "\n")


def joined(value: object, *, nothing: str = "nothing") -> str:
    """Return a value in words: a list by commas, a table as NAME=VALUE, what is not there as a dash, else yes or no.

    nothing: for an empty list.
    """
    if isinstance(value, Mapping):
        return " ".join(f"{name}={_compact(each)}" for name, each in value.items()) or nothing
    if isinstance(value, list | tuple):
        return ", ".join(map(_compact, value)) or nothing
    return _compact(value)


def _compact(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + " ".join(f"{name}={_compact(each)}" for name, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return ",".join(map(_compact, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "-" if value is None else str(value)


def say_rows(result: Mapping[str, Any], *, width: int = 16, words: Callable[[Any], str] = joined) -> None:
    """Write names and values, one pair a line. width: of the names. words: how a value is told."""
    for name, value in result.items():
        say(f"{name:{width}} {words(value)}")


def dated(row: Mapping[str, Any], *fields: str) -> dict[str, Any]:
    """Return a row whose moments are texts, under their names without the unit."""
    from shuiqiao.base.clock import iso_from_ms

    return {
        name.removesuffix("_ms") if name in fields else name: iso_from_ms(value) if name in fields else value
        for name, value in row.items()
    }


def local_minute(milliseconds: int) -> str:
    """Return a moment by the clock of this device with its offset, ``2026-11-30 08:00+08:00``."""
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(milliseconds / 1000, tz=UTC).astimezone()
    return moment.isoformat(" ", "minutes")


def show(result: Mapping[str, Any], *, as_json: bool, speak: Callable[[Mapping[str, Any]], None] = say_rows) -> None:
    """Show a result: as one JSON object, or in words."""
    if as_json:
        print_json(result)
    else:
        speak(result)


def show_list(name: str, rows: Sequence[Mapping[str, Any]], *, as_json: bool, form: ListForm = ListForm.TEXT) -> None:
    """Show a list as lines, as CSV or as JSON under its name."""
    if as_json:
        print_json({name: list(rows)})
    elif form is ListForm.CSV:
        from shuiqiao.client.csv_form import as_csv

        if rows:
            told = ({name: _cell(value) for name, value in row.items()} for row in rows)
            say(as_csv(list(rows[0]), told, line_end="\n").removesuffix("\n"))
    else:
        if rows:
            say("  ".join(rows[0]))
        for row in rows:
            say("  ".join(map(joined, row.values())))
        say(f"{len(rows)} {name} 共 {len(rows)} 项")


def _cell(value: Any) -> Any:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else value


def warn(text: str) -> None:
    """Write a line that a person should know of to standard error, whatever the result is."""
    sys.stderr.write(f"warning: {visible_line(text)}\n")


def _put(text: str) -> None:
    """Write at once; a reader that closed the pipe, e.g. ``| head``, has all it wanted, and the rest goes nowhere.

    Raises OSError that names the stream where it goes to a disk that refuses; what follows then goes nowhere.
    """
    try:
        sys.stdout.write(visible(text))
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            error.filename = STANDARD_OUTPUT
            raise


def program() -> str:
    """Return how a person names this program here: as it was begun, where that is no name on the search path."""
    begun = sys.argv[0]
    return quote(begun) if begun.endswith("/shuiqiao") and which("shuiqiao") is None else "shuiqiao"


def choose_language(language: Language | None) -> None:
    """Speak to a reader of a language where words are kept in two; None takes it from the locale."""
    global _chosen  # noqa: PLW0603 - one reader a process
    _chosen = language


def reader_language() -> Language:
    """Return the language that was asked for, or that of LC_ALL, LC_MESSAGES or LANG, in this order."""
    if _chosen is not None:
        return _chosen
    locale = next((os.environ[name] for name in ("LC_ALL", "LC_MESSAGES", "LANG") if os.environ.get(name)), "")
    return Language.ZH if locale.lower().startswith("zh") else Language.EN


def next_words(shape: Mapping[str, Any], *, indent: str = "  ") -> str:
    """Return the line that says what to do next, in the reader's language."""
    if reader_language() is Language.ZH:
        return f"{indent}下一步: {shape['next_step_zh']}"
    return f"{indent}next: {shape['next_step']}"


def say_next(shape: Mapping[str, Any], *, indent: str = "  ") -> None:
    """Write what to do next to standard output."""
    say(next_words(shape, indent=indent))


def show_error(error: ShuiqiaoError, *, as_json: bool) -> int:
    """Show an error in the one shape and return the exit code that belongs to its class."""
    if as_json:
        print_json({"error": error.as_dict()})
    else:
        sys.stderr.write(f"error {error.code}: {visible_line(error.message)}\n")
        sys.stderr.write(visible(next_words(error.as_dict())) + "\n")
    if isinstance(error, Unavailable):
        return EXIT_UNAVAILABLE
    return EXIT_USAGE if error.code in MALFORMED else EXIT_REFUSED


@contextmanager
def progress_on_stderr() -> Generator[Progress]:
    """Show progress bars on a terminal, and one line a step elsewhere."""
    if sys.stderr.isatty():
        with _bars() as bars:
            yield bars
    else:
        yield _StepLines()


class _StepLines:
    """Progress where there is no terminal: the name of each step once."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def __call__(self, step: str, _done: int, _total: int | None, /) -> None:
        if step not in self._seen:
            self._seen.add(step)
            sys.stderr.write(f"{visible_line(step)} ...\n")
            sys.stderr.flush()


@contextmanager
def _bars() -> Generator[Progress]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as RichProgress

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with RichProgress(*columns, console=Console(stderr=True)) as display:
        tasks: dict[str, Any] = {}

        def show(step: str, done: int, total: int | None, /) -> None:
            if step not in tasks:
                tasks[step] = display.add_task(step, total=total)
            display.update(tasks[step], completed=done, total=total)

        yield show

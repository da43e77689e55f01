"""Secrets that a person gives to a command: typed without being shown, or in a file; never as an argument.

Every user of a machine sees the arguments of its processes, and a shell keeps them in its history.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Final

import typer

from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.base.files import read_regular, warning_of_readers
from shuiqiao.cli.output import warn

MAX_SECRET_BYTES: Final = 1024
"""Of a file that holds a secret."""

_CODE: Final = re.compile(r"[0-9A-Za-z -]{1,32}")
"""As ``client.resources.enrolments.CodeText``."""

STANDARD_INPUT: Final = Path("-")


def secret_in(path: Path, *, what: str) -> str:
    """Return the secret in a file, without its last line end, and warn where others can read it.

    what: the file in words, e.g. "the password file". Raises Unavailable ``node.file_unreadable``.
    """
    try:
        data = read_regular(path, max_bytes=MAX_SECRET_BYTES)
        warning = warning_of_readers(path, what=what)
    except OSError as error:
        raise Unavailable("node.file_unreadable", f"{path} cannot be read: {error.strerror}") from error
    if warning:
        warn(warning)
    return _line(data)


def typed_secret(question: str, *, twice: bool = False) -> str:
    """Return a secret that a person types; raises Unavailable ``cli.password_missing`` without a terminal."""
    if not sys.stdin.isatty():
        raise Unavailable("cli.password_missing", f"there is no terminal at which to type the {question}")
    return str(typer.prompt(question, hide_input=True, confirmation_prompt=twice, err=True))


def one_time_code(path: Path | None) -> str:
    """Return a bureau's one-time code: from a file, from standard input where that is named ``-``, else typed.

    Raises Unavailable ``cli.code_missing`` without a terminal, InvalidInput ``cli.code_unusable`` for what is none, and
    as ``secret_in``.
    """
    if path is None:
        if not sys.stdin.isatty():
            raise Unavailable("cli.code_missing", "there is no terminal at which to type the one-time code")
        given = typed_secret("one-time code 一次性登记码")
    elif path == STANDARD_INPUT:
        given = _line(sys.stdin.buffer.read(MAX_SECRET_BYTES))
    else:
        given = secret_in(path, what="the file of the code")
    if not _CODE.fullmatch(given.strip()):
        # It may be another secret, from another file, so it is not shown.
        raise InvalidInput(
            "cli.code_unusable", f"{len(given.strip())} characters were given as a one-time code, and they are none"
        )
    return given.strip()


def _line(data: bytes) -> str:
    return data[:MAX_SECRET_BYTES].decode(errors="replace").rstrip("\r\n")

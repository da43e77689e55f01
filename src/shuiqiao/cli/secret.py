"""Secrets that a person gives to a command: typed without being shown, or in a file; never as an argument.

Every user of a machine sees the arguments of its processes, and a shell keeps them in its history.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, Final

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


def typed_secret(question: str, *, twice: bool = False, may_be_empty: bool = False) -> str:
    """Return a secret that a person types; raises Unavailable ``cli.password_missing`` without a terminal."""
    if not sys.stdin.isatty():
        raise Unavailable("cli.password_missing", f"there is no terminal at which to type the {question}")
    how: dict[str, Any] = {"default": "", "show_default": False} if may_be_empty else {}
    return str(typer.prompt(question, hide_input=True, confirmation_prompt=twice, err=True, **how))


def one_time_code(path: Path | None, *, question: str = "one-time code 一次性登记码") -> str:
    """Return a one-time code: from a file, from standard input where that is named ``-``, else typed.

    question: what a person is asked for. Raises Unavailable ``cli.code_missing`` without a terminal, InvalidInput
    ``cli.code_unusable`` for what is none, and as ``secret_in``.
    """
    if path is None:
        if not sys.stdin.isatty():
            raise Unavailable("cli.code_missing", f"there is no terminal at which to type the {question}")
        return _code_in(typed_secret(question))
    if path == STANDARD_INPUT:
        return _code_in(_line(sys.stdin.buffer.read(MAX_SECRET_BYTES)))
    return _code_in(secret_in(path, what="the file of the code"))


def second_factor_code(path: Path | None) -> str:
    """Return the code of a user's device as ``one_time_code`` does; empty where a person types none, or cannot type.

    A log-in asks whether or not the user has a second factor: nobody learns who has one.
    """
    if path is None:
        question = "code of the second factor, Enter without one 动态验证码,无则回车"
        given = typed_secret(question, may_be_empty=True) if sys.stdin.isatty() else ""
        return _code_in(given) if given else ""
    return one_time_code(path)


def _code_in(given: str) -> str:
    code = given.strip()
    if not _CODE.fullmatch(code):
        # It may be another secret, from another file, so it is not shown.
        raise InvalidInput(
            "cli.code_unusable", f"{len(code)} characters were given as a one-time code, and they are none"
        )
    return code


def _line(data: bytes) -> str:
    return data[:MAX_SECRET_BYTES].decode(errors="replace").rstrip("\r\n")

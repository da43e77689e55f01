"""Runs a command to its end and its exit code: done, refused by an error (which ``output`` shows), or interrupted.

An interruption, Ctrl-C (SIGINT) or SIGTERM, at any moment unwinds the command by KeyboardInterrupt, so that all it
started is ended and all it holds is closed, and the exit code is 128 and the signal's number, as shells have it. Three
things would let a command go on instead, and none does: a parent that has SIGINT ignored (a script's background job
inherits that), a library that swallows the exception (a bare ``except``, a finalizer), and a library that turns it into
an error of its own. What a command was told is done stays done; commands are made to be run again.

What the system refuses to any command, a full disk, a folder that cannot be written, a store that fails, is told as an
error of this product. Storage libraries have errors of their own; they are told apart by name, so that none of them is
loaded for it.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager
from copy import copy
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any, Final

from shuiqiao.base.environment import HOME_VARIABLE
from shuiqiao.base.errors import InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.files import owner_only
from shuiqiao.base.memory import collect_seldom
from shuiqiao.base.visible import visible
from shuiqiao.base.without_pandas import do_without_pandas
from shuiqiao.cli.output import EXIT_REFUSED, EXIT_USAGE, STANDARD_OUTPUT, show_error, speak_to_any_terminal

INSIST_S: Final = 0.5
"""How soon it is looked again whether an interruption was swallowed."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FULL_WORDS: Final = ("no space left", "is full", "file too large", "quota exceeded")
_NO_SPACE_BYTES: Final = 1 << 20
"""A store that is refused where less is free lacks space, whatever its library says (LMDB: input/output error)."""

_STORES: Final = frozenset({"lmdb", "sqlalchemy", "sqlite3"})


def main() -> None:
    """Run the command line and exit with its code; an interruption counts from here on."""
    collect_seldom()
    do_without_pandas()
    with interruptible():
        run()


@owner_only()
def run(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    import typer
    from typer.exceptions import TyperException

    from shuiqiao.cli.main import command_tree

    words = sys.argv[1:] if arguments is None else list(arguments)
    as_json = "--json" in words
    speak_to_any_terminal()
    notes: list[str] = []
    # The tree is that of the commands before, the notes are of this one.
    root = copy(command_tree(words[0] if words else ""))
    root.invoke = partial(_noting, root.invoke, notes=notes)
    try:
        result: object = root(args=arguments, standalone_mode=False, prog_name="shuiqiao")
        code = result if isinstance(result, int) else 0
    except ShuiqiaoError as error:
        told = error_of_full_disk(error, place=_named_place(words))
        code = show_error(told, as_json=as_json)
    except TyperException as error:
        code = _show_usage(error.format_message(), as_json=as_json)
    except typer.Abort as ended:
        # An interruption is told where it is caught.
        is_interrupted = isinstance(ended.__context__, KeyboardInterrupt)
        code = EXIT_REFUSED if is_interrupted else show_error(_input_ended(), as_json=as_json)
    except Exception as error:
        # A full disk or a file that may not be read can meet any command; rooms map what they can say more about.
        refused = error_of_system(error, place=_named_place(words))
        if refused is None:
            raise
        is_heard = getattr(error, "filename", None) != STANDARD_OUTPUT
        code = show_error(refused, as_json=as_json and is_heard)
    ending = SystemExit(code)
    for note in notes:
        ending.add_note(note)
    raise ending


def _noting(invoke: Callable[[Any], object], context: Any, *, notes: list[str]) -> object:
    """Do a command, and keep what an interruption noted of how far it came: typer makes an exit code of it."""
    try:
        return invoke(context)
    except KeyboardInterrupt as error:
        notes += _notes_of(error)
        raise


def _notes_of(error: BaseException) -> tuple[str, ...]:
    return tuple(getattr(error, "__notes__", ()))


def _input_ended() -> Unavailable:
    return Unavailable("cli.input_ended", "a question was asked, and the input ended before it was answered")


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


def error_of_system(error: Exception, *, place: str) -> ShuiqiaoError | None:
    """Return what the system or a store refused, None where it is something else. place: where the command worked."""
    if isinstance(error, OSError):
        words = error.strerror or str(error)
        if error.errno in _FULL:
            return _full(str(error.filename or place), words)
        return Unavailable("cli.system_refused", f"{error.filename or place}: {words}")
    if not _is_of_a_store(error):
        return None
    words = str(getattr(error, "orig", None) or error)
    if any(sign in words.lower() for sign in _FULL_WORDS) or _has_no_space(place):
        return _full(place, words)
    return Unavailable("cli.store_refused", f"a store of {place} cannot be used: {words}")


def error_of_full_disk(error: ShuiqiaoError, *, place: str) -> ShuiqiaoError:
    """Return the error itself, or the full disk behind it where a room told of a store that was refused there."""
    is_refused = isinstance(error, Unavailable) and error.__cause__ is not None and _is_of_a_store(error.__cause__)
    return _full(place, error.message) if is_refused and _has_no_space(place) else error


def _is_of_a_store(error: BaseException) -> bool:
    return type(error).__module__.partition(".")[0] in _STORES


def _has_no_space(place: str) -> bool:
    """Tell whether the disk of a folder has next to nothing free; of what is not there, nothing is known."""
    if not Path(place).exists():
        return False
    disk = os.statvfs(place)
    return disk.f_bavail * disk.f_frsize < _NO_SPACE_BYTES


def _full(place: str, words: str) -> Unavailable:
    return Unavailable("cli.disk_full", f"{place} lies on a disk or under a limit that is full: {words}")


@contextmanager
def interruptible() -> Generator[None]:
    """Let SIGINT and SIGTERM end what runs inside; raises SystemExit with 128 + the signal's number.

    Main thread only. A second signal interrupts the closing as well.
    """
    asked: list[int] = []

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.append(number)
        signal.setitimer(signal.ITIMER_REAL, INSIST_S, INSIST_S)
        raise KeyboardInterrupt

    def insist(_number: int, _frame: FrameType | None) -> None:
        if not _is_unwinding():
            raise KeyboardInterrupt

    handlers = {signal.SIGINT: ask, signal.SIGTERM: ask, signal.SIGALRM: insist}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    notes: tuple[str, ...] = ()
    try:
        yield
    except BaseException as error:
        # What comes out may be an error that a library made of the interruption.
        if not asked:
            raise
        notes = _notes_of(error)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked:
        _say_interrupted(notes)
        sys.exit(128 + asked[0])


def _is_unwinding() -> bool:
    """Tell whether a KeyboardInterrupt is being handled, by whatever closes something on its way out."""
    found = sys.exception()
    while found is not None and not isinstance(found, KeyboardInterrupt):
        found = found.__context__
    return found is not None


def _say_interrupted(notes: Iterable[str]) -> None:
    """Say so, with what the act that was interrupted noted of how far it came."""
    said = "the command was interrupted; what it had reported as done is done 命令已中断,已确认的结果不受影响"
    error = Unavailable(
        "cli.interrupted",
        "; ".join((said, *notes)),
        next_step="run the same command again to go on, unless a server does; a demo begins anew in a free folder",
    )
    show_error(error, as_json="--json" in sys.argv[1:])

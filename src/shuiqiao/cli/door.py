"""Where a command begins and where an interruption ends it: Ctrl-C (SIGINT) and SIGTERM, at any moment.

An interruption unwinds the command by KeyboardInterrupt, so that all it started is ended and all it holds is closed,
and the exit code is 128 and the signal's number, as shells have it. Three things would let a command go on instead, and
none does: a parent that has SIGINT ignored (a script's background job inherits that), a library that swallows
the exception (a bare ``except``, a finalizer), and a library that turns it into an error of its own.
What a command was told is done stays done; commands are made to be run again.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from shuiqiao.base.errors import Unavailable

INSIST_S: Final = 0.5
"""How soon it is looked again whether an interruption was swallowed."""


def main() -> None:
    """Run the command line and exit with its code; an interruption counts from here on."""
    with interruptible():
        from shuiqiao.cli.main import main as run

        run()


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
    try:
        yield
    except BaseException:
        # What comes out may be an error that a library made of the interruption.
        if not asked:
            raise
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked:
        _say_interrupted()
        sys.exit(128 + asked[0])


def _is_unwinding() -> bool:
    """Tell whether a KeyboardInterrupt is being handled, by whatever closes something on its way out."""
    found = sys.exception()
    while found is not None and not isinstance(found, KeyboardInterrupt):
        found = found.__context__
    return found is not None


def _say_interrupted() -> None:
    from shuiqiao.cli.output import show_error

    error = Unavailable(
        "cli.interrupted",
        "the command was interrupted; what it had reported as done is done 命令已中断,已确认的结果不受影响",
        next_step="run the same command again to go on; a demo begins anew in a free folder",
    )
    show_error(error, as_json="--json" in sys.argv[1:])

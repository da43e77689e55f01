"""The one family of errors of the product, split by who must act.

Every error has a stable ``code`` (``room.what_happened``), a message that names the thing and, where two values
disagree, both of them, and the next step for the person who reads it, in English and Chinese: by its code from the
table ``next_steps.toml``. A place that raises an error may say more, in English; its Chinese twin stands in the same
file. A test holds that every code that is raised, and every such place, has both. Doors (command line, pages, HTTP) map
the five classes once; no room below a door formats errors or logs and raises.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from typing import Any, Final, Self

from shuiqiao.base.forms import in_words

MACHINE_FAILURES: Final = (MemoryError, RecursionError, OSError)
"""What a machine lacks for a moment (memory, stack, open files), whatever the bytes are that it reads just then.

A function that turns errors into a verdict on bytes or on a transaction lets these pass: other machines would judge
otherwise [LEDGER-SIGN-4].
"""


class ShuiqiaoError(Exception):
    """Root of every error the product raises on purpose.

    code: stable identifier, ``room.what_happened``, documented in ``docs/reference/errors.md``.
    message: one English sentence naming the thing and both values.
    next_step: what the reader can do about it where this place knows more than the table of ``next_steps``, or empty.
    """

    __slots__ = ("code", "message", "next_step")

    def __init__(self, code: str, message: str, *, next_step: str = "") -> None:
        self.code = code
        self.message = in_words(message)
        super().__init__(f"{code}: {self.message}")
        self.next_step = next_step

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are rebuilt from their one text by default; ours have two parts and keywords. Worker processes
        # hand errors to their parent in this form.
        return partial(type(self), next_step=self.next_step), (self.code, self.message)

    def within(self, place: str) -> Self:
        """Return the same error, its message led by the place (a file, a line) that its maker did not know."""
        make, (code, message) = self.__reduce__()
        error: Self = make(code, f"{place}: {message}")
        return error

    def followed_by(self, words: str) -> Self:
        """Return the same error, its message followed by what its maker did not know."""
        make, (code, message) = self.__reduce__()
        error: Self = make(code, message + words)
        return error

    def as_dict(self) -> dict[str, str]:
        """Return the one shape in which every door shows an error."""
        return {"code": self.code, "message": self.message, **next_step_shape(self.code, next_step=self.next_step)}


class InvalidInput(ShuiqiaoError):
    """What came from outside is malformed, too large or breaks a rule: the sender must change it."""


class Denied(ShuiqiaoError):
    """The act is well formed but not allowed to this party, now: consent, role, grade, ceiling."""


class Conflict(ShuiqiaoError):
    """The act contradicts what already happened: a repeated id, an existing batch, a stale version."""


class Unavailable(ShuiqiaoError):
    """A needed party, file or component is not there now; trying again later may succeed.

    retry_after_s: seconds after which a retry makes sense, or None if the operator must act first.
    """

    __slots__ = ("retry_after_s",)

    def __init__(self, code: str, message: str, *, next_step: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(code, message, next_step=next_step)
        self.retry_after_s = retry_after_s

    def __reduce__(self) -> tuple[Any, ...]:
        make = partial(type(self), next_step=self.next_step, retry_after_s=self.retry_after_s)
        return make, (self.code, self.message)


class IntegrityError(ShuiqiaoError):
    """Evidence does not hold: a signature, a proof, a digest or a stored byte is wrong. Somebody must investigate."""


@dataclass(frozen=True, slots=True)
class NextStep:
    """What the reader can do, in both languages."""

    en: str
    zh: str


VALUE: Final = "{}"
"""Stands in the step of a single place for a name or a value that it is told with."""

UNKNOWN = NextStep("Report this to the maintainers with the message.", "请将此消息报告给维护者")
"""For a code that is not in the table: one of another release, told by a running node."""


@cache
def _table() -> Mapping[str, Any]:
    """Return the file of next steps; read once, when the first error is shown."""
    return tomllib.loads(files("shuiqiao.base").joinpath("next_steps.toml").read_text(encoding="utf-8"))


@cache
def load_next_steps() -> Mapping[str, NextStep]:
    """Return the steps by code."""
    return {code: NextStep(group["en"], group["zh"]) for group in _table()["step"] for code in group["codes"]}


@cache
def _own_forms() -> tuple[tuple[re.Pattern[str], str], ...]:
    """Return the steps of single places with what they name left open, the longest and so the most exact first."""
    with_gaps = sorted((en for en in _table()["own"] if VALUE in en), key=len, reverse=True)
    return tuple((re.compile("(.+)".join(map(re.escape, en.split(VALUE)))), _table()["own"][en]) for en in with_gaps)


def own_step(words: str) -> NextStep | None:
    """Return the step of a single place in both languages, None for words of another release.

    ::

        own_step("choose another --home").zh == "请另选一个 --home"
    """
    twin: str | None = _table()["own"].get(words)
    if twin is not None:
        return NextStep(words, twin)
    for form, zh in _own_forms():
        if (found := form.fullmatch(words)) is not None:
            first, *others = zh.split(VALUE)
            return NextStep(words, first + "".join(map("".join, zip(found.groups(), others, strict=True))))
    return None


def next_step_of(code: str) -> NextStep:
    """Return what to do about a code."""
    return load_next_steps().get(code, UNKNOWN)


def next_step_shape(code: str, *, next_step: str = "") -> dict[str, str]:
    """Return what to do about a code as every door shows it. next_step: what the place itself says, in English."""
    known = next_step_of(code)
    if next_step:
        known = own_step(next_step) or NextStep(next_step, known.zh)
    return {"next_step": known.en, "next_step_zh": known.zh}

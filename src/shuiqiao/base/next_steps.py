"""What to do next about an error, in English and Chinese, by its code: the table ``next_steps.toml``.

A place that raises an error may say more, in English; the Chinese words are always the table's. A test holds that every
code that is raised has both.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class NextStep:
    """What the reader can do, in both languages."""

    en: str
    zh: str


UNKNOWN = NextStep("Report this to the maintainers with the message.", "请将此消息报告给维护者")
"""For a code that is not in the table: one of another release, told by a running node."""


@cache
def load_next_steps() -> Mapping[str, NextStep]:
    """Return the steps by code; read once, when the first error is shown."""
    text = files("shuiqiao.base").joinpath("next_steps.toml").read_text(encoding="utf-8")
    return {
        code: NextStep(group["en"], group["zh"]) for group in tomllib.loads(text)["step"] for code in group["codes"]
    }


def next_step_of(code: str) -> NextStep:
    """Return what to do about a code."""
    return load_next_steps().get(code, UNKNOWN)


def next_step_shape(code: str, *, next_step: str = "") -> dict[str, str]:
    """Return what to do about a code as every door shows it. next_step: what the place itself says, in English."""
    known = next_step_of(code)
    return {"next_step": next_step or known.en, "next_step_zh": known.zh}

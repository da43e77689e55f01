"""Every code that is raised says what to do next, in English and in Chinese: ``base/next_steps.toml``."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import shuiqiao
from shuiqiao.base.errors import UNKNOWN, Denied, load_next_steps, next_step_of

SOURCE = Path(shuiqiao.__file__).parent
TABLE = SOURCE / "base" / "next_steps.toml"
BY_FIRST = {"InvalidInput", "RefusedValue", "Denied", "Conflict", "Unavailable", "IntegrityError"}
BY_KEYWORD = {"Finding", "Problem", "Trouble"}
CHINESE = re.compile(r"[\u4e00-\u9fff]")


def codes() -> dict[str, str]:
    """Every literal code of an error, a finding or a problem, with a place that makes it."""
    found: dict[str, str] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
            if name in BY_FIRST:
                code = node.args[0]
            elif name in BY_KEYWORD:
                code = next((each.value for each in node.keywords if each.arg == "code"), None)
            else:
                continue
            if isinstance(code, ast.Constant) and code.value:
                found[code.value] = f"{path.relative_to(SOURCE)}:{node.lineno}"
    return found


def test_every_code_has_a_next_step_in_both_languages():
    lacking = [
        f"{code} ({place}) lacks its next step: put it into a group of {TABLE.relative_to(SOURCE.parent)}"
        for code, place in sorted(codes().items())
        if code not in load_next_steps()
    ]
    assert lacking == []


def test_no_step_is_for_a_code_that_nothing_raises():
    assert sorted(set(load_next_steps()) - set(codes())) == []


def test_a_code_stands_once_and_every_group_is_whole():
    groups = tomllib.loads(TABLE.read_text(encoding="utf-8"))["step"]
    named = [code for group in groups for code in group["codes"]]
    assert sorted({code for code in named if named.count(code) > 1}) == []
    unfit = [
        group["codes"][0]
        for group in groups
        if CHINESE.search(group["en"]) or not CHINESE.search(group["zh"]) or not group["en"].endswith(".")
    ]
    assert unfit == []


def test_an_error_carries_both_and_its_own_words_come_first():
    code = "consent.paused"
    plain, telling = Denied(code, "it is"), Denied(code, "it is", next_step="Do this.")
    assert plain.as_dict() == {
        "code": code,
        "message": "it is",
        "next_step": next_step_of(code).en,
        "next_step_zh": next_step_of(code).zh,
    }
    assert telling.as_dict() == plain.as_dict() | {"next_step": "Do this."}


def test_a_code_of_another_release_is_not_left_without_one():
    assert next_step_of("ledger.made_up") is UNKNOWN

"""Every code that is raised says what to do next, in English and in Chinese: ``base/next_steps.toml``."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import shuiqiao
from shuiqiao.base.errors import UNKNOWN, VALUE, Conflict, Denied, load_next_steps, next_step_of

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


def own_steps() -> dict[str, str]:
    """What single places say in the stead of the table, with {} for what is put in, and a place that says it."""
    found: dict[str, str] = {}
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        constants = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name) and node.value is not None
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.keyword) and node.arg == "next_step":
                for words in texts(node.value, constants):
                    found[words] = f"{path.relative_to(SOURCE)}:{node.value.lineno}"
    return found


def texts(value: ast.expr, constants: dict[str, ast.expr]) -> list[str]:
    match value:
        case ast.Constant(value=str(words)):
            return [words] if words else []
        case ast.JoinedStr(values=parts):
            return ["".join(str(part.value) if isinstance(part, ast.Constant) else VALUE for part in parts)]
        case ast.IfExp(body=one, orelse=other):
            return [*texts(one, constants), *texts(other, constants)]
        case ast.Name(id=name) if name in constants:
            return texts(constants[name], constants)
    return []


def test_what_a_place_says_itself_has_a_chinese_twin_of_the_same_meaning():
    """A command is the same in both; words are not, and both are told with the same names and values."""
    own = tomllib.loads(TABLE.read_text(encoding="utf-8"))["own"]
    assert {words: place for words, place in own_steps().items() if words not in own} == {}
    assert sorted(set(own) - set(own_steps())) == []
    assert [en for en, zh in own.items() if CHINESE.search(en) or en.count(VALUE) != zh.count(VALUE)] == []
    same = {en.split()[0] for en, zh in own.items() if not CHINESE.search(zh)}
    assert same == {"shuiqiao", "chmod", "uv"}


def test_a_place_tells_its_step_in_both_languages_with_what_it_names():
    told = Conflict("node.home_exists", "it is", next_step="choose another --home").as_dict()
    assert (told["next_step"], told["next_step_zh"]) == ("choose another --home", "请另选一个 --home")
    told = Conflict("node.home_exists", "it is", next_step="if none goes on, remove /a/b and restore again").as_dict()
    assert told["next_step_zh"] == "若没有恢复在进行,请删除 /a/b 后重新恢复"
    told = Conflict("node.home_exists", "it is", next_step="shuiqiao init --home a --genesis genesis.json").as_dict()
    assert told["next_step_zh"] == told["next_step"]


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

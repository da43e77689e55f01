"""Every command that a next step or an error's text prints is one that the command line has, with what it needs."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

import shuiqiao
from shuiqiao.cli.main import command_tree

SOURCE = Path(shuiqiao.__file__).parent
ROOT = command_tree()
HERE = {"home", "key", "token_file"}
"""What a person has named once, by the environment or a line before."""

PRINTED = re.compile(r"\bshuiqiao (?=-|[a-z])[^`,;.()|\n\u3000-\u9fff\uff00-\uffef]*")
TEMPLATE = "shuiqiao approvals propose A"
"""Filled in by each act, which is looked at beside it."""

PROSE = ("docstrings speak of commands in double back quotes", "``")


def texts_of_steps():
    for group in tomllib.loads((SOURCE / "base" / "next_steps.toml").read_text(encoding="utf-8"))["step"]:
        yield group["codes"][0], group["en"]
        yield group["codes"][0], group["zh"]


def literal(node):
    """The text of a string in the source, with A for what is put into it when it runs."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(literal(part) or "A" for part in node.values)
    return None


def texts_of_source():
    """Every text of a call's arguments: docstrings are none."""
    for path in sorted(SOURCE.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call):
                for node in (*call.args, *(each.value for each in call.keywords)):
                    text = literal(node)
                    if text is not None and PRINTED.search(text) and PROSE[1] not in text:
                        yield f"{path.relative_to(SOURCE)}:{node.lineno}", text


def acts_of_two():
    """What an owner is told to propose instead, where people have accounts."""
    for path in sorted(SOURCE.rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "require_no_users":
                yield f"{path.relative_to(SOURCE)}:{call.lineno}", f"shuiqiao approvals propose {literal(call.args[1])}"


def printed():
    found = []
    for place, text in (*texts_of_steps(), *texts_of_source(), *acts_of_two()):
        found += [(place, match.group().partition(": ")[0].strip()) for match in PRINTED.finditer(text)]
    return sorted(set(found) - {(place, line) for place, line in found if line == TEMPLATE})


def fault_of(line):
    """What the command line would say to it; empty where it takes it."""
    command, words = ROOT, line.split()[1:]
    options = options_of(command)
    while words:
        inner = getattr(command, "commands", None)
        if words[0] == "--help" or (words[0].isupper() and command is ROOT):
            return ""
        if words[0].startswith("-") and words[0] in options:
            words = words[1:]
        elif words[0].startswith("-"):
            return f"{command.name} has no {words[0]}"
        elif inner is None or (words[0] not in inner and command is not ROOT and acts_alone(command)):
            break
        elif words[0] in inner:
            command, words = inner[words[0]], words[1:]
            options = options_of(command)
        else:
            return f"{command.name} has no command {words[0]}"
    is_whole = getattr(command, "commands", None) is None or acts_alone(command)
    return lacking(command, line, words=words) if is_whole else f"{command.name} needs a command"


def acts_alone(command):
    """Whether a group is a command by itself as well; what the root says alone is its help."""
    return command is ROOT or command.invoke_without_command


def lacking(command, line, *, words):
    """What a command lacks that its words give; empty for nothing."""
    options = options_of(command)
    given = set(line.split())
    unknown = [word for word in words if word.startswith("-") and word not in options]
    missing = [
        parameter.opts[0]
        for parameter in command.params
        if parameter.required and parameter.name not in HERE and parameter.param_type_name == "option"
        if given.isdisjoint((*parameter.opts, *parameter.secondary_opts))
    ]
    values = [word for word in words if not word.startswith("-")]
    wanted = [each for each in command.params if each.param_type_name == "argument" and each.required]
    taking = [word for word in words if word in options and not options[word].is_flag]
    if unknown or missing:
        return f"{command.name}: unknown {unknown}, missing {missing}"
    return "" if len(values) - len(taking) >= len(wanted) else f"{command.name} needs {[each.name for each in wanted]}"


def options_of(command):
    return {name: each for each in command.params for name in (*each.opts, *each.secondary_opts) if name[0] == "-"}


@pytest.mark.parametrize(("place", "line"), printed())
def test_a_command_that_is_printed_can_be_given(place, line):
    assert fault_of(line) == "", f"{place}: {line}"


def test_the_looker_sees_what_is_wrong():
    assert len(printed()) > 60
    assert len([*acts_of_two()]) > 8
    for line in ("shuiqiao doctr", "shuiqiao doctor --agains COPY", "shuiqiao members", "shuiqiao pending redo"):
        assert fault_of(line), line
    for line in ("shuiqiao doctor --home HOME", "shuiqiao --clock-is-right COMMAND", "shuiqiao pending redo ID"):
        assert fault_of(line) == "", line

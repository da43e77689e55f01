"""Arguments that are not UTF-8: a text is refused before anything is done, the name of a file or folder is a name."""

from __future__ import annotations

import json
import os
from datetime import datetime

import pytest
import typer.main

from shuiqiao.cli.door import run
from shuiqiao.cli.main import app
from shuiqiao.cli.output import MALFORMED

NO_UTF_8 = os.fsdecode(b"9\xff")


def commands(command, path=()):
    """Every command that does something, with the words that lead to it."""
    inner = getattr(command, "commands", None)
    if inner is None or (path and command.invoke_without_command):
        yield path, command
    if inner is not None:
        for name, below in inner.items():
            yield from commands(below, (*path, name))


COMMANDS = dict(commands(typer.main.get_command(app)))


WANT_MORE = {
    ("verify",),
    ("init",),
    ("audit",),
    ("ingest",),
    ("request",),
    ("enterprise", "consent"),
    ("train", "agree"),
    ("enterprise", "dispute"),
    ("enterprise", "leakage"),
    ("enterprise", "used"),
    ("enterprise", "answer"),
    ("grade", "explain"),
    ("approvals", "propose", "model"),
}
"""Commands some of whose words want another one beside them, or a form that the line here does not give."""


def is_path(parameter):
    return "Path" in str(parameter.type_descriptor.annotation)


def sound_words(parameter):
    """Words that a parameter takes."""
    if is_path(parameter):
        value = "absent"
    elif parameter.type_descriptor.annotation is datetime:
        value = "2026-01-31"
    elif parameter.type_descriptor.choices is not None:
        value = next(iter(parameter.type_descriptor.choices)).value
    else:
        value = str(parameter.min or 0)
    return words(parameter, value)


def words(parameter, value):
    if parameter.param_type_name == "argument":
        return [value]
    return [parameter.opts[0]] if parameter.type_descriptor.annotation is bool else [parameter.opts[0], value]


def line(path, *, parameter, value):
    """A command line in which one parameter has a value, and what else must be there is sound."""
    given = [
        words(each, value) if each is parameter else sound_words(each)
        for each in COMMANDS[path].params
        if each is parameter or each.required
    ]
    return [*path, *(word for part in given for word in part), "--json"]


def parameters(*, of_paths):
    """(words of a command, its parameter) of all that take a value."""
    pairs = [(path, each) for path, command in COMMANDS.items() for each in command.params]
    return [
        pytest.param(path, each, id=f"{' '.join(path)} {each.name}")
        for path, each in pairs
        if is_path(each) == of_paths and "bool" not in str(each.type_descriptor.annotation)
    ]


def error_of(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        run(arguments)
    return ended.value.code, json.loads(capsys.readouterr().out or "{}").get("error", {})


@pytest.mark.parametrize(("path", "parameter"), parameters(of_paths=False))
def test_a_text_is_refused_before_anything_is_done(path, parameter, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, error = error_of(line(path, parameter=parameter, value=NO_UTF_8), capsys)
    assert (code, error["code"]) == (2, "cli.usage_wrong")
    if "str" in str(parameter.type_descriptor.annotation):
        assert "is not UTF-8" in error["message"]
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(("path", "parameter"), parameters(of_paths=True))
def test_a_path_is_taken_whatever_its_bytes(path, parameter, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / NO_UTF_8).mkdir()
    (tmp_path / NO_UTF_8 / "kept").touch()
    code, error = error_of(line(path, parameter=parameter, value=NO_UTF_8), capsys)
    # What the other words are is looked at first, and "0" is not everything.
    is_usage = path in WANT_MORE or error.get("code") in MALFORMED
    assert code in {0, 1, 3} or (is_usage and code == 2), "a name is a name"
    assert "UTF-8" not in error.get("message", "")


NUMBERS = [each for each in parameters(of_paths=False) if "int" in str(each.values[1].type_descriptor.annotation)]


@pytest.mark.parametrize("typed", ["1_0", " 10", "+10", "１０"])
@pytest.mark.parametrize(("path", "parameter"), NUMBERS)
def test_a_number_is_what_every_reader_takes_for_one(path, parameter, typed, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    code, error = error_of(line(path, parameter=parameter, value=typed), capsys)
    assert (code, error["code"]) == (2, "cli.usage_wrong")
    assert "is no whole number" in error["message"]


def test_all_commands_are_looked_at():
    assert {"demo", "backup", "pending", "keys", "bench"} < {path[0] for path in COMMANDS}
    assert len(parameters(of_paths=False)) > len(COMMANDS)

"""Secrets come from a file, from standard input or from fingers, and are no arguments."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.cli.main import command_tree
from shuiqiao.cli.secret import MAX_SECRET_BYTES, STANDARD_INPUT, one_time_code, second_factor_code, secret_in


def piped(monkeypatch, data):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(data), isatty=lambda: False))


def test_a_code_is_read_from_a_file_and_from_standard_input(tmp_path, monkeypatch, capsys):
    (tmp_path / "code").write_text("7Q2M-90KX-W3VD\n")
    (tmp_path / "code").chmod(0o644)
    assert one_time_code(tmp_path / "code") == "7Q2M-90KX-W3VD"
    assert "others can read the file of the code" in capsys.readouterr().err
    piped(monkeypatch, b" 7Q2M-90KX-W3VD\r\n")
    assert one_time_code(STANDARD_INPUT) == "7Q2M-90KX-W3VD"


@pytest.mark.parametrize("data", [b"", b"\n", b"my passphrase!\n", b"\xff\xfe", b"9" * (MAX_SECRET_BYTES + 5)])
def test_what_is_no_code_is_refused_and_not_shown(data, monkeypatch):
    piped(monkeypatch, data)
    with pytest.raises(InvalidInput) as refused:
        one_time_code(STANDARD_INPUT)
    assert refused.value.code == "cli.code_unusable"
    assert "passphrase!" not in refused.value.message


def test_without_a_terminal_and_a_file_it_says_so(tmp_path, monkeypatch):
    piped(monkeypatch, b"7Q2M-90KX-W3VD\n")
    with pytest.raises(Unavailable) as refused:
        one_time_code(None)
    assert refused.value.code == "cli.code_missing"
    with pytest.raises(Unavailable, match=r"node\.file_unreadable"):
        secret_in(tmp_path / "absent", what="the password file")


def test_a_code_is_typed_unseen(monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    asked = []
    monkeypatch.setattr("typer.prompt", lambda question, **how: asked.append((question, how)) or "7Q2M-90KX-W3VD")
    assert one_time_code(None) == "7Q2M-90KX-W3VD"
    assert asked == [("one-time code 一次性登记码", {"hide_input": True, "confirmation_prompt": False, "err": True})]


def test_a_log_in_asks_for_a_code_which_may_be_none(tmp_path, monkeypatch):
    piped(monkeypatch, b"")
    assert second_factor_code(None) == ""
    (tmp_path / "code").write_text("654321\n")
    assert second_factor_code(tmp_path / "code") == "654321"
    monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
    typed = iter(["", "123456", "my passphrase!"])
    asked = []
    monkeypatch.setattr("typer.prompt", lambda question, **how: asked.append(how) or next(typed))
    assert [second_factor_code(None), second_factor_code(None)] == ["", "123456"]
    with pytest.raises(InvalidInput, match=r"cli\.code_unusable"):
        second_factor_code(None)
    assert all(how["hide_input"] and how["default"] == "" and not how["show_default"] for how in asked)


def test_no_command_takes_a_secret_as_an_argument():
    """A secret's parameter is the name of a file; ``--code`` of a dispute's answer is a reason, which is told."""
    of_secrets = [
        (command.name, parameter)
        for command in below(command_tree())
        for parameter in command.params
        if SECRETS.intersection(parameter.name.split("_"))
    ]
    files = {parameter.name for _, parameter in of_secrets if parameter.type_descriptor.annotation is Path}
    assert files >= {"code_file", "token_file"}
    others = {
        (name, parameter.name) for name, parameter in of_secrets if parameter.type_descriptor.annotation is not Path
    }
    assert others == {("decision", "code"), ("create", "include_passphrase")}


SECRETS = {"code", "otp", "password", "passphrase", "secret", "token"}


def below(command):
    yield command
    for each in getattr(command, "commands", {}).values():
        yield from below(each)

"""How the command line speaks: results on standard output, all else on standard error, one shape of error."""

from __future__ import annotations

import json

import pytest

from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, Unavailable
from shuiqiao.cli.output import print_json, progress_on_stderr, say, show_error

CODES = [(InvalidInput, 1), (Denied, 1), (Conflict, 1), (IntegrityError, 1), (Unavailable, 3)]


@pytest.mark.parametrize(("kind", "code"), CODES)
def test_each_class_has_its_exit_code(kind, code, capsys):
    assert show_error(kind("room.what", "this is 1, not 2", next_step="do that"), as_json=False) == code
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == "error room.what: this is 1, not 2\n  next: do that\n"


@pytest.mark.parametrize(("kind", "code"), CODES)
def test_as_json_an_error_is_one_object(kind, code, capsys):
    assert show_error(kind("room.what", "说明"), as_json=True) == code
    said = capsys.readouterr()
    assert said.err == ""
    assert json.loads(said.out) == {"error": {"code": "room.what", "message": "说明"}}


def test_json_keeps_the_order_of_its_keys_and_chinese_as_it_is(capsys):
    print_json({"b": 1, "a": "税桥"})
    out = capsys.readouterr().out
    assert list(json.loads(out)) == ["b", "a"]
    assert "税桥" in out
    say("好")
    assert capsys.readouterr().out == "好\n"


def test_without_a_terminal_progress_names_each_step_once(capsys):
    with progress_on_stderr() as progress:
        for done in range(3):
            progress("one", done, 3)
        progress("two", 0, None)
        progress("one", 3, 3)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "one ...\ntwo ...\n")


def test_on_a_terminal_progress_is_a_bar(capsys, monkeypatch):
    import sys

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress_on_stderr() as progress:
        progress("records read", 1, 4)
        progress("records read", 4, 4)
    said = capsys.readouterr()
    assert said.out == ""
    assert "records read" in said.err
    assert "4/4" in said.err

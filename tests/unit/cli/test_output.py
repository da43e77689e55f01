"""How the command line speaks: results on standard output, all else on standard error, one shape of error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, Unavailable
from shuiqiao.cli.output import (
    EXIT_REFUSED,
    EXIT_UNAVAILABLE,
    Language,
    choose_language,
    joined,
    print_json,
    progress_on_stderr,
    reader_language,
    say,
    show_error,
)

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
    assert json.loads(said.out) == {"error": kind("room.what", "说明").as_dict()}


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, Language.EN),
        ({"LANG": "en_US.UTF-8"}, Language.EN),
        ({"LANG": "zh_CN.UTF-8"}, Language.ZH),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, Language.EN),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.GB18030"}, Language.ZH),
    ],
)
def test_the_locale_says_in_which_language_the_next_step_is_told(environment, expected, capsys, monkeypatch):
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    error = Denied("consent.paused", "it is")
    show_error(error, as_json=False)
    shape = error.as_dict()
    told = {Language.EN: f"  next: {shape['next_step']}", Language.ZH: f"  下一步: {shape['next_step_zh']}"}
    assert capsys.readouterr().err.splitlines()[1] == told[expected]


def test_the_language_that_was_asked_for_comes_before_the_locale(monkeypatch):
    monkeypatch.setenv("LC_ALL", "en_US.UTF-8")
    choose_language(Language.ZH)
    try:
        assert reader_language() is Language.ZH
    finally:
        choose_language(None)
    assert reader_language() is Language.EN


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


PROGRAM = Path(sys.executable).with_name("shuiqiao")


def test_a_stream_that_refuses_is_named_and_not_the_home(tmp_path):
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        done = subprocess.run(
            [PROGRAM, "doctor", "--home", tmp_path, "--json"], check=False, stdout=full, stderr=subprocess.PIPE
        )
    assert done.returncode == EXIT_UNAVAILABLE
    assert done.stderr.startswith(b"error cli.disk_full: standard output ")
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize("closed", ["0<&-", "1>&-", "2>&-", "0<&- 1>&- 2>&-"])
def test_streams_that_were_closed_lead_nowhere(closed, tmp_path):
    line = f'"$0" doctor --home "$1" {closed}'
    done = subprocess.run(["/bin/sh", "-c", line, PROGRAM, tmp_path], check=False, capture_output=True, text=True)
    assert done.returncode == EXIT_REFUSED
    assert "Traceback" not in done.stderr


HOSTILE = "firm\x1b[2J\u202exe\r\x9b31m"


def test_a_terminal_is_not_redrawn_by_a_name(capsys):
    say(HOSTILE)
    print_json({"name": HOSTILE})
    show_error(InvalidInput("base.file_special", f"{HOSTILE}\nerror all.well: fine"), as_json=False)
    show_error(InvalidInput("base.file_special", HOSTILE), as_json=True)
    out, err = capsys.readouterr()
    shown = out + err
    assert not any(character in shown for character in "\x1b\u202e\r\x9b")
    assert shown.count("firm\\u001b[2J\\u202exe\\r\\u009b31m") == 4
    assert not any(line.startswith("error all.well") for line in err.splitlines())


def test_json_keeps_its_content(capsys):
    print_json({"name": HOSTILE})
    assert json.loads(capsys.readouterr().out) == {"name": HOSTILE}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"height": 19, "is_new": True}, "height=19 is_new=yes"),
        ({"outcome": {"height": 19}, "reasons": ()}, "outcome={height=19} reasons=none"),
        ({"A": {"0.03": "0", "0.15": "0.5"}}, "A={0.03=0 0.15=0.5}"),
        ([1, None, False], "1, -, no"),
        ((), "nothing"),
        (None, "-"),
        (True, "yes"),
    ],
)
def test_a_person_reads_values_in_words(value, words):
    assert joined(value) == words

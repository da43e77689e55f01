"""An interruption ends a command whatever swallows it, and never cuts short what closes it."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from patience import PATIENCE_S

PROLOGUE = """
import signal, time
signal.signal(signal.SIGINT, signal.Handlers({inherited:d}))
from shuiqiao.cli.door import interruptible

def told(words):
    print(words, flush=True)

def wait():
    told("ready")
    end = time.monotonic() + 60
    while time.monotonic() < end:
        time.sleep(0.01)
    told("went on")
"""
PLAIN = "wait()"
SWALLOWED = """
try:
    wait()
except BaseException:
    told("swallowed")
wait()
"""
IN_A_FINALIZER = """
class Finalized:
    def __del__(self):
        wait()
Finalized()
told("swallowed")
wait()
"""
TURNED_INTO_AN_ERROR = """
try:
    wait()
except BaseException:
    raise RuntimeError("Query interrupted")
"""
CLOSING_TAKES_TIME = """
try:
    wait()
finally:
    end = time.monotonic() + 2
    while time.monotonic() < end:
        time.sleep(0.01)
    told("closed")
"""
AT_ITS_END = """
try:
    wait()
except BaseException:
    told("swallowed")
"""


def run(body, *, number, inherited=signal.SIG_DFL):
    """Run the body inside ``interruptible``, interrupt it each time it says that it is ready, return what it said."""
    lines = "\n".join("    " + line for line in body.strip().splitlines())
    command = subprocess.Popen(
        [sys.executable, "-c", PROLOGUE.format(inherited=inherited) + f"with interruptible():\n{lines}\ntold('after')"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert command.stdout.readline() == "ready\n"
    command.send_signal(number)
    said, complaint = command.communicate(timeout=PATIENCE_S)
    return command.returncode, said.split(), complaint


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("inherited", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_command_ends_whatever_its_parent_had_ignored(number, inherited):
    code, said, complaint = run(PLAIN, number=number, inherited=inherited)
    assert (code, said) == (128 + number, [])
    assert complaint.startswith("error cli.interrupted: ")


@pytest.mark.parametrize("body", [SWALLOWED, IN_A_FINALIZER])
def test_what_swallows_an_interruption_is_interrupted_again(body):
    code, said, _ = run(body, number=signal.SIGINT)
    assert (code, said) == (130, ["swallowed", "ready"])


def test_an_error_that_a_library_makes_of_it_is_still_an_interruption():
    code, said, complaint = run(TURNED_INTO_AN_ERROR, number=signal.SIGINT)
    assert (code, said) == (130, [])
    assert "Traceback" not in complaint


def test_what_was_interrupted_says_how_far_it_came():
    body = """
try:
    wait()
except KeyboardInterrupt as error:
    error.add_note("7 records are in")
    raise
"""
    code, _, complaint = run(body, number=signal.SIGINT)
    assert (code, "; 7 records are in" in complaint) == (130, True)


def test_what_a_command_noted_is_said_though_its_framework_knows_an_exit_code_alone():
    body = """
import shuiqiao.cli.main
import typer
from shuiqiao.cli import door

command = typer.Typer()

@command.command()
def at_work():
    try:
        wait()
    except KeyboardInterrupt as error:
        error.add_note("7 records are in")
        raise

shuiqiao.cli.main.app = command
door.run([])
"""
    code, _, complaint = run(body, number=signal.SIGINT)
    assert (code, "; 7 records are in" in complaint) == (130, True), complaint


def test_closing_is_not_cut_short():
    assert run(CLOSING_TAKES_TIME, number=signal.SIGINT)[:2] == (130, ["closed"])


def test_a_command_that_swallows_it_at_its_end_does_not_exit_as_done():
    assert run(AT_ITS_END, number=signal.SIGINT)[:2] == (130, ["swallowed"])


def test_an_error_without_an_interruption_stays_what_it_is():
    code = "from shuiqiao.cli.door import interruptible\nwith interruptible():\n    raise RuntimeError('its own')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "RuntimeError: its own" in found.stderr

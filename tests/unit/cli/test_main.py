"""The tree of commands: a line needs no more of it than its first word names, and that part is the same."""

from __future__ import annotations

import pytest

from shuiqiao.cli.door import run
from shuiqiao.cli.main import command_tree


def shape(command):
    """What a command takes, and the commands below it."""
    taken = [(each.name, each.opts, each.required) for each in command.params]
    return taken, {name: shape(below) for name, below in getattr(command, "commands", {}).items()}


def test_a_first_word_brings_its_own_commands_and_no_other():
    whole = command_tree()
    taken, below = shape(whole)
    assert len(below) > 20
    assert {word: shape(command_tree(word)) for word in below} == {word: (taken, {word: below[word]}) for word in below}


def test_a_word_that_names_none_brings_all_for_it_may_be_an_option_or_misspelt():
    assert command_tree("--lang") is command_tree("membrs") is command_tree()


def test_a_tree_is_made_once():
    assert command_tree("members") is command_tree("members")


def test_a_command_leaves_the_tree_as_it_was(capsys):
    before = dict(vars(command_tree("log")))
    with pytest.raises(SystemExit):
        run(["log", "--nonsense"])
    assert "No such option" in capsys.readouterr().err
    assert vars(command_tree("log")) == before

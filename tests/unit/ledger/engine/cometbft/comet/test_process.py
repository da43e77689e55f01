"""The command that starts a CometBFT node: for the process that asked for it, and for no other."""

from __future__ import annotations

import os
import subprocess

import pytest

from patience import PATIENCE_S
from shuiqiao.base.errors import Unavailable
from shuiqiao.ledger.engine.cometbft.comet import process
from shuiqiao.ledger.engine.cometbft.comet.process import COMETBFT_VARIABLE, find_program, start_command


@pytest.mark.parametrize(("is_starter", "said"), [(True, "start --home"), (False, "")])
def test_a_node_whose_starter_is_gone_already_does_not_begin(tmp_path, is_starter, said):
    """The kernel ends a node with its starter, but not where that ended before the kernel was told so."""
    program = tmp_path / "cometbft"
    program.write_text('#!/bin/sh\nprintf "%s %s" "$1" "$2"\n')
    program.chmod(0o700)
    command = start_command(program, tmp_path, starter=os.getpid() if is_starter else os.getppid())
    found = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (found.stdout, found.returncode == 0) == (said, is_starter)


def test_the_program_of_the_checkout_is_found_from_any_folder(tmp_path, monkeypatch):
    checkout, elsewhere = tmp_path / "checkout", tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.delenv(COMETBFT_VARIABLE, raising=False)
    monkeypatch.setattr(process, "_CHECKOUT", checkout)
    monkeypatch.chdir(elsewhere)
    with pytest.raises(Unavailable, match=rf"ledger\.cometbft_absent.*{tmp_path}"):
        find_program(version="v1")
    program = checkout / ".tools" / "cometbft" / "v1" / "cometbft"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o700)
    assert find_program(version="v1") == program

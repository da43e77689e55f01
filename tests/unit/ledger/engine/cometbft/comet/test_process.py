"""The command that starts a CometBFT node: for the process that asked for it, and for no other."""

from __future__ import annotations

import os
import subprocess

import pytest

from patience import PATIENCE_S
from shuiqiao.ledger.engine.cometbft.comet.process import start_command


@pytest.mark.parametrize(("is_starter", "said"), [(True, "start --home"), (False, "")])
def test_a_node_whose_starter_is_gone_already_does_not_begin(tmp_path, is_starter, said):
    """The kernel ends a node with its starter, but not where that ended before the kernel was told so."""
    program = tmp_path / "cometbft"
    program.write_text('#!/bin/sh\nprintf "%s %s" "$1" "$2"\n')
    program.chmod(0o700)
    command = start_command(program, tmp_path, starter=os.getpid() if is_starter else os.getppid())
    found = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (found.stdout, found.returncode == 0) == (said, is_starter)

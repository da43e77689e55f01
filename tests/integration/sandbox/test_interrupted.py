"""A demo on validators that is interrupted leaves nothing running behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from cometbft_world import comet_program, nodes_in
from patience import PATIENCE_S

COMMAND = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
from shuiqiao.cli.door import main
main()
"""


def wait_until(condition, *, timeout_s):
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it did not come to be in time"
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("number", "ends_with"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)], ids=["SIGINT", "SIGKILL"]
)
def test_no_node_is_left_running(tmp_path, number, ends_with):
    """Interrupted, it ends its nodes; killed, they see their ledgers gone and end by themselves.

    SIGINT is ignored where the demo begins, as it is for the background jobs of a script.
    """
    arguments = ["demo", "--engine", "cometbft", "--taxpayers", "100", "--out", str(tmp_path / "out"), "--json"]
    demo = subprocess.Popen(
        [sys.executable, "-c", COMMAND, *arguments],
        env=os.environ | {"SHUIQIAO_COMETBFT": str(comet_program())},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        wait_until(lambda: len(nodes_in(tmp_path)) == 5, timeout_s=PATIENCE_S)
        demo.send_signal(number)
        assert demo.wait(timeout=PATIENCE_S) == ends_with
        wait_until(lambda: not nodes_in(tmp_path), timeout_s=PATIENCE_S)
    finally:
        demo.kill()
        demo.communicate()

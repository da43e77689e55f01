"""A bank that dies wherever something becomes durable takes its application to the same end in its next life."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from patience import PATIENCE_S

TESTS = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", params=[("intl", 4), ("gm", 12)], ids=["intl", "gm"])
def lives(request, tmp_path_factory):
    """What each world came to: first the one in which nobody died."""
    path = os.pathsep.join(str(TESTS / name) for name in ("worlds", "fuzz"))
    run = subprocess.run(
        [
            sys.executable,
            str(TESTS / "worlds" / "crashing_bank.py"),
            str(tmp_path_factory.mktemp("crashes")),
            *map(str, request.param),
        ],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S * 10,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return request.param[1], [json.loads(line) for line in run.stdout.splitlines()]


def test_a_bank_that_died_anywhere_decides_once_on_one_request_and_ends_its_file(lives):
    """[LENDING-10]: nothing is asked, delivered or decided twice, and nothing without its entry."""
    stride, (whole, *rest) = lives
    assert whole["moments"] > 20
    assert len(rest) == -(-whole["moments"] // stride)
    once = ("application.submit", "access.request", "access.deliver", "access.acknowledge", "decision.record")
    for life in (whole, *rest):
        assert {kind: life["kinds"][kind] for kind in once} == dict.fromkeys(once, 1), life
        assert (life["status"], life["openings"], life["problems"]) == ("approved", [20_000_000], []), life
        assert (life["failures"], life["outbox"]) == ([], 0), life
        assert sorted(life["steps"]) == sorted(whole["steps"]), life
        assert life["entries"] == {
            "submitted": "application.submit",
            "requested": "access.request",
            "decided": "decision.record",
        }

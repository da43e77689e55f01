"""A bank that dies wherever something becomes durable takes its application to the same end in its next life."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from patience import PATIENCE_S
from postgresql_world import postgresql_server

TESTS = Path(__file__).resolve().parents[2]

NEVER = 1_000
"""A stride over all moments: nobody dies but in the first."""


def lives_of(folder, suite, stride, *, mode="disclose", server=""):
    """What each world came to: first the one in which nobody died. server: where the bank has its database."""
    path = os.pathsep.join(str(TESTS / name) for name in ("worlds", "fuzz"))
    run = subprocess.run(
        [
            sys.executable,
            str(TESTS / "worlds" / "crashing_bank.py"),
            str(folder),
            *map(str, (suite, stride, mode, server)),
        ],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S * 10,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return [json.loads(line) for line in run.stdout.splitlines()]


def verify_lives(lives, *, stride, asks=1):
    """[LENDING-10]: nothing is asked, delivered or decided twice, and nothing without its entry. asks: of the product."""
    whole, *rest = lives
    assert whole["moments"] > 20
    assert len(rest) == -(-whole["moments"] // stride)
    once, each = ("application.submit", "decision.record"), ("access.request", "access.deliver", "access.acknowledge")
    wanted = dict.fromkeys(once, 1) | dict.fromkeys(each, asks)
    for life in (whole, *rest):
        assert {kind: life["kinds"][kind] for kind in wanted} == wanted, life
        assert (life["status"], life["openings"], life["problems"]) == ("approved", [20_000_000], []), life
        assert (life["failures"], life["outbox"]) == ([], 0), life
        assert sorted(life["steps"]) == sorted(whole["steps"]), life
        assert life["entries"] == {
            "submitted": "application.submit",
            "requested": "access.request",
            "decided": "decision.record",
        }


@pytest.mark.parametrize(("suite", "stride"), [("intl", 4), ("gm", 12)], ids=["intl", "gm"])
def test_a_bank_that_died_anywhere_decides_once_on_one_request_and_ends_its_file(tmp_path, suite, stride):
    verify_lives(lives_of(tmp_path, suite, stride), stride=stride)


def test_a_bank_that_died_anywhere_between_four_outputs_asks_for_each_once(tmp_path):
    """[LENDING-15]"""
    verify_lives(lives_of(tmp_path, "intl", 9, mode="score"), stride=9, asks=4)


def test_a_bank_on_postgresql_makes_the_same_durable_and_dies_no_worse(tmp_path):
    """SQLite and PostgreSQL give the same results, moment by moment."""
    here, away = tmp_path / "here", tmp_path / "away"
    with postgresql_server() as server:
        lives = lives_of(away, "intl", 12, server=server.url("").replace("postgresql:", "postgresql+psycopg:"))
    verify_lives(lives, stride=12)
    assert lives_of(here, "intl", NEVER)[0] == lives[0]

"""A clock that was wrong once: nothing is ordered by it unasked, and whoever meets it is told that it is the clock."""

from __future__ import annotations

import os
import time

import pytest

TEN_YEARS_S = 315_360_000
A_DAY_S = 86_400
A_YEAR_S = 365 * A_DAY_S


@pytest.fixture
def at(monkeypatch):
    """Set the clock of this machine so many seconds beside the right one."""
    right = time.time_ns

    def shift(seconds):
        monkeypatch.setattr(time, "time_ns", lambda: right() + seconds * 10**9)

    return shift


@pytest.fixture
def ingest(here, home, tmp_path):
    def call(year, *options):
        path = tmp_path / f"{year}.csv"
        path.write_text(f"uscc,year,grade\n91000000000000001A,{year},A\n", encoding="utf-8")
        return here(*options, "ingest", path, "--home", home, "--json")

    return call


def finding(here, home, what):
    (found,) = (entry for entry in here("doctor", "--home", home, "--json").json["findings"] if entry["what"] == what)
    return found


def audited_problems(here, home):
    said = here("audit", "--home", home, "--json")
    assert said.code == (1 if said.json["problems"] else 0)
    return "; ".join(map(str, said.json["problems"]))


def test_a_clock_ten_years_ahead_orders_nothing_and_closes_nothing(here, home, at, ingest):
    # Holds [LEDGER-TIME-1].
    assert ingest(2018).code == 0
    at(TEN_YEARS_S)
    refused = ingest(2019)
    assert (refused.code, refused.json["error"]["code"]) == (3, "ledger.clock_unconfirmed")
    assert "--clock-is-right" in refused.json["error"]["next_step"]
    at(0)
    later = ingest(2020)
    assert (later.code, len(later.json["anchored"])) == (0, 2)
    # What was signed ten years ahead is no good any more: the act is signed anew in its place, and nobody is alarmed.
    assert "refused by the ledger" not in later.err
    assert here("pending", "list", "--home", home, "--json").json["pending"] == []
    quiet = ingest(2021)
    assert (quiet.code, "settled" in quiet.err) == (0, False)
    assert audited_problems(here, home) == ""
    assert finding(here, home, "clock")["ok"]


def test_a_clock_a_day_behind_is_called_that_by_every_command(here, home, at, ingest):
    # Holds [LEDGER-TIME-1].
    assert ingest(2018).code == 0
    at(-A_DAY_S)
    refused = ingest(2019)
    assert (refused.code, refused.json["error"]["code"]) == (3, "ledger.clock_behind")
    found = finding(here, home, "clock")
    assert (found["ok"], found["code"]) == (False, "ledger.clock_behind")
    assert "wrong by 86" in found["says"]
    assert "ledger.clock_behind" in audited_problems(here, home)
    at(0)
    assert audited_problems(here, home) == ""


def test_a_person_says_once_that_the_clock_is_right(here, home, at, ingest):
    """A network that slept for a year goes on; where the clock was wrong all the same, that is what is said later."""
    assert ingest(2018).code == 0
    at(A_YEAR_S)
    assert ingest(2019).json["error"]["code"] == "ledger.clock_unconfirmed"
    assert ingest(2019, "--clock-is-right").code == 0
    # It was said for that command alone.
    assert "SHUIQIAO_CLOCK_IS_RIGHT" not in os.environ
    assert ingest(2020).code == 0
    at(0)
    assert ingest(2021).json["error"]["code"] == "ledger.clock_behind"
    assert finding(here, home, "clock")["code"] == "ledger.clock_behind"
    assert "ledger.clock_behind" in audited_problems(here, home)

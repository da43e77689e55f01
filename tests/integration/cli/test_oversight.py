"""``audit statistics|publish|alarms``: what the API tells a regulator, from the command line."""

from __future__ import annotations

import pytest


def test_a_home_tells_what_stands_wrong_and_which_alarms_are_on_the_ledger(here, home):
    assert here("audit", "alarms", "--home", home, "--json").json == {"standing": [], "raised": []}
    assert "0 alarms on the ledger" in here("audit", "alarms", "--home", home).out


@pytest.mark.parametrize("words", [("statistics",), ("publish", "--least-firms", "5")])
def test_only_a_regulator_has_statistics(here, home, words):
    refused = here("audit", *words, "--home", home, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "node.role_wrong")


def test_the_audit_itself_goes_on_without_a_further_word(here, home):
    done = here("audit", "--home", home, "--json")
    assert (done.code, done.json["problems"]) == (0, [])
    assert here("audit").code == 2
    assert here("audit", "statistics", "--by", "age", "--home", home).code == 2

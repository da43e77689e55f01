"""``audit statistics|publish|alarms``: what the API tells a regulator, from the command line."""

from __future__ import annotations

import pytest

from consortium_world import ConsortiumWorld
from shuiqiao.lending.model import Outcome
from shuiqiao.lending.openings import DecisionOpening


def test_a_home_tells_what_stands_wrong_and_which_alarms_are_on_the_ledger(here, home):
    assert here("audit", "alarms", "--home", home, "--json").json == {"standing": [], "raised": []}
    assert "0 alarms on the ledger" in here("audit", "alarms", "--home", home).out


@pytest.mark.parametrize("words", [("statistics",), ("publish", "--least-firms", "5")])
def test_only_a_regulator_has_statistics(here, home, words):
    refused = here("audit", *words, "--home", home, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "node.role_wrong")


def test_a_regulator_reads_what_it_published_by_cell(here, tmp_path):
    world = ConsortiumWorld(tmp_path, "intl")
    home = world.regulator.home.folder
    # It follows a writer that is not there: what it published needs no writer.
    with world.regulator.home.settings.open("a") as settings:
        settings.write('peers = { bureau = "http://127.0.0.1:9" }\n')
    world.regulator.statistics.publish([opening(number) for number in range(12)])
    # Nor is its ledger needed, which another process may have open.
    found = here("audit", "statistics", "--by", "grade", "--home", home, "--json")
    world.close()
    assert found.code == 0, found.json
    cells = [(cell["category"], cell["outcomes"], cell["decisions"]) for cell in found.json["cells"]]
    assert cells == [("A", ["approved", "refused", "referred"], 12)]
    assert {cell["release"] for cell in found.json["cells"]} == {1}
    assert all(cell["published"].startswith("20") for cell in found.json["cells"])
    everything = here("audit", "statistics", "--home", home, "--json").json["cells"]
    assert {cell["attribute"] for cell in everything} == {"grade", "industry", "province"}
    again = here("audit", "publish", "--home", home, "--json")
    assert (again.code, again.json["error"]["code"]) == (1, "oversight.release_too_small")


def opening(number):
    return DecisionOpening(
        bank="bank-east",
        application=number.to_bytes(16, "big"),
        firm=number.to_bytes(32, "big"),
        product="tax-credit-loan",
        outcome=Outcome.REFUSED,
        amount_fen=0,
        grade="A",
        industry="C",
        province="44",
        model_digest=bytes(32),
        salt=bytes(32),
    )


def test_the_audit_itself_goes_on_without_a_further_word(here, home):
    done = here("audit", "--home", home, "--json")
    assert (done.code, done.json["problems"]) == (0, [])
    assert here("audit").code == 2
    assert here("audit", "statistics", "--by", "age", "--home", home).code == 2

"""A bureau's commands for enterprises without a node: codes, who used their data, disputes."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from consortium_world import TAXPAYER

FIRM = "9199000000000001X0"


def refused(said, *, code=1):
    assert said.code == code
    return said.json["error"]["code"]


def test_a_code_is_shown_once_and_another_voids_it(here, home):
    one = here("enterprise", "code", FIRM, "--reference", "check-1", "--home", home, "--json").json
    other = here("enterprise", "code", FIRM, "--reference", "check-1", "--recover", "--home", home, "--json").json
    assert one["code"] != other["code"]
    assert [len(part) for part in one["code"].split("-")] == [4, 4, 4]
    words = ("enterprise", "code", FIRM, "--reference", "check-2", "--new-representative", "--home", home)
    assert len(here(*words, "--json").json["code"]) == 14
    both = here(*words, "--recover")
    assert (both.code, "give one of them" in both.err) == (2, True)
    said = here("enterprise", "code", "no number!", "--reference", "x", "--home", home, "--json")
    assert refused(said, code=2) == "api.request_invalid"
    typed = here("enterprise", "code", "９１９９Ｘ", "--reference", "x", "--home", home)
    assert (typed.code, "full-width, type '9199X'" in typed.err, "^" in typed.err) == (2, True, False)


def test_the_counter_is_told_whether_the_bureau_knows_the_number(here, home, files):
    words = ("enterprise", "code", TAXPAYER, "--reference", "check-1", "--home", home)
    unknown = here(*words)
    assert (unknown.code, "is_registered  no" in unknown.out) == (0, True)
    assert f"holds no registration record of {TAXPAYER}: look at the number again" in unknown.err
    assert here("ingest", files["registration"], "--home", home).code == 0
    known = here(*words, "--json")
    assert (known.json["is_registered"], known.err) == (True, "")


def test_nobody_used_and_disputed_anything_yet(here, home):
    assert here("enterprise", "used", FIRM, "--home", home, "--json").json == {"uses": []}
    for as_of in (f"{datetime.now(tz=UTC):%F}", "0"):
        arguments = ("enterprise", "used", FIRM, "--as-of", as_of, "--home", home, "--json")
        assert here(*arguments).json == {"uses": []}
    said = here("enterprise", "used", FIRM, "--as-of", "soon", "--home", home, "--json")
    assert refused(said, code=2) == "api.request_invalid"
    assert here("enterprise", "disputes", "--home", home, "--json").json == {"disputes": []}
    assert "0 disputes" in here("enterprise", "disputes", "--home", home).out


@pytest.mark.parametrize("outcome", ["--corrected", "--refused"])
def test_a_dispute_that_is_not_there_is_not_answered(here, home, outcome):
    arguments = ("enterprise", "answer", "00" * 16, outcome, "--words", "no", "--home", home, "--json")
    assert refused(here(*arguments)) == "exchange.dispute_unknown"
    assert here("enterprise", "answer", "zz", outcome, "--words", "no", "--home", home).code == 2

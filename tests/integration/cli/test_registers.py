"""``registers``: entries are made, listed and closed by commands on a home."""

from __future__ import annotations


def test_entries_are_made_listed_and_closed(here, home):
    assert "empty" in here("registers", "list", "--home", home).out
    member = here("members", "list", "--home", home, "--json").json["members"][0]["member"]
    said = here(
        "registers", "incident", "--severity", "major", "--found", "2026-01-05T08:40", "--words", "a", "--home", home
    )
    assert (said.code, "OVERDUE" in said.out) == (0, True)
    made = here("registers", "complaint", "--words", "b", "--home", home, "--json").json
    assert (made["seq"], made["kind"], made["is_overdue"]) == (2, "complaint", False)
    far = here(
        "registers", "assess", member, "--finding", "acceptable", "--until", "2099-01-01", "--words", "c", "--home", home,
        "--json",
    )  # fmt: skip
    assert (far.code, far.json["error"]["code"]) == (1, "node.assessment_period")
    nobody = here(
        "registers", "assess", "nobody", "--finding", "acceptable", "--until", "2099-01-01", "--words", "c", "--home",
        home, "--json",
    )  # fmt: skip
    assert nobody.json["error"]["code"] == "members.unknown"
    closed = here("registers", "close", "1", "--words", "reported", "--home", home, "--json").json
    assert closed["outcome"] == "reported"
    again = here("registers", "close", "1", "--words", "reported", "--home", home, "--json")
    assert (again.code, again.json["error"]["code"]) == (1, "node.register_closed")
    entries = here("registers", "list", "--home", home, "--json").json["entries"]
    assert [("incident", False), ("complaint", False)] == [(each["kind"], each["is_overdue"]) for each in entries]

"""A home whose database is a server's is looked at as one with a file of its own is."""

from __future__ import annotations


def test_a_home_is_well_on_both_databases(url, here, tmp_path, monkeypatch):
    if not url.startswith("sqlite"):
        monkeypatch.setenv("SHUIQIAO_DATABASE_URL", url)
    home, grades = tmp_path / "home", tmp_path / "grades.csv"
    grades.write_text("uscc,year,grade\n91000000000000001A,2018,A\n", encoding="utf-8")
    assert here("init", "--home", home).code == 0
    assert here("ingest", grades, "--home", home).code == 0
    said = here("doctor", "--home", home, "--json")
    (found,) = (each for each in said.json["findings"] if each["what"] == "database")
    assert (said.code, found["ok"], "entries of the journal on" in found["says"]) == (0, True, True)
    assert (home / "shuiqiao.db").exists() == url.startswith("sqlite")
    for command in (("jobs", "list"), ("pending", "list"), ("audit",), ("members", "list")):
        assert here(*command, "--home", home, "--json").code == 0, command

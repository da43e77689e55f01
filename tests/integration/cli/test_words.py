"""The same acts for a person: plain sentences, problems named, and one shape of error."""

from __future__ import annotations

from itertools import pairwise

import pytest

from shuiqiao.base.errors import next_step_of


def refusal(said, code):
    """The error that was shown, having the one shape, exit code and nothing else on standard output."""
    assert said.code == code
    assert list(said.json) == ["error"]
    assert set(said.json["error"]) == {"code", "message", "next_step", "next_step_zh"}
    assert "Traceback" not in said.err
    return said.json["error"]


def test_init_speaks(here, tmp_path):
    said = here("init", "--home", tmp_path / "new")
    assert said.code == 0
    assert f"next      shuiqiao ingest FILE... --home {tmp_path / 'new'}" in said.out
    error = refusal(here("init", "--home", tmp_path / "new", "--json"), 1)
    assert error == {
        "code": "node.home_exists",
        "message": f"{tmp_path / 'new'} is a home already",
        "next_step": "choose another --home",
        "next_step_zh": "请另选一个 --home",
    }


def test_ingest_and_audit_speak(here, home, files):
    said = here("ingest", files["registration"], files["tax_credit_grade"], "--home", home)
    assert (said.code, "records_ingested     4" in said.out) == (0, True)
    said = here("audit", "--home", home)
    assert said.code == 0
    assert "no problem found 未发现问题" in said.out
    assert "anchors verified        2 (4 records)" in said.out


def test_an_audit_with_a_problem_exits_1_and_names_it(here, home, files):
    here("ingest", files["registration"], "--home", home, "--json")
    (victim,) = (home / "vault" / "batches").glob("*.parquet")
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(bytes(data))
    said = here("audit", "--home", home, "--json")
    assert said.code == 1
    assert any(victim.name in problem for problem in said.json["problems"])
    said = here("audit", "--home", home)
    assert said.code == 1
    assert f"PROBLEM 问题            vault.file_damaged at {victim.name}" in said.out


@pytest.mark.parametrize("code", ["vault.leaf_mismatch", "ledger.segment_damaged"])
def test_a_problem_of_an_audit_shows_its_next_step_in_the_language_of_the_reader(here, home, files, code):
    here("ingest", files["registration"], "--home", home, "--json")
    victim = next((home / "vault" / "batches").glob("*.leaves") if code.startswith("vault") else segments_of(home))
    data = bytearray(victim.read_bytes())
    # In a batch the first leaf of its tree, which is not encrypted.
    data[12 + int.from_bytes(data[8:12], "little") if code.startswith("vault") else -40] ^= 1
    victim.write_bytes(bytes(data))
    step = next_step_of(code)
    for lang, words in (("en", f"  next: {step.en}"), ("zh", f"  下一步: {step.zh}")):
        lines = here("--lang", lang, "audit", "--home", home).out.splitlines()
        assert words in {below for line, below in pairwise(lines) if line.startswith("PROBLEM") and code in line}
    told = here("audit", "--home", home, "--json").json
    assert [each and each["code"] for each in told["next_steps"]] == [
        code if code in problem else None for problem in told["problems"]
    ]
    assert {each["next_step_zh"] for each in told["next_steps"] if each} == {step.zh}


def segments_of(home):
    return (home / "ledger" / "segments").iterdir()


def test_an_audit_of_a_damaged_ledger_exits_1_and_names_the_place(here, home, files):
    here("ingest", files["registration"], files["tax_credit_grade"], "--home", home, "--json")
    (segment,) = (home / "ledger" / "segments").iterdir()
    good = segment.read_bytes()
    shown = []
    for offset in (10, 300, len(good) - 40):
        segment.write_bytes(good[:offset] + bytes([good[offset] ^ 1]) + good[offset + 1 :])
        said = here("audit", "--home", home, "--json")
        assert said.code == 1
        shown.append(said.json["error"]["message"] if "error" in said.json else " ".join(said.json["problems"]))
    assert [segment.name in text for text in shown] == [True, True, True]
    segment.write_bytes(good)
    assert here("audit", "--home", home, "--json").code == 0


@pytest.mark.parametrize("command", [("audit",), ("ingest", "x.csv"), ("keys", "show")])
def test_what_is_no_home_is_unavailable(here, tmp_path, command):
    error = refusal(here(*command, "--home", tmp_path / "absent", "--json"), 3)
    assert error["code"] == "node.home_missing"
    assert error["next_step"] == f"shuiqiao init --home {tmp_path / 'absent'}"


def test_an_error_for_a_person_goes_to_standard_error(here, tmp_path):
    said = here("audit", "--home", tmp_path)
    assert (said.code, said.out) == (3, "")
    assert f"error node.home_missing: {tmp_path} is not a home" in said.err
    assert f"  next: shuiqiao init --home {tmp_path}" in said.err


def test_a_home_in_use_can_be_looked_at_and_takes_no_second_writer(here, shuiqiao, home, tmp_path):
    from shuiqiao.node.home.settings import Home
    from shuiqiao.node.institution import Institution

    with Institution.open(Home(home)):
        assert shuiqiao("audit", "--home", home, "--json").code == 0
        assert refusal(here("ingest", tmp_path / "a.csv", "--home", home, "--json"), 3)["code"] == "ledger.locked"
    assert here("audit", "--home", home, "--json").code == 0


def test_a_file_where_a_folder_belongs_is_unavailable(here, tmp_path):
    (tmp_path / "file").write_text("")
    error = refusal(here("init", "--home", tmp_path / "file", "--json"), 3)
    assert error["code"] == "node.home_unwritable"


@pytest.mark.parametrize(
    "arguments",
    [
        ("nothing",),
        ("audit",),
        ("audit", "--hom", "x"),
        ("ingest", "--home", "x"),
        ("init", "--home", "x", "--suite", "rsa"),
        ("init", "--home", "x", "surplus"),
        ("verify",),
        ("demo", "--taxpayers", "29"),
        ("demo", "--seed", "-1"),
        ("demo", "--engine", "raft"),
        ("demo", "--engine", "cometbft", "--validators", "3"),
        ("demo", "--engine", "cometbft", "--validators", "6"),
        ("bench", "anchor", "--records", "many"),
        ("keys", "forge"),
    ],
)
def test_bad_usage_exits_2_in_the_one_shape(here, arguments):
    error = refusal(here(*arguments, "--json"), 2)
    assert error["code"] == "cli.usage_wrong"
    assert error["message"]


@pytest.mark.parametrize("arguments", [(), ("bench",), ("keys",)])
def test_without_a_command_the_help_is_shown(here, arguments):
    said = here(*arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("Usage: shuiqiao")


def test_help_and_version_exit_0(here):
    assert here("--version").out.startswith("shuiqiao ")
    for arguments in (("--help",), ("ingest", "--help"), ("bench", "anchor", "--help")):
        said = here(*arguments)
        assert said.code == 0
        assert "Usage: shuiqiao" in said.out


def test_a_demo_on_validators_without_their_program_says_what_to_do(here, tmp_path, monkeypatch):
    monkeypatch.setenv("SHUIQIAO_COMETBFT", str(tmp_path / "cometbft"))
    out = tmp_path / "out"
    error = refusal(here("demo", "--engine", "cometbft", "--out", out, "--json"), 3)
    assert error["code"] == "ledger.cometbft_absent"
    assert "scripts/install_cometbft.sh" in error["next_step"]
    # Nothing was made before it was known.
    assert not out.exists()

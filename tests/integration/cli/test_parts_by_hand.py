"""The parts as a newcomer tries them, each in a process of its own: exact JSON keys, exit codes, and words."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path

import pytest

from patience import PATIENCE_S
from shuiqiao.node.home.kinds import network_kinds
from shuiqiao.node.home.settings import Home

GRADES = 3
INGEST_KEYS = [
    "records_read",
    "records_ingested",
    "records_superseding",
    "records_quarantined",
    "duplicates_reported",
    "anchors",
    "report",
    "anchored",
]
AUDIT_KEYS = [
    "replayed",
    "root_matches",
    "signatures_verified",
    "anchors_verified",
    "records_anchored",
    "openings_checked",
    "openings_unopened",
    "records_unread",
    "record_management_only",
    "problems",
    "next_steps",
]


@pytest.fixture(scope="module", params=["intl", "gm"])
def made(request, shuiqiao, tmp_path_factory):
    """What init said, and the home it made."""
    home = tmp_path_factory.mktemp("by-hand") / "home"
    return shuiqiao("init", "--home", home, "--suite", request.param, "--json"), home, request.param


@pytest.fixture(scope="module")
def taken(made, shuiqiao, files):
    """What ingest said of the grades of three years, and the home."""
    return shuiqiao("ingest", files["tax_credit_grade"], "--home", made[1], "--json"), made[1]


def test_init_makes_a_home_and_says_its_network(made):
    said, home, suite = made
    assert said.code == 0
    assert list(said.json) == ["home", "network", "suite"]
    assert (said.json["home"], said.json["suite"], len(said.json["network"])) == (str(home), suite, 64)
    kept = Home(home).passphrase
    assert f"warning: no passphrase was given, so a random one lies in {kept}" in said.err
    assert (stat.S_IMODE(kept.stat().st_mode), kept.parent) == (0o600, home.parent)


def test_ingest_sees_the_type_and_says_what_became_of_every_record(taken):
    said, _ = taken
    assert said.code == 0
    assert list(said.json) == INGEST_KEYS
    report = Path(said.json.pop("report"))
    [anchor] = said.json.pop("anchored")
    assert (anchor["index"], anchor["records"]) == (0, GRADES)
    assert list(said.json.values()) == [GRADES, GRADES, 0, 0, 0, 1]
    assert report.read_text() == ""


def test_a_receipt_is_written_with_what_the_state_holds_and_does_not(taken, shuiqiao, tmp_path):
    _, home = taken
    path = tmp_path / "anchor.receipt"
    absent = f"consent/grant/{bytes(16).hex()}"
    said = shuiqiao(
        "receipt", "0", "--home", home, "--state", "members/epoch", "--state", absent, "--out", path, "--json"
    )
    assert said.code == 0
    claims = {claim["key"]: claim["value"] for claim in said.json["state"]}
    assert claims[absent] is None
    assert bytes.fromhex(claims["members/epoch"])
    assert (said.json["kind"], said.json["index"], said.json["file"]) == ("anchor.commit", 0, str(path))
    verified = shuiqiao("verify", path, "--genesis", home / "genesis.json", "--json")
    assert (verified.code, verified.json) == (0, said.json)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["99"], "ledger.index_unknown"),
        (["0", "--state", "税"], "ledger.state_key_impossible"),
        (
            ["0", *[part for number in range(300) for part in ("--state", f"room/{number}")]],
            "ledger.state_keys_too_many",
        ),
    ],
)
def test_a_receipt_that_cannot_be_is_refused_and_nothing_is_written(taken, here, tmp_path, arguments, code):
    path = tmp_path / "none.receipt"
    said = here("receipt", *arguments, "--home", taken[1], "--out", path, "--json")
    assert (said.code, said.json["error"]["code"], path.exists()) == (1, code, False)


def test_a_receipt_replaces_an_earlier_one_and_no_other_file(taken, here, tmp_path):
    path = tmp_path / "anchor.receipt"
    for _ in range(2):
        assert here("receipt", "0", "--home", taken[1], "--out", path).code == 0
    path.write_text("precious")
    said = here("receipt", "0", "--home", taken[1], "--out", path, "--json")
    assert (said.code, said.json["error"]["code"], path.read_text()) == (1, "cli.file_in_use", "precious")


def test_ingest_again_changes_nothing_and_reports_every_row(taken, shuiqiao, files):
    _, home = taken
    said = shuiqiao("ingest", files["tax_credit_grade"], "--home", home, "--json")
    report = Path(said.json.pop("report"))
    assert said.json.pop("anchored") == []
    assert list(said.json.values()) == [GRADES, 0, 0, 0, GRADES, 0]
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert [line["rule"] for line in lines] == ["already_ingested"] * GRADES


def test_audit_finds_no_problem_and_its_report_has_every_key(taken, shuiqiao):
    _, home = taken
    said = shuiqiao("audit", "--home", home, "--json")
    assert said.code == 0
    assert list(said.json) == AUDIT_KEYS
    assert said.json["problems"] == []
    assert said.json["root_matches"] is True
    assert (said.json["replayed"], said.json["anchors_verified"]) == (1, 1)
    assert (said.json["signatures_verified"], said.json["records_anchored"]) == (1, GRADES)
    rules = said.json["record_management_only"]
    assert (rules["mint_refused"], rules["transfer_refused"], rules["fee_refused"]) == (True, True, True)
    assert (rules["kinds_walked"], rules["violations"]) == (len(list(network_kinds())), [])


def test_the_home_may_be_named_by_the_environment(taken, shuiqiao):
    _, home = taken
    said = shuiqiao("keys", "show", "--json", SHUIQIAO_HOME=str(home))
    assert said.code == 0
    assert list(said.json) == ["member", "role", "suite", "signing_key", "signing_key_id", "sealing_key"]
    assert (said.json["member"], said.json["role"]) == ("bureau", "tax_bureau")


def test_a_passphrase_file_keeps_the_passphrase_elsewhere(shuiqiao, tmp_path):
    secret, wrong, home = tmp_path / "secret", tmp_path / "wrong", tmp_path / "home"
    secret.write_text("a passphrase of one's own\n")
    secret.chmod(0o600)
    wrong.write_text("another passphrase\n")
    said = shuiqiao("init", "--home", home, "--json", SHUIQIAO_PASSPHRASE_FILE=str(secret))
    assert (said.code, said.err) == (0, "")
    assert not Home(home).passphrase.exists()
    assert shuiqiao("keys", "show", "--home", home, "--json", SHUIQIAO_PASSPHRASE_FILE=str(secret)).code == 0
    refused = shuiqiao("keys", "show", "--home", home, "--json", SHUIQIAO_PASSPHRASE_FILE=str(wrong))
    assert (refused.code, refused.json["error"]["code"]) == (1, "crypto.passphrase_wrong")
    missing = shuiqiao("keys", "show", "--home", home, "--json")
    assert (missing.code, missing.json["error"]["code"]) == (3, "node.passphrase_missing")
    assert "SHUIQIAO_PASSPHRASE_FILE" in missing.json["error"]["next_step"]
    assert shuiqiao("audit", "--home", home).code == 0, "an audit needs no private key"


def test_bad_usage_exits_2_and_no_traceback_is_shown(shuiqiao):
    said = shuiqiao("init", "--suite", "rsa", "--home", "x")
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("error cli.usage_wrong: ")
    assert "Traceback" not in said.err


def test_a_closed_pipe_is_no_error(taken):
    import subprocess

    command = Path(sys.executable).with_name("shuiqiao")
    line = f"{command} keys show --home {taken[1]} | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stderr) == (0, "")

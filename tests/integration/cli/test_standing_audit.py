"""``audit --follow`` and ``audit --as-of``: an outsider's machine, by the command line alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

import consortium_world as worlds
from patience import PATIENCE_S
from shuiqiao.base.ids import new_id
from shuiqiao.node.home.ledger_folder import LedgerFolder
from shuiqiao.node.home.settings import Home
from shuiqiao.node.institution import Institution
from shuiqiao.node.published.publication import publish_log
from web_server import inbox, served_files

COMMAND = Path(sys.executable).with_name("shuiqiao")


def grow(folder):
    with Institution.open(Home(folder)) as node:
        node.outbox.submit("anchor.commit", worlds.anchor_body(new_id()))


def publish(folder, to):
    publish_log(LedgerFolder.of_home(Home(folder)), to)


@pytest.fixture
def outside(home, tmp_path, monkeypatch):
    """An outsider's folder with the genesis alone; the member's log is published beside it."""
    grow(home)
    publish(home, tmp_path / "public")
    (tmp_path / "outside").mkdir()
    monkeypatch.chdir(tmp_path / "outside")
    shutil.copy(home / "genesis.json", "genesis.json")
    return tmp_path


def test_a_round_holds_and_the_past_is_asked_of_the_auditors_own_copy(outside, home, here):
    with served_files(outside / "public") as url:
        follow = ("audit", "--follow", url, "--genesis", "genesis.json", "--once", "--json")
        first = here(*follow)
        assert (first.code, first.json["contradicted"], first.json["size"], first.json["transactions"]) == (
            0,
            False,
            2,
            1,
        )
        assert first.json["network"] in first.err, "people compare the fingerprint"
        grow(home)
        publish(home, outside / "public")
        assert here(*follow).json["size"] == 4
    asked = ("audit", "--genesis", "genesis.json", "--json", "--as-of")
    now, then = here(*asked, "4"), here(*asked, "2", "--proofs", "proofs")
    assert (now.code, len(now.json["anchors"]), len(then.json["anchors"])) == (0, 2, 1)
    assert (then.json["size"], then.json["members"][0]["member"]) == (2, "bureau")
    assert then.json["root"] == first.json["root"]
    [receipt] = then.json["proofs"]
    assert here("verify", receipt, "--genesis", "genesis.json").code == 0
    spoken = here(*(word for word in asked if word != "--json"), "2")
    assert (spoken.code, "anchors 已锚定: 1" in spoken.out) == (0, True)
    wrong = here(*asked, "3")
    assert (wrong.code, wrong.json["error"]["code"]) == (1, "ledger.size_unknown")


def test_a_contradiction_is_written_down_posted_and_ends_it(outside, home, here):
    other = worlds.copy_home(Home(home), outside / "other").folder
    grow(home)
    grow(other)
    publish(other, outside / "elsewhere")
    with served_files(outside / "public") as url:
        publish(home, outside / "public")
        assert here("audit", "--follow", url, "--genesis", "genesis.json", "--once").code == 0
    with served_files(outside / "elsewhere") as url, inbox(refusals=1) as posted:
        Path("webhook").write_text(f"{posted.url}/send?key=s3cret\n")
        told = here("audit", "--follow", url, "--genesis", "genesis.json", "--webhook-file", "webhook", "--json")
    assert (told.code, told.json["contradicted"], told.json["posted"]) == (1, True, True)
    assert told.json["code"] == "node.audit_contradicted"
    evidence = json.loads(Path(told.json["evidence"]).read_text(encoding="utf-8"))
    assert [json.loads(body) for body in posted.bodies] == [evidence]
    assert posted.paths == ["/alarms/shuiqiao/send?key=s3cret"]
    assert (evidence["kind"], evidence["followed"]) == ("root_differs", url)
    again = here("audit", "--follow", url, "--genesis", "genesis.json")
    assert (again.code, "CONTRADICTION 矛盾" in again.out) == (1, True)


@pytest.mark.parametrize("written", ["not-a-url-s3cret", "https://alarms.example/hook#s3cret", "https://u:s3cret@h/"])
def test_a_webhook_that_is_no_address_is_refused_at_once_and_not_shown(outside, here, written):
    Path("webhook").write_text(written)
    told = here("audit", "--follow", "http://127.0.0.1:9", "--genesis", "genesis.json", "--webhook-file", "webhook")
    assert (told.code, "client.url_invalid" in told.err, "the file of the webhook, webhook" in told.err) == (
        2,
        True,
        True,
    )
    assert "s3cret" not in told.out + told.err


def test_it_runs_until_it_is_stopped_and_shows_figures(outside):
    with served_files(outside / "public") as url:
        process = subprocess.Popen(
            [COMMAND, "audit", "--follow", url, "--genesis", "genesis.json", "--metrics", "0"],
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("SHUIQIAO")},
        )
        assert process.stderr is not None
        try:
            lines = []
            for line in process.stderr:
                lines.append(line)
                if line.startswith("holds"):
                    break
            [metrics] = re.findall(r"^metrics (http://127\.0\.0\.1:\d+/metrics)$", "".join(lines), re.MULTILINE)
            with urllib.request.urlopen(metrics, timeout=PATIENCE_S) as answer:
                figures = answer.read().decode()
            assert "shuiqiao_audit_log_size 2.0" in figures
            assert "shuiqiao_audit_contradicted 0.0" in figures
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE_S)
            assert process.returncode == 128 + signal.SIGTERM
        finally:
            process.kill()
            process.wait()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), "cli.usage_wrong"),
        (("--follow", "http://127.0.0.1:1", "--once"), "node.genesis_unnamed"),
        (("--follow", "ftp://x", "--genesis", "genesis.json", "--once"), "client.url_invalid"),
        (("--follow", "http://x/?a=b", "--genesis", "genesis.json", "--once"), "client.url_invalid"),
        (("--follow", "http://x", "--genesis", "genesis.json", "--pin", "zz"), "cli.usage_wrong"),
        (("--follow", "http://127.0.0.1:1", "--genesis", "genesis.json", "--once"), "client.unreachable"),
        (("--as-of", "soon", "--genesis", "genesis.json"), "node.moment_unclear"),
        (("--as-of", "2999-01-01", "--genesis", "genesis.json"), "oversight.day_not_over"),
    ],
)
def test_what_cannot_be_followed_is_said(outside, here, words, code):
    said = here("audit", *words, "--json")
    assert (said.code != 0, said.json["error"]["code"]) == (True, code)

"""``users`` and ``journal`` on a home: first user, further ones, log-in by a token file, the journal and its days."""

from __future__ import annotations

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from pyotp import TOTP
from sqlalchemy import create_engine, text

from consortium_world import solo_home
from shuiqiao.base.clock import SystemClock
from shuiqiao.cli.door import run

PASSWORD = "one password of mine"


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("SHUIQIAO_HOME", "SHUIQIAO_DATABASE_URL", "SHUIQIAO_TOKEN_FILE", "SHUIQIAO_PASSWORD_FILE"):
        monkeypatch.delenv(name, raising=False)
    return solo_home(tmp_path / "home")


@pytest.fixture
def shuiqiao(home, capsys):
    def command(*words):
        with pytest.raises(SystemExit) as ended:
            run([*words, "--home", str(home.folder), "--json"])
        shown = json.loads(capsys.readouterr().out)
        return (shown["error"]["code"] if "error" in shown else shown), ended.value.code

    return command


def piped(code):
    return SimpleNamespace(buffer=io.BytesIO(code.encode() + b"\n"), isatty=lambda: False)


def test_users_are_added_log_in_and_are_seen_in_the_journal(shuiqiao, home, tmp_path, monkeypatch):
    password, new, token = tmp_path / "password", tmp_path / "new", tmp_path / "token"
    new.write_text(PASSWORD + "\n")
    monkeypatch.setenv("SHUIQIAO_PASSWORD_FILE", str(password))
    monkeypatch.setenv("SHUIQIAO_TOKEN_FILE", str(token))

    def take_up(name, first):
        password.write_text(first)
        assert shuiqiao("users", "login", name, "--to", str(token))[1] == 0
        assert shuiqiao("users", "password", "--new-file", str(new))[1] == 0
        password.write_text(PASSWORD)
        assert shuiqiao("users", "login", name, "--to", str(token))[1] == 0

    assert shuiqiao("users", "list")[0] == "cli.token_missing"
    added, code = shuiqiao("users", "add", "admin", "--first", "--role", "administrator")
    assert code == 0
    assert shuiqiao("users", "add", "other", "--first", "--role", "administrator") == ("node.users_exist", 1)
    take_up("admin", added["first_password"])
    assert token.stat().st_mode & 0o777 == 0o600

    chen = shuiqiao("users", "add", "chen", "--role", "internal_auditor")[0]
    li = shuiqiao("users", "add", "li", "--role", "data_officer")[0]
    assert shuiqiao("users", "roles", "li", "--role", "data_supervisor")[0]["roles"] == ["data_supervisor"]
    client = shuiqiao("users", "add-client", "core", "--owner", "li", "--role", "data_officer")[0]
    assert set(client) == {"client", "client_id", "client_secret"}
    listed = shuiqiao("users", "list")[0]
    assert [user["user"] for user in listed["users"]] == ["admin", "chen", "li"]
    assert [each["owner"] for each in listed["clients"]] == ["li"]
    assert shuiqiao("users", "disable-client", "core")[1] == 0
    assert shuiqiao("users", "rename", "li", "--to", "li.na")[0]["user"] == "li.na"
    assert shuiqiao("users", "disable", "li.na")[0]["is_disabled"]
    assert not shuiqiao("users", "enable", "li.na")[0]["is_disabled"]
    assert shuiqiao("users", "reset", "li.na")[0]["first_password"] != li["first_password"]
    assert shuiqiao("journal", "list")[0] == "node.permission_missing"

    take_up("chen", chen["first_password"])
    assert shuiqiao("users", "add", "wu", "--role", "data_officer") == ("node.permission_missing", 1)
    factor = shuiqiao("users", "second-factor")[0]
    (tmp_path / "code").write_text(TOTP(factor["secret"]).at(SystemClock().now_ms() // 1000) + "\n")
    assert shuiqiao("users", "second-factor", "--code-file", str(tmp_path / "code"))[0]["confirmed"]
    entries = shuiqiao("journal", "list", "--limit", "5")[0]["entries"]
    assert [entry["act"] for entry in entries[:2]] == ["own.second_factor_confirmed", "own.second_factor"]
    assert shuiqiao("journal", "list", "--until", "2001-01-01")[0] == {"entries": []}
    assert len(shuiqiao("journal", "list", "--until", "9999-12-31")[0]["entries"]) > 5
    assert shuiqiao("journal", "list", "--until", "soon") == ("cli.usage_wrong", 2)
    verified = shuiqiao("journal", "verify")[0]
    assert (verified["holds"], verified["anchored_days"]) == (True, 0)
    # The day of what was done is not over.
    assert [shuiqiao("journal", "anchor"), shuiqiao("--clock-is-right", "journal", "prove", "1")] == [
        ({"anchored": []}, 0),
        ("node.journal_day_open", 1),
    ]

    assert shuiqiao("users", "reset", "chen", "--as-owner") == ("node.permission_missing", 1)
    assert shuiqiao("users", "reset", "admin", "--as-owner")[1] == 0
    database = create_engine(f"sqlite:///{home.database}")
    with database.begin() as connection:
        connection.execute(text("DELETE FROM journal_entry WHERE seq = 3"))
    database.dispose()
    assert shuiqiao("journal", "verify") == ("node.journal_broken", 1)


def test_a_command_without_a_token_says_so(shuiqiao):
    """A home that is not served and one that is say the same: tests/integration/cli/test_served_home.py."""
    assert shuiqiao("users", "list") == ("api.unauthenticated", 1)


def test_two_people_rotate_a_key_where_there_are_users(shuiqiao, home, tmp_path, monkeypatch):
    password, new, token = tmp_path / "password", tmp_path / "new", tmp_path / "token"
    new.write_text(PASSWORD)
    monkeypatch.setenv("SHUIQIAO_PASSWORD_FILE", str(password))
    monkeypatch.setenv("SHUIQIAO_TOKEN_FILE", str(token))
    used = []

    def log_in(name, secret=None):
        with_code = ()
        if secret is not None:
            # A step whose code was used counts no more; the next one does already.
            step = max(SystemClock().now_ms() // 30_000, used[-1] + 1)
            used.append(step)
            monkeypatch.setattr("sys.stdin", piped(TOTP(secret).generate_otp(step)))
            with_code = ("--code-file", "-")
        assert shuiqiao("users", "login", name, "--to", str(token), *with_code)[1] == 0

    def take_up(name, first):
        password.write_text(first)
        log_in(name)
        assert shuiqiao("users", "password", "--new-file", str(new))[1] == 0
        password.write_text(PASSWORD)
        log_in(name)

    take_up("admin", shuiqiao("users", "add", "admin", "--first", "--role", "administrator")[0]["first_password"])
    assert shuiqiao("--clock-is-right", "members", "rotate-key", "--purpose", "sealing") == (
        "node.two_people_needed",
        1,
    )
    chen = shuiqiao("users", "add", "chen", "--role", "operator")[0]["first_password"]
    li = shuiqiao("users", "add", "li", "--role", "governance_supervisor")[0]["first_password"]
    take_up("chen", chen)
    proposed = shuiqiao("--clock-is-right", "approvals", "propose", "rotation", "--purpose", "sealing")[0]
    approve = ("--clock-is-right", "approvals", "approve", proposed["approval"], "--digest", proposed["digest"])
    assert shuiqiao(*approve) == ("node.permission_missing", 1)
    take_up("li", li)
    secret = shuiqiao("users", "second-factor")[0]["secret"]
    used.append(SystemClock().now_ms() // 30_000)
    monkeypatch.setattr("sys.stdin", piped(TOTP(secret).generate_otp(used[-1])))
    assert shuiqiao("users", "second-factor", "--confirm", "--code-file", "-")[1] == 0
    monkeypatch.setattr("sys.stdin", piped(""))
    assert shuiqiao("users", "second-factor", "--confirm") == ("cli.code_missing", 3)
    assert shuiqiao("users", "login", "li", "--to", str(tmp_path / "none")) == ("node.login_refused", 1)
    assert not (tmp_path / "none").exists(), "nobody who cannot type is asked, and has no code"
    log_in("li", secret)
    waiting = shuiqiao("--clock-is-right", "approvals", "list", "--for-me")[0]["approvals"]
    assert [each["digest"] for each in waiting] == [proposed["digest"]]
    done = shuiqiao(*approve)[0]
    assert (done["state"], done["outcome"]["purpose"]) == ("done", "sealing")
    assert shuiqiao("--clock-is-right", "approvals", "reject", proposed["approval"], "--reason", "late") == (
        "node.approval_closed",
        1,
    )


def test_a_password_that_cannot_be_typed_is_asked_for_by_its_file(shuiqiao, tmp_path, monkeypatch):
    with Path("/dev/null").open() as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        assert shuiqiao("users", "login", "operator", "--to", str(tmp_path / "token")) == ("cli.password_missing", 3)


def test_a_database_that_was_lost_or_spoilt_is_not_taken_for_a_new_one(shuiqiao, home):
    def database():
        (found,) = (each for each in shuiqiao("doctor")[0]["findings"] if each["what"] == "database")
        return found["code"] or found["says"]

    first = ("users", "add", "admin", "--first", "--role", "administrator")
    assert shuiqiao(*first)[1] == 0
    assert database().endswith("1 users, 1 entries of the journal on 1 days, 0 of them anchored")

    kept = home.database.read_bytes()
    home.database.write_bytes(kept[:8192] + b"\xff" * 8192 + kept[16384:])
    assert database() in {"node.database_damaged", "node.database_unavailable"}
    for lost in (lambda: home.database.write_bytes(b""), home.database.unlink):
        lost()
        assert shuiqiao(*first) == ("node.database_missing", 3)
        assert database() == "node.database_missing"
    home.database.unlink(missing_ok=True)
    (home.keys / "data.key.json").rename(home.folder / "lost.key.json")
    assert shuiqiao(*first)[1] == 0

"""``keys change-passphrase``: another passphrase opens the same keys, and the one of before none of them."""

from __future__ import annotations

from pathlib import Path

from shuiqiao.node.home.server_lock import ServerLock, not_served, serving_process
from shuiqiao.node.home.settings import Home


def test_the_passphrase_of_a_home_is_changed(here, home, tmp_path, monkeypatch):
    before = here("keys", "show", "--home", home, "--json").json
    (tmp_path / "new").write_text("another passphrase\n")
    (tmp_path / "old").write_bytes(Home(home).passphrase.read_bytes())
    done = here("keys", "change-passphrase", "--home", home, "--to", tmp_path / "new", "--json")
    assert (done.code, done.json["keys_wrapped"]) == (0, 2)
    former = Path(done.json["former_passphrase"][0])
    assert (former.parent, former.read_bytes()) == (Home(home).passphrase.parent, (tmp_path / "old").read_bytes())
    assert former.name.startswith(f"{Home(home).passphrase.name}.former-")
    assert (former.stat().st_mode & 0o777, Home(home).passphrase.exists()) == (0o600, False)
    monkeypatch.setenv("SHUIQIAO_PASSPHRASE_FILE", str(tmp_path / "new"))
    assert here("keys", "show", "--home", home, "--json").json == before
    monkeypatch.setenv("SHUIQIAO_PASSPHRASE_FILE", str(former))
    refused = here("keys", "show", "--home", home, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "crypto.passphrase_wrong")


def test_a_short_passphrase_encrypts_no_keys_and_a_file_that_others_read_is_warned_of(
    here, home, tmp_path, monkeypatch
):
    new = tmp_path / "new"
    new.write_text("12345678901\n")
    refused = here("keys", "change-passphrase", "--home", home, "--to", new, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "node.passphrase_short")
    assert here("keys", "show", "--home", home, "--json").code == 0
    monkeypatch.setenv("SHUIQIAO_PASSPHRASE_FILE", str(new))
    refused = here("init", "--home", tmp_path / "other", "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "node.passphrase_short")
    assert not (tmp_path / "other").exists()
    monkeypatch.delenv("SHUIQIAO_PASSPHRASE_FILE")
    new.write_text("twelve 字符的口令\n")
    new.chmod(0o644)
    done = here("keys", "change-passphrase", "--home", home, "--to", new)
    assert done.code == 0
    assert f"others can read the passphrase file {new} (mode 644)" in done.err


def test_where_a_passphrase_is_read_it_is_said_who_else_reads_it(shuiqiao, home, tmp_path):
    """Each process says it anew: whoever looks at a log or a terminal sees it."""
    file = tmp_path / "passphrase"
    file.write_bytes(Home(home).passphrase.read_bytes())
    for mode, warns in ((0o640, True), (0o600, False)):
        file.chmod(mode)
        done = shuiqiao("keys", "show", "--home", home, SHUIQIAO_PASSPHRASE_FILE=str(file))
        assert (done.code, f"others can read the passphrase file {file} (mode 640)" in done.err) == (0, warns)


def test_the_passphrase_of_a_served_home_is_left_as_it_is_and_what_to_do_is_said(here, home, tmp_path):
    """The server would go on with the one of before, and its next start alone show whether it finds the new one."""
    (tmp_path / "new").write_text("another passphrase\n")
    lock = ServerLock(Home(home))
    try:
        refused = here("keys", "change-passphrase", "--home", home, "--to", tmp_path / "new", "--json")
    finally:
        lock.release()
    assert (refused.code, refused.json["error"]["code"]) == (1, "node.server_running")
    assert refused.json["error"]["next_step"].startswith("stop the server, e.g. systemctl stop shuiqiao")
    assert here("keys", "show", "--home", home, "--json").code == 0


def test_no_server_starts_while_the_passphrase_is_changed(home):
    with not_served(Home(home), next_step=""):
        assert serving_process(Home(home)) is not None
    assert serving_process(Home(home)) is None

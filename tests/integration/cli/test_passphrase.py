"""``keys change-passphrase``: another passphrase opens the same keys, and the one of before none of them."""

from __future__ import annotations

from shuiqiao.node.home.server_lock import ServerLock, not_served, serving_process
from shuiqiao.node.home.settings import Home


def test_the_passphrase_of_a_home_is_changed(here, home, tmp_path, monkeypatch):
    before = here("keys", "show", "--home", home, "--json").json
    (tmp_path / "new").write_text("another one\n")
    (tmp_path / "old").write_bytes(Home(home).passphrase.read_bytes())
    done = here("keys", "change-passphrase", "--home", home, "--to", tmp_path / "new", "--json")
    assert (done.code, done.json["keys_wrapped"]) == (0, 2)
    monkeypatch.setenv("SHUIQIAO_PASSPHRASE_FILE", str(tmp_path / "new"))
    assert here("keys", "show", "--home", home, "--json").json == before
    monkeypatch.setenv("SHUIQIAO_PASSPHRASE_FILE", str(tmp_path / "old"))
    refused = here("keys", "show", "--home", home, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "crypto.passphrase_wrong")


def test_the_passphrase_of_a_served_home_is_left_as_it_is_and_what_to_do_is_said(here, home, tmp_path):
    """The server would go on with the one of before, and its next start alone show whether it finds the new one."""
    (tmp_path / "new").write_text("another one\n")
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

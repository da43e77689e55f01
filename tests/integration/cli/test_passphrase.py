"""``keys change-passphrase``: another passphrase opens the same keys, and the one of before none of them."""

from __future__ import annotations

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

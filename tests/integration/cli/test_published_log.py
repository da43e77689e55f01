"""The whole path of an outsider: a home publishes its log, a checkpoint is kept, the log grows, the files are checked.

By the command line alone, and by files alone: a genesis, a folder, and a checkpoint from before.
"""

from __future__ import annotations

import shutil

import pytest

import consortium_world as worlds
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.ids import new_id
from shuiqiao.ledger.checkpoints.signed_note import decode_signed_note
from shuiqiao.node.home.settings import Home
from shuiqiao.node.institution import Institution


@pytest.fixture(params=["intl", "gm"])
def home(request, tmp_path):
    return worlds.solo_home(tmp_path / "home", request.param, clock=SystemClock()).folder


def grow(folder, *, rotates=False, anchors=1):
    with Institution.open(Home(folder)) as node:
        for _ in range(anchors):
            node.outbox.submit("anchor.commit", worlds.anchor_body(new_id()))
        if rotates:
            worlds.rotate(node)


def inodes(folder):
    return {path.relative_to(folder): path.stat().st_ino for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def followed(home, here, tmp_path):
    """A folder that was published twice, over a rotation of the operator's key; the checkpoint kept in between."""
    grow(home, anchors=3)
    assert here("tiles", "publish", "--home", home, "--out", tmp_path / "tiles", "--json").json["size"] == 6
    kept = tmp_path / "kept"
    shutil.copy(tmp_path / "tiles" / "checkpoint", kept)
    grow(home, rotates=True)
    # The last block was made under the old key still, and the next one is not.
    grow(home, anchors=150)
    said = here("tiles", "publish", "--home", home, "--out", tmp_path / "tiles", "--json")
    assert said.code == 0, said.err
    assert (said.json["published_before"], said.json["size"]) == (
        6,
        decode_signed_note((tmp_path / "tiles" / "checkpoint").read_bytes()).head.size,
    )
    return tmp_path / "tiles", kept


def test_an_outsider_follows_a_log_by_its_files(followed, home, shuiqiao, tmp_path):
    tiles, kept = followed
    genesis = tmp_path / "genesis.json"
    shutil.copy(home / "genesis.json", genesis)
    home.rename(tmp_path / "elsewhere")
    said = shuiqiao("verify", "--tiles", tiles, "--since", kept, "--genesis", genesis, "--json")
    assert said.code == 0, (said.out, said.err)
    assert (said.json["valid"], said.json["consistent"], said.json["since_size"]) == (True, True, 6)
    told = shuiqiao("verify", "--tiles", tiles, "--since", kept, "--genesis", genesis)
    assert "consistent 一致  it contains the known checkpoint of 6 leaves, unchanged" in told.out
    first = shuiqiao("verify", "--tiles", tiles, "--genesis", genesis)
    assert (first.code, "--since" in first.out) == (0, True)


def test_only_what_is_new_is_written(followed, home, here):
    tiles, _ = followed
    before = inodes(tiles)
    again = here("tiles", "publish", "--home", home, "--out", tiles, "--json")
    assert (again.code, again.json["files_written"]) == (0, 0)
    assert {path: node for path, node in inodes(tiles).items() if path.name != "checkpoint"} == {
        path: node for path, node in before.items() if path.name != "checkpoint"
    }


def verdict(here, tiles, genesis, *more):
    said = here("verify", "--tiles", tiles, "--genesis", genesis, "--json", *more)
    assert said.code == (0 if said.json["valid"] else 3 if said.json["code"] == "ledger.tile_missing" else 1)
    return said.json.get("code", "valid")


def test_whatever_was_altered_is_refused(followed, home, here):
    tiles, kept = followed
    genesis = home / "genesis.json"
    assert verdict(here, tiles, genesis, "--since", kept) == "valid"
    size = decode_signed_note((tiles / "checkpoint").read_bytes()).head.size
    assert size > 256
    needed = ["checkpoint", "tile/entries/000", f"tile/entries/001.p/{size - 256}", "tile/0/000", "tile/1/000.p/1"]
    for name in needed:
        path = tiles / name
        data = path.read_bytes()
        for at in (0, len(data) // 2, len(data) - 1):
            path.write_bytes(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :])
            assert verdict(here, tiles, genesis, "--since", kept) != "valid", (name, at)
        path.unlink()
        assert verdict(here, tiles, genesis) == "ledger.tile_missing", name
        path.write_bytes(data)
    assert verdict(here, tiles, genesis) == "valid"


def test_an_altered_folder_is_not_published_to(followed, home, here):
    """Full files are never written again, so what is wrong in them must be found before more is added."""
    tiles, _ = followed
    for name, code in (("tile/0/000", "ledger.tile_contradicted"), ("checkpoint", "ledger.tile_contradicted")):
        path = tiles / name
        data = path.read_bytes()
        lines = data.split(b"\n")
        lines[2] = b"A" * 43 + b"="
        path.write_bytes(b"\n".join(lines) if name == "checkpoint" else bytes(32) + data[32:])
        said = here("tiles", "publish", "--home", home, "--out", tiles, "--json")
        assert (said.code, said.json["error"]["code"]) == (1, code)
        path.write_bytes(data)
    assert here("tiles", "publish", "--home", home, "--out", tiles, "--json").code == 0


def test_another_network_another_history_and_an_older_log_are_told_apart(followed, home, here, tmp_path):
    tiles, kept = followed
    other = worlds.solo_home(tmp_path / "other", clock=SystemClock()).folder
    grow(other)
    said = here("tiles", "publish", "--home", other, "--out", tiles, "--json")
    assert (said.code, said.json["error"]["code"]) == (1, "ledger.tile_foreign")
    assert verdict(here, tiles, other / "genesis.json") == "ledger.checkpoint_foreign"
    assert here("tiles", "publish", "--home", other, "--out", tmp_path / "others", "--json").code == 0
    code = verdict(here, tiles, home / "genesis.json", "--since", tmp_path / "others" / "checkpoint")
    assert code in {"ledger.pin_contradicted", "node.history_contradicted"}
    # Somebody who serves what was there before shows less than is known.
    new = tmp_path / "new"
    shutil.copy(tiles / "checkpoint", new)
    shutil.copy(kept, tiles / "checkpoint")
    assert verdict(here, tiles, home / "genesis.json") == "valid"
    assert verdict(here, tiles, home / "genesis.json", "--since", new) == "node.history_older"


def test_what_cannot_be_published_says_why(home, here, tmp_path):
    said = here("tiles", "publish", "--home", home, "--out", tmp_path / "tiles", "--json")
    assert (said.code, said.json["error"]["code"]) == (3, "node.tiles_index_unreadable")
    assert not (tmp_path / "tiles").exists()
    said = here("tiles", "publish", "--home", home, "--json")
    assert (said.code, said.json["error"]["code"]) == (1, "node.tiles_folder_unnamed")
    said = here("verify", "--genesis", home / "genesis.json", "--json")
    assert (said.code, said.json["error"]["code"]) == (2, "cli.usage_wrong")
    (tmp_path / "empty").mkdir()
    assert verdict(here, tmp_path / "empty", home / "genesis.json") == "ledger.tile_missing"


def test_a_home_with_a_folder_in_its_settings_publishes_by_itself(home, here, capsys):
    with (home / "node.toml").open("a") as file:
        file.write('tiles_folder = "public/log"\n')
    grow(home, anchors=2)
    tiles = home / "public" / "log"
    assert verdict(here, tiles, home / "genesis.json") == "valid"
    before = decode_signed_note((tiles / "checkpoint").read_bytes()).head.size
    assert here("tiles", "publish", "--home", home, "--json").json["published_before"] == before
    said = here("doctor", "--home", home)
    assert f"{before} leaves are published in {tiles}" in said.out
    # What is wrong with the folder stops nothing, and is told.
    shutil.rmtree(tiles)
    tiles.write_text("in the way")
    capsys.readouterr()
    grow(home)
    assert "warning: the log was not published to" in capsys.readouterr().err
    tiles.unlink()
    grow(home)
    assert verdict(here, tiles, home / "genesis.json") == "valid"


def test_a_log_with_witnesses_is_published_once_they_have_confirmed_it(here, tmp_path):
    world = worlds.ConsortiumWorld(tmp_path / "consortium", "intl")
    home = world.bureau.home.folder
    try:
        world.consortium.settle()
        confirmed = world.bureau.engine.confirmed()
    finally:
        world.close()
    said = here("tiles", "publish", "--home", home, "--out", tmp_path / "tiles", "--json")
    assert (said.code, said.json["size"], said.json["root"]) == (0, confirmed.size, confirmed.root.hex())
    assert len(said.json["cosigners"]) >= 2
    shown = here("verify", "--tiles", tmp_path / "tiles", "--genesis", home / "genesis.json", "--json")
    assert (shown.code, shown.json["cosigners"]) == (0, said.json["cosigners"])
    # Without what the witnesses said there is nothing that others could rely on.
    (home / "ledger" / "checkpoints" / "cosigned").unlink()
    said = here("tiles", "publish", "--home", home, "--out", tmp_path / "more", "--json")
    assert (said.code, said.json["error"]["code"]) == (3, "node.tiles_checkpoint_missing")

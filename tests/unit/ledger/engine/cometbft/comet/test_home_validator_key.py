"""The key that a validator votes with: made beside the old one, put in its place at once, whatever interrupts it."""

from __future__ import annotations

import hashlib
import json
import stat

import pytest

from shuiqiao.base.durable import Disk
from shuiqiao.base.errors import Unavailable
from shuiqiao.ledger.engine.cometbft.comet.home import (
    NEXT_FILE,
    HomeSettings,
    NodeKeys,
    ValidatorKeyFiles,
    address_of,
    public_key_of,
    write_home,
    write_last_signed,
)

SEEDS = NodeKeys(node_seed=b"n" * 32, validator_seed=b"v" * 32)


def counted():
    """Entropy that never repeats."""
    count = iter(range(100))
    return lambda length: hashlib.sha256(str(next(count)).encode()).digest()[:length]


@pytest.fixture
def home(tmp_path):
    settings = HomeSettings(moniker="a", p2p="tcp://127.0.0.1:2")
    write_home(tmp_path, settings=settings, keys=SEEDS, genesis={})
    return tmp_path


def test_the_next_key_is_made_once_and_takes_the_place_of_the_one_in_use(home):
    files, entropy = ValidatorKeyFiles(home), counted()
    assert (SEEDS.validator_key, None) == (files.current(), files.next())
    made = files.make_next(entropy).public_key
    # Asked again, as after a crash, it is the same key.
    assert made == files.make_next(entropy).public_key == files.next() != files.current()
    assert stat.S_IMODE((home / "config" / NEXT_FILE).stat().st_mode) == 0o600
    write_last_signed(home, height=41)
    state = (home / "data" / "priv_validator_state.json").read_bytes()
    files.switch()
    assert (made, None) == (files.current(), files.next())
    # CometBFT reads all three fields, and goes on behind what was signed last.
    document = json.loads((home / "config" / "priv_validator_key.json").read_bytes())
    assert document["address"] == address_of(made).hex().upper()
    assert state == (home / "data" / "priv_validator_state.json").read_bytes()
    assert files.make_next(entropy).public_key != made


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"priv_key":{"value":5}}', b'{"priv_key":{"value":"YQ=="}}'])
def test_a_key_that_cannot_be_read_is_none(damage, home):
    files = ValidatorKeyFiles(home)
    (home / "config" / NEXT_FILE).write_bytes(damage)
    assert files.next() is None
    made = files.make_next(counted()).public_key
    assert files.next() == made
    (home / "config" / "priv_validator_key.json").write_bytes(damage)
    assert files.current() is None


def test_a_disk_that_fails_leaves_both_keys(home, monkeypatch):
    files = ValidatorKeyFiles(home)
    made = files.make_next(counted()).public_key

    def refuse(*_arguments):
        raise OSError(28, "no space left")

    with monkeypatch.context() as patched:
        patched.setattr(Disk, "replace", refuse)
        with pytest.raises(Unavailable) as caught:
            files.switch()
    assert caught.value.code == "ledger.validator_key_kept"
    assert (SEEDS.validator_key, made) == (files.current(), files.next())
    files.switch()
    assert files.current() == made


def test_the_public_key_is_that_of_the_private_one(home):
    """What the file says of itself is not believed."""
    path = home / "config" / "priv_validator_key.json"
    document = json.loads(path.read_bytes())
    document["pub_key"]["value"] = "A" * 43 + "="
    path.write_text(json.dumps(document))
    assert ValidatorKeyFiles(home).current() == public_key_of(SEEDS.validator_seed)

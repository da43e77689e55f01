"""The folder of a CometBFT node: formats, secrets, and what is never overwritten."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import tomllib

import pytest

from cometbft_world import node_keys
from patience import PATIENCE_S
from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.ledger.engine.cometbft.comet.home import (
    MAX_FILE_BYTES,
    GenesisValidator,
    HomeSettings,
    Pace,
    ValidatorKeyFiles,
    chain_id_of,
    comet_genesis,
    read_comet_genesis,
    read_last_signed,
    read_node_id,
    state_sync_settings,
    write_home,
)
from shuiqiao.ledger.engine.cometbft.comet.localnet import Relay, free_ports
from shuiqiao.ledger.engine.cometbft.comet.process import find_program

NETWORK = bytes(range(32))


def written(home, **more):
    keys = node_keys(1)
    settings = HomeSettings(
        moniker="first-bank",
        p2p="tcp://127.0.0.1:2",
        peers=["aa@127.0.0.1:4", "bb@127.0.0.1:5"],
        pace=Pace(commit_ms=70),
        **more,
    )
    genesis = comet_genesis(
        chain_id=chain_id_of(NETWORK),
        time_ms=1_790_000_000_045,
        validators=[GenesisValidator(name="first-bank", key=keys.validator_key, power=7)],
    )
    write_home(home, settings=settings, keys=keys, genesis=genesis)
    return keys


NOT_JSON = [b"", b"{", b"\xff", b"[" * 100_000, b"9" * 5000, b" " * (MAX_FILE_BYTES + 1)]
IDS = ["empty", "open", "not UTF-8", "deep", "5,000 digits", "too long"]
GENESIS, NODE_KEY, STATE = "config/genesis.json", "config/node_key.json", "data/priv_validator_state.json"


def spoiled(home, name, data):
    written(home)
    (home / name).write_bytes(data)
    return home


@pytest.mark.parametrize("data", [*NOT_JSON, b"[]", b'"text"', b"7"], ids=[*IDS, "list", "text", "number"])
def test_a_genesis_that_cannot_be_read_is_named(data, tmp_path):
    with pytest.raises(IntegrityError) as caught:
        read_comet_genesis(spoiled(tmp_path, GENESIS, data))
    assert caught.value.code == "ledger.comet_home_damaged"
    assert str(tmp_path / GENESIS) in caught.value.message


@pytest.mark.parametrize(
    "data",
    [*NOT_JSON, b"[]", b'{"priv_key":[]}', b'{"priv_key":{"value":7}}', b'{"priv_key":{"value":"!"}}', b'{"priv_key":{"value":"AA=="}}'],
    ids=[*IDS, "list", "no key", "number", "not base64", "short"],
)  # fmt: skip
def test_a_node_key_that_cannot_be_read_is_named(data, tmp_path):
    with pytest.raises(IntegrityError) as caught:
        read_node_id(spoiled(tmp_path, NODE_KEY, data))
    assert caught.value.code == "ledger.comet_home_damaged"
    assert str(tmp_path / NODE_KEY) in caught.value.message


@pytest.mark.parametrize(
    "data",
    [*NOT_JSON, b"[]", b"{}", b'{"height":[]}', b'{"height":1e999}', b'{"height":"x"}'],
    ids=[*IDS, "list", "no height", "height of a list", "endless height", "height of letters"],
)
def test_a_height_signed_last_that_cannot_be_read_is_unknown(data, tmp_path):
    assert read_last_signed(spoiled(tmp_path, STATE, data)) is None
    assert ValidatorKeyFiles(spoiled(tmp_path, "config/priv_validator_key.json", data)).current() is None


def test_what_is_absent_or_a_pipe_is_damage_too(tmp_path):
    for name, read in ((GENESIS, read_comet_genesis), (NODE_KEY, read_node_id)):
        home = tmp_path / name.replace("/", "-")
        written(home)
        (home / name).unlink()
        with pytest.raises(IntegrityError, match=r"ledger\.comet_home_damaged"):
            read(home)
        os.mkfifo(home / name)
        with pytest.raises(IntegrityError, match=r"ledger\.comet_home_damaged"):
            read(home)


def test_a_genesis_is_read_as_it_was_written(tmp_path):
    written(tmp_path)
    assert read_comet_genesis(tmp_path)["chain_id"] == chain_id_of(NETWORK)
    assert read_last_signed(tmp_path) == 0


def test_a_home_says_what_cometbft_reads(tmp_path):  # [ABCI-10]
    keys = written(
        tmp_path, sync=state_sync_settings(rpc_servers=["http://a:1", "http://b:2"], height=9, block_hash="AB")
    )
    config = tomllib.loads((tmp_path / "config/config.toml").read_text())
    assert (config["moniker"], config["proxy_app"]) == ("first-bank", "unix://abci.sock")
    assert config["rpc"]["laddr"] == "unix://rpc.sock"
    assert config["p2p"]["persistent_peers"] == "aa@127.0.0.1:4,bb@127.0.0.1:5"
    assert (config["consensus"]["timeout_commit"], config["consensus"]["create_empty_blocks"]) == ("70ms", False)
    assert (config["statesync"]["enable"], config["statesync"]["rpc_servers"]) == (True, "http://a:1,http://b:2")
    genesis = json.loads((tmp_path / "config/genesis.json").read_text())
    assert genesis["chain_id"] == f"shuiqiao-{NETWORK.hex()}"[:50]
    assert genesis["genesis_time"] == "2026-09-21T14:13:20.045Z"
    assert genesis["consensus_params"]["abci"] == {"vote_extensions_enable_height": "1"}
    [validator] = genesis["validators"]
    assert (validator["power"], base64.b64decode(validator["pub_key"]["value"])) == ("7", keys.validator_key)
    assert validator["address"] == hashlib.sha256(keys.validator_key).hexdigest()[:40].upper()
    secret = json.loads((tmp_path / "config/priv_validator_key.json").read_text())
    assert base64.b64decode(secret["priv_key"]["value"]) == keys.validator_seed + keys.validator_key
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "config").iterdir()}
    assert modes["priv_validator_key.json"] == modes["node_key.json"] == 0o600


def test_a_sign_state_is_never_written_twice(tmp_path):  # [ABCI-11]
    written(tmp_path)
    state = tmp_path / "data" / "priv_validator_state.json"
    assert json.loads(state.read_text()) == {"height": "0", "round": 0, "step": 0}
    state.write_text('{"height": "77", "round": 1, "step": 3}')
    written(tmp_path)
    assert json.loads(state.read_text())["height"] == "77"


def test_nobody_else_reaches_the_sockets_of_a_home(tmp_path):  # [ABCI-29]
    home = tmp_path / "comet"
    home.mkdir(mode=0o755)
    written(home)
    assert home.stat().st_mode & 0o777 == 0o700


def test_a_program_that_is_not_there_is_told_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.delenv("SHUIQIAO_COMETBFT", raising=False)
    with pytest.raises(Unavailable) as raised:
        find_program(version="v9.9.9", tools=tmp_path)
    assert (raised.value.code, "install_cometbft.sh v9.9.9" in raised.value.next_step) == (
        "ledger.cometbft_absent",
        True,
    )


def test_ports_are_free_and_distinct():
    ports = free_ports(30)
    assert len(set(ports)) == 30


def test_a_relay_lets_through_until_it_is_cut_and_again_once_healed():
    import socket

    target = socket.create_server(("127.0.0.1", 0))
    relay = Relay(target_port=target.getsockname()[1])

    def joined():
        near = socket.create_connection(("127.0.0.1", relay.port), timeout=PATIENCE_S)
        far, _ = target.accept()
        far.settimeout(5)
        return near, far

    near, far = joined()
    near.sendall(b"there")
    assert far.recv(100) == b"there"
    far.sendall(b"back")
    assert near.recv(100) == b"back"
    relay.cut()
    assert (near.recv(100), far.recv(100)) == (b"", b"")
    near.close()
    far.close()
    refused = socket.create_connection(("127.0.0.1", relay.port), timeout=PATIENCE_S)
    assert refused.recv(100) == b""
    refused.close()
    target.accept()[0].close()
    relay.heal()
    near, far = joined()
    near.sendall(b"again")
    assert far.recv(100) == b"again"
    relay.close()
    for each in (near, far, target):
        each.close()

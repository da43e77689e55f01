"""A network's folder made from a members.toml or from nothing: what each home gets, and what is refused."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path

import pytest

from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import Conflict, InvalidInput, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.keyfile import PassphraseCost
from shuiqiao.crypto.model import SuiteName
from shuiqiao.ledger.engine.cometbft.comet.home import ValidatorKeyFiles, address_of, chain_id_of
from shuiqiao.members.genesis import decode_genesis, network_id
from shuiqiao.members.model import EngineName
from shuiqiao.members.roster import Registration
from shuiqiao.node.home.keys import load_keys, require_first_keys
from shuiqiao.node.home.settings import load_settings, require_member
from shuiqiao.node.localnet.making import create_network
from shuiqiao.node.localnet.plan import NetworkFolder, load_plan
from shuiqiao.node.rotation import proven_validator_key

CHEAP = PassphraseCost(memory_kib=8, passes=1, lanes=1)
PASSPHRASE = b"one for all homes"
MEMBERS = """
[network]
name = "river-delta"
suite = "gm"

[[member]]
id = "bureau"
role = "tax_bureau"
name = "Tax \\"bureau\\""
name_zh = "税务局"

[[member]]
id = "bank"
role = "bank"
name = "Bank"
name_zh = "银行"
"""


class Dice:
    """Entropy that can be repeated."""

    def __init__(self):
        self.thrown = 0

    def __call__(self, count):
        self.thrown += 1
        return hashlib.shake_256(b"%d" % self.thrown).digest(count)


def make(folder, *, members=None, suite=None, engine=None, validators=4, passphrase=PASSPHRASE):
    path = None
    if members is not None:
        path = folder.with_name("members.toml")
        path.write_text(members, encoding="utf-8")
    return create_network(
        NetworkFolder(folder),
        members=path,
        suite=suite,
        engine=engine,
        validators=validators,
        passphrase=passphrase,
        clock=ManualClock(1_700_000_000_000),
        entropy=Dice(),
        cost=CHEAP,
    )


def refusal(kind, folder, **more):
    with pytest.raises(kind) as caught:
        make(folder, **more)
    return caught.value.code


def test_every_home_agrees_with_the_genesis_and_holds_its_own_keys(tmp_path):
    made = make(tmp_path / "net")
    folder = NetworkFolder(tmp_path / "net")
    genesis = folder.genesis.read_bytes()
    agreed = decode_genesis(genesis)
    assert load_plan(folder) == made.plan
    assert made.plan.network == network_id(genesis).hex()
    assert made.members == ("bank-1", "bank-2", "bureau", "regulator")
    assert (agreed.engine, agreed.quorum, agreed.witnesses) == (EngineName.COMETBFT, 3, made.members)
    for member in made.members:
        home = folder.home(member)
        settings = load_settings(home)
        assert home.genesis.read_bytes() == genesis
        require_member(settings, genesis)
        require_first_keys(home, settings, genesis, load_keys(home, passphrase=PASSPHRASE))


def test_a_home_proves_the_key_that_its_validator_votes_with(tmp_path):
    """[MEMBER-24]: what ``keys show`` prints is what a vote that registers the key asks for."""
    made = make(tmp_path / "net", members=MEMBERS, validators=1)
    folder = NetworkFolder(tmp_path / "net")
    home = folder.home("bureau")
    shown = proven_validator_key(home, settings=load_settings(home))
    key = bytes.fromhex(shown["validator_key"])
    assert key == ValidatorKeyFiles(home.cometbft).current()
    registration = Registration.on_network(bytes.fromhex(made.plan.network), MemberId("bureau"))
    registration.verify_validator(bytes.fromhex(shown["validator_proof"]), key)
    assert proven_validator_key(folder.home("bank"), settings=load_settings(folder.home("bank"))) == {}


def test_the_port_of_a_validator_is_the_same_in_plan_settings_and_cometbft(tmp_path):
    made = make(tmp_path / "net")
    folder = NetworkFolder(tmp_path / "net")
    members = {member.id: member for member in decode_genesis(folder.genesis.read_bytes()).members}
    ports = [relay.port for relay in made.plan.relays]
    for place in made.plan.validators:
        home = folder.home(place.member)
        settings = load_settings(home)
        config = tomllib.loads((home.cometbft / "config" / "config.toml").read_text())
        key = json.loads((home.cometbft / "config" / "priv_validator_key.json").read_text())
        assert settings.p2p_port == place.p2p_port
        assert config["p2p"]["laddr"] == f"tcp://127.0.0.1:{place.p2p_port}"
        assert (config["proxy_app"], config["rpc"]["laddr"]) == ("unix://abci.sock", "unix://rpc.sock")
        assert key["address"] == address_of(members[place.member].validator_key).hex().upper()
        ports.append(place.p2p_port)
    assert len(set(ports)) == 4 + 6
    texts = {(folder.home(name).cometbft / "config" / "genesis.json").read_text() for name in made.plan.names}
    assert len(texts) == 1
    document = json.loads(texts.pop())
    assert document["chain_id"] == chain_id_of(bytes.fromhex(made.plan.network))
    assert [each["power"] for each in document["validators"]] == ["10"] * 4


def test_a_file_names_members_and_suite_and_the_first_of_them_validate(tmp_path):
    made = make(tmp_path / "net", members=MEMBERS, validators=1)
    folder = NetworkFolder(tmp_path / "net")
    assert (made.plan.suite, made.plan.names, made.plan.relays) == ("gm", ("bureau",), ())
    assert [member.name for member in decode_genesis(folder.genesis.read_bytes()).members] == ["Bank", 'Tax "bureau"']
    assert not load_settings(folder.home("bank")).is_validator
    assert not folder.home("bank").cometbft.exists()
    assert "_port" not in folder.home("bank").settings.read_text()


def test_the_published_members_file_holds_public_keys_only(tmp_path):
    make(tmp_path / "net", members=MEMBERS, validators=2)
    folder = NetworkFolder(tmp_path / "net")
    rows = tomllib.loads(folder.members.read_text(encoding="utf-8"))["member"]
    members = {member.id: member for member in decode_genesis(folder.genesis.read_bytes()).members}
    assert [row["signing_key"] for row in rows] == [members[row["id"]].signing_key.hex() for row in rows]
    secret = hashlib.shake_256(b"3").digest(32)
    assert secret.hex() not in folder.members.read_text(encoding="utf-8")


def test_an_embedded_network_has_a_writer_and_no_ports(tmp_path):
    made = make(tmp_path / "net", engine=EngineName.EMBEDDED, validators=3)
    folder = NetworkFolder(tmp_path / "net")
    assert decode_genesis(folder.genesis.read_bytes()).writer == "bureau"
    assert (made.plan.engine, made.plan.validators) == ("embedded", ())
    assert load_settings(folder.home("bank-1")).engine == "embedded"


def test_without_a_passphrase_each_home_gets_its_own(tmp_path):
    made = make(tmp_path / "net", validators=2, passphrase=None)
    folder = NetworkFolder(tmp_path / "net")
    found = {folder.home(name).passphrase.read_bytes() for name in made.members}
    assert len(found) == 2
    # A server refuses a passphrase that lies in its home.
    assert not any((folder.home(name).keys / "passphrase").exists() for name in made.members)


def test_each_validator_listens_where_nobody_else_does_and_knows_the_others(tmp_path):
    make(tmp_path / "net", validators=2)
    folder = NetworkFolder(tmp_path / "net")
    found = {name: load_settings(folder.home(name)) for name in ("bureau", "bank-1")}
    plan = load_plan(folder)
    ports = [str(place.p2p_port) for place in plan.validators] + [str(relay.port) for relay in plan.relays]
    ports += [each.rpartition(":")[2] for one in found.values() for each in (one.listen, one.peer_listen)]
    assert len(set(ports)) == len(ports) == 7
    assert found["bank-1"].peers == {"bureau": f"http://{found['bureau'].peer_listen}"}


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "letter.txt").write_text("mine")
    assert refusal(Conflict, tmp_path / "net") == "node.network_exists"
    assert [path.name for path in (tmp_path / "net").iterdir()] == ["letter.txt"]


@pytest.mark.parametrize(
    ("members", "more", "code"),
    [
        (MEMBERS, {"validators": 3}, "node.validators_too_many"),
        (MEMBERS, {"validators": 0}, "node.validators_invalid"),
        (MEMBERS, {"validators": 17}, "node.validators_invalid"),
        (MEMBERS, {"suite": SuiteName.INTL, "validators": 2}, "node.members_contradicted"),
        (MEMBERS + 'signing_key = "00"\n', {"validators": 2}, "node.members_keyed"),
        (MEMBERS.replace("gm", "rsa"), {"validators": 2}, "node.members_unreadable"),
        (MEMBERS.replace('"gm"', "[[1]]"), {"validators": 2}, "node.members_unreadable"),
        ("[network]\nname = 1", {}, "node.members_unreadable"),
        ("member = [1]\n[network]\nname = 'x'", {}, "node.members_unreadable"),
        ("=", {}, "node.members_unreadable"),
        ("#" * (1 << 20) + "#", {}, "node.members_unreadable"),
        (MEMBERS.replace('"bank"\nrole', '"bureau"\nrole'), {"validators": 2}, "members.genesis_invalid"),
        (MEMBERS.replace('"bank"\nrole', '"../bank"\nrole'), {"validators": 2}, "members.genesis_invalid"),
        (MEMBERS + "shares = 3\n", {"validators": 2}, "members.genesis_invalid"),
        (MEMBERS + "born = 2020-01-01\n", {"validators": 2}, "members.genesis_invalid"),
        (MEMBERS + "odd = { a = 1 }\n", {"validators": 2}, "members.toml_unreadable"),
    ],
)
def test_what_is_no_network_is_refused_before_anything_is_made(tmp_path, members, more, code):
    assert refusal(InvalidInput, tmp_path / "net", members=members, **more) == code
    assert not (tmp_path / "net").exists()


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(Unavailable) as caught:
        create_network(
            NetworkFolder(tmp_path / "net"),
            members=Path("nowhere.toml"),
            suite=None,
            engine=None,
            validators=1,
            passphrase=None,
            clock=ManualClock(0),
            entropy=Dice(),
        )
    assert caught.value.code == "node.members_missing"

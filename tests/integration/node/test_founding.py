"""A network is founded with public files alone: nobody has another's keys, and nothing else is taken for one's own."""

from __future__ import annotations

import json
import shutil
from functools import partial

import pytest

from consortium_world import CHEAP
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto.model import SuiteName
from shuiqiao.ledger.engine.cometbft.comet.home import (
    ValidatorKeyFiles,
    read_comet_genesis,
    read_node_id,
    read_settings,
)
from shuiqiao.members.genesis import decode_genesis
from shuiqiao.members.model import Role
from shuiqiao.node.founding import NewMember, NodePlaces, found_home, genesis_of_files, join_network, prepare_member
from shuiqiao.node.home.keys import find_passphrase, kept_passphrase_file, load_keys
from shuiqiao.node.home.making import Addresses, comet_genesis_of
from shuiqiao.node.home.settings import Home, load_settings
from shuiqiao.node.institution import Institution
from shuiqiao.node.member_file import decode_admission

FOUNDERS = {"bureau": Role.TAX_BUREAU, "bank-a": Role.BANK, "watch": Role.REGULATOR}
NEAR = Addresses(peers={"bureau": "http://127.0.0.1:18601"}, peer_listen="127.0.0.1:18602")


def new(member, role=Role.BANK):
    return NewMember(member=member, role=FOUNDERS.get(member, role), name=f"The {member}", name_zh="甲")


def prepare(folder, member, *, network="delta", suite=SuiteName.INTL, passphrase=None, p2p=None):
    home, around = Home(folder / member), {"entropy": system_entropy, "cost": CHEAP, "p2p": p2p}
    prepare_member(home, new(member), network=network, suite=suite, passphrase=passphrase, **around)
    return home


def genesis_of(homes, *, suite=SuiteName.INTL, **changes):
    agreed = {"network": "delta", "writer": "bureau", "witnesses": ["watch"], "quorum": 1} | changes
    return genesis_of_files([home.member_file for home in homes], suite=suite, created_ms=1_775_000_000_000, **agreed)


def finish(home, genesis, addresses=NEAR, **node):
    places = {"node": NodePlaces(**node)} if node else {}
    return found_home(home, genesis, passphrase=partial(find_passphrase, home), addresses=addresses, **places)


def refusal(act, *arguments, **options):
    with pytest.raises(ShuiqiaoError) as caught:
        act(*arguments, **options)
    return caught.value.code


@pytest.mark.parametrize("suite", SuiteName)
def test_founding_members_exchange_public_files_alone(tmp_path, suite):
    homes = [prepare(tmp_path, member, suite=suite) for member in FOUNDERS]
    public = [home.member_file.read_bytes() for home in homes]
    genesis = genesis_of(homes, suite=suite)
    for home, member in zip(homes, FOUNDERS, strict=True):
        settings = finish(home, genesis)
        assert settings == load_settings(home)
        assert (settings.member, settings.role, settings.admitted) == (member, FOUNDERS[member], False)
        assert (settings.peers, settings.peer_listen) == (NEAR.peers, NEAR.peer_listen)
        keys = load_keys(home, passphrase=find_passphrase(home))
        [row] = [row for row in decode_genesis(genesis).members if row.id == member]
        assert (keys.signing.public_key, keys.sealing.public_key) == (row.signing_key, row.sealing_key)
        secret = home.passphrase.read_bytes().strip()
        assert not [data for data in (*public, genesis) if secret in data]
    with Institution.open(homes[0]) as bureau:
        assert bureau.engine.checkpoint().size == 0
    assert refusal(finish, homes[0], genesis) == "node.home_exists"


def test_who_joins_makes_a_home_and_a_file_to_be_voted_on(tmp_path):
    homes = [prepare(tmp_path, member) for member in FOUNDERS]
    genesis = genesis_of(homes)
    home = Home(tmp_path / "bank-b")
    around = {"addresses": NEAR, "passphrase": b"given", "entropy": system_entropy, "cost": CHEAP}
    file = join_network(home, new("bank-b"), genesis, **around)
    assert (load_settings(home).admitted, kept_passphrase_file(home)) == (True, None)
    assert b"bank-b" in file.read_bytes()
    known = Home(tmp_path / "again")
    assert refusal(join_network, known, new("bank-a"), genesis, **around) == "node.member_known"
    assert not known.folder.exists()


@pytest.fixture(scope="module")
def validators(tmp_path_factory):
    """Prepared homes of validators, and their genesis."""
    folder = tmp_path_factory.mktemp("validators")
    homes = [prepare(folder, member, p2p=f"{member}.example:26656") for member in FOUNDERS]
    return homes, genesis_of(homes, writer=None)


def copies(homes, folder):
    """The same homes in another folder, and the member files of all but the first."""
    for home in homes:
        shutil.copytree(home.folder, folder / home.folder.name)
        shutil.copy(home.passphrase, folder)
    found = [Home(folder / home.folder.name) for home in homes]
    return found, [home.member_file for home in found[1:]]


def test_validators_dial_each_other_by_their_public_files(validators, tmp_path):
    homes, files = copies(validators[0], tmp_path)
    genesis = validators[1]
    agreed = decode_genesis(genesis)
    assert (agreed.engine, agreed.witnesses, agreed.quorum) == ("cometbft", tuple(sorted(FOUNDERS)), 3)
    settings = finish(homes[0], genesis, peers=[homes[0].member_file, *files], listen="0.0.0.0:26656")
    assert (settings.engine, settings.p2p_port, settings == load_settings(homes[0])) == ("cometbft", 26_656, True)
    comet = read_settings(homes[0].cometbft, moniker="bureau")
    ids = [read_node_id(home.cometbft) for home in homes[1:]]
    named = [f"{node_id}@{home.folder.name}.example:26656" for node_id, home in zip(ids, homes[1:], strict=True)]
    assert (comet.p2p, comet.peers) == ("tcp://0.0.0.0:26656", named)
    assert read_comet_genesis(homes[0].cometbft) == comet_genesis_of(genesis)
    # The node's keys are in nobody's public file.
    secret = json.loads((homes[0].cometbft / "config" / "priv_validator_key.json").read_bytes())["priv_key"]["value"]
    assert secret.encode() not in homes[0].member_file.read_bytes() + genesis


def test_a_validator_that_joins_dials_those_that_are_there(validators, tmp_path):
    homes, genesis = validators
    home, around = Home(tmp_path / "bank-b"), {"addresses": NEAR, "passphrase": b"given", "entropy": system_entropy}
    joining = partial(join_network, home, new("bank-b"), genesis, **around, cost=CHEAP)
    assert refusal(joining) == "node.joining_unsupported"
    peers = [each.member_file for each in homes]
    assert refusal(joining, p2p="here:26656") == "node.validator_file_wrong"
    assert refusal(joining, p2p="here:0", node=NodePlaces(peers=peers)) == "ledger.p2p_invalid"
    assert not home.folder.exists()
    admission = decode_admission(
        joining(p2p="here:26656", node=NodePlaces(peers=peers)).read_text(), governing=False, witness=False
    )
    assert (admission.validator_key, admission.witness) == (ValidatorKeyFiles(home.cometbft).current(), True)
    assert len(read_settings(home.cometbft, moniker="bank-b").peers) == len(homes)
    assert (load_settings(home).admitted, load_settings(home).p2p_port) == (True, 26_656)


def test_a_validators_home_is_finished_with_the_files_of_all_others_alone(validators, tmp_path):
    homes, files = copies(validators[0], tmp_path)
    genesis, home = validators[1], homes[0]
    assert refusal(finish, home, genesis, peers=files[:1]) == "node.validator_file_wrong"
    stranger = prepare(tmp_path, "stranger", p2p="there:1").member_file
    claimed = tmp_path / "claimed.toml"
    claimed.write_text(stranger.read_text().replace('"stranger"', '"bank-a"'))
    for wrong in (claimed, prepare(tmp_path / "more", "bank-a").member_file):
        assert refusal(finish, home, genesis, peers=[*files, wrong]) == "node.validator_file_wrong"
    assert refusal(finish, home, genesis, peers=files, listen="tcp://there") == "ledger.p2p_invalid"
    shutil.copytree(homes[1].cometbft, home.cometbft, dirs_exist_ok=True)
    assert refusal(finish, home, genesis, peers=files) == "node.keys_foreign"
    assert not home.settings.exists()


@pytest.mark.parametrize("p2p", ["", "here", "here:0", "here:65536", "here:1:2", "tcp://here:1", "x" * 260 + ":1"])
def test_where_no_node_can_be_reached_no_keys_are_made(tmp_path, p2p):
    assert refusal(prepare, tmp_path, "bureau", p2p=p2p) == "ledger.p2p_invalid"
    assert [*tmp_path.iterdir()] == []


def test_keys_are_made_once_and_are_those_of_the_genesis(tmp_path):
    bureau, bank = prepare(tmp_path, "bureau"), prepare(tmp_path, "bank-a")
    before = bureau.member_file.read_bytes()
    assert refusal(prepare, tmp_path, "bureau") == "node.home_prepared"
    assert bureau.member_file.read_bytes() == before
    genesis = genesis_of([bank], writer="bank-a", witnesses=[], quorum=0)
    assert refusal(finish, bureau, genesis) == "node.founder_missing"
    assert refusal(finish, Home(tmp_path / "empty"), genesis) == "node.keys_unmade"
    shutil.copytree(bureau.keys, bank.keys, dirs_exist_ok=True)
    shutil.copy(bureau.passphrase, bank.passphrase)
    assert refusal(finish, bank, genesis) == "node.keys_foreign"
    assert not bank.settings.exists()


@pytest.mark.parametrize(
    "changes", [{"network": "gamma"}, {"writer": "nobody"}, {"witnesses": ["nobody"]}, {"quorum": 2}]
)
def test_what_members_did_not_agree_on_makes_no_genesis(tmp_path, changes):
    homes = [prepare(tmp_path, member, passphrase=b"p") for member in FOUNDERS]
    assert refusal(genesis_of, homes, **changes) == "members.genesis_invalid"


@pytest.mark.parametrize("member", ["Bank", "x", "b" * 33, "bank_a", "../bank"])
def test_a_name_that_no_member_can_have_makes_no_keys(tmp_path, member):
    assert refusal(prepare, tmp_path, member) == "node.member_name_invalid"
    assert [*tmp_path.iterdir()] == []

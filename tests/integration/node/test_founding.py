"""A network is founded with public files alone: nobody has another's keys, and nothing else is taken for one's own."""

from __future__ import annotations

import shutil
from functools import partial

import pytest

from consortium_world import CHEAP
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto.model import SuiteName
from shuiqiao.members.genesis import decode_genesis
from shuiqiao.members.model import Role
from shuiqiao.node.founding import Addresses, NewMember, found_home, genesis_of_files, join_network, prepare_member
from shuiqiao.node.home.keys import find_passphrase, kept_passphrase_file, load_keys
from shuiqiao.node.home.settings import Home, load_settings
from shuiqiao.node.institution import Institution

FOUNDERS = {"bureau": Role.TAX_BUREAU, "bank-a": Role.BANK, "watch": Role.REGULATOR}
NEAR = Addresses(peers={"bureau": "http://127.0.0.1:18601"}, peer_listen="127.0.0.1:18602")


def new(member, role=Role.BANK):
    return NewMember(member=member, role=FOUNDERS.get(member, role), name=f"The {member}", name_zh="甲")


def prepare(folder, member, *, network="delta", suite=SuiteName.INTL, passphrase=None):
    home = Home(folder / member)
    prepare_member(
        home, new(member), network=network, suite=suite, passphrase=passphrase, entropy=system_entropy, cost=CHEAP
    )
    return home


def genesis_of(homes, *, suite=SuiteName.INTL, **changes):
    agreed = {"network": "delta", "writer": "bureau", "witnesses": ["watch"], "quorum": 1} | changes
    return genesis_of_files([home.member_file for home in homes], suite=suite, created_ms=1_775_000_000_000, **agreed)


def finish(home, genesis, addresses=NEAR):
    return found_home(home, genesis, passphrase=partial(find_passphrase, home), addresses=addresses)


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

"""Commands on the homes of a running consortium: they reach the ledger through the server that has it open.

Bounded in time; absent CometBFT it is skipped with the reason.
"""

from __future__ import annotations

import stat
from contextlib import closing

import pytest

from network_world import four_validators
from patience import PATIENCE_S
from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.base.unix_socket import connect_to
from shuiqiao.client.http import HttpClient
from shuiqiao.client.resources.home import HomeStatus
from shuiqiao.client.resources.ledger import CheckpointRecord, ConsistencyProof, Entry, StateValue
from shuiqiao.client.resources.validator import STANDING, ValidatorStanding
from shuiqiao.ledger.log.tree import leaf_hash, verify_consistency
from shuiqiao.node.institution import Institution
from shuiqiao.node.published.verification import ReceiptVerifier

VALIDATORS = ["bureau", "bank-1", "regulator", "bank-2"]


@pytest.fixture
def network(run_network, tmp_path):
    """Four validators that run; their keys open fast."""
    folder = four_validators(tmp_path / "net")

    def call(command, *arguments):
        done = run_network(folder.folder, command, *arguments)
        assert done.code == 0, (done.out, done.err)
        return done.json

    call("start")
    yield folder
    call("stop")


def client_of(home):
    return HttpClient.at_socket(home.socket, timeout_s=PATIENCE_S)


def test_a_home_works_through_its_server(network, shuiqiao, files):
    bureau = network.home("bureau")
    with client_of(bureau) as client:
        before = client.get(STANDING).read_as(ValidatorStanding)
    done = shuiqiao("ingest", files["registration"], "--home", bureau.folder, "--json")
    assert (done.code, done.json["anchors"]) == (0, 1), (done.out, done.err)
    audited = shuiqiao("audit", "--home", bureau.folder, "--json")
    assert (audited.code, audited.json["anchors_verified"]) == (0, 1), (audited.out, audited.err)

    with client_of(bureau) as client:
        check_the_doors(client, before=before, genesis=network.genesis)
        check_that_garbage_ends_one_connection(client, bureau)
    for member in VALIDATORS:
        check_that_one_process_has_the_ledger(network.home(member), here=shuiqiao)
    check_a_home_whose_server_is_gone(network, shuiqiao=shuiqiao, files=files)


def check_the_doors(client, *, before, genesis):
    """State, proofs and receipts as from the engine itself; what a person must be known for says so."""
    after = client.get(STANDING).read_as(ValidatorStanding)
    assert (after.blocks, after.size > before.size, after.is_node_running) == (1, True, True)
    assert client.get("/home/status").read_as(HomeStatus).engine == "cometbft"
    transaction = bytes.fromhex(client.get("/api/v1/ledger/entries/0").read_as(Entry).raw)
    parameters = {"old_size": 1, "new_size": after.size}
    shown = client.get("/api/v1/ledger/consistency", parameters=parameters).read_as(ConsistencyProof)
    receipt = client.get("/api/v1/ledger/entries/0/receipt").body
    verified = ReceiptVerifier.from_genesis(genesis=genesis, home=None).verify(receipt)
    assert (verified.index, len(verified.cosigners) >= 3) == (0, True)
    checkpoint = client.get("/api/v1/ledger/checkpoint").read_as(CheckpointRecord)
    verify_consistency(
        old_size=1,
        old_root=leaf_hash(transaction, hash_name="sha256"),
        new_size=after.size,
        new_root=bytes.fromhex(checkpoint.root),
        path=[bytes.fromhex(step) for step in shown.path],
        hash_name="sha256",
    )
    value = client.get("/api/v1/ledger/state", parameters={"key": "members/epoch"}).read_as(StateValue)
    assert value.is_set
    with pytest.raises(InvalidInput, match=r"ledger\.size_unknown"):
        client.get("/home/validator/proof", parameters={"size": 1, "new_size": 10_000})


def check_that_garbage_ends_one_connection(client, home):
    """Hostile bytes end the connection they came on, and none other."""
    for garbage in (b"\xff\xff\xff\xff\r\n\r\n", b"GET /home/status\r\n\r\n", b"\x00" * 100_000):
        with closing(connect_to(home.socket, timeout_s=PATIENCE_S)) as other:
            try:
                other.sendall(garbage)
                answer = other.recv(1 << 16)
            except ConnectionError:
                answer = b""
            assert not answer or answer.startswith(b"HTTP/1.1 400 "), answer
    assert client.get("/home/status").read_as(HomeStatus).height > 0


def check_that_one_process_has_the_ledger(home, *, here):
    """The socket is its owner's alone, and nobody else opens the home."""
    assert stat.S_IMODE(home.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.folder.stat().st_mode) == 0o700
    with pytest.raises(Unavailable, match=r"ledger\.locked"):
        Institution.open(home)
    again = here("serve", "--home", home.folder, "--json")
    assert (again.code, again.json["error"]["code"]) == (1, "node.server_running")


def check_a_home_whose_server_is_gone(network, *, shuiqiao, files):
    """What needs the server says that it is gone."""
    done = shuiqiao("network", "kill", "bureau", "--folder", network.folder, "--json")
    assert done.code == 0
    bureau = network.home("bureau").folder
    refused = shuiqiao("ingest", files["tax_credit_grade"], "--home", bureau, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (3, "node.not_running")
    assert "network start" in refused.json["error"]["next_step"]
    # What only reads needs no server.
    listed = shuiqiao("members", "list", "--home", bureau, "--json")
    assert (listed.code, len(listed.json["members"])) == (0, len(VALIDATORS))

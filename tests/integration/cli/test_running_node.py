"""Commands on the homes of a running consortium: they reach the ledger through the node that has it open.

Bounded in time; absent CometBFT it is skipped with the reason.
"""

from __future__ import annotations

import threading
from contextlib import closing

import msgspec
import pytest

from consortium_world import anchor_body
from patience import PATIENCE_S
from shuiqiao.base.errors import Conflict, InvalidInput, Unavailable
from shuiqiao.base.ids import new_id
from shuiqiao.base.unix_socket import connect_to
from shuiqiao.ledger.log.tree import verify_consistency
from shuiqiao.ledger.model import MAX_TRANSACTION_BYTES
from shuiqiao.ledger.transactions.submitter import DRAFT_VALIDITY_MS
from shuiqiao.ledger.transactions.transaction import TransactionDraft, sign_transaction
from shuiqiao.node.institution import Institution
from shuiqiao.node.localnet.plan import NetworkFolder
from shuiqiao.node.peers.link_server import MAX_VIEWS
from shuiqiao.node.peers.remote_ledger import RemoteLedger
from shuiqiao.node.published.verification import ReceiptVerifier
from shuiqiao.vault.contract import batch_lookup

VALIDATORS = ["bureau", "bank-1", "regulator", "bank-2"]
IN_FLIGHT = 40


@pytest.fixture
def network(run_network, tmp_path):
    folder = NetworkFolder(tmp_path / "net")

    def call(command, *arguments):
        done = run_network(folder.folder, command, *arguments)
        assert done.code == 0, (done.out, done.err)
        return done.json

    call("init", "--validators", "4")
    call("start")
    yield folder
    call("stop")


def anchors(institution, count):
    """Sign anchors of batches that nobody has, without handing them in."""
    outbox = institution.outbox
    drafts = [
        TransactionDraft(
            kind="anchor.commit",
            version=1,
            body=anchor_body(new_id()),
            author=institution.member,
            valid_until_ms=outbox.now_ms() + DRAFT_VALIDITY_MS,
            id=new_id(),
        )
        for _ in range(count)
    ]
    network, suite = institution.parameters.network, institution.suite
    return [sign_transaction(each, network=network, suite=suite, keys=[institution.keys.signing]) for each in drafts]


def test_a_home_works_through_its_running_node(network, shuiqiao, files):
    bureau = network.home("bureau")
    done = shuiqiao("ingest", files["registration"], "--home", bureau.folder, "--json")
    assert (done.code, done.json["anchors"]) == (0, 1), (done.out, done.err)
    audited = shuiqiao("audit", "--home", bureau.folder, "--json")
    assert (audited.code, audited.json["anchors_verified"]) == (0, 1), (audited.out, audited.err)

    for member in VALIDATORS:
        with Institution.open(network.home(member)) as institution:
            assert isinstance(institution.engine, RemoteLedger)
            institution.engine.wait_for_block(1)
            [block] = institution.engine.blocks(from_height=1)
            body = institution.outbox.decode(block.transactions[0]).body
            assert batch_lookup(institution.engine.state(), "bureau")(body.batch) is not None

    with Institution.open(bureau) as institution:
        check_the_port(institution, genesis=network.genesis)
        check_that_what_is_shown_stays(institution)
        check_that_garbage_ends_one_connection(institution, bureau)


def check_the_port(institution, *, genesis):
    """Many in flight, all answered; news, proofs, receipts and refusals as from the engine itself."""
    engine = institution.engine
    told, enough = [], threading.Event()

    def listen(block, _events):
        told.extend(block.transactions)
        if len(told) == IN_FLIGHT:
            enough.set()

    engine.subscribe(listen)
    before = engine.checkpoint(at_least=2)
    raws = anchors(institution, IN_FLIGHT)
    futures = [engine.submit(raw) for raw in raws]
    found = [future.result(timeout=PATIENCE_S) for future in futures]
    assert enough.wait(PATIENCE_S)
    assert sorted(raws) == sorted(told)
    assert len({each.index for each in found}) == IN_FLIGHT

    after = engine.checkpoint(at_least=max(each.index for each in found) + 1)
    verify_consistency(
        old_size=before.size,
        old_root=before.root,
        new_size=after.size,
        new_root=after.root,
        path=engine.consistency_proof(old_size=before.size, new_size=after.size),
        hash_name=institution.suite.hash_name,
    )
    verified = ReceiptVerifier.from_genesis(genesis=genesis, home=None).verify(engine.receipt(found[0].index))
    assert verified.index == found[0].index
    assert len(verified.cosigners) >= 3
    with pytest.raises(InvalidInput, match=r"ledger\.index_unknown"):
        engine.receipt(10_000)
    with pytest.raises(Conflict, match=r"ledger\.tx_replayed"):
        engine.submit(raws[0]).result(timeout=PATIENCE_S)
    with pytest.raises(InvalidInput, match=r"ledger\.tx_too_large"):
        engine.submit(bytes(MAX_TRANSACTION_BYTES + 1)).result(timeout=PATIENCE_S)


def check_that_what_is_shown_stays(institution):
    """A state stays what it was; what is too old is told to be gone, and the node keeps nobody's for ever."""
    engine = institution.engine
    body = anchor_body(new_id())
    before = engine.state()
    institution.outbox.submit("anchor.commit", body)
    assert batch_lookup(before, "bureau")(body.batch) is None
    assert batch_lookup(engine.state(), "bureau")(body.batch) is not None
    views = [before]
    while len(views) <= MAX_VIEWS:
        institution.outbox.submit("anchor.commit", anchor_body(new_id()))
        views.append(engine.state())
    with pytest.raises(Unavailable, match=r"node\.view_expired"):
        before.get("members/epoch")
    assert views[-1].get("members/epoch")["number"] == 0


def check_that_garbage_ends_one_connection(institution, home):
    """Hostile bytes end the connection they came on, and none other."""
    for garbage in (b"\xff\xff\xff\xff", b"\x00\x00\x00\x03abc", b"\x00\x00\x00\x01\xc1", frame_of_nothing_known()):
        with closing(connect_to(home.link, timeout_s=PATIENCE_S)) as other:
            other.sendall(garbage)
            assert other.recv(1) == b""
    assert institution.engine.last_block()[0] > 0


def frame_of_nothing_known():
    data = msgspec.msgpack.encode(["mint", 1, 1_000_000])
    return len(data).to_bytes(4, "big") + data


def test_a_home_whose_node_is_gone_says_so(network, shuiqiao, files):
    bank = network.home("bank-1")
    with Institution.open(bank) as institution:
        done = shuiqiao("network", "kill", "bank-1", "--folder", network.folder, "--json")
        assert done.code == 0
        with pytest.raises(Unavailable, match=r"node\.link_lost"):
            institution.engine.last_block()
        with pytest.raises(Unavailable, match=r"node\.link_lost"):
            institution.engine.submit(b"any").result(timeout=PATIENCE_S)
    done = shuiqiao("network", "kill", "bureau", "--folder", network.folder, "--json")
    refused = shuiqiao("ingest", files["registration"], "--home", network.home("bureau").folder, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (3, "node.not_running")
    assert "network start" in refused.json["error"]["next_step"]

"""The homes of a local network of four validators, and an alarm that a member hands in at a node of it."""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from cometbft_world import broadcast
from consortium_world import CHEAP
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.ids import MemberId, new_id, system_entropy
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.cometbft.comet.home import RPC_SOCKET, ValidatorKeyFiles
from shuiqiao.ledger.engine.cometbft.comet.rpc import RpcClient
from shuiqiao.ledger.transactions.transaction import TransactionDraft, sign_transaction
from shuiqiao.members.contract import ROTATE_KEY, MemberRotateKeyBody
from shuiqiao.members.genesis import network_parameters
from shuiqiao.members.model import KeyPurpose
from shuiqiao.members.roster import Registration
from shuiqiao.node.home.keys import find_passphrase, load_keys
from shuiqiao.node.localnet.making import create_network
from shuiqiao.node.localnet.plan import NetworkFolder
from shuiqiao.oversight.contract import OversightAlarmBody


def four_validators(folder: Path) -> NetworkFolder:
    """A network of bureau, regulator and two banks, none of which runs."""
    network = NetworkFolder(folder)
    create_network(
        network,
        members=None,
        suite=None,
        engine=None,
        validators=4,
        passphrase=None,
        clock=SystemClock(),
        entropy=system_entropy,
        cost=CHEAP,
    )
    return network


def submit_alarm(
    network: NetworkFolder, member: str, *, through: str | None = None, alarm: bytes | None = None
) -> bytes:
    """Sign an alarm with the key in a member's home, hand it in at one node's RPC, and return the alarm's id."""
    alarm = alarm or new_id()
    body = OversightAlarmBody(alarm=alarm, subject="fault", accused=None, evidence_digest=os.urandom(32))
    submit_body(network, member, "oversight.alarm", body, through=through)
    return alarm


def record_next_voting_key(network: NetworkFolder, member: str) -> bytes:
    """Put the next key that a validator votes with on the ledger, as a rotation that goes no further; return it."""
    home = network.home(member)
    key = ValidatorKeyFiles(home.cometbft).make_next(system_entropy)
    known = network_parameters(home.genesis.read_bytes()).network
    proof = Registration.on_network(known, MemberId(member)).prove(key.public_key, purpose=KeyPurpose.VALIDATOR, by=key)
    body = MemberRotateKeyBody(purpose=KeyPurpose.VALIDATOR, new_key=key.public_key, proof=proof)
    submit_body(network, member, ROTATE_KEY, body)
    return key.public_key


def submit_body(
    network: NetworkFolder, member: str, kind: str, body: msgspec.Struct, *, through: str | None = None
) -> None:
    """Sign a transaction with the key in a member's home, and hand it in at one node's RPC."""
    home = network.home(member)
    parameters = network_parameters(home.genesis.read_bytes())
    draft = TransactionDraft(
        kind=kind,
        version=1,
        body=body,
        author=MemberId(member),
        valid_until_ms=time.time_ns() // 1_000_000 + 3_600_000,
        id=new_id(),
    )
    key = load_keys(home, passphrase=find_passphrase(home)).signing
    raw = sign_transaction(draft, network=parameters.network, suite=get_suite(parameters.suite), keys=[key])
    rpc = RpcClient(network.home(through or member).cometbft / RPC_SOCKET)
    assert broadcast(rpc, raw)["code"] == 0
    rpc.close()

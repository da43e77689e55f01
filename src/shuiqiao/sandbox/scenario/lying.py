"""A validator whose program lies to its own CometBFT node, so that it takes part with a ledger that the others lack.

The node compares the application hash only when it starts. Told the hash that all agreed on, it joins; what the program
signs and computes from then on follows from the altered ledger.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

import msgspec

from shuiqiao.base.errors import ShuiqiaoError, Unavailable
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.engine.cometbft.abci import messages as abci
from shuiqiao.ledger.engine.cometbft.abci.server import AbciServer
from shuiqiao.ledger.engine.cometbft.comet.home import APP_SOCKET
from shuiqiao.ledger.engine.cometbft.comet.process import NodeProcess
from shuiqiao.ledger.engine.cometbft.consensus.application import ApplicationSettings, LedgerApplication
from shuiqiao.ledger.engine.cometbft.consensus.extensions import Cosigner
from shuiqiao.ledger.transactions.verifiers import open_verifier
from shuiqiao.node.institution import Institution
from shuiqiao.sandbox.scenario.altering import AlteredCopy
from shuiqiao.sandbox.scenario.rebuilding import machine_of

MEETING_TIMEOUT_S = 40.0
"""How long a node may take to meet the others again and to see that it misses nothing, in seconds."""

_POLL_S = 0.1


class _LyingApplication(LedgerApplication):
    """The ledger's application but for one answer."""

    shown_hash = b""

    def info(self, request: abci.RequestInfo) -> abci.ResponseInfo:
        """Return the height that is true with a hash that is not."""
        return msgspec.structs.replace(super().info(request), last_block_app_hash=self.shown_hash)


@contextmanager
def lie_about_hash(member: Institution, altered: AlteredCopy, *, policy: CheckpointPolicy) -> Generator[None]:
    """Serve a closed member's altered ledger to its node, under the hash that all agreed on."""
    suite = get_suite(member.parameters.suite)
    application = _LyingApplication(
        member.home.ledger,
        machine=machine_of(member.parameters, kinds=member.kinds),
        verifier=open_verifier(suite, processes=0),
        clock=member.surroundings.clock,
        policy_of=lambda _state: policy,
        cosigner=Cosigner(member=member.member, key=member.keys.signing),
        settings=ApplicationSettings(),
    )
    application.shown_hash = altered.honest_app_hash
    try:
        server = AbciServer(application.answers, path=member.home.cometbft / APP_SOCKET, on_fault=lambda _fault: None)
        try:
            yield
        finally:
            server.close()
    finally:
        application.close()


def meet_others(node: NodeProcess, *, peers: int) -> None:
    """Return once a node has its peers and takes part again; raises Unavailable ``sandbox.node_apart``."""
    end = time.monotonic() + MEETING_TIMEOUT_S
    while time.monotonic() < end:
        node.require_running()
        try:
            if node.rpc.peer_count() >= peers and not node.status().is_catching_up:
                return
        except ShuiqiaoError:
            # It does not answer yet.
            pass
        time.sleep(_POLL_S)
    raise Unavailable(
        "sandbox.node_apart", f"the node over {node.home} did not meet {peers} others within {MEETING_TIMEOUT_S:g} s"
    )

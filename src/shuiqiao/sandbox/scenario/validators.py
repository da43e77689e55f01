"""The CometBFT nodes of a run on validators: one beside each institution, on loopback, ended with the run.

Those with a vote decide the blocks; the others follow without one. What it takes to run them is the engine's own
(``LocalNetwork``); here is who gets a node, and how fast they go.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shuiqiao.base.ids import Entropy, MemberId
from shuiqiao.crypto.model import SEED_BYTES
from shuiqiao.ledger.engine.cometbft.comet.home import NodeKeys, Pace, chain_id_of
from shuiqiao.ledger.engine.cometbft.comet.localnet import LocalNetwork, LocalNode, LocalSettings
from shuiqiao.members.model import VALIDATOR_POWER, EngineName, Genesis

PACE = Pace(propose_ms=1_000, vote_ms=500, commit_ms=10)
"""On loopback votes are there at once; a proposer that is down costs the others a second."""

START_TIMEOUT_S = 60.0
"""How long the nodes may take to agree on their first block, in seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """On what a run is played. validators: how many vote, 0 with the embedded engine. program: the cometbft program."""

    engine: EngineName
    validators: int = 0
    program: Path = Path()


EMBEDDED = Order(engine=EngineName.EMBEDDED)


def node_keys(members: Iterable[MemberId], *, entropy: Entropy) -> dict[MemberId, NodeKeys]:
    """Return fresh keys of a CometBFT node for every member."""
    return {member: NodeKeys(node_seed=entropy(SEED_BYTES), validator_seed=entropy(SEED_BYTES)) for member in members}


def local_network(
    folder: Path,
    *,
    genesis: Genesis,
    network: bytes,
    nodes: Mapping[MemberId, NodeKeys],
    program: Path,
    home_of: Callable[[MemberId], Path],
) -> LocalNetwork | None:
    """Write the homes of all nodes and return them, not started; None where there are none.

    network: the network id. Raises Unavailable ``ledger.ports_taken``.
    """
    if not nodes:
        return None
    return LocalNetwork(
        folder,
        [
            LocalNode(
                name=member,
                keys=keys,
                power=VALIDATOR_POWER if member in genesis.witnesses else 0,
                home=home_of(member),
            )
            for member, keys in nodes.items()
        ],
        program=program,
        settings=LocalSettings(
            chain_id=chain_id_of(network), genesis_time_ms=genesis.created_ms, pace=PACE, is_relayed=False
        ),
    )


@contextmanager
def started(network: LocalNetwork | None) -> Generator[None]:
    """Keep all nodes running, from their first block on; nothing where there are none.

    Raises Unavailable ``ledger.node_too_slow``.
    """
    if network is None:
        yield
        return
    try:
        network.start()
        network.wait_for_height(1, timeout_s=START_TIMEOUT_S)
        yield
    finally:
        network.stop()

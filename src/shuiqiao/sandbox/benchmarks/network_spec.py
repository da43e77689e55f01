"""What all processes of the consortium bench must know alike, written once and read by each of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from shuiqiao.ledger.engine.cometbft.comet.home import NodeKeys
from shuiqiao.sandbox.benchmarks.ledger_load import MEMBERS, LoadNetwork, load_network


class NetworkSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One network of the bench.

    comet: folder of each validator's CometBFT node. verifier_processes: see ``CometbftSettings``. snapshot_interval:
    CometBFT heights between two snapshots.
    """

    suite: str
    genesis_ms: int
    folder: str
    comet: Mapping[str, str]
    verifier_processes: int
    snapshot_interval: int

    def network(self) -> LoadNetwork:
        """Return the load network that the validators run."""
        keys = {name: comet_keys(name).validator_key for name in MEMBERS}
        return load_network(self.suite, genesis_time_ms=self.genesis_ms, validator_keys=keys)

    def ledger_folder(self, member: str) -> Path:
        """Return where a validator keeps its copy."""
        return Path(self.folder) / "ledger" / member

    def control(self, member: str) -> Path:
        """Return where a validator's process is asked."""
        return Path(self.folder) / f"{member}.sock"

    def save(self, path: Path) -> None:
        """Write it for the other processes."""
        path.write_bytes(msgspec.json.encode(self))


def load_spec(path: Path) -> NetworkSpec:
    """Return what ``NetworkSpec.save`` wrote."""
    return msgspec.json.decode(path.read_bytes(), type=NetworkSpec)


def comet_keys(member: str) -> NodeKeys:
    """Return a validator's CometBFT keys: they follow from its name, for a network that lives for minutes."""
    return NodeKeys(
        node_seed=hashlib.sha256(f"bench node {member}".encode()).digest(),
        validator_seed=hashlib.sha256(f"bench validator {member}".encode()).digest(),
    )

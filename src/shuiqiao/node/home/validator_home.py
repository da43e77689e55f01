"""The CometBFT folder of a validator's home: what its network's genesis says, and what a backup may bring of it.

A backup may come from anybody who has a member's key. CometBFT reads names without regard to case and has settings
that start another application, open ports or name other files, so its configuration is not searched for what is
forbidden: it is written anew as this product writes it [ABCI-30].
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.engine.cometbft.comet.home import (
    GenesisValidator,
    chain_id_of,
    comet_genesis,
    config_text,
    read_comet_file,
    read_comet_genesis,
    read_settings,
    write_configuration,
)
from shuiqiao.members.genesis import decode_genesis, network_id
from shuiqiao.members.model import VALIDATOR_POWER

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from shuiqiao.node.home.settings import NodeSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewedConfiguration:
    """What a configuration that was written anew says of others, and the lines of the stored one that it lacks."""

    p2p: str
    peers: tuple[str, ...]
    left_out: tuple[str, ...]


def comet_genesis_of(genesis: bytes) -> dict[str, Any]:
    """Return the CometBFT genesis document of a network, from the network's own genesis [ABCI-10]."""
    agreed = decode_genesis(genesis)
    return comet_genesis(
        chain_id=chain_id_of(network_id(genesis)),
        time_ms=agreed.created_ms,
        validators=[
            GenesisValidator(name=member.id, key=member.validator_key, power=VALIDATOR_POWER)
            for member in agreed.members
            if member.validator_key is not None
        ],
    )


def renew_configuration(comet: Path, *, settings: NodeSettings, genesis: bytes) -> RenewedConfiguration:
    """Write a restored node's configuration and CometBFT genesis anew; its address and its peers stay [ABCI-30].

    comet: the CometBFT folder. Raises IntegrityError ``ledger.comet_home_damaged``, and ``node.restore_contradicted``
    where the CometBFT genesis is not that of the network.
    """
    own = read_settings(comet, moniker=settings.member)
    document = comet_genesis_of(genesis)
    if _comparable(read_comet_genesis(comet)) != _comparable(document):
        raise IntegrityError(
            "node.restore_contradicted",
            "cometbft/config/genesis.json in the backup is not the one that the network's genesis makes",
        )
    stored = read_comet_file(comet / "config" / "config.toml").decode()
    write_configuration(comet, settings=own, genesis=document)
    written = set(config_text(own).splitlines())
    left_out = tuple(line for line in stored.splitlines() if line.strip() and line not in written)
    return RenewedConfiguration(p2p=own.p2p, peers=tuple(own.peers), left_out=left_out)


def _comparable(document: Mapping[str, Any]) -> tuple[str, list[str]]:
    """Return a genesis document in a form that differs wherever the document does, but for the order of validators."""
    found = document.get("validators")
    validators = found if isinstance(found, list) else []
    rest = {**document, "validators": len(validators)}
    return json.dumps(rest, sort_keys=True), sorted(json.dumps(each, sort_keys=True) for each in validators)

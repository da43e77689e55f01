"""A network on one machine as a folder: where things lie in it, and on which loopback ports its validators meet.

```
NET/network.json    this plan            NET/homes/<member>/   one home per institution
NET/genesis.json    the public genesis   NET/run/              process ids, logs and control sockets, owner only
NET/members.toml    the members with their public keys
```
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from shuiqiao.base.encoding import typed
from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.base.files import open_regular
from shuiqiao.ledger.engine.cometbft.comet.localnet import Mesh, NodePlace, RelayPlace
from shuiqiao.node.home.settings import Home

MAX_PLAN_BYTES = 1 << 20
MAX_VALIDATORS = 16
"""Validators on one machine: each is two processes, and every pair has a relay."""

RELAYS = "_relays"
"""Name of the relay process among the processes of a network: no member can be called so."""


class NetworkPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What network.json holds. network: the network id in hex. Without validators the engine is embedded."""

    version: Literal[2] = 2
    network: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    suite: Literal["intl", "gm"]
    engine: Literal["embedded", "cometbft"]
    validators: Annotated[tuple[NodePlace, ...], msgspec.Meta(max_length=MAX_VALIDATORS)] = ()
    relays: Annotated[tuple[RelayPlace, ...], msgspec.Meta(max_length=MAX_VALIDATORS**2)] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The validators by name, in their order."""
        return tuple(place.member for place in self.validators)

    @property
    def mesh(self) -> Mesh:
        """Where the validators meet."""
        return Mesh(nodes=self.validators, relays=self.relays)


@dataclass(frozen=True, slots=True)
class NetworkFolder:
    """The paths of a network's folder."""

    folder: Path

    @property
    def plan(self) -> Path:
        """network.json, written last: without it the folder is no network."""
        return self.folder / "network.json"

    @property
    def genesis(self) -> Path:
        """The public genesis."""
        return self.folder / "genesis.json"

    @property
    def members(self) -> Path:
        """The members with their public keys."""
        return self.folder / "members.toml"

    @property
    def run(self) -> Path:
        """Where processes leave their ids, logs and sockets."""
        return self.folder / "run"

    def home(self, member: str) -> Home:
        """The home of one institution."""
        return Home(self.folder / "homes" / member)

    def control(self, process: str) -> Path:
        """The control socket of a process."""
        return self.run / f"{process}.sock"


def load_plan(folder: NetworkFolder) -> NetworkPlan:
    """Read network.json; raises Unavailable ``node.network_missing``, InvalidInput ``node.network_invalid``."""
    try:
        with open_regular(folder.plan) as file:
            data = file.read(MAX_PLAN_BYTES)
    except OSError as error:
        raise Unavailable(
            "node.network_missing",
            f"{folder.folder} is no network: {folder.plan.name} cannot be read: {error.strerror}",
            next_step=f"shuiqiao network init --folder {folder.folder}",
        ) from error
    try:
        return typed(msgspec.json.decode(data), NetworkPlan)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("node.network_invalid", f"{folder.plan}: {error}") from error


def encode_plan(plan: NetworkPlan) -> bytes:
    """Return network.json for a plan."""
    return msgspec.json.format(msgspec.json.encode(plan), indent=2) + b"\n"

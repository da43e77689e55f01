"""The witnesses as the writer reaches them: each at the endpoint of its member, asked by signed messages [PEER-9].

Every member with an endpoint is told to the engine, which asks those that the epoch in force names; a member that is
admitted or named later, or that moves, need do nothing more than say where it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Protocol

from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.witness.request import encode_request
from shuiqiao.members.roster import roster
from shuiqiao.node.peers import acts
from shuiqiao.node.peers.message import Act

if TYPE_CHECKING:
    from shuiqiao.ledger.engine.port import Listener
    from shuiqiao.ledger.model import Block, Event, StateView
    from shuiqiao.ledger.witness.cosigning import WitnessPeer
    from shuiqiao.node.peers.asking import PeerClient

COSIGN_TIMEOUT_S: Final = 10.0
"""How long one question to a witness may take, in seconds; nobody but that witness's own cosignature waits for it."""


class HttpWitness:
    """One member's witness; a ``WitnessPeer`` for the engine. What it answers is verified by who asked."""

    def __init__(self, client: PeerClient, *, member: MemberId) -> None:
        self._client = client
        self.member = member

    def witnessed_size(self, origin: str) -> int:
        """Return the size that it says it cosigned last; raises what ``PeerClient.ask`` raises."""
        asked = acts.OfOrigin(origin=origin)
        return self._client.ask(
            self.member, Act.WITNESSED_SIZE, asked, answer=acts.OfSize, timeout_s=COSIGN_TIMEOUT_S
        ).size

    def cosign(self, note: bytes, *, old_size: int, proof: Sequence[bytes]) -> bytes:
        """Return its cosignature line; raises what ``PeerClient.ask`` raises, and what its witness refuses with."""
        body = encode_request(old_size=old_size, proof=proof, note=note)
        return self._client.ask(self.member, Act.COSIGN, body, answer=acts.Line, timeout_s=COSIGN_TIMEOUT_S).line


class WitnessedEngine(Protocol):
    """The engine of a writer, as far as witnesses are told to it."""

    def state(self) -> StateView:
        """Return the state after the last block."""
        ...

    def add_witness(self, peer: WitnessPeer) -> None:
        """Ask a witness from now on."""
        ...

    def subscribe(self, listener: Listener) -> None:
        """Call a listener after each block."""
        ...


def ask_witnesses(engine: WitnessedEngine, *, client: PeerClient) -> None:
    """Have the writer ask the witness of every member that has an address, now and after each block."""
    told: set[MemberId] = set()

    def tell(_block: Block | None = None, events: Sequence[Event] = ()) -> None:
        if _block is not None and not any(event.name.startswith("member.") for event in events):
            return
        for name in roster(engine.state()):
            member = MemberId(name)
            if member not in told and member != client.member and client.directory.has(member):
                told.add(member)
                engine.add_witness(HttpWitness(client, member=member))

    tell()
    engine.subscribe(tell)

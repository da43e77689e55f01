"""Messages between the members of a governed network, whole or with a fault of each sort."""

from __future__ import annotations

import msgspec

from members_world import World
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.ids import MemberId
from shuiqiao.ledger.transactions.document import sign_document
from shuiqiao.node.peers.message import PEER_MESSAGE, Act, MessageVerifier, PeerMessage

RECEIVER = MemberId("bureau")
SENDER = MemberId("bank-west")


class MessageWorld(World):
    """A receiver that takes messages in, and senders of every sort."""

    def __init__(self, suite_name: str) -> None:
        super().__init__(suite_name)
        self.clock = ManualClock(self.time_ms)
        self.verifier = self.new_verifier()
        self.sent = 0

    def new_verifier(self) -> MessageVerifier:
        return MessageVerifier(member=RECEIVER, network=self.parameters.network, suite=self.suite, clock=self.clock)

    def message(self, *, key=None, network=None, name=PEER_MESSAGE, **fields) -> bytes:
        """Return a message that is in order but for what is named."""
        self.sent += 1
        whole = {
            "act": Act.CHECKPOINT.value,
            "sender": SENDER,
            "receiver": RECEIVER,
            "made_ms": self.clock.now_ms(),
            "nonce": self.sent.to_bytes(16, "big"),
            "body": b"\xa0",
        }
        return sign_document(
            PeerMessage(**(whole | fields)),
            name=name,
            network=self.parameters.network if network is None else network,
            suite=self.suite,
            keys=(self.keys[SENDER] if key is None else key,),
        )

    def take(self, raw: bytes, *, act: Act = Act.CHECKPOINT) -> PeerMessage:
        return self.verifier.verify(raw, act=act, state=self.state)


def fields_of(message: PeerMessage) -> dict[str, object]:
    return msgspec.structs.asdict(message)

"""A bank's applications on their way: whom an institution asks, which regulator learns, and how that is told.

The rooms beneath know what is done on an application; here stands whom this institution does it with.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from shuiqiao.base.errors import Denied, InvalidInput
from shuiqiao.base.ids import MemberId
from shuiqiao.lending.contract import decision_key
from shuiqiao.members.model import Role
from shuiqiao.members.roster import is_suspended, roster

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shuiqiao.ledger.model import LedgerEngine, StateView
    from shuiqiao.lending.store import LendingStore
    from shuiqiao.node.peers.delivery import Deliveries

WAIT_S = 120.0
"""How long a caller waits while another thread is at work on the application, in seconds."""

_SHORTEST_NAME = 4
_ID_CHARACTERS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredOpenings:
    """Hands openings in by the outbox to other members: each is kept until the regulator has it, however long."""

    deliveries: Deliveries
    bank: MemberId
    engine: LedgerEngine

    def hand_in(self, application: bytes, sealed: bytes) -> None:
        """Keep an opening for the regulator to which it was sealed, as the decision's entry on the ledger says."""
        from shuiqiao.node.peers.exchange_link import opening_body
        from shuiqiao.node.peers.message import Act

        state = self.engine.state()
        decided = state.get(decision_key(self.bank, application))
        regulator = regulator_of(state) if decided is None else MemberId(decided["regulator"])
        self.deliveries.send(regulator, Act.OPENING, opening_body(application, sealed, engine=self.engine))

    def hand_in_again(self, openings: Mapping[bytes, bytes]) -> int:
        """Keep openings for a regulator that lost them; return how many, without those that wait for it already."""
        from shuiqiao.node.peers.exchange_link import opened_application
        from shuiqiao.node.peers.message import Act

        waiting = {opened_application(body) for body in self.deliveries.bodies(Act.OPENING)}
        lost = {application: sealed for application, sealed in openings.items() if application not in waiting}
        for application, sealed in lost.items():
            self.hand_in(application, sealed)
        return len(lost)


def regulator_of(state: StateView) -> MemberId:
    """Return to whom a bank's decisions are sealed now: the one regulator that is not suspended.

    Raises Denied ``node.regulator_unclear`` where there is none, or more than one.
    """
    known = [MemberId(member) for member, role in roster(state).items() if role == Role.REGULATOR]
    regulators = [member for member in known if not is_suspended(state, member)]
    if len(regulators) != 1:
        raise Denied(
            "node.regulator_unclear",
            f"this network has {len(regulators)} regulators that are not suspended where one is needed",
        )
    return regulators[0]


def find_application(store: LendingStore, name: str) -> bytes:
    """Return the id of the application that begins so; raises InvalidInput ``node.application_unclear``."""
    if len(name) == _ID_CHARACTERS and store.has(bytes.fromhex(name)):
        return bytes.fromhex(name)
    known = store.ids()
    found = [application for application in known if application.hex().startswith(name.lower())]
    if len(name) < _SHORTEST_NAME or len(found) != 1:
        raise InvalidInput(
            "node.application_unclear",
            f"{name[:64]!r} begins the id of {len(found)} of {len(known)} applications; {_SHORTEST_NAME} or more of "
            "its characters that begin no other are needed",
        )
    return found[0]

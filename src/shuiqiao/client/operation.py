"""An operation of the API as both of its ends know it: its address, the form of what is sent and of what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from pydantic import BaseModel

PREFIX: Final = "/api/v1"
"""Under which every operation of the public API lies."""

DEFAULT_TIMEOUT_S: Final = 120.0
"""How long an act may take, in seconds: it waits for the ledger, and for this home's own copy of it."""

Sent = TypeVar("Sent", bound=BaseModel)
Told = TypeVar("Told", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operation(Generic[Sent, Told]):
    """One act. path: beneath the prefix, under which a door has its routes.

    ::

        VOTE = Operation(path="/governance/votes", sent=Vote, told=ProposalStanding)
        client.perform(VOTE, Vote(proposal="77ab", approve=True)).status
    """

    prefix: str = PREFIX
    path: str
    sent: type[Sent]
    told: type[Told]
    timeout_s: float = DEFAULT_TIMEOUT_S

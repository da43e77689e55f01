"""An operation of the API as both of its ends know it: its address, the form of what is sent and of what comes back."""

from __future__ import annotations

from dataclasses import dataclass
from string import Formatter
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Mapping

PREFIX: Final = "/api/v1"
"""Under which every operation of the public API lies."""

DEFAULT_TIMEOUT_S: Final = 120.0
"""How long an act may take, in seconds: it waits for the ledger, and for this home's own copy of it."""

Sent = TypeVar("Sent", bound=BaseModel)
Told = TypeVar("Told", bound=BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operation(Generic[Sent, Told]):
    """One act, or one question (GET). path: beneath the prefix, under which a door has its routes.

    The fields of a question stand in its address: those that its path names in their places, the others behind it.

    ::

        VOTE = Operation(path="/governance/votes", sent=Vote, told=ProposalStanding)
        client.perform(VOTE, Vote(proposal="77ab", approve=True)).status
    """

    prefix: str = PREFIX
    path: str
    sent: type[Sent]
    told: type[Told]
    method: Literal["GET", "POST"] = "POST"
    timeout_s: float = DEFAULT_TIMEOUT_S

    def address(self, message: Sent) -> tuple[str, Mapping[str, Any]]:
        """Return where a question is asked, and the parameters that go with it."""
        fields = message.model_dump(mode="json", exclude_none=True)
        named = {name for _, name, _, _ in Formatter().parse(self.path) if name}
        path = self.path.format_map({name: quote(str(fields[name]), safe="") for name in named})
        return self.prefix + path, {name: value for name, value in fields.items() if name not in named}

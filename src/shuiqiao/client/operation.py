"""An operation of the API as both of its ends know it: its address, the form of what is sent and of what comes back.

A question (GET) sends its form as parameters, an act (POST) as its body; a field that the address names stands there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from string import Formatter
from typing import Any, Final, Generic, Literal, TypeVar
from urllib.parse import quote

from pydantic import BaseModel

PREFIX: Final = "/api/v1"
"""Under which every operation of the public API lies."""

DEFAULT_TIMEOUT_S: Final = 120.0
"""How long an act may take, in seconds: it waits for the ledger, and for this home's own copy of it."""

Sent = TypeVar("Sent", bound=BaseModel)
Told = TypeVar("Told", bound=BaseModel)
Told_co = TypeVar("Told_co", bound=BaseModel, covariant=True)


def _of_nothing(_message: BaseModel) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Operation(Generic[Sent, Told_co]):
    """One question or act. path: beneath the prefix, under which a door has its routes.

    ::

        VOTE = Operation(path="/governance/votes", sent=Vote, told=ProposalStanding, act="members.vote")
        client.perform(VOTE, Vote(proposal="77ab", approve=True)).status
    """

    prefix: str = PREFIX
    path: str
    sent: type[Sent]
    told: type[Told_co]
    method: Literal["GET", "POST"] = "POST"
    timeout_s: float = DEFAULT_TIMEOUT_S
    act: str = ""
    """Under which name it is an entry of the journal, whichever way it is performed.

    Empty for what is none, and for what writes its own entry in the transaction of what it changes.
    """
    subject: Callable[[Sent], str] = _of_nothing
    """Returns the id of what it is done to, for that entry."""
    shows_taxpayer: bool = False
    """Whether it shows a taxpayer's records or their use: then it is an entry where nothing else is written, too."""
    tells_secret: bool = False
    """Whether the answer is told once: it is not kept for whoever sends the same request again."""

    def address(self, message: Sent) -> tuple[str, dict[str, Any]]:
        """Return where a message is sent, and the fields of it that the address does not name."""
        fields = message.model_dump(mode="json")
        named = [name for _, name, _, _ in Formatter().parse(self.path) if name]
        path = self.path.format(**{name: quote(str(fields.pop(name)), safe="") for name in named})
        return self.prefix + path, fields


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Download(Generic[Sent]):
    """A question that is answered by a file.

    ::

        receipt = client.download(RECEIPT, ReceiptQuestion(index=12))
    """

    path: str
    sent: type[Sent]
    media_type: str
    max_bytes: int

    def address(self, message: Sent) -> tuple[str, dict[str, Any]]:
        """See Operation."""
        return Operation(path=self.path, sent=self.sent, told=self.sent).address(message)

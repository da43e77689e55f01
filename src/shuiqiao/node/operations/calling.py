"""A call of an operation: what it is performed at, by whom, and as part of which request.

An institution that is open is called whole (``Call``). What is about accounts alone needs no ledger (``AccountCall``);
what only reads a copy of the ledger needs neither (``node.member_copy``).
"""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from shuiqiao.node.accounts.model import OWNER, Principal

if TYPE_CHECKING:
    from shuiqiao.client.operation import Operation, Sent, Told
    from shuiqiao.node.accounts.journal.service import Journal
    from shuiqiao.node.accounts.opening import InstitutionAccounts
    from shuiqiao.node.accounts.service import AccountService
    from shuiqiao.node.institution import Institution
    from shuiqiao.node.past import PastReader


_SUBJECT: Final = re.compile(r"[A-Za-z0-9@:/._ -]{0,160}")
"""As an entry of the journal has the id of an object."""


class Accounts(Protocol):
    """The accounts of an institution and its journal."""

    @property
    def service(self) -> AccountService:
        """Who has an account."""
        ...

    @property
    def journal(self) -> Journal:
        """Who did and read what."""
        ...


class AccountCall(Protocol):
    """A call of what is about accounts alone."""

    @property
    def accounts(self) -> Accounts:
        """The accounts of the institution."""
        ...

    @property
    def caller(self) -> Principal:
        """Who calls."""
        ...

    @property
    def request(self) -> str:
        """The id of the request, empty for none."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CalledAccounts:
    """A call of a home's accounts without its ledger."""

    accounts: Accounts
    caller: Principal
    request: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call of an institution that is open."""

    institution: Institution
    accounts: InstitutionAccounts
    caller: Principal
    request: str = ""
    past: PastReader
    """What held at a moment gone by."""
    act: bytes = b""
    """The id that what is made here gets, the same one where the same request is performed again; empty for none."""

    @classmethod
    def of_owner(cls, institution: Institution) -> Call:
        """Return the call of whoever holds the key of a home, in a process of their own."""
        from shuiqiao.node.accounts.opening import InstitutionAccounts
        from shuiqiao.node.past import PastReader

        past = PastReader(institution.engine, parameters=institution.parameters)
        return cls(institution=institution, accounts=InstitutionAccounts(institution), caller=OWNER, past=past)


def entered(
    operation: Operation[Sent, Told], message: Sent, *, journal: Journal, caller: Principal, request: str = ""
) -> AbstractContextManager[None]:
    """Write the entry of what is done inside when it ends, done or refused; none where the operation names no act."""
    if not operation.act:
        return nullcontext()
    named = operation.subject(message)
    # What no id looks like cannot stand in an entry: that somebody asked for it does.
    subject = named if _SUBJECT.fullmatch(named) else f"{named.partition('/')[0]}/malformed"
    return journal.of(caller, act=operation.act, subject=subject, request=request)

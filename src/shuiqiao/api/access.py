"""Who calls, and what may they do: a token becomes a principal, and every route names the permission it asks for.

Access is decided before a byte of the body is read, and what is refused looks alike whatever the reason is: 401 for
whoever is not known, 403 for a permission that is missing, 404 for what is not there or is another's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, Protocol

from shuiqiao.base.errors import Denied, ShuiqiaoError

if TYPE_CHECKING:
    from starlette.requests import Request

    from shuiqiao.node.accounts.model import Principal as Account
    from shuiqiao.node.accounts.service import AccountService

MAX_TOKEN_BYTES: Final = 512

OPEN: Final = "open"
"""The permission of routes that tell nothing but that the server is there; nobody needs a token for them."""

SCHEME: Final = "bearer "


class PrincipalKind(StrEnum):
    """What sort of caller somebody is."""

    USER = "user"
    MACHINE = "machine"
    ENTERPRISE = "enterprise"
    OWNER = "owner"
    """Whoever owns the home: the kernel lets nobody else connect to its socket."""
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """A caller that is known. id: within its kind."""

    kind: PrincipalKind
    id: str
    permissions: frozenset[str]
    account: Account | None = None
    """The same as the accounts know it, with the person who answers for it; None for owner and nobody."""

    def may(self, permission: str) -> bool:
        """Tell whether this caller has a permission."""
        return permission == OPEN or permission in self.permissions


NOBODY: Final = Principal(kind=PrincipalKind.NOBODY, id="", permissions=frozenset())

HOME_OWNER: Final = Principal(
    kind=PrincipalKind.OWNER, id="owner", permissions=frozenset({"home.status", "home.doctor", "home.backup"})
)
"""Whoever reaches the home's own socket without a token.

LIMIT: whoever owns the home holds its key as well, so these need no token; all else is done by name.
"""


class Authenticator(Protocol):
    """Knows the callers of one institution."""

    def authenticate(self, token: str) -> Principal:
        """Return whose bearer token it is; raises Denied for one that nobody has, or has no longer."""
        ...


class AccountCallers:
    """The callers that have an account at an institution, and the enterprises that proved a key to it."""

    def __init__(self, accounts: AccountService) -> None:
        self._accounts = accounts

    def authenticate(self, token: str) -> Principal:
        """Return whose bearer token it is; raises Denied ``node.token_invalid``."""
        found = self._accounts.authenticate(token)
        permissions = frozenset(map(str, found.permissions))
        return Principal(kind=PrincipalKind(found.kind), id=found.id, permissions=permissions, account=found)


class OwnerAuthenticator:
    """The callers of a home's own socket: its owner, and by a token whoever else is known."""

    def __init__(self, others: Authenticator | None) -> None:
        self._others = others

    def authenticate(self, token: str) -> Principal:
        """Return the owner for no token."""
        if not token:
            return HOME_OWNER
        return HOME_OWNER if self._others is None else self._others.authenticate(token)


class PublicAuthenticator:
    """The callers of a listening address: nobody without a token, and by a token whoever is known."""

    def __init__(self, others: Authenticator | None) -> None:
        self._others = others

    def authenticate(self, token: str) -> Principal:
        """Return nobody for no token."""
        if not token:
            return NOBODY
        if self._others is None:
            raise unauthenticated()
        return self._others.authenticate(token)


def unauthenticated() -> Denied:
    """Return the one refusal of a caller who is not known, whatever is wrong with its token."""
    return Denied("api.unauthenticated", "this needs a valid token, and none was sent")


def require_access(request: Request, *, authenticator: Authenticator, permission: str) -> Principal:
    """Return who calls if it has a permission; raises Denied ``api.unauthenticated`` or ``api.forbidden``."""
    if permission == OPEN:
        return NOBODY
    caller = _caller_of(request, authenticator)
    if caller.may(permission):
        return caller
    if caller.kind is PrincipalKind.NOBODY:
        raise unauthenticated()
    raise Denied("api.forbidden", f"this needs the permission {permission}, which this caller does not have")


def _caller_of(request: Request, authenticator: Authenticator) -> Principal:
    sent = request.headers.get("authorization", "")
    if not sent:
        return authenticator.authenticate("")
    token = sent[len(SCHEME) :].strip() if sent[: len(SCHEME)].lower() == SCHEME else ""
    if not token or len(token) > MAX_TOKEN_BYTES or not token.isascii():
        raise unauthenticated()
    try:
        return authenticator.authenticate(token)
    except ShuiqiaoError as error:
        if isinstance(error, Denied):
            raise unauthenticated() from error
        raise

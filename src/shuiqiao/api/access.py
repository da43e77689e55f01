"""Who calls, and what may they do: a token becomes a principal, and every route names the permission it asks for.

Access is decided before a byte of the body is read, and what is refused looks alike whatever the reason is: 401 for
whoever is not known, 403 for a permission that is missing, 404 for what is not there or is another's [API-3].
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from shuiqiao.base.errors import Denied
from shuiqiao.client.problem import unauthenticated
from shuiqiao.node.accounts.model import OWNER, Permission, Principal, PrincipalKind, password_first

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

MAX_TOKEN_BYTES: Final = 512

OPEN: Final = "open"
"""In the place of a permission: routes that tell nothing but that the server is there; they need no token."""

OWNER_ONLY: Final = "owner"
"""In the place of a permission: routes for the owner of the home, at its own socket.

LIMIT: whoever owns the home holds its key as well, so these need no token; all else is done by name.
"""

ANY_CALLER: Final = "caller"
"""In the place of a permission: routes for whoever is known, about itself alone."""

SCHEME: Final = "bearer "


class Authenticator(Protocol):
    """Knows the callers of one institution."""

    def authenticate(self, token: str) -> Principal:
        """Return whose bearer token it is; raises Denied for one that nobody has, or has no longer."""
        ...


SOLE_OWNER: Final = replace(OWNER, permissions=frozenset(Permission))
"""The owner of a home whose institution has no users, at the home's socket: there is no name to do anything by.

LIMIT: the owner could end the server and do the same with the home's key.
"""


class KnownUsers(Authenticator, Protocol):
    """Knows the callers that have an account, of which there may be none yet."""

    def has_users(self) -> bool:
        """Tell whether anybody has an account."""
        ...


class Callers:
    """Who calls at a door: by a token whoever is known, without one nobody, or the owner of the home at its socket."""

    def __init__(self, known: Authenticator, *, without_token: Callable[[], Principal | None]) -> None:
        self._known = known
        self._without_token = without_token

    @classmethod
    def at_socket(cls, known: KnownUsers) -> Callers:
        """At the home's own socket, to which the kernel lets nobody but its owner connect."""
        return cls(known, without_token=lambda: OWNER if known.has_users() else SOLE_OWNER)

    @classmethod
    def at_address(cls, known: Authenticator) -> Callers:
        """At a listening address."""
        return cls(known, without_token=lambda: None)

    def caller_of(self, request: Request) -> Principal | None:
        """Return who calls, None for nobody; raises Denied ``api.unauthenticated`` for a token that is not good."""
        sent = request.headers.get("authorization", "")
        if not sent:
            return self._without_token()
        token = sent[len(SCHEME) :].strip() if sent[: len(SCHEME)].lower() == SCHEME else ""
        if not token or len(token) > MAX_TOKEN_BYTES or not token.isascii():
            raise unauthenticated(is_sent=True)
        try:
            return self._known.authenticate(token)
        except Denied as error:
            raise unauthenticated(is_sent=True) from error


def require_access(caller: Principal | None, *, permission: str) -> None:
    """Return if a caller, None for nobody, has what a route asks for; the owner of the home may call by name as well.

    Raises Denied ``api.unauthenticated``, ``api.forbidden`` or ``node.password_first``.
    """
    if permission == OPEN:
        return
    is_named = caller is not None and caller.kind is not PrincipalKind.OWNER
    if caller is None or not (is_named or _may(caller, permission)):
        raise unauthenticated()
    if not _may(caller, permission):
        if caller.must_change:
            raise password_first()
        raise Denied("api.forbidden", f"this needs the permission {permission}, which this caller does not have")


def _may(caller: Principal, permission: str) -> bool:
    if permission == ANY_CALLER:
        return True
    if permission == OWNER_ONLY:
        return caller.kind is PrincipalKind.OWNER
    return caller.may(Permission(permission))

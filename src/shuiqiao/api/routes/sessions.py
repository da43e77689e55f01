"""``/sessions`` and ``/me``: logging in, and who one is.

Users prove a password (and a code), programs a secret, enterprises a challenge by their key; each gets a bearer token.
Log-ins need no idempotency key: a token is told once, and one that was lost is not told again.
"""

from __future__ import annotations

from fastapi import Request

from shuiqiao.api.access import ANY_CALLER, OPEN, SCHEME
from shuiqiao.api.door import OwnOrigins, Running
from shuiqiao.api.limits import address_of_scope
from shuiqiao.api.routing import Caller, Routes
from shuiqiao.base.errors import Denied
from shuiqiao.client import request_id
from shuiqiao.client.resources.sessions import (
    END_SESSION,
    LOG_IN_ENTERPRISE,
    LOG_IN_USER,
    READ_CHALLENGE,
    CallerRecord,
    Challenge,
    ClientProof,
    EnterpriseProof,
    SessionToken,
    UserProof,
)
from shuiqiao.node.accounts.model import Principal
from shuiqiao.node.accounts.tokens import IssuedToken

sessions = Routes("sessions")


@sessions.perform(LOG_IN_USER, permission=OPEN, codes=("node.login_refused", "node.login_locked", "node.login_busy"))
def log_in_user(request: Request, proof: UserProof, running: Running) -> SessionToken:
    """Give a token to a user who proves a password, and a code where there is a second factor."""
    issued = running.accounts.service.log_in(
        proof.name,
        password=proof.password,
        code=proof.code,
        request=request_id.current.get(),
        address=address_of_scope(request.scope),
    )
    return _told(issued)


@sessions.post("/sessions/client", permission=OPEN, codes=("node.login_refused",))
def log_in_client(proof: ClientProof, running: Running) -> SessionToken:
    """Give a token to a program that proves its secret."""
    service = running.accounts.service
    return _told(service.log_in_client(proof.client, secret=proof.secret, request=request_id.current.get()))


@sessions.get(READ_CHALLENGE.path, permission=OPEN)
def read_challenge(running: Running) -> Challenge:
    """Return what an enterprise signs with its key to log in, once and soon, and what its signature is bound to."""
    institution = running.institution
    return Challenge(
        challenge=running.accounts.challenges.issue().hex(),
        institution=institution.member,
        network=institution.parameters.network.hex(),
        suite=institution.parameters.suite,
    )


@sessions.post(
    LOG_IN_ENTERPRISE.path,
    permission=OPEN,
    problems=(403, 422),
    codes=("node.challenge_invalid", "node.origin_foreign"),
)
def log_in_enterprise(proof: EnterpriseProof, running: Running, origins: OwnOrigins) -> SessionToken:
    """Give a token to an enterprise that signed a challenge for an address of this server, for its own objects only."""
    challenges, service, signed = running.accounts.challenges, running.accounts.service, bytes.fromhex(proof.signed)
    claim = challenges.proven_claim(signed, origins=origins)
    issued = service.admit_enterprise(claim, request=request_id.current.get())
    try:
        challenges.require_key(signed)
    except Denied:
        service.log_out(issued.token)
        raise
    return _told(issued)


@sessions.post(END_SESSION.path, permission=ANY_CALLER)
def end_session(request: Request, running: Running, caller: Caller) -> CallerRecord:
    """End the token that this is asked with, and tell whose it was."""
    running.accounts.service.log_out(request.headers.get("authorization", "")[len(SCHEME) :].strip())
    return _record(caller)


@sessions.get("/me", permission=ANY_CALLER)
def read_caller(caller: Caller) -> CallerRecord:
    """Tell who calls, and what it may do."""
    return _record(caller)


def _record(caller: Principal) -> CallerRecord:
    return CallerRecord(
        kind=caller.kind, id=caller.id, name=caller.name, permissions=tuple(sorted(map(str, caller.permissions)))
    )


def _told(issued: IssuedToken) -> SessionToken:
    return SessionToken(token=issued.token, ends_ms=issued.ends_ms, idle_ms=issued.idle_ms)

"""Logging in at an institution of the sandbox as one of its users, over HTTP as any user does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.clock import MS_PER_SECOND
from shuiqiao.base.errors import Denied
from shuiqiao.client.operation import PREFIX
from shuiqiao.client.resources.sessions import SessionToken, UserProof
from shuiqiao.node.accounts.second_factor import code_at

if TYPE_CHECKING:
    from shuiqiao.base.clock import Clock
    from shuiqiao.client.http import HttpClient
    from shuiqiao.sandbox.servers.folder import Account

_STEP_MS = 30 * MS_PER_SECOND


def token_of(client: HttpClient, account: Account, *, clock: Clock) -> str:
    """Return a token for a user.

    Where this moment's code was used already, the next one counts as well. Raises Denied ``node.login_refused``,
    Unavailable ``node.login_locked``.
    """
    moments = (clock.now_ms(), clock.now_ms() + _STEP_MS) if account.second_factor else (0,)
    for now_ms in moments:
        code = code_at(account.second_factor, now_ms=now_ms) if account.second_factor else ""
        proof = UserProof(name=account.user, password=account.password, code=code)
        try:
            return client.post(f"{PREFIX}/sessions/user", proof).read_as(SessionToken).token
        except Denied:
            if now_ms == moments[-1]:
                raise
    raise AssertionError("a moment is tried at least")

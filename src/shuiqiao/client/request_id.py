"""The id of the request that is being answered: it goes on to every institution that is asked because of it.

So the logs of all institutions that took part in one act can be put side by side; a job goes on under the id of the
request by which it was asked for [API-21]. An id is 16 random bytes in hex, or
a UUID: any other that a caller sends is replaced, for it is logged, and might be the number of a taxpayer.
"""

from __future__ import annotations

import re
import secrets
from contextvars import ContextVar
from typing import Final

HEADER: Final = "X-Request-Id"

_FORM: Final = re.compile(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

current: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request at work in this context, empty outside of one."""

noted: ContextVar[dict[str, str] | None] = ContextVar("noted", default=None)
"""What the log says of the request at work beside its route, None outside of one."""


def note(**fields: str) -> None:
    """Have the log line of the request at work say something more: a name, an id, a code, never a payload."""
    if (found := noted.get()) is not None:
        found.update(fields)


def taken_or_new(offered: str) -> str:
    """Return an id that a caller offers, or a new random one where it offers none that is well formed."""
    return offered if _FORM.fullmatch(offered) else secrets.token_hex(16)

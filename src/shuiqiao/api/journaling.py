"""What a caller does through a route is an entry of the journal, under its name and the id of the request."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.client import request_id

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from shuiqiao.node.accounts.model import Principal
    from shuiqiao.node.server import RunningInstitution


def journaled(
    running: RunningInstitution, caller: Principal, *, act: str, subject: str = ""
) -> AbstractContextManager[None]:
    """Write the entry of what is done inside when it ends, done or refused. subject: the id of what it is done to.

    ::

        with journaled(running, caller, act="records.search"):
            return search_records(running.institution, asked)
    """
    return running.accounts.journal.of(caller, act=act, subject=subject, request=request_id.current.get())

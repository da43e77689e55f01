"""What a caller does through a route: performed as a command would, and an entry of the journal under its name.

The entry of an operation is written where it is performed, whichever way it is reached; ``journaled`` is for what a
route does that is no operation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.api.acts import act_id
from shuiqiao.client import request_id
from shuiqiao.node.operations.calling import Call
from shuiqiao.node.operations.performing import perform

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from shuiqiao.client.operation import Operation, Sent, Told
    from shuiqiao.node.accounts.model import Principal
    from shuiqiao.node.server import RunningInstitution


def performed(running: RunningInstitution, caller: Principal, operation: Operation[Sent, Told], message: Sent) -> Told:
    """Perform an operation for a caller, and return what is told of it; raises what refuses it.

    ::

        return performed(running, caller, LIST_JOBS, JobsQuestion(limit=limit, cursor=cursor))
    """
    call = Call(
        institution=running.institution,
        accounts=running.accounts,
        caller=caller,
        past=running.past,
        request=request_id.current.get(),
        act=act_id.get(),
    )
    return perform(operation, message, call=call)


def journaled(
    running: RunningInstitution, caller: Principal, *, act: str, subject: str = ""
) -> AbstractContextManager[None]:
    """Write the entry of what is done inside when it ends, done or refused. subject: the id of what it is done to.

    ::

        with journaled(running, caller, act="ingest.take_in"):
            report = institution.vault.ingest([path], anchor=institution.outbox)
    """
    return running.accounts.journal.of(caller, act=act, subject=subject, request=request_id.current.get())

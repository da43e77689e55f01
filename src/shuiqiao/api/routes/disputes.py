"""``/disputes``: what enterprises dispute at this bureau, and its answers."""

from __future__ import annotations

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routing import DEFAULT_LIMIT, Caller, Cursor, Limit, Routes
from shuiqiao.client.pages import PageQuery
from shuiqiao.client.resources import disputes as api

disputes = Routes("disputes")


@disputes.perform(api.LIST_DISPUTES, permission="disputes.write", codes=("node.role_wrong",))
def list_disputes(
    running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> api.DisputePage:
    """List the disputes that wait for an answer, oldest first, with the banks that received the record."""
    return performed(running, caller, api.LIST_DISPUTES, PageQuery(limit=limit, cursor=cursor))


@disputes.perform(
    api.ANSWER_DISPUTE,
    permission="disputes.write",
    codes=(
        "node.role_wrong",
        "exchange.dispute_unknown",
        "exchange.dispute_answered",
        "exchange.record_uncorrected",
    ),
)
def answer_dispute(answer: api.DisputeAnswer, running: Running, caller: Caller) -> api.DisputeRecord:
    """Answer a dispute: corrected, which the ledger has to show, or refused; every recipient sees the correction."""
    return performed(running, caller, api.ANSWER_DISPUTE, answer)

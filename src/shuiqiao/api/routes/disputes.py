"""``/disputes``: what enterprises dispute at this bureau, and its answers."""

from __future__ import annotations

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import journaled
from shuiqiao.api.routing import DEFAULT_LIMIT, Caller, Cursor, Limit, Routes
from shuiqiao.client.pages import PageQuery
from shuiqiao.client.resources import disputes as api
from shuiqiao.node.operations import enterprises

disputes = Routes("disputes")


@disputes.get(api.LIST_DISPUTES.path, permission="disputes.write", codes=("node.role_wrong",))
def list_disputes(running: Running, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None) -> api.DisputePage:
    """List the disputes that wait for an answer, oldest first, with the banks that received the record."""
    return enterprises.list_disputes(running.institution, PageQuery(limit=limit, cursor=cursor))


@disputes.post(
    api.ANSWER_DISPUTE.path,
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
    with journaled(running, caller, act="disputes.answer", subject=f"dispute/{answer.dispute}"):
        return enterprises.answer_dispute(running.institution, answer)

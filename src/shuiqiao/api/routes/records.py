"""``/records``, ``/pending``: records that a bureau finds and destroys, and acts that the ledger refused."""

from __future__ import annotations

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import journaled
from shuiqiao.api.routing import Caller, Routes
from shuiqiao.client.resources import records as api
from shuiqiao.node.operations import records as acts

records = Routes("records")

_OF_PENDING = ("node.pending_unclear", "node.outbox_foreign")


@records.post(
    api.SEARCH_RECORDS.path,
    permission="records.read",
    codes=("node.role_wrong", "standards.type_unknown", "vault.query_empty", "standards.field_unknown"),
)
def search_records(asked: api.RecordSearch, running: Running, caller: Caller) -> api.FoundRecords:
    """Find records by taxpayer, number or field; what is looked for stands in the body, not in an address."""
    with journaled(running, caller, act="records.search"):
        return acts.search_records(running.institution, asked)


@records.post(
    api.ERASE_RECORDS.path,
    permission="erasures.make",
    codes=("node.role_wrong", "vault.batch_unknown", "vault.busy"),
)
def erase_records(asked: api.RecordErasure, running: Running, caller: Caller) -> api.ErasedRecords:
    """Destroy records and say so on the ledger; nobody can bring them back."""
    with journaled(running, caller, act="records.erase"):
        return acts.erase_records(running.institution, asked)


@records.post(api.REDO_PENDING.path, permission="jobs.manage", codes=_OF_PENDING)
def redo_pending(chosen: api.PendingChoice, running: Running, caller: Caller) -> api.DecidedWork:
    """Hand refused work to the ledger anew, a batch under a new id."""
    with journaled(running, caller, act="pending.redo"):
        return acts.redo_pending(running.institution, chosen)


@records.post(api.ABANDON_PENDING.path, permission="jobs.manage", codes=_OF_PENDING)
def abandon_pending(chosen: api.PendingChoice, running: Running, caller: Caller) -> api.DecidedWork:
    """Give refused work up; its rows or its act may come again."""
    with journaled(running, caller, act="pending.abandon"):
        return acts.abandon_pending(running.institution, chosen)

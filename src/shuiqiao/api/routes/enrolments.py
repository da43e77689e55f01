"""``/enrolments``: one-time codes of a bureau, and what an enterprise that is not known yet shows one for.

Enrolling and getting a key back need no token: the code is what is shown, and five wrong ones end it.
"""

from __future__ import annotations

import re
from typing import Final

from shuiqiao.api.access import OPEN
from shuiqiao.api.door import Running
from shuiqiao.api.journaling import journaled
from shuiqiao.api.routing import Caller, Routes
from shuiqiao.client.resources import enrolments as api
from shuiqiao.node.operations import enterprises

enrolments = Routes("enrolments")

_NUMBER: Final = re.compile(r"[0-9A-Za-z_-]{1,32}")
"""What an entry of the journal may name; whatever else was sent is refused, and named in no entry."""

_SHOWN = ("consent.code_wrong", "node.role_wrong")


@enrolments.post(
    api.ISSUE_CODE.path, permission="enrolments.write", codes=("consent.taxpayer_invalid", "node.role_wrong")
)
def issue_code(order: api.CodeOrder, running: Running, caller: Caller) -> api.OneTimeCode:
    """Issue a one-time code for a taxpayer whose legal representative was identified; it is told once."""
    number = order.taxpayer if _NUMBER.fullmatch(order.taxpayer) else ""
    with journaled(running, caller, act="enrolments.issue_code", subject=f"taxpayer/{number}"):
        return enterprises.issue_code(running.institution, order)


@enrolments.post(
    api.ENROL.path,
    permission=OPEN,
    problems=(403, 422),
    codes=(*_SHOWN, "consent.provider_wrong", "ledger.document_malformed"),
)
def enrol_enterprise(statement: api.EnrolmentStatement, running: Running) -> api.EnrolmentRecord:
    """Register the key of an enterprise that shows its one-time code; the same key again changes nothing."""
    return enterprises.enrol(running.institution, statement)


@enrolments.post(api.RECOVER_KEY.path, permission=OPEN, problems=(403,), codes=_SHOWN)
def recover_key(asked: api.KeyRecovery, running: Running) -> api.RecoveredKey:
    """Give an encrypted key file back for a code of that purpose; the passphrase of its enterprise opens it."""
    return enterprises.recover_key(running.institution, asked)

"""``/enrolments``: one-time codes of a bureau, and what an enterprise that is not known yet shows one for.

Enrolling and getting a key back need no token: the code is what is shown, and a million wrong ones end it.
"""

from __future__ import annotations

from shuiqiao.api.access import OPEN
from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routing import Caller, Routes
from shuiqiao.client.resources import enrolments as api
from shuiqiao.node.operations import enterprises

enrolments = Routes("enrolments")

_SHOWN = ("consent.code_wrong", "node.role_wrong")


@enrolments.perform(
    api.ISSUE_CODE, permission="enrolments.write", codes=("consent.taxpayer_invalid", "node.role_wrong")
)
def issue_code(order: api.CodeOrder, running: Running, caller: Caller) -> api.OneTimeCode:
    """Issue a one-time code for a taxpayer whose legal representative was identified; it is told once."""
    return performed(running, caller, api.ISSUE_CODE, order)


@enrolments.perform(
    api.READ_ENROLMENT, permission="enrolments.read", codes=("consent.enrolment_unknown", "node.role_wrong")
)
def read_enrolment(asked: api.EnrolmentQuestion, running: Running, caller: Caller) -> api.EnrolmentRecord:
    """Tell what an enterprise is known by here: the check of its representative, and whether its key file is kept."""
    return performed(running, caller, api.READ_ENROLMENT, asked)


@enrolments.perform(api.REVOKE_CREDENTIALS, permission="enrolments.write", codes=("node.role_wrong",))
def revoke_credentials(asked: api.EnrolmentQuestion, running: Running, caller: Caller) -> api.CredentialsRevoked:
    """Revoke every credential that a taxpayer holds of this bureau; banks see it at their newest block."""
    return performed(running, caller, api.REVOKE_CREDENTIALS, asked)


@enrolments.post(
    api.ENROL.path,
    permission=OPEN,
    problems=(403, 422),
    codes=(*_SHOWN, "consent.provider_wrong", "ledger.document_malformed"),
)
def enrol_enterprise(statement: api.EnrolmentStatement, running: Running) -> api.EnrolmentRecord:
    """Register the key of an enterprise that shows its one-time code; the same key again changes nothing."""
    return enterprises.enrol(running.institution, statement, end_sessions=running.accounts.service.end_enterprise)


@enrolments.post(api.RECOVER_KEY.path, permission=OPEN, problems=(403,), codes=_SHOWN)
def recover_key(asked: api.KeyRecovery, running: Running) -> api.RecoveredKey:
    """Give an encrypted key file back for a code of that purpose; the passphrase of its enterprise opens it."""
    return enterprises.recover_key(running.institution, asked)

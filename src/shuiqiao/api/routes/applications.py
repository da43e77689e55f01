"""``/applications``, ``/referrals``, ``/decisions``: a bank's applications from the hand-in to the decision.

An application that was handed in is taken on by the server itself, as far as no person has to decide [LENDING-14].
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Path, Query

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routing import DEFAULT_LIMIT, Caller, Limit, Routes, cursor_of_form
from shuiqiao.client.pages import PageQuery
from shuiqiao.client.resources import applications as api
from shuiqiao.client.wire import Nothing

applications = Routes("applications")

Application = Annotated[
    str, Path(pattern=r"^[0-9a-f]{4,32}$", description="Its id, or enough of its beginning", examples=["a7" * 16])
]
Status = Annotated[api.StatusName, Query(description="Those that stand so alone")]
Product = Annotated[str, Query(pattern=r"^[a-z][a-z0-9-]{1,31}$", description="Those for this product alone")]
Cursor = Annotated[str, cursor_of_form(r"^[0-9]{1,15}\.[0-9a-f]{32}$")]
AskedOutcome = Annotated[api.OutcomeName, Query(description="Those that came out so alone")]

_OF_LIST = ("node.role_wrong", "api.cursor_unknown")
_OF_ONE = ("node.role_wrong", "node.application_unclear")
_OF_PROCESS = (
    *_OF_ONE,
    "node.regulator_unclear",
    "lending.application_busy",
    "lending.application_judged",
    "lending.attempts_over",
    "lending.model_missing",
    "lending.churn_missing",
    "consent.paused",
)


@applications.perform(
    api.HAND_IN,
    permission="applications.write",
    problems=(412, 422),
    codes=(
        "node.role_wrong",
        "lending.product_unknown",
        "lending.application_repeated",
        "lending.consent_not_ours",
        "consent.unknown",
        "consent.artefact_missing",
        "consent.revoked",
    ),
)
def hand_in_application(wanted: api.HandedInApplication, running: Running, caller: Caller) -> api.ApplicationFileRecord:
    """Take an application in and put it on the ledger; the server goes on with it by itself."""
    file = performed(running, caller, api.HAND_IN, wanted)
    running.process_soon(bytes.fromhex(file.application))
    return file


@applications.perform(api.LIST_APPLICATIONS, permission="applications.read", codes=_OF_LIST)
def list_applications(
    running: Running,
    caller: Caller,
    status: Status | None = None,
    product: Product | None = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor | None = None,
) -> api.ApplicationPage:
    """List applications, the oldest first."""
    asked = api.ApplicationsQuestion(status=status, product=product, limit=limit, cursor=cursor)
    return performed(running, caller, api.LIST_APPLICATIONS, asked)


@applications.perform(api.READ_APPLICATION, permission="applications.read", codes=_OF_ONE)
def read_application(application: Application, running: Running, caller: Caller) -> api.ApplicationFileRecord:
    """Tell everything that the bank has of one application, with the timeline of its steps."""
    return performed(running, caller, api.READ_APPLICATION, api.ApplicationQuestion(application=application))


@applications.perform(api.PROCESS, permission="applications.write", problems=(412, 422), codes=_OF_PROCESS)
def process_application(
    asked: api.ApplicationProcessing, running: Running, caller: Caller
) -> api.ApplicationFileRecord:
    """Take an application on now, and answer once that is done; what stops it is refused, and in its timeline."""
    return performed(running, caller, api.PROCESS, asked)


@applications.perform(api.CLOSE, permission="applications.write", codes=_OF_PROCESS)
def close_application(asked: api.ApplicationClosing, running: Running, caller: Caller) -> api.ApplicationFileRecord:
    """End a file without a decision."""
    return performed(running, caller, api.CLOSE, asked)


@applications.perform(api.ASK_ANEW, permission="applications.write", codes=_OF_PROCESS)
def ask_anew(asked: api.ApplicationQuestion, running: Running, caller: Caller) -> api.ApplicationFileRecord:
    """Let data be asked for again, where an answer is of no use."""
    file = performed(running, caller, api.ASK_ANEW, asked)
    running.process_soon(bytes.fromhex(file.application))
    return file


@applications.perform(
    api.HAND_IN_OPENINGS, permission="jobs.manage", codes=("node.role_wrong", "node.regulator_unclear")
)
def hand_in_openings(running: Running, caller: Caller) -> api.HandedInOpenings:
    """Hand every decision's sealed opening in at the regulator once more, which may have lost what it had."""
    return performed(running, caller, api.HAND_IN_OPENINGS, Nothing())


@applications.perform(api.LIST_REFERRALS, permission="applications.read", codes=_OF_LIST)
def list_referrals(
    running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> api.ReferralPage:
    """List the applications that people decide on, the oldest first; one decides under ``/approvals/decisions``."""
    return performed(running, caller, api.LIST_REFERRALS, PageQuery(limit=limit, cursor=cursor))


@applications.perform(api.LIST_DECISIONS, permission="applications.read", codes=_OF_LIST)
def list_decisions(
    running: Running,
    caller: Caller,
    outcome: AskedOutcome | None = None,
    limit: Limit = DEFAULT_LIMIT,
    cursor: Cursor | None = None,
) -> api.DecisionPage:
    """List decisions, by when their applications came in; with those who took them where people did."""
    asked = api.DecisionsQuestion(outcome=outcome, limit=limit, cursor=cursor)
    return performed(running, caller, api.LIST_DECISIONS, asked)


@applications.perform(api.READ_DECISION, permission="applications.read", codes=(*_OF_ONE, "lending.undecided"))
def read_decision(application: Application, running: Running, caller: Caller) -> api.ExplainedDecision:
    """Tell a decision with what it rests on, in the words that the enterprise is given."""
    return performed(running, caller, api.READ_DECISION, api.ApplicationQuestion(application=application))

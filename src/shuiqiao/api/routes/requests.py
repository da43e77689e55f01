"""``/requests`` and ``/usage``: who asked for which data under which consent; ids and states, never data."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Query

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.routes.consents import Owner, OwnId
from shuiqiao.api.routing import DEFAULT_LIMIT, Caller, Limit, Routes, cursor_of_form
from shuiqiao.base.forms import DAY_FORM
from shuiqiao.client.pages import PageQuery
from shuiqiao.client.resources.answers import ASK_PROVIDER, ConsentRequest, ProvenAnswer
from shuiqiao.client.resources.leakage import READ_LEAKAGE, LeakageQuestion, LeakageRecord
from shuiqiao.client.resources.requests import (
    LIST_REQUESTS,
    LIST_USES,
    OPEN_MANIFEST,
    READ_REQUEST,
    REQUEST_FORM,
    ManifestOpeningRecord,
    OpeningQuestion,
    RequestChoice,
    RequestPage,
    RequestRecord,
    UsePage,
    UseQuery,
)
from shuiqiao.client.wire import MAX_EXACT

requests = Routes("requests")

RequestCursor = Annotated[str, cursor_of_form(REQUEST_FORM)]
Day = Annotated[
    str | None, Query(pattern=DAY_FORM, description="As of the end of this day (UTC)", examples=["2026-04-01"])
]
PastSize = Annotated[int | None, Query(ge=0, le=MAX_EXACT, description="As of the checkpoint of so many leaves")]
PAST_CODES: Final = (
    "oversight.day_before_network",
    "oversight.day_not_over",
    "ledger.size_unknown",
    "node.replay_too_long",
)
PROVEN_CODES: Final = (*PAST_CODES, "node.role_wrong", "ledger.quorum_not_reached")


@requests.perform(LIST_REQUESTS, permission="requests.read", codes=("api.cursor_unknown",))
def list_requests(
    running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: RequestCursor | None = None
) -> RequestPage:
    """List the requests that this bank sent, or that this bureau was asked, by id."""
    return performed(running, caller, LIST_REQUESTS, PageQuery(limit=limit, cursor=cursor))


@requests.perform(
    ASK_PROVIDER,
    permission="requests.write",
    problems=(412, 422),
    codes=(
        "node.role_wrong",
        "consent.unknown",
        "consent.artefact_missing",
        "consent.revoked",
        "consent.paused",
        "exchange.data_life_over",
        "models.not_approved",
        "exchange.outputs_missing",
        "exchange.output_undeclared",
    ),
)
def ask_provider(asked: ConsentRequest, running: Running, caller: Caller) -> ProvenAnswer:
    """Ask a provider for all that a consent grants, or for a score; prove the answer, and keep it."""
    return performed(running, caller, ASK_PROVIDER, asked)


@requests.perform(READ_REQUEST, permission="requests.read", codes=("api.not_found",))
def read_request(sender: Owner, request: OwnId, running: Running, caller: Caller) -> RequestRecord:
    """Tell what became of one request."""
    return performed(running, caller, READ_REQUEST, RequestChoice(sender=sender, request=request))


@requests.perform(
    OPEN_MANIFEST,
    permission="oversight.read",
    problems=(403, 503),
    codes=(
        "client.unreachable",
        "exchange.opening_foreign",
        "exchange.opening_missing",
        "exchange.request_unknown",
        "members.role_wrong",
        "node.role_wrong",
    ),
)
def open_manifest(asked: OpeningQuestion, running: Running, caller: Caller) -> ManifestOpeningRecord:
    """Have a bureau open the manifest of an answer that showed no records, as a regulator: what the answer rests on.

    The bureau is asked then and there and enters in its own journal who was told.
    """
    return performed(running, caller, OPEN_MANIFEST, asked)


@requests.perform(
    READ_LEAKAGE,
    permission="requests.read",
    problems=(403, 503),
    codes=(
        "client.unreachable",
        "members.role_wrong",
        "members.unknown",
        "node.role_wrong",
        "privacy.statement_differs",
    ),
)
def read_leakage(asked: LeakageQuestion, running: Running, caller: Caller) -> LeakageRecord:
    """Tell what is known of a taxpayer by what was answered: fields, bits, independent sums, and the budgets.

    A regulator names the bureau, which is asked then and there and enters in its own journal who was told.
    """
    return performed(running, caller, READ_LEAKAGE, asked)


@requests.perform(LIST_USES, permission="requests.read", codes=PROVEN_CODES, problems=(404,))
def list_uses(asked: UseQuery, running: Running, caller: Caller) -> UsePage:
    """List every use of a taxpayer's data, oldest first: who, what, when, for what, how much."""
    return performed(running, caller, LIST_USES, asked)

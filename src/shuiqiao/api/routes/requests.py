"""``/requests`` and ``/usage``: who asked for which data under which consent; ids and states, never data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import Query

from shuiqiao.api.door import Running
from shuiqiao.api.journaling import performed
from shuiqiao.api.problems import not_found
from shuiqiao.api.routes.consents import Owner, OwnId
from shuiqiao.api.routes.members import first_rows
from shuiqiao.api.routing import DEFAULT_LIMIT, Caller, Cursor, Limit, Routes
from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import owned_id
from shuiqiao.client.resources.answers import ASK_PROVIDER, ConsentRequest, ProvenAnswer
from shuiqiao.client.resources.requests import LIST_USES, RequestPage, RequestRecord, UsePage, UseQuery
from shuiqiao.exchange.store import ProviderStore, RecipientStore
from shuiqiao.members.model import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shuiqiao.node.institution import Institution

requests = Routes("requests")

Taxpayer = Annotated[str, Query(pattern=r"^[0-9A-Za-z]{1,32}$", description="Taxpayer number 纳税人识别号")]

_ID_DIGITS = 32


@requests.get("/requests", permission="requests.read")
def list_requests(running: Running, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None) -> RequestPage:
    """List the requests that this bank sent, or that this bureau was asked, by id."""
    rows = _requests(running.institution, after=cursor or "", most=limit + 1)
    found, following = first_rows(rows, limit=limit)
    return RequestPage(items=found, next=found[-1].request if following else None)


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
    ),
)
def ask_provider(asked: ConsentRequest, running: Running, caller: Caller) -> ProvenAnswer:
    """Ask a provider for all that a consent grants, prove every record of the answer, and keep it."""
    return performed(running, caller, ASK_PROVIDER, asked)


@requests.get("/requests/{sender}/{request}", permission="requests.read", codes=("api.not_found",))
def read_request(sender: Owner, request: OwnId, running: Running) -> RequestRecord:
    """Tell what became of one request."""
    name = f"{sender}/{request}"
    before = f"{sender}/{int(request, 16) - 1:0{_ID_DIGITS}x}" if int(request, 16) else sender
    for row in _requests(running.institution, after=before, most=1):
        if row.request == name:
            return row
    raise not_found()


def _requests(institution: Institution, *, after: str, most: int) -> Sequence[RequestRecord]:
    match institution.settings.role:
        case Role.TAX_BUREAU:
            return _handled(institution, after=after, most=most)
        case Role.BANK:
            return _sent(institution, after=after, most=most)
        case _:
            return ()


def _handled(institution: Institution, *, after: str, most: int) -> list[RequestRecord]:
    return [
        RequestRecord(
            request=row.request,
            consent=row.consent,
            recipient=row.recipient,
            purpose=row.purpose,
            made_ms=row.asked_ms,
            outcome=row.outcome,
            field_code=row.field_code,
            answered_ms=row.answered_ms,
            entry_index=None,
        )
        for row in ProviderStore(institution.database, cipher=institution.cipher).handled(after=after, most=most)
    ]


def _sent(institution: Institution, *, after: str, most: int) -> list[RequestRecord]:
    owner, _, digits = after.partition("/")
    try:
        first = bytes.fromhex(digits) if owner == institution.member else b""
    except ValueError as error:
        raise InvalidInput("api.cursor_unknown", f"{after[:80]!r} is no cursor of this list") from error
    if owner > institution.member:
        return []
    store = RecipientStore(institution.database, cipher=institution.cipher)
    return [
        RequestRecord(
            request=owned_id(institution.member, row.request),
            consent=row.consent,
            recipient=institution.member,
            purpose=None,
            made_ms=row.made_ms,
            outcome=_outcome(store, row.request),
            field_code=None,
            answered_ms=None,
            entry_index=row.entry_index,
        )
        for row in store.sent(after=first, most=most)
    ]


def _outcome(store: RecipientStore, request: bytes) -> str:
    if store.is_erased(request):
        return "erased"
    return "received" if store.is_received(request) else "sent"


@requests.perform(LIST_USES, permission="requests.read", codes=("node.role_wrong",))
def list_uses(
    taxpayer: Taxpayer, running: Running, caller: Caller, limit: Limit = DEFAULT_LIMIT, cursor: Cursor | None = None
) -> UsePage:
    """List every use of a taxpayer's data, oldest first: who, what, when, for what, how much."""
    return performed(running, caller, LIST_USES, UseQuery(taxpayer=taxpayer, limit=limit, cursor=cursor))

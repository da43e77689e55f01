"""Shows the requests for data that a bank sent or a bureau was asked, for a message of the API; never the data."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import OwnedId, owned_id
from shuiqiao.client.problem import not_found
from shuiqiao.client.resources import requests as api
from shuiqiao.exchange.store import ProviderStore, RecipientStore
from shuiqiao.members.model import Role

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shuiqiao.client.pages import PageQuery
    from shuiqiao.node.institution import Institution

_ID_DIGITS: Final = 32


def list_requests(institution: Institution, asked: PageQuery) -> api.RequestPage:
    """Return requests by id; raises InvalidInput ``api.cursor_unknown``."""
    if asked.cursor is not None and not re.fullmatch(api.REQUEST_FORM, asked.cursor):
        raise InvalidInput("api.cursor_unknown", f"{asked.cursor[:80]!r} is no cursor of this list")
    rows = _requests(institution, after=asked.cursor or "", most=asked.limit + 1)
    found = tuple(rows[: asked.limit])
    return api.RequestPage(items=found, next=found[-1].request if len(rows) > asked.limit else None)


def read_request(institution: Institution, chosen: api.RequestChoice) -> api.RequestRecord:
    """Return one request; raises InvalidInput ``api.not_found``."""
    name, number = f"{chosen.sender}/{chosen.request}", int(chosen.request, 16)
    before = f"{chosen.sender}/{number - 1:0{_ID_DIGITS}x}" if number else chosen.sender
    for row in _requests(institution, after=before, most=1):
        if row.request == name:
            return row
    raise not_found()


def open_manifest(institution: Institution, asked: api.OpeningQuestion) -> api.ManifestOpeningRecord:
    """Have a bureau open the manifest of an answer to this regulator; raises what ``opening_of`` raises."""
    opening = institution.opening_of(OwnedId(asked.ledger_request))
    records: dict[str, dict[str, list[int]]] = {}
    for type_id, leaves in opening.leaves.items():
        batches = records.setdefault(type_id, {})
        for leaf in leaves:
            batches.setdefault(leaf.batch.hex(), []).append(leaf.index)
    return api.ManifestOpeningRecord(request=asked.ledger_request, salt=opening.salt.hex(), records=records)


def _requests(institution: Institution, *, after: str, most: int) -> Sequence[api.RequestRecord]:
    match institution.settings.role:
        case Role.TAX_BUREAU:
            return _handled(institution, after=after, most=most)
        case Role.BANK:
            return _sent(institution, after=after, most=most)
        case _:
            return ()


def _handled(institution: Institution, *, after: str, most: int) -> list[api.RequestRecord]:
    return [
        api.RequestRecord(
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


def _sent(institution: Institution, *, after: str, most: int) -> list[api.RequestRecord]:
    owner, _, digits = after.partition("/")
    first = bytes.fromhex(digits) if owner == institution.member else b""
    if owner > institution.member:
        return []
    store = RecipientStore(institution.database, cipher=institution.cipher)
    return [
        api.RequestRecord(
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

"""Asks a provider for what a consent grants, for a message of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.ids import OwnedId, owned_id
from shuiqiao.client.resources import answers
from shuiqiao.exchange.model import RequestStatus

if TYPE_CHECKING:
    from shuiqiao.exchange.recipient import ReceivedData
    from shuiqiao.node.institution import Institution


def ask_provider(institution: Institution, asked: answers.ConsentRequest) -> answers.ProvenAnswer:
    """Ask for all that a consent grants, prove the answer and keep it; the same again is the same request.

    Raises what ``Recipient.request``, the provider and ``Recipient.receive`` refuse with.
    """
    recipient, consent, request = institution.recipient, OwnedId(asked.consent), bytes.fromhex(asked.request)
    sent = recipient.request(recipient.granted(consent), request=request)
    if recipient.status(request) is RequestStatus.ACKNOWLEDGED:
        received = recipient.load(request)
    else:
        received = recipient.receive(request, institution.provider_at(sent.provider).ask(sent.message))
    return _told(institution, received)


def _told(institution: Institution, received: ReceivedData) -> answers.ProvenAnswer:
    return answers.ProvenAnswer(
        request=owned_id(institution.member, received.request),
        consent=received.artefact.name,
        provider=received.artefact.provider,
        as_of_size=received.manifest.as_of_size,
        records={name: entry.rows.num_rows for name, entry in received.records.types.items()},
        changed=len(received.changed),
    )

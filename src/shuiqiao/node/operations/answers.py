"""Asks a provider for what a consent grants, for a message of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.ids import OwnedId, owned_id
from shuiqiao.client.resources import answers
from shuiqiao.consent.model import Output
from shuiqiao.exchange.model import RequestStatus
from shuiqiao.exchange.modes.score import ProvenScore

if TYPE_CHECKING:
    from shuiqiao.exchange.recipient import ReceivedData
    from shuiqiao.node.institution import Institution


def ask_provider(institution: Institution, asked: answers.ConsentRequest) -> answers.ProvenAnswer:
    """Ask for all that a consent grants, or for a score; prove the answer and keep it. The same again is the same.

    Raises InvalidInput ``exchange.outputs_missing``, what ``Recipient.request``, the provider and ``Recipient.receive``
    refuse with.
    """
    recipient, consent, request = institution.recipient, OwnedId(asked.consent), bytes.fromhex(asked.request)
    if (asked.model is None) != (not asked.outputs):
        raise InvalidInput("exchange.outputs_missing", "a model is run for the outputs that are named with it")
    if asked.model is None:
        wanted = recipient.granted(consent)
    else:
        outputs = [Output(output) for output in asked.outputs]
        wanted = recipient.scoring(consent, OwnedId(asked.model), outputs=outputs)
    sent = recipient.request(wanted, request=request)
    if recipient.status(request) is RequestStatus.ACKNOWLEDGED:
        received = recipient.load(request)
    else:
        answer = recipient.ask(sent, provider=institution.provider_at(sent.provider))
        received = recipient.receive(request, answer)
    return _told(institution, received)


def _told(institution: Institution, received: ReceivedData) -> answers.ProvenAnswer:
    is_score = isinstance(received.proven, ProvenScore)
    return answers.ProvenAnswer(
        request=owned_id(institution.member, received.request),
        consent=received.artefact.name,
        provider=received.artefact.provider,
        as_of_size=received.manifest.as_of_size,
        records={} if is_score else {name: entry.rows.num_rows for name, entry in received.records.types.items()},
        changed=len(received.changed),
        score=_score(received.score) if is_score else None,
    )


def _score(proven: ProvenScore) -> answers.ScoreRecord:
    output = proven.output
    reasons = None
    if output.reasons is not None:
        reasons = tuple(answers.ScoreReason(feature=each.feature, is_known=each.is_known) for each in output.reasons)
    return answers.ScoreRecord(
        model=proven.model, band=output.band, points=output.points, reasons=reasons, yes_no=output.yes_no
    )

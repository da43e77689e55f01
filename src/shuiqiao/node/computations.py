"""What a bank or a bureau shows a regulator of a joint computation, and the regulator's replay of it.

Rule: docs/spec/secure.md [SECURE-19] to [SECURE-21]. A party shows what it still has: an answer, or records, that are
gone by then are left out, and the replay tells so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shuiqiao.base.encoding import decode_cbor
from shuiqiao.base.errors import Denied, InvalidInput
from shuiqiao.base.ids import MemberId, OwnedId, Uscc, split_owned_id
from shuiqiao.exchange.computation import (
    MAX_PART_BYTES,
    PartyEvidence,
    decode_evidence_file,
    encode_names,
    open_evidence,
    seal_evidence,
)
from shuiqiao.exchange.manifest import decode_opening
from shuiqiao.exchange.messages import read_request
from shuiqiao.exchange.store import ProviderStore, RecipientStore
from shuiqiao.members.model import Role
from shuiqiao.members.roster import member_record
from shuiqiao.members.roster import require_role as require_member_role
from shuiqiao.models.store import ContentStore
from shuiqiao.node.home.settings import require_role
from shuiqiao.vault.disclosure import encode_disclosure

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from shuiqiao.exchange.computation import EvidenceFile
    from shuiqiao.exchange.model import RequestMessage
    from shuiqiao.node.institution import Institution
    from shuiqiao.oversight.computations import ComputationReport


def sealed_evidence(institution: Institution, request: OwnedId, *, regulator: MemberId) -> bytes:
    """Return this party's evidence of a computation, sealed to a regulator.

    Raises Denied ``exchange.log_missing``, ``members.role_wrong``; InvalidInput ``exchange.evidence_too_large``. E.g.
    ``sealed_evidence(bank, request, regulator=regulator)``.
    """
    state = institution.engine.state()
    require_member_role(state, regulator, Role.REGULATOR)
    return seal_evidence(
        evidence_of(institution, request),
        party=institution.member,
        regulator=regulator,
        request=request,
        regulator_key=member_record(state, regulator)["seal"],
        network=institution.parameters.network,
        suite=institution.suite,
    )


def evidence_of(institution: Institution, request: OwnedId) -> PartyEvidence:
    """Return what this party has of a computation; raises as ``sealed_evidence``."""
    kept = institution.computations.find(request)
    is_bank = institution.settings.role is Role.BANK
    shown = _shown_by_bank(institution, request) if is_bank else _shown_by_bureau(institution, request)
    message: RequestMessage = read_request(
        shown["message"], network=institution.parameters.network, suite=institution.suite
    )
    contents = ContentStore(institution.database, cipher=institution.cipher)
    model = None if message.model is None else contents.content(OwnedId(message.model.model))
    if model is None:
        raise Denied("exchange.log_missing", f"the model of request {request} is not kept here any more")
    if is_bank:
        card = institution.closed_cards.find(model.content)
        shown |= {} if card is None else {"card": card.card, "card_salt": card.secret}
    return PartyEvidence(
        log=kept.log,
        salt=kept.salt,
        inputs=decode_cbor(kept.numbers),
        share=kept.share,
        content=model.content,
        content_salt=model.salt,
        **shown,
    )


def replay_computation(institution: Institution, request: OwnedId, files: Sequence[bytes]) -> ComputationReport:
    """Replay a computation from the evidence that its parties sealed to this regulator.

    Raises Denied ``node.role_wrong``, InvalidInput ``exchange.evidence_*``, ``oversight.computation_unknown``,
    IntegrityError ``crypto.seal_broken``::

        replay_computation(regulator, request, [banks_file, bureaus_file]).departures
    """
    # What computes features takes a while to load, and no other act of a regulator needs it.
    from shuiqiao.oversight.computations import ComputationAudit

    require_role(institution.settings, Role.REGULATOR)
    network, opened = institution.parameters.network, dict[MemberId, PartyEvidence]()
    for file in map(decode_evidence_file, files):
        _expect_for(file, request, institution=institution, opened=opened)
        opened[MemberId(file.party)] = open_evidence(file, key=institution.keys.sealing, network=network)
    audit = ComputationAudit(
        state=institution.engine.state(),
        network=network,
        suite=institution.suite,
        catalogue=institution.catalogue,
        features=institution.scorecard_runner,
    )
    return audit.replay(request, opened)


def _expect_for(
    file: EvidenceFile, request: OwnedId, *, institution: Institution, opened: dict[MemberId, PartyEvidence]
) -> None:
    if (file.request, file.regulator) != (request, institution.member) or file.party in opened:
        raise InvalidInput(
            "exchange.evidence_misdirected",
            f"a file holds evidence of {file.party} on {file.request} for {file.regulator}; one of each party on "
            f"{request} for {institution.member} is wanted",
        )


def _shown_by_bank(institution: Institution, request: OwnedId) -> dict[str, Any]:
    store, (_, number) = RecipientStore(institution.database, cipher=institution.cipher), split_owned_id(request)
    asked, answer = store.request(number), store.received(number)
    if asked is None:
        raise Denied("exchange.log_missing", f"request {request} is not kept here any more")
    answered = {} if answer is None else {"manifest": answer.manifest, "result": answer.disclosure}
    return {"message": asked.message, **answered}


def _shown_by_bureau(institution: Institution, request: OwnedId) -> dict[str, Any]:
    asked = ProviderStore(institution.database, cipher=institution.cipher).asked(request)
    if asked is None:
        raise Denied("exchange.log_missing", f"request {request} is not kept here any more")
    shown: dict[str, Any] = {"message": asked.message}
    if asked.opening is None or asked.taxpayer is None:
        return shown
    message = read_request(asked.message, network=institution.parameters.network, suite=institution.suite)
    opening = decode_opening(asked.opening)
    shown |= {
        "names": {type_id: encode_names(leaves) for type_id, leaves in opening.leaves.items()},
        "names_salt": opening.salt,
    }
    disclosure = institution.vault.disclose(
        uscc=Uscc(asked.taxpayer),
        groups=message.items,
        period_from=message.period_from,
        period_to=message.period_to,
    )
    records = encode_disclosure(disclosure)
    return shown | ({"records": records} if len(records) <= MAX_PART_BYTES else {})

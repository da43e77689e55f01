"""Acts that honest software must refuse, tried for real at each door of the loop; the codes are counted.

Each is an act by a party of the run with its real keys. An act that is *not* refused is reported under its own name
with the code ``accepted``, so that it cannot be taken for a refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import OwnedId, Uscc
from shuiqiao.consent.model import Purpose
from shuiqiao.node.institution import Institution
from shuiqiao.sandbox.economy.model import Applicant
from shuiqiao.sandbox.scenario.cast import Consortium
from shuiqiao.sandbox.scenario.enterprises import EnterpriseOwner, Wish
from shuiqiao.sandbox.scenario.evidence import gather
from shuiqiao.sandbox.scenario.journey import Underwriting

ACCEPTED = "accepted"


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusalScene:
    """Two banks, one enterprise, and what is asked for."""

    consortium: Consortium
    owner: EnterpriseOwner
    bank: Institution
    other_bank: Institution
    terms: Underwriting


def try_refusals(scene: RefusalScene) -> tuple[str, ...]:
    """Try every act and return the code that refused each, in order."""
    acts: tuple[Callable[[RefusalScene], object], ...] = (
        ask_for_too_much,
        ask_without_enrolment,
        ask_while_paused,
        ask_beyond_consent,
        ask_with_foreign_consent,
    )
    return tuple(_code_of(act, scene) for act in acts)


def ask_for_too_much(scene: RefusalScene) -> object:
    """A consent for model development that names counterparties: beyond the purpose's ceiling (412)."""
    items = {"invoice_issued@2": ["core", "amounts", "counterparty"]}
    return scene.owner.consent(replace(wish_of(scene), purpose=Purpose.MODEL_DEVELOPMENT, items=items))


def ask_without_enrolment(scene: RefusalScene) -> object:
    """A consent in the name of a taxpayer whom the bureau does not know."""
    stranger = EnterpriseOwner(
        Applicant(uscc=Uscc("UNKNOWNTAXPAYER"), defaulted=None),
        bureau=scene.consortium.bureau,
        entropy=scene.consortium.bureau.surroundings.entropy,
    )
    return stranger.consent(wish_of(scene))


def ask_while_paused(scene: RefusalScene) -> object:
    """A request under a consent that the enterprise has paused."""
    consent = _fresh_consent(scene)
    bureau = scene.consortium.bureau
    statement = scene.owner.enterprise.pause(consent, now_ms=bureau.surroundings.clock.now_ms())
    bureau.consent_desk.relay(statement.raw)
    scene.bank.catch_up_with(bureau)
    return _gather(scene, scene.bank, consent)


def ask_beyond_consent(scene: RefusalScene) -> object:
    """A request for counterparties under a consent that does not grant them."""
    items = {"invoice_issued@2": ["core", "amounts", "counterparty"]}
    return gather(
        scene.bank,
        bureau=scene.consortium.bureau,
        consent=_fresh_consent(scene),
        items=items,
        period=scene.terms.period,
    )


def ask_with_foreign_consent(scene: RefusalScene) -> object:
    """A request by a bank under a consent that was given to another one."""
    artefact, _ = scene.owner.signed(wish_of(scene))
    scene.other_bank.catch_up_with(scene.consortium.bureau)
    return scene.other_bank.consent_file.receive(artefact)


class AskingScene(Protocol):
    """What an ordinary wish follows from."""

    @property
    def bank(self) -> Institution:
        """The bank that asks."""
        ...

    @property
    def terms(self) -> Underwriting:
        """What it asks for."""
        ...


def wish_of(scene: AskingScene) -> Wish:
    """Return the ordinary wish of an applicant at the scene's bank."""
    return Wish(
        recipient=scene.bank.member,
        purpose=Purpose.UNDERWRITING,
        items=dict(scene.terms.items),
        period_from=scene.terms.period[0],
        period_to=scene.terms.period[1],
        product=scene.terms.product.id,
    )


def _fresh_consent(scene: RefusalScene) -> OwnedId:
    return scene.owner.consent(wish_of(scene), bank=scene.bank).artefact.name


def _gather(scene: RefusalScene, bank: Institution, consent: OwnedId) -> object:
    return gather(
        bank,
        bureau=scene.consortium.bureau,
        consent=consent,
        items=scene.terms.items,
        period=scene.terms.period,
    )


def _code_of(act: Callable[[RefusalScene], object], scene: RefusalScene) -> str:
    try:
        act(scene)
    except ShuiqiaoError as error:
        return error.code
    return f"{ACCEPTED}: {act.__name__}"

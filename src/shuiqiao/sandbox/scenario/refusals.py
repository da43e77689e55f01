"""Acts that honest software must refuse, tried for real at each door of the loop; the codes are counted.

Each is an act by a party of the run with its real keys. An act that is *not* refused is reported under its own name
with the code ``accepted``, so that it cannot be taken for a refusal.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from shuiqiao.base.ids import Uscc
from shuiqiao.consent.model import Purpose
from shuiqiao.sandbox.economy.model import Applicant
from shuiqiao.sandbox.scenario.enterprises import EnterpriseOwner
from shuiqiao.sandbox.scenario.scene import NOT_CAUGHT, Scene, code_of

ACCEPTED = "accepted"
_WITH_PARTNERS = {"invoice_issued@2": ["core", "amounts", "counterparty"]}


def try_refusals(scene: Scene) -> tuple[str, ...]:
    """Try every act and return the code that refused each, in order."""
    acts: tuple[Callable[[Scene], object], ...] = (
        ask_for_too_much,
        ask_without_enrolment,
        ask_while_paused,
        ask_beyond_consent,
        ask_with_foreign_consent,
    )
    return tuple(_code_of(act, scene) for act in acts)


def ask_for_too_much(scene: Scene) -> object:
    """A consent for model development that names counterparties: beyond the purpose's ceiling (412)."""
    return scene.owner.consent(replace(scene.wanted(), purpose=Purpose.MODEL_DEVELOPMENT, items=_WITH_PARTNERS))


def ask_without_enrolment(scene: Scene) -> object:
    """A consent in the name of a taxpayer whom the bureau does not know."""
    applicant = Applicant(uscc=Uscc("UNKNOWNTAXPAYER"), defaulted=None)
    stranger = EnterpriseOwner(applicant, bureau=scene.bureau, entropy=scene.bureau.dependencies.entropy)
    return stranger.consent(scene.wanted())


def ask_while_paused(scene: Scene) -> object:
    """A request under a consent that the enterprise has paused."""
    consent = scene.fresh_consent()
    statement = scene.owner.enterprise.pause(consent, now_ms=scene.bureau.dependencies.clock.now_ms())
    scene.bureau.consent_service.relay(statement.raw)
    scene.bank.catch_up_with(scene.bureau)
    return scene.ask(consent)


def ask_beyond_consent(scene: Scene) -> object:
    """A request for counterparties under a consent that does not grant them."""
    return scene.ask(scene.fresh_consent(), items=_WITH_PARTNERS)


def ask_with_foreign_consent(scene: Scene) -> object:
    """A request by a bank under a consent that was given to another one."""
    artefact, _ = scene.owner.signed(scene.wanted())
    scene.other_bank.catch_up_with(scene.bureau)
    return scene.other_bank.consent_file.receive(artefact)


def _code_of(act: Callable[[Scene], object], scene: Scene) -> str:
    code = code_of(lambda: act(scene))
    return f"{ACCEPTED}: {act.__name__}" if code == NOT_CAUGHT else code

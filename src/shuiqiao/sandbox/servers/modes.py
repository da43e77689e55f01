"""One enterprise is scored over HTTP by each way to run a bank's card that is installed.

    at_source   the card runs at the bureau, open to it
    blind       its weights go there encrypted
    secure      its weights stay at the bank; a worker of each server computes, over a link of their own

People offer, review and approve each model, the enterprise consents, the bank asks: as anybody does over the API.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from shuiqiao.base.errors import Denied, Unavailable
from shuiqiao.base.ids import OwnedId, new_id
from shuiqiao.client.resources import answers, approvals, models
from shuiqiao.client.resources.leakage import READ_LEAKAGE, LeakageQuestion
from shuiqiao.consent.model import Mode, Output, Purpose
from shuiqiao.privacy.model import MILLI
from shuiqiao.sandbox.scenario.consortium import BUREAU, LEAD_BANK
from shuiqiao.sandbox.scenario.modes import (
    AT_SOURCE,
    BLIND,
    DISCLOSE,
    SECURE,
    Known,
    Learning,
    ModesShown,
    known_by_lines,
)
from shuiqiao.sandbox.servers.parties import Office, patiently
from shuiqiao.sandbox.servers.story import approved

if TYPE_CHECKING:
    from shuiqiao.sandbox.servers.parties import Firm
    from shuiqiao.sandbox.servers.story import ServedStory

WAYS: Final = (AT_SOURCE, BLIND, SECURE)

_CHECKERS: Final = {"maker": "product_officer", "checker": "product_supervisor"}
_APPROVERS: Final = {"maker": "model_reviewer", "checker": "model_supervisor"}


def play_modes(story: ServedStory) -> None:
    """Show the modes on the last of a story's firms, by the card that its lead bank developed; as ``show_modes``."""
    if story.model is None:
        raise Denied("credit.model_unclear", "the story developed no model")
    with (
        story.step("one applicant in the other modes 其他隐私方式"),
        Office(story.sandbox, BUREAU, clock=story.clock) as bureau,
        Office(story.sandbox, LEAD_BANK, clock=story.clock) as bank,
    ):
        story.modes = show_modes(story, story.firms[-1], bank=bank, bureau=bureau, model=story.model.digest)


def show_modes(story: ServedStory, firm: Firm, *, bank: Office, bureau: Office, model: str) -> ModesShown:
    """Have a firm that was asked for its records scored in each way; raises what refuses one whose extra is there.

    model: the digest of a card that the bank keeps.
    """

    def known() -> Known:
        account = bureau.perform("internal_auditor", READ_LEAKAGE, LeakageQuestion(taxpayer=firm.applicant.uscc))
        return known_by_lines(
            (line.recipient, line.mode, line.fields, int(Decimal(line.bits) * MILLI)) for line in account.lines
        )

    learning, refused = Learning(known), dict[str, Mapping[str, Any]]()
    learning.note(DISCLOSE)
    for way in WAYS:
        try:
            running = let_run(model, way=way, bank=bank, bureau=bureau)
            asked = points_asked(story, score_consent(story, firm, bank=bank), running)
            bank.perform("relationship_manager", answers.ASK_PROVIDER, asked)
        except Unavailable as error:
            if error.code != "privacy.extra_missing":
                raise
            refused[way] = error.as_dict()
        learning.note(way)
    return ModesShown(who_saw_what=learning.who_saw_what, refused=refused)


def let_run(model: str, *, way: str, bank: Office, bureau: Office) -> OwnedId:
    """Have two people of a bank offer a model in one of ``WAYS``, and two of the bureau let it run there.

    model: the digest of a card that the bank keeps. Returns its name on the ledger, once the bank's copy has the
    approval. Raises Unavailable ``privacy.extra_missing``, what any of them is refused with.
    """
    offer = models.ModelOffer(
        model=model,
        to=BUREAU,
        purpose="underwriting",
        outputs=models.OutputsDeclared(points=True),
        blind=way == BLIND,
        secure=way == SECURE,
    )
    name = OwnedId(approved(bank, approvals.PROPOSE_OFFER, offer, **_CHECKERS).outcome["model"])
    _until(bureau, "model_reviewer", name, lambda found: bool(found.content))
    review = models.ModelReview(ledger_model=name, outcome="accepted", findings="Each output has few values.")
    bureau.perform("model_reviewer", models.REVIEW_MODEL, review)
    approved(bureau, approvals.PROPOSE_RUN, models.LedgerModelChoice(ledger_model=name), **_APPROVERS)
    _until(bank, "product_officer", name, lambda found: any(each.status == "approved" for each in found.providers))
    return name


def _until(office: Office, role: str, model: OwnedId, is_there: Callable[[models.LedgerModelFile], bool]) -> None:
    """Return once an institution's own copy says so of a model."""
    member, _, entry = model.partition("/")
    asked = models.LedgerModelQuestion(member=member, entry=entry)

    def look() -> None:
        if not is_there(office.perform(role, models.READ_LEDGER_MODEL, asked)):
            raise Unavailable("ledger.block_awaited", f"{office.member} does not have what became of {model} yet")

    patiently(look)


def score_consent(story: ServedStory, firm: Firm, *, bank: Office) -> OwnedId:
    """Have a firm consent to the points of models on what the story's product reads."""
    wanted = story.terms().consent(bank.member, purpose=Purpose.UNDERWRITING)
    return OwnedId(firm.consent(replace(wanted, modes=(Mode.SCORE,), outputs=(Output.POINTS,))).consent)


def points_asked(story: ServedStory, consent: OwnedId, model: OwnedId) -> answers.ConsentRequest:
    """Return a request for the points of a model that was not made before."""
    return answers.ConsentRequest(
        request=new_id(story.entropy).hex(), consent=consent, model=model, outputs=(Output.POINTS.value,)
    )

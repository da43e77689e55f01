"""The parties that the demo's refusals and tampering play with: two banks, one enterprise, and its proven records."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import OwnedId
from shuiqiao.consent.model import Purpose
from shuiqiao.exchange.model import DataRequest
from shuiqiao.exchange.provider import Provider
from shuiqiao.exchange.recipient import ReceivedData
from shuiqiao.node.institution import Institution
from shuiqiao.sandbox.scenario.consortium import Consortium
from shuiqiao.sandbox.scenario.enterprises import BureauLink, ConsentWanted, EnterpriseOwner, Terms

NOT_CAUGHT = "not_caught"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The open consortium, one enterprise with its records at a bank, another bank, and a folder for copies."""

    consortium: Consortium
    owner: EnterpriseOwner
    bank: Institution
    other_bank: Institution
    terms: Terms
    received: ReceivedData
    scratch: Path

    @property
    def bureau(self) -> Institution:
        """The bureau that answers."""
        return self.consortium.bureau

    def wanted(self) -> ConsentWanted:
        """Return the consent that an ordinary applicant at the bank is asked for."""
        return self.terms.consent(self.bank.member, purpose=Purpose.UNDERWRITING)

    def fresh_consent(self) -> OwnedId:
        """Return an ordinary consent that was just granted."""
        return self.owner.consent(self.wanted(), bank=self.bank).artefact.name

    def ask(
        self,
        consent: OwnedId,
        *,
        items: Mapping[str, list[str]] | None = None,
        provider: Provider | None = None,
    ) -> ReceivedData:
        """Ask at the bank under a consent; provider: answers in the bureau's name; its own unless another is put.

        Raises what consent, ledger, provider or proof refuse with.
        """
        first, last = self.terms.period
        wanted = DataRequest(consent=consent, items=items or self.terms.items, period_from=first, period_to=last)
        return self.bank.recipient.obtain(wanted, provider=BureauLink(self.bank, self.bureau, provider=provider))


def code_of(act: Callable[[], object]) -> str:
    """Return the stable code that refused an act, ``not_caught`` if nothing did."""
    try:
        act()
    except ShuiqiaoError as error:
        return error.code
    return NOT_CAUGHT

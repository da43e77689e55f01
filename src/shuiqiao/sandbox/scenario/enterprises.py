"""The enterprises of a run: each holds a seed of its own, is enrolled at the bureau, and signs its consents itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from shuiqiao.base.clock import MS_PER_DAY, MS_PER_SECOND
from shuiqiao.base.ids import Entropy, MemberId
from shuiqiao.consent.enterprise import ConsentTerms, Enterprise, EnterpriseKeys
from shuiqiao.consent.model import Frequency, FrequencyUnit, IdentityCheck, Mode, Purpose
from shuiqiao.consent.service import GrantedConsent
from shuiqiao.crypto.model import SEED_BYTES
from shuiqiao.node.institution import Institution
from shuiqiao.sandbox.economy.model import Applicant
from shuiqiao.sandbox.scenario.cast import BUREAU

DEVELOPMENT_LIFE_DAYS = 365
UNDERWRITING_LIFE_DAYS = 180
CONSENT_VALIDITY_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What an enterprise is asked to consent to. items: standard id to groups; validity in milliseconds from now."""

    recipient: MemberId
    purpose: Purpose
    items: dict[str, list[str]]
    period_from: date
    period_to: date
    product: str
    validity_ms: int = CONSENT_VALIDITY_DAYS * MS_PER_DAY


class EnterpriseOwner:
    """An enterprise with its seed: what runs on its owner's phone."""

    def __init__(self, applicant: Applicant, *, bureau: Institution, entropy: Entropy) -> None:
        self.applicant = applicant
        self._bureau = bureau
        keys = EnterpriseKeys(entropy(SEED_BYTES), suite=bureau.suite)
        self.enterprise = Enterprise(keys, network=bureau.parameters.network, entropy=entropy)
        self._identity = IdentityCheck(
            reference=entropy(16).hex(), checked_ms=bureau.surroundings.clock.now_ms() - MS_PER_SECOND
        )

    def enrol(self) -> None:
        """Be identified at the bureau's counter and leave the enrolment key there."""
        self._bureau.consent_desk.enrol(
            self.applicant.uscc,
            enrolment_key=self.enterprise.enrolment_key(BUREAU),
            identity_check=self._identity,
        )

    def consent(self, wish: Wish, *, bank: Institution | None = None) -> GrantedConsent:
        """Sign a consent, hand it to the bureau, and leave the artefact with the bank if one is given.

        Raises what bureau and ledger refuse with.
        """
        artefact, granted = self.signed(wish)
        if bank is not None:
            bank.catch_up_with(self._bureau)
            bank.consent_file.receive(artefact)
        return granted

    def signed(self, wish: Wish) -> tuple[bytes, GrantedConsent]:
        """Sign a consent, hand it to the bureau, and return the artefact's bytes with the grant."""
        now_ms = self._bureau.surroundings.clock.now_ms()
        submission = self.enterprise.submission(self._terms(wish, now_ms=now_ms), now_ms=now_ms)
        granted = self._bureau.consent_desk.receive(submission)
        return submission.artefact, granted

    def _terms(self, wish: Wish, *, now_ms: int) -> ConsentTerms:
        is_development = wish.purpose is Purpose.MODEL_DEVELOPMENT
        return ConsentTerms(
            taxpayer=self.applicant.uscc,
            provider=BUREAU,
            recipient=wish.recipient,
            purpose=wish.purpose,
            items=wish.items,
            period_from=wish.period_from,
            period_to=wish.period_to,
            modes=(Mode.DISCLOSE,),
            frequency=Frequency(count=4, unit=FrequencyUnit.YEAR),
            data_life_days=DEVELOPMENT_LIFE_DAYS if is_development else UNDERWRITING_LIFE_DAYS,
            valid_from_ms=now_ms,
            valid_to_ms=now_ms + wish.validity_ms,
            product=wish.product,
            identity_check=self._identity,
        )

"""The enterprises of a run: each holds a seed of its own, is enrolled at the bureau, and signs its consents itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from shuiqiao.base.clock import MS_PER_DAY, MS_PER_SECOND
from shuiqiao.base.ids import Entropy, MemberId
from shuiqiao.consent.enterprise import ConsentTerms, Enterprise, EnterpriseKeys
from shuiqiao.consent.model import (
    ConsentSubmission,
    Frequency,
    FrequencyUnit,
    IdentityCheck,
    Mode,
    Output,
    Purpose,
    whole_days,
)
from shuiqiao.consent.service import GrantedConsent
from shuiqiao.crypto.kdf import SEED_BYTES
from shuiqiao.exchange.provider import Provider
from shuiqiao.node.institution import Institution
from shuiqiao.sandbox.economy.model import Applicant
from shuiqiao.sandbox.scenario.consortium import BUREAU

DEVELOPMENT_LIFE_DAYS = 365
UNDERWRITING_LIFE_DAYS = 180
CONSENT_VALIDITY_DAYS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentWanted:
    """What an enterprise is asked to consent to. items: standard id to groups; validity in milliseconds from now."""

    recipient: MemberId
    purpose: Purpose
    items: Mapping[str, list[str]]
    period: tuple[date, date]
    product: str
    modes: tuple[Mode, ...] = (Mode.DISCLOSE,)
    outputs: tuple[Output, ...] = ()
    validity_ms: int = CONSENT_VALIDITY_DAYS * MS_PER_DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What every bank of a run asks for: a product's records of a period, up to the day of judgement."""

    product: str
    items: Mapping[str, list[str]]
    period: tuple[date, date]

    def consent(self, recipient: MemberId, *, purpose: Purpose) -> ConsentWanted:
        """Return the consent that a bank needs."""
        product = self.product if purpose is Purpose.UNDERWRITING else "model-development"
        return ConsentWanted(
            recipient=recipient, purpose=purpose, items=self.items, period=self.period, product=product
        )


@dataclass(slots=True)
class BureauLink:
    """The way from a bank to the bureau within one process. answer_bytes: of every answer that came over it.

    provider: answers in the bureau's name; its own unless a tampering act puts another one there.
    """

    bank: Institution
    bureau: Institution
    provider: Provider | None = field(default=None, kw_only=True)
    answer_bytes: list[int] = field(default_factory=list[int], init=False)

    def ask(self, message: bytes) -> bytes:
        """Return the answer to a request, each side having caught up with the other before it acts."""
        self.bureau.catch_up_with(self.bank)
        try:
            answer = (self.provider or self.bureau.provider).answer(message)
        finally:
            # A refusal has its ledger entry, too.
            self.bank.catch_up_with(self.bureau)
        self.answer_bytes.append(len(answer))
        return answer


@dataclass(frozen=True, slots=True)
class OpeningLink:
    """The way from a bank to the regulator within one process."""

    bank: Institution
    regulator: Institution

    def hand_in(self, application: bytes, sealed: bytes) -> None:
        """Hand a decision's opening in, the regulator having caught up with the bank."""
        self.regulator.catch_up_with(self.bank)
        self.regulator.openings.receive(application, bank=self.bank.member, sealed=sealed)


class EnterpriseOwner:
    """An enterprise with its seed: what runs on its owner's phone."""

    def __init__(self, applicant: Applicant, *, bureau: Institution, entropy: Entropy) -> None:
        self.applicant = applicant
        self._bureau = bureau
        self.keys = EnterpriseKeys(entropy(SEED_BYTES), suite=bureau.suite)
        self.enterprise = Enterprise(self.keys, network=bureau.parameters.network, entropy=entropy)
        self._identity = IdentityCheck(
            reference=entropy(16).hex(), checked_ms=bureau.dependencies.clock.now_ms() - MS_PER_SECOND
        )

    def enrol(self) -> None:
        """Be identified at the bureau's counter and leave the enrolment key there."""
        self._bureau.consent_service.enrol(
            self.applicant.uscc,
            enrolment_key=self.enterprise.enrolment_key(BUREAU),
            identity_check=self._identity,
        )

    def consent(self, wanted: ConsentWanted, *, bank: Institution | None = None) -> GrantedConsent:
        """Sign a consent, hand it to the bureau, and leave the artefact with the bank if one is given.

        Raises what bureau and ledger refuse with.
        """
        artefact, granted = self.signed(wanted)
        if bank is not None:
            bank.catch_up_with(self._bureau)
            bank.consent_file.receive(artefact)
        return granted

    def signed(self, wanted: ConsentWanted) -> tuple[bytes, GrantedConsent]:
        """Sign a consent, hand it to the bureau, and return the artefact's bytes with the grant."""
        submission = self.submission(wanted)
        granted = self._bureau.consent_service.receive(submission)
        return submission.artefact, granted

    def submission(self, wanted: ConsentWanted) -> ConsentSubmission:
        """Sign a consent now, ready to be handed to the bureau."""
        now_ms = self._bureau.dependencies.clock.now_ms()
        return self.enterprise.submission(self._terms(wanted, now_ms=now_ms), now_ms=now_ms)

    def _terms(self, wanted: ConsentWanted, *, now_ms: int) -> ConsentTerms:
        window = (now_ms, now_ms + wanted.validity_ms)
        valid_from_ms, valid_to_ms = whole_days(*window) if self._bureau.settings.entry_delay_min else window
        is_development = wanted.purpose is Purpose.MODEL_DEVELOPMENT
        first, last = wanted.period
        return ConsentTerms(
            taxpayer=self.applicant.uscc,
            provider=BUREAU,
            recipient=wanted.recipient,
            purpose=wanted.purpose,
            items=dict(wanted.items),
            period_from=first,
            period_to=last,
            modes=wanted.modes,
            outputs=wanted.outputs,
            frequency=Frequency(count=4, unit=FrequencyUnit.YEAR),
            data_life_days=DEVELOPMENT_LIFE_DAYS if is_development else UNDERWRITING_LIFE_DAYS,
            valid_from_ms=valid_from_ms,
            valid_to_ms=valid_to_ms,
            product=wanted.product,
            identity_check=self._identity,
        )

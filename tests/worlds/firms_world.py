"""Two enterprises without a node, their bureau and a bank: doors of theirs in this process, all between them over HTTP."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from api_world import AskedInstitution, asked
from consortium_world import CHEAP, PARTNER, TAXPAYER, record_files
from patience import PATIENCE_S
from peers_world import PeerNetwork, served_app
from shuiqiao.base.errors import Denied
from shuiqiao.base.ids import MemberId, OwnedId
from shuiqiao.client.enterprise import EnterpriseDevice, KeyPlace, enrol
from shuiqiao.client.http import HttpClient
from shuiqiao.client.resources.consents import ConsentSubmissionMessage
from shuiqiao.client.resources.enrolments import READ_OWN_ENROLMENT
from shuiqiao.client.resources.own import APPLY, GRANT_OWN_CONSENT, OwnApplicationFile, OwnApplying
from shuiqiao.client.wire import Nothing
from shuiqiao.consent.codes import CodePurpose
from shuiqiao.consent.enterprise import ConsentTerms
from shuiqiao.consent.model import Frequency, FrequencyUnit, IdentityCheck, Mode, Purpose
from shuiqiao.members.endpoint import Endpoint, endpoint_of_text
from shuiqiao.sandbox.scenario.consortium import BUREAU, LEAD_BANK, REGULATOR
from web_server import LossyLine, lossy_line

OTHER_TAXPAYER = PARTNER
PASSPHRASE = b"words of a firm"
ITEMS = {"invoice_issued@2": ["core", "amounts"]}
PERIOD = (date(2024, 1, 1), date(2025, 12, 31))


@dataclass
class FirmsWorld:
    """A network at work with its public doors. Users of it log in as in the product."""

    folder: Path
    stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.network = PeerNetwork(self.folder / "network", "intl")
        self.bureau = self._open(BUREAU)
        self.bank = self._open(LEAD_BANK)
        self.stack.enter_context(self.network.here(REGULATOR))
        self.bureau_url = self._serve(self.bureau)
        self.bank_url = self._serve(self.bank)
        institution = self.bureau.running.institution
        for taxpayer, files in ((TAXPAYER, "records"), (OTHER_TAXPAYER, "others")):
            (path,) = [record_files(self.folder / files)["invoice_issued"]]
            if taxpayer != TAXPAYER:
                text = path.read_text().replace(PARTNER, "9100").replace(TAXPAYER, taxpayer).replace("2499", "2599")
                path.write_text(text)
            known = institution.catalogue.get("invoice_issued")
            report = institution.vault.ingest([path], anchor=institution.outbox, record_type=known)
            assert report.records_quarantined == 0, report.report.read_text()

    def _open(self, member: MemberId) -> AskedInstitution:
        return self.stack.enter_context(asked(self.stack.enter_context(self.network.running(member))))

    def _serve(self, institution: AskedInstitution) -> str:
        url = self.stack.enter_context(served_app(institution.apps["accounts"]))
        institution.origins.append(url)
        return url

    @contextmanager
    def line_to(self, institution: AskedInstitution) -> Generator[LossyLine]:
        """A line to an institution that its operator knows of, as a reverse proxy that ``public_urls`` names."""
        with lossy_line(institution.origins[0]) as line:
            institution.origins.append(line.url)
            try:
                yield line
            finally:
                institution.origins.remove(line.url)

    def code(self, taxpayer: str, *, purpose: CodePurpose = CodePurpose.ENROL) -> str:
        """A code from the bureau's counter."""
        institution = self.bureau.running.institution
        check = IdentityCheck(reference="check-1", checked_ms=institution.outbox.now_ms())
        return institution.enrolment_codes.issue(taxpayer, identity_check=check, purpose=purpose)

    def enrolled(self, name: str, taxpayer: str) -> EnterpriseDevice:
        """An enterprise that enrolled, its key opening fast."""
        device, _ = enrol(
            KeyPlace(self.folder / name),
            taxpayer=taxpayer,
            code=self.code(taxpayer),
            address=self.bureau_address,
            passphrase=lambda: PASSPHRASE,
            cost=CHEAP,
        )
        return device

    @property
    def bureau_address(self) -> Endpoint:
        return endpoint_of_text(self.bureau_url)

    @property
    def bank_address(self) -> Endpoint:
        return endpoint_of_text(self.bank_url)

    def submission(self, device: EnterpriseDevice, session: HttpClient) -> ConsentSubmissionMessage:
        """A fresh consent to the bank, signed by halves."""
        known = session.perform(READ_OWN_ENROLMENT, Nothing())
        now_ms = device.now_ms()
        terms = ConsentTerms(
            taxpayer=device.taxpayer,
            provider=device.bureau,
            recipient=LEAD_BANK,
            purpose=Purpose.UNDERWRITING,
            items=ITEMS,
            period_from=PERIOD[0],
            period_to=PERIOD[1],
            modes=(Mode.DISCLOSE,),
            frequency=Frequency(count=4, unit=FrequencyUnit.YEAR),
            data_life_days=90,
            valid_from_ms=now_ms,
            valid_to_ms=now_ms + 86_400_000,
            product="invoice-loan",
            identity_check=IdentityCheck(reference=known.reference, checked_ms=known.checked_ms),
        )
        signed = device.enterprise.submission(terms, now_ms=now_ms)
        return ConsentSubmissionMessage(
            artefact=signed.artefact.hex(), endorsement=signed.endorsement.hex(), grant=signed.grant.hex()
        )

    def consented(self, device: EnterpriseDevice) -> OwnedId:
        """A fresh consent of an enterprise to the bank, its artefact on the bank's file."""
        with device.at_bureau() as session:
            name = OwnedId(session.perform(GRANT_OWN_CONSENT, self.submission(device, session)).consent)
        self.wait_for(lambda: self.bank.running.institution.consent_file.artefact(name))
        return name

    def applied(self, device: EnterpriseDevice, consent: OwnedId) -> OwnApplicationFile:
        """An application at the bank."""
        with device.at_bank(self.bank_address, consent=consent) as session:
            return session.perform(APPLY, OwnApplying(amount_fen=5_000_000))

    def asked_for(self, consent: OwnedId) -> str:
        """A request of the bank that was answered, proven and acknowledged; its id."""
        from shuiqiao.exchange.model import DataRequest

        bank = self.bank.running.institution
        wanted = DataRequest(consent=consent, items=ITEMS, period_from=PERIOD[0], period_to=PERIOD[1])
        return bank.recipient.obtain(wanted, provider=bank.provider_at(BUREAU)).request.hex()

    def wait_for(self, look: Any, *, while_raised: type[Exception] | tuple[type[Exception], ...] = Denied) -> Any:
        """Return what is there once it is."""
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                return look()
            except while_raised:
                assert time.monotonic() < end
                time.sleep(0.02)


@contextmanager
def firms_world(folder: Path) -> Generator[FirmsWorld]:
    """Open the world; everything of it is closed behind."""
    with ExitStack() as stack:
        world = FirmsWorld(folder, stack)
        yield world

"""The models world with a vault of tax records at the bureau and both banks ready to ask."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import consent_world
from models_world import ModelsWorld
from shuiqiao.base.ids import MemberId, OwnedId, Uscc
from shuiqiao.credit import store as credit_store
from shuiqiao.credit.blind_runner import BlindRunner
from shuiqiao.credit.computations import ComputationFile
from shuiqiao.credit.model_runner import ScorecardRunner
from shuiqiao.credit.secure_runner import SecureRunner
from shuiqiao.credit.store import ClosedCardStore, ComputationStore
from shuiqiao.exchange.model import DataRequest
from shuiqiao.exchange.modes.score import ModelRunner, Scoring
from shuiqiao.exchange.provider import Provider
from shuiqiao.exchange.recipient import Recipient, SentRequest
from shuiqiao.exchange.store import ProviderStore, RecipientStore
from shuiqiao.ledger.receipts.verification import VerifiedReceipt, verify_receipt
from shuiqiao.members.contract import ROTATE_KEY, MemberRotateKeyBody
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.members.model import KeyPurpose
from shuiqiao.models.model import ModelForm
from shuiqiao.privacy.secure.links import SecureLinks
from shuiqiao.vault.anchoring import find_anchor
from shuiqiao.vault.contract import LedgerLeaves, batch_lookup
from shuiqiao.vault.model import VaultSettings
from shuiqiao.vault.service import Vault
from standards_world import write_csv

BUREAU, BANK_A, BANK_B = consent_world.BUREAU, consent_world.BANK_A, consent_world.BANK_B
TAXPAYER: Uscc = consent_world.TAXPAYER
NEIGHBOUR = Uscc("91440300MA5NEIGHB1")
INVOICES = 60
NAME = "鹏城样例科技有限公司"


def invoices(taxpayer: Uscc, *, first_number: int) -> Iterable[Mapping[str, Any]]:
    """Sixty invoices over 2024 and 2025, about one every twelve days."""
    draw = random.Random(taxpayer)
    for number in range(INVOICES):
        amount = draw.randrange(10_000, 9_000_000)
        yield {
            "uscc": taxpayer,
            "invoice_no": f"{24_442_000_000_000_000_000 + first_number + number:020d}",
            "issue_date": (date(2024, 1, 3) + timedelta(days=12 * number)).isoformat(),
            "status": "valid",
            "is_red_letter": "false",
            "amount_fen": amount,
            "tax_fen": amount * 13 // 100,
            "total_fen": amount + amount * 13 // 100,
            "counterparty_id": f"9144030000000{draw.randrange(10_000):05d}",
        }


class ExchangeWorld(ModelsWorld):
    """A bureau with records, two banks with questions."""

    def __init__(self, folder: Path, suite_name: str) -> None:
        super().__init__(folder, suite_name)
        self.folder = folder
        self.vault = self.open_vault(folder / "vault")
        self.runner = ScorecardRunner()
        for database in self.databases.values():
            credit_store.metadata.create_all(database)
        self.closed_cards = {
            member: ClosedCardStore(database, cipher=self.cipher) for member, database in self.databases.items()
        }
        self.computations = {
            member: ComputationFile(
                submitter=self.submitters[member],
                store=ComputationStore(database, cipher=self.cipher),
                artefact=self.consents.artefact if member == BUREAU else self.files[member].artefact,
                key=self.signing[member],
                suite=self.suite,
                entropy=self.entropy,
            )
            for member, database in self.databases.items()
            if member in {BUREAU, BANK_A, BANK_B}
        }
        self.links = {member: SecureLinks(listen="127.0.0.1:0", timeout_s=60.0) for member in self.databases}
        self._runners: dict[MemberId, dict[ModelForm, ModelRunner]] = {}
        self.ingest(
            {
                "invoice_issued": self._invoices(),
                "tax_credit_grade": self._grades(),
                "registration": self._registrations(),
            }
        )
        self.provider_store = ProviderStore(self.databases[BUREAU], cipher=self.cipher)
        self.provider = self.provider_with(self.vault)
        self.recipient_stores = {
            name: RecipientStore(self.databases[name], cipher=self.cipher) for name in (BANK_A, BANK_B)
        }
        self.banks = {name: self.recipient(name) for name in (BANK_A, BANK_B)}

    def open_vault(self, folder: Path) -> Vault:
        """A vault of small batches in one process."""
        return Vault(
            folder,
            suite=self.suite,
            catalogue=self.catalogue,
            clock=self.clock,
            entropy=self.entropy,
            cipher=self.cipher.files,
            settings=VaultSettings(batch_depth=5, workers=0),
        )

    def ingest(
        self, rows_of: Mapping[str, Iterable[Mapping[str, Any]]], *, vault: Vault | None = None, anchor: Any = None
    ) -> None:
        """Take records in through files, as a bureau does."""
        for type_id, rows in rows_of.items():
            path = write_csv(self.folder / f"{type_id}-{len(list(self.folder.iterdir()))}.csv", rows)
            report = (vault or self.vault).ingest(
                [path], anchor=anchor or self.submitters[BUREAU], record_type=self.catalogue.get(type_id)
            )
            assert report.records_quarantined == 0, report.report.read_text()

    def _invoices(self) -> list[Mapping[str, Any]]:
        return [*invoices(TAXPAYER, first_number=0), *invoices(NEIGHBOUR, first_number=1000)]

    def _grades(self) -> list[Mapping[str, Any]]:
        return [
            {"uscc": taxpayer, "year": year, "grade": grade}
            for taxpayer, grade in ((TAXPAYER, "A"), (NEIGHBOUR, "C"))
            for year in (2023, 2024, 2025)
        ]

    def _registrations(self) -> list[Mapping[str, Any]]:
        return [
            {
                "uscc": taxpayer,
                "taxpayer_name": NAME,
                "status": "normal",
                "industry_code": "C3911",
                "province_code": "44",
                "registered_on": "2015-06-01",
            }
            for taxpayer in (TAXPAYER, NEIGHBOUR)
        ]

    def provider_with(self, vault: Any) -> Provider:
        """The bureau's answering service over a vault."""
        return Provider(
            submitter=self.submitters[BUREAU],
            store=self.provider_store,
            consents=self.consents,
            vault=vault,
            key=self.signing[BUREAU],
            suite=self.suite,
            catalogue=self.catalogue,
            entropy=self.entropy,
            scoring=self.scoring(BUREAU),
        )

    def scoring(self, member: MemberId) -> Scoring:
        """The models of a member, and what runs them."""
        return Scoring(
            models=self.registries[member], runner=lambda form: self.runners(member)[form], catalogue=self.catalogue
        )

    def runners(self, member: MemberId) -> dict[ModelForm, ModelRunner]:
        """What runs the models of each form."""
        if member not in self._runners:
            blind = BlindRunner(features=self.runner, cards=self.closed_cards[member], entropy=self.entropy)
            secure = SecureRunner(
                features=self.runner,
                cards=self.closed_cards[member],
                links=self.links[member],
                open_link=lambda bureau: self.open_link(member, bureau),
                computations=self.computations[member],
            )
            self._runners[member] = {
                ModelForm.SCORECARD: self.runner,
                ModelForm.BLIND_LINEAR: blind,
                ModelForm.SECURE_LINEAR: secure,
            }
        return self._runners[member]

    def open_link(self, bank: MemberId, bureau: MemberId) -> None:
        """Open the link over which a bank and the bureau compute."""
        offer = self.links[bank].offer(bureau)
        self.links[bank].connect(bureau, self.links[bureau].accept(bank, offer))

    def recipient(self, member: MemberId) -> Recipient:
        """A bank's asking service."""
        return Recipient(
            submitter=self.submitters[member],
            store=self.recipient_stores[member],
            consents=self.files[member],
            key=self.signing[member],
            sealing_key=self.sealing[member],
            suite=self.suite,
            catalogue=self.catalogue,
            entropy=self.entropy,
            scoring=self.scoring(member),
        )

    def wanted(self, consent: OwnedId, **changes: Any) -> DataRequest:
        """All that the usual consent grants, with changes."""
        fields: dict[str, Any] = {
            "consent": consent,
            "items": {"invoice_issued@2": ["core", "amounts"], "tax_credit_grade@1": ["core"]},
            "period_from": date(2024, 1, 1),
            "period_to": date(2025, 12, 31),
        }
        return DataRequest(**(fields | changes))

    def asked(self, consent: OwnedId, *, bank: MemberId = BANK_A, **changes: Any) -> SentRequest:
        """A request on the ledger."""
        return self.banks[bank].request(self.wanted(consent, **changes))

    def entry(self, request: bytes, *, bank: MemberId = BANK_A) -> dict[str, Any]:
        """A request as the ledger knows it."""
        return self.ledger.state().get(f"exchange/request/{bank}/{request.hex()}")

    def receipt_of_anchor(self, batch: bytes) -> VerifiedReceipt:
        """The verified receipt of a batch's anchor.commit."""
        decode = self.submitters[BUREAU].decode
        index = find_anchor(batch, ledger=self.ledger, decode=decode, author=BUREAU)
        return verify_receipt(
            self.ledger.receipt(index),
            parameters=self.parameters,
            kinds=self.kinds,
            key_ring=MemberKeyRing(),
            suite=self.suite,
        )

    def facts(self) -> dict[str, Any]:
        """What an accusation is judged by."""
        state = self.ledger.state()
        return {
            "provider": BUREAU,
            "state": state,
            "network": self.network,
            "batch_of": batch_lookup(state, BUREAU),
            "status_of": LedgerLeaves(state, BUREAU),
            "verify_root": self.submitters[BUREAU].verify_root,
            "suite": self.suite,
            "catalogue": self.catalogue,
        }

    def rotate(self, member: MemberId) -> Any:
        """A member replaces its signing key, and its services go on with the new one; return the old key."""
        old = self.signing[member]
        new = self.suite.generate_signing_key(self.entropy)
        if member == BUREAU:
            self.ledger.signer.add_key(new)
        body = MemberRotateKeyBody(purpose=KeyPurpose.SIGNING, new_key=new.public_key, proof=b"")
        self.submitters[member].submit(ROTATE_KEY, body, extra_keys=(new,))
        self.signing[member] = new
        self.submitters[member] = self._submitter(member)
        if member == BUREAU:
            self.consents = self._consents()
            self.provider = self.provider_with(self.vault)
        else:
            self.files[member] = self._file(member)
            self.banks[member] = self.recipient(member)
        return old

    def close(self) -> None:
        """Release files, threads and workers."""
        for links in self.links.values():
            links.close()
        self.runner.close()
        self.vault.close()
        super().close()

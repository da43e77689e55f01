"""What an institution does by the rooms beneath, each service composed when it is first asked for.

What a service needs of the institution, its keys, ledger, outbox and database, is there by then: ``institution`` opens
them, and closes what was composed here.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING

from shuiqiao.base.clock import MS_PER_SECOND, Clock, SystemClock
from shuiqiao.base.environment import CLOCK_VARIABLE
from shuiqiao.base.errors import Denied, InvalidInput
from shuiqiao.base.ids import Entropy, MemberId, OwnedId, split_owned_id, system_entropy
from shuiqiao.consent.codes import EnrolmentCodes
from shuiqiao.consent.service import ConsentFile, ConsentService
from shuiqiao.consent.store import ConsentStore
from shuiqiao.exchange.accusation import accuse_of_withholding
from shuiqiao.exchange.disputes import Disputes
from shuiqiao.exchange.model import request_key
from shuiqiao.exchange.modes.score import Scoring
from shuiqiao.exchange.provider import Provider
from shuiqiao.exchange.recipient import Recipient
from shuiqiao.exchange.store import ProviderStore, RecipientStore
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.follower import FollowerLedger
from shuiqiao.ledger.transactions.entry_delay import EntryDelay
from shuiqiao.ledger.witness.witness import Witness
from shuiqiao.lending.catalogue import load_product_texts
from shuiqiao.lending.processing import ApplicationProcess, Surroundings
from shuiqiao.lending.product_rules import BankProducts
from shuiqiao.lending.service import LendingService, OpeningService
from shuiqiao.lending.store import LendingStore, OpeningStore, ProductStore
from shuiqiao.members.model import Role
from shuiqiao.members.roster import followers_of
from shuiqiao.models.model import ContentFacts, ModelForm
from shuiqiao.node.applications import DeliveredOpenings, regulator_of
from shuiqiao.node.home.keys import (
    HeldSigningKey,
    MemberKeys,
)
from shuiqiao.node.home.settings import (
    Home,
    NodeSettings,
    require_role,
)
from shuiqiao.node.outbox import Outbox
from shuiqiao.node.registers.service import Registers
from shuiqiao.node.registers.store import RegisterStore
from shuiqiao.oversight.openings import OpenedDecisions, open_decisions
from shuiqiao.oversight.service import AlarmService, StatisticsService
from shuiqiao.oversight.store import ReleaseStore
from shuiqiao.privacy.service import LeakageAccounts
from shuiqiao.privacy.store import ChargeStore
from shuiqiao.vault.service import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager
    from datetime import date

    from sqlalchemy import Engine

    from shuiqiao.consent.model import ConsentSubmission
    from shuiqiao.consent.service import GrantedConsent
    from shuiqiao.credit.computations import ComputationFile
    from shuiqiao.credit.model_runner import ScorecardRunner
    from shuiqiao.credit.store import ClosedCardStore
    from shuiqiao.crypto.column_cipher import ColumnCipher
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.exchange.cohorts import TrainingPlan
    from shuiqiao.exchange.manifest import ManifestOpening
    from shuiqiao.exchange.model import Accusation
    from shuiqiao.exchange.modes.score import ModelRunner
    from shuiqiao.exchange.training import Trainings
    from shuiqiao.ledger.engine.port import LedgerPeer
    from shuiqiao.ledger.model import Committed, LedgerEngine, NetworkParameters, Transaction
    from shuiqiao.ledger.transactions.kinds import KindTable
    from shuiqiao.lending.exposures.service import ExposureService, ExposureWay
    from shuiqiao.lending.models import Assessors, LendingModels
    from shuiqiao.lending.processing import AssessorLink
    from shuiqiao.models.service import ModelRegistry
    from shuiqiao.node.peers.account_link import SealedSide
    from shuiqiao.node.peers.acts import SecureOpening
    from shuiqiao.node.peers.asking import PeerClient
    from shuiqiao.node.peers.delivery import Deliveries
    from shuiqiao.node.peers.exchange_link import HttpProvider
    from shuiqiao.node.peers.secure_link import LinkSide
    from shuiqiao.node.peers.service import PeerService
    from shuiqiao.node.peers.training_link import TrainingAnswering, TrainingSide
    from shuiqiao.privacy.credentials.issuer import CredentialIssuer
    from shuiqiao.privacy.credentials.store import ShownStore
    from shuiqiao.privacy.credentials.verifier import CredentialVerifier
    from shuiqiao.privacy.model import Account
    from shuiqiao.privacy.secure.links import SecureLinks
    from shuiqiao.standards.model import Catalogue
    from shuiqiao.vault.evidence import RecordProof
    from shuiqiao.vault.model import LeafRef


_MS_PER_MINUTE = 60 * MS_PER_SECOND


@dataclass(frozen=True, slots=True, kw_only=True)
class Dependencies:
    """What an institution takes from outside itself: time, randomness, and the writer it follows (None for itself)."""

    clock: Clock
    entropy: Entropy
    writer: LedgerPeer | None = None
    is_clock_confirmed: bool = False
    """Whether somebody said that the clock is right, however long ago the newest block was."""

    @classmethod
    def of_this_machine(cls) -> Dependencies:
        """The system's clock and randomness."""
        return cls(clock=SystemClock(), entropy=system_entropy, is_clock_confirmed=bool(os.environ.get(CLOCK_VARIABLE)))


class InstitutionServices:
    """The services of one institution, by its role; another role's raise Denied ``node.role_wrong``.

    E.g. ``institution.vault`` of a tax bureau, ``institution.lending`` of a bank.
    """

    home: Home
    settings: NodeSettings
    keys: MemberKeys
    parameters: NetworkParameters
    suite: CipherSuite
    member: MemberId
    dependencies: Dependencies
    catalogue: Catalogue
    kinds: KindTable
    database: Engine
    cipher: ColumnCipher
    engine: LedgerEngine
    outbox: Outbox
    witness: Witness | None
    _signing: HeldSigningKey
    _other_keys: tuple[SigningKey, ...]
    told_of: Callable[[MemberId, str], AbstractContextManager[None]] | None = None
    """Enters that a member was told of a taxpayer, of an institution that is served; None has no journal open."""
    show_evidence: Callable[[OwnedId, MemberId], bytes] | None = None
    """Seals evidence of the computation that answered a request to a regulator, and enters that; None likewise."""

    @cached_property
    def vault(self) -> Vault:
        """The private records of a tax bureau."""
        self._require(Role.TAX_BUREAU)
        return Vault(
            self.home.vault,
            suite=self.suite,
            catalogue=self.catalogue,
            clock=self.dependencies.clock,
            entropy=self.dependencies.entropy,
            cipher=self.cipher.files,
        )

    @cached_property
    def consent_service(self) -> ConsentService:
        """Where a bureau takes in consents."""
        self._require(Role.TAX_BUREAU)
        return ConsentService(
            submitter=self.outbox,
            store=ConsentStore(self.database, cipher=self.cipher),
            suite=self.suite,
            catalogue=self.catalogue,
            delay=self._entry_delay,
        )

    @property
    def _entry_delay(self) -> EntryDelay:
        return EntryDelay(most_ms=self.settings.entry_delay_min * _MS_PER_MINUTE, draw=self.cipher.tag)

    @cached_property
    def disputes(self) -> Disputes:
        """What enterprises dispute at their bureau."""
        self._require(Role.TAX_BUREAU)
        return Disputes(
            submitter=self.outbox,
            store=ProviderStore(self.database, cipher=self.cipher),
            suite=self.suite,
            enrolment_key=self._enrolment_key,
        )

    @cached_property
    def credentials(self) -> CredentialIssuer:
        """Where a bureau issues credentials of bands and flags."""
        # What computes features takes a while to load, and no other act needs it.
        from shuiqiao.privacy.credentials.issuer import CredentialIssuer
        from shuiqiao.privacy.credentials.store import CredentialStore, DefinitionStore

        self._require(Role.TAX_BUREAU)
        return CredentialIssuer(
            submitter=self.outbox,
            store=CredentialStore(self.database, cipher=self.cipher),
            definitions=DefinitionStore(self.database, cipher=self.cipher),
            records=self.vault,
            enrolment_key=self._enrolment_key,
            key=self._signing,
            suite=self.suite,
            catalogue=self.catalogue,
            entropy=self.dependencies.entropy,
            account=self.leakage,
        )

    @cached_property
    def presentations(self) -> CredentialVerifier:
        """Where a bank asks for credentials and is shown them."""
        from shuiqiao.privacy.credentials.verifier import CredentialVerifier

        return CredentialVerifier(
            submitter=self.outbox,
            store=self.shown_credentials,
            key=self._signing,
            suite=self.suite,
            entropy=self.dependencies.entropy,
        )

    @cached_property
    def shown_credentials(self) -> ShownStore:
        """What a bank was shown."""
        from shuiqiao.privacy.credentials.store import ShownStore

        self._require(Role.BANK)
        return ShownStore(self.database, cipher=self.cipher)

    def _enrolment_key(self, taxpayer: str) -> bytes | None:
        found = ConsentStore(self.database, cipher=self.cipher).enrolment(taxpayer)
        return None if found is None else found.enrolment_key

    @cached_property
    def enrolment_codes(self) -> EnrolmentCodes:
        """A bureau's one-time codes for enterprises without a node."""
        self._require(Role.TAX_BUREAU)
        return EnrolmentCodes(
            submitter=self.outbox,
            store=ConsentStore(self.database, cipher=self.cipher),
            suite=self.suite,
            entropy=self.dependencies.entropy,
        )

    @cached_property
    def registers(self) -> Registers:
        """Assessments, incidents and complaints that people entered."""
        return Registers(
            RegisterStore(self.database, cipher=self.cipher),
            now_ms=self.outbox.now_ms,
            entropy=self.dependencies.entropy,
            is_required=self.settings.assessments_required,
        )

    @cached_property
    def provider(self) -> Provider:
        """A bureau's answers to requests."""
        return Provider(
            submitter=self.outbox,
            store=ProviderStore(self.database, cipher=self.cipher),
            consents=self.consent_service,
            vault=self.vault,
            key=self._signing,
            suite=self.suite,
            catalogue=self.catalogue,
            entropy=self.dependencies.entropy,
            scoring=self._scoring,
            require_assessment=self.registers.require_assessment,
        )

    @cached_property
    def _scoring(self) -> Scoring:
        return Scoring(models=self.model_registry, runner=self._runner, catalogue=self.catalogue)

    def _runner(self, form: ModelForm) -> ModelRunner:
        if form is ModelForm.SCORECARD:
            return self.scorecard_runner
        return self._blind_runner if form is ModelForm.BLIND_LINEAR else self._secure_runner

    @cached_property
    def scorecard_runner(self) -> ScorecardRunner:
        """What computes features, and runs cards on them."""
        # Cards bring the libraries that compute features, which no other act of the exchange needs.
        from shuiqiao.credit.model_runner import ScorecardRunner

        return ScorecardRunner()

    @cached_property
    def _blind_runner(self) -> ModelRunner:
        from shuiqiao.credit.blind_runner import BlindRunner

        return BlindRunner(features=self.scorecard_runner, cards=self.closed_cards, entropy=self.dependencies.entropy)

    @cached_property
    def _secure_runner(self) -> ModelRunner:
        from shuiqiao.credit.secure_runner import SecureRunner

        return SecureRunner(
            features=self.scorecard_runner,
            cards=self.closed_cards,
            links=self.secure_links,
            open_link=self._open_secure_link,
            computations=self.computations,
        )

    @cached_property
    def computations(self) -> ComputationFile:
        """The logs of what a bank or a bureau computed together with others."""
        from shuiqiao.credit.computations import ComputationFile
        from shuiqiao.credit.store import ComputationStore

        return ComputationFile(
            submitter=self.outbox,
            store=ComputationStore(self.database, cipher=self.cipher),
            artefact=self._consents_on_file.artefact,
            key=self._signing,
            suite=self.suite,
            entropy=self.dependencies.entropy,
        )

    @cached_property
    def secure_links(self) -> SecureLinks:
        """The links to others over which this institution computes with them; no worker runs before one is opened."""
        from shuiqiao.privacy.secure.links import SecureLinks

        return SecureLinks(
            listen=self.settings.secure_listen,
            workers=self.settings.secure_workers,
            timeout_s=self.settings.secure_timeout_ms / MS_PER_SECOND,
            entropy=self.dependencies.entropy,
        )

    def _open_secure_link(self, bureau: MemberId) -> None:
        from shuiqiao.node.peers.secure_link import open_link

        open_link(bureau, client=self.peer_client, side=self._link_side)

    @property
    def _link_side(self) -> LinkSide:
        from shuiqiao.node.peers.secure_link import LinkSide

        return LinkSide(member=self.member, engine=self.engine, suite=self.suite, links=self.secure_links)

    def _accept_secure_link(self, asked: SecureOpening, bank: MemberId) -> bytes:
        from shuiqiao.node.peers.secure_link import LinkAnswering

        return LinkAnswering(side=self._link_side, key=self._signing, now_ms=self.now_ms).answer(asked, bank)

    @cached_property
    def closed_cards(self) -> ClosedCardStore:
        """The cards of this institution whose weights a provider does not see."""
        from shuiqiao.credit.store import ClosedCardStore

        return ClosedCardStore(self.database, cipher=self.cipher)

    @cached_property
    def leakage(self) -> LeakageAccounts:
        """What is known of each taxpayer by what this institution gave, or received."""
        return LeakageAccounts(
            ChargeStore(self.database, cipher=self.cipher),
            now_ms=self.outbox.now_ms,
        )

    @cached_property
    def consent_file(self) -> ConsentFile:
        """A bank's file of the consents given to it."""
        self._require(Role.BANK)
        return ConsentFile(
            submitter=self.outbox, store=ConsentStore(self.database, cipher=self.cipher), suite=self.suite
        )

    @cached_property
    def recipient(self) -> Recipient:
        """A bank's requests."""
        return Recipient(
            submitter=self.outbox,
            store=RecipientStore(self.database, cipher=self.cipher),
            consents=self.consent_file,
            key=self._signing,
            sealing_key=self.keys.sealing,
            suite=self.suite,
            catalogue=self.catalogue,
            entropy=self.dependencies.entropy,
            scoring=self._scoring,
            require_assessment=self.registers.require_assessment,
        )

    @cached_property
    def lending(self) -> LendingService:
        """A bank's applications and decisions."""
        self._require(Role.BANK)
        return LendingService(
            submitter=self.outbox,
            store=self.application_store,
            suite=self.suite,
            entropy=self.dependencies.entropy,
            delay=self._entry_delay,
        )

    @cached_property
    def application_store(self) -> LendingStore:
        """A bank's files of applications."""
        self._require(Role.BANK)
        return LendingStore(self.database, cipher=self.cipher)

    @cached_property
    def exposures(self) -> ExposureService:
        """A bank's exposures: what others told it, and what it tells them."""
        from shuiqiao.lending.exposures.service import ExposureService
        from shuiqiao.lending.exposures.store import ExposureStore

        self._require(Role.BANK)
        return ExposureService(
            submitter=self.outbox,
            consents=self.consent_file,
            consent_store=ConsentStore(self.database, cipher=self.cipher),
            recipient=self.recipient,
            lending=self.application_store,
            store=ExposureStore(self.database, cipher=self.cipher),
            links=lambda: self.secure_links,
            key=self._signing,
            suite=self.suite,
            entropy=self.dependencies.entropy,
        )

    @property
    def exposure_way(self) -> ExposureWay:
        """How this bank reaches bureaus and banks to ask about exposures."""
        from shuiqiao.node.peers.exposure_link import HttpExposureWay

        return HttpExposureWay(
            client=self.peer_client,
            engine=self.engine,
            providers=self.provider_at,
            opened=self._open_secure_link,
        )

    def _state_exposures(self, question: bytes, bank: MemberId) -> bytes:
        return self.exposures.answer(question, bank)

    def _exposures_elsewhere(self, taxpayer: str) -> int:
        return self.exposures.elsewhere_fen(taxpayer)

    @cached_property
    def products(self) -> BankProducts:
        """A bank's products, by the rules in force."""
        self._require(Role.BANK)
        return BankProducts(
            ProductStore(self.database),
            catalogue=load_product_texts(),
            digest=self.suite.digest,
            now_ms=self.outbox.now_ms,
        )

    @cached_property
    def lending_models(self) -> LendingModels:
        """A bank's models, and what its products are decided by."""
        # Models bring the libraries that compute features, which no other act needs.
        from shuiqiao.credit.store import ModelStore
        from shuiqiao.lending.models import LendingModels

        self._require(Role.BANK)
        return LendingModels(
            models=ModelStore(self.database, cipher=self.cipher, digest=self.suite.digest),
            store=ProductStore(self.database),
            products=self.products,
            recipient=self.recipient,
            submitter=self.outbox,
            digest=self.suite.digest,
        )

    @cached_property
    def model_registry(self) -> ModelRegistry:
        """The models on the ledger that this institution has a part in."""
        from shuiqiao.models.service import ModelRegistry
        from shuiqiao.models.store import ContentStore

        return ModelRegistry(
            submitter=self.outbox,
            store=ContentStore(self.database, cipher=self.cipher),
            readers={
                ModelForm.SCORECARD: _read_scorecard,
                ModelForm.BLIND_LINEAR: _read_blind,
                ModelForm.SECURE_LINEAR: _read_secure,
            },
            key=self._signing,
            suite=self.suite,
            entropy=self.dependencies.entropy,
        )

    @cached_property
    def assessors(self) -> Assessors:
        """Who assesses a bank's applicants, by the models and rules in force on the day."""
        from shuiqiao.lending.models import Assessors

        return Assessors(self.lending_models, day=self.today)

    @cached_property
    def applications(self) -> ApplicationProcess:
        """What takes a bank's applications to their end, over HTTP to bureaus and regulator.

        Raises Denied ``node.role_wrong``.
        """
        self._require(Role.BANK)
        return self.application_process(
            Surroundings(
                provider=self.provider_at,
                product=self.products.product,
                assessor=self._assessor_of,
                regulator=lambda: regulator_of(self.engine.state()),
                regulator_link=DeliveredOpenings(deliveries=self.deliveries, bank=self.member, engine=self.engine),
                elsewhere_fen=self._exposures_elsewhere,
            )
        )

    def _assessor_of(self, product: str) -> AssessorLink:
        # Models are loaded when something is assessed, and not before.
        return self.assessors.of(product)

    def today(self) -> date:
        """Return the day on which this institution judges: of its clock or of the newest block, whichever is later."""
        return datetime.fromtimestamp(self.outbox.latest_ms() / MS_PER_SECOND, tz=UTC).date()

    def application_process(self, surroundings: Surroundings) -> ApplicationProcess:
        """Return what takes a bank's applications to their end. surroundings: whom the bank works with."""
        return ApplicationProcess(
            surroundings,
            lending=self.lending,
            store=self.application_store,
            recipient=self.recipient,
            submitter=self.outbox,
            suite=self.suite,
        )

    @cached_property
    def openings(self) -> OpeningService:
        """Where a regulator takes in sealed openings."""
        self._require(Role.REGULATOR)
        return OpeningService(submitter=self.outbox, store=OpeningStore(self.database), suite=self.suite)

    @cached_property
    def statistics(self) -> StatisticsService:
        """Where a regulator publishes totals of decisions."""
        self._require(Role.REGULATOR)
        return StatisticsService(store=ReleaseStore(self.database), clock=self.dependencies.clock)

    @cached_property
    def alarms(self) -> AlarmService:
        """Where a member raises an alarm on the ledger."""
        return AlarmService(submitter=self.outbox, suite=self.suite)

    @property
    def _is_open(self) -> bool:
        return "engine" in self.__dict__

    @cached_property
    def peer_client(self) -> PeerClient:
        """How this member asks others over HTTP."""
        from shuiqiao.node.peers.asking import PeerClient
        from shuiqiao.node.peers.directory import PeerDirectory
        from shuiqiao.node.peers.message import MessageSigner

        signer = MessageSigner(
            member=self.member,
            network=self.parameters.network,
            suite=self.suite,
            keys=(self._signing, *self._other_keys),
            clock=self.dependencies.clock,
            entropy=self.dependencies.entropy,
        )
        # While the engine is being opened, node.toml alone says where others are.
        known = PeerDirectory(listed=self.settings.peers, state=lambda: self.engine.state() if self._is_open else None)
        return PeerClient(signer=signer, directory=known)

    @cached_property
    def peer_service(self) -> PeerService:
        """What this member does for others while its server runs; the writer asks its witnesses from then on."""
        from shuiqiao.node.peers.http_witness import ask_witnesses
        from shuiqiao.node.peers.service import PeerService, Served

        role, engine = self.settings.role, self.engine
        writer = engine if isinstance(engine, EmbeddedLedger) else None
        if writer is not None:
            ask_witnesses(writer, client=self.peer_client)
        return PeerService(
            engine=engine,
            served=Served(
                writer=writer,
                witness=self.witness,
                answer=self.provider.answer if role is Role.TAX_BUREAU else None,
                file_artefact=self.consent_file.receive if role is Role.BANK else None,
                relay=self._relay_of(role),
                receive_opening=self._receive_opening if role is Role.REGULATOR else None,
                receive_model=self._receive_model if role is Role.TAX_BUREAU else None,
                tell_account=self._account_telling(),
                open_link=self._accept_secure_link if role in {Role.TAX_BUREAU, Role.BANK} else None,
                open_manifest=self._opening_telling(),
                show_evidence=self.show_evidence if role in {Role.TAX_BUREAU, Role.BANK} else None,
                state_exposures=self._state_exposures if role is Role.BANK else None,
                train=self._training_answering(role).sign if role in {Role.TAX_BUREAU, Role.REGULATOR} else None,
            ),
            member=self.member,
            suite=self.suite,
            clock=self.dependencies.clock,
            sealing_key=self.keys.sealing,
        )

    def _relay_of(self, role: Role) -> Callable[[bytes], Committed] | None:
        if role is Role.TAX_BUREAU:
            return self.consent_service.relay
        return self.consent_file.relay if role is Role.BANK else None

    def _account_telling(self) -> Callable[[bytes, bytes, MemberId], bytes] | None:
        """Return how a bureau tells regulators of accounts; None where it would stand in no journal."""
        from shuiqiao.node.peers.account_link import AccountTelling

        if self.settings.role is not Role.TAX_BUREAU or self.told_of is None:
            return None
        return AccountTelling(
            side=self._sealed_side,
            accounts=self.leakage,
            key=self._signing,
            now_ms=self.now_ms,
            journaled=self.told_of,
        ).tell

    def _opening_telling(self) -> Callable[[OwnedId, MemberId], bytes] | None:
        """Return how a bureau opens manifests to regulators; None where it would stand in no journal."""
        from shuiqiao.node.peers.opening_link import OpeningTelling

        if self.settings.role is not Role.TAX_BUREAU or self.told_of is None:
            return None
        return OpeningTelling(
            side=self._sealed_side,
            provider=self.provider,
            key=self._signing,
            now_ms=self.now_ms,
            journaled=self.told_of,
        ).tell

    def opening_of(self, request: OwnedId) -> ManifestOpening:
        """Return what opens the manifest of an answer, as its bureau tells this regulator; raises as ``opening_at``.

        Raises Denied ``exchange.request_unknown`` for a request that the ledger does not have.
        """
        from shuiqiao.node.peers.opening_link import opening_at

        self._require(Role.REGULATOR)
        entry = self.engine.state().get(request_key(request))
        if entry is None:
            raise Denied("exchange.request_unknown", f"the ledger has no request {request}")
        return opening_at(
            MemberId(entry["provider"]),
            request,
            client=self.peer_client,
            side=self._sealed_side,
            sealing_key=self.keys.sealing,
        )

    @cached_property
    def trainings(self) -> Trainings:
        """What a bank and a bureau agree to train models on."""
        from shuiqiao.exchange.store import CohortStore
        from shuiqiao.exchange.training import Trainings

        return Trainings(
            submitter=self.outbox,
            store=CohortStore(self.database, cipher=self.cipher),
            consents=self._consents_on_file,
            filed=ConsentStore(self.database, cipher=self.cipher).consents,
            key=self._signing,
            suite=self.suite,
            entropy=self.dependencies.entropy,
            least_firms=self.settings.train_least_firms,
        )

    @property
    def _consents_on_file(self) -> ConsentService | ConsentFile:
        return self.consent_service if self.settings.role is Role.TAX_BUREAU else self.consent_file

    @property
    def _training_side(self) -> TrainingSide:
        from shuiqiao.node.peers.training_link import TrainingSide

        return TrainingSide(member=self.member, engine=self.engine, suite=self.suite)

    def _training_answering(self, role: Role) -> TrainingAnswering:
        from shuiqiao.exchange.training import TrainingThird
        from shuiqiao.node.peers.training_link import TrainingAnswering

        if role is Role.TAX_BUREAU:
            return TrainingAnswering(side=self._training_side, trainings=self.trainings)
        third = TrainingThird(
            submitter=self.outbox,
            key=self._signing,
            suite=self.suite,
            least_firms=self.settings.train_least_firms,
        )
        return TrainingAnswering(side=self._training_side, third=third)

    def agree_on_training(
        self, bureau: MemberId, *, items: dict[str, list[str]], period_from: date, period_to: date
    ) -> TrainingPlan:
        """Agree with a bureau and the regulator to train on all firms that allow it, as a bank.

        Raises Denied ``node.role_wrong``, ``node.regulator_unclear``, what ``Trainings.propose`` and
        ``agree_on_training`` of the peers raise.
        """
        from shuiqiao.node.peers.training_link import agree_on_training

        self._require(Role.BANK)
        signed = self.trainings.propose(
            bureau,
            third=regulator_of(self.engine.state()),
            items=items,
            period_from=period_from,
            period_to=period_to,
        )
        return agree_on_training(signed, trainings=self.trainings, client=self.peer_client, side=self._training_side)

    def evidence_of_parties(self, request: OwnedId) -> list[bytes]:
        """Return what both parties of a computation show this regulator; one that refuses shows nothing.

        Raises Denied ``node.role_wrong``, InvalidInput ``oversight.computation_unknown``, what ``PeerClient.ask``
        raises as Unavailable or IntegrityError.
        """
        from shuiqiao.node.peers import acts
        from shuiqiao.node.peers.message import Act

        self._require(Role.REGULATOR)
        entry, files = self.engine.state().get(request_key(request)), list[bytes]()
        if entry is None:
            raise InvalidInput("oversight.computation_unknown", f"the ledger has no request {request}")
        for party in (split_owned_id(request)[0], MemberId(entry["provider"])):
            asked = acts.EvidenceQuestion(request=request)
            with suppress(Denied, InvalidInput):
                files.append(self.peer_client.ask(party, Act.EVIDENCE, asked, answer=acts.EvidenceShown).file)
        return files

    @property
    def _sealed_side(self) -> SealedSide:
        from shuiqiao.node.peers.account_link import SealedSide

        return SealedSide(member=self.member, engine=self.engine, suite=self.suite)

    def account_at(self, bureau: MemberId, taxpayer: str) -> Account:
        """Return a taxpayer's leakage account as a bureau states it to this regulator; raises as ``account_at``."""
        from shuiqiao.node.peers.account_link import account_at

        self._require(Role.REGULATOR)
        return account_at(
            bureau, taxpayer, client=self.peer_client, side=self._sealed_side, sealing_key=self.keys.sealing
        )

    @cached_property
    def deliveries(self) -> Deliveries:
        """What must reach other members, until it has."""
        from shuiqiao.node.peers.delivery import Deliveries, DeliveryStore

        return Deliveries(
            DeliveryStore(self.database),
            client=self.peer_client,
            suite=self.suite,
            clock=self.dependencies.clock,
            entropy=self.dependencies.entropy,
        )

    def receive_consent(self, submission: ConsentSubmission) -> GrantedConsent:
        """Take in an enterprise's consent, and hand its artefact to the bank that it names; raises what refuses it."""
        from shuiqiao.node.peers.exchange_link import BureauSide, take_in_consent

        link = BureauSide(member=self.member, engine=self.engine, suite=self.suite)
        return take_in_consent(submission, consents=self.consent_service, deliveries=self.deliveries, link=link)

    def provider_at(self, member: MemberId) -> HttpProvider:
        """Return the way to a bureau on another machine, for ``recipient.obtain``."""
        from shuiqiao.node.peers.exchange_link import HttpProvider

        return HttpProvider(self.peer_client, provider=member, engine=self.engine)

    def _receive_opening(self, application: bytes, bank: MemberId, sealed: bytes) -> None:
        self.openings.receive(application, bank=bank, sealed=sealed)

    def _receive_model(self, model: OwnedId, handed: bytes, sender: MemberId) -> None:
        self.model_registry.receive(model, handed, sender=sender)

    def hand_over_model(self, model: OwnedId, *, provider: MemberId) -> None:
        """See to it that a provider gets the content of a model of this institution [MODEL-7]; twice is once."""
        from shuiqiao.node.peers.exchange_link import offer_body
        from shuiqiao.node.peers.message import Act

        handed = self.model_registry.handed(model)
        body = offer_body(model, handed, sender=self.member, provider=provider, engine=self.engine, suite=self.suite)
        self.deliveries.send(provider, Act.OFFER, body)

    def decode(self, raw: bytes) -> Transaction:
        """Return a transaction of this network; raises what ``StateMachine.decode`` refuses."""
        return self.outbox.decode(raw)

    def now_ms(self) -> int:
        """Return the time of this member's clock, in milliseconds."""
        return self.outbox.now_ms()

    def others_that_follow(self) -> int:
        """Return how many other members follow this one's log: none where it is not the one writer."""
        return followers_of(self.engine.state(), self.member)

    def waits_for(self) -> str:
        """Return in words what this member waits for before it goes on, empty where it does not.

        For a follower that is the writer, with the reason why it cannot be followed now.
        """
        trouble = self.engine.trouble if isinstance(self.engine, FollowerLedger) else None
        return "" if trouble is None else f"waits for the writer {self.parameters.operator}: {trouble.message}"

    def differing_clocks(self) -> dict[MemberId, str]:
        """Return in words, by member, whose clock and this member's are too far apart for messages between them.

        Either of the two clocks may be wrong. It is known from what others refused of this member's, and from what was
        refused of theirs [PEER-2].
        """
        from shuiqiao.node.peers.message import CLOCK_DIFFERS

        found = {
            MemberId(each.receiver): each.reason for each in self.deliveries.waiting() if each.code == CLOCK_DIFFERS
        }
        if "peer_service" in self.__dict__:
            found |= self.peer_service.differing_clocks()
        trouble = self.engine.trouble if isinstance(self.engine, FollowerLedger) else None
        if trouble is not None and trouble.code == CLOCK_DIFFERS:
            found[self.parameters.operator] = trouble.message
        return dict(sorted(found.items()))

    def opened_decisions(self) -> OpenedDecisions:
        """Open every decision that was sealed to this regulator, and name what is missing or wrong."""
        return open_decisions(
            self.engine,
            kinds=self.kinds,
            regulator=self.member,
            key=self.keys.sealing,
            openings=self.openings.all(),
        )

    def accuse_of_withholding(
        self,
        manifest: bytes,
        *,
        delivered: Sequence[LeafRef],
        record: RecordProof,
        provider: MemberId,
        salt: bytes = b"",
    ) -> Accusation:
        """Prove on this member's copy of the ledger that a provider left a record out of an answer [EXCHANGE-16].

        The parts, and what is raised, are those of ``exchange.accusation.accuse_of_withholding``.
        """
        return accuse_of_withholding(
            manifest,
            delivered=delivered,
            record=record,
            provider=provider,
            ledger=self.engine,
            submitter=self.outbox,
            kinds=self.kinds,
            suite=self.suite,
            catalogue=self.catalogue,
            salt=salt,
        )

    def _require(self, role: Role) -> None:
        require_role(self.settings, role)


def _read_blind(content: bytes) -> ContentFacts:
    from shuiqiao.credit.blind_content import read_blind_facts

    return read_blind_facts(content)


def _read_secure(content: bytes) -> ContentFacts:
    from shuiqiao.credit.secure_content import read_secure_facts

    return read_secure_facts(content)


def _read_scorecard(content: bytes) -> ContentFacts:
    # Cards bring the libraries that compute features, which no other act needs.
    from shuiqiao.credit.model_content import read_content_facts

    return read_content_facts(content)

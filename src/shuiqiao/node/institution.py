"""One institution, composed: its home, keys, ledger engine, outbox, vault, and the services its role gives it.

The writer named in the genesis orders transactions; every other member follows it. A tax bureau has a vault, takes
in consents and answers requests; a bank has a consent file, asks, and lends; a regulator takes in sealed openings and
publishes statistics. The caller that opens an institution closes it.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Self

from shuiqiao.base.clock import MS_PER_SECOND, Clock, SystemClock
from shuiqiao.base.environment import CLOCK_VARIABLE
from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.base.ids import Entropy, MemberId, OwnedId, system_entropy
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.consent.codes import EnrolmentCodes
from shuiqiao.consent.service import ConsentFile, ConsentService
from shuiqiao.consent.store import ConsentStore
from shuiqiao.crypto.suites import get_suite
from shuiqiao.exchange.accusation import accuse_of_withholding
from shuiqiao.exchange.disputes import Disputes
from shuiqiao.exchange.modes.score import Scoring
from shuiqiao.exchange.provider import Provider
from shuiqiao.exchange.recipient import Recipient
from shuiqiao.exchange.store import ProviderStore, RecipientStore
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.follower import FollowerLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings, FollowerSettings
from shuiqiao.ledger.witness.witness import Witness
from shuiqiao.lending.catalogue import load_product_texts
from shuiqiao.lending.processing import ApplicationProcess, Surroundings
from shuiqiao.lending.product_rules import BankProducts
from shuiqiao.lending.service import LendingService, OpeningService
from shuiqiao.lending.store import LendingStore, OpeningStore, ProductStore
from shuiqiao.members.genesis import network_parameters
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.members.model import KeyPurpose, Role
from shuiqiao.models.model import ContentFacts, ModelForm
from shuiqiao.node.applications import DeliveredOpenings, regulator_of
from shuiqiao.node.home.data_key import DataKey
from shuiqiao.node.home.database import open_database
from shuiqiao.node.home.keys import (
    HeldSealingKey,
    HeldSigningKey,
    KeyFiles,
    MemberKeys,
    find_passphrase,
    load_keys,
    other_signing_keys,
    require_first_keys,
    require_keys,
    settle_keys,
)
from shuiqiao.node.home.kinds import network_kinds
from shuiqiao.node.home.settings import (
    Home,
    NodeSettings,
    database_of,
    load_genesis,
    load_settings,
    require_member,
    require_role,
)
from shuiqiao.node.outbox import Outbox, OutboxStore, Resending
from shuiqiao.node.published.publication import open_publisher
from shuiqiao.oversight.openings import OpenedDecisions, open_decisions
from shuiqiao.oversight.service import AlarmService, StatisticsService
from shuiqiao.oversight.store import ReleaseStore
from shuiqiao.privacy.service import LeakageAccounts
from shuiqiao.privacy.store import ChargeStore
from shuiqiao.standards.publication import load_catalogue
from shuiqiao.vault.service import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from datetime import date

    from sqlalchemy import Engine

    from shuiqiao.consent.model import ConsentSubmission
    from shuiqiao.consent.service import GrantedConsent
    from shuiqiao.credit.model_runner import ScorecardRunner
    from shuiqiao.crypto.model import SigningKey
    from shuiqiao.exchange.model import Accusation
    from shuiqiao.ledger.engine.cometbft.consensus.extensions import Cosigner
    from shuiqiao.ledger.engine.port import LedgerPeer
    from shuiqiao.ledger.model import Committed, LedgerEngine, NetworkParameters, Transaction
    from shuiqiao.lending.models import Assessors, LendingModels
    from shuiqiao.lending.processing import AssessorLink
    from shuiqiao.models.service import ModelRegistry
    from shuiqiao.node.peers.asking import PeerClient
    from shuiqiao.node.peers.delivery import Deliveries
    from shuiqiao.node.peers.exchange_link import HttpProvider
    from shuiqiao.node.peers.http_ledger import HttpLedger
    from shuiqiao.node.peers.service import PeerService
    from shuiqiao.node.validator import ValidatorNode
    from shuiqiao.privacy.credentials.issuer import CredentialIssuer
    from shuiqiao.privacy.credentials.store import ShownStore
    from shuiqiao.privacy.credentials.verifier import CredentialVerifier
    from shuiqiao.vault.evidence import RecordProof
    from shuiqiao.vault.model import LeafRef

_CLOSING_S = 3.0
"""How long what is on its way to other members has to end when a home is closed, in seconds."""


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


class Institution:
    """A member of the network at work in its home.

    Example::

        with Institution.open(Home(Path("my-bureau"))) as bureau:
            bureau.vault.ingest([Path("invoices.parquet")], anchor=bureau.outbox)
            receipt = bureau.engine.receipt(0)
    """

    def __init__(
        self,
        home: Home,
        *,
        settings: NodeSettings,
        keys: MemberKeys,
        genesis: bytes,
        dependencies: Dependencies,
        data_key: DataKey,
        passphrase: bytes,
        other_keys: tuple[SigningKey, ...] = (),
        progress: Progress = no_progress,
    ) -> None:
        """Compose a member from what was read; use ``open``. other_keys: signing keys that come next or were in use."""
        self._other_keys = other_keys
        self._passphrase = passphrase
        self._signing = HeldSigningKey(keys.signing)
        self._replacing_keys = threading.Lock()
        self.auditing = threading.Lock()
        """Held while the ledger is executed again, which takes a processor for itself."""
        self.validator: ValidatorNode | None = None
        """The CometBFT node beside a validator's ledger, while its server runs."""
        self.home = home
        self.settings = settings
        self.keys = keys
        self.genesis = genesis
        self.parameters: NetworkParameters = network_parameters(genesis)
        self.suite = get_suite(self.parameters.suite)
        self.member = MemberId(settings.member)
        self.dependencies = dependencies
        self.catalogue = load_catalogue()
        self.kinds = network_kinds()
        self.witness: Witness | None = None
        """Cosigns the writer's checkpoints, where this member follows one."""
        self._http_writer: HttpLedger | None = None
        self._resending: Resending | None = None
        self.when_sent: Callable[[], None] = lambda: None
        """Called when the ledger has taken all that was sent to it again in the background."""
        self.database: Engine = open_database(database_of(home), data_key=data_key, progress=progress)
        self.data_key = data_key
        self.cipher = data_key.cipher(self.database)
        """Encrypts the columns of the database that hold personal or tax data."""
        try:
            self.engine = self._open_engine()
        except BaseException:
            self.database.dispose()
            raise
        self.publisher = open_publisher(home, settings=settings, engine=self.engine)
        """Publishes the log as static files, where the settings name a folder for them."""
        self.outbox = Outbox(
            self.engine,
            store=OutboxStore(self.database),
            member=self.member,
            key=self._signing,
            kinds=self.kinds,
            suite=self.suite,
            clock=dependencies.clock,
            entropy=dependencies.entropy,
            is_clock_confirmed=dependencies.is_clock_confirmed,
        )

    @classmethod
    def open(
        cls,
        home: Home,
        *,
        dependencies: Dependencies | None = None,
        passphrase: bytes | None = None,
        needs_node: bool = False,
        progress: Progress = no_progress,
    ) -> Institution:
        """Open a home: settings, genesis, keys, ledger, database; then send what the outbox still holds.

        needs_node: what is to be done puts transactions on the ledger, which a validator hands in at the node beside
        its server; without that this raises Unavailable ``node.not_running``. progress: told of a database that is
        brought up to date.

        Raises Unavailable ``node.home_missing``, Denied ``crypto.passphrase_wrong``, InvalidInput
        ``node.member_foreign``, ``node.engine_foreign``, ``node.keys_foreign``, and what database and ledger raise
        where they cannot be used.
        """
        settings = load_settings(home)
        if needs_node:
            _require_orderer(home, settings)
        genesis = load_genesis(home.genesis)
        require_member(settings, genesis)
        secret = find_passphrase(home) if passphrase is None else passphrase
        around = dependencies or Dependencies.of_this_machine()
        while True:
            keys = load_keys(home, passphrase=secret)
            require_first_keys(home, settings, genesis, keys)
            found = cls(
                home,
                settings=settings,
                keys=keys,
                genesis=genesis,
                dependencies=around,
                data_key=DataKey(home, suite=settings.suite, passphrase=lambda: secret, entropy=around.entropy),
                passphrase=secret,
                other_keys=other_signing_keys(home, passphrase=secret),
                progress=progress,
            )
            if not found._goes_on_with_new_keys(secret):
                return found
            found.close()

    def _goes_on_with_new_keys(self, passphrase: bytes) -> bool:
        """Send what waits; tell whether the ledger names a key that an earlier command made."""
        try:
            if settle_keys(self.home, member=self.member, state=self.engine.state(), passphrase=passphrase):
                return True
            require_keys(self.home, self.settings, self.engine.state(), keys=self.keys, passphrase=passphrase)
            self._resend()
            self._end_data_lives()
            return settle_keys(self.home, member=self.member, state=self.engine.state(), passphrase=passphrase)
        except BaseException:
            self.close()
            raise

    def _resend(self) -> None:
        """Send what waits now, or later where those who order it are elsewhere and not there: so any order starts."""
        if self.settings.engine != "cometbft":
            try:
                if self._http_writer is None or self._http_writer.is_there():
                    self.outbox.resend()
                    return
            except Unavailable:
                if self._http_writer is None:
                    raise
                # It went away meanwhile.
        self.send_again()

    def send_again(self) -> None:
        """Send in the background what the outbox holds, e.g. because those who order it are there again."""
        if self._resending is None:
            self._resending = Resending(self.outbox, when_done=self._all_sent)
        else:
            self._resending.again()

    def _all_sent(self) -> None:
        self._take_named_keys()
        self.when_sent()

    def _take_named_keys(self) -> None:
        """Go on with a key that the ledger came to name by what was sent again."""
        if any(
            KeyFiles(self.home, purpose=purpose).next.exists() for purpose in (KeyPurpose.SIGNING, KeyPurpose.SEALING)
        ):
            with self.replacing_keys() as passphrase:
                settle_keys(self.home, member=self.member, state=self.engine.state(), passphrase=passphrase)

    def _end_data_lives(self) -> None:
        """Destroy what a bank received and may keep no longer, whatever it is opened for [EXCHANGE-15]."""
        if self.settings.role is Role.BANK:
            self.recipient.erase_expired()

    @contextmanager
    def replacing_keys(self) -> Generator[bytes]:
        """Give the passphrase of the key files to whatever replaces one inside, and then work with what they hold.

        One at a time. Raises what ``load_keys`` raises.
        """
        with self._replacing_keys:
            yield self._passphrase
            found = load_keys(self.home, passphrase=self._passphrase)
            self._signing.use(found.signing)
            if isinstance(self.keys.sealing, HeldSealingKey):
                self.keys.sealing.use(found.sealing)
            if self.witness is not None:
                self.witness.add_key(found.signing)
            before, self.keys = self.keys, MemberKeys(signing=found.signing, sealing=self.keys.sealing)
            # A policy still in force may name the key that was replaced.
            self.sign_checkpoints_with(before.signing)

    def sign_checkpoints_with(self, key: SigningKey) -> None:
        """Have this member's checkpoints signed by one more of its keys wherever the ledger names that.

        A signer must be able to use a new key as soon as a block names it.
        """
        self._other_keys = (*self._other_keys, key)
        if isinstance(self.engine, EmbeddedLedger):
            self.engine.signer.add_key(key)
        elif self.settings.is_validator:
            from shuiqiao.ledger.engine.cometbft.ledger import CometbftLedger

            if isinstance(self.engine, CometbftLedger):
                self.engine.application.extensions.sign_as(self._cosigner())

    def _cosigner(self) -> Cosigner:
        from shuiqiao.ledger.engine.cometbft.consensus.extensions import Cosigner

        return Cosigner(member=self.member, key=self.keys.signing, others=self._other_keys)

    def require_validator(self) -> ValidatorNode:
        """Return the CometBFT node beside this ledger; raises InvalidInput ``node.not_validator`` where none is."""
        if self.validator is None:
            raise InvalidInput("node.not_validator", f"{self.member} runs no validator: it has no key to vote with")
        return self.validator

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Finish, and release files and threads."""
        self._end_peers()
        if "assessors" in self.__dict__:
            self.assessors.close()
        if "_runner" in self.__dict__:
            self._runner.close()
        self.outbox.flush()
        if self.publisher is not None:
            self.publisher.close()
        if "vault" in self.__dict__:
            self.vault.close()
        if self.witness is not None:
            self.witness.close()
        self.engine.close()
        if self._resending is not None:
            self._resending.close()
        if "peer_client" in self.__dict__:
            self.peer_client.close()
        self.database.dispose()

    def end_waiting(self) -> None:
        """Let go the members that wait for news here, now and from now on."""
        if "peer_service" in self.__dict__:
            self.peer_service.close()

    def _end_peers(self) -> None:
        """Answer and ask nothing new; what is on its way to others has a moment to end."""
        if "peer_client" in self.__dict__:
            self.peer_client.finish_within(_CLOSING_S)
        if self._resending is not None:
            self._resending.end()
        self.end_waiting()
        if "deliveries" in self.__dict__:
            self.deliveries.close()
        if self._http_writer is not None:
            self._http_writer.close()

    def catch_up_with(self, other: Institution) -> None:
        """Make sure this member's own copy has every block that another member's has by now.

        Raises what ``wait_for_block`` of the engine raises.
        """
        height, _ = other.engine.last_block()
        self.engine.wait_for_block(height)

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
        )

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
        from shuiqiao.privacy.credentials.store import CredentialStore

        self._require(Role.TAX_BUREAU)
        return CredentialIssuer(
            submitter=self.outbox,
            store=CredentialStore(self.database, cipher=self.cipher),
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
        )

    @cached_property
    def _scoring(self) -> Scoring:
        return Scoring(models=self.model_registry, runner=lambda: self._runner, catalogue=self.catalogue)

    @cached_property
    def _runner(self) -> ScorecardRunner:
        # Cards bring the libraries that compute features, which no other act of the exchange needs.
        from shuiqiao.credit.model_runner import ScorecardRunner

        return ScorecardRunner()

    @cached_property
    def leakage(self) -> LeakageAccounts:
        """What is known of each taxpayer by what this institution gave, or received."""
        return LeakageAccounts(
            ChargeStore(self.database, cipher=self.cipher),
            member=self.member,
            now_ms=self.outbox.now_ms,
            entropy=self.dependencies.entropy,
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
        )

    @cached_property
    def application_store(self) -> LendingStore:
        """A bank's files of applications."""
        self._require(Role.BANK)
        return LendingStore(self.database, cipher=self.cipher)

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
            readers={ModelForm.SCORECARD: _read_scorecard},
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
        self, manifest: bytes, *, delivered: Sequence[LeafRef], record: RecordProof, provider: MemberId
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
        )

    def _writer_settings(self) -> EmbeddedSettings:
        return EmbeddedSettings(
            verifier_processes=self.settings.verifier_processes,
            linger_ms=self.settings.block_linger_ms,
            is_clock_confirmed=self.dependencies.is_clock_confirmed,
        )

    def _open_engine(self) -> LedgerEngine:
        """Open the ledger in this home."""
        if self.settings.engine == "cometbft":
            from shuiqiao.node.validator import open_validator_ledger

            return open_validator_ledger(
                self.home,
                settings=self.settings,
                cosigner=self._cosigner(),
                parameters=self.parameters,
                clock=self.dependencies.clock,
            )
        key_ring = MemberKeyRing()
        if self.member == self.parameters.operator:
            return EmbeddedLedger.open(
                self.home.ledger,
                parameters=self.parameters,
                kinds=self.kinds,
                key_ring=key_ring,
                clock=self.dependencies.clock,
                operator_key=self.keys.signing,
                former_keys=self._other_keys,
                settings=self._writer_settings(),
            )
        writer = self._reach_writer()
        follower = FollowerLedger.open(
            self.home.ledger,
            parameters=self.parameters,
            kinds=self.kinds,
            key_ring=key_ring,
            clock=self.dependencies.clock,
            writer=writer,
            settings=FollowerSettings(verifier_processes=self.settings.verifier_processes),
        )
        try:
            self.witness = self._open_witness(follower, writer)
        except BaseException:
            follower.close()
            raise
        return follower

    def _reach_writer(self) -> LedgerPeer:
        """Return the way to the writer: in this process, else over HTTP; it need not be there yet [PEER-8]."""
        if self.dependencies.writer is not None:
            return self.dependencies.writer
        if not self.settings.peers:
            raise InvalidInput(
                "node.writer_unnamed",
                f"{self.member} follows the writer {self.parameters.operator}, and neither a link to it was given nor "
                "its address in node.toml",
                next_step=f'name it in node.toml: peers = {{ {self.parameters.operator} = "https://host:port" }}',
            )
        from shuiqiao.node.peers.http_ledger import HttpLedger

        self._http_writer = HttpLedger(self.peer_client, writer=self.parameters.operator)
        return self._http_writer

    def _open_witness(self, follower: FollowerLedger, writer: LedgerPeer) -> Witness:
        """Open the witness that cosigns what this member's own copy could check, and tell the writer of it.

        Every follower of an embedded network runs one, whether or not the policy of today names it: who is asked
        follows from the epoch, and a member that becomes a witness by vote need not start anything. In a cometbft
        network the validators' votes carry the cosignatures instead. Raises what ``Witness`` raises.
        """
        witness = Witness(
            self.home.ledger / "witness",
            member=self.member,
            key=self.keys.signing,
            suite=self.suite,
            clock=self.dependencies.clock,
            former_keys=self._other_keys,
        )
        try:
            witness.watch(follower.parameters.policy, policy_at=follower.policy_at, time_at=follower.time_at)
            writer.add_witness(witness)
        except BaseException:
            witness.close()
            raise
        return witness

    def _require(self, role: Role) -> None:
        require_role(self.settings, role)


def _read_scorecard(content: bytes) -> ContentFacts:
    # Cards bring the libraries that compute features, which no other act needs.
    from shuiqiao.credit.model_content import read_content_facts

    return read_content_facts(content)


def _require_orderer(home: Home, settings: NodeSettings) -> None:
    """Return if what this process hands in can be ordered; raises Unavailable ``node.not_running`` else.

    A validator hands in at the node beside its server. Where one operator orders, that is for the engine to judge.
    """
    if settings.engine == "cometbft" and settings.is_validator:
        raise Unavailable(
            "node.not_running",
            f"no server of {settings.member} runs: nothing answers at {home.socket}",
            next_step="shuiqiao serve with this home, or shuiqiao network start",
        )

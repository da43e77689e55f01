"""One institution at work: its home, keys, ledger engine and outbox, opened, kept going and closed.

The writer named in the genesis orders transactions; every other member follows it. A tax bureau has a vault, takes
in consents and answers requests; a bank has a consent file, asks, and lends; a regulator takes in sealed openings and
publishes statistics: those services are ``services``. The caller that opens an institution closes it.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from shuiqiao.base.errors import InvalidInput, Unavailable
from shuiqiao.base.ids import MemberId
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.engine.embedded import EmbeddedLedger
from shuiqiao.ledger.engine.follower import FollowerLedger
from shuiqiao.ledger.engine.port import EmbeddedSettings, FollowerSettings
from shuiqiao.ledger.witness.witness import Witness
from shuiqiao.members.genesis import network_parameters
from shuiqiao.members.key_ring import MemberKeyRing
from shuiqiao.members.model import KeyPurpose, Role
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
)
from shuiqiao.node.outbox import Outbox, OutboxStore, Resending
from shuiqiao.node.published.publication import open_publisher
from shuiqiao.node.services import Dependencies, InstitutionServices
from shuiqiao.standards.publication import load_catalogue

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from sqlalchemy import Engine

    from shuiqiao.crypto.model import SigningKey
    from shuiqiao.ledger.engine.cometbft.consensus.extensions import Cosigner
    from shuiqiao.ledger.engine.port import LedgerPeer
    from shuiqiao.ledger.model import LedgerEngine, NetworkParameters
    from shuiqiao.node.peers.http_ledger import HttpLedger
    from shuiqiao.node.validator import ValidatorNode

_CLOSING_S = 3.0
"""How long what is on its way to other members has to end when a home is closed, in seconds."""


class Institution(InstitutionServices):
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
        if "secure_links" in self.__dict__:
            self.secure_links.close()
        if "scorecard_runner" in self.__dict__:
            self.scorecard_runner.close()
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

"""An enterprise without a node at work: its key file, the bureau that knows it, and its sessions at bureau and banks.

All it needs is its key file, which is encrypted and made on its own device. Beside it stands a second file that holds
no secret: which bureau of which network knows the key, and by which taxpayer number (``KnownBureau``). It is written
when the enterprise enrols or gets its key back, and holds against a bureau that claims later to be another one.

A session is a signed challenge, at the bureau by the enrolment key, at a bank by the key of one consent and never by
another. Nothing that an institution says decides which key signs: the address that the caller chose does. What is
signed holds that address, so that its server can use the signature nowhere else [API-24].
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from shuiqiao.base.clock import Clock, SystemClock
from shuiqiao.base.durable import new_file, replace_file
from shuiqiao.base.encoding import decode_json, encode_json, typed
from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.files import read_regular
from shuiqiao.base.ids import Entropy, MemberId, OwnedId, Uscc, new_id, split_owned_id, system_entropy
from shuiqiao.base.wire import MemberName
from shuiqiao.client.http import HttpClient
from shuiqiao.client.resources import enrolments as api
from shuiqiao.client.resources.own import READ_OWN_CONSENT, ConsentChoice
from shuiqiao.client.resources.sessions import (
    END_SESSION,
    LOG_IN_ENTERPRISE,
    READ_CHALLENGE,
    Challenge,
    EnterpriseProof,
)
from shuiqiao.client.wire import Nothing
from shuiqiao.consent.enterprise import Enterprise, EnterpriseKeys
from shuiqiao.consent.login import CONSENT_CLAIM, TAXPAYER_CLAIM, sign_login
from shuiqiao.consent.model import TaxpayerNumber
from shuiqiao.crypto.kdf import SEED_BYTES
from shuiqiao.crypto.keyfile import (
    MAX_FILE_BYTES,
    STRONG_COST,
    PassphraseCost,
    load_key_file,
    save_key_file,
    verify_key_file,
)
from shuiqiao.crypto.suites import get_suite
from shuiqiao.exchange.dispute_statement import MAX_REASON_CHARS, DisputeBody, encode_dispute
from shuiqiao.members.endpoint import MAX_ENDPOINT_CHARACTERS, Endpoint, endpoint_of_text
from shuiqiao.privacy.credentials.model import (
    BlindedRequestBody,
    CredentialRequestBody,
    encode_blinded,
    encode_request,
)

if TYPE_CHECKING:
    from shuiqiao.crypto.model import CipherSuite, SigningKey

KEY_PURPOSE: Final = "enterprise"
"""What a key file of an enterprise is for, as the file says."""

MAX_KNOWN_BYTES: Final = 2_048
"""Of the file that says which bureau knows a key."""

BANK_PATIENCE_S: Final = 10.0
"""How long a bank's copy of the ledger is given to learn of a consent that was just granted, in seconds."""

PAUSE_S: Final = 0.5
"""Between two of these questions, in seconds."""


class KnownBureau(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which bureau of which network knows a key, by which taxpayer number. url: with its pin behind ``#``."""

    taxpayer: TaxpayerNumber
    bureau: MemberName
    network: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    url: Annotated[str, msgspec.Meta(max_length=MAX_ENDPOINT_CHARACTERS + 65)]


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Where an enterprise keeps its key."""

    path: Path

    @property
    def known(self) -> Path:
        """The file beside the key that says which bureau knows it."""
        return self.path.with_name(f"{self.path.name}.bureau.json")

    def load_known(self) -> KnownBureau:
        """Return which bureau knows the key.

        Raises Unavailable ``client.bureau_unknown``, IntegrityError ``client.bureau_file_damaged``.
        """
        try:
            raw = read_regular(self.known, max_bytes=MAX_KNOWN_BYTES)
        except OSError as error:
            raise Unavailable(
                "client.bureau_unknown", f"{self.known} cannot be read, which says whose key this is: {error.strerror}"
            ) from error
        try:
            return typed(decode_json(raw, max_bytes=MAX_KNOWN_BYTES), KnownBureau)
        except (InvalidInput, msgspec.ValidationError) as error:
            raise IntegrityError("client.bureau_file_damaged", f"{self.known} is damaged: {error}") from error

    def require_same(self, known: KnownBureau) -> None:
        """Return if no other bureau knows the key; raises Conflict ``client.bureau_differs``."""
        before = self.load_known() if self.known.exists() else known
        if msgspec.structs.replace(before, url=known.url) != known:
            raise Conflict(
                "client.bureau_differs",
                f"{self.path} is the key of taxpayer {before.taxpayer} at {before.bureau}, not of {known.taxpayer} at "
                f"{known.bureau}",
            )

    def save_known(self, known: KnownBureau) -> None:
        """Note which bureau knows the key; raises as ``require_same`` does."""
        self.require_same(known)
        replace_file(self.known, encode_json(msgspec.to_builtins(known)) + b"\n")


class EnterpriseDevice:
    """An enterprise on its own device.

    Example::

        device = EnterpriseDevice.open(KeyPlace(Path("firm.key")), passphrase=passphrase)
        with device.at_bureau() as bureau:
            page = bureau.perform(LIST_OWN_CONSENTS, PageQuery())
    """

    def __init__(
        self, keys: EnterpriseKeys, known: KnownBureau, *, entropy: Entropy = system_entropy, clock: Clock | None = None
    ) -> None:
        self.known = known
        self._keys = keys
        self._network = bytes.fromhex(known.network)
        self._clock = clock or SystemClock()
        self._entropy = entropy
        self.enterprise = Enterprise(keys, network=self._network, entropy=entropy)
        """Signs consents, statements and whatever else the enterprise hands in."""

    @classmethod
    def open(cls, place: KeyPlace, *, passphrase: bytes) -> EnterpriseDevice:
        """Open a key file; raises what ``load_known`` and ``load_key_file`` raise, InvalidInput for another's key."""
        known = place.load_known()
        return cls(load_keys(place.path, passphrase=passphrase), known)

    @property
    def bureau(self) -> MemberId:
        """The bureau that knows this enterprise."""
        return MemberId(self.known.bureau)

    @property
    def taxpayer(self) -> Uscc:
        """The number by which it does."""
        return Uscc(self.known.taxpayer)

    @property
    def suite(self) -> CipherSuite:
        """The suite of its keys and of its network."""
        return self._keys.suite

    def dispute(self, batch: bytes, leaf: int, *, reason: str) -> bytes:
        """Return a signed dispute of a record, by its place on the ledger; raises InvalidInput for a bad reason."""
        if not 0 < len(reason) <= MAX_REASON_CHARS:
            raise InvalidInput(
                "client.reason_invalid", f"a reason of {len(reason)} characters where 1 to {MAX_REASON_CHARS} are said"
            )
        body = DisputeBody(
            dispute=new_id(self._entropy),
            bureau=self.bureau,
            taxpayer=self.taxpayer,
            batch=batch,
            leaf=leaf,
            reason=reason,
            made_ms=self.now_ms(),
        )
        key = self._keys.enrolment_key(self.bureau, network=self._network)
        return encode_dispute(body, network=self._network, suite=self.suite, key=key)

    def credential_request(self, request: bytes, *, count: int) -> bytes:
        """Return a signed request for copies of a credential, each bound to a key of its own [CREDENTIAL-5]."""
        body = CredentialRequestBody(
            request=request,
            bureau=self.bureau,
            taxpayer=self.taxpayer,
            keys=[self.credential_key(request, number=number).public_key for number in range(count)],
            made_ms=self.now_ms(),
        )
        key = self._keys.enrolment_key(self.bureau, network=self._network)
        return encode_request(body, network=self._network, suite=self.suite, key=key)

    def credential_key(self, request: bytes, *, number: int) -> SigningKey:
        """Return the key of one copy of a credential."""
        return self._keys.credential_key(request, number=number, network=self._network)

    def blinded_request(self, request: bytes, *, definition: bytes, blinded: bytes) -> bytes:
        """Return a signed request for a credential for predicates. definition: its digest [CREDENTIAL-14]."""
        body = BlindedRequestBody(
            request=request,
            bureau=self.bureau,
            taxpayer=self.taxpayer,
            definition=definition,
            blinded=blinded,
            made_ms=self.now_ms(),
        )
        key = self._keys.enrolment_key(self.bureau, network=self._network)
        return encode_blinded(body, network=self._network, suite=self.suite, key=key)

    def link_secret(self, request: bytes) -> bytes:
        """Return the secret that such a credential is bound to."""
        return self._keys.link_secret(request, network=self._network)

    def now_ms(self) -> int:
        """Return the time of this device."""
        return self._clock.now_ms()

    @contextmanager
    def at_bureau(self, address: Endpoint | None = None) -> Generator[HttpClient]:
        """Give a session at the bureau, at an address or where the enterprise enrolled.

        Raises Denied ``client.institution_differs`` for whoever is not the bureau that knows this key, and what
        ``HttpClient`` raises.
        """
        where = address or endpoint_of_text(self.known.url)
        key = self._keys.enrolment_key(self.bureau, network=self._network)
        claim = TAXPAYER_CLAIM + self.known.taxpayer
        with self._session(where, claim=claim, key=key, member=self.bureau) as session:
            yield session

    @contextmanager
    def at_bank(
        self, address: Endpoint, *, consent: OwnedId, patience_s: float = BANK_PATIENCE_S
    ) -> Generator[HttpClient]:
        """Give a session at a bank, by the key of one consent.

        patience_s: how long a bank that does not know the consent yet is asked again. Raises as ``at_bureau`` does.
        """
        _, identifier = split_owned_id(consent)
        key = self._keys.consent_key(identifier, network=self._network)
        until = time.monotonic() + patience_s
        claim = CONSENT_CLAIM + consent
        with self._session(address, claim=claim, key=key, member=None, until=until) as session:
            yield session

    def member_at(self, address: Endpoint) -> MemberId:
        """Return which member of this network answers at an address; raises as ``at_bureau`` does."""
        with client_of(address) as door:
            return MemberId(self._challenge(door, member=None).institution)

    def require_for(self, address: Endpoint, *, consent: OwnedId, bureau: Endpoint | None = None) -> None:
        """Return if a consent is for the bank at an address, as the enterprise's bureau has it.

        Raises Denied ``client.consent_for_another``; what ``at_bureau`` raises, InvalidInput
        ``api.not_found`` for a consent that the bureau does not have.
        """
        member = self.member_at(address)
        with self.at_bureau(bureau) as session:
            recipient = session.perform(READ_OWN_CONSENT, ConsentChoice.of(consent)).recipient
        if recipient != member:
            raise Denied(
                "client.consent_for_another",
                f"consent {consent} is for {recipient}, and {address.url} is {member}",
            )

    @contextmanager
    def _session(
        self, address: Endpoint, *, claim: str, key: SigningKey, member: MemberId | None, until: float = 0.0
    ) -> Generator[HttpClient]:
        with client_of(address) as door:
            token = self._log_in(door, origin=address.url, claim=claim, key=key, member=member, until=until)
        with client_of(address, token=token) as session:
            try:
                yield session
            finally:
                # A session that is not ended ends by itself, soon.
                with suppress(ShuiqiaoError):
                    session.perform(END_SESSION, Nothing())

    def _log_in(
        self, door: HttpClient, *, origin: str, claim: str, key: SigningKey, member: MemberId | None, until: float
    ) -> str:
        while True:
            found = self._challenge(door, member=member)
            signed = sign_login(
                bytes.fromhex(found.challenge),
                claim=claim,
                institution=found.institution,
                origin=origin,
                network=self._network,
                key=key,
                suite=self._keys.suite,
            )
            try:
                return door.perform(LOG_IN_ENTERPRISE, EnterpriseProof(signed=signed.hex())).token
            except Denied as error:
                if error.code != "node.login_refused" or time.monotonic() + PAUSE_S > until:
                    raise
                time.sleep(PAUSE_S)

    def _challenge(self, door: HttpClient, *, member: MemberId | None) -> Challenge:
        found = door.perform(READ_CHALLENGE, Nothing())
        if found.network != self.known.network or member not in {None, found.institution}:
            raise Denied(
                "client.institution_differs",
                f"{door.place} is {found.institution} of network {found.network[:16]}, not "
                f"{member or 'a member'} of network {self.known.network[:16]}",
            )
        return found


@contextmanager
def own_things() -> Generator[None]:
    """Tell an enterprise of what is not there in its own words; raises InvalidInput ``client.own_unknown``."""
    try:
        yield
    except InvalidInput as error:
        if error.code != "api.not_found":
            raise
        raise InvalidInput("client.own_unknown", "what was named is not there, or it is not yours") from error


def client_of(address: Endpoint, *, token: str = "") -> HttpClient:
    """Return a client of the server at an address; whoever opens it closes it."""
    return HttpClient(address.url, token=token, pin=address.pin or None)


def load_keys(path: Path, *, passphrase: bytes) -> EnterpriseKeys:
    """Return the keys in an enterprise's key file.

    Raises what ``load_key_file`` raises, InvalidInput ``client.key_file_foreign`` for the key file of something else.
    """
    found = load_key_file(path, passphrase=passphrase)
    if found.purpose != KEY_PURPOSE:
        raise InvalidInput(
            "client.key_file_foreign", f"{path} holds a key for {found.purpose}, not that of an enterprise"
        )
    return EnterpriseKeys(found.seed, suite=get_suite(found.suite))


def enrol(
    place: KeyPlace,
    *,
    taxpayer: str,
    code: str,
    address: Endpoint,
    passphrase: Callable[[], bytes],
    entropy: Entropy = system_entropy,
    cost: PassphraseCost = STRONG_COST,
) -> tuple[EnterpriseDevice, api.EnrolmentRecord]:
    """Make the key file, unless it is there, and enrol by it at the bureau that gave out a code.

    1. save the key; 2. show the code, signed by the key; 3. note which bureau knows it. After a crash the same again
    goes on. Raises what the bureau refuses with, and what ``save_key_file`` and ``save_known`` raise.
    """
    with client_of(address) as door:
        found = door.perform(READ_CHALLENGE, Nothing())
        known = _known(found, taxpayer=taxpayer, address=address)
        place.require_same(known)
        secret, suite = passphrase(), get_suite(found.suite)
        if not place.path.exists():
            save_key_file(
                place.path,
                seed=entropy(SEED_BYTES),
                suite=suite.name,
                purpose=KEY_PURPOSE,
                passphrase=secret,
                entropy=entropy,
                cost=cost,
            )
        keys = load_keys(place.path, passphrase=secret)
        device = EnterpriseDevice(keys, known, entropy=entropy)
        signed = device.enterprise.enrolment(device.bureau, taxpayer=device.taxpayer, code=code)
        record = door.perform(api.ENROL, api.EnrolmentStatement(enrolment=signed.hex()))
    place.save_known(known)
    return device, record


def recover(place: KeyPlace, *, taxpayer: str, code: str, address: Endpoint) -> KnownBureau:
    """Get back the encrypted key file that the enterprise left at its bureau, for a code of that purpose.

    The code is used up, so the file is kept whether or not somebody knows its passphrase. Raises Conflict
    ``crypto.key_file_exists``, what the bureau refuses with, and what ``verify_key_file`` raises.
    """
    if place.path.exists():
        raise Conflict("crypto.key_file_exists", f"{place.path} exists already and is not replaced")
    with client_of(address) as door:
        found = door.perform(READ_CHALLENGE, Nothing())
        known = _known(found, taxpayer=taxpayer, address=address)
        place.require_same(known)
        recovered = door.perform(api.RECOVER_KEY, api.KeyRecovery(taxpayer=taxpayer, code=code))
    data = bytes.fromhex(recovered.key_file)
    verify_key_file(data)
    draft = place.path.with_name(f".{place.path.name}.{system_entropy(8).hex()}")
    with new_file(place.path, draft=draft) as file:
        file.write(data)
    place.save_known(known)
    return known


def leave_backup(device: EnterpriseDevice, place: KeyPlace, session: HttpClient) -> None:
    """Have the bureau keep the key file as it is: encrypted; raises what the bureau refuses with."""
    data = read_regular(place.path, max_bytes=MAX_FILE_BYTES)
    backup = device.enterprise.key_backup(device.bureau, taxpayer=device.taxpayer, key_file=data)
    session.perform(api.KEEP_KEY_BACKUP, api.KeyBackup(backup=backup.hex()))


def _known(found: Challenge, *, taxpayer: str, address: Endpoint) -> KnownBureau:
    url = address.url if not address.pin else f"{address.url}#{address.pin.hex()}"
    fields = {"taxpayer": taxpayer, "bureau": found.institution, "network": found.network, "url": url}
    try:
        return typed(fields, KnownBureau)
    except msgspec.ValidationError as error:
        raise InvalidInput("consent.taxpayer_invalid", f"{taxpayer[:40]!r} is no taxpayer number: {error}") from error

"""A bureau states bands and flags of a taxpayer: from anchored records alone, in copies that are shown once each.

``CredentialIssuer.issue`` does, in this order [CREDENTIAL-5]:

1. the request is signed by the enrolment key of the taxpayer, is new and was made just now;
2. the taxpayer has not had too many copies lately;
3. the leakage account is charged what a credential says, against every recipient; given back where no copy is made;
4. the vault is read, every record proven against the ledger, and a checkpoint taken that covers all of them;
5. the claims are computed by the declared features as of today, and the key is still the taxpayer's;
6. each copy gets a random place of a status list that stands on the ledger, a key of the holder, salts of its own; a
   credential for predicates a random place of a registry, and the signature of its definition [CREDENTIAL-14].

The bureau learns nothing of where a copy is shown: nobody asks it.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from shuiqiao.base.clock import MS_PER_DAY, MS_PER_SECOND
from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.base.ids import Uscc, new_id, owned_id
from shuiqiao.features.engine import FeatureEngine
from shuiqiao.features.inputs import least_items
from shuiqiao.ledger.transactions.document import verify_document
from shuiqiao.privacy.credentials.anoncreds import PLACES, encode_text
from shuiqiao.privacy.credentials.claims import BITS, CLAIMS, FEATURES, claims_of
from shuiqiao.privacy.credentials.contract import STATUS, CredentialStatusBody
from shuiqiao.privacy.credentials.model import (
    CREDENTIAL_TYPE,
    LIST_SIZE,
    MEDIA_TYPE,
    BlindedRequestBody,
    CredentialRequestBody,
    IssuedCredentials,
    StatusReference,
    decode_blinded,
    decode_request,
    find_bits,
    is_set,
)
from shuiqiao.privacy.credentials.registries import Registries
from shuiqiao.privacy.credentials.store import CopyRow
from shuiqiao.privacy.sd_jwt import issue, jose_profile
from shuiqiao.vault.contract import LedgerLeaves, batch_lookup
from shuiqiao.vault.disclosure import verify_disclosure

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from shuiqiao.base.ids import Entropy
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.ledger.transactions.document import Document
    from shuiqiao.ledger.transactions.submitter import LedgerSubmitter
    from shuiqiao.privacy.credentials.model import LeakageLedger
    from shuiqiao.privacy.credentials.store import CredentialStore, DefinitionRow, DefinitionStore
    from shuiqiao.standards.model import Catalogue
    from shuiqiao.vault.disclosure import Disclosure
    from shuiqiao.vault.model import Anchor

LIFE_DAYS: Final = 90
"""A credential's life: facts older than a quarter are stated anew."""

MAX_COPIES: Final = 60
"""Copies of one taxpayer in ``COUNTED_DAYS``."""

COUNTED_DAYS: Final = 30
MAX_REQUEST_AGE_MS: Final = 10 * 60_000

_FULL_LIST = LIST_SIZE * 7 // 8
"""Where so many places are taken a new list is opened, so that a random one is found at once."""

_RECENT = frozenset({"invoice_issued", "payment"})
_RECENT_MONTHS = 13
"""Of records whose claims look back 12 months; of all others everything is read."""

_FIRST_DAY = date(1949, 10, 1)
_BATCHES = b"shuiqiao/privacy/batches/1\x00"


_Asked = TypeVar("_Asked", CredentialRequestBody, BlindedRequestBody)


class ProvenRecords(Protocol):
    """Where records come from; the vault is one."""

    def holds(self, record_type: str) -> bool:
        """Return whether records of a type were ever taken in."""
        ...

    def settle(self, *, uscc: Uscc, type_ids: Iterable[str], anchor: Anchor) -> None:
        """Note what the ledger has of a taxpayer's records by now."""
        ...

    def disclose(
        self, *, uscc: Uscc, groups: Mapping[str, Sequence[str]], period_from: date, period_to: date
    ) -> Disclosure:
        """Return a taxpayer's live records of some types with their proofs."""
        ...


class CredentialIssuer:
    """A tax bureau that issues credentials.

    Example::

        issued = bureau.credentials.issue(signed_request)
        bureau.credentials.revoke(uscc)
    """

    def __init__(
        self,
        *,
        submitter: LedgerSubmitter,
        store: CredentialStore,
        definitions: DefinitionStore,
        records: ProvenRecords,
        enrolment_key: Callable[[str], bytes | None],
        key: SigningKey,
        suite: CipherSuite,
        catalogue: Catalogue,
        entropy: Entropy,
        account: LeakageLedger,
        places: int = PLACES,
    ) -> None:
        """enrolment_key: of a taxpayer, None for one that is not enrolled here. places: of a registry of predicates."""
        self._submitter = submitter
        self._store = store
        self._records = records
        self._enrolment_key = enrolment_key
        self._key = key
        self._suite = suite
        self._catalogue = catalogue
        self._entropy = entropy
        self._account = account
        self._issuing = threading.Lock()
        self._registries = Registries(
            submitter=submitter, copies=store, definitions=definitions, suite=suite, entropy=entropy, places=places
        )

    def issue(self, raw: bytes) -> IssuedCredentials:
        """Return a copy for each key of a request.

        Raises InvalidInput ``ledger.document_*``, ``crypto.public_key_invalid``, ``privacy.keys_repeated``;
        IntegrityError for the signature; Denied ``consent.provider_wrong``, ``privacy.request_old``,
        ``privacy.credentials_too_many`` and what the account raises; Conflict ``privacy.request_repeated``;
        Unavailable ``vault.busy``.
        """
        body = self._read(raw)
        with self._issuing:
            self._require_room(body, copies=len(body.keys))
            with self._charged(body):
                claims, batches = self._state_facts(Uscc(body.taxpayer))
                # Another key may have been enrolled while it waited and read, and what this one had be revoked.
                self._read(raw)
                status_list, places = self._take_places(body)
            credentials = tuple(
                self._copy(claims, key=key, status=StatusReference(status_list=status_list, place=place))
                for key, place in zip(body.keys, places, strict=True)
            )
        return IssuedCredentials(credentials=credentials, batches=batches)

    def definition(self) -> DefinitionRow:
        """Return the definition that predicates are issued by now; finding a new one takes many seconds.

        Raises Unavailable ``privacy.extra_missing``, what the ledger refuses with.
        """
        return self._registries.current()

    def issue_blinded(self, raw: bytes) -> IssuedCredentials:
        """Return one credential for predicates, bound to a secret that the holder blinded [CREDENTIAL-14].

        Raises as ``issue``; Conflict ``privacy.definition_replaced``; InvalidInput ``privacy.blinded_malformed``.
        """
        body = self._read_blinded(raw)
        row = self._registries.current()
        if body.definition != self._suite.digest(row.content):
            raise Conflict("privacy.definition_replaced", "credentials are issued by another definition now")
        with self._issuing:
            self._require_room(body, copies=1)
            with self._charged(body):
                claims, batches = self._state_facts(Uscc(body.taxpayer))
                self._read_blinded(raw)
                credential = self._registries.sign(row, body, claims=claims)
        return IssuedCredentials(credentials=(encode_text(credential),), batches=batches)

    def revoke(self, taxpayer: str) -> int:
        """Revoke every copy of a taxpayer that is not revoked and did not expire; return how many [CREDENTIAL-7]."""
        with self._issuing:
            return self._revoke(taxpayer)

    def _revoke(self, taxpayer: str) -> int:
        state, now_ms = self._submitter.state(), self._submitter.now_ms()
        places: dict[bytes, list[int]] = {}
        for row in self._store.copies_of(taxpayer):
            bits = find_bits(state, owned_id(self._submitter.member, row.status_list))
            if row.expires_ms > now_ms and bits is not None and not is_set(bits, row.place):
                places.setdefault(row.status_list, []).append(row.place)
        # Registries last: without the extra nothing is revoked in them, and lists need none of it.
        for status_list in sorted(places, key=self._registries.has):
            found = sorted(places[status_list])
            if not self._registries.revoke(status_list, found):
                self._submitter.submit(STATUS, CredentialStatusBody(status_list=status_list, revoked=found))
        return sum(map(len, places.values()))

    @contextmanager
    def _charged(self, body: CredentialRequestBody | BlindedRequestBody) -> Generator[None]:
        """Step 3: have a request charged inside, once however often it is sent, and not if no copy is made."""
        reference = owned_id(self._submitter.member, body.request)
        self._account.charge(body.taxpayer, recipient=None, bits=BITS, reference=reference)
        try:
            yield
        except BaseException:
            self._account.withdraw(reference)
            raise

    def _read(self, raw: bytes) -> CredentialRequestBody:
        """Step 1 of copies that are shown whole."""
        body = self._proven_request(decode_request(raw, network=self._network, suite=self._suite))
        if len(set(body.keys)) != len(body.keys):
            raise InvalidInput("privacy.keys_repeated", "a request names a key twice: each copy has its own")
        for holder in body.keys:
            self._suite.verify_signing_key(holder)
        return body

    def _read_blinded(self, raw: bytes) -> BlindedRequestBody:
        """Step 1 of a credential for predicates."""
        return self._proven_request(decode_blinded(raw, network=self._network, suite=self._suite))

    def _proven_request(self, document: Document[_Asked]) -> _Asked:
        body = document.body
        # A stranger gets one answer, after the same work, whether or not the taxpayer is enrolled here.
        key = self._enrolment_key(body.taxpayer) or self._suite.digest(document.raw)
        verify_document(document, public_keys=(key,), suite=self._suite)
        if body.bureau != self._submitter.member:
            raise Denied(
                "consent.provider_wrong", f"this is for the bureau {body.bureau}, not for {self._submitter.member}"
            )
        if abs(self._submitter.now_ms() - body.made_ms) > MAX_REQUEST_AGE_MS:
            raise Denied("privacy.request_old", f"the request was made at {body.made_ms} ms, not just now")
        return body

    @property
    def _network(self) -> bytes:
        return self._submitter.parameters.network

    def _require_room(self, body: CredentialRequestBody | BlindedRequestBody, *, copies: int) -> None:
        """Step 2."""
        issued = self._store.copies_of(body.taxpayer)
        if any(row.request == body.request for row in issued):
            raise Conflict("privacy.request_repeated", f"request {body.request.hex()} was answered: make a new one")
        since = self._submitter.now_ms() - COUNTED_DAYS * MS_PER_DAY
        lately = sum(row.issued_ms > since for row in issued)
        if lately + copies > MAX_COPIES:
            raise Denied(
                "privacy.credentials_too_many",
                f"{lately} copies were issued in {COUNTED_DAYS} days and {copies} are asked for, where "
                f"{MAX_COPIES} may be",
            )

    def _state_facts(self, uscc: Uscc) -> tuple[dict[str, Any], tuple[bytes, ...]]:
        """Steps 4 and 5: the claims and the batches that they rest on."""
        held = frozenset(claim.record_type for claim in CLAIMS if self._records.holds(claim.record_type))
        items = least_items(self._catalogue, record_types=held)
        self._records.settle(uscc=uscc, type_ids=items, anchor=self._submitter)
        today = self._today()
        tables: dict[str, Any] = {}
        batches: set[bytes] = set()
        for disclosure in self._disclosures(uscc, items, today=today):
            tables |= self._proven(disclosure)
            batches |= {proof.batch for entry in disclosure.types for proof in entry.proofs}
        with FeatureEngine(threads=1, features=FEATURES) as engine:
            (row,) = engine.compute(tables, population={uscc: today}).to_pylist()
        claims: dict[str, Any] = dict(claims_of(row, held=held))
        as_of = self._submitter.checkpoint()
        anchors = {
            "size": as_of.size,
            "root": as_of.root.hex(),
            "count": len(batches),
            "digest": batches_digest(batches, suite=self._suite).hex(),
        }
        return {**claims, "taxpayer": str(uscc), "anchors": anchors}, tuple(sorted(batches))

    def _disclosures(self, uscc: Uscc, items: Mapping[str, list[str]], *, today: date) -> Iterable[Disclosure]:
        recent = {name: groups for name, groups in items.items() if name.partition("@")[0] in _RECENT}
        whole = {name: groups for name, groups in items.items() if name not in recent}
        since = today - timedelta(days=31 * _RECENT_MONTHS)
        for groups, first in ((recent, since), (whole, _FIRST_DAY)):
            if groups:
                yield self._records.disclose(uscc=uscc, groups=groups, period_from=first, period_to=today)

    def _proven(self, disclosure: Disclosure) -> dict[str, Any]:
        """Return the tables of records after each was proven to be live under an anchored root."""
        import pyarrow as pa

        state, bureau = self._submitter.state(), self._submitter.member
        found = verify_disclosure(
            disclosure,
            batch_of=batch_lookup(state, bureau),
            suite=self._suite,
            catalogue=self._catalogue,
            status_of=LedgerLeaves(state, bureau),
        )
        return {entry.record_type.id: pa.Table.from_batches([entry.rows]) for entry in found.types.values()}

    def _take_places(self, body: CredentialRequestBody) -> tuple[str, list[int]]:
        """Step 6: random places of a list that is on the ledger before anybody holds a copy of it."""
        newest = self._store.newest_list()
        if newest is None or len(newest[1]) + len(body.keys) > _FULL_LIST:
            newest = (new_id(self._entropy), frozenset())
        status_list, taken = newest
        name = owned_id(self._submitter.member, status_list)
        if find_bits(self._submitter.state(), name) is None:
            self._submitter.submit(STATUS, CredentialStatusBody(status_list=status_list, revoked=[]))
        places: list[int] = []
        while len(places) < len(body.keys):
            place = int.from_bytes(self._entropy(4), "big") % LIST_SIZE
            if place not in taken and place not in places:
                places.append(place)
        now_ms = self._submitter.now_ms()
        expires_ms = self._expiry_s() * MS_PER_SECOND
        self._store.add(
            body.taxpayer,
            [
                CopyRow(
                    status_list=status_list, place=at, request=body.request, issued_ms=now_ms, expires_ms=expires_ms
                )
                for at in places
            ],
        )
        return name, places

    def _copy(self, claims: Mapping[str, Any], *, key: bytes, status: StatusReference) -> str:
        # Times are whole days, so that the copies of one day are alike in what everybody sees.
        day_s = int(datetime.combine(self._today(), datetime.min.time(), tzinfo=UTC).timestamp())
        seen = {
            "iss": self._submitter.member,
            "network": self._submitter.parameters.network.hex(),
            "vct": CREDENTIAL_TYPE,
            "iat": day_s,
            "exp": self._expiry_s(),
            "status": {"status_list": {"uri": status.status_list, "idx": status.place}},
        }
        return issue(
            seen,
            claims,
            media_type=MEDIA_TYPE,
            holder=key,
            key=self._key,
            profile=jose_profile(self._suite),
            entropy=self._entropy,
        )

    def _today(self) -> date:
        return datetime.fromtimestamp(self._submitter.latest_ms() / MS_PER_SECOND, tz=UTC).date()

    def _expiry_s(self) -> int:
        end = datetime.combine(self._today() + timedelta(days=LIFE_DAYS), datetime.min.time(), tzinfo=UTC)
        return int(end.timestamp())


def batches_digest(batches: Iterable[bytes], *, suite: CipherSuite) -> bytes:
    """Return the digest by which a credential names the batches that it rests on, in whatever order they are given."""
    return suite.digest(_BATCHES + b"".join(sorted(batches)))

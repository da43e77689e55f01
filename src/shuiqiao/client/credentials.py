"""The wallet of an enterprise: the credentials that its bureau issued, in files beside its key file.

The file holds no key: the key of each copy follows from the seed, the request and the copy's number. It says what the
bureau stated (bands and flags), and to whom each copy was shown: a copy is noted as shown before it leaves, so that a
crash shows none twice.

Nothing is shown to whoever asks before the ledger has said who that is [CREDENTIAL-11]. The wallet trusts one thing,
the id of the network that its key is enrolled in: it is the hash of the genesis, and by the genesis alone it judges the
receipt that proves the bank's member record.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Protocol

import msgspec

from shuiqiao.base.clock import MS_PER_SECOND
from shuiqiao.base.durable import replace_file
from shuiqiao.base.encoding import decode_json, encode_json, typed
from shuiqiao.base.errors import Denied, IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.files import read_regular
from shuiqiao.base.ids import new_id, system_entropy
from shuiqiao.client.anoncreds_file import AnonCredsFile, KeptCredential, PendingRequest
from shuiqiao.client.enterprise import BANK_PATIENCE_S, PAUSE_S
from shuiqiao.client.resources.own import (
    ISSUE_OWN_CREDENTIALS,
    READ_CREDENTIAL_DEFINITION,
    CredentialRequest,
    IssuedCopies,
)
from shuiqiao.client.resources.presentations import (
    ASK_PRESENTATION,
    SHOW_CREDENTIAL,
    Presentation,
    PresentationOutcome,
    PresentationQuestion,
)
from shuiqiao.client.unanswered import perform_once
from shuiqiao.client.wire import Nothing
from shuiqiao.ledger.clock_check import require_recent
from shuiqiao.privacy.credentials.anoncreds import (
    blind,
    decode_definition,
    decode_text,
    encode_shown,
    encode_text,
    require_library,
    take,
)
from shuiqiao.privacy.credentials.anoncreds import present as present_proof
from shuiqiao.privacy.credentials.format import CredentialFormat
from shuiqiao.privacy.credentials.model import BATCH, MEDIA_TYPE, Registry, registry_of, status_key
from shuiqiao.privacy.credentials.presentation import (
    PresentationRequestBody,
    decode_request,
    verify_asker,
    verify_bounds,
)
from shuiqiao.privacy.sd_jwt import MAX_BYTES, Challenge, jose_profile, present, verify

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from shuiqiao.base.ids import MemberId
    from shuiqiao.client.enterprise import EnterpriseDevice, KeyPlace
    from shuiqiao.client.http import HttpClient
    from shuiqiao.ledger.receipts.verification import VerifiedReceipt

MAX_COPIES: Final = 500
"""Of the file: those that expired are dropped when new ones come."""

_MAX_FILE_BYTES = MAX_COPIES * (MAX_BYTES + 1024)
_HEX32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]


class KeptCopy(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A copy of a credential. request, number: its key follows from them. shown_to: empty until it was shown."""

    request: _HEX32
    number: Annotated[int, msgspec.Meta(ge=0, lt=BATCH)]
    credential: Annotated[str, msgspec.Meta(max_length=MAX_BYTES)]
    claims: dict[str, Any]
    expires_ms: Annotated[int, msgspec.Meta(ge=0)]
    shown_to: Annotated[str, msgspec.Meta(max_length=200)] = ""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    version: Literal[1] = 1
    copies: Annotated[list[KeptCopy], msgspec.Meta(max_length=MAX_COPIES)] = []


class ReceiptVerification(Protocol):
    """Knows every kind of transaction that a receipt may be of."""

    def __call__(self, genesis: bytes, receipt: bytes, /) -> VerifiedReceipt:
        """Return what a receipt proves to whoever trusts a genesis; raises the code of what failed."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class PresentationAsked:
    """What a bank signed to be shown. raw: the bytes, by which it is answered."""

    raw: bytes
    body: PresentationRequestBody
    registry: Registry | None = None
    """As the ledger has it, where predicates are asked for."""
    kept: KeptCredential | None = None
    """The credential whose definition the question named."""


class CredentialWallet:
    """The credentials of one enterprise.

    Example::

        wallet = CredentialWallet(KeyPlace(Path("firm.key")), device, verify_receipt=verify)
        with device.at_bureau() as bureau:
            copies = wallet.obtain(bureau)
    """

    def __init__(self, place: KeyPlace, device: EnterpriseDevice, *, verify_receipt: ReceiptVerification) -> None:
        self._place = place
        self._device = device
        self._verify_receipt = verify_receipt

    @property
    def path(self) -> Path:
        """The file beside the key."""
        return self._place.path.with_name(f"{self._place.path.name}.credentials.json")

    @property
    def blinded_path(self) -> Path:
        """The file of credentials for predicates."""
        return self._anoncreds.path

    def copies(self) -> list[KeptCopy]:
        """Return every copy that is kept, in the order in which they came.

        Raises IntegrityError ``client.credentials_damaged``.
        """
        try:
            raw = read_regular(self.path, max_bytes=_MAX_FILE_BYTES)
            return typed(decode_json(raw, max_bytes=_MAX_FILE_BYTES), _File).copies
        except FileNotFoundError:
            return []
        except (InvalidInput, msgspec.ValidationError) as error:
            raise IntegrityError("client.credentials_damaged", f"{self.path} is damaged: {error}") from error

    def obtain(self, bureau: HttpClient, *, count: int = BATCH) -> list[KeptCopy]:
        """Have the bureau issue copies, keep them, and return them; where no answer came, the same again is one act.

        Raises what the bureau refuses with, and what ``verify`` raises for what is no credential of this enterprise.
        """
        now_ms = self._device.now_ms()
        told = perform_once(
            self._place,
            bureau,
            ISSUE_OWN_CREDENTIALS,
            wanted={"credentials": count},
            make=lambda: CredentialRequest(
                request=self._device.credential_request(new_id(system_entropy), count=count).hex()
            ),
            now_ms=now_ms,
        )
        fresh = [self._read(told, number) for number in range(len(told.credentials))]
        kept = [copy for copy in self.copies() if copy.expires_ms > now_ms]
        self._save([*kept, *fresh][-MAX_COPIES:])
        return fresh

    def obtain_blinded(self, bureau: HttpClient) -> KeptCredential:
        """Have the bureau issue a credential for predicates, keep it, and return it [CREDENTIAL-14].

        Raises Unavailable ``privacy.extra_missing``, what the bureau refuses with, and what ``take`` raises for what is
        no credential of this enterprise.
        """
        require_library()
        now_ms = self._device.now_ms()
        told = perform_once(
            self._place,
            bureau,
            ISSUE_OWN_CREDENTIALS,
            wanted={"credentials": str(CredentialFormat.ANONCREDS)},
            make=lambda: self._blinded_request(bureau),
            now_ms=now_ms,
        )
        pending = self._anoncreds.pending(told.request)
        definition = decode_definition(decode_text(pending.definition))
        credential = take(
            definition,
            decode_text(told.credentials[0]),
            metadata=decode_text(pending.metadata),
            link_secret=self._device.link_secret(bytes.fromhex(told.request)),
        )
        kept = KeptCredential(
            request=told.request,
            definition=pending.definition,
            credential=encode_text(credential),
            expires_ms=definition.body.expires_s * MS_PER_SECOND,
        )
        self._anoncreds.add(kept, now_ms=now_ms)
        return kept

    def blinded(self) -> list[KeptCredential]:
        """Return every credential for predicates that is kept; raises IntegrityError ``client.credentials_damaged``."""
        return self._anoncreds.credentials()

    def asked(
        self,
        bank: HttpClient,
        *,
        member: MemberId,
        product: str,
        shown_as: CredentialFormat = CredentialFormat.SD_JWT,
    ) -> PresentationAsked:
        """Return what a bank's product asks to be shown, once it is shown who asks; nothing leaves by that.

        A question for predicates names the definition of the credential that would be shown, which all of that month
        have. Raises Unavailable ``client.credentials_used_up`` where none is held.

        Raises Denied ``client.institution_differs`` for a request of another bank, product or network, what
        ``verify_receipt``, ``require_recent`` and ``verify_asker`` raise, what the bank refuses with.
        """
        kept = self._newest_blinded() if shown_as is CredentialFormat.ANONCREDS else None
        name = None if kept is None else kept.read_definition().status_list
        told = bank.perform(ASK_PRESENTATION, PresentationQuestion(product=product, registry=name))
        raw, network = bytes.fromhex(told.request), bytes.fromhex(self._device.known.network)
        document = decode_request(raw, network=network, suite=self._device.suite)
        body = document.body
        if (body.bank, body.product) != (member, product):
            raise Denied(
                "client.institution_differs", f"{bank.place} asks for {body.bank} and {body.product}, not for {product}"
            )
        genesis = bytes.fromhex(told.genesis)
        if (found := self._device.suite.digest(genesis)) != network:
            raise Denied(
                "client.institution_differs",
                f"{bank.place} shows the genesis of network {found.hex()[:16]}, not of {network.hex()[:16]}",
            )
        receipt, now_ms = self._verify_receipt(genesis, bytes.fromhex(told.receipt)), self._device.now_ms()
        require_recent(now_ms=now_ms, block_ms=receipt.as_of_ms)
        verify_asker(document, proven=receipt.values, suite=self._device.suite, now_ms=now_ms)
        registry = None if kept is None else self._proven_registry(kept, receipt.values)
        verify_bounds(body, are_wanted=kept is not None)
        return PresentationAsked(raw=raw, body=body, registry=registry, kept=kept)

    def show(self, bank: HttpClient, asked: PresentationAsked) -> PresentationOutcome:
        """Show a copy that nobody has seen, the claims that are asked for and no other; the copy is used up.

        Or a proof of the predicates that are asked for. Raises Unavailable ``client.credentials_used_up``; what
        ``anoncreds.present`` raises, for predicates that do not hold too; what the bank refuses with.
        """
        if asked.kept is not None:
            return self._shown(bank, asked, presentation=self._proof(asked, asked.kept))
        now_ms, copies, body = self._device.now_ms(), self.copies(), asked.body
        fresh = [at for at, copy in enumerate(copies) if not copy.shown_to and copy.expires_ms > now_ms]
        if not fresh:
            raise Unavailable("client.credentials_used_up", f"{self.path} holds no copy that was not shown yet")
        copy = copies[fresh[0]]
        presentation = present(
            copy.credential,
            names=body.claims,
            challenge=Challenge(audience=body.bank, nonce=body.request.hex()),
            now_s=now_ms // MS_PER_SECOND,
            key=self._device.credential_key(bytes.fromhex(copy.request), number=copy.number),
            profile=jose_profile(self._device.suite),
        )
        copies[fresh[0]] = msgspec.structs.replace(copy, shown_to=f"{body.bank}/{body.product}")
        self._save(copies)
        return self._shown(bank, asked, presentation=presentation)

    def _shown(self, bank: HttpClient, asked: PresentationAsked, *, presentation: str) -> PresentationOutcome:
        shown = Presentation(request=asked.raw.hex(), presentation=presentation)
        until = time.monotonic() + BANK_PATIENCE_S
        while True:
            try:
                return bank.perform(SHOW_CREDENTIAL, shown)
            except Unavailable as error:
                # A copy that was issued just now: the bank hears of its status list with the next blocks.
                if error.code not in _SOON or time.monotonic() > until:
                    raise
                time.sleep(PAUSE_S)

    @property
    def _anoncreds(self) -> AnonCredsFile:
        return AnonCredsFile(self._place.path)

    def _blinded_request(self, bureau: HttpClient) -> CredentialRequest:
        told = bureau.perform(READ_CREDENTIAL_DEFINITION, Nothing())
        definition = decode_definition(decode_text(told.content))
        if (definition.body.network, definition.issuer) != (self._device.known.network, self._device.bureau):
            raise IntegrityError(
                "client.credential_foreign", f"the definition {definition.status_list} is not of {self._device.bureau}"
            )
        self._anoncreds.keep_tails(definition, decode_text(told.tails))
        request = new_id(system_entropy)
        blinded, metadata = blind(definition, request=request, link_secret=self._device.link_secret(request))
        self._anoncreds.keep_pending(
            PendingRequest(request=request.hex(), definition=told.content, metadata=encode_text(metadata))
        )
        digest = self._device.suite.digest(definition.raw)
        raw = self._device.blinded_request(request, definition=digest, blinded=blinded)
        return CredentialRequest(request=raw.hex(), format=CredentialFormat.ANONCREDS)

    def _newest_blinded(self) -> KeptCredential:
        require_library()
        now_ms = self._device.now_ms()
        held = [each for each in self._anoncreds.credentials() if each.expires_ms > now_ms]
        if not held:
            raise Unavailable(
                "client.credentials_used_up", f"{self._anoncreds.path} holds no credential that has not expired"
            )
        return held[-1]

    def _proven_registry(self, kept: KeptCredential, values: Mapping[str, Any]) -> Registry:
        """Return the registry as a receipt proves it, if the ledger has this very definition [CREDENTIAL-16]."""
        definition = kept.read_definition()
        registry = registry_of(values.get(status_key(definition.status_list)))
        if registry is None or registry.definition != self._device.suite.digest(definition.raw):
            raise IntegrityError(
                "client.credential_foreign", f"the ledger has another definition as {definition.status_list}, or none"
            )
        return registry

    def _proof(self, asked: PresentationAsked, kept: KeptCredential) -> str:
        if asked.body.bounds is None or asked.registry is None:
            raise Denied("privacy.claims_differ", "the request asks for no predicates")
        definition = kept.read_definition()
        proof = present_proof(
            definition,
            kept.content(),
            rules=asked.body.bounds.rules,
            challenge=asked.raw,
            registry=asked.registry,
            link_secret=self._device.link_secret(bytes.fromhex(kept.request)),
            tails=self._anoncreds.tails(definition),
        )
        self._anoncreds.note_shown(kept, to=f"{asked.body.bank}/{asked.body.product}")
        return encode_shown(definition, proof)

    def _read(self, told: IssuedCopies, number: int) -> KeptCopy:
        """Return a copy that was issued, if the bureau bound it to this very key."""
        suite, credential = self._device.suite, told.credentials[number]
        profile = jose_profile(suite)
        said = verify(
            credential,
            issuer_key=lambda _header, _claims: bytes.fromhex(told.issuer_key),
            media_type=MEDIA_TYPE,
            profile=profile,
            now_s=self._device.now_ms() // MS_PER_SECOND,
            challenge=None,
        )
        key = self._device.credential_key(bytes.fromhex(told.request), number=number)
        if said.get("cnf") != {"jwk": profile.jwk_of(key.public_key)}:
            raise IntegrityError("client.credential_foreign", f"credential {number} is bound to another key than asked")
        return KeptCopy(
            request=told.request,
            number=number,
            credential=credential,
            claims={name: value for name, value in said.items() if name not in _ABOUT_IT},
            expires_ms=int(said["exp"]) * MS_PER_SECOND,
        )

    def _save(self, copies: list[KeptCopy]) -> None:
        replace_file(self.path, encode_json(msgspec.to_builtins(_File(copies=copies))) + b"\n")


_ABOUT_IT = frozenset({"iss", "network", "vct", "iat", "exp", "status", "cnf"})
"""What a credential says of itself and not of the taxpayer."""

_SOON = frozenset({"privacy.proofs_busy", "privacy.status_not_here"})
"""For what a bank is asked again within ``BANK_PATIENCE_S``."""

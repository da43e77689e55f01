"""The bank's side: ask under a consent, believe nothing of the answer until proven, keep it no longer than allowed.

``Recipient.receive`` does, in this order [EXCHANGE-11]:

1. the answer is signed by the provider and answers this request;
2. the ledger's entry is delivered (or acknowledged by an earlier try) and holds the digest of this ciphertext;
3. the seal opens, bound to network, request, consent, sender and receiver;
4. the manifest is the one on the ledger, signed by the provider, about this request, as of a checkpoint of this very
   ledger after it;
5. only groups that were asked for are there [EXCHANGE-13];
6. every record is a live leaf of a batch that the provider anchored, of this taxpayer, in this period [EXCHANGE-14];
7. the records are exactly those that the manifest counts [EXCHANGE-12];
8. keep the data until its life ends, counted from when the answer was made, then acknowledge.

LIMIT: where the bank never learned at which entry its request was committed (a crash in that moment), step 4 cannot
compare the manifest's checkpoint with it; every other check holds.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from shuiqiao.base.clock import MS_PER_DAY, iso_from_ms
from shuiqiao.base.errors import Denied, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId, OwnedId, new_id, owned_id
from shuiqiao.consent.ceilings import ceiling_of
from shuiqiao.consent.model import Mode
from shuiqiao.exchange.ceilings import charge_of, data_life_days, verify_covered, verify_request_within_ceiling
from shuiqiao.exchange.changes import ChangedRecord, changed_records, decode_leaves, encode_leaves
from shuiqiao.exchange.contract import (
    ACKNOWLEDGE,
    DESTROY,
    REQUEST,
    AccessAcknowledgeBody,
    AccessDestroyBody,
    AccessRequestBody,
)
from shuiqiao.exchange.manifest import decode_manifest, verify_manifest_fits
from shuiqiao.exchange.messages import decode_request, encode_request, open_answer, read_request
from shuiqiao.exchange.model import AnswerContent, DataRequest, ModelAsk, RequestMessage, RequestStatus, request_key
from shuiqiao.exchange.modes.built import answer_modes
from shuiqiao.exchange.modes.score import ProvenScore
from shuiqiao.exchange.store import ReceivedRow
from shuiqiao.standards.model import CORE_GROUP
from shuiqiao.vault.contract import LedgerLeaves, batch_lookup
from shuiqiao.vault.disclosure import DisclosedRecords

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Future

    from shuiqiao.base.ids import Entropy
    from shuiqiao.consent.ceilings import Ceiling
    from shuiqiao.consent.model import ConsentArtefact, Output, Purpose
    from shuiqiao.consent.service import ConsentFile
    from shuiqiao.crypto.model import CipherSuite, SealingKey, SigningKey
    from shuiqiao.exchange.model import AnswerManifest
    from shuiqiao.exchange.modes.port import AnswerMode, Half
    from shuiqiao.exchange.modes.score import Scoring
    from shuiqiao.exchange.store import DueAnswers, ErasureRow, ReceivedPlaces, RecipientStore, RequestRow
    from shuiqiao.ledger.model import Committed, StateView
    from shuiqiao.ledger.transactions.submitter import LedgerSubmitter
    from shuiqiao.standards.model import Catalogue

_SALT_BYTES = 32
_BOTH_ENDED_S = 15.0
"""For how long this end may still be at work when the other end has answered: they end together."""
_RECEIVED = (RequestStatus.DELIVERED, RequestStatus.ACKNOWLEDGED, RequestStatus.DESTROYED)

MAX_RECORDED_AT_ONCE = 1_000
"""Erasures that are put on the ledger before it is looked whether there are more."""

USUAL_PERCENT, USUAL_ANSWERS = 5, 20
"""More than 5 % of what is kept, and more than 20 answers, is destroyed at once only if a person confirms it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SentRequest:
    """A request that is on the ledger and ready to be carried to its provider."""

    request: bytes
    provider: MemberId
    message: bytes
    index: int
    """Of its ledger entry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedData:
    """What a bank knows after every check held."""

    request: bytes
    artefact: ConsentArtefact
    manifest: AnswerManifest
    manifest_bytes: bytes
    """Signed by the provider: evidence if a record turns out to be missing."""
    proven: object
    """What the answer says: ``DisclosedRecords`` in the mode *disclose*, ``ProvenScore`` in *score*."""
    entry: int | None = None
    """Leaf index of its request on the ledger, where this bank learned it."""
    changed: tuple[ChangedRecord, ...] = ()
    """Records that earlier answers on this taxpayer held and that were amended or erased since; told on receipt."""

    @property
    def records(self) -> DisclosedRecords:
        """The records of an answer in the mode *disclose*; raises TypeError for one in another mode."""
        if not isinstance(self.proven, DisclosedRecords):
            raise TypeError(f"this answer holds {type(self.proven).__name__}, no records")
        return self.proven

    @property
    def score(self) -> ProvenScore:
        """The result of an answer in the mode *score*; raises TypeError for one in another mode."""
        if not isinstance(self.proven, ProvenScore):
            raise TypeError(f"this answer holds {type(self.proven).__name__}, no score")
        return self.proven

    @property
    def tables(self) -> dict[str, Any]:
        """Record type to a pyarrow Table of the proven rows."""
        import pyarrow as pa

        return {entry.record_type.id: pa.Table.from_batches([entry.rows]) for entry in self.records.types.values()}


class ProviderLink(Protocol):
    """The way to a provider and back; ``node`` wires it."""

    def ask(self, message: bytes) -> bytes:
        """Return the provider's answer to a request, both copies of the ledger holding what it rests on."""
        ...


class Recipient:
    """A bank that asks bureaus.

    Example::

        received = bank.recipient.obtain(DataRequest(consent=consent, items=items, ...), provider=link)
        invoices = received.tables["invoice_issued"]
    """

    def __init__(
        self,
        *,
        submitter: LedgerSubmitter,
        store: RecipientStore,
        consents: ConsentFile,
        key: SigningKey,
        sealing_key: SealingKey,
        suite: CipherSuite,
        catalogue: Catalogue,
        entropy: Entropy,
        scoring: Scoring | None = None,
        require_assessment: Callable[[MemberId], None] = lambda _member: None,
    ) -> None:
        """require_assessment: raises what keeps this institution from sharing data with a member [EXCHANGE-29]."""
        self._require_assessment = require_assessment
        self._submitter = submitter
        self._store = store
        self._consents = consents
        self._key = key
        self._sealing_key = sealing_key
        self._suite = suite
        self._modes = answer_modes(suite=suite, catalogue=catalogue, scoring=scoring)
        self._scoring = scoring
        self._entropy = entropy

    def obtain(self, wanted: DataRequest, *, provider: ProviderLink) -> ReceivedData:
        """Ask under a consent, and return the answer once every check held.

        request on the ledger -> sealed answer from the provider -> every record proven -> acknowledged on the ledger.
        Raises what ``request``, the provider and ``receive`` refuse with.
        """
        sent = self.request(wanted)
        return self.receive(sent.request, self.ask(sent, provider=provider))

    def request(self, wanted: DataRequest, *, request: bytes | None = None) -> SentRequest:
        """Put a request on the ledger and return the message for its provider.

        request: its id, so that it is made once however often this is called; None for a fresh one. Each act of a
        recipient first destroys what has come to the end of its data life [EXCHANGE-15].

        Raises Denied where the consent on file does not cover it (``consent.not_covered``, ...), and what the ledger
        refuses with: ``consent.revoked``, ``consent.paused``, ``consent.expired``, ...
        """
        self.erase_expired()
        kept = None if request is None else self._store.request(request)
        if kept is not None:
            message, raw = self._own_message(kept), kept.message
        else:
            artefact = self._consents.artefact(wanted.consent)
            self._consents.verify_standing(artefact)
            message = self._message(wanted, artefact, request=request or new_id(self._entropy))
            self._require_assessment(MemberId(message.receiver))
            verify_covered(message, artefact)
            verify_request_within_ceiling(message, ceiling=self._ceiling(artefact))
            self._mode(message.mode).verify_asked(message)
            raw = encode_request(message, network=self._network, suite=self._suite, key=self._key)
            self._store.save_request(
                message.request, consent=message.consent_name, message=raw, made_ms=message.made_ms
            )
        index = self._commit(message, raw) if kept is None or kept.index is None else kept.index
        return SentRequest(request=message.request, provider=MemberId(message.receiver), message=raw, index=index)

    def ask(self, sent: SentRequest, *, provider: ProviderLink) -> bytes:
        """Return a provider's answer to a request, this bank's half of what both compute done beside it [SECURE-12].

        The half is done once: what this bank has of the result is kept, and a retry only asks. Raises what the provider
        refuses with, what ``Half`` raises, Denied ``exchange.share_missing`` for an answer to what was computed before
        and is not kept here.
        """
        asked = self._asked(sent.request)
        message = self._own_message(asked)
        half = self._mode(message.mode).half(message)
        if half is None:
            return provider.ask(sent.message)
        if asked.share is not None:
            return self._ask_again(sent, provider=provider)
        if self.status(sent.request) in _RECEIVED:
            raise _share_missing(sent.request)
        with half.way():
            # Somebody else of this bank may have held the way until now, for this very request.
            if self._asked(sent.request).share is not None:
                return self._ask_again(sent, provider=provider)
            return self._ask_beside(half, sent, provider=provider)

    def _ask_beside(self, half: Half, sent: SentRequest, *, provider: ProviderLink) -> bytes:
        with ThreadPoolExecutor(1, thread_name_prefix="half") as beside:
            running = beside.submit(half.run)
            try:
                answer = provider.ask(sent.message)
            except BaseException:
                # It may have been made all the same: then what was computed here is needed when it comes.
                half.give_up()
                self._keep_share(sent.request, running)
                raise
            wait([running], timeout=_BOTH_ENDED_S)
            if not running.done():
                # The provider had computed it before, with a half that is lost.
                half.give_up()
            if not self._keep_share(sent.request, running):
                raise running.exception() or _share_missing(sent.request)
            return answer

    def _ask_again(self, sent: SentRequest, *, provider: ProviderLink) -> bytes:
        """Ask for the answer that a kept share belongs to; where the provider has none, the next try computes anew."""
        try:
            return provider.ask(sent.message)
        except ShuiqiaoError as error:
            if error.code.startswith("privacy.secure_"):
                self._store.keep_share(sent.request, None)
            raise

    def _keep_share(self, request: bytes, running: Future[bytes]) -> bool:
        """Keep what a half ended with, once it ended; tell whether it ended well."""
        if running.exception() is not None:
            return False
        self._store.keep_share(request, running.result())
        return True

    def granted(self, consent: OwnedId) -> DataRequest:
        """Return the request for exactly what a consent on file grants; raises as ``ConsentFile.artefact``."""
        artefact = self._consents.artefact(consent)
        return DataRequest(
            consent=consent,
            items=artefact.items,
            period_from=artefact.period_from,
            period_to=artefact.period_to,
        )

    def scoring(self, consent: OwnedId, model: OwnedId, *, outputs: Collection[Output]) -> DataRequest:
        """Return the request to have a model of this bank's run on what a consent on file lets it read.

        Over the whole period that is granted, whose last day is the day of judgement. Raises as
        ``ConsentFile.artefact``, what ``Scoring.items`` raises; Denied ``exchange.mode_unsupported``::

            wanted = bank.recipient.scoring(consent, model, outputs=[Output.BAND])
            score = bank.recipient.obtain(wanted, provider=link).score
        """
        artefact = self._consents.artefact(consent)
        digest, items = self._scoring_here.items(model, granted=artefact.items)
        return DataRequest(
            consent=consent,
            items=items,
            period_from=artefact.period_from,
            period_to=artefact.period_to,
            mode=Mode.SCORE,
            model=ModelAsk(model=model, digest=digest, outputs=sorted(set(outputs))),
        )

    def exposure(self, consent: OwnedId) -> DataRequest:
        """Return the request to be let ask other banks under a consent on file; raises as ``ConsentFile.artefact``."""
        artefact = self._consents.artefact(consent)
        return DataRequest(
            consent=consent,
            items={min(artefact.items): [CORE_GROUP]},
            period_from=artefact.period_from,
            period_to=artefact.period_to,
            mode=Mode.EXPOSURE,
        )

    def artefact(self, consent: OwnedId) -> ConsentArtefact:
        """Return a consent on file; raises as ``ConsentFile.artefact``."""
        return self._consents.artefact(consent)

    def model_inputs(self, model: OwnedId) -> Mapping[str, Sequence[str]]:
        """Return what a model of this bank's reads, by standard id; raises as ``scoring`` does."""
        return self._scoring_here.inputs(model)

    def model_card(self, model: OwnedId, *, digest: bytes) -> bytes:
        """Return the content in clear of a model of this bank's, whatever a provider sees of it.

        Raises as ``Scoring.card``.
        """
        return self._scoring_here.card(model, digest=digest)

    def status(self, request: bytes) -> RequestStatus | None:
        """Return where the ledger has a request of this bank's, None where it has none."""
        entry = self._submitter.state().get(request_key(owned_id(self._submitter.member, request)))
        return None if entry is None else RequestStatus(entry["status"])

    def receive(self, request: bytes, answer: bytes) -> ReceivedData:
        """Check an answer completely, keep it, acknowledge it, and return what it says.

        Raises Denied ``exchange.data_life_over`` for one that is older than it may be kept.
        Raises InvalidInput or IntegrityError naming what does not hold; ``exchange.record_withheld``,
        ``exchange.group_not_granted`` and the ``vault`` codes among them. Nothing is kept then.
        """
        asked = self._asked(request)
        message = self._own_message(asked)
        entry = self._entry(message)
        content, digest = self._open(answer, message)
        self._expect_entry_holds(entry, content, digest, message)
        found = self._verify(content, message, share=asked.share, entry_index=asked.index)
        received = replace(found, entry=asked.index)
        erase_after_ms = self._erase_after_ms(received)
        self._expect_life(request, until_ms=erase_after_ms)
        changed = tuple(self.changed_records(taxpayer=received.artefact.taxpayer))
        self._keep(content, message, received.artefact, erase_after_ms=erase_after_ms)
        if entry["status"] == RequestStatus.DELIVERED:
            self._submitter.submit(ACKNOWLEDGE, AccessAcknowledgeBody(request=request, answer_digest=digest))
        return replace(received, changed=changed)

    def changed_records(self, *, taxpayer: str | None = None) -> Iterator[ChangedRecord]:
        """Yield the records of kept answers, on one taxpayer or on all, that were amended or erased since.

        Each comes with its provider [EXCHANGE-21].
        """
        self.erase_expired()
        yield from received_changes(
            self._store.places(taxpayer=taxpayer, after_ms=self._submitter.latest_ms()),
            state=self._submitter.state,
            modes=self._modes,
            network=self._network,
            suite=self._suite,
        )

    def load(self, request: bytes) -> ReceivedData:
        """Return kept data, its proofs verified again.

        Raises Denied ``exchange.data_life_over`` from the end of its data life on, ``exchange.data_absent`` if it never
        came; Conflict ``vault.batch_erased`` where its batch was erased since. A record superseded since is still
        returned: it is what the bank knew then.
        """
        asked = self._asked(request)
        kept = self._store.received(request)
        if kept is None:
            raise Denied("exchange.data_absent", f"nothing is kept for request {request.hex()}")
        self._expect_life(request, until_ms=kept.erase_after_ms)
        content = AnswerContent(manifest=kept.manifest, disclosure=kept.disclosure)
        found = self._verify(content, self._own_message(asked), share=asked.share, entry_index=None, is_kept=True)
        return replace(found, entry=asked.index)

    def kept(self, *, purpose: Purpose) -> Iterator[ReceivedData]:
        """Yield kept answers under consents for a purpose, oldest first, their proofs verified again."""
        rows = self._store.all_received(after_ms=self._submitter.latest_ms())
        requests = [row.request for _, row in rows if self._consents.artefact(row.consent).purpose is purpose]
        for request in requests:
            yield self.load(request)

    def erase_expired(self) -> list[ErasureRow]:
        """Destroy every answer whose data life has ended for sure; the local log keeps that it was there.

        [EXCHANGE-15], [LEDGER-TIME-3]: a clock that nobody confirmed and that is far ahead destroys nothing. Where
        unusually much would go, nothing does before a person confirmed it [EXCHANGE-24].
        """
        now_ms = self._submitter.certain_ms()
        return [] if is_unusual(self._store.count_due(now_ms=now_ms)) else self._store.erase_due(now_ms=now_ms)

    def due_answers(self) -> DueAnswers:
        """Count the answers whose data life has ended by the time of the newest block [EXCHANGE-24]."""
        return self._store.count_due(now_ms=self._submitter.block_ms())

    def destroy_due(self, *, until_ms: int) -> list[ErasureRow]:
        """Destroy the answers whose data life ended by a moment that a block has reached [EXCHANGE-24].

        until_ms: of ``due_answers``; a later one than the newest block's counts as that.
        """
        return self._store.erase_due(now_ms=min(until_ms, self._submitter.block_ms()))

    def record_erasures(self) -> int:
        """Say on the ledger what was destroyed and is not known to stand there; return how much that was now.

        [EXCHANGE-23]. After a crash in between it goes on with the next one. Raises what the ledger refuses with; once
        all others are said, IntegrityError ``exchange.erasure_unpaired`` for one whose request the ledger does not have
        as answered.
        """
        unrecorded = self._store.unrecorded_erasures(at_most=MAX_RECORDED_AT_ONCE)
        unpaired: IntegrityError | None = None
        for erasure in unrecorded:
            entry = self._submitter.state().get(request_key(owned_id(self._submitter.member, erasure.request)))
            if entry is None or entry["status"] not in _RECEIVED:
                unpaired = unpaired or IntegrityError(
                    "exchange.erasure_unpaired",
                    f"request {erasure.request.hex()} was answered and its answer destroyed here; on the ledger it is "
                    f"{'absent' if entry is None else entry['status']}",
                )
                continue
            if entry["status"] != RequestStatus.DESTROYED:
                body = AccessDestroyBody(request=erasure.request, answer_digest=entry["answer_digest"])
                self._submitter.submit(DESTROY, body)
            self._store.mark_recorded(erasure.request, now_ms=self._submitter.now_ms())
        if unpaired is not None:
            raise unpaired
        return len(unrecorded)

    @property
    def _scoring_here(self) -> Scoring:
        if self._scoring is None:
            raise Denied("exchange.mode_unsupported", "no model is run from here")
        return self._scoring

    @property
    def _network(self) -> bytes:
        return self._submitter.parameters.network

    def _message(self, wanted: DataRequest, artefact: ConsentArtefact, *, request: bytes) -> RequestMessage:
        return RequestMessage(
            request=request,
            consent=artefact.consent,
            sender=self._submitter.member,
            receiver=artefact.provider,
            purpose=artefact.purpose,
            mode=wanted.mode,
            items={type_id: sorted(set(groups)) for type_id, groups in wanted.items.items()},
            period_from=wanted.period_from,
            period_to=wanted.period_to,
            made_ms=self._submitter.now_ms(),
            salt=self._entropy(_SALT_BYTES),
            model=wanted.model,
        )

    def _mode(self, mode: Mode) -> AnswerMode:
        found = self._modes.get(mode)
        if found is None:
            raise Denied("exchange.mode_unsupported", f"no answer in the mode {mode} can be proven here yet")
        return found

    def _commit(self, message: RequestMessage, raw: bytes) -> int:
        """Put a kept request on the ledger, unless an earlier attempt did; return the index of its entry."""
        body = AccessRequestBody(
            request=message.request,
            consent=message.consent_name,
            purpose=message.purpose,
            mode=message.mode,
            request_digest=self._suite.digest(raw),
        )
        committed = self._earlier_entry(body, made_ms=message.made_ms) or self._submit(body, made_ms=message.made_ms)
        self._store.mark_committed(message.request, index=committed.index)
        return committed.index

    def _submit(self, body: AccessRequestBody, *, made_ms: int) -> Committed:
        try:
            return self._submitter.submit(REQUEST, body)
        except Unavailable:
            # It may be on the ledger: the message stays on file for it.
            raise
        except ShuiqiaoError as error:
            if error.code == "exchange.request_repeated":
                return self._awaited(body, made_ms=made_ms)
            self._store.remove_request(body.request)
            raise

    def _earlier_entry(self, body: AccessRequestBody, *, made_ms: int) -> Committed | None:
        if self.status(body.request) is None:
            return None
        return self._awaited(body, made_ms=made_ms)

    def _awaited(self, body: AccessRequestBody, *, made_ms: int) -> Committed:
        found = self._submitter.find(REQUEST, since_ms=made_ms, fits=lambda tx: tx.body == body)
        if found is None:
            raise Unavailable(
                "exchange.entry_awaited",
                f"the ledger's entry of request {body.request.hex()} is in a block that is not here yet",
                retry_after_s=1.0,
            )
        return found

    def _asked(self, request: bytes) -> RequestRow:
        """Return a request of this bank's, after everything whose data life is over was destroyed [EXCHANGE-15]."""
        self.erase_expired()
        asked = self._store.request(request)
        if asked is None:
            raise InvalidInput("exchange.request_not_ours", f"no request {request.hex()} was made here")
        if self._store.is_erased(request):
            raise Denied("exchange.data_life_over", f"the answer to {request.hex()} was erased at the end of its life")
        return asked

    def _own_message(self, asked: RequestRow) -> RequestMessage:
        return decode_request(asked.message, state=self._submitter.state(), network=self._network, suite=self._suite)

    def _entry(self, message: RequestMessage) -> dict[str, Any]:
        entry: dict[str, Any] | None = self._submitter.state().get(request_key(message.name))
        if entry is None or entry["status"] not in {RequestStatus.DELIVERED, RequestStatus.ACKNOWLEDGED}:
            found = "absent" if entry is None else entry["status"]
            raise IntegrityError(
                "exchange.answer_unpaired", f"an answer came for request {message.name}, which is {found}"
            )
        return entry

    def _open(self, answer: bytes, message: RequestMessage) -> tuple[AnswerContent, bytes]:
        """Steps 1 and 3."""
        return open_answer(
            answer,
            message=message,
            state=self._submitter.state(),
            network=self._network,
            suite=self._suite,
            sealing_key=self._sealing_key,
        )

    def _expect_entry_holds(
        self, entry: dict[str, Any], content: AnswerContent, digest: bytes, message: RequestMessage
    ) -> None:
        """Steps 2 and 4: the digests on the ledger are of what came."""
        found = (digest, self._suite.digest(content.manifest))
        if found != (entry["answer_digest"], entry["manifest_digest"]):
            raise IntegrityError(
                "exchange.answer_digest_mismatch",
                f"what came for request {message.request.hex()} is not what the ledger says was delivered",
            )

    def _verify(
        self,
        content: AnswerContent,
        message: RequestMessage,
        *,
        share: bytes | None,
        entry_index: int | None,
        is_kept: bool = False,
    ) -> ReceivedData:
        """Steps 4 to 7."""
        artefact = self._consents.artefact(message.consent_name)
        manifest = decode_manifest(
            content.manifest,
            provider=MemberId(message.receiver),
            state=self._submitter.state(),
            network=self._network,
            suite=self._suite,
        )
        verify_manifest_fits(manifest, message, taxpayer=artefact.taxpayer)
        if entry_index is not None and manifest.as_of_size <= entry_index:
            raise IntegrityError(
                "exchange.manifest_stale",
                f"the manifest is as of size {manifest.as_of_size}, before request entry {entry_index}",
            )
        if not is_kept:
            self._submitter.verify_root(size=manifest.as_of_size, root=manifest.as_of_root)
        return ReceivedData(
            request=message.request,
            artefact=artefact,
            manifest=manifest,
            manifest_bytes=content.manifest,
            proven=self._prove(content, message, artefact, manifest, share=share, is_kept=is_kept),
        )

    def _prove(
        self,
        content: AnswerContent,
        message: RequestMessage,
        artefact: ConsentArtefact,
        manifest: AnswerManifest,
        *,
        share: bytes | None,
        is_kept: bool,
    ) -> object:
        """Steps 5 to 7, which are the mode's.

        A record superseded or erased today is refused on receipt; on file it may have aged.
        """
        mode = self._mode(message.mode)
        state, provider = self._submitter.state(), MemberId(message.receiver)
        return mode.prove(
            content.disclosure,
            message=message,
            artefact=artefact,
            manifest=manifest,
            batch_of=batch_lookup(state, provider),
            status_of=None if is_kept else LedgerLeaves(state, provider),
            share=share,
        )

    def _ceiling(self, artefact: ConsentArtefact) -> Ceiling:
        return ceiling_of(artefact, self._submitter.state())

    def _erase_after_ms(self, received: ReceivedData) -> int:
        """Return the end of an answer's life: it began when the answer was made, and at the latest now."""
        made_ms = min(received.manifest.made_ms, self._submitter.latest_ms())
        return made_ms + data_life_days(received.artefact, ceiling=self._ceiling(received.artefact)) * MS_PER_DAY

    def _expect_life(self, request: bytes, *, until_ms: int) -> None:
        """[EXCHANGE-15]: a clock that is behind the newest block gives no time back."""
        if self._submitter.latest_ms() >= until_ms:
            raise Denied(
                "exchange.data_life_over",
                f"the data life of the answer to {request.hex()} ended at {iso_from_ms(until_ms)}",
            )

    def _keep(
        self, content: AnswerContent, message: RequestMessage, artefact: ConsentArtefact, *, erase_after_ms: int
    ) -> None:
        mode = self._mode(message.mode)
        revealed = mode.reveals(message)
        shown = mode.shown_millibits(content.disclosure)
        if shown is not None:
            revealed = replace(revealed, millibits=shown)
        self._store.save_received(
            ReceivedRow(
                request=message.request,
                consent=message.consent_name,
                taxpayer=artefact.taxpayer,
                manifest=content.manifest,
                disclosure=content.disclosure,
                received_ms=self._submitter.now_ms(),
                erase_after_ms=erase_after_ms,
                leaves=encode_leaves(mode.leaves(content.disclosure)),
            ),
            charge=charge_of(message, artefact, charged_ms=self._submitter.now_ms(), revealed=revealed),
        )


def _share_missing(request: bytes) -> Denied:
    return Denied(
        "exchange.share_missing",
        f"the provider computed the answer to {request.hex()}, and this bank does not have its own half of the result",
    )


def is_unusual(due: DueAnswers) -> bool:
    """Tell whether so much is due at once that a wrong time is more likely than its end [EXCHANGE-24]."""
    return due.due > USUAL_ANSWERS and due.due * 100 > due.kept * USUAL_PERCENT


def received_changes(
    kept: Iterable[ReceivedPlaces],
    *,
    state: Callable[[], StateView],
    modes: Mapping[Mode, AnswerMode],
    network: bytes,
    suite: CipherSuite,
) -> Iterator[ChangedRecord]:
    """Yield the records of kept answers that were amended or erased since [EXCHANGE-21].

    kept: as ``RecipientStore.places`` gives them.
    """
    for row in kept:
        message = read_request(row.message, network=network, suite=suite)
        provider = MemberId(message.receiver)
        leaves = modes[message.mode].leaves(row.disclosure or b"") if row.leaves is None else decode_leaves(row.leaves)
        yield from changed_records(
            leaves,
            status_of=LedgerLeaves(state(), provider),
            request=row.request,
            other=provider,
            taxpayer=row.taxpayer,
        )

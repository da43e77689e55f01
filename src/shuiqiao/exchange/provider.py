"""The provider's side: check a bank's request, answer it from the vault or refuse it, and account for both.

``Provider.answer`` does, in this order [EXCHANGE-7]:

1. the message is signed by the bank it names;
2. the ledger holds its entry, by that bank, for this provider, with this digest;
3. the consent is active at the current checkpoint, the moment lies in its window, it stands beside the others
   (``consent.standing``), and the bank is not suspended;
4. - 8. recipient, purpose, items, period, mode lie within the artefact;
9. the purpose's ceilings allow it, and the mode can give it: a model may run here and reads what is asked for;
10. the consent's frequency, and over all consents to this bank the purpose's ceilings, have a place left, and the
    leakage account allows what the answer reveals: both are taken in one act;
11. take the checkpoint, then read the vault, and again if it had not noted what the ledger has by then; make the
    content once, and ask steps 3 to 9 again where that was computed, which may take a while;
12. sign the manifest, seal and sign the answer, keep it, put access.deliver on the ledger, and only then let it go.

What fails from step 3 on is refused on the ledger with the field's code [EXCHANGE-8]. An answer that was kept passes
steps 1 to 9 again whenever it is sent [EXCHANGE-20].
"""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.ids import MemberId, OwnedId, Uscc, new_id, split_owned_id
from shuiqiao.consent.ceilings import ceiling_of
from shuiqiao.consent.model import FIELD_CODES, FieldCode, field_code, verify_usable
from shuiqiao.consent.service import find_grant
from shuiqiao.exchange.ceilings import (
    charge_of,
    counted_from_ms,
    verify_answers_within,
    verify_covered,
    verify_request_within_ceiling,
)
from shuiqiao.exchange.changes import ChangedRecord, changed_records, decode_leaves, encode_leaves
from shuiqiao.exchange.contract import DELIVER, REFUSE, AccessDeliverBody, AccessRefuseBody, verify_recipient_active
from shuiqiao.exchange.manifest import (
    Computed,
    Inventory,
    ManifestOpening,
    build_manifest,
    decode_opening,
    encode_manifest,
    encode_opening,
)
from shuiqiao.exchange.messages import decode_request, read_request, seal_answer
from shuiqiao.exchange.model import (
    MAX_DISCLOSURE_BYTES,
    AnswerContent,
    AnswerStatus,
    RequestMessage,
    RequestStatus,
    UsageEntry,
    request_key,
)
from shuiqiao.exchange.modes.built import answer_modes
from shuiqiao.exchange.store import AskedRow, request_in_progress
from shuiqiao.ledger.state.machine import NETWORK_GATE
from shuiqiao.members.roster import is_suspended, member_record
from shuiqiao.vault.contract import LedgerLeaves

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shuiqiao.base.ids import Entropy
    from shuiqiao.consent.model import ConsentArtefact
    from shuiqiao.consent.service import ConsentService
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.exchange.modes.port import Answer, RecordSource
    from shuiqiao.exchange.modes.score import Scoring
    from shuiqiao.exchange.store import ProviderStore
    from shuiqiao.ledger.transactions.submitter import LedgerSubmitter
    from shuiqiao.standards.model import Catalogue
    from shuiqiao.vault.model import LeafLookup

_CLOSED = (RequestStatus.REFUSED, RequestStatus.DESTROYED)
_TAKEN_IN = (RequestStatus.ACKNOWLEDGED, RequestStatus.DESTROYED)
_SALT_BYTES = 32
_READ_ATTEMPTS = 3
_UNSETTLED_RETRY_S = 60.0
_STOPPED_RETRY_S = 3600.0


class Provider:
    """A tax bureau that answers banks.

    Example::

        sealed = bureau.provider.answer(message)
        account = bureau.provider.usage_account(uscc)
    """

    def __init__(
        self,
        *,
        submitter: LedgerSubmitter,
        store: ProviderStore,
        consents: ConsentService,
        vault: RecordSource,
        key: SigningKey,
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
        self._vault = vault
        self._key = key
        self._suite = suite
        self._modes = answer_modes(suite=suite, catalogue=catalogue, scoring=scoring)
        self._entropy = entropy
        self._beginning = threading.Lock()
        self._in_progress: set[OwnedId] = set()

    def answer(self, raw: bytes) -> bytes:
        """Return the sealed answer to a request message; the same bytes for a retry [EXCHANGE-18].

        Raises InvalidInput or IntegrityError for the message itself, Denied ``exchange.request_unknown`` or
        ``exchange.request_unpaired``, Conflict ``exchange.request_closed`` for one that was refused or acknowledged,
        Unavailable ``exchange.request_in_progress``, ``exchange.provider_stopped`` or ``ledger.copy_old``; and, after
        writing the refusal to the ledger where it is not delivered yet, Denied with a ``consent`` code,
        ``exchange.recipient_suspended``, ``exchange.frequency_exceeded`` or ``exchange.mode_unsupported``.
        """
        self.release_acknowledged()
        message = decode_request(raw, state=self._submitter.state(), network=self._network, suite=self._suite)
        self._begin(message.name)
        try:
            return self._answer(message, raw)
        finally:
            self._in_progress.discard(message.name)

    def _begin(self, request: OwnedId) -> None:
        """One answer at a time per request in this process, which saves work; among processes the store decides."""
        with self._beginning:
            if request in self._in_progress:
                raise request_in_progress(request)
            self._in_progress.add(request)

    def _answer(self, message: RequestMessage, raw: bytes) -> bytes:
        entry = self._paired_entry(message, raw)
        self._expect_open_gates()
        self._require_assessment(MemberId(message.sender))
        kept = self._store.asked(message.name)
        if kept is not None and kept.answer is not None and entry["status"] not in _CLOSED:
            return self._send_kept(message, kept, entry)
        if entry["status"] != RequestStatus.REQUESTED:
            raise Conflict(
                "exchange.request_closed", f"request {message.name} is {entry['status']}; ask anew if needed"
            )
        return self._deliver(message, self._make_answer(message, raw), entry)

    def _expect_open_gates(self) -> None:
        """On a frozen network, or for a suspended provider, nothing leaves: no withdrawal could reach the ledger."""
        state, member = self._submitter.state(), self._submitter.member
        is_frozen = state.get(NETWORK_GATE) is not None
        if is_frozen or is_suspended(state, member):
            what = "the network is frozen" if is_frozen else f"{member} is suspended"
            raise Unavailable(
                "exchange.provider_stopped",
                f"{what}: no answer leaves {member}",
                retry_after_s=_STOPPED_RETRY_S,
                next_step="Send the same request again once that is lifted.",
            )

    def _send_kept(self, message: RequestMessage, kept: AskedRow, entry: dict[str, Any]) -> bytes:
        """[EXCHANGE-20]: what was allowed when the answer was made is asked again now that it leaves."""
        try:
            self._verify_allowed(message)
        except (Denied, InvalidInput) as error:
            if entry["status"] == RequestStatus.REQUESTED:
                self._refuse(kept, error)
            raise
        if entry["status"] != RequestStatus.REQUESTED:
            # No ledger act stands between this and the bank: a copy that is cut off knows of no withdrawal.
            self._submitter.require_recent()
        return self._deliver(message, kept, entry)

    def usage_account(self, taxpayer: Uscc) -> list[UsageEntry]:
        """Return every request on a taxpayer's data, oldest first [EXCHANGE-17]."""
        return [self._usage_entry(row) for row in self._store.asked_of(taxpayer)]

    def manifest_opening(self, request: OwnedId) -> ManifestOpening:
        """Return what opens the manifest of an answer that shows no records, for a regulator [EXCHANGE-27].

        Raises Denied ``exchange.opening_missing`` for any other request.
        """
        _, kept = self.kept_opening(request)
        return decode_opening(kept)

    def kept_opening(self, request: OwnedId) -> tuple[str, bytes]:
        """Return whose records an answer rests on that shows none, and its opening as it is kept.

        Raises as ``manifest_opening``.
        """
        row = self._store.asked(request)
        if row is None or row.opening is None or row.taxpayer is None:
            raise Denied("exchange.opening_missing", f"no manifest of request {request} has anything to open here")
        return row.taxpayer, row.opening

    def changed_records(self) -> Iterator[ChangedRecord]:
        """Yield the records of delivered answers that were amended or erased since, with the bank [EXCHANGE-21]."""
        return delivered_changes(self._store, status_of=LedgerLeaves(self._submitter.state(), self._submitter.member))

    def release_acknowledged(self) -> int:
        """Destroy kept answers that their banks acknowledged, or destroyed already; return how many."""
        state = self._submitter.state()
        done = [
            request
            for request in self._store.kept_answers()
            if (state.get(request_key(request)) or {}).get("status") in _TAKEN_IN
        ]
        for request in done:
            self._store.drop_answer(request)
        return len(done)

    @property
    def _network(self) -> bytes:
        return self._submitter.parameters.network

    def _paired_entry(self, message: RequestMessage, raw: bytes) -> dict[str, Any]:
        """Step 2 [EXCHANGE-5]."""
        entry: dict[str, Any] | None = self._submitter.state().get(request_key(message.name))
        if entry is None:
            raise Denied("exchange.request_unknown", f"the ledger has no request {message.name}")
        expected = {
            "consent": message.consent_name,
            "provider": message.receiver,
            "purpose": message.purpose,
            "mode": message.mode,
            "request_digest": self._suite.digest(raw),
        }
        differing = sorted(field for field, value in expected.items() if entry[field] != value)
        if differing or message.receiver != self._submitter.member:
            what = ", ".join(differing) or "provider"
            raise Denied("exchange.request_unpaired", f"request {message.name} differs from its ledger entry in {what}")
        return entry

    def _make_answer(self, message: RequestMessage, raw: bytes) -> AskedRow:
        """Steps 3 to 12 up to keeping the answer; a refusal is put on the ledger and raised."""
        row = self._new_row(message, raw)
        try:
            artefact = self._authorise(message, row)
            answered, shown = self._read_and_seal(message, replace(row, taxpayer=artefact.taxpayer), artefact)
        except (Denied, InvalidInput) as error:
            self._refuse(row, error)
            raise
        except BaseException:
            # Nobody was refused and nothing was answered: the place in the frequency is free again.
            self._store.release(row)
            raise
        self._store.keep_answer(answered, shown_millibits=shown)
        return answered

    def _authorise(self, message: RequestMessage, row: AskedRow) -> ConsentArtefact:
        """Steps 3 to 10."""
        now_ms = row.answered_ms
        artefact = self._verify_allowed(message)
        ceiling = ceiling_of(artefact, self._submitter.state())
        self._store.reserve(
            replace(row, taxpayer=artefact.taxpayer),
            since_ms=counted_from_ms(artefact, now_ms=now_ms, ceiling=ceiling),
            verify=lambda past: verify_answers_within(message, artefact, now_ms=now_ms, past=past, ceiling=ceiling),
            charge=charge_of(message, artefact, charged_ms=now_ms, revealed=self._modes[message.mode].reveals(message)),
        )
        return artefact

    def _verify_allowed(self, message: RequestMessage) -> ConsentArtefact:
        """Steps 3 to 9."""
        state = self._submitter.state()
        verify_usable(find_grant(state, message.consent_name), now_ms=self._submitter.latest_ms())
        verify_recipient_active(state, MemberId(message.sender))
        artefact = self._consents.artefact(message.consent_name)
        self._consents.verify_standing(artefact)
        verify_covered(message, artefact)
        if message.mode not in self._modes:
            raise Denied("exchange.mode_unsupported", f"this provider does not answer in the mode {message.mode} yet")
        verify_request_within_ceiling(message, ceiling=ceiling_of(artefact, state))
        self._modes[message.mode].verify_asked(message)
        return artefact

    def _read_and_seal(
        self, message: RequestMessage, row: AskedRow, artefact: ConsentArtefact
    ) -> tuple[AskedRow, int | None]:
        """Steps 11 and 12, and how much the answer shows.

        The checkpoint comes first, so that all that was anchored before it is counted [EXCHANGE-9]: else a batch that
        is anchored and not yet noted in the vault would make an honest count false.
        """
        as_of = self._submitter.checkpoint()
        read, inventories = self._read_steadily(message, Uscc(artefact.taxpayer))
        made, computed = read.content(), None
        if read.is_computed:
            # A consent that ended while it was computed gives no result [EXCHANGE-20], [SECURE-13].
            self._verify_allowed(message)
            computed = Computed(result=self._suite.digest(made), salt=self._entropy(_SALT_BYTES))
        manifest = build_manifest(
            message,
            taxpayer=artefact.taxpayer,
            inventories=inventories,
            as_of=as_of,
            suite=self._suite,
            made_ms=row.answered_ms,
            salt=self._entropy(_SALT_BYTES),
            computed=computed,
        )
        signed_manifest = encode_manifest(manifest, network=self._network, suite=self._suite, key=self._key)
        content = AnswerContent(manifest=signed_manifest, disclosure=_bounded(made))
        answer, digest = self._seal(content, message)
        kept = replace(
            row,
            counts=read.counts,
            leaves=encode_leaves(read.leaves),
            answer=answer,
            answer_digest=digest,
            manifest_digest=self._suite.digest(signed_manifest),
            opening=None if computed is None else encode_opening(computed.salt, inventories),
        )
        return kept, read.shown_millibits

    def _read_steadily(self, message: RequestMessage, uscc: Uscc) -> tuple[Answer, dict[str, Inventory]]:
        """Return records and inventory of one moment: read again if an ingest or erasure came in between.

        A reading counts if the vault, settled after it, still holds the same: then it lacks no record whose batch was
        anchored by then, and one that an erasure took from it is erased on the ledger too. Raises Unavailable
        ``exchange.vault_moving``, ``exchange.vault_unsettled``, ``vault.busy``.
        """
        for _ in range(_READ_ATTEMPTS):
            revision = self._vault.revision()
            before = self._inventories(message, uscc)
            read = self._modes[message.mode].answer(message, uscc=uscc, source=self._vault)
            self._settle(message, uscc)
            if revision == self._vault.revision() or before == self._inventories(message, uscc):
                return read, before
        raise Unavailable(
            "exchange.vault_moving", f"the vault changed during each of {_READ_ATTEMPTS} readings", retry_after_s=5.0
        )

    def _settle(self, message: RequestMessage, uscc: Uscc) -> None:
        """Let the vault catch up with the ledger; that it cannot is no refusal of the bank."""
        try:
            self._vault.settle(uscc=uscc, type_ids=message.items, anchor=self._submitter)
        except (Conflict, Denied, InvalidInput) as error:
            raise Unavailable(
                "exchange.vault_unsettled",
                f"the vault of {message.receiver} cannot catch up with the ledger: {error.code}: {error.message}",
                retry_after_s=_UNSETTLED_RETRY_S,
                next_step="The provider's operator runs `shuiqiao ingest FILE` again; then send the same request.",
            ) from error

    def _inventories(self, message: RequestMessage, uscc: Uscc) -> dict[str, Inventory]:
        period_from, period_to = message.period_from, message.period_to
        return {
            type_id: Inventory(
                counts=self._vault.count_live(uscc=uscc, type_id=type_id, period_from=period_from, period_to=period_to),
                leaves=self._vault.live_leaves(
                    uscc=uscc, type_id=type_id, period_from=period_from, period_to=period_to
                ),
            )
            for type_id in message.items
        }

    def _seal(self, content: AnswerContent, message: RequestMessage) -> tuple[bytes, bytes]:
        bank = member_record(self._submitter.state(), MemberId(message.sender))
        return seal_answer(
            content,
            message=message,
            network=self._network,
            suite=self._suite,
            recipient_key=bank["seal"],
            key=self._key,
        )

    def _deliver(self, message: RequestMessage, row: AskedRow, entry: dict[str, Any]) -> bytes:
        """Put access.deliver on the ledger unless it is there, then return the kept answer."""
        if row.answer is None or row.answer_digest is None or row.manifest_digest is None:
            raise IntegrityError("exchange.answer_lost", f"the kept answer to {message.name} is incomplete")
        if entry["status"] == RequestStatus.REQUESTED:
            self._submit_delivery(
                AccessDeliverBody(
                    request=message.name, answer_digest=row.answer_digest, manifest_digest=row.manifest_digest
                ),
                row,
            )
        elif entry["answer_digest"] != row.answer_digest:
            raise IntegrityError(
                "exchange.answer_lost", f"the ledger holds another answer to {message.name} than the one kept"
            )
        if row.outcome is not AnswerStatus.DELIVERED:
            self._store.mark_delivered(row)
        return row.answer

    def _submit_delivery(self, body: AccessDeliverBody, row: AskedRow) -> None:
        try:
            # What the ledger cannot judge of it: renewal and joint consent [EXCHANGE-20].
            self._consents.verify_standing(self._consents.artefact(row.consent))
            self._submitter.submit(DELIVER, body)
        except Denied as error:
            # The consent ended between the check and the block: nothing leaves. For any other reason, also where it
            # is unknown whether the entry was committed, the answer stays kept and the next try finds out.
            if error.code in FIELD_CODES:
                self._refuse(row, error)
            raise

    def _refuse(self, row: AskedRow, error: ShuiqiaoError) -> None:
        """[EXCHANGE-8]: note a refusal here and on the ledger."""
        code = field_code(error)
        self._store.refuse(
            replace(
                row,
                attempt=new_id(self._entropy),
                taxpayer=row.taxpayer or self._taxpayer(row.consent),
                outcome=AnswerStatus.REFUSED,
                field_code=str(code),
                counts={},
                answer=None,
                answer_digest=None,
                manifest_digest=None,
                opening=None,
            ),
            attempt=row.attempt,
        )
        self._submitter.submit(REFUSE, AccessRefuseBody(request=row.request, field_code=code))

    def _taxpayer(self, consent: OwnedId) -> str | None:
        """Return whose consent it is, or None where its artefact is not here or is damaged."""
        try:
            return self._consents.artefact(consent).taxpayer
        except ShuiqiaoError:
            return None

    def _new_row(self, message: RequestMessage, raw: bytes) -> AskedRow:
        now_ms = self._submitter.now_ms()
        return AskedRow(
            request=message.name,
            consent=message.consent_name,
            taxpayer=None,
            recipient=message.sender,
            purpose=str(message.purpose),
            period_from=message.period_from,
            period_to=message.period_to,
            message=raw,
            attempt=new_id(self._entropy),
            asked_ms=now_ms,
            outcome=AnswerStatus.ANSWERING,
            field_code=str(FieldCode.OK),
            answered_ms=now_ms,
            counts={},
        )

    def _usage_entry(self, row: AskedRow) -> UsageEntry:
        message = read_request(row.message, network=self._network, suite=self._suite)
        return UsageEntry(
            request=row.request,
            consent=row.consent,
            recipient=MemberId(message.sender),
            purpose=message.purpose,
            mode=message.mode,
            items=message.items,
            period_from=message.period_from,
            period_to=message.period_to,
            asked_ms=row.asked_ms,
            answered_ms=row.answered_ms,
            outcome=row.outcome,
            field_code=FieldCode(row.field_code),
            records=row.counts,
            model=None if message.model is None else OwnedId(message.model.model),
            outputs=() if message.model is None else tuple(message.model.outputs),
        )


def delivered_changes(store: ProviderStore, *, status_of: LeafLookup) -> Iterator[ChangedRecord]:
    """Yield the records of a provider's delivered answers that were amended or erased since [EXCHANGE-21].

    status_of: a leaf of this provider's.
    """
    for row in store.delivered():
        if row.leaves is not None and row.taxpayer is not None:
            yield from changed_records(
                decode_leaves(row.leaves),
                status_of=status_of,
                request=split_owned_id(row.request)[1],
                other=MemberId(row.recipient),
                taxpayer=row.taxpayer,
            )


def _bounded(disclosure: bytes) -> bytes:
    if len(disclosure) > MAX_DISCLOSURE_BYTES:
        raise InvalidInput(
            "exchange.answer_too_large",
            f"the answer has {len(disclosure)} bytes where at most {MAX_DISCLOSURE_BYTES} are sent",
            next_step="Ask for a shorter period.",
        )
    return disclosure

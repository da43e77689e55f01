"""A bank asks another one what it has lent to applicants who consented at both, and answers such a question itself.

Rule: docs/spec/psi.md [PSI-5] to [PSI-9]. The bank that asks:

1. has a bureau's answer for each applicant, in the mode *exposure*, which is on the ledger;
2. signs a question: those requests, and a commitment to its list;
3. verifies the statement of the other bank, which commits to that one's list;
4. runs the intersection, bound to what both signed;
5. keeps the bands of those whose consent still stands, until the data life of their consent ends.

The bank that is asked believes nothing but its own copy of the ledger: each request was answered by its bureau, in this
mode, and its consent stands. So it knows how many applicants are compared, and the run takes no other number; whom, it
is never told. Its own list is of those who consented at it.

LIMIT: who the enterprise sees in its account is the bank that asks; which banks it asked, that bank alone knows.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, ShuiqiaoError
from shuiqiao.base.ids import ID_BYTES, MemberId, OwnedId, owned_id
from shuiqiao.base.progress import no_progress
from shuiqiao.consent.ceilings import ceiling_of
from shuiqiao.consent.model import Mode, verify_usable
from shuiqiao.consent.service import find_grant
from shuiqiao.exchange.ceilings import data_life_days
from shuiqiao.exchange.model import RequestStatus, request_key
from shuiqiao.exchange.modes.exposure import EXPOSURE_BANDS, MAX_ASKED_BANKS
from shuiqiao.ledger.transactions.document import decode_document, sign_document
from shuiqiao.lending.exposures.evidence import RunEvidence
from shuiqiao.lending.exposures.model import (
    MAX_APPLICANTS,
    MAX_QUESTION_BYTES,
    MAX_STATEMENT_BYTES,
    QUESTION,
    STATEMENT,
    Exposure,
    ExposureQuestion,
    ExposureStatement,
    InputEntry,
    InputList,
    band_of,
    binding_of,
    decode_inputs,
    item_of,
)
from shuiqiao.lending.exposures.store import ExposureRun
from shuiqiao.members.model import Role
from shuiqiao.members.roster import require_role, verify_signed_by

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from shuiqiao.base.ids import Entropy
    from shuiqiao.base.progress import Progress
    from shuiqiao.consent.model import ConsentArtefact
    from shuiqiao.consent.service import ConsentFile
    from shuiqiao.consent.store import ConsentStore
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.exchange.recipient import ProviderLink, Recipient
    from shuiqiao.ledger.transactions.submitter import LedgerSubmitter
    from shuiqiao.lending.exposures.store import ExposureStore
    from shuiqiao.lending.store import LendingStore
    from shuiqiao.privacy.secure.links import SecureLinks

RUN_LIFE_DAYS: Final = 180
"""How long signed questions and statements are kept with what opens their commitments, for an audit."""

MAX_USES: Final = 3
"""How often one request may be used at one bank: a run that broke is tried again."""

UNTIL_BEGUN_S: Final = 30.0
"""How long the other bank may take until it compares."""

_MAX_REQUESTS: Final = 64
"""Of one consent in this mode, at one bank, as many as its frequency allows in its life and more."""

_ANSWERED: Final = (RequestStatus.DELIVERED, RequestStatus.ACKNOWLEDGED)
_SALT_BYTES: Final = 32
_Signed = TypeVar("_Signed", ExposureQuestion, ExposureStatement)


class ExposureWay(Protocol):
    """The ways to bureaus and banks; ``node`` wires it."""

    def provider(self, bureau: MemberId) -> ProviderLink:
        """Return the way to a bureau."""
        ...

    def open_link(self, bank: MemberId) -> None:
        """Open a secure link to a bank; raises as ``node.peers.secure_link.open_link``."""
        ...

    def ask(self, bank: MemberId, question: bytes) -> bytes:
        """Return a bank's signed statement on a question, which begins its half of the run; raises what it refuses."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedExposures:
    """What came of asking one bank. refused: consent and code, of those under which it could not be asked."""

    exposures: tuple[Exposure, ...]
    refused: tuple[tuple[OwnedId, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Applicant:
    consent: OwnedId
    taxpayer: str
    request: bytes
    erase_after_ms: int


class ExposureService:
    """The exposures of one bank, asked and told; any number of threads may ask.

    Example::

        asked = bank.exposures.ask(other_bank, way=way)
        bank.exposures.elsewhere_fen(taxpayer)
    """

    def __init__(
        self,
        *,
        submitter: LedgerSubmitter,
        consents: ConsentFile,
        consent_store: ConsentStore,
        recipient: Recipient,
        lending: LendingStore,
        store: ExposureStore,
        links: Callable[[], SecureLinks],
        key: SigningKey,
        suite: CipherSuite,
        entropy: Entropy,
    ) -> None:
        self._submitter = submitter
        self._consents = consents
        self._consent_store = consent_store
        self._recipient = recipient
        self._lending = lending
        self._store = store
        self._links = links
        self._key = key
        self._suite = suite
        self._entropy = entropy

    # Asking

    def ask(
        self,
        bank: MemberId,
        *,
        way: ExposureWay,
        consents: Sequence[OwnedId] = (),
        progress: Progress = no_progress,
    ) -> AskedExposures:
        """Ask a bank about applicants, once for all of them, and keep what it tells.

        consents: under which; none names all on file that allow it and under which this bank told nothing yet.
        Raises Denied ``members.role_wrong``, ``lending.exposure_nobody``, InvalidInput ``lending.exposure_itself``,
        IntegrityError ``lending.exposure_wrong``, what the first consent was refused with where all of them are, what
        the other bank refuses with, and what ``SecureLinks`` raises. Nothing is kept of a run that fails.
        """
        member = self._submitter.member
        if bank == member:
            raise InvalidInput("lending.exposure_itself", f"{bank} asks other banks, and this is {member}")
        require_role(self._submitter.state(), bank, Role.BANK)
        self.erase_due()
        applicants, refused = self._applicants(bank, consents, way=way, progress=progress)
        progress("compare with the other bank 与对方比对", 0, None)
        question, run = self._question(bank, applicants)
        with self._links().turn(bank):
            bands = self._compared(bank, applicants, question, run, way=way)
        now_ms = self._submitter.now_ms()
        found = tuple(
            Exposure(
                consent=each.consent,
                bank=bank,
                taxpayer=each.taxpayer,
                request=owned_id(member, each.request),
                band=bands.get(place),
                asked_ms=now_ms,
                erase_after_ms=each.erase_after_ms,
            )
            for place, each in enumerate(applicants)
            if self._stands(each.consent)
        )
        self._store.keep(found)
        return AskedExposures(exposures=found, refused=refused)

    def elsewhere_fen(self, taxpayer: str) -> int:
        """Return what other banks told of a taxpayer, the newest of each, added up as a limit counts it."""
        found, now_ms = self._store.of_taxpayer(taxpayer), self._submitter.block_ms()
        newest = {each.bank: each for each in found if each.erase_after_ms > now_ms and self._stands(each.consent)}
        return sum(each.counted_fen for each in newest.values())

    def all(self) -> list[Exposure]:
        """Return all that was told and is kept, oldest first."""
        self.erase_due()
        return self._store.all()

    def erase_due(self) -> int:
        """Erase what came to the end of its life by the time of the newest block; return how many exposures."""
        return self._store.erase_due(now_ms=self._submitter.block_ms())

    def runs(self) -> list[ExposureRun]:
        """Return the runs that are kept, oldest first."""
        self.erase_due()
        return self._store.runs()

    def evidence(self, run: bytes) -> bytes:
        """Return what an auditor verifies of a run [PSI-10].

        Raises Denied ``lending.exposure_run_unknown``, InvalidInput ``lending.exposure_list_malformed``.
        """
        found = self._store.find_run(run)
        if found is None:
            raise Denied("lending.exposure_run_unknown", f"no run {run.hex()[:64]} is kept here")
        named = {OwnedId(each.consent) for each in decode_inputs(found.inputs).entries}
        artefacts = {each: self._consent_store.artefact(each) for each in named}
        return RunEvidence(
            bank=self._submitter.member,
            question=found.question,
            statement=found.statement,
            inputs=found.inputs,
            artefacts={name: artefact.raw for name, artefact in artefacts.items() if artefact is not None},
        ).encode()

    def _applicants(
        self, bank: MemberId, consents: Sequence[OwnedId], *, way: ExposureWay, progress: Progress
    ) -> tuple[list[_Applicant], tuple[tuple[OwnedId, str], ...]]:
        """Return whom it is asked about, each once, with a request that a bureau answered."""
        wanted = list(dict.fromkeys(consents)) or self._not_asked_yet(bank)
        found, refused, first = dict[str, _Applicant](), list[tuple[OwnedId, str]](), None
        for place, consent in enumerate(wanted[:MAX_APPLICANTS]):
            progress("ask the bureaus 向税务局请求", place, len(wanted))
            try:
                applicant = self._applicant(bank, consent, way=way)
            except (Denied, Conflict, InvalidInput) as error:
                first = first or error
                refused.append((consent, error.code))
            else:
                found.setdefault(applicant.taxpayer, applicant)
        if not found:
            raise first or Denied(
                "lending.exposure_nobody",
                f"no consent on file lets this bank ask {bank} about anybody new",
            )
        return list(found.values()), tuple(refused)

    def _not_asked_yet(self, bank: MemberId) -> list[OwnedId]:
        known = {each.consent for each in self._store.all() if each.bank == bank}
        return [each.name for each in self._allowing() if each.name not in known]

    def _allowing(self) -> Iterable[ConsentArtefact]:
        """Yield the artefacts on file that allow it and whose consents stand now."""
        for consent in self._consent_store.consents():
            with suppress(Denied):
                artefact = self._consents.artefact(consent)
                if Mode.EXPOSURE in artefact.modes and self._stands(consent):
                    self._consents.verify_standing(artefact)
                    yield artefact

    def _stands(self, consent: OwnedId) -> bool:
        try:
            verify_usable(find_grant(self._submitter.state(), consent), now_ms=self._submitter.latest_ms())
        except Denied:
            return False
        return True

    def _applicant(self, bank: MemberId, consent: OwnedId, *, way: ExposureWay) -> _Applicant:
        """Return an applicant with a request that may be used at a bank, made where there is none."""
        artefact = self._consents.artefact(consent)
        request = self._request(bank, consent)
        sent = self._recipient.request(self._recipient.exposure(consent), request=request)
        if self._recipient.status(request) is not RequestStatus.ACKNOWLEDGED:
            self._recipient.receive(request, self._recipient.ask(sent, provider=way.provider(sent.provider)))
        days = data_life_days(artefact, ceiling=ceiling_of(artefact, self._submitter.state()))
        return _Applicant(
            consent=consent,
            taxpayer=artefact.taxpayer,
            request=request,
            erase_after_ms=self._submitter.latest_ms() + days * MS_PER_DAY,
        )

    def _request(self, bank: MemberId, consent: OwnedId) -> bytes:
        """Return the id of the first request of a consent that was not used up: the ids follow from the consent."""
        for number in range(_MAX_REQUESTS):
            request = sha256(f"exposure {consent} {number}".encode()).digest()[:ID_BYTES]
            status = self._recipient.status(request)
            if status in {RequestStatus.REFUSED, RequestStatus.DESTROYED}:
                continue
            banks = self._store.used_with(owned_id(self._submitter.member, request))
            if bank not in banks and len(banks) < MAX_ASKED_BANKS:
                return request
        raise Denied("exchange.frequency_exceeded", f"consent {consent} was used {_MAX_REQUESTS} times in this mode")

    def _question(self, bank: MemberId, applicants: Sequence[_Applicant]) -> tuple[bytes, ExposureRun]:
        entries = [InputEntry(consent=e.consent, taxpayer=e.taxpayer, request=e.request) for e in applicants]
        inputs = self._inputs(entries)
        question = ExposureQuestion(
            asks=self._submitter.member,
            asked=bank,
            requests=[each.request for each in applicants],
            inputs=self._suite.digest(inputs),
            made_ms=self._submitter.now_ms(),
        )
        signed = self._signed(question, name=QUESTION)
        return signed, self._run(signed, other=bank, inputs=inputs)

    def _compared(
        self, bank: MemberId, applicants: Sequence[_Applicant], question: bytes, run: ExposureRun, *, way: ExposureWay
    ) -> dict[int, int]:
        """Return the bands that were told, by the place of the applicant."""
        if not self._links().is_ours(bank):
            way.open_link(bank)
        network = self._submitter.parameters.network
        items = [item_of(each.taxpayer, band, network=network) for each in applicants for band in range(EXPOSURE_BANDS)]
        try:
            statement = way.ask(bank, question)
            self._verify_statement(statement, bank=bank, question=question)
            self._store.add_run(replace(run, statement=statement))
            places = self._links().intersect(bank, items, binding=binding_of(question, statement), wait_s=UNTIL_BEGUN_S)
        except BaseException:
            self._links().give_up(bank)
            raise
        bands = dict(divmod(place, EXPOSURE_BANDS) for place in places)
        if len(bands) != len(places):
            raise IntegrityError("lending.exposure_wrong", f"{bank} told more than one band of one applicant")
        return bands

    def _verify_statement(self, raw: bytes, *, bank: MemberId, question: bytes) -> None:
        found = self._decoded(raw, ExposureStatement, name=STATEMENT, by=bank, max_bytes=MAX_STATEMENT_BYTES)
        expected = (bank, self._submitter.member, self._suite.digest(question))
        if (found.asked, found.asks, found.question) != expected:
            raise IntegrityError("lending.exposure_wrong", f"what {bank} signed answers another question")

    # Being asked

    def answer(self, raw: bytes, sender: MemberId) -> bytes:
        """Return this bank's signed statement on a question, and begin its half of the run beside it.

        Raises Denied ``members.role_wrong``, ``lending.exposure_request_wrong``, Conflict
        ``lending.exposure_repeated``, Unavailable ``privacy.secure_link_missing``, ``ledger.copy_old``, IntegrityError
        ``lending.exposure_wrong``, and what the document is refused with.
        """
        self.erase_due()
        require_role(self._submitter.state(), sender, Role.BANK)
        question = self._decoded(raw, ExposureQuestion, name=QUESTION, by=sender, max_bytes=MAX_QUESTION_BYTES)
        if (question.asks, question.asked) != (sender, self._submitter.member):
            raise IntegrityError("lending.exposure_wrong", f"{sender} handed in a question of {question.asks}")
        names = [owned_id(sender, each) for each in question.requests]
        # A copy that is cut off knows of no withdrawal.
        self._submitter.require_recent()
        self._verify_requests(names)
        self._links().require_asked(sender)
        entries = self._own_entries()
        inputs = self._inputs(entries)
        statement = ExposureStatement(
            asked=self._submitter.member,
            asks=sender,
            question=self._suite.digest(raw),
            inputs=self._suite.digest(inputs),
            made_ms=self._submitter.now_ms(),
        )
        signed = self._signed(statement, name=STATEMENT)
        self._store.add_run(replace(self._run(raw, other=sender, inputs=inputs), statement=signed), uses=names)
        network = self._submitter.parameters.network
        items = [item_of(each.taxpayer, each.band or 0, network=network) for each in entries]
        self._begin(sender, items, binding=binding_of(raw, signed), theirs=len(names) * EXPOSURE_BANDS)
        return signed

    def _begin(self, sender: MemberId, items: list[bytes], *, binding: bytes, theirs: int) -> None:
        """Do this bank's half beside the answer; what becomes of it is told to the one that asked, and nobody here."""

        def run() -> None:
            with suppress(ShuiqiaoError):
                self._links().intersect(sender, items, binding=binding, theirs=theirs, wait_s=UNTIL_BEGUN_S)

        threading.Thread(target=run, name="exposure", daemon=True).start()

    def _verify_requests(self, names: Sequence[OwnedId]) -> None:
        """[PSI-7]: each was answered by its bureau in this mode, under a consent that stands, and is not used up."""
        if len(set(names)) != len(names):
            raise Denied("lending.exposure_request_wrong", "the question names a request twice")
        state = self._submitter.state()
        for name in names:
            entry = state.get(request_key(name))
            if entry is None or entry["mode"] != Mode.EXPOSURE or entry["status"] not in _ANSWERED:
                raise Denied(
                    "lending.exposure_request_wrong",
                    f"request {name} is not on the ledger as one that a bureau answered in the mode {Mode.EXPOSURE}",
                )
            verify_usable(find_grant(state, OwnedId(entry["consent"])), now_ms=self._submitter.latest_ms())
        if self._store.most_uses(names) >= MAX_USES:
            raise Conflict("lending.exposure_repeated", f"a request of the question was used {MAX_USES} times here")

    def _own_entries(self) -> list[InputEntry]:
        """Return whom this bank has lent to and who lets it say so, each once, with the band."""
        amounts = self._lending.approved_fen()
        found = {
            each.taxpayer: InputEntry(consent=each.name, taxpayer=each.taxpayer, band=band_of(amounts[each.taxpayer]))
            for each in self._allowing()
            if amounts.get(each.taxpayer)
        }
        return list(found.values())

    # Both

    def _inputs(self, entries: list[InputEntry]) -> bytes:
        return InputList(salt=self._entropy(_SALT_BYTES), entries=entries).encode()

    def _run(self, question: bytes, *, other: MemberId, inputs: bytes) -> ExposureRun:
        now_ms = self._submitter.latest_ms()
        return ExposureRun(
            run=sha256(question).digest(),
            other=other,
            question=question,
            statement=b"",
            inputs=inputs,
            made_ms=now_ms,
            erase_after_ms=now_ms + RUN_LIFE_DAYS * MS_PER_DAY,
        )

    def _signed(self, body: ExposureQuestion | ExposureStatement, *, name: str) -> bytes:
        network = self._submitter.parameters.network
        return sign_document(body, name=name, network=network, suite=self._suite, keys=(self._key,))

    def _decoded(self, raw: bytes, kind: type[_Signed], *, name: str, by: MemberId, max_bytes: int) -> _Signed:
        document = decode_document(
            raw,
            kind,
            name=name,
            network=self._submitter.parameters.network,
            suite=self._suite,
            max_bytes=max_bytes,
        )
        verify_signed_by(document, member=by, state=self._submitter.state(), suite=self._suite, is_recorded=False)
        return document.body

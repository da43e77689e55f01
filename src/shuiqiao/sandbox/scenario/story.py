"""The run: every step of the Bank-Tax Interaction on real nodes, in order, timed, and checked at the end.

    found -> ingest -> enrol -> consent and develop the model -> apply and decide -> people decide what was referred
    -> refusals -> tampering -> audit -> statistics and receipts -> one applicant in each mode

Nothing is simulated but the people: keys, ledger, vault, proofs and decisions are the product's own.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from shuiqiao.base.clock import Clock, SystemClock
from shuiqiao.base.durable import replace_file
from shuiqiao.base.errors import Denied
from shuiqiao.base.files import share_file
from shuiqiao.base.ids import Entropy, MemberId, OwnedId, system_entropy
from shuiqiao.base.progress import Progress
from shuiqiao.consent.ceilings import longest_period
from shuiqiao.consent.model import Purpose
from shuiqiao.credit.development import DevelopedModel, develop_model
from shuiqiao.credit.model_content import encode_content, read_outputs
from shuiqiao.crypto.model import SuiteName
from shuiqiao.exchange.model import DataRequest
from shuiqiao.exchange.recipient import ReceivedData
from shuiqiao.features.inputs import least_items
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
from shuiqiao.lending.assessment import Assessor
from shuiqiao.lending.catalogue import load_products
from shuiqiao.lending.file import Step
from shuiqiao.lending.model import ApplicantFile, Application, Decision, Outcome, Product
from shuiqiao.lending.processing import ApplicationProcess, Surroundings
from shuiqiao.lending.review import propose_decision
from shuiqiao.node.auditing import audit_institution
from shuiqiao.node.institution import Institution
from shuiqiao.oversight.audit import AuditReport
from shuiqiao.oversight.model import Release
from shuiqiao.oversight.openings import OpenedDecisions
from shuiqiao.oversight.statistics import transactions_by_kind
from shuiqiao.sandbox.scenario.consortium import (
    BANKS,
    EMBEDDED,
    LEAD_BANK,
    REGULATOR,
    Consortium,
    RunEngine,
    create_consortium,
    open_consortium,
)
from shuiqiao.sandbox.scenario.enterprises import BureauLink, EnterpriseOwner, OpeningLink, Terms
from shuiqiao.sandbox.scenario.modes import (
    AT_SOURCE,
    BLIND,
    DISCLOSE,
    PREDICATES,
    PROVE,
    SECURE,
    Learning,
    ModesApplicant,
    ModesShown,
    known_to,
    show_modes,
)
from shuiqiao.sandbox.scenario.outvoting import outvote_cheat
from shuiqiao.sandbox.scenario.population import RunData
from shuiqiao.sandbox.scenario.refusals import try_refusals
from shuiqiao.sandbox.scenario.result import NetworkChecks, TamperStory
from shuiqiao.sandbox.scenario.scene import Scene
from shuiqiao.sandbox.scenario.tampering import try_tampering
from shuiqiao.sandbox.scenario.unseen import UnseenTerms, lend_unseen

if TYPE_CHECKING:
    from collections.abc import Generator

    from shuiqiao.vault.model import IngestReport

Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """What a run is asked to do. folder: an empty folder for homes, receipts and the report."""

    suite: SuiteName
    folder: Path
    seed: int
    data: RunData
    progress: Progress
    engine: RunEngine = EMBEDDED
    clock: Clock = field(default_factory=SystemClock)
    entropy: Entropy = system_entropy


@dataclass(frozen=True, slots=True, kw_only=True)
class DecidedApplication:
    """One applicant's application and what the rules decided. milliseconds: from application to durable record."""

    owner: EnterpriseOwner
    bank: MemberId
    application: Application
    received: ReceivedData
    decision: Decision
    milliseconds: float


@dataclass(slots=True, kw_only=True)
class Run:
    """A run under way: its open institutions, and what it has come to so far."""

    settings: RunSettings
    consortium: Consortium
    links: dict[MemberId, BureauLink]
    """Each bank's way to the bureau."""
    step_seconds: dict[str, float] = field(default_factory=dict[str, float])
    refusals: Counter[str] = field(default_factory=Counter[str])

    @contextmanager
    def step(self, name: str) -> Generator[None]:
        """Time a step and tell its name."""
        self.settings.progress(name, 0, None)
        started = time.perf_counter()
        yield
        self.step_seconds[name] = round(time.perf_counter() - started, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedRun:
    """Everything that the result and the report are made of."""

    run: Run
    ingest: IngestReport
    model: DevelopedModel
    development: tuple[ReceivedData, ...]
    """The records of the loan book that the model was developed on."""
    decided: tuple[DecidedApplication, ...]
    bytes_disclosed: int
    """Of all answers that carried records for model development and decisions."""
    tamper: tuple[TamperStory, ...]
    audit: AuditReport
    opened: OpenedDecisions
    release: Release
    """What the regulator published of the decisions."""
    transactions_by_kind: Mapping[str, int]
    checkpoint: Checkpoint
    """The bureau's newest when the main job was done."""
    heights: Mapping[str, int]
    """Member -> blocks in its own copy then."""
    modes: ModesShown
    """One applicant in each mode, after all others were counted."""
    network: NetworkChecks | None


def run_scenario(settings: RunSettings, *, conclude: Callable[[FinishedRun], Found]) -> Found:
    """Run the whole scenario and return what ``conclude`` makes of it while the institutions are still open."""
    prepared = create_consortium(
        settings.folder,
        suite_name=settings.suite,
        clock=settings.clock,
        entropy=settings.entropy,
        engine=settings.engine,
    )
    replace_file(settings.folder / "genesis.json", prepared.genesis, mode=None)
    share_file(settings.folder / "genesis.json")
    with open_consortium(prepared, clock=settings.clock, entropy=settings.entropy) as consortium:
        links = {name: BureauLink(bank, consortium.bureau) for name, bank in consortium.banks.items()}
        finished = conclude(_main_job(Run(settings=settings, consortium=consortium, links=links)))
        if prepared.network is None:
            # The homes stay: each has a checkpoint of its own copy that counts, so that its log can be published.
            consortium.settle()
        return finished


def _main_job(run: Run) -> FinishedRun:
    """Lend: from the bureau's records to decisions on the ledger, then check it all."""
    data = run.settings.data
    product = load_products()[data.product]
    with run.step("ingest and anchor 入库锚定"):
        ingest = _ingest(run)
    with run.step("enrol enterprises 企业登记"):
        owners = _enrol(run)
    record_types = {file.record_type for file in data.population.record_files}
    terms = Terms(
        product=product.id,
        items=least_items(run.consortium.bureau.catalogue, record_types=record_types),
        period=longest_period(Purpose.UNDERWRITING, last=data.population.as_of),
    )
    with run.step("consent for model development 建模授权与取数"):
        development = _receive_loan_book(run, owners, terms)
    with run.step("develop and validate the model 建模与验证"):
        model = _develop(run, development)
    assessor = Assessor(
        product,
        model=model,
        churn=data.population.churn,
        as_of=data.population.as_of,
        digest=run.consortium.bureau.suite.digest,
    )
    with run.step("apply and decide 申请与审批"), assessor:
        decided = _decide_all(run, owners, terms, product=product, assessor=assessor)
    with run.step("people decide what was referred 人工审批"):
        _review(run, decided, product=product)
    bytes_disclosed = sum(sum(link.answer_bytes) for link in run.links.values())
    return _check(
        run, terms, ingest=ingest, model=model, development=development, decided=decided, size=bytes_disclosed
    )


def _check(
    run: Run,
    terms: Terms,
    *,
    ingest: IngestReport,
    model: DevelopedModel,
    development: tuple[ReceivedData, ...],
    decided: tuple[DecidedApplication, ...],
    size: int,
) -> FinishedRun:
    """Try what must be refused, tamper, audit, count."""
    consortium = run.consortium
    tamper = _try_what_must_fail(run, terms, _typical(decided))
    with run.step("audit from genesis 重放审计"):
        consortium.settle()
        _end_files(run)
        audit = audit_institution(consortium.regulator, visited=consortium.bureau, live=consortium.bureau.engine)
    with run.step("statistics and receipts 统计与回执"):
        regulator = consortium.regulator
        opened = regulator.opened_decisions()
        release = regulator.statistics.publish(opened.decisions)
        by_kind = transactions_by_kind(regulator.engine, kinds=regulator.kinds)
        checkpoint = consortium.bureau.engine.checkpoint()
        heights = {str(member.member): member.engine.last_block()[0] for member in consortium.followers}
    return FinishedRun(
        run=run,
        ingest=ingest,
        model=model,
        development=development,
        decided=decided,
        bytes_disclosed=size,
        tamper=tamper,
        audit=audit,
        opened=opened,
        release=release,
        transactions_by_kind=by_kind,
        checkpoint=checkpoint,
        heights=heights,
        modes=_show_modes(run, terms, _typical(decided), model=model),
        network=_outvote(run),
    )


def _try_what_must_fail(run: Run, terms: Terms, chosen: DecidedApplication) -> tuple[TamperStory, ...]:
    """Let one applicant and its bank, or the bureau, do what must be refused or found out."""
    banks = run.consortium.banks
    with TemporaryDirectory(prefix="shuiqiao-tamper-") as scratch:
        scene = Scene(
            consortium=run.consortium,
            owner=chosen.owner,
            bank=banks[chosen.bank],
            other_bank=next(bank for member, bank in banks.items() if member != chosen.bank),
            terms=terms,
            received=chosen.received,
            scratch=Path(scratch),
        )
        with run.step("refusals 应拒绝的行为"):
            run.refusals.update(try_refusals(scene))
        with run.step("tampering 篡改检验"):
            tamper = try_tampering(scene)
    run.refusals.update(story.code for story in tamper if story.check.endswith("_refused") and story.caught)
    return tamper


def _end_files(run: Run) -> None:
    """Let every bank give the regulator what it sealed to it, once the regulator's copy has the decisions."""
    for bank in run.consortium.banks.values():
        process = bank.application_process(_surroundings(run, bank))
        for application in process.open_applications():
            process.process(application)


def _show_modes(run: Run, terms: Terms, chosen: DecidedApplication, *, model: DevelopedModel) -> ModesShown:
    """Let an applicant that showed its records to one bank be lent to by another that sees none, then use each mode."""
    bank = next(bank for member, bank in run.consortium.banks.items() if member not in {chosen.bank, LEAD_BANK})
    population, owner = run.settings.data.population, chosen.owner
    card = model.card_for(owner.applicant.uscc)
    learning = Learning(known_to(run.consortium.bureau.leakage, owner.applicant.uscc))
    learning.note(DISCLOSE)
    with run.step("one applicant without records 可用不可见审批"):
        lend_unseen(
            run.consortium,
            owner,
            bank=bank,
            terms=UnseenTerms(
                card=card,
                churn=population.churn,
                as_of=population.as_of,
                period=terms.period,
                amount_fen=chosen.application.amount_fen,
            ),
        )
        learning.note(AT_SOURCE)
    with run.step("one applicant in the other modes 其他隐私方式"):
        applicant = ModesApplicant(
            consortium=run.consortium,
            owner=owner,
            content=encode_content(read_outputs({"points": True}, card=card)),
            as_of=population.as_of,
        )
        return show_modes(applicant, (BLIND, SECURE, PROVE, PREDICATES), banks=(bank,), learning=learning)


def _outvote(run: Run) -> NetworkChecks | None:
    """Let one validator alter its copy; with the embedded engine there is none."""
    network = run.consortium.prepared.network
    if network is None:
        return None
    with run.step("one validator cheats 一个验证节点作弊"), TemporaryDirectory(prefix="shuiqiao-outvote-") as scratch:
        return outvote_cheat(run.consortium, network=network, scratch=Path(scratch))


def _ingest(run: Run) -> IngestReport:
    bureau = run.consortium.bureau
    return bureau.vault.ingest([file.path for file in run.settings.data.population.record_files], anchor=bureau.outbox)


def _enrol(run: Run) -> tuple[EnterpriseOwner, ...]:
    owners = tuple(
        EnterpriseOwner(applicant, bureau=run.consortium.bureau, entropy=run.settings.entropy)
        for applicant in run.settings.data.population.applicants
    )
    for owner in owners:
        owner.enrol()
    return owners


def _receive_loan_book(run: Run, owners: Sequence[EnterpriseOwner], terms: Terms) -> tuple[ReceivedData, ...]:
    """Let every enterprise in the lead bank's loan book consent to model development, and receive its records."""
    lead = run.consortium.banks[LEAD_BANK]
    wanted = terms.consent(LEAD_BANK, purpose=Purpose.MODEL_DEVELOPMENT)

    def receive_one(owner: EnterpriseOwner) -> ReceivedData:
        consent = owner.consent(wanted, bank=lead).artefact.name
        return lead.recipient.obtain(_request(terms, consent), provider=run.links[LEAD_BANK])

    borrowers = [owner for owner in owners if owner.applicant.defaulted is not None]
    return _concurrently(run, "enterprises in the loan book", receive_one, borrowers)


def _develop(run: Run, development: Sequence[ReceivedData]) -> DevelopedModel:
    population = run.settings.data.population
    outcomes = {
        str(applicant.uscc): applicant.defaulted
        for applicant in population.applicants
        if applicant.defaulted is not None
    }
    return develop_model(
        [received.tables for received in development],
        outcomes=outcomes,
        as_of=population.as_of,
        seed=run.settings.seed,
    )


def _decide_all(
    run: Run, owners: Sequence[EnterpriseOwner], terms: Terms, *, product: Product, assessor: Assessor
) -> tuple[DecidedApplication, ...]:
    processes = {
        name: bank.application_process(_surroundings(run, bank, assessor=assessor))
        for name, bank in run.consortium.banks.items()
    }

    def decide_one(place: int) -> DecidedApplication:
        name = BANKS[place % len(BANKS)]
        return _apply_and_decide(
            run, owners[place], run.consortium.banks[name], place=place, terms=terms, product=product,
            process=processes[name],
        )  # fmt: skip

    return _concurrently(run, "applications decided", decide_one, range(len(owners)))


def _apply_and_decide(
    run: Run,
    owner: EnterpriseOwner,
    bank: Institution,
    *,
    place: int,
    terms: Terms,
    product: Product,
    process: ApplicationProcess,
) -> DecidedApplication:
    """Take one applicant from consent to decision at a bank, or to a person; raises what any party refuses with.

    Timed from the application to the durable decision; the enterprise's own time to sign is not.
    """
    data, applicant = run.settings.data, owner.applicant
    consent = owner.consent(terms.consent(bank.member, purpose=Purpose.UNDERWRITING), bank=bank).artefact.name
    started = time.perf_counter()
    application = bank.lending.receive(
        product,
        taxpayer=applicant.uscc,
        consent=consent,
        amount_fen=data.requested_fen(place),
        applicant=ApplicantFile(
            papers=data.papers.get(applicant.uscc, ()),
            other_debt_fen=0 if applicant.bank_view is None else applicant.bank_view.other_debt_fen,
            industry=applicant.section,
            province=applicant.province_code,
        ),
    )
    processed = process.process(application.id, until=Step.DECIDED)
    milliseconds = (time.perf_counter() - started) * 1000
    received, judgement = processed.received, processed.file.judgement
    if received is None or judgement is None:
        raise Denied("sandbox.application_ended", f"application {application.id.hex()} ended without a decision")
    return DecidedApplication(
        owner=owner,
        bank=bank.member,
        application=application,
        received=received,
        decision=judgement.decision,
        milliseconds=milliseconds,
    )


def _surroundings(run: Run, bank: Institution, *, assessor: Assessor | None = None) -> Surroundings:
    """Return whom a bank of the run works with. assessor: None where everything is assessed already."""

    def assessor_of(product: str) -> Assessor:
        if assessor is None:
            raise Denied("sandbox.application_ended", f"an application for {product} was never assessed")
        return assessor

    return Surroundings(
        provider=lambda _provider: run.links[bank.member],
        product=load_products().__getitem__,
        assessor=assessor_of,
        regulator=lambda: REGULATOR,
        regulator_link=OpeningLink(bank, run.consortium.regulator) if assessor is None else None,
    )


def _review(run: Run, decided: Sequence[DecidedApplication], *, product: Product) -> None:
    """Let two persons of each bank decide what its product's rules referred: half of what could be offered, or no."""
    for each in decided:
        if each.decision.outcome is Outcome.REFERRED:
            bank = run.consortium.banks[each.bank]
            process = bank.application_process(_surroundings(run, bank))
            file = process.process(each.application.id, until=Step.ASSESSED).file
            half_fen = 0 if file.judgement is None else file.judgement.offered_fen // 2
            is_enough = half_fen >= product.limit.floor_fen
            proposal = propose_decision(
                file,
                product=product,
                outcome=Outcome.APPROVED if is_enough else Outcome.REFUSED,
                reason="half of the offer for a first year" if is_enough else "too little is left to lend",
                limit_fen=half_fen,
            )
            bank.lending.review(
                each.application.id, proposal, product=product, maker="loan-officer", checker="credit-officer"
            )
            process.process(each.application.id, until=Step.DECIDED)


def _request(terms: Terms, consent: OwnedId) -> DataRequest:
    first, last = terms.period
    return DataRequest(consent=consent, items=terms.items, period_from=first, period_to=last)


def _concurrently(run: Run, name: str, act: Callable[[Item], Found], items: Sequence[Item]) -> tuple[Found, ...]:
    """Do an act for every item, a few at a time, in order; the first failure ends the run."""
    done: list[Found] = []
    with ThreadPoolExecutor(max_workers=run.consortium.prepared.applicants_at_once) as pool:
        for found in pool.map(act, items):
            done.append(found)
            run.settings.progress(name, len(done), len(items))
    return tuple(done)


def _typical(decided: Sequence[DecidedApplication]) -> DecidedApplication:
    """Return an applicant with a middling number of records, so that tampering is neither trivial nor slow."""
    ordered = sorted(decided, key=lambda each: each.received.records.record_count)
    with_sales = [each for each in ordered if each.received.tables["invoice_issued"].num_rows > 1]
    return with_sales[len(with_sales) // 2]

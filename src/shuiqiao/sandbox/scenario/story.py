"""The run: every step of the Bank-Tax Interaction on real nodes, in order, timed, and checked at the end.

    found -> ingest -> enrol -> consent and develop the model -> apply and decide -> refusals -> tampering -> audit
    -> statistics and receipts

Nothing is simulated but the people: keys, ledger, vault, proofs and decisions are the product's own.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, TypeVar

from shuiqiao.base.clock import Clock, SystemClock
from shuiqiao.base.durable import replace_file
from shuiqiao.base.files import share_file
from shuiqiao.base.ids import Entropy, system_entropy
from shuiqiao.base.progress import Progress
from shuiqiao.consent.model import Purpose
from shuiqiao.crypto.model import SuiteName
from shuiqiao.features.engine import FeatureEngine
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
from shuiqiao.lending.catalogue import load_products
from shuiqiao.node.auditing import audit_institution
from shuiqiao.oversight.audit import AuditReport
from shuiqiao.oversight.model import Release
from shuiqiao.oversight.openings import OpenedDecisions
from shuiqiao.oversight.statistics import transactions_by_kind
from shuiqiao.sandbox.scenario.cast import BANKS, LEAD_BANK, Consortium, create_consortium, open_consortium
from shuiqiao.sandbox.scenario.development import DevelopedModel, develop_model
from shuiqiao.sandbox.scenario.enterprises import EnterpriseOwner, Wish
from shuiqiao.sandbox.scenario.evidence import Evidence, gather, minimum_items
from shuiqiao.sandbox.scenario.journey import RULE_FEATURES, Journey, Underwriting, travel
from shuiqiao.sandbox.scenario.outvoting import play_outvoting
from shuiqiao.sandbox.scenario.population import RunData
from shuiqiao.sandbox.scenario.refusals import RefusalScene, try_refusals
from shuiqiao.sandbox.scenario.result import NetworkChecks, TamperStory
from shuiqiao.sandbox.scenario.tamper_scene import TamperScene
from shuiqiao.sandbox.scenario.tampering import play_tampering
from shuiqiao.sandbox.scenario.validators import EMBEDDED, Order

if TYPE_CHECKING:
    from collections.abc import Generator

    from shuiqiao.vault.model import IngestReport

FEATURE_ENGINES = 2
"""Applicants whose features are computed at once; the others under way wait for a block, or for an engine."""

PERIOD_YEARS = 5
"""Underwriting and model development may look back 60 months."""

_MONTHS_PER_YEAR = 12

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
    order: Order = EMBEDDED
    clock: Clock = field(default_factory=SystemClock)
    entropy: Entropy = system_entropy


@dataclass(slots=True, kw_only=True)
class Run:
    """What happened, step by step, as far as the run has come."""

    settings: RunSettings
    consortium: Consortium
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
class Outcome:
    """Everything that the result and the report are made of."""

    run: Run
    ingest: IngestReport
    model: DevelopedModel
    development: tuple[Evidence, ...]
    journeys: tuple[Journey, ...]
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
    network: NetworkChecks | None


def play(settings: RunSettings, *, tell: Callable[[Outcome], Found]) -> Found:
    """Play the whole scenario and return what ``tell`` makes of it while the institutions are still open."""
    stage = create_consortium(
        settings.folder,
        suite_name=settings.suite,
        clock=settings.clock,
        entropy=settings.entropy,
        order=settings.order,
    )
    replace_file(settings.folder / "genesis.json", stage.genesis, mode=None)
    share_file(settings.folder / "genesis.json")
    with (
        open_consortium(stage, clock=settings.clock, entropy=settings.entropy) as consortium,
        ExitStack() as stack,
    ):
        return tell(_play(Run(settings=settings, consortium=consortium), stack))


def _play(run: Run, stack: ExitStack) -> Outcome:
    """Play every step; what is opened on the way is closed with the stack."""
    data = run.settings.data
    with run.step("ingest and anchor 入库锚定"):
        report = _ingest(run)
    with run.step("enrol enterprises 企业登记"):
        owners = _enrol(run)
    period = _period(data.population.as_of)
    items = minimum_items(
        run.consortium.bureau.catalogue,
        available=frozenset(file.record_type for file in data.population.record_files),
    )
    with run.step("consent for model development 建模授权与取数"):
        development = _gather_loan_book(run, owners, items=items, period=period)
    with run.step("develop and validate the model 建模与验证"):
        model = _develop(run, development)
    terms = Underwriting(
        bureau=run.consortium.bureau,
        product=load_products()[data.product],
        items=items,
        period=period,
        as_of=data.population.as_of,
        engines=_underwriting_engines(model, stack),
        model=model,
        churn=data.churn,
        papers=data.papers,
    )
    with run.step("apply and decide 申请与审批"):
        journeys = _decide(run, owners, terms)
    return _check(run, terms, journeys, _Before(ingest=report, model=model, development=development))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Before:
    ingest: IngestReport
    model: DevelopedModel
    development: tuple[Evidence, ...]


def _check(run: Run, terms: Underwriting, journeys: tuple[Journey, ...], before: _Before) -> Outcome:
    """Try what must be refused, tamper, audit, count."""
    consortium = run.consortium
    chosen = _typical(journeys)
    bank = consortium.banks[chosen.bank]
    other = next(found for member, found in consortium.banks.items() if member != chosen.bank)
    owner = chosen.owner
    with run.step("refusals 应拒绝的行为"):
        scene = RefusalScene(consortium=consortium, owner=owner, bank=bank, other_bank=other, terms=terms)
        run.refusals.update(try_refusals(scene))
    with run.step("tampering 篡改检验"), TemporaryDirectory(prefix="shuiqiao-tamper-") as scratch:
        tamper = play_tampering(
            TamperScene(
                consortium=consortium,
                owner=owner,
                bank=bank,
                terms=terms,
                evidence=chosen.evidence,
                scratch=Path(scratch),
            )
        )
    run.refusals.update(story.code for story in tamper if story.check.endswith("_refused") and story.caught)
    with run.step("audit from genesis 重放审计"):
        consortium.settle()
        _hand_in_openings(consortium)
        bureau = consortium.bureau
        audit = audit_institution(consortium.regulator, visited=bureau, live=bureau.engine)
    with run.step("statistics and receipts 统计与回执"):
        regulator = consortium.regulator
        opened = regulator.opened_decisions()
        release = regulator.statistics.publish(opened.decisions)
        by_kind = transactions_by_kind(regulator.engine, kinds=regulator.kinds)
        checkpoint = consortium.bureau.engine.checkpoint()
        heights = {str(member.member): member.engine.last_block()[0] for member in consortium.followers}
    network = _outvote(run)
    return Outcome(
        run=run,
        ingest=before.ingest,
        model=before.model,
        development=before.development,
        journeys=journeys,
        tamper=tamper,
        audit=audit,
        opened=opened,
        release=release,
        transactions_by_kind=by_kind,
        checkpoint=checkpoint,
        heights=heights,
        network=network,
    )


def _hand_in_openings(consortium: Consortium) -> None:
    """Let every bank give the regulator what it sealed to it, once the regulator's copy has the decisions."""
    for bank in consortium.banks.values():
        for application, sealed in bank.lending_desk.sealed_openings().items():
            consortium.regulator.openings.receive(application, bank=bank.member, sealed=sealed)


def _outvote(run: Run) -> NetworkChecks | None:
    """Let one validator alter its copy; with the embedded engine there is none."""
    network = run.consortium.stage.network
    if network is None:
        return None
    with run.step("one validator cheats 一个验证节点作弊"), TemporaryDirectory(prefix="shuiqiao-outvote-") as scratch:
        return play_outvoting(run.consortium, network=network, scratch=Path(scratch))


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


def _gather_loan_book(
    run: Run, owners: Sequence[EnterpriseOwner], *, items: dict[str, list[str]], period: tuple[date, date]
) -> tuple[Evidence, ...]:
    lead = run.consortium.banks[LEAD_BANK]

    def gather_one(owner: EnterpriseOwner) -> Evidence:
        wish = Wish(
            recipient=LEAD_BANK,
            purpose=Purpose.MODEL_DEVELOPMENT,
            items=items,
            period_from=period[0],
            period_to=period[1],
            product="model-development",
        )
        consent = owner.consent(wish, bank=lead).artefact.name
        return gather(lead, bureau=run.consortium.bureau, consent=consent, items=items, period=period)

    borrowers = [owner for owner in owners if owner.applicant.defaulted is not None]
    return _concurrently(run, "enterprises in the loan book", gather_one, borrowers)


def _develop(run: Run, development: Sequence[Evidence]) -> DevelopedModel:
    population = run.settings.data.population
    outcomes = {
        str(applicant.uscc): applicant.defaulted
        for applicant in population.applicants
        if applicant.defaulted is not None
    }
    return develop_model(
        [evidence.tables for evidence in development],
        outcomes=outcomes,
        as_of=population.as_of,
        seed=run.settings.seed,
    )


def _decide(run: Run, owners: Sequence[EnterpriseOwner], terms: Underwriting) -> tuple[Journey, ...]:
    def decide_one(place: int) -> Journey:
        bank = run.consortium.banks[BANKS[place % len(BANKS)]]
        amount_fen = run.settings.data.requested_fen(place)
        return travel(owners[place], bank=bank, terms=terms, amount_fen=amount_fen)

    return _concurrently(run, "applications decided", decide_one, range(len(owners)))


def _concurrently(run: Run, name: str, act: Callable[[Item], Found], items: Sequence[Item]) -> tuple[Found, ...]:
    """Do an act for every item, a few at a time, in order; the first failure ends the run."""
    done: list[Found] = []
    with ThreadPoolExecutor(max_workers=run.consortium.stage.applicants_at_once) as pool:
        for found in pool.map(act, items):
            done.append(found)
            run.settings.progress(name, len(done), len(items))
    return tuple(done)


def _underwriting_engines(model: DevelopedModel, stack: ExitStack) -> SimpleQueue[FeatureEngine]:
    """Open a few engines, for the features that scorecards and rules read and no others."""
    names = model.feature_names | RULE_FEATURES
    queue: SimpleQueue[FeatureEngine] = SimpleQueue()
    for _ in range(FEATURE_ENGINES):
        queue.put(stack.enter_context(FeatureEngine(threads=1, features=names)))
    return queue


def _typical(journeys: Sequence[Journey]) -> Journey:
    """Return an approved applicant with a middling number of records, so that tampering is neither trivial nor slow."""
    ordered = sorted(journeys, key=lambda journey: journey.evidence.received.records.record_count)
    with_sales = [journey for journey in ordered if journey.evidence.tables["invoice_issued"].num_rows > 1]
    return with_sales[len(with_sales) // 2]


def _period(as_of: date) -> tuple[date, date]:
    """Return the longest period the ceilings allow: 60 calendar months that end with the month of as_of."""
    year, month = divmod(
        as_of.year * _MONTHS_PER_YEAR + as_of.month - PERIOD_YEARS * _MONTHS_PER_YEAR, _MONTHS_PER_YEAR
    )
    return date(year, month + 1, 1), as_of

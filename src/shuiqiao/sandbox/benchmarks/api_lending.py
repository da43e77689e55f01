"""Loads of consents and applications between the servers of a sandbox, and the same applications in one process.

Every firm here has so many invoices in the period of its consents. A grant is timed from the moment at which it was to
be asked for, an application from there to the time of its durable decision, so a server that falls behind is seen to.
The scorecard gives every firm the same points: what is measured is the way from an application to its decision, not
whom it suits.
"""

from __future__ import annotations

import csv
import threading
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final, Self

from shuiqiao.base.clock import SystemClock
from shuiqiao.base.ids import OwnedId, system_entropy
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.client.resources import approvals, models, products
from shuiqiao.client.resources.enrolments import ISSUE_CODE, CodeOrder
from shuiqiao.client.resources.own import OwnApplying
from shuiqiao.consent.ceilings import longest_period
from shuiqiao.consent.model import Purpose
from shuiqiao.credit.scorecard import Scorecard, ScorecardFeature, encode_scorecard
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.lending.file import Step
from shuiqiao.lending.model import ApplicantFile
from shuiqiao.lending.processing import Surroundings
from shuiqiao.members.genesis import network_id
from shuiqiao.sandbox.scenario.consortium import (
    BANKS,
    BUREAU,
    EMBEDDED,
    LEAD_BANK,
    REGULATOR,
    Consortium,
    PreparedConsortium,
    open_consortium,
)
from shuiqiao.sandbox.scenario.enterprises import BureauLink, Terms
from shuiqiao.sandbox.servers.parties import Firm, Office
from shuiqiao.sandbox.servers.story import approved, settled

if TYPE_CHECKING:
    from shuiqiao.sandbox.scenario.population import RunData
    from shuiqiao.sandbox.servers.running import Sandbox

PRODUCT: Final = "invoice-loan"
ITEMS: Final = {"invoice_issued@2": ["core", "amounts"]}
GRANTS_PER_S: Final = 30.0
APPLICATIONS_PER_S: Final = 5.0
POINTS: Final = 640
_DAYS: Final = 600
_COLUMNS: Final = (
    "uscc",
    "invoice_no",
    "issue_date",
    "status",
    "is_red_letter",
    "amount_fen",
    "tax_fen",
    "total_fen",
    "buyer_id",
    "buyer_name",
)
_PARTNER: Final = ("91310000MA1PARTNR9", "沪上交易对方样例公司")
_AT_ONCE: Final = 32
_LOOK_S: Final = 0.25
"""How often an applicant looks for its decision, whose time the bank's own time line tells."""

_AMOUNT_FEN: Final = 20_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class LendingLoad:
    """What is measured.

    firms: with so many invoices (records) each within the period of their consents. alone: decisions one at a time,
    here and in one process. seconds: of the load of grants, and of that of applications.
    """

    firms: int = 25
    records: int = 5_000
    alone: int = 20
    seconds: float = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """How long each grant or decision took, in milliseconds, in how many seconds."""

    milliseconds: tuple[float, ...]
    seconds: float

    @property
    def per_s(self) -> float:
        """Return how many were done a second."""
        return len(self.milliseconds) / self.seconds

    def percentile(self, share: float) -> float:
        """Return the wait that so many per cent were not beyond."""
        ordered = sorted(self.milliseconds)
        return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))], 1)


def write_invoices(folder: Path, data: RunData, *, load: LendingLoad) -> Path:
    """Write the invoices of each firm of a load into a file that the bureau takes in; return it."""
    path = folder / "invoices_of_load.csv"
    last = data.population.as_of
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for place, applicant in enumerate(islice(data.population.applicants, load.firms)):
            for number in range(load.records):
                amount = 1_000_000 + 7 * number
                day, tax = last - timedelta(days=number % _DAYS), amount * 13 // 100
                number_text = f"{26_970_000_000_000_000_000 + place * load.records + number:020d}"
                first = (applicant.uscc, number_text, day.isoformat(), "valid", "false")
                writer.writerow((*first, amount, tax, amount + tax, *_PARTNER))
    return path


class LendingBench:
    """Firms with their sessions, a bank that lends by one scorecard, and the loads on them."""

    def __init__(self, sandbox: Sandbox, data: RunData, *, load: LendingLoad, stack: ExitStack) -> None:
        """stack: ends every session. Enrols the firms and puts the scorecard in use."""
        self._sandbox = sandbox
        self._load = load
        self._clock = SystemClock()
        self._bank_url = sandbox.url(LEAD_BANK)
        period = longest_period(Purpose.UNDERWRITING, last=data.population.as_of)
        self._terms = Terms(product=PRODUCT, items=ITEMS, period=period)
        bureau = stack.enter_context(Office(sandbox, BUREAU, clock=self._clock))
        bank = stack.enter_context(Office(sandbox, LEAD_BANK, clock=self._clock))
        self.firms = [self._enrolled(data, place, bureau=bureau) for place in range(load.firms)]
        for firm in self.firms:
            stack.callback(firm.close)
        put_in_use(bank, data, product=PRODUCT)

    @classmethod
    @contextmanager
    def opened(
        cls, sandbox: Sandbox, data: RunData, *, load: LendingLoad, progress: Progress = no_progress
    ) -> Generator[Self]:
        """Give a bench whose firms are logged in inside."""
        progress("enrol the firms of the load 登记", 0, None)
        with ExitStack() as stack:
            yield cls(sandbox, data, load=load, stack=stack)

    def _enrolled(self, data: RunData, place: int, *, bureau: Office) -> Firm:
        firm = Firm(
            data.population.applicants[place],
            network=network_id(self._sandbox.folder.genesis.read_bytes()),
            bureau_url=bureau.url,
            suite=get_suite(SuiteName(self._sandbox.plan.suite)),
            clock=self._clock,
            entropy=system_entropy,
        )
        order = CodeOrder(taxpayer=firm.applicant.uscc, reference=system_entropy(16).hex())
        firm.enrol(bureau.perform("service_officer", ISSUE_CODE, order).code)
        firm.at_bureau()
        return firm

    def grants(self) -> Waits:
        """Let firms consent, to each bank in turn, GRANTS_PER_S times a second."""

        def grant(number: int) -> float:
            began = time.perf_counter()
            firm = self.firms[number % len(self.firms)]
            firm.consent(self._terms.consent(BANKS[number % len(BANKS)], purpose=Purpose.UNDERWRITING))
            return time.perf_counter() - began

        return _at_rate(grant, per_s=GRANTS_PER_S, seconds=self._load.seconds)

    def decisions_alone(self) -> Waits:
        """Let firms apply one after the other."""
        began = time.perf_counter()
        waits = [self._decided_ms(self._consented(number), number) for number in range(self._load.alone)]
        return Waits(milliseconds=tuple(waits), seconds=time.perf_counter() - began)

    def decisions_at_rate(self) -> Waits:
        """Let firms apply APPLICATIONS_PER_S times a second, under consents that the bank was given before."""
        count = int(APPLICATIONS_PER_S * self._load.seconds)
        consents = [self._consented(number) for number in range(count)]
        return _at_rate(
            lambda number: self._decided_ms(consents[number], number) / 1000,
            per_s=APPLICATIONS_PER_S,
            seconds=self._load.seconds,
        )

    def _consented(self, number: int) -> OwnedId:
        firm = self.firms[number % len(self.firms)]
        consent = OwnedId(firm.consent(self._terms.consent(LEAD_BANK, purpose=Purpose.UNDERWRITING)).consent)
        firm.at_bank(self._bank_url, consent)
        return consent

    def _decided_ms(self, consent: OwnedId, number: int) -> float:
        """Apply and return the milliseconds to the durable decision, by the bank's own time line on this machine."""
        firm = self.firms[number % len(self.firms)]
        began_ms = self._clock.now_ms()
        handed_in = firm.apply(self._bank_url, consent, OwnApplying(amount_fen=_AMOUNT_FEN))
        file = settled(firm, self._bank_url, consent, handed_in.application, look_s=_LOOK_S)
        firm.leave(consent)
        return next(step.time_ms for step in file.timeline if step.step == "decided") - began_ms

    def lend_until(self, ending: threading.Event, *, per_s: float) -> int:
        """Let firms consent and apply, one after the other, until they are to end; return how many were decided."""
        done = 0
        while not ending.wait(1 / per_s):
            self._decided_ms(self._consented(done), done)
            done += 1
        return done

    def decisions_in_one_process(self) -> Waits:
        """Let the same firms apply in one process, over the same homes, whose servers have ended."""
        place = self._sandbox.folder
        prepared = PreparedConsortium(
            folder=place.folder,
            genesis=place.genesis.read_bytes(),
            engine=EMBEDDED.engine,
            validators=(),
            network=None,
        )
        began = time.perf_counter()
        with open_consortium(prepared, clock=self._clock, entropy=system_entropy) as consortium:
            waits = [self._decided_here_ms(consortium, number) for number in range(self._load.alone)]
        return Waits(milliseconds=tuple(waits), seconds=time.perf_counter() - began)

    def _decided_here_ms(self, consortium: Consortium, number: int) -> float:
        bureau, bank = consortium.bureau, consortium.banks[LEAD_BANK]
        firm = self.firms[number % len(self.firms)]
        submission = firm.submission(self._terms.consent(LEAD_BANK, purpose=Purpose.UNDERWRITING))
        consent = bureau.consent_service.receive(submission).artefact.name
        bank.catch_up_with(bureau)
        bank.consent_file.receive(submission.artefact)
        process = bank.application_process(
            Surroundings(
                provider=lambda _provider: BureauLink(bank, bureau),
                product=bank.products.product,
                assessor=bank.assessors.of,
                regulator=lambda: REGULATOR,
                regulator_link=None,
            )
        )
        began = time.perf_counter()
        application = bank.lending.apply(
            bank.products.product(PRODUCT),
            taxpayer=firm.applicant.uscc,
            consent=consent,
            amount_fen=_AMOUNT_FEN,
            applicant=ApplicantFile(),
        )
        process.process(application.id, until=Step.DECIDED)
        return (time.perf_counter() - began) * 1000


FLAT_CARD: Final = Scorecard(
    name="flat",
    base_points=POINTS,
    features=(
        ScorecardFeature(
            name="log_monthly_sales_12m", cuts=(), points=(0,), unknown_points=0, counts=(1, 0), bad=(0, 0)
        ),
    ),
    n=1,
    bad=0,
)
"""Gives every firm the same points."""


def put_in_use(bank: Office, data: RunData, *, product: str, card: Scorecard = FLAT_CARD) -> str:
    """Register a scorecard, let two people put it in use for a product, and the churn curves; return its digest."""
    wanted = models.ModelRegistration(
        scorecard=encode_scorecard(card).decode(),
        data="Nothing: it was written by hand.",
        auc="0.5000",
        auc_ci_95="0.5000 to 0.5000",
        ks="0.0000",
    )
    made = bank.perform("product_officer", models.REGISTER_MODEL, wanted)
    curves = {
        band: products.CurveRecord(rates=tuple(map(str, curve.rates)), churn=tuple(map(str, curve.churn)))
        for band, curve in data.population.churn.items()
    }
    people = {"maker": "product_officer", "checker": "product_supervisor"}
    approved(bank, approvals.PROPOSE_CHURN, products.ChurnChange(curves=curves), **people)
    approved(bank, approvals.PROPOSE_MODEL, models.ModelUse(product=product, model=made.digest), **people)
    return made.digest


def _at_rate(act: Callable[[int], float], *, per_s: float, seconds: float) -> Waits:
    """Begin an act so often a second, whatever the ones before are at; return how late each was done."""
    began = time.perf_counter()

    def due(number: int) -> float:
        at = began + number / per_s
        time.sleep(max(0.0, at - time.perf_counter()))
        late_s = time.perf_counter() - at
        return (late_s + act(number)) * 1000

    with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
        waits = tuple(pool.map(due, range(int(per_s * seconds))))
    return Waits(milliseconds=waits, seconds=time.perf_counter() - began)


@dataclass(frozen=True, slots=True, kw_only=True)
class LendingFigures:
    """What grants and decisions take over HTTP, in milliseconds.

    decision_ms: p50 of one at a time, p99 at APPLICATIONS_PER_S.
    """

    grant_ms: dict[str, float]
    decision_ms: dict[str, float]


def measure_lending(bench: LendingBench, *, progress: Progress = no_progress) -> LendingFigures:
    """Return what grants and decisions take between the servers."""
    progress("grants 授权", 0, None)
    grants = bench.grants()
    progress("decisions 审批", 0, None)
    alone, at_rate = bench.decisions_alone(), bench.decisions_at_rate()
    return LendingFigures(
        grant_ms={"p95": grants.percentile(0.95), "per_s": round(grants.per_s, 1)},
        decision_ms={"p50": round(median(alone.milliseconds), 1), "p99": at_rate.percentile(0.99)},
    )


def measure_in_one_process(bench: LendingBench, *, progress: Progress = no_progress) -> float:
    """Return the median of decisions in this process over the same homes, whose servers have ended."""
    progress("decisions in one process 本进程审批", 0, None)
    return round(median(bench.decisions_in_one_process().milliseconds), 1)

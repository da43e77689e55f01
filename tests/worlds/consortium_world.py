"""The institutions of the scenario on real homes in a temporary folder, with one enterprise and its records.

Everything is real but time, which is a ManualClock, and the cost of a passphrase, which is next to nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

from shuiqiao.base.clock import MS_PER_DAY, ManualClock, SystemClock
from shuiqiao.base.errors import Unavailable
from shuiqiao.base.ids import Entropy, OwnedId, Uscc, system_entropy
from shuiqiao.consent.enterprise import ConsentTerms, Enterprise, EnterpriseKeys
from shuiqiao.consent.model import Frequency, FrequencyUnit, IdentityCheck, Mode, Purpose
from shuiqiao.credit.development import ScoringModel
from shuiqiao.credit.limit import Limit
from shuiqiao.credit.model import Score
from shuiqiao.credit.pricing import ChurnCurve, Price
from shuiqiao.credit.scorecard import Scorecard, ScorecardFeature
from shuiqiao.crypto.keyfile import PassphraseCost
from shuiqiao.crypto.model import SuiteName
from shuiqiao.exchange.model import DataRequest
from shuiqiao.lending.assessment import Assessor
from shuiqiao.lending.catalogue import load_products
from shuiqiao.lending.model import ApplicantFacts, Application, Assessment, Offer, Product
from shuiqiao.lending.processing import ApplicationProcess, Surroundings
from shuiqiao.lending.service import RecordedDecision
from shuiqiao.members.model import KeyPurpose
from shuiqiao.node.home.keys import find_passphrase
from shuiqiao.node.home.making import create_solo_home
from shuiqiao.node.home.settings import Home
from shuiqiao.node.institution import Institution
from shuiqiao.node.outbox import Outbox, OutboxStore
from shuiqiao.node.rotation import Rotated, rotate_key
from shuiqiao.node.services import Dependencies
from shuiqiao.sandbox.scenario.consortium import (
    BANKS,
    BUREAU,
    EMBEDDED,
    REGULATOR,
    PreparedConsortium,
    RunEngine,
    create_consortium,
    home_of,
    open_consortium,
)
from shuiqiao.sandbox.scenario.enterprises import BureauLink, OpeningLink
from shuiqiao.standards.tax_credit_grade import Grade
from shuiqiao.vault.contract import AnchorCommitBody
from standards_world import write_csv

CHEAP = PassphraseCost(memory_kib=64, passes=1, lanes=1)
NOW_MS = 1_775_001_600_000
TAXPAYER = Uscc("91440300MA5LEAKME7")
NAME = "鹏城样例泄密检验有限公司"
PARTNER, PARTNER_NAME = "91310000MA1PARTNR9", "沪上交易对方样例公司"
INVOICES = 24
AMOUNTS_FEN = [700_000_019 + 1_000_003 * number for number in range(INVOICES)]
"""Amounts that no other bytes are likely to spell, written as text or as a number."""
ITEMS = {"invoice_issued@2": ["core", "amounts"], "tax_credit_grade@1": ["core"]}
PERIOD = (date(2024, 1, 1), date(2025, 12, 31))
PRODUCT = load_products()["tax-credit-loan"]
INVOICE_LOAN = load_products()["invoice-loan"]
APPROVED_POINTS, REFERRED_POINTS, REFUSED_POINTS = 640, 527, 400
"""Points by which a firm of this world is approved, referred or refused an invoice loan."""


def invoice_rows() -> Iterable[Mapping[str, Any]]:
    """One invoice a month over two years, to one partner."""
    for number, amount in enumerate(AMOUNTS_FEN):
        yield {
            "uscc": TAXPAYER,
            "invoice_no": f"{24_990_000_000_000_000_000 + number:020d}",
            "issue_date": date(2024 + number // 12, 1 + number % 12, 15).isoformat(),
            "status": "valid",
            "is_red_letter": "false",
            "amount_fen": amount,
            "tax_fen": amount * 13 // 100,
            "total_fen": amount + amount * 13 // 100,
            "counterparty_id": PARTNER,
            "counterparty_name": PARTNER_NAME,
        }


def grade_rows() -> Iterable[Mapping[str, Any]]:
    """The grade of three years."""
    return [{"uscc": TAXPAYER, "year": year, "grade": "A"} for year in (2023, 2024, 2025)]


def registration_rows() -> Iterable[Mapping[str, Any]]:
    """Who the taxpayer is."""
    return [
        {
            "uscc": TAXPAYER,
            "taxpayer_name": NAME,
            "status": "normal",
            "industry_code": "C3911",
            "province_code": "44",
            "registered_on": "2015-06-01",
        }
    ]


def record_files(folder: Path) -> dict[str, Path]:
    """The taxpayer's records as files, by record type."""
    folder.mkdir(parents=True, exist_ok=True)
    rows_of = {
        "invoice_issued": invoice_rows(),
        "tax_credit_grade": grade_rows(),
        "registration": registration_rows(),
    }
    return {name: write_csv(folder / f"{name}.csv", rows) for name, rows in rows_of.items()}


def solo_home(folder: Path, suite_name: str = "intl", *, clock: ManualClock | None = None) -> Home:
    """The home of a one-institution network."""
    home = Home(folder)
    create_solo_home(
        home,
        suite_name=SuiteName(suite_name),
        passphrase=None,
        clock=clock or ManualClock(NOW_MS),
        entropy=system_entropy,
        cost=CHEAP,
    )
    return home


def copy_home(home: Home, folder: Path, *, without: Sequence[str] = ()) -> Home:
    """A copy of a home in another folder, with the passphrase beside it. without: patterns of what is left out."""
    shutil.copytree(home.folder, folder, ignore=shutil.ignore_patterns(*without))
    copy = Home(folder)
    shutil.copy(home.passphrase, copy.passphrase)
    return copy


def open_solo(home: Home, clock: ManualClock) -> Institution:
    """A one-institution network at work."""
    around = Dependencies(clock=clock, entropy=system_entropy, is_clock_confirmed=True)
    return Institution.open(home, dependencies=around)


def anchor_body(batch: bytes) -> AnchorCommitBody:
    """An anchor of a batch that nobody has: something harmless to put on a ledger."""
    return AnchorCommitBody(
        batch=batch,
        standard="invoice_issued@2",
        period_from="2024-01-01",
        period_to="2024-12-31",
        count=1,
        depth=0,
        root=bytes(32),
    )


class ConsortiumWorld:
    """Bureau, three banks and a regulator in their homes; ``close`` when done."""

    def __init__(
        self,
        folder: Path,
        suite_name: str,
        *,
        engine: RunEngine = EMBEDDED,
        clock: SystemClock | None = None,
        entropy: Entropy = system_entropy,
    ) -> None:
        """Make the homes in a folder, or open those that an earlier world of the embedded engine made there.

        clock: for homes that are served by processes afterwards; None for one that the test sets.
        """
        self.folder = folder
        # Validators agree on the time of their blocks, which is this machine's, however long a test takes.
        is_set = engine is EMBEDDED and clock is None
        self.clock: Any = ManualClock(NOW_MS) if is_set else clock or SystemClock()
        is_new = not (folder / "homes").exists()
        if is_new:
            stage = create_consortium(
                folder,
                suite_name=SuiteName(suite_name),
                clock=self.clock,
                entropy=entropy,
                cost=CHEAP,
                engine=engine,
            )
        else:
            genesis = home_of(folder, BUREAU).genesis.read_bytes()
            stage = PreparedConsortium(
                folder=folder, genesis=genesis, engine=EMBEDDED.engine, validators=(), network=None
            )
        self.genesis = stage.genesis
        if is_set:
            self.clock.advance(MS_PER_DAY)
        self._stack = ExitStack()
        self.consortium = self._stack.enter_context(open_consortium(stage, clock=self.clock, entropy=entropy))
        self.bureau = self.consortium.bureau
        self.bank, self.other_bank = (self.consortium.banks[name] for name in BANKS[:2])
        self.regulator = self.consortium.regulator
        self.suite = self.bureau.suite
        keys = EnterpriseKeys(bytes(range(32)), suite=self.suite)
        self.enterprise = Enterprise(keys, network=self.bureau.parameters.network, entropy=entropy)
        self._identity = IdentityCheck(reference="check-000017", checked_ms=self.clock.now_ms() - 1000)
        if is_new:
            self._take_in()

    def _take_in(self) -> None:
        """Ingest the records and enrol the enterprise."""
        for record_type, path in record_files(self.folder / "records").items():
            report = self.bureau.vault.ingest(
                [path], anchor=self.bureau.outbox, record_type=self.bureau.catalogue.get(record_type)
            )
            assert report.records_quarantined == 0, report.report.read_text()
        self._enrol()

    def _enrol(self) -> None:
        self.bureau.consent_service.enrol(
            TAXPAYER, enrolment_key=self.enterprise.enrolment_key(BUREAU), identity_check=self._identity
        )

    def identify_again(self) -> None:
        """The legal representative comes to the counter today."""
        self._identity = IdentityCheck(reference="check-000018", checked_ms=self.clock.now_ms() - 1000)
        self._enrol()

    def close(self) -> None:
        """Close every institution, the writer last."""
        self._stack.close()

    def consent(
        self, bank: Institution | None = None, *, validity_ms: int = 30 * MS_PER_DAY, **changes: Any
    ) -> OwnedId:
        """A fresh consent of the enterprise, granted to a bank and on its file. changes: of its terms."""
        bank = bank or self.bank
        terms = replace(self.terms(bank, validity_ms=validity_ms), **changes)
        submission = self.enterprise.submission(terms, now_ms=self.clock.now_ms())
        granted = self.bureau.consent_service.receive(submission)
        bank.catch_up_with(self.bureau)
        bank.consent_file.receive(submission.artefact)
        return granted.artefact.name

    def terms(self, bank: Institution, *, validity_ms: int = 30 * MS_PER_DAY) -> ConsentTerms:
        """What the enterprise chooses for a bank."""
        now_ms = self.clock.now_ms()
        return ConsentTerms(
            taxpayer=TAXPAYER,
            provider=BUREAU,
            recipient=bank.member,
            purpose=Purpose.UNDERWRITING,
            items=dict(ITEMS),
            period_from=PERIOD[0],
            period_to=PERIOD[1],
            modes=(Mode.DISCLOSE,),
            frequency=Frequency(count=4, unit=FrequencyUnit.YEAR),
            data_life_days=90,
            valid_from_ms=now_ms,
            valid_to_ms=now_ms + validity_ms,
            product=INVOICE_LOAN.id,
            identity_check=self._identity,
        )

    def applied(
        self,
        consent: OwnedId,
        *,
        bank: Institution | None = None,
        amount_fen: int = 50_000_000,
        product: Product = PRODUCT,
    ) -> Application:
        """An application at a bank under a consent."""
        lending = (bank or self.bank).lending
        return lending.apply(product, taxpayer=TAXPAYER, consent=consent, amount_fen=amount_fen)

    def evidence(self, consent: OwnedId, *, bank: Institution | None = None) -> bytes:
        """The id of a request that was answered, proven and acknowledged."""
        bank = bank or self.bank
        wanted = DataRequest(consent=consent, items=ITEMS, period_from=PERIOD[0], period_to=PERIOD[1])
        return bank.recipient.obtain(wanted, provider=BureauLink(bank, self.bureau)).request

    def assessment(self, request: bytes, *, limit_fen: int = 20_000_000, arrears: bool = False) -> Assessment:
        """A judgement that approves, or refuses for arrears."""
        price = Price(
            rate=Decimal("0.0465"),
            churn=Decimal("0.1"),
            expected_profit_fen=1,
            break_even_rate=Decimal("0.03"),
            default_probability=Decimal("0.01"),
            limit_fen=limit_fen,
            terms=PRODUCT.pricing,
            tried=(),
        )
        facts = ApplicantFacts(
            grade=Grade.A, age_months=100, has_open_arrears=arrears, days_since_last_sale=10, has_forged_paper=False
        )
        limit = Limit(limit_fen=limit_fen, parts=(), bound_by="tax", refusal=None)
        return Assessment(
            request=request,
            firm=b"f" * 32,
            facts=facts,
            score=Score(points=650, default_probability=Decimal("0.01"), reasons=()),
            offer=Offer(limit=limit, price=price),
            industry="C",
            province="44",
            model_digest=bytes(32),
        )

    def decided(
        self, *, bank: Institution | None = None, limit_fen: int = 20_000_000, arrears: bool = False
    ) -> RecordedDecision:
        """One whole journey from consent to decision, its opening handed to the regulator."""
        bank = bank or self.bank
        consent = self.consent(bank)
        application = self.applied(consent, bank=bank)
        assessment = self.assessment(self.evidence(consent, bank=bank), limit_fen=limit_fen, arrears=arrears)
        recorded = self.decide(application, assessment, bank=bank)
        self.hand_in(recorded, bank=bank)
        return recorded

    def decide(
        self, application: Application, assessment: Assessment, *, bank: Institution | None = None
    ) -> RecordedDecision:
        """The decision that the product's rules come to."""
        lending = (bank or self.bank).lending
        judgement = lending.judge(application, product=PRODUCT, assessment=assessment)
        return lending.decide(application, judgement=judgement, regulator=REGULATOR)

    def process(self, assessor: Any, *, product: Product = INVOICE_LOAN) -> ApplicationProcess:
        """What takes the bank's applications to their end, as one assessor assesses them."""
        return self.bank.application_process(
            Surroundings(
                provider=lambda _: BureauLink(self.bank, self.bureau),
                product={product.id: product}.__getitem__,
                assessor=lambda _: assessor,
                regulator=lambda: REGULATOR,
                regulator_link=OpeningLink(self.bank, self.regulator),
            )
        )

    def assessor(self, *, points: int) -> Assessor:
        """An assessor for the invoice loan whose card gives every firm the same points; whoever opens it closes it."""
        feature = ScorecardFeature(
            name="log_monthly_sales_12m", cuts=(), points=(0,), unknown_points=0, counts=(1, 0), bad=(0, 0)
        )
        card = Scorecard(name="flat", base_points=points, features=(feature,), n=1, bad=0)
        curve = ChurnCurve(rates=(Decimal("0.03"), Decimal("0.15")), churn=(Decimal(0), Decimal("0.5")))
        return Assessor(
            INVOICE_LOAN,
            model=ScoringModel(card=card, unseeing={}),
            churn=dict.fromkeys("ABC", curve),
            as_of=PERIOD[1],
            digest=self.suite.digest,
        )

    def hand_in(self, recorded: RecordedDecision, *, bank: Institution | None = None) -> None:
        """Give the regulator the opening of a decision."""
        bank = bank or self.bank
        self.regulator.catch_up_with(bank)
        self.regulator.openings.receive(recorded.decision.application, bank=bank.member, sealed=recorded.sealed_opening)

    def transactions(self) -> Sequence[bytes]:
        """Every transaction of the writer's ledger, as its bytes."""
        return [raw for block in self.bureau.engine.blocks(from_height=1) for raw in block.transactions]


class StandingEngine:
    """A real engine whose own copy stands still, its newest blocks hidden until somebody waits for one."""

    def __init__(self, engine: Any, *, hidden: int = 0) -> None:
        self._engine = engine
        self._hidden = hidden
        self.waited = 0
        self.parameters, self.state, self.submit = engine.parameters, engine.state, engine.submit

    def last_block(self) -> Any:
        """The newest block that this copy shows."""
        height, time_ms = self._engine.last_block()
        return height - self._hidden, time_ms

    def blocks(self, *, from_height: int) -> Any:
        """The blocks that this copy shows."""
        last, _ = self.last_block()
        return (block for block in self._engine.blocks(from_height=from_height) if block.height <= last)

    def wait_for_block(self, height: int) -> None:
        """Show one hidden block more, or say that none came."""
        self.waited += 1
        if not self._hidden:
            raise Unavailable("ledger.block_awaited", f"no block {height}")
        self._hidden -= 1


def outbox_over(engine: Any, node: Institution) -> Outbox:
    """The outbox of an institution over another way to its ledger."""
    return Outbox(
        engine,
        store=OutboxStore(node.database),
        member=node.member,
        key=node.keys.signing,
        kinds=node.kinds,
        suite=node.suite,
        clock=node.dependencies.clock,
        entropy=system_entropy,
    )


def rotate(institution: Institution, purpose: KeyPurpose = KeyPurpose.SIGNING) -> Rotated:
    """Replace a key of an institution by a command's own means."""
    return rotate_key(
        institution,
        purpose=purpose,
        passphrase=find_passphrase(institution.home),
        entropy=system_entropy,
        cost=CHEAP,
    )


class LossyEngine:
    """The way to a real engine that loses what it is told to lose: the transaction itself, or its acknowledgement."""

    def __init__(self, engine: Any, *, reaches_the_ledger: bool) -> None:
        self._engine = engine
        self._reaches = reaches_the_ledger

    @property
    def parameters(self) -> Any:
        """The real engine's."""
        return self._engine.parameters

    def last_block(self) -> Any:
        """The real engine's."""
        return self._engine.last_block()

    def state(self) -> Any:
        """The real engine's."""
        return self._engine.state()

    def blocks(self, *, from_height: int) -> Any:
        """The real engine's."""
        return self._engine.blocks(from_height=from_height)

    def submit(self, raw: bytes) -> Any:
        """Commit, or not, and in either case say that nobody answered."""
        if self._reaches:
            self._engine.submit(raw).result()
        raise Unavailable("ledger.commit_late", "no answer came")

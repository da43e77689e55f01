"""The story over HTTP: what ``demo`` plays in one process, played between five servers by people and enterprises.

    enrol -> consent and develop the model -> approve it -> apply and decide -> two people decide what was referred
    -> revoke -> refusals -> audit -> receipts

Everything that crosses institutions goes over their APIs: enterprises by their own keys, people by their log-ins. The
lead bank lends; the others keep copies, cosign, and are refused what was not given to them. The audit is each
institution's own, of its own home.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeVar

from shuiqiao.base.clock import Clock, SystemClock
from shuiqiao.base.errors import Denied, Unavailable
from shuiqiao.base.ids import Entropy, MemberId, OwnedId, new_id, system_entropy
from shuiqiao.client.resources import answers, applications, approvals, models, products
from shuiqiao.client.resources.enrolments import ISSUE_CODE, CodeOrder
from shuiqiao.client.resources.own import READ_OWN_CONSENT, ConsentChoice, OwnApplicationFile, OwnApplying
from shuiqiao.consent.ceilings import longest_period
from shuiqiao.consent.model import Purpose
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.features.inputs import least_items
from shuiqiao.members.genesis import network_id
from shuiqiao.sandbox.scenario.consortium import BANKS, BUREAU, LEAD_BANK
from shuiqiao.sandbox.scenario.enterprises import Terms
from shuiqiao.sandbox.servers.parties import Firm, Office, patiently, refusal_of, rest
from shuiqiao.standards.publication import load_catalogue

if TYPE_CHECKING:
    from shuiqiao.base.progress import Progress
    from shuiqiao.client.operation import Operation, Sent
    from shuiqiao.sandbox.economy.model import Applicant, Population
    from shuiqiao.sandbox.scenario.modes import ModesShown
    from shuiqiao.sandbox.scenario.population import RunData
    from shuiqiao.sandbox.servers.running import Sandbox

AT_ONCE: Final = 4
"""Enterprises that are under way at a time."""

DECISION_PATIENCE_S: Final = 300.0
_LOOK_S: Final = 0.05
_DECIDED: Final = frozenset({"approved", "refused"})

Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lent:
    """An application of the story. milliseconds: from handing in to durable decision, None where it was referred."""

    firm: Firm
    consent: OwnedId
    granted_index: int
    """Leaf index of the consent's grant."""
    file: OwnApplicationFile
    milliseconds: float | None


@dataclass(slots=True, kw_only=True)
class ServedStory:
    """A story under way: its sandbox, whose servers run, its people, its enterprises, and what came of it so far."""

    sandbox: Sandbox
    data: RunData
    progress: Progress
    clock: Clock = field(default_factory=SystemClock)
    entropy: Entropy = system_entropy
    step_seconds: dict[str, float] = field(default_factory=dict[str, float])
    refusals: Counter[str] = field(default_factory=Counter[str])
    firms: list[Firm] = field(default_factory=list[Firm])
    lent: list[Lent] = field(default_factory=list[Lent])
    model: models.ModelCardRecord | None = None
    modes: ModesShown | None = None

    @contextmanager
    def step(self, name: str) -> Generator[None]:
        """Time a step and tell its name."""
        self.progress(name, 0, None)
        started = time.perf_counter()
        yield
        self.step_seconds[name] = round(time.perf_counter() - started, 3)

    @property
    def network(self) -> bytes:
        """The network's id."""
        return network_id(self.sandbox.folder.genesis.read_bytes())

    @property
    def population(self) -> Population:
        """Who takes part."""
        return self.data.population

    def firm(self, applicant: Applicant) -> Firm:
        """Return a taxpayer with a fresh key, whom its bureau does not know yet."""
        return Firm(
            applicant,
            network=self.network,
            bureau_url=self.sandbox.url(BUREAU),
            suite=get_suite(SuiteName(self.sandbox.plan.suite)),
            clock=self.clock,
            entropy=self.entropy,
        )

    def close(self) -> None:
        """End the sessions of its enterprises."""
        for firm in self.firms:
            firm.close()

    def terms(self) -> Terms:
        """Return what the lead bank asks for: a product's records of the longest period, up to the day of judgement."""
        record_types = {file.record_type for file in self.population.record_files}
        return Terms(
            product=self.data.product,
            items=least_items(load_catalogue(), record_types=record_types),
            period=longest_period(Purpose.UNDERWRITING, last=self.population.as_of),
        )


def play(story: ServedStory) -> None:
    """Play the whole story; raises what any party refuses that must not be refused. The caller closes the story."""
    with ExitStack() as stack:
        bureau = stack.enter_context(Office(story.sandbox, BUREAU, clock=story.clock))
        bank = stack.enter_context(Office(story.sandbox, LEAD_BANK, clock=story.clock))
        with story.step("enrol enterprises 企业登记"):
            enrol(story, bureau)
        with story.step("consent for model development 建模授权与取数"):
            receive_loan_book(story, bank)
        with story.step("develop and approve the model 建模与批准"):
            develop(story, bank)
        with story.step("apply and decide 申请与审批"):
            lend_all(story)
        with story.step("people decide what was referred 人工审批"):
            review(story, bank)
        with story.step("revoke and refuse 撤销与拒绝"):
            refuse(story, bank)


def enrol(story: ServedStory, bureau: Office) -> None:
    """Have the bureau's counter issue every enterprise a code, by which it enrols with a key of its own."""
    story.firms += map(story.firm, story.population.applicants)
    concurrently(story, "enterprises enrolled", lambda firm: enrol_one(story, firm, bureau), story.firms)


def enrol_one(story: ServedStory, firm: Firm, bureau: Office) -> None:
    """Have the bureau's counter issue an enterprise a code, by which it enrols."""
    order = CodeOrder(taxpayer=firm.applicant.uscc, reference=story.entropy(16).hex())
    firm.enrol(bureau.perform("service_officer", ISSUE_CODE, order).code)


def receive_loan_book(story: ServedStory, bank: Office) -> None:
    """Let every enterprise in the lead bank's loan book consent to model development, and the bank ask for its data."""
    wanted = story.terms().consent(LEAD_BANK, purpose=Purpose.MODEL_DEVELOPMENT)

    def receive_one(firm: Firm) -> None:
        consent = firm.consent(wanted).consent
        asked = answers.ConsentRequest(consent=consent, request=new_id(story.entropy).hex())
        bank.perform("relationship_manager", answers.ASK_PROVIDER, asked)

    borrowers = [firm for firm in story.firms if firm.applicant.defaulted is not None]
    concurrently(story, "enterprises in the loan book", receive_one, borrowers)


def develop(story: ServedStory, bank: Office) -> None:
    """Develop a model on what was received, and let two people of the bank put it and its churn curves in use."""
    outcomes = {
        str(firm.applicant.uscc): firm.applicant.defaulted
        for firm in story.firms
        if firm.applicant.defaulted is not None
    }
    wanted = models.ModelDevelopment(outcomes=outcomes, seed=story.sandbox.plan.seed)
    made = bank.perform("product_officer", models.DEVELOP_MODEL, wanted)
    story.model = bank.perform("product_officer", models.READ_MODEL, models.ModelQuestion(model=made.digest))
    curves = {
        band: products.CurveRecord(rates=tuple(map(str, curve.rates)), churn=tuple(map(str, curve.churn)))
        for band, curve in story.population.churn.items()
    }
    people = {"maker": "product_officer", "checker": "product_supervisor"}
    approved(bank, approvals.PROPOSE_CHURN, products.ChurnChange(curves=curves), **people)
    use = models.ModelUse(product=story.data.product, model=made.digest)
    approved(bank, approvals.PROPOSE_MODEL, use, **people)


def approved(
    bank: Office, operation: Operation[Sent, approvals.ApprovalRecord], message: Sent, *, maker: str, checker: str
) -> approvals.ApprovalRecord:
    """Let one person propose an act and another approve exactly it; raises Denied ``sandbox.act_failed``."""
    made = bank.perform(maker, operation, message)
    given = approvals.ApprovalGiven(approval=made.approval, digest=made.digest)
    found = bank.perform(checker, approvals.APPROVE, given)
    if found.state != "done":
        raise Denied("sandbox.act_failed", f"{found.act} was approved and is {found.state}: {found.outcome}")
    return found


def lend_all(story: ServedStory) -> None:
    """Take every enterprise from consent to decision, a few at a time."""
    story.lent += concurrently(story, "applications decided", lambda firm: lend(story, firm), story.firms)


def lend(story: ServedStory, firm: Firm, *, bank: MemberId = LEAD_BANK) -> Lent:
    """Take one enterprise from consent to decision at a bank, or to the people who decide."""
    url = story.sandbox.url(bank)
    granted = firm.consent(story.terms().consent(bank, purpose=Purpose.UNDERWRITING))
    consent = OwnedId(granted.consent)
    place, applicant = story.firms.index(firm), firm.applicant
    wanted = OwnApplying(
        amount_fen=story.data.requested_fen(place),
        other_debt_fen=0 if applicant.bank_view is None else applicant.bank_view.other_debt_fen,
        industry=applicant.section,
        province=applicant.province_code,
    )
    began_ms = story.clock.now_ms()
    handed_in = firm.apply(url, consent, wanted)
    file = settled(firm, url, consent, handed_in.application)
    return Lent(
        firm=firm,
        consent=consent,
        granted_index=granted.granted_index or 0,
        file=file,
        milliseconds=_decided_ms(file, began_ms=began_ms),
    )


def settled(firm: Firm, url: str, consent: OwnedId, application: str, *, look_s: float = _LOOK_S) -> OwnApplicationFile:
    """Return an application once it is decided or waits for people; raises Denied ``sandbox.application_ended``."""
    began_s = time.monotonic()
    while True:
        file = firm.application(url, consent, application)
        if _is_settled(file):
            return file
        if time.monotonic() > began_s + DECISION_PATIENCE_S:
            raise Denied("sandbox.application_ended", f"application {application} is {file.status} still")
        rest(look_s, began_s=began_s)


def _is_settled(file: OwnApplicationFile) -> bool:
    """Tell whether people decide on it, or it ended, or it is decided."""
    return file.status in {"referred", "closed"} or _is_decided(file)


def _is_decided(file: OwnApplicationFile) -> bool:
    """Tell whether the ledger has its decision, which is kept before it has."""
    return file.status in _DECIDED and any(step.step == "decided" for step in file.timeline)


def _decided_ms(file: OwnApplicationFile, *, began_ms: int) -> float | None:
    return next((float(step.time_ms - began_ms) for step in file.timeline if step.step == "decided"), None)


def review(story: ServedStory, bank: Office) -> None:
    """Let two people decide on each referred application: half of what could be offered, or no."""
    floor_fen = bank.perform(
        "credit_officer", products.READ_PRODUCT, products.ProductQuestion(product=story.data.product)
    ).limit["floor_fen"]
    for place, lent in enumerate(story.lent):
        if lent.file.status != "referred":
            continue
        asked = applications.ApplicationQuestion(application=lent.file.application)
        assessment = bank.perform("credit_officer", applications.READ_APPLICATION, asked).assessment or {}
        half_fen = int(assessment.get("offered_fen") or 0) // 2
        is_enough = half_fen >= floor_fen
        proposal = approvals.DecisionProposal(
            application=lent.file.application,
            outcome="approved" if is_enough else "refused",
            reason="half of the offer for a first year" if is_enough else "too little is left to lend",
            limit_fen=half_fen if is_enough else None,
        )
        approved(bank, approvals.PROPOSE_DECISION, proposal, maker="credit_officer", checker="credit_supervisor")
        file = _once_decided(lent, story.sandbox.url(LEAD_BANK))
        story.lent[place] = replace(lent, file=file)


def _once_decided(lent: Lent, url: str) -> OwnApplicationFile:
    began_s = time.monotonic()
    while True:
        file = lent.firm.application(url, lent.consent, lent.file.application)
        if _is_decided(file) or time.monotonic() > began_s + DECISION_PATIENCE_S:
            return file
        rest(_LOOK_S, began_s=began_s)


def refuse(story: ServedStory, bank: Office) -> None:
    """Let a firm end a consent; then try what must be refused at every door, and count the codes."""
    lent = story.lent[0]
    url = story.sandbox.url(LEAD_BANK)
    lent.firm.revoke(lent.consent)
    _until_revoked(lent, url)
    wanted = OwnApplying(amount_fen=story.data.requested_fen(0))
    other_bank = story.sandbox.url(BANKS[1])
    request = answers.ConsentRequest(consent=lent.consent, request=new_id(story.entropy).hex())
    code = CodeOrder(taxpayer=lent.firm.applicant.uscc, reference="not mine to order")
    stranger = story.firm(lent.firm.applicant)
    acts: dict[str, Callable[[], object]] = {
        "apply under a revoked consent": lambda: lent.firm.apply(url, lent.consent, wanted),
        "ask under a revoked consent": lambda: bank.perform("relationship_manager", answers.ASK_PROVIDER, request),
        "log in at a bank that was given nothing": lambda: lent.firm.stranger_at(other_bank, lent.consent),
        "ask for data as one who decides": lambda: bank.perform("credit_officer", answers.ASK_PROVIDER, request),
        "enrol another's number with a code that nobody issued": lambda: stranger.enrol("0000-0000-0000"),
        "have a bank issue a code": lambda: bank.perform("relationship_manager", ISSUE_CODE, code),
    }
    for name, act in acts.items():
        found = refusal_of(act)
        story.refusals[found if found != "accepted" else f"accepted: {name}"] += 1


def _until_revoked(lent: Lent, url: str) -> None:
    """Return once the bank's copy of the ledger has the revocation."""

    def look() -> None:
        found = lent.firm.at_bank(url, lent.consent).perform(READ_OWN_CONSENT, ConsentChoice.of(lent.consent))
        if found.status != "revoked":
            raise Unavailable("ledger.block_awaited", f"the bank still has {lent.consent} as {found.status}")

    patiently(look)


def concurrently(
    story: ServedStory, name: str, act: Callable[[Item], Found], items: Sequence[Item]
) -> tuple[Found, ...]:
    """Do an act for every item, a few at a time, in order; the first failure ends the story."""
    done: list[Found] = []
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        for found in pool.map(act, items):
            done.append(found)
            story.progress(name, len(done), len(items))
    return tuple(done)

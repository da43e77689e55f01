"""A bureau, two banks and a regulator at work behind their doors, each with objects of every sort of its own."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import consortium_world as worlds
from api_world import ALL, FIRM, AskedInstitution, asked
from consortium_world import CHEAP, REFERRED_POINTS, TAXPAYER, ConsortiumWorld
from shuiqiao.base.clock import MS_PER_DAY, ManualClock
from shuiqiao.base.ids import Entropy, new_id, system_entropy
from shuiqiao.client.http import new_idempotency_key
from shuiqiao.consent.enterprise import EnterpriseKeys
from shuiqiao.exchange.dispute_statement import DisputeBody, encode_dispute
from shuiqiao.lending.exposures.model import InputList
from shuiqiao.lending.exposures.store import ExposureRun, ExposureStore
from shuiqiao.lending.processing import Surroundings
from shuiqiao.node.accounts.opening import InstitutionAccounts
from shuiqiao.node.institution import Institution
from shuiqiao.node.server import RunningInstitution
from shuiqiao.oversight.contract import ALARM, OversightAlarmBody
from shuiqiao.sandbox.scenario.consortium import BUREAU, REGULATOR
from shuiqiao.sandbox.scenario.enterprises import BureauLink, OpeningLink

SHARED = {
    "height": 1,
    "index": 0,
    "member": "bureau",
    "path": "checkpoint",
    "product": "invoice-loan",
    "seq": 1,
    "standard": "tax_credit_grade",
    "subject": "given",
    "key": "members/epoch",
    "old_size": 1,
    "new_size": 2,
    "taxpayer": TAXPAYER,
}
"""What every member has, by the names of parameters."""


@dataclass(frozen=True, kw_only=True)
class Office:
    """An institution behind its doors. parts: of its own objects, by what the API calls them."""

    asked: AskedInstitution
    parts: dict[str, str]
    clock: ManualClock
    """Goes on by a second with each act, so that lists by time have one order."""

    @property
    def institution(self) -> Institution:
        """Whose doors these are."""
        return self.asked.running.institution

    def request(self, method: str, path: str, message: Any = None, *, token: str = ALL) -> Any:
        """Ask the public door."""
        headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": new_idempotency_key()}
        return self.asked.public.request(method, path, json=message, headers=headers)

    def act(self, path: str, message: Any, *, token: str = ALL) -> Any:
        """Do an act that is not refused; return what is told of it."""
        self.clock.advance(1_000)
        answer = self.request("POST", f"/api/v1{path}", message, token=token)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def offices_world(folder: Path, *, entropy: Entropy = system_entropy) -> Generator[Mapping[str, Office]]:
    """Open all four, by the names ``bureau``, ``bank``, ``other_bank`` and ``regulator``; closed behind."""
    with ExitStack() as stack:
        world = ConsortiumWorld(folder, "intl", entropy=entropy)
        stack.callback(world.close)
        members = {
            "bureau": world.bureau,
            "bank": world.bank,
            "other_bank": world.other_bank,
            "regulator": world.regulator,
        }
        offices = {name: _office(institution, world.clock, stack) for name, institution in members.items()}
        for name in ("bank", "other_bank"):
            _lend(world, offices[name], stack)
        _keep_records(world, offices["bureau"])
        _watch(world, offices["regulator"])
        for office in offices.values():
            _add_accounts(office)
            _work(office)
        for office in offices.values():
            office.institution.catch_up_with(world.bureau)
            office.parts.update(proposal=offices["regulator"].parts["proposal"])
        yield offices


def _office(institution: Institution, clock: ManualClock, stack: ExitStack) -> Office:
    running = RunningInstitution(institution, stack=ExitStack())
    running.accounts = InstitutionAccounts(institution, cost=CHEAP)
    running.jobs.add_duties()
    return Office(asked=stack.enter_context(asked(running)), parts={}, clock=clock)


def _work(office: Office) -> None:
    """Do what the server does by itself."""
    while office.asked.running.runner.run_one():
        pass


def _lend(world: ConsortiumWorld, office: Office, stack: ExitStack) -> None:
    """A consent, an application that was referred, one that was decided by two people, a model and a proposal."""
    bank = office.institution
    assessor = stack.enter_context(world.assessor(points=REFERRED_POINTS))
    product = worlds.INVOICE_LOAN
    bank.__dict__["applications"] = bank.application_process(
        Surroundings(
            provider=lambda _: BureauLink(bank, world.bureau),
            product={product.id: product}.__getitem__,
            assessor=lambda _: assessor,
            regulator=lambda: REGULATOR,
            regulator_link=OpeningLink(bank, world.regulator),
        )
    )
    consents, applications = [], [new_id(bank.dependencies.entropy).hex() for _ in range(2)]
    for application in applications:
        world.clock.advance(1_000)
        consents.append(consent := world.consent(bank))
        wanted = {"application": application, "product": product.id, "consent": consent, "amount_fen": 50_000_000}
        office.act("/applications", wanted)
    _work(office)
    maker = office.asked.tokens.issue("maker", "decisions.make")
    checker = office.asked.tokens.issue("checker", "decisions.check")
    decision = {"outcome": "approved", "reason": "order book seen"}
    made = office.act("/approvals/decisions", {"application": applications[1], **decision}, token=maker)
    office.act("/approvals/checks", {"approval": made["approval"], "digest": made["digest"]}, token=checker)
    _work(office)
    waiting = office.act("/approvals/decisions", {"application": applications[0], **decision}, token=maker)
    card = (
        '{"format": "shuiqiao-scorecard@1", "base_score": 600, "base_odds": 20, "points_to_double": 40, '
        f'"name": "{bank.member}", "base_points": 640, "features": [], "n": 100, "bad": 9}}'
    )
    given = {"scorecard": card, "data": "Loans of 2025.", "auc": "0.71", "auc_ci_95": "0.65 to 0.77", "ks": "0.3"}
    request = office.asked.get(f"/api/v1/applications/{applications[1]}").json()["request"]
    enterprise = office.asked.tokens.callers[FIRM]
    office.asked.tokens.callers[FIRM] = replace(enterprise, id=consents[1], taxpayer="", consent=consents[1])
    run = new_id(bank.dependencies.entropy) * 2
    inputs = InputList(salt=bytes(32), entries=[]).encode()
    row = {"other": REGULATOR, "question": b"q", "statement": b"s", "inputs": inputs, "made_ms": 1}
    ExposureStore(bank.database, cipher=bank.cipher).add_run(
        ExposureRun(run=run, erase_after_ms=world.clock.now_ms() + 1_000 * MS_PER_DAY, **row)
    )
    office.parts.update(
        provider=BUREAU,
        run=run.hex(),
        consent=consents[1].partition("/")[2],
        sender=bank.member,
        request=request,
        application=applications[1],
        approval=waiting["approval"],
        job=applications[1],
        model=office.act("/models", given)["digest"],
    )


def _keep_records(world: ConsortiumWorld, office: Office) -> None:
    """A dispute of a record that was given to banks, a proposal to destroy it, and what ingests kept out."""
    bureau = office.institution
    found = office.act("/records/searches", {"taxpayer": TAXPAYER, "record_type": "invoice_issued"})["records"][0]
    body = DisputeBody(
        dispute=new_id(bureau.dependencies.entropy),
        bureau=bureau.member,
        taxpayer=TAXPAYER,
        batch=bytes.fromhex(found["batch"]),
        leaf=found["leaf"],
        reason="red-lettered in March",
        made_ms=world.clock.now_ms(),
    )
    network = bureau.parameters.network
    key = EnterpriseKeys(bytes(range(32)), suite=bureau.suite).enrolment_key(bureau.member, network=network)
    bureau.disputes.receive(encode_dispute(body, network=network, suite=bureau.suite, key=key))
    again = world.folder / "records" / "invoice_issued.csv"
    report = bureau.vault.ingest([again], anchor=bureau.outbox, record_type=bureau.catalogue.get("invoice_issued"))
    assert report.duplicates_reported
    proposal = {"batch": found["batch"], "leaves": [found["leaf"]], "reason": "taxpayer_request"}
    waiting = office.act("/approvals/erasures", proposal, token=office.asked.tokens.issue("maker", "erasures.make"))
    request = office.asked.get("/api/v1/requests").json()["items"][0]
    sender, _, number = request["request"].partition("/")
    provider, _, consent = request["consent"].partition("/")
    office.parts.update(
        batch=found["batch"],
        dispute=body.dispute.hex(),
        ingest=report.report.stem,
        approval=waiting["approval"],
        sender=sender,
        request=number,
        provider=provider,
        consent=consent,
    )


def _watch(world: ConsortiumWorld, office: Office) -> None:
    """An alarm on the ledger, a vote, and a freeze that waits for a second person."""
    regulator = office.institution
    regulator.catch_up_with(world.bureau)
    proposal = office.act("/governance/proposals", {"action": {"action": "set_quorum", "quorum": 3}, "days": 14})
    office.parts.update(proposal=proposal["proposal"])
    body = OversightAlarmBody(
        alarm=new_id(regulator.dependencies.entropy), subject="false_record", accused=BUREAU, evidence_digest=bytes(32)
    )
    regulator.outbox.submit(ALARM, body)
    maker = office.asked.tokens.issue("maker", "oversight.freeze")
    waiting = office.act("/approvals/freezes", {"days": 1, "reason_digest": "5c" * 32}, token=maker)
    office.parts.update(approval=waiting["approval"])


def _add_accounts(office: Office) -> None:
    """Users and a program, each named after its institution."""
    accounts, member = office.asked.running.accounts, office.institution.member
    accounts.service.add_first_user(f"{member}.admin")
    admin = office.asked.tokens.callers[ALL]
    # In its country's order, an underscore comes before a full stop.
    for name in (f"{member}.auditor", f"{member}_auditor"):
        accounts.service.add_user(admin, name, roles=["internal_auditor"])
    accounts.service.add_client(admin, f"{member}.program", owner=f"{member}.auditor", roles=["internal_auditor"])
    office.parts.update(user=f"{member}.auditor", client=f"{member}.program", owner=f"{member}.auditor")

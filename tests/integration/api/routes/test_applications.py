"""A bank's applications over HTTP: handed in, taken on by the server's job, referred, decided by two, listed.

[LENDING-12] [LENDING-14]
"""

from __future__ import annotations

import csv
import io
import json
from contextlib import ExitStack

import pytest

import consortium_world as worlds
from api_world import ALL, asked
from shuiqiao.lending.file import Step
from shuiqiao.node.jobs.duties import PROCESS_OPEN
from shuiqiao.node.jobs.model import JobState
from shuiqiao.node.jobs.service import duty_id
from shuiqiao.node.server import RunningInstitution

PRODUCT = worlds.INVOICE_LOAN.id


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    made = worlds.ConsortiumWorld(tmp_path_factory.mktemp("consortium"), "intl")
    yield made
    made.close()


@pytest.fixture(scope="module")
def doors(world):
    """The bank and its doors, its applications going to bureau and regulator within this process."""
    with world.assessor(points=worlds.REFERRED_POINTS) as assessor, ExitStack() as stack:
        world.bank.__dict__["applications"] = world.process(assessor)
        running = RunningInstitution(world.bank, stack=stack)
        running.jobs.add_duties()
        with asked(running) as found:
            yield found


@pytest.fixture
def bank(doors):
    """The bank's doors; no application stays open afterwards."""
    yield doors
    institution = doors.running.institution
    for application in institution.application_store.open_applications():
        institution.applications.close(application, reason="withdrawn")


def post(bank, path, message, *, token=ALL, key=None):
    headers = {"Authorization": f"Bearer {token}", "Idempotency-Key": key or f"{len(post.sent):032x}"}
    post.sent.append(path)
    return bank.public.post(f"/api/v1{path}", json=message, headers=headers)


post.sent = []


def work(bank):
    """Do what the server does by itself."""
    while bank.running.runner.run_one():
        pass


def handed_in(world, bank, number, **more):
    wanted = {"application": f"{number:032x}", "product": PRODUCT, "consent": world.consent(), "amount_fen": 50_000_000}
    answer = post(bank, "/applications", wanted | more)
    assert answer.status_code == 200, answer.text
    return wanted, answer.json()


def test_an_application_whose_job_ended_is_taken_up_at_once_where_it_is_asked_for_again(world, bank):
    """[LENDING-14]: e.g. where data is asked for anew."""
    wanted, _ = handed_in(world, bank, 0xA0)
    work(bank)
    application = bytes.fromhex(wanted["application"])
    duty = bank.running.jobs.find(duty_id(PROCESS_OPEN).hex())
    assert bank.running.jobs.find(application.hex()).state is JobState.DONE
    bank.running.process_soon(application)
    assert bank.running.jobs.find(duty.id.hex()).due_ms <= bank.running.institution.now_ms() < duty.due_ms
    bank.running.institution.applications.close(application, reason="withdrawn")


def test_an_application_is_kept_while_the_ledger_is_away_and_says_so(world, bank, monkeypatch):
    """[LENDING-14]: who hands it in gets the file, and the server goes on with it."""
    outbox = bank.running.institution.outbox
    consent = world.consent()
    with monkeypatch.context() as away:
        away.setattr(outbox, "_engine", worlds.LossyEngine(outbox._engine, reaches_the_ledger=False))
        wanted = {"application": f"{0xA9:032x}", "product": PRODUCT, "consent": consent, "amount_fen": 50_000_000}
        answer = post(bank, "/applications", wanted)
        assert answer.status_code == 200, answer.text
        steps = [(step["step"], step["code"]) for step in answer.json()["timeline"]]
        assert steps == [("received", ""), ("submitted", "ledger.commit_late")]
        unknown = post(bank, "/applications", {**wanted, "application": "0" * 32, "product": "no-such-loan"})
        assert unknown.status_code != 200
    application = bytes.fromhex(wanted["application"])
    work(bank)
    bank.running.institution.applications.process(application)
    assert bank.running.institution.application_store.file(application).has(Step.SUBMITTED)
    bank.running.institution.applications.close(application, reason="withdrawn")


def test_an_application_that_is_handed_in_is_referred_without_a_person_and_decided_by_two(world, bank):
    wanted, file = handed_in(world, bank, 0xA1, industry="C", other_debt_fen=7)
    assert (file["application"], file["status"]) == (wanted["application"], "submitted")
    assert [step["step"] for step in file["timeline"]] == ["received", "submitted"]
    assert bank.get(f"/api/v1/applications/{wanted['application']}").json()["next_try"] is None, "nothing failed"
    work(bank)
    file = bank.get(f"/api/v1/applications/{wanted['application'][-32:]}").json()
    assert (file["status"], file["applicant"]["industry"]) == ("referred", "C")
    (referral,) = bank.get("/api/v1/referrals").json()["items"]
    assert (referral["application"], referral["rules"]) == (wanted["application"], ["risk_needs_review"])
    assert bank.get("/api/v1/decisions").json()["items"] == []
    early = bank.get(f"/api/v1/decisions/{wanted['application']}")
    assert (early.status_code, early.json()["code"]) == (404, "lending.undecided")

    maker = bank.tokens.issue("officer", "decisions.make", "applications.read")
    checker = bank.tokens.issue("supervisor", "decisions.check", "applications.read")
    draft = {"application": wanted["application"], "outcome": "approved", "reason": "order book seen"}
    draft["codes"] = ["business_confirmed"]
    assert post(bank, "/approvals/decisions", draft, token=checker).status_code == 403
    proposed = post(bank, "/approvals/decisions", draft, token=maker).json()
    other = post(bank, "/approvals/decisions", draft | {"outcome": "refused"}, token=maker)
    assert (other.status_code, other.json()["code"]) == (409, "node.approval_contradicts")
    checked = {"approval": proposed["approval"], "digest": proposed["digest"]}
    alone = post(bank, "/approvals/checks", checked, token=maker)
    assert (alone.status_code, alone.json()["code"]) == (403, "node.permission_missing")
    done = post(bank, "/approvals/checks", checked, token=checker).json()
    assert (done["state"], done["outcome"]["status"]) == ("done", "approved")
    (decision,) = bank.get("/api/v1/decisions", outcome="approved").json()["items"]
    assert (decision["maker"], decision["checker"], decision["limit_fen"]) == (
        "officer",
        "supervisor",
        referral["offered_fen"],
    )
    explained = bank.get(f"/api/v1/decisions/{wanted['application']}").json()
    assert explained["explanation"]["persons"]["reason"] == "order book seen"
    assert explained["explanation"]["persons"]["codes"] == ["business_confirmed"]
    assert [rule["zh"] for rule in explained["rules"]] == ["预测违约概率需人工复核"]
    file = bank.get(f"/api/v1/applications/{wanted['application']}").json()
    entry = {step["step"]: step["entry"] for step in file["timeline"]}["decided"]
    assert (entry, file["status"]) == (decision["entry"], "approved")
    assert (file["decision"]["maker_name"], file["decision"]["checker_name"]) == ("officer", "supervisor")


def test_the_same_application_is_taken_once_and_another_under_its_id_is_refused(world, bank):
    wanted, file = handed_in(world, bank, 0xA2)
    work(bank)
    again = post(bank, "/applications", wanted)
    assert (again.status_code, again.json()["status"]) == (200, "referred")
    other = post(bank, "/applications", wanted | {"amount_fen": 60_000_000})
    assert (other.status_code, other.json()["code"]) == (409, "lending.application_repeated")
    unknown = post(bank, "/applications", wanted | {"application": "b" * 32, "product": "no-loan"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "lending.product_unknown")
    nobody = post(bank, "/applications", wanted | {"application": "b" * 32, "consent": f"bureau/{'0' * 32}"})
    assert nobody.json()["code"] == "consent.unknown"
    assert "b" * 32 not in bank.get("/api/v1/applications").text
    assert file["application"] in bank.get("/api/v1/applications").text


def test_applications_are_listed_by_pages_filters_and_as_csv(world, bank):
    for number in range(3):
        handed_in(world, bank, 0xC0 + number)
        world.clock.advance(1)
    first = bank.get("/api/v1/applications", limit=2).json()
    seen = [row["application"] for row in first["items"]]
    while first["next"]:
        first = bank.get("/api/v1/applications", limit=2, cursor=first["next"]).json()
        seen += [row["application"] for row in first["items"]]
    assert len(seen) == len(set(seen))
    assert {f"{0xC0 + number:032x}" for number in range(3)} <= set(seen)
    waiting = bank.get("/api/v1/applications", status="submitted", product=PRODUCT).json()["items"]
    assert [row["application"] for row in waiting] == [f"{0xC0 + number:032x}" for number in range(3)]
    assert bank.get("/api/v1/applications", product="tax-credit-loan").json()["items"] == []
    text = bank.get("/api/v1/applications", headers={"Accept": "text/csv"}, status="submitted").text
    assert [row["application"] for row in csv.DictReader(io.StringIO(text))] == [row["application"] for row in waiting]
    assert bank.get("/api/v1/applications", cursor="elsewhere").json()["code"] == "api.cursor_unknown"
    assert bank.get("/api/v1/applications/ffffffff").json()["code"] == "node.application_unclear"
    closed = post(bank, "/applications/closings", {"application": waiting[0]["application"], "reason": "withdrawn"})
    assert (closed.json()["status"], closed.json()["timeline"][-1]["cause"]) == ("closed", "withdrawn")
    proven = post(bank, "/applications/steps", {"application": waiting[1]["application"], "until": "proven"}).json()
    assert [step["step"] for step in proven["timeline"]] == ["received", "submitted", "requested", "answered", "proven"]
    anew = post(bank, "/applications/renewals", {"application": waiting[1]["application"]}).json()
    assert anew["request"] != proven["request"]
    work(bank)
    assert bank.get(f"/api/v1/applications/{waiting[1]['application']}").json()["status"] == "referred"


def test_what_was_done_and_read_is_in_the_journal(world, bank):
    wanted, _ = handed_in(world, bank, 0xA3)
    for kind in ("applications", "decisions"):
        bank.get(f"/api/v1/{kind}/{wanted['application']}")
    acts = {(entry["act"], entry["object"]) for entry in bank.running.accounts.journal.rows(limit=500)}
    assert ("applications.hand_in", f"application/{0xA3:032x}") in acts
    assert ("applications.read", f"application/{0xA3:032x}") in acts
    assert ("decisions.read", f"application/{0xA3:032x}") in acts


def test_products_are_shown_and_models_registered(bank):
    maker = bank.tokens.issue("product-officer", "products.make", "models.make", "products.read", "models.read")
    rules = bank.get(f"/api/v1/products/{PRODUCT}", token=maker).json()
    text = rules["rules"].replace('refer_above = "0.12"', 'refer_above = "0.11"')
    changed = post(bank, "/products/rules", {"product": PRODUCT, "rules": text}, token=maker).json()
    assert (changed["refer_above"], bank.get(f"/api/v1/products/{PRODUCT}").json()) == ("0.11", changed)
    stale = {"product": PRODUCT, "rules": rules["rules"], "replaces": rules["digest"]}
    refused = post(bank, "/products/rules", stale, token=maker)
    assert (refused.status_code, refused.json()["code"]) == (409, "lending.product_changed")
    post(bank, "/products/rules", {"product": PRODUCT, "rules": rules["rules"]}, token=maker)
    curve = {"rates": ["0.03", "0.15"], "churn": ["0", "0.5"]}
    assert post(bank, "/products/churn", {"curves": dict.fromkeys("ABC", curve)}).json() == {"bands": ["A", "B", "C"]}
    card = {
        "format": "shuiqiao-scorecard@1",
        "base_score": 600,
        "base_odds": 20,
        "points_to_double": 40,
        "name": "elsewhere",
        "base_points": 640,
        "features": [],
        "n": 100,
        "bad": 9,
    }
    given = {"scorecard": json.dumps(card), "data": "Loans of 2025.", "auc": "0.71", "auc_ci_95": "0.65 to 0.77"}
    registered = post(bank, "/models", {**given, "ks": "0.3"}, token=maker)
    assert registered.status_code == 200, registered.text
    model = registered.json()["digest"]
    work(bank)
    duty = bank.running.job_of(duty_id(PROCESS_OPEN))
    assert duty.due_ms > bank.running.institution.outbox.now_ms()
    assert post(bank, "/models/uses", {"product": PRODUCT, "model": model[:12]}).json()["model"] == model
    # Whatever waited for a model is gone on with at once, and not when the duty would have come round.
    assert bank.running.job_of(duty_id(PROCESS_OPEN)).due_ms < duty.due_ms
    shown = bank.get(f"/api/v1/models/{model[:12]}", token=maker).json()
    assert (shown["products"], shown["model_card"]["metrics"]["auc"]) == ([PRODUCT], "0.71")
    assert post(bank, "/models/uses", {"product": PRODUCT, "model": None}).json()["model"] is None
    assert [row["model"] for row in bank.get("/api/v1/products", token=maker).json()["items"]] == [None] * 3
    first, named = (bank.get(f"/api/v1/products?limit={most}", token=maker).json() for most in (2, 3))
    rest = bank.get(f"/api/v1/products?limit=2&cursor={first['next']}", token=maker).json()
    assert (first["items"] + rest["items"], rest["next"], named["next"]) == (named["items"], None, None)  # [API-7]
    assert bank.get("/api/v1/models?limit=501").status_code == 400
    assert bank.get("/api/v1/models?limit=1").json()["next"] is None
    assert [row["digest"] for row in bank.get("/api/v1/models").json()["items"]] == [model]
    for amiss, code in (("{}", "credit.scorecard_malformed"), (given["scorecard"][:-1], "base.json_malformed")):
        refused = post(bank, "/models", {**given, "scorecard": amiss, "ks": "0.3"}, token=maker)
        assert (refused.status_code, refused.json()["code"]) == (400, code)


def test_a_provider_is_asked_under_a_consent_once_however_often_it_is_said(world, bank, monkeypatch):
    link = world.bank.applications._around.provider(world.bureau.member)
    monkeypatch.setattr(world.bank, "provider_at", lambda _member: link)
    wanted = {"request": "d" * 32, "consent": world.consent()}
    first = post(bank, "/requests", wanted)
    assert first.status_code == 200, first.text
    assert first.json()["records"] == {"invoice_issued@2": worlds.INVOICES, "tax_credit_grade@1": 2}
    assert post(bank, "/requests", wanted).json() == first.json()
    told = bank.get(f"/api/v1/requests/{world.bank.member}/{'d' * 32}").json()
    assert (told["consent"], told["outcome"]) == (wanted["consent"], "received")

"""An enterprise with nothing but its key file: every command of its life, over HTTP to its bureau and its bank."""

from __future__ import annotations

import json
import os
import pty
import sys
from types import SimpleNamespace

import pytest
from msgspec import structs

from consortium_world import CHEAP, INVOICE_LOAN, REFUSED_POINTS, TAXPAYER, ConsortiumWorld, LossyEngine, record_files
from firms_world import OTHER_TAXPAYER, PASSPHRASE
from serving_world import at_its_socket
from shuiqiao.base.clock import MS_PER_DAY, MS_PER_HOUR
from shuiqiao.base.errors import Conflict, Denied, Unavailable
from shuiqiao.base.ids import system_entropy
from shuiqiao.client.enterprise import KEY_PURPOSE
from shuiqiao.client.http import HttpClient
from shuiqiao.client.resources.enrolments import ENROL, EnrolmentStatement
from shuiqiao.consent.codes import CodePurpose
from shuiqiao.consent.model import grant_key
from shuiqiao.consent.text import consent_text
from shuiqiao.crypto.keyfile import save_key_file
from shuiqiao.crypto.model import SuiteName
from shuiqiao.exchange.disputes import DisputeStatus
from shuiqiao.lending.file import Step
from shuiqiao.lending.processing import Surroundings
from shuiqiao.node.jobs.duties import GRANT_CONSENT
from shuiqiao.node.jobs.model import JobState
from shuiqiao.node.operations import own
from shuiqiao.sandbox.scenario.consortium import BANKS, BUREAU, LEAD_BANK, REGULATOR

CONSENT = ("--item", "invoice_issued@2=amounts,core", "--from", "2024-01-01", "--to", "2025-12-31")


@pytest.fixture
def passphrase(tmp_path, monkeypatch):
    path = tmp_path / "passphrase"
    path.write_bytes(PASSPHRASE)
    monkeypatch.setenv("SHUIQIAO_PASSPHRASE_FILE", str(path))


@pytest.fixture
def key(tmp_path):
    """A key file that opens fast; `enrol` takes one that is there."""
    path = tmp_path / "firm.key"
    save_key_file(
        path,
        seed=system_entropy(32),
        suite=SuiteName.INTL,
        purpose=KEY_PURPOSE,
        passphrase=PASSPHRASE,
        entropy=system_entropy,
        cost=CHEAP,
    )
    return path


@pytest.fixture
def code_of(tmp_path):
    """Says by options which one-time code is shown."""

    def options(code):
        path = tmp_path / f"{code}.code"
        path.write_text(f"{code}\n", encoding="utf-8")
        path.chmod(0o600)
        return "--code-file", path

    return options


@pytest.fixture
def firm(here, world, passphrase, key, code_of):
    """Says what a command of the enterprise said, and fails where it was refused."""

    def call(*arguments, fails=""):
        said = here("enterprise", *arguments, "--key", key, "--json")
        assert said.code == (1 if fails else 0), said.out + said.err
        if fails:
            assert said.json["error"]["code"] == fails
        return said.json

    call("enrol", TAXPAYER, *code_of(world.code(TAXPAYER)), "--bureau", world.bureau_url)
    return call


def consented(firm):
    given = firm("consent", LEAD_BANK, INVOICE_LOAN.id, *CONSENT)
    assert (given["recipient"], given["status"], given["items"]) == (
        LEAD_BANK,
        "active",
        {"invoice_issued@2": ["amounts", "core"]},
    )
    return given["consent"]


def test_the_text_is_shown_before_it_is_signed(here, firm, world, key):
    """[CONSENT-24]: both languages, the same that bureau and bank have on file, its digest in what was signed."""
    said = here("enterprise", "consent", LEAD_BANK, INVOICE_LOAN.id, *CONSENT, "--key", key, "--json")
    assert said.code == 0, said.err
    assert f"\n{said.json['text_zh']}\n{said.json['text_en']}\n" in said.err
    assert (TAXPAYER in said.json["text_zh"], LEAD_BANK in said.json["text_en"]) == (True, True)
    # The text has ids, which never change; the names that the ledger has for them stand beside it.
    state = world.bureau.running.institution.engine.state()
    for member in (BUREAU, LEAD_BANK):
        named = state.get(f"members/member/{member}")
        assert f"\n{member}: {named['name_zh']} {named['name']}\n" in said.err
    assert (said.json["recipient_name"], said.json["recipient_name_zh"]) == (named["name"], named["name_zh"])
    assert [row["recipient_name"] for row in firm("consents")["consents"]][-1] == named["name"]
    artefact = world.bureau.running.institution.consent_service.artefact(said.json["consent"])
    assert (artefact.text.hex(), consent_text(artefact).zh) == (said.json["text_digest"], said.json["text_zh"])


@pytest.mark.parametrize(
    ("changed", "code", "named"),
    [
        (("--item", "invoice_isued@2=core"), "standards.type_unknown", "invoice_isued@2"),
        (("--item", "invoice_issued@2=core,amount"), "standards.group_unknown", "amount"),
        (("--item", "invoice_issued@2=amounts"), "consent.terms_wrong", "core"),
        (("--from", "2025-12-31", "--to", "2024-01-01"), "consent.period_reversed", "2024-01-01"),
        (("--mode", "score"), "consent.terms_wrong", "outputs"),
    ],
)
def test_a_consent_that_nobody_could_grant_is_refused_before_its_text_is_shown(here, firm, key, changed, code, named):
    """[CONSENT-5]"""
    given = (LEAD_BANK, "tax-credit-loan", *_but(CONSENT, changed))
    said = here("enterprise", "consent", *given, "--yes", "--key", key, "--json")
    assert (said.code, said.json["error"]["code"]) == (1, code)
    assert named in said.json["error"]["message"]
    assert "授权书" not in said.err


def _but(options, changed):
    """Options, those that are named again in their place."""
    kept = {options[at]: options[at + 1] for at in range(0, len(options), 2)}
    kept |= {changed[at]: changed[at + 1] for at in range(0, len(changed), 2)}
    return [part for option in kept.items() for part in option]


def test_a_consent_is_good_once_renewed_or_given_with_another(firm, here, world, key, tmp_path):
    """[CONSENT-25] [CONSENT-26] [CONSENT-27]: by the commands of both enterprises, as their bureau has it."""
    once = firm("consent", LEAD_BANK, INVOICE_LOAN.id, *CONSENT, "--once")
    assert (once["fetch"], once["answers"], once["renews"]) == ("one_time", "1 a year", None)
    after = firm("consent", LEAD_BANK, INVOICE_LOAN.id, *CONSENT, "--renews", once["consent"])
    assert (after["fetch"], after["renews"]) == ("periodic", once["consent"])
    again = ("consent", LEAD_BANK, INVOICE_LOAN.id, *CONSENT, "--renews", once["consent"], "--days", 20)
    firm(*again, fails="consent.renewal_wrong")
    mine = firm("consent", LEAD_BANK, INVOICE_LOAN.id, *CONSENT, "--joint", "borrower:new")
    guarantor = world.enrolled(f"guarantor-{tmp_path.name}.key", OTHER_TAXPAYER)
    signs = ("consent", LEAD_BANK, INVOICE_LOAN.id, *CONSENT, "--joint", f"guarantor:{mine['joint']}@{BUREAU}")
    path = world.folder / f"guarantor-{tmp_path.name}.key"
    said = here("enterprise", *signs, "--key", path, "--json")
    assert said.code == 0, said.err
    assert guarantor.taxpayer in said.json["text_zh"]
    theirs = said.json
    assert (mine["joint_with"], theirs["joint_with"]) == (theirs["consent"], mine["consent"])
    for wrong in ("borrower", "witness:new", "guarantor:zz", "guarantor:00@Nobody!"):
        said = here("enterprise", "consent", LEAD_BANK, INVOICE_LOAN.id, *CONSENT, "--joint", wrong, "--key", key)
        assert said.code == 2, said.err


@pytest.fixture
def keeping_back(world):
    """The bureau while it keeps grants back."""
    bureau = world.bureau.running.institution
    before, service = bureau.settings, bureau.consent_service
    bureau.settings = structs.replace(before, entry_delay_min=600)
    del bureau.consent_service
    yield bureau
    bureau.settings, bureau.__dict__["consent_service"] = before, service


def test_a_consent_that_is_kept_back_is_pending_and_says_no_hour(firm, here, key, world, keeping_back):
    """[CONSENT-32] [CONSENT-33]"""
    before = here("enterprise", "consents", "--key", key, "--json").json["consents"]
    said = here("enterprise", "consent", LEAD_BANK, INVOICE_LOAN.id, *CONSENT, "--key", key, "--json")
    assert (said.code, said.json["status"], said.json["granted_index"]) == (0, "pending", None)
    assert "keeps it back for a while" in said.err
    [job] = world.bureau.running.jobs.jobs(kind=GRANT_CONSENT)
    assert job.state in {JobState.WAITING, JobState.RUNNING}
    # A shorter window keeps its hours.
    short = firm("consent", LEAD_BANK, INVOICE_LOAN.id, *CONSENT, "--days", 2)
    whose, windows = own.OwnScope(taxpayer=TAXPAYER), list[tuple[int, int]]()
    for given in (said.json, short):
        found = own.read_consent(keeping_back, whose, given["consent"])
        windows.append((found.valid_from_ms, found.valid_to_ms))
    assert [(begins % MS_PER_DAY, ends - begins) for begins, ends in windows[:1]] == [(0, 30 * MS_PER_DAY)]
    assert [(begins % MS_PER_HOUR, ends - begins) for begins, ends in windows[1:]] == [(0, 2 * MS_PER_DAY)]
    rows = here("enterprise", "consents", "--key", key, "--json").json["consents"]
    assert [row["status"] for row in rows[len(before) :]] == ["pending", "pending"]
    # What a clerk hands in is refused until it is entered, and entered by itself all the same, once.
    device = world.enrolled(f"{key.name}.other", OTHER_TAXPAYER)
    with device.at_bureau() as session:
        message = world.submission(device, session).model_dump()
    for _ in range(2):
        answer = world.bureau.search("/api/v1/consents", **message)
        assert (answer.status_code, answer.json()["code"]) == (503, "ledger.entry_waits")
        assert int(answer.headers["retry-after"]) > 0
    assert len(world.bureau.running.jobs.jobs(kind=GRANT_CONSENT)) == 3


@pytest.mark.parametrize(("reply", "code"), [("n\n", 1), ("y\n", 0)])
def test_at_a_terminal_a_person_is_asked(here, firm, key, monkeypatch, reply, code):
    """[CONSENT-24]"""
    before = firm("consents")["consents"]
    controller, terminal = pty.openpty()
    os.write(controller, reply.encode())
    with os.fdopen(terminal, encoding="utf-8") as typed:
        monkeypatch.setattr(sys, "stdin", typed)
        said = here("enterprise", "consent", LEAD_BANK, INVOICE_LOAN.id, *CONSENT, "--key", key, "--json")
    os.close(controller)
    assert said.code == code, said.err
    assert "Sign this?" in said.err
    assert len(firm("consents")["consents"]) == len(before) + 1 - code


def test_an_application_is_made_decided_and_explained(firm, here, world, key):
    consent = consented(firm)
    applied = firm("apply", consent, "5000000", "--bank", world.bank_url)
    assert [step["step"] for step in applied["timeline"]][:2] == ["received", "submitted"]
    assert applied["decision"] is None
    assert ("goes on with it by itself" in applied["note_en"], "自行继续办理" in applied["note_zh"]) == (True, True)
    spoken = here("enterprise", "applications", applied["application"], "--bank", world.bank_url, "--key", key)
    # No model is in use yet, which the bank's own jobs may have met meanwhile.
    assert any(words in spoken.out for words in ("nothing is needed of you 银行", "it tries again by itself"))
    decide(world, bytes.fromhex(applied["application"]))
    listed = firm("applications", "--bank", world.bank_url)["applications"]
    assert applied["application"] in [row["application"] for row in listed]
    shown = firm("applications", applied["application"], "--bank", world.bank_url, "--consent", consent)
    decision = shown["decision"]
    assert (shown["status"], decision["outcome"], decision["limit_fen"], decision["persons"]) == (
        "refused",
        "refused",
        0,
        False,
    )
    assert (shown["note_en"], shown["note_zh"]) == ("", "")
    assert all(each["code"] and each["en"] and each["zh"] for each in decision["reasons"])
    reason = next(each for each in decision["reasons"] if each["code"] == "risk_too_high")
    assert ("chance of default" in reason["en"], "违约" in reason["zh"]) == (True, True)
    # What the bank's model made of it, and how, is the bank's own.
    assert not {"points", "default_probability", "model", "request"} & set(json.dumps(shown).split('"'))
    uses = firm("used")["uses"]
    assert {(use["recipient"], use["outcome"], use["consent"]) for use in uses} >= {(LEAD_BANK, "delivered", consent)}


def test_credentials_are_obtained_kept_and_revoked(firm, here, world, key):
    """[CREDENTIAL-5] [CREDENTIAL-7]"""
    institution = world.bureau.running.institution
    # Other key files of this taxpayer have copies too.
    institution.credentials.revoke(TAXPAYER)
    got = firm("credentials", "obtain", "--copies", "3")
    assert (got["copies"], got["no_arrears"]) == (3, None), "this bureau takes in invoices alone"
    listed = firm("credentials", "list")["credentials"]
    assert len({row["credential"] for row in listed}) == 3
    assert {(row["shown_to"], row["sales_12m_band"]) for row in listed} == {("", got["sales_12m_band"])}
    kept = json.loads((key.parent / "firm.key.credentials.json").read_text())
    assert [copy["claims"]["taxpayer"] for copy in kept["copies"]] == [TAXPAYER] * 3
    assert TAXPAYER not in json.dumps(listed)
    assert institution.credentials.revoke(TAXPAYER) == 3


def test_a_credential_is_shown_to_a_product_once_and_only_when_it_is_said(firm, here, world, key):
    """[CREDENTIAL-9] [CREDENTIAL-10]"""
    firm("credentials", "obtain", "--copies", "1")
    wanted = ("credentials", "show", "tax-credit-loan", "--bank", world.bank_url)
    asked = firm(*wanted)
    assert asked == {
        "bank": LEAD_BANK,
        "product": "tax-credit-loan",
        "format": "sd-jwt",
        "claims": ["no_arrears", "registered_band", "tax_credit_grade", "tax_paid_12m_band"],
        "is_shown": False,
    }
    shown = firm(*wanted, "--yes")
    assert (shown["is_shown"], shown["is_met"], shown["unmet"]) == (True, False, asked["claims"])
    assert firm("credentials", "list")["credentials"][0]["shown_to"] == f"{LEAD_BANK}/tax-credit-loan"
    said = here("enterprise", *wanted, "--yes", "--key", key, "--json")
    assert (said.code, said.json["error"]["code"]) == (3, "client.credentials_used_up")
    assert (
        "privacy.product_asks_nothing"
        in here(
            "enterprise", "credentials", "show", "invoice-loan", "--bank", world.bank_url, "--key", key, "--json"
        ).out
    )
    (row,) = world.bank.running.institution.shown_credentials.newest(most=1)
    assert set(row.claims) == set(asked["claims"])


@pytest.fixture
def least_sales(world):
    """The bank's product asks for a band of sales alone, for one test."""
    products = world.bank.running.institution.products
    before = products.in_force("tax-credit-loan")
    head, _, rest = before.text.partition("[prove]\n")
    _, found, after = rest.partition("\n[")
    products.change(
        "tax-credit-loan", f"{head}[prove]\nleast = {{ sales_12m_band = 1 }}\n{found}{after}", replaces=before.digest
    )
    yield
    now = products.in_force("tax-credit-loan")
    products.change("tax-credit-loan", before.text, replaces=now.digest)


def test_predicates_are_proven_any_number_of_times_and_what_does_not_hold_is_not_shown(
    firm, here, world, key, least_sales
):
    """[CREDENTIAL-13] [CREDENTIAL-14] [CREDENTIAL-16]"""
    wanted = ("credentials", "show", "tax-credit-loan", "--bank", world.bank_url, "--format", "anoncreds")
    said = here("enterprise", *wanted, "--key", key, "--json")
    assert (said.code, said.json["error"]["code"]) == (3, "client.credentials_used_up")
    with world.line_to(world.bureau) as line:
        get = ("credentials", "obtain", "--format", "anoncreds", "--bureau", line.url)
        line.loses = "/own/credentials"
        lost = here("enterprise", *get, "--key", key, "--json")
        assert (lost.code, lost.json["error"]["code"]) == (3, "client.unreachable")
        line.loses = ""
        got = firm(*get)
    assert (got["copies"], got["format"], got["no_arrears"]) == (1, "anoncreds", False)
    assert got["sales_12m_band"] >= 1
    assert firm(*wanted) == {
        "bank": LEAD_BANK,
        "product": "tax-credit-loan",
        "format": "anoncreds",
        "claims": ["sales_12m_band >= 1"],
        "is_shown": False,
    }
    for _ in range(2):
        shown = firm(*wanted, "--yes")
        assert (shown["is_shown"], shown["is_met"], shown["unmet"]) == (True, True, [])
    bank = world.bank.running.institution
    assert [dict(row.claims) for row in bank.shown_credentials.newest(most=2)] == [{"sales_12m_band": ">= 1"}] * 2
    kept = firm("credentials", "list")["credentials"]
    assert [row["shown_to"].count("tax-credit-loan") for row in kept if row["format"] == "anoncreds"] == [2]
    assert TAXPAYER not in json.dumps(kept)
    # The whole catalogue's rules ask for what this bureau does not state.
    now = bank.products.in_force("tax-credit-loan")
    bank.products.change(
        "tax-credit-loan",
        now.text.replace("least = { sales_12m_band = 1 }", 'flags = ["no_arrears"]'),
        replaces=now.digest,
    )
    firm(*wanted, "--yes", fails="privacy.rules_unmet")
    assert len(bank.shown_credentials.newest(most=99)) >= 2
    assert bank.shown_credentials.newest(most=1)[0].claims == {"sales_12m_band": ">= 1"}


def test_copies_whose_answer_was_lost_are_the_same_copies(firm, here, world, key):
    """[API-9]"""
    with world.line_to(world.bureau) as line:
        wanted = ("credentials", "obtain", "--bureau", line.url)
        line.loses = "/own/credentials"
        said = here("enterprise", *wanted, "--key", key, "--json")
        assert (said.code, said.json["error"]["code"]) == (3, "client.unreachable")
        line.loses = ""
        issued = len(world.bureau.running.institution.credentials._store.copies_of(TAXPAYER))
        assert firm(*wanted)["copies"] == 10
    assert len(world.bureau.running.institution.credentials._store.copies_of(TAXPAYER)) == issued
    assert [*key.parent.glob("*.sent.json")] == []


def decide(world, application):
    """Decide at the bank, by a card that gives every firm the same points; a job of the bank may be at it."""
    bank = world.bank.running.institution
    with ConsortiumWorld.assessor(SimpleNamespace(suite=bank.suite), points=REFUSED_POINTS) as assessor:
        process = bank.application_process(
            Surroundings(
                provider=bank.provider_at,
                product={INVOICE_LOAN.id: INVOICE_LOAN}.__getitem__,
                assessor=lambda _: assessor,
                regulator=lambda: REGULATOR,
            )
        )
        world.wait_for(lambda: process.process(application, until=Step.DECIDED), while_raised=(Unavailable, Conflict))


def test_who_repeats_what_got_no_answer_makes_nothing_twice(firm, here, world, key):
    """[API-9]: the bureau and the bank did what was asked, and the line lost what they said of it."""

    def lost(*arguments):
        said = here("enterprise", *arguments, "--key", key, "--json")
        assert (said.code, said.json["error"]["code"]) == (3, "client.unreachable")

    def sent():
        return [*key.parent.glob("*.sent.json")]

    before = [row["consent"] for row in firm("consents")["consents"]]
    with world.line_to(world.bureau) as line:
        wanted = ("consent", LEAD_BANK, INVOICE_LOAN.id, *CONSENT, "--bureau", line.url)
        line.loses = "/own/consents"
        lost(*wanted)
        lost(*wanted)
        [path] = sent()
        kept = path.read_text()
        assert path.stat().st_mode & 0o777 == 0o600
        path.write_text("{}")
        firm(*wanted, fails="client.sent_act_damaged")
        path.write_text(kept)
        line.loses = ""
        consent = firm(*wanted)["consent"]
    assert [row["consent"] for row in firm("consents")["consents"]] == [*before, consent]
    with world.line_to(world.bank) as line:
        wanted = ("apply", consent, "5000000", "--bank", line.url)
        line.loses = "/own/applications"
        lost(*wanted)
        # The bank's server was killed before it kept its answer: the next one does the act again.
        with world.bank.running.institution.database.begin() as connection:
            connection.exec_driver_sql(
                "UPDATE api_act SET status = NULL, run = x'00' WHERE begun_ms = (SELECT max(begun_ms) FROM api_act)"
            )
        lost(*wanted)
        line.loses = ""
        applied = firm(*wanted)["application"]
        assert sent() == []
        rows = firm("applications", "--bank", world.bank_url, "--consent", consent)["applications"]
        assert [row["application"] for row in rows] == [applied]
        # What was answered is over: the same again is another application; so is what was sent the day before.
        line.loses = "/own/applications"
        lost(*wanted)
        [path] = sent()
        path.write_text(json.dumps({**json.loads(path.read_text()), "made_ms": 1}))
        line.loses = ""
        assert firm(*wanted)["application"] != applied
        rows = firm("applications", "--bank", world.bank_url, "--consent", consent)["applications"]
        assert len(rows) == 3


def test_what_a_bank_took_while_the_ledger_was_away_ends_in_sight(firm, here, world, key):
    """[CONSENT-34] [LENDING-10]: the pause gets to the ledger first, by the bureau, and the application after it."""
    consent, bank = consented(firm), world.bank.running.institution
    world.wait_for(lambda: bank.consent_file.artefact(consent))
    engine, of_firm = bank.outbox._engine, ("--bank", world.bank_url, "--consent", consent)
    bank.outbox._engine = LossyEngine(engine, reaches_the_ledger=False)
    try:
        applied = firm("apply", consent, "5000000", "--bank", world.bank_url)
        assert (applied["status"], "tries again by itself" in applied["note_en"]) == ("submitted", True)
        said = here("enterprise", "pause", consent, "--bank", world.bank_url, "--key", key)
        assert (said.code, "waits for the ledger" in said.err, "://" in said.err) == (0, True, False)

        def pause():
            if bank.engine.state().get(grant_key(consent))["status"] != "paused":
                raise Denied("consent.active", "it is not paused yet")

        world.wait_for(pause)
    finally:
        bank.outbox._engine = engine
    bank.applications.process(bytes.fromhex(applied["application"]), wait_s=60)
    told = firm("applications", applied["application"], *of_firm)
    end = told["timeline"][-1]
    assert (told["status"], end["step"], end["code"], bool(end["time"])) == ("closed", "closed", "consent.paused", True)
    assert (end["cause_en"].startswith("you had paused"), "暂停" in end["cause_zh"]) == (True, True)
    spoken = here("enterprise", "applications", applied["application"], *of_firm, "--key", key)
    assert "consent.paused: you had paused" in spoken.out
    assert [row.kind for row in bank.outbox.rows() if row.kind == "application.submit"] == []
    again = ("apply", INVOICE_LOAN.id, consent, "5000000", "--id", applied["application"], "--home", bank.home.folder)
    with at_its_socket(world.bank.running):
        repeated = here(*again, "--json")
    assert (repeated.json["application"], repeated.json["status"]) == (applied["application"], "closed")
    assert "--id" in repeated.err


def test_an_artefact_that_never_reached_the_bank_is_handed_over_by_the_enterprise(firm, world):
    consent, bank = consented(firm), world.bank.running.institution
    world.wait_for(lambda: bank.consent_file.artefact(consent))
    with bank.database.begin() as connection:
        connection.exec_driver_sql(f"DELETE FROM consent_artefact WHERE consent = '{consent}'")
    assert firm("apply", consent, "5000000", "--bank", world.bank_url)["consent"] == consent
    assert bank.consent_file.artefact(consent).taxpayer == TAXPAYER


def test_a_session_ends_with_what_it_was_for(world):
    device = world.enrolled("ended.key", OTHER_TAXPAYER)
    with device.at_bureau() as session:
        assert session.get("/api/v1/me").status == 200
    with HttpClient(world.bureau_url, token=session._token) as late, pytest.raises(Denied, match="unauthenticated"):
        late.get("/api/v1/me")


def test_a_bureau_tells_what_an_enterprise_is_known_by_and_enters_that_somebody_asked(world):
    world.enrolled("known.key", OTHER_TAXPAYER)
    counter = world.bureau.tokens.issue("counter", "enrolments.read")
    found = world.bureau.search("/api/v1/enrolments/searches", taxpayer=OTHER_TAXPAYER, token=counter).json()
    assert (found["bureau"], found["taxpayer"], found["has_backup"]) == (BUREAU, OTHER_TAXPAYER, False)
    unknown = world.bureau.search("/api/v1/enrolments/searches", taxpayer="91440300MA5NOBODY7", token=counter)
    assert (unknown.status_code, unknown.json()["code"]) == (404, "consent.enrolment_unknown")
    journal = world.bureau.running.accounts.journal
    [entry] = journal.rows(act="enrolments.read", subject=f"taxpayer/{OTHER_TAXPAYER}")
    assert (entry["who"], entry["outcome"]) == ("counter", "done")


def test_sessions_of_a_key_end_when_its_enterprise_enrols_by_another_one(world):
    device = world.enrolled("stolen.key", OTHER_TAXPAYER)
    code = world.code(OTHER_TAXPAYER)
    renewal = device.enterprise.enrolment(device.bureau, taxpayer=device.taxpayer, code=code)
    with device.at_bureau() as session:
        # A fresh code renews the check of the same key; the same again, as after a lost answer, changes nothing.
        with HttpClient(world.bureau_url) as door:
            told = [door.perform(ENROL, EnrolmentStatement(enrolment=renewal.hex())) for _ in range(2)]
        assert [each.code_used for each in told] == [True, False]
        assert session.get("/api/v1/me").status == 200
        world.enrolled("fresh.key", OTHER_TAXPAYER)
        with pytest.raises(Denied, match="unauthenticated"):
            session.get("/api/v1/me")


def test_sessions_end_and_consents_wait_when_another_person_represents_the_enterprise(world):
    """[CONSENT-31]"""
    device = world.enrolled("former.key", OTHER_TAXPAYER)
    consent = world.consented(device)
    assert world.asked_for(consent)
    code = world.code(OTHER_TAXPAYER, purpose=CodePurpose.REPRESENTATIVE)
    with device.at_bureau() as session:
        statement = device.enterprise.enrolment(device.bureau, taxpayer=device.taxpayer, code=code)
        with HttpClient(world.bureau_url) as door:
            record = door.perform(ENROL, EnrolmentStatement(enrolment=statement.hex()))
        assert record.representative_since_ms == record.checked_ms
        with pytest.raises(Denied, match="unauthenticated"):
            session.get("/api/v1/me")
    with pytest.raises(Denied, match=r"^consent\.representative_changed"):
        world.asked_for(consent)


def test_a_consent_is_paused_resumed_and_revoked_and_each_entry_has_a_receipt(firm, here, world, tmp_path):
    consent = consented(firm)
    firm("pause", consent)
    firm("resume", consent)
    firm("resume", consent, fails="cli.consent_not_paused")
    # At the bank, by the key of this very consent.
    revoked = firm("revoke", consent, "--bank", world.bank_url)
    by_name = {row["consent"]: row["status"] for row in firm("consents")["consents"]}
    assert by_name[consent] == "revoked"
    firm("revoke", consent, fails="consent.step_invalid")
    firm("apply", consent, "5000000", "--bank", world.bank_url, fails="consent.revoked")
    # Who was refused asks anew.
    assert [*tmp_path.glob("*.sent.json")] == []
    kinds = [row["kind"] for row in firm("receipts")["entries"]]
    assert {"consent.grant", "consent.pause", "consent.resume", "consent.revoke"} <= set(kinds)
    saved = tmp_path / "revoked.receipt"
    at_the_bank = ("--bank", world.bank_url, "--consent", consent)
    firm("receipts", revoked["entry"], *at_the_bank, "--out", saved)
    genesis = world.network.home(BUREAU).genesis
    verified = here("verify", saved, "--genesis", genesis, "--json").json
    assert (verified["valid"], verified["kind"]) == (True, "consent.revoke")


def test_what_a_bank_offers_is_asked_without_a_key_and_nothing_else_is_consented_to(firm, here, world):
    listed = here("enterprise", "products", "--bank", world.bank_url, "--json").json["products"]
    offered = {row["product"]: row for row in listed}
    assert {"invoice-loan", "tax-credit-loan"} <= set(offered)
    loan = offered[INVOICE_LOAN.id]
    assert (loan["name"], loan["to_fen"]) == (INVOICE_LOAN.names.en, INVOICE_LOAN.limit.cap_fen)
    assert not {"model", "rules", "refer_above", "churn_bands"} & set(loan), "how a bank judges is its own"
    assert here("enterprise", "products", "--bank", world.bureau_url, "--json").json == {"products": []}
    before = firm("consents")["consents"]
    at = ("--bank", world.bank_url)
    firm("consent", LEAD_BANK, "no-such-loan", *CONSENT, *at, fails="client.product_not_offered")
    firm("consent", REGULATOR, INVOICE_LOAN.id, *CONSENT, *at, fails="client.institution_differs")
    assert firm("consents")["consents"] == before, "nothing was signed"
    assert firm("consent", LEAD_BANK, INVOICE_LOAN.id, *CONSENT, *at)["status"] == "active"


def test_what_is_typed_wrong_is_said_before_a_key_is_opened(here, tmp_path):
    """No key file is there: whoever mistypes is told of that first, with exit code 2."""
    absent = ("--key", tmp_path / "absent.key", "--json")
    address, consent = ("--bank", "http://127.0.0.1:1"), f"tax-bureau/{'4f' * 16}"
    day = ("--from", "2024-01-01", "--to", "2024-12-31", "--item", "invoice_issued@2=core")
    for words in (
        ("consent", "First Bank", "loan", *day),
        ("consent", "first-bank", "贷款", *day),
        ("consent", "first-bank", "loan", *day[:-1], "invoices"),
        ("pause", "tax-bureau"),
        ("resume", "tax-bureau/ZZ"),
        ("revoke", consent, "--bureau", "bureau.example"),
        ("apply", consent, "1", "--bank", "the bank"),
        ("apply", consent, "1", *address, "--industry", "Z"),
        ("apply", consent, "1", *address, "--province", "四四"),
        ("applications", *address, "--consent", "mine"),
        ("receipts", "0", *address, "--consent", "mine"),
        ("records", "--bureau", "http://"),
        ("dispute", "zz", "0", "--reason", "void"),
        ("used", "--as-of", "yesterday"),
        ("enrol", "９１９９Ｘ", "--bureau", "http://127.0.0.1:1"),
        ("recover", "9199 01", "--bureau", "http://127.0.0.1:1"),
    ):
        said = here("enterprise", *words, *absent)
        assert (said.code, "^" in said.out, "[0-9" in said.out) == (2, False, False), (words, said.out)


def test_a_key_file_that_is_not_there_is_said(here, tmp_path):
    absent = tmp_path / "nokey"
    for words in (("used",), ("consents",), ("receipts",)):
        said = here("enterprise", *words, "--key", absent, "--json")
        assert (said.code, said.json["error"]["code"]) == (3, "cli.key_file_missing")
        assert str(absent) in said.json["error"]["message"]


def test_what_is_not_the_enterprises_is_said_in_its_words(firm):
    unknown = f"{BUREAU}/{'0' * 32}"
    for words in (("revoke", unknown), ("pause", unknown), ("receipts", "1")):
        told = firm(*words, fails="client.own_unknown")["error"]
        assert "shuiqiao enterprise consents" in told["next_step"]


def test_a_consent_for_another_bank_is_said_at_a_bank(firm, world):
    other = BANKS[1]
    given = firm("consent", other, INVOICE_LOAN.id, *CONSENT)["consent"]
    told = firm("apply", given, "5000000", "--bank", world.bank_url, fails="client.consent_for_another")["error"]
    assert (other in told["message"], LEAD_BANK in told["message"]) == (True, True)
    nobodys = f"{BUREAU}/{'0' * 32}"
    firm("apply", nobodys, "5000000", "--bank", world.bank_url, fails="client.own_unknown")


def test_a_dispute_is_answered_by_a_correction_that_reaches_the_bank(firm, world, tmp_path):
    consent = consented(firm)
    world.wait_for(lambda: world.bank.running.institution.consent_file.artefact(consent))
    world.asked_for(consent)
    number = "24990000000000000003"
    (record,) = firm("records", "--type", "invoice_issued", "--number", number)["records"]
    raised = firm("dispute", record["batch"], record["leaf"], "--reason", "it was voided 已作废")
    assert (raised["status"], raised["recipients"]) == ("open", [LEAD_BANK])
    firm("dispute", record["batch"], record["leaf"], "--reason", "again", fails="exchange.dispute_open")
    bureau, bank = world.bureau.running.institution, world.bank.running.institution
    dispute = bytes.fromhex(raised["dispute"])
    corrected = tmp_path / "corrected.csv"
    text = record_files(tmp_path / "records")["invoice_issued"].read_text()
    corrected.write_text(
        "\n".join(line.replace("valid", "void") for line in text.splitlines() if number in line or "uscc" in line)
    )
    kind = bureau.catalogue.get("invoice_issued")
    assert bureau.vault.amend(corrected, anchor=bureau.outbox, record_type=kind).records_superseding == 1
    bureau.disputes.answer(dispute, status=DisputeStatus.CORRECTED, words="it stands as void now")
    answered = next(row for row in firm("disputes")["disputes"] if row["dispute"] == raised["dispute"])
    assert (answered["status"], answered["answer"]) == ("corrected", "it stands as void now")
    bank.catch_up_with(bureau)
    changed = [(each.leaf.batch.hex(), each.leaf.index) for each in bank.recipient.changed_records()]
    assert (record["batch"], record["leaf"]) in changed


def test_an_enterprise_reads_how_its_grade_follows_from_its_bureau_s_records(firm, world, tmp_path):
    """[GRADE-10]"""
    firm("grade", "--year", "2025", fails="tax_credit.registration_missing")
    bureau, files = world.bureau.running.institution, record_files(tmp_path / "records")
    for name in ("registration", "tax_credit_grade"):
        bureau.vault.ingest([files[name]], anchor=bureau.outbox, record_type=bureau.catalogue.get(name))
    told = firm("grade", "--year", "2025")
    assert (told["year"], told["grade"], told["issued"]["grade"], told["repairs"]) == (2025, "A", "A", [])
    assert ["start_fees_complete", "grade_a"] == [line["rule"] for line in told["lines"]]
    firm("grade", "--year", "2099", fails="tax_credit.year_not_begun")


def test_a_key_that_was_left_as_ciphertext_comes_back_for_a_code_of_its_own(firm, here, world, key, tmp_path, code_of):
    consent = consented(firm)
    told = firm("enrol", TAXPAYER, *code_of("0000-0000-0000"), "--bureau", world.bureau_url, "--backup")
    assert (told["backup"], told["code_used"]) == (True, False), "the key is enrolled already"
    again = firm("enrol", TAXPAYER, *code_of("0000-0000-0000"), "--bureau", world.bureau_url)
    assert again["backup"] is True, "one lies there, though none was sent"
    code = world.code(TAXPAYER, purpose=CodePurpose.RECOVER)
    firm("recover", TAXPAYER, *code_of(code), "--bureau", world.bureau_url, fails="crypto.key_file_exists")
    other = tmp_path / "other" / "firm.key"
    other.parent.mkdir()
    arguments = (
        "enterprise",
        "recover",
        TAXPAYER,
        *code_of(code),
        "--bureau",
        world.bureau_url,
        "--key",
        other,
        "--json",
    )
    assert here(*arguments).code == 0
    assert other.read_bytes() == key.read_bytes()
    other.unlink()
    assert here(*arguments).json["error"]["code"] == "consent.code_wrong"
    other.write_bytes(key.read_bytes())
    shown = here("enterprise", "consents", "--key", other, "--json").json["consents"]
    assert consent in [row["consent"] for row in shown]


def test_what_is_not_the_enterprise_s_bureau_or_key_is_refused(firm, here, world, key, tmp_path, code_of):
    firm("consents", "--bureau", world.bank_url, fails="client.institution_differs")
    firm("enrol", OTHER_TAXPAYER, *code_of("0000"), "--bureau", world.bureau_url, fails="client.bureau_differs")
    fresh = tmp_path / "fresh.key"
    wrong = here(
        "enterprise", "enrol", TAXPAYER, *code_of("0000"), "--bureau", world.bureau_url, "--key", fresh, "--json"
    )
    assert wrong.json["error"]["code"] == "consent.code_wrong"
    # The key is there, and which bureau knows it is not: nobody does.
    assert (fresh.exists(), fresh.stat().st_mode & 0o777) == (True, 0o600)
    unknown = here("enterprise", "consents", "--key", fresh, "--json")
    assert (unknown.code, unknown.json["error"]["code"]) == (3, "client.bureau_unknown")
    (key.parent / "firm.key.bureau.json").write_text("{}")
    firm("consents", fails="client.bureau_file_damaged")


def test_a_key_file_of_something_else_signs_nothing(here, world, passphrase, tmp_path, code_of):
    path = tmp_path / "signing.key"
    fields = {"seed": bytes(32), "suite": SuiteName.INTL, "purpose": "signing", "passphrase": PASSPHRASE}
    save_key_file(path, **fields, entropy=system_entropy, cost=CHEAP)
    said = here(
        "enterprise", "enrol", TAXPAYER, *code_of("0000"), "--bureau", world.bureau_url, "--key", path, "--json"
    )
    assert said.json["error"]["code"] == "client.key_file_foreign"


def test_without_a_passphrase_and_a_terminal_it_says_what_is_missing(here, world, key, code_of):
    said = here("enterprise", "enrol", TAXPAYER, *code_of("0000"), "--bureau", world.bureau_url, "--key", key, "--json")
    assert (said.code, said.json["error"]["code"]) == (3, "cli.passphrase_missing")

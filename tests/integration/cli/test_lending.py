"""A bank's commands over its own home: products, models, applications, consents, as lines, CSV and JSON."""

from __future__ import annotations

import csv
import io
from contextlib import nullcontext

import pytest

import consortium_world as worlds
from serving_world import PASSPHRASE, served_here
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.ids import system_entropy
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.lending.model import ApplicantFile, Application
from shuiqiao.members.genesis import encode_genesis
from shuiqiao.members.model import Genesis, Role
from shuiqiao.members.roster import Registration
from shuiqiao.node.home.keys import MemberSeeds, keep_passphrase
from shuiqiao.node.home.making import create_home, member_from_seeds
from shuiqiao.node.home.settings import Home, NodeSettings
from shuiqiao.node.institution import Institution

CURVES = "annual_rate,churn_A,churn_B,churn_C\n0.03,0,0,0\n0.15,0.5,0.6,0.7\n"
APPLICATION = bytes(range(16))


@pytest.fixture(params=["opened", "served"])
def bank(request, tmp_path):
    """The home of a bank that is alone in its network, with one application that never reached the ledger.

    Its commands do the same whether its server runs or not.
    """
    home, suite = Home(tmp_path / "bank"), get_suite("intl")
    seeds = MemberSeeds.generate(system_entropy)
    member = member_from_seeds(
        seeds,
        registration=Registration.in_genesis("alone", "bank"),
        role=Role.BANK,
        name="Bank",
        name_zh="银行",
        suite=suite,
    )
    genesis = Genesis(
        name="alone", suite=SuiteName.INTL, writer=member.id, created_ms=SystemClock().now_ms(), members=(member,)
    )
    create_home(
        home,
        settings=NodeSettings(member=member.id, role=Role.BANK, suite=SuiteName.INTL),
        genesis=encode_genesis(genesis),
        seeds=seeds,
        passphrase=PASSPHRASE,
        entropy=system_entropy,
        cost=worlds.CHEAP,
    )
    keep_passphrase(home, PASSPHRASE)
    with Institution.open(home) as institution:
        application = Application(
            id=APPLICATION,
            product="tax-credit-loan",
            taxpayer=worlds.TAXPAYER,
            consent=f"bureau/{bytes(16).hex()}",
            amount_fen=50_000_000,
            submitted_ms=worlds.NOW_MS,
        )
        institution.application_store.add_application(
            application, salt=bytes(32), applicant=ApplicantFile(industry="C", other_debt_fen=5)
        )
    with served_here(home) if request.param == "served" else nullcontext():
        yield home.folder


def test_a_bank_lists_its_products_and_shows_one(here, bank):
    listed = here("products", "list", "--home", bank, "--json").json["products"]
    assert {row["product"]: row["model"] for row in listed} == {
        "invoice-loan": None,
        "tax-credit-loan": None,
        "tax-credit-score-loan": None,
    }
    shown = here("products", "show", "tax-credit-loan", "--home", bank, "--json").json
    assert (shown["refer_above"], shown["limit"]["cap_fen"], shown["price"]["lgd"]) == ("0.12", 500_000_000, "0.50")
    assert "税信贷" in here("products", "list", "--home", bank).out
    refused = here("products", "show", "no-loan", "--home", bank, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "lending.product_unknown")


def test_a_bank_gives_its_churn_curves_and_chooses_models(here, bank, tmp_path):
    path = tmp_path / "churn.csv"
    path.write_text(CURVES)
    assert here("products", "churn", path, "--home", bank, "--json").json == {"bands": ["A", "B", "C"]}
    assert here("models", "list", "--home", bank, "--json").json == {"models": []}
    for command in (("show", "ab"), ("use", "ab", "tax-credit-loan")):
        refused = here("models", *command, "--home", bank, "--json")
        assert (refused.code, refused.json["error"]["code"]) == (1, "credit.model_unclear")
    path.write_text("uscc,defaulted\nA1,1\n")
    refused = here("models", "develop", path, "--as-of", "2026-03-31", "--home", bank, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "lending.loan_book_empty")


SCORECARD = """{"format": "shuiqiao-scorecard@1", "base_score": 600, "base_odds": 20, "points_to_double": 40,
 "name": "elsewhere", "base_points": 640, "features": [], "n": 100, "bad": 9}"""


def test_a_bank_registers_a_model_lets_it_decide_and_changes_rules(here, bank, tmp_path):
    card, rules = tmp_path / "card.json", tmp_path / "rules.toml"
    card.write_text(SCORECARD)
    given = ("--data", "Loans of 2025.", "--auc", "0.71", "--auc-ci-95", "0.65 to 0.77", "--ks", "0.3")
    model = here("models", "register", card, *given, "--home", bank, "--json").json["digest"]
    (listed,) = csv.DictReader(io.StringIO(here("models", "list", "--format", "csv", "--home", bank).out))
    assert (listed["digest"], listed["auc"], listed["products"]) == (model, "0.71", "")
    used = here("models", "use", model[:8], "tax-credit-loan", "--home", bank, "--json").json
    assert used == {"product": "tax-credit-loan", "model": model}
    assert "Loans of 2025." in here("models", "show", model[:8], "--home", bank).out
    retired = here("models", "retire", "tax-credit-loan", "--home", bank, "--json").json
    assert retired == {"product": "tax-credit-loan", "model": None}
    text = here("products", "rules", "tax-credit-loan", "--home", bank).out
    rules.write_text(text.replace('refer_above = "0.12"', 'refer_above = "0.10"'))
    changed = here("products", "change", "tax-credit-loan", rules, "--home", bank, "--json").json
    shown = here("products", "show", "tax-credit-loan", "--home", bank, "--json").json
    assert (shown["refer_above"], shown["digest"]) == ("0.10", changed["digest"])
    rules.write_text("id = 1")
    refused = here("products", "change", "tax-credit-loan", rules, "--home", bank, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "lending.product_invalid")


OF_CARD = ("--data", "Loans of 2025.", "--auc", "0.71", "--auc-ci-95", "0.65 to 0.77", "--ks", "0.3")


@pytest.mark.parametrize(
    ("words", "argument", "text", "code"),
    [
        (("models", "register", "FILE", *OF_CARD), "SCORECARD", "{}", "credit.scorecard_malformed"),
        (("models", "register", "FILE", *OF_CARD), "SCORECARD", "{ no json", "base.json_malformed"),
        (("models", "offer", "--to", "bureau", "--outputs", "FILE", "ab"), "--outputs", "a = 1", "api.request_invalid"),
        (
            ("models", "offer", "--to", "bureau", "--outputs", "FILE", "ab"),
            "--outputs",
            "{",
            "credit.content_malformed",
        ),
        (("products", "change", "tax-credit-loan", "FILE"), "FILE", "id = 1", "lending.product_invalid"),
        (("products", "churn", "FILE"), "FILE", "annual_rate,churn_A\n0.1,2\n", "credit.churn_curve_invalid"),
        (("consent", "receive", "FILE"), "FILE", "no consent", "ledger.document_malformed"),
    ],
)
def test_a_refusal_names_the_file_that_is_wrong_and_its_argument(here, bank, tmp_path, words, argument, text, code):
    file = tmp_path / "given"
    file.write_text(text)
    refused = here(*(file if word == "FILE" else word for word in words), "--home", bank, "--json").json["error"]
    assert refused["code"] == code
    assert refused["message"].startswith(f"{argument} {file}: ")


def test_applications_are_listed_filtered_written_as_csv_and_shown(here, bank):
    (row,) = here("applications", "list", "--home", bank, "--json").json["applications"]
    assert (row["application"], row["amount_fen"], row["status"]) == (APPLICATION.hex(), 50_000_000, "submitted")
    (read,) = csv.DictReader(io.StringIO(here("applications", "list", "--format", "csv", "--home", bank).out))
    assert read == {name: str(value) for name, value in row.items()}
    assert here("applications", "list", "--status", "closed", "--home", bank, "--json").json == {"applications": []}
    shown = here("applications", "show", APPLICATION.hex()[:6], "--home", bank, "--json").json
    assert shown["applicant"] == {"papers": 0, "other_debt_fen": 5, "industry": "C", "province": None}
    refused = here("applications", "show", "ffff", "--home", bank, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "node.application_unclear")


def test_under_a_consent_that_nobody_gave_a_bank_asks_and_decides_nothing(here, bank):
    for command in ("request", "decide"):
        refused = here(command, APPLICATION.hex(), "--home", bank, "--json")
        assert (refused.code, refused.json["error"]["code"]) == (1, "consent.unknown")
    assert here("applications", "decisions", "--home", bank, "--json").json == {"decisions": []}


def test_a_consent_that_is_none_is_refused(here, bank, tmp_path):
    path = tmp_path / "artefact"
    path.write_bytes(b"\x00" * 40)
    refused = here("consent", "receive", path, "--home", bank, "--json")
    assert (refused.code, refused.json["error"]["code"].split(".")[0]) == (1, "ledger")
    assert here("applications", "decisions", "--home", bank, "--json").json == {"decisions": []}
    refused = here("applications", "explain", APPLICATION.hex(), "--home", bank, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "lending.undecided")
    refused = here("request", "--consent", f"bureau/{bytes(16).hex()}", "--home", bank, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "consent.unknown")
    assert here("request", "--home", bank).code == 2
    refused = here("apply", "tax-credit-loan", f"bureau/{bytes(16).hex()}", "100", "--home", bank, "--json")
    assert (refused.code, refused.json["error"]["code"]) == (1, "consent.unknown")


def test_these_commands_are_a_banks(here, home):
    for command in (("applications", "list"), ("products", "list"), ("models", "list"), ("applications", "referrals")):
        refused = here(*command, "--home", home, "--json")
        assert (refused.code, refused.json["error"]["code"]) == (1, "node.role_wrong")

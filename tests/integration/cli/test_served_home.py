"""Commands of a home do the same whether its server runs, which they then speak to, or not."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from api_world import ALL, NOTHING
from serving_world import PASSPHRASE, make_served_home, served, served_here
from shuiqiao.base.errors import Denied
from shuiqiao.client.problem import unauthenticated
from shuiqiao.client.resources.governance import KeyRotation
from shuiqiao.node.accounts.opening import open_accounts
from shuiqiao.node.home.server_lock import serving_process
from shuiqiao.node.institution import Institution
from shuiqiao.node.operations.governance import rotate_key


@pytest.fixture
def made(tmp_path):
    return make_served_home(tmp_path / "home")


@pytest.fixture
def token_file(tmp_path, monkeypatch):
    """Where the commands of a test look for a token: that of a user who may do everything."""
    path = tmp_path / "token"
    path.write_text(f"{ALL}\n")
    monkeypatch.setenv("SHUIQIAO_TOKEN_FILE", str(path))
    return path


@pytest.fixture(params=["opened", "served"])
def at_home(request, made, here):
    """A command on a home that is served, or not."""

    def call(*arguments):
        return here(*arguments, "--home", made.folder, "--json")

    with ExitStack() as stack:
        if request.param == "served":
            stack.enter_context(served_here(made))
        assert (serving_process(made) is not None) == (request.param == "served")
        yield call


def test_members_are_governed(at_home):
    proposed = at_home("members", "propose", "publish-standard", "filing@1")
    assert proposed.code == 0, (proposed.out, proposed.err)
    assert [*proposed.json] == [
        "proposal",
        "action",
        "proposer",
        "deadline",
        "status",
        "reason",
        "votes",
        "approvals",
        "rejections",
        "governing",
        "is_executed",
        "height",
    ]
    assert (proposed.json["status"], proposed.json["action"]["standard"]) == ("approved", "filing@1")
    refused = at_home("members", "vote", proposed.json["proposal"][:8], "--approve")
    assert (refused.code, refused.json["error"]["code"]) == (1, "members.proposal_closed")


def test_a_refusal_is_told_in_the_words_of_its_place(at_home, tmp_path):
    codes = {
        ("members", "vote", "abcd", "--approve"): "node.proposal_unclear",
        ("members", "propose", "publish-standard", "nothing@1"): "standards.type_unknown",
        ("members", "unfreeze"): "node.not_frozen",
        ("members", "suspend", "nobody"): "node.not_approved",
        ("members", "propose", "suspend", "n" * 300): "api.request_invalid",
        ("members", "propose", "admit", str(tmp_path / "absent.toml")): "node.file_unreadable",
    }
    for arguments, code in codes.items():
        refused = at_home(*arguments)
        assert refused.json["error"]["code"] == code
        assert refused.code == {"node.file_unreadable": 3, "api.request_invalid": 2}.get(code, 1)
        assert refused.json["error"]["next_step_zh"]
    refused = at_home("members", "vote", "abcd", "--approve").json["error"]
    assert "'abcd' begins the digest of 0 proposals" in refused["message"]
    assert refused["next_step"] == "shuiqiao members proposals"


def test_an_endpoint_is_published_and_taken_back(at_home):
    told = at_home("members", "endpoint", "https://bureau.example:8601").json
    assert (told["endpoint"], told["pin"]) == ("https://bureau.example:8601", "")
    assert at_home("members", "endpoint", "").json["endpoint"] == ""


@pytest.mark.parametrize("purpose", ["signing", "sealing"])
def test_a_key_is_replaced_and_the_home_goes_on_with_the_new_one(at_home, purpose):
    rotated = at_home("members", "rotate-key", "--purpose", purpose).json
    assert [*rotated] == ["member", "purpose", "public_key", "height", "resumed"]
    assert at_home("keys", "show").json[f"{purpose}_key"] == rotated["public_key"]
    after = at_home("members", "endpoint", "https://bureau.example:8601")
    assert after.code == 0, after.out
    assert at_home("members", "rotate-key", "--purpose", purpose).json["height"] == after.json["height"] + 1


def test_two_rotations_at_once_are_two_keys_one_after_the_other(made):
    with Institution.open(made) as institution, ThreadPoolExecutor(2) as pool:
        asked = [pool.submit(rotate_key, institution, KeyRotation(purpose="signing")) for _ in range(2)]
        keys = {each.result().public_key for each in asked}
        assert len(keys) == 2
        assert institution.keys.signing.public_key.hex() in keys


def test_two_commands_at_once_are_both_done(made, shuiqiao):
    with served(made), ThreadPoolExecutor(2) as pool:
        asked = [
            pool.submit(shuiqiao, "members", "propose", "publish-standard", name, "--home", made.folder, "--json")
            for name in ("filing@1", "payment@1")
        ]
        assert {each.result().json["status"] for each in asked} == {"approved"}


def test_a_token_decides_what_a_command_may(made, here, token_file, monkeypatch):
    def call(token):
        token_file.write_text(f"{token}\n")
        done = here("members", "propose", "publish-standard", "filing@1", "--home", made.folder, "--json")
        return done.code, done.json.get("error", {}).get("code", "")

    with served_here(made, has_users=True) as asked:
        assert call("a-token-of-nobody") == (1, "api.unauthenticated")
        assert call(NOTHING) == (1, "api.forbidden")
        assert call(asked.tokens.issue("token-of-freezing", "oversight.freeze")) == (1, "api.forbidden")
        assert call(asked.tokens.issue("token-of-proposing", "members.propose")) == (0, "")
        assert call("token-of-proposing") == (1, "members.standard_published")
        # Who was not let in did nothing; whatever a caller does, or is refused by the rules, is in the journal.
        journal = asked.running.accounts.journal.rows()
        assert [(entry["act"], entry["outcome"]) for entry in journal] == [
            ("members.propose", "members.standard_published"),
            ("members.propose", "done"),
        ]
        monkeypatch.delenv("SHUIQIAO_TOKEN_FILE")
        assert call("unread") == (1, "api.unauthenticated")


def test_what_two_people_do_nobody_does_alone(made, here, token_file):
    alone = [
        ("members", "propose", "suspend", "first-bank"),
        ("members", "unfreeze"),
        ("members", "freeze", "--reason", str(token_file)),
        ("members", "rotate-key"),
        ("members", "rotate-key", "--purpose", "validator"),
        ("record", "erase", "ab" * 16, "0", "--reason", "legal_order"),
    ]
    with served_here(made, has_users=True) as asked:
        asked.running.accounts.service.add_first_user("chen.wei")
        for arguments in alone:
            refused = here(*arguments, "--home", made.folder, "--json")
            assert (refused.code, refused.json["error"]["code"]) == (1, "node.two_people_needed"), arguments


def test_a_token_file_that_is_of_no_use_is_told(made, here, token_file):
    def refusal():
        refused = here("members", "unfreeze", "--home", made.folder, "--json")
        return refused.code, refused.json["error"]["code"]

    with served_here(made):
        for content in (b"", b"two words", b"t" * 600, "令牌".encode()):
            token_file.write_bytes(content)
            assert refusal() == (1, "cli.token_unusable")
        token_file.unlink()
        assert refusal() == (3, "cli.token_missing")
    # Without a server a command acts as the owner and looks at no token.
    assert refusal() == (1, "node.not_frozen")


def test_a_command_while_the_server_stops_is_done_or_told_that_nobody_listens(made, here):
    answers, stopped = list[tuple[int, str]](), threading.Event()

    def ask():
        while not stopped.is_set():
            found = here("members", "endpoint", "https://bureau.example:8601", "--home", made.folder, "--json")
            answers.append((found.code, found.json.get("error", {}).get("code", "")))

    with served(made) as server:
        ask_once = here("members", "endpoint", "https://bureau.example:8601", "--home", made.folder, "--json")
        assert ask_once.code == 0
        ended = threading.Thread(target=lambda: (server.end(), stopped.set()))
        ended.start()
        ask()
        ended.join()
    unreachable = {(3, "client.unreachable"), (3, "client.answer_foreign")}
    assert {*answers} <= {(0, ""), *unreachable, (3, "ledger.locked"), (1, "node.server_running")}
    after = here("members", "endpoint", "", "--home", made.folder, "--json")
    assert after.code == 0, after.out


HEADER = (
    "uscc,invoice_no,issue_date,status,is_red_letter,amount_fen,tax_fen,total_fen,counterparty_id,counterparty_name\n"
)
ROW = "9199000000000001X0,{number:020d},2026-03-01,valid,false,{amount},130,{total},B1,Secret Ltd\n"


def invoices(path, *numbers, amount=1000):
    path.write_text(HEADER + "".join(ROW.format(number=each, amount=amount, total=amount + 130) for each in numbers))
    return path


def test_records_are_taken_in_amended_and_destroyed(at_home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    invoices(tmp_path / "march 三月.csv", 1, 2)
    taken = at_home("ingest", "march 三月.csv", "--type", "invoice_issued")
    assert taken.code == 0, (taken.out, taken.err)
    assert [*taken.json] == [
        "records_read",
        "records_ingested",
        "records_superseding",
        "records_quarantined",
        "duplicates_reported",
        "anchors",
        "report",
        "anchored",
    ]
    [anchored] = taken.json["anchored"]
    assert [*anchored] == ["index", "batch", "type", "records"]
    assert (taken.json["records_ingested"], anchored["records"], anchored["type"]) == (2, 2, "invoice_issued@2")
    again = at_home("ingest", "march 三月.csv", "--type", "invoice_issued")
    assert (again.code, again.json["duplicates_reported"], again.json["anchors"]) == (1, 2, 0)

    amended = at_home("record", "amend", invoices(tmp_path / "right.csv", 2, amount=900), "--type", "invoice_issued")
    assert (amended.code, amended.json["records_superseding"]) == (0, 1)

    found = at_home("record", "find", "--number", f"{2:020d}").json["records"]
    assert [(each["version"], each["status"], each["file"]) for each in found] == [
        (1, "superseded", "march 三月.csv"),
        (2, "live", "right.csv"),
    ]
    assert at_home("record", "find").json["error"]["code"] == "vault.query_empty"
    assert at_home("record", "find", "--number", "none").code == 1

    proven = at_home("record", "prove", anchored["batch"], "1", "--out", tmp_path / "one.record").json
    assert (proven["status"], proven["groups"]) == ("superseded", ["core"])
    assert at_home("record", "changed").json == {"records": []}

    erased = at_home("record", "erase", anchored["batch"], "0", "--reason", "taxpayer_request")
    assert erased.json == {"batch": anchored["batch"], "erased": [0], "reason": "taxpayer_request"}


def test_an_ingest_goes_on_without_its_command_as_a_job_of_the_server(made, here, tmp_path, monkeypatch):
    """What is asked for while no server runs waits for the next one."""
    monkeypatch.chdir(tmp_path)
    asked = []

    def ask(name, number):
        invoices(tmp_path / name, number)
        arguments = ("ingest", name, "--type", "invoice_issued", "--background")
        asked.append(here(*arguments, "--home", made.folder, "--json"))
        assert asked[-1].code == 0, asked[-1].out

    ask("march 三月.csv", 1)
    assert (asked[0].json["kind"], asked[0].json["state"]) == ("vault.ingest", "waiting")
    with served_here(made):
        ask("april.csv", 2)
        for each in asked:
            while (job := here("jobs", "show", each.json["id"], "--home", made.folder, "--json").json)[
                "state"
            ] != "done":
                assert job["cause"] is None, job
            assert job["result"]["records_ingested"] == 1
        assert (
            len(
                here("record", "find", "--taxpayer", "9199000000000001X0", "--home", made.folder, "--json").json[
                    "records"
                ]
            )
            == 2
        )


def test_what_cannot_be_taken_in_is_refused_in_the_same_words(at_home, tmp_path):
    codes = {
        ("ingest", str(tmp_path / "absent.csv")): "standards.file_missing",
        ("ingest", str(invoices(tmp_path / "a.csv", 1)), "--type", "nothing"): "standards.type_unknown",
        ("record", "erase", "no-hex", "0", "--reason", "legal_order"): "cli.batch_malformed",
        ("record", "erase", "ab" * 16, "0", "--reason", "legal_order"): "vault.batch_unknown",
        ("pending", "redo", "abcd"): "node.pending_unclear",
        ("pending", "abandon", "abcd"): "node.pending_unclear",
    }
    told = {arguments: at_home(*arguments).json["error"]["code"] for arguments in codes}
    assert told == codes


def entries_of(home, act):
    """The entries of an act in a home's journal: who, about what, how it ended."""
    with open_accounts(home, passphrase=lambda: PASSPHRASE) as accounts:
        return [(row["kind"], row["object"], row["outcome"]) for row in accounts.journal.rows(act=act)]


def test_who_looks_for_a_taxpayers_records_is_in_the_journal(at_home, made):
    """[API-16]"""
    assert at_home("record", "find", "--taxpayer", "91440300MA5LEAKME7").code == 1
    assert at_home("record", "find").json["error"]["code"] == "vault.query_empty"
    assert entries_of(made, "records.search") == [
        ("owner", "", "vault.query_empty"),
        ("owner", "taxpayer/91440300MA5LEAKME7", "done"),
    ]


def test_an_act_is_in_the_journal_whichever_way_it_was_done(at_home, made):
    at_home("members", "endpoint", "https://bureau.example:8601")
    at_home("members", "unfreeze")
    assert entries_of(made, "members.endpoint") == [("owner", "", "done")]
    assert entries_of(made, "oversight.unfreeze") == [("owner", "", "node.not_frozen")]


def test_a_home_is_read_the_same_way_whether_it_is_served_or_not(at_home, tmp_path):
    at_home("members", "propose", "publish-standard", "filing@1")
    at_home("members", "endpoint", "https://bureau.example:8601")
    logged = at_home("log").json
    assert ([entry["kind"] for entry in logged["entries"]], logged["next"]) == (
        ["member.propose", "member.endpoint"],
        None,
    )
    assert [*logged["entries"][0]] == ["index", "height", "time", "kind", "author", "id"]
    first = at_home("log", "--limit", "1").json
    assert (len(first["entries"]), first["next"]) == (1, logged["entries"][1]["index"])
    assert [entry["kind"] for entry in at_home("log", "--kind", "member.endpoint").json["entries"]] == [
        "member.endpoint"
    ]

    written = at_home("receipt", "0", "--state", "members/epoch", "--out", tmp_path / "a.receipt").json
    assert (written["kind"], [claim["key"] for claim in written["state"]]) == ("member.propose", ["members/epoch"])
    assert at_home("receipt", "999").json["error"]["code"] == "ledger.index_unknown"

    listed = at_home("members", "list").json
    assert [*listed] == ["epoch", "quorum", "frozen", "members"]
    assert listed["members"][0]["endpoint"] == "https://bureau.example:8601"
    assert [each["number"] for each in at_home("members", "epochs").json["epochs"]] == [0]
    assert [each["status"] for each in at_home("members", "proposals").json["proposals"]] == ["approved"]
    assert at_home("pending", "list").json == {"pending": [], "deliveries": []}

    audited = at_home("audit")
    assert (audited.code, audited.json["problems"], audited.json["root_matches"]) == (0, [], True)
    assert [*audited.json][:2] == ["replayed", "root_matches"]
    assert [*at_home("keys", "show").json] == [
        "member",
        "role",
        "suite",
        "signing_key",
        "signing_key_id",
        "sealing_key",
    ]
    published = at_home("tiles", "publish", "--out", tmp_path / "tiles").json
    assert (published["published_before"], published["folder"]) == (0, str(tmp_path / "tiles"))
    again = at_home("tiles", "publish", "--out", tmp_path / "tiles").json
    assert again["published_before"] == again["size"] == published["size"]
    assert at_home("tiles", "publish").json["error"]["code"] == "node.tiles_folder_unnamed"
    assert at_home("journal", "verify").json["holds"]
    assert at_home("journal", "anchor").json == {"anchored": []}
    assert at_home("jobs", "show", "ff").json["error"]["code"] == "jobs.name_unclear"


def test_a_token_decides_what_a_reading_command_shows_of_a_served_home(made, here, token_file):
    reading = {
        "ledger.read": [("log",), ("members", "list"), ("keys", "show")],
        "jobs.read": [("pending", "list"), ("jobs", "list")],
        "audits.run": [("audit",)],
    }
    with served_here(made, has_users=True) as asked:
        for permission, commands in reading.items():
            for command in commands:
                token_file.write_text(NOTHING)
                assert here(*command, "--home", made.folder, "--json").json["error"]["code"] == "api.forbidden"
                token_file.write_text(asked.tokens.issue(f"token-of-{permission}", permission))
                done = here(*command, "--home", made.folder, "--json")
                assert done.code == 0, (command, done.out)


def test_without_a_token_every_command_says_the_same(made, here):
    """One code, wording and next step, whether the command misses the token or the server does."""
    with served_here(made, has_users=True):
        said = [
            here(*command, "--home", made.folder, "--json").json["error"]
            for command in [
                ("users", "list"),
                ("approvals", "list"),
                ("journal", "list"),
                ("members", "list"),
                ("log",),
            ]
        ]
    assert said == [unauthenticated().as_dict()] * len(said)


def test_people_work_by_name_at_a_home_that_is_served(made, here, tmp_path, monkeypatch):
    password, new, token = tmp_path / "password", tmp_path / "new", tmp_path / "token"
    new.write_text("one password of mine")
    monkeypatch.setenv("SHUIQIAO_PASSWORD_FILE", str(password))
    monkeypatch.setenv("SHUIQIAO_TOKEN_FILE", str(token))

    def call(*arguments):
        return here(*arguments, "--home", made.folder, "--json").json

    def take_up(name, first):
        password.write_text(first)
        assert call("users", "login", name, "--to", token)["user"] == name
        assert call("users", "password", "--new-file", new)["changed"]
        password.write_text(new.read_text())
        call("users", "login", name, "--to", token)

    with served(made):
        first = call("users", "add", "admin", "--first", "--role", "administrator")["first_password"]
        assert call("users", "add", "two", "--first", "--role", "administrator")["error"]["code"] == "node.users_exist"
        take_up("admin", first)
        chen = call("users", "add", "chen", "--role", "operator")["first_password"]
        assert [user["user"] for user in call("users", "list")["users"]] == ["admin", "chen"]
        assert call("approvals", "propose", "rotation")["error"]["code"] == "api.forbidden"
        take_up("chen", chen)
        proposed = call("approvals", "propose", "rotation")
        assert [each["approval"] for each in call("approvals", "list")["approvals"]] == [proposed["approval"]]
        rejected = call("approvals", "reject", proposed["approval"], "--reason", "not now")
        assert (rejected["state"], rejected["reason"]) == ("rejected", "not now")
        assert call("journal", "list")["error"]["code"] == "api.forbidden"


@pytest.mark.parametrize("decision", ["redo", "abandon"])
def test_work_that_the_ledger_refused_is_decided(made, here, tmp_path, decision):
    refuse(made, invoices(tmp_path / "march.csv", 1))
    with served_here(made):
        [waiting] = here("pending", "list", "--home", made.folder, "--json").json["pending"]
        done = here("pending", decision, waiting["id"][:8], "--home", made.folder, "--json")
        assert (done.code, done.json) == (0, waiting)
    assert here("pending", "list", "--home", made.folder, "--json").json["pending"] == []
    entries = here("log", "--home", made.folder, "--json").json["entries"]
    assert [entry["kind"] for entry in entries] == (["anchor.commit"] if decision == "redo" else [])


def refuse(home, path):
    """Have the ledger refuse the batch of a file."""

    class Frozen:
        def __init__(self, outbox):
            self.member, self.state = outbox.member, outbox.state

        def submit(self, _kind, _body):
            raise Denied("ledger.network_frozen", "the network is frozen")

    with Institution.open(home) as institution, pytest.raises(Denied):
        institution.vault.ingest(
            [path], anchor=Frozen(institution.outbox), record_type=institution.catalogue.get("invoice_issued")
        )


def test_the_owner_of_a_home_asks_without_a_token_how_its_server_is(made, here):
    silent = here("status", "--home", made.folder, "--json")
    assert (silent.code, silent.json["error"]["code"]) == (3, "node.not_running")
    assert f"shuiqiao serve --home {made.folder}" in silent.json["error"]["next_step"]
    with served_here(made):
        told = here("status", "--home", made.folder, "--json")
        spoken = here("status", "--home", made.folder)
    assert (told.code, spoken.code) == (0, 0), told.err
    assert (told.json["pid"], told.json["deliveries"], told.json["waits_for"]) == (os.getpid(), "", "")
    assert f"member            {told.json['member']}\n" in spoken.out
    assert "deliveries        nothing\n" in spoken.out

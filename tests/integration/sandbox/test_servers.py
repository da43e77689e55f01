"""A sandbox from nothing to five servers that answer, and back: what is started, asked, ended, and what is left alone."""

from __future__ import annotations

import json
import stat

import pytest

from patience import PATIENCE_S
from sandbox_world import client_of, made_sandbox
from serving_world import read_listening, start_server
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.errors import Conflict, InvalidInput, Unavailable
from shuiqiao.base.progress import no_progress
from shuiqiao.cli.door import run
from shuiqiao.client.resources.sessions import CallerRecord
from shuiqiao.node.accounts.model import ENTERPRISE_ROLE, permissions_of, roles_of
from shuiqiao.node.home.server_lock import serving_process
from shuiqiao.sandbox.benchmarks.api import ApiBench, measure_followers, measure_idle, measure_reading
from shuiqiao.sandbox.benchmarks.api_hostile import DECEIVED, HostilePeers, measure_hostile
from shuiqiao.sandbox.scenario.consortium import LEAD_BANK
from shuiqiao.sandbox.servers import parties
from shuiqiao.sandbox.servers.folder import SandboxFolder
from shuiqiao.sandbox.servers.parties import Office
from shuiqiao.sandbox.servers.running import Sandbox

MEMBERS = ("bureau", "bank-east", "bank-north", "bank-south", "regulator")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    work = tmp_path_factory.mktemp("servers")
    found = Sandbox(made_sandbox(work / "sandbox"))
    try:
        # What the bench measures of followers leaves the bureau's server running, and nothing else.
        rates = measure_followers(found, missed=100, work=work)
        assert min(rates.in_process, rates.over_http) > 0
        assert found.start(clock=SystemClock(), progress=no_progress) == MEMBERS[1:]
        yield found
    finally:
        found.stop()


@pytest.fixture
def sandbox(made):
    """The sandbox with all its servers at work, whichever of them another test ended."""
    made.start(clock=SystemClock(), progress=no_progress)
    return made


def told(capsys, *words):
    """What a command tells as JSON, with its exit code."""
    with pytest.raises(SystemExit) as ended:
        run([*words, "--json"])
    return json.loads(capsys.readouterr().out), ended.value.code


def test_all_five_answer_and_the_bureau_has_its_records(sandbox, capsys):
    found, code = told(capsys, "sandbox", "status", "--dir", str(sandbox.folder.folder))
    rows = found["institutions"]
    assert len(found["taxpayers"]) == min(3, sandbox.plan.taxpayers)
    assert (code, [row["member"] for row in rows], [row["ready"] for row in rows]) == (0, [*MEMBERS], [True] * 5)
    with pytest.raises(SystemExit):
        run(["sandbox", "status", "--dir", str(sandbox.folder.folder)])
    assert f"taxpayers    {' '.join(found['taxpayers'])} ... 可用纳税人" in capsys.readouterr().out
    assert list(rows[0]) == ["member", "role", "url", "ready", "height", "users"]
    assert rows[0]["height"] > 0
    assert sandbox.plan.has_records
    taken = sandbox.take_in(clock=SystemClock())
    assert (taken.records_ingested, taken.anchors, taken.records_read) == (0, 0, taken.duplicates_reported + 3)
    assert "password" not in json.dumps(rows)


def test_every_role_has_a_user_who_may_do_what_the_role_may(sandbox):
    for accounts in sandbox.folder.load_accounts():
        held = [role for user in accounts.users for role in user.roles]
        assert sorted(held) == sorted(roles_of(accounts.role).keys() - {ENTERPRISE_ROLE})
    for member, role in (("bank-east", "credit_supervisor"), ("regulator", "oversight_officer")):
        kind = sandbox.folder.accounts_of(member).role
        with client_of(sandbox, member, role) as user:
            caller = user.get("/api/v1/me").read_as(CallerRecord)
        # A checker's permissions come with its second factor alone.
        assert set(caller.permissions) == permissions_of([role], institution=kind)


def test_what_opens_the_homes_and_the_accounts_is_the_owners_alone(sandbox):
    for path in (sandbox.folder.accounts, *(sandbox.folder.home(name).passphrase for name in MEMBERS)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_up_again_starts_nothing_and_says_so(sandbox, capsys):
    found, code = told(capsys, "sandbox", "up", "--dir", str(sandbox.folder.folder))
    assert (code, found["started"]) == (0, [])
    assert "password" not in json.dumps(found["institutions"])
    assert told(capsys, "sandbox", "up", "--dir", str(sandbox.folder.folder), "--seed", "9")[0]["error"]["code"] == (
        "sandbox.differs"
    )


def test_logs_are_shown_by_member(sandbox, capsys):
    found, _ = told(capsys, "sandbox", "logs", "bureau", "--lines", "500", "--dir", str(sandbox.folder.folder))
    [bureau] = found["logs"]
    assert bureau["member"] == "bureau"
    events = [json.loads(line)["event"] for line in bureau["lines"] if line.startswith("{")]
    assert "request.answered" in events or events


def test_the_bench_measures_servers_that_are_left_alone_and_read(sandbox):
    assert measure_idle(sandbox) > 0
    read_ms = measure_reading(sandbox, ApiBench(suite="intl", readers=3, seconds=1))
    assert (read_ms["readers"], read_ms["p95"] > 0) == (3, True)


def test_people_begin_a_session_anew_before_it_ends_unused(sandbox, monkeypatch):
    with Office(sandbox, LEAD_BANK, clock=SystemClock()) as bank:
        first = bank.person("relationship_manager")
        assert bank.person("relationship_manager") is first
        monkeypatch.setattr(parties, "SESSION_S", -1.0)
        second = bank.person("relationship_manager")
        assert second is not first
        # An act under way goes on with the session that it has.
        for client in (first, second):
            assert client.get("/api/v1/me").read_as(CallerRecord).kind == "user"


@pytest.mark.long
def test_the_bench_measures_an_honest_member_beside_each_hostile_peer_and_none_is_misled(sandbox):
    peers = HostilePeers(seconds=0.3, flooding=4, dripping=20, open=50)
    rows = measure_hostile(sandbox, peers)
    assert [row["attack"] for row in rows] == [
        "invalid_signatures",
        "valid_acts",
        "one_byte_a_second",
        "open_connections",
        "wrong_roots",
        "endless_pages",
    ]
    for row in rows:
        assert row["slowed"] > 0
        for figures in (row["alone_ms"], row["beside_ms"]):
            assert 0 < figures["p50"] <= figures["p95"]
    # The follower of the hostile writer holds what all hold, and stands by it.
    deceived = [each for each in sandbox.status() if each.member == DECEIVED]
    assert [each.is_ready for each in deceived] == [True]


def test_a_server_that_died_is_told_and_started_again(sandbox):
    sandbox.server("bank-north").kill()
    status = {each.member: each for each in sandbox.status()}
    assert (status["bank-north"].is_ready, status["bank-north"].height, status["bureau"].is_ready) == (
        False,
        None,
        True,
    )
    assert sandbox.start(clock=SystemClock(), progress=no_progress) == ("bank-north",)


def test_down_ends_what_was_started_here_and_nothing_else(sandbox, monkeypatch):
    sandbox.server("bank-south").ask_to_end()
    sandbox.server("bank-south").wait_ended()
    home = sandbox.folder.home("bank-south")
    elsewhere = start_server(home)
    try:
        read_listening(elsewhere)
        assert sandbox.start(clock=SystemClock(), progress=no_progress) == ()
        assert sandbox.stop() == (tuple(name for name in MEMBERS if name != "bank-south"), ("bank-south",))
        assert serving_process(home) == elsewhere.pid
        assert [serving_process(sandbox.folder.home(name)) for name in MEMBERS if name != "bank-south"] == [None] * 4
    finally:
        elsewhere.terminate()
        elsewhere.communicate(timeout=PATIENCE_S)
    assert sandbox.stop() == ((), ())


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    place = SandboxFolder(tmp_path)
    with pytest.raises(Unavailable, match="is no sandbox"):
        Sandbox(place)
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(Conflict) as refused:
        made_sandbox(tmp_path)
    assert refused.value.code == "sandbox.folder_not_empty"
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_one_database_for_five_institutions_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("SHUIQIAO_DATABASE_URL", "postgresql://somewhere/else")
    with pytest.raises(InvalidInput) as refused:
        made_sandbox(tmp_path / "sandbox")
    assert refused.value.code == "sandbox.database_shared"

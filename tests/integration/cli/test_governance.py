"""A running consortium governs itself by the command line: it admits a validator, replaces a key, suspends, freezes.

Bounded in time; absent CometBFT it is skipped with the reason.
"""

from __future__ import annotations

import time
from contextlib import closing
from functools import partial

import pytest
from pyotp.totp import TOTP

from accounts_world import PASSWORD
from consortium_world import CHEAP
from network_world import four_validators, record_next_voting_key
from patience import PATIENCE_S
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.environment import TOKEN_FILE_VARIABLE
from shuiqiao.base.ids import system_entropy
from shuiqiao.ledger.engine.cometbft.comet.home import RPC_SOCKET, ValidatorKeyFiles
from shuiqiao.ledger.engine.cometbft.comet.rpc import RpcClient
from shuiqiao.members.model import Role
from shuiqiao.node.accounts.opening import open_accounts
from shuiqiao.node.localnet.making import add_member
from shuiqiao.node.localnet.plan import load_plan

VALIDATORS = ["bureau", "bank-1", "regulator", "bank-2"]


class Consortium:
    """A running network, and the commands on its homes."""

    def __init__(self, folder, *, run_network, here):
        self.folder = four_validators(folder)
        self._run = partial(run_network, folder)
        self._here = here

    def network(self, command, *arguments):
        done = self._run(command, *arguments)
        assert done.code in {0, 1}, (done.out, done.err)
        return done.json

    def refused(self, command, *arguments):
        done = self._run(command, *arguments)
        assert done.code != 0, done.out
        return done.json

    def call(self, member, *arguments):
        """Run a command on a member's home and return its JSON."""
        done = self._here("members", *arguments, "--home", self.folder.home(member).folder, "--json")
        assert done.code == 0, (done.out, done.err)
        return done.json

    def approvals(self, member, *arguments):
        """Run a command about acts of two people on a member's home and return its JSON."""
        done = self._here("approvals", *arguments, "--home", self.folder.home(member).folder, "--json")
        assert done.code == 0, (done.out, done.err)
        return done.json

    def refusal(self, member, *arguments):
        done = self._here("members", *arguments, "--home", self.folder.home(member).folder, "--json")
        assert done.code != 0, done.out
        return done.json["error"]["code"]

    def member(self, name, *, seen_by):
        """How a member stands in another one's copy of the ledger."""
        [found] = [each for each in self.call(seen_by, "list")["members"] if each["member"] == name]
        return found

    def decide(self, *action, by):
        """Propose and vote; return the proposal as the last vote left it."""
        proposer, *voters = by
        row = self.call(proposer, "propose", *action)
        for voter in voters:
            row = self.call(voter, "vote", row["proposal"][:10], "--approve")
        return row

    def validators(self):
        """The number of validators that consensus has."""
        place = load_plan(self.folder).validators[0]
        with closing(RpcClient(self.folder.home(place.member).cometbft / RPC_SOCKET)) as rpc:
            return int(rpc.call("validators")["total"])

    def voting_keys(self):
        """The keys whose votes count for the next height."""
        place = load_plan(self.folder).validators[0]
        with closing(RpcClient(self.folder.home(place.member).cometbft / RPC_SOCKET)) as rpc:
            return rpc.validator_keys()

    def trouble(self, member):
        [node] = [each for each in self.network("status")["nodes"] if each["node"] == member]
        return [each["code"] for each in node["trouble"]]

    def until(self, condition):
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, self.network("status")
            time.sleep(0.3)

    def cosigners(self, member="bureau"):
        """Who cosigned the newest checkpoint, once it covers all."""
        [node] = [each for each in self.network("status")["nodes"] if each["node"] == member]
        return node["cosigners"] if node["note_size"] == node["size"] else []


@pytest.fixture
def consortium(run_network, here, tmp_path):
    made = Consortium(tmp_path / "net", run_network=run_network, here=here)
    made.network("start")
    yield made
    made.network("stop")


def test_a_consortium_admits_a_validator_and_lets_it_go(consortium):
    member_file = add_member(
        consortium.folder,
        member="bank-9",
        role=Role.BANK,
        name="Bank Nine",
        name_zh="第九银行",
        passphrase=None,
        entropy=system_entropy,
        cost=CHEAP,
    )
    # Two of four are not more than two thirds.
    row = consortium.decide("admit", member_file, by=["bureau", "bank-1"])
    assert (row["status"], row["approvals"], row["governing"]) == ("open", 2, 4)
    assert consortium.validators() == 4
    assert consortium.refusal("bank-1", "vote", row["proposal"], "--approve") == "members.vote_repeated"
    # Its node may run before it is a member; nobody counts its vote.
    assert consortium.network("start", "bank-9")["running"] == ["bank-9"]
    row = consortium.call("regulator", "vote", row["proposal"], "--approve")
    assert row["status"] == "approved"
    consortium.until(lambda: consortium.validators() == 5)
    consortium.until(lambda: consortium.call("bank-9", "list")["epoch"] == 1)
    found = consortium.call("bank-9", "list")["members"]
    voting = ["bank-1", "bank-2", "bank-9", "bureau", "regulator"]
    assert [each["member"] for each in found if each["validator_key"]] == voting

    # It governs like the others: now four of five are needed.
    row = consortium.decide("set-quorum", "4", by=["bank-9", "bureau", "bank-1"])
    assert row["status"] == "open"
    row = consortium.call("bank-2", "vote", row["proposal"], "--approve")
    assert row["status"] == "approved"
    consortium.until(lambda: len(consortium.cosigners()) >= 4)

    # Two against of five: it cannot pass any more.
    row = consortium.call("bank-9", "propose", "set-quorum", "3")
    for voter in ("bureau", "regulator"):
        row = consortium.call(voter, "vote", row["proposal"], "--reject")
    assert (row["status"], row["rejections"]) == ("rejected", 2)
    assert consortium.refusal("bank-1", "vote", row["proposal"], "--approve") == "members.proposal_closed"

    flags = ("change-flags", "bank-9", "--no-governing", "--no-witness", "--validator-key", "")
    row = consortium.decide(*flags, by=["bureau", "bank-1", "bank-2", "regulator"])
    assert row["status"] == "approved"
    consortium.until(lambda: consortium.validators() == 4)
    epochs = consortium.call("bureau", "epochs")["epochs"]
    assert [(each["number"], each["quorum"], len(each["witnesses"])) for each in epochs] == [
        (0, 3, 4),
        (1, 3, 5),
        (2, 4, 5),
        (3, 4, 4),
    ]

    def statuses():
        return [each["status"] for each in consortium.call("bank-2", "proposals")["proposals"]]

    consortium.until(lambda: statuses() == ["approved", "approved", "rejected", "approved"])


def test_a_validator_replaces_its_key_while_it_runs_and_others_are_suspended_and_frozen(consortium, tmp_path):
    rotated = consortium.call("bank-1", "rotate-key")
    keys = sorted(path.name for path in consortium.folder.home("bank-1").keys.glob("*.json"))
    assert keys == ["data.key.json", "sealing.key.json", "signing.key.json", "signing.retired-0001.key.json"]
    consortium.until(lambda: rotated["public_key"] == consortium.member("bank-1", seen_by="bureau")["signing_key"])
    # Without one of four the other three must cosign: bank-1 does by its new key, and was not started anew.
    consortium.network("kill", "bank-2")
    row = consortium.decide("suspend", "bank-2", by=["bank-1", "bureau"])
    consortium.until(lambda: "bank-1" in consortium.cosigners())
    # The same once it was: the key files are all it goes by.
    consortium.network("kill", "bank-1")
    consortium.network("start")
    consortium.until(lambda: len(consortium.network("status")["nodes"][1]["cosigners"]) >= 3)

    row = consortium.call("regulator", "vote", row["proposal"], "--approve")
    assert (row["status"], row["is_executed"]) == ("approved", False)
    assert consortium.call("bank-1", "suspend", "bank-2")["suspended"]
    assert consortium.refusal("bank-2", "propose", "set-quorum", "3") == "ledger.member_suspended"
    row = consortium.decide("reinstate", "bank-2", by=["bank-1", "bureau", "regulator"])
    assert row["status"] == "approved"
    assert not consortium.call("bureau", "reinstate", "bank-2")["suspended"]
    assert consortium.refusal("bank-1", "suspend", "bank-2") == "node.not_approved"

    reason = tmp_path / "reason.txt"
    reason.write_text("an exercise")
    assert consortium.refusal("bank-1", "freeze", "--reason", reason) == "members.role_wrong"
    assert consortium.call("regulator", "freeze", "--reason", reason, "--days", "1")["frozen"]
    consortium.until(lambda: consortium.call("bank-1", "list")["frozen"] is not None)
    assert consortium.call("bank-1", "list")["frozen"]["author"] == "regulator"
    assert consortium.refusal("bank-1", "unfreeze") == "oversight.freeze_lasts"
    # A vote passes a freeze, and lifts it.
    assert consortium.decide("unfreeze", by=["bank-1", "bank-2", "bureau"])["status"] == "approved"
    assert not consortium.call("bank-1", "unfreeze")["frozen"]
    consortium.until(lambda: consortium.call("regulator", "list")["frozen"] is None)
    assert consortium.refusal("regulator", "freeze", "--reason", reason) == "oversight.freeze_repeated"
    assert consortium.refusal("regulator", "unfreeze") == "node.not_frozen"

    assert consortium.refusal("bank-2", "propose", "activate-contract", "anchor.commit", "2", "999") == (
        "node.version_unknown"
    )
    assert consortium.call("bank-2", "propose", "publish-standard", "filing@1")["status"] == "open"
    ceiling = consortium.call(
        "bank-2",
        "propose",
        "set-ceiling",
        "underwriting",
        "--period-months",
        24,
        "--answers-per-year",
        12,
        "--data-life-days",
        90,
        "--validity-days",
        90,
        "--bank",
        "bank-1",
    )
    assert (ceiling["status"], ceiling["action"]["recipient"], ceiling["action"]["max_validity_days"]) == (
        "open",
        "bank-1",
        90,
    )


def tokens_of_two(home, folder):
    """Give a home users; return the files of the tokens of who asks for another key and who checks it."""
    with open_accounts(home, cost=CHEAP) as accounts:
        service = accounts.service

        def log_in(name, password=PASSWORD, code=""):
            return service.log_in(name, password=password, code=code).token

        def take_up(name, first):
            service.change_password(service.authenticate(log_in(name, first)), old=first, new=PASSWORD)
            return service.authenticate(log_in(name))

        admin = take_up("admin", service.add_first_user("admin"))
        take_up("chen", service.add_user(admin, "chen", roles=["operator"]))
        supervisor = take_up("li", service.add_user(admin, "li", roles=["governance_supervisor"]))
        secret = service.make_second_factor(supervisor, password=PASSWORD).secret
        # A step whose code was used counts no more; the next one does already.
        step = SystemClock().now_ms() // 30_000
        service.confirm_second_factor(supervisor, code=TOTP(secret).generate_otp(step))
        (folder / "maker").write_text(log_in("chen"))
        (folder / "checker").write_text(log_in("li", code=TOTP(secret).generate_otp(step + 1)))
    return folder / "maker", folder / "checker"


def test_a_validator_replaces_the_key_it_votes_with(consortium, tmp_path, monkeypatch):
    before = consortium.voting_keys()
    files = {name: ValidatorKeyFiles(consortium.folder.home(name).cometbft) for name in VALIDATORS}
    assert before == {each.current() for each in files.values()}
    former = files["bank-1"].current()
    rotated = consortium.network("rotate-key", "bank-1")
    assert (rotated["purpose"], rotated["resumed"]) == ("validator", False)
    new = bytes.fromhex(rotated["public_key"])
    assert consortium.voting_keys() == before - {former} | {new}
    assert (new, None) == (files["bank-1"].current(), files["bank-1"].next())
    assert consortium.trouble("bank-1") == []

    # Interrupted behind the block: the ledger names the next key, and starting takes it into use.
    half = record_next_voting_key(consortium.folder, "bank-2")
    consortium.until(lambda: consortium.trouble("bank-2") == ["node.validator_key_differs"])
    consortium.network("kill", "bank-2")
    consortium.network("start", "bank-2")
    assert half == files["bank-2"].current()
    assert consortium.trouble("bank-2") == []

    # The command goes on as well, with the key that was made before it was interrupted.
    half_again = record_next_voting_key(consortium.folder, "bank-1")
    consortium.until(lambda: consortium.trouble("bank-1") == ["node.validator_key_differs"])
    went_on = consortium.call("bank-1", "rotate-key", "--purpose", "validator")
    assert (half_again.hex(), True) == (went_on["public_key"], went_on["resumed"])
    assert half_again == files["bank-1"].current()

    # Where there are users two people do it, and its node votes with the new key at once.
    maker, checker = tokens_of_two(consortium.folder.home("bureau"), tmp_path)
    assert consortium.refusal("bureau", "rotate-key", "--purpose", "validator") == "api.unauthenticated"
    monkeypatch.setenv(TOKEN_FILE_VARIABLE, str(maker))
    assert consortium.refusal("bureau", "rotate-key", "--purpose", "validator") == "node.two_people_needed"
    proposed = consortium.approvals("bureau", "propose", "rotation", "--purpose", "validator")
    former = files["bureau"].current()
    assert proposed["what"] == {"purpose": "validator", "replaces": former.hex()}
    monkeypatch.setenv(TOKEN_FILE_VARIABLE, str(checker))
    done = consortium.approvals("bureau", "approve", proposed["approval"], "--digest", proposed["digest"])
    new = files["bureau"].current()
    assert (done["state"], done["outcome"]["public_key"]) == ("done", new.hex())
    monkeypatch.delenv(TOKEN_FILE_VARIABLE)
    consortium.until(lambda: new in consortium.voting_keys())
    assert former not in consortium.voting_keys()

    # Without one of four all others must vote, these three by their new keys.
    consortium.until(lambda: half in consortium.voting_keys())
    consortium.network("kill", "regulator")
    assert consortium.call("bank-1", "propose", "set-quorum", "4")["status"] == "open"
    consortium.until(lambda: {"bank-1", "bank-2", "bureau"} <= set(consortium.cosigners()))

    done = consortium.refused("rotate-key", "nobody")
    assert done["error"]["code"] == "node.validator_unknown"

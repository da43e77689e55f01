"""``pending``: what the ledger refused is listed, redone and abandoned by commands, and ingest and doctor speak of it."""

from __future__ import annotations

import msgspec
import pytest

from shuiqiao.base.errors import Denied, InvalidInput, ShuiqiaoError
from shuiqiao.base.ids import MemberId
from shuiqiao.client.pages import PageQuery
from shuiqiao.node.home.settings import Home
from shuiqiao.node.institution import Institution
from shuiqiao.node.operations.deliveries import list_deliveries
from shuiqiao.node.peers.message import Act
from shuiqiao.vault.contract import AMEND, COMMIT

FIRM = "91000000000000001A"


def export(tmp_path, grade, year=2018):
    path = tmp_path / f"{year}-{grade}.csv"
    path.write_text(f"uscc,year,grade\n{FIRM},{year},{grade}\n", encoding="utf-8")
    return path


class Interfering:
    """This home's way to the ledger, on which something happens just before a submission of a kind."""

    def __init__(self, outbox, *, kind, act):
        self.member, self.state = outbox.member, outbox.state
        self._outbox, self._kind, self._act = outbox, kind, act

    def submit(self, kind, body):
        if kind == self._kind:
            self._act(self._outbox, body)
        return self._outbox.submit(kind, body)


def take_the_id(outbox, body):
    """As a home does that was restored twice."""
    outbox.submit(COMMIT, msgspec.structs.replace(body, root=b"?" * 32))


def freeze(_outbox, _body):
    raise Denied("ledger.network_frozen", "the network is frozen")


def refuse(home, path, *, kind, act):
    with Institution.open(Home(home)) as institution, pytest.raises(ShuiqiaoError):
        institution.vault.ingest([path], anchor=Interfering(institution.outbox, kind=kind, act=act))


@pytest.fixture
def listed(here, home):
    return lambda: here("pending", "list", "--home", home, "--json").json["pending"]


@pytest.fixture
def refused_batch(home, tmp_path, listed):
    refuse(home, export(tmp_path, "A"), kind=COMMIT, act=take_the_id)
    (work,) = listed()
    assert (work["kind"], work["code"]) == ("batch", "vault.anchor_differs")
    return work["id"]


@pytest.fixture
def refused_amendment(here, home, tmp_path, listed):
    """A newer grade is anchored, and the ledger was not let say that it supersedes the older."""
    assert here("ingest", export(tmp_path, "A"), "--home", home).code == 0
    refuse(home, export(tmp_path, "B"), kind=AMEND, act=freeze)
    (work,) = (entry for entry in listed() if entry["code"])
    assert (work["kind"], work["code"]) == ("amendment", "ledger.network_frozen")
    return work["id"]


def grades(here, home):
    found = here("record", "find", "--taxpayer", FIRM, "--home", home, "--json").json["records"]
    return [(entry["file"], entry["status"]) for entry in found]


def test_nothing_waits_in_a_new_home(here, home, listed):
    assert listed() == []
    assert "nothing waits" in here("pending", "list", "--home", home).out


def test_a_refused_batch_is_spoken_of_until_it_is_redone(here, home, tmp_path, listed, refused_batch):
    shown = here("pending", "list", "--home", home).out
    assert refused_batch[:16] in shown
    assert "shuiqiao pending redo ID" in shown
    said = here("ingest", export(tmp_path, "A", 2019), "--home", home)
    assert (said.code, "1 refused by the ledger, for you to decide: shuiqiao pending list" in said.err) == (0, True)
    assert "1 refused by the ledger" in here("doctor", "--home", home).out
    redone = here("pending", "redo", refused_batch[:8], "--home", home, "--json")
    assert (redone.code, redone.json["id"], listed()) == (0, refused_batch, [])
    quiet = here("ingest", export(tmp_path, "A", 2020), "--home", home)
    assert "refused by" not in quiet.err
    assert "refused by" not in here("doctor", "--home", home).out


def test_an_abandoned_batch_may_come_again(here, home, tmp_path, listed, refused_batch):
    said = here("pending", "abandon", refused_batch, "--home", home)
    assert (said.code, said.out) == (0, f"abandoned 已放弃  batch {refused_batch[:16]}\n")
    assert listed() == []
    assert here("ingest", export(tmp_path, "A"), "--home", home, "--json").json["records_ingested"] == 1


def test_a_message_that_no_member_takes_is_listed_and_given_up(here, home):
    """[PEER-11]"""
    with Institution.open(Home(home)) as institution:
        for body in (b"one", b"two"):
            institution.deliveries.send(MemberId("bank-west"), Act.ARTEFACT, body)
        institution.deliveries.deliver_due()
        first = list_deliveries(institution, PageQuery(limit=1))
        second = list_deliveries(institution, PageQuery(limit=1, cursor=first.next))
        with pytest.raises(InvalidInput, match=r"^api\.cursor_unknown"):
            list_deliveries(institution, PageQuery(cursor="anything"))
    found = here("pending", "list", "--home", home, "--json").json["deliveries"]
    assert [row["id"] for row in found] == [each.id for page in (first, second) for each in page.items]
    refused = next(row for row in found if row["code"])
    assert (refused["receiver"], refused["code"]) == ("bank-west", "peer.endpoint_unknown")
    assert "bank-west" in here("pending", "list", "--home", home).out
    given_up = here("pending", "abandon", refused["id"][:12], "--home", home, "--json").json
    assert (given_up["kind"], given_up["code"]) == ("delivery", "peer.endpoint_unknown")
    left = here("pending", "list", "--home", home, "--json").json["deliveries"]
    assert [row["id"] for row in left] == [row["id"] for row in found if row is not refused]


@pytest.mark.parametrize("act", ["redo", "abandon"])
def test_what_is_not_named_clearly_is_left_alone(here, home, listed, refused_batch, act):
    for name in (refused_batch[:3], "ffff" * 4, ""):
        said = here("pending", act, name, "--home", home, "--json")
        assert (said.code, said.json["error"]["code"]) == (1, "node.pending_unclear")
    assert [work["id"] for work in listed()] == [refused_batch]


def test_a_refused_amendment_is_redone(here, home, listed, refused_amendment):
    redone = here("pending", "redo", refused_amendment[:8], "--home", home, "--json")
    assert (redone.code, redone.json["kind"]) == (0, "amendment")
    assert [work for work in listed() if work["code"]] == []
    assert grades(here, home) == [("2018-A.csv", "superseded"), ("2018-B.csv", "live")]
    assert here("audit", "--home", home).code == 0


def test_an_abandoned_amendment_leaves_the_older_version_alone_live(here, home, tmp_path, listed):
    """On the ledger too: the newer one is told as erased, and may come again."""
    assert here("ingest", export(tmp_path, "A"), "--home", home).code == 0
    newer = export(tmp_path, "B")
    refuse(home, newer, kind=AMEND, act=freeze)
    with Institution.open(Home(home)) as institution:
        held = Interfering(institution.outbox, kind=AMEND, act=freeze)
        institution.vault.recover(held)
        (work,) = institution.vault.refused_amendments()
        institution.vault.abandon_amendment(work.batch, anchor=held)
        assert institution.vault.refused_amendments() == []
    assert listed() == []
    assert grades(here, home) == [("2018-A.csv", "live")]
    assert here("audit", "--home", home).code == 0
    assert here("ingest", newer, "--home", home, "--json").json["records_superseding"] == 1
    assert grades(here, home) == [("2018-A.csv", "superseded"), ("2018-B.csv", "live")]

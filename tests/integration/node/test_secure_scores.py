"""A bank and a bureau that compute a score together over real HTTP and a link of their own, and what can go wrong."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import msgspec
import pytest

from consortium_world import TAXPAYER
from offered_models import NAME
from secure_scene import Scene
from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import Denied, IntegrityError, ShuiqiaoError, Unavailable
from shuiqiao.client.resources import models as api
from shuiqiao.consent.model import Output
from shuiqiao.ledger.transactions.document import decode_document, sign_document
from shuiqiao.node.auditing import audit_institution
from shuiqiao.node.operations import models
from shuiqiao.node.operations.answers import ask_provider
from shuiqiao.node.peers import acts, secure_link
from shuiqiao.node.peers.directory import PeerDirectory
from shuiqiao.node.peers.message import Act
from shuiqiao.node.peers.secure_link import OFFER_STATEMENT, OfferStatement, dialled
from shuiqiao.privacy.budgets import WINDOW_MS
from shuiqiao.privacy.secure import library
from shuiqiao.privacy.secure.links import SecureLinks


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("secure")


@pytest.fixture(scope="module")
def scene(folder):
    made = Scene(folder / "intl", "intl")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _ours_again(request):
    """A test begins a year later, when nothing counts any more [LEAK-4], and leaves no links of its own."""
    if "scene" in request.fixturenames:
        found = request.getfixturevalue("scene")
        found.doors.world.clock.advance(WINDOW_MS + MS_PER_DAY)
        found.doors.world.identify_again()
        found.consent = found.consented()
    yield
    if "scene" in request.fixturenames:
        found.end_links()
        for institution in (found.bureau, found.bank):
            institution.__dict__.pop("secure_links", None)
            institution.__dict__.pop("_secure_runner", None)


def equal_scores(scene):
    plain = scene.score(Output.POINTS, model=scene.open)
    assert scene.score(Output.POINTS).points == plain.points
    for output, field in ((Output.BAND, "band"), (Output.YES_NO, "yes_no")):
        found = scene.score(output)
        assert getattr(found, field) == getattr(scene.score(output, model=scene.open), field)
        assert {found.points, found.band, found.yes_no} - {None} == {getattr(found, field)}


def test_secure_scores_are_the_plain_ones_and_the_bureau_has_no_weight(scene):
    """[SECURE-10] [SECURE-12] [SECURE-14] [SECURE-16]"""
    assert (scene.secure.form, scene.secure.outputs) == ("secure_linear", ("band", "points", "yes_no"))
    owner, _, entry = scene.secure.model.partition("/")
    seen = models.read_ledger_model(scene.bureau, api.LedgerModelQuestion(member=owner, entry=entry))
    assert seen.report.output_bits == {"band": 2, "points": 12, "yes_no": 1}
    content = msgspec.json.decode(seen.content)
    assert content["features"] == [{"cuts": [2_000_000, 5_000_000], "name": "zero_sales_months_12m"}]
    assert {name: each["values"] for name, each in content["outputs"].items()} == {
        "band": 3,
        "points": 4_096,
        "yes_no": 2,
    }
    assert NAME not in seen.content
    equal_scores(scene)

    # One worker at each end did all of it, and the records stayed where they were.
    asked = scene.asking(Output.YES_NO)
    told = ask_provider(scene.bank, asked)
    assert told.records == {}
    assert ask_provider(scene.bank, asked).score == told.score
    regulator = scene.doors.world.regulator
    regulator.catch_up_with(scene.bureau)
    assert audit_institution(regulator, visited=scene.bureau, live=scene.bureau.engine).problems == ()


def test_secure_scores_are_the_plain_ones_in_the_other_suite(folder):
    """[SECURE-12] [SECURE-16]"""
    scene = Scene(folder / "gm", "gm")
    try:
        equal_scores(scene)
    finally:
        scene.close()


def refused(scene, asked, code, *, kind=Unavailable):
    with pytest.raises(kind) as refusal:
        ask_provider(scene.bank, asked)
    assert refusal.value.code == code


def goes_on(scene, asked):
    """The request is answered, and both ends have charged one answer more."""
    before = [answers(each) for each in (scene.bureau, scene.bank)]
    assert ask_provider(scene.bank, asked).score.yes_no in {True, False}
    assert [answers(each) for each in (scene.bureau, scene.bank)] == [each + 1 for each in before]


def answers(institution):
    return sum(line.answers for line in institution.leakage.of(TAXPAYER).lines)


def test_a_bureau_that_is_not_set_up_says_so_and_computes_once_it_is(scene):
    """[SECURE-16]"""
    asked = scene.asking(Output.YES_NO)
    scene.over(scene.bureau, SecureLinks())
    refused(scene, asked, "privacy.secure_not_set_up")
    scene.over(scene.bureau, SecureLinks(listen="127.0.0.1:0", timeout_s=60.0))
    goes_on(scene, asked)


def test_a_worker_of_the_bureau_that_is_killed_in_a_run_ends_it_at_both_ends(scene):
    """[SECURE-13]"""
    killed = []

    class Killed(SecureLinks):
        def run(self, peer, *args, **named):
            if not killed:
                killed.extend(self.worker_pids)
                os.kill(killed[0], signal.SIGKILL)
            return super().run(peer, *args, **named)

    scene.over(scene.bureau, Killed(listen="127.0.0.1:0", timeout_s=60.0))
    asked = scene.asking(Output.YES_NO)
    with pytest.raises(Unavailable, match=r"privacy\.secure_(link_missing|peer_silent)"):
        ask_provider(scene.bank, asked)
    assert len(killed) == 1
    goes_on(scene, asked)


def test_a_bank_that_computes_another_function_is_found_out_before_anything_is_computed(scene):
    """[SECURE-13]: the code is the same at both ends, and the refusal is on the ledger."""

    class Other(SecureLinks):
        def run(self, peer, function, values, **named):
            wider = replace(function, indicators=function.indicators + 1)
            return super().run(peer, wider, [0, *values], **named)

    scene.over(scene.bank, Other(timeout_s=60.0))
    asked = scene.asking(Output.YES_NO)
    with pytest.raises(ShuiqiaoError, match=r"privacy\.secure_function_differs"):
        ask_provider(scene.bank, asked)
    scene.over(scene.bank, SecureLinks(timeout_s=60.0))
    goes_on(scene, scene.asking(Output.YES_NO))


def test_another_configuration_opens_no_link(scene):
    """[SECURE-4] [SECURE-16]"""

    class Older(SecureLinks):
        def offer(self, peer):
            return replace(super().offer(peer), configuration=b"SEMI2K")

    scene.over(scene.bank, Older(timeout_s=60.0))
    asked = scene.asking(Output.YES_NO)
    with pytest.raises(ShuiqiaoError, match=r"privacy\.secure_protocol_refused"):
        ask_provider(scene.bank, asked)
    scene.over(scene.bank, SecureLinks(timeout_s=60.0))
    goes_on(scene, asked)


def test_an_absent_extra_is_named_at_both_ends_and_both_go_on(scene, monkeypatch):
    """[SECURE-5]"""

    class Without(SecureLinks):
        def accept(self, peer, offer):
            with monkeypatch.context() as patch:
                patch.setattr(library, "LIBRARY_VERSION", "another")
                return super().accept(peer, offer)

    asked = scene.asking(Output.YES_NO)
    scene.over(scene.bureau, Without(listen="127.0.0.1:0", timeout_s=60.0))
    refused(scene, asked, "privacy.extra_missing")
    scene.over(scene.bureau, SecureLinks(listen="127.0.0.1:0", timeout_s=60.0))
    with monkeypatch.context() as patch:
        patch.setattr(library, "LIBRARY_VERSION", "another")
        refused(scene, asked, "privacy.extra_missing")
        assert ask_provider(scene.bank, scene.asking(Output.YES_NO, model=scene.open)).score is not None
    goes_on(scene, asked)


# Opening a link


class Listening:
    """A client that keeps what the bureau said, and can answer with something else."""

    def __init__(self, client, change=lambda told: told):
        self._client, self._change = client, change
        self.directory = client.directory
        self.told = []

    def ask(self, member, act, body, **named):
        assert act is Act.SECURE_OPEN
        self.told.append(self._client.ask(member, act, body, **named))
        return self._change(self.told[-1])


def opened(scene, change):
    """Open a link whose offer is changed on its way."""
    client = Listening(scene.bank.peer_client, change)
    secure_link.open_link(scene.bureau.member, client=client, side=scene.bank._link_side)
    return client.told


def changed(scene, key, **fields):
    """A bureau's offer with other fields, signed by a key."""
    bank = scene.bank

    def change(told):
        form = {"name": OFFER_STATEMENT, "network": bank.parameters.network, "suite": bank.suite}
        found = decode_document(told.statement, OfferStatement, max_bytes=acts.MAX_OFFER_BYTES, **form).body
        other = msgspec.structs.replace(found, **fields)
        return acts.SecureOpened(statement=sign_document(other, keys=(key,), **form))

    return change


def test_an_offer_is_taken_from_its_bureau_to_this_question_alone(scene):
    """[SECURE-17]"""
    bureau, bank = scene.bureau, scene.bank
    earlier = opened(scene, lambda told: told)
    assert bank.secure_links.is_open(bureau.member)
    bureaus, other = bureau.keys.signing, bank.suite.generate_signing_key(bank.dependencies.entropy)
    for change, kind, code in (
        (lambda _: earlier[0], IntegrityError, "privacy.secure_offer_differs"),
        (changed(scene, other), IntegrityError, "ledger.document_signers_wrong"),
        (changed(scene, bureaus, bank="bank-x"), IntegrityError, "privacy.secure_offer_differs"),
        (changed(scene, bureaus, session=bytes(16)), IntegrityError, "privacy.secure_offer_differs"),
        (changed(scene, bureaus, address="127.0.0.2:9"), Denied, "privacy.secure_address_refused"),
        (changed(scene, bureaus, certificate=b"none"), ShuiqiaoError, "privacy.secure_failed"),
    ):
        with pytest.raises(kind) as refusal:
            opened(scene, change)
        assert refusal.value.code == code
        assert not bank.secure_links.is_open(bureau.member)
    opened(scene, lambda told: told)


def test_only_banks_open_links_to_a_bureau_and_to_nobody_else(scene):
    """[SECURE-16]"""
    regulator, bureau = scene.doors.world.regulator, scene.bureau
    regulator.catch_up_with(bureau)
    asked = acts.SecureOpening(session=bytes(16), certificate=b"c", configuration=b"c")
    with pytest.raises(Denied, match=r"^members\.role_wrong"):
        regulator.peer_client.ask(bureau.member, Act.SECURE_OPEN, asked, answer=acts.SecureOpened)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.2:9",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:0",
        "127.0.0.1:65536",
        "127.0.0.1:x",
        "[::1]:9",
        ":9",
        "a b:1",
    ],
)
def test_a_link_is_dialled_at_the_host_where_the_member_is_reached(address):
    """[SECURE-17]"""
    listed = PeerDirectory(listed={"bureau": "http://127.0.0.1:8700"}, state=lambda: None).find("bureau")
    assert dialled("127.0.0.1:9", reach=listed) == "127.0.0.1:9"
    with pytest.raises(Denied, match=r"^privacy\.secure_address_refused"):
        dialled(address, reach=listed)
    with pytest.raises(Denied, match=r"^privacy\.secure_address_refused.*connects to anybody"):
        dialled("127.0.0.1:9", reach=replace(listed, is_listed=False))

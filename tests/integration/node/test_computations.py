"""What a bank and a bureau keep of a joint computation, and the regulator's replay that names who departed."""

from __future__ import annotations

from contextlib import nullcontext

import msgspec
import numpy as np
import pytest

from peers_world import PeerNetwork
from secure_scene import Scene
from shuiqiao.base.clock import MS_PER_DAY
from shuiqiao.base.errors import Conflict, Denied, InvalidInput
from shuiqiao.base.ids import OwnedId
from shuiqiao.client.resources import upkeep
from shuiqiao.consent.model import Output
from shuiqiao.credit import secure_runner
from shuiqiao.credit.store import ComputationStore
from shuiqiao.exchange.computation import (
    LOG,
    ComputationLog,
    decode_evidence_file,
    open_evidence,
    seal_evidence,
    sign_log,
)
from shuiqiao.exchange.contract import COMPUTATION, ComputationRecordBody
from shuiqiao.exchange.model import computation_key
from shuiqiao.ledger.transactions.document import decode_document
from shuiqiao.node.computations import evidence_of, replay_computation, sealed_evidence
from shuiqiao.node.obligations.checks import CHECKS, Facts
from shuiqiao.node.operations.answers import ask_provider
from shuiqiao.node.operations.audits import replay_computation as replay_asked
from shuiqiao.node.operations.audits import show_computation
from shuiqiao.node.peers import acts
from shuiqiao.node.peers.message import Act
from shuiqiao.privacy.budgets import WINDOW_MS
from shuiqiao.privacy.secure.links import SecureLinks
from shuiqiao.sandbox.scenario.consortium import BUREAU, REGULATOR


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    made = Scene(tmp_path_factory.mktemp("computations"), "intl")
    yield made
    made.close()


@pytest.fixture(autouse=True)
def _a_year_later(scene):
    """A test begins a year later, when nothing counts any more [LEAK-4], over links of the product's own."""
    scene.doors.world.clock.advance(WINDOW_MS + MS_PER_DAY)
    scene.doors.world.identify_again()
    scene.consent = scene.consented()
    yield
    ours_again(scene)


def ours_again(scene):
    scene.end_links()
    for institution in (scene.bureau, scene.bank):
        institution.__dict__.pop("secure_links", None)
        institution.__dict__.pop("_secure_runner", None)


def computed(scene, output=Output.YES_NO):
    """Compute one output, and return the name of its request."""
    asked = scene.asking(output)
    ask_provider(scene.bank, asked)
    return OwnedId(f"{scene.bank.member}/{asked.request}")


def parties(scene):
    return scene.bank, scene.bureau


def record(scene):
    for each in parties(scene):
        each.computations.record()
        scene.bank.catch_up_with(scene.bureau)
    scene.doors.world.regulator.catch_up_with(scene.bureau)


def replayed(scene, request, changes=None, *, without=()):
    """Replay at the regulator. changes: of a party's evidence, by its member id."""
    regulator, files = scene.doors.world.regulator, []
    for each in parties(scene):
        if each.member in without:
            continue
        evidence = msgspec.structs.replace(evidence_of(each, request), **(changes or {}).get(each.member, {}))
        files.append(
            seal_evidence(
                evidence,
                party=each.member,
                regulator=regulator.member,
                request=request,
                regulator_key=regulator.keys.sealing.public_key,
                network=each.parameters.network,
                suite=each.suite,
            )
        )
    return replay_computation(regulator, request, files)


def found(report):
    return [(each.code, each.party) for each in report.departures]


def relogged(institution, request, **fields):
    """Sign another log than the one of the run, and keep it in its place before it is recorded."""
    store = ComputationStore(institution.database, cipher=institution.cipher)
    kept, form = store.find(request), {"network": institution.parameters.network, "suite": institution.suite}
    log = decode_document(kept.log, ComputationLog, name=LOG, max_bytes=4_096, **form).body
    changed = msgspec.structs.replace(log, **fields)
    store.keep(
        request=request,
        log=sign_log(changed, key=institution.keys.signing, **form),
        salt=kept.salt,
        numbers=kept.numbers,
        share=kept.share,
        kept_ms=kept.kept_ms,
        erase_after_ms=2**52,
    )


@pytest.mark.parametrize("output", [Output.POINTS, Output.BAND, Output.YES_NO])
def test_a_true_computation_holds_and_gives_what_its_numbers_give(scene, output):
    """[SECURE-18] [SECURE-19] [SECURE-20]"""
    request = computed(scene, output)
    assert scene.bureau.engine.state().get(computation_key(request)) is None
    record(scene)
    regulator = scene.doors.world.regulator
    digests = {each.member: each.suite.digest(each.computations.find(request).log) for each in parties(scene)}
    assert regulator.engine.state().get(computation_key(request)) == digests

    shown = [show_computation(each, upkeep.ComputationChoice(computation=request)) for each in parties(scene)]
    asked = upkeep.ComputationAsked(computation=request, evidence=tuple(each.evidence for each in shown))
    told = replay_asked(regulator, asked)
    assert (told.holds, told.departures, told.unseen, told.output) == (True, (), (), str(output))
    wanted = {Output.POINTS: range(-2_048, 2_048), Output.BAND: range(3), Output.YES_NO: range(2)}
    assert told.result in wanted[output]

    # A second round records nothing, and the ledger takes a log once of a party of the request alone.
    assert [each.computations.record() for each in parties(scene)] == [0, 0]
    body = ComputationRecordBody(request=request, log_digest=bytes(32))
    with pytest.raises(Conflict, match=r"^exchange\.log_repeated"):
        scene.bureau.outbox.submit(COMPUTATION, body)
    with pytest.raises(Denied, match=r"^exchange\.party_wrong"):
        regulator.outbox.submit(COMPUTATION, body)


def test_only_what_was_answered_and_computed_is_recorded(scene):
    """[SECURE-18]"""
    asked = scene.asking(Output.YES_NO)
    unknown = ComputationRecordBody(request=f"{scene.bank.member}/{asked.request}", log_digest=bytes(32))
    with pytest.raises(Denied, match=r"^exchange\.request_unknown"):
        scene.bank.outbox.submit(COMPUTATION, unknown)
    sent = scene.bank.recipient.request(scene.bank.recipient.granted(scene.doors.world.consent()))
    plain = OwnedId(f"{scene.bank.member}/{sent.request.hex()}")
    with pytest.raises(InvalidInput, match=r"^exchange\.nothing_computed"):
        scene.bank.outbox.submit(COMPUTATION, ComputationRecordBody(request=plain, log_digest=bytes(32)))
    with pytest.raises(Denied, match=r"^exchange\.log_missing"):
        sealed_evidence(scene.bank, plain, regulator=scene.doors.world.regulator.member)


def other_weights(monkeypatch, scene):
    honest = secure_runner.bank_values
    monkeypatch.setattr(secure_runner, "bank_values", lambda *args: [each + 1 for each in honest(*args)])
    return "weights_differ", scene.bank.member


def other_indicators(monkeypatch, scene):
    honest = secure_runner.SecureRunner._indicators

    def rolled(self, model, **named):
        return np.roll(honest(self, model, **named), 1, axis=0)

    monkeypatch.setattr(secure_runner.SecureRunner, "_indicators", rolled)
    return "indicators_differ", scene.bureau.member


def a_log_that_lies_about_the_weights(_monkeypatch, scene):
    class Lying(SecureLinks):
        def run(self, peer, function, values, **named):
            return super().run(peer, function, [each + 2 for each in values], **named)

    scene.over(scene.bank, Lying(timeout_s=60.0))
    return "result_differs", ""


def another_share_than_was_computed(monkeypatch, scene):
    honest = secure_runner.SecureRunner.run

    def run(self, *args, **named):
        output = honest(self, *args, **named)
        share = output.shared.share
        word = (int.from_bytes(share[-2:], "little") + 1) % 4_096
        shared = msgspec.structs.replace(output.shared, share=share[:-2] + word.to_bytes(2, "little"))
        return msgspec.structs.replace(output, shared=shared)

    monkeypatch.setattr(secure_runner.SecureRunner, "run", run)
    return "share_differs", scene.bureau.member


@pytest.mark.parametrize(
    "departure",
    [other_weights, other_indicators, a_log_that_lies_about_the_weights, another_share_than_was_computed],
)
def test_who_departs_in_a_run_is_named_where_it_can_be(scene, monkeypatch, departure):
    """[SECURE-20] [SECURE-21]: a log that lies leaves one of both."""
    with monkeypatch.context() as patch:
        expected = departure(patch, scene)
        request = computed(scene, Output.POINTS)
    record(scene)
    report = replayed(scene, request)
    assert (found(report), report.unseen) == ([expected], [])
    ours_again(scene)


@pytest.mark.parametrize(
    ("who", "fields", "code"),
    [
        ("bank", {"function": bytes(32)}, "agreement_differs"),
        ("bureau", {"configuration": bytes(32)}, "agreement_differs"),
        ("bank", {"binding": bytes(32)}, "agreement_differs"),
        ("bureau", {"model_digest": bytes(32)}, "agreement_differs"),
        ("bank", {"output": Output.BAND}, "agreement_differs"),
        ("bank", {"other": "other-bank"}, "agreement_differs"),
        ("bureau", {"inputs": bytes(32)}, "opening_wrong"),
        ("bank", {"share": bytes(32)}, "opening_wrong"),
        ("bank", {"session": bytes(16)}, "logs_differ"),
        ("bureau", {"bank_certificate": bytes(32)}, "logs_differ"),
        ("bank", {"party": "other-bank"}, "log_wrong"),
    ],
)
def test_a_log_of_something_else_than_was_agreed_names_its_party(scene, who, fields, code):
    """[SECURE-20]"""
    request, party = computed(scene), getattr(scene, who)
    relogged(party, request, **fields)
    record(scene)
    named = "" if code == "logs_differ" else party.member
    assert {(code, named)} == set(found(replayed(scene, request)))


def test_a_log_that_is_withheld_exchanged_or_not_recorded_names_its_party(scene):
    """[SECURE-20]"""
    request, (bank, bureau) = computed(scene), [each.member for each in parties(scene)]
    assert found(replayed(scene, request)) == [("computation_unrecorded", bank), ("computation_unrecorded", bureau)]
    record(scene)
    for party in (bank, bureau):
        assert found(replayed(scene, request, without=(party,))) == [("log_withheld", party)]
    other = computed(scene)
    exchanged = evidence_of(scene.bank, other)
    assert found(replayed(scene, request, {bank: {"log": exchanged.log}})) == [("log_wrong", bank)]
    assert found(replayed(scene, request, {bureau: {"message": exchanged.message}})) == [("log_wrong", bureau)]
    assert found(replayed(scene, request, {bank: {"content": b"c"}})) == [("log_wrong", bank)]


def test_a_departure_is_told_in_both_languages(scene):
    """[SECURE-20]"""
    request = computed(scene)
    shown = show_computation(scene.bank, upkeep.ComputationChoice(computation=request))
    asked = upkeep.ComputationAsked(computation=request, evidence=(shown.evidence,))
    (first, *_) = replay_asked(scene.doors.world.regulator, asked).departures
    assert (first.code, first.says_zh) == ("computation_unrecorded", "未将日志上链")
    assert scene.bank.member in first.says


def test_what_is_opened_is_held_against_what_was_committed_to(scene):
    """[SECURE-20] [SECURE-21]: what is not shown accuses nobody."""
    request, (bank, bureau) = computed(scene), [each.member for each in parties(scene)]
    record(scene)
    for party, changes, code in (
        (bank, {"inputs": [0, 0, 0, 0, 0]}, "opening_wrong"),
        (bank, {"card": b"another"}, "opening_wrong"),
        (bank, {"share": bytes(17)}, "opening_wrong"),
        (bureau, {"names_salt": bytes(32)}, "records_wrong"),
        (bureau, {"names": {}}, "records_wrong"),
        (bureau, {"records": b"none"}, "records_wrong"),
        (bureau, {"names": {"invoice_issued@2": b"short"}}, "records_wrong"),
    ):
        assert (code, party) in found(replayed(scene, request, {party: changes}))
    for party, changes in (
        (bank, {"card": None}),
        (bank, {"manifest": None}),
        (bank, {"result": None}),
        (bureau, {"records": None}),
    ):
        report = replayed(scene, request, {party: changes})
        assert (found(report), bool(report.unseen), report.holds) == ([], True, False)


def test_evidence_is_for_one_regulator_and_one_request(scene):
    """[SECURE-19]"""
    request, other = computed(scene), computed(scene)
    record(scene)
    regulator = scene.doors.world.regulator
    file = sealed_evidence(scene.bank, request, regulator=regulator.member)
    for asked, files in ((other, [file]), (request, [file, file])):
        with pytest.raises(InvalidInput, match=r"^exchange\.evidence_misdirected"):
            replay_computation(regulator, asked, files)
    with pytest.raises(InvalidInput, match=r"^oversight\.computation_unknown"):
        replay_computation(regulator, OwnedId(f"{scene.bank.member}/{'0' * 32}"), [])
    with pytest.raises(Denied, match=r"^node\.role_wrong"):
        replay_computation(scene.bank, request, [file])
    with pytest.raises(Denied, match=r"^node\.role_wrong"):
        show_computation(regulator, upkeep.ComputationChoice(computation=request))
    for text in ("AAAA", "A"):
        with pytest.raises(InvalidInput, match=r"^(exchange\.evidence_malformed|base\.cbor_)"):
            replay_asked(regulator, upkeep.ComputationAsked(computation=request, evidence=(text,)))
    opened = open_evidence(decode_evidence_file(file), key=regulator.keys.sealing, network=regulator.parameters.network)
    kept = scene.bank.computations.find(request)
    for part in (kept.salt, kept.share, opened.card):
        assert part not in file


def test_a_log_that_is_not_recorded_for_a_day_leaves_the_rule_unmet(scene):
    """[SECURE-18]"""
    record(scene)
    computed(scene)

    def are_met():
        return [CHECKS["computations"](facts_of(each)).is_met for each in parties(scene)]

    assert are_met() == [True, True]
    scene.doors.world.clock.advance(MS_PER_DAY + 1)
    assert are_met() == [False, False]
    record(scene)
    assert are_met() == [True, True]


def facts_of(institution):
    """What a review looks at, its audit aside."""
    return Facts(
        copy=institution,
        report=None,
        database=lambda: nullcontext(institution.database),
        cipher=lambda _database: institution.cipher,
    )


def test_a_regulator_asks_both_parties_and_nobody_else_is_shown_anything(scene):
    """[SECURE-19]"""
    request = computed(scene)
    record(scene)
    regulator, asked = scene.doors.world.regulator, upkeep.ComputationAsked(computation=request)
    told = replay_asked(regulator, asked)
    assert (told.holds, told.departures, told.unseen) == (True, (), ())
    assert scene.shown == [(each.member, regulator.member, request) for each in parties(scene)]
    question = acts.EvidenceQuestion(request=request)
    with pytest.raises(Denied, match=r"^members\.role_wrong"):
        scene.bank.peer_client.ask(scene.bureau.member, Act.EVIDENCE, question, answer=acts.EvidenceShown)
    # A party that refuses withholds its log.
    ComputationStore(scene.bank.database, cipher=scene.bank.cipher).erase(request)
    assert [(each.code, each.party) for each in replay_asked(regulator, asked).departures] == [
        ("log_withheld", scene.bank.member)
    ]
    with pytest.raises(InvalidInput, match=r"^oversight\.computation_unknown"):
        replay_asked(regulator, upkeep.ComputationAsked(computation=f"{scene.bank.member}/{'0' * 32}"))


def test_logs_go_with_the_answer_and_those_of_refused_requests_at_once(scene):
    """[SECURE-19] [EXCHANGE-24]"""
    request = computed(scene)
    record(scene)
    for each in parties(scene):
        due = each.computations.due()
        assert (due.due < due.kept, each.computations.find(request).recorded_ms is not None) == (True, True)
    scene.doors.world.clock.advance(WINDOW_MS)
    scene.doors.world.identify_again()
    scene.doors.world.consent()
    scene.bank.catch_up_with(scene.bureau)
    for each in parties(scene):
        due = each.computations.due()
        assert each.computations.erase_due(until_ms=due.until_ms) == due.due > 0
        with pytest.raises(Denied, match=r"^exchange\.log_missing"):
            each.computations.find(request)


def test_a_server_enters_in_its_journal_which_regulator_asked(tmp_path):
    """[SECURE-19] [API-16]"""
    network = PeerNetwork(tmp_path, "intl")
    with network.running(BUREAU) as bureau, network.running(REGULATOR) as regulator:
        question = acts.EvidenceQuestion(request=f"bank-east/{'7a' * 16}")
        with pytest.raises(Denied, match=r"^exchange\.log_missing"):
            regulator.institution.peer_client.ask(BUREAU, Act.EVIDENCE, question, answer=acts.EvidenceShown)
        (row,) = bureau.accounts.journal.rows(subject=f"request/{question.request}")
        assert (row["act"], row["kind"], row["who"], row["outcome"]) == (
            "computations.show",
            "member",
            REGULATOR,
            "exchange.log_missing",
        )

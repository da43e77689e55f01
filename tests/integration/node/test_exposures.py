"""One bank asks another one what it has lent to applicants who consented at both, over real HTTP and a secure link."""

from __future__ import annotations

import os
import signal
from base64 import b64encode
from dataclasses import replace

import msgspec
import pytest

from absence import absent
from consortium_world import TAXPAYER
from exposure_scene import LENT_FEN, Scene
from shuiqiao.base.encoding import decode_cbor, typed
from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, Unavailable
from shuiqiao.client.pages import PageQuery
from shuiqiao.client.resources import exposures as api
from shuiqiao.consent.model import Mode
from shuiqiao.exchange.model import RequestStatus, request_key
from shuiqiao.ledger.transactions.document import sign_document
from shuiqiao.lending.exposures.evidence import RunEvidence
from shuiqiao.lending.exposures.model import (
    BAND_TOPS_FEN,
    QUESTION,
    STATEMENT,
    ExposureQuestion,
    ExposureStatement,
    InputList,
    decode_inputs,
)
from shuiqiao.lending.exposures.store import ExposureStore
from shuiqiao.node.auditing import audit_institution
from shuiqiao.node.operations import exposures
from shuiqiao.node.peers import acts
from shuiqiao.node.peers.message import Act
from shuiqiao.privacy.model import millibits_of
from shuiqiao.privacy.secure.library import require_library
from shuiqiao.privacy.secure.links import SecureLinks

STRANGER = "91440300MA5STRANG1"
BAND, COUNTED_FEN = 1, BAND_TOPS_FEN[1]
CHARGED_MILLIBITS = 4 * millibits_of(9)
"""Of one answer: four banks may be asked, each of which tells one of eight bands or none."""


@pytest.fixture(scope="module", autouse=True)
def _library():
    try:
        require_library()
    except Unavailable as error:
        absent(error.message)


@pytest.fixture(params=["intl"])
def scene(request, tmp_path):
    made = Scene(tmp_path, request.param)
    yield made
    made.close()


@pytest.mark.parametrize("scene", ["intl", "gm"], indirect=True)
def test_a_bank_is_told_the_band_of_what_another_one_lent_and_counts_it(scene):
    """[PSI-5] [PSI-6] [PSI-7] [PSI-8] [PSI-9]"""
    world = scene.world
    world.decided(bank=scene.other, limit_fen=LENT_FEN)
    scene.consented(scene.other)
    consent = scene.consented(scene.bank)
    asked = scene.ask()
    assert [(each.consent, each.taxpayer, each.band) for each in asked.exposures] == [(consent, TAXPAYER, BAND)]
    assert asked.refused == ()
    assert scene.bank.exposures.elsewhere_fen(TAXPAYER) == COUNTED_FEN

    # The use is on the ledger and in the enterprise's account, and was charged; the other bank knows no taxpayer of it.
    (exposure,) = asked.exposures
    entry = scene.bureau.engine.state().get(request_key(exposure.request))
    assert (entry["mode"], entry["status"]) == ("exposure", str(RequestStatus.ACKNOWLEDGED))
    (used,) = (each for each in scene.bureau.provider.usage_account(TAXPAYER) if each.mode is Mode.EXPOSURE)
    assert (used.recipient, used.request, used.records) == (scene.bank.member, exposure.request, {})
    for each in (scene.bureau, scene.bank):
        (line,) = (line for line in each.leakage.of(TAXPAYER).lines if line.recipient == scene.bank.member)
        assert line.millibits == CHARGED_MILLIBITS
    (run,) = scene.other.exposures.runs()
    kept = ExposureStore(scene.other.database, cipher=scene.other.cipher).find_run(run.run)
    assert TAXPAYER.encode() not in kept.question + kept.statement
    assert [(each.taxpayer, each.band) for each in decode_inputs(kept.inputs).entries] == [(TAXPAYER, BAND)]

    # What is known counts for a limit where it is more than what the applicant says.
    application = world.applied(consent)
    file = scene.bank.application_store.file(application.id)
    assert scene.bank.applications._applicant(file).other_debt_fen == COUNTED_FEN
    assert [line.band for line in scene.bank.exposures.all()] == [BAND]
    assert TAXPAYER.encode() not in b"".join(world.transactions())
    world.regulator.catch_up_with(scene.bureau)
    assert audit_institution(world.regulator, visited=scene.bureau, live=scene.bureau.engine).problems == ()


def test_a_bank_says_nothing_of_who_did_not_consent_there_or_owes_it_nothing(scene):
    """[PSI-8]: these two are not told apart."""
    scene.world.decided(bank=scene.other, limit_fen=LENT_FEN)
    consent = scene.consented(scene.bank)
    assert [each.band for each in scene.ask(consent).exposures] == [None]
    assert scene.bank.exposures.elsewhere_fen(TAXPAYER) == 0
    later = scene.consented(scene.other)
    assert [each.band for each in scene.ask(consent).exposures] == [BAND]
    assert later != consent


def test_only_a_consent_that_allows_it_lets_a_bank_ask(scene):
    """[PSI-5] [PSI-6]"""
    without = scene.consented(scene.bank, modes=(Mode.DISCLOSE,))
    with pytest.raises(Denied, match=r"consent\.not_covered"):
        scene.ask(without)
    with pytest.raises(Denied, match=r"lending\.exposure_nobody"):
        scene.ask()
    consent = scene.consented(scene.bank)
    asked = scene.ask(without, consent)
    assert asked.refused == ((without, "consent.not_covered"),)
    assert [each.consent for each in asked.exposures] == [consent]
    with pytest.raises(InvalidInput, match=r"lending\.exposure_itself"):
        scene.bank.exposures.ask(scene.bank.member, way=scene.bank.exposure_way)
    with pytest.raises(Denied, match=r"members\.role_wrong"):
        scene.bank.exposures.ask(scene.bureau.member, way=scene.bank.exposure_way)


def test_what_was_told_counts_no_more_once_the_consent_ends_and_is_erased_with_its_data_life(scene):
    """[PSI-9]"""
    world = scene.world
    world.decided(bank=scene.other, limit_fen=LENT_FEN)
    scene.consented(scene.other)
    consent = scene.consented(scene.bank)
    scene.ask(consent)
    world.bureau.consent_service.relay(world.enterprise.revoke(consent, now_ms=world.clock.now_ms()).raw)
    scene.bank.catch_up_with(scene.bureau)
    assert scene.bank.exposures.elsewhere_fen(TAXPAYER) == 0
    with pytest.raises(Denied, match=r"consent\.revoked"):
        scene.ask(consent)
    (told,) = scene.bank.exposures.all()
    world.clock.advance(told.erase_after_ms - world.clock.now_ms() + 1)
    world.identify_again()
    scene.consented(scene.bank)
    assert scene.bank.exposures.all() == []


class Changed:
    """A way on which what goes out or comes back is another thing."""

    def __init__(self, way, *, question=lambda raw: raw, statement=lambda raw: raw):
        self._way, self._question, self._statement = way, question, statement
        self.provider, self.open_link = way.provider, way.open_link

    def ask(self, bank, question):
        return self._statement(self._way.ask(bank, self._question(question)))


def test_a_question_that_the_ledger_does_not_bear_out_is_refused(scene):
    """[PSI-7]"""
    consent, other = scene.consented(scene.bank), scene.other
    scene.ask(consent)
    bank = scene.bank
    (told,) = bank.exposures.all()
    form = {"name": QUESTION, "network": bank.parameters.network, "suite": bank.suite}
    answered = bytes.fromhex(told.request.partition("/")[2])
    disclosed = scene.world.evidence(consent)
    other.catch_up_with(scene.bureau)

    def asked(requests, *, key=bank.keys.signing, asks=bank.member, to=other.member):
        question = ExposureQuestion(
            asks=asks, asked=to, requests=requests, inputs=bytes(32), made_ms=scene.world.clock.now_ms()
        )
        raw = sign_document(question, keys=(key,), **form)
        return other.exposures.answer(raw, bank.member)

    for requests, code in (
        ([bytes(16)], "lending.exposure_request_wrong"),
        ([disclosed], "lending.exposure_request_wrong"),
        ([answered, answered], "lending.exposure_request_wrong"),
    ):
        with pytest.raises(Denied) as refusal:
            asked(requests)
        assert refusal.value.code == code
    for wrong in ({"asks": other.member}, {"to": "third-bank"}):
        with pytest.raises(IntegrityError, match=r"lending\.exposure_wrong"):
            asked([answered], **wrong)
    with pytest.raises(IntegrityError, match=r"ledger\.document_signers_wrong"):
        asked([answered], key=other.keys.signing)
    # It may be used twice more, since a run can break; each waits for the bank's half, which does not come.
    asked([answered])
    with pytest.raises(Conflict, match=r"lending\.exposure_repeated.*this very question"):
        asked([answered])
    other.secure_links.close()
    with pytest.raises(Unavailable, match=r"privacy\.secure_link_missing"):
        asked([answered])


def test_a_request_is_used_at_one_bank_three_times_at_the_most(scene):
    """[PSI-7]"""
    consent = scene.consented(scene.bank)

    class Broken(SecureLinks):
        def intersect(self, peer, items, **named):
            raise Unavailable("privacy.secure_peer_silent", "broken")

    for _ in range(3):
        scene.over(scene.bank, Broken(timeout_s=120))
        with pytest.raises(Unavailable, match=r"privacy\.secure_peer_silent"):
            scene.ask(consent)
    assert scene.bank.exposures.all() == []
    scene.over(scene.bank, SecureLinks(timeout_s=120))
    with pytest.raises(Conflict, match=r"lending\.exposure_repeated"):
        scene.ask(consent)


def test_a_statement_of_another_question_or_signer_ends_the_run(scene):
    """[PSI-7]"""
    consent, bank, other = scene.consented(scene.bank), scene.bank, scene.other
    form = {"name": STATEMENT, "network": bank.parameters.network, "suite": bank.suite}
    found = ExposureStatement(
        asked=other.member, asks=bank.member, question=bytes(32), inputs=bytes(32), made_ms=scene.world.clock.now_ms()
    )
    for raw, code in (
        (sign_document(found, keys=(other.keys.signing,), **form), "lending.exposure_wrong"),
        (sign_document(found, keys=(bank.keys.signing,), **form), "ledger.document_signers_wrong"),
    ):
        with pytest.raises(IntegrityError) as refusal:
            scene.ask(consent, way=Changed(bank.exposure_way, statement=lambda _, raw=raw: raw))
        assert refusal.value.code == code
        assert bank.exposures.all() == []


@pytest.mark.parametrize("side", ["bank", "other"])
def test_a_worker_that_is_killed_leaves_no_result_and_the_next_run_works(scene, side):
    """[PSI-4] [PSI-9]"""
    scene.world.decided(bank=scene.other, limit_fen=LENT_FEN)
    scene.consented(scene.other)
    consent, killed = scene.consented(scene.bank), []

    class Killed(SecureLinks):
        def intersect(self, peer, items, **named):
            if not killed:
                killed.extend(self.worker_pids)
                os.kill(killed[0], signal.SIGKILL)
            return super().intersect(peer, items, **named)

    listen = {} if side == "bank" else {"listen": "127.0.0.1:0"}
    scene.over(getattr(scene, side), Killed(timeout_s=120, **listen))
    with pytest.raises(Unavailable, match=r"privacy\.secure_(link_missing|peer_silent)"):
        scene.ask(consent)
    assert scene.bank.exposures.all() == []
    assert [each.band for each in scene.ask(consent).exposures] == [BAND]


def test_a_consent_that_ends_in_the_run_gives_no_result(scene):
    """[PSI-9]"""
    world = scene.world
    consent = scene.consented(scene.bank)

    def revoked(raw):
        world.bureau.consent_service.relay(world.enterprise.revoke(consent, now_ms=world.clock.now_ms()).raw)
        scene.bank.catch_up_with(scene.bureau)
        return raw

    asked = scene.ask(consent, way=Changed(scene.bank.exposure_way, statement=revoked))
    assert asked.exposures == ()
    assert scene.bank.exposures.all() == []


def test_a_bank_that_is_not_set_up_says_so(scene):
    """[SECURE-16]"""
    consent = scene.consented(scene.bank)
    scene.over(scene.other, SecureLinks())
    with pytest.raises(Unavailable, match=r"privacy\.secure_not_set_up"):
        scene.ask(consent)
    asked = acts.ExposureAsked(question=b"q", height=0)
    with pytest.raises(Denied, match=r"peer\.act_not_served"):
        scene.bank.peer_client.ask(scene.bureau.member, Act.EXPOSURE, asked, answer=acts.ExposureStated)


# Evidence


def checked(member, evidence):
    return exposures.check_evidence(member, api.Evidence(evidence=b64encode(evidence).decode()))


def test_what_each_bank_put_in_is_held_against_what_it_signed_and_the_ledger(scene):
    """[PSI-10]"""
    world = scene.world
    world.decided(bank=scene.other, limit_fen=LENT_FEN)
    scene.consented(scene.other)
    scene.ask(scene.consented(scene.bank))
    world.regulator.catch_up_with(scene.bureau)
    for bank in (scene.bank, scene.other):
        (run,) = exposures.list_runs(bank, PageQuery()).items
        evidence = exposures.read_evidence(bank, api.RunChoice(run=run.run))
        found = exposures.check_evidence(world.regulator, evidence)
        assert (found.bank, found.asks, found.asked) == (bank.member, scene.bank.member, scene.other.member)
        assert found.taxpayers == 1
    with pytest.raises(Denied, match=r"lending\.exposure_run_unknown"):
        exposures.read_evidence(scene.bank, api.RunChoice(run="0" * 64))
    for none in (b"", b"\xa0", evidence.evidence.encode()):
        with pytest.raises(InvalidInput, match=r"lending\.exposure_list_malformed"):
            checked(world.regulator, none)
    with pytest.raises(InvalidInput, match=r"lending\.exposure_list_malformed"):
        exposures.check_evidence(world.regulator, api.Evidence(evidence="A"))


def test_a_bank_that_puts_in_whom_no_consent_names_is_found_out(scene):
    """[PSI-10]: it signs a list of its own making, and nothing that it can show bears it out."""
    consent, bank = scene.consented(scene.bank), scene.bank
    without = scene.consented(scene.bank, modes=(Mode.DISCLOSE,))
    applicants = bank.exposures._applicants

    def put_in(**changes):
        def dishonest(*args, **named):
            (found,), refused = applicants(*args, **named)
            return [found, replace(found, **changes)], refused

        bank.exposures._applicants = dishonest
        try:
            scene.ask(consent)
        finally:
            bank.exposures._applicants = applicants
        return bank.exposures.evidence(bank.exposures.runs()[-1].run)

    # A stranger beside an applicant, whose request is counted twice: the other bank takes no request twice.
    with pytest.raises(Denied, match=r"lending\.exposure_request_wrong"):
        put_in(taxpayer=STRANGER)

    def alone(**changes):
        def dishonest(*args, **named):
            (found,), refused = applicants(*args, **named)
            return [replace(found, **changes)], refused

        bank.exposures._applicants = dishonest
        try:
            scene.ask(consent)
        finally:
            bank.exposures._applicants = applicants
        return bank.exposures.evidence(bank.exposures.runs()[-1].run)

    scene.world.regulator.catch_up_with(scene.bureau)
    for changes in ({"taxpayer": STRANGER}, {"consent": without}):
        evidence = alone(**changes)
        scene.world.regulator.catch_up_with(scene.bureau)
        with pytest.raises(IntegrityError, match=r"lending\.exposure_input_unfounded"):
            checked(scene.world.regulator, evidence)

    # Nor does it help to show another list, or to keep an artefact back.
    honest = RunEvidence(**msgspec.structs.asdict(evidence_of(alone())))
    assert checked(bank, honest.encode()).taxpayers == 1
    for changes in (
        {"inputs": InputList(salt=bytes(32), entries=[]).encode()},
        {"artefacts": {}},
        {"bank": "third-bank"},
        {"bank": scene.other.member},
    ):
        with pytest.raises(IntegrityError, match=r"lending\.exposure_input_unfounded"):
            checked(bank, msgspec.structs.replace(honest, **changes).encode())


def evidence_of(raw):
    return typed(decode_cbor(raw), RunEvidence, builtin_types=(bytes,))

"""A regulator has a bureau open the manifest of a score over real HTTP, and proves by it that a record was left out."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from consortium_world import TAXPAYER
from models_world import BANDS
from offered_models import keep_model, runs_at_bureau
from peers_world import Doors
from shuiqiao.base.errors import IntegrityError, ShuiqiaoError
from shuiqiao.base.ids import MemberId, OwnedId
from shuiqiao.client.resources.answers import ConsentRequest
from shuiqiao.client.resources.models import OutputsDeclared
from shuiqiao.client.resources.requests import OpeningQuestion
from shuiqiao.consent.model import Mode, Output
from shuiqiao.exchange.manifest import OpenedManifest, encode_opened
from shuiqiao.node.operations.answers import ask_provider
from shuiqiao.node.operations.requests import open_manifest
from shuiqiao.node.peers import acts
from shuiqiao.node.peers.account_link import SealedSide
from shuiqiao.node.peers.message import Act
from shuiqiao.node.peers.opening_link import opening_at
from shuiqiao.vault.model import LeafRef

REQUEST = "7a" * 16


class Forgets:
    """A vault whose keeper leaves one record out of every answer."""

    def __init__(self, vault):
        self._vault, self.left_out = vault, []

    def __getattr__(self, name):
        return getattr(self._vault, name)

    def live_leaves(self, **scope):
        first, *others = self._vault.live_leaves(**scope)
        self.left_out.append((scope["type_id"], first))
        return others


@pytest.fixture(params=["intl", "gm"])
def doors(request, tmp_path):
    opened = Doors(tmp_path, request.param)
    with opened.stack:
        yield opened


@pytest.fixture
def told(doors):
    """Whom the bureau told of whom, its door open; it answered a bank with a score, and left a record out."""
    entries, bureau, bank = [], doors.world.bureau, doors.world.bank

    @contextmanager
    def told_of(member, taxpayer):
        entries.append((member, taxpayer))
        yield

    bureau.told_of = told_of
    # Made with the world, before there was a journal.
    bureau.__dict__.pop("peer_service", None)
    for each in (bureau, bank, doors.world.regulator):
        doors.open(each)
    model = runs_at_bureau(doors, model=keep_model(bank), outputs=OutputsDeclared(**BANDS))
    doors.vault = bureau.provider._vault = Forgets(bureau.provider._vault)
    consent = doors.world.consent(modes=(Mode.SCORE,), outputs=(Output.BAND,))
    ask_provider(bank, ConsentRequest(request=REQUEST, consent=consent, model=model.model, outputs=("band",)))
    # A receipt counts once the members cosigned what covers it.
    doors.world.consortium.settle()
    doors.request = OwnedId(f"{bank.member}/{REQUEST}")
    return entries


def code_of(act, *arguments, **more):
    with pytest.raises(ShuiqiaoError) as refusal:
        act(*arguments, **more)
    return refusal.value.code


def test_an_omission_is_proven_by_what_the_bureau_opens(doors, told):
    """[EXCHANGE-16] [EXCHANGE-27]"""
    bureau, regulator = doors.world.bureau, doors.world.regulator
    shown = open_manifest(regulator, OpeningQuestion(ledger_request=doors.request))
    assert told == [(regulator.member, TAXPAYER)]
    type_id, left_out = doors.vault.left_out[0]
    delivered = [
        LeafRef(batch=bytes.fromhex(batch), index=index)
        for batch, places in shown.records[type_id].items()
        for index in places
    ]
    assert delivered
    assert left_out not in delivered
    manifest = doors.world.bank.recipient.load(bytes.fromhex(REQUEST)).manifest_bytes
    evidence = {
        "delivered": delivered,
        "record": bureau.vault.prove_record(left_out, groups=["core"]),
        "provider": bureau.member,
    }
    accusation = regulator.accuse_of_withholding(manifest, salt=bytes.fromhex(shown.salt), **evidence)
    assert (accusation.provider, accusation.batch, accusation.index) == (bureau.member, left_out.batch, left_out.index)
    with pytest.raises(IntegrityError, match=r"^exchange\.accusation_unproven"):
        regulator.accuse_of_withholding(manifest, salt=bytes(32), **evidence)


def side_of(institution):
    return SealedSide(member=institution.member, engine=institution.engine, suite=institution.suite)


def test_a_bureau_opens_to_regulators_alone_and_only_what_it_has(doors, told):
    """[EXCHANGE-27]"""
    bureau, bank, regulator = doors.world.bureau, doors.world.bank, doors.world.regulator
    asked = {"client": bank.peer_client, "side": side_of(bank), "sealing_key": bank.keys.sealing}
    assert code_of(opening_at, bureau.member, doors.request, **asked) == "members.role_wrong"
    assert code_of(bank.opening_of, doors.request) == "node.role_wrong"
    unknown = OwnedId(f"{bank.member}/{'00' * 16}")
    assert code_of(regulator.opening_of, unknown) == "exchange.request_unknown"
    asked = {"client": regulator.peer_client, "side": side_of(regulator), "sealing_key": regulator.keys.sealing}
    assert code_of(opening_at, bureau.member, unknown, **asked) == "exchange.opening_missing"
    assert told == []


class LyingBureau:
    """A bureau that opens something else, or has another member open it."""

    def __init__(self, bureau, regulator, request, /, *, by=None, **changes):
        self.bureau, self.regulator, self.by = bureau, regulator, by or bureau
        _, kept = bureau.provider.kept_opening(request)
        self.fields = {
            "bureau": bureau.member,
            "regulator": regulator.member,
            "request": request,
            "kept": kept,
            "made_ms": 1,
        } | changes

    def ask(self, _member, act, _body, *, answer):
        assert (act, answer) == (Act.MANIFEST, acts.ManifestOpened)
        form = {"network": self.bureau.parameters.network, "suite": self.bureau.suite}
        raw = encode_opened(OpenedManifest(**self.fields), key=self.by.keys.signing, **form)
        return answer(sealed=side_of(self.bureau).sealed(raw, act=act, receiver=self.regulator.member))


def test_what_is_opened_is_of_this_request_by_this_bureau(doors, told):
    """[EXCHANGE-27]"""
    bureau, regulator = doors.world.bureau, doors.world.regulator
    for lie, code in (
        ({"bureau": MemberId("other-bureau")}, "exchange.opening_foreign"),
        ({"regulator": MemberId("other-regulator")}, "exchange.opening_foreign"),
        ({"request": f"bank-x/{REQUEST}"}, "exchange.opening_foreign"),
        ({"by": doors.world.bank}, "ledger.document_signers_wrong"),
        ({"kept": b"\xa1\x61a\x01"}, "base.cbor_damaged"),
        ({"kept": b"\xff"}, "base.cbor_damaged"),
    ):
        with pytest.MonkeyPatch.context() as patch:
            lying = LyingBureau(bureau, regulator, doors.request, **lie)
            patch.setitem(regulator.__dict__, "peer_client", lying)
            assert code_of(regulator.opening_of, doors.request) == code

"""A mode answers in its own form and proves into its own type: nothing around it knows of records."""

from __future__ import annotations

import pytest

from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.ids import MemberId
from shuiqiao.consent.model import Mode
from shuiqiao.exchange import provider, recipient
from shuiqiao.exchange.modes.port import Answer
from shuiqiao.privacy.model import Revealed
from shuiqiao.vault.model import ErasureReason

BUREAU, BANK_A = MemberId("bureau"), MemberId("bank-a")


class Counted:
    """Answers with how many records there are, which the manifest says too, and gives none of them away."""

    def verify_asked(self, message):
        pass

    def reveals(self, message):
        return Revealed(millibits=6000)

    def shown_millibits(self, content):
        return None

    def answer(self, message, *, uscc, source):
        scope = {"period_from": message.period_from, "period_to": message.period_to}
        counts = {type_id: source.count_live(uscc=uscc, type_id=type_id, **scope) for type_id in message.items}
        total = sum(sum(months.values()) for months in counts.values())
        return Answer(content=str(total).encode, counts={}, leaves={})

    def prove(self, content, *, message, artefact, manifest, batch_of, status_of, share):
        if int(content) != sum(cell.count for cell in manifest.cells):
            raise IntegrityError("exchange.record_withheld", "another number than the manifest counts")
        return int(content)

    def leaves(self, content):
        return {}


@pytest.fixture
def counting(world, monkeypatch):
    """The bureau and the bank, both of which know one mode."""
    for module in (provider, recipient):
        monkeypatch.setattr(module, "answer_modes", lambda **_: {Mode.PROVE: Counted()})
    return world.provider_with(world.vault), world.recipient(BANK_A)


def test_another_mode_is_asked_answered_proven_and_kept(world, counting):
    """[EXCHANGE-11] [EXCHANGE-21]"""
    bureau, bank = counting
    consent = world.granted(modes=(Mode.PROVE,))
    sent = bank.request(world.wanted(consent, mode=Mode.PROVE))
    received = bank.receive(sent.request, bureau.answer(sent.message))
    assert received.proven == sum(cell.count for cell in received.manifest.cells) == 62
    assert bank.load(sent.request).proven == 62
    with pytest.raises(TypeError, match="holds int, no records"):
        assert received.records
    assert world.entry(sent.request)["status"] == "acknowledged"

    leaf = world.vault.live_leaves(
        uscc=world.terms().taxpayer,
        type_id="tax_credit_grade@1",
        period_from=received.manifest.period_from,
        period_to=received.manifest.period_to,
    )[0]
    world.vault.erase(leaf.batch, [leaf.index], reason=ErasureReason.LEGAL_ORDER, anchor=world.submitters[BUREAU])
    assert list(bank.changed_records()) == []

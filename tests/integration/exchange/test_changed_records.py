"""Who gave and who received a record both learn that it was amended or erased afterwards."""

from __future__ import annotations

from exchange_world import BANK_A, BANK_B, BUREAU, NEIGHBOUR, TAXPAYER
from shuiqiao.base.clock import MS_PER_DAY, ManualClock
from shuiqiao.vault.model import ErasureReason, LeafStatus


def received_by(world, bank, **changes):
    sent = world.asked(world.granted(recipient=bank), bank=bank, **changes)
    return world.banks[bank].receive(sent.request, world.provider.answer(sent.message))


def told(records):
    return sorted((entry.other, entry.request, entry.standard, entry.status) for entry in records)


def test_both_sides_are_told_of_an_amended_and_an_erased_record(world, monkeypatch):
    # Holds [EXCHANGE-21].
    grades = {"items": {"tax_credit_grade@1": ["core"]}}
    first = received_by(world, BANK_A)
    other = received_by(world, BANK_B, **grades)
    assert (first.changed, other.changed) == ((), ())
    assert list(world.provider.changed_records()) == []
    assert list(world.banks[BANK_A].changed_records()) == []

    world.ingest({"tax_credit_grade": [{"uscc": TAXPAYER, "year": 2025, "grade": "B"}]})
    amended = ("tax_credit_grade@1", LeafStatus.SUPERSEDED)
    assert told(world.provider.changed_records()) == [
        (BANK_A, first.request, *amended),
        (BANK_B, other.request, *amended),
    ]
    assert told(world.banks[BANK_A].changed_records()) == [(BUREAU, first.request, *amended)]
    assert told(world.banks[BANK_B].changed_records()) == [(BUREAU, other.request, *amended)]
    assert list(world.banks[BANK_A].changed_records(taxpayer=NEIGHBOUR)) == []
    with monkeypatch.context() as wrong:
        # [EXCHANGE-15]: by this clock the data life is over. It is not destroyed, for nobody confirmed the clock.
        wrong.setattr(world.submitters[BANK_A], "_clock", ManualClock(world.clock.now_ms() + 4380 * MS_PER_DAY))
        wrong.setattr(world.submitters[BANK_A], "_is_clock_confirmed", False)
        assert list(world.banks[BANK_A].changed_records()) == []

    leaf = first.records.types["invoice_issued@2"].leaves[0]
    world.vault.erase(
        leaf.batch,
        [leaf.index],
        reason=ErasureReason.TAXPAYER_REQUEST,
        anchor=world.submitters[BUREAU],
    )
    erased = ("invoice_issued@2", LeafStatus.ERASED)
    again = received_by(world, BANK_A, **grades)
    assert told(again.changed) == sorted([(BUREAU, first.request, *part) for part in (amended, erased)])
    assert {entry.taxpayer for entry in again.changed} == {TAXPAYER}
    assert [entry.leaf for entry in again.changed if entry.standard == "invoice_issued@2"] == [leaf]
    assert len(told(world.provider.changed_records())) == 3

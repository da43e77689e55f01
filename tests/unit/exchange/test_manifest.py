from __future__ import annotations

from datetime import date

import msgspec
import pyarrow as pa
import pytest

from shuiqiao.base.errors import IntegrityError
from shuiqiao.base.ids import MemberId
from shuiqiao.consent.model import Mode, Purpose
from shuiqiao.crypto.suites import get_suite
from shuiqiao.exchange.manifest import (
    Inventory,
    build_manifest,
    decode_manifest,
    encode_manifest,
    first_out_of_scope,
    months_of,
    names_digest,
    verify_complete,
    verify_manifest_fits,
)
from shuiqiao.exchange.model import RequestMessage
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
from shuiqiao.standards.publication import load_catalogue
from shuiqiao.vault.model import LeafRef

SUITE = get_suite("intl")
NETWORK = bytes(range(32))
ISSUED, GRADE = "invoice_issued@2", "tax_credit_grade@1"
LEAVES = [LeafRef(batch=bytes([batch]) * 16, index=index) for batch in (1, 2) for index in (0, 5)]
INVENTORIES = {
    ISSUED: Inventory(counts={"2024-01": 3, "2024-03": 1}, leaves=LEAVES),
    GRADE: Inventory(counts={}, leaves=[]),
}


def message_with(**changes):
    fields = {
        "request": bytes(16),
        "consent": bytes(16),
        "sender": "bank-a",
        "receiver": "bureau",
        "purpose": Purpose.UNDERWRITING,
        "mode": Mode.DISCLOSE,
        "items": {ISSUED: ["core"], GRADE: ["core"]},
        "period_from": date(2024, 1, 1),
        "period_to": date(2024, 12, 31),
        "made_ms": 1,
        "salt": bytes(32),
    }
    return RequestMessage(**(fields | changes))


def manifest_with(inventories=None, message=None):
    return build_manifest(
        message or message_with(),
        taxpayer="E1",
        inventories=inventories or INVENTORIES,
        as_of=Checkpoint(origin="o", size=9, root=bytes(32), note=b""),
        suite=SUITE,
        made_ms=1,
        salt=bytes(32),
    )


TODAY, REPLACED = (SUITE.signing_key_from_seed(bytes([number]) * 32) for number in (1, 2))


def signed_by(key):
    return encode_manifest(manifest_with(), network=NETWORK, suite=SUITE, key=key)


def decoded(raw, *, delivered_by=None, digest=None):
    """delivered_by: who put the manifest's digest on the ledger."""
    state = {
        "members/network": {"suite": "intl"},
        "members/member/bureau": {"sign": TODAY.public_key},
        f"members/replaced/{REPLACED.key_id.hex()}": {"member": "bureau", "key": REPLACED.public_key},
    }
    if delivered_by is not None:
        entry = {"provider": delivered_by, "manifest_digest": digest or SUITE.digest(raw)}
        state[f"exchange/request/bank-a/{bytes(16).hex()}"] = entry
    return decode_manifest(raw, provider=MemberId("bureau"), state=state, network=NETWORK, suite=SUITE)


def test_a_manifest_survives_its_bytes():
    """[EXCHANGE-9]"""
    assert manifest_with() == decoded(signed_by(TODAY)) == decoded(signed_by(TODAY), delivered_by="bureau")


def test_a_replaced_key_signed_a_manifest_that_its_provider_delivered_and_no_other():
    """[MEMBER-26]: what another provider delivers, under a stolen key, is not this one's word."""
    raw = signed_by(REPLACED)
    assert decoded(raw, delivered_by="bureau") == manifest_with()
    for terms in ({}, {"delivered_by": "other-bureau"}, {"delivered_by": "bureau", "digest": bytes(32)}):
        with pytest.raises(IntegrityError, match=r"^ledger\.document_signers_wrong"):
            decoded(raw, **terms)


def test_names_are_the_same_in_any_order():
    """[EXCHANGE-9]: batch id and leaf index, sorted, hashed."""
    expected = SUITE.digest(b"".join(leaf.batch + leaf.index.to_bytes(4, "big") for leaf in LEAVES))
    assert expected == names_digest(reversed(LEAVES), suite=SUITE)


def test_what_is_complete_is_accepted():
    """[EXCHANGE-12]"""
    assert verify_complete(manifest_with(), INVENTORIES, suite=SUITE) is None


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({"2024-01": 2, "2024-03": 1}, "invoice_issued@2 in 2024-01: the signed manifest counts 3 records, 2 were"),
        ({"2024-01": 3}, "invoice_issued@2 in 2024-03: the signed manifest counts 1 records, 0 were"),
        (
            {"2024-01": 3, "2024-02": 1, "2024-03": 1},
            "invoice_issued@2 in 2024-02: the signed manifest counts 0 records, 1",
        ),
    ],
)
def test_both_counts_are_named_where_they_differ(counts, words):
    """[EXCHANGE-12]"""
    received = INVENTORIES | {ISSUED: Inventory(counts=counts, leaves=LEAVES)}
    with pytest.raises(IntegrityError) as refusal:
        verify_complete(manifest_with(), received, suite=SUITE)
    assert refusal.value.code == "exchange.record_withheld"
    assert words in refusal.value.message


def test_a_type_left_out_entirely_is_withheld():
    with pytest.raises(IntegrityError, match=r"^exchange\.record_withheld"):
        verify_complete(manifest_with(), {}, suite=SUITE)


@pytest.mark.parametrize(
    "leaves", [LEAVES[1:], [LEAVES[0], *LEAVES[:3]], [*LEAVES[:3], LeafRef(batch=bytes(16), index=1)]]
)
def test_other_records_in_the_right_number_are_seen(leaves):
    """[EXCHANGE-12]"""
    received = INVENTORIES | {ISSUED: Inventory(counts=INVENTORIES[ISSUED].counts, leaves=leaves)}
    with pytest.raises(IntegrityError, match=r"^exchange\.record_exchanged"):
        verify_complete(manifest_with(), received, suite=SUITE)


@pytest.mark.parametrize(
    "change",
    [
        {"request": b"\x01" * 16},
        {"consent": b"\x01" * 16},
        {"sender": "bank-b"},
        {"receiver": "bureau-b"},
        {"items": {ISSUED: ["core"]}},
        {"period_from": date(2024, 1, 2)},
        {"period_to": date(2024, 12, 30)},
    ],
)
def test_a_manifest_on_another_request_does_not_fit(change):
    with pytest.raises(IntegrityError, match=r"^exchange\.manifest_misdirected"):
        verify_manifest_fits(manifest_with(), message_with(**change), taxpayer="E1")


def test_a_manifest_on_another_taxpayer_does_not_fit():
    with pytest.raises(IntegrityError, match=r"^exchange\.manifest_misdirected"):
        verify_manifest_fits(manifest_with(), message_with(), taxpayer="E2")


@pytest.mark.parametrize(
    "inventories",
    [{ISSUED: INVENTORIES[ISSUED]}, INVENTORIES | {"filing@1": Inventory(counts={"2024-01": 1}, leaves=LEAVES)}],
    ids=["a type too few", "a type too many"],
)
def test_a_manifest_speaks_of_every_type_asked_for_and_no_other(inventories):
    with pytest.raises(IntegrityError, match=r"^exchange\.manifest_ambiguous"):
        verify_manifest_fits(manifest_with(inventories), message_with(), taxpayer="E1")


@pytest.mark.parametrize(
    "bend",
    [
        lambda cells: [cells[0], *cells],
        lambda cells: [*cells, cells[-1]],
        lambda cells: cells[::-1],
        lambda cells: [msgspec.structs.replace(cells[0], count=1), *cells],
        lambda cells: [*cells, msgspec.structs.replace(cells[0], type="vat_return@1")],
        lambda cells: [msgspec.structs.replace(cells[0], type="filing@1"), *cells],
    ],
    ids=["twice", "twice at the end", "backwards", "another count", "a later type", "an earlier type"],
)
def test_cells_twice_out_of_order_or_of_a_type_not_asked_for_are_ambiguous(bend):
    """[EXCHANGE-9]: one count for each type and month, and nothing that nobody asked for."""
    manifest = manifest_with()
    bent = msgspec.structs.replace(manifest, cells=bend(manifest.cells))
    assert verify_manifest_fits(manifest, message_with(), taxpayer="E1") is None
    with pytest.raises(IntegrityError, match=r"^exchange\.manifest_ambiguous"):
        verify_manifest_fits(bent, message_with(), taxpayer="E1")


@pytest.mark.parametrize("bend", [lambda types: types[::-1], lambda types: [types[0], *types]], ids=["order", "twice"])
def test_types_out_of_order_or_twice_are_ambiguous(bend):
    """[EXCHANGE-9]"""
    manifest = manifest_with()
    bent = msgspec.structs.replace(manifest, types=bend(manifest.types))
    with pytest.raises(IntegrityError, match=r"^exchange\.manifest_ambiguous"):
        verify_manifest_fits(bent, message_with(), taxpayer="E1")


def column(name, values, kind):
    return pa.RecordBatch.from_arrays([pa.array(values, type=kind)], names=[name])


def test_dates_count_in_their_month_and_years_in_their_december():
    """[EXCHANGE-9]"""
    catalogue = load_catalogue()
    days = column("issue_date", [date(2024, 1, 31), date(2024, 2, 1)], pa.date32())
    assert months_of(days, catalogue.get(ISSUED)) == ["2024-01", "2024-02"]
    assert months_of(column("year", [2023], pa.int64()), catalogue.get(GRADE)) == ["2023-12"]


@pytest.mark.parametrize(
    ("type_id", "rows", "outside"),
    [
        (ISSUED, column("issue_date", [date(2024, 1, 1), date(2024, 12, 31)], pa.date32()), None),
        (ISSUED, column("issue_date", [date(2024, 1, 1), date(2023, 12, 31)], pa.date32()), "2023-12-31"),
        (ISSUED, column("issue_date", [date(2025, 1, 1)], pa.date32()), "2025-01-01"),
        (GRADE, column("year", [2024], pa.int64()), None),
        (GRADE, column("year", [2025], pa.int64()), "2025-12-31"),
        ("registration@1", column("registered_on", [date(1999, 1, 1)], pa.date32()), None),
        ("registration@1", column("registered_on", [date(2025, 1, 1)], pa.date32()), "2025-01-01"),
    ],
)
def test_scope_is_the_period_or_all_before_its_end_for_what_stands(type_id, rows, outside):
    """[EXCHANGE-9] [EXCHANGE-14]"""
    record_type = load_catalogue().get(type_id)
    found = first_out_of_scope(rows, record_type, period_from=date(2024, 1, 1), period_to=date(2024, 12, 31))
    assert outside == found


def test_an_undated_record_is_refused():
    with pytest.raises(IntegrityError, match=r"^exchange\.record_undated"):
        months_of(column("issue_date", [None], pa.date32()), load_catalogue().get(ISSUED))


def test_every_published_type_is_dated_in_the_group_that_is_always_granted():
    """Else neither bank nor accuser could place a record in time."""
    kinds = list(load_catalogue())
    assert [kind.id for kind in kinds if kind.field(kind.period_field).group != "core"] == []
    assert [kind.id for kind in kinds if not kind.field(kind.period_field).required] == []

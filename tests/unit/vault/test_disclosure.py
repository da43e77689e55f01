from __future__ import annotations

import dataclasses
from datetime import date

import numpy as np
import pyarrow as pa
import pytest

from shuiqiao.base.encoding import decode_cbor, encode_cbor
from shuiqiao.base.errors import Conflict, IntegrityError, InvalidInput
from shuiqiao.ledger.receipts.receipt import MAX_RECEIPT_BYTES
from shuiqiao.vault import disclosure, evidence
from shuiqiao.vault.contract import batch_lookup
from shuiqiao.vault.disclosure import (
    MAX_WIRE_BYTES,
    _decode_proof,
    _WireProof,
    decode_disclosure,
    encode_disclosure,
)
from shuiqiao.vault.model import MAX_BATCH_DEPTH, ErasureReason
from vault_world import CATALOGUE, EVER, OTHER_BUREAU, VaultWorld, grade, invoice, write_rows

FIRM, OTHER = "91320101", "91320102"
GRANTED = {"invoice_issued": ["core", "amounts"]}


def filled(world, folder):
    rows = [invoice(number, uscc=(FIRM, OTHER)[number % 2]) for number in range(40)]
    world.ingest(write_rows(folder / "a.parquet", "invoice_issued", rows))
    return world


@pytest.fixture(scope="module", params=["intl", "gm"])
def world(tmp_path_factory, request):
    """A world that tests only read."""
    folder = tmp_path_factory.mktemp("world")
    world = filled(VaultWorld(folder / "home", request.param), folder)
    yield world
    world.close()


def changed_type(disclosure, **changes):
    (entry,) = disclosure.types
    return dataclasses.replace(disclosure, types=(dataclasses.replace(entry, **changes),))


def changed_proof(disclosure, **changes):
    first, *rest = disclosure.types[0].proofs
    return changed_type(disclosure, proofs=(dataclasses.replace(first, **changes), *rest))


def flipped(data, at=0):
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_a_disclosure_travels_as_bytes_and_verifies_on_the_other_side(world):
    # Holds [VAULT-WIRE-1] [VAULT-VERIFY-1].
    sent = world.disclose(FIRM, GRANTED)
    data = encode_disclosure(sent)
    received = decode_disclosure(data, catalogue=CATALOGUE)
    assert data == encode_disclosure(received)
    verified = world.verify(received, status_of=world.status_of)
    assert verified.record_count == 20
    table = verified.types["invoice_issued@2"]
    assert table.groups == ("core", "amounts")
    assert len(table.batch_numbers) == len(table.indexes) == 20
    assert {FIRM} == set(table.rows.column("uscc").to_pylist())


def test_withheld_groups_do_not_travel(world):
    # [VAULT-LEAF-2]: the withheld names are there to be leaked, and are not.
    data = encode_disclosure(world.disclose(FIRM, GRANTED))
    everything = encode_disclosure(world.disclose(FIRM))
    for secret in ("商贸".encode(), b"91440300MA5"):
        assert secret in everything
        assert secret not in data


def test_only_the_asked_taxpayer_and_period_are_disclosed(world):
    # Holds [VAULT-LIVE-2].
    period = {"period_from": date(2024, 3, 1), "period_to": date(2024, 5, 31)}
    rows = world.disclose(OTHER, GRANTED, **period).types[0].rows
    days = rows.column("issue_date").to_pylist()
    assert days
    assert all(period["period_from"] <= day <= period["period_to"] for day in days)
    assert {OTHER} == set(rows.column("uscc").to_pylist())
    counts = world.vault.count_live(uscc=OTHER, type_id="invoice_issued@2", **period)
    assert sum(counts.values()) == len(days)
    assert counts == {month: sum(day.isoformat()[:7] == month for day in days) for month in counts}


def test_a_taxpayer_without_records_is_disclosed_as_such(world):
    empty = world.disclose("91329999", GRANTED)
    received = decode_disclosure(encode_disclosure(empty), catalogue=CATALOGUE)
    assert world.verify(received).record_count == 0
    assert world.verify(world.disclose(FIRM, {"filing": ["core"]})).record_count == 0


def test_a_taxpayer_whose_number_begins_like_another_is_another(open_world, tmp_path):
    world = filled(open_world(), tmp_path)
    world.ingest(write_rows(tmp_path / "b.parquet", "invoice_issued", [invoice(99, uscc=FIRM + "0")]))
    assert world.disclose(FIRM, GRANTED).record_count == 20
    assert world.disclose(FIRM + "0", GRANTED).record_count == 1


def test_standing_records_belong_to_every_period_after_their_date(open_world, tmp_path):
    world = open_world()
    record_type = CATALOGUE.get("registration")
    assert record_type.standing
    values = {
        "uscc": FIRM,
        "taxpayer_name": "某某公司",
        "status": record_type.field("status").code_list.codes[0],
        "industry_code": "C13",
        "province_code": "32",
        "registered_on": date(2010, 5, 1),
    }
    report = world.ingest(write_rows(tmp_path / "r.parquet", "registration", [values]))
    assert report.records_ingested == 1
    wanted = {"registration": ["core"]}
    later = {"period_from": date(2024, 1, 1), "period_to": date(2024, 12, 31)}
    before = {"period_from": date(2009, 1, 1), "period_to": date(2010, 4, 30)}
    assert world.verify(world.disclose(FIRM, wanted, **later)).record_count == 1
    assert world.disclose(FIRM, wanted, **before).record_count == 0


def test_years_are_placed_at_their_end(open_world, tmp_path):
    world = open_world()
    world.ingest(write_rows(tmp_path / "g.parquet", "tax_credit_grade", [grade(2023, "B", uscc=FIRM)]))
    wanted = {"tax_credit_grade": ["core"]}
    for last, count in ((date(2023, 12, 30), 0), (date(2023, 12, 31), 1)):
        found = world.disclose(FIRM, wanted, period_from=date(2023, 7, 1), period_to=last)
        assert found.record_count == count


@pytest.mark.parametrize("part", ["salts", "withheld", "proof"])
def test_a_changed_salt_hash_or_proof_is_caught(world, part):
    sent = world.disclose(FIRM, GRANTED)
    proven = sent.types[0].proofs[0]
    value = getattr(proven, part)
    assert value
    for at in (0, len(value) - 1):
        with pytest.raises(IntegrityError, match=r"vault\.leaf_mismatch"):
            world.verify(changed_proof(sent, **{part: flipped(value, at)}))


def test_a_changed_value_is_caught(world):
    sent = world.disclose(FIRM, GRANTED)
    rows = sent.types[0].rows
    position = rows.schema.get_field_index("amount_fen")
    amounts = rows.column(position).to_pylist()
    amounts[7] += 1
    forged = rows.set_column(position, "amount_fen", pa.array(amounts))
    with pytest.raises(IntegrityError, match=r"vault\.leaf_mismatch"):
        world.verify(changed_type(sent, rows=forged))


def test_records_exchanged_between_leaves_are_caught(world):
    sent = world.disclose(FIRM, GRANTED)
    indexes = sent.types[0].proofs[0].indexes.copy()
    indexes[-1] += 1
    with pytest.raises(IntegrityError):
        world.verify(changed_proof(sent, indexes=indexes))


def test_a_leaf_shown_twice_is_caught(world):
    # Holds [VAULT-VERIFY-1].
    sent = world.disclose(FIRM, GRANTED)
    entry = sent.types[0]
    twice = changed_type(
        sent,
        rows=pa.concat_batches([entry.rows, entry.rows]),
        proofs=(*entry.proofs, *entry.proofs),
    )
    with pytest.raises(IntegrityError, match=r"vault\.leaf_repeated"):
        world.verify(twice)
    proven = entry.proofs[0]
    repeated = proven.indexes.copy()
    repeated[1] = repeated[0]
    with pytest.raises(IntegrityError, match=r"vault\.proof_malformed"):
        world.verify(changed_proof(sent, indexes=repeated))


def test_another_taxpayer_name_on_the_cover_is_caught(world):
    with pytest.raises(IntegrityError, match=r"vault\.taxpayer_mismatch"):
        world.verify(dataclasses.replace(world.disclose(FIRM, GRANTED), uscc=OTHER))


def test_a_batch_that_the_ledger_does_not_have_is_refused(world):
    sent = world.disclose(FIRM, GRANTED)
    with pytest.raises(IntegrityError, match=r"vault\.batch_unanchored"):
        world.verify(sent, batch_of=lambda _: None)


def test_a_batch_of_another_author_or_standard_is_refused(world):
    sent = world.disclose(FIRM, GRANTED)
    with pytest.raises(IntegrityError, match=r"vault\.batch_unanchored"):
        world.verify(sent, batch_of=batch_lookup(world.ledger.state(), OTHER_BUREAU))

    def other_standard(batch):
        return dataclasses.replace(world.batch_of(batch), standard="invoice_received@2")

    with pytest.raises(IntegrityError, match=r"vault\.leaf_mismatch"):
        world.verify(sent, batch_of=other_standard)


def test_an_erased_or_superseded_record_is_refused_where_that_is_asked(open_world, tmp_path):
    """[VAULT-VERIFY-1]"""
    world = filled(open_world(), tmp_path)
    sent = world.disclose(FIRM, GRANTED)
    proven = sent.types[0].proofs[0]
    world.vault.erase(proven.batch, [int(proven.indexes[0])], reason=ErasureReason.LEGAL_ORDER, anchor=world.anchor)
    assert world.verify(sent).record_count == 20
    with pytest.raises(Conflict, match=rf"^vault\.record_erased.*leaf {proven.indexes[0]} of"):
        world.verify(sent, status_of=world.status_of)


def test_an_erased_batch_is_refused(open_world, tmp_path):
    world = filled(open_world(), tmp_path)
    sent = world.disclose(FIRM, GRANTED)
    world.vault.erase(sent.types[0].proofs[0].batch, [], reason=ErasureReason.LEGAL_ORDER, anchor=world.anchor)
    with pytest.raises(Conflict, match=r"vault\.batch_erased"):
        world.verify(sent)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda wire: wire.update(version=2), "vault.disclosure_malformed"),
        (lambda wire: wire.update(period_from="2024-13-01"), "vault.disclosure_malformed"),
        (lambda wire: wire.update(extra=1), "vault.disclosure_malformed"),
        (lambda wire: wire.update(uscc="A\x00B"), "vault.disclosure_malformed"),
        (lambda wire: wire["types"].append(wire["types"][0]), "vault.disclosure_malformed"),
        (lambda wire: wire["types"][0].update(groups=["amounts", "core"]), "vault.disclosure_malformed"),
        (lambda wire: wire["types"][0].update(groups=["core", "nothing"]), "standards.group_unknown"),
        (lambda wire: wire["types"][0].update(groups=["core"]), "vault.disclosure_malformed"),
        (lambda wire: wire["types"][0].update(standard="invoice_issued@1"), "standards.type_unknown"),
        (lambda wire: wire["types"][0]["columns"].pop("uscc"), "vault.disclosure_malformed"),
        (lambda wire: wire["types"][0]["openings"][0].update(salts=b""), "vault.disclosure_malformed"),
        (lambda wire: wire["types"][0]["openings"][0].update(indexes=b"abc"), "vault.disclosure_malformed"),
        (lambda wire: _resize(wire, "indexes", 1), "vault.disclosure_malformed"),
        (lambda wire: _resize(wire, "salts", 1), "vault.disclosure_malformed"),
        (lambda wire: _resize(wire, "salts", -1), "vault.disclosure_malformed"),
        (lambda wire: _resize(wire, "salts", 16), "vault.disclosure_malformed"),
        (lambda wire: _resize(wire, "withheld", 1), "vault.disclosure_malformed"),
        (lambda wire: _resize(wire, "withheld", -32), "vault.disclosure_malformed"),
        (lambda wire: _resize(wire, "withheld", 32), "vault.disclosure_malformed"),
        (lambda wire: _resize(wire, "proof", 1), "vault.disclosure_malformed"),
        (lambda wire: _resize(wire, "proof", -1), "vault.disclosure_malformed"),
        (lambda wire: _no_leaves(wire["types"][0]["openings"][0]), "vault.disclosure_malformed"),
        (lambda wire: wire["types"][0]["openings"][0].update(proof=bytes(32 * 500)), "vault.disclosure_malformed"),
        (lambda wire: wire["types"][0]["columns"]["uscc"].update(ends=b"abcd"), "vault.column_malformed"),
        (lambda wire: wire["types"][0]["columns"]["uscc"].update(valid=b"\xff" * 9), "vault.column_malformed"),
        (lambda wire: wire["types"][0]["columns"]["amount_fen"].update(data=b"abcd"), "vault.column_malformed"),
        (lambda wire: wire["types"][0]["columns"]["amount_fen"].update(ends=b"abcd"), "vault.column_malformed"),
        (
            lambda wire: wire["types"][0]["columns"]["is_red_letter"].update(data=b"\xff\xff\xff"),
            "vault.column_malformed",
        ),
        (lambda wire: _spoil_text(wire["types"][0]["columns"]["uscc"]), "vault.column_malformed"),
    ],
)
def test_malformed_bytes_are_refused_with_a_code(world, change, code):
    # Holds [VAULT-WIRE-2].
    wire = decode_cbor(encode_disclosure(world.disclose(FIRM, GRANTED)))
    change(wire)
    with pytest.raises(InvalidInput) as refused:
        decode_disclosure(encode_cbor(wire), catalogue=CATALOGUE)
    assert refused.value.code == code


def _resize(wire, part, by):
    """Cut a part of the first batch proof, or append to it."""
    proven = wire["types"][0]["openings"][0]
    proven[part] = proven[part] + bytes(by) if by > 0 else proven[part][:by]


def _no_leaves(proven):
    proven.update(indexes=b"", salts=b"", withheld=b"", proof=b"")


@pytest.mark.parametrize(("leaves", "fits"), [(1 << MAX_BATCH_DEPTH, True), ((1 << MAX_BATCH_DEPTH) + 1, False)])
def test_a_batch_proof_shows_no_more_leaves_than_a_batch_can_have(leaves, fits):
    """[VAULT-WIRE-2]: refused before anything is made of it."""
    record_type = CATALOGUE.get("tax_credit_grade")
    wire = _WireProof(
        batch=bytes(16),
        indexes=np.arange(leaves, dtype="<u4").tobytes(),
        salts=bytes(16 * leaves),
        withheld=bytes(32 * leaves * (len(record_type.groups) - 1)),
        proof=b"",
    )
    if fits:
        assert len(_decode_proof(wire, record_type, granted=1).indexes) == leaves
        return
    with pytest.raises(InvalidInput, match=r"^vault\.disclosure_malformed"):
        _decode_proof(wire, record_type, granted=1)


def test_a_proof_is_no_longer_than_its_leaves_can_need():
    """[VAULT-WIRE-2]: one sibling for each leaf and level at most."""
    record_type = CATALOGUE.get("tax_credit_grade")
    parts = {"batch": bytes(16), "indexes": bytes(4), "salts": bytes(16)}
    parts["withheld"] = bytes(32 * (len(record_type.groups) - 1))
    longest = _WireProof(**parts, proof=bytes(32 * MAX_BATCH_DEPTH))
    assert len(_decode_proof(longest, record_type, granted=1).proof) == 32 * MAX_BATCH_DEPTH
    with pytest.raises(InvalidInput, match=r"^vault\.disclosure_malformed"):
        _decode_proof(_WireProof(**parts, proof=bytes(32 * (MAX_BATCH_DEPTH + 1))), record_type, granted=1)


def test_a_disclosure_without_core_is_proven_and_does_not_say_whose_it_is(world):
    """[VAULT-VERIFY-1]: the amounts of every record are those that were anchored; the cover says what it likes."""
    sent = world.disclose(FIRM, {"invoice_issued": ["amounts"]})
    for uscc in (FIRM, OTHER):
        received = decode_disclosure(encode_disclosure(dataclasses.replace(sent, uscc=uscc)), catalogue=CATALOGUE)
        verified = world.verify(received, status_of=world.status_of)
        assert verified.record_count == 20
        assert "uscc" not in verified.types["invoice_issued@2"].rows.schema.names
    with pytest.raises(IntegrityError, match=r"^vault\.leaf_mismatch"):
        world.verify(changed_proof(sent, withheld=flipped(sent.types[0].proofs[0].withheld)))


def _spoil_text(column):
    column["data"] = b"\xff" + column["data"][1:]


def test_trailing_and_oversized_bytes_are_refused(world):
    data = encode_disclosure(world.disclose(FIRM, GRANTED))
    with pytest.raises(InvalidInput, match=r"base\.cbor"):
        decode_disclosure(data + b"\x00", catalogue=CATALOGUE)
    with pytest.raises(InvalidInput, match=r"base\.cbor_too_large"):
        decode_disclosure(bytes(MAX_WIRE_BYTES + 1), catalogue=CATALOGUE)


def test_no_more_travels_than_the_limits_say(world, monkeypatch):
    """[VAULT-WIRE-2]: sender and receiver refuse it with one code."""
    sent = world.disclose(FIRM, GRANTED)
    data = encode_disclosure(sent)
    limits = {"MAX_WIRE_BYTES": len(data), "MAX_DISCLOSED_RECORDS": sent.record_count}
    for name, most in limits.items():
        monkeypatch.setattr(f"shuiqiao.vault.disclosure.{name}", most)
    assert data == encode_disclosure(decode_disclosure(data, catalogue=CATALOGUE))
    monkeypatch.setattr("shuiqiao.vault.disclosure.MAX_DISCLOSED_RECORDS", sent.record_count - 1)
    with pytest.raises(InvalidInput, match=r"^vault\.disclosure_too_large.*20 records"):
        decode_disclosure(data, catalogue=CATALOGUE)
    monkeypatch.setattr("shuiqiao.vault.disclosure.MAX_WIRE_BYTES", len(data) - 1)
    with pytest.raises(InvalidInput, match=r"^vault\.disclosure_too_large.*bytes"):
        encode_disclosure(sent)


def test_columns_that_do_not_fit_their_leaves_are_refused(world):
    sent = world.disclose(FIRM, GRANTED)
    with pytest.raises(InvalidInput, match=r"vault\.disclosure_malformed"):
        world.verify(changed_type(sent, rows=sent.types[0].rows.slice(1)))
    with pytest.raises(InvalidInput, match=r"vault\.disclosure_malformed"):
        world.verify(changed_proof(sent, salts=b""))
    withheld = sent.types[0].proofs[0].withheld
    for hashes in (withheld[32:], withheld + bytes(32), b""):
        with pytest.raises(InvalidInput, match=r"vault\.disclosure_malformed.*too few or too many"):
            world.verify(changed_proof(sent, withheld=hashes))
    for groups in (("amounts", "core"), ("core", "core", "amounts")):
        with pytest.raises(InvalidInput, match=r"vault\.disclosure_malformed.*not those of its groups"):
            world.verify(changed_type(sent, groups=groups))
    first = sent.types[0].proofs[0]
    shorter = changed_proof(sent, salts=first.salts[2 * 16 :], withheld=first.withheld[32:])
    with pytest.raises(InvalidInput, match=r"vault\.disclosure_malformed.*more or fewer leaves than it has rows"):
        world.verify(changed_type(shorter, rows=sent.types[0].rows.slice(1)))
    renamed = sent.types[0].rows.rename_columns(["x", *sent.types[0].rows.schema.names[1:]])
    with pytest.raises(InvalidInput, match=r"vault\.disclosure_malformed"):
        world.verify(changed_type(sent, rows=renamed))


def test_a_date_beyond_every_calendar_is_a_mismatch_not_a_crash(world):
    sent = world.disclose(FIRM, GRANTED)
    rows = sent.types[0].rows
    position = rows.schema.get_field_index("issue_date")
    days = pa.array(np.full(rows.num_rows, 2**31 - 1, dtype=np.int32)).cast(pa.date32())
    with pytest.raises(IntegrityError, match=r"vault\.leaf_mismatch"):
        world.verify(changed_type(sent, rows=rows.set_column(position, "issue_date", days)))


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"groups": {"invoice_issued": []}}, "vault.groups_empty"),
        ({"groups": {"invoice_issued": ["all"]}}, "standards.group_unknown"),
        ({"groups": {"secrets": ["core"]}}, "standards.type_unknown"),
        ({"period_from": date(2030, 1, 1), "period_to": date(2029, 1, 1)}, "vault.period_invalid"),
        ({"uscc": "9132\x000101"}, "vault.taxpayer_invalid"),
        ({"uscc": ""}, "vault.taxpayer_invalid"),
    ],
)
def test_a_disclosure_that_makes_no_sense_is_refused(world, options, code):
    with pytest.raises(InvalidInput) as refused:
        world.vault.disclose(**{"uscc": FIRM, "groups": GRANTED, **EVER, **options})
    assert refused.value.code == code


def test_what_travels_is_of_one_version_and_within_limits():
    """Two institutions with other numbers would not read each other's disclosures."""
    limits = (disclosure.MAX_DISCLOSED_RECORDS, disclosure.MAX_BATCH_PROOFS, disclosure.MAX_TYPES)
    assert (disclosure.WIRE_VERSION, *limits) == (1, 2_000_000, 65_536, 32)
    assert disclosure.MAX_WIRE_ITEMS == 1_048_576
    assert (evidence.MAX_EVIDENCE_FILE_BYTES, evidence.EVIDENCE_VERSION) == (2_097_152, 1)
    assert evidence.MAX_EVIDENCE_FILE_BYTES == 1_048_576 + MAX_RECEIPT_BYTES

"""A bureau finds, proves, amends and erases records, and looks through its log, by commands alone."""

from __future__ import annotations

import pytest

FIRM = "9199000000000001X0"
HEADER = (
    "uscc,invoice_no,issue_date,status,is_red_letter,amount_fen,tax_fen,total_fen,counterparty_id,counterparty_name\n"
)
ROW = "{uscc},{number},2026-03-0{day},{status},false,{amount},130,{total},B1,Secret Ltd\n"


def row(number, *, uscc=FIRM, status="valid", amount=1000):
    return ROW.format(uscc=uscc, number=f"{number:020d}", day=number, status=status, amount=amount, total=amount + 130)


@pytest.fixture
def ingest(here, home, tmp_path):
    """Ingest rows as an export of their own: what the command says."""
    made = []

    def call(*rows):
        made.append(tmp_path / f"{len(made)}.csv")
        made[-1].write_text(HEADER + "".join(rows))
        return here("ingest", made[-1], "--type", "invoice_issued", "--home", home, "--json")

    return call


@pytest.fixture
def find(here, home):
    def call(*arguments):
        return here("record", "find", *arguments, "--home", home, "--json").json["records"]

    return call


def test_ingest_names_each_anchor_with_its_place_in_the_log(here, home, ingest):
    said = ingest(row(1), row(2))
    (anchored,) = said.json["anchored"]
    assert (said.json["anchors"], anchored["index"], anchored["type"], anchored["records"]) == (
        1,
        0,
        "invoice_issued@2",
        2,
    )
    listed = here("log", "--home", home, "--json").json["entries"]
    assert [(entry["index"], entry["kind"]) for entry in listed] == [(0, "anchor.commit")]


def test_ingest_tells_a_person_the_anchors_too(here, home, tmp_path):
    (tmp_path / "a.csv").write_text(HEADER + row(1))
    said = here("ingest", tmp_path / "a.csv", "--type", "invoice_issued", "--home", home)
    assert "anchor 锚定 0  invoice_issued@2, 1 records, batch " in said.out


def test_every_version_of_a_record_is_found_by_number_taxpayer_and_field(ingest, find):
    ingest(row(1), row(2), row(1, uscc="9199000000000002X8"))
    ingest(row(1, status="void"))
    both = find("--number", f"{1:020d}", "--taxpayer", FIRM)
    assert [(entry["status"], entry["version"], entry["versions"]) for entry in both] == [
        ("superseded", 1, 2),
        ("live", 2, 2),
    ]
    assert [entry["key"]["status"] for entry in both] == ["valid", "void"]
    assert both[0]["batch"] != both[1]["batch"]
    assert [(entry["anchor"], entry["file"], entry["row"]) for entry in both] == [(0, "0.csv", 1), (2, "1.csv", 1)]
    assert len(find("--taxpayer", FIRM)) == 3
    assert {entry["key"]["uscc"] for entry in find("--number", f"{1:020d}")} == {FIRM, "9199000000000002X8"}
    assert [entry["key"]["invoice_no"] for entry in find("--key", "issue_date=2026-03-02")] == [f"{2:020d}"]


def test_a_search_that_finds_nothing_or_names_nothing_is_refused(here, home, ingest):
    ingest(row(1))
    nothing = here("record", "find", "--number", "7", "--home", home)
    assert (nothing.code, nothing.out) == (1, "0 found 共 0 条\n")
    for arguments, refusal in (
        ((), (1, "vault.query_empty")),
        (("--key", "colour"), (2, "cli.key_malformed")),
        (("--type", "invoice_issued", "--key", "colour=red"), (1, "standards.field_unknown")),
        (("--taxpayer", FIRM, "--type", "secrets"), (1, "standards.type_unknown")),
    ):
        refused = here("record", "find", *arguments, "--home", home, "--json")
        assert (refused.code, refused.json["error"]["code"]) == refusal


@pytest.fixture
def proven(here, home, ingest, find, tmp_path):
    """The evidence of one of three invoices, core and amounts shown, and where it is."""
    ingest(row(1), row(2), row(3))
    (found,) = find("--number", f"{2:020d}")
    path = tmp_path / "two.record"
    said = here(
        "record", "prove", found["batch"], found["leaf"], "--group", "core", "--group", "amounts", "--out", path,
        "--home", home, "--json",
    )  # fmt: skip
    assert said.code == 0, said.json
    assert (said.code, said.json["status"], said.json["groups"]) == (0, "live", ["amounts", "core"])
    return found, path


def test_a_bank_verifies_the_proof_of_one_invoice_with_the_genesis_alone(shuiqiao, home, proven):
    # Holds [VAULT-EVIDENCE-2]: in a process that has nothing else, and the buyer stays hidden.
    found, path = proven
    said = shuiqiao("verify", path, "--genesis", home / "genesis.json", "--json")
    assert said.code == 0
    record = said.json["record"]
    assert (record["batch"], record["leaf"], record["status"]) == (found["batch"], found["leaf"], "live")
    assert record["groups"]["core"]["invoice_no"] == f"{2:020d}"
    assert record["groups"]["amounts"]["total_fen"] == 1130
    assert "counterparty" not in record["groups"]
    assert b"Secret Ltd" not in path.read_bytes()
    spoken = shuiqiao("verify", path, "--genesis", home / "genesis.json")
    assert "is the record of invoice_issued@2 shown here" in spoken.out
    assert "  amounts: amount_fen=1000 tax_fen=130 tax_rate=- total_fen=1130" in spoken.out


def test_any_changed_byte_of_a_proof_fails(home, proven):
    # Holds [VAULT-EVIDENCE-2].
    from shuiqiao.base.errors import ShuiqiaoError
    from shuiqiao.node.published.verification import ReceiptVerifier

    _, path = proven
    verifier = ReceiptVerifier.from_genesis(genesis=home / "genesis.json", home=None)
    data = path.read_bytes()
    verifier.verify_file(path)
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(ShuiqiaoError):
            verifier.verify_file(path)
    for changed in (data + b"\x00", data[:-1], b"", data[:10]):
        path.write_bytes(changed)
        with pytest.raises(ShuiqiaoError):
            verifier.verify_file(path)


def test_a_proof_says_what_became_of_the_record(here, home, proven, ingest, find, tmp_path):
    # Holds [VAULT-EVIDENCE-2]: the receipt shows the state behind its own checkpoint.
    found, path = proven
    ingest(row(2, status="void"))
    old, new = find("--number", f"{2:020d}")
    assert (old["batch"], old["status"], new["status"]) == (found["batch"], "superseded", "live")
    said = here(
        "record", "prove", old["batch"], old["leaf"], "--out", tmp_path / "old.record", "--home", home, "--json"
    )
    assert (said.json["status"], said.json["groups"]) == ("superseded", ["core"])
    # The older file still says what was so at its checkpoint.
    assert here("verify", path, "--home", home, "--json").json["record"]["status"] == "live"


def test_a_receipt_of_another_anchor_does_not_pair_with_a_proof(here, home, proven, ingest):
    # Holds [VAULT-EVIDENCE-2].
    import msgspec

    from shuiqiao.vault.evidence import decode_evidence, encode_evidence

    _, path = proven
    ingest(row(7))
    receipt = path.with_name("other.receipt")
    here("receipt", 2, "--out", receipt, "--home", home)
    swapped = msgspec.structs.replace(decode_evidence(path.read_bytes()), receipt=receipt.read_bytes())
    path.write_bytes(encode_evidence(swapped))
    refused = here("verify", path, "--home", home, "--json")
    assert (refused.code, refused.json["code"]) == (1, "vault.evidence_unpaired")


@pytest.mark.parametrize(
    ("arguments", "refusal"),
    [
        (("xyz", "0"), (2, "cli.batch_malformed")),
        (("00" * 16, "0"), (1, "vault.batch_unknown")),
        (("BATCH", "3"), (1, "vault.leaf_unknown")),
        (("BATCH", "0", "--group", "secrets"), (1, "standards.group_unknown")),
    ],
)
def test_what_is_not_there_is_not_proven(here, home, proven, arguments, refusal):
    batch = proven[0]["batch"]
    said = here(
        "record", "prove", *(batch if part == "BATCH" else part for part in arguments), "--home", home, "--json"
    )
    assert (said.code, said.json["error"]["code"]) == refusal


def test_a_conflict_is_resolved_by_an_amendment(here, home, ingest, find, tmp_path):
    # Holds [VAULT-IDENTITY-3].
    ingest(row(1))
    assert ingest(row(1, amount=2000)).json["records_quarantined"] == 1
    corrected = tmp_path / "corrected.csv"
    corrected.write_text(HEADER + row(1, amount=2000))
    said = here("record", "amend", corrected, "--type", "invoice_issued", "--home", home, "--json")
    assert (said.code, said.json["records_superseding"], len(said.json["anchored"])) == (0, 1, 1)
    assert [entry["status"] for entry in find("--taxpayer", FIRM)] == ["superseded", "live"]
    corrected.write_text(HEADER + row(9))
    refused = here("record", "amend", corrected, "--type", "invoice_issued", "--home", home, "--json")
    assert (refused.code, refused.json["records_quarantined"]) == (1, 1)


def test_an_erased_record_is_gone_and_the_log_says_why(here, home, proven, find):
    # Holds [VAULT-ERASE-1].
    found, path = proven
    arguments = ("record", "erase", found["batch"], found["leaf"], "--reason", "taxpayer_request", "--home", home)
    said = here(*arguments, "--json")
    assert (said.code, said.json["erased"], said.json["reason"]) == (0, [found["leaf"]], "taxpayer_request")
    assert len(find("--taxpayer", FIRM)) == 2
    again = here(*arguments, "--json")
    assert (again.code, again.json["error"]["code"]) == (1, "vault.leaf_unknown")
    kinds = [entry["kind"] for entry in here("log", "--home", home, "--json").json["entries"]]
    assert kinds == ["anchor.commit", "anchor.erase"]
    # What was handed out before stays true of its checkpoint.
    assert here("verify", path, "--home", home, "--json").json["record"]["status"] == "live"


def test_the_log_is_filtered_and_read_in_parts(here, home, ingest, tmp_path):
    ingest(row(1))
    ingest(row(1, status="void"))
    ingest(row(2))

    def listed(*arguments):
        said = here("log", *arguments, "--home", home, "--json").json
        return [entry["index"] for entry in said["entries"]], said["next"]

    everything = here("log", "--home", home, "--json").json["entries"]
    assert [entry["kind"] for entry in everything] == [
        "anchor.commit",
        "anchor.commit",
        "anchor.amend",
        "anchor.commit",
    ]
    assert len({entry["id"] for entry in everything}) == 4
    indexes = [entry["index"] for entry in everything]
    assert listed("--limit", 2) == (indexes[:2], indexes[2])
    assert listed("--from", indexes[2]) == (indexes[2:], None)
    assert listed("--kind", "anchor.amend") == ([indexes[2]], None)
    assert listed("--author", everything[0]["author"]) == (indexes, None)
    assert listed("--author", "nobody") == ([], None)
    said = here("log", "--limit", 1, "--home", home)
    assert said.out.splitlines()[-1] == f"more 未完  --from {indexes[1]}"
    assert listed("--from", indexes[2], "--proofs", tmp_path / "proofs") == (indexes[2:], None)
    written = [tmp_path / "proofs" / f"{index}.receipt" for index in indexes[2:]]
    assert here("verify", *written, "--home", home, "--json").json["valid"]


def test_a_bureau_that_gave_nothing_away_has_nobody_to_tell(here, home, ingest):
    # Holds [EXCHANGE-21]; both sides with answers: tests/integration/exchange/test_changed_records.py.
    ingest(row(1))
    ingest(row(1, status="void"))
    assert here("record", "changed", "--home", home, "--json").json == {"records": []}
    assert here("record", "changed", "--home", home).out.startswith("0 changed since they were delivered")

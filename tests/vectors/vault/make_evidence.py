"""Make evidence.json: files that prove one record, under both suites, and files that do not, each with its code.

A real home of one institution writes them: two invoices of one firm are ingested, then one of them again as void. Keys and
salts are drawn anew, so the file changes with each run, and what it says does not.
Command: ``.venv/bin/python tests/vectors/vault/make_evidence.py`` (writes the file beside it)
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "worlds"))

import consortium_world as worlds  # noqa: E402
from shuiqiao.base.clock import ManualClock  # noqa: E402
from shuiqiao.base.encoding import decode_json, encode_cbor  # noqa: E402
from shuiqiao.node.institution import Institution  # noqa: E402
from shuiqiao.vault.evidence import (  # noqa: E402
    EVIDENCE_MAGIC,
    RecordEvidence,
    ShownGroup,
    decode_evidence,
    encode_evidence,
)
from shuiqiao.vault.model import LeafRef  # noqa: E402

HEADER = (
    "uscc,invoice_no,issue_date,status,is_red_letter,amount_fen,tax_fen,total_fen,counterparty_id,counterparty_name\n"
)
ROW = (
    "91320100MA1000000A,{number:020d},2026-03-0{number},{status},false,1000,130,1130,91440300MA5000000B,买方有限公司\n"
)


def prove(institution: Institution, leaf: LeafRef, *groups: str) -> bytes:
    return institution.vault.prove_to_outsider(
        leaf,
        groups=groups,
        ledger=institution.engine,
        decode=institution.outbox.decode,
        author=institution.member,
    )


def holding(title: str, data: bytes, *, status: str) -> dict[str, Any]:
    proof = decode_evidence(data).proof
    opened = [part for part in proof.groups if isinstance(part, ShownGroup)]
    return {
        "title": title,
        "file": data.hex(),
        "standard": proof.standard,
        "batch": proof.batch.hex(),
        "index": proof.index,
        "status": status,
        "contents": {part.group: decode_json(part.content, max_bytes=1 << 16) for part in opened},
    }


def changed(evidence: RecordEvidence, **fields: Any) -> bytes:
    return encode_evidence(msgspec.structs.replace(evidence, **fields))


def refused(evidence: RecordEvidence, other: RecordEvidence, receipt: bytes) -> list[dict[str, str]]:
    proof = evidence.proof
    opened = proof.groups[0]
    assert isinstance(opened, ShownGroup)
    salted = msgspec.structs.replace(opened, salt=bytes(16))
    moved = msgspec.structs.replace(proof, index=proof.index ^ 1)
    renamed = msgspec.structs.replace(proof, standard="filing@1")
    cases = [
        ("another salt", changed(evidence, proof=msgspec.structs.replace(proof, groups=[salted, *proof.groups[1:]])),
         "ledger.inclusion_broken"),
        ("another place in the batch, for which the receipt shows no state", changed(evidence, proof=moved),
         "vault.evidence_unpaired"),
        ("another standard", changed(evidence, proof=renamed), "vault.leaf_mismatch"),
        ("the receipt of another anchor", changed(evidence, receipt=other.receipt), "vault.evidence_unpaired"),
        ("the right receipt without the state of the leaf", changed(evidence, receipt=receipt),
         "vault.evidence_unpaired"),
        ("no receipt", EVIDENCE_MAGIC + encode_cbor({"proof": msgspec.to_builtins(proof, builtin_types=(bytes,))}),
         "vault.evidence_malformed"),
        ("another magic", b"SQRECORD2\n" + encode_evidence(evidence)[len(EVIDENCE_MAGIC) :],
         "vault.evidence_malformed"),
    ]  # fmt: skip
    return [{"title": title, "file": data.hex(), "code": code} for title, data, code in cases]


def suite_vectors(suite: str, folder: Path) -> dict[str, Any]:
    home = worlds.solo_home(folder / "home", suite)
    with worlds.open_solo(home, ManualClock(worlds.NOW_MS)) as institution:

        def ingest(name: str, *rows: tuple[int, str]) -> tuple[bytes, int | None]:
            path = folder / f"{name}.csv"
            path.write_text(HEADER + "".join(ROW.format(number=number, status=status) for number, status in rows))
            made_of = institution.catalogue.get("invoice_issued")
            report = institution.vault.ingest([path], anchor=institution.outbox, record_type=made_of)
            (made,) = report.anchored
            return made.batch, made.index

        first, index = ingest("first", (1, "valid"), (2, "valid"))
        live = prove(institution, LeafRef(first, 1), "core")
        full = prove(institution, LeafRef(first, 1), "core", "amounts", "counterparty")
        second, _ = ingest("second", (2, "void"))
        superseded = prove(institution, LeafRef(first, 1), "core")
        newer = prove(institution, LeafRef(second, 0), "core")
        assert index is not None
        bare = institution.engine.receipt(index, state_keys=())
    return {
        "suite": suite,
        "genesis": home.genesis.read_text(),
        "valid": [
            holding("a live record", live, status="live"),
            holding("the same with all of it shown", full, status="live"),
            holding("the same after a newer version of it", superseded, status="superseded"),
            holding("the newer version", newer, status="live"),
        ],
        "invalid": refused(decode_evidence(live), decode_evidence(newer), bare),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        folders = [(suite, Path(scratch) / suite) for suite in ("intl", "gm")]
        for _, folder in folders:
            folder.mkdir()
        vectors = {
            "source": "made by tests/vectors/vault/make_evidence.py",
            "specification": "docs/spec/vault.md, VAULT-EVIDENCE-1 and VAULT-EVIDENCE-2",
            "suites": [suite_vectors(suite, folder) for suite, folder in folders],
        }
    (HERE / "evidence.json").write_text(json.dumps(vectors, ensure_ascii=False, indent=1) + "\n")

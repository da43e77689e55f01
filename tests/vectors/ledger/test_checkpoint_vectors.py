"""[NOTE-1] to [NOTE-6], [WITNESS-5], [WITNESS-6], [WITNESS-8], [TILE-1] to [TILE-3]: bytes made by a second way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from log_world import LeafHashes, cosignatures_of
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.cosignature import cosigned_message
from shuiqiao.ledger.checkpoints.note import add_cosignatures, join_note, verify_log_signature, verify_note
from shuiqiao.ledger.checkpoints.policy import CheckpointPolicy
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint
from shuiqiao.ledger.log.tree import consistency_path, leaf_hashes
from shuiqiao.ledger.tiles.publishing import TileWriter
from shuiqiao.ledger.tiles.reader import FolderTiles, PublishedLog
from shuiqiao.ledger.witness.fork_evidence import verify_fork_evidence
from shuiqiao.ledger.witness.request import decode_request, encode_request
from shuiqiao.ledger.witness.witness import Witness

HERE = Path(__file__).parent
LEAVES = [b"leaf %d" % number for number in range(300)]


@pytest.fixture(params=["intl", "gm"])
def vectors(request: pytest.FixtureRequest) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((HERE / f"checkpoints_{request.param}.json").read_text(encoding="utf-8"))
    return loaded


def policy_of(vectors: dict[str, Any], *, operator: bool = True, quorum: int | None = None) -> CheckpointPolicy:
    return CheckpointPolicy(
        origin=vectors["origin"],
        operator=MemberId("bureau") if operator else None,
        operator_key=bytes.fromhex(vectors["operator"]["public_key"]) if operator else None,
        witnesses={MemberId(member): bytes.fromhex(key) for member, key in vectors["witnesses"].items()},
        quorum=vectors["quorum"] if quorum is None else quorum,
    )


def test_the_file_is_what_its_command_makes(tmp_path: Path):
    script = tmp_path / "make_checkpoints.py"
    script.write_bytes((HERE / "make_checkpoints.py").read_bytes())
    subprocess.run([sys.executable, str(script)], check=True)
    for suite in ("intl", "gm"):
        name = f"checkpoints_{suite}.json"
        assert (HERE / name).read_text(encoding="utf-8") == (tmp_path / name).read_text(encoding="utf-8")


def test_the_note_is_accepted_and_says_who_cosigned(vectors):
    suite, policy = get_suite(vectors["suite"]), policy_of(vectors)
    checkpoint = verify_note(vectors["note"].encode(), policy=policy, suite=suite)
    assert (300, vectors["root"]) == (checkpoint.size, checkpoint.root.hex())
    cosignatures = cosignatures_of(checkpoint.note, policy=policy, suite=suite)
    assert [("first-bank", 1_775_000_002), ("regulator", 1_775_000_003)] == [(c.member, c.time_s) for c in cosignatures]
    messages = [cosigned_message(vectors["text"].encode(), time_s=c.time_s).decode() for c in cosignatures]
    assert vectors["cosigned_messages"] == messages


def test_our_putting_together_gives_the_same_notes(vectors):
    suite, policy = get_suite(vectors["suite"]), policy_of(vectors)
    lines = [line.encode() for line in reversed(vectors["cosignature_lines"])]
    signed = (vectors["text"] + "\n" + vectors["operator_line"]).encode()
    assert vectors["note"].encode() == add_cosignatures(signed, lines, policy=policy, suite=suite)
    validators = policy_of(vectors, operator=False)
    joined = join_note(vectors["text"].encode(), lines, policy=validators, suite=suite)
    assert vectors["validators_note"].encode() == joined
    assert vectors["root"] == verify_note(joined, policy=validators, suite=suite).root.hex()


def test_what_must_be_refused_is_refused_with_its_code(vectors):
    suite, policy = get_suite(vectors["suite"]), policy_of(vectors)
    assert len(vectors["refused"]) >= 12
    for case in vectors["refused"]:
        with pytest.raises(ShuiqiaoError) as caught:
            verify_note(case["note"].encode(), policy=policy, suite=suite)
        assert (case["what"], case["code"]) == (case["what"], caught.value.code)


def test_a_witness_reads_the_request_and_catches_the_fork(vectors, tmp_path: Path):
    suite, policy, case = get_suite(vectors["suite"]), policy_of(vectors), vectors["witness"]
    notes = {name: note.encode() for name, note in case["notes"].items()}
    request = decode_request(case["request"].encode())
    assert case["proof"] == [item.hex() for item in request.proof]
    assert case["request"].encode() == encode_request(old_size=request.old_size, proof=request.proof, note=request.note)
    key = suite.signing_key_from_seed(bytes(32))
    for name, code in (("new", ""), ("forked", "ledger.fork_detected")):
        (folder := tmp_path / name).mkdir()
        witness = Witness(folder, member=MemberId("regulator"), key=key, suite=suite, clock=ManualClock(10**12))
        witness.watch(policy)
        witness.cosign(notes["old"], old_size=0, proof=())
        proof = request.proof if name == "new" else [bytes.fromhex(item) for item in case["forked_proof"]]
        refusal = ""
        try:
            witness.cosign(notes[name], old_size=request.old_size, proof=proof)
        except ShuiqiaoError as error:
            refusal = error.code
        assert code == refusal
        expected = None if name == "new" else bytes.fromhex(case["evidence_not_an_extension"])
        assert expected == witness.evidence(policy.origin)
        witness.close()


def test_evidence_is_what_it_says(vectors):
    suite, policy, case = get_suite(vectors["suite"]), policy_of(vectors), vectors["witness"]
    for kind in ("not_an_extension", "root_differs"):
        evidence = bytes.fromhex(case[f"evidence_{kind}"])
        assert kind == verify_fork_evidence(evidence, policies=[policy], suite=suite)
    with pytest.raises(ShuiqiaoError) as caught:
        verify_fork_evidence(bytes.fromhex(case["evidence_unproven"]), policies=[policy], suite=suite)
    assert caught.value.code == "ledger.fork_unproven"


def test_the_tiles_are_these_very_files(vectors, tmp_path: Path):
    suite, case = get_suite(vectors["suite"]), vectors["tiles"]
    reader = LeafHashes(leaf_hashes(LEAVES, hash_name=suite.hash_name), hash_name=suite.hash_name)
    checkpoint = Checkpoint(
        origin=vectors["origin"], size=300, root=bytes.fromhex(vectors["root"]), note=vectors["note"].encode()
    )
    TileWriter(tmp_path, hash_name=suite.hash_name).publish(
        checkpoint, reader=reader, leaves=lambda start, end: LEAVES[start:end]
    )
    files = {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert vectors["note"].encode() == files.pop("checkpoint")
    expected = {path: (file["bytes"], file["digest"]) for path, file in case["files"].items()}
    assert expected == {path: (len(data), suite.digest(data).hex()) for path, data in files.items()}
    log = PublishedLog.open(FolderTiles(tmp_path), policy=policy_of(vectors), suite=suite)
    for index, path in case["inclusion"].items():
        assert path == [item.hex() for item in log.inclusion_proof(int(index))]
    old = verify_log_signature(vectors["witness"]["notes"]["old"].encode(), policy=policy_of(vectors), suite=suite)
    assert vectors["witness"]["proof"] == [item.hex() for item in log.consistency_proof(old)]
    assert vectors["witness"]["proof"] == [
        item.hex() for item in consistency_path(reader, old_size=277, new_size=300, hash_name=suite.hash_name)
    ]

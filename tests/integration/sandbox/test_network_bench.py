"""The bench of the consortium in its shortest form: the shape of its figures, and that it only tells of agreement."""

from __future__ import annotations

import json

import msgspec
import pytest

from cometbft_world import comet_program
from shuiqiao.base.clock import SystemClock
from shuiqiao.base.errors import Unavailable
from shuiqiao.ledger.engine.cometbft.mempool.bundle import transactions_in
from shuiqiao.sandbox.benchmarks.network import (
    kvstore_streams,
    ledger_streams,
    load_stream,
    marks_of,
    quantiles_ms,
    sustained_rate,
    waits_s,
)
from shuiqiao.sandbox.benchmarks.network_load import Sent, encode_batch
from shuiqiao.sandbox.benchmarks.network_validator import CommittedBlock, Journal

SHAPE = {
    "engine": str,
    "engine_version": str,
    "suite": str,
    "validators": int,
    "tx_per_s": int,
    "kvstore_tx_per_s": int,
    "ratio": float,
    "finality_ms": dict,
    "receipt_ms": dict,
    "query_per_s": int,
    "sync_tx_per_s": int,
    "catch_up_ratio": float,
    "state_sync_s": float,
    "deploy_s": float,
    "bytes_per_tx": int,
}


@pytest.mark.parametrize("suite", ["intl", "gm"])
def test_the_figures_have_their_shape_and_the_validators_agree(suite, capfd, monkeypatch):
    from shuiqiao.cli.door import run

    monkeypatch.setenv("SHUIQIAO_COMETBFT", str(comet_program()))
    arguments = ["--seconds", "2", "--windows", "1", "--missed", "200", "--json"]
    with pytest.raises(SystemExit) as ended:
        run(["bench", "network", "--suite", suite, *arguments])
    told = capfd.readouterr()
    assert ended.value.code == 0, told
    figures = json.loads(told.out)
    # Roots that differ or transactions that do not add up are an error, so that figures mean agreement.
    assert {name: type(value) for name, value in figures.items()} == SHAPE
    assert list(figures) == list(SHAPE)
    assert {name: sorted(figures[name]) for name in ("finality_ms", "receipt_ms")} == {
        "finality_ms": ["p50", "p95"],
        "receipt_ms": ["p50", "p95"],
    }
    assert (figures["engine"], figures["suite"], figures["validators"]) == ("cometbft", suite, 4)
    assert 0 < figures["finality_ms"]["p50"] <= figures["finality_ms"]["p95"]
    # The note of a block is made of votes for the next one.
    assert figures["finality_ms"]["p50"] < figures["receipt_ms"]["p50"]
    # A transaction stands in the log whole: growth cannot be below its own length.
    assert figures["bytes_per_tx"] > 300
    assert "transactions accepted" in told.err


def test_both_loads_have_the_same_lengths_and_are_all_different(tmp_path):
    load = ledger_streams(tmp_path / "a", suite="intl", count=40, now_ms=SystemClock().now_ms())
    peer = kvstore_streams(tmp_path / "b", count=40, like=load)
    ours = [raw for path in load.paths for raw in load_stream(path)]
    theirs = [raw for path in peer.paths for raw in load_stream(path)]
    assert [len(raw) for raw in ours] == [len(raw) for raw in theirs]
    assert len(set(ours)) == len(set(theirs)) == 40
    assert {raw.count(b"=") for raw in theirs} == {1}


def test_streams_go_on_where_they_were_left_and_end(tmp_path):
    load = ledger_streams(tmp_path / "a", suite="intl", count=40, now_ms=SystemClock().now_ms())
    urls = ["a", "b", "c", "d"]
    load.use([3, 0, 9, 1])
    assert [(each.rpc, each.first, each.count) for each in load.streams(urls, most=20)] == [
        ("a", 3, 5),
        ("b", 0, 5),
        ("c", 9, 1),
        ("d", 1, 5),
    ]
    load.use([0, 0, 1, 0])
    with pytest.raises(Unavailable) as raised:
        load.streams(urls, most=40)
    assert raised.value.code == "sandbox.bench_load_spent"


def test_a_rate_counts_all_from_the_first_that_was_handed_in_to_the_last_header():
    assert sustained_rate([(2.0, 7), (3.0, 100), (5.0, 300), (6.0, 93), (6.5, 0)], began_s=1.5) == 100.0


def test_waits_reach_to_the_commit_and_to_the_note_that_covers_it():
    marks = [b"%d" % number for number in range(4)]
    journal = Journal(
        blocks=[
            CommittedBlock(height=1, committed_s=10.0, size=3, marks=[marks[0], marks[1]]),
            CommittedBlock(height=2, committed_s=11.0, size=5, marks=[marks[2]]),
        ],
        notes=[(2, 9.0), (3, 11.5)],
    )
    sent = [Sent(at_s=9.0, first=0, count=1), Sent(at_s=9.5, first=1, count=3)]
    # The last transaction is in no block, and no note covers the block of the one before.
    assert waits_s(sent, marks, journal) == ([1.0, 0.5, 1.5], [2.5, 2.0])
    # What came one after another while a bundle was gathered has waited for it.
    gathered = [Sent(at_s=9.5, first=0, count=2, every_s=0.25)]
    assert waits_s(gathered, marks, journal) == ([0.75, 0.5], [2.25, 2.0])
    assert quantiles_ms([0.001 * number for number in range(1, 101)]) == {"p50": 50.0, "p95": 95.0}
    assert quantiles_ms([]) == {"p50": 0.0, "p95": 0.0}


def test_a_batch_is_json_that_holds_the_transactions(tmp_path):
    load = ledger_streams(tmp_path / "a", suite="gm", count=4, now_ms=SystemClock().now_ms())
    raws = [raw for path in load.paths for raw in load_stream(path)]
    calls = msgspec.json.decode(encode_batch(raws))
    assert [call["id"] for call in calls] == [0, 1, 2, 3]
    assert [len(transactions_in(raw)) for raw in raws] == [1] * 4
    assert len({mark for path in load.paths for mark in marks_of(path)}) == 4

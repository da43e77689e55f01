"""Measure the state map on disk and print one JSON object a map: python bench/state_map.py [KEYS ...].

Every block is planned, then written in an LMDB transaction of its own (not flushed, as the index is not either), over
random keys, some of them new. CPU time of this one thread; the raw rate is that of hashing one node's 513 bytes, in the
same run, between the blocks: what a core does that does nothing else.
"""

from __future__ import annotations

import json
import random
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import lmdb

from shuiqiao.ledger.state.state_map import NODE_BYTES, encode_state_proof, hash_constructor, verify_state_proof
from shuiqiao.ledger.store.state_tree import DATABASE, StateTree, TransactionPages, prove, write_pages

BATCHES = ((1, 2_000), (50, 200), (500, 60), (4_096, 12))
RAW_HASHES = 2_000
PROOFS = 500
VALUE = b"v" * 200


def key_of(number: int) -> str:
    """Return a key in the shape of a consent's."""
    return f"consent/grant/{number * 0x9E3779B97F4A7C15 % 2**128:032x}"


class Bench:
    """One map of a number of keys in a fresh LMDB environment."""

    def __init__(self, folder: Path, *, keys: int, hash_name: str) -> None:
        """Build the map."""
        self.keys = keys
        self.hash_name = hash_name
        self.new = hash_constructor(hash_name)
        self.tree = StateTree(hash_name=hash_name)
        self.env = lmdb.open(str(folder), map_size=8 << 30, max_dbs=1, sync=False, metasync=False)
        self.db = self.env.open_db(DATABASE)
        self.draw = random.Random(keys)
        self.block({key_of(number): VALUE for number in range(keys)})

    def block(self, changes: dict[str, bytes | None]) -> tuple[float, float]:
        """Plan and write one block; return the CPU seconds of each."""
        start = time.thread_time()
        with self.env.begin() as reader:
            plan = self.tree.plan(TransactionPages(reader, db=self.db), changes)
        planned = time.thread_time()
        with self.env.begin(write=True) as writer:
            write_pages(writer, plan.writes, db=self.db)
        return planned - start, time.thread_time() - planned

    def raw_us(self) -> float:
        """Return the CPU microseconds of hashing one node."""
        new, data = self.new, bytes(NODE_BYTES)
        start = time.thread_time()
        for _ in range(RAW_HASHES):
            new(data).digest()
        return (time.thread_time() - start) / RAW_HASHES * 1e6

    def run(self, batch: int, blocks: int) -> dict[str, Any]:
        """Return the median CPU time of an updated key in blocks of a size."""
        plans, writes, raws = [], [], []
        for number in range(blocks):
            if number % max(1, blocks // 20) == 0:
                raws.append(self.raw_us())
            limit = self.keys + self.keys // 10
            changes: dict[str, bytes | None] = {
                key_of(self.draw.randrange(limit)): b"%d" % number + VALUE for _ in range(batch)
            }
            plan_s, write_s = self.block(changes)
            plans.append(plan_s / len(changes) * 1e6)
            writes.append(write_s / len(changes) * 1e6)
        total, raw = statistics.median(map(sum, zip(plans, writes, strict=True))), statistics.median(raws)
        return {
            "batch": batch,
            "plan_us": round(statistics.median(plans), 1),
            "write_us": round(statistics.median(writes), 1),
            "updates_per_s": round(1e6 / total),
            "raw_hashes_per_s": round(1e6 / raw),
            "ratio": round(raw / total, 3),
        }

    def proofs(self) -> dict[str, Any]:
        """Return what proving and verifying a present key takes, in microseconds, and a proof's bytes."""
        numbers = [self.draw.randrange(self.keys) for _ in range(PROOFS)]
        self.block({key_of(number): VALUE for number in numbers})
        with self.env.begin() as transaction:
            reader = TransactionPages(transaction, db=self.db)
            root = self.tree.root(reader)
            start = time.thread_time()
            proofs = [prove(reader, key_of(number), hash_name=self.hash_name) for number in numbers]
            proven = time.thread_time()
            for number, proof in zip(numbers, proofs, strict=True):
                verify_state_proof(proof, key=key_of(number), value=VALUE, root=root, hash_name=self.hash_name)
        verified = time.thread_time()
        sizes = [len(encode_state_proof(proof)) for proof in proofs]
        return {
            "prove_us": round((proven - start) / PROOFS * 1e6, 1),
            "verify_us": round((verified - proven) / PROOFS * 1e6, 1),
            "proof_bytes": round(statistics.mean(sizes)),
        }


def main() -> None:
    """Run every map in both hashes."""
    for keys in [int(text) for text in sys.argv[1:]] or [10_000, 1_000_000]:
        for hash_name in ("sha256", "sm3"):
            with tempfile.TemporaryDirectory() as folder:
                bench = Bench(Path(folder), keys=keys, hash_name=hash_name)
                rows = [bench.run(batch, blocks) for batch, blocks in BATCHES]
                found = {"keys": keys, "hash": hash_name, "blocks": rows, "proof": bench.proofs()}
                found["index_mb"] = round((Path(folder) / "data.mdb").stat().st_blocks * 512 / 1e6)
                found["peak_rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
                bench.env.close()
                print(json.dumps(found))


if __name__ == "__main__":
    main()

"""Every reader of bytes from outside accepts them or refuses them with an error of the product's own.

The short form: seeds, what a fuzzer once found, and a fixed number of seeded changes of both. ``make fuzz`` runs for as
long as one likes, led by what the code does with the bytes.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mutation import mutants
from shuiqiao.base.errors import ShuiqiaoError
from targets import TARGETS

FOUND = json.loads((Path(__file__).parent / "found.json").read_text(encoding="utf-8"))
BROKEN_SEEDS = {
    "cbor",
    "json",
    "receipt",
    "members.toml",
    "stored-checkpoint",
    "comparison",
    "control-answer",
    "evidence",
    "tiles",
    "published-log",
    "backup",
}
"""Targets of which some seed is there because it is refused, or leads as far as a reader goes without a whole world."""


@pytest.mark.parametrize("name", TARGETS)
def test_a_reader_raises_only_the_products_own_errors(name):
    target = TARGETS[name]
    seeds = [*target.seeds(), *map(bytes.fromhex, FOUND.get(name, []))]
    assert seeds
    for data in mutants(seeds, name=name, count=target.executions):
        try:
            target.read(data)
        except ShuiqiaoError:
            continue
        except BaseException as error:
            error.add_note(f"{name} read {data.hex()[:400]}")
            raise


@pytest.mark.parametrize("name", sorted(TARGETS.keys() - BROKEN_SEEDS))
def test_the_seeds_of_a_reader_are_whole(name):
    for seed in TARGETS[name].seeds():
        TARGETS[name].read(seed)


def test_what_was_found_belongs_to_a_target():
    assert set(FOUND) <= set(TARGETS)

"""The state map in LMDB: it outlives its process, dropped plans leave nothing behind, and a damaged one says so."""

from __future__ import annotations

import hashlib
from collections import defaultdict

import lmdb
import pytest

from shuiqiao.base.errors import IntegrityError
from shuiqiao.ledger.state.state_map import EMPTY, StateMap, verify_state_proof
from shuiqiao.ledger.store.state_page import EMPTY_PAGE
from shuiqiao.ledger.store.state_tree import DATABASE, StateTree, TransactionPages, prove, write_pages

CONTENT = {f"consent/grant/{number}": b"%d" % number for number in range(300)}
CHANGES = {"consent/grant/7": None, "consent/grant/8": b"new", "lending/decision/1": b"first"}


class Store:
    """One open environment with the map's database."""

    def __init__(self, folder):
        self.env = lmdb.open(str(folder), map_size=1 << 26, max_dbs=2)
        self.db = self.env.open_db(DATABASE)

    def reader(self):
        return TransactionPages(self.env.begin(), db=self.db)

    def write(self, *plans):
        with self.env.begin(write=True) as writer:
            for plan in plans:
                write_pages(writer, plan.writes, db=self.db)


@pytest.fixture
def store(tmp_path):
    opened = Store(tmp_path)
    yield opened
    opened.env.close()


@pytest.fixture
def tree():
    return StateTree(hash_name="sha256")


def root_of(*updates):
    memory = StateMap(hash_name="sha256")
    for changes in updates:
        memory.update(changes)
    return memory.root()


def keys_under_one_way(nibbles, count):
    """Return keys whose paths begin alike: what is rare has to be looked for."""
    found = defaultdict(list)
    for number in range(1_000_000):
        key = f"a/{number}"
        keys = found[hashlib.sha256(b"\x04" + key.encode()).hexdigest()[:nibbles]]
        keys.append(key)
        if len(keys) == count:
            return keys
    raise AssertionError("no such keys among a million")


def test_it_is_there_after_the_process_that_wrote_it(tmp_path, tree):
    first = Store(tmp_path)
    first.write(tree.plan(first.reader(), CONTENT))
    first.env.close()
    second, fresh = Store(tmp_path), StateTree(hash_name="sha256")
    assert root_of(CONTENT) == fresh.root(second.reader())
    plan = fresh.plan(second.reader(), CHANGES)
    assert root_of(CONTENT, CHANGES) == plan.root
    second.write(plan)
    assert root_of(CONTENT, CHANGES) == fresh.root(second.reader())
    second.env.close()


def test_a_dropped_plan_leaves_nothing_behind(store, tree):
    """[MAP-12]"""
    store.write(tree.plan(store.reader(), CONTENT))
    for number in range(10):
        tree.plan(store.reader(), {f"consent/grant/{number}": b"dropped", f"dropped/{number}": b"x"})
    plan = tree.plan(store.reader(), CHANGES)
    assert root_of(CONTENT, CHANGES) == plan.root
    store.write(plan)
    assert root_of(CONTENT, CHANGES) == tree.root(store.reader())


def test_several_blocks_in_one_transaction(store, tree):
    """[MAP-12]"""
    first = tree.plan(store.reader(), CONTENT)
    second = tree.plan(store.reader(), CHANGES, base=first)
    third = tree.plan(store.reader(), {"consent/grant/8": None}, base=second)
    assert EMPTY == tree.root(store.reader())
    store.write(first, second, third)
    assert third.root == tree.root(store.reader())
    assert root_of(CONTENT, CHANGES, {"consent/grant/8": None}) == third.root


def test_a_plan_may_stand_on_one_that_was_written_meanwhile(store, tree):
    first = tree.plan(store.reader(), CONTENT)
    second = tree.plan(store.reader(), CHANGES, base=first)
    store.write(first)
    third = tree.plan(store.reader(), {"x/y": b"z"}, base=second)
    store.write(second, third)
    assert root_of(CONTENT, CHANGES, {"x/y": b"z"}) == tree.root(store.reader())
    # Only what was not stored when a plan was made is held by it.
    assert 2 == len(third.layers)
    assert 1 == len(tree.plan(store.reader(), {"x/y": None}, base=third).layers)


def test_another_writer_is_noticed(store, tree):
    """What a tree remembers belongs to one content: pages written past it are read anew. [MAP-12]"""
    store.write(tree.plan(store.reader(), CONTENT))
    store.write(StateTree(hash_name="sha256").plan(store.reader(), CHANGES))
    assert root_of(CONTENT, CHANGES, {"x/y": b"z"}) == tree.plan(store.reader(), {"x/y": b"z"}).root


def test_a_plan_on_a_state_that_is_not_stored_is_refused(store, tree):
    first = tree.plan(store.reader(), CONTENT)
    store.write(StateTree(hash_name="sha256").plan(store.reader(), CHANGES))
    with pytest.raises(ValueError, match="does not stand on"):
        tree.plan(store.reader(), {"x/y": b"z"}, base=first)


def test_what_changes_nothing_writes_nothing(store, tree):
    store.write(tree.plan(store.reader(), CONTENT))
    for changes in ({}, {"absent/1": None}, {"consent/grant/7": CONTENT["consent/grant/7"]}):
        plan = tree.plan(store.reader(), changes)
        assert {} == plan.writes
        assert root_of(CONTENT) == plan.root


def test_removing_everything_leaves_no_page(store, tree):
    store.write(tree.plan(store.reader(), CONTENT))
    plan = tree.plan(store.reader(), dict.fromkeys(CONTENT))
    store.write(plan)
    assert EMPTY == plan.root
    with store.env.begin() as reader:
        assert 0 == reader.stat(store.db)["entries"]


def test_keys_on_one_long_way_get_pages_down_to_where_they_part_and_lose_them_again(store, tree):
    """[MAP-11]: a place of more than six leaves has a page, however lonely its way."""
    keys = keys_under_one_way(4, 8)
    many = dict.fromkeys(keys, b"v")
    plan = tree.plan(store.reader(), many)
    store.write(plan)
    assert root_of(many) == plan.root
    assert 5 == len(plan.writes)
    fewer = tree.plan(store.reader(), dict.fromkeys(keys[:2]))
    store.write(fewer)
    assert root_of(dict.fromkeys(keys[2:], b"v")) == fewer.root
    with store.env.begin() as reader:
        assert 1 == reader.stat(store.db)["entries"]


def test_the_pages_are_those_of_the_specification(store, tree):
    """[MAP-10]"""
    plan = tree.plan(store.reader(), CONTENT)
    assert {0: 1, 1: 16} == {depth: sum(key[0] == depth for key in plan.writes) for depth in (0, 1)}
    page = plan.writes[b"\x01a"]
    assert page is not None
    assert hashlib.sha256(page[:513]).digest() == plan.writes[b"\x00"][1 + 32 * 10 : 33 + 32 * 10]
    assert plan.root == hashlib.sha256(plan.writes[b"\x00"][:513]).digest()
    assert bytes([128]) * 16 == plan.writes[b"\x00"][513:]
    assert len(EMPTY_PAGE) == 529


def test_a_snapshot_proves_its_own_state_whatever_came_later(store, tree):
    store.write(tree.plan(store.reader(), CONTENT))
    before = store.reader()
    store.write(tree.plan(store.reader(), CHANGES))
    after = store.reader()
    for key in ("consent/grant/7", "consent/grant/8", "consent/grant/9", "lending/decision/1", "absent/1"):
        old, new = prove(before, key, hash_name="sha256"), prove(after, key, hash_name="sha256")
        now = {**CONTENT, **CHANGES}.get(key)
        verify_state_proof(old, key=key, value=CONTENT.get(key), root=root_of(CONTENT), hash_name="sha256")
        verify_state_proof(new, key=key, value=now, root=root_of(CONTENT, CHANGES), hash_name="sha256")


def test_a_page_that_is_gone_is_reported(store, tree):
    store.write(tree.plan(store.reader(), {f"a/{number}": b"v" for number in range(300)}))
    with store.env.begin(write=True) as writer:
        for digit in b"0123456789abcdef":
            assert writer.delete(b"\x01" + bytes([digit]), db=store.db)
    for act in (
        lambda: StateTree(hash_name="sha256").plan(store.reader(), {"a/1": b"w"}),
        lambda: prove(store.reader(), "a/1", hash_name="sha256"),
    ):
        with pytest.raises(IntegrityError) as caught:
            act()
        assert "ledger.state_page_missing" == caught.value.code


@pytest.mark.parametrize("kept", [0, 512, 528, -1])
@pytest.mark.parametrize("place", [b"\x00", b"\x01"], ids=["top", "below"])
def test_a_page_that_was_cut_short_is_reported(store, tree, place, kept):
    store.write(tree.plan(store.reader(), {f"a/{number}": b"v" for number in range(300)}))
    with store.env.begin(write=True) as writer, writer.cursor(db=store.db) as cursor:
        assert cursor.set_range(place)
        for key, page in list(cursor):
            if key.startswith(place):
                assert writer.put(key, page[:kept], db=store.db)
    for act in (
        lambda: StateTree(hash_name="sha256").plan(store.reader(), {f"a/{number}": b"w" for number in range(300)}),
        lambda: prove(store.reader(), "a/1", hash_name="sha256"),
    ):
        with pytest.raises(IntegrityError, match=r"^ledger\.index_damaged.*bytes, which no page has"):
            act()


def test_a_cache_of_two_pages_changes_no_root(store):
    tree, memory = StateTree(hash_name="sm3", max_cached_pages=2), StateMap(hash_name="sm3")
    for number in range(30):
        changes = {f"a/{number * 37 % 101 + place}": b"%d" % number if place % 3 else None for place in range(40)}
        memory.update(changes)
        plan = tree.plan(store.reader(), changes)
        store.write(plan)
        assert memory.root() == plan.root

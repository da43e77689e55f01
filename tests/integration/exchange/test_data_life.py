"""[EXCHANGE-15]: what a bank received is gone at the end of its data life, and the bank can say when."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import text

from consent_world import a_charge, a_cipher
from exchange_world import ExchangeWorld
from shuiqiao.base.clock import MS_PER_DAY, MS_PER_HOUR, ManualClock
from shuiqiao.base.errors import Conflict, Denied
from shuiqiao.base.ids import MemberId, owned_id
from shuiqiao.exchange.store import ReceivedRow, RecipientStore
from shuiqiao.node.home.database import open_database

BUREAU, BANK_A = MemberId("bureau"), MemberId("bank-a")
MARK = b"91440300MA5EXAMPL1"


@pytest.fixture
def bank(world):
    return world.banks[BANK_A]


@pytest.fixture(params=["intl", "gm"])
def own_world(request, tmp_path):
    """A world of its own for answers that were never asked for: no ledger knows of their erasures."""
    made = ExchangeWorld(tmp_path, request.param)
    yield made
    made.close()


def received(world, **changes):
    sent = world.asked(world.granted(**changes))
    answer = world.provider.answer(sent.message)
    world.banks[BANK_A].receive(sent.request, answer)
    return sent.request, answer


def stored_cells(database):
    """The beginnings of what is kept of answers, as they stand in the file: encrypted, and the same nowhere else."""
    with database.connect() as connection:
        rows = connection.execute(text("SELECT taxpayer, manifest, disclosure FROM exchange_received")).all()
    return [cell[:24] for row in rows for cell in row]


def cells_in_file(world, cells):
    """Which of them stand in the file of received data, free pages and all."""
    world.databases[BANK_A].dispose()
    data = (world.folder / "bank-a.db").read_bytes()
    return [cell for cell in cells if cell in data]


def test_kept_data_is_proven_again_each_time_it_is_read(world, bank):
    request, _ = received(world)
    assert bank.load(request).records.record_count == 62


def test_data_is_erased_when_its_life_ends_and_not_a_moment_before(world, bank):
    request, _ = received(world, data_life_days=3)
    world.clock.advance(3 * MS_PER_DAY - 1)
    assert request not in {row.request for row in bank.erase_expired()}
    assert bank.load(request).records.record_count == 62
    world.clock.advance(1)
    (erased,) = [row for row in bank.erase_expired() if row.request == request]
    assert erased.erased_ms - erased.received_ms == 3 * MS_PER_DAY
    assert erased.bytes > 1_000
    with pytest.raises(Denied, match=r"^exchange\.data_life_over"):
        bank.load(request)
    assert erased in world.recipient_stores[BANK_A].erasures()


def test_data_cannot_be_read_at_the_end_of_its_life_though_nobody_erased_it(world, bank):
    """[EXCHANGE-15]: reading is what erases it then."""
    request, _ = received(world, data_life_days=4)
    world.clock.advance(4 * MS_PER_DAY - 1)
    assert bank.load(request).records.record_count == 62
    world.clock.advance(1)
    assert world.recipient_stores[BANK_A].received(request) is not None
    with pytest.raises(Denied, match=r"^exchange\.data_life_over"):
        bank.load(request)
    assert world.recipient_stores[BANK_A].received(request) is None


@pytest.mark.parametrize("act", ["request", "receive", "load", "changes"])
def test_each_act_of_a_bank_erases_what_is_due(world, bank, act):
    """[EXCHANGE-15]"""
    due, _ = received(world, data_life_days=1)
    sent = world.asked(world.granted())
    answer = world.provider.answer(sent.message)
    bank.receive(sent.request, answer)
    world.clock.advance(MS_PER_DAY)
    acts = {
        "request": lambda: world.asked(world.granted()),
        "receive": lambda: bank.receive(sent.request, answer),
        "load": lambda: bank.load(sent.request),
        "changes": lambda: list(bank.changed_records()),
    }
    acts[act]()
    store = world.recipient_stores[BANK_A]
    assert store.received(due) is None
    assert world.clock.now_ms() == next(row.erased_ms for row in store.erasures() if row.request == due)


def test_what_is_due_is_erased_once_whoever_is_first(world, bank):
    """Several threads and processes do this on one database."""
    due = {received(world, data_life_days=1)[0] for _ in range(2)}
    world.clock.advance(MS_PER_DAY)
    stores = [
        world.recipient_stores[BANK_A],
        *(RecipientStore(world.databases[BANK_A], cipher=world.cipher) for _ in range(3)),
    ]
    with ThreadPoolExecutor(max_workers=4) as pool:
        erased = list(pool.map(lambda store: store.erase_due(now_ms=world.clock.now_ms()), stores))
    assert due <= {row.request for rows in erased for row in rows}
    assert len(due) == sum(row.request in due for rows in erased for row in rows)
    assert len(due) == sum(row.request in due for row in stores[0].erasures())


def test_erased_data_does_not_come_back_with_an_old_answer(world, bank):
    request, answer = received(world, data_life_days=1)
    world.clock.advance(MS_PER_DAY)
    bank.erase_expired()
    with pytest.raises(Denied, match=r"^exchange\.data_life_over"):
        bank.receive(request, answer)


def test_receiving_again_does_not_prolong_the_life(world, bank):
    request, answer = received(world, data_life_days=2)
    world.clock.advance(MS_PER_DAY)
    bank.receive(request, answer)
    world.clock.advance(MS_PER_DAY)
    assert request in {row.request for row in bank.erase_expired()}


def test_the_bytes_are_gone_from_the_database_file(world, bank):
    world.clock.advance(400 * MS_PER_DAY)
    bank.erase_expired()
    received(world, data_life_days=1)
    cells = stored_cells(world.databases[BANK_A])
    assert len(cells) == 3
    assert cells_in_file(world, cells) == cells
    world.clock.advance(MS_PER_DAY)
    bank.erase_expired()
    assert cells_in_file(world, cells) == []


def far_ahead(world, monkeypatch, milliseconds, *, is_confirmed=False):
    """Let the bank's clock show another time than everybody's."""
    monkeypatch.setattr(world.submitters[BANK_A], "_clock", ManualClock(world.clock.now_ms() + milliseconds))
    monkeypatch.setattr(world.submitters[BANK_A], "_is_clock_confirmed", is_confirmed)


def test_a_clock_that_is_far_ahead_destroys_nothing(world, bank, monkeypatch):
    """[LEDGER-TIME-3]: nor does it read; with the right clock all is there again."""
    request, answer = received(world)
    with monkeypatch.context() as wrong:
        far_ahead(world, wrong, 4380 * MS_PER_DAY)
        assert bank.erase_expired() == []
        for act in (lambda: bank.load(request), lambda: bank.receive(request, answer)):
            with pytest.raises(Denied, match=r"^exchange\.data_life_over"):
                act()
        assert list(bank.changed_records()) == []
        assert world.recipient_stores[BANK_A].received(request) is not None
    assert bank.load(request).records.record_count == 62


def test_a_clock_that_somebody_confirmed_is_believed(world, bank, monkeypatch):
    """[LEDGER-TIME-3]"""
    request, _ = received(world)
    far_ahead(world, monkeypatch, 91 * MS_PER_DAY, is_confirmed=True)
    assert request in {row.request for row in bank.erase_expired()}


def test_a_clock_that_is_behind_the_newest_block_prolongs_no_life(world, bank, monkeypatch):
    """[LEDGER-TIME-3]: the newest block is of a time after the end of the data life."""
    request, _ = received(world, data_life_days=3)
    started_ms = world.clock.now_ms()
    world.clock.advance(3 * MS_PER_DAY)
    world.granted()
    monkeypatch.setattr(world.submitters[BANK_A], "_clock", ManualClock(started_ms))
    with pytest.raises(Denied, match=r"^exchange\.data_life_over"):
        bank.load(request)
    assert world.recipient_stores[BANK_A].received(request) is None


def test_the_life_of_an_answer_begins_when_it_is_made(world, bank):
    """[EXCHANGE-15]: the provider counts it from then, so it may be held as long as it is counted."""
    sent = world.asked(world.granted(data_life_days=5))
    answer = world.provider.answer(sent.message)
    world.clock.advance(4 * MS_PER_DAY)
    manifest = bank.receive(sent.request, answer).manifest
    world.clock.advance(MS_PER_DAY)
    (erased,) = [row for row in bank.erase_expired() if row.request == sent.request]
    assert erased.erased_ms - manifest.made_ms == 5 * MS_PER_DAY


def test_a_provider_whose_clock_is_ahead_prolongs_no_life(world, bank, monkeypatch):
    """[EXCHANGE-15]: the life begins at the latest when the answer is taken in."""
    sent = world.asked(world.granted(data_life_days=5))
    with monkeypatch.context() as ahead:
        ahead.setattr(world.submitters[BUREAU], "_clock", ManualClock(world.clock.now_ms() + 6 * MS_PER_HOUR))
        answer = world.provider.answer(sent.message)
    manifest = bank.receive(sent.request, answer).manifest
    kept = world.recipient_stores[BANK_A].received(sent.request)
    assert kept.received_ms < manifest.made_ms
    assert kept.erase_after_ms == world.submitters[BANK_A].latest_ms() - 1 + 5 * MS_PER_DAY


def test_an_answer_older_than_its_life_is_not_taken_in(world, bank):
    """[EXCHANGE-15]"""
    sent = world.asked(world.granted(data_life_days=5))
    answer = world.provider.answer(sent.message)
    world.clock.advance(5 * MS_PER_DAY)
    with pytest.raises(Denied, match=r"^exchange\.data_life_over"):
        bank.receive(sent.request, answer)
    assert world.recipient_stores[BANK_A].received(sent.request) is None
    assert world.entry(sent.request)["status"] == "delivered"


@pytest.fixture
def node_database(tmp_path):
    """A bank's database as its node opens it, with a write-ahead log, and an answer in it that is due."""
    path = tmp_path / "bank.db"
    database = open_database(path)
    store = RecipientStore(database, cipher=a_cipher())
    row = ReceivedRow(
        request=bytes(16),
        consent=owned_id(BUREAU, bytes(16)),
        taxpayer="",
        manifest=b"",
        disclosure=MARK * 1000,
        received_ms=1,
        erase_after_ms=2,
    )
    store.save_received(row, charge=a_charge(row.request))
    yield path, database
    database.dispose()


def places_of(cells, path):
    files = (path, path.with_name(path.name + "-wal"))
    return [file.name for file in files for cell in cells if file.exists() and cell in file.read_bytes()]


@pytest.mark.parametrize("is_other_process", [False, True])
def test_bytes_that_a_reader_held_in_the_log_go_with_the_next_act(node_database, is_other_process):
    """[EXCHANGE-15]: somebody reads the database while the answer is destroyed."""
    path, database = node_database
    store, cells = RecipientStore(database, cipher=a_cipher()), stored_cells(database)
    reader = sqlite3.connect(path)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM exchange_received").fetchone()
    assert [row.request for row in store.erase_due(now_ms=2)] == [bytes(16)]
    assert store.erase_due(now_ms=2) == []
    assert places_of(cells, path) != []
    reader.rollback()
    reader.close()
    next_one = RecipientStore(database, cipher=a_cipher()) if is_other_process else store
    assert next_one.erase_due(now_ms=3) == []
    assert places_of(cells, path) == []


def test_an_answer_is_kept_once_whichever_process_takes_it_in(node_database):
    _, database = node_database
    store = RecipientStore(database, cipher=a_cipher())
    kept = store.received(bytes(16))
    store.save_received(replace(kept, erase_after_ms=3), charge=a_charge(bytes(16)))
    assert store.received(bytes(16)) == kept


def test_the_ledger_is_told_what_was_destroyed_and_the_answer_leaves_no_more(world, bank):
    """[EXCHANGE-23], and [EXCHANGE-18]: the provider's copy goes as well."""
    sent = world.asked(world.granted(data_life_days=1))
    answer = world.provider.answer(sent.message)
    bank.receive(sent.request, answer)
    world.clock.advance(MS_PER_DAY)
    bank.erase_expired()
    assert world.entry(sent.request)["status"] == "acknowledged"
    assert bank.record_erasures() >= 1
    assert world.entry(sent.request)["status"] == "destroyed"
    assert bank.record_erasures() == 0
    with pytest.raises(Conflict, match=r"^exchange\.request_closed"):
        world.provider.answer(sent.message)
    assert world.provider_store.asked(owned_id(BANK_A, sent.request)).answer is None


def test_what_the_ledger_has_already_is_not_told_twice(world, bank):
    """[EXCHANGE-23]: a crash came between the entry and its note."""
    request, _ = received(world, data_life_days=1)
    world.clock.advance(MS_PER_DAY)
    bank.erase_expired()
    bank.record_erasures()
    with world.databases[BANK_A].begin() as connection:
        connection.execute(text("UPDATE exchange_erasure SET recorded_ms = NULL WHERE request = :it"), {"it": request})
    before = world.ledger.last_block()
    assert bank.record_erasures() == 1
    assert world.ledger.last_block() == before


def keep_many(world, count, *, erase_after_ms):
    store = world.recipient_stores[BANK_A]
    for request in [world.entropy(16) for _ in range(count)]:
        store.save_received(
            ReceivedRow(
                request=request,
                consent=owned_id(BUREAU, bytes(16)),
                taxpayer="E1",
                manifest=b"",
                disclosure=b"",
                received_ms=1,
                erase_after_ms=erase_after_ms,
            ),
            charge=a_charge(request),
        )


def test_unusually_much_is_not_destroyed_by_the_way(own_world):
    """[EXCHANGE-24]: twenty are, and more where that is at most 5 % of what is kept."""
    world, bank = own_world, own_world.banks[BANK_A]
    now_ms = world.clock.now_ms()
    keep_many(world, 20, erase_after_ms=now_ms)
    assert len(bank.erase_expired()) == 20
    keep_many(world, 21, erase_after_ms=now_ms)
    assert bank.erase_expired() == []
    keep_many(world, 20 * 21 - 21 - 1, erase_after_ms=now_ms + MS_PER_DAY)
    assert bank.erase_expired() == []
    keep_many(world, 1, erase_after_ms=now_ms + MS_PER_DAY)
    assert len(bank.erase_expired()) == 21


def test_the_duty_goes_by_the_time_of_the_newest_block(own_world):
    """[EXCHANGE-24]: a clock that is ahead, and confirmed, makes nothing due."""
    world, bank = own_world, own_world.banks[BANK_A]
    world.granted()
    block_ms = world.ledger.last_block()[1]
    keep_many(world, 1, erase_after_ms=block_ms + 1)
    world.clock.advance(300 * MS_PER_DAY)
    before = bank.due_answers()
    assert (before.until_ms, before.due) == (block_ms, before.due)
    assert bank.destroy_due(until_ms=world.clock.now_ms()) == []
    world.granted(world.enterprise(2))
    assert bank.due_answers().due == before.due + 1

"""[LEDGER-REPLAY-1] to [LEDGER-REPLAY-4]: a transaction is timely and new, and the state says which were taken."""

from __future__ import annotations

import pytest

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def chains(network):
    return {key: network.state.get(key) for key in network.state.encoded() if key.startswith("replay/")}


@pytest.mark.parametrize(
    ("kind", "lead_ms", "expected"),
    [
        ("note.trace", 0, "ledger.tx_expired"),
        ("note.trace", -DAY_MS, "ledger.tx_expired"),
        ("note.trace", 1, ""),
        ("note.trace", DAY_MS, ""),
        ("note.trace", DAY_MS + 1, "ledger.tx_valid_too_long"),
        ("note.govern", DAY_MS + 1, ""),
        ("note.govern", 30 * DAY_MS, ""),
        ("note.govern", 30 * DAY_MS + 1, "ledger.tx_valid_too_long"),
        ("note.govern", 0, "ledger.tx_expired"),
    ],
)
def test_valid_until_lies_within_reach_of_block_time(network, kind, lead_ms, expected):
    """[LEDGER-REPLAY-1]: measured against the block, not against any clock."""
    block_ms = network.time_ms + 10_000
    raw = network.write(kind, valid_until_ms=block_ms + lead_ms)
    assert expected == network.refusal_of(raw, time_ms=block_ms)


def test_an_author_and_id_are_accepted_once(network):
    """[LEDGER-REPLAY-2]: within a block, in a later block, and whatever else the transaction says."""
    draft = network.draft("note.trace")
    raw = network.sign(draft)
    other = network.write("note.govern", id=draft.id, valid_until_ms=network.time_ms + 5 * DAY_MS)
    result = network.run(raw, raw, other)
    refusals = [outcome.refusal.code for outcome in result.outcomes[1:]]
    assert refusals == ["ledger.tx_replayed", "ledger.tx_replayed"]
    assert network.refusal_of(raw) == "ledger.tx_replayed"
    assert network.refusal_of(other) == "ledger.tx_replayed"
    assert network.refusal_of(network.write("note.trace", id=draft.id, author="first-bank")) == ""


def test_a_refused_transaction_does_not_use_up_its_id(network):
    draft = network.draft("note.break")
    assert network.refusal_of(network.sign(draft)) == "ledger.contract_failed"
    assert network.refusal_of(network.write("note.trace", id=draft.id)) == ""


def test_the_chain_of_an_hour_names_every_id_in_order(network):
    """[LEDGER-REPLAY-3]: H(chain || length of author || author || id), from 32 zero bytes."""
    start = (network.time_ms // HOUR_MS + 2) * HOUR_MS
    drafts = [
        network.draft("note.trace", valid_until_ms=start),
        network.draft("note.trace", valid_until_ms=start + HOUR_MS - 1, author="first-bank"),
        network.draft("note.trace", valid_until_ms=start + HOUR_MS),
        network.draft("note.trace", valid_until_ms=start + 7),
    ]
    network.run(*map(network.sign, drafts[:2]))
    network.run(*map(network.sign, drafts[2:]))

    def chain(*members):
        value = bytes(32)
        for draft in members:
            author = draft.author.encode()
            value = network.suite.digest(value + bytes([len(author)]) + author + draft.id)
        return value

    hour = start // HOUR_MS
    expected = {f"replay/{hour}": chain(drafts[0], drafts[1], drafts[3]), f"replay/{hour + 1}": chain(drafts[2])}
    assert expected == chains(network)


def test_past_hours_are_dropped_and_their_ids_may_come_again(network):
    """[LEDGER-REPLAY-4]: only once the whole hour of expiry has passed."""
    start = (network.time_ms // HOUR_MS + 1) * HOUR_MS
    draft = network.draft("note.trace", valid_until_ms=start + 5)
    network.run(network.sign(draft))
    again = {"id": draft.id, "valid_until_ms": start + 2 * HOUR_MS}
    raw = network.write("note.trace", **again)
    assert network.refusal_of(raw, time_ms=start + HOUR_MS - 1) == "ledger.tx_replayed"
    assert f"replay/{start // HOUR_MS}" in chains(network)
    assert network.refusal_of(raw, time_ms=start + HOUR_MS) == ""
    assert list(chains(network)) == [f"replay/{start // HOUR_MS + 2}"]


def test_a_long_silence_drops_everything_that_expired(network):
    days, block_ms = (1, 10, 29, 30), network.time_ms + 1
    network.run(*[network.write("note.govern", valid_until_ms=block_ms + day * DAY_MS) for day in days])
    assert len(chains(network)) == 4
    network.run(
        network.write("note.trace", valid_until_ms=network.time_ms + 400 * DAY_MS + 9),
        time_ms=network.time_ms + 400 * DAY_MS,
    )
    assert len(chains(network)) == 1


def test_an_index_may_forget_expired_ids_whenever_it_likes(network):
    draft = network.draft("note.trace", valid_until_ms=network.time_ms + 1000)
    network.run(network.sign(draft))
    later = network.time_ms + 2 * HOUR_MS
    raw = network.write("note.trace", id=draft.id, valid_until_ms=later + HOUR_MS)
    kept = network.refusal_of(raw, time_ms=later)
    assert kept == ""

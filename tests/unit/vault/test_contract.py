from __future__ import annotations

import dataclasses

import pytest

from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.vault.contract import (
    AMEND,
    COMMIT,
    ERASE,
    AnchorAmendBody,
    AnchorCommitBody,
    AnchorEraseBody,
    LedgerLeaves,
    Replacement,
    tree_depth,
)
from shuiqiao.vault.model import BatchFact, ErasureReason, LeafStatus, VaultSettings
from vault_world import BANK, BUREAU, OTHER_BUREAU

FIRST, SECOND, THIRD = (bytes([number]) * 16 for number in (1, 2, 3))


def commit_body(batch=FIRST, **changes):
    values = {
        "batch": batch,
        "standard": "filing@1",
        "period_from": "2024-01-01",
        "period_to": "2024-12-31",
        "count": 5,
        "depth": 3,
        "root": bytes(32),
    }
    return AnchorCommitBody(**{**values, **changes})


def amend_body(*steps):
    return AnchorAmendBody(
        replacements=[
            Replacement(old_batch=old[0], old_index=old[1], new_batch=new[0], new_index=new[1]) for old, new in steps
        ]
    )


def erase_body(batch=FIRST, indexes=()):
    return AnchorEraseBody(batch=batch, indexes=list(indexes), reason=ErasureReason.DATA_LIFE_OVER)


@pytest.fixture
def world(open_world):
    world = open_world()
    world.anchor.submit(COMMIT, commit_body(FIRST))
    world.anchor.submit(COMMIT, commit_body(SECOND))
    world.submitter(OTHER_BUREAU).submit(COMMIT, commit_body(THIRD))
    return world


def refusal(submitter, kind, body):
    with pytest.raises(ShuiqiaoError) as refused:
        submitter.submit(kind, body)
    return refused.value.code


def test_a_committed_batch_stands_in_the_state(world):
    expected = BatchFact(
        standard="filing@1",
        period_from="2024-01-01",
        period_to="2024-12-31",
        count=5,
        depth=3,
        root=bytes(32),
        erased=False,
        changed=0,
    )
    assert expected == world.batch_of(FIRST)
    assert world.batch_of(bytes(16)) is None


def test_a_batch_id_belongs_to_its_author(world):
    """[VAULT-ANCHOR-2]: another bureau that anchors the same id first takes nothing from anybody."""
    theirs, ours = commit_body(bytes(16), root=b"t" * 32, count=1, depth=0), commit_body(bytes(16), root=b"o" * 32)
    world.submitter(OTHER_BUREAU).submit(COMMIT, theirs)
    world.anchor.submit(COMMIT, ours)
    assert world.batch_of(bytes(16)).root == ours.root
    world.submitter(OTHER_BUREAU).submit(ERASE, erase_body(bytes(16)))
    assert LedgerLeaves(world.ledger.state(), BUREAU)(bytes(16), 0) is LeafStatus.LIVE
    assert LedgerLeaves(world.ledger.state(), OTHER_BUREAU)(bytes(16), 0) is LeafStatus.ERASED


def test_only_a_tax_bureau_anchors(world):
    # Holds [VAULT-ANCHOR-1].
    assert refusal(world.submitter(BANK), COMMIT, commit_body(bytes(16))) == "members.role_wrong"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"batch": FIRST}, "vault.batch_exists"),
        ({"depth": 4}, "vault.depth_wrong"),
        ({"count": 1, "depth": 1}, "vault.depth_wrong"),
        ({"period_from": "2025-01-01"}, "vault.period_invalid"),
        ({"period_from": "2024-02-30"}, "vault.period_invalid"),
        ({"standard": "Filing"}, "ledger.body_invalid"),
        ({"count": 0}, "ledger.body_invalid"),
        ({"root": b""}, "ledger.body_invalid"),
    ],
)
def test_a_batch_is_anchored_once_and_with_figures_that_agree(world, changes, code):
    # Holds [VAULT-ANCHOR-2].
    assert refusal(world.anchor, COMMIT, commit_body(**{"batch": bytes(16), **changes})) == code


def test_a_replacement_costs_no_more_than_an_item_is_charged(world):
    """Holds [LEDGER-WORK-1]: of the dearest, each of batches of its own, which changed before."""
    pairs = [(bytes([7, at]) + bytes(14), bytes([8, at]) + bytes(14)) for at in range(48)]
    for older, newer in pairs:
        world.anchor.submit(COMMIT, commit_body(older))
        world.anchor.submit(COMMIT, commit_body(newer))
        world.anchor.submit(ERASE, erase_body(newer, [1]))
    world.anchor.submit(AMEND, amend_body(*(((older, 0), (newer, 2)) for older, newer in pairs)))
    facts = [world.batch_of(older).changed for older, _ in pairs]
    assert facts == [1] * len(pairs)
    # What it read and wrote is counted when the world is closed.


def test_depth_is_the_height_of_the_tree():
    assert [tree_depth(count) for count in (1, 2, 3, 4, 5, 8, 16_384, 16_385)] == [0, 1, 2, 2, 3, 3, 14, 15]


def test_an_amended_leaf_is_superseded_and_the_newer_is_live(world):
    world.anchor.submit(AMEND, amend_body(((FIRST, 0), (SECOND, 1)), ((SECOND, 1), (SECOND, 2))))
    status = LedgerLeaves(world.ledger.state(), BUREAU)
    assert [
        status(FIRST, 0),
        status(SECOND, 1),
        status(SECOND, 2),
    ] == [LeafStatus.SUPERSEDED, LeafStatus.SUPERSEDED, LeafStatus.LIVE]


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ([((FIRST, 0), (FIRST, 0))], "vault.replaces_itself"),
        ([((FIRST, 5), (FIRST, 0))], "vault.leaf_unknown"),
        ([((FIRST, 0), (bytes(16), 0))], "vault.batch_unknown"),
        ([((FIRST, 0), (THIRD, 0))], "vault.batch_unknown"),
        ([((FIRST, 4), (SECOND, 0))], "vault.already_superseded"),
        ([((FIRST, 0), (FIRST, 4))], "vault.already_superseded"),
        ([((FIRST, 0), (FIRST, 1)), ((FIRST, 0), (FIRST, 2))], "vault.already_superseded"),
        ([((FIRST, 0), (FIRST, 1)), ((FIRST, 1), (FIRST, 0))], "vault.already_superseded"),
    ],
)
def test_a_leaf_is_superseded_once_by_a_live_leaf_of_the_same_author(world, steps, code):
    # Holds [VAULT-ANCHOR-3].
    world.anchor.submit(AMEND, amend_body(((FIRST, 4), (SECOND, 4))))
    assert refusal(world.anchor, AMEND, amend_body(*steps)) == code


@pytest.mark.parametrize("indexes", [[1], []])
def test_an_erased_leaf_supersedes_nothing(world, indexes):
    """[VAULT-ANCHOR-3]"""
    world.anchor.submit(ERASE, erase_body(SECOND, indexes))
    assert refusal(world.anchor, AMEND, amend_body(((FIRST, 0), (SECOND, 1)))) == "vault.replacement_erased"
    assert LedgerLeaves(world.ledger.state(), BUREAU)(FIRST, 0) is LeafStatus.LIVE


def test_erasing_a_newer_version_does_not_bring_the_older_one_back(world):
    """[VAULT-ANCHOR-4]"""
    world.anchor.submit(AMEND, amend_body(((FIRST, 0), (SECOND, 1))))
    world.anchor.submit(ERASE, erase_body(SECOND, [1]))
    status = LedgerLeaves(world.ledger.state(), BUREAU)
    assert (status(FIRST, 0), status(SECOND, 1)) == (LeafStatus.SUPERSEDED, LeafStatus.ERASED)


def test_a_record_of_another_type_supersedes_nothing(world):
    other = bytes([9]) * 16
    world.anchor.submit(COMMIT, commit_body(other, standard="payment@1"))
    assert refusal(world.anchor, AMEND, amend_body(((FIRST, 0), (other, 0)))) == "vault.type_differs"
    newer = bytes([8]) * 16
    world.anchor.submit(COMMIT, commit_body(newer, standard="filing@2"))
    world.anchor.submit(AMEND, amend_body(((FIRST, 0), (newer, 0))))
    assert LedgerLeaves(world.ledger.state(), BUREAU)(FIRST, 0) is LeafStatus.SUPERSEDED


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (erase_body(bytes(16)), "vault.batch_unknown"),
        (erase_body(THIRD), "vault.batch_unknown"),
        (erase_body(FIRST, [5]), "vault.leaf_unknown"),
        (erase_body(FIRST, [2, 1]), "vault.indexes_unsorted"),
        (erase_body(FIRST, [1, 1]), "vault.indexes_unsorted"),
        (erase_body(FIRST, [3, 4]), "vault.already_erased"),
        (erase_body(SECOND, [1]), "vault.already_erased"),
        (erase_body(SECOND), "vault.already_erased"),
    ],
)
def test_only_the_author_says_that_leaves_were_erased_once(world, body, code):
    # Holds [VAULT-ANCHOR-4].
    world.anchor.submit(ERASE, erase_body(FIRST, [4]))
    world.anchor.submit(ERASE, erase_body(SECOND))
    assert LedgerLeaves(world.ledger.state(), BUREAU)(FIRST, 4) is LeafStatus.ERASED
    assert LedgerLeaves(world.ledger.state(), BUREAU)(SECOND, 0) is LeafStatus.ERASED
    assert LedgerLeaves(world.ledger.state(), BUREAU)(FIRST, 0) is LeafStatus.LIVE
    assert refusal(world.anchor, ERASE, body) == code


def test_a_batch_counts_its_leaves_that_were_superseded_or_erased(world):
    # Holds [VAULT-ANCHOR-7].
    world.anchor.submit(AMEND, amend_body(((FIRST, 0), (SECOND, 1)), ((FIRST, 1), (SECOND, 2))))
    world.anchor.submit(ERASE, erase_body(FIRST, [1, 4]))
    world.anchor.submit(ERASE, erase_body(SECOND))
    changed = {batch: world.batch_of(batch).changed for batch in (FIRST, SECOND)}
    assert changed == {FIRST: 4, SECOND: 0}
    status = LedgerLeaves(world.ledger.state(), BUREAU)
    assert [status(FIRST, index) for index in range(5)] == [
        LeafStatus.SUPERSEDED,
        LeafStatus.ERASED,
        LeafStatus.LIVE,
        LeafStatus.LIVE,
        LeafStatus.ERASED,
    ]
    assert {status(SECOND, index) for index in range(5)} == {LeafStatus.ERASED}


def test_the_ledger_learns_nothing_that_names_a_taxpayer_or_a_value():
    # Holds [VAULT-ANCHOR-6].
    assert {field.name for field in dataclasses.fields(BatchFact)} - {"erased", "changed"} == set(
        AnchorCommitBody.__struct_fields__
    ) - {"batch"}


def test_a_batch_deeper_than_the_ledger_allows_is_no_setting():
    with pytest.raises(ShuiqiaoError, match=r"vault\.setting_invalid"):
        VaultSettings(batch_depth=17)

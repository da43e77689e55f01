"""What may be decided, what it writes, and by which rule it is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from members_world import KINDS, ROLES, World, sealing, signing, validating
from shuiqiao.base.encoding import encode_cbor
from shuiqiao.ledger.engine.cometbft.consensus.validators import updates_between, validators_of
from shuiqiao.ledger.transactions.kinds import KindTable
from shuiqiao.members.action import (
    CEILING_BOUNDS,
    ActivateContract,
    ChangeFlags,
    HandOperator,
    PublishStandard,
    Reinstate,
    SetCeiling,
    SetGoverning,
    SetQuorum,
    SetWitnesses,
    Suspend,
)
from shuiqiao.members.epoch import read_epoch
from shuiqiao.members.key_ring import MemberKeyRing, active_version
from shuiqiao.members.model import MAX_MEMBERS, Role
from shuiqiao.members.roster import member_record

ALL = tuple(sorted(ROLES))
VALIDATORS = ("bank-east", "bank-north", "bank-west", "bureau")


@pytest.fixture(params=["intl", "gm"])
def world(request):
    return World(request.param)


@pytest.fixture(params=["intl", "gm"])
def consortium(request):
    return World(request.param, engine="cometbft", witnesses=VALIDATORS, quorum=3, governing=VALIDATORS)


def flags(member, *, witness=False, governing=False, validator_key=b"", validator_proof=b""):
    return ChangeFlags(
        member=member,
        witness=witness,
        governing=governing,
        validator_key=validator_key,
        validator_proof=validator_proof,
    )


# ---- admission


def test_an_admitted_member_acts_at_once(world):
    # Holds [MEMBER-7].
    world.pass_action(world.admission("bank-south"))
    world.keys["bank-south"] = signing("bank-south", world.suite)
    key = world.keys["bank-south"].public_key
    assert member_record(world.state, "bank-south") == {
        "role": "bank",
        "sign": key,
        "seal": sealing("bank-south", world.suite).public_key,
        "name": "Example bank-south",
        "name_zh": "示例机构",
    }
    assert MemberKeyRing().signing_key(world.state, "bank-south") == key
    assert world.state.get("members/roster")["bank-south"] == "bank"
    assert world.epoch["number"] == 0
    assert world.suspend_now("bank-south") is None


def test_an_admitted_witness_that_governs_is_in_the_next_epoch(world):
    world.pass_action(world.admission("bank-south", witness=True, governing=True))
    key = signing("bank-south", world.suite).public_key
    assert world.epoch["number"] == 1
    assert (world.epoch["witnesses"], world.epoch["governing"]["bank-south"]) == ({"bank-south": key}, key)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"member": "bank-east"}, "members.member_exists"),
        ({"signing_key": b"\x01" + bytes(31)}, "members.key_invalid"),
        ({"sealing_key": bytes(32)}, "members.key_invalid"),
        ({"signing_key": b"k" * 40}, "members.key_invalid"),
        ({"validator_key": validating("x").public_key}, "members.engine_wrong"),
        ({"validator_key": b"short"}, "members.key_invalid"),
        ({"name": "two\nlines"}, "ledger.body_invalid"),
        ({"name": "left\u202eright"}, "ledger.body_invalid"),
        ({"name": ""}, "ledger.body_invalid"),
        ({"member": "Bank"}, "ledger.body_invalid"),
    ],
)
def test_an_admission_is_refused(world, changes, code):
    assert world.propose(world.admission("bank-south", **changes))[0] == code


@pytest.mark.parametrize(("quorum", "code"), [(1, "members.quorum_too_low"), (2, None)])
def test_nobody_is_admitted_into_sets_that_cannot_work_with_it(quorum, code):
    """[MEMBER-7] [EPOCH-3]: of three validators one may be faulty, so a quorum of one is too low."""
    world = World("intl", engine="cometbft", witnesses=VALIDATORS[:2], quorum=quorum)
    assert world.propose(world.admission("bank-south", witness=True, validator=True))[0] == code


def test_nobody_is_admitted_with_a_key_that_was_ever_used(world):
    # Holds [MEMBER-8].
    used = world.admission("bank-south", signing_key=signing("bank-east", world.suite).public_key)
    assert world.propose(used)[0] == "members.key_used"
    assert world.rotate("bank-east", signing("bank-east 2", world.suite)) is None
    assert world.propose(used)[0] == "members.key_used"


def test_one_key_does_not_serve_two_purposes(world):
    key = signing("bank-south", world.suite).public_key
    code = world.propose(world.admission("bank-south", signing_key=key, sealing_key=key))[0]
    assert code == "members.key_repeated"


@pytest.mark.parametrize(("known", "code"), [(MAX_MEMBERS - 1, None), (MAX_MEMBERS, "members.roster_full")])
def test_there_is_a_most_of_members(world, known, code):
    members = world.state.get("members/roster")
    crowd = {**members, **{f"crowd-{number}": "bank" for number in range(known - len(members))}}
    world.state.write({"members/roster": encode_cbor(crowd)})
    assert world.propose(world.admission("bank-south"))[0] == code


def test_a_key_is_judged_by_what_it_is_for():
    """Points of order 8: the one of Curve25519 nobody can be sealed to, the other one of Ed25519 proves nothing."""
    world = World("intl")
    no_sealing = bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800")
    no_signing = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
    assert world.propose(world.admission("bank-south", signing_key=no_signing))[0] == "members.key_invalid"
    assert world.propose(world.admission("bank-south", signing_key=no_sealing))[0] == "members.key_unproven"
    assert world.rotate("bank-west", no_sealing, purpose="sealing") == "members.key_invalid"
    assert world.rotate("bank-west", no_signing, purpose="sealing") is None


# ---- sets and quorum


def test_witnesses_quorum_and_governing_members_are_named_anew(world):
    world.pass_action(SetWitnesses(witnesses=["bank-east", "regulator"]))
    world.pass_action(SetQuorum(quorum_count=2))
    world.pass_action(SetGoverning(governing=["bank-east", "bureau"]))
    epoch = read_epoch(world.state)
    assert (epoch.number, epoch.quorum, list(epoch.witnesses)) == (3, 2, ["bank-east", "regulator"])
    assert epoch.governing == {name: signing(name, world.suite).public_key for name in ("bank-east", "bureau")}


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (SetQuorum(quorum_count=1), "members.quorum_too_high"),
        (SetQuorum(quorum_count=0), "members.nothing_changes"),
        (SetWitnesses(witnesses=["bureau"]), "members.witness_is_operator"),
        (SetWitnesses(witnesses=["regulator", "bank-east"]), "members.list_unsorted"),
        (SetWitnesses(witnesses=["regulator", "regulator"]), "members.list_unsorted"),
        (SetWitnesses(witnesses=["stranger"]), "members.unknown"),
        (SetWitnesses(witnesses=[]), "members.nothing_changes"),
        (SetGoverning(governing=[]), "members.governing_empty"),
        (SetGoverning(governing=["stranger"]), "members.unknown"),
        (HandOperator(member="bureau"), "members.nothing_changes"),
        (HandOperator(member="stranger"), "members.unknown"),
        (flags("stranger"), "members.unknown"),
        (flags("bureau", witness=True, governing=True), "members.witness_is_operator"),
        (flags("bank-east", governing=True), "members.nothing_changes"),
        (flags("bank-east", witness=True, validator_key=validating("x").public_key), "members.engine_wrong"),
        (Suspend(member="stranger"), "members.unknown"),
        (Reinstate(member="bank-east", suspension=bytes(32)), "members.not_suspended"),
    ],
)
def test_a_change_is_refused(world, action, code):
    # Holds [EPOCH-3].
    assert world.propose(action)[0] == code
    assert world.epoch["number"] == 0


def test_more_than_sixty_four_are_refused_by_the_schema(world):
    many = [f"bank-{number:02}" for number in range(65)]
    for action in (SetWitnesses(witnesses=many), SetGoverning(governing=many)):
        assert world.propose(action)[0] == "ledger.body_invalid"


def test_flags_change_the_sets(world):
    world.pass_action(flags("regulator", witness=True))
    assert (list(world.epoch["witnesses"]), "regulator" in world.epoch["governing"]) == (["regulator"], False)
    world.pass_action(SetQuorum(quorum_count=1))
    assert world.propose(flags("regulator", governing=True))[0] == "members.quorum_too_high"


def test_the_last_governing_member_stays():
    world = World("intl", governing=["bureau"])
    assert world.propose(flags("bureau"))[0] == "members.governing_empty"


def test_the_governing_members_are_able_to_decide(world):
    # Holds [MEMBER-12].
    voters = ("bureau", "bank-north", "bank-west", "regulator")
    approved = world.pass_action(Suspend(member="bank-east"), voters=voters)
    assert world.suspend_by_vote("bank-east", approved) is None
    action = SetGoverning(governing=["bank-east", "bank-north", "bureau"])
    assert world.propose(action)[0] == "members.governing_deadlock"


# ---- the operator


def test_the_operator_is_handed_on_and_stops_to_witness(world):
    # Holds [MEMBER-11].
    world.pass_action(SetWitnesses(witnesses=["bank-east", "regulator"]))
    world.pass_action(HandOperator(member="bank-east"))
    assert (world.epoch["operator"], list(world.epoch["witnesses"])) == ("bank-east", ["regulator"])
    assert world.epoch["operator_key"] == signing("bank-east", world.suite).public_key
    world.pass_action(SetWitnesses(witnesses=["bureau", "regulator"]))
    world.pass_action(SetQuorum(quorum_count=2))
    assert world.propose(HandOperator(member="bureau"))[0] == "members.quorum_too_high"


def test_a_suspended_member_does_not_become_the_operator(world):
    assert world.suspend_now("bank-east") is None
    assert world.propose(HandOperator(member="bank-east"))[0] == "members.operator_suspended"


# ---- validators


def validator_updates(before, after):
    """What a cometbft engine tells consensus after a block: (CometBFT key, power), 0 for one that left."""
    old, new = (validators_of(state, read_epoch(state).witnesses) for state in (before, after))
    return tuple((update.pub_key.ed25519, update.power) for update in updates_between(old, new))


def test_validators_come_rotate_and_go_with_their_state(consortium):
    # Holds [MEMBER-10].
    world = consortium
    assert world.state.get("members/validator/bureau") == {"key": validating("bureau").public_key, "power": 10}
    assert world.state.get("members/validator/regulator") is None
    assert (world.epoch["operator"], world.epoch["operator_key"]) == ("", b"")
    world.keys["bank-south"] = signing("bank-south", world.suite)
    steps = [
        lambda: world.pass_action(world.admission("bank-south", witness=True, validator=True)),
        lambda: world.rotate("bank-south", validating("bank-south 2"), purpose="validator"),
        lambda: world.pass_action(flags("bank-south")),
    ]
    first, second = (validating(name).public_key for name in ("bank-south", "bank-south 2"))
    states = []
    for step in steps:
        step()
        states.append((world.state.get("members/validator/bank-south"), "bank-south" in world.epoch["witnesses"]))
    assert states == [({"key": first, "power": 10}, True), ({"key": second, "power": 10}, True), (None, False)]
    assert sorted(world.epoch["witnesses"]) == list(VALIDATORS)


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (flags("regulator", witness=True), "members.validator_flag_wrong"),
        (
            flags("bureau", governing=True, validator_key=validating("bureau").public_key),
            "members.validator_flag_wrong",
        ),
        (flags("regulator", witness=True, validator_key=validating("bureau").public_key), "members.key_used"),
        (flags("regulator", witness=True, validator_key=bytes(31)), "members.key_invalid"),
        (flags("regulator", witness=True, validator_key=b"\x01" + bytes(31)), "members.key_invalid"),
        (SetWitnesses(witnesses=["bureau"]), "members.engine_wrong"),
        (HandOperator(member="bureau"), "members.engine_wrong"),
        (SetQuorum(quorum_count=1), "members.quorum_too_low"),
        (SetQuorum(quorum_count=5), "members.quorum_too_high"),
    ],
)
def test_a_change_of_a_consortium_is_refused(consortium, action, code):
    assert consortium.propose(action)[0] == code


def test_a_validator_may_keep_its_key_and_stop_to_govern(consortium):
    key = validating("bank-west").public_key
    consortium.pass_action(flags("bank-west", witness=True, validator_key=key))
    assert consortium.state.get("members/validator/bank-west") == {"key": key, "power": 10}
    assert "bank-west" not in consortium.epoch["governing"]
    consortium.pass_action(flags("bank-west"), voters=(*VALIDATORS[:2], "bureau"))
    assert consortium.propose(flags("bank-west", witness=True, validator_key=key))[0] == "members.key_used"


def test_a_vote_may_give_a_validator_another_key(consortium):
    key, proof = validating("bureau 2").public_key, consortium.proof("bureau", validating("bureau 2"))
    consortium.pass_action(flags("bureau", witness=True, governing=True, validator_key=key, validator_proof=proof))
    assert consortium.state.get("members/validator/bureau")["key"] == key
    assert consortium.epoch["number"] == 0


# ---- standards and contract versions


def test_a_standard_version_is_published_once(world):
    # Holds [MEMBER-13].
    action = PublishStandard(standard="filing@2", digest=b"d" * 32)
    world.pass_action(action)
    assert world.state.get("members/standard/filing@2") == {"digest": b"d" * 32, "height": world.height}
    assert world.propose(action)[0] == "members.standard_published"


def a_ceiling(bound=12, **about):
    fields = {"purpose": "underwriting", "recipient": "", "product": "", "record_type": ""}
    bounds = dict.fromkeys(CEILING_BOUNDS, bound)
    return SetCeiling(**fields | bounds | about)


def test_a_ceiling_is_set_replaced_and_lifted_by_vote(world):
    # Holds [MEMBER-31].
    def held():
        return [
            (rule["recipient"], rule["max_validity_days"]) for rule in world.state.get("members/ceiling/underwriting")
        ]

    world.pass_action(a_ceiling(12))
    world.pass_action(a_ceiling(24, recipient="bank-east"))
    assert held() == [("", 12), ("bank-east", 24)]
    world.pass_action(a_ceiling(13))
    assert held() == [("", 13), ("bank-east", 24)]
    assert world.propose(a_ceiling(13))[0] == "members.nothing_changes"
    world.pass_action(a_ceiling(0))
    assert held() == [("bank-east", 24)]
    assert world.propose(a_ceiling(0))[0] == "members.nothing_changes"


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (a_ceiling(max_data_life_days=0), "members.ceiling_invalid"),
        (a_ceiling(0, max_data_life_days=1), "members.ceiling_invalid"),
        (a_ceiling(240), None),
        (a_ceiling(241), "ledger.body_invalid"),
        (a_ceiling(recipient="Bank"), "ledger.body_invalid"),
        (a_ceiling(purpose=""), "ledger.body_invalid"),
        (a_ceiling(product="p" * 65), "ledger.body_invalid"),
    ],
)
def test_a_ceiling_has_four_bounds_or_none(world, action, code):
    # Holds [MEMBER-31].
    assert world.propose(action)[0] == code


def test_a_purpose_has_so_many_ceilings_and_no_more(world):
    # Holds [MEMBER-31].
    rules = [
        {"recipient": "", "product": f"p{number:02}", "record_type": "", **a_ceiling().bounds} for number in range(64)
    ]
    world.state.write({"members/ceiling/underwriting": encode_cbor(rules)})
    assert world.propose(a_ceiling())[0] == "members.ceilings_full"
    assert world.propose(a_ceiling(9, product="p07"))[0] is None


def anchor_kind(version):
    """A kind by that name in a version, whatever it does."""
    [propose] = [kind for kind in KINDS if kind.name == "member.propose"]
    return replace(propose, name="anchor.commit", room="vault", version=version)


@pytest.mark.parametrize("suite", ["intl", "gm"])
def test_a_contract_version_begins_at_its_height(suite):
    world = World(suite, kinds=KindTable([*KINDS, *map(anchor_kind, (1, 2, 3, 4))]))

    def versions(*heights):
        return [active_version(world.state, "anchor.commit", height=height) for height in heights]

    assert versions(1, 10**9) == [1, 1]
    world.pass_action(ActivateContract(kind="anchor.commit", version=2, height=100))
    assert versions(99, 100, 101) == [1, 2, 2]
    # What has not begun yet may be put off or replaced.
    world.pass_action(ActivateContract(kind="anchor.commit", version=3, height=20))
    assert versions(19, 20, 100) == [1, 3, 3]
    while world.height < 20:
        assert world.propose(SetWitnesses(witnesses=["bank-east"]))[0] is None
    assert (
        world.propose(ActivateContract(kind="anchor.commit", version=3, height=50))[0] == "members.version_not_higher"
    )
    world.pass_action(ActivateContract(kind="anchor.commit", version=4, height=50))
    assert versions(25, 49, 50) == [3, 3, 4]


def test_so_many_kinds_have_other_versions_and_no_more(world):
    # Holds [MEMBER-13]: a kind that is decided already may be decided anew.
    begun = {"version": 1, "next_version": 2, "height": 10**6}
    for decided, code in ((255, None), (256, "members.activations_full")):
        kinds = {f"trial.kind_{chr(97 + number // 26)}{chr(97 + number % 26)}": begun for number in range(decided)}
        world.state.write({"members/contracts": encode_cbor(kinds)})
        known = next(iter(kinds))
        assert world.propose(ActivateContract(kind="anchor.commit", version=2, height=10**6))[0] == code
        assert world.propose(ActivateContract(kind=known, version=3, height=10**6))[0] is None


@pytest.mark.parametrize(
    ("version", "height", "code"),
    [(9999, 2**53 - 1, None), (10_000, 9, "ledger.body_invalid"), (2, 2**53, "ledger.body_invalid")],
)
def test_a_version_and_its_height_reach_their_bounds(world, version, height, code):
    assert world.propose(ActivateContract(kind="anchor.commit", version=version, height=height))[0] == code


def test_a_version_begins_behind_the_block_that_decides_it(world):
    # The deciding block would be of height 1: what begins there could be meant for it.
    assert world.propose(ActivateContract(kind="anchor.commit", version=2, height=1))[0] == "members.activation_past"
    assert world.propose(ActivateContract(kind="anchor.commit", version=2, height=2))[0] is None


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (ActivateContract(kind="anchor.commit", version=2, height=1), "members.activation_past"),
        (ActivateContract(kind="anchor.commit", version=1, height=9), "ledger.body_invalid"),
        (ActivateContract(kind="anchor", version=2, height=9), "ledger.body_invalid"),
        (PublishStandard(standard="filing", digest=b"d" * 32), "ledger.body_invalid"),
    ],
)
def test_a_version_is_refused(world, action, code):
    assert world.propose(action)[0] == code


def test_a_role_is_kept_with_the_member(world):
    world.pass_action(world.admission("bureau-two", role=Role.TAX_BUREAU))
    assert member_record(world.state, "bureau-two")["role"] == "tax_bureau"

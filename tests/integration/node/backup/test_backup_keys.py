"""Whose key counts for a backup: the one that its ledger names, followed from the genesis, and no other."""

from __future__ import annotations

import pytest

import backup_world as backups
import consortium_world as worlds
from shuiqiao.base.clock import ManualClock
from shuiqiao.base.errors import ShuiqiaoError
from shuiqiao.base.ids import MemberId, new_id, system_entropy
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.checkpoints.note import sign_checkpoint
from shuiqiao.ledger.checkpoints.signed_note import Checkpoint, read_checkpoint
from shuiqiao.ledger.engine.ledger_copy import LedgerCopy
from shuiqiao.ledger.engine.port import CopySettings
from shuiqiao.ledger.replay.replay import Level, replay_transactions
from shuiqiao.ledger.transactions.transaction import TransactionDraft, sign_transaction
from shuiqiao.members.action import Admit
from shuiqiao.members.contract import PROPOSE, ROTATE_KEY, MemberProposeBody, MemberRotateKeyBody
from shuiqiao.members.genesis import network_id, network_parameters
from shuiqiao.members.model import KeyPurpose, Role
from shuiqiao.members.roster import Registration
from shuiqiao.node.backup.archive import LedgerMoment
from shuiqiao.node.backup.creating import create_backup
from shuiqiao.node.backup.reading import verify_backup
from shuiqiao.node.backup.restore import restore_backup
from shuiqiao.node.home.keys import KeyFiles, MemberSeeds, find_passphrase, keep_passphrase, load_keys
from shuiqiao.node.home.ledger_folder import LedgerFolder
from shuiqiao.node.home.making import create_home, member_from_seeds
from shuiqiao.node.home.settings import Home, NodeSettings
from shuiqiao.node.institution import Institution
from shuiqiao.node.services import Dependencies

CLOCK = ManualClock(worlds.NOW_MS + 1000)
BUREAU, NINTH = MemberId("bureau"), MemberId("bank-9")
HOUR_MS = 3_600_000


def backed_up(home, target):
    return create_backup(home, target, passphrase=find_passphrase(home), clock=ManualClock(worlds.NOW_MS))


def refused(act, *arguments, **named):
    with pytest.raises(ShuiqiaoError) as error:
        act(*arguments, **named)
    return error.value.code


def at_work(home, **more):
    passphrase = more.pop("passphrase", None)
    around = Dependencies(clock=CLOCK, entropy=system_entropy, **more)
    return Institution.open(home, dependencies=around, passphrase=passphrase)


def anchored(institution):
    institution.outbox.submit("anchor.commit", worlds.anchor_body(new_id()))


@pytest.fixture(scope="module", params=["intl", "gm"])
def rotated(request, tmp_path_factory):
    """A home that replaced both of its keys; backups and checkpoints before, between and after; its first keys."""
    folder = tmp_path_factory.mktemp("rotated")
    home = worlds.solo_home(folder / "home", request.param)
    first = load_keys(home, passphrase=find_passphrase(home))
    notes = {}
    with at_work(home) as bureau:
        anchored(bureau)
        notes["before"] = bureau.engine.checkpoint()
    backed_up(home, folder / "before.tar")
    with at_work(home) as bureau:
        worlds.rotate(bureau)
    backed_up(home, folder / "between.tar")
    with at_work(home) as bureau:
        worlds.rotate(bureau, KeyPurpose.SEALING)
        anchored(bureau)
        notes["after"] = bureau.engine.checkpoint()
    backed_up(home, folder / "after.tar")
    return home, folder, first.signing, notes


def suite_of(home):
    return get_suite(network_parameters(home.genesis.read_bytes()).suite)


def key_of(home):
    return load_keys(home, passphrase=find_passphrase(home)).signing


def test_a_backup_of_a_member_that_replaced_its_keys_verifies_and_restores(rotated, tmp_path):
    home, folder, first, _ = rotated
    manifest = verify_backup(folder / "after.tar", genesis=home.genesis.read_bytes()).manifest
    assert manifest.key == key_of(home).public_key.hex() != first.public_key.hex()
    restore_backup(folder / "after.tar", Home(tmp_path / "new"), genesis=home.genesis)
    with at_work(Home(tmp_path / "new"), passphrase=find_passphrase(home)) as bureau:
        anchored(bureau)
        assert bureau.engine.last_block()[0] == manifest.ledger.height + 1


def test_each_backup_is_signed_by_the_key_of_its_time_and_stays_good(rotated, tmp_path):
    home, folder, first, _ = rotated
    keys = {name: verify_backup(folder / f"{name}.tar").manifest.key for name in ("before", "between", "after")}
    now = key_of(home).public_key.hex()
    assert keys == {"before": first.public_key.hex(), "between": now, "after": now}
    restore_backup(folder / "before.tar", Home(tmp_path / "old"), genesis=home.genesis)
    assert load_keys(Home(tmp_path / "old"), passphrase=find_passphrase(home)).signing.public_key == first.public_key


def test_a_copy_of_the_ledger_that_is_behind_is_signed_by_the_key_that_it_names(rotated, tmp_path):
    """The home's ledger was put back to a time before its keys: the retired key signs, for it is the one that counts."""
    home, folder, first, _ = rotated
    restore_backup(folder / "before.tar", Home(tmp_path / "behind"), genesis=home.genesis)
    for path in home.keys.iterdir():
        (tmp_path / "behind" / "keys" / path.name).write_bytes(path.read_bytes())
    keep_passphrase(Home(tmp_path / "behind"), find_passphrase(home))
    manifest = backed_up(Home(tmp_path / "behind"), tmp_path / "b.tar")
    assert manifest.key == first.public_key.hex()
    assert verify_backup(tmp_path / "b.tar").manifest == manifest


def test_a_crash_between_ledger_and_files_leaves_a_home_that_can_be_backed_up(tmp_path):
    """The ledger names the next key, and the files still hold the old one as the one in use."""
    home = worlds.solo_home(tmp_path / "home")
    with at_work(home) as bureau:
        seed = KeyFiles(home, purpose=KeyPurpose.SIGNING).make_next(
            suite=bureau.suite, passphrase=find_passphrase(home), entropy=system_entropy, cost=worlds.CHEAP
        )
        key = bureau.suite.signing_key_from_seed(seed)
        bureau.engine.signer.add_key(key)
        bureau.outbox.submit(
            ROTATE_KEY,
            MemberRotateKeyBody(purpose=KeyPurpose.SIGNING, new_key=key.public_key, proof=b""),
            extra_keys=[key],
        )
    assert backed_up(home, tmp_path / "b.tar").key == key.public_key.hex()
    restore_backup(tmp_path / "b.tar", Home(tmp_path / "new"))
    with at_work(Home(tmp_path / "new"), passphrase=find_passphrase(home)) as bureau:
        assert bureau.keys.signing.public_key == key.public_key


@pytest.mark.parametrize("purpose", ["signing", "sealing"])
def test_a_backup_without_the_key_that_its_ledger_names_is_not_made(rotated, tmp_path, purpose):
    """As where the key was replaced after the key files were copied: what is restored could not go on."""
    home, folder, _, _ = rotated
    restore_backup(folder / "after.tar", Home(tmp_path / "new"), genesis=home.genesis)
    keys = tmp_path / "new" / "keys"
    (keys / f"{purpose}.key.json").write_bytes((keys / f"{purpose}.retired-0001.key.json").read_bytes())
    keep_passphrase(Home(tmp_path / "new"), find_passphrase(home))
    assert refused(backed_up, Home(tmp_path / "new"), tmp_path / "b.tar") == "node.backup_keys_replaced"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "new.passphrase"]


# Members admitted by vote


@pytest.fixture(scope="module", params=["intl", "gm"])
def admitted(request, tmp_path_factory):
    """A bank that no genesis names, in its home: admitted by vote, then with another key; a backup before and after."""
    folder = tmp_path_factory.mktemp("admitted")
    bureau_home, home = worlds.solo_home(folder / "bureau", request.param), Home(folder / "bank")
    suite = suite_of(bureau_home)
    seeds = MemberSeeds.generate(system_entropy)
    registration = Registration.on_network(network_id(bureau_home.genesis.read_bytes()), NINTH)
    face = member_from_seeds(
        seeds, registration=registration, role=Role.BANK, name="Bank Nine", name_zh="第九银行", suite=suite
    )
    settings = NodeSettings(member=NINTH, role=Role.BANK, suite=suite.name, admitted=True)
    create_home(
        home,
        settings=settings,
        genesis=bureau_home.genesis.read_bytes(),
        seeds=seeds,
        passphrase=None,
        entropy=system_entropy,
        cost=worlds.CHEAP,
    )
    with at_work(bureau_home) as bureau:
        with at_work(home, writer=bureau.engine):
            # It follows before it is a member: its copy does not name it.
            pass
        early = refused(backed_up, home, folder / "early.tar")
        action = Admit(
            member=NINTH,
            role=Role.BANK,
            name=face.name,
            name_zh=face.name_zh,
            signing_key=face.signing_key,
            sealing_key=face.sealing_key,
            validator_key=b"",
            signing_proof=face.signing_proof,
            sealing_proof=face.sealing_proof,
            validator_proof=b"",
            witness=False,
            governing=False,
        )
        deadline = CLOCK.now_ms() + HOUR_MS
        bureau.outbox.submit(PROPOSE, MemberProposeBody(action=action, deadline_ms=deadline))
        with at_work(home, writer=bureau.engine) as bank:
            bank.catch_up_with(bureau)
        backed_up(home, folder / "admitted.tar")
        with at_work(home, writer=bureau.engine) as bank:
            bank.catch_up_with(bureau)
            worlds.rotate(bank)
        backed_up(home, folder / "rotated.tar")
    return home, folder, early, face


def test_a_member_that_was_admitted_by_vote_backs_up_verifies_and_restores(admitted, tmp_path):
    home, folder, _, face = admitted
    genesis = home.genesis.read_bytes()
    assert verify_backup(folder / "admitted.tar", genesis=genesis).manifest.key == face.signing_key.hex()
    after = verify_backup(folder / "rotated.tar", genesis=genesis).manifest
    assert after.key == key_of(home).public_key.hex() != face.signing_key.hex()
    for name in ("admitted", "rotated"):
        restored = restore_backup(folder / f"{name}.tar", Home(tmp_path / name), genesis=home.genesis)
        assert (restored.backup.manifest.member, restored.backup.manifest.role) == (NINTH, "bank")


def test_a_copy_that_does_not_name_its_member_yet_is_not_backed_up(admitted):
    assert admitted[2] == "node.backup_member_unknown"


# What others could make


def test_the_old_key_is_refused_where_the_ledger_names_the_new_one(rotated, tmp_path):
    home, folder, first, _ = rotated
    for name in ("between", "after"):
        files, manifest = backups.unpacked(folder / f"{name}.tar")
        bad = tmp_path / "bad.tar"
        backups.pack(bad, files, manifest=manifest, signer=first, suite=suite_of(home))
        assert refused(verify_backup, bad) == "node.backup_signature_invalid"
        backups.pack(bad, files, manifest=manifest, signer=first, suite=suite_of(home), key=first.public_key.hex())
        assert refused(verify_backup, bad) == "node.backup_key_foreign"
        assert refused(restore_backup, bad, Home(tmp_path / "new")) == "node.backup_key_foreign"
    assert [*tmp_path.iterdir()] == [bad]


def test_another_member_role_or_key_than_the_ledgers_is_refused(rotated, tmp_path):
    home, folder, _, _ = rotated
    suite, bad = suite_of(home), tmp_path / "bad.tar"
    files, manifest = backups.unpacked(folder / "after.tar")
    stranger = suite.signing_key_from_seed(bytes(32))
    for fields in ({"key": stranger.public_key.hex()}, {"member": "nobody"}, {"role": "bank"}):
        signer = stranger if "key" in fields else key_of(home)
        backups.pack(bad, files, manifest=manifest, signer=signer, suite=suite, **fields)
        assert refused(verify_backup, bad) == "node.backup_key_foreign"


def test_a_member_cannot_sign_a_backup_of_anothers_home(admitted, tmp_path):
    home, folder, _, _ = admitted
    files, manifest = backups.unpacked(folder / "rotated.tar")
    settings = (folder / "bureau" / "node.toml").read_bytes()
    changed = [(name, settings if name == "node.toml" else data) for name, data in files]
    bad = tmp_path / "bad.tar"
    backups.pack(bad, changed, manifest=manifest, signer=key_of(home), suite=suite_of(home))
    assert refused(restore_backup, bad, Home(tmp_path / "new"), genesis=home.genesis) == "node.restore_contradicted"
    assert not (tmp_path / "new").exists()


class Impostor:
    """Signs with its own key and says that it is another's."""

    def __init__(self, key, *, poses_as):
        self.public_key, self.key_id = poses_as.public_key, poses_as.key_id
        self.sign = key.sign


def grown(files, *, genesis, scratch, write):
    """The files of a backup with one block more, as somebody writes it who checks no signature; and its moment.

    write: given the state machine, returns the transactions of the block.
    """
    place = LedgerFolder(folder=scratch, parameters=network_parameters(genesis))
    for name, data in files:
        if name.startswith("ledger/segments/"):
            (scratch / "segments").mkdir(parents=True, exist_ok=True)
            (scratch / name.removeprefix("ledger/")).write_bytes(data)
    machine = place.machine()
    copy = LedgerCopy(scratch, machine=machine, settings=CopySettings())
    try:
        transactions = [machine.decode(raw) for raw in write(machine)]
        time_ms = copy.head.time_ms + 1
        copy.commit(replay_transactions(copy, transactions, time_ms=time_ms, level=Level.EXECUTED))
        head = copy.head
    finally:
        copy.close()
    segments = [(f"ledger/segments/{path.name}", path.read_bytes()) for path in (scratch / "segments").iterdir()]
    kept = [(name, data) for name, data in files if not name.startswith("ledger/segments/")]
    moment = LedgerMoment(height=head.height, size=head.size, root=head.root.hex(), state_root=head.state_root.hex())
    return [*kept, *sorted(segments)], moment


def rotation(machine, *, author, signers, new_key):
    """The signed bytes of a rotation."""
    draft = TransactionDraft(
        kind=ROTATE_KEY,
        version=1,
        body=MemberRotateKeyBody(purpose=KeyPurpose.SIGNING, new_key=new_key, proof=b""),
        author=author,
        valid_until_ms=CLOCK.now_ms() + HOUR_MS,
        id=new_id(),
    )
    return sign_transaction(draft, network=machine.parameters.network, suite=machine.suite, keys=signers)


def without_notes(files):
    return [(name, data) for name, data in files if not name.startswith("ledger/checkpoints/")]


@pytest.mark.parametrize("notes", ["kept", "dropped", "signed by the operator"])
def test_a_ledger_in_which_a_key_was_replaced_by_somebody_else_is_refused(admitted, tmp_path, notes):
    """The operator itself may have written it, and signed it: a member's key is replaced by the member alone."""
    home, folder, _, _ = admitted
    suite, genesis = suite_of(home), home.genesis.read_bytes()
    thief = suite.signing_key_from_seed(bytes(32))
    files, manifest = backups.unpacked(folder / "rotated.tar")

    def stolen(machine):
        posing = Impostor(thief, poses_as=key_of(home))
        return [rotation(machine, author=NINTH, signers=[posing, thief], new_key=thief.public_key)]

    forged, moment = grown(files, genesis=genesis, scratch=tmp_path / "scratch", write=stolen)
    if notes != "kept":
        forged = without_notes(forged)
    if notes == "signed by the operator":
        operator = key_of(Home(folder / "bureau"))
        origin = network_parameters(genesis).origin
        root = bytes.fromhex(moment.root)
        note = sign_checkpoint(origin=origin, size=moment.size, root=root, key=operator, suite=suite).note
        forged.append(("ledger/checkpoints/latest", note))
    bad = tmp_path / "bad.tar"
    backups.pack(bad, forged, manifest=manifest, signer=thief, suite=suite, key=thief.public_key.hex(), ledger=moment)
    assert refused(verify_backup, bad, genesis=genesis) == "node.key_forged"
    assert refused(restore_backup, bad, Home(tmp_path / "new"), genesis=home.genesis) == "node.key_forged"
    assert not (tmp_path / "new").exists()


def test_a_ledger_that_the_operator_did_not_sign_is_refused_beside_its_checkpoint(rotated, tmp_path):
    """The old key was stolen: it can sign another rotation after its time, but not the checkpoint of such a ledger."""
    home, folder, first, notes = rotated
    suite, genesis = suite_of(home), home.genesis.read_bytes()
    thief = suite.signing_key_from_seed(bytes(32))
    before, manifest = backups.unpacked(folder / "before.tar")
    forged, moment = grown(
        before,
        genesis=genesis,
        scratch=tmp_path / "scratch",
        write=lambda machine: [rotation(machine, author=BUREAU, signers=[first, thief], new_key=thief.public_key)],
    )
    bad = tmp_path / "bad.tar"
    fields = {"key": thief.public_key.hex(), "ledger": moment}
    # With the notes of the true ledger: they are of another one, or of none of its sizes.
    true = [each for each in backups.unpacked(folder / "after.tar")[0] if each[0].startswith("ledger/checkpoints/")]
    backups.pack(bad, [*without_notes(forged), *true], manifest=manifest, signer=thief, suite=suite, **fields)
    assert refused(verify_backup, bad) == "node.history_contradicted"
    # With none that is newer than the theft nothing in it tells: this is what a known checkpoint is for.
    backups.pack(bad, forged, manifest=manifest, signer=thief, suite=suite, **fields)
    assert verify_backup(bad, since=notes["before"]).manifest.key == thief.public_key.hex()
    assert refused(verify_backup, bad, since=notes["after"]) == "node.history_older"
    backed_up_at = read_checkpoint(notes["after"].note)
    assert verify_backup(folder / "after.tar", since=backed_up_at).manifest.ledger.size == backed_up_at.size


def test_a_known_checkpoint_of_another_history_or_log_refuses(rotated):
    _, folder, _, notes = rotated
    known = notes["before"]
    for other in (
        Checkpoint(origin=known.origin, size=known.size, root=bytes(32), note=b""),
        Checkpoint(origin="shuiqiao/another", size=known.size, root=known.root, note=b""),
    ):
        assert refused(verify_backup, folder / "after.tar", since=other) == "ledger.pin_contradicted"
        assert refused(restore_backup, folder / "after.tar", Home(folder / "new"), since=other) == (
            "ledger.pin_contradicted"
        )
    within = Checkpoint(origin=known.origin, size=known.size - 1, root=known.root, note=b"")
    assert refused(verify_backup, folder / "after.tar", since=within) == "node.history_contradicted"


def test_a_checkpoint_by_another_key_or_over_another_log_is_refused(rotated, tmp_path):
    home, folder, first, notes = rotated
    suite, known = suite_of(home), notes["after"]
    files, manifest = backups.unpacked(folder / "after.tar")
    bad = tmp_path / "bad.tar"
    cases = (
        (suite.signing_key_from_seed(bytes(32)), known.root, "ledger.checkpoint_foreign"),
        (first, known.root, "ledger.checkpoint_foreign"),
        (key_of(home), bytes(32), "node.history_contradicted"),
    )
    for key, root, code in cases:
        note = sign_checkpoint(origin=known.origin, size=known.size, root=root, key=key, suite=suite).note
        changed = [*((n, d) for n, d in files if n != "ledger/checkpoints/latest"), ("ledger/checkpoints/latest", note)]
        backups.pack(bad, changed, manifest=manifest, signer=key_of(home), suite=suite)
        assert refused(verify_backup, bad) == code


def test_a_writer_with_witnesses_and_those_that_follow_it_back_up_over_its_epochs(tmp_path):
    """The notes that closed an epoch, and the newest that witnesses confirmed, are each verified under their policy."""
    world = worlds.ConsortiumWorld(tmp_path / "consortium", "intl")
    members = [world.bureau, world.bank, world.regulator]
    try:
        worlds.rotate(world.bureau)
        world.consortium.settle()
        worlds.rotate(world.bank)
        world.consortium.settle()
        assert world.bureau.engine.confirmed().size == world.bureau.engine.checkpoint().size
        notes = sorted(path.name for path in (world.bureau.home.ledger / "checkpoints" / "epochs").iterdir())
        assert len(notes) == 2
    finally:
        world.close()
    for institution in members:
        archive = tmp_path / f"{institution.member}.tar"
        manifest = backed_up(institution.home, archive)
        assert manifest.key == key_of(institution.home).public_key.hex()
        assert verify_backup(archive, genesis=world.genesis).manifest == manifest
    files, manifest = backups.unpacked(tmp_path / "bureau.tar")
    names = [name for name, _ in files if name.startswith("ledger/checkpoints/")]
    assert names == ["ledger/checkpoints/latest", "ledger/checkpoints/cosigned"] + [
        f"ledger/checkpoints/epochs/{name}" for name in notes
    ]
    # The operator alone signs what its witnesses have not seen.
    place = dict(files)
    for name in names[1:]:
        note = place[name]
        lines = note.split(b"\n")
        bare = b"\n".join(lines[:5]) + b"\n"
        changed = [(each, bare if each == name else data) for each, data in files]
        bad = tmp_path / "bad.tar"
        backups.pack(bad, changed, manifest=manifest, signer=key_of(world.bureau.home), suite=world.suite)
        assert refused(verify_backup, bad) == "ledger.quorum_missing"

"""A member's two keys on disk, where their passphrase comes from, and whether they are those that the ledger names.

The passphrase is that of the file named by SHUIQIAO_PASSPHRASE_FILE, then of the file that ``init`` wrote beside the
home when it was given nothing better (mode 0600: convenient, and said to be weaker), then from a prompt on a terminal.
An earlier release wrote that file into the home: there it is still read, and told what to do.

A key is replaced so that a crash at any step leaves a home that can go on::

    <purpose>.key.json                  the key in use
    <purpose>.next.key.json             made, and not known to be on the ledger yet
    <purpose>.retired-<NNNN>.key.json   used before, the highest number last

1. the next key is written whole, beside the one in use; the ledger hears of it only then;
2. once the ledger names it, the one in use is linked under its retired name, and the next one takes its place at once.

A crash after 1 leaves a next key that is submitted again; a crash within 2 leaves a link that is found again. Retired
keys stay: the last checkpoint of the epoch that a key signed in still needs it, and what was sealed to a key opens with
that key alone.
"""

from __future__ import annotations

import base64
import codecs
import contextlib
import getpass
import os
import re
import shlex
import sys
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from shuiqiao.base.clock import iso_from_ms
from shuiqiao.base.durable import SYSTEM_DISK, link_file, move_into_place, write_file
from shuiqiao.base.environment import PASSPHRASE_FILE_VARIABLE
from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.files import read_regular, warning_of_readers
from shuiqiao.base.ids import MemberId
from shuiqiao.crypto.kdf import SEED_BYTES
from shuiqiao.crypto.keyfile import STRONG_COST, PassphraseCost, load_key_file, rewrap_key_file, save_key_file
from shuiqiao.crypto.model import CipherSuite, SealingKey, SigningKey
from shuiqiao.crypto.suites import get_suite
from shuiqiao.ledger.model import StateView
from shuiqiao.members.genesis import decode_genesis
from shuiqiao.members.model import KeyPurpose
from shuiqiao.members.roster import member_key, validator_of
from shuiqiao.node.home.settings import Home, NodeSettings

if TYPE_CHECKING:
    from shuiqiao.base.ids import Entropy
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.node.home.settings import Home

MAX_RETIRED = 9_999

_RETIRED = re.compile(r"(signing|sealing)\.retired-([0-9]{4})\.key\.json")


class KeyFiles:
    """The files of one purpose in a home."""

    def __init__(self, home: Home, *, purpose: KeyPurpose) -> None:
        """purpose: signing or sealing; the key of a validator belongs to CometBFT's home."""
        self.folder = home.keys
        self.purpose = purpose
        self.current = home.keys / f"{purpose}.key.json"
        self.next = home.keys / f"{purpose}.next.key.json"

    @property
    def held(self) -> tuple[Path, ...]:
        """Every file that is there: the key in use, the next one, those retired, the last first."""
        return tuple(path for path in (self.current, self.next, *reversed(self.retired)) if path.exists())

    @property
    def retired(self) -> tuple[Path, ...]:
        """The files of keys that were in use, in order."""
        found = (path for path in self.folder.iterdir() if _RETIRED.fullmatch(path.name))
        return tuple(sorted(path for path in found if path.name.startswith(self.purpose)))

    @property
    def others(self) -> tuple[Path, ...]:
        """Every file that is there but that of the key in use: the next one, those retired, the last first."""
        return tuple(path for path in self.held if path != self.current)

    def make_next(
        self, *, suite: CipherSuite, passphrase: bytes, entropy: Entropy, cost: PassphraseCost = STRONG_COST
    ) -> bytes:
        """Write a fresh next key and return its seed, or return that of the one that is there already."""
        if self.next.exists():
            return self.next_seed(passphrase=passphrase)
        seed = entropy(SEED_BYTES)
        save_key_file(
            self.next,
            seed=seed,
            suite=suite.name,
            purpose=str(self.purpose),
            passphrase=passphrase,
            entropy=entropy,
            cost=cost,
        )
        return seed

    def next_seed(self, *, passphrase: bytes) -> bytes:
        """Return the seed of the next key; raises what ``load_key_file`` raises."""
        return load_key_file(self.next, passphrase=passphrase).seed

    def switch(self) -> None:
        """Retire the key in use and put the next one in its place; raises Unavailable ``node.key_switch_failed``."""
        try:
            retired = self.retired
            if not retired or not retired[-1].samefile(self.current):
                name = f"{self.purpose}.retired-{min(len(retired) + 1, MAX_RETIRED):04}.key.json"
                link_file(self.current, self.folder / name)
            move_into_place(self.next, self.current)
        except OSError as error:
            raise Unavailable(
                "node.key_switch_failed",
                f"the ledger names the new {self.purpose} key, and {self.current} could not be replaced: {error}",
                next_step="free disk space or check the disk, then run any command on this home: it goes on from here",
            ) from error


def all_key_files(home: Home) -> tuple[Path, ...]:
    """Return every key file of a home: in use, next, retired."""
    found: list[Path] = []
    for purpose in (KeyPurpose.SIGNING, KeyPurpose.SEALING):
        files = KeyFiles(home, purpose=purpose)
        found += [files.current, *(path for path in (files.next,) if path.exists()), *files.retired]
    return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangedPassphrase:
    """What became of a home whose passphrase was changed.

    keys_wrapped: how many keys were wrapped anew. former: the files that keep the passphrase that lay beside the home,
    or in it: backups of before open by the one of then.
    """

    keys_wrapped: int
    former: tuple[Path, ...]


def change_passphrase(home: Home, *, before: bytes, after: bytes, now_ms: int, entropy: Entropy) -> ChangedPassphrase:
    """Wrap every key of a home by another passphrase; the file that ``init`` wrote is kept under another name.

    Each is replaced at once, and nothing is where one opens by neither; after a crash the same call goes on with those
    that are left. Keys and what they encrypt stay as they are. Raises what ``load_key_file`` raises, and Unavailable
    ``node.home_unwritable`` before anything is changed.
    """
    paths = [*all_key_files(home), *(path for path in (home.keys / DATA_FILE,) if path.exists())]
    for path in paths:
        try:
            load_key_file(path, passphrase=before)
        except Denied:
            load_key_file(path, passphrase=after)
    replaced = [path for path in (home.passphrase, former_passphrase_file(home)) if path.is_file()]
    replaced = [path for path in replaced if read_passphrase(path) != after]
    former = tuple(_keep_former(home, path, now_ms=now_ms + count) for count, path in enumerate(replaced))
    count = sum(rewrap_key_file(path, before=before, after=after, entropy=entropy) for path in paths)
    for path in replaced:
        path.unlink()
        SYSTEM_DISK.sync_folder(path.parent)
    return ChangedPassphrase(keys_wrapped=count, former=former)


def _keep_former(home: Home, replaced: Path, *, now_ms: int) -> Path:
    """Keep a passphrase that is replaced beside the home, for its owner only; return where."""
    stamp = re.sub(r"[-:]", "", iso_from_ms(now_ms))
    path = home.passphrase.with_name(f"{home.passphrase.name}.former-{stamp}")
    try:
        write_file(path, [read_passphrase(replaced) + b"\n"], mode=0o600, is_new=True)
        SYSTEM_DISK.sync_folder(path.parent)
    except OSError as error:
        raise Unavailable(
            "node.home_unwritable",
            f"the passphrase of before cannot be kept beside the home in {path}: {error.strerror}",
            next_step="let this user write there; nothing was changed",
        ) from error
    return path


def other_signing_keys(home: Home, *, passphrase: bytes) -> tuple[SigningKey, ...]:
    """Return the signing keys a home holds beside the one in use: the next one, and the last that was retired."""
    files = KeyFiles(home, purpose=KeyPurpose.SIGNING)
    paths = [path for path in (files.next, *files.retired[-1:]) if path.exists()]
    found = [load_key_file(path, passphrase=passphrase) for path in paths]
    return tuple(get_suite(each.suite).signing_key_from_seed(each.seed) for each in found)


SIGNING_FILE = "signing.key.json"
SEALING_FILE = "sealing.key.json"
DATA_FILE = "data.key.json"


def had_database(home: Home) -> bool:
    """Tell whether a home has had a database: one that was encrypted under the key which lies there."""
    return (home.keys / DATA_FILE).exists()


PASSPHRASE_ENTROPY_BYTES = 24
MAX_PASSPHRASE_BYTES = 1024
MIN_NEW_PASSPHRASE_CHARACTERS = 12
"""Of a passphrase that is set; shorter ones that keys have already still open them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberKeys:
    """The private keys of one member."""

    signing: SigningKey
    sealing: SealingKey


class HeldSigningKey:
    """The signing key of a home: the one in use now, for services that go on while it is replaced."""

    def __init__(self, key: SigningKey) -> None:
        self._key = key

    @property
    def public_key(self) -> bytes:
        """The raw public key of the one in use."""
        return self._key.public_key

    @property
    def key_id(self) -> bytes:
        """The first 16 bytes of the suite hash of its public key."""
        return self._key.key_id

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature of a message by the one in use."""
        return self._key.sign(message)

    def use(self, key: SigningKey) -> None:
        """Sign with another key from now on: the ledger names it in the place of the one before."""
        self._key = key


class HeldSealingKey:
    """The sealing key of a home: the one in use, and behind it every other one that the home holds.

    What was sealed before a rotation opens with a key that was replaced since. Those are read, newest first, when the
    one in use does not open something: each costs the work of its passphrase, once.
    """

    def __init__(self, key: SealingKey, *, home: Home, suite: CipherSuite, passphrase: bytes) -> None:
        self._key = key
        self._home = home
        self._suite = suite
        self._passphrase = passphrase

    def use(self, key: SealingKey) -> None:
        """Open with another key from now on, the home's new one, behind which this one lies."""
        self._key = key

    @property
    def public_key(self) -> bytes:
        """The raw public key of the one in use: what others seal to."""
        return self._key.public_key

    def open_sealed(self, sealed: bytes, *, associated_data: bytes) -> bytes:
        """Return the plaintext, opened by whichever key it was sealed to; raises IntegrityError ``crypto.seal_broken``.

        Raises Unavailable ``node.sealing_key_unusable`` where a key behind the one in use cannot be read: it might have
        been the right one.
        """
        try:
            return self._key.open_sealed(sealed, associated_data=associated_data)
        except IntegrityError:
            for key in self._others:
                with contextlib.suppress(IntegrityError):
                    return key.open_sealed(sealed, associated_data=associated_data)
            raise

    @cached_property
    def _others(self) -> tuple[SealingKey, ...]:
        return tuple(self._other(path) for path in KeyFiles(self._home, purpose=KeyPurpose.SEALING).others)

    def _other(self, path: Path) -> SealingKey:
        try:
            seed, _ = load_seed(path, purpose=KeyPurpose.SEALING, passphrase=self._passphrase)
        except ShuiqiaoError as error:
            raise Unavailable(
                "node.sealing_key_unusable",
                f"something does not open with the sealing key in use, and {path} cannot be read: {error.code}: "
                f"{error.message}",
            ) from error
        return self._suite.sealing_key_from_seed(seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSeeds:
    """The secrets that stand for a member's keys."""

    signing: bytes
    sealing: bytes

    @classmethod
    def generate(cls, entropy: Entropy) -> MemberSeeds:
        """Return fresh seeds."""
        return cls(signing=entropy(SEED_BYTES), sealing=entropy(SEED_BYTES))

    def keys(self, suite: CipherSuite) -> MemberKeys:
        """Return the keys the seeds stand for in a suite."""
        return MemberKeys(
            signing=suite.signing_key_from_seed(self.signing), sealing=suite.sealing_key_from_seed(self.sealing)
        )


def save_keys(
    home: Home,
    seeds: MemberSeeds,
    *,
    suite: CipherSuite,
    passphrase: bytes,
    entropy: Entropy,
    cost: PassphraseCost = STRONG_COST,
) -> None:
    """Write both key files, encrypted."""
    home.keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, seed, purpose in ((SIGNING_FILE, seeds.signing, "signing"), (SEALING_FILE, seeds.sealing, "sealing")):
        save_key_file(
            home.keys / name,
            seed=seed,
            suite=suite.name,
            purpose=purpose,
            passphrase=passphrase,
            entropy=entropy,
            cost=cost,
        )


def load_keys(home: Home, *, passphrase: bytes) -> MemberKeys:
    """Open both key files; the sealing key has those that it replaced behind it.

    Raises Unavailable ``node.key_missing``, InvalidInput ``node.key_misplaced``, Denied ``crypto.passphrase_wrong``, or
    what a damaged file is refused with.
    """
    signing = load_seed(home.keys / SIGNING_FILE, purpose="signing", passphrase=passphrase)
    sealing = load_seed(home.keys / SEALING_FILE, purpose="sealing", passphrase=passphrase)
    if signing[1] != sealing[1]:
        raise InvalidInput(
            "node.key_misplaced",
            f"the signing key in {home.keys} is of suite {signing[1]}, the sealing key {sealing[1]}",
        )
    suite = get_suite(signing[1])
    keys = MemberSeeds(signing=signing[0], sealing=sealing[0]).keys(suite)
    held = HeldSealingKey(keys.sealing, home=home, suite=suite, passphrase=passphrase)
    return MemberKeys(signing=keys.signing, sealing=held)


def named_passphrase() -> bytes | None:
    """Return the passphrase in the file that SHUIQIAO_PASSPHRASE_FILE names, or None where it names none."""
    named = os.environ.get(PASSPHRASE_FILE_VARIABLE)
    return read_passphrase(Path(named)) if named else None


def named_new_passphrase() -> bytes | None:
    """Return the passphrase to be set from the file that SHUIQIAO_PASSPHRASE_FILE names, None where it names none.

    Raises what ``read_new_passphrase`` raises.
    """
    named = os.environ.get(PASSPHRASE_FILE_VARIABLE)
    return read_new_passphrase(Path(named)) if named else None


def find_passphrase(home: Home) -> bytes:
    """Return the passphrase of a home's keys; raises Unavailable ``node.passphrase_missing`` when there is none."""
    named = named_passphrase()
    if named is not None:
        return named
    kept = kept_passphrase_file(home)
    if kept is not None:
        if kept != home.passphrase:
            _warn_of_former_place(kept, home.passphrase)
        return read_passphrase(kept)
    if sys.stdin is not None and sys.stdin.isatty():
        return getpass.getpass("Passphrase of this home's keys 密钥口令: ").encode()
    raise Unavailable(
        "node.passphrase_missing",
        f"the keys of {home.folder} are encrypted and no passphrase was given; {home.passphrase} is not there",
        next_step=f"name a file that holds it in {PASSPHRASE_FILE_VARIABLE}",
    )


def kept_passphrase_file(home: Home) -> Path | None:
    """Return the file in which the passphrase that ``init`` made is kept, None where there is none."""
    return next((path for path in (home.passphrase, former_passphrase_file(home)) if path.is_file()), None)


def former_passphrase_file(home: Home) -> Path:
    """Return where an earlier release kept that file: in the home. A backup that holds it has it there, too."""
    return home.keys / "passphrase"


@cache
def _warn_of_former_place(inside: Path, beside: Path) -> None:
    """Say once, wherever the passphrase is asked for, that a copy of this home opens its keys."""
    sys.stderr.write(
        f"warning: the passphrase {inside} lies in the home that it protects, and serve refuses it there; move it: "
        f"mv {shlex.quote(str(inside))} {shlex.quote(str(beside))}\n"
    )


def read_passphrase(path: Path) -> bytes:
    """Return the passphrase in a file, without its last line end.

    Warns where others can read it. Raises Unavailable ``node.passphrase_missing`` or InvalidInput
    ``node.passphrase_unusable``.
    """
    try:
        text = read_regular(path, max_bytes=MAX_PASSPHRASE_BYTES)
    except OSError as error:
        raise Unavailable(
            "node.passphrase_missing",
            f"the passphrase file {path} cannot be read: {error.strerror}",
            next_step=f"name a file that holds it in {PASSPHRASE_FILE_VARIABLE}",
        ) from error
    passphrase = text.removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n")
    if not passphrase or len(passphrase) > MAX_PASSPHRASE_BYTES:
        raise InvalidInput(
            "node.passphrase_unusable", f"{path} holds {len(text)} bytes; a passphrase has 1 to {MAX_PASSPHRASE_BYTES}"
        )
    _warn_of_readers(path, path.stat().st_mtime_ns)
    return passphrase


@cache
def _warn_of_readers(path: Path, _written_ns: int) -> None:
    """Say once that others can open what this passphrase protects."""
    if warning := warning_of_readers(path, what="the passphrase file"):
        sys.stderr.write(f"warning: {warning}\n")


def read_new_passphrase(path: Path) -> bytes:
    """Return the passphrase in a file from which keys are to be encrypted.

    Raises InvalidInput ``node.passphrase_short``, and what ``read_passphrase`` raises.
    """
    passphrase = read_passphrase(path)
    require_long(passphrase)
    return passphrase


def require_long(passphrase: bytes) -> None:
    """Return if a passphrase may be set; raises InvalidInput ``node.passphrase_short``."""
    length = len(passphrase.decode(errors="replace"))
    if length < MIN_NEW_PASSPHRASE_CHARACTERS:
        raise InvalidInput(
            "node.passphrase_short",
            f"a passphrase of {length} characters would encrypt keys; {MIN_NEW_PASSPHRASE_CHARACTERS} or more do",
        )


def write_random_passphrase(home: Home, *, entropy: Entropy) -> bytes:
    """Make a passphrase and keep it beside the home, durably, readable by the owner only.

    Raises what ``keep_passphrase`` raises.
    """
    passphrase = base64.urlsafe_b64encode(entropy(PASSPHRASE_ENTROPY_BYTES))
    keep_passphrase(home, passphrase)
    return passphrase


def keep_passphrase(home: Home, passphrase: bytes) -> None:
    """Keep a passphrase beside a home, durably, readable by the owner only.

    Raises Conflict ``node.home_unfinished`` if there is one: what it opens would be lost with it. Raises Unavailable
    ``node.home_unwritable``.
    """
    path = home.passphrase
    try:
        write_file(path, [passphrase + b"\n"], mode=0o600, is_new=True)
        SYSTEM_DISK.sync_folder(path.parent)
    except FileExistsError as error:
        raise Conflict(
            "node.home_unfinished",
            f"{path} is there already: it is the passphrase of a home that is made now or was here before",
            next_step=f"if nothing else is at work there and no home or backup needs it, remove {path}",
        ) from error
    except PermissionError as error:
        raise Unavailable(
            "node.home_unwritable",
            f"the passphrase cannot be kept beside the home in {path}: {error.strerror}",
            next_step=f"name a file that holds one in {PASSPHRASE_FILE_VARIABLE}",
        ) from error


def load_seed(path: Path, *, purpose: str, passphrase: bytes) -> tuple[bytes, str]:
    """Return what a key file of a purpose holds, and its suite; raises as ``load_keys`` does."""
    if not path.is_file():
        raise Unavailable("node.key_missing", f"the key file {path} is not there")
    key_file = load_key_file(path, passphrase=passphrase)
    if key_file.purpose != purpose:
        raise InvalidInput("node.key_misplaced", f"{path} holds a {key_file.purpose} key where a {purpose} key belongs")
    return key_file.seed, key_file.suite


_FIELDS = {KeyPurpose.SIGNING: "sign", KeyPurpose.SEALING: "seal"}


def require_first_keys(home: Home, settings: NodeSettings, genesis: bytes, keys: MemberKeys) -> None:
    """Return if a home whose keys were never replaced has those of the genesis; asked before a ledger opens.

    Raises InvalidInput ``node.keys_foreign``.
    """
    member = next((member for member in decode_genesis(genesis).members if member.id == settings.member), None)
    if member is not None and not any(KeyFiles(home, purpose=purpose).retired for purpose in _FIELDS):
        _require_same(settings, keys, signing={member.signing_key}, sealing={member.sealing_key})


def require_keys(home: Home, settings: NodeSettings, state: StateView, *, keys: MemberKeys, passphrase: bytes) -> None:
    """Return if the keys are those that the ledger has for this member now, or had when this copy of it ended.

    A member that was admitted after the genesis is not known to a ledger that has not caught up: nothing is asked then.
    Raises InvalidInput ``node.keys_foreign``.
    """
    record = state.get(member_key(MemberId(settings.member)))
    if record is None or (keys.signing.public_key, keys.sealing.public_key) == (record["sign"], record["seal"]):
        return
    former = {key.public_key for key in other_signing_keys(home, passphrase=passphrase)}
    signing = {record["sign"]} | ({keys.signing.public_key} if record["sign"] in former else set[bytes]())
    was_replaced = bool(KeyFiles(home, purpose=KeyPurpose.SEALING).retired)
    sealing = {record["seal"]} | ({keys.sealing.public_key} if was_replaced else set[bytes]())
    _require_same(settings, keys, signing=signing, sealing=sealing)


def _require_same(settings: NodeSettings, keys: MemberKeys, *, signing: set[bytes], sealing: set[bytes]) -> None:
    if keys.signing.public_key not in signing or keys.sealing.public_key not in sealing:
        raise InvalidInput(
            "node.keys_foreign",
            f"the key files hold keys of another member or network: signing key {keys.signing.public_key.hex()} where "
            f"{min(signing).hex()} is known for {settings.member}",
        )


def settle_keys(home: Home, *, member: MemberId, state: StateView, passphrase: bytes) -> bool:
    """Take into use what the ledger names already, after a crash; tell whether anything changed."""
    changed = False
    for purpose in _FIELDS:
        files = KeyFiles(home, purpose=purpose)
        named = ledger_key(state, member, purpose)
        if named is None or not files.next.exists():
            continue
        suite = get_suite(state.get("members/network")["suite"])
        if public_key_of(files.next_seed(passphrase=passphrase), purpose=purpose, suite=suite) == named:
            files.switch()
            changed = True
    return changed


def ledger_key(state: StateView, member: MemberId, purpose: KeyPurpose) -> bytes | None:
    """Return the raw public key that the ledger names for a member, None where it names none."""
    if purpose is KeyPurpose.VALIDATOR:
        return validator_of(state, member)
    record = state.get(member_key(member))
    return None if record is None else record[_FIELDS[purpose]]


def public_key_of(seed: bytes, *, purpose: KeyPurpose, suite: CipherSuite) -> bytes:
    """Return the raw public key that a seed stands for; purpose: signing or sealing."""
    if purpose is KeyPurpose.SIGNING:
        return suite.signing_key_from_seed(seed).public_key
    return suite.sealing_key_from_seed(seed).public_key

"""A member's two keys on disk, and where their passphrase comes from.

Order: the file named by SHUIQIAO_PASSPHRASE_FILE, then the file that ``init`` wrote beside the keys when it was given
nothing better (mode 0600: convenient, and said to be weaker), then a prompt on a terminal.
"""

from __future__ import annotations

import base64
import codecs
import contextlib
import getpass
import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from shuiqiao.base.durable import write_file
from shuiqiao.base.errors import Conflict, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.files import open_regular
from shuiqiao.crypto.keyfile import STRONG_COST, PassphraseCost, load_key_file, save_key_file
from shuiqiao.crypto.model import SEED_BYTES, CipherSuite, SealingKey, SigningKey
from shuiqiao.crypto.suites import get_suite
from shuiqiao.members.model import KeyPurpose
from shuiqiao.node.home.environment import PASSPHRASE_FILE_VARIABLE
from shuiqiao.node.home.key_files import KeyFiles
from shuiqiao.node.home.settings import Home

if TYPE_CHECKING:
    from shuiqiao.base.ids import Entropy

SIGNING_FILE = "signing.key.json"
SEALING_FILE = "sealing.key.json"
PASSPHRASE_FILE = "passphrase"  # noqa: S105 - the name of a file, not a secret
PASSPHRASE_ENTROPY_BYTES = 24
MAX_PASSPHRASE_BYTES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberKeys:
    """The private keys of one member."""

    signing: SigningKey
    sealing: SealingKey


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
            seed, _ = _load(path, purpose=KeyPurpose.SEALING, passphrase=self._passphrase)
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
    signing = _load(home.keys / SIGNING_FILE, purpose="signing", passphrase=passphrase)
    sealing = _load(home.keys / SEALING_FILE, purpose="sealing", passphrase=passphrase)
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


def find_passphrase(home: Home) -> bytes:
    """Return the passphrase of a home's keys; raises Unavailable ``node.passphrase_missing`` when there is none."""
    named = named_passphrase()
    if named is not None:
        return named
    beside = home.keys / PASSPHRASE_FILE
    if beside.is_file():
        return read_passphrase(beside)
    if sys.stdin is not None and sys.stdin.isatty():
        return getpass.getpass("Passphrase of this home's keys 密钥口令: ").encode()
    raise Unavailable(
        "node.passphrase_missing",
        f"the keys of {home.folder} are encrypted and no passphrase was given",
        next_step=f"name a file that holds it in {PASSPHRASE_FILE_VARIABLE}",
    )


def read_passphrase(path: Path) -> bytes:
    """Return the passphrase in a file, without its last line end.

    Raises Unavailable ``node.passphrase_missing`` or InvalidInput ``node.passphrase_unusable``.
    """
    try:
        with open_regular(path) as file:
            text = file.read(MAX_PASSPHRASE_BYTES + 1)
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
    return passphrase


def write_random_passphrase(home: Home, *, entropy: Entropy) -> bytes:
    """Make a passphrase and keep it beside the keys, durably, readable by the owner only.

    Raises Conflict ``node.home_unfinished`` if there is one: what it opens would be lost with it.
    """
    home.keys.mkdir(mode=0o700, parents=True, exist_ok=True)
    passphrase = base64.urlsafe_b64encode(entropy(PASSPHRASE_ENTROPY_BYTES))
    path = home.keys / PASSPHRASE_FILE
    try:
        write_file(path, [passphrase + b"\n"], mode=0o600, is_new=True)
    except FileExistsError as error:
        raise Conflict(
            "node.home_unfinished",
            f"{path} is there already: another init makes this home now, or one was interrupted",
        ) from error
    return passphrase


def _load(path: Path, *, purpose: str, passphrase: bytes) -> tuple[bytes, str]:
    if not path.is_file():
        raise Unavailable("node.key_missing", f"the key file {path} is not there")
    key_file = load_key_file(path, passphrase=passphrase)
    if key_file.purpose != purpose:
        raise InvalidInput("node.key_misplaced", f"{path} holds a {key_file.purpose} key where a {purpose} key belongs")
    return key_file.seed, key_file.suite

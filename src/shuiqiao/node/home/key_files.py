"""The files of a key that is being replaced, so that a crash at any step leaves a home that can go on.

::

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

import os
import re
from typing import TYPE_CHECKING

from shuiqiao.base.durable import sync_folder
from shuiqiao.base.errors import Unavailable
from shuiqiao.crypto.keyfile import STRONG_COST, PassphraseCost, load_key_file, save_key_file
from shuiqiao.crypto.model import SEED_BYTES
from shuiqiao.crypto.suites import get_suite
from shuiqiao.members.model import KeyPurpose

if TYPE_CHECKING:
    from pathlib import Path

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
                os.link(self.current, self.folder / name)
                sync_folder(self.folder)
            self.next.replace(self.current)
            sync_folder(self.folder)
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


def other_signing_keys(home: Home, *, passphrase: bytes) -> tuple[SigningKey, ...]:
    """Return the signing keys a home holds beside the one in use: the next one, and the last that was retired."""
    files = KeyFiles(home, purpose=KeyPurpose.SIGNING)
    paths = [path for path in (files.next, *files.retired[-1:]) if path.exists()]
    found = [load_key_file(path, passphrase=passphrase) for path in paths]
    return tuple(get_suite(each.suite).signing_key_from_seed(each.seed) for each in found)

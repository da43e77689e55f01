"""The key that a validator votes with, and the one that takes its place: two files in CometBFT's home.

::

    config/priv_validator_key.json         the key in use; CometBFT reads it when it starts
    config/priv_validator_key.next.json    made, and not in use yet

The next key is written whole before the ledger hears of it, and takes the other's place at once, while the node is
down; a crash at any step leaves a home that can go on. The former key is gone then: no note was ever signed with it.
What the node signed last stays as it is [ABCI-11].
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Final

from shuiqiao.base.durable import PosixDisk, replace_file
from shuiqiao.base.errors import IntegrityError, Unavailable
from shuiqiao.base.ids import Entropy
from shuiqiao.crypto.model import SEED_BYTES, SigningKey
from shuiqiao.ledger.engine.cometbft.comet.home import (
    SECRET_MODE,
    VALIDATOR_KEY_FILE,
    read_comet_file,
    signing_key_of,
    validator_key_text,
)

NEXT_FILE: Final = "priv_validator_key.next.json"
_SECRET_BYTES: Final = 64
"""CometBFT writes the seed and the public key behind it."""


class ValidatorKeyFiles:
    """The two files in a home that ``write_home`` wrote."""

    def __init__(self, home: Path) -> None:
        self._folder = home / "config"
        self._current = self._folder / VALIDATOR_KEY_FILE
        self._next = self._folder / NEXT_FILE

    def current(self) -> bytes | None:
        """Return the raw public key in use, None where its file cannot be read."""
        return _public_key(self._current)

    def next(self) -> bytes | None:
        """Return the raw public key that was made to take its place, None where there is none."""
        return _public_key(self._next)

    def current_key(self) -> SigningKey | None:
        """Return the key in use itself, to prove that its validator holds it [MEMBER-24]."""
        return _key(self._current)

    def make_next(self, entropy: Entropy) -> SigningKey:
        """Write a fresh next key and return it, or return the one that is there already."""
        found = _key(self._next)
        if found is not None:
            return found
        seed = entropy(SEED_BYTES)
        replace_file(self._next, validator_key_text(seed).encode(), disk=PosixDisk(), mode=SECRET_MODE)
        return signing_key_of(seed)

    def switch(self) -> None:
        """Put the next key in the place of the one in use; raises Unavailable ``ledger.validator_key_kept``."""
        disk = PosixDisk()
        try:
            disk.replace(self._next, self._current)
            disk.sync_folder(self._folder)
        except OSError as error:
            raise Unavailable(
                "ledger.validator_key_kept",
                f"the new validator key could not take the place of {self._current}: {error}",
                next_step="free disk space or check the disk, then start the node: it goes on from here",
            ) from error


def _public_key(path: Path) -> bytes | None:
    key = _key(path)
    return None if key is None else key.public_key


def _key(path: Path) -> SigningKey | None:
    try:
        document = json.loads(read_comet_file(path))
        # The private part is what votes are signed with, whatever stands beside it.
        secret = base64.b64decode(document["priv_key"]["value"], validate=True)
    except (IntegrityError, ValueError, KeyError, TypeError, RecursionError):
        return None
    return signing_key_of(secret[:SEED_BYTES]) if len(secret) == _SECRET_BYTES else None

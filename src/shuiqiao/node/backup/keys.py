"""The keys of a backup: those that its ledger names must be in it, and one of them signs it.

A key may be replaced while a backup is taken, and a copy of the ledger may be behind the keys of its home. So the
ledger that was copied says which key signs, not the file that happens to be in use.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from shuiqiao.base.errors import Conflict, Unavailable
from shuiqiao.base.files import read_regular
from shuiqiao.crypto.keyfile import MAX_FILE_BYTES, load_key_file
from shuiqiao.members.model import KeyPurpose
from shuiqiao.node.home.key_files import KeyFiles
from shuiqiao.node.rotation import public_key_of

if TYPE_CHECKING:
    from shuiqiao.crypto.model import CipherSuite, SigningKey
    from shuiqiao.node.backup.archive import Entry
    from shuiqiao.node.backup.ledger import LedgerMember
    from shuiqiao.node.home.settings import Home


def signing_key_in(
    copied: Iterable[Entry], home: Home, *, member: LedgerMember | None, passphrase: bytes, suite: CipherSuite
) -> SigningKey:
    """Return the signing key that a ledger names for its member, once the files of both its keys were copied.

    copied: what is in the backup. Raises Unavailable ``node.backup_member_unknown`` where the ledger does not know the
    member yet; Conflict ``node.backup_keys_replaced``; what ``load_key_file`` raises.
    """
    if member is None:
        raise Unavailable(
            "node.backup_member_unknown",
            f"the ledger in {home.ledger} does not say yet that this home's member was admitted",
            next_step="start its node, let it catch up, then back it up",
        )
    copied_digests = {entry.digest for entry in copied if entry.name.startswith("keys/")}
    seeds: dict[KeyPurpose, bytes] = {}
    for purpose, named in ((KeyPurpose.SEALING, member.sealing), (KeyPurpose.SIGNING, member.signing)):
        files = (file for file in KeyFiles(home, purpose=purpose).held if _digest(file, suite) in copied_digests)
        found = (load_key_file(file, passphrase=passphrase).seed for file in files)
        seed = next((seed for seed in found if public_key_of(seed, purpose=purpose, suite=suite) == named), None)
        if seed is None:
            raise Conflict(
                "node.backup_keys_replaced",
                f"the ledger names the {purpose} key {named.hex()}, and no key file that was copied holds it",
                next_step="if a key was replaced meanwhile, take the backup again; else these are not this home's keys",
            )
        seeds[purpose] = seed
    return suite.signing_key_from_seed(seeds[KeyPurpose.SIGNING])


def _digest(path: Path, suite: CipherSuite) -> bytes:
    try:
        return suite.digest(read_regular(path, max_bytes=MAX_FILE_BYTES))
    except FileNotFoundError:
        # It took another name since it was listed.
        return b""

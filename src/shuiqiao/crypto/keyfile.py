"""Encrypted key files: one 32-byte seed each, opened by a passphrase.

The file is canonical JSON (RFC 8785 form) and a line feed:

    {"argon2id":{"lanes","memory_kib","passes","salt"},"checksum","cipher","ciphertext","format":"shuiqiao-key",
     "nonce","purpose","suite","version":1}

Argon2id (RFC 9106) turns the passphrase into the cipher's key; AES-256-GCM (``intl``) or SM4-GCM (``gm``) encrypts the
seed and authenticates every other field but the checksum. The checksum, a digest of all other fields, tells a damaged
file from a wrong passphrase without knowing the passphrase. An attacker who rewrites the file can rewrite the checksum
too; the cipher then refuses the file, as for a wrong passphrase. LIMIT: there is no national passphrase hash, so ``gm``
files rest on Argon2id (BLAKE2b) as well.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag

from shuiqiao.base.durable import new_file, replace_file
from shuiqiao.base.encoding import decode_json, encode_json, typed
from shuiqiao.base.errors import Conflict, Denied, IntegrityError, InvalidInput, Unavailable
from shuiqiao.base.files import open_regular
from shuiqiao.base.ids import Entropy
from shuiqiao.crypto.kdf import SEED_BYTES, verify_hash_present, verify_seed
from shuiqiao.crypto.model import SUITE_HASHES, SuiteName
from shuiqiao.crypto.sealing import NONCE_BYTES, SUITE_CIPHERS, TAG_BYTES, AuthenticatedCipher

MAX_FILE_BYTES = 4096
"""In bytes: a key file takes about 500."""

MAX_PASSPHRASE_BYTES = 1024
"""In bytes: a passphrase is typed or generated, not a document."""

SALT_BYTES = 16

MAX_MEMORY_KIB = 1024 * 1024
MAX_PASSES = 16
MAX_LANES = 16
"""A hostile file may not take more than 1 GiB and a few seconds before it is refused."""

_MIN_MEMORY_KIB_PER_LANE = 8
_FORMAT = "shuiqiao-key"
_VERSION = 1
_PURPOSE = re.compile(r"[a-z][a-z0-9-]{0,31}")


def _hex_pattern(size: int) -> str:
    return rf"^[0-9a-f]{{{2 * size}}}\Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class PassphraseCost:
    """What one guess at a passphrase costs (Argon2id): memory in KiB, passes over it, parallel lanes."""

    memory_kib: int
    passes: int
    lanes: int


STRONG_COST: Final = PassphraseCost(memory_kib=64 * 1024, passes=3, lanes=4)
"""RFC 9106 section 4, second recommended option: 64 MiB, 3 passes, 4 lanes; about a fifth of a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyFile:
    """What an opened key file holds."""

    seed: bytes
    """32 bytes. Left out of the printed form, so that it reaches no log."""
    suite: SuiteName
    purpose: str

    def __repr__(self) -> str:
        return f"KeyFile(suite={self.suite.value!r}, purpose={self.purpose!r})"


class _Argon2idFields(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    lanes: int
    memory_kib: int
    passes: int
    salt: Annotated[str, msgspec.Meta(pattern=_hex_pattern(SALT_BYTES))]

    @property
    def cost(self) -> PassphraseCost:
        return PassphraseCost(memory_kib=self.memory_kib, passes=self.passes, lanes=self.lanes)


class _Fields(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    argon2id: _Argon2idFields
    checksum: str
    cipher: str
    ciphertext: Annotated[str, msgspec.Meta(pattern=_hex_pattern(SEED_BYTES + TAG_BYTES))]
    format: str
    nonce: Annotated[str, msgspec.Meta(pattern=_hex_pattern(NONCE_BYTES))]
    purpose: Annotated[str, msgspec.Meta(pattern=rf"^{_PURPOSE.pattern}\Z")]
    suite: SuiteName
    version: int


def save_key_file(
    path: Path,
    *,
    seed: bytes,
    suite: SuiteName,
    purpose: str,
    passphrase: bytes,
    entropy: Entropy,
    cost: PassphraseCost = STRONG_COST,
) -> None:
    """Encrypt a seed under a passphrase into a new file of mode 0600, durably and all at once.

    An existing file is never replaced. Raises InvalidInput (``crypto.seed_length``, ``crypto.passphrase_length``,
    ``crypto.key_purpose``, ``crypto.key_file_cost``), Conflict (``crypto.key_file_exists``), Unavailable
    (``crypto.key_file_unwritable``).
    """
    verify_seed(seed)
    _verify_passphrase(passphrase)
    if not _PURPOSE.fullmatch(purpose):
        raise InvalidInput("crypto.key_purpose", f"{purpose[:40]!r} does not match {_PURPOSE.pattern}")
    _verify_cost(cost)
    data = _encrypt(seed, suite=SuiteName(suite), purpose=purpose, passphrase=passphrase, entropy=entropy, cost=cost)
    _write_new(path, data, suffix=entropy(8).hex())


def rewrap_key_file(path: Path, *, before: bytes, after: bytes, entropy: Entropy) -> bool:
    """Encrypt what a key file holds under another passphrase, at the same cost, durably and all at once.

    Return False where the file opens by the new one already. Raises as ``load_key_file`` and ``save_key_file`` do.
    """
    _verify_passphrase(after)
    try:
        found = load_key_file(path, passphrase=before)
    except Denied:
        load_key_file(path, passphrase=after)
        return False
    cost, suite, purpose = load_cost(path), found.suite, found.purpose
    data = _encrypt(found.seed, suite=suite, purpose=purpose, passphrase=after, entropy=entropy, cost=cost)
    try:
        replace_file(path, data)
    except OSError as error:
        raise Unavailable("crypto.key_file_unwritable", f"{path} cannot be written: {error.strerror}") from error
    return True


def load_key_file(path: Path, *, passphrase: bytes) -> KeyFile:
    """Open a key file.

    Raises Unavailable (``crypto.key_file_unreadable``), IntegrityError (``crypto.key_file_damaged``), InvalidInput
    (``crypto.key_file_version``, ``crypto.key_file_cost``, ``crypto.passphrase_length``), Denied
    (``crypto.passphrase_wrong``).
    """
    _verify_passphrase(passphrase)
    fields, sealed_fields = _parse(_read(path), path=path)
    cost = fields.argon2id.cost
    _verify_cost(cost)
    cipher = SUITE_CIPHERS[fields.suite]
    key = _passphrase_key(passphrase, salt=bytes.fromhex(fields.argon2id.salt), cost=cost, cipher=cipher)
    try:
        seed = cipher.decrypt(
            bytes.fromhex(fields.ciphertext),
            key=key,
            nonce=bytes.fromhex(fields.nonce),
            associated_data=encode_json(sealed_fields),
        )
    except InvalidTag as error:
        raise Denied(
            "crypto.passphrase_wrong",
            f"the passphrase does not open {path.name}",
            next_step="try the passphrase again; a file that somebody rewrote looks the same, so compare with a backup",
        ) from error
    return KeyFile(seed=seed, suite=fields.suite, purpose=fields.purpose)


def load_cost(path: Path) -> PassphraseCost:
    """Return what a guess at the passphrase of a key file costs; raises as ``load_key_file``, and needs none."""
    fields, _ = _parse(_read(path), path=path)
    _verify_cost(fields.argon2id.cost)
    return fields.argon2id.cost


def verify_key_file(data: bytes) -> None:
    """Return if bytes have the form of a key file, whoever can open it; raises as ``load_key_file`` for its form."""
    fields, _ = _parse(data, path=Path("the key file"))
    _verify_cost(fields.argon2id.cost)


def _encrypt(
    seed: bytes, *, suite: SuiteName, purpose: str, passphrase: bytes, entropy: Entropy, cost: PassphraseCost
) -> bytes:
    cipher = SUITE_CIPHERS[suite]
    salt, nonce = entropy(SALT_BYTES), entropy(NONCE_BYTES)
    fields: dict[str, Any] = {
        "argon2id": {"lanes": cost.lanes, "memory_kib": cost.memory_kib, "passes": cost.passes, "salt": salt.hex()},
        "cipher": cipher.name,
        "format": _FORMAT,
        "nonce": nonce.hex(),
        "purpose": purpose,
        "suite": suite.value,
        "version": _VERSION,
    }
    key = _passphrase_key(passphrase, salt=salt, cost=cost, cipher=cipher)
    ciphertext = cipher.encrypt(seed, key=key, nonce=nonce, associated_data=encode_json(fields))
    fields["ciphertext"] = ciphertext.hex()
    fields["checksum"] = _checksum(fields, suite=suite)
    return encode_json(fields) + b"\n"


def _passphrase_key(passphrase: bytes, *, salt: bytes, cost: PassphraseCost, cipher: AuthenticatedCipher) -> bytes:
    return hash_secret_raw(
        passphrase,
        salt,
        time_cost=cost.passes,
        memory_cost=cost.memory_kib,
        parallelism=cost.lanes,
        hash_len=cipher.key_bytes,
        type=Type.ID,
    )


def _checksum(fields: dict[str, Any], *, suite: SuiteName) -> str:
    hash_name = SUITE_HASHES[suite]
    verify_hash_present(hash_name)
    return hashlib.new(hash_name, encode_json(fields)).hexdigest()


def _parse(data: bytes, *, path: Path) -> tuple[_Fields, dict[str, Any]]:
    # Returns the typed fields, and what the cipher authenticates: all fields but ciphertext and checksum.
    try:
        raw = decode_json(data, max_bytes=MAX_FILE_BYTES)
    except InvalidInput as error:
        raise _damaged(path, error.message) from error
    if not isinstance(raw, dict) or encode_json(raw) + b"\n" != data:
        raise _damaged(path, "it is not in the canonical form in which it was written")
    rest = {name: value for name, value in raw.items() if name != "checksum"}
    _verify_checksum(rest, checksum=raw.get("checksum"), path=path)
    try:
        fields = typed(raw, _Fields)
    except msgspec.ValidationError as error:
        raise _damaged(path, str(error)) from error
    if fields.version != _VERSION or fields.cipher != SUITE_CIPHERS[fields.suite].name:
        raise _damaged(path, f"version {fields.version} of suite {fields.suite} has no cipher {fields.cipher[:20]!r}")
    del rest["ciphertext"]
    return fields, rest


def _verify_checksum(rest: dict[str, Any], *, checksum: object, path: Path) -> None:
    # Every version names its suite and carries this checksum, so that damage is told from a newer version.
    if rest.get("format") != _FORMAT or rest.get("suite") not in tuple(SuiteName):
        raise _damaged(path, "it does not name its format and suite")
    if _checksum(rest, suite=SuiteName(rest["suite"])) != checksum:
        raise _damaged(path, "its checksum does not fit its content")
    version = rest.get("version")
    if isinstance(version, int) and version > _VERSION:
        raise InvalidInput(
            "crypto.key_file_version", f"{path.name} has version {version}, this program reads version {_VERSION}"
        )


def _verify_passphrase(passphrase: bytes) -> None:
    if not 0 < len(passphrase) <= MAX_PASSPHRASE_BYTES:
        raise InvalidInput(
            "crypto.passphrase_length", f"a passphrase has 1 to {MAX_PASSPHRASE_BYTES} bytes, not {len(passphrase)}"
        )


def _verify_cost(cost: PassphraseCost) -> None:
    fits = (
        1 <= cost.passes <= MAX_PASSES
        and 1 <= cost.lanes <= MAX_LANES
        and _MIN_MEMORY_KIB_PER_LANE * cost.lanes <= cost.memory_kib <= MAX_MEMORY_KIB
    )
    if not fits:
        raise InvalidInput(
            "crypto.key_file_cost",
            f"Argon2id with {cost.memory_kib} KiB, {cost.passes} passes, {cost.lanes} lanes is outside the limits of"
            f" {MAX_MEMORY_KIB} KiB, {MAX_PASSES} passes, {MAX_LANES} lanes (and 8 KiB a lane at least)",
        )


def _read(path: Path) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise Unavailable(
            "crypto.key_file_unreadable",
            f"the key file {path} cannot be read: {error.strerror}",
            next_step="restore it from a backup, or point to the folder that has it",
        ) from error


def _write_new(path: Path, data: bytes, *, suffix: str) -> None:
    try:
        with new_file(path, draft=path.with_name(f".{path.name}.{suffix}")) as file:
            file.write(data)
    except FileExistsError as error:
        raise Conflict("crypto.key_file_exists", f"{path} exists already and is not replaced") from error
    except OSError as error:
        raise Unavailable("crypto.key_file_unwritable", f"{path} cannot be written: {error.strerror}") from error


def _damaged(path: Path, reason: str) -> IntegrityError:
    return IntegrityError("crypto.key_file_damaged", f"the key file {path.name} is damaged: {reason}")

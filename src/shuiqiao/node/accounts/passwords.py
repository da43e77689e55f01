"""Hashes passwords (Argon2id, RFC 9106) and compares them, at the same cost whether a user is known or not.

A stored hash says its parameters; one of weaker parameters than today's is made anew when its user logs in next. A
password is compared in one Unicode form (NFKC), so that two keyboards write the same. At most a few are hashed at a
time, for each takes tens of megabytes: a few more wait, no longer than some seconds, and others are told so at once.
One address has few of these places, and some are kept for users at addresses that they logged in from before, so that
a flood from elsewhere keeps them out no longer than one comparison takes.
"""

from __future__ import annotations

import base64
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from shuiqiao.base.errors import IntegrityError, InvalidInput, Unavailable
from shuiqiao.crypto.keyfile import PassphraseCost

if TYPE_CHECKING:
    from shuiqiao.base.ids import Entropy

PASSWORD_COST: Final = PassphraseCost(memory_kib=64 * 1024, passes=3, lanes=4)
"""RFC 9106 section 4, second recommended option: 64 MiB, 3 passes, 4 lanes."""

MIN_PASSWORD_CHARACTERS: Final = 12
MAX_PASSWORD_CHARACTERS: Final = 128
"""A password is typed or generated, not a document; longer ones would let a stranger make this machine work."""

HASHED_AT_A_TIME: Final = 2
WAITING_AT_A_TIME: Final = 6
"""Callers that wait for one of these; a further one is refused at once, or strangers would take every thread."""

OF_ONE_ADDRESS: Final = 2
"""Places that one address has, of those at work and those that wait."""

KEPT_PLACES: Final = 2
"""Further places to wait in, for who logged in from the same address before."""

MAX_WAIT_S: Final = 10.0

_SALT_BYTES: Final = 16
_HASH_BYTES: Final = 32


class PasswordHashing:
    """Passwords in, hashes out.

    ::

        hashing = PasswordHashing(entropy=system_entropy)
        stored = hashing.hash("correct horse battery")
        assert hashing.is_right(stored, "correct horse battery")
    """

    def __init__(self, *, entropy: Entropy, cost: PassphraseCost = PASSWORD_COST) -> None:
        self._entropy = entropy
        self._hasher = PasswordHasher(
            time_cost=cost.passes,
            memory_cost=cost.memory_kib,
            parallelism=cost.lanes,
            hash_len=_HASH_BYTES,
            salt_len=_SALT_BYTES,
        )
        self._room = threading.BoundedSemaphore(HASHED_AT_A_TIME)
        self._places = {
            False: threading.BoundedSemaphore(HASHED_AT_A_TIME + WAITING_AT_A_TIME),
            True: threading.BoundedSemaphore(KEPT_PLACES),
        }
        self._of_address = Counter[str]()
        self._counting = threading.Lock()
        # The form of a hash of today's cost which no password is known to have.
        salt, digest = (_unpadded(entropy(size)) for size in (_SALT_BYTES, _HASH_BYTES))
        self._nobodys = f"$argon2id$v=19$m={cost.memory_kib},t={cost.passes},p={cost.lanes}${salt}${digest}"

    def hash(self, password: str) -> str:
        """Return what is kept of a new password; raises InvalidInput ``node.password_length``."""
        text = _normalised(password)
        if not MIN_PASSWORD_CHARACTERS <= len(text) <= MAX_PASSWORD_CHARACTERS:
            raise InvalidInput(
                "node.password_length",
                f"a password of {len(text)} characters where {MIN_PASSWORD_CHARACTERS} to "
                f"{MAX_PASSWORD_CHARACTERS} are needed",
            )
        with self._one_of_few():
            return self._hasher.hash(text, salt=self._entropy(_SALT_BYTES))

    def is_right(
        self,
        stored: str | None,
        password: str,
        *,
        admit: Callable[[], None] = lambda: None,
        address: str = "",
        is_known: bool = False,
    ) -> bool:
        """Tell whether a password is the one that was hashed. stored: None for a user who is not known.

        admit: asked once there is room, before anything is compared; it may raise. address: whence it is asked, empty
        for this machine's own socket. is_known: the user logged in from there before.
        Raises IntegrityError ``node.password_damaged``, Unavailable ``node.login_busy``, and then nothing was asked.
        """
        text = _normalised(password[: 2 * MAX_PASSWORD_CHARACTERS])
        with self._one_of_few(address, is_known=is_known):
            admit()
            try:
                self._hasher.verify(stored or self._nobodys, text[: MAX_PASSWORD_CHARACTERS + 1])
            except VerifyMismatchError:
                return False
            except (InvalidHashError, VerificationError) as error:
                raise IntegrityError(
                    "node.password_damaged", f"a stored password hash cannot be read: {error}"
                ) from error
        return stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Tell whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    @contextmanager
    def _one_of_few(self, address: str = "", *, is_known: bool = False) -> Generator[None]:
        with self._place_of(address):
            places = self._taken_place(is_known=is_known)
            try:
                if not self._room.acquire(timeout=MAX_WAIT_S):
                    raise _busy(f"more than {HASHED_AT_A_TIME} passwords were being compared for {MAX_WAIT_S:g} s")
                try:
                    yield
                finally:
                    self._room.release()
            finally:
                places.release()

    def _taken_place(self, *, is_known: bool) -> threading.BoundedSemaphore:
        for places in (self._places[False], self._places[True])[: 1 + is_known]:
            if places.acquire(blocking=False):
                return places
        raise _busy(f"{HASHED_AT_A_TIME + WAITING_AT_A_TIME} passwords are being compared or wait for it")

    @contextmanager
    def _place_of(self, address: str) -> Generator[None]:
        """Take one of the places of an address; the machine's own socket has as many as there are."""
        if not address:
            yield
            return
        with self._counting:
            if self._of_address[address] >= OF_ONE_ADDRESS:
                raise _busy(f"{OF_ONE_ADDRESS} passwords from {address} are being compared or wait for it")
            self._of_address[address] += 1
        try:
            yield
        finally:
            with self._counting:
                self._of_address[address] -= 1
                if not self._of_address[address]:
                    del self._of_address[address]


def _busy(why: str) -> Unavailable:
    return Unavailable("node.login_busy", why, retry_after_s=MAX_WAIT_S)


def _normalised(password: str) -> str:
    return unicodedata.normalize("NFKC", password)


def _unpadded(data: bytes) -> str:
    return base64.b64encode(data).rstrip(b"=").decode()

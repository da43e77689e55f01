"""X.509 certificates of SM2 keys (GM/T 0015, RFC 5280): whether one may sign, up to a root that the reader named.

Roots, certificates between and revocation lists come from files; nothing is fetched. A certificate is judged at the
time of the signature that it is for. Only SM2 with SM3 is verified: another algorithm is ``crypto.certificate_unfit``.

LIMIT: the time of a signature is what its signer says, unless a time stamp says more: who stole a key that has expired
can sign for a day before.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeVar

from cryptography import x509

from shuiqiao.base.errors import MACHINE_FAILURES, IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.files import read_regular
from shuiqiao.crypto.der import decode_der, raw_signature
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite

SM2_WITH_SM3: Final = "1.2.156.10197.1.501"
_SM2_CURVE: Final = "1.2.156.10197.1.301"
_EC_PUBLIC_KEY: Final = "1.2.840.10045.2.1"

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
"""Of one certificate or revocation list; the largest public lists have some megabytes."""
MAX_FILES: Final = 256
"""Certificates and lists in a folder of trust."""
_MAX_CHAIN: Final = 6
_KEY_PLACE: Final = 5
"""Of the key among the parts of a certificate after its version: serial, algorithm, issuer, validity, subject, key."""
_VERSION_TAG: Final = 0xA0
_PEM: Final = b"-----BEGIN"

Kind = TypeVar("Kind", bound=x509.ExtensionType)


class Certificate:
    """A certificate as it was read; ``encoded`` are its bytes."""

    def __init__(self, encoded: bytes) -> None:
        """Raises InvalidInput ``crypto.certificate_malformed``."""
        self.encoded = encoded
        try:
            self._read = x509.load_der_x509_certificate(encoded)
            self.subject = self._read.subject.rfc4514_string()
            self.issuer = self._read.issuer
            self.extensions = self._read.extensions
        except MACHINE_FAILURES:
            raise
        except Exception as error:
            raise InvalidInput("crypto.certificate_malformed", f"this is no X.509 certificate: {error}") from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.encoded == other.encoded

    def __hash__(self) -> int:
        return hash(self.encoded)

    @property
    def name(self) -> x509.Name:
        """The subject's name as certificates that it issued say it."""
        return self._read.subject

    @property
    def serial(self) -> int:
        """The number that its issuer gave it."""
        return self._read.serial_number

    @cached_property
    def public_key(self) -> bytes:
        """The SM2 key, 0x04 || x || y; raises IntegrityError ``crypto.certificate_unfit`` for any other."""
        parts = decode_der(self._read.tbs_certificate_bytes).parts()
        place = _KEY_PLACE + (parts[0].tag == _VERSION_TAG)
        if len(parts) <= place or len(key := parts[place].parts()) != 2:  # noqa: PLR2004 - algorithm and key
            raise self._unfit("it holds no key")
        if [part.object_id() for part in key[0].parts()[:2]] != [_EC_PUBLIC_KEY, _SM2_CURVE]:
            raise self._unfit("its key is no SM2 key")
        return key[1].bits()

    def is_valid_at(self, moment: datetime) -> bool:
        """Return whether a moment lies within its validity."""
        return self._read.not_valid_before_utc <= moment <= self._read.not_valid_after_utc

    def verify_signature(self, message: bytes, signature: bytes) -> None:
        """Return if its key signed a message with SM2 and SM3. signature: DER, or r || s.

        Raises IntegrityError ``crypto.signature_invalid``, and as ``public_key`` and ``raw_signature``.
        """
        get_suite(SuiteName.GM).verify_signature(
            public_key=self.public_key, message=message, signature=raw_signature(signature)
        )

    def verify_may_sign(self) -> None:
        """Return if its key is for signatures; raises IntegrityError ``crypto.certificate_unfit``."""
        usage = self._usage()
        if usage is not None and not (usage.digital_signature or usage.content_commitment):
            raise self._unfit("its key is not for signatures")

    def verify_issued(self, other: Certificate, *, below: int) -> None:
        """Return if it issued another certificate. below: how many issuers stand between that one and a signature.

        Raises IntegrityError ``crypto.certificate_unfit`` or ``crypto.signature_invalid``.
        """
        basic = self._extension(x509.BasicConstraints)
        usage = self._usage()
        if basic is None or not basic.ca or (usage is not None and not usage.key_cert_sign):
            raise self._unfit("it is not for issuing certificates")
        if basic.path_length is not None and basic.path_length < below:
            raise self._unfit(f"{below} issuers stand below it, at most {basic.path_length} may")
        read = other._read
        if read.signature_algorithm_oid.dotted_string != SM2_WITH_SM3:
            raise other._unfit("it is not signed with SM2 and SM3")
        self.verify_signature(read.tbs_certificate_bytes, read.signature)

    def verify_understood(self) -> None:
        """Return if it makes no demand that is not understood here (RFC 5280 section 4.2)."""
        for each in self.extensions:
            if each.critical and isinstance(each.value, x509.UnrecognizedExtension | x509.NameConstraints):
                raise self._unfit(f"its critical extension {each.oid.dotted_string} is not understood")

    def _usage(self) -> x509.KeyUsage | None:
        return self._extension(x509.KeyUsage)

    def _extension(self, kind: type[Kind]) -> Kind | None:
        try:
            return self.extensions.get_extension_for_class(kind).value
        except x509.ExtensionNotFound:
            return None

    def _unfit(self, fault: str) -> IntegrityError:
        return IntegrityError("crypto.certificate_unfit", f"certificate {self.subject[:200]!r}: {fault}")


class RevocationList:
    """What an issuer says that it took back; ``encoded`` are its bytes."""

    def __init__(self, encoded: bytes) -> None:
        """Raises InvalidInput ``crypto.certificate_malformed``."""
        self.encoded = encoded
        try:
            self._read = x509.load_der_x509_crl(encoded)
            self.issuer = self._read.issuer
        except MACHINE_FAILURES:
            raise
        except Exception as error:
            raise InvalidInput("crypto.certificate_malformed", f"this is no revocation list: {error}") from error

    def speaks_for(self, issuer: Certificate, *, moment: datetime) -> bool:
        """Return whether an issuer signed it, and it was made for a moment or later."""
        until = self._read.next_update_utc
        if self.issuer != issuer.name or (until is not None and until < moment):
            return False
        if self._read.signature_algorithm_oid.dotted_string != SM2_WITH_SM3:
            return False
        try:
            issuer.verify_signature(self._read.tbs_certlist_bytes, self._read.signature)
        except (IntegrityError, InvalidInput):
            return False
        return True

    def is_revoked(self, serial: int, *, moment: datetime) -> bool:
        """Return whether a certificate was revoked by a moment."""
        found = self._read.get_revoked_certificate_by_serial_number(serial)
        return found is not None and found.revocation_date_utc <= moment


@dataclass(frozen=True, slots=True)
class Chain:
    """What a certificate stands on.

    subjects: from the certificate to its root. is_revocation_known: whether a list spoke for each of them but the root.
    """

    subjects: tuple[str, ...]
    is_revocation_known: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What a reader trusts: roots, certificates between, revocation lists."""

    certificates: tuple[Certificate, ...] = ()
    lists: tuple[RevocationList, ...] = ()

    @property
    def roots(self) -> tuple[Certificate, ...]:
        """The certificates that issued themselves."""
        return tuple(each for each in self.certificates if each.issuer == each.name)

    def verify_chain(self, leaf: Certificate, *, others: Sequence[Certificate] = (), moment: datetime) -> Chain:
        """Return the chain of a certificate up to a root.

        others: what came with the signature, believed only where a root leads to it. Raises IntegrityError
        ``crypto.certificate_untrusted`` (no root), ``crypto.certificate_not_in_time``, ``crypto.certificate_revoked``,
        ``crypto.certificate_unfit``.

        Example::

            load_trust(folder).verify_chain(seal_certificate, moment=sealed_at)
        """
        leaf.verify_may_sign()
        chain = self._chain_of(leaf, others)
        for each in chain:
            each.verify_understood()
            if not each.is_valid_at(moment):
                raise IntegrityError(
                    "crypto.certificate_not_in_time",
                    f"certificate {each.subject[:200]!r} is not valid at {moment.isoformat()}",
                )
        known = [self._verify_not_revoked(each, by, moment) for each, by in pairwise(chain)]
        return Chain(tuple(each.subject for each in chain), all(known))

    def _chain_of(self, leaf: Certificate, others: Sequence[Certificate]) -> list[Certificate]:
        chain = [leaf]
        while chain[-1] not in self.roots:
            issuer = next(self._issuers(chain[-1], others, below=len(chain) - 1), None)
            if issuer is None or issuer in chain or len(chain) == _MAX_CHAIN:
                raise IntegrityError(
                    "crypto.certificate_untrusted",
                    f"certificate {chain[-1].subject[:200]!r} leads to none of {len(self.roots)} trusted roots",
                )
            chain.append(issuer)
        return chain

    def _issuers(self, issued: Certificate, others: Sequence[Certificate], *, below: int) -> Iterator[Certificate]:
        """Give who issued a certificate; what the reader trusts comes before what came with the signature."""
        for each in (*self.certificates, *others):
            if each.name == issued.issuer:
                try:
                    each.verify_issued(issued, below=below)
                except (IntegrityError, InvalidInput):
                    continue
                yield each

    def _verify_not_revoked(self, issued: Certificate, issuer: Certificate, moment: datetime) -> bool:
        speaking = [each for each in self.lists if each.speaks_for(issuer, moment=moment)]
        if any(each.is_revoked(issued.serial, moment=moment) for each in speaking):
            raise IntegrityError(
                "crypto.certificate_revoked",
                f"certificate {issued.subject[:200]!r} was revoked before {moment.isoformat()}",
            )
        return bool(speaking)


def load_trust(folder: Path) -> Trust:
    """Return the certificates and revocation lists of a folder, DER or PEM, by whatever names.

    Raises InvalidInput ``crypto.trust_unreadable`` for a file that is neither, Unavailable ``crypto.trust_missing`` for
    a folder that cannot be read.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        raise Unavailable("crypto.trust_missing", f"the folder of trusted certificates is not read: {error}") from error
    if len(paths) > MAX_FILES:
        raise InvalidInput(
            "crypto.trust_unreadable", f"{folder} holds {len(paths)} files, at most {MAX_FILES} are read"
        )
    certificates: list[Certificate] = []
    lists: list[RevocationList] = []
    for path in paths:
        data = read_regular(path, max_bytes=MAX_FILE_BYTES)
        if len(data) > MAX_FILE_BYTES:
            raise InvalidInput("crypto.trust_unreadable", f"{path} is longer than {MAX_FILE_BYTES} bytes")
        try:
            certificates += [Certificate(each) for each in _documents(data, b"CERTIFICATE")]
        except ShuiqiaoError:
            lists += _lists(path, data)
    return Trust(certificates=tuple(certificates), lists=tuple(lists))


def _lists(path: Path, data: bytes) -> list[RevocationList]:
    try:
        return [RevocationList(each) for each in _documents(data, b"X509 CRL")]
    except ShuiqiaoError as error:
        raise InvalidInput(
            "crypto.trust_unreadable", f"{path} holds neither certificates nor a revocation list"
        ) from error


def _documents(data: bytes, label: bytes) -> list[bytes]:
    """Return the DER of a file: itself, or of each PEM block of a label."""
    if not data.lstrip().startswith(_PEM):
        return [data]
    blocks = re.findall(rb"-----BEGIN %b-----(.*?)-----END %b-----" % (label, label), data, re.DOTALL)
    if not blocks:
        raise InvalidInput("crypto.certificate_malformed", f"there is no PEM block {label.decode()}")
    try:
        return [base64.b64decode(b"".join(block.split()), validate=True) for block in blocks]
    except ValueError as error:
        raise InvalidInput("crypto.certificate_malformed", "a PEM block is no base64") from error

"""Electronic seals as GM/T 0031-2014 (version 1) and GB/T 38540-2020 (version 4) write them [INVOICE-8].

    SES_Signature 4 ::= SEQUENCE { toSign, cert OCTET STRING, algorithm OID, signature BIT STRING,
                                   timeStamp [0] BIT STRING OPTIONAL }
    TBS_Sign 4      ::= SEQUENCE { version, eseal, time GeneralizedTime, dataHash BIT STRING, property IA5String, ... }
    SESeal 4        ::= SEQUENCE { info, cert OCTET STRING, algorithm OID, signature BIT STRING }
    SES_Signature 1 ::= SEQUENCE { toSign, signature BIT STRING }
    TBS_Sign 1      ::= SEQUENCE { version, eseal, time BIT STRING, dataHash BIT STRING, property IA5String,
                                   cert OCTET STRING, algorithm OID }
    SESeal 1        ::= SEQUENCE { info, SEQUENCE { cert OCTET STRING, algorithm OID, signature BIT STRING } }
    info            ::= SEQUENCE { header, id IA5String, property, picture, ... }
    property        ::= SEQUENCE { type, name, (4: listType INTEGER,) certList, created, validFrom, validTo }

The seal's maker signs ``info`` with certificate and algorithm; version 4 is also met with the signature of ``info``
alone. A list of certificates holds them whole, or (version 4, type 2) their digests by SM3.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from shuiqiao.base.errors import IntegrityError, InvalidInput
from shuiqiao.crypto.certificates import SM2_WITH_SM3, Certificate
from shuiqiao.crypto.der import BIT_STRING, SEQUENCE, Part, decode_der, read_moment

_DIGEST_LIST: Final = 2
_VERSION_4_PROPERTY_PARTS: Final = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Seal:
    """A seal, which its maker made for those who may set it.

    signed: the texts of which one was signed. holders: certificates, or their digests, of those who may set it.
    """

    name: str
    signed: tuple[bytes, ...]
    maker: Certificate
    signature: bytes
    holders: frozenset[bytes]
    created: datetime
    valid_from: datetime
    valid_to: datetime

    def verify_made(self) -> None:
        """Return if its maker signed it; raises IntegrityError ``crypto.signature_invalid``."""
        refused: IntegrityError | None = None
        for text in self.signed:
            try:
                self.maker.verify_signature(text, self.signature)
            except IntegrityError as error:
                refused = error
            else:
                return
        if refused is not None:
            raise refused

    def is_for(self, signer: Certificate) -> bool:
        """Return whether somebody may set it."""
        return signer.encoded in self.holders or hashlib.new("sm3", signer.encoded).digest() in self.holders


@dataclass(frozen=True, slots=True, kw_only=True)
class SealSignature:
    """A seal as it was set. data_digest: SM3 of the list of digests that it was set on; time: as its signer says."""

    signed: bytes
    signature: bytes
    signer: Certificate
    seal: Seal
    time: datetime
    data_digest: bytes


def decode_seal_signature(data: bytes) -> SealSignature:
    """Return what a file ``SignedValue.dat`` holds.

    Raises InvalidInput ``crypto.der_malformed``, ``crypto.certificate_malformed``, ``invoices.signature_unsupported``.

    Example::

        decode_seal_signature(package.read("/Doc_0/Signs/Sign_0/SignedValue.dat")).seal.name
    """
    parts = decode_der(data).parts()
    if len(parts) == 2 and [each.tag for each in parts] == [SEQUENCE, BIT_STRING]:  # noqa: PLR2004 - see above
        return _version_1(parts)
    to_sign, cert, algorithm, signature = _parts(parts, 4)
    version, eseal, time, data_digest = _parts(to_sign.parts(), 4)
    if version.integer() != 4:  # noqa: PLR2004 - see above
        raise _unsupported(f"a seal of version {version.integer()} is not read")
    _verify_algorithm(algorithm)
    info, maker, seal_algorithm, seal_signature = _parts(eseal.parts(), 4)
    _verify_algorithm(seal_algorithm)
    return SealSignature(
        signed=to_sign.whole,
        signature=signature.bits(),
        signer=Certificate(cert.octets()),
        seal=_seal(info, maker, seal_algorithm, seal_signature),
        time=time.moment(),
        data_digest=data_digest.bits(),
    )


def _version_1(parts: tuple[Part, ...]) -> SealSignature:
    to_sign, signature = parts
    _, eseal, time, data_digest, _, cert, algorithm = _parts(to_sign.parts(), 7)
    _verify_algorithm(algorithm)
    info, made = _parts(eseal.parts(), 2)
    maker, seal_algorithm, seal_signature = _parts(made.parts(), 3)
    _verify_algorithm(seal_algorithm)
    return SealSignature(
        signed=to_sign.whole,
        signature=signature.bits(),
        signer=Certificate(cert.octets()),
        seal=_seal(info, maker, seal_algorithm, seal_signature),
        time=_time_of_bits(time.bits()),
        data_digest=data_digest.bits(),
    )


def _time_of_bits(bits: bytes) -> datetime:
    """Return the time in a bit string: as text, or as a DER time."""
    return read_moment(bits) if bits[-1:] == b"Z" and bits[:1].isdigit() else decode_der(bits).moment()


def _seal(info: Part, maker: Part, algorithm: Part, signature: Part) -> Seal:
    _, _, properties, _ = _parts(info.parts(), 4)
    parts = properties.parts()
    if len(parts) >= _VERSION_4_PROPERTY_PARTS:
        _, name, kind, holders, created, valid_from, valid_to = _parts(parts, 7)
        by_digest = kind.integer() == _DIGEST_LIST
    else:
        _, name, holders, created, valid_from, valid_to = _parts(parts, 6)
        by_digest = False
    each_holder = (each.parts()[-1] if by_digest else each for each in holders.parts())
    content = info.whole + maker.whole + algorithm.whole
    return Seal(
        name=name.text(),
        signed=(_sequence(content), info.whole),
        maker=Certificate(maker.octets()),
        signature=signature.bits(),
        holders=frozenset(each.octets() for each in each_holder),
        created=created.moment(),
        valid_from=valid_from.moment(),
        valid_to=valid_to.moment(),
    )


def _sequence(body: bytes) -> bytes:
    length = len(body)
    digits = length.to_bytes((length.bit_length() + 7) // 8, "big")
    head = bytes([length]) if length < 0x80 else bytes([0x80 | len(digits)]) + digits  # noqa: PLR2004 - X.690 8.1.3
    return bytes([SEQUENCE]) + head + body


def _parts(parts: tuple[Part, ...], count: int) -> tuple[Part, ...]:
    """Return the first parts; what may follow them (extensions, a time stamp) is not read."""
    if len(parts) < count:
        raise _unsupported(f"{len(parts)} parts stand where {count} should")
    return parts[:count]


def _verify_algorithm(algorithm: Part) -> None:
    if algorithm.object_id() != SM2_WITH_SM3:
        raise _unsupported(f"signature algorithm {algorithm.object_id()} is not SM2 with SM3")


def _unsupported(fault: str) -> InvalidInput:
    return InvalidInput("invoices.signature_unsupported", f"the seal is not verified: {fault}")

"""Scores of encrypted weights: CKKS as TenSEAL has it, at one set of parameters. The one file that knows the library.

Rule: docs/spec/blind.md. A bank encrypts one weight for each indicator, the same in every slot. Who has the data adds
the ciphertexts of the indicators that hold, one taxpayer in each slot, and gives back a result that is encrypted anew
and covered with noise [BLIND-5]: for a taxpayer a whole number of points, half a point more or less; of everything else
that a ciphertext can hold, nothing.

    slot t of the result = points of taxpayer t + noise of half a point + i * noise of 16,384 points
    a slot without a taxpayer = noise of 16,384 points in both parts

It guarantees this against a bank that keeps the key and encrypts what it registered: weights in points, the same in
every slot. LIMIT: a bank that registers other ciphertexts, with weights beyond 2**50 points in the slots that nobody
stands in, can read more; whoever doubts it has the bank open the registered ciphertext before the regulator.
LIMIT: how long an evaluation takes tells how many indicators hold of anybody in a batch; of one taxpayer nothing.
"""

from __future__ import annotations

import os
import struct
import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from shuiqiao.base.errors import IntegrityError, InvalidInput, ShuiqiaoError, Unavailable
from shuiqiao.base.files import memory_file
from shuiqiao.privacy.blind.packing import DEGREE, Residues, pack, unpack

if TYPE_CHECKING:
    from shuiqiao.base.ids import Entropy

INSTALL = "uv pip install --python .venv/bin/python 'tenseal==0.3.18'"

SLOTS = DEGREE // 2
"""Taxpayers that one evaluation can take."""

COEFFICIENT_BITS = (60, 40, 60)
"""Of the primes: what a result stands over, what one multiplication uses up, what only keys have."""

MAX_POINTS = 2_048
"""Results lie from minus this to plus this less one: 4,096 values, which are 12 bits [BLIND-6]."""

_UNIT = 64.0
"""A point as a plaintext: with the scale it is 2**46, and 2,048 points and the noise stay below half of the 60 bits."""
_SCALE = 2.0**40
_NOISE_POINTS = 0.5
_COVER_POINTS = 16_384.0
_MAX_ERROR_POINTS = _NOISE_POINTS + 2.0**-10

_MAGIC = 0xA15E
_HEADER = struct.Struct("<HBBBBHQ")
_VERSION = (4, 3)
_CIPHERTEXT_HEAD = struct.Struct("<4QBQQQdQ")
_PLAINTEXT_HEAD = struct.Struct("<4QQd")
_COUNT = struct.Struct("<Q")
_NO_COMPRESSION = 0
_CODEC = "zstd"
_FILE = "shuiqiao-blind"

Indicators = npt.NDArray[np.bool_]
"""Indicators x taxpayers: whether each holds of each."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BlindKeys:
    """A bank's keys. secret: opens results, and encrypts weights. public: who evaluates encrypts with it."""

    secret: bytes
    public: bytes


class BlindScheme:
    """One set of parameters that passed its self-test; any number of threads may use it.

    Example::

        scheme = blind_scheme()
        keys = scheme.generate_keys()
        weights = scheme.read_weights(scheme.encrypt_weights([-20, 5, 20], secret=keys.secret), public=keys.public)
        result = scheme.evaluate(weights, indicators, entropy=system_entropy)  # of one taxpayer: the second holds
        scheme.decrypt(result, secret=keys.secret, count=1)  # array([5.0 or half a point beside it])
    """

    def __init__(self, coefficient_bits: Sequence[int] = COEFFICIENT_BITS) -> None:
        """Make the context of some parameters and try it.

        Raises Unavailable ``privacy.extra_missing``, IntegrityError ``privacy.blind_self_test_failed``.
        """
        self._seal: Any = _library()
        with_all_levels = True
        with _guarded("its parameters"):
            parameters = self._seal.EncryptionParameters(self._seal.SCHEME_TYPE.CKKS)
            parameters.set_poly_modulus_degree(DEGREE)
            parameters.set_coeff_modulus(self._seal.CoeffModulus.Create(DEGREE, list(coefficient_bits)))
            self._context = self._seal.SEALContext(parameters, with_all_levels, self._seal.SEC_LEVEL_TYPE.TC128)
            self._primes = [int(prime.value()) for prime in parameters.coeff_modulus()]
            self._evaluator = self._seal.Evaluator(self._context)
            self._encoder = self._seal.CKKSEncoder(self._context)
        self._self_test()

    # At the bank

    def generate_keys(self) -> BlindKeys:
        """Return fresh keys, from the library's own randomness, which is the system's."""
        with _guarded("new keys"):
            generator, public = self._seal.KeyGenerator(self._context), self._seal.PublicKey()
            generator.create_public_key(public)
            secret = _saved(generator.secret_key(), head=_PLAINTEXT_HEAD.size, shape=(1, len(self._primes), DEGREE))
            shown = _saved(public, head=_CIPHERTEXT_HEAD.size, shape=(2, len(self._primes), DEGREE))
        return BlindKeys(secret=pack(secret, primes=self._primes), public=pack(shown, primes=self._primes))

    def encrypt_weights(self, points: Sequence[Sequence[int] | int], *, secret: bytes) -> list[bytes]:
        """Return the ciphertext of each weight. points: whole numbers, one in every slot or a list, one for each slot.

        Raises InvalidInput ``privacy.blind_malformed`` for a key that is none.
        """
        key = self._secret_key(secret)
        with _guarded("weights"):
            encryptor = self._seal.Encryptor(self._context, key)
            return [self._encrypted(encryptor, each) for each in points]

    def decrypt(self, result: bytes, *, secret: bytes, count: int) -> npt.NDArray[np.float64]:
        """Return the points of the first ``count`` slots, not rounded; raises as ``read_weights``."""
        found = unpack(result, primes=self._primes[:1], polynomials=2, name="result of encrypted weights")
        key = self._secret_key(secret)
        with _guarded("a result"):
            plain = self._seal.Plaintext()
            self._seal.Decryptor(self._context, key).decrypt(
                self._ciphertext(found, level=self._context.last_parms_id()), plain
            )
            slots = np.array(self._encoder.decode_complex(plain)[:count])
        return np.real(slots) / _UNIT

    # At whoever has the data

    def read_weights(self, weights: Sequence[bytes], *, public: bytes) -> LoadedWeights:
        """Return weights that can be evaluated, every byte of them checked.

        Raises InvalidInput ``privacy.blind_malformed``, IntegrityError ``privacy.blind_failed``.
        """
        primes = self._primes[:-1]
        found = [unpack(each, primes=primes, polynomials=2, name="encrypted weight") for each in weights]
        shown = unpack(public, primes=self._primes, polynomials=2, name="public key")
        if any(not each[1].any() for each in (*found, shown)):
            raise InvalidInput("privacy.blind_malformed", "a ciphertext of it hides nothing: its second part is zero")
        with _guarded("encrypted weights"):
            level = self._context.first_parms_id()
            key = self._loaded(
                self._seal.PublicKey(), _ciphertext_stream(shown, level=self._context.key_parms_id(), scale=1.0)
            )
            return LoadedWeights(
                ciphertexts=tuple(self._ciphertext(each, level=level) for each in found),
                encryptor=self._seal.Encryptor(self._context, key),
            )

    def evaluate(self, weights: LoadedWeights, indicators: Indicators, *, entropy: Entropy) -> bytes:
        """Return the encrypted points of taxpayers, one in each slot [BLIND-4], [BLIND-5].

        Raises InvalidInput ``privacy.blind_malformed`` for other shapes than the weights have, for more than 4,096
        taxpayers, and for one of whom nothing holds; IntegrityError ``privacy.blind_failed``.
        """
        rows, taxpayers = indicators.shape
        if rows != len(weights.ciphertexts) or not 0 < taxpayers <= SLOTS or not indicators.any(axis=0).all():
            raise InvalidInput(
                "privacy.blind_malformed",
                f"{rows} indicators of {taxpayers} taxpayers for {len(weights.ciphertexts)} weights and {SLOTS} slots",
            )
        with _guarded("an evaluation"):
            total = self._sum(weights, indicators)
            self._evaluator.rescale_to_next_inplace(total)
            # Encrypted anew, by adding an encryption of noise alone: without it the second part of the result is the
            # sum of second parts that the bank made, and it solves for the indicators.
            fresh = self._seal.Ciphertext()
            weights.encryptor.encrypt(self._noise(taxpayers, entropy=entropy), fresh)
            self._evaluator.add_inplace(total, fresh)
            return pack(self._residues(total, primes=1), primes=self._primes[:1])

    def _sum(self, weights: LoadedWeights, indicators: Indicators) -> Any:
        """Return the sum of weights times indicators. Those that hold of the same taxpayers are added up first."""
        groups: dict[bytes, list[int]] = {}
        for place, row in enumerate(indicators):
            if row.any():
                groups.setdefault(row.tobytes(), []).append(place)
        total = None
        for row, places in groups.items():
            summed = self._seal.Ciphertext()
            self._evaluator.add_many([weights.ciphertexts[place] for place in places], summed)
            chosen = np.frombuffer(row, dtype=np.bool_).astype(np.float64).tolist()
            # The scale is the prime that is divided out, so that the result has the weights' scale exactly.
            self._evaluator.multiply_plain_inplace(
                summed, self._encoded(chosen, level=self._context.first_parms_id(), scale=float(self._primes[-2]))
            )
            if total is None:
                total = summed
            else:
                self._evaluator.add_inplace(total, summed)
        return total

    def _noise(self, taxpayers: int, *, entropy: Entropy) -> Any:
        """Return the noise of a result [BLIND-5]."""
        drawn = np.frombuffer(entropy(2 * SLOTS * 8), dtype="<u8") >> np.uint64(11)
        uniform = (drawn.astype(np.float64) * 2.0**-52 - 1.0).reshape(2, SLOTS)
        real, imaginary = uniform * (_COVER_POINTS * _UNIT)
        real[:taxpayers] *= _NOISE_POINTS / _COVER_POINTS
        return self._encoded((real + 1j * imaginary).tolist(), level=self._context.last_parms_id(), scale=_SCALE)

    # What the library is asked

    def _encoded(self, values: Any, *, level: Any, scale: float) -> Any:
        plain = self._seal.Plaintext()
        self._encoder.encode(values, level, scale, plain)
        return plain

    def _encrypted(self, encryptor: Any, points: Sequence[int] | int) -> bytes:
        values = [points] * SLOTS if isinstance(points, int) else points
        plain = self._encoded([value * _UNIT for value in values], level=self._context.first_parms_id(), scale=_SCALE)
        ciphertext = self._seal.Ciphertext()
        encryptor.encrypt_symmetric(plain, ciphertext)
        primes = self._primes[:-1]
        return pack(self._residues(ciphertext, primes=len(primes)), primes=primes)

    def _residues(self, ciphertext: Any, *, primes: int) -> Residues:
        return _saved(ciphertext, head=_CIPHERTEXT_HEAD.size, shape=(2, primes, DEGREE))

    def _ciphertext(self, residues: Residues, *, level: Any) -> Any:
        return self._loaded(self._seal.Ciphertext(), _ciphertext_stream(residues, level=level, scale=_SCALE))

    def _secret_key(self, secret: bytes) -> Any:
        found = unpack(secret, primes=self._primes, polynomials=1, name="secret key")
        head = _PLAINTEXT_HEAD.pack(*self._context.key_parms_id(), found.size, 1.0)
        with _guarded("a secret key"):
            return self._loaded(self._seal.SecretKey(), _stream(head + _array(found)))

    def _loaded(self, empty: Any, stream: bytes) -> Any:
        """Fill an object of the library, which reads files only: one that lies in memory."""
        with memory_file(_FILE) as (descriptor, path):
            os.write(descriptor, stream)
            empty.load(self._context, path)
        return empty

    def _self_test(self) -> None:
        """Encrypt, evaluate and decrypt known numbers [BLIND-2]: wrong parameters can give garbage without an error."""
        try:
            error = self._worst_error()
        except ShuiqiaoError as refusal:
            raise _untried(refusal.message) from refusal
        if not error <= _MAX_ERROR_POINTS:
            raise _untried(
                f"known numbers came back {error:.3g} points wrong, at most {_MAX_ERROR_POINTS:.4f} are right"
            )

    def _worst_error(self) -> float:
        points = (MAX_POINTS - 1, -MAX_POINTS, 17, 0)
        place = np.arange(SLOTS)
        holds = np.stack([place % len(points) == at for at in range(len(points))])
        keys = self.generate_keys()
        weights = self.read_weights(self.encrypt_weights(points, secret=keys.secret), public=keys.public)
        result = self.evaluate(weights, holds, entropy=os.urandom)
        found = self.decrypt(result, secret=keys.secret, count=SLOTS)
        return float(np.abs(found - np.array(points)[place % len(points)]).max())


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedWeights:
    """Encrypted weights as the library holds them, and what encrypts under their key."""

    ciphertexts: tuple[Any, ...]
    encryptor: Any


_making = threading.Lock()


def blind_scheme() -> BlindScheme:
    """Return the scheme of this version, made and tried once; raises as ``BlindScheme``."""
    with _making:
        return _the_scheme()


@cache
def _the_scheme() -> BlindScheme:
    return BlindScheme()


def _untried(problem: str) -> IntegrityError:
    return IntegrityError("privacy.blind_self_test_failed", f"encrypted weights are not evaluated here: {problem}")


def _library() -> Any:
    # [BLIND-1]: the extra is looked for here and nowhere else.
    try:
        import tenseal.sealapi
    except ImportError as error:
        raise Unavailable(
            "privacy.extra_missing",
            f"scores of encrypted weights need the extra privacy: {error.name or 'tenseal'} is not installed",
            next_step=INSTALL,
        ) from error
    return tenseal.sealapi


@contextmanager
def _guarded(what: str) -> Generator[None]:
    """Turn what the library throws into a refusal of this house."""
    try:
        yield
    except (ValueError, RuntimeError, IndexError, TypeError) as error:
        raise IntegrityError("privacy.blind_failed", f"the library refuses {what}: {str(error)[:200]}") from error


def _saved(kept: Any, *, head: int, shape: tuple[int, ...]) -> Residues:
    """Return the residues of an object of the library, which writes them compressed."""
    size = head + _HEADER.size + _COUNT.size + 8 * int(np.prod(shape))
    with memory_file(_FILE) as (descriptor, path):
        kept.save(path)
        written = os.pread(descriptor, 2 * size + _HEADER.size, 0)
    plain = pa.decompress(written[_HEADER.size :], decompressed_size=size, codec=_CODEC, asbytes=True)
    found: Residues = np.frombuffer(plain, dtype="<u8", offset=size - 8 * int(np.prod(shape))).reshape(shape)
    return found


def _ciphertext_stream(residues: Residues, *, level: Any, scale: float) -> bytes:
    polynomials, primes, degree = residues.shape
    head = _CIPHERTEXT_HEAD.pack(*level, 1, polynomials, degree, primes, scale, 1)
    return _stream(head + _array(residues))


def _array(residues: Residues) -> bytes:
    return _stream(_COUNT.pack(residues.size) + residues.astype("<u8").tobytes())


def _stream(body: bytes) -> bytes:
    return _HEADER.pack(_MAGIC, _HEADER.size, *_VERSION, _NO_COMPRESSION, 0, _HEADER.size + len(body)) + body

"""What two members compute together without showing each other their numbers, and what they tell each other before.

Rule: docs/spec/secure.md [SECURE-1] to [SECURE-3]. The bank has weights, one for each indicator, and cuts of bands; the
bureau has indicators, 0 or 1. A function gives one output and nothing else: points of 12 bits, a band, or yes or no.
Points have no base: what every taxpayer gets stands in the weights, and they are counted from the middle of what a card
can give, as for encrypted weights [BLIND-8]; cuts are counted likewise. The library that computes is not loaded here.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import IntegrityError, InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

LIBRARY_VERSION: Final = "0.10.0.dev20251211"
"""Of the package ``spu``: another one compiles another function, and is refused."""

RUNTIME: Final = (
    '{"protocol":"CHEETAH","field":"FM64","fxp_fraction_bits":18,"cheetah_2pc_config":{"ot_kind":"YACL_Softspoken"},'
    '"experimental_enable_colocated_optimization":true}'
)
"""Of the library: CHEETAH for two parties over 64-bit integers, with transfers that need no long refill [SECURE-4]."""

CONFIGURATION: Final = encode_cbor({"library": LIBRARY_VERSION, "parties": 2, "runtime": RUNTIME})
"""What both sides compute by, as it stands in an offer and under each digest."""

JOINT_RUNTIME: Final = (
    '{"protocol":"ABY3","field":"FM64","fxp_fraction_bits":18,"sigmoid_mode":"SIGMOID_REAL","fxp_exp_mode":"EXP_PADE"}'
)
"""Of the library: ABY3 for three parties, numbers with 18 bits behind the point, rates exact to 2e-5 [TRAIN-2]."""

JOINT_CONFIGURATION: Final = encode_cbor({"library": LIBRARY_VERSION, "parties": 3, "runtime": JOINT_RUNTIME})

MAX_POINTS: Final = 2_048
"""Points lie from minus this to plus this less one: 4,096 values, which are 12 bits [SECURE-2]."""

MAX_INDICATORS: Final = 1_024
MAX_CUTS: Final = 63
MAX_ROWS: Final = 8_192
"""Taxpayers of one run: 8,192 take 0.3 s and 290 MB in each worker with 100 indicators."""

ADDED: Final = 0
"""First byte of a share: the two are added up."""
XORED: Final = 1
"""First byte of a share: the two are put together bit by bit."""

TAG_BYTES: Final = 8
"""Of what both compared before a run: two shares of other runs are none of one output."""

_WORD_BYTES: Final = 8


class SecureOutput(StrEnum):
    """What leaves a run, to the bank alone."""

    POINTS = "points"
    BAND = "band"
    YES_NO = "yes_no"


@dataclass(frozen=True, kw_only=True)
class SecureFunction:
    """One function: its shape and its one output; both sides compare its digest before each run.

    indicators: 1 to 1,024. cuts: of bands; 0 for points, 1 to 63 for a band, exactly 1 for yes or no. rows: taxpayers.

    Raises InvalidInput ``privacy.secure_function_differs`` for a shape that there is none of. Example::

        function = SecureFunction(indicators=3, cuts=1, output=SecureOutput.YES_NO)
        weights_and_cuts, holds = [-20, 5, 20, 10], [0, 0, 1]
    """

    indicators: int
    cuts: int
    output: SecureOutput
    rows: int = 1

    def __post_init__(self) -> None:
        least, most = {
            SecureOutput.POINTS: (0, 0),
            SecureOutput.BAND: (1, MAX_CUTS),
            SecureOutput.YES_NO: (1, 1),
        }[self.output]
        if 0 < self.indicators <= MAX_INDICATORS and least <= self.cuts <= most and 0 < self.rows <= MAX_ROWS:
            return
        raise InvalidInput(
            "privacy.secure_function_differs",
            f"no function gives {self.output} of {self.indicators} indicators, {self.cuts} cuts and {self.rows} rows",
        )

    @property
    def outputs(self) -> int:
        """How many values an output can have: 4,096 points, one band more than cuts, or two."""
        return 2 * MAX_POINTS if self.output is SecureOutput.POINTS else self.cuts + 1

    @property
    def least(self) -> int:
        """The least output."""
        return -MAX_POINTS if self.output is SecureOutput.POINTS else 0

    def values_of(self, rank: int) -> int:
        """Return how many numbers a party puts in. rank: 0 the bank (weights, then cuts), 1 the bureau (row by row)."""
        return self.rows * self.indicators if rank else self.indicators + self.cuts

    @cached_property
    def text(self) -> str:
        """The function in StableHLO: %w and, with cuts, %c of the bank, %x of the bureau; one output [SECURE-1]."""
        row, matrix = f"tensor<{self.rows}xi64>", f"tensor<{self.rows}x{self.indicators}xi64>"
        weights, cuts = f"tensor<{self.indicators}xi64>", f"tensor<{self.cuts}xi64>"
        points = f"%p = stablehlo.dot_general %x, %w, contracting_dims = [1] x [0] : ({matrix}, {weights}) -> {row}"
        if self.output is SecureOutput.POINTS:
            return (
                f"module @secure {{\n  func.func @main(%w: {weights}, %x: {matrix}) -> {row} {{\n"
                f"    {points}\n    return %p : {row}\n  }}\n}}\n"
            )
        table = f"{self.rows}x{self.cuts}"
        return (
            f"module @secure {{\n  func.func @main(%w: {weights}, %x: {matrix}, %c: {cuts}) -> {row} {{\n"
            f"    {points}\n"
            f"    %pb = stablehlo.broadcast_in_dim %p, dims = [0] : ({row}) -> tensor<{table}xi64>\n"
            f"    %cb = stablehlo.broadcast_in_dim %c, dims = [1] : ({cuts}) -> tensor<{table}xi64>\n"
            f"    %g = stablehlo.compare GE, %pb, %cb : "
            f"(tensor<{table}xi64>, tensor<{table}xi64>) -> tensor<{table}xi1>\n"
            f"    %gi = stablehlo.convert %g : (tensor<{table}xi1>) -> tensor<{table}xi64>\n"
            f"    %z = stablehlo.constant dense<0> : tensor<i64>\n"
            f"    %b = stablehlo.reduce(%gi init: %z) applies stablehlo.add across dimensions = [1] : "
            f"(tensor<{table}xi64>, tensor<i64>) -> {row}\n"
            f"    return %b : {row}\n  }}\n}}\n"
        )

    @cached_property
    def digest(self) -> bytes:
        """32 bytes over the text, the configuration and the library's version, known without the library [SECURE-3].

        What the library compiles of it is compared on the link, before each run.
        """
        return sha256(encode_cbor({"configuration": CONFIGURATION, "text": self.text})).digest()

    @property
    def share_bytes(self) -> int:
        """Length of a share of all rows."""
        return 1 + TAG_BYTES + self.rows * self._element_bytes

    def share_of(self, kind: int, words: bytes, *, tag: bytes) -> bytes:
        """Return what of a party's result may leave its worker [SECURE-2]: of points the 12 bits that count.

        words: 8 bytes for each row. What two parties have adds up to the points modulo 2**64, so the low bits of it add
        up to their low bits, and say nothing of the others: without this, weights in powers of two read a whole row.
        """
        if self.output is SecureOutput.POINTS:
            kept = (int.from_bytes(words[first : first + 2], "little") for first in range(0, len(words), _WORD_BYTES))
            words = b"".join((each % self.outputs).to_bytes(2, "little") for each in kept)
        return bytes([kind]) + tag + words

    def combine_all(self, bank_share: bytes, bureau_share: bytes) -> list[int]:
        """Return the outputs of all rows; raises as ``combine``."""
        if {len(bank_share), len(bureau_share)} != {self.share_bytes}:
            raise _no_output("what came is no share of this output")
        head = 1 + TAG_BYTES
        if bank_share[:head] != bureau_share[:head]:
            raise _no_output("the two shares are of two runs")
        found = [
            self._output(bank_share, bureau_share, first) for first in range(head, len(bank_share), self._element_bytes)
        ]
        if not all(self.least <= each < self.least + self.outputs for each in found):
            raise _no_output("the two shares together are no output that it has")
        return found

    def combine(self, bank_share: bytes, bureau_share: bytes) -> int:
        """Return the output of the first row that two shares hold together: points, the band's index, or 0 or 1.

        Raises IntegrityError ``privacy.secure_failed`` for shares that are none, or not of one run.
        """
        return self.combine_all(bank_share, bureau_share)[0]

    def plain(self, weights: Sequence[int], holds: Sequence[int]) -> int:
        """Return the output of one row, computed in the clear. weights: the bank's numbers. holds: the bureau's.

        Raises InvalidInput ``privacy.secure_function_differs`` where there are more or fewer.
        """
        if (len(weights), len(holds)) != (self.indicators + self.cuts, self.indicators):
            raise InvalidInput(
                "privacy.secure_function_differs", f"{len(weights)} and {len(holds)} numbers are none of this function"
            )
        points = sum(each for each, is_there in zip(weights, holds, strict=False) if is_there)
        cuts = weights[self.indicators :]
        return points if self.output is SecureOutput.POINTS else sum(points >= cut for cut in cuts)

    @property
    def _element_bytes(self) -> int:
        return 2 if self.output is SecureOutput.POINTS else _WORD_BYTES

    def _output(self, bank_share: bytes, bureau_share: bytes, first: int) -> int:
        ours, theirs = (
            int.from_bytes(share[first : first + self._element_bytes], "little") for share in (bank_share, bureau_share)
        )
        if bank_share[0] == XORED:
            return ours ^ theirs
        ring = self.outputs if self.output is SecureOutput.POINTS else 1 << 8 * _WORD_BYTES
        found = (ours + theirs) % ring
        return found - ring if found >= ring // 2 else found


@dataclass(frozen=True, slots=True, kw_only=True)
class SecureOffer:
    """What one side hands the other in a signed act, each once for a link.

    session: 16 random bytes of the bank. certificate: DER of a key made for this link alone, at most 2,048 bytes.
    address: ``host:port`` where the bureau listens until the bank came; of the bank empty, since it dials.
    configuration: what both compute by, at most 1,024 bytes; any other than ours is refused.
    """

    session: bytes
    certificate: bytes
    address: str
    configuration: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkEnds:
    """By what a link stands: its session, and SHA-256 of the certificate that each side showed the other."""

    session: bytes
    bank: bytes
    bureau: bytes


def _no_output(problem: str) -> IntegrityError:
    return IntegrityError("privacy.secure_failed", f"nothing can be read from a run: {problem}")

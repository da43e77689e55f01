"""How long a bank takes to verify three predicates of a credential, and its holder to prove them.

Three bounds, a flag and a set of grades that are shown, and that its place in a registry of 1,024 is not revoked: all
that a product can ask; medians over single calls. The figures are of either suite, whose scheme is the same.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, TypeVar

from shuiqiao.base.ids import OwnedId, system_entropy
from shuiqiao.privacy.credentials import anoncreds
from shuiqiao.privacy.credentials.model import LIST_SIZE, Registry
from shuiqiao.privacy.credentials.presentation import ProveRules
from shuiqiao.standards.tax_credit_grade import Grade

if TYPE_CHECKING:
    from collections.abc import Callable

_Made = TypeVar("_Made")

_PROOFS: Final = 20
_EXPIRES_S: Final = 1_790_000_000
_CLAIMS: Final[dict[str, Any]] = {
    "tax_credit_grade": "A",
    "tax_paid_12m_band": 4,
    "sales_12m_band": 3,
    "registered_band": 3,
    "no_arrears": True,
    "no_serious_violation_36m": True,
    "taxpayer": "91440300MA5EXAMPL1",
}
_RULES: Final = ProveRules(
    grades=(Grade.A, Grade.B, Grade.M),
    least={"tax_paid_12m_band": 2, "registered_band": 2, "sales_12m_band": 1},
    flags=("no_arrears",),
)


def anoncreds_figures() -> dict[str, object]:
    """Return {"anoncreds_three_ms", "anoncreds_three_cpu_ms", "anoncreds_prove_ms", "anoncreds_bytes": of a proof}.

    cpu: the same by processor time, which a busy machine does not stretch.
    """
    made = anoncreds.make_definition(
        network=bytes(32), status_list=OwnedId(f"bureau/{'0a' * 16}"), closes_s=_EXPIRES_S, expires_s=_EXPIRES_S
    )
    registry = Registry(definition=bytes(32), bits=bytes(LIST_SIZE // 8), accumulator=made.accumulator)
    request, secret = bytes(16), system_entropy(32)
    blinded, metadata = anoncreds.blind(made.definition, request=request, link_secret=secret)
    signed = anoncreds.sign(
        made.definition, blinded, secret=made.secret, request=request, claims=_CLAIMS, place=1, registry=registry
    )
    credential = anoncreds.take(made.definition, signed, metadata=metadata, link_secret=secret)
    with TemporaryDirectory() as folder:
        tails = Path(folder) / "tails"
        tails.write_bytes(made.tails)
        proof, prove_ms, _ = _timed(
            lambda: anoncreds.present(
                made.definition,
                credential,
                rules=_RULES,
                challenge=b"request",
                registry=registry,
                link_secret=secret,
                tails=tails,
            )
        )
    _, verify_ms, verify_cpu_ms = _timed(
        lambda: anoncreds.verify(made.definition, proof, rules=_RULES, challenge=b"request", registry=registry)
    )
    return {
        "anoncreds_three_ms": verify_ms,
        "anoncreds_three_cpu_ms": verify_cpu_ms,
        "anoncreds_prove_ms": prove_ms,
        "anoncreds_bytes": len(proof),
    }


def _timed(act: Callable[[], _Made]) -> tuple[_Made, float, float]:
    """Return what an act makes, and the median wall and processor time of a call in ms."""
    wall: list[float] = []
    processor: list[float] = []
    made = act()
    for _ in range(_PROOFS):
        began, used = time.perf_counter(), time.process_time()
        made = act()
        wall.append(time.perf_counter() - began)
        processor.append(time.process_time() - used)
    return made, round(1000 * statistics.median(wall), 1), round(1000 * statistics.median(processor), 1)

"""How long the steps of the modes take in which a bank sees no record.

Verifying an SD-JWT is measured as a bank does it: issuer's signature, four of eight claims disclosed, the holder's key
binding; medians over single calls. The leakage account is measured on a database of so many accounts with one charge
each: a check reads a taxpayer's charges, judges one more, and enters it. An answer takes it within the transaction that
its place needs anyway, so what the account itself costs is many checks within one transaction; beside it stand a check
with a commit of its own, on the medium at its end, and a bare commit of one changed number to the same database.
Running a card at its source is measured with the records read already: features, points, output.
Encrypted weights are measured by processor time, with keys and weights read already.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from contextlib import contextmanager
from datetime import date, timedelta
from hashlib import sha256
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert, select

from shuiqiao.base.ids import MemberId, system_entropy
from shuiqiao.consent.model import Mode, Output, Purpose
from shuiqiao.crypto.column_cipher import ColumnCipher
from shuiqiao.crypto.model import SuiteName
from shuiqiao.crypto.suites import get_suite
from shuiqiao.node.home.database import open_database
from shuiqiao.privacy.model import Charge, Revealed
from shuiqiao.privacy.sd_jwt import Challenge, issue, jose_profile, present, verify
from shuiqiao.privacy.store import ChargeStore, metadata
from shuiqiao.sandbox.benchmarks.anoncreds import anoncreds_figures
from shuiqiao.sandbox.benchmarks.asked_modes import asked_figures, memory_mb, tell_memory
from shuiqiao.sandbox.benchmarks.intersections import intersection_figures
from shuiqiao.sandbox.benchmarks.joint_steps import ROWS as TRAINED_ROWS
from shuiqiao.sandbox.benchmarks.joint_steps import joint_figures
from shuiqiao.sandbox.benchmarks.secure_scores import secure_figures

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from sqlalchemy import Engine

    from shuiqiao.credit.blind_runner import BlindRunner
    from shuiqiao.credit.model_content import ModelContent
    from shuiqiao.credit.store import ClosedCardStore

CALLS: Final = 300
ACCOUNTS: Final = 1_000_000
CHECKS: Final = 2_000
_ACCOUNTED: Final = ("account_checks_per_s", "account_checks_committed_per_s", "bare_commits_per_s")
ROWS: Final = 100_000
"""Taxpayers whose points are summed up under encryption."""
_ROWS_AT_ONCE: Final = 20_000
_BLIND_FEATURES: Final = 10
_BLIND_BINS: Final = 6
_TAXPAYER: Final = "91440300MA5EXAMPL1"
_NOW_S = 1_790_000_000
_TYPE = "dc+sd-jwt"


def run_privacy_bench(*, accounts: int = ACCOUNTS, rows: int = ROWS) -> dict[str, object]:
    """Return {"sdjwt_verify_ms": {suite: median in ms}, "accounts", and by suite as follows}.

    account_checks_per_s, account_checks_committed_per_s, bare_commits_per_s. accounts: in the database on which checks
    are measured; a million take a minute or two to enter, for each suite's cipher. rows: 100,000, fewer in a trial.
    With the extra privacy also what ``_blind_figures`` and ``anoncreds_figures`` give, with the extra mpc what
    ``secure_figures``, ``intersection_figures`` and ``joint_figures`` give.
    """
    proofs = anoncreds_figures() if find_spec("anoncreds") else {}
    accounted = {suite.value: _account_checks(accounts, suite=suite) for suite in SuiteName}
    return {
        "sdjwt_verify_ms": {suite.value: _sd_jwt_verify_ms(suite) for suite in SuiteName},
        **{name: {suite: found[name] for suite, found in accounted.items()} for name in _ACCOUNTED},
        "accounts": accounts,
        **_together(
            {"one_applicant_ms": {"at_source": _run_at_source_ms()}, "memory_mb": _memory()},
            asked_figures(),
            {"bytes": {"predicates_came": proofs["anoncreds_bytes"]}} if proofs else {},
            _blind_figures(rows) if find_spec("tenseal") else {},
            secure_figures(rows=rows) if find_spec("spu") else {},
        ),
        **(intersection_figures(items=rows) if find_spec("spu") else {}),
        **(joint_figures(rows=min(rows, TRAINED_ROWS)) if find_spec("spu") else {}),
        **proofs,
    }


def _memory() -> dict[str, object]:
    """Return {mode: {party: MB}} of the modes whose extra is there, each party's part done by its own process."""
    found: dict[str, object] = {
        "at_source": {"bureau": memory_mb(run_at_source)},
        "prove": {"bank": memory_mb(run_prove)},
    }
    if find_spec("tenseal"):
        with TemporaryDirectory() as folder:
            content = str(Path(folder) / "content")
            found["blind"] = {
                "bank": memory_mb(run_blind_bank, content),
                "bureau": memory_mb(run_blind_bureau, content),
            }
    if find_spec("anoncreds"):
        found["predicates"] = {"bank_and_holder": memory_mb(run_predicates)}
    return found


def run_at_source() -> None:
    """Be a bureau that runs an open card."""
    tell_memory(_run_at_source_ms)


def run_prove() -> None:
    """Be a bank that is shown a credential."""
    tell_memory(lambda: _sd_jwt_verify_ms(SuiteName.INTL))


def run_predicates() -> None:
    """Be a holder that proves predicates, and a bank that verifies them."""
    tell_memory(anoncreds_figures)


def run_blind_bank(content: str) -> None:
    """Be a bank that encrypts a card into a file."""
    from shuiqiao.credit.blind_content import encrypt_card
    from shuiqiao.privacy.blind.scheme import blind_scheme

    tell_memory(
        lambda: Path(content).write_bytes(encrypt_card(_a_card({"points": True}), keys=blind_scheme().generate_keys()))
    )


def run_blind_bureau(content: str) -> None:
    """Be a bureau that runs the encrypted card of a file."""

    def run() -> None:
        given, tables = Path(content).read_bytes(), {"invoice_issued": _invoices()}
        with _blind_runner() as (runner, _):
            runner.run(given, outputs=[Output.POINTS], tables=tables, taxpayer=_TAXPAYER, as_of=date(2025, 12, 31))

    tell_memory(run)


def _together(*figures: Mapping[str, Mapping[str, object]]) -> dict[str, object]:
    """Return figures of several modes, put together by name."""
    return {
        name: {key: value for each in figures for key, value in each.get(name, {}).items()}
        for name in {name: None for each in figures for name in each}
    }


def _blind_figures(rows: int) -> dict[str, Mapping[str, object]]:
    """Return {"one_applicant_ms": {"blind"}, "rows_100k": {"blind_rows_per_s"}, "bytes": {"blind_weight", ...}}.

    The rows are of a card of ten features with six bins each, on 100,000 taxpayers and one core.
    """
    import numpy as np

    from shuiqiao.privacy.blind.scheme import SLOTS, blind_scheme

    scheme, random = blind_scheme(), np.random.default_rng(1)
    keys = scheme.generate_keys()
    points = [int(each) for each in random.integers(-40, 40, _BLIND_FEATURES * _BLIND_BINS)]
    sent = scheme.encrypt_weights(points, secret=keys.secret)
    weights = scheme.read_weights(sent, public=keys.public)
    bins = random.integers(0, _BLIND_BINS, size=(_BLIND_FEATURES, rows))
    holds = (bins[:, np.newaxis, :] == np.arange(_BLIND_BINS)[:, np.newaxis]).reshape(-1, rows)
    began = time.process_time()
    results = [
        scheme.evaluate(weights, holds[:, first : first + SLOTS], entropy=system_entropy)
        for first in range(0, rows, SLOTS)
    ]
    taken = time.process_time() - began
    return {
        "one_applicant_ms": {"blind": _one_applicant_ms()},
        "rows_100k": {"blind_rows_per_s": round(rows / taken, 1)},
        "bytes": {"blind_weight": len(sent[0]), "blind_result": len(results[0])},
    }


def _account_checks(accounts: int, *, suite: SuiteName) -> dict[str, float]:
    with TemporaryDirectory() as folder:
        engine = open_database(Path(folder) / "account.db")
        cipher = ColumnCipher(lambda: bytes(32), suite=suite, entropy=system_entropy)
        store = ChargeStore(engine, cipher=cipher)
        try:
            checks = min(CHECKS, accounts // 2)
            of = [number * accounts // (2 * checks) for number in range(2 * checks)]
            with engine.begin() as connection:
                store.note(connection, [_charge(number, of=number) for number in of])
            _fill(engine, accounts - len(of))
            asked = [_charge(accounts + number, of=number_of) for number, number_of in enumerate(of)]
            return dict(zip(_ACCOUNTED, _rates(store, engine, within=asked[::2], alone=asked[1::2]), strict=True))
        finally:
            engine.dispose()


def _fill(engine: Engine, rows: int) -> None:
    """Enter so many accounts besides, which nobody asks of.

    Each is as long as one that is asked of and stands at a place of its own in both indexes; what its columns hold is
    another's, since to encrypt a million of them takes longer than all else.
    """
    table = metadata.tables["privacy_charge"]
    with engine.begin() as connection:
        kept = dict(connection.execute(select(table).limit(1)).mappings().one())
    # In the order of the index by which they are found, which is as random as that of the others.
    tags = sorted(sha256(number.to_bytes(8, "big")).digest() for number in range(rows))
    for first in range(0, rows, _ROWS_AT_ONCE):
        batch = [
            {**kept, "reference": f"filled/{number:032x}", "taxpayer_tag": tag}
            for number, tag in enumerate(tags[first : first + _ROWS_AT_ONCE], first)
        ]
        with engine.begin() as connection:
            connection.execute(insert(table), batch)


def _rates(
    store: ChargeStore, engine: Engine, *, within: Sequence[Charge], alone: Sequence[Charge]
) -> tuple[float, float, float]:
    """Return checks a second within one transaction, with a commit each, and bare commits a second."""

    def per_s(acts: int, began: float) -> float:
        return round(acts / (time.perf_counter() - began), 1)

    with engine.begin() as connection:
        began = time.perf_counter()
        for charge in within:
            store.take(connection, charge)
        checks = per_s(len(within), began)
    began = time.perf_counter()
    for charge in alone:
        store.charge(charge)
    committed = per_s(len(alone), began)
    began = time.perf_counter()
    for charge in alone:
        with engine.begin() as connection:
            store.note_bits(connection, charge.reference, millibits=4_000)
    return checks, committed, per_s(len(alone), began)


def _charge(number: int, *, of: int) -> Charge:
    """A score of a card with ten features of five bins, each run's card another one."""
    row = {f"feature_{place // 4}>={place % 4}@2026-06-30": 1 + (number + place) % 40 for place in range(40)}
    return Charge(
        reference=f"bank/{number:032x}",
        taxpayer=f"{of:018d}",
        recipient=MemberId("bank"),
        purpose=Purpose.UNDERWRITING,
        mode=Mode.SCORE,
        charged_ms=_NOW_S * 1_000 + number,
        revealed=Revealed(millibits=3_000, row=row),
    )


def _run_at_source_ms() -> float:
    # Cards bring the libraries that compute features, which nothing else here needs.
    from shuiqiao.credit.model_runner import ScorecardRunner

    runner = ScorecardRunner()
    content, tables = _a_model(), {"invoice_issued": _invoices()}
    try:
        taken: list[float] = []
        for number in range(CALLS // 3 + 1):
            began = time.perf_counter()
            runner.run(content, outputs=[Output.BAND], tables=tables, taxpayer=_TAXPAYER, as_of=date(2025, 12, 31))
            # The first call makes the engine for the card's features.
            taken += [time.perf_counter() - began] if number else []
        return round(1000 * statistics.median(taken), 3)
    finally:
        runner.close()


def _one_applicant_ms() -> float:
    """Measure features, an evaluation and the bank's opening of it, with the records read and the weights loaded."""
    from shuiqiao.credit.blind_content import encrypt_card
    from shuiqiao.credit.model_content import encode_content
    from shuiqiao.credit.store import ClosedCard
    from shuiqiao.privacy.blind.scheme import blind_scheme

    keys, model = blind_scheme().generate_keys(), _a_card({"points": True})
    content = encrypt_card(model, keys=keys)
    taken: list[float] = []
    with _blind_runner() as (runner, store):
        store.save(ClosedCard(secret=keys.secret, card=encode_content(model)), content=content)
        tables = {"invoice_issued": _invoices()}
        for number in range(CALLS // 10 + 1):
            began = time.perf_counter()
            output = runner.run(
                content, outputs=[Output.POINTS], tables=tables, taxpayer=_TAXPAYER, as_of=date(2025, 12, 31)
            )
            runner.opened(content, output)
            taken += [time.perf_counter() - began] if number else []
    return round(1000 * statistics.median(taken), 3)


@contextmanager
def _blind_runner() -> Generator[tuple[BlindRunner, ClosedCardStore]]:
    """Give what runs encrypted cards and opens results, with the cards that it opens by, none at first."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    from shuiqiao.credit.blind_runner import BlindRunner
    from shuiqiao.credit.model_runner import ScorecardRunner
    from shuiqiao.credit.store import ClosedCardStore
    from shuiqiao.credit.store import metadata as credit_tables

    engine, features = create_engine("sqlite://", poolclass=StaticPool), ScorecardRunner()
    credit_tables.create_all(engine)
    cipher = ColumnCipher(lambda: bytes(32), suite=SuiteName.INTL, entropy=system_entropy)
    store = ClosedCardStore(engine, cipher=cipher)
    try:
        yield BlindRunner(features=features, cards=store, entropy=system_entropy), store
    finally:
        features.close()
        engine.dispose()


def _a_model() -> bytes:
    from shuiqiao.credit.model_content import encode_content

    return encode_content(_a_card({"bands": ["C", "B", "A"], "cuts": [580, 620]}))


def _a_card(outputs: Mapping[str, Any]) -> ModelContent:
    from shuiqiao.credit.model_content import read_outputs
    from shuiqiao.credit.scorecard import Scorecard, ScorecardFeature

    features = tuple(
        ScorecardFeature(
            name=name,
            cuts=(2_000_000, 5_000_000, 8_000_000),
            points=(-20, -5, 5, 20),
            unknown_points=0,
            counts=(1,) * 5,
            bad=(0,) * 5,
        )
        for name in ("log_monthly_sales_12m", "sales_growth_12m", "zero_sales_months_12m", "sales_variation_12m")
    )
    card = Scorecard(name="bench", base_points=600, features=features, n=4, bad=0)
    return read_outputs(outputs, card=card)


def _invoices() -> Any:
    """A thousand invoices over three years."""
    import pyarrow as pa

    days = [date(2023, 1, 1) + timedelta(days=number) for number in range(1_000)]
    amounts = [100_000 + 997 * number for number in range(1_000)]
    return pa.table(
        {
            "uscc": [_TAXPAYER] * 1_000,
            "invoice_no": [f"{number:020d}" for number in range(1_000)],
            "issue_date": pa.array(days, type=pa.date32()),
            "status": ["valid"] * 1_000,
            "is_red_letter": [False] * 1_000,
            "amount_fen": amounts,
            "tax_fen": [amount * 13 // 100 for amount in amounts],
            "total_fen": [amount + amount * 13 // 100 for amount in amounts],
        }
    )


def _sd_jwt_verify_ms(suite_name: SuiteName) -> float:
    suite, entropy = get_suite(suite_name), system_entropy
    profile = jose_profile(suite)
    issuer, holder = suite.generate_signing_key(entropy), suite.generate_signing_key(entropy)
    claims = {f"claim_{number}": number for number in range(8)}
    credential = issue(
        {"iss": "tax-a", "exp": _NOW_S + 1},
        claims,
        media_type=_TYPE,
        holder=holder.public_key,
        key=issuer,
        profile=profile,
        entropy=entropy,
    )
    challenge = Challenge(audience="bank-a", nonce="nonce")
    shown = present(
        credential, names=sorted(claims)[:4], challenge=challenge, now_s=_NOW_S, key=holder, profile=profile
    )
    taken: list[float] = []
    for _ in range(CALLS):
        began = time.perf_counter()
        verify(
            shown,
            issuer_key=lambda _header, _claims: issuer.public_key,
            media_type=_TYPE,
            profile=profile,
            now_s=_NOW_S,
            challenge=challenge,
        )
        taken.append(time.perf_counter() - began)
    return round(1000 * statistics.median(taken), 3)

"""What the ledger itself gives away: how well a reader of all of it tells which consents are one enterprise's.

Enterprises of the sandbox's economy consent to banks and apply there, on a real ledger of real institutions. The reader
has the entries and nothing else: time and place of each grant, its window and deadline, when somebody applied under it,
when it was withdrawn. It has learned from a ledger of the same habits where it knew whose each consent was, so it knows
whatever delay the institutions set. The same is done where they set none.

An AUC is the share of (pair of one enterprise, other pair) in which the reader finds the former more alike: 0.5 is
guessing. Pairs are of consents to two banks whose windows begin on one day, since the day tells the others apart and
nobody consents twice to one bank; over all pairs of the ledger the figure stands apart. How enterprises behave is an
assumption, the numbers that stand first here.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from functools import partial
from heapq import heappop, heappush
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from msgspec import structs

from shuiqiao.base.clock import MS_PER_DAY, MS_PER_HOUR, MS_PER_SECOND, ManualClock
from shuiqiao.base.errors import Unavailable
from shuiqiao.base.ids import ID_BYTES, owned_id
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.consent.ceilings import longest_period
from shuiqiao.consent.contract import GRANT, REVOKE
from shuiqiao.consent.model import Purpose
from shuiqiao.credit.discrimination import area
from shuiqiao.credit.logistic import fit_logistic
from shuiqiao.crypto.keyfile import STRONG_COST, PassphraseCost
from shuiqiao.crypto.model import SuiteName
from shuiqiao.ledger.transactions.entry_delay import ENTRY_WAITS
from shuiqiao.lending.contract import APPLICATION
from shuiqiao.node.home.settings import encode_settings, load_settings
from shuiqiao.sandbox.economy.generation import generate_economy
from shuiqiao.sandbox.economy.model import Applicant
from shuiqiao.sandbox.scenario.consortium import FOUNDERS, create_consortium, home_of, open_consortium
from shuiqiao.sandbox.scenario.enterprises import ConsentWanted, EnterpriseOwner
from shuiqiao.sandbox.scenario.population import SYNTHETIC_AS_OF
from shuiqiao.sandbox.score_equality import SEED

if TYPE_CHECKING:
    from shuiqiao.base.ids import MemberId, OwnedId
    from shuiqiao.consent.model import ConsentSubmission
    from shuiqiao.credit.discrimination import Flags, Floats
    from shuiqiao.credit.logistic import LogisticFit
    from shuiqiao.node.institution import Institution
    from shuiqiao.sandbox.scenario.consortium import Consortium

ENTERPRISES: Final = 300
DAYS: Final = 5
ENTRY_DELAY_MIN: Final = 600
"""What is measured where nothing else is asked: ten hours, the most that the setting takes."""

_PRODUCT: Final = "tax-credit-loan"
_ITEMS: Final = {"invoice_issued@2": ["core", "amounts"]}
_AMOUNT_FEN: Final = 50_000_000
_MS_PER_MINUTE: Final = 60 * MS_PER_SECOND
_OPEN_MS: Final = (1 * MS_PER_HOUR, 10 * MS_PER_HOUR)
"""Hours in which an enterprise begins to act, by UTC: nine to six in China."""
_PAUSES_MS: Final = (_MS_PER_MINUTE, 8 * _MS_PER_MINUTE)
"""Between an act of a sitting and the one before."""
_DAY_MIN: Final = 24 * 60
_BANKS_ASKED: Final = (0.5, 0.35, 0.15)
"""Share of enterprises that ask one bank, two, three."""
_USUAL_DAYS: Final = 30
_OTHER_DAYS: Final = (60, 90, 180)
_CHOOSING: Final = 0.1
"""Share of enterprises that have their consents last otherwise than ``enterprise consent`` has them by itself."""
_WITHDRAWING: Final = 0.05
"""Share of enterprises that withdraw all their consents at once, some days later."""
_PENALTY: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What the ledger says of one consent. Times are of blocks, in milliseconds; -1 where nothing was entered."""

    name: OwnedId
    recipient: str
    index: int
    granted_ms: int
    deadline_ms: int
    valid_from_ms: int
    valid_to_ms: int
    applied_ms: int = -1
    ended_ms: int = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Every two consents of a ledger: what the reader compares, whether they are one enterprise's, and can be at all.

    near: to two banks, their windows beginning on one day. usual: near, both as long as most, and not withdrawn.
    """

    features: Floats
    same: Flags
    near: Flags
    usual: Flags
    first: np.ndarray[Any, np.dtype[np.int64]]
    second: np.ndarray[Any, np.dtype[np.int64]]


def study_linking(
    *,
    enterprises: int = ENTERPRISES,
    days: int = DAYS,
    entry_delay_min: int = ENTRY_DELAY_MIN,
    seed: int = SEED,
    cost: PassphraseCost = STRONG_COST,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Return {"attack_auc_before", "after", "after_unaware", "usual", "whole_ledger", "sibling_found", ...}.

    after_unaware: of a reader who learned where nothing is kept back. usual: before and after where the enterprise did
    not choose another length than most, or withdraw all at once, which no delay hides. sibling_found: of the consents
    that have another of their enterprise's, the share for which the one that the reader finds most alike is such a one.

    entry_delay_min: the setting of every institution, 0 to 600. cost: of the passphrases of their homes. Raises what
    any party refuses with::

        study_linking(enterprises=60, days=2)["attack_auc_before"]  # near 1
    """
    found = dict[tuple[int, int], Pairs]()
    asked = [(delay, run) for delay in (0, entry_delay_min) for run in (1, 0)]
    for done, (delay, run) in enumerate(asked):
        progress("what the ledger gives away", done, len(asked))
        with TemporaryDirectory(prefix="shuiqiao-study-") as folder:
            seen, owners = ledger_of(
                Path(folder), enterprises=enterprises, days=days, entry_delay_min=delay, seed=seed + run, cost=cost
            )
        found[delay, run] = pairs_of(seen, owners)
    plain, kept_back = found[0, 0], found[entry_delay_min, 0]
    unaware, knowing = learned(found[0, 1]), learned(found[entry_delay_min, 1])
    return {
        "attack_auc_before": linked_auc(plain, unaware),
        "after": linked_auc(kept_back, knowing),
        "after_unaware": linked_auc(kept_back, unaware),
        "usual": {
            "before": linked_auc(plain, unaware, among=plain.usual),
            "after": linked_auc(kept_back, knowing, among=kept_back.usual),
        },
        "whole_ledger": {
            "before": linked_auc(plain, unaware, among=np.ones_like(plain.near)),
            "after": linked_auc(kept_back, knowing, among=np.ones_like(kept_back.near)),
        },
        "sibling_found": {"before": sibling_found(plain, unaware), "after": sibling_found(kept_back, knowing)},
        "pairs": {
            "same_enterprise": int(kept_back.same.sum()),
            "others_near": int((kept_back.near & ~kept_back.same).sum()),
            "others": int((~kept_back.same).sum()),
        },
        "entry_delay_min": entry_delay_min,
    }


# Enterprises on a real ledger


def ledger_of(
    folder: Path, *, enterprises: int, days: int, entry_delay_min: int, seed: int, cost: PassphraseCost = STRONG_COST
) -> tuple[list[Seen], dict[OwnedId, int]]:
    """Let enterprises act for some days on a ledger in an empty folder; return what it says, and whose each consent is.

    entry_delay_min: the setting of every institution.
    """
    economy = generate_economy(taxpayers=enterprises, seed=seed, as_of=SYNTHETIC_AS_OF)
    midnight = datetime.combine(SYNTHETIC_AS_OF, time(), tzinfo=UTC)
    clock = ManualClock(int(midnight.timestamp()) * MS_PER_SECOND)
    entropy = seeded_entropy(seed)
    prepared = create_consortium(folder, suite_name=SuiteName.INTL, clock=clock, entropy=entropy, cost=cost)
    for founder in FOUNDERS:
        home = home_of(folder, founder.member)
        settings = structs.replace(load_settings(home), entry_delay_min=entry_delay_min)
        home.settings.write_text(encode_settings(settings), encoding="utf-8")
    with open_consortium(prepared, clock=clock, entropy=entropy) as consortium:
        town = _Town(consortium, clock, np.random.default_rng(seed), is_delayed=entry_delay_min > 0)
        for case in economy.cases():
            applicant = Applicant(uscc=case.taxpayer.uscc, defaulted=None)
            town.plan(EnterpriseOwner(applicant, bureau=consortium.bureau, entropy=entropy), days=days)
        town.live()
        return seen_on(consortium.bureau), town.owners


def seeded_entropy(seed: int) -> Callable[[int], bytes]:
    """Return randomness that is the same in every run: for keys that guard nothing."""
    generator, lock = np.random.default_rng(seed), threading.Lock()

    def draw(size: int) -> bytes:
        with lock:
            return generator.bytes(size)

    return draw


class _Town:
    """The enterprises of a run: what they do, and when, on institutions that may keep back what they bring about.

    Without a delay an enterprise applies in the sitting in which it consents, with one on the next day.
    """

    def __init__(
        self, consortium: Consortium, clock: ManualClock, draws: np.random.Generator, *, is_delayed: bool
    ) -> None:
        self._bureau, self._banks = consortium.bureau, [*consortium.banks.values()]
        self._clock, self._draws, self._is_delayed = clock, draws, is_delayed
        self._began_ms = clock.now_ms()
        self._coming: list[tuple[int, int, Callable[[], None]]] = []
        self._numbers = count()
        self._consents: dict[tuple[str, MemberId], OwnedId] = {}
        self._enterprises: dict[str, int] = {}
        self.owners: dict[OwnedId, int] = {}
        """By consent: which enterprise's."""

    def plan(self, owner: EnterpriseOwner, *, days: int) -> None:
        """Enrol an enterprise, and plan what it does. The same is drawn with a delay and without."""
        owner.enrol()
        draws, day = self._draws, int(self._draws.integers(days))
        asked = [self._banks[place] for place in draws.permutation(len(self._banks))]
        asked = asked[: 1 + int(draws.choice(len(_BANKS_ASKED), p=_BANKS_ASKED))]
        signs, applies_later, withdraws = (self._sitting(day + later, acts=len(asked)) for later in (0, 1, 2))
        soon_ms = signs[-1] + _PAUSES_MS[0] - applies_later[0]
        applies = applies_later if self._is_delayed else [soon_ms + at for at in applies_later]
        own_days, is_choosing = int(draws.choice(_OTHER_DAYS)), draws.random() < _CHOOSING
        is_withdrawing = draws.random() < _WITHDRAWING
        lasts_days = own_days if is_choosing else _USUAL_DAYS
        for place, bank in enumerate(asked):
            self._at(signs[place], partial(self._sign, owner, bank, lasts_days=lasts_days))
            self._at(applies[place], partial(self._apply, owner, bank, application=draws.bytes(ID_BYTES)))
            if is_withdrawing:
                self._at(withdraws[place], partial(self._withdraw, owner, bank))

    def live(self) -> None:
        """Do all that was planned and what follows from it, in the order of time."""
        while self._coming:
            at_ms, _, act = heappop(self._coming)
            self._clock.advance(max(0, at_ms - self._clock.now_ms()))
            try:
                act()
            except Unavailable as error:
                if error.code != ENTRY_WAITS or error.retry_after_s is None:
                    raise
                # As the institution's job does.
                self._at(self._clock.now_ms() - self._began_ms + math.ceil(1000 * error.retry_after_s), act)

    def _at(self, since_ms: int, act: Callable[[], None]) -> None:
        heappush(self._coming, (self._began_ms + since_ms, next(self._numbers), act))

    def _sitting(self, day: int, *, acts: int) -> list[int]:
        """Return when an enterprise acts, one act a few minutes after the other."""
        begins_ms = day * MS_PER_DAY + int(self._draws.integers(*_OPEN_MS))
        pauses = self._draws.integers(*_PAUSES_MS, size=acts)
        return [begins_ms + int(after_ms) for after_ms in np.cumsum(pauses)]

    def _sign(self, owner: EnterpriseOwner, bank: Institution, *, lasts_days: int) -> None:
        wanted = ConsentWanted(
            recipient=bank.member,
            purpose=Purpose.UNDERWRITING,
            items=_ITEMS,
            period=longest_period(Purpose.UNDERWRITING, last=SYNTHETIC_AS_OF),
            product=_PRODUCT,
            validity_ms=lasts_days * MS_PER_DAY,
        )
        submission = owner.submission(wanted)
        self._at(self._clock.now_ms() - self._began_ms, partial(self._hand_in, owner, bank, submission))

    def _hand_in(self, owner: EnterpriseOwner, bank: Institution, submission: ConsentSubmission) -> None:
        artefact = self._bureau.consent_service.receive(submission).artefact
        bank.catch_up_with(self._bureau)
        bank.consent_file.receive(submission.artefact)
        self._consents[owner.applicant.uscc, bank.member] = artefact.name
        self.owners[artefact.name] = self._enterprise(owner)

    def _enterprise(self, owner: EnterpriseOwner) -> int:
        return self._enterprises.setdefault(owner.applicant.uscc, len(self._enterprises))

    def _apply(self, owner: EnterpriseOwner, bank: Institution, *, application: bytes) -> None:
        bank.lending.apply(
            bank.products.product(_PRODUCT),
            taxpayer=owner.applicant.uscc,
            consent=self._consents[owner.applicant.uscc, bank.member],
            amount_fen=_AMOUNT_FEN,
            application=application,
        )

    def _withdraw(self, owner: EnterpriseOwner, bank: Institution) -> None:
        consent = self._consents[owner.applicant.uscc, bank.member]
        statement = owner.enterprise.revoke(consent, now_ms=self._clock.now_ms())
        self._bureau.consent_service.relay(statement.raw)


# The reader of the ledger


def seen_on(reader: Institution) -> list[Seen]:
    """Return what a member's copy of the ledger says of each consent, in the order of their grants."""
    seen = dict[str, Seen]()
    for block in reader.engine.blocks(from_height=1):
        for index, raw in enumerate(block.transactions, start=block.first_index):
            tx = reader.outbox.decode(raw)
            if tx.kind == GRANT:
                name = owned_id(tx.author, tx.body.consent)
                seen[name] = Seen(
                    name=name,
                    recipient=tx.body.recipient,
                    index=index,
                    granted_ms=block.time_ms,
                    deadline_ms=tx.valid_until_ms,
                    valid_from_ms=tx.body.valid_from_ms,
                    valid_to_ms=tx.body.valid_to_ms,
                )
            elif tx.kind == APPLICATION:
                seen[tx.body.consent] = replace(seen[tx.body.consent], applied_ms=block.time_ms)
            elif tx.kind == REVOKE:
                seen[tx.body.consent] = replace(seen[tx.body.consent], ended_ms=block.time_ms)
    return [*seen.values()]


def pairs_of(seen: Sequence[Seen], owners: Mapping[OwnedId, int]) -> Pairs:
    """Return every two consents as the reader compares them.

    owners: whose each is, by which the reader learns on one ledger and is judged on another.
    """
    first, second = np.triu_indices(len(seen), k=1)

    days = np.array([each.valid_from_ms // MS_PER_DAY for each in seen])
    banks = np.array([each.recipient for each in seen])
    places = np.array([each.index for each in seen])
    columns: list[Floats] = [np.log1p(np.abs(places[first] - places[second]))]
    for moments in zip(*map(_moments, seen), strict=True):
        values = np.array(moments, dtype=np.float64)
        known = (values[first] >= 0) & (values[second] >= 0)
        apart_min = np.where(known, np.abs(values[first] - values[second]) / _MS_PER_MINUTE, 0.0)
        columns += [np.log1p(apart_min), np.minimum(apart_min / _DAY_MIN, 1.0), known.astype(np.float64)]
    lasts = np.array([each.valid_to_ms - each.valid_from_ms for each in seen])
    whose = np.array([owners[each.name] for each in seen])
    columns.append((lasts[first] == lasts[second]).astype(np.float64))
    near = (days[first] == days[second]) & (banks[first] != banks[second])
    usual = (lasts == np.median(lasts)) & np.array([each.ended_ms < 0 for each in seen])
    return Pairs(
        features=np.column_stack(columns),
        same=whose[first] == whose[second],
        near=near,
        usual=near & usual[first] & usual[second],
        first=first,
        second=second,
    )


def _moments(seen: Seen) -> tuple[int, ...]:
    """Return all that an entry says of time."""
    return (
        seen.granted_ms,
        seen.deadline_ms,
        seen.valid_from_ms,
        seen.valid_to_ms,
        seen.applied_ms,
        seen.ended_ms,
    )


def learned(pairs: Pairs) -> LogisticFit:
    """Return what a reader makes of a ledger of which it knew whose each consent was."""
    return fit_logistic(pairs.features[pairs.near], bad=pairs.same[pairs.near], penalty=_PENALTY)


def linked_auc(pairs: Pairs, reader: LogisticFit, *, among: Flags | None = None) -> float:
    """Return how well a reader tells one enterprise's pairs from others. among: which pairs; None those that can be."""
    alike, chosen = _alike(pairs, reader), pairs.near if among is None else among
    return round(area(pairs.same[chosen], risk=alike[chosen]), 3)


def sibling_found(pairs: Pairs, reader: LogisticFit) -> float:
    """Return, of the consents that have another of their enterprise's, for which share the reader names one."""
    alike, size = _alike(pairs, reader), int(pairs.second.max()) + 1
    matrix, same = np.full((size, size), -np.inf), np.zeros((size, size), dtype=np.bool_)
    for one, other in ((pairs.first, pairs.second), (pairs.second, pairs.first)):
        matrix[one, other], same[one, other] = alike, pairs.same
    with_sibling = same.any(axis=1)
    named = same[np.arange(size), matrix.argmax(axis=1)]
    return round(float(named[with_sibling].mean()), 3)


def _alike(pairs: Pairs, reader: LogisticFit) -> Floats:
    """Return how alike the reader finds each pair; those that cannot be one enterprise's are least so."""
    return np.where(pairs.near, reader.log_odds(pairs.features), -np.inf)

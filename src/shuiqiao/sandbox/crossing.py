"""What crosses between a bank and a bureau in each mode, and how much of it is a raw value, an identifier or a weight.

One enterprise consents to a bank in each mode, or shows it a credential, over real institutions in one process.
Captured is what either side reads once every seal is open: the model that is handed over, the request, the answer or
what is shown, what the two send each other while they compute, and what the ledger got meanwhile. What goes to the bank
is searched for the taxpayer's records, what goes to the bureau for the weights of the bank's card. What a mode grants
is searched for by the same means, and is found: so much of it is counted apart.

LIMIT: a value is found as it is written (text, integers of 64 bits, CBOR), not if it were encoded otherwise; that an
output says no more than it may is what the leakage account bounds. Enumerations, dates and small numbers stand
everywhere and are not searched for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from shuiqiao.base.clock import SystemClock
from shuiqiao.base.encoding import encode_cbor
from shuiqiao.base.errors import Unavailable
from shuiqiao.base.ids import system_entropy
from shuiqiao.base.progress import Progress, no_progress
from shuiqiao.crypto.keyfile import STRONG_COST, PassphraseCost
from shuiqiao.crypto.model import SuiteName
from shuiqiao.exchange.messages import open_answer, read_request
from shuiqiao.sandbox.economy.files import RECORD_TABLES, write_economy
from shuiqiao.sandbox.economy.generation import generate_economy
from shuiqiao.sandbox.scenario.consortium import create_consortium, open_consortium
from shuiqiao.sandbox.scenario.enterprises import BureauLink, EnterpriseOwner
from shuiqiao.sandbox.scenario.modes import AT_SOURCE, DISCLOSE, MODES, Learning, ModesApplicant, known_to
from shuiqiao.sandbox.scenario.population import SYNTHETIC_AS_OF
from shuiqiao.sandbox.score_equality import SEED, scored_content
from shuiqiao.sandbox.secure_pair import overheard
from shuiqiao.standards.model import FieldType

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from shuiqiao.credit.scorecard import Scorecard
    from shuiqiao.node.institution import Institution
    from shuiqiao.sandbox.scenario.consortium import Consortium
    from shuiqiao.standards.model import Catalogue
    from shuiqiao.vault.disclosure import Disclosure

_ALWAYS: Final = (date(1949, 10, 1), date(2099, 12, 31))
_LEAST_TEXT = 8
_LEAST_NUMBER = 1 << 16
"""Bytes of a text, and a number: what is shorter or less stands in other bytes by chance."""
_DIGITS = re.compile(rb"(?<![0-9A-Za-z_])[0-9]++(?:\.[0-9]++)?+(?![0-9A-Za-z_])")
_NUMBERS = frozenset({FieldType.AMOUNT_FEN, FieldType.INTEGER})


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """How a value can stand in bytes.

    digits: as text, with no digit beside it, nor a letter, as in base64, where digits stand in a row by chance.
    """

    ways: tuple[bytes, ...]
    digits: tuple[bytes, ...] = ()


Secrets = Mapping[str, Secret]
"""By what they are called: texts and numbers by themselves."""


def secrets_of(records: Disclosure, *, catalogue: Catalogue) -> dict[str, Secret]:
    """Return the values of records that are not found in other bytes by chance, and are not the taxpayer's number."""
    found: dict[str, Secret] = {}
    for entry in records.types:
        kind = catalogue.get(entry.standard)
        for name in set(entry.rows.schema.names) - {kind.taxpayer_field}:
            values, type_ = set(entry.rows.column(name).to_pylist()) - {None}, kind.field(name).type
            if type_ is FieldType.TEXT:
                found |= {text: text_secret(text) for text in values if len(text.encode()) >= _LEAST_TEXT}
            elif type_ in _NUMBERS:
                found |= {str(number): number_secret(number) for number in values if abs(number) >= _LEAST_NUMBER}
    return found


def text_secret(text: str) -> Secret:
    """Return how a text can stand in bytes."""
    return Secret(ways=(text.encode(),))


def number_secret(number: int) -> Secret:
    """Return how an amount can stand in bytes: in fen or yuan, in 64 bits of either order, in CBOR."""
    size = abs(number)
    ways = (number.to_bytes(8, "little", signed=True), number.to_bytes(8, "big", signed=True), encode_cbor(number))
    return Secret(ways=ways, digits=(b"%d" % size, b"%d.%02d" % divmod(size, 100)))


def weights_of(card: Scorecard) -> dict[str, Secret]:
    """Return the points of each feature of a card: as JSON, CBOR, integers and floats of 64 bits."""
    return {
        f"points of {feature.name}": Secret(
            ways=(
                ",".join(map(str, feature.points)).encode(),
                b"".join(map(encode_cbor, feature.points)),
                np.array(feature.points, dtype="<i8").tobytes(),
                np.array(feature.points, dtype="<f8").tobytes(),
            )
        )
        for feature in card.features
    }


def found_in(data: bytes, secrets: Secrets) -> dict[str, int]:
    """Return in how many bytes each of some secrets stands; those that stand nowhere are left out.

    Example::

        found_in(answer, secrets_of(records, catalogue=catalogue))  # {} where nothing leaked
    """
    digits = Counter(_DIGITS.findall(data))
    counts = {
        name: sum(data.count(way) * len(way) for way in secret.ways)
        + sum(digits[way] * len(way) for way in secret.digits)
        for name, secret in secrets.items()
    }
    return {name: count for name, count in counts.items() if count}


class Listening:
    """The way from a bank to a bureau and back, with what each side reads of what crosses it, every seal open."""

    def __init__(self, bank: Institution, bureau: Institution) -> None:
        self._link, self._bank = BureauLink(bank, bureau), bank
        self.to_bureau, self.to_bank = list[bytes](), list[bytes]()

    def ask(self, message: bytes) -> bytes:
        """Return the answer to a request; raises what the bureau refuses with."""
        answer, bank = self._link.ask(message), self._bank
        network = bank.parameters.network
        content, _ = open_answer(
            answer,
            message=read_request(message, network=network, suite=bank.suite),
            state=bank.engine.state(),
            network=network,
            suite=bank.suite,
            sealing_key=bank.keys.sealing,
        )
        self.to_bureau.append(message)
        self.to_bank += [answer, content.manifest, content.disclosure]
        return answer

    @contextmanager
    def computing(self, bank: Institution, bureau: Institution) -> Generator[None]:
        """Let bank and bureau compute here, so that all that crosses between the two is heard."""
        bank.secure_links, bureau.secure_links = banks, bureaus = overheard()
        yield
        self.to_bureau.append(banks.sent)
        self.to_bank.append(bureaus.sent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossed:
    """What crossed in one mode, and what the mode grants of it.

    records: what stands in those that the consent lets the bank read. weights: those that the bureau may read.
    """

    to_bank: bytes
    to_bureau: bytes
    records: Secrets
    weights: Secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """An applicant, and what it looks like from both sides of the way between bank and bureau."""

    applicant: ModesApplicant
    learning: Learning

    @property
    def consortium(self) -> Consortium:
        """Its institutions."""
        return self.applicant.consortium

    def cross(self, mode: str, bank: Institution) -> Crossed:
        """Let a bank ask in one of ``MODES``, banks taking turns; raises what ``ModesApplicant.use`` raises."""
        bureau = self.consortium.bureau
        height, _ = bureau.engine.last_block()
        link = Listening(bank, bureau)
        used = self.applicant.use(mode, bank, link=link, computing=link.computing)
        self.learning.note(mode)
        bureau.catch_up_with(bank)
        entries = [raw for block in bureau.engine.blocks(from_height=height + 1) for raw in block.transactions]
        return Crossed(
            to_bank=b"".join([*link.to_bank, *used.shown, *entries]),
            to_bureau=b"".join([*link.to_bureau, used.model, *entries]),
            records=self.records(used.items) if mode == DISCLOSE else {},
            weights=self.weights() if mode == AT_SOURCE else {},
        )

    def records(self, groups: Mapping[str, Sequence[str]]) -> dict[str, Secret]:
        """Return what stands in some groups of all of the taxpayer's records."""
        bureau, (first, last) = self.consortium.bureau, _ALWAYS
        found = bureau.vault.disclose(
            uscc=self.applicant.owner.applicant.uscc, groups=groups, period_from=first, period_to=last
        )
        return secrets_of(found, catalogue=bureau.catalogue)

    def every_record(self) -> dict[str, Secret]:
        """Return what stands in all groups of all of the taxpayer's records."""
        kinds = [self.consortium.bureau.catalogue.get(name) for name in RECORD_TABLES]
        return self.records({kind.standard_id: kind.group_ids for kind in kinds})

    def weights(self) -> dict[str, Secret]:
        """Return the weights of the card."""
        from shuiqiao.credit.model_content import decode_content

        return weights_of(decode_content(self.applicant.content).card)


@contextmanager
def open_stage(folder: Path, *, cost: PassphraseCost = STRONG_COST) -> Generator[Stage]:
    """Make a consortium in an empty folder, with an enterprise whose records are at the bureau.

    All is closed at the end. cost: of the passphrases of its homes.
    """
    clock, entropy = SystemClock(), system_entropy
    economy = generate_economy(taxpayers=1, seed=SEED, as_of=SYNTHETIC_AS_OF)
    population = write_economy(economy, folder / "economy").population
    prepared = create_consortium(folder, suite_name=SuiteName.INTL, clock=clock, entropy=entropy, cost=cost)
    with open_consortium(prepared, clock=clock, entropy=entropy) as consortium:
        bureau = consortium.bureau
        bureau.vault.ingest([file.path for file in population.record_files], anchor=bureau.outbox)
        owner = EnterpriseOwner(population.applicants[0], bureau=bureau, entropy=entropy)
        owner.enrol()
        yield Stage(
            applicant=ModesApplicant(
                consortium=consortium, owner=owner, content=scored_content(), as_of=SYNTHETIC_AS_OF
            ),
            learning=Learning(known_to(bureau.leakage, owner.applicant.uscc)),
        )


def look_at_crossing(*, progress: Progress = no_progress) -> dict[str, dict[str, Any]]:
    """Return {"leaked_bytes": {mode: bytes}, "granted_bytes": {mode: bytes}, "who_saw_what"}.

    Banks take turns. The bytes are those of ``looked_at``; who saw what is read from the bureau's account.
    """
    leaked, granted = dict[str, Any](), dict[str, Any]()
    with TemporaryDirectory(prefix="shuiqiao-study-") as folder, open_stage(Path(folder)) as stage:
        for done, (mode, bank) in enumerate(zip(MODES, cycle(stage.consortium.banks.values()), strict=False)):
            progress("what crosses", done, len(MODES))
            leaked[mode], granted[mode] = looked_at(stage, mode, bank)
    return {"leaked_bytes": leaked, "granted_bytes": granted, "who_saw_what": stage.learning.who_saw_what}


def looked_at(stage: Stage, mode: str, bank: Institution) -> tuple[Any, Any]:
    """Return in how many bytes something stands that a mode does not grant, and in how many something that it grants.

    Both are {"refused"} where the mode's extra is absent.
    """
    try:
        crossed = stage.cross(mode, bank)
    except Unavailable as refused:
        return {"refused": refused.as_dict()}, {"refused": refused.as_dict()}
    beyond = {name: secret for name, secret in stage.every_record().items() if name not in crossed.records}
    closed = {name: secret for name, secret in stage.weights().items() if name not in crossed.weights}
    return _found(crossed, beyond, closed), _found(crossed, crossed.records, crossed.weights)


def _found(crossed: Crossed, records: Secrets, weights: Secrets) -> int:
    return sum([*found_in(crossed.to_bank, records).values(), *found_in(crossed.to_bureau, weights).values()])

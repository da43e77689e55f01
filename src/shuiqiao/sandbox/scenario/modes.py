"""One enterprise and one bank in each mode that is built, by the product's own use cases, and what each tells the bank.

    disclose                     the bank is given the records that the card reads
    at_source · blind · secure   the card runs at the bureau: open; its weights encrypted; its weights at the bank
    prove · predicates           the enterprise shows a credential: some of its claims; proofs that bounds hold

What a recipient knows by it is what the act added to the bureau's leakage account. A mode whose extra is not installed
is refused with its code, and says what to install.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

from shuiqiao.base.clock import MS_PER_SECOND
from shuiqiao.base.encoding import typed
from shuiqiao.base.errors import Denied, InvalidInput, Unavailable
from shuiqiao.base.ids import new_id, system_entropy
from shuiqiao.client.resources.presentations import Presentation, PresentationQuestion
from shuiqiao.consent.ceilings import longest_period
from shuiqiao.consent.model import Mode, Output, Purpose
from shuiqiao.models.model import ModelForm
from shuiqiao.node.operations.models import encrypted_card, secured_card
from shuiqiao.node.operations.presentations import ask_presentation, show_credential
from shuiqiao.privacy.credentials import anoncreds
from shuiqiao.privacy.credentials.model import (
    BlindedRequestBody,
    CredentialRequestBody,
    encode_blinded,
    encode_request,
    find_registry,
)
from shuiqiao.privacy.credentials.presentation import ProveRules, decode_request
from shuiqiao.privacy.credentials.verifier import PublishedRules
from shuiqiao.privacy.model import MILLI
from shuiqiao.privacy.sd_jwt import Challenge, jose_profile, present
from shuiqiao.sandbox.scenario.enterprises import BureauLink, ConsentWanted, EnterpriseOwner
from shuiqiao.sandbox.scenario.unseen import let_run
from shuiqiao.sandbox.secure_pair import SecurePair
from shuiqiao.standards.tax_credit_grade import Grade

if TYPE_CHECKING:
    from datetime import date

    from shuiqiao.base.ids import OwnedId
    from shuiqiao.exchange.recipient import ProviderLink
    from shuiqiao.node.institution import Institution
    from shuiqiao.privacy.service import LeakageAccounts
    from shuiqiao.sandbox.scenario.consortium import Consortium

DISCLOSE, AT_SOURCE, BLIND, SECURE = "disclose", "at_source", "blind", "secure"
PROVE, PREDICATES = "prove", "predicates"
MODES: Final = (DISCLOSE, AT_SOURCE, BLIND, SECURE, PROVE, PREDICATES)
"""The modes that are built, as study and demo name them."""

PROVING_LOAN: Final = "tax-credit-loan"
"""The product that asks for a credential."""

Known = Mapping[tuple[str, str | None], tuple[int, int]]
"""Recipient and the account's own mode, None of a credential, to fields and thousandths of a bit."""

WhoSawWhat = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Recipient ("anybody" of a credential) to mode to ``fields`` and ``bits``."""


class Learning:
    """What each act adds to a taxpayer's leakage account, under the name of the mode in which it was done.

    Example::

        learning = Learning(known_to(bureau.leakage, taxpayer))
        applicant.use(BLIND, bank)
        learning.note(BLIND)
        learning.who_saw_what  # {"bank-east": {"blind": {"fields": 0, "bits": 12.0}}}
    """

    def __init__(self, read: Callable[[], Known]) -> None:
        """Begin with nothing: what stands on the account already goes to the first mode that is noted."""
        self._read = read
        self._known: Known = {}
        self.who_saw_what: dict[str, dict[str, dict[str, float]]] = {}

    def note(self, mode: str) -> None:
        """Enter what came to the account since the last note."""
        known = self._read()
        gained: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])
        for (recipient, way), (fields, millibits) in known.items():
            fields_before, millibits_before = self._known.get((recipient, way), (0, 0))
            gained[recipient][0] += fields - fields_before
            gained[recipient][1] += millibits - millibits_before
        for recipient, (fields, millibits) in gained.items():
            if fields or millibits:
                of = self.who_saw_what.setdefault(recipient, {}).setdefault(mode, {"fields": 0, "bits": 0.0})
                of["fields"] += fields
                of["bits"] = round(of["bits"] + millibits / MILLI, 3)
        self._known = known


def known_to(accounts: LeakageAccounts, taxpayer: str) -> Callable[[], Known]:
    """Return what reads a taxpayer's account."""
    return lambda: known_by_lines(
        (line.recipient, line.mode, line.fields, line.millibits) for line in accounts.of(taxpayer).lines
    )


def known_by_lines(lines: Iterable[tuple[str | None, str | None, int, int]]) -> Known:
    """Put the lines of an account together. lines: recipient, the account's own mode, fields, thousandths of a bit."""
    found: dict[tuple[str, str | None], tuple[int, int]] = {}
    for recipient, mode, line_fields, line_millibits in lines:
        name = recipient or "anybody", mode
        fields, millibits = found.get(name, (0, 0))
        # Fields of two purposes may be the same ones: the greater number is known for sure.
        found[name] = max(fields, line_fields), millibits + line_millibits
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What was handed over in a mode, beside what the link carried.

    items: record types and groups that a consent named. model: the content that the bureau was handed. shown: what the
    bank was shown of a credential.
    """

    items: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    model: bytes = b""
    shown: tuple[bytes, ...] = ()


@contextmanager
def computing_apart(bank: Institution, bureau: Institution) -> Generator[None]:
    """Let bank and bureau compute together, each by a worker process; raises what ``SecurePair.open`` raises."""
    with closing(SecurePair(names=(bank.member, bureau.member)).open()) as pair:
        bank.secure_links, bureau.secure_links = pair.bank, pair.bureau
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class ModesApplicant:
    """An enterprise with its bureau and banks, and a card whose points may leave, as the bytes of its content.

    as_of: the last day of the records.
    """

    consortium: Consortium
    owner: EnterpriseOwner
    content: bytes
    as_of: date

    def use(
        self,
        mode: str,
        bank: Institution,
        *,
        link: ProviderLink | None = None,
        computing: Callable[[Institution, Institution], AbstractContextManager[None]] = computing_apart,
    ) -> Used:
        """Let a bank ask in one of ``MODES``. link: to the bureau. computing: gives both their links in *secure*.

        Raises Unavailable ``privacy.extra_missing``, what any party refuses with.
        """
        if mode == PROVE:
            return Used(shown=self._shown(bank))
        if mode == PREDICATES:
            return Used(shown=self._proven(bank))
        bureau = self.consortium.bureau
        with computing(bank, bureau) if mode == SECURE else nullcontext():
            return self._asked(mode, bank, link or BureauLink(bank, bureau))

    def _asked(self, mode: str, bank: Institution, link: ProviderLink) -> Used:
        """Let a bank ask under a consent."""
        items = self._items()
        model = None if mode == DISCLOSE else self._let_run(mode, bank)
        consent = self._consent(bank, items=items, mode=Mode.DISCLOSE if model is None else Mode.SCORE)
        wanted = (
            bank.recipient.granted(consent)
            if model is None
            else bank.recipient.scoring(consent, model, outputs=(Output.POINTS,))
        )
        bank.recipient.obtain(wanted, provider=link)
        return Used(items=items, model=b"" if model is None else bank.model_registry.handed(model))

    def _let_run(self, mode: str, bank: Institution) -> OwnedId:
        from shuiqiao.credit.model_content import decode_content

        data, form = self.content, ModelForm.SCORECARD
        if mode == BLIND:
            data, form = encrypted_card(bank, decode_content(self.content)), ModelForm.BLIND_LINEAR
        if mode == SECURE:
            data, form = secured_card(bank, decode_content(self.content)), ModelForm.SECURE_LINEAR
        return let_run(data, form=form, bank=bank, bureau=self.consortium.bureau)

    def _items(self) -> dict[str, list[str]]:
        """Return what the card reads."""
        from shuiqiao.credit.model_content import decode_content
        from shuiqiao.credit.model_runner import inputs_of

        catalogue = self.consortium.bureau.catalogue
        inputs = inputs_of(decode_content(self.content).card.feature_names)
        return {catalogue.get(name).standard_id: groups for name, groups in inputs.items()}

    def _consent(self, bank: Institution, *, items: dict[str, list[str]], mode: Mode) -> OwnedId:
        wanted = ConsentWanted(
            recipient=bank.member,
            purpose=Purpose.UNDERWRITING,
            items=items,
            period=longest_period(Purpose.UNDERWRITING, last=self.as_of),
            product="study",
            modes=(mode,),
            outputs=(Output.POINTS,) if mode is Mode.SCORE else (),
        )
        return self.owner.consent(wanted, bank=bank).artefact.name

    def _shown(self, bank: Institution) -> tuple[bytes, ...]:
        """Have the bureau issue a credential and show it to a bank; return what is shown, every part of it decoded."""
        bureau, taxpayer, request = self.consortium.bureau, self.owner.applicant.uscc, new_id(system_entropy)
        suite, network, now_ms = bureau.suite, bureau.parameters.network, bureau.dependencies.clock.now_ms()
        holder = self.owner.keys.credential_key(request, number=0, network=network)
        body = CredentialRequestBody(
            request=request, bureau=bureau.member, taxpayer=taxpayer, keys=[holder.public_key], made_ms=now_ms
        )
        enrolment_key = self.owner.keys.enrolment_key(bureau.member, network=network)
        issued = bureau.credentials.issue(encode_request(body, network=network, suite=suite, key=enrolment_key))
        bank.catch_up_with(bureau)
        asked = ask_presentation(bank, PresentationQuestion(product=PROVING_LOAN))
        wanted = decode_request(bytes.fromhex(asked.request), network=network, suite=suite).body
        shown = present(
            issued.credentials[0],
            names=wanted.claims,
            challenge=Challenge(audience=wanted.bank, nonce=wanted.request.hex()),
            now_s=now_ms // MS_PER_SECOND,
            key=holder,
            profile=jose_profile(suite),
        )
        show_credential(bank, Presentation(request=asked.request, presentation=shown))
        return shown.encode(), *(urlsafe_b64decode(f"{part}==") for part in re.split("[.~]", shown))

    def _proven(self, bank: Institution) -> tuple[bytes, ...]:
        """Have the bureau issue a credential, and prove to a bank all that it can say; return what is shown."""
        bureau, request = self.consortium.bureau, new_id(system_entropy)
        suite, network, keys = bureau.suite, bureau.parameters.network, self.owner.keys
        row = bureau.credentials.definition()
        definition = anoncreds.decode_definition(row.content)
        secret = keys.link_secret(request, network=network)
        blinded, metadata = anoncreds.blind(definition, request=request, link_secret=secret)
        body = BlindedRequestBody(
            request=request,
            bureau=bureau.member,
            taxpayer=self.owner.applicant.uscc,
            definition=suite.digest(row.content),
            blinded=blinded,
            made_ms=bureau.dependencies.clock.now_ms(),
        )
        enrolment_key = keys.enrolment_key(bureau.member, network=network)
        raw = encode_blinded(body, network=network, suite=suite, key=enrolment_key)
        (issued,) = bureau.credentials.issue_blinded(raw).credentials
        bank.catch_up_with(bureau)
        credential = anoncreds.take(definition, anoncreds.decode_text(issued), metadata=metadata, link_secret=secret)
        rules = PublishedRules(product=PROVING_LOAN, digest=bytes(32), prove=_all_of(credential))
        asked = bank.presentations.request(rules, status_list=definition.status_list)
        registry = find_registry(bank.engine.state(), definition.status_list)
        if registry is None:
            raise LookupError(f"{bank.member} follows no registry {definition.status_list}")
        with TemporaryDirectory() as folder:
            tails = Path(folder) / "tails"
            tails.write_bytes(row.tails)
            proof = anoncreds.present(
                definition,
                credential,
                rules=rules.prove,
                challenge=asked,
                registry=registry,
                link_secret=secret,
                tails=tails,
            )
        bank.presentations.accept(asked, anoncreds.encode_shown(definition, proof), rules=rules)
        return definition.raw, proof


def _all_of(credential: bytes) -> ProveRules:
    """Return the most that can be asked of a credential: its own bands as bounds, every flag that is set."""
    said = anoncreds.claims_of(credential)
    grades = [Grade(letter) for letter in "ABMC"]
    grade = said["tax_credit_grade"]
    return typed(
        {
            "grades": grades[: grades.index(Grade(grade)) + 1] if isinstance(grade, str) else [],
            "least": {name: said[name] for name in anoncreds.BANDS if said[name]},
            "flags": [name for name in anoncreds.FLAGS if said[name]],
        },
        ProveRules,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModesShown:
    """One applicant in each installed mode. refused: mode to the error as its door would tell it."""

    who_saw_what: WhoSawWhat
    refused: Mapping[str, Mapping[str, Any]]


def show_modes(
    applicant: ModesApplicant, modes: Sequence[str], *, banks: Sequence[Institution], learning: Learning
) -> ModesShown:
    """Use modes one after the other, banks taking turns; one that is refused is told by its code."""
    refused = dict[str, Mapping[str, Any]]()
    for place, mode in enumerate(modes):
        try:
            applicant.use(mode, banks[place % len(banks)])
        except (Denied, InvalidInput, Unavailable) as error:
            # An extra is absent, the model has too many indicators for a mode, or the product asks for no credential.
            refused[mode] = error.as_dict()
        learning.note(mode)
    return ModesShown(who_saw_what=learning.who_saw_what, refused=refused)

"""Replays what a bank and a bureau computed together, and names who departed from what both had agreed.

Rule: docs/spec/secure.md [SECURE-20], [SECURE-21]; JR/T 0196-2020, 7.6. For each party, in order:

1. its log stands on the ledger, was handed in, is signed by it and is the one recorded;
2. the log names this request, model, output, function and configuration, and what it commits to opens;
3. of a bank: the numbers that it put in are those of its card, whose commitment stands in the registered model;
4. of a bureau: the numbers that it put in follow from the records that it read, each a leaf of a batch that it
   anchored, and these are the ones that its answer rests on; its share is the one that it signed in its answer.

Then of both: the logs agree on link and compiled code, and both shares together give what the numbers give in the
clear. What cannot be looked at, since an answer or a record is gone, is told as unseen and accuses nobody.

LIMIT: a party whose log is true to the agreement and whose process computed with other numbers is not named: the result
is then another than the numbers give, and it was one of both. LIMIT: a bank learns the bureau's share before it records
its own, so it can claim a share that makes another result; it cannot make it one that its card and the records give.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

from shuiqiao.base.errors import Conflict, IntegrityError, InvalidInput, ShuiqiaoError
from shuiqiao.base.ids import MemberId, OwnedId, split_owned_id
from shuiqiao.credit.indicators import indicators_of
from shuiqiao.credit.model_content import decode_content
from shuiqiao.credit.secure_content import bank_values, committed_weights, decode_secure
from shuiqiao.exchange.computation import (
    ComputationLog,
    PartyEvidence,
    committed,
    decode_log,
    decode_names,
    encode_inputs,
)
from shuiqiao.exchange.manifest import blinding_of, decode_manifest, inventories_of, names_digest
from shuiqiao.exchange.messages import read_request
from shuiqiao.exchange.model import computation_key, request_key
from shuiqiao.exchange.modes.score import binding_of, decode_score
from shuiqiao.models.model import commitment_of
from shuiqiao.models.roster import find_model
from shuiqiao.privacy.secure.model import CONFIGURATION, TAG_BYTES
from shuiqiao.vault.contract import batch_lookup
from shuiqiao.vault.disclosure import decode_disclosure, verify_disclosure

if TYPE_CHECKING:
    from shuiqiao.credit.model_runner import ScorecardRunner
    from shuiqiao.credit.secure_content import SecureContent
    from shuiqiao.crypto.model import CipherSuite
    from shuiqiao.exchange.model import AnswerManifest, RequestMessage
    from shuiqiao.ledger.model import StateView
    from shuiqiao.privacy.secure.model import SecureFunction
    from shuiqiao.standards.model import Catalogue
    from shuiqiao.vault.disclosure import Disclosure


WORDS_ZH: Final[Mapping[str, str]] = {
    "computation_unrecorded": "未将日志上链",
    "log_withheld": "未交出日志",
    "log_wrong": "交出的日志无效或与上链摘要不符",
    "agreement_differs": "日志所记与约定不符",
    "opening_wrong": "出示的内容与承诺不符",
    "weights_differ": "银行投入的权重并非登记模型的权重",
    "records_wrong": "税务机关出示的记录与其应答所依据的不符",
    "indicators_differ": "税务机关投入的指标与其记录不符",
    "share_differs": "应答中的结果分片与日志不符",
    "logs_differ": "双方日志不属于同一链路或同一次计算",
    "result_differs": "结果与双方投入不符,必有一方背离约定",
}
"""What each departure is, by its code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Departure:
    """One departure from what was agreed. party: who departed, empty where it was one of both."""

    code: str
    party: str
    says: str

    @property
    def says_zh(self) -> str:
        """The same in Chinese, for the code."""
        return WORDS_ZH[self.code]


@dataclass(kw_only=True)
class ComputationReport:
    """What a replay found. result: what the numbers give in the clear, None where they were not all shown."""

    request: OwnedId
    bank: MemberId
    bureau: MemberId
    output: str = ""
    result: int | None = None
    departures: list[Departure] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nobody departed from what was agreed, and nothing was left unseen."""
        return not self.departures and not self.unseen

    def accuse(self, code: str, party: str, says: str) -> None:
        """Add a departure."""
        self.departures.append(Departure(code=code, party=party, says=says))

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "computation": self.request,
            "bank": self.bank,
            "bureau": self.bureau,
            "output": self.output,
            "result": self.result,
            "holds": self.holds,
            "departures": [
                {"code": each.code, "party": each.party, "says": each.says, "says_zh": each.says_zh}
                for each in self.departures
            ],
            "unseen": list(self.unseen),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Shown:
    """One party's evidence whose log is true: signed, recorded, and of what was agreed."""

    evidence: PartyEvidence
    log: ComputationLog
    message: RequestMessage
    content: SecureContent
    function: SecureFunction


class ComputationAudit:
    """Replays computations on one copy of the ledger.

    Example::

        audit = ComputationAudit(state=state, network=network, suite=suite, catalogue=catalogue, features=runner)
        audit.replay(request, {bank: banks_evidence, bureau: bureaus_evidence}).departures
    """

    def __init__(
        self, *, state: StateView, network: bytes, suite: CipherSuite, catalogue: Catalogue, features: ScorecardRunner
    ) -> None:
        self._state = state
        self._network = network
        self._suite = suite
        self._catalogue = catalogue
        self._features = features

    def replay(self, request: OwnedId, evidence: Mapping[MemberId, PartyEvidence]) -> ComputationReport:
        """Return what was found of a request that two parties computed; evidence: of each that handed it in.

        Raises InvalidInput ``oversight.computation_unknown`` where the ledger has no request of that name.
        """
        entry = self._state.get(request_key(request))
        if entry is None:
            raise InvalidInput("oversight.computation_unknown", f"the ledger has no request {request}")
        bank, bureau = split_owned_id(request)[0], MemberId(entry["provider"])
        report = ComputationReport(request=request, bank=bank, bureau=bureau)
        shown: dict[MemberId, _Shown] = {}
        for party, other in ((bank, bureau), (bureau, bank)):
            found = self._shown(report, party, other, evidence.get(party))
            if found is not None:
                shown[party] = found
        report.output = next((str(each.log.output) for each in shown.values()), "")
        manifest = self._manifest(report, evidence.get(bank))
        if bank in shown:
            self._look_at_card(report, shown[bank])
        if bureau in shown:
            self._look_at_records(report, shown[bureau], manifest=manifest)
        if len(shown) == 2:  # noqa: PLR2004 - both parties
            self._compare(report, shown[bank], shown[bureau], manifest=manifest)
        return report

    def _shown(
        self, report: ComputationReport, party: MemberId, other: MemberId, evidence: PartyEvidence | None
    ) -> _Shown | None:
        """Steps 1 and 2; None where what a party says cannot be relied on."""
        recorded = (self._state.get(computation_key(report.request)) or {}).get(party)
        if recorded is None:
            report.accuse("computation_unrecorded", party, f"{party} put no log of {report.request} on the ledger")
        if evidence is None:
            report.accuse("log_withheld", party, f"{party} handed in no log of {report.request}")
            return None
        if recorded is not None and self._suite.digest(evidence.log) != recorded:
            report.accuse("log_wrong", party, f"{party} handed in another log than the one that it recorded")
            return None
        try:
            log = decode_log(evidence.log, party=party, state=self._state, network=self._network, suite=self._suite)
            message, content = self._agreed(report, evidence)
            function = content.function(log.output)
        except ShuiqiaoError as error:
            report.accuse("log_wrong", party, f"what {party} handed in is refused: {error.code}: {error.message}")
            return None
        for code, says in self._faults(log, evidence, message, function=function, other=other):
            report.accuse(code, party, says)
        is_relied_on = not any(
            each.party == party and each.code != "computation_unrecorded" for each in report.departures
        )
        return (
            _Shown(evidence=evidence, log=log, message=message, content=content, function=function)
            if is_relied_on
            else None
        )

    def _agreed(self, report: ComputationReport, evidence: PartyEvidence) -> tuple[RequestMessage, SecureContent]:
        """Return request and model as the ledger has them; raises IntegrityError ``oversight.evidence_wrong``."""
        entry = self._state.get(request_key(report.request)) or {}
        if self._suite.digest(evidence.message) != entry["request_digest"]:
            raise IntegrityError("oversight.evidence_wrong", "the request shown is not the one on the ledger")
        message = read_request(evidence.message, network=self._network, suite=self._suite)
        model = None if message.model is None else find_model(self._state, OwnedId(message.model.model))
        shown = commitment_of(evidence.content, salt=evidence.content_salt, digest=self._suite.digest)
        if model is None or message.model is None or not model.digest == message.model.digest == shown:
            raise IntegrityError("oversight.evidence_wrong", "the model shown is not the one that the request names")
        return message, decode_secure(evidence.content)

    def _faults(
        self,
        log: ComputationLog,
        evidence: PartyEvidence,
        message: RequestMessage,
        *,
        function: SecureFunction,
        other: MemberId,
    ) -> Iterator[tuple[str, str]]:
        """Step 2: where a log is of something else than was agreed, or does not open."""
        asked = message.model
        expected = {
            "other party": (log.other, other),
            "request": ((log.request, log.binding), (message.name, binding_of(message))),
            "model": ((log.model, log.model_digest), asked and (asked.model, asked.digest)),
            "output": ([log.output], asked and asked.outputs),
            "function": (log.function, function.digest),
            "configuration": (log.configuration, sha256(CONFIGURATION).digest()),
        }
        for what, (said, agreed) in expected.items():
            if said != agreed:
                yield "agreement_differs", f"{log.party} logged another {what} than was agreed"
        opened = {"inputs": encode_inputs(evidence.inputs), "share": evidence.share}
        for what, data in opened.items():
            if committed(data, what=what, salt=evidence.salt, suite=self._suite) != getattr(log, what):
                yield "opening_wrong", f"{log.party} shows another {what} than its log commits to"
        if evidence.share[1 : 1 + TAG_BYTES] != log.agreed:
            yield "agreement_differs", f"the share of {log.party} is of another run than its log says"

    def _look_at_card(self, report: ComputationReport, shown: _Shown) -> None:
        """Step 3."""
        bank, evidence = report.bank, shown.evidence
        if evidence.card is None or evidence.card_salt is None:
            report.unseen.append(f"{bank} shows no card")
            return
        if committed_weights(evidence.card, salt=evidence.card_salt) != shown.content.weights:
            report.accuse("opening_wrong", bank, f"{bank} shows another card than its registered model commits to")
            return
        try:
            expected = bank_values(decode_content(evidence.card), shown.log.output)
        except InvalidInput as error:
            report.accuse("opening_wrong", bank, f"the card that {bank} shows cannot be read: {error.code}")
            return
        if expected != evidence.inputs:
            report.accuse("weights_differ", bank, f"{bank} put in other weights than those of its registered model")

    def _look_at_records(self, report: ComputationReport, shown: _Shown, *, manifest: AnswerManifest | None) -> None:
        """Step 4, its share aside."""
        bureau, evidence = report.bureau, shown.evidence
        if evidence.names is None or evidence.names_salt is None or evidence.records is None:
            report.unseen.append(f"{bureau} shows no records")
            return
        try:
            disclosure, tables = self._records(report, evidence.records, message=shown.message)
            named = {type_id: decode_names(names) for type_id, names in evidence.names.items()}
            expected = self._indicators(shown, tables=tables, taxpayer=disclosure.uscc)
        except Conflict as error:
            report.unseen.append(f"records of {bureau} cannot be proven any more: {error.code}")
            return
        except ShuiqiaoError as error:
            report.accuse("records_wrong", bureau, f"what {bureau} shows of records is refused: {error.code}")
            return
        if manifest is not None and (manifest.taxpayer, {each.type: each.names for each in manifest.types}) != (
            disclosure.uscc,
            {
                type_id: names_digest(
                    leaves, suite=self._suite, blinding=blinding_of(evidence.names_salt, type_id=type_id)
                )
                for type_id, leaves in named.items()
            },
        ):
            report.accuse("records_wrong", bureau, f"{bureau} shows other records than those its answer rests on")
            return
        there = inventories_of(disclosure, catalogue=self._catalogue)
        if {name: set(each.leaves) for name, each in there.items()} != {
            name: set(each) for name, each in named.items()
        }:
            report.unseen.append(f"records that {bureau} read were amended or erased since, or others came")
            return
        if expected != evidence.inputs:
            report.accuse("indicators_differ", bureau, f"{bureau} put in other indicators than its records give")

    def _records(
        self, report: ComputationReport, records: bytes, *, message: RequestMessage
    ) -> tuple[Disclosure, dict[str, Any]]:
        """Return records that are proven and exactly of what was asked, with a table by record type."""
        import pyarrow as pa

        disclosure = decode_disclosure(records, catalogue=self._catalogue)
        found = {entry.standard: list(entry.groups) for entry in disclosure.types}
        asked = (message.items, message.period_from, message.period_to)
        if (found, disclosure.period_from, disclosure.period_to) != asked:
            raise IntegrityError("oversight.evidence_wrong", "the records shown are not of what was asked for")
        verified = verify_disclosure(
            disclosure,
            batch_of=batch_lookup(self._state, report.bureau),
            suite=self._suite,
            catalogue=self._catalogue,
        )
        tables = {each.record_type.id: pa.Table.from_batches([each.rows]) for each in verified.types.values()}
        return disclosure, tables

    def _indicators(self, shown: _Shown, *, tables: Mapping[str, Any], taxpayer: str) -> list[int]:
        values = self._features.values(
            shown.content.feature_names, tables=tables, taxpayer=taxpayer, as_of=shown.message.period_to
        )
        return [int(each) for each in indicators_of(shown.content.features, values)[:, 0]]

    def _manifest(self, report: ComputationReport, bank: PartyEvidence | None) -> AnswerManifest | None:
        """Return the manifest that the bureau signed, as the bank shows it; None where it does not."""
        entry = self._state.get(request_key(report.request)) or {}
        shown = None if bank is None else bank.manifest
        if shown is None or self._suite.digest(shown) != entry["manifest_digest"]:
            report.unseen.append(f"{report.bank} does not show the manifest that {report.bureau} signed")
            return None
        return decode_manifest(
            shown, provider=report.bureau, state=self._state, network=self._network, suite=self._suite
        )

    def _compare(
        self, report: ComputationReport, bank: _Shown, bureau: _Shown, *, manifest: AnswerManifest | None
    ) -> None:
        """What both logs and both shares say together."""
        ours, theirs = bank.log, bureau.log
        if (ours.agreed, ours.session, ours.bank_certificate, ours.bureau_certificate) != (
            theirs.agreed, theirs.session, theirs.bank_certificate, theirs.bureau_certificate,
        ):  # fmt: skip
            report.accuse("logs_differ", "", "the two logs are of two links or of two runs")
            return
        if manifest is not None:
            self._look_at_answer(report, bank.evidence.result, manifest=manifest, share=bureau.evidence.share)
        try:
            report.result = bank.function.plain(bank.evidence.inputs, bureau.evidence.inputs)
            found = bank.function.combine(bank.evidence.share, bureau.evidence.share)
        except (IntegrityError, InvalidInput):
            found = None
        if found != report.result and not report.departures:
            report.accuse("result_differs", "", "the shares give another result than the numbers: one of both departed")

    def _look_at_answer(
        self, report: ComputationReport, result: bytes | None, *, manifest: AnswerManifest, share: bytes
    ) -> None:
        """The bureau answered with the share that it logged: it signed a digest of what the bank shows."""
        if result is None or manifest.result != self._suite.digest(result):
            report.unseen.append(f"{report.bank} does not show the answer that {report.bureau} signed")
            return
        try:
            shared = decode_score(result).output.shared
        except InvalidInput:
            shared = None
        if shared is None or shared.share != share:
            says = f"{report.bureau} answered with another share than it logged"
            report.accuse("share_differs", report.bureau, says)

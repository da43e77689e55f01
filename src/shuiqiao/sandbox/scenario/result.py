"""What a run of the scenario yields: the command line's JSON contract, and the details that the report page draws.

Field names of the JSON are binding (the command line is a contract). Every number here was measured or counted in the
run; what is not measured is None and is shown as such.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from shuiqiao.base.words import Words
from shuiqiao.oversight.model import Release


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionCounts:
    """Decisions by outcome."""

    approved: int
    refused: int
    referred: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentiles:
    """Milliseconds from application to a durable decision record."""

    p50: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFigures:
    """Out-of-fold figures of the scorecard. baseline_auc: log monthly revenue alone, on the same folds."""

    auc: float
    auc_ci: tuple[float, float]
    baseline_auc: float
    ks: float
    brier: float
    n: int
    bad: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFigures:
    """The live ledger at the end. root: hex."""

    transactions: int
    height: int
    root: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFigures:
    """The regulator's replay from genesis."""

    replayed: int
    root_matches: bool
    signatures_verified: int
    anchors_verified: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordManagement:
    """The record-management-only rules."""

    kinds_walked: int
    mint_refused: bool
    transfer_refused: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TamperChecks:
    """Acts of tampering on copies of the real files, each True when it was caught."""

    vault_byte_flip_caught: bool
    ledger_byte_flip_caught: bool
    forged_invoice_caught: bool
    revoked_consent_refused: bool
    expired_consent_refused: bool
    withheld_record_caught: bool
    operator_rewrite_caught_by_follower: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayChecks:
    """What replaying the validators' blocks through the embedded engine's means came to."""

    blocks: int
    transactions: int
    log_roots_equal: bool
    """At every block: its leaves are the member's, and its root lies under the signed checkpoint."""
    log_root_equal: bool
    """At the end, beside the signed checkpoint itself."""
    state_root_equal: bool
    """In every block entry, and of the replay's own map at the end."""
    state_equal: bool
    """The replayed state has the member's keys and values."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alteration:
    """What a member altered in its own copy: as another member found it, comparing record by record, key by key."""

    member: str
    record_index: int | None
    kind: str | None
    state_key: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkChecks:
    """The consortium of validators: what held, and what became of the member that altered its copy."""

    engine: str
    engine_version: str
    validators: int
    nodes: int
    agreed_roots: bool
    """Every member had the same size, log root and state root when the main job was done."""
    replayed_through_embedded: ReplayChecks
    altered: Alteration
    refused_code: str
    """How its own CometBFT node refused the altered ledger."""
    outvoted: bool
    """The others decided blocks without its vote, and the newest checkpoint does not carry its cosignature."""
    named: tuple[str, ...]
    """Who stands accused on the ledger, or was named for a vote."""
    named_by: tuple[str, ...]
    """Whose alarm stands on the ledger, after verifying evidence and finding another root in its own log."""
    named_in_votes_by: tuple[str, ...]
    """Who refused its vote for the cosignature in it before the block was decided without it: may be nobody."""
    evidence_codes: tuple[str, ...]
    """What holding its two cosignatures against each other came to, at every other member."""
    blocks_after_alteration: int
    honest_roots_equal: bool

    def checks(self) -> dict[str, bool]:
        """Return every check of the consortium by name."""
        return {
            "agreed_roots": self.agreed_roots,
            "replay_log_roots_equal": self.replayed_through_embedded.log_roots_equal,
            "replay_log_root_equal": self.replayed_through_embedded.log_root_equal,
            "replay_state_root_equal": self.replayed_through_embedded.state_root_equal,
            "replay_state_equal": self.replayed_through_embedded.state_equal,
            "altered_found": None not in (self.altered.record_index, self.altered.state_key),
            "altered_refused": self.refused_code == "ledger.app_hash_refused",
            "outvoted": self.outvoted,
            "named": self.named == (self.altered.member,),
            "named_by_all_others": len(self.named_by) == self.nodes - 1,
            "evidence_holds": self.evidence_codes == ("ledger.fork_detected",),
            "went_on": self.blocks_after_alteration > 0,
            "honest_roots_equal": self.honest_roots_equal,
        }

    def failed(self) -> list[str]:
        """Return the names of checks that are not true."""
        return [name for name, holds in self.checks().items() if not holds]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioFigures:
    """The JSON contract of ``shuiqiao demo``."""

    network: str
    suite: str
    taxpayers: int
    records_read: int
    records_ingested: int
    records_quarantined: int
    duplicates_reported: int
    anchors: int
    ingest_records_per_s: int
    consents: int
    requests: int
    refusals: int
    decisions: DecisionCounts
    decision_ms: Percentiles
    model: ModelFigures
    ledger: LedgerFigures
    audit: AuditFigures
    record_management_only: RecordManagement
    tamper_checks: TamperChecks
    network_checks: NetworkChecks | None
    """None with the embedded engine, where nobody votes."""
    who_saw_what: Mapping[str, Mapping[str, Mapping[str, float]]]
    """Of one applicant: member, or "anybody" of a credential, to mode to ``fields`` and ``bits``, as the bureau's
    leakage account has them."""
    modes_refused: Mapping[str, Mapping[str, Any]]
    """Modes whose extra is not installed: to the error's code, message and next step."""
    receipts_dir: str
    report: str

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object, keys in the order of the contract."""
        return asdict(self)

    def checks(self) -> dict[str, bool]:
        """Return every check of the run by name."""
        groups = (asdict(self.audit), asdict(self.record_management_only), asdict(self.tamper_checks))
        checks = {name: value for group in groups for name, value in group.items() if isinstance(value, bool)}
        return checks if self.network_checks is None else checks | self.network_checks.checks()

    def failed_checks(self) -> list[str]:
        """Return the names of checks that are not true; an honest run returns none."""
        return [name for name, holds in self.checks().items() if not holds]


class Share(StrEnum):
    """What an institution has to do with the order of the ledger."""

    WRITER = "writer"
    FOLLOWER = "follower"
    VALIDATOR = "validator"
    OBSERVER = "observer"
    """A node of the consortium without a vote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """One institution of the run. role: tax_bureau, bank, regulator."""

    member: str
    role: str
    names: Words
    share: Share
    fingerprint: str
    """First 16 hex characters of its key id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRow:
    """One decision, pseudonymous: shown in the report. amount, limit in fen; annual_rate as decimal text or None."""

    applicant: str
    bank: str
    outcome: str
    amount_fen: int
    limit_fen: int
    annual_rate: str | None
    points: int
    default_probability: str
    reasons: tuple[Words, ...]
    grade: str
    industry: str
    defaulted: bool | None
    """The outcome in the lead bank's loan book. The card that scored this applicant was trained without it."""
    milliseconds: float


Curve = tuple[tuple[float, float], ...]
"""A curve of the model's validation: (x, y) within 0..1."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDetails:
    """What the report shows of the model besides its figures."""

    roc: Curve
    baseline_roc: Curve
    ks_good: Curve
    """Cumulative share of good borrowers by score."""
    ks_bad: Curve
    calibration: tuple[tuple[float, float, int], ...]
    """(predicted, observed, firms) per band."""
    paired_p_value: float | None
    features: tuple[tuple[str, str, str], ...]
    """(name, Chinese name, formula) of the features in the scorecard."""
    candidate_features: int
    baseline_auc_ci: tuple[float, float] | None
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TamperStory:
    """One tampering act in words. check: the field of TamperChecks it belongs to. code: what caught it."""

    check: str
    act: Words
    caught_by: Words
    code: str
    caught: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Visibility:
    """Who saw what of which kind of data: for the picture of what stayed hidden.

    seen: fields or groups this party received in clear; hidden: what it never received. records: how many records.
    """

    party: str
    seen: tuple[Words, ...]
    hidden: tuple[Words, ...]
    records: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioDetails:
    """Everything the report page draws besides the figures."""

    started: str
    """ISO 8601 UTC."""
    data_source: Words
    is_synthetic: bool
    parties: tuple[Party, ...]
    step_seconds: Mapping[str, float]
    """Wall seconds of each step of the run by name, in order."""
    transactions_by_kind: Mapping[str, int]
    kept_out: Mapping[str, int]
    """Records kept out at ingest, by rule: ``duplicate`` or the validation rule."""
    refusals_by_code: Mapping[str, int]
    decisions: tuple[DecisionRow, ...]
    model: ModelDetails
    tamper: tuple[TamperStory, ...]
    visibility: tuple[Visibility, ...]
    records_disclosed: int
    bytes_disclosed: int
    receipts: int
    receipt_example: str
    """A ready command line that verifies one receipt."""
    checkpoint_note: str
    release: Release
    """The regulator's statistics of the decisions."""
    followers: Mapping[str, int]
    """Member -> height its own copy of the ledger reached."""
    assumptions: tuple[Words, ...]
    audit_problems: tuple[str, ...]
    machine: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ScenarioResult:
    """Figures, details, and where the run's files are."""

    figures: ScenarioFigures
    details: ScenarioDetails
    folder: Path

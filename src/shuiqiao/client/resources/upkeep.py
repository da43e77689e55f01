"""What keeps an institution's node going: its keys, the log that it publishes, the audit of its ledger."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import Field, StringConstraints

from shuiqiao.client.operation import Operation
from shuiqiao.client.resources.own_files import PathText
from shuiqiao.client.wire import Count, Hex, Name, Nothing, Wire, example

Text = Annotated[str, Field(max_length=10_000)]


class OwnKeys(Wire):
    """The public keys of an institution that are in use; validator_key: with its proof, where it runs a validator."""

    model_config = example(
        member="first-bank",
        role="bank",
        suite="intl",
        signing_key="5c" * 32,
        signing_key_id="aa" * 32,
        sealing_key="7d" * 32,
        validator_key=None,
        validator_proof=None,
    )

    member: Name
    role: Name
    suite: Name
    signing_key: Hex
    signing_key_id: Hex
    sealing_key: Hex
    validator_key: Hex | None = None
    validator_proof: Hex | None = None


class PublicationState(Wire):
    """How far the log was published as static files. folder: none where the settings name none.

    size, root, note: none where nothing was published yet.
    """

    model_config = example(
        folder="/srv/bank/tiles", interval_s=60, size=130, root="2a" * 32, note="shuiqiao.example/8f8f\n130\n"
    )

    folder: Text | None
    interval_s: Count
    size: Count | None
    root: Hex | None
    note: Text | None


class PublicationFolder(Wire):
    """Where to publish; left out, in the folder of the settings."""

    model_config = example(folder=None)

    folder: PathText | None = None


class Published(Wire):
    """What was published."""

    model_config = example(
        folder="/srv/bank/tiles",
        origin="shuiqiao.example/8f8f",
        size=130,
        root="2a" * 32,
        published_before=96,
        files_written=3,
        cosigners=["first-bank", "regulator"],
    )

    folder: Text
    origin: Text
    size: Count
    root: Hex
    published_before: Count
    """Leaves that were there before."""
    files_written: Count
    cosigners: tuple[Name, ...]


class RecordRules(Wire):
    """That the ledger manages records only: its kinds were walked, and a mint, a transfer and a fee were tried."""

    kinds_walked: Count
    fields_walked: Count
    violations: tuple[Text, ...]
    mint_refused: bool
    transfer_refused: bool
    fee_refused: bool


class Audit(Wire):
    """What a replay from genesis found; next_steps: of each problem, none where it has no code."""

    model_config = example(
        replayed=130,
        root_matches=True,
        signatures_verified=210,
        anchors_verified=4,
        records_anchored=16384,
        openings_checked=0,
        openings_unopened="",
        records_unread="",
        record_management_only={
            "kinds_walked": 40,
            "fields_walked": 160,
            "violations": [],
            "mint_refused": True,
            "transfer_refused": True,
            "fee_refused": True,
        },
        problems=[],
        next_steps=[],
    )

    replayed: Count
    root_matches: bool
    signatures_verified: Count
    anchors_verified: Count
    records_anchored: Count
    openings_checked: Count
    openings_unopened: Text
    records_unread: Text
    record_management_only: RecordRules
    problems: tuple[Text, ...]
    next_steps: tuple[dict[str, Any] | None, ...]


class Obligation(Wire):
    """One rule that binds an institution. standing: unmet, unseen (what would show it cannot be read) or met."""

    id: Name
    rule: Text
    asks: Text
    asks_zh: Text
    control: Text
    control_zh: Text
    standing: Name
    evidence: Text
    evidence_zh: Text


class ObligationReview(Wire):
    """Every rule that binds an institution, unmet ones first."""

    model_config = example(
        obligations=[
            {
                "id": "national_cryptography",
                "rule": "GB/T 39786-2021, JR/T 0184-2020",
                "asks": "SM2, SM3 and SM4 for identity, integrity and confidentiality",
                "asks_zh": "以 SM2、SM3、SM4 实现身份鉴别、完整性与机密性",
                "control": "a network is founded with the suite gm",
                "control_zh": "建网时选用 gm 套件",
                "standing": "unmet",
                "evidence": "suite intl; gm wanted",
                "evidence_zh": "密码套件 intl",
            }
        ]
    )

    obligations: tuple[Obligation, ...]


MAX_EVIDENCE_CHARS: Final = 7 << 20
EvidenceText = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]+$", max_length=MAX_EVIDENCE_CHARS)]
"""A file of evidence, base64url without padding."""

ComputationName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{1,31}/[0-9a-f]{32}$")]
"""A computation, by the request that it answers: the bank that asked, and its id."""


class ComputationChoice(Wire):
    """An answer that two members computed together."""

    model_config = example(computation="first-bank/" + "7a" * 16)

    computation: ComputationName


class ComputationEvidence(Wire):
    """One party's evidence of a computation, sealed to the regulator."""

    model_config = example(
        party="first-bank", regulator="regulator", computation="first-bank/" + "7a" * 16, evidence="p2VwYXJ0eQ"
    )

    party: Name
    regulator: Name
    computation: ComputationName
    evidence: EvidenceText


class ComputationAsked(Wire):
    """A computation, and what its parties handed in of it; where that is nothing, both are asked."""

    model_config = example(computation="first-bank/" + "7a" * 16, evidence=["p2VwYXJ0eQ"])

    computation: ComputationName
    evidence: Annotated[tuple[EvidenceText, ...], Field(max_length=2)] = ()


class ComputationDeparture(Wire):
    """One departure from what was agreed. party: who departed, empty where it was one of both."""

    code: Name
    party: Name
    says: Text
    says_zh: Text


class ComputationReplay(Wire):
    """What a replay of a computation found. result: what the numbers give in the clear; points from the card's middle.

    unseen: what could not be looked at.
    """

    model_config = example(
        computation="first-bank/" + "7a" * 16,
        bank="first-bank",
        bureau="tax-bureau",
        output="band",
        result=None,
        holds=False,
        departures=[
            {
                "code": "log_withheld",
                "party": "tax-bureau",
                "says": "tax-bureau handed in no log",
                "says_zh": "未交出日志",
            }
        ],
        unseen=[],
    )

    computation: ComputationName
    bank: Name
    bureau: Name
    output: Name
    result: int | None
    holds: bool
    departures: tuple[ComputationDeparture, ...]
    unseen: tuple[Text, ...]


MAX_COMPUTATION_BYTES: Final = 16 << 20
"""Of what a regulator is handed of one computation."""

AUDIT_TIMEOUT_S: Final = 6 * 3_600.0
"""How long an audit may take, in seconds: it executes the whole log again."""

READ_KEYS: Final = Operation(method="GET", path="/keys", sent=Nothing, told=OwnKeys)
READ_PUBLICATION: Final = Operation(method="GET", path="/ledger/publication", sent=Nothing, told=PublicationState)
PUBLISH_LOG: Final = Operation(
    prefix="/home",
    path="/publications",
    sent=PublicationFolder,
    told=Published,
    timeout_s=AUDIT_TIMEOUT_S,
)
AUDIT_LEDGER: Final = Operation(path="/audits", sent=Nothing, told=Audit, act="ledger.audit", timeout_s=AUDIT_TIMEOUT_S)
REVIEW_OBLIGATIONS: Final = Operation(
    path="/obligation-reviews",
    sent=Nothing,
    told=ObligationReview,
    act="obligations.review",
    timeout_s=AUDIT_TIMEOUT_S,
)
SHOW_COMPUTATION: Final = Operation(
    path="/computation-evidence",
    sent=ComputationChoice,
    told=ComputationEvidence,
    act="computations.show",
    subject=lambda asked: f"request/{asked.computation}",
    tells_secret=True,
)
REPLAY_COMPUTATION: Final = Operation(
    path="/computation-replays",
    sent=ComputationAsked,
    told=ComputationReplay,
    act="computations.replay",
    subject=lambda asked: f"request/{asked.computation}",
    shows_taxpayer=True,
)

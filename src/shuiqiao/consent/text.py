"""The text 授权书文本 that a person reads and signs: made in Chinese and English from the artefact's other fields.

Its digest stands in the artefact (``ConsentArtefact.text``), so what was read and what is enforced are one: bureau and
bank make the text again and refuse an artefact whose digest is of any other words [CONSENT-23], [CONSENT-24].

The words are form 1. They never change, because artefacts that are signed rest on them: ``tests/vectors`` holds both
texts to the byte, and other words are another form with a domain of its own. Every field that says who, what, why, how
or until when stands in it; what only binds (``key``, ``firm``, ``salt``) does not. Pure: no clock, no ledger.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from shuiqiao.base.errors import InvalidInput
from shuiqiao.base.words import Words
from shuiqiao.consent.model import Fetch, FrequencyUnit, JointRole, Mode, Output, Purpose

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shuiqiao.consent.model import ConsentArtefact
    from shuiqiao.crypto.model import CipherSuite

_DOMAIN = b"shuiqiao/consent/text/1\x00"

_UNSEEN = (
    *range(0x20), *range(0x7F, 0xA0), 0xAD, 0x61C, 0x180E, *range(0x200B, 0x2010), *range(0x2028, 0x202F),
    *range(0x2060, 0x2070), 0xFEFF,
)  # fmt: skip
_ESCAPES = {code: f"\\u{code:04x}" for code in _UNSEEN}
"""Characters that end a line, reorder it or are not seen: in a product's name they could write terms of their own."""

_PURPOSES = {
    Purpose.UNDERWRITING: Words(en="to judge a loan application", zh="贷款审批"),
    Purpose.LOAN_MONITORING: Words(en="to watch a loan that runs", zh="贷后管理"),
    Purpose.MODEL_DEVELOPMENT: Words(en="to develop credit models", zh="信用模型开发"),
    Purpose.ONE_TIME: Words(en="to look once", zh="一次性查询"),
}
_MODES = {
    Mode.DISCLOSE: Words(en="it receives the records themselves", zh="接收数据原文"),
    Mode.PROVE: Words(en="it receives proofs of statements on the records", zh="接收关于数据的证明"),
    Mode.SCORE: Words(en="a model runs on the records and its result is given", zh="以模型计算并接收结果"),
    Mode.TRAIN: Words(en="a model is trained on the records", zh="用于模型训练"),
    Mode.EXPOSURE: Words(
        en="it and other banks with such a consent of yours tell each other in which band your loans there lie",
        zh="与您同样授权的其他银行相互告知您在其处贷款的金额档次",
    ),
}
_OUTPUTS = {
    Output.BAND: Words(en="the band", zh="评分档次"),
    Output.POINTS: Words(en="the points", zh="分数"),
    Output.REASONS: Words(en="the reasons", zh="扣分原因"),
    Output.YES_NO: Words(en="yes or no", zh="是否达标"),
}
_UNITS = {
    FrequencyUnit.DAY: Words(en="day", zh="日"),
    FrequencyUnit.MONTH: Words(en="30 days", zh="30 日"),
    FrequencyUnit.YEAR: Words(en="365 days", zh="365 日"),
}
_FETCHES = {
    Fetch.ONE_TIME: Words(en="Data is given once only.", zh="仅提供一次。"),
    Fetch.PERIODIC: Words(en="Data may be given repeatedly.", zh="可多次提供。"),
}
_ROLES = {
    JointRole.BORROWER: Words(en="the borrower", zh="借款人"),
    JointRole.GUARANTOR: Words(en="the guarantor", zh="保证人"),
}
_TYPES: Mapping[str, Words] = {
    "registration": Words(en="registration", zh="登记信息"),
    "shareholder": Words(en="shareholders", zh="投资方信息"),
    "change": Words(en="changes of the registration", zh="变更登记"),
    "tax_credit_grade": Words(en="tax credit grade", zh="纳税信用等级"),
    "filing": Words(en="tax filings", zh="申报信息"),
    "payment": Words(en="tax payments", zh="缴款信息"),
    "arrears": Words(en="tax arrears", zh="欠税信息"),
    "violation": Words(en="violations", zh="违法违章信息"),
    "audit_case": Words(en="audit cases", zh="稽查案件"),
    "vat_return_general": Words(en="VAT returns of general taxpayers", zh="增值税申报表(一般纳税人)"),
    "vat_return_small": Words(en="VAT returns of small taxpayers", zh="增值税申报表(小规模纳税人)"),
    "cit_return": Words(en="income tax returns", zh="企业所得税申报表"),
    "balance_sheet": Words(en="balance sheets", zh="资产负债表"),
    "income_statement": Words(en="income statements", zh="利润表"),
    "cash_flow": Words(en="cash flow statements", zh="现金流量表"),
    "invoice_issued": Words(en="invoices issued", zh="开具发票"),
    "invoice_received": Words(en="invoices received", zh="取得发票"),
    "red_letter_confirmation": Words(en="red-letter confirmations", zh="红字发票确认单"),
}
_GROUPS: Mapping[str, Words] = {
    "core": Words(en="core facts", zh="核心事实"),
    "amounts": Words(en="amounts", zh="金额"),
    "counterparty": Words(en="trading partners", zh="交易对方"),
    "person": Words(en="legal representative", zh="法定代表人"),
}

_RIGHTS = Words(
    en="I may pause, resume or end this authorisation at any time. After its end no data is given under it.",
    zh="本人可随时暂停、恢复或撤销本授权;授权终止后,不得再依据本授权提供数据。",
)


def consent_text(artefact: ConsentArtefact) -> Words:
    """Return the text of an artefact in both languages, lines ended by a line feed.

    ::

        words = consent_text(artefact)
        print(words.zh, words.en)
    """
    lines = [*_parties(artefact), *_data(artefact), *_use(artefact), *_end(artefact), *_others(artefact), _RIGHTS]
    title = Words(en="Authorisation to use tax data", zh="税务数据使用授权书")
    numbered = [Words(en=f"{at}. {line.en}", zh=f"{at}. {line.zh}") for at, line in enumerate(lines, start=1)]
    return Words(
        en="".join(f"{line.en}\n" for line in (title, *numbered)),
        zh="".join(f"{line.zh}\n" for line in (title, *numbered)),
    )


def text_digest(artefact: ConsentArtefact, *, suite: CipherSuite) -> bytes:
    """Return the digest of an artefact's text in both languages [CONSENT-23]."""
    words = consent_text(artefact)
    return suite.digest(_DOMAIN + words.zh.encode() + b"\x00" + words.en.encode())


def verify_text(artefact: ConsentArtefact, *, suite: CipherSuite) -> None:
    """Return if an artefact holds the digest of its own text, or of none, as those of earlier releases.

    Raises InvalidInput ``consent.text_mismatch`` [CONSENT-24].
    """
    if artefact.text is not None and artefact.text != text_digest(artefact, suite=suite):
        raise InvalidInput(
            "consent.text_mismatch",
            f"artefact {artefact.consent.hex()} holds the digest of another text than the one its fields make",
        )


def _parties(artefact: ConsentArtefact) -> Iterable[Words]:
    product, purpose = _quoted(artefact.product), _PURPOSES[artefact.purpose]
    check = artefact.identity_check
    reference, checked = _quoted(check.reference), _moment(check.checked_ms)
    yield Words(
        en=f"I sign for the taxpayer {artefact.taxpayer}. This authorisation has the number {artefact.name}.",
        zh=f"本人代表纳税人 {artefact.taxpayer} 签署。授权书编号:{artefact.name}。",
    )
    yield Words(
        en=f"The tax bureau {artefact.provider} may give data to the bank {artefact.recipient} and to nobody else.",
        zh=f"税务机关 {artefact.provider} 可向银行 {artefact.recipient} 提供数据,不得向其他任何人提供。",
    )
    yield Words(
        en=f'Purpose: {purpose.en}, for the product "{product}", and for nothing else.',
        zh=f"用途:{purpose.zh};产品:「{product}」。不得用于其他用途。",
    )
    yield Words(
        en=f'The legal representative was identified by the bureau at {checked}, reference "{reference}".',
        zh=f"法定代表人身份已由税务机关于 {checked} 核验,编号「{reference}」。",
    )


def _data(artefact: ConsentArtefact) -> Iterable[Words]:
    for type_id, groups in sorted(artefact.items.items()):
        name = type_id.partition("@")[0]
        of, parts = _TYPES.get(name, _same(name)), [_GROUPS.get(group, _same(group)) for group in groups]
        yield Words(
            en=f"Data: {of.en} ({type_id}): {', '.join(part.en for part in parts)}.",
            zh=f"数据:{of.zh}({type_id}):{'、'.join(part.zh for part in parts)}。",
        )
    yield Words(
        en=f"The data is of {artefact.period_from} to {artefact.period_to}, both days included.",
        zh=f"数据所属期:{artefact.period_from} 至 {artefact.period_to}(含首尾两日)。",
    )


def _use(artefact: ConsentArtefact) -> Iterable[Words]:
    modes, unit, count = (
        [_MODES[mode] for mode in artefact.modes],
        _UNITS[artefact.frequency.unit],
        artefact.frequency.count,
    )
    yield Words(
        en=f"How the bank uses it: {'; '.join(mode.en for mode in modes)}.",
        zh=f"使用方式:{'、'.join(mode.zh for mode in modes)}。",
    )
    if artefact.outputs is not None:
        outputs = [_OUTPUTS[output] for output in artefact.outputs]
        yield Words(
            en=f"Of a model's result only this is given: {', '.join(output.en for output in outputs)}.",
            zh=f"模型计算结果仅提供:{'、'.join(output.zh for output in outputs)}。",
        )
    yield Words(
        en=f"At most {count} answers are given within any {unit.en}.",
        zh=f"任意 {unit.zh}内提供次数不超过 {count} 次。",
    )
    if artefact.fetch is not None:
        yield _FETCHES[artefact.fetch]
    yield Words(
        en=f"The bank keeps what it receives for at most {artefact.data_life_days} days and then destroys it.",
        zh=f"银行保存所接收数据不超过 {artefact.data_life_days} 天,期满销毁。",
    )


def _end(artefact: ConsentArtefact) -> Iterable[Words]:
    first, last = _moment(artefact.valid_from_ms), _moment(artefact.valid_to_ms)
    yield Words(
        en=f"This authorisation is valid from {first} to {last}.",
        zh=f"本授权有效期:{first} 至 {last}。",
    )


def _others(artefact: ConsentArtefact) -> Iterable[Words]:
    """What an artefact says of other consents, if it does."""
    if artefact.renews is not None:
        before = f"{artefact.provider}/{artefact.renews.hex()}"
        yield Words(
            en=f"From its start it takes the place of authorisation {before}, which ends then.",
            zh=f"自生效时起取代授权书 {before},原授权同时终止。",
        )
    if artefact.joint is not None:
        joint, role = artefact.joint, _ROLES[artefact.joint.role]
        number, other = joint.id.hex(), joint.other_provider
        yield Words(
            en=f"I sign as {role.en} in joint authorisation {number}, together with an enterprise of the tax bureau "
            f"{other}. Neither is good without the other.",
            zh=f"本人作为共同授权 {number} 的{role.zh}签署;另一方企业由税务机关 {other} 管理。"
            "缺少任何一方,授权均不得使用。",
        )


def _quoted(free: str) -> str:
    """Return a free text in one line, with nothing unseen and no quotation mark that could end it early."""
    marks = {ord("\\"): "\\\\", ord('"'): '\\"', ord("」"): "\\」"}
    return free.translate({**_ESCAPES, **marks})


def _same(name: str) -> Words:
    return Words(en=name, zh=name)


def _moment(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms // 1000, tz=UTC):%Y-%m-%d %H:%M} UTC"

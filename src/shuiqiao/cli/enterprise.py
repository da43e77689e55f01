"""``shuiqiao enterprise``: what an enterprise without a node does with nothing but its key file, over HTTP.

Its bureau's counter has commands here too (``enterprise_counter``); ``used`` and ``disputes`` are for both: with
``--home`` the bureau's, else the enterprise's own.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from shuiqiao.base.environment import ENTERPRISE_KEY_VARIABLE
from shuiqiao.base.errors import Denied, InvalidInput
from shuiqiao.base.forms import in_words
from shuiqiao.cli.enterprise_counter import (
    dispute_row,
    enterprise_answer,
    enterprise_code,
    enterprise_revoke_credentials,
    enterprise_revoke_lost,
    require_hex,
    show_disputes_at,
    show_uses,
    show_uses_at,
)
from shuiqiao.cli.home import home_at_work, well_formed
from shuiqiao.cli.options import MAX_INDEX, Json, OptionalHome, OutputChoice, command_group
from shuiqiao.cli.output import dated, program, say, say_rows, show, show_list, warn
from shuiqiao.cli.receipts import write_receipt
from shuiqiao.cli.secret import one_time_code

if TYPE_CHECKING:
    from shuiqiao.base.ids import OwnedId
    from shuiqiao.client.credentials import CredentialWallet, KeptCopy
    from shuiqiao.client.enterprise import EnterpriseDevice, KeyPlace
    from shuiqiao.client.http import HttpClient
    from shuiqiao.client.resources.own import OwnApplicationFile, OwnConsent
    from shuiqiao.client.resources.products import OfferedProduct
    from shuiqiao.consent.enterprise import ControlStatement
    from shuiqiao.consent.model import ConsentArtefact, JointConsent
    from shuiqiao.members.endpoint import Endpoint

enterprise_app = command_group("Enterprises without a node, and their bureau's counter 企业服务.")
enterprise_app.command("code")(enterprise_code)
enterprise_app.command("answer")(enterprise_answer)
enterprise_app.command("revoke-lost")(enterprise_revoke_lost)
enterprise_app.command("revoke-credentials")(enterprise_revoke_credentials)
credentials_app = command_group("Credentials of bands and flags, which you show yourself 凭证.")
enterprise_app.add_typer(credentials_app, name="credentials")

_WIDTH = 14

Key = Annotated[
    Path,
    typer.Option("--key", envvar=ENTERPRISE_KEY_VARIABLE, help="Your encrypted key file 企业密钥文件."),
]
OptionalKey = Annotated[
    Path | None, typer.Option("--key", envvar=ENTERPRISE_KEY_VARIABLE, help="Your encrypted key file 企业密钥文件.")
]
Bureau = Annotated[
    str | None,
    typer.Option("--bureau", help="URL of the bureau, #PIN behind it; left out, where you enrolled 税务局地址."),
]
NewBureau = Annotated[str, typer.Option("--bureau", help="URL of the bureau, #PIN behind it 税务局地址.")]
Bank = Annotated[str, typer.Option("--bank", help="URL of the bank, #PIN behind it 银行地址.")]
OptionalBank = Annotated[
    str | None, typer.Option("--bank", help="URL of the bank, #PIN behind it; left out, the bureau 银行地址.")
]
Taxpayer = Annotated[str, typer.Argument(help="Your taxpayer number 纳税人识别号.")]
Renews = Annotated[str | None, typer.Option(help="The consent whose place it takes from its start on, BUREAU/ID 续期.")]
Joint = Annotated[
    str | None,
    typer.Option(help="Good only with another's: borrower:new, guarantor:JOINT-ID, ...@BUREAU of the other 共同授权."),
]
AskedBank = Annotated[
    str | None,
    typer.Option("--bank", help="URL of the bank, #PIN behind it: is the product one that it offers 银行地址."),
]
Outputs = Annotated[
    list[OutputChoice] | None, typer.Option("--output", help="With the mode score: what may leave 评分输出项.")
]
Items = Annotated[
    list[str] | None,
    typer.Option(
        "--item",
        help="TYPE@VERSION=GROUP,GROUP, e.g. invoice_issued@2=core,amounts; repeatable; left out with --bank, "
        "what a product without records needs 数据项.",
    ),
]
DataLife = Annotated[int, typer.Option(min=1, max=3660, help="Days the bank may keep the data 保存天数.")]
CodeFile = Annotated[
    Path | None,
    typer.Option(
        help="The file that holds the one-time code of the bureau's counter, - for standard input; left out, the code "
        "is typed 一次性登记码文件."
    ),
]
ConsentName = Annotated[str, typer.Argument(help="The consent's name, BUREAU/ID 授权书.")]


class PurposeChoice(StrEnum):
    """What data may be used for; as ``consent.model.Purpose``."""

    UNDERWRITING = "underwriting"
    LOAN_MONITORING = "loan_monitoring"
    MODEL_DEVELOPMENT = "model_development"
    ONE_TIME = "one_time"


class ModeChoice(StrEnum):
    """How a bank may be answered; as ``consent.model.Mode``."""

    DISCLOSE = "disclose"
    PROVE = "prove"
    SCORE = "score"
    TRAIN = "train"


class UnitChoice(StrEnum):
    """In which window answers are counted; as ``consent.model.FrequencyUnit``."""

    DAY = "day"
    MONTH = "month"
    YEAR = "year"


# The key


@enterprise_app.command("enrol")
def enterprise_enrol(
    *,
    taxpayer: Taxpayer,
    bureau: NewBureau,
    key: Key,
    code_file: CodeFile = None,
    backup: Annotated[
        bool, typer.Option("--backup", help="Let the bureau keep the key file, encrypted as it is 托管加密备份.")
    ] = False,
    json: Json = False,
) -> None:
    """Make your key on this device, unless it is there, and enrol with a one-time code 企业登记."""
    from shuiqiao.client.enterprise import KeyPlace, enrol, leave_backup

    place, address = KeyPlace(key), _address(bureau)
    with well_formed():
        device, record = enrol(
            place,
            taxpayer=taxpayer,
            code=_code(code_file, taxpayer=taxpayer),
            address=address,
            passphrase=partial(_passphrase, is_new=not key.exists()),
        )
        if backup:
            with device.at_bureau() as session:
                leave_backup(device, place, session)
    result = {
        "taxpayer": record.taxpayer,
        "bureau": record.bureau,
        "key": str(key),
        "known": str(place.known),
        "backup": backup,
        "code_used": record.code_used,
    }
    if not record.code_used:
        warn("this key was enrolled already, and the code is no fresh one: nothing changed 密钥已登记,未使用登记码")
    if record.code_used and record.representative_since_ms == record.checked_ms:
        warn(
            "a new legal representative was identified: consents that were given before wait until you renew them, see "
            "shuiqiao enterprise consents 法定代表人已变更:此前的授权须续签后方可使用"
        )
    show(result, as_json=json, speak=partial(say_rows, width=_WIDTH))


@enterprise_app.command("recover")
def enterprise_recover(
    *, taxpayer: Taxpayer, bureau: NewBureau, key: Key, code_file: CodeFile = None, json: Json = False
) -> None:
    """Get back the encrypted key file that you left with your bureau; your passphrase opens it 找回密钥."""
    from shuiqiao.client.enterprise import KeyPlace, load_keys, recover

    address = _address(bureau)
    with well_formed():
        code = _code(code_file, taxpayer=taxpayer)
        known = recover(KeyPlace(key), taxpayer=taxpayer, code=code, address=address)
    load_keys(key, passphrase=_passphrase())
    result = {"taxpayer": known.taxpayer, "bureau": known.bureau, "key": str(key)}
    show(result, as_json=json, speak=partial(say_rows, width=_WIDTH))


# Consents


@enterprise_app.command("products")
def enterprise_products(*, bank: Bank, json: Json = False) -> None:
    """List what a bank offers, by the name that a consent gives it 银行产品."""
    rows = [product.model_dump(mode="json") for product in _offered(_address(bank))]
    show_list("products", rows, as_json=json)


def _offered(address: Endpoint) -> tuple[OfferedProduct, ...]:
    from shuiqiao.client.enterprise import client_of
    from shuiqiao.client.resources.products import LIST_OFFERED
    from shuiqiao.client.wire import Nothing

    with client_of(address) as door:
        return door.perform(LIST_OFFERED, Nothing()).items


@enterprise_app.command("consent")
def enterprise_consent(
    *,
    bank: Annotated[str, typer.Argument(help="The bank that may use your data, by its member id 被授权银行.")],
    product: Annotated[str, typer.Argument(help="The product it is for, e.g. tax-credit-loan 产品.")],
    first: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day of the data 数据起始日.")],
    last: Annotated[datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="Last day of the data 数据截止日.")],
    key: Key,
    item: Items = None,
    bureau: Bureau = None,
    bank_url: AskedBank = None,
    purpose: Annotated[PurposeChoice, typer.Option(help="What for 用途.")] = PurposeChoice.UNDERWRITING,
    mode: Annotated[
        list[ModeChoice] | None, typer.Option("--mode", help="How the bank is answered; by default disclose 方式.")
    ] = None,
    output: Outputs = None,
    answers: Annotated[int, typer.Option(min=1, max=1000, help="Answers in each window 次数上限.")] = 4,
    per: Annotated[UnitChoice, typer.Option(help="The window 频率单位.")] = UnitChoice.YEAR,
    data_life_days: DataLife = 180,
    days: Annotated[int, typer.Option(min=1, max=3660, help="Days the consent is valid from now 有效天数.")] = 30,
    once: Annotated[bool, typer.Option("--once", help="Data is given once only 仅提供一次.")] = False,
    renews: Renews = None,
    joint: Joint = None,
    yes: Annotated[bool, typer.Option("--yes", help="Sign without being asked; the text is shown 不再询问.")] = False,
    json: Json = False,
) -> None:
    """Consent to a use of your data: who, what, why, how often, until when 签署授权书.

    The text that you sign is shown first, and at a terminal you are asked; with --bank its products are looked at, and
    what a product without records needs is taken from there where you name nothing else.
    Where no answer came, the same command again hands in the same consent.
    """
    from shuiqiao.base.ids import MemberId, split_owned_id
    from shuiqiao.client.enterprise import KeyPlace
    from shuiqiao.consent.model import Fetch, Frequency, FrequencyUnit, Purpose

    chosen: dict[str, Any] = {
        "recipient": MemberId(bank),
        "purpose": Purpose(purpose.value),
        "period_from": first.date(),
        "period_to": last.date(),
        "data_life_days": data_life_days,
        "product": product,
        "fetch": Fetch.ONE_TIME if once else None,
        "renews": None if renews is None else split_owned_id(_consent_name(renews))[1],
    }
    address = _optional_address(bureau)
    _require_names(bank, product)
    device = _open_device(key)
    needs = _needs(_require_offered(device, bank, product, url=bank_url), item=item, mode=mode, output=output)
    count = 1 if once else max(answers, int(needs.pop("answers")))
    chosen |= needs | {"frequency": Frequency(count=count, unit=FrequencyUnit(per.value))}
    with well_formed(), device.at_bureau(address) as session:
        granted = _grant(device, KeyPlace(key), session, chosen, joint=joint, days=days, ask=not yes)
    texts = {"text_en": granted.text_en, "text_zh": granted.text_zh} if json else {}
    show(_consent_row(granted) | texts, as_json=json, speak=partial(say_rows, width=_WIDTH))


def _joint(said: str, *, bureau: str) -> JointConsent:
    """Return with whom a consent is given, of ROLE:ID@BUREAU; the id ``new`` is drawn, for the other to be told."""
    from shuiqiao.base.encoding import typed
    from shuiqiao.base.ids import ID_BYTES, system_entropy
    from shuiqiao.consent.model import JointConsent

    role, _, named = said.partition(":")
    joint, _, other = named.partition("@")
    drawn = system_entropy(ID_BYTES) if joint == "new" else bytes.fromhex(require_hex(joint))
    fields = {"id": drawn, "role": role, "other_provider": other or bureau}
    try:
        return typed(fields, JointConsent, builtin_types=(bytes,))
    except ValueError as error:
        raise typer.BadParameter(f"{said[:60]!r} is no ROLE:ID@BUREAU: {in_words(str(error))}") from error


def _require_names(bank: str, product: str) -> None:
    """Return if these may be the names of a bank and of a product; raises BadParameter, or as ``well_formed``."""
    from shuiqiao.client.resources.products import ProductQuestion
    from shuiqiao.members.model import MEMBER_ID

    with well_formed():
        ProductQuestion(product=product)
    if not MEMBER_ID.match(bank):
        raise typer.BadParameter(f"{bank[:60]!r} is no member's id, such as first-bank")


def _needs(
    offered: OfferedProduct | None,
    *,
    item: list[str] | None,
    mode: list[ModeChoice] | None,
    output: list[OutputChoice] | None,
) -> dict[str, Any]:
    """Return items, modes, outputs and the least number of answers: as named, else what the offered product needs.

    Raises BadParameter where nobody names an item.
    """
    from shuiqiao.consent.model import Mode, Output

    is_scored = offered is not None and offered.mode == Mode.SCORE
    if offered is not None and is_scored and not (item or mode or output):
        return {
            "items": {name: list(groups) for name, groups in offered.items.items()},
            "modes": (Mode.SCORE,),
            "outputs": tuple(map(Output, offered.outputs)),
            "answers": offered.answers,
        }
    if not item:
        raise typer.BadParameter("name with --item what the bank may use, e.g. invoice_issued@2=core,amounts")
    return {
        "items": dict(map(_item, item)),
        "modes": tuple(Mode(each.value) for each in mode or [ModeChoice.DISCLOSE]),
        "outputs": tuple(Output(each.value) for each in output or ()),
        "answers": 1,
    }


def _require_offered(device: EnterpriseDevice, bank: str, product: str, *, url: str | None) -> OfferedProduct | None:
    """Return the product as a bank offers it; where its address is not named, None, and say that nobody looked.

    Raises Denied ``client.institution_differs``, InvalidInput ``client.product_not_offered``.
    """
    if url is None:
        warn(
            f"nobody looked whether {bank} offers {product}: name its address with --bank, and it is looked at "
            "未核对该银行是否有此产品,可用 --bank 指定银行地址"
        )
        return None
    address = _address(url)
    member = device.member_at(address)
    if member != bank:
        raise Denied("client.institution_differs", f"{url} is {member} and not {bank}, whom the consent is for")
    offered = {each.product: each for each in _offered(address)}
    if product not in offered:
        raise InvalidInput(
            "client.product_not_offered", f"{bank} offers {', '.join(offered) or 'nothing'}, and not {product[:60]!r}"
        )
    return offered[product]


def _grant(
    device: EnterpriseDevice,
    place: KeyPlace,
    session: HttpClient,
    chosen: dict[str, Any],
    *,
    joint: str | None,
    days: int,
    ask: bool,
) -> OwnConsent:
    """Show a consent's text, sign it by halves on this device, and hand it to the bureau, which countersigns it."""
    from shuiqiao.base.clock import MS_PER_DAY
    from shuiqiao.client.resources.consents import ConsentSubmissionMessage
    from shuiqiao.client.resources.enrolments import READ_OWN_ENROLMENT
    from shuiqiao.client.resources.own import GRANT_OWN_CONSENT
    from shuiqiao.client.unanswered import perform_once
    from shuiqiao.client.wire import Nothing
    from shuiqiao.consent.enterprise import ConsentTerms
    from shuiqiao.consent.model import IdentityCheck

    now_ms = device.now_ms()

    def sign() -> ConsentSubmissionMessage:
        enrolled = session.perform(READ_OWN_ENROLMENT, Nothing())
        terms = ConsentTerms(
            **chosen,
            joint=None if joint is None else _joint(joint, bureau=device.bureau),
            taxpayer=device.taxpayer,
            provider=device.bureau,
            valid_from_ms=now_ms,
            valid_to_ms=now_ms + days * MS_PER_DAY,
            identity_check=IdentityCheck(reference=enrolled.reference, checked_ms=enrolled.checked_ms),
        )
        draft = device.enterprise.draft(terms)
        _read(draft, ask=ask)
        signed = device.enterprise.sign(draft, now_ms=now_ms)
        return ConsentSubmissionMessage(
            artefact=signed.artefact.hex(), endorsement=signed.endorsement.hex(), grant=signed.grant.hex()
        )

    said = {name: str(value) for name, value in (chosen | {"joint": joint}).items()}
    wanted = {"taxpayer": device.taxpayer, "days": days, **said}
    return perform_once(place, session, GRANT_OWN_CONSENT, wanted=wanted, make=sign, now_ms=now_ms)


def _read(draft: ConsentArtefact, *, ask: bool) -> None:
    """Show the text of a consent in both languages before it is signed; at a terminal a person says yes to it."""
    from shuiqiao.consent.text import consent_text

    words = consent_text(draft)
    typer.echo(f"{words.zh}\n{words.en}", err=True)
    if ask and sys.stdin.isatty() and not typer.confirm("Sign this? 是否签署?", err=True):
        raise Denied("cli.consent_not_signed", "the consent was read and not signed: nothing was sent")


@enterprise_app.command("consents")
def enterprise_consents(*, key: Key, bureau: Bureau = None, json: Json = False) -> None:
    """List your consents at your bureau, and where each stands 我的授权."""
    address = _optional_address(bureau)
    with _open_device(key).at_bureau(address) as session:
        rows = [_consent_row(consent) for consent in _own_consents(session)]
    show_list("consents", rows, as_json=json)


@enterprise_app.command("pause")
def enterprise_pause(
    *, consent: ConsentName, key: Key, bureau: Bureau = None, bank: OptionalBank = None, json: Json = False
) -> None:
    """Let nobody use your data under a consent until you resume it 暂停授权."""
    _state(
        consent, key, bureau, bank, json, lambda device, name, _: device.enterprise.pause(name, now_ms=device.now_ms())
    )


@enterprise_app.command("resume")
def enterprise_resume(
    *, consent: ConsentName, key: Key, bureau: Bureau = None, bank: OptionalBank = None, json: Json = False
) -> None:
    """Lift the pause of a consent 恢复授权."""

    def resume(device: EnterpriseDevice, name: OwnedId, session: HttpClient) -> ControlStatement:
        from shuiqiao.base.errors import Conflict
        from shuiqiao.client.resources.own import READ_OWN_CONSENT, ConsentChoice

        pause = session.perform(READ_OWN_CONSENT, ConsentChoice.of(name)).pause
        if pause is None:
            raise Conflict("cli.consent_not_paused", f"consent {name} is not paused: there is nothing to resume")
        return device.enterprise.resume(name, pause=bytes.fromhex(pause), now_ms=device.now_ms())

    _state(consent, key, bureau, bank, json, resume)


@enterprise_app.command("revoke")
def enterprise_revoke(
    *, consent: ConsentName, key: Key, bureau: Bureau = None, bank: OptionalBank = None, json: Json = False
) -> None:
    """End a consent for good 撤销授权."""
    _state(
        consent, key, bureau, bank, json, lambda device, name, _: device.enterprise.revoke(name, now_ms=device.now_ms())
    )


def _state(
    consent: str,
    key: Path,
    bureau: str | None,
    bank: str | None,
    as_json: bool,  # noqa: FBT001 - each of its callers names what it hands on
    statement: Callable[[EnterpriseDevice, OwnedId, HttpClient], ControlStatement],
) -> None:
    """Have a consent say something, at the bureau or at its bank, which puts it on the ledger."""
    from shuiqiao.client.resources.consents import ConsentStatement
    from shuiqiao.client.resources.own import RELAY_OWN_STATEMENT

    name, addresses = _consent_name(consent), _Addresses.of(bureau=bureau, bank=bank)
    device = _open_device(key)
    with _session(device, addresses, consent=name) as session:
        signed = statement(device, name, session)
        placed = session.perform(RELAY_OWN_STATEMENT, ConsentStatement(transaction=signed.raw.hex()))
    result = {"consent": name, "entry": placed.index, "height": placed.height}
    show(result, as_json=as_json, speak=partial(say_rows, width=_WIDTH))


# Uses, records, disputes


@enterprise_app.command("leakage")
def enterprise_leakage(
    *,
    taxpayer: Annotated[str | None, typer.Argument(help="With --home: whose data 纳税人识别号.")] = None,
    home: OptionalHome = None,
    key: OptionalKey = None,
    bureau: Bureau = None,
    json: Json = False,
) -> None:
    """Show how much each recipient can know of you, in fields, bits and sums, and its budgets 泄露账户."""
    from shuiqiao.client.resources.leakage import READ_LEAKAGE, READ_OWN_LEAKAGE, LeakageQuestion
    from shuiqiao.client.wire import Nothing

    if taxpayer is not None:
        with well_formed(), home_at_work(_required(home, "--home")) as at_work:
            found = at_work.perform(READ_LEAKAGE, LeakageQuestion(taxpayer=taxpayer))
    elif key is not None:
        with _open_device(key).at_bureau(_optional_address(bureau)) as session:
            found = session.perform(READ_OWN_LEAKAGE, Nothing())
    else:
        raise typer.BadParameter("name TAXPAYER and --home for an institution's own account, or --key for yours")
    show(found.model_dump(), as_json=json, speak=_speak_leakage)


def _speak_leakage(found: Mapping[str, Any]) -> None:
    for line in found["lines"]:
        who, mode = line["recipient"] or "anyone 任何机构", line["mode"] or "credential 凭证"
        counted = f"{line['answers']} answers, {line['fields']} fields, {line['bits']} bits, rank {line['rank']}"
        say(f"{who}  {line['purpose'] or '-'}  {mode}: {counted}")
    for use in found["budgets"]:
        who = use["recipient"] or "all together 合计"
        spent = f"{use['bits']} of {use['most_bits']} bits, rank {use['rank']} of {use['most_rank']}"
        say(f"{who}  {use['purpose'] or '-'}  budget 预算: {spent}")


@enterprise_app.command("used")
def enterprise_used(
    *,
    taxpayer: Annotated[str | None, typer.Argument(help="With --home: whose data 纳税人识别号.")] = None,
    home: OptionalHome = None,
    key: OptionalKey = None,
    bureau: Bureau = None,
    as_of: Annotated[
        str | None, typer.Option(help="What was given as of a day (2026-11-30), or of a size in leaves 截至.")
    ] = None,
    proofs: Annotated[Path | None, typer.Option(help="A folder for the receipt of each use 逐条回执目录.")] = None,
    json: Json = False,
) -> None:
    """List who used your data, when, for what; with --home, a taxpayer's as its bureau has it 谁用了我的数据."""
    from shuiqiao.client.pages import read_pages
    from shuiqiao.client.resources.own import LIST_OWN_USES
    from shuiqiao.client.resources.requests import PastQuery

    is_size = as_of is not None and as_of.isascii() and as_of.isdigit()
    with well_formed():
        asked = PastQuery(
            day=None if is_size else as_of,
            size=int(as_of) if is_size and as_of is not None else None,
            proof=proofs is not None,
        )
    if taxpayer is not None:
        show_uses_at(_required(home, "--home"), taxpayer, asked, proofs=proofs, as_json=json)
        return
    if key is None:
        raise typer.BadParameter("name TAXPAYER and --home for a bureau's own list, or --key for yours")
    address = _optional_address(bureau)
    device = _open_device(key)
    with device.at_bureau(address) as session:
        uses = [use for page in read_pages(session, LIST_OWN_USES, asked) for use in page.items]
    show_uses(uses, proofs=proofs, hash_name=device.suite.hash_name, as_json=json)


@enterprise_app.command("records")
def enterprise_records(
    *,
    key: Key,
    record_type: Annotated[
        str | None, typer.Option("--type", help="Of this type alone, e.g. invoice_issued 类型.")
    ] = None,
    number: Annotated[str | None, typer.Option(help="With this number alone, e.g. of an invoice 号码.")] = None,
    bureau: Bureau = None,
    json: Json = False,
) -> None:
    """List what your bureau holds of you, each record by its place on the ledger 税务局留存的我的记录."""
    from shuiqiao.client.resources.own import SEARCH_OWN_RECORDS, OwnRecordSearch

    address = _optional_address(bureau)
    with well_formed():
        asked = OwnRecordSearch(record_type=record_type, number=number)
    with _open_device(key).at_bureau(address) as session:
        found = session.perform(SEARCH_OWN_RECORDS, asked)
    show_list("records", [row.model_dump(mode="json") for row in found.records], as_json=json)


@enterprise_app.command("dispute")
def enterprise_dispute(
    *,
    batch: Annotated[str, typer.Argument(help="The record's batch, as `records` shows it 批次.")],
    leaf: Annotated[int, typer.Argument(min=0, max=65_535, help="The record's leaf 叶序号.")],
    reason: Annotated[str, typer.Option(help="What is wrong with it 异议理由.")],
    key: Key,
    bureau: Bureau = None,
    json: Json = False,
) -> None:
    """Dispute a record that was given to a bank 对记录提出异议."""
    from shuiqiao.client.resources.disputes import RAISE_DISPUTE, DisputeStatement

    identifier, address = bytes.fromhex(require_hex(batch)), _optional_address(bureau)
    device = _open_device(key)
    signed = device.dispute(identifier, leaf, reason=reason)
    with well_formed(), device.at_bureau(address) as session:
        result = dispute_row(session.perform(RAISE_DISPUTE, DisputeStatement(dispute=signed.hex())))
    show(result, as_json=json, speak=partial(say_rows, width=_WIDTH))


@enterprise_app.command("disputes")
def enterprise_disputes(
    *, home: OptionalHome = None, key: OptionalKey = None, bureau: Bureau = None, json: Json = False
) -> None:
    """List your disputes and their answers; with --home, those that wait for the bureau's answer 异议."""
    from shuiqiao.client.pages import PageQuery, read_pages
    from shuiqiao.client.resources.disputes import LIST_OWN_DISPUTES

    if home is not None:
        show_disputes_at(home, as_json=json)
        return
    address = _optional_address(bureau)
    with _open_device(_required(key, "--key")).at_bureau(address) as session:
        pages = [*read_pages(session, LIST_OWN_DISPUTES, PageQuery())]
    show_list("disputes", [dispute_row(row) for page in pages for row in page.items], as_json=json)


# Credentials


@credentials_app.command("obtain")
def credentials_obtain(
    *,
    key: Key,
    bureau: Bureau = None,
    copies: Annotated[int, typer.Option(min=1, max=10, help="Copies, each to be shown once 份数.")] = 10,
    json: Json = False,
) -> None:
    """Have your bureau state your grade, bands and flags; the copies are kept beside your key 申领凭证.

    Where no answer came, the same command again asks for the same copies.
    """
    address = _optional_address(bureau)
    wallet, device = _open_wallet(key)
    with well_formed(), device.at_bureau(address) as session:
        fresh = wallet.obtain(session, count=copies)
    result = {"copies": len(fresh), "file": str(wallet.path), **_credential_row(fresh[0])}
    show(result, as_json=json, speak=partial(say_rows, width=_WIDTH))


@credentials_app.command("list")
def credentials_list(*, key: Key, json: Json = False) -> None:
    """List the copies that you hold, what they say and to whom each was shown 我的凭证."""
    wallet, _ = _open_wallet(key)
    show_list("credentials", [_credential_row(copy) for copy in wallet.copies()], as_json=json)


@credentials_app.command("show")
def credentials_show(
    *,
    product: Annotated[str, typer.Argument(help="The bank's product, e.g. tax-credit-loan 产品.")],
    bank: Bank,
    key: Key,
    yes: Annotated[
        bool, typer.Option("--yes", help="Show it; without this you only see what is asked for 确认出示.")
    ] = False,
    json: Json = False,
) -> None:
    """See what a product asks of a credential, and with --yes show that alone, from a fresh copy 出示凭证."""
    from shuiqiao.client.enterprise import client_of

    wallet, device = _open_wallet(key)
    address = _address(bank)
    with well_formed(), client_of(address) as door:
        asked = wallet.asked(door, member=device.member_at(address), product=product)
        result: dict[str, Any] = {
            "bank": asked.body.bank,
            "product": product,
            "claims": list(asked.body.claims),
            "is_shown": yes,
        }
        if yes:
            told = wallet.show(door, asked)
            result |= {"is_met": told.is_met, "unmet": list(told.unmet)}
    show(result, as_json=json, speak=partial(say_rows, width=_WIDTH))


def _open_wallet(key: Path) -> tuple[CredentialWallet, EnterpriseDevice]:
    from shuiqiao.client.credentials import CredentialWallet
    from shuiqiao.client.enterprise import KeyPlace

    device = _open_device(key)
    return CredentialWallet(KeyPlace(key), device), device


def _credential_row(copy: KeptCopy) -> dict[str, Any]:
    from shuiqiao.base.clock import iso_from_ms

    claims = {name: value for name, value in copy.claims.items() if name not in {"anchors", "taxpayer"}}
    return {
        "credential": f"{copy.request}/{copy.number}",
        "valid_until": iso_from_ms(copy.expires_ms),
        "shown_to": copy.shown_to,
        **claims,
    }


# At a bank


@enterprise_app.command("apply")
def enterprise_apply(
    *,
    consent: ConsentName,
    amount_fen: Annotated[int, typer.Argument(min=1, help="The amount applied for, in fen 申请金额(分).")],
    bank: Bank,
    key: Key,
    bureau: Bureau = None,
    other_debt_fen: Annotated[int, typer.Option(min=0, help="Debts elsewhere, in fen 其他负债.")] = 0,
    industry: Annotated[str | None, typer.Option(help="Industry section, A to T 行业门类.")] = None,
    province: Annotated[str | None, typer.Option(help="Province, two digits 省份代码.")] = None,
    json: Json = False,
) -> None:
    """Apply at a bank for the product that a consent names 申请贷款.

    Where no answer came, the same command again asks for the same application.
    """
    from shuiqiao.client.enterprise import KeyPlace
    from shuiqiao.client.resources.own import APPLY, OwnApplying
    from shuiqiao.client.unanswered import perform_once

    name, addresses = _consent_name(consent), _Addresses.of(bureau=bureau, bank=bank)
    with well_formed():
        wanted = OwnApplying(amount_fen=amount_fen, other_debt_fen=other_debt_fen, industry=industry, province=province)
    device = _open_device(key)
    with well_formed(), _session(device, addresses, consent=name) as session:
        _hand_artefact(device, name, session, bureau=addresses.bureau)
        file = perform_once(
            KeyPlace(key),
            session,
            APPLY,
            wanted={"consent": name, **wanted.model_dump(mode="json")},
            make=lambda: wanted,
            now_ms=device.now_ms(),
        )
        result = _application_row(file)
    show(result, as_json=json, speak=_speak_application)


def _hand_artefact(device: EnterpriseDevice, consent: OwnedId, session: HttpClient, *, bureau: Endpoint | None) -> None:
    """Hand the artefact to the bank, unless it has it: the bureau does so too, and may not have reached it."""
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.client.resources.own import HAND_OWN_ARTEFACT, LIST_OWN_CONSENTS, READ_OWN_ARTEFACT, ConsentChoice

    if session.perform(LIST_OWN_CONSENTS, PageQuery(limit=1)).items:
        return
    with device.at_bureau(bureau) as at_bureau:
        artefact = at_bureau.perform(READ_OWN_ARTEFACT, ConsentChoice.of(consent))
    session.perform(HAND_OWN_ARTEFACT, artefact)


@enterprise_app.command("applications")
def enterprise_applications(
    *,
    application: Annotated[str | None, typer.Argument(help="One application in full, by its id 申请编号.")] = None,
    bank: Bank,
    key: Key,
    bureau: Bureau = None,
    consent: Annotated[
        str | None, typer.Option(help="Under this consent alone; left out, all to this bank 授权书.")
    ] = None,
    json: Json = False,
) -> None:
    """List your applications at a bank, or show one with its timeline, the decision and its reasons 我的申请."""
    from shuiqiao.client.pages import PageQuery, read_pages
    from shuiqiao.client.resources.own import LIST_OWN_APPLICATIONS, READ_OWN_APPLICATION, ApplicationChoice

    addresses, named = _Addresses.of(bureau=bureau, bank=bank), None if consent is None else _consent_name(consent)
    device, address = _open_device(key), _address(bank)
    rows: list[dict[str, Any]] = []
    for name in _consents_at(device, addresses, consent=named):
        try:
            with well_formed(), device.at_bank(address, consent=name, patience_s=0) as session:
                pages = [*read_pages(session, LIST_OWN_APPLICATIONS, PageQuery())]
                found = [row for page in pages for row in page.items]
                if application is not None and any(row.application == application for row in found):
                    file = session.perform(READ_OWN_APPLICATION, ApplicationChoice(application=application))
                    show(_application_row(file), as_json=json, speak=_speak_application)
                    return
        except Denied as error:
            if consent is not None or error.code != "node.login_refused":
                raise
            warn(f"{bank} does not know consent {name} yet, or another key made it: nothing of it is shown")
            continue
        rows += [dated(row.model_dump(mode="json"), "submitted_ms") for row in found]
    if application is not None:
        raise typer.BadParameter(f"{application[:60]!r} is no application of yours at {bank}")
    show_list("applications", rows, as_json=json)


# Receipts


@enterprise_app.command("receipts")
def enterprise_receipts(
    *,
    index: Annotated[
        int | None, typer.Argument(min=0, max=MAX_INDEX, help="Save the receipt of this entry 保存该条目的回执.")
    ] = None,
    key: Key,
    bureau: Bureau = None,
    bank: OptionalBank = None,
    consent: Annotated[str | None, typer.Option(help="With --bank: the consent that is proven there 授权书.")] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write; by default INDEX.receipt here.")] = None,
    json: Json = False,
) -> None:
    """List what the ledger has under your consents, or save the receipt of one entry 我的回执."""
    name = None if consent is None else _consent_name(consent)
    addresses = _Addresses.of(bureau=bureau, bank=bank)
    device = _open_device(key)
    with _session(device, addresses, consent=name) as session:
        if index is None:
            show_list("entries", _own_entries(session), as_json=json)
            return
        data = session.get(f"/api/v1/own/entries/{index}/receipt", accept=RECEIPT).body
    path = out or Path(f"{index}.receipt")
    write_receipt(path, data, hash_name=device.suite.hash_name)
    show({"entry": index, "file": str(path), "bytes": len(data)}, as_json=json, speak=partial(say_rows, width=_WIDTH))
    if not json:
        say(f"{'next':{_WIDTH}} {program()} verify {quote(str(path))} --genesis GENESIS.json")


RECEIPT = "application/vnd.shuiqiao.receipt+cbor"
"""As ``api.routes.ledger``, which a command does not load."""


def _own_entries(session: HttpClient) -> list[dict[str, Any]]:
    from shuiqiao.client.pages import PageQuery, read_pages
    from shuiqiao.client.resources.own import LIST_OWN_ENTRIES

    pages = read_pages(session, LIST_OWN_ENTRIES, PageQuery())
    return [dated(row.model_dump(mode="json"), "time_ms") for page in pages for row in page.items]


# What the commands share


def _open_device(key: Path) -> EnterpriseDevice:
    from shuiqiao.client.enterprise import EnterpriseDevice, KeyPlace

    return EnterpriseDevice.open(KeyPlace(key), passphrase=_passphrase())


def _passphrase(*, is_new: bool = False) -> bytes:
    """Return the passphrase of the key file: that of a named file, else typed; a new one twice."""
    import getpass
    import sys

    from shuiqiao.base.errors import Unavailable
    from shuiqiao.node.home.keys import named_new_passphrase, named_passphrase, require_long

    named = named_new_passphrase() if is_new else named_passphrase()
    if named is not None:
        return named
    if not sys.stdin.isatty():
        raise Unavailable("cli.passphrase_missing", "the key file is encrypted and no passphrase was given")
    typed = getpass.getpass("Passphrase of your key 密钥口令: ")
    if is_new:
        require_long(typed.encode())
    if is_new and typed != getpass.getpass("The same again 再次输入: "):
        raise typer.BadParameter("the two passphrases differ")
    return typed.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Addresses:
    """Where a command goes; known to be addresses before a key is opened. bureau: None for where one enrolled."""

    bureau: Endpoint | None
    bank: Endpoint | None

    @classmethod
    def of(cls, *, bureau: str | None, bank: str | None) -> Self:
        """Read what was typed; raises InvalidInput ``members.endpoint_invalid``."""
        return cls(bureau=_optional_address(bureau), bank=_optional_address(bank))


@contextmanager
def _session(device: EnterpriseDevice, at: _Addresses, *, consent: OwnedId | None) -> Generator[HttpClient]:
    """Give a session at the bureau, or at a bank by the key of a consent."""
    if at.bank is None:
        with device.at_bureau(at.bureau) as session:
            yield session
        return
    if consent is None:
        raise typer.BadParameter("at a bank you prove a consent: name it with --consent")
    with device.at_bank(at.bank, consent=consent) as session:
        yield session


def _consents_at(device: EnterpriseDevice, at: _Addresses, *, consent: OwnedId | None) -> list[OwnedId]:
    """Return the consents to prove at a bank: the one that is named, or all that were given to it."""
    if consent is not None:
        return [consent]
    assert at.bank is not None
    member = device.member_at(at.bank)
    with device.at_bureau(at.bureau) as session:
        given = [each for each in _own_consents(session) if each.recipient == member and each.status != "pending"]
    return [_consent_name(each.consent) for each in given]


def _own_consents(session: HttpClient) -> list[OwnConsent]:
    from shuiqiao.client.pages import PageQuery, read_pages
    from shuiqiao.client.resources.own import LIST_OWN_CONSENTS

    return [consent for page in read_pages(session, LIST_OWN_CONSENTS, PageQuery()) for consent in page.items]


def _consent_name(text: str) -> OwnedId:
    from shuiqiao.base.ids import OwnedId
    from shuiqiao.client.resources.own import ConsentChoice

    chosen = ConsentChoice.of(text)
    return OwnedId(f"{chosen.provider}/{chosen.consent}")


def _address(text: str) -> Endpoint:
    from shuiqiao.members.endpoint import endpoint_of_text

    return endpoint_of_text(text)


def _optional_address(text: str | None) -> Endpoint | None:
    return None if text is None else _address(text)


def _required(value: Path | None, option: str) -> Path:
    if value is None:
        raise typer.BadParameter(f"{option} is needed here")
    return value


def _code(file: Path | None, *, taxpayer: str) -> str:
    """Return the one-time code that a person gives, once the taxpayer's number is one; raises as ``one_time_code``."""
    from shuiqiao.client.resources.enrolments import EnrolmentQuestion

    EnrolmentQuestion(taxpayer=taxpayer)
    return one_time_code(file)


def _item(text: str) -> tuple[str, list[str]]:
    type_id, _, groups = text.partition("=")
    if not type_id or not groups:
        raise typer.BadParameter(f"{text[:60]!r} is not TYPE@VERSION=GROUP,GROUP")
    return type_id, groups.split(",")


def _consent_row(consent: OwnConsent) -> dict[str, Any]:
    row = consent.model_dump(mode="json", exclude={"text_en", "text_zh"})
    return dated(row, "valid_from_ms", "valid_to_ms")


def _application_row(file: OwnApplicationFile) -> dict[str, Any]:
    row = dated(file.model_dump(mode="json"), "submitted_ms")
    return {**row, "timeline": [dated(step, "time_ms") for step in row["timeline"]]}


def _speak_application(result: Any) -> None:
    say_rows({name: result[name] for name in ("application", "product", "amount_fen", "status")}, width=_WIDTH)
    for step in result["timeline"]:
        place = "" if step["entry"] is None else f"entry {step['entry']}"
        say(f"{step['time']}  {step['step']:<10}  {place}".rstrip())
    if result["note_en"]:
        say(f"{result['note_en']} {result['note_zh']}")
    decision = result["decision"]
    if decision is not None:
        say_rows({name: decision[name] for name in ("outcome", "limit_fen", "annual_rate")}, width=_WIDTH)
        for reason in decision["reasons"]:
            say(f"- {reason['en']} {reason['zh']}")

"""An enterprise's consents: what banks offer, who may use its data, what for, until when."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from datetime import datetime
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.base.errors import Denied, InvalidInput
from shuiqiao.base.forms import in_words
from shuiqiao.base.visible import visible_line
from shuiqiao.base.words import Words
from shuiqiao.cli.enterprise_counter import (
    require_hex,
)
from shuiqiao.cli.enterprise_device import (
    WIDTH,
    Addresses,
    Bank,
    Bureau,
    ConsentName,
    Key,
    OptionalBank,
    address_of,
    consent_name,
    member_names,
    open_device,
    optional_address,
    own_consents,
    session_of,
)
from shuiqiao.cli.home import well_formed
from shuiqiao.cli.options import Json, OutputChoice, item_of
from shuiqiao.cli.output import dated, local_minute, say_rows, show, show_list, warn

if TYPE_CHECKING:
    from shuiqiao.base.ids import OwnedId
    from shuiqiao.client.enterprise import EnterpriseDevice, KeyPlace
    from shuiqiao.client.http import HttpClient
    from shuiqiao.client.resources.own import OwnConsent
    from shuiqiao.client.resources.products import OfferedProduct
    from shuiqiao.consent.enterprise import ControlStatement
    from shuiqiao.consent.model import ConsentArtefact, JointConsent
    from shuiqiao.members.endpoint import Endpoint


Items = Annotated[
    list[str] | None,
    typer.Option(
        "--item",
        help="TYPE@VERSION=GROUP,GROUP, e.g. invoice_issued@2=core,amounts; repeatable; left out with --bank, "
        "what a product without records needs 数据项.",
    ),
]
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
DataLife = Annotated[int, typer.Option(min=1, max=3660, help="Days the bank may keep the data 保存天数.")]


_NO_MEMBER = Words(en="is no member of this network", zh="并非本网络成员")


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
    EXPOSURE = "exposure"


class UnitChoice(StrEnum):
    """In which window answers are counted; as ``consent.model.FrequencyUnit``."""

    DAY = "day"
    MONTH = "month"
    YEAR = "year"


def enterprise_products(*, bank: Bank, json: Json = False) -> None:
    """List what a bank offers, by the name that a consent gives it 银行产品."""
    rows = [product.model_dump(mode="json") for product in _offered(address_of(bank))]
    show_list("products", rows, as_json=json)


def _offered(address: Endpoint) -> tuple[OfferedProduct, ...]:
    from shuiqiao.client.enterprise import client_of
    from shuiqiao.client.resources.products import LIST_OFFERED
    from shuiqiao.client.wire import Nothing

    with client_of(address) as door:
        return door.perform(LIST_OFFERED, Nothing()).items


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
        "renews": None if renews is None else split_owned_id(consent_name(renews))[1],
    }
    address = optional_address(bureau)
    _require_names(bank, product)
    items = dict(map(item_of, item or ()))
    device = open_device(key)
    needs = _needs(_require_offered(device, bank, product, url=bank_url), items=items, mode=mode, output=output)
    least = int(needs.pop("answers"))
    count = 1 if once else max(answers, least)
    chosen |= needs | {"frequency": Frequency(count=count, unit=FrequencyUnit(per.value))}
    with well_formed(), device.at_bureau(address) as session:
        names = member_names(session)
        granted = _grant(device, KeyPlace(key), session, chosen, names=names, joint=joint, days=days, ask=not yes)
    texts = {"text_en": granted.text_en, "text_zh": granted.text_zh} if json else {}
    show(_consent_row(granted, names) | texts, as_json=json, speak=partial(say_rows, width=WIDTH))


def _needs(
    offered: OfferedProduct | None,
    *,
    items: dict[str, list[str]],
    mode: list[ModeChoice] | None,
    output: list[OutputChoice] | None,
) -> dict[str, Any]:
    """Return items, modes, outputs and the least number of answers: as named, else what the offered product needs.

    Raises BadParameter where nobody names an item.
    """
    from shuiqiao.consent.model import Mode, Output

    is_scored = offered is not None and offered.mode == Mode.SCORE
    if offered is not None and is_scored and not (items or mode or output):
        return {
            "items": {name: list(groups) for name, groups in offered.items.items()},
            "modes": (Mode.SCORE,),
            "outputs": tuple(map(Output, offered.outputs)),
            "answers": offered.answers,
        }
    if not items:
        raise typer.BadParameter("name with --item what the bank may use, e.g. invoice_issued@2=core,amounts")
    return {
        "items": items,
        "modes": tuple(Mode(each.value) for each in mode or [ModeChoice.DISCLOSE]),
        "outputs": tuple(Output(each.value) for each in output or ()),
        "answers": 1,
    }


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
    address = address_of(url)
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
    names: Mapping[str, Words],
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
    from shuiqiao.consent.model import IdentityCheck, whole_days

    now_ms = device.now_ms()

    def sign() -> ConsentSubmissionMessage:
        enrolled = session.perform(READ_OWN_ENROLMENT, Nothing())
        window = (now_ms, now_ms + days * MS_PER_DAY)
        # [CONSENT-33]: else the hour of the window says when it was signed, however late it is entered.
        valid_from_ms, valid_to_ms = whole_days(*window) if enrolled.entry_delay_min else window
        terms = ConsentTerms(
            **chosen,
            joint=None if joint is None else _joint(joint, bureau=device.bureau),
            taxpayer=device.taxpayer,
            provider=device.bureau,
            valid_from_ms=valid_from_ms,
            valid_to_ms=valid_to_ms,
            identity_check=IdentityCheck(reference=enrolled.reference, checked_ms=enrolled.checked_ms),
        )
        draft = device.enterprise.draft(terms)
        _read(draft, names, ask=ask)
        signed = device.enterprise.sign(draft, now_ms=now_ms)
        return ConsentSubmissionMessage(
            artefact=signed.artefact.hex(), endorsement=signed.endorsement.hex(), grant=signed.grant.hex()
        )

    said = {name: str(value) for name, value in (chosen | {"joint": joint}).items()}
    wanted = {"taxpayer": device.taxpayer, "days": days, **said}
    granted = perform_once(place, session, GRANT_OWN_CONSENT, wanted=wanted, make=sign, now_ms=now_ms)
    if granted.status == "pending":
        warn(
            "the bureau took it in and keeps it back for a while, so that its time on the ledger says little; it is "
            "good from then on 税务局已受理,将随机延后登记上链,登记后生效"
        )
    return granted


def _read(draft: ConsentArtefact, names: Mapping[str, Words], *, ask: bool) -> None:
    """Show the text of a consent in both languages before it is signed; at a terminal a person says yes to it.

    The text names members by their ids, which never change; their names at present stand below it. Nobody is shown a
    text of types or groups that the standard does not have: raises InvalidInput ``standards.type_unknown``,
    ``standards.group_unknown``.
    """
    from shuiqiao.consent.artefact import verify_items
    from shuiqiao.consent.text import consent_text
    from shuiqiao.standards.publication import load_catalogue

    verify_items(draft, catalogue=load_catalogue())
    words = consent_text(draft)
    typer.echo(f"{words.zh}\n{words.en}", err=True)
    others = () if draft.joint is None else (draft.joint.other_provider,)
    for member in dict.fromkeys((draft.provider, draft.recipient, *others)):
        called = names.get(member, _NO_MEMBER)
        typer.echo(visible_line(f"{member}: {called.zh} {called.en}"), err=True)
    begins, ends = (local_minute(each) for each in (draft.valid_from_ms, draft.valid_to_ms))
    typer.echo(f"有效期按本机时间 valid, in the time of this device: {begins} - {ends}", err=True)
    if ask and sys.stdin.isatty() and not typer.confirm("Sign this? 是否签署?", err=True):
        raise Denied("cli.consent_not_signed", "the consent was read and not signed: nothing was sent")


def enterprise_consents(*, key: Key, bureau: Bureau = None, json: Json = False) -> None:
    """List your consents at your bureau, and where each stands 我的授权."""
    address = optional_address(bureau)
    with open_device(key).at_bureau(address) as session:
        names = member_names(session)
        rows = [_consent_row(consent, names) for consent in own_consents(session)]
    show_list("consents", rows, as_json=json)


def _consent_row(consent: OwnConsent, names: Mapping[str, Words]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for field, value in consent.model_dump(mode="json", exclude={"text_en", "text_zh"}).items():
        row[field] = value
        if field == "recipient":
            called = names.get(consent.recipient, _NO_MEMBER)
            row |= {"recipient_name": called.en, "recipient_name_zh": called.zh}
    return dated(row, "valid_from_ms", "valid_to_ms")


def enterprise_pause(
    *, consent: ConsentName, key: Key, bureau: Bureau = None, bank: OptionalBank = None, json: Json = False
) -> None:
    """Let nobody use your data under a consent until you resume it 暂停授权."""
    _state(
        consent, key, bureau, bank, json, lambda device, name, _: device.enterprise.pause(name, now_ms=device.now_ms())
    )


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

    name, addresses = consent_name(consent), Addresses.of(bureau=bureau, bank=bank)
    device = open_device(key)
    with session_of(device, addresses, consent=name) as session:
        signed = statement(device, name, session)
        placed = session.perform(RELAY_OWN_STATEMENT, ConsentStatement(transaction=signed.raw.hex()))
    is_waiting = placed.index is None
    taken = {"entry": placed.index, "height": placed.height, "status": "waiting" if is_waiting else "recorded"}
    show({"consent": name, **taken}, as_json=as_json, speak=partial(say_rows, width=WIDTH))
    if is_waiting:
        warn(
            "it was taken and waits for the ledger, which cannot be reached now: it is put there by itself "
            "已受理,账本暂不可达,恢复后自动记账"
        )

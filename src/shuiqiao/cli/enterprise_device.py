"""What an enterprise's commands share: its key file, where it goes with it, and the words by which that is named."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer

from shuiqiao.base.environment import ENTERPRISE_KEY_VARIABLE
from shuiqiao.base.errors import Denied, Unavailable
from shuiqiao.base.words import Words

if TYPE_CHECKING:
    from shuiqiao.base.ids import OwnedId
    from shuiqiao.client.enterprise import EnterpriseDevice
    from shuiqiao.client.http import HttpClient
    from shuiqiao.client.resources.own import OwnConsent
    from shuiqiao.members.endpoint import Endpoint


WIDTH = 14
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
ConsentName = Annotated[str, typer.Argument(help="The consent's name, BUREAU/ID 授权书.")]


def open_device(key: Path) -> EnterpriseDevice:
    """Return the device of a key file, its passphrase asked for; raises as ``EnterpriseDevice.open``."""
    from shuiqiao.client.enterprise import EnterpriseDevice, KeyPlace

    if not key.is_file():
        raise Unavailable("cli.key_file_missing", f"there is no key file {key}")
    return EnterpriseDevice.open(KeyPlace(key), passphrase=key_passphrase())


def key_passphrase(*, is_new: bool = False) -> bytes:
    """Return the passphrase of the key file: that of a named file, else typed; a new one twice."""
    import getpass

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
class Addresses:
    """Where a command goes; known to be addresses before a key is opened. bureau: None for where one enrolled."""

    bureau: Endpoint | None
    bank: Endpoint | None

    @classmethod
    def of(cls, *, bureau: str | None, bank: str | None) -> Self:
        """Read what was typed; raises InvalidInput ``members.endpoint_invalid``."""
        return cls(bureau=optional_address(bureau), bank=optional_address(bank))


@contextmanager
def session_of(device: EnterpriseDevice, at: Addresses, *, consent: OwnedId | None) -> Generator[HttpClient]:
    """Give a session at the bureau, or at a bank by the key of a consent; what is not the enterprise's is said so."""
    from shuiqiao.client.enterprise import own_things

    if at.bank is None:
        with own_things(), device.at_bureau(at.bureau) as session:
            yield session
        return
    if consent is None:
        raise typer.BadParameter("at a bank you prove a consent: name it with --consent")
    with own_things(), ExitStack() as stack:
        try:
            session = stack.enter_context(device.at_bank(at.bank, consent=consent, patience_s=0))
        except Denied as error:
            if error.code != "node.login_refused":
                raise
            # Where the bureau is away nobody can tell; the bank may hear of the consent soon.
            with suppress(Unavailable):
                device.require_for(at.bank, consent=consent, bureau=at.bureau)
            session = stack.enter_context(device.at_bank(at.bank, consent=consent))
        yield session


def consents_at(device: EnterpriseDevice, at: Addresses, *, consent: OwnedId | None) -> list[OwnedId]:
    """Return the consents to prove at a bank: the one that is named, or all that were given to it."""
    if consent is not None:
        return [consent]
    assert at.bank is not None
    member = device.member_at(at.bank)
    with device.at_bureau(at.bureau) as session:
        given = [each for each in own_consents(session) if each.recipient == member and each.status != "pending"]
    return [consent_name(each.consent) for each in given]


def own_consents(session: HttpClient) -> list[OwnConsent]:
    """Return all consents that the caller of a session gave."""
    from shuiqiao.client.pages import PageQuery, read_pages
    from shuiqiao.client.resources.own import LIST_OWN_CONSENTS

    return [consent for page in read_pages(session, LIST_OWN_CONSENTS, PageQuery()) for consent in page.items]


def member_names(session: HttpClient) -> dict[str, Words]:
    """Return the names of the network's members by their ids, as the ledger of whoever is asked has them."""
    from shuiqiao.client.pages import PageQuery, read_pages
    from shuiqiao.client.resources.own import LIST_OWN_MEMBERS

    pages = read_pages(session, LIST_OWN_MEMBERS, PageQuery())
    return {each.member: Words(en=each.name, zh=each.name_zh) for page in pages for each in page.items}


def consent_name(text: str) -> OwnedId:
    """Return a consent's name as it was typed, BUREAU/ID; raises as ``well_formed`` for what is none."""
    from shuiqiao.base.ids import OwnedId
    from shuiqiao.client.resources.own import ConsentChoice

    chosen = ConsentChoice.of(text)
    return OwnedId(f"{chosen.provider}/{chosen.consent}")


def address_of(text: str) -> Endpoint:
    """Return a URL, #PIN behind it; raises InvalidInput ``members.endpoint_invalid``."""
    from shuiqiao.members.endpoint import endpoint_of_text

    return endpoint_of_text(text)


def optional_address(text: str | None) -> Endpoint | None:
    """Return the same, None where none was typed."""
    return None if text is None else address_of(text)


def required(value: Path | None, option: str) -> Path:
    """Return the value of an option that is needed here; raises BadParameter without one."""
    if value is None:
        raise typer.BadParameter(f"{option} is needed here")
    return value

"""An enterprise's key, and the credentials that it holds and shows."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.cli.enterprise_device import (
    WIDTH,
    Bank,
    Bureau,
    Key,
    NewBureau,
    Taxpayer,
    address_of,
    key_passphrase,
    open_device,
    optional_address,
)
from shuiqiao.cli.home import well_formed
from shuiqiao.cli.options import Json, command_group
from shuiqiao.cli.output import say_rows, show, show_list, warn
from shuiqiao.cli.secret import one_time_code
from shuiqiao.privacy.credentials.format import CredentialFormat

if TYPE_CHECKING:
    from shuiqiao.client.anoncreds_file import KeptCredential
    from shuiqiao.client.credentials import CredentialWallet, KeptCopy
    from shuiqiao.client.enterprise import EnterpriseDevice
    from shuiqiao.ledger.receipts.verification import VerifiedReceipt


credentials_app = command_group("Credentials of bands and flags, which you show yourself 凭证.")
CodeFile = Annotated[
    Path | None,
    typer.Option(
        help="The file that holds the one-time code of the bureau's counter, - for standard input; left out, the code "
        "is typed 一次性登记码文件."
    ),
]


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

    place, address = KeyPlace(key), address_of(bureau)
    with well_formed():
        device, record = enrol(
            place,
            taxpayer=taxpayer,
            code=_code(code_file, taxpayer=taxpayer),
            address=address,
            passphrase=partial(key_passphrase, is_new=not key.exists()),
        )
        if backup:
            with device.at_bureau() as session:
                leave_backup(device, place, session)
    result = {
        "taxpayer": record.taxpayer,
        "bureau": record.bureau,
        "key": str(key),
        "known": str(place.known),
        "backup": backup or record.has_backup,
        "code_used": record.code_used,
    }
    if not record.code_used:
        warn("this key was enrolled already, and the code is no fresh one: nothing changed 密钥已登记,未使用登记码")
    if record.code_used and record.representative_since_ms == record.checked_ms:
        warn(
            "a new legal representative was identified: consents that were given before wait until you renew them, see "
            "shuiqiao enterprise consents 法定代表人已变更:此前的授权须续签后方可使用"
        )
    show(result, as_json=json, speak=partial(say_rows, width=WIDTH))


def enterprise_recover(
    *, taxpayer: Taxpayer, bureau: NewBureau, key: Key, code_file: CodeFile = None, json: Json = False
) -> None:
    """Get back the encrypted key file that you left with your bureau; your passphrase opens it 找回密钥."""
    from shuiqiao.client.enterprise import KeyPlace, load_keys, recover

    address = address_of(bureau)
    with well_formed():
        code = _code(code_file, taxpayer=taxpayer)
        known = recover(KeyPlace(key), taxpayer=taxpayer, code=code, address=address)
    load_keys(key, passphrase=key_passphrase())
    result = {"taxpayer": known.taxpayer, "bureau": known.bureau, "key": str(key)}
    show(result, as_json=json, speak=partial(say_rows, width=WIDTH))


def _code(file: Path | None, *, taxpayer: str) -> str:
    """Return the one-time code that a person gives, once the taxpayer's number is one; raises as ``one_time_code``."""
    from shuiqiao.client.resources.enrolments import EnrolmentQuestion

    EnrolmentQuestion(taxpayer=taxpayer)
    return one_time_code(file)


Format = Annotated[
    CredentialFormat,
    typer.Option(
        "--format",
        help="sd-jwt: claims shown as they are, each copy once; anoncreds: predicates, any number of times, which "
        "nobody can link 凭证格式.",
    ),
]


@credentials_app.command("obtain")
def credentials_obtain(
    *,
    key: Key,
    bureau: Bureau = None,
    copies: Annotated[int, typer.Option(min=1, max=10, help="Copies of sd-jwt, each to be shown once 份数.")] = 10,
    shown_as: Format = CredentialFormat.SD_JWT,
    json: Json = False,
) -> None:
    """Have your bureau state your grade, bands and flags; the copies are kept beside your key 申领凭证.

    Where no answer came, the same command again asks for the same copies.
    """
    address = optional_address(bureau)
    wallet, device = _open_wallet(key)
    with well_formed(), device.at_bureau(address) as session:
        if shown_as is CredentialFormat.ANONCREDS:
            result = {"copies": 1, "file": str(wallet.blinded_path), **_blinded_row(wallet.obtain_blinded(session))}
        else:
            fresh = wallet.obtain(session, count=copies)
            result = {"copies": len(fresh), "file": str(wallet.path), **_credential_row(fresh[0])}
    show(result, as_json=json, speak=partial(say_rows, width=WIDTH))


@credentials_app.command("list")
def credentials_list(*, key: Key, json: Json = False) -> None:
    """List the copies that you hold, what they say and to whom each was shown 我的凭证."""
    wallet, _ = _open_wallet(key)
    rows = [_credential_row(copy) for copy in wallet.copies()]
    rows += [_blinded_row(kept) for kept in wallet.blinded()]
    show_list("credentials", rows, as_json=json)


@credentials_app.command("show")
def credentials_show(
    *,
    product: Annotated[str, typer.Argument(help="The bank's product, e.g. tax-credit-loan 产品.")],
    bank: Bank,
    key: Key,
    shown_as: Format = CredentialFormat.SD_JWT,
    yes: Annotated[
        bool, typer.Option("--yes", help="Show it; without this you only see what is asked for 确认出示.")
    ] = False,
    json: Json = False,
) -> None:
    """See what a product asks of a credential, and with --yes show that alone, from a fresh copy 出示凭证."""
    from shuiqiao.client.enterprise import client_of

    wallet, device = _open_wallet(key)
    address = address_of(bank)
    with well_formed(), client_of(address) as door:
        asked = wallet.asked(door, member=device.member_at(address), product=product, shown_as=shown_as)
        result: dict[str, Any] = {
            "bank": asked.body.bank,
            "product": product,
            "format": str(shown_as),
            "claims": list(asked.body.claims if asked.body.bounds is None else asked.body.bounds.rules.predicates),
            "is_shown": yes,
        }
        if yes:
            told = wallet.show(door, asked)
            result |= {"is_met": told.is_met, "unmet": list(told.unmet)}
    show(result, as_json=json, speak=partial(say_rows, width=WIDTH))


def _open_wallet(key: Path) -> tuple[CredentialWallet, EnterpriseDevice]:
    from shuiqiao.client.credentials import CredentialWallet
    from shuiqiao.client.enterprise import KeyPlace

    device = open_device(key)
    return CredentialWallet(KeyPlace(key), device, verify_receipt=_verify_receipt), device


def _verify_receipt(genesis: bytes, receipt: bytes) -> VerifiedReceipt:
    from shuiqiao.node.published.verification import ReceiptVerifier

    return ReceiptVerifier.of(genesis).verify(receipt)


def _credential_row(copy: KeptCopy) -> dict[str, Any]:
    from shuiqiao.base.clock import iso_from_ms

    claims = {name: value for name, value in copy.claims.items() if name not in {"anchors", "taxpayer"}}
    return {
        "credential": f"{copy.request}/{copy.number}",
        "format": str(CredentialFormat.SD_JWT),
        "valid_until": iso_from_ms(copy.expires_ms),
        "shown_to": copy.shown_to,
        **claims,
    }


def _blinded_row(kept: KeptCredential) -> dict[str, Any]:
    from shuiqiao.base.clock import iso_from_ms
    from shuiqiao.privacy.credentials.anoncreds import claims_of

    return {
        "credential": kept.request,
        "format": str(CredentialFormat.ANONCREDS),
        "valid_until": iso_from_ms(kept.expires_ms),
        "shown_to": ", ".join(kept.shown_to),
        **claims_of(kept.content()),
    }

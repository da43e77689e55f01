"""``shuiqiao enterprise``: what an enterprise without a node does with nothing but its key file, over HTTP.

Its bureau's counter has commands here too (``enterprise_counter``). Each command lies in the file of its matter.
"""

from __future__ import annotations

from collections.abc import Callable

from shuiqiao.cli import enterprise_applications as at_banks
from shuiqiao.cli import enterprise_consent as consenting
from shuiqiao.cli import enterprise_counter as counter
from shuiqiao.cli import enterprise_reading as reading
from shuiqiao.cli import enterprise_wallet as wallet
from shuiqiao.cli.options import command_group

enterprise_app = command_group("Enterprises without a node, and their bureau's counter 企业服务.")
enterprise_app.add_typer(wallet.credentials_app, name="credentials")
_COMMANDS: dict[str, Callable[..., None]] = {
    "code": counter.enterprise_code,
    "answer": counter.enterprise_answer,
    "revoke-lost": counter.enterprise_revoke_lost,
    "revoke-credentials": counter.enterprise_revoke_credentials,
    "enrol": wallet.enterprise_enrol,
    "recover": wallet.enterprise_recover,
    "products": consenting.enterprise_products,
    "consent": consenting.enterprise_consent,
    "consents": consenting.enterprise_consents,
    "pause": consenting.enterprise_pause,
    "resume": consenting.enterprise_resume,
    "revoke": consenting.enterprise_revoke,
    "leakage": reading.enterprise_leakage,
    "used": reading.enterprise_used,
    "records": reading.enterprise_records,
    "grade": reading.enterprise_grade,
    "dispute": reading.enterprise_dispute,
    "disputes": reading.enterprise_disputes,
    "apply": at_banks.enterprise_apply,
    "applications": at_banks.enterprise_applications,
    "receipts": reading.enterprise_receipts,
}
for _name, _command in _COMMANDS.items():
    enterprise_app.command(_name)(_command)

"""``shuiqiao users``: who has an account at this institution, with which roles; log in, own password, second factor."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.base.environment import PASSWORD_FILE_VARIABLE, TOKEN_FILE_VARIABLE
from shuiqiao.base.errors import Denied, Unavailable
from shuiqiao.base.files import read_regular
from shuiqiao.cli.options import Home, Json, command_group
from shuiqiao.cli.output import joined, say, show

if TYPE_CHECKING:
    from shuiqiao.node.accounts.model import Principal
    from shuiqiao.node.accounts.opening import HomeAccounts
    from shuiqiao.node.accounts.service import AccountService

users_app = command_group("Accounts of people and programs at this institution, and their roles 用户与角色.")

MAX_SECRET_BYTES = 1024
"""Of a file that holds a token or a password."""

Name = Annotated[str, typer.Argument(help="The name by which the user logs in 用户名.")]
Roles = Annotated[
    list[str], typer.Option("--role", help="A role of docs/reference/roles.md; repeat it for several 岗位角色.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", envvar=TOKEN_FILE_VARIABLE, help="Who does it, from users login 令牌文件."),
]


def with_accounts(home: Path, act: Callable[[HomeAccounts], Mapping[str, Any]]) -> Mapping[str, Any]:
    """Do something with the accounts of a home, whether its server runs or not."""
    from shuiqiao.node.accounts.opening import open_accounts
    from shuiqiao.node.home.settings import Home as HomeFolder

    with open_accounts(HomeFolder(home)) as accounts:
        return act(accounts)


def caller(accounts: HomeAccounts, token_file: Path | None) -> Principal:
    """Return who calls, by a token in a file; raises as ``caller_of``."""
    return caller_of(accounts.service, token_file)


def caller_of(service: AccountService, token_file: Path | None) -> Principal:
    """Return who calls, by a token in a file; raises Denied ``cli.token_needed``, ``node.token_invalid``."""
    if token_file is None:
        raise Denied("cli.token_needed", f"neither --token-file nor {TOKEN_FILE_VARIABLE} names a token")
    return service.authenticate(_secret_in(token_file))


@users_app.command("add")
def users_add(
    *,
    name: Name,
    home: Home,
    role: Roles,
    first: Annotated[bool, typer.Option("--first", help="The first user, by the owner of the home 首个用户.")] = False,
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Add a user and show the first password, which the user has to change 新增用户."""

    def act(accounts: HomeAccounts) -> Mapping[str, Any]:
        if first:
            password = accounts.service.add_first_user(name, roles=role)
        else:
            password = accounts.service.add_user(caller(accounts, token_file), name, roles=role)
        return {"user": name, "roles": sorted(set(role)), "first_password": password}

    show(with_accounts(home, act), as_json=json, speak=_speak)


@users_app.command("list")
def users_list(*, home: Home, token_file: TokenFile = None, json: Json = False) -> None:
    """List users and machine clients 用户列表."""

    def act(accounts: HomeAccounts) -> Mapping[str, Any]:
        by = caller(accounts, token_file)
        return {"users": accounts.service.users(by), "clients": accounts.service.clients(by)}

    show(with_accounts(home, act), as_json=json, speak=_speak_list)


@users_app.command("disable")
def users_disable(*, name: Name, home: Home, token_file: TokenFile = None, json: Json = False) -> None:
    """Let a user and its programs in no more, from now on 停用用户."""
    _change(home, token_file, lambda accounts, by: accounts.service.disable(by, name), as_json=json)


@users_app.command("enable")
def users_enable(*, name: Name, home: Home, token_file: TokenFile = None, json: Json = False) -> None:
    """Let a user in again 启用用户."""
    _change(home, token_file, lambda accounts, by: accounts.service.enable(by, name), as_json=json)


@users_app.command("roles")
def users_roles(*, name: Name, home: Home, role: Roles, token_file: TokenFile = None, json: Json = False) -> None:
    """Give a user these roles and no others 变更角色."""
    _change(home, token_file, lambda accounts, by: accounts.service.give_roles(by, name, roles=role), as_json=json)


@users_app.command("rename")
def users_rename(
    *,
    name: Name,
    home: Home,
    to: Annotated[str, typer.Option(help="The new name 新用户名.")],
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Let a user log in under another name 更改用户名."""
    _change(home, token_file, lambda accounts, by: accounts.service.rename(by, name, to=to), as_json=json)


@users_app.command("reset")
def users_reset(
    *,
    name: Name,
    home: Home,
    as_owner: Annotated[
        bool, typer.Option("--as-owner", help="As the owner of the home, for who manages users 以主目录所有者身份.")
    ] = False,
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Give a user a new first password and forget the second factor 重置用户."""
    from shuiqiao.node.accounts.model import OWNER

    def act(accounts: HomeAccounts) -> Mapping[str, Any]:
        by = OWNER if as_owner else caller(accounts, token_file)
        return {"user": name, "first_password": accounts.service.reset(by, name)}

    show(with_accounts(home, act), as_json=json, speak=_speak)


@users_app.command("login")
def users_login(
    *,
    name: Name,
    home: Home,
    to: Annotated[Path, typer.Option(help="The file to write the token to, for its owner only 令牌文件.")],
    code: Annotated[str, typer.Option(help="The code of the second factor, where there is one 验证码.")] = "",
    json: Json = False,
) -> None:
    """Log in with a password and write the token to a file 登录."""
    from shuiqiao.base.clock import iso_from_ms
    from shuiqiao.base.durable import replace_file

    def act(accounts: HomeAccounts) -> Mapping[str, Any]:
        issued = accounts.service.log_in(name, password=_password(), code=code)
        replace_file(to, issued.token.encode(), mode=0o600)
        return {"user": name, "token_file": str(to), "ends": iso_from_ms(issued.ends_ms)}

    show(with_accounts(home, act), as_json=json)


@users_app.command("password")
def users_password(
    *,
    home: Home,
    new_file: Annotated[
        Path | None, typer.Option(help="The file that holds the new password; left out, it is typed 新密码文件.")
    ] = None,
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Change one's own password, which ends one's tokens 修改密码."""

    def act(accounts: HomeAccounts) -> Mapping[str, Any]:
        by = caller(accounts, token_file)
        accounts.service.change_password(by, old=_password(), new=_new_password(new_file))
        return {"user": by.name, "changed": True}

    show(with_accounts(home, act), as_json=json)


@users_app.command("second-factor")
def users_second_factor(
    *,
    home: Home,
    code: Annotated[str, typer.Option(help="A code of the new device, to take it into use 验证码.")] = "",
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Make a secret for one's own device, then with --code take it into use 双因素认证."""

    def act(accounts: HomeAccounts) -> Mapping[str, Any]:
        by = caller(accounts, token_file)
        if code:
            accounts.service.confirm_second_factor(by, code=code)
            return {"user": by.name, "confirmed": True}
        factor = accounts.service.make_second_factor(by, password=_password())
        return {"user": by.name, "secret": factor.secret, "uri": factor.uri}

    show(with_accounts(home, act), as_json=json)


@users_app.command("add-client")
def users_add_client(
    *,
    name: Annotated[str, typer.Argument(help="A name for the program 机器客户端名称.")],
    home: Home,
    owner: Annotated[str, typer.Option(help="The user who answers for it 负责人.")],
    role: Roles,
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Add a program's account and show its client id and secret, once 新增机器客户端."""

    def act(accounts: HomeAccounts) -> Mapping[str, Any]:
        by = caller(accounts, token_file)
        client, secret = accounts.service.add_client(by, name, owner=owner, roles=role)
        return {"client": name, "client_id": client, "client_secret": secret}

    show(with_accounts(home, act), as_json=json)


@users_app.command("disable-client")
def users_disable_client(
    *,
    name: Annotated[str, typer.Argument(help="The name of the program 机器客户端名称.")],
    home: Home,
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Let a program in no more 停用机器客户端."""

    def act(accounts: HomeAccounts) -> Mapping[str, Any]:
        accounts.service.disable_client(caller(accounts, token_file), name)
        return {"client": name, "is_disabled": True}

    show(with_accounts(home, act), as_json=json)


def _change(
    home: Path,
    token_file: Path | None,
    change: Callable[[HomeAccounts, Principal], Mapping[str, Any]],
    *,
    as_json: bool,
) -> None:
    result = with_accounts(home, lambda accounts: change(accounts, caller(accounts, token_file)))
    show(result, as_json=as_json, speak=_speak)


def _secret_in(path: Path) -> str:
    """Return what a file holds without its last line end; raises Unavailable ``node.file_unreadable``."""
    try:
        data = read_regular(path, max_bytes=MAX_SECRET_BYTES)
    except OSError as error:
        raise Unavailable("node.file_unreadable", f"{path} cannot be read: {error.strerror}") from error
    return data[:MAX_SECRET_BYTES].decode(errors="replace").rstrip("\r\n")


def _password() -> str:
    """Return a user's password: from the file that the environment names, else typed."""
    named = os.environ.get(PASSWORD_FILE_VARIABLE, "")
    if named:
        return _secret_in(Path(named))
    return str(typer.prompt("password 密码", hide_input=True, err=True))


def _new_password(path: Path | None) -> str:
    if path is not None:
        return _secret_in(path)
    return str(typer.prompt("new password 新密码", hide_input=True, confirmation_prompt=True, err=True))


def _speak(result: Mapping[str, Any]) -> None:
    for name, value in result.items():
        say(f"{name:22} {joined(value)}")


def _speak_list(result: Mapping[str, Any]) -> None:
    """Say who has an account, one line each."""
    for each in result["users"]:
        mark = "  disabled 已停用" if each["is_disabled"] else ""
        factor = "  second factor 双因素" if each["has_second_factor"] else ""
        say(f"{each['user']:20} {joined(each['roles'])}{factor}{mark}")
    for each in result["clients"]:
        mark = "  disabled 已停用" if each["is_disabled"] else ""
        say(f"{each['client']:20} {joined(each['roles'])}  program of {each['owner']}{mark}")

"""``shuiqiao users``: who has an account at this institution, with which roles; log in, own password, second factor."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from shuiqiao.base.environment import PASSWORD_FILE_VARIABLE, TOKEN_FILE_VARIABLE
from shuiqiao.cli.home import accounts_at_work, all_items, require_token_file
from shuiqiao.cli.options import Home, Json, command_group
from shuiqiao.cli.output import joined, say, show
from shuiqiao.cli.secret import one_time_code, second_factor_code, secret_in, typed_secret

if TYPE_CHECKING:
    from shuiqiao.client.operation import Operation, Sent, Told

users_app = command_group("Accounts of people and programs at this institution, and their roles 用户与角色.")

Name = Annotated[str, typer.Argument(help="The name by which the user logs in 用户名.")]
Roles = Annotated[
    list[str], typer.Option("--role", help="A role of docs/reference/roles.md; repeat it for several 岗位角色.")
]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", envvar=TOKEN_FILE_VARIABLE, help="Who does it, from users login 令牌文件."),
]
LogInCode = Annotated[
    Path | None,
    typer.Option(
        "--code-file",
        help="The file that holds the code of the second factor, - for standard input; left out, the code is typed "
        "动态验证码文件.",
    ),
]
ConfirmingCode = Annotated[
    Path | None,
    typer.Option("--code-file", help="With --confirm: as with users login 动态验证码文件."),
]


def _perform(
    home: Path,
    token_file: Path | None,
    operation: Operation[Sent, Told],
    message: Callable[[], Sent],
    *,
    as_json: bool,
) -> None:
    """Have somebody perform an operation by name, and show what is told of it."""
    with accounts_at_work(home, require_token_file(token_file)) as at_work:
        told = at_work.perform(operation, message())
    show(told.model_dump(mode="json"), as_json=as_json, speak=_speak)


def _perform_as_owner(
    home: Path, operation: Operation[Sent, Told], message: Callable[[], Sent], *, as_json: bool
) -> None:
    """Have the owner of the home perform an operation, and show what is told of it."""
    with accounts_at_work(home, None) as at_work:
        told = at_work.perform(operation, message())
    show(told.model_dump(mode="json"), as_json=as_json, speak=_speak)


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
    from shuiqiao.client.resources.users import ADD_FIRST_USER, ADD_USER, NewUser

    def message() -> NewUser:
        return NewUser(user=name, roles=tuple(role))

    if first:
        _perform_as_owner(home, ADD_FIRST_USER, message, as_json=json)
    else:
        _perform(home, token_file, ADD_USER, message, as_json=json)


@users_app.command("list")
def users_list(*, home: Home, token_file: TokenFile = None, json: Json = False) -> None:
    """List users and machine clients 用户列表."""
    from shuiqiao.client.pages import PageQuery
    from shuiqiao.client.resources.users import LIST_CLIENTS, LIST_USERS

    with accounts_at_work(home, require_token_file(token_file)) as at_work:
        users = all_items(at_work, LIST_USERS, PageQuery())
        clients = all_items(at_work, LIST_CLIENTS, PageQuery())
    result = {
        "users": [user.model_dump(mode="json") for user in users],
        "clients": [client.model_dump(mode="json") for client in clients],
    }
    show(result, as_json=json, speak=_speak_list)


@users_app.command("disable")
def users_disable(*, name: Name, home: Home, token_file: TokenFile = None, json: Json = False) -> None:
    """Let a user and its programs in no more, from now on 停用用户."""
    from shuiqiao.client.resources.users import DISABLE_USER, UserChoice

    _perform(home, token_file, DISABLE_USER, lambda: UserChoice(user=name), as_json=json)


@users_app.command("enable")
def users_enable(*, name: Name, home: Home, token_file: TokenFile = None, json: Json = False) -> None:
    """Let a user in again 启用用户."""
    from shuiqiao.client.resources.users import ENABLE_USER, UserChoice

    _perform(home, token_file, ENABLE_USER, lambda: UserChoice(user=name), as_json=json)


@users_app.command("roles")
def users_roles(*, name: Name, home: Home, role: Roles, token_file: TokenFile = None, json: Json = False) -> None:
    """Give a user these roles and no others 变更角色."""
    from shuiqiao.client.resources.users import GIVE_ROLES, RoleChange

    _perform(home, token_file, GIVE_ROLES, lambda: RoleChange(user=name, roles=tuple(role)), as_json=json)


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
    from shuiqiao.client.resources.users import RENAME_USER, NameChange

    _perform(home, token_file, RENAME_USER, lambda: NameChange(user=name, to=to), as_json=json)


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
    from shuiqiao.client.resources.users import RESET_AS_OWNER, RESET_USER, UserChoice

    if as_owner:
        _perform_as_owner(home, RESET_AS_OWNER, lambda: UserChoice(user=name), as_json=json)
    else:
        _perform(home, token_file, RESET_USER, lambda: UserChoice(user=name), as_json=json)


@users_app.command("login")
def users_login(
    *,
    name: Name,
    home: Home,
    to: Annotated[Path, typer.Option(help="The file to write the token to, for its owner only 令牌文件.")],
    code_file: LogInCode = None,
    json: Json = False,
) -> None:
    """Log in with a password and write the token to a file 登录."""
    from shuiqiao.base.clock import MS_PER_SECOND, iso_from_ms
    from shuiqiao.base.durable import replace_file
    from shuiqiao.client.resources.sessions import LOG_IN_USER, UserProof

    with accounts_at_work(home, None) as at_work:
        proof = UserProof(name=name, password=_password(), code=second_factor_code(code_file))
        issued = at_work.perform(LOG_IN_USER, proof)
    replace_file(to, issued.token.encode(), mode=0o600)
    minutes = issued.idle_ms // (60 * MS_PER_SECOND)
    result = {"user": name, "token_file": str(to), "ends": iso_from_ms(issued.ends_ms), "ends_unused_min": minutes}
    show(result, as_json=json)
    if not json:
        say(f"a token that is not used for {minutes} minutes ends earlier 令牌 {minutes} 分钟未使用即失效")


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
    from shuiqiao.client.resources.users import CHANGE_PASSWORD, PasswordChange

    def message() -> PasswordChange:
        return PasswordChange(old=_password(), new=_new_password(new_file))

    _perform(home, token_file, CHANGE_PASSWORD, message, as_json=json)


@users_app.command("second-factor")
def users_second_factor(
    *,
    home: Home,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Take the new device into use by a code of it 启用新设备.")
    ] = False,
    code_file: ConfirmingCode = None,
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Make a secret for one's own device, then with --confirm take it into use 双因素认证."""
    from shuiqiao.client.resources.users import (
        CONFIRM_SECOND_FACTOR,
        MAKE_SECOND_FACTOR,
        OwnPassword,
        SecondFactorCode,
    )

    def confirmation() -> SecondFactorCode:
        return SecondFactorCode(code=one_time_code(code_file, question="code of the new device 新设备的动态验证码"))

    if confirm or code_file is not None:
        _perform(home, token_file, CONFIRM_SECOND_FACTOR, confirmation, as_json=json)
    else:
        _perform(home, token_file, MAKE_SECOND_FACTOR, lambda: OwnPassword(password=_password()), as_json=json)


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
    from shuiqiao.client.resources.users import ADD_CLIENT, NewClient

    def message() -> NewClient:
        return NewClient(client=name, owner=owner, roles=tuple(role))

    _perform(home, token_file, ADD_CLIENT, message, as_json=json)


@users_app.command("disable-client")
def users_disable_client(
    *,
    name: Annotated[str, typer.Argument(help="The name of the program 机器客户端名称.")],
    home: Home,
    token_file: TokenFile = None,
    json: Json = False,
) -> None:
    """Let a program in no more 停用机器客户端."""
    from shuiqiao.client.resources.users import DISABLE_CLIENT, ClientChoice

    _perform(home, token_file, DISABLE_CLIENT, lambda: ClientChoice(client=name), as_json=json)


_FILE = "the password file"


def _password() -> str:
    """Return a user's password: from the file that the environment names, else typed."""
    named = os.environ.get(PASSWORD_FILE_VARIABLE, "")
    if named:
        return secret_in(Path(named), what=_FILE)
    return typed_secret("password 密码")


def _new_password(path: Path | None) -> str:
    if path is not None:
        return secret_in(path, what=_FILE)
    return typed_secret("new password 新密码", twice=True)


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

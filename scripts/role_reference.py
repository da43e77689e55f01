"""The roles of each kind of institution as a page for readers, made from ``node/accounts/roles.toml``."""

from __future__ import annotations

from collections.abc import Iterator

from shuiqiao.members.model import Role
from shuiqiao.node.accounts.model import act_rules, permission_words, roles_of

_INTRODUCTION = """# Roles 角色

Made from the code. What a role is not given it may not do. A person may hold several roles, a program (a machine
client) those that check nothing and manage nobody. Who manages users makes and checks nothing. What a role may check
counts once its holder confirmed a second factor. 未列出的权限一律没有;复核须双因素认证。

"""

_ACTS = """
## Acts of two people 双人复核

One person proposes the exact bytes of such an act, another approves their digest; never the same person, whatever
roles they hold, and never a program. 制单与复核必须由不同的人完成。

| act | 操作 | made by | checked by |
|---|---|---|---|
"""

_KINDS = {Role.TAX_BUREAU: "Tax bureau 税务局", Role.BANK: "Bank 银行", Role.REGULATOR: "Regulator 监管"}


def render_roles() -> str:
    """Return the Markdown page: a table of permissions by role for each kind of institution, then the acts."""
    return _INTRODUCTION + "\n".join("\n".join(_institution(kind)) for kind in _KINDS) + _ACTS + "".join(_acts())


def _institution(kind: Role) -> Iterator[str]:
    words = permission_words().values()
    yield f"## {_KINDS[kind]}\n"
    for role in roles_of(kind).values():
        yield f"### `{role.name}` {role.zh}\n\n{role.en.capitalize()}.\n"
        yield "| permission | may | 可以 |\n|---|---|---|"
        yield from (f"| `{each.name}` | {each.en} | {each.zh} |" for each in words if each.name in role.permissions)
        yield ""


def _acts() -> Iterator[str]:
    for rule in act_rules().values():
        yield f"| `{rule.name}` | {rule.zh} | `{rule.make}` | `{rule.check}` |\n"

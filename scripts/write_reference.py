"""Write the reference pages that are generated from the code: errors, settings, commands, record types, kinds, files.

``write_reference.py`` writes docs/reference/; a test holds that the committed pages are what this returns.
"""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "shuiqiao"
PAGES = ROOT / "docs" / "reference"

ERROR_CLASSES = {
    "InvalidInput": (
        "what came from outside is malformed, too large or breaks a rule",
        "输入有误:由提交方更正后重试",
        "1, or 2 for bad usage",
    ),
    "Denied": (
        "the act is well formed but not allowed to this party, now",
        "不被允许:授权、角色、等级或上限不满足",
        "1",
    ),
    "Conflict": ("the act contradicts what already happened", "冲突:与已发生的事实矛盾,例如重复提交", "1"),
    "Unavailable": (
        "a needed party, file or component is not there now",
        "暂不可用:所需的一方、文件或组件当前不可用,可稍后重试",
        "3",
    ),
    "IntegrityError": (
        "evidence does not hold: somebody must investigate",
        "完整性错误:签名、证明、摘要或存储字节不符,须调查",
        "1",
    ),
}
"""Class to its meaning in English and Chinese, and the command line's exit code."""

_MAX_TEMPLATE_CHARACTERS = 220

_OBLIGATIONS_INTRODUCTION = """# Obligations 合规义务

`shuiqiao audit --obligations --home H [--json]` (`POST /api/v1/obligation-reviews`) holds an institution against the
rules that bind it. It replays the ledger, looks at the home, and prints of each rule what it asks, the control that
this software has, and live evidence: first what is `unmet`, then what is `unseen` because the evidence cannot be read
(the passphrase is not at hand, say), then what is `met`. It exits 1 unless all are met.
逐条列出规则、措施与实时证据,未满足者在前。

A rule whose control is *not here* stands as unmet: this software does nothing for it yet. LIMIT: most texts were known
by their tables of contents, summaries or citing papers; a control that is met is no certificate.

| id | rule 规则 | asks 要求 | control 措施 | evidence 证据 | binds 适用 |
|---|---|---|---|---|---|
"""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class ErrorSite:
    """One place that raises a code. template: its message, what is filled in standing in braces."""

    code: str
    kind: str
    file: str
    template: str


def main() -> None:
    """Write every page."""
    PAGES.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (PAGES / name).write_text(text, encoding="utf-8")
        print(f"docs/reference/{name}")


def pages() -> dict[str, str]:
    """Return file name to Markdown of every generated page."""
    from api_reference import render_api
    from kind_reference import render_kinds
    from role_reference import render_roles

    from shuiqiao.api.app import home_api, public_api
    from shuiqiao.node.home.kinds import network_kinds
    from shuiqiao.standards.publication import load_catalogue
    from shuiqiao.standards.reference import render_reference

    return {
        "errors.md": errors_page(),
        "settings.md": settings_page(),
        "cli.md": command_line_page(),
        "record-types.md": render_reference(load_catalogue()),
        "kinds.md": render_kinds(network_kinds()),
        "roles.md": render_roles(),
        "api.md": render_api(
            {"At the listening address": public_api().openapi(), "At the home's own socket": home_api().openapi()}
        ),
        "modules.md": modules_page(),
        "obligations.md": obligations_page(),
        "tax-credit-rules.md": tax_credit_page(),
    }


def obligations_page() -> str:
    """Return the page of the rules against which ``audit --obligations`` holds an institution."""
    from shuiqiao.node.obligations.review import obligations

    rows = [
        f"| {each.id} | {each.rule} | {each.asks} {each.asks_zh} | {each.control} {each.control_zh} | "
        f"{'looked at' if each.check else 'not here'} | {', '.join(each.roles)} |\n"
        for each in obligations()
    ]
    return _OBLIGATIONS_INTRODUCTION + "".join(rows)


def tax_credit_page() -> str:
    """Return the page of the rules of tax credit: every row of every version, with its source."""
    from shuiqiao.tax_credit.rules import RuleKind, all_rules

    versions, rules = all_rules()
    parts = [
        _TAX_CREDIT_INTRODUCTION,
        _table(
            ("version", "in force from 施行", "rules 规则", "source 出处"),
            [
                (f"`{each.id}`", str(each.in_force_from), f"{each.name} {each.name_zh}", each.source)
                for each in versions
            ],
        ),
    ]
    for kind in RuleKind:
        rows = [
            (
                f"`{rule.id}`",
                f"{rule.name} {rule.name_zh}",
                _rule_figures(rule),
                _versions_words([each.id for each in versions], rule.versions),
                rule.source if rule.confirmed else f"**unconfirmed 未证实**: {rule.source}",
            )
            for rule in rules
            if rule.kind is kind
        ]
        parts += [
            f"## {_RULE_KINDS[kind]}\n",
            _table(("id", "rule 规则", "figures 数值", "versions", "source 出处"), rows),
        ]
    return "\n".join(parts)


def _rule_figures(rule: Any) -> str:
    """Return the numbers of a rule in words."""
    counted = f", a {rule.per}" if rule.kind == "deduction" and rule.per != "once" else ""
    figures = {
        f"{rule.points} points{counted}": rule.points or rule.id == "grade_d",
        f"indicator {rule.code}": rule.code,
        f"within {rule.days} days": rule.days,
        f"by the end of the {str(rule.within).replace('_', ' ')}": rule.within in ("year", "next_year"),
        "at any time": rule.within == "any",
        f"{rule.percent} %": rule.percent,
        f"all up to {rule.small_yuan} yuan": rule.small_yuan,
        f"{rule.months} months": rule.months,
        f"{rule.years} years": rule.years,
        f"ends `{rule.lifts}`": rule.lifts,
        "repaired by steps": rule.repair == "steps",
        "repaired by steps, in parts": rule.repair == "gradual",
    }
    return "; ".join(words for words, holds in figures.items() if holds)


def _versions_words(known: Sequence[str], named: Sequence[str]) -> str:
    """Return versions as a range where they follow one another."""
    places = [known.index(each) for each in named]
    if len(named) > 1 and places == [*range(places[0], places[-1] + 1)]:
        return f"{named[0]} to {named[-1]}"
    return ", ".join(named)


def modules_page() -> str:
    """Return the page of every file of the source, room by room from the top floor down, with its first sentence."""
    parts = [_MODULES_INTRODUCTION]
    for room in rooms():
        parts.append(f"## {room}\n\n{_first_sentence(SOURCE / room / '__init__.py')}\n")
        files = sorted(path for path in (SOURCE / room).rglob("*.py") if path.name != "__init__.py")
        for folder, inside in groupby(
            sorted(files, key=lambda path: (path.parent, path.name)), key=lambda path: path.parent
        ):
            if folder != SOURCE / room:
                name = folder.relative_to(SOURCE).as_posix()
                parts.append(f"### {name}\n\n{_first_sentence(folder / '__init__.py')}\n")
            parts.append(
                _table(("file", "what it is for"), [(f"`{path.name}`", _first_sentence(path)) for path in inside])
            )
    return "\n".join(parts)


def rooms() -> list[str]:
    """Return the rooms of the source from the top floor down, as the check of imports has them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["containers"] == ["shuiqiao"])
    return [room for layer in layers for room in re.findall(r"\w+", layer) if (SOURCE / room).is_dir()]


def _first_sentence(path: Path) -> str:
    """Return the first paragraph of a module's docstring as one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split()).replace("``", "`").replace("|", "\\|")


def errors_page() -> str:
    """Return the page of every error code, and of the codes by which an audit names a problem."""
    sites = sorted(set(error_sites(ERROR_CLASSES, code=_first_argument)))
    problems = sorted(set(error_sites({"Problem"}, code=_keyword_code)))
    rooms = sorted({site.code.partition(".")[0] for site in sites})
    parts = [_ERRORS_INTRODUCTION, _classes_table()]
    for room in rooms:
        parts.append(f"## {room}\n")
        parts.append(_sites_table([site for site in sites if site.code.startswith(f"{room}.")]))
    parts.append(_PROBLEMS_INTRODUCTION)
    parts.append(_table(("code", "message"), [(f"`{site.code}`", site.template) for site in _merged(problems)]))
    findings = sorted(set(error_sites({"Finding"}, code=_keyword_code_of_finding)))
    parts.append(_FINDINGS_INTRODUCTION)
    parts.append(_table(("code", "says"), [(f"`{site.code}`", site.template) for site in _merged(findings)]))
    return "\n".join(parts)


def error_sites(names: Iterable[str], *, code: Any) -> Iterator[ErrorSite]:
    """Find every call of a class by name whose code is a literal."""
    wanted = set(names)
    for path in sorted(SOURCE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        file = path.relative_to(SOURCE).as_posix()
        for node in _calls(tree):
            if node.func.id not in wanted:
                continue
            found, message = code(node)
            if isinstance(found, ast.Constant) and isinstance(found.value, str):
                for template in _templates(tree, message):
                    yield ErrorSite(code=found.value, kind=node.func.id, file=file, template=template)


def _calls(tree: ast.AST) -> Iterator[Any]:
    """Iterate over the calls of something by its plain name."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name))


def _templates(tree: ast.AST, message: ast.expr | None) -> Iterator[str]:
    """Iterate over the messages of a site: its own, or those that are handed to the small function it stands in."""
    if not isinstance(message, ast.Name):
        yield _template(message)
        return
    makers = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and any(found is message for found in ast.walk(node))
    ]
    handed = [
        argument
        for maker in makers
        for position, parameter in enumerate(maker.args.args)
        if parameter.arg == message.id
        for call in _calls(tree)
        if call.func.id == maker.name
        for argument in call.args[position : position + 1]
    ]
    yield from (_template(argument) for argument in handed or [message])


def _first_argument(call: ast.Call) -> tuple[ast.expr | None, ast.expr | None]:
    return (call.args[0] if call.args else None), (call.args[1] if len(call.args) > 1 else None)


def _keyword_code(call: ast.Call) -> tuple[ast.expr | None, ast.expr | None]:
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    return keywords.get("code"), keywords.get("message")


def _keyword_code_of_finding(call: ast.Call) -> tuple[ast.expr | None, ast.expr | None]:
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    return keywords.get("code"), keywords.get("says")


def _template(message: ast.expr | None) -> str:
    """Return the message as it stands in the code, with each value it fills in as {name}."""
    if isinstance(message, ast.Constant) and isinstance(message.value, str):
        text = message.value
    elif isinstance(message, ast.JoinedStr):
        text = "".join(_piece(value) for value in message.values)
    else:
        text = "(made where it is found)"
    return text if len(text) <= _MAX_TEMPLATE_CHARACTERS else text[:_MAX_TEMPLATE_CHARACTERS] + " ..."


def _piece(value: ast.expr) -> str:
    if isinstance(value, ast.Constant):
        return str(value.value)
    inner = value.value if isinstance(value, ast.FormattedValue) else value
    found = [node for node in ast.walk(inner) if _is_named(node)]
    names = [node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "") for node in found]
    return f"{{{names[0] if names else '...'}}}"


def _is_named(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute | ast.Name) and getattr(node, "id", "") not in {
        "str",
        "len",
        "sorted",
        "repr",
    }


def _classes_table() -> str:
    rows = [(f"`{name}`", english, chinese, exits) for name, (english, chinese, exits) in ERROR_CLASSES.items()]
    return _table(("class", "meaning", "含义", "exit code"), rows)


def _sites_table(sites: Sequence[ErrorSite]) -> str:
    rows = [(f"`{site.code}`", site.kind, site.template, f"`{site.file}`") for site in _merged(sites)]
    return _table(("code", "class", "message", "raised in"), rows)


def _merged(sites: Sequence[ErrorSite]) -> list[ErrorSite]:
    """Return one site a code and class: its messages one after another, its files likewise."""
    merged: dict[tuple[str, str], list[ErrorSite]] = {}
    for site in sites:
        merged.setdefault((site.code, site.kind), []).append(site)
    return [
        ErrorSite(
            code=code,
            kind=kind,
            file="`, `".join(dict.fromkeys(site.file for site in group)),
            template=" · ".join(dict.fromkeys(site.template for site in group)),
        )
        for (code, kind), group in merged.items()
    ]


def settings_page() -> str:
    """Return the page of node.toml and the environment, from node/home/settings.py and base/environment.py."""
    tree, variable_tree = (
        ast.parse((SOURCE / name).read_text(encoding="utf-8"))
        for name in ("node/home/settings.py", "base/environment.py")
    )
    (settings,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "NodeSettings"]
    words = dict(_documented(settings.body))
    rows = [(f"`{name}`", kind, default, words.get(name, "")) for name, kind, default in _fields()]
    variables = [(f"`{value}`", words) for _, words, value in _constants(variable_tree.body)]
    return "\n".join(
        (
            _SETTINGS_INTRODUCTION,
            _table(("setting", "type", "default", "meaning"), rows),
            "## Environment 环境变量\n",
            _table(("variable", "meaning"), sorted(variables)),
        )
    )


def _fields() -> Iterator[tuple[str, str, str]]:
    import msgspec

    from shuiqiao.node.home.settings import NodeSettings

    for field in msgspec.inspect.type_info(NodeSettings).fields:  # type: ignore[union-attr]
        is_empty = _is_table(field.type) or field.default == ()
        default = "needed" if field.required else "none" if is_empty else f"`{field.default}`"
        yield field.encode_name, _type_words(field.type), default


def _is_table(kind: Any) -> bool:
    return type(getattr(kind, "type", kind)).__name__ == "DictType"


def _type_words(kind: Any) -> str:
    if _is_table(kind):
        return "table of member and text"
    name = type(getattr(kind, "type", kind)).__name__
    if name == "VarTupleType":
        return "list of text"
    if name == "EnumType":
        return " or ".join(f"`{member.value}`" for member in kind.cls)
    if name == "LiteralType":
        return " or ".join(f"`{value}`" for value in kind.values)
    if name == "IntType":
        return f"whole number, {kind.ge} to {kind.le}"
    return {"StrType": "text", "BoolType": "true or false"}[name]


def _documented(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Iterate over (name, docstring) of the assignments that have one after them."""
    for statement, after in pairwise(body):
        target = statement.target if isinstance(statement, ast.AnnAssign) else None
        if isinstance(statement, ast.Assign):
            target = statement.targets[0]
        if isinstance(target, ast.Name) and isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            yield target.id, inspect.cleandoc(str(after.value.value)).replace("\n", " ")


def _constants(body: Sequence[ast.stmt]) -> Iterator[tuple[str, str, str]]:
    words = dict(_documented(body))
    for statement in body:
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Constant):
            (target,) = statement.targets
            if isinstance(target, ast.Name) and target.id in words:
                yield target.id, words[target.id], str(statement.value.value)


def command_line_page() -> str:
    """Return the page of every command with its arguments and options, from the command's own help."""
    import typer.main

    from shuiqiao.cli.main import app

    root: Any = typer.main.get_command(app)
    return "\n".join(
        (_CLI_INTRODUCTION, _command(root, path=("shuiqiao",)), *_commands(root.commands, path=("shuiqiao",)))
    )


def _commands(commands: Mapping[str, Any], *, path: tuple[str, ...]) -> Iterator[str]:
    for name, command in commands.items():
        inner = getattr(command, "commands", None)
        if inner:
            if command.invoke_without_command:
                yield _command(command, path=(*path, name))
            yield from _commands(inner, path=(*path, name))
        else:
            yield _command(command, path=(*path, name))


def _command(command: Any, *, path: tuple[str, ...]) -> str:
    context = command.make_context(" ".join(path), [], resilient_parsing=True)
    rows = [
        (f"`{declared}`", _escaped(words))
        for declared, words in (parameter.get_help_record(context) for parameter in command.params)
    ]
    return f"## {' '.join(path)}\n\n{inspect.cleandoc(command.help or '')}\n\n" + _table(("argument", "meaning"), rows)


def _escaped(text: str) -> str:
    """Return help text whose brackets and angles are not taken for Markdown."""
    return re.sub(r"([<>\[\]])", r"\\\1", text)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [tuple(header), tuple("---" for _ in header), *map(tuple, rows)]
    cells = ([cell.replace("\\|", "|").replace("|", "\\|").replace("\n", " ") for cell in line] for line in lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


_RULE_KINDS = {
    "start": "Where points begin 起评分",
    "deduction": "What costs points 扣分",
    "waiver": "What is not counted 不计入",
    "step": "What a correction gives back 修复",
    "bonus": "Repair of the whole credit 整体信用修复",
    "direct_d": "What leads straight to D 直接判为D级",
    "kept": "For how long a D stands D级保留",
    "carry": "What last year's D costs 上年D级加扣",
    "lift": "What ends a direct D 解除直接判级",
    "wait": "What is not worked out here 未纳入计算",
    "bar": "What bars an A 不能评为A级",
    "letter": "Which letter follows 级别",
}

_GENERATED = "Generated by `make docs`; do not edit by hand."

_TAX_CREDIT_INTRODUCTION = f"""# Rules of tax credit 纳税信用规则

{_GENERATED}

Every rule by which a year's events lead to a grade ([requirements](../spec/tax-credit.md)), with its source:
announcements of the State Taxation Administration 国家税务总局公告. Which version counts follows from the day of
grading. A row marked **unconfirmed** has no source that says so in these words: it is counted, shown as unconfirmed,
and nothing is advised on it.
标注"未证实"的规则仅参与计算并予标明,不据以提出建议。等级以税务机关确定为准。
"""

_MODULES_INTRODUCTION = """# Files 源文件

Every file of `src/shuiqiao/` with the first sentence of its docstring, room by room from the top floor down: a room
imports only from rooms below it. Where something belongs, and questions with their answers:
[where things are](../explanation/where-things-are.md).
"""

_ERRORS_INTRODUCTION = f"""# Errors 错误码

{_GENERATED}

Every error has one shape everywhere: a stable `code`, a `message` that names the thing and, where two values disagree,
both of them, and often a `next_step`. The part of the code before the dot is the room whose rule it is. Codes do not
change; messages may. In a message, `{{name}}` stands for a value that is filled in.
"""

_PROBLEMS_INTRODUCTION = """## Problems that an audit names 审计问题

They are told in a report and not raised, so that one does not hide the next. 审计以报告列出问题,不中断。
"""

_FINDINGS_INTRODUCTION = """## What doctor finds 诊断结果

Beside the errors above, which it tells as findings: nothing is raised, so that one does not hide the next.
[When a node stops](../howto/when-a-node-stops.md) says what to do. 诊断结果只陈述、不中断。
"""

_SETTINGS_INTRODUCTION = f"""# Settings 设置

{_GENERATED}

A home's `node.toml` holds the settings below; a setting that is unknown is refused, so that a misspelt one is not
ignored in silence. 未知设置将被拒绝。

## node.toml
"""

_CLI_INTRODUCTION = f"""# Command line 命令行

{_GENERATED}

Every command takes `--json`: one JSON object on standard output, progress and warnings on standard error; an error is
then `{{"error": {{"code", "message", "next_step", "next_step_zh"}}}}` with a code of [the list](errors.md).

| exit code | meaning | 含义 |
| --- | --- | --- |
| 0 | done | 完成 |
| 1 | refused, or a check failed | 被拒绝或检查未通过 |
| 2 | bad usage, also a value typed in a wrong form | 用法错误,包括输入值的格式不对 |
| 3 | something needed is unavailable | 所需资源暂不可用 |
| 130, 143 | interrupted: Ctrl-C, SIGTERM | 被中断 |

Options of `shuiqiao` itself stand before the command: `shuiqiao --lang zh audit --home my-bank`.
"""


if __name__ == "__main__":
    main()

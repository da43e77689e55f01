"""The examples in docstrings are true: they compile, and what they call and read is there under those names."""

from __future__ import annotations

import ast
import builtins
import re
import textwrap
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3] / "src" / "shuiqiao"
BLOCK = re.compile(r"^Example::\n\n((?:(?: {4}.*)?\n)+)", re.MULTILINE)
INLINE = re.compile(r"E\.g\.\s+``([^`]+)``")
LEFT_OUT = re.compile(r",\s*\.\.\.(?=\s*\))")
"""Arguments that an example leaves out."""

OUTSIDE = {"Path", *dir(builtins)}
SERVICES = {
    "Assessor", "AlarmService", "ConsentFile", "ConsentService", "Enterprise", "Eraser", "FeatureEngine", "Institution",
    "LendingService", "Network", "OpeningService", "Outbox", "Provider", "ReceiptVerifier", "Recipient",
    "StatisticsService", "Vault", "Witness",
}  # fmt: skip
"""What an institution's own code calls; each has an example."""


@dataclass
class Source:
    """Every name that the source defines; of what can be called its parameters, those without a default apart."""

    names: set[str] = field(default_factory=set)
    calls: dict[str, list[tuple[set[str], set[str], bool]]] = field(default_factory=lambda: defaultdict(list))
    fields: dict[str, tuple[list[str], dict[str, bool]]] = field(default_factory=dict)
    """Class -> its bases, and its fields with whether each has a default."""

    def take(self, tree: ast.Module) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                self.names.add(node.name)
                self.calls[node.name].append(_parameters(node))
            elif isinstance(node, ast.ClassDef):
                self.names.add(node.name)
                self._take_class(node)
            elif isinstance(node, ast.AnnAssign | ast.Assign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                for target in targets:
                    self.names |= {part.id for part in ast.walk(target) if isinstance(part, ast.Name)}
                    self.names |= {part.attr for part in ast.walk(target) if isinstance(part, ast.Attribute)}

    def _take_class(self, node: ast.ClassDef) -> None:
        made = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
        if made:
            self.calls[node.name].append(_parameters(made[0]))
            return
        own = {
            part.target.id: part.value is not None
            for part in node.body
            if isinstance(part, ast.AnnAssign) and isinstance(part.target, ast.Name)
        }
        self.fields[node.name] = ([base.id for base in node.bases if isinstance(base, ast.Name)], own)

    def all_fields(self, name: str) -> dict[str, bool]:
        bases, own = self.fields.get(name, ([], {}))
        inherited = [self.all_fields(base) for base in bases]
        return {key: value for each in inherited for key, value in each.items()} | own

    def faults(self, call: ast.Call, *, is_whole: bool) -> list[str]:
        name = call.func.attr if isinstance(call.func, ast.Attribute) else ast.unparse(call.func)
        if name in OUTSIDE or (isinstance(call.func, ast.Attribute) and name in dir(dict) + dir(str) + dir(list)):
            return []
        known = list(self.calls.get(name, []))
        if name in self.fields:
            found = self.all_fields(name)
            known.append((set(found), {key for key, has_default in found.items() if not has_default}, False))
        given = {word.arg for word in call.keywords if word.arg}
        fits = any(
            (takes_any or given <= takes) and (not is_whole or len(call.args) >= len(needs - given))
            for takes, needs, takes_any in known
        )
        return [] if fits else [f"nothing called {name} takes {ast.unparse(call)}"]


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[set[str], set[str], bool]:
    arguments = node.args
    placed = [each.arg for each in (*arguments.posonlyargs, *arguments.args) if each.arg not in {"self", "cls"}]
    needed = set(placed[: len(placed) - len(arguments.defaults)])
    needed |= {
        each.arg for each, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default is None
    }
    return {*placed, *(each.arg for each in arguments.kwonlyargs)}, needed, arguments.kwarg is not None


def _examples() -> dict[str, str]:
    found: dict[str, str] = {}
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                said = (ast.get_docstring(node) or "") + "\n"
                for number, code in enumerate([*BLOCK.findall(said), *INLINE.findall(said)]):
                    where = f"{path.relative_to(ROOT)}:{getattr(node, 'name', '')}"
                    found[f"{where}#{number}" if number else where] = textwrap.dedent(code)
    return found


EXAMPLES = _examples()


@pytest.fixture(scope="module")
def source() -> Source:
    made = Source()
    for path in ROOT.rglob("*.py"):
        made.take(ast.parse(path.read_text(encoding="utf-8")))
    return made


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_says_what_is_there(source: Source, name: str) -> None:
    code = EXAMPLES[name]
    shown = LEFT_OUT.sub("", code)
    tree = ast.parse(shown)
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    faults = [
        fault
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) not in bound
        for fault in source.faults(node, is_whole=shown == code)
    ]
    own = source.names | set(dir(dict)) | set(dir(str)) | set(dir(list))
    faults += [
        f"nothing has a {node.attr}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr not in own
    ]
    assert [] == faults


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_every_public_service_has_an_example(service: str) -> None:
    assert any(name.partition("#")[0].endswith(f":{service}") for name in EXAMPLES)

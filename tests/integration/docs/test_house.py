"""What the documents say of the house is so: the picture of the rooms, and every file and function that a page names."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
SOURCE = ROOT / "src" / "shuiqiao"
EXPLANATION = ROOT / "docs" / "explanation"
PICTURE = re.compile(r"^## The rooms.*?^```mermaid\n(?P<body>.*?)^```", re.MULTILINE | re.DOTALL)
ARROW = re.compile(r"^ +(\w+)(?:\[[^\]]*\])? --> (\w+)(?:\[[^\]]*\])?$", re.MULTILINE)
PLACE = re.compile(r"`(?P<path>(?:\w+/)+(?:\w+\.(?:py|toml))?)(?:::(?P<name>[\w.]+))?`")
PAGES = ["where-things-are.md", "follow-the-code.md"]
ROOMS = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
FILE = re.compile(r"(?<![\w./-])(?:src/shuiqiao/)?(?P<path>(?P<room>\w+)/[\w/]+\.(?:py|toml))\b")
MODULE = re.compile(r"\bshuiqiao\.(?P<room>\w+)(?:\.[a-z_0-9]+)*")
TO_BE_WRITTEN = {"standards/catalogue/scope_change.toml"}
"""Files that a how-to lets its reader write."""
FOLDER_NAME = re.compile(r"^\w+_FOLDER(?:: Final)? = \"([\w.]+)\"$", re.MULTILINE)
HOME_NAME = re.compile(r"self\.(?:folder|home\.ledger) / \"([\w.]+)\"")


def imported_rooms() -> dict[str, set[str]]:
    """Return room to the rooms that any of its files imports from."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in SOURCE.rglob("*.py"):
        room = path.relative_to(SOURCE).parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            modules += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for module in modules:
                parts = module.split(".")
                if parts[0] == "shuiqiao" and len(parts) > 1 and parts[1] != room:
                    found[room].add(parts[1])
    return found


def below(room: str, arrows: dict[str, set[str]]) -> set[str]:
    """Return every room that arrows lead to from one."""
    reached: set[str] = set()
    waiting = [room]
    while waiting:
        for other in arrows.get(waiting.pop(), set()) - reached:
            reached.add(other)
            waiting.append(other)
    return reached


def test_the_picture_of_the_rooms_shows_the_imports_and_nothing_else():
    picture = PICTURE.search((EXPLANATION / "architecture.md").read_text(encoding="utf-8"))
    assert picture
    arrows: dict[str, set[str]] = defaultdict(set)
    for above, under in ARROW.findall(picture["body"]):
        arrows[above].add(under)
    imports = imported_rooms()
    invented = {(room, other) for room, others in arrows.items() for other in others - imports[room]}
    missing = {(room, other) for room, others in imports.items() for other in others - below(room, arrows)}
    assert (invented, missing) == (set(), set())


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return the functions, classes, methods and constants of a file, methods behind their class's name."""
    found: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
            inside = node.body if isinstance(node, ast.ClassDef) else []
            found |= {f"{node.name}.{each.name}" for each in inside if isinstance(each, ast.FunctionDef)}
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES)
def test_every_file_and_function_that_a_page_names_is_there(page):
    text = (EXPLANATION / page).read_text(encoding="utf-8")
    named = [(match["path"], match["name"]) for match in PLACE.finditer(text)]
    assert len(named) > 40
    missing = [
        f"{path}::{name}" if name else path
        for path, name in named
        if not any((base / path).exists() for base in (SOURCE, ROOT)) or (name and name not in names_in(SOURCE / path))
    ]
    assert missing == []


def pages():
    """Return every page but the decision records and the history, whose names are those of their time."""
    found = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), ROOT / "tests" / "worlds" / "README.md"]
    return sorted(page for page in found if page.name != "CHANGELOG.md" and page.parent.name != "adr")


def is_module(dotted: str) -> bool:
    """Tell whether a dotted name is that of a module or room, or of something within one."""
    path = SOURCE.joinpath(*dotted.split(".")[1:])
    return any(each.is_dir() or each.with_suffix(".py").exists() for each in (path, path.parent) if each != SOURCE)


def test_every_source_file_and_module_that_any_page_names_is_there():
    files, modules = set(), set()
    for page in pages():
        text = page.read_text(encoding="utf-8")
        files |= {match["path"] for match in FILE.finditer(text) if match["room"] in ROOMS}
        modules |= {match[0] for match in MODULE.finditer(text) if match["room"] in ROOMS}
    assert len(files) > 100
    # Tutorials name commands; modules are named by what explains them.
    assert len(modules) > 5
    assert {path for path in files if not (SOURCE / path).exists()} - TO_BE_WRITTEN == set()
    assert {module for module in modules if not is_module(module)} == set()


def test_the_page_of_the_architecture_shows_every_folder_of_a_home():
    """Every folder that the code names by a constant, and everything that a home has a path for."""
    text = (EXPLANATION / "architecture.md").read_text(encoding="utf-8")
    tree = text[text.index("HOME/") :].partition("```")[0]
    names = {name for path in SOURCE.rglob("*.py") for name in FOLDER_NAME.findall(path.read_text(encoding="utf-8"))}
    for path in ("node/home/settings.py", "node/institution.py"):
        names |= set(HOME_NAME.findall((SOURCE / path).read_text(encoding="utf-8")))
    assert names >= {"segments", "checkpoints", "epochs", "consensus", "cometbft", "witness", "batches", "vault"}
    shown = set(re.findall(r"[\w.]+", tree))
    assert names - shown == set()


def test_the_page_of_questions_answers_twenty_with_a_place_each():
    text = (EXPLANATION / "where-things-are.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([^|]+\?) \| ([^|]+) \|$", text, re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == list(range(1, 21))
    assert [number for number, _, answer in rows if not PLACE.search(answer)] == []


def test_the_page_of_the_tests_worlds_names_each_of_them():
    page = (ROOT / "tests" / "worlds" / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`(\w+\.py)`", page))
    assert listed == {path.name for path in (ROOT / "tests" / "worlds").glob("*.py")}

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


def test_the_page_of_questions_answers_twenty_with_a_place_each():
    text = (EXPLANATION / "where-things-are.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([^|]+\?) \| ([^|]+) \|$", text, re.MULTILINE)
    assert [int(number) for number, _, _ in rows] == list(range(1, 21))
    assert [number for number, _, answer in rows if not PLACE.search(answer)] == []


def test_the_page_of_the_tests_worlds_names_each_of_them():
    page = (ROOT / "tests" / "worlds" / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"`(\w+\.py)`", page))
    assert listed == {path.name for path in (ROOT / "tests" / "worlds").glob("*.py")}

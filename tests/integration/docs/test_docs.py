"""The documentation says what is true: links resolve, commands exist, snippets compile (that they run: test_pages_run)."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import typer.main

from shuiqiao.cli.main import app

ROOT = Path(__file__).parents[3]
SKIPPED_FOLDERS = re.compile(r"\..*|demo-out(-[0-9]+)?|node_modules|build|dist")
FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<body>.*?)^```[ ]*$", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`[^`\n]*`")
LINK = re.compile(r"\]\((?P<target>[^()\s]+)\)")
HEADING = re.compile(r"^#{1,6} (?P<text>.+)$", re.MULTILINE)
ANCHOR = re.compile(r'<a id="(?P<id>[^"]+)"')
WITHIN = re.compile(r"\$\((?:[^()]|\([^()]*\))*\)")
"""A command whose output stands in another one."""

COMMAND = re.compile(r"^\$ (?:[A-Z_]+=\S+ )*(?:\S*/)?shuiqiao(?: (?P<arguments>.*))?$")
OUTSIDE = ("http://", "https://", "mailto:")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block. page: relative to the repository; number: from 1, among the page's blocks."""

    page: Path
    number: int
    info: str
    body: str

    @property
    def name(self) -> str:
        return f"{self.page}#{self.number}"


def _pages() -> list[Path]:
    found = (path.relative_to(ROOT) for path in ROOT.rglob("*.md"))
    return sorted(page for page in found if not any(SKIPPED_FOLDERS.fullmatch(part) for part in page.parts))


def _text(page: Path) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def _blocks(page: Path) -> list[Block]:
    return [
        Block(page=page, number=number, info=match["info"].strip(), body=match["body"])
        for number, match in enumerate(FENCE.finditer(_text(page)), start=1)
    ]


def _prose(page: Path) -> str:
    """Return the page without its code, where brackets mean other things."""
    return INLINE_CODE.sub("", FENCE.sub("", _text(page)))


def _slug(heading: str) -> str:
    """Return the anchor that a heading gets on the common hosts: lower case, spaces to hyphens, punctuation dropped."""
    plain = re.sub(r"<[^>]+>|[`*]", "", heading)
    return re.sub(r"[^\w\- ]", "", plain.lower()).strip().replace(" ", "-")


def _anchors(page: Path) -> set[str]:
    text = _text(page)
    headings = {_slug(match["text"]) for match in HEADING.finditer(FENCE.sub("", text))}
    return headings | {match["id"] for match in ANCHOR.finditer(text)}


PAGES = _pages()
INDEX = Path("docs/index.md")
BLOCKS = [block for page in PAGES for block in _blocks(page)]
CONSOLE = [block for block in BLOCKS if block.info == "console"]
PYTHON = [block for block in BLOCKS if block.info == "python"]


def test_the_pages_of_every_reader_are_there() -> None:
    expected = {
        Path("docs/tutorials") / f"{role}.md" for role in ("tax-bureau", "bank", "regulator", "enterprise", "outsider")
    }
    assert expected <= set(PAGES)


def test_the_index_leads_to_every_page() -> None:
    linked = {(ROOT / "docs" / match["target"].partition("#")[0]).resolve() for match in LINK.finditer(_prose(INDEX))}
    assert [
        str(page) for page in PAGES if page.parts[0] == "docs" and page != INDEX and ROOT / page not in linked
    ] == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_relative_link_resolves(page: Path) -> None:
    broken = []
    for match in LINK.finditer(_prose(page)):
        target = match["target"]
        if target.startswith(OUTSIDE):
            continue
        name, _, anchor = target.partition("#")
        path = ((ROOT / page).parent / name).resolve() if name else ROOT / page
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in _anchors(path.relative_to(ROOT))):
            broken.append(target)
    assert [] == broken


def _commands(block: Block) -> list[list[str]]:
    """Return the arguments of every shuiqiao command line of a console block; a trailing backslash continues one."""
    lines = WITHIN.sub("found", block.body.replace("\\\n", " ")).splitlines()
    matches = (COMMAND.match(line) for line in lines)
    return [shlex.split(match["arguments"] or "", comments=True) for match in matches if match]


def _faults(arguments: list[str], *, command: Any) -> list[str]:
    """Walk sub-commands, then compare every option with those the command declares."""
    words = list(arguments)
    while words and not words[0].startswith("-") and hasattr(command, "commands"):
        name = words.pop(0)
        if name not in command.commands:
            return [f"no command {name}"]
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    given = [word.partition("=")[0] for word in words if word.startswith("-") and not re.match(r"^-\d", word)]
    return [f"{command.name} has no option {option}" for option in given if option not in known]


@pytest.mark.parametrize("block", CONSOLE, ids=lambda block: block.name)
def test_commands_of_console_blocks_exist(block: Block) -> None:
    root = typer.main.get_command(app)
    assert [] == [fault for arguments in _commands(block) for fault in _faults(arguments, command=root)]


def test_the_check_of_commands_sees_what_is_wrong() -> None:
    root = typer.main.get_command(app)
    assert ["no command anchr"] == _faults(["anchr"], command=root)
    assert ["audit has no option --homes"] == _faults(["audit", "--homes", "H"], command=root)
    assert [] == _faults(["keys", "show", "--home", "H", "--json"], command=root)


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.name)
def test_python_snippets_compile(block: Block) -> None:
    code = compile(block.body, block.name, "exec")
    assert block.name == code.co_filename

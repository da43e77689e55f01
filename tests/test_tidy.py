"""The house rules that a machine can hold: lengths, words, labels both ways, lazy heavy imports, documented errors."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted((ROOT / "src").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
SPECS = sorted((ROOT / "docs" / "spec").glob("*.md"))

MAX_FUNCTION_LINES = 60
MOST_FUNCTIONS_UNDER = 35
BANNED_FILE_NAMES = {"utils", "util", "common", "helpers", "helper", "manager", "misc"}
BANNED_WORDS = re.compile(r"\b(TODO|FIXME|XXX|HACK|NotImplementedError|wallet[_ ]balance|coin|airdrop|mining reward)\b")
# The rules about what the ledger must never carry have to name it; nobody else may.
MAY_NAME_WHAT_IS_REFUSED = {"record_rules.py"}
LABEL = re.compile(
    r"\[((?:ABCI|LEDGER|STORE|STD|VAULT|CONSENT|EXCHANGE|NOTE|WITNESS|TILE|MEMBER|EPOCH|MAP|LENDING|PEER|API|CREDENTIAL|BLIND|SECURE|INVOICE|GRADE)-(?:[A-Z]+-)?\d+)\]"
)
DEFINED_LABEL = re.compile(r"^- \*\*\[([A-Z0-9-]+)\]\*\*", re.MULTILINE)
"""Where a specification says what a requirement asks for."""
HEAVY = {
    "numpy",
    "pyarrow",
    "duckdb",
    "ibis",
    "pandas",
    "sklearn",
    "scipy",
    "sqlalchemy",
    "jinja2",
    "lmdb",
    "nacl",
    "tenseal",
    "libspu",
    "spu",
    "jax",
    "anoncreds",
}
HELD = ("prevented", "detected", "bounded", "harmless", "survived", "undone")
"""How a row of the threat model begins that says that an attack does not get through."""
ERROR_CLASSES = {"InvalidInput", "Denied", "Conflict", "Unavailable", "IntegrityError"}


def functions_of(path: Path) -> list[tuple[str, int]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [
        (f"{path.relative_to(ROOT)}:{node.lineno} {node.name}", (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def test_no_function_is_longer_than_sixty_lines():
    too_long = [(name, lines) for path in SOURCES for name, lines in functions_of(path) if lines > MAX_FUNCTION_LINES]
    assert too_long == []


def test_nearly_all_functions_are_short():
    lengths = [lines for path in SOURCES for _, lines in functions_of(path)]
    share = sum(lines < MOST_FUNCTIONS_UNDER for lines in lengths) / len(lengths)
    assert share >= 0.95


def test_no_file_has_a_name_that_says_nothing():
    assert [path for path in SOURCES if path.stem in BANNED_FILE_NAMES] == []


@pytest.mark.parametrize("kind", ["unit", "property"])
def test_a_test_file_stands_where_its_source_file_does_and_begins_with_its_name(kind):
    folder = ROOT / "tests" / kind
    tests = [path.relative_to(folder) for path in folder.rglob("test_*.py")]
    sources = {path.relative_to(ROOT / "src" / "shuiqiao").with_suffix("") for path in SOURCES}
    assert tests
    assert [path for path in sorted(tests) if not any(source in sources for source in sources_named_by(path))] == []


def sources_named_by(test: Path) -> list[Path]:
    """Return what `a/test_b_c.py` may be a test of: `a/b_c` and `a/b`."""
    words = test.stem.removeprefix("test_").split("_")
    return [test.parent / "_".join(words[:count]) for count in range(1, len(words) + 1)]


def test_no_source_line_has_a_banned_word():
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in SOURCES
        if path.name not in MAY_NAME_WHAT_IS_REFUSED
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if BANNED_WORDS.search(line)
    ]
    assert found == []


def labels_in(paths: list[Path]) -> set[str]:
    return {label for path in paths for label in LABEL.findall(path.read_text(encoding="utf-8"))}


def test_every_requirement_is_cited_in_source_and_in_a_test_and_no_label_is_unknown():
    specified, in_source, in_tests = labels_in(SPECS), labels_in(SOURCES), labels_in(TESTS)
    assert specified, "the specifications hold no labels at all: the pattern or the folder is wrong"
    assert sorted(specified - in_source) == []
    assert sorted(specified - in_tests) == []
    assert sorted((in_source | in_tests) - specified) == []


def test_a_label_stands_for_one_requirement():
    defined = [found for path in SPECS for found in DEFINED_LABEL.findall(path.read_text(encoding="utf-8"))]
    assert defined
    assert sorted({label for label in defined if defined.count(label) > 1}) == []


def error_codes() -> dict[str, str]:
    codes: dict[str, str] = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERROR_CLASSES:
                assert node.args, f"{path}:{node.lineno}: an error without a code"
                code = node.args[0]
                if isinstance(code, ast.Constant) and isinstance(code.value, str):
                    codes[code.value] = f"{path.relative_to(ROOT)}:{node.lineno}"
    return codes


def test_every_error_code_names_its_room_and_is_documented():
    # The rooms within node/ have codes of their own too; what crosses between members is a peer's on both sides.
    source = ROOT / "src" / "shuiqiao"
    rooms = {path.name for path in (*source.iterdir(), *(source / "node").iterdir()) if path.is_dir()} | {"peer"}
    codes = error_codes()
    reference = (ROOT / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    assert [code for code in codes if not re.fullmatch(rf"({'|'.join(rooms)})\.[a-z0-9_]+", code)] == []
    assert [f"{code} ({place})" for code, place in sorted(codes.items()) if f"`{code}`" not in reference] == []


def test_the_command_line_starts_without_heavy_libraries():
    program = (
        "import sys\nfrom shuiqiao.cli.door import run\n"
        "try:\n    run(['--help'])\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', sorted({HEAVY!r} & {{name.split('.')[0] for name in sys.modules}}))"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[-1] == "LOADED []"


def test_a_server_that_nobody_asked_for_features_has_not_loaded_what_computes_them():
    """It would be an eighth of its memory."""
    code = (
        "import sys, shuiqiao.api.app, shuiqiao.api.serving, shuiqiao.node.server\n"
        "shuiqiao.api.app.public_api(), shuiqiao.api.app.home_api()\n"
        "print(sorted({'duckdb', 'ibis', 'sklearn', 'scipy', 'tenseal', 'libspu', 'anoncreds'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_whoever_reads_a_home_for_its_members_loads_neither_databases_nor_columns():
    program = (
        "import sys, shuiqiao.node.home_reader, shuiqiao.node.operations.reading\n"
        "print('LOADED', sorted({'sqlalchemy', 'pyarrow', 'duckdb', 'shuiqiao.exchange.provider'} & sys.modules.keys()))"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert output == "LOADED []\n"


def test_each_row_of_the_threat_model_names_a_test_that_is_there():
    text = (ROOT / "docs" / "explanation" / "threat-model.md").read_text(encoding="utf-8")
    files = {path.stem for path in TESTS} | {str(path.relative_to(ROOT)) for path in TESTS}
    functions = {name for path in TESTS for name in names_in(path)}
    named = re.findall(r"`((?:tests/[^`]*/)?test_[^`]*)`", text)
    assert named
    there = files | functions | {f"{path.relative_to(ROOT)}::{name}" for path in TESTS for name in names_in(path)}
    assert sorted(set(named) - there) == []
    rows = [line.split("|") for line in text.splitlines() if line.startswith("|")]
    unheld = [row[1].strip() for row in rows if row[2].strip().startswith(HELD) and "`test" not in "".join(row)]
    assert unheld == []


def names_in(path: Path) -> list[str]:
    return [name.split()[-1] for name, _ in functions_of(path)]


def test_no_two_tests_share_a_name_in_one_file():
    repeated = {
        str(path): names
        for path in TESTS
        if (
            names := [
                name
                for name, count in Counter(
                    node.name
                    for node in ast.parse(path.read_text(encoding="utf-8")).body
                    if isinstance(node, ast.FunctionDef)
                ).items()
                if count > 1
            ]
        )
    }
    assert repeated == {}


@pytest.mark.parametrize("path", [ROOT / "locks" / "base.txt", ROOT / "locks" / "dev.txt"], ids=lambda path: path.name)
def test_locks_pin_every_package_by_hash_and_name_no_registry(path):
    text = path.read_text(encoding="utf-8")
    packages = re.findall(r"^[a-zA-Z0-9._-]+(?:\[[a-z,]+\])?==", text, flags=re.MULTILINE)
    assert len(packages) > 20
    assert len(re.findall(r"^    --hash=sha256:", text, flags=re.MULTILINE)) >= len(packages)
    assert "://" not in text

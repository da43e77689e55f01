#!/usr/bin/env python3
"""Change one rule at a time and see whether a test notices: `mutants.py [MODULE ...] [--sample N] [--seed N]`.

A mutant is the product with one comparison, connective, number, check or call changed. It is killed when a test that
runs the changed line fails, and survives when all pass: then that rule could be wrong without anybody noticing. The
mutants of a module are sampled by a seed, so a run can be repeated. Those that change nothing that anybody could see
stand in `tests/equivalent_mutants.toml` with the reason and do not count. Exits 1 where a module is below the bar.
"""

from __future__ import annotations

import argparse
import ast
import copy
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import coverage

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
EQUIVALENT = ROOT / "tests" / "equivalent_mutants.toml"
BAR = 0.95

MODULES = {
    "receipts": (
        ["ledger/receipt.py", "ledger/receipt_verification.py", "ledger/receipt_signers.py", "ledger/entry.py"],
        ["unit/ledger/test_receipt*.py", "unit/ledger/test_entry.py", "vectors/ledger/test_receipt*.py"],
    ),
    "machine": (
        ["ledger/machine.py", "ledger/transaction.py", "ledger/work.py"],
        ["unit/ledger/test_[mrw]*.py", "unit/ledger/test_transaction.py", "property/ledger/test_transaction*.py"],
    ),
    "notes": (
        ["ledger/note.py", "ledger/signed_note.py", "ledger/cosignature.py", "ledger/policy.py"],
        ["unit/ledger/test_note.py", "unit/ledger/checkpoints/test_[cfp]*.py", "vectors/ledger/test_[cn]*.py"],
    ),
    "state-map": (
        ["ledger/state_map.py"],
        ["*/ledger/test_state_map*.py", "unit/ledger/test_store_state_tree.py"],
    ),
    "crypto": (["crypto/*.py"], ["*/crypto"]),
    "members": (["members/*.py"], ["unit/members", "property/members", "integration/node/test_rotation.py"]),
    "vault-proofs": (
        ["vault/proofs.py", "vault/tree.py", "vault/leaves.py", "vault/disclosure.py", "vault/evidence.py"],
        ["unit/vault", "property/vault", "vectors/vault", "integration/exchange"],
    ),
    "consent": (["consent/*.py"], ["*/consent", "integration/exchange"]),
    "exchange": (["exchange/*.py"], ["*/exchange"]),
    "oversight": (
        ["oversight/*.py"],
        ["*/oversight", "unit/members", "integration/node/test_audit.py", "integration/node/test_lending.py"],
    ),
    "lending": (["lending/*.py"], ["*/lending", "integration/node/test_lending.py"]),
}
"""The rooms and files whose rules are held, and the tests below `tests/` that hold them."""

FLIPPED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.And: ast.Or, ast.Or: ast.And,
    ast.Add: ast.Sub, ast.Sub: ast.Add,
}  # fmt: skip
SPOKEN = {"next_step", "message", "says", "description", "help"}
"""Keywords whose values are words for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One change. line: as it stands in the file; change: what becomes of it; statement: line of its statement."""

    file: Path
    lineno: int
    line: str
    change: str
    number: int
    statement: int
    runs_at_import: bool

    @property
    def name(self) -> str:
        """How a person finds it."""
        return f"{self.file.relative_to(SOURCE)}:{self.lineno}: {self.line}  [{self.change}]"


def sites(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Iterate over the nodes that can be changed, in order, with what becomes of each; words and types are left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.keyword) and node.arg in SPOKEN):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield from own_sites(node)
        if isinstance(node, ast.AnnAssign):
            yield from () if node.value is None else (*own_sites(node.value), *sites(node.value))
        elif isinstance(node, ast.arg):
            continue
        else:
            yield from sites(node)


def own_sites(node: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    """Iterate over the changes of one node itself."""
    operators = node.ops if isinstance(node, ast.Compare) else [getattr(node, "op", None)]
    for operator in operators:
        if type(operator) in FLIPPED:
            other = FLIPPED[type(operator)].__name__
            yield node, f"{type(operator).__name__} becomes {other}"
            break
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node, "without not"
    if isinstance(node, ast.If | ast.IfExp | ast.While) and isinstance(node.test, ast.Name | ast.Attribute | ast.Call):
        yield node, "condition negated"
    if isinstance(node, ast.Constant) and type(node.value) is int:
        yield node, f"{node.value} becomes {node.value + 1}"
    if isinstance(node, ast.Raise):
        yield node, "not raised"
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield node, "not called"


def applied(text: str, number: int) -> str:
    """Return a file's text with its change of that number."""
    tree = ast.parse(text)
    node, change = list(sites(tree))[number]
    if change in {"not raised", "not called"}:
        replaced: ast.AST = ast.Pass()
    elif change == "without not":
        replaced = node.operand  # type: ignore[attr-defined]
    elif change == "condition negated":
        replaced = copy.copy(node)
        replaced.test = ast.UnaryOp(op=ast.Not(), operand=node.test)  # type: ignore[attr-defined]
    elif isinstance(node, ast.Constant):
        replaced = ast.Constant(value=node.value + 1)
    else:
        replaced = copy.copy(node)
        if isinstance(replaced, ast.Compare):
            at = next(at for at, operator in enumerate(replaced.ops) if type(operator) in FLIPPED)
            replaced.ops = [*replaced.ops[:at], FLIPPED[type(replaced.ops[at])](), *replaced.ops[at + 1 :]]
        else:
            replaced.op = FLIPPED[type(replaced.op)]()  # type: ignore[attr-defined]

    class Swap(ast.NodeTransformer):
        def visit(self, each: ast.AST) -> ast.AST:
            return replaced if each is node else self.generic_visit(each)

    return ast.unparse(ast.fix_missing_locations(Swap().visit(tree)))


def mutants_of(files: list[Path]) -> list[Mutant]:
    """Return every change of some files."""
    found = []
    for file in files:
        text = file.read_text(encoding="utf-8")
        lines = text.splitlines()
        tree = ast.parse(text)
        seen = Counter[tuple[int, str]]()
        above = {child: parent for parent in ast.walk(tree) for child in ast.iter_child_nodes(parent)}
        for number, (node, change) in enumerate(sites(tree)):
            lineno = node.lineno  # type: ignore[attr-defined]
            seen[lineno, change] += 1
            place = seen[lineno, change]
            statement = node
            while not isinstance(statement, ast.stmt):
                statement = above[statement]
            outer = above[statement]
            while not isinstance(outer, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef):
                outer = above[outer]
            found.append(
                Mutant(
                    file=file,
                    lineno=lineno,
                    line=lines[lineno - 1].strip(),
                    change=change if place == 1 else f"{change}, place {place} in its line",
                    number=number,
                    statement=statement.lineno,
                    runs_at_import=isinstance(outer, ast.Module),
                )
            )
    return found


def pytest_command(*arguments: str) -> list[str]:
    """Return the command that runs some tests."""
    return [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]


def who_runs_what(patterns: list[str], *, jobs: int, scratch: Path) -> coverage.CoverageData:
    """Run a module's tests once and return which of them run which lines."""
    record = scratch / "coverage"
    tests = [str(path) for pattern in patterns for path in sorted((ROOT / "tests").glob(pattern))]
    parallel = ("-n", str(jobs)) if jobs > 1 else ()
    command = pytest_command("--cov=shuiqiao", "--cov-context=test", "--cov-report=", *parallel, *tests)
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"COVERAGE_FILE": str(record)}, check=False)
    if done.returncode != 0:
        sys.exit("The tests fail without any change: there is nothing to measure.")
    data = coverage.CoverageData(str(record))
    data.read()
    return data


def tests_of(mutant: Mutant, data: coverage.CoverageData) -> list[str]:
    """Return the tests that run a line, those named after its file first; at import, all that run any of its file."""
    by_line = data.contexts_by_lineno(str(mutant.file))
    contexts = by_line.get(mutant.lineno) or by_line.get(mutant.statement, [])
    if mutant.runs_at_import:
        contexts = [context for line in by_line.values() for context in line]
    tests = sorted({context.rsplit("|", 1)[0] for context in contexts if context}, reverse=True)
    return sorted(tests, key=lambda test: mutant.file.stem not in test)


def is_killed(mutant: Mutant, tests: list[str], *, timeout_s: float) -> bool:
    """Tell whether some test fails with a change, or does not end in several times the time that all of them took."""
    if not tests:
        return False
    with tempfile.TemporaryDirectory() as folder:
        # With what is compiled already, the changed file left out.
        shutil.copytree(SOURCE, Path(folder) / "src", ignore=shutil.ignore_patterns(f"{mutant.file.stem}.*.pyc"))
        changed = Path(folder) / "src" / mutant.file.relative_to(SOURCE)
        changed.write_text(applied(mutant.file.read_text(encoding="utf-8"), mutant.number), encoding="utf-8")
        environment = os.environ | {"PYTHONPATH": str(Path(folder) / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
        command = pytest_command("-x", *tests)
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=timeout_s
            )
        except subprocess.TimeoutExpired:
            return True
    # A test that pytest cannot find has not failed.
    assert "ERROR: not found" not in done.stdout + done.stderr, done.stderr
    return done.returncode != 0


def equivalents() -> set[tuple[str, str, str]]:
    """Return the changes that nobody could see: file, line, change."""
    listed = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")) if EQUIVALENT.exists() else {"mutant": []}
    assert all(each["reason"] for each in listed["mutant"])
    return {(each["file"], each["line"], each["change"]) for each in listed["mutant"]}


def survives(mutant: Mutant, *, killed: bool) -> bool:
    """Tell whether a mutant survives, and print it at once: the whole takes long."""
    if not killed:
        print(f"SURVIVED {mutant.name}", flush=True)
    return not killed


def judge(name: str, *, sample: int, seed: int, jobs: int) -> bool:
    """Sample a module's mutants, print the survivors and the share of the killed; tell whether that reaches the bar."""
    patterns, held_by = MODULES[name]
    files = sorted(file for pattern in patterns for file in (SOURCE / "shuiqiao").glob(pattern))
    ignored = equivalents()
    everything = [
        mutant
        for mutant in mutants_of(files)
        if (str(mutant.file.relative_to(SOURCE / "shuiqiao")), mutant.line, mutant.change) not in ignored
    ]
    chosen = random.Random(seed).sample(everything, min(sample, len(everything)))
    with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(max_workers=jobs) as pool:
        started = time.monotonic()
        data = who_runs_what(held_by, jobs=jobs, scratch=Path(scratch))
        timeout_s = 60 + 3 * jobs * (time.monotonic() - started)
        results = pool.map(lambda mutant: is_killed(mutant, tests_of(mutant, data), timeout_s=timeout_s), chosen)
        survivors = [mutant for mutant, killed in zip(chosen, results, strict=True) if survives(mutant, killed=killed)]
    killed = len(chosen) - len(survivors)
    print(
        f"{name}: {killed} of {len(chosen)} killed ({killed / len(chosen):.1%}), of {len(everything)} in all",
        flush=True,
    )
    return killed / len(chosen) >= BAR


def main() -> int:
    """Judge the named modules, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", choices=[*MODULES, []], metavar="MODULE")
    parser.add_argument("--sample", type=int, default=60, help="how many mutants a module")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    wanted = parser.parse_args()
    names = wanted.modules or list(MODULES)
    judged = [judge(name, sample=wanted.sample, seed=wanted.seed, jobs=wanted.jobs) for name in names]
    return 0 if all(judged) else 1


if __name__ == "__main__":
    sys.exit(main())

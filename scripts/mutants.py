#!/usr/bin/env python3
"""Change one rule at a time and see whether a test notices: `mutants.py [MODULE ...] [--sample N] [--seed N]`.

A mutant is the product with one comparison, connective, number, check or call changed. It is killed when a test that
runs the changed line fails, and survives when all pass: then that rule could be wrong without anybody noticing. The
mutants of a module are sampled by a seed, so a run can be repeated. Those that change nothing that anybody could see
stand in `tests/equivalent_mutants.toml` with the reason and do not count. Exits 1 where a module is below the bar.

Starting an interpreter and loading a module's tests takes longer than most tests. So they are loaded once, and each
mutant is tried in a fork of that process, in which the code of its functions is changed; what runs at import is tried
in a fork that has loaded pytest and nothing of the product. The tests named after the changed file come first, and the
quick ones before the slow ones.
"""

from __future__ import annotations

import argparse
import ast
import copy
import gc
import importlib
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FunctionType
from xml.etree import ElementTree as ET

import coverage
import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src"
EQUIVALENT = ROOT / "tests" / "equivalent_mutants.toml"
BAR = 0.95

MODULES = {
    "receipts": (
        [
            "ledger/receipts/receipt.py",
            "ledger/receipts/verification.py",
            "ledger/log/entry.py",
        ],
        ["unit/ledger/receipts", "unit/ledger/log/test_entry.py", "vectors/ledger/test_receipt*.py"],
    ),
    "machine": (
        [
            "ledger/state/machine.py",
            "ledger/transactions/transaction.py",
            "ledger/transactions/cose.py",
            "ledger/transactions/kinds.py",
            "ledger/clock_check.py",
        ],
        [
            "unit/ledger/state/test_m*.py",
            "unit/ledger/transactions/test_[cdkt]*.py",
            "unit/ledger/test_clock_check.py",
            "property/ledger/transactions/test_transaction.py",
        ],
    ),
    "notes": (
        [
            "ledger/checkpoints/note.py",
            "ledger/checkpoints/signed_note.py",
            "ledger/checkpoints/cosignature.py",
            "ledger/checkpoints/policy.py",
        ],
        [
            "unit/ledger/checkpoints",
            "unit/ledger/witness/test_[cf]*.py",
            "unit/ledger/tiles/test_reader.py",
            "vectors/ledger/test_[cn]*.py",
        ],
    ),
    "state-map": (
        ["ledger/state/state_map.py"],
        ["*/ledger/state/test_state_map.py", "*/ledger/test_state_map*.py", "unit/ledger/store/test_state_tree.py"],
    ),
    "crypto": (["crypto/*.py"], ["*/crypto"]),
    "members": (["members/*.py"], ["*/members", "integration/node/test_rotation.py"]),
    "vault-proofs": (
        ["vault/disclosure.py", "vault/tree.py", "vault/evidence.py"],
        ["unit/vault", "property/vault", "vectors/vault", "integration/exchange"],
    ),
    "consent": (["consent/*.py"], ["*/consent", "integration/exchange"]),
    "exchange": (["exchange/*.py", "exchange/modes/*.py"], ["*/exchange"]),
    "privacy": (["privacy/*.py"], ["*/privacy"]),
    "models": (["models/*.py"], ["*/models", "integration/node/test_models.py"]),
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


def applied(text: str, number: int) -> ast.Module:
    """Return a file's tree with its change of that number."""
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

    return ast.fix_missing_locations(Swap().visit(tree))


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """What a module's tests do without any change."""

    paths: list[str]
    lines: dict[Path, dict[int, list[str]]]
    """For each file, what ran each of its lines, in the words of the recording."""
    seconds: Counter[str]
    """How long each test took, and each file of tests."""
    timeout_s: float

    @property
    def patience_s(self) -> float:
        """How long a test may wait for one thing: several times as long as the slowest took as a whole."""
        return 20 + 3 * max(taken for test, taken in self.seconds.items() if "::" in test)

    def contexts(self, mutant: Mutant) -> set[str]:
        """Return what ran a line; at import, what ran any line of its file."""
        by_line = self.lines[mutant.file]
        if mutant.runs_at_import:
            return {context for line in by_line.values() for context in line}
        return {*(by_line.get(mutant.lineno) or by_line.get(mutant.statement, []))}

    def is_loaded(self, mutant: Mutant) -> bool:
        """Tell whether a line runs before the first test: then what it gave may be kept from there on."""
        return mutant.runs_at_import or "" in self.contexts(mutant)

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Return the tests that run a line: those named after its file first, quick files and tests before slow."""

        def rank(test: str) -> tuple[bool, float, str, float, str]:
            file = test.partition("::")[0]
            return (mutant.file.stem not in test, self.seconds[file], file, self.seconds[test], test)

        tests = {context.rsplit("|", 1)[0] for context in self.contexts(mutant) if context}
        if mutant.runs_at_import:
            # A test that compares a constant with its number runs no line of its file: whole files are asked.
            tests = {test.partition("::")[0] for test in tests}
            tests |= {file for file in self.seconds if file.endswith(f"/test_{mutant.file.stem}.py")}
        return sorted(tests, key=rank)


PYTEST = ("-q", "-p", "no:cacheprovider")


def observe(files: list[Path], patterns: list[str], *, jobs: int, scratch: Path) -> Observed:
    """Run a module's tests once and return which of them run which lines, and how long they take."""
    record, times = scratch / "coverage", scratch / "times.xml"
    paths = [str(path) for pattern in patterns for path in sorted((ROOT / "tests").glob(pattern))]
    parallel = ("-n", str(jobs)) if jobs > 1 else ()
    watched = ("--cov=shuiqiao", "--cov-context=test", "--cov-report=", f"--junitxml={times}")
    command = [sys.executable, "-m", "pytest", *PYTEST, *watched, *parallel, *paths]
    started = time.monotonic()
    # A place of its own: a pytest that runs beside it removes old folders while this one looks for them.
    environment = os.environ | {"COVERAGE_FILE": str(record), "PYTEST_DEBUG_TEMPROOT": str(scratch)}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=False)
    if done.returncode != 0:
        sys.exit("The tests fail without any change: there is nothing to measure.")
    recorded = coverage.CoverageData(str(record))
    recorded.read()
    lines = {file: recorded.contexts_by_lineno(str(file)) for file in files}
    seconds = Counter[str]()
    for case in ET.parse(times).iter("testcase"):
        file = case.attrib["classname"].replace(".", "/") + ".py"
        seconds[f"{file}::{case.attrib['name']}"] = taken = float(case.attrib["time"])
        seconds[file] += taken
    timeout_s = 60 + 3 * jobs * (time.monotonic() - started)
    return Observed(paths=paths, lines=lines, seconds=seconds, timeout_s=timeout_s)


def write_changed(mutant: Mutant, source: Path) -> None:
    """Make a folder that is the source with one change: links, but for the changed file."""
    package, room = SOURCE / "shuiqiao", mutant.file.parent
    changed = source / mutant.file.relative_to(SOURCE)
    changed.parent.mkdir(parents=True)
    for original in (*package.iterdir(), *room.iterdir()):
        if original not in {room, mutant.file}:
            (source / original.relative_to(SOURCE)).symlink_to(original)
    tree = applied(mutant.file.read_text(encoding="utf-8"), mutant.number)
    changed.write_text(ast.unparse(tree), encoding="utf-8")


UNCHANGED = 99
"""What a trial ends with that could not change its functions in place."""


@dataclass(slots=True, kw_only=True)
class Trial:
    """A mutant whose tests run in a fork of this process."""

    mutant: Mutant
    tests: list[str]
    cpu_s: int
    timeout_s: float
    folder: tempfile.TemporaryDirectory[str] = field(default_factory=tempfile.TemporaryDirectory)
    started: float = field(default_factory=time.monotonic)
    pid: int = 0

    def start(self, run: Callable[[Mutant, list[str]], int]) -> None:
        """Run the tests against the changed source, as ``run`` does; it returns what the process ends with."""
        source = Path(self.folder.name) / "src"
        write_changed(self.mutant, source)
        self.pid = os.fork()
        if self.pid:
            return
        try:
            os.setsid()
            resource.setrlimit(resource.RLIMIT_CPU, (self.cpu_s, self.cpu_s + 1))
            output = os.open(self.output, os.O_WRONLY | os.O_CREAT)
            os.dup2(output, 1)
            os.dup2(output, 2)
            # Processes that the tests start see the change too, and what they leave lies in the folder.
            os.environ |= {"PYTHONPATH": str(source), "PYTHONDONTWRITEBYTECODE": "1"}
            os.environ["PYTEST_DEBUG_TEMPROOT"] = self.folder.name
            sys.dont_write_bytecode = True
            sys.path.insert(0, str(source))
            code = run(self.mutant, self.tests)
            sys.stdout.flush()
            os._exit(code)
        finally:
            os._exit(1)

    @property
    def output(self) -> Path:
        """What pytest prints."""
        return Path(self.folder.name) / "output"

    def ending(self) -> int | None:
        """Return 0 if all tests passed, None while they run; what runs several times as long as all took has failed."""
        ended, status = os.waitpid(self.pid, os.WNOHANG)
        is_late = time.monotonic() - self.started > self.timeout_s
        if not ended and not is_late:
            return None
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if not ended:
            os.waitpid(self.pid, 0)
        output = self.output.read_text(encoding="utf-8", errors="replace")
        self.folder.cleanup()
        # A test that pytest cannot find has not failed.
        assert "ERROR: not found" not in output, output
        assert "INTERNALERROR" not in output, output
        return abs(os.waitstatus_to_exitcode(status)) if ended else 1


def run_anew(_mutant: Mutant, tests: list[str]) -> int:
    """Load the changed product and some tests, and run them."""
    return int(pytest.main([*PYTEST, "-x", *tests]))


def tried(
    chosen: list[Mutant], observed: Observed, *, jobs: int, run: Callable[[Mutant, list[str]], int] = run_anew
) -> Iterator[tuple[Mutant, int]]:
    """Try mutants, some at a time, and iterate over them with how each ended."""
    waiting, running = list(reversed(chosen)), list[Trial]()
    while waiting or running:
        while waiting and len(running) < jobs:
            mutant = waiting.pop()
            tests = observed.tests_of(mutant)
            if not tests:
                yield mutant, 0
                continue
            # Seconds as they were, which the recording of lines had lengthened, and some to begin.
            cpu_s = 10 + int(sum(observed.seconds[test] for test in tests))
            running.append(Trial(mutant=mutant, tests=tests, cpu_s=cpu_s, timeout_s=observed.timeout_s))
            running[-1].start(run)
        for trial in tuple(running):
            ending = trial.ending()
            if ending is not None:
                running.remove(trial)
                yield trial.mutant, ending
        time.sleep(0.01)


class LoadedTests:
    """A pytest run that has loaded all tests of a module, and forks for each mutant."""

    def __init__(self, chosen: list[Mutant], observed: Observed, *, jobs: int, tell: int) -> None:
        self.chosen, self.observed, self.jobs, self.tell = chosen, observed, jobs, tell
        self.functions: list[FunctionType] = []
        self.items: dict[str, pytest.Item] = {}
        self.has_failed = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try the mutants instead of running the tests, and write how each ended."""
        self.functions = [each for each in gc.get_objects() if type(each) is FunctionType]
        self.items = {item.nodeid: item for item in session.items}
        wanted = {test for mutant in self.chosen for test in self.observed.tests_of(mutant)}
        assert wanted <= self.items.keys(), wanted - self.items.keys()
        gc.freeze()
        for mutant, ending in tried(self.chosen, self.observed, jobs=self.jobs, run=self.run):
            os.write(self.tell, f"{self.chosen.index(mutant)} {ending}\n".encode())
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Notice a failure."""
        self.has_failed |= report.failed

    def run(self, mutant: Mutant, tests: list[str]) -> int:
        """Change the functions and run the tests, up to the first that fails."""
        if not change_functions(mutant, self.functions):
            return UNCHANGED
        items = [self.items[test] for test in tests]
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self.has_failed:
                return 1
        return 0


def codes_of(code: CodeType) -> dict[tuple[str, int], list[CodeType]]:
    """Return the codes of all functions of a file, by name and line."""
    found: dict[tuple[str, int], list[CodeType]] = {}
    waiting = [code]
    while waiting:
        each = waiting.pop()
        found.setdefault((each.co_qualname, each.co_firstlineno), []).append(each)
        waiting += [constant for constant in each.co_consts if isinstance(constant, CodeType)]
    return found


def change_functions(mutant: Mutant, functions: list[FunctionType]) -> bool:
    """Give the functions of a file the code that they have with a change; return whether one has another by that."""
    text, name = mutant.file.read_text(encoding="utf-8"), str(mutant.file)
    before = codes_of(compile(ast.parse(text), name, "exec", dont_inherit=True))
    after = codes_of(compile(applied(text, mutant.number), name, "exec", dont_inherit=True))
    is_changed = False
    for function in functions:
        place = (function.__code__.co_qualname, function.__code__.co_firstlineno)
        if function.__code__.co_filename != name or before[place] == after[place]:
            continue
        if len(after[place]) > 1 or len(after[place][0].co_freevars) != len(function.__code__.co_freevars):
            return False
        function.__code__ = after[place][0]
        is_changed = True
    return is_changed


def tried_loaded(chosen: list[Mutant], observed: Observed, *, jobs: int) -> Iterator[tuple[Mutant, int]]:
    """Try mutants in forks of a process that has loaded the tests, and iterate over them with how each ended."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        try:
            os.close(reading)
            silent = os.open(os.devnull, os.O_RDWR)
            os.dup2(silent, 1)
            plugin = LoadedTests(chosen, observed, jobs=jobs, tell=writing)
            pytest.main([*PYTEST, *observed.paths], plugins=[plugin])
        finally:
            os._exit(0)
    os.close(writing)
    told = 0
    with os.fdopen(reading) as lines:
        for line in lines:
            number, ending = map(int, line.split())
            told += 1
            yield chosen[number], ending
    os.waitpid(process, 0)
    assert told == len(chosen), f"{len(chosen) - told} mutants were not tried"


def survivors(chosen: list[Mutant], observed: Observed, *, jobs: int) -> Iterator[Mutant]:
    """Iterate over the mutants that no test notices."""
    anew = [mutant for mutant in chosen if observed.is_loaded(mutant)]
    for mutant, ending in tried_loaded([each for each in chosen if each not in anew], observed, jobs=jobs):
        if ending == UNCHANGED:
            anew.append(mutant)
        elif not ending:
            yield mutant
    for mutant, ending in tried(anew, observed, jobs=jobs):
        if not ending:
            yield mutant


def equivalents() -> set[tuple[str, str, str]]:
    """Return the changes that nobody could see: file, line, change."""
    listed = tomllib.loads(EQUIVALENT.read_text(encoding="utf-8")) if EQUIVALENT.exists() else {"mutant": []}
    assert all(each["reason"] for each in listed["mutant"])
    return {(each["file"], each["line"], each["change"]) for each in listed["mutant"]}


class PluginsOnly:
    """A pytest run that ends once its plugins are loaded."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_cmdline_main(self) -> int:
        """Load what Hypothesis would load for its first test, and end."""
        importlib.import_module("hypothesis.strategies")
        return 0


def judge(name: str, *, sample: int, seeds: list[int], jobs: int) -> bool:
    """Sample a module's mutants, print survivors at once and the share of the killed; tell if it reaches the bar."""
    patterns, held_by = MODULES[name]
    files = sorted(file for pattern in patterns for file in (SOURCE / "shuiqiao").glob(pattern))
    ignored = equivalents()
    everything = [
        mutant
        for mutant in mutants_of(files)
        if (str(mutant.file.relative_to(SOURCE / "shuiqiao")), mutant.line, mutant.change) not in ignored
    ]
    reached = True
    with tempfile.TemporaryDirectory() as scratch:
        observed = observe(files, held_by, jobs=jobs, scratch=Path(scratch))
        os.environ["SHUIQIAO_TEST_PATIENCE_S"] = str(observed.patience_s)
        for seed in seeds:
            chosen = random.Random(seed).sample(everything, min(sample, len(everything)))
            killed = len(chosen)
            for mutant in survivors(chosen, observed, jobs=jobs):
                killed -= 1
                print(f"SURVIVED {mutant.name}", flush=True)
            share = killed / len(chosen)
            print(
                f"{name}, seed {seed}: {killed} of {len(chosen)} killed ({share:.1%}), of {len(everything)} in all",
                flush=True,
            )
            reached &= share >= BAR
    return reached


def main() -> int:
    """Judge the named modules, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("modules", nargs="*", choices=[*MODULES, []], metavar="MODULE")
    parser.add_argument("--sample", type=int, default=60, help="how many mutants a module")
    parser.add_argument("--seed", type=int, nargs="+", default=[1], help="what picks a sample; several for several")
    parser.add_argument("--jobs", type=int, default=2)
    wanted = parser.parse_args()
    os.chdir(ROOT)
    # Loads pytest's plugins and no test: every fork begins with them.
    pytest.main([*PYTEST, "--noconftest"], plugins=[PluginsOnly()])
    names = wanted.modules or list(MODULES)
    judged = [judge(name, sample=wanted.sample, seeds=wanted.seed, jobs=wanted.jobs) for name in names]
    return 0 if all(judged) else 1


if __name__ == "__main__":
    sys.exit(main())

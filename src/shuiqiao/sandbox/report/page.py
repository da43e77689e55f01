"""Writes the report page: one HTML file with everything inside it, readable from disk without a network or a script.

The page may load nothing: its content security policy forbids every source and allows its own style sheet and script
by their hashes alone, so that a hostile name in the data could not run even if it were not escaped. The script only
switches the language and sorts and filters the table of decisions.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import asdict
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from shuiqiao.base.files import make_shared_folder, share_file
from shuiqiao.base.visible import visible
from shuiqiao.sandbox.report import amounts, charts, contents
from shuiqiao.sandbox.report.charts import MOST_MARKS
from shuiqiao.sandbox.report.flow import decisions_in
from shuiqiao.sandbox.report.words import Html, both, data, say, show_name
from shuiqiao.sandbox.scenario.result import ScenarioResult

MOST_ROWS = 1000
"""Decisions that the table lists; beyond it a page grows too heavy for a phone, and says how many there are."""

SECTIONS = ("flow", "paper", "sight", "decide", "model", "ledger", "tamper", "kept", "limits", "verify")


CONSORTIUM_SECTION = "network"


def write_report(result: ScenarioResult, path: Path) -> Path:
    """Write the report page of a run to a file, replacing an older one, and return its path."""
    make_shared_folder(path.parent)
    path.write_text(render_report(result), encoding="utf-8")
    share_file(path)
    return path


def render_report(result: ScenarioResult) -> str:
    """Return the report page of a run as HTML."""
    return _environment().get_template("page.html").render(_context(result))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("shuiqiao.sandbox.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    speaking: dict[str, Any] = {"t": say, "name": show_name, "data": data, "both": both}
    speaking |= {"amounts": amounts, "contents": contents}
    environment.globals.update(speaking)
    return environment


def _shown(value: Any) -> Any:
    """Return what a place of the page shows: text of others with its hidden characters spelled out."""
    return visible(value) if type(value) is str else value


def _context(result: ScenarioResult) -> Mapping[str, Any]:
    style, script = _asset("page.css"), _asset("page.js")
    banks = sum(party.role == "bank" for party in result.details.parties)
    return {
        "result": result,
        "figures": result.figures,
        "details": result.details,
        "sections": _sections(result),
        "banks": banks,
        "decisions": decisions_in(result),
        "checks": result.figures.checks(),
        "failures": [*result.figures.failed_checks(), *(["audit_problems"] if result.details.audit_problems else [])],
        "tamper": {
            check: (is_caught, next((story for story in result.details.tamper if story.check == check), None))
            for check, is_caught in asdict(result.figures.tamper_checks).items()
        },
        "chart": partial(charts.draw, result),
        "most_rows": MOST_ROWS,
        "most_marks": MOST_MARKS,
        "style": Html(style),
        "script": Html(script),
        "style_hash": _hash(style),
        "script_hash": _hash(script),
    }


def _sections(result: ScenarioResult) -> tuple[str, ...]:
    """Return the sections of a run: with validators there is one more, behind the tamper checks."""
    if result.figures.network_checks is None:
        return SECTIONS
    place = SECTIONS.index("tamper") + 1
    return (*SECTIONS[:place], CONSORTIUM_SECTION, *SECTIONS[place:])


def _asset(name: str) -> str:
    return files("shuiqiao.sandbox.report").joinpath("templates", name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    """Return the source expression by which a content security policy names an inline block."""
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"

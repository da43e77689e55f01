"""The report page holds what the run measured, in both languages, and nothing that the run did not say."""

from __future__ import annotations

import importlib.util
import re
import string
from dataclasses import fields, replace
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from msgspec.structs import replace as replace_struct

import report_world
from shuiqiao.base.words import Words
from shuiqiao.oversight.model import Table, TableRow
from shuiqiao.sandbox.report import amounts
from shuiqiao.sandbox.report.contents import common_reasons
from shuiqiao.sandbox.report.curves import widest_gap, wilson_interval
from shuiqiao.sandbox.report.drawing import wrapped
from shuiqiao.sandbox.report.page import MOST_ROWS, SECTIONS, render_report, write_report
from shuiqiao.sandbox.report.words import load_words, split_name
from shuiqiao.sandbox.scenario.result import ScenarioFigures, ScenarioResult, TamperChecks

TEMPLATES = Path(str(importlib.util.find_spec("shuiqiao.sandbox.report.page").origin)).parent / "templates"
CHINESE = re.compile(r"[\u4e00-\u9fff]")
LATIN_WORD = re.compile(r"[A-Za-z]{2,}")
HOSTILE = "</script><script>alert(1)</script>\"'{records}&\u202e<img src=x onerror=alert(2)>"
BOTH_HOSTILE = Words(en=HOSTILE, zh=HOSTILE)
FIRMS = 40
CHECK = "forged_invoice_caught"
NAMES_OF_THE_TRADE = {"model.auc", "model.ks"}
"""Abbreviations that both languages write alike."""


@pytest.fixture(scope="module")
def world() -> ModuleType:
    return report_world


@pytest.fixture(scope="module")
def result(world) -> ScenarioResult:
    return world.sample_result(firms=FIRMS)


@pytest.fixture(scope="module")
def page(result) -> str:
    return render_report(result)


VOID = {"meta", "br", "img", "input", "link", "hr"}
SILENT = {"style", "script", "title"}


class Reading(HTMLParser):
    """What the page says: every text with the languages it stands in, every attribute."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.children: list[tuple[str, str, str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1][0] == tag, f"</{tag}> closes <{self.open[-1][0]}> at {self.getpos()}"
        self.open.pop()

    def handle_data(self, text: str) -> None:
        if text.strip() and not any(tag in SILENT for tag, _ in self.open):
            self.texts.append((self.standing(), " ".join(text.split())))

    def standing(self) -> str:
        """zh, en, data (not to be translated) or nothing, whichever is nearest."""
        for _, attributes in reversed(self.open):
            style = (attributes.get("class") or "").split()
            if "zh" in style or "en" in style:
                return "zh" if "zh" in style else "en"
            if attributes.get("translate") == "no":
                return "data"
        return ""

    def said(self, language: str) -> str:
        return "\n".join(text for standing, text in self.texts if standing in (language, "data"))


def joined(html: str, language: str) -> str:
    """All that a reader of one language sees, without breaks between pieces."""
    return "".join(text for standing, text in Reading(html).texts if standing in (language, "data"))


def numbers_of(value: Any) -> list[str]:
    """Every number of the figures as the page writes it."""
    if isinstance(value, bool) or value is None:
        return []
    if isinstance(value, int):
        return [f"{value:,}"]
    if isinstance(value, tuple | list):
        return [number for entry in value for number in numbers_of(entry)]
    if isinstance(value, dict):
        return [number for entry in value.values() for number in numbers_of(entry)]
    return []


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize("is_consortium", [False, True])
def test_every_number_of_the_figures_is_on_the_page(world, result, language, is_consortium):
    result = world.on_validators(result) if is_consortium else result
    seen = joined(render_report(result), language)
    figures = result.figures
    rounded = {
        "p50": amounts.milliseconds(figures.decision_ms.p50),
        "p99": amounts.milliseconds(figures.decision_ms.p99),
        **{name: amounts.fraction(getattr(figures.model, name)) for name in ("auc", "baseline_auc", "ks", "brier")},
        "low": amounts.fraction(figures.model.auc_ci[0]),
        "high": amounts.fraction(figures.model.auc_ci[1]),
    }
    wanted = [*numbers_of(figures.as_json()), *rounded.values()]
    assert len(wanted) > 25
    assert [number for number in wanted if not re.search(rf"(?<![\d.,]){re.escape(number)}(?!\d)", seen)] == []


def test_every_text_of_the_figures_is_on_the_page(page, result):
    seen = Reading(page).said("zh")
    for name in ("network", "receipts_dir"):
        assert getattr(result.figures, name) in seen
    assert result.figures.ledger.root in seen
    assert "国密" in seen


def test_the_figures_that_are_checked_here_are_all_figures():
    known = {
        "network", "suite", "taxpayers", "records_read", "records_ingested", "records_quarantined",
        "duplicates_reported", "anchors", "ingest_records_per_s", "consents", "requests", "refusals", "decisions",
        "decision_ms", "model", "ledger", "audit", "record_management_only", "tamper_checks", "network_checks",
        "who_saw_what", "modes_refused", "receipts_dir", "report",
    }  # fmt: skip
    assert known == {field.name for field in fields(ScenarioFigures)}


def test_details_reach_the_page(page, result):
    seen = Reading(page).said("en")
    details = result.details
    assert [row.applicant for row in details.decisions if row.applicant not in seen] == []
    assert [kind for kind in details.refusals_by_code if kind not in seen] == []
    assert [story.code for story in details.tamper if story.code not in seen] == []
    assert [party.fingerprint for party in details.parties if party.fingerprint not in seen] == []
    assert details.model.digest in seen
    assert details.receipt_example in seen
    for line in details.checkpoint_note.split():
        assert line in seen


def test_the_page_loads_nothing(page):
    loading = {"src", "srcset", "data", "poster", "background", "action", "formaction", "xlink:href", "style"}
    reading = Reading(page)
    assert [entry for entry in reading.attributes if entry[1] in loading] == []
    assert [value for _, name, value in reading.attributes if name == "href" and not value.startswith("#")] == []
    assert [tag for tag, *_ in reading.attributes if tag in {"link", "iframe", "object", "embed", "img", "base"}] == []
    assert re.findall(r"https?://|@import|url\((?!#)", page) == []
    assert "default-src 'none'" in page


def test_every_event_is_bound_by_the_one_script(page):
    assert [name for _, name, _ in Reading(page).attributes if name.startswith("on")] == []
    assert page.count("<script") == 1
    assert page.count("<style") == 1


def test_every_word_is_in_both_languages():
    words = load_words()
    assert len(words) > 200
    for key, entry in words.items():
        assert entry.zh.strip(), key
        assert entry.en.strip(), key
        assert placeholders(entry.zh) == placeholders(entry.en), key
        assert not CHINESE.search(entry.en), key
    alike = {key for key, entry in words.items() if not CHINESE.search(entry.zh) and LATIN_WORD.search(entry.zh)}
    assert alike == NAMES_OF_THE_TRADE


def placeholders(pattern: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None}


def test_no_text_on_the_page_stands_outside_a_language(page):
    stray = [
        text
        for standing, text in Reading(page).texts
        if standing == "" and (LATIN_WORD.search(text) or CHINESE.search(text))
    ]
    assert stray == []


def test_no_chinese_stands_where_english_is_read(page):
    assert [text for standing, text in Reading(page).texts if standing == "en" and CHINESE.search(text)] == []


def test_both_languages_say_equally_much(page):
    standing = [standing for standing, _ in Reading(page).texts]
    html_parts = {language: len(re.findall(rf'class="{language}" lang=', page)) for language in ("zh", "en")}
    assert html_parts["zh"] == html_parts["en"] > 300
    assert standing.count("zh") > 300


@pytest.mark.parametrize("section", SECTIONS)
def test_each_section_has_a_heading_in_both_languages(page, section):
    title = load_words()[f"{section}.title"]
    heading = re.search(rf'<h2 id="{section}-title">(.*?)</h2>', page, flags=re.DOTALL)
    assert heading is not None
    assert f'<span class="zh" lang="zh-CN">{title.zh}</span>' in heading[1]
    assert f'<span class="en" lang="en">{title.en}</span>' in heading[1]


def test_every_word_of_the_table_is_said_somewhere(world, result):
    """A word that no page shows is a word that nobody checks. Names of the run are looked up by section."""
    looked_up = {"kind", "rule", "grade", "industry", "party", "role", "suite", "outcome", "check"}
    model = result.details.model
    first = result.details.decisions[0]
    apart = replace(result.details.visibility[0], seen=(Words(en="alone", zh="独有"),), hidden=())
    shared = replace(apart, hidden=(Words(en="other", zh="其他"),))
    some = world.with_details(
        world.with_figures(
            result, records_read=1, tamper_checks=replace(result.figures.tamper_checks, **{CHECK: False})
        ),
        is_synthetic=True,
        followers={"bank-east": 1, "bank-north": 10_000},
        model=replace(model, paired_p_value=0.001, baseline_auc_ci=None),
        decisions=(replace(first, reasons=()), *result.details.decisions[1:]),
        visibility=(shared, shared, apart),
        step_seconds={},
    )
    bare = world.with_details(
        result,
        decisions=(),
        kept_out={},
        tamper=(),
        refusals_by_code={},
        visibility=(apart,),
        model=replace(model, paired_p_value=None),
    )
    said = "".join(
        render_report(one)
        for one in (result, some, bare, world.on_validators(result), world.sample_result(firms=MOST_ROWS + 30))
    )
    fragments = {
        key: max((text for text, *_ in string.Formatter().parse(entry.zh)), key=len)
        for key, entry in load_words().items()
        if key.split(".")[0] not in looked_up
    }
    assert [key for key, fragment in fragments.items() if escape(fragment) not in said] == []


def test_hostile_names_stay_text(world, result):
    row = replace(
        result.details.decisions[0],
        applicant=HOSTILE, bank=HOSTILE, outcome=HOSTILE, grade=HOSTILE, industry=HOSTILE,
        annual_rate=HOSTILE, default_probability=HOSTILE, reasons=(BOTH_HOSTILE,),
    )  # fmt: skip
    hostile = world.with_details(
        world.with_figures(result, network=HOSTILE, suite=HOSTILE, receipts_dir=HOSTILE),
        data_source=BOTH_HOSTILE, machine=HOSTILE, started=HOSTILE,
        decisions=(row,),
        parties=(replace(result.details.parties[0], names=BOTH_HOSTILE, role=HOSTILE, member=HOSTILE),),
        step_seconds={HOSTILE: 1.0},
        transactions_by_kind={HOSTILE: 3},
        kept_out={HOSTILE: 5},
        refusals_by_code={HOSTILE: 2},
        release=replace_struct(
            result.details.release,
            tables=(Table(attribute="grade", columns=(("refused",),), rows=(TableRow(category=HOSTILE, counts=(1,)),)),),
        ),
        followers={HOSTILE: 4},
        tamper=(replace(result.details.tamper[0], act=BOTH_HOSTILE, code=HOSTILE),),
        visibility=(replace(result.details.visibility[0], party=HOSTILE, seen=(BOTH_HOSTILE,)),),
        assumptions=(BOTH_HOSTILE,), audit_problems=(HOSTILE,),
        checkpoint_note=HOSTILE, receipt_example=HOSTILE,
        model=replace(result.details.model, digest=HOSTILE, features=((HOSTILE, HOSTILE, HOSTILE),)),
    )  # fmt: skip
    page = render_report(hostile)
    assert page.count("<script") == 1
    assert "<img" not in page
    assert [name for _, name, _ in Reading(page).attributes if name.startswith("on")] == []
    assert sum(HOSTILE in text or HOSTILE[:30] in text for _, text in Reading(page).texts) > 25


def test_what_was_not_measured_is_shown_as_such(world, result, page):
    marks = page.count('class="unmeasured"')
    bare = world.with_details(
        result,
        model=replace(result.details.model, paired_p_value=None, baseline_auc_ci=None),
        step_seconds={},
    )
    bare_page = render_report(bare)
    assert bare_page.count('class="unmeasured"') >= marks + 6
    assert "None" not in Reading(bare_page).said("en")
    assert "no paired test was made" in Reading(bare_page).said("en")


def test_a_truth_that_nobody_knows_is_unknown_and_no_rate_is_a_dash(world, result):
    row = replace(result.details.decisions[0], defaulted=None, annual_rate=None, limit_fen=0)
    said = Reading(render_report(world.with_details(result, decisions=(row,)))).said("en")
    assert "unknown" in said
    assert "None" not in said


def test_a_clean_run_is_told_as_clean(page):
    assert "All10checks passed" in joined(page, "en").replace(" ", "").replace("checkspassed", "checks passed")
    assert 'class="banner good"' in page


@pytest.mark.parametrize("check", [field.name for field in fields(TamperChecks)])
def test_a_check_that_failed_is_named_in_the_banner(world, result, check):
    failed = world.with_figures(result, tamper_checks=replace(result.figures.tamper_checks, **{check: False}))
    page = render_report(failed)
    banner = page[page.index('class="banner') : page.index('class="figures"')]
    assert 'class="banner bad"' in banner
    assert load_words()[f"check.{check}"].zh in banner
    assert load_words()[f"check.{check}"].en in banner


@pytest.mark.parametrize(
    ("check", "changes"),
    [
        ("outvoted", {"outvoted": False}),
        ("named", {"named": ("bank-north", "bureau")}),
        ("named_by_all_others", {"named_by": ("bureau",)}),
        ("altered_refused", {"refused_code": "not_caught"}),
        ("evidence_holds", {"evidence_codes": ("ledger.fork_detected", "not_caught")}),
        ("went_on", {"blocks_after_alteration": 0}),
    ],
)
def test_a_check_of_the_consortium_that_failed_is_named_in_the_banner(world, result, check, changes):
    failed = world.on_validators(result, **changes)
    assert failed.figures.failed_checks() == [check]
    page = render_report(failed)
    banner = page[page.index('class="banner') : page.index('class="figures"')]
    assert load_words()[f"check.{check}"].zh in banner
    assert load_words()[f"check.{check}"].en in banner


def test_a_run_on_validators_says_who_votes_and_who_was_named(world, result):
    said = joined(render_report(world.on_validators(result)), "en")
    for words in ("network.title", "flow.validator", "flow.observer", "limits.validators_apart"):
        assert load_words()[words].en in said
    assert load_words()["limits.finality"].en not in said
    assert "lending/decision/00ff" in said


def test_a_problem_of_the_audit_turns_the_banner(world, result):
    page = render_report(world.with_details(result, audit_problems=("vault.leaf_mismatch: batch 00aa",)))
    assert 'class="banner bad"' in page
    assert "vault.leaf_mismatch: batch 00aa" in page


def test_an_equation_that_does_not_hold_is_not_praised(world, result):
    said = Reading(render_report(world.with_figures(result, records_read=1))).said("en")
    assert load_words()["kept.not_adds_up"].en in said
    assert load_words()["kept.adds_up"].en not in said.splitlines()


def test_a_model_is_called_better_only_by_its_test(world, result):
    def said_with(p: float) -> str:
        changed = replace(result.details.model, paired_p_value=p)
        return Reading(render_report(world.with_details(result, model=changed))).said("en")

    better = "significant on this sample"
    assert better in said_with(0.01)
    assert better not in said_with(0.2)
    assert "does not show the model to be better" in said_with(0.2)


def test_a_follower_that_is_behind_is_not_level(world, result):
    said = joined(render_report(world.with_details(result, followers={"bank-east": 400})), "en")
    assert re.search(r"12\s*blocks behind", said)
    assert "level with the live ledger" not in said


def test_a_long_book_is_cut_and_says_so(world):
    page = render_report(world.sample_result(firms=MOST_ROWS + 30))
    assert page.count("<tr data-outcome=") == MOST_ROWS
    assert f"{MOST_ROWS + 30:,}" in Reading(page).said("en")


def test_an_empty_run_still_reads(world, result):
    empty = world.with_details(
        result, decisions=(), parties=(), step_seconds={}, transactions_by_kind={}, kept_out={}, refusals_by_code={},
        release=replace_struct(result.details.release, tables=()), followers={}, tamper=(), visibility=(), assumptions=(),
        model=replace(result.details.model, calibration=(), features=()),
    )  # fmt: skip
    said = Reading(render_report(empty)).said("en")
    assert load_words()["decide.limits_none"].en in said
    assert load_words()["tamper.no_story"].en in said


def test_the_same_run_gives_the_same_page(world):
    assert render_report(world.sample_result(firms=FIRMS)) == render_report(world.sample_result(firms=FIRMS))


def test_the_file_is_written_and_replaced(tmp_path, result, page):
    target = tmp_path / "deep" / "report.html"
    assert target == write_report(result, target)
    target.write_text("old", encoding="utf-8")
    write_report(result, target)
    assert page == target.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("fen", "zh", "en"),
    [
        (0, "0元", "¥0"),
        (99_999_00, "10.0万元", "¥99,999"),
        (12_345_600, "12.3万元", "¥0.12 m"),
        (150_000_000_00, "1.50亿元", "¥150.00 m"),
        (2_500_000_000_00, "25.00亿元", "¥2.50 bn"),
    ],
)
def test_money_is_short_in_the_way_of_each_language(fen, zh, en):
    short = amounts.yuan_short(fen)
    assert (zh, en) == (short.zh, short.en)


@pytest.mark.parametrize(
    ("fen", "text"), [(123_456_789, "1,234,567.89"), (100_000_000, "1,000,000"), (-5, "-0.05"), (7, "0.07")]
)
def test_yuan_shows_fen_only_where_there_are_any(fen, text):
    assert text == amounts.yuan(fen)


@pytest.mark.parametrize(
    ("count", "text"), [(12, "12 B"), (2048, "2.0 KB"), (5 * 1024**2, "5.0 MB"), (3 * 1024**3, "3.0 GB")]
)
def test_sizes_have_a_fitting_unit(count, text):
    assert text == amounts.size(count)


def test_a_rate_that_is_no_number_is_shown_as_it_came():
    assert amounts.percent("0.0485") == "4.85%"
    assert amounts.percent("?") == "?"


def test_step_names_part_where_their_chinese_begins():
    assert (split_name("ingest 入库").zh, split_name("ingest 入库").en) == ("入库", "ingest")
    assert (split_name("ingest").zh, split_name("ingest").en) == ("ingest", "ingest")
    assert split_name("入库").en == "入库"


def test_the_widest_gap_lies_where_curves_are_furthest_apart():
    good, bad = [(0.0, 0.0), (0.5, 0.1), (1.0, 1.0)], [(0.0, 0.0), (0.5, 0.8), (1.0, 1.0)]
    assert widest_gap(good, bad) == (0.5, 0.1, 0.8)
    assert widest_gap([], []) == (0.0, 0.0, 0.0)


def test_the_interval_of_a_share_is_wilsons():
    low, high = wilson_interval(0.5, 10)
    assert (round(low, 4), round(high, 4)) == (0.2366, 0.7634)
    assert wilson_interval(0.0, 0) == (0.0, 1.0)


def test_a_reason_given_twice_in_one_decision_counts_once(world, result):
    row = replace(result.details.decisions[0], outcome="refused", reasons=(Words(en="low", zh="低"),) * 2)
    twice = world.with_details(result, decisions=(row, row))
    assert [(words.en, count) for words, count in common_reasons(twice)] == [("low", 2)]
    assert render_report(twice).count('<li><span class="zh" lang="zh-CN">低</span>') == 2


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("short", ["short"]),
        ("a name that needs two", ["a name that", "needs two"]),
        ("一二三四五六七八九", ["一二三四五六", "七八九"]),
        ("a name so long that no two lines of this hold it", ["a name so", "long that…"]),
    ],
)
def test_a_long_name_takes_two_lines_and_no_more(text, lines):
    assert lines == wrapped(text, width=66, size=10)

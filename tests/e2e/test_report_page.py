"""The report page in a real browser without a network: it reads, switches, sorts, filters and fits a phone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

import report_world
from absence import absent
from shuiqiao.sandbox.report.page import write_report

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
)
CONTRAST_TEXT, CONTRAST_LARGE = 4.5, 3.0
"""WCAG 2.2, 1.4.3 (AA)."""

CONTRAST_SCRIPT = """() => {
  const parse = (text) => (text.match(/[\\d.]+/g) ?? [0, 0, 0, 0]).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0.99) return colour;
    }
    return [255, 255, 255];
  };
  const worst = [];
  for (const element of document.body.querySelectorAll("*")) {
    if (element.closest("svg") || !element.checkVisibility()) continue;
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    const style = getComputedStyle(element);
    const [a, b] = [light(parse(style.color)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    const size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    if (ratio < (isLarge ? %LARGE% : %TEXT%)) worst.push([element.className, element.textContent.slice(0, 30), ratio]);
  }
  return worst;
}""".replace("%LARGE%", str(CONTRAST_LARGE)).replace("%TEXT%", str(CONTRAST_TEXT))


@pytest.fixture(scope="module")
def world() -> ModuleType:
    return report_world


@pytest.fixture(scope="module")
def address(world: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(world.sample_result(), tmp_path_factory.mktemp("report") / "report.html").as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.is_file():
        absent(f"no browser at {CHROMIUM}: install Debian's chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(ARGUMENTS))
        yield found
        found.close()


@pytest.fixture
def open_page(browser: Browser, address: str) -> Iterator[object]:
    """Open the page offline; at the end nothing may have been asked for but the file, and no console error stand."""
    contexts: list[BrowserContext] = []
    asked: list[str] = []
    complaints: list[str] = []

    def opened(*, width: int = 1280, locale: str = "zh-CN", scheme: str = "light", script: bool = True) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            locale=locale,
            color_scheme=scheme,
            java_script_enabled=script,
            offline=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []
    assert set(asked) == {address}


def language_shown(page: Page) -> str:
    """Which language a reader sees: zh, en or both."""
    zh, en = (page.locator(f"#summary-title .{style}").is_visible() for style in ("zh", "en"))
    return "both" if zh and en else "zh" if zh else "en"


@pytest.mark.parametrize(("locale", "language"), [("zh-CN", "zh"), ("zh-HK", "zh"), ("en-GB", "en"), ("de-DE", "en")])
def test_the_browsers_language_decides_at_first(open_page, locale, language):
    page = open_page(locale=locale)
    assert language == language_shown(page)
    assert {"zh": "zh-CN", "en": "en"}[language] == page.locator("html").get_attribute("lang")


def test_without_script_chinese_is_shown_with_english_beneath(open_page):
    page = open_page(script=False)
    assert language_shown(page) == "both"
    title = page.locator("#summary-title")
    zh, en = title.locator(".zh").bounding_box(), title.locator(".en").bounding_box()
    assert en["y"] >= zh["y"] + zh["height"] - 1
    assert page.locator(".switch").is_hidden()
    assert page.locator("#decision-filter").is_hidden()
    assert page.locator("#decisions tbody tr").count() > 100


def test_the_language_switch_works_by_keyboard(open_page):
    page = open_page(locale="zh-CN")
    for _ in range(6):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.language") == "en":
            break
    assert page.evaluate("document.activeElement.dataset.language") == "en"
    page.keyboard.press("Enter")
    assert language_shown(page) == "en"
    assert page.locator("[data-language=en]").get_attribute("aria-pressed") == "true"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    assert language_shown(page) == "zh"


def test_the_chosen_language_is_kept_when_the_page_is_opened_again(open_page):
    page = open_page(locale="zh-CN")
    page.locator("[data-language=en]").click()
    page.reload()
    assert language_shown(page) == "en"


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
@pytest.mark.parametrize("locale", ["zh-CN", "en-GB"])
def test_nothing_runs_off_the_side(open_page, width, locale):
    page = open_page(width=width, locale=locale)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_nothing_runs_off_the_side_without_script(open_page):
    page = open_page(width=390, script=False)
    boxes = [page.locator(f"section#{section}").bounding_box() for section in ("flow", "decide", "verify")]
    assert [box for box in boxes if box["x"] < 0 or box["x"] + box["width"] > 390] == []


def test_a_phone_gets_the_narrow_picture_and_a_desk_the_wide_one(open_page):
    phone, wide = open_page(width=390), open_page(width=1280)
    for page, shown, hidden in ((phone, "narrow", "wide"), (wide, "wide", "narrow")):
        assert page.locator(f".zh > .flowpicture.{shown}").is_visible()
        assert page.locator(f".zh > .flowpicture.{hidden}").is_hidden()


def points_shown(page: Page) -> list[int]:
    cells = page.locator("#decisions tbody tr:not([hidden]) td:nth-child(6)")
    return [int(value) for value in cells.evaluate_all("cells => cells.map((cell) => cell.dataset.sort)")]


def test_the_table_sorts_by_keyboard_both_ways(open_page):
    page = open_page(locale="en-GB")
    head = page.locator("#decisions thead th:nth-child(6) button")
    head.focus()
    page.keyboard.press("Enter")
    rising = points_shown(page)
    assert sorted(rising) == rising
    assert rising[0] < rising[-1]
    page.keyboard.press("Enter")
    assert rising[::-1] == points_shown(page)
    assert page.locator("#decisions thead th:nth-child(6)").get_attribute("aria-sort") == "descending"


def test_the_table_filters_by_outcome_and_by_name_and_says_how_many(open_page, world):
    rows = world.sample_result().details.decisions
    refused = [row for row in rows if row.outcome == "refused"]
    page = open_page(locale="en-GB")
    page.locator("#decision-filter input[value=refused]").check()
    assert len(refused) == page.locator("#decisions tbody tr:visible").count()
    assert f"{len(refused)} of {len(rows)} shown" == page.locator("[data-shown] .en").inner_text()
    page.locator("#decision-filter input[type=search]").fill(refused[0].applicant.upper())
    assert page.locator("#decisions tbody tr:visible").count() == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_has_the_contrast_that_wcag_aa_asks_for(open_page, scheme):
    page = open_page(scheme=scheme, locale="en-GB")
    page.locator("details summary").click()
    assert page.evaluate(CONTRAST_SCRIPT) == []


def test_every_picture_has_a_name(open_page):
    page = open_page()
    pictures = page.locator("svg.chart")
    assert pictures.count() > 20
    names = pictures.evaluate_all("all => all.map((one) => one.getAttribute('aria-label').trim())")
    assert [name for name in names if not name] == []


def test_headings_step_down_one_level_at_a_time(open_page):
    page = open_page()
    levels = page.evaluate("[...document.querySelectorAll('h1,h2,h3')].map((one) => Number(one.tagName[1]))")
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert [pair for pair in itertools.pairwise(levels) if pair[1] - pair[0] > 1] == []


def test_it_prints_every_decision_and_no_controls(open_page):
    page = open_page()
    page.emulate_media(media="print")
    assert page.locator(".switch").is_hidden()
    assert page.locator("#decision-filter").is_hidden()
    region = page.locator(".scroll.tall")
    assert region.evaluate("one => one.scrollHeight - one.clientHeight") <= 1

"""The page in Chromium: on a desktop and a phone, readable, without JavaScript."""

from collections.abc import Iterator

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Page

from node import queue
from node.config import Config
from node.states import State
from tests.support.pages import CHROMIUM, chromium, open_page, served

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's Chromium is not installed"),
]
PATHS = (
    "/",
    "/studies",
    "/search",
    "/studies/3",
    "/jobs",
    "/jobs/1",
    "/rules",
    "/packages",
    "/nothing",
)
LEAST_CONTRAST = 4.5  # WCAG 2.2, 1.4.3, level AA
# the contrast of every visible text with the background behind it
CONTRASTS = """
() => {
  const part = v => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
  const rgb = c => c.match(/[\\d.]+/g).map(Number);
  const light = c => 0.2126 * part(c[0]) + 0.7152 * part(c[1]) + 0.0722 * part(c[2]);
  const behind = e => {
    for (; e; e = e.parentElement) {
      const c = rgb(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const found = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !element.getClientRects().length) continue;
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(behind(element))];
    found.push([(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), texts.currentNode.data.trim()]);
  }
  return found;
}
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def url(config: Config, rows: sa.Engine) -> Iterator[str]:
    with served(config) as address:
        yield address


def watched(page: Page) -> list[str]:
    """Collect what the browser complains about, such as a violation of the policy."""
    problems: list[str] = []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    return problems


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_fits_its_window_and_has_contrast(
    browser: Browser, url: str, width: int
) -> None:
    for scheme in ("light", "dark"):
        page = open_page(browser, width)
        page.emulate_media(color_scheme=scheme)
        problems = watched(page)
        for path in PATHS:
            page.goto(url + path)
            inner = page.evaluate("document.documentElement.scrollWidth")
            assert inner <= width, f"{path} is {inner} wide"
            weak = [one for one in page.evaluate(CONTRASTS) if one[0] < LEAST_CONTRAST]
            assert not weak, f"{scheme} {path}: {weak}"
            missing = "[...document.querySelectorAll('input:not([type=hidden]),select')]"
            assert page.evaluate(f"{missing}.every(e => e.labels.length)"), path
            assert page.evaluate("document.querySelectorAll('h1').length") == 1
        assert [one for one in problems if "404" not in one] == []


def test_a_person_retries_a_job_without_javascript(
    browser: Browser, url: str, rows: sa.Engine
) -> None:
    page = open_page(browser, 390, javascript=False)
    page.goto(url)
    page.click("text=Show them >> nth=0")
    assert "Target archive" in page.inner_text("h1")
    page.click("td a >> nth=0")
    job = int(page.url.rpartition("/")[2])
    assert queue.get(rows, job).state is State.FAILED
    page.click("text=Try again")
    assert queue.get(rows, job).state is State.FAILED, "it asks first"
    page.click("button")
    assert page.url.endswith(f"/jobs/{job}")
    assert queue.get(rows, job).state is State.QUEUED
    assert "queued again" in page.inner_text("main")


def test_an_accession_number_is_found(browser: Browser, url: str) -> None:
    page = open_page(browser, 1280, javascript=False)
    page.goto(f"{url}/search")
    page.fill("[name=text]", "A2026-004")
    page.click("button")
    assert "A2026" not in page.url
    page.click("td a >> nth=0")
    assert "A2026-004" in page.inner_text("main")
    image = page.locator("img")
    assert image.get_attribute("alt")
    assert image.bounding_box() is not None


def test_a_person_pauses_a_rule_on_a_phone(browser: Browser, url: str, rows: sa.Engine) -> None:
    page = open_page(browser, 390, javascript=False)
    page.goto(f"{url}/rules")
    page.click("text=Pause >> nth=0")
    page.fill("[name=because]", "new scanner")
    page.click("button")
    assert page.url.endswith("/rules")
    assert "paused" in page.inner_text("table")
    assert queue.paused(rows)["whole-head"].because == "new scanner"
    page.goto(url)
    assert "rule-paused: whole-head" in page.inner_text("main")

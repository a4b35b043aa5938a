"""The first page in a real browser, over a real warehouse that holds simulated customers."""

import os
import re
import shutil
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from dashboards.app import create_app
from dashboards.config import DashboardsConfig
from models.journey_model import default_model
from tests.dashboards.serving import served
from tests.simulated import simulated
from warehouse.connection import client
from warehouse.embedded import EmbeddedWarehouse
from warehouse.migrations import migrate
from warehouse.writer import Writer

MODEL = default_model()

expect.set_options(timeout=60_000)  # a browser that shares its cores with others starts slowly


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with EmbeddedWarehouse() as warehouse:
        migrate(warehouse.url)
        Writer(client(warehouse.url)).write(simulated(150, seed=3), "first")
        app = create_app(
            DashboardsConfig(warehouse_url=warehouse.url, model=MODEL, refresh_interval_ms=1_000)
        )
        with served(app) as base:
            yield base


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = os.environ.get("DESIRELINE_BROWSER") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(
            executable_path=path,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"],
        )
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1500, "height": 1000})
    yield opened
    opened.close()


def test_the_map_shows_every_phase_channel_and_number_of_the_api(page: Page, url: str) -> None:
    page.goto(f"{url}/?period=all")
    expect(page.locator(".phase-name")).to_have_text(list(MODEL.phases))
    expect(page.locator(".lane .row-label > div:first-child")).to_have_text(
        ["Web", "Chat", "Voice", "Billing"]
    )
    said = httpx.get(f"{url}/api/map").json()
    assert [row["phase"] for row in said["phases"]] == list(MODEL.phases)
    total = said["totals"][0]
    expect(page.locator("#tile-touchpoints")).to_have_text(f"{total['touchpoints']:,}")
    expect(page.locator("#tile-customers")).to_have_text(f"{total['customers']:,}")
    by_phase = {row["phase"]: row for row in said["phases"]}
    for name, head in zip(MODEL.phases, page.locator(".phase-figures b").all(), strict=True):
        expect(head).to_have_text(f"{by_phase[name]['journeys']:,}")


def test_the_emotion_curve_has_a_point_for_what_is_felt_in_each_phase(page: Page, url: str) -> None:
    page.goto(f"{url}/?period=all")
    expect(page.locator("#emotion-curve .scatterlayer .point").first).to_be_visible()
    assert page.locator("#emotion-curve .scatterlayer .point").count() >= 2 * len(MODEL.phases)


def test_a_severe_pain_point_is_redder_than_a_mild_one(page: Page, url: str) -> None:
    page.goto(f"{url}/?period=all")
    bars = page.locator(".pains .bar")
    expect(bars.first).to_be_visible()
    # all at once: the page draws itself anew every second
    hues: dict[str, str] = dict(
        bars.evaluate_all(
            "bars => bars.map(bar => [bar.title,"
            " getComputedStyle(bar.querySelector('.bar-fill')).backgroundColor])"
        )
    )
    severity = {title: float(re.findall(r"severity ([\d.]+)", title)[0]) for title in hues}
    redness = {title: _redness(colour) for title, colour in hues.items()}
    worst, mildest = max(severity, key=severity.__getitem__), min(severity, key=severity.__getitem__)
    assert severity[worst] > severity[mildest]
    assert redness[worst] > redness[mildest]


def _redness(colour: str) -> float:
    red, green, _ = (int(part) for part in re.findall(r"\d+", colour)[:3])
    return red / (red + green)


def test_choosing_a_period_changes_the_numbers_and_the_url(page: Page, url: str) -> None:
    page.goto(f"{url}/?period=all")
    expect(page.locator("#tile-touchpoints")).not_to_have_text("0")
    page.locator("#period").get_by_text("24 hours").click()
    expect(page.get_by_text("No touchpoints in this period")).to_be_visible()
    expect(page).to_have_url(re.compile("period=24h"))


def test_a_bookmark_of_a_persona_that_nobody_has_says_which_there_are(page: Page, url: str) -> None:
    page.goto(f"{url}/?period=all&persona=Nobody")
    page.wait_for_load_state("networkidle")  # also the personas that there are
    expect(page.get_by_role("alert")).to_contain_text('persona "Nobody" is not known. There are ')
    expect(page.get_by_role("textbox", name="persona")).to_have_value("Nobody")


def test_an_answer_that_takes_longer_than_the_refresh_interval_is_shown(page: Page) -> None:
    with EmbeddedWarehouse() as warehouse:
        migrate(warehouse.url)
        Writer(client(warehouse.url)).write(simulated(5, seed=1), "first")
        app = create_app(DashboardsConfig(warehouse_url=warehouse.url, model=MODEL, refresh_interval_ms=5))
        with served(app) as base:
            page.goto(f"{base}/?period=all")
            expect(page.locator("#tile-touchpoints")).to_be_visible()


def test_a_browser_finds_nothing_to_complain_about(page: Page, url: str) -> None:
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{url}/?period=all")
    expect(page.locator("#emotion-curve .scatterlayer .point").first).to_be_visible()
    assert complaints == []


@pytest.mark.parametrize("width", [1280, 420])
def test_no_two_words_of_a_heading_stand_on_each_other_and_the_page_is_as_wide_as_the_window(
    page: Page, url: str, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(f"{url}/?period=all")
    expect(page.locator(".phase-head").first).to_be_visible()
    overlapping = page.locator(".phase-head").evaluate_all(
        """heads => heads.filter(head => {
            const boxes = [...head.children].map(child => child.getBoundingClientRect())
            return boxes.some((a, n) => boxes.slice(n + 1).some(b =>
                a.left < b.right && b.left < a.right && a.top + 1 < b.bottom && b.top + 1 < a.bottom))
        }).length"""
    )
    assert overlapping == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_numbers_refresh_by_themselves(page: Page, browser: Browser) -> None:
    with EmbeddedWarehouse() as warehouse:
        migrate(warehouse.url)
        app = create_app(
            DashboardsConfig(warehouse_url=warehouse.url, model=MODEL, refresh_interval_ms=1_000)
        )
        with served(app) as base:
            page.goto(f"{base}/?period=all")
            expect(page.locator("#tile-touchpoints")).to_have_text("0")
            rows = simulated(5, seed=1)
            Writer(client(warehouse.url)).write(rows, "later")
            expect(page.locator("#tile-touchpoints")).to_have_text(f"{len(rows.touchpoints):,}")
            warehouse.stop()
            expect(page.get_by_text("The warehouse does not answer")).to_be_visible()


def test_the_api_describes_itself_and_says_what_is_wrong(url: str) -> None:
    described = httpx.get(f"{url}/openapi.json").json()["paths"]
    for path in ("funnel", "conversion", "drop-offs", "pain-points", "alerts", "summary", "map"):
        assert f"/api/{path}" in described
    answer = httpx.get(f"{url}/api/funnel", params={"steps": ["add_to_cartt", "purchase"]})
    assert answer.status_code == 400
    assert "add_to_cart" in answer.json()["remedy"]
    found = httpx.get(
        f"{url}/api/funnel", params={"steps": ["product_view", "add_to_cart", "purchase"]}
    ).json()
    assert [step["step"] for step in found["steps"]] == [1, 2, 3]
    assert found["steps"][0]["count"] >= found["steps"][1]["count"] > 0
    assert found["watermark"]
    assert found["sql"]

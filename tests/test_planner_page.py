"""Can a budget be planned in a real browser, by keyboard and on a phone, with nothing but the server?"""

from __future__ import annotations

import contextlib
import csv
import http.client
import importlib.metadata
import io
import json
import re
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import served_example
import stored_example
from plans_example import NAMES, PLACES, hills, kept, placed

WIDE, PHONE, SMALL = {"width": 1360, "height": 900}, {"width": 390, "height": 844}, {"width": 320, "height": 640}
ODD = ('<img src=x onerror="alert(1)">', "=1+1 & 'co'", "Ünï — 电视")
WAIT = 20_000  # milliseconds, on a busy machine


@pytest.fixture(scope="module")
def hilly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server whose model has curves, by the week."""
    home = tmp_path_factory.mktemp("hilly")
    with served_example.serving(home / "run", folder=kept(hills(), home / "model")) as served:
        yield served.url


@contextlib.contextmanager
def page_of(browser: Any, url: str, size: dict[str, int] = WIDE, refusals: int | None = 0, **more: Any) -> Iterator[Any]:
    """The page; nothing may be wrong on its console but so many refusals (None: any), and no request may go elsewhere."""
    context = browser.new_context(viewport=size, **more)
    page = context.new_page()
    page.set_default_timeout(WAIT)
    faults: list[str] = []
    page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: faults.append(str(e)))
    elsewhere: list[str] = []
    page.on("request", lambda r: elsewhere.append(r.url) if not r.url.startswith((url, "data:", "blob:")) else None)
    page.goto(url)
    yield page
    context.close()
    assert elsewhere == []
    refused = [f for f in faults if f.startswith("Failed to load resource")]
    assert refusals is None or len(refused) == refusals
    assert [f for f in faults if f not in refused] == []


def until(page: Any, holds: str, asked: Any = None) -> None:
    """Wait until a function of the page's is true; asked from outside, since the page's policy forbids what waits inside."""
    served_example.until(lambda: page.evaluate(holds, asked), holds, WAIT / 1000)


def settled(page: Any) -> None:
    """Wait until the three plans are shown and said."""
    page.wait_for_selector("#said:not(:empty)")
    until(page, "() => document.querySelectorAll('#result tbody tr:first-child .figure').length === 3")


def address_holds(page: Any, text: str, holds: bool = True) -> None:
    """Wait until the address says it, or no longer does."""
    until(page, "([text, holds]) => decodeURIComponent(location.hash).includes(text) === holds", [text, holds])


def all_scored(page: Any) -> None:
    """Wait until each scenario has its sales."""
    until(page, "() => !document.querySelector('#scenarios').textContent.includes('–')")


def shows(page: Any, row: str, column: str, text: str) -> None:
    """Wait until the table shows it."""
    until(page, SHOWS, [row, ("today", "yours", "best").index(column) + 1, text])


SHOWS = """([row, at, text]) => [...document.querySelectorAll('#result tbody tr')].some(
  (tr) => tr.cells[0].textContent.startsWith(row) && tr.cells[at].querySelector('.figure')?.textContent === text
)"""


def ask(url: str, body: Any, path: str = "/plan") -> Any:
    """What the server says to a wish, asked past the browser."""
    with contextlib.closing(http.client.HTTPConnection(url.removeprefix("http://"), timeout=WAIT / 1000)) as connection:
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        return json.loads(connection.getresponse().read())


def got(url: str, path: str) -> bytes:
    with urllib.request.urlopen(url + path, timeout=WAIT / 1000) as answer:
        return bytes(answer.read())


def shown(value: float, sign: bool = False) -> str:
    """A figure as the page writes it in English."""
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 100 else 2
    text = f"{value:{'+' if sign else ''},.{digits}f}".replace("-", "\N{MINUS SIGN}")
    return re.sub(r"\.?0+$", "", text) if "." in text else text


def amounts(page: Any) -> dict[str, float]:
    return {name: float(page.get_by_label(f"Amount for {name}").input_value()) for name in NAMES}


def test_a_slider_moved_by_keyboard_shows_what_plan_says(browser: Any, hilly: str) -> None:
    with page_of(browser, hilly) as page:
        settled(page)
        assert page.get_by_role("heading", level=1).inner_text() == "Plan a budget"
        assert "sales-response" in page.inner_text("#lead")
        before = amounts(page)
        slider = page.get_by_role("slider", name="TV: amount")
        slider.focus()
        for _ in range(5):
            page.keyboard.press("ArrowRight")
        settled(page)  # the last key has been taken in
        after = amounts(page)
        assert after["TV"] > before["TV"]
        assert after["Search"] == before["Search"]
        assert "thousand dollars" in slider.get_attribute("aria-valuetext")
        said = ask(hilly, {"spend": after, "horizon": 13})
        shows(page, "Sales expected", "yours", shown(said["sales"]))
        shows(page, "Gain over today", "yours", shown(said["gain"], sign=True))
        shows(page, "Total spend", "yours", shown(said["total"]))
        settled(page)
        page.wait_for_selector(f"#said:has-text('{shown(said['sales'])} thousand units')")
        assert page.evaluate("performance.getEntriesByName('answer').length") >= 1


def test_an_answer_says_to_which_move_and_touches_only_what_changes(browser: Any, hilly: str) -> None:
    with page_of(browser, hilly) as page:
        settled(page)
        before = amounts(page)
        page.evaluate(WATCH)
        page.get_by_role("slider", name="TV: amount").press("ArrowRight")
        until(page, "() => performance.getEntriesByName('answer').length > 0")
        now, asked = amounts(page), page.evaluate("performance.getEntriesByName('answer')[0].detail")
        assert asked == pytest.approx(now, rel=1e-6)  # a field shows nine digits
        assert now["TV"] > before["TV"]
        shows(page, "Total spend", "best", shown(sum(now.values())))
        touched = page.evaluate("[...window.touched]")
        assert "TV Yours" in touched
        assert not [t for t in touched if t.endswith("Today") or t in ("Search Yours", "Print Yours")]


# the columns of the channels' tables that are written to
WATCH = """() => {
  window.touched = new Set();
  const noted = ({ target }) => {
    const cell = (target.nodeType === 1 ? target : target.parentElement).closest('.returns td');
    const column = cell && cell.closest('table').tHead.rows[0].cells[cell.cellIndex].textContent;
    if (cell) window.touched.add(`${cell.closest('.card').querySelector('h3').textContent} ${column}`);
  };
  const watched = { childList: true, subtree: true, characterData: true };
  new MutationObserver((all) => all.forEach(noted)).observe(document.querySelector('#channels'), watched);
}"""


def test_the_best_plan_waits_until_the_slider_rests(browser: Any, hilly: str) -> None:
    with page_of(browser, hilly) as page:
        settled(page)
        asked: list[dict[str, Any]] = []
        page.on("request", lambda r: asked.append(r.post_data_json) if r.url.endswith("/plan") else None)
        page.get_by_role("slider", name="TV: amount").evaluate(DRAGGED)
        total = sum(amounts(page).values())
        shows(page, "Total spend", "best", shown(total))
        own = [index for index, wish in enumerate(asked) if "spend" in wish]
        assert asked[own[-1] + 1]["total"] == pytest.approx(total, rel=1e-6)  # a field shows nine digits
        assert own == list(range(len(own)))  # a timer of 10 ms that is late still comes before one of 120 ms


# twenty moves of a slider, as a drag makes them
DRAGGED = """async (slider) => {
  for (let move = 1; move <= 20; move += 1) {
    slider.value = Number(slider.value) + Number(slider.max) / 100;
    slider.dispatchEvent(new Event('input', { bubbles: true }));
    await new Promise((done) => { setTimeout(done, 10); });
  }
}"""


def test_the_best_plan_is_taken_with_one_click(browser: Any, hilly: str) -> None:
    with page_of(browser, hilly) as page:
        settled(page)
        found = ask(hilly, {"total": sum(amounts(page).values()), "horizon": 13})
        shows(page, "Sales expected", "best", shown(found["sales"]))
        page.get_by_role("button", name="Take the best plan").click()
        shows(page, "Sales expected", "yours", shown(found["sales"]))
        assert amounts(page) == pytest.approx(found["spend"], rel=1e-6)  # a field shows nine digits
        page.get_by_role("button", name="Back to today").click()
        shows(page, "Gain over today", "yours", "0")


def test_a_margin_frees_the_total(browser: Any, hilly: str) -> None:
    with page_of(browser, hilly) as page:
        settled(page)
        assert page.get_by_label("the highest profit, total free").is_disabled()
        page.get_by_label("Margin", exact=True).fill("1.5")
        page.get_by_label("the highest profit, total free").check()
        found = ask(hilly, {"margin": 1.5, "horizon": 13})
        shows(page, "Profit", "best", shown(found["profit"]))
        shows(page, "Total spend", "best", shown(found["total"]))
        page.wait_for_selector(".card:first-child .hint:has-text('One more unit earns what it costs (margin 1.5) on TV')")


def test_a_locked_channel_keeps_its_amount(browser: Any, hilly: str) -> None:
    with page_of(browser, hilly) as page:
        settled(page)
        page.get_by_label("Amount for Search").fill("300")
        page.get_by_label("Locked: Search").check()
        assert page.get_by_role("slider", name="Search: amount").is_disabled()
        given = amounts(page)
        found = ask(hilly, {"total": sum(given.values()), "horizon": 13, "bounds": {"Search": [300, 300]}})
        assert found["spend"]["Search"] == 300
        shows(page, "Sales expected", "best", shown(found["sales"]))
        page.get_by_label("Total", exact=False).first.fill("2000")
        page.keyboard.press("Tab")
        shows(page, "Total spend", "yours", "2,000")
        assert amounts(page)["Search"] == 300


def leave(page: Any, label: str, text: str) -> Any:
    """Type into a field and leave it; the field."""
    field = page.get_by_label(label, exact=False).first
    field.fill(text)
    page.keyboard.press("Tab")
    return field


def described(field: Any) -> str:
    """What a screen reader says of a field beside its name."""
    says = "e => e.getAttribute('aria-describedby').split(' ').map((id) => document.getElementById(id).textContent).join(' ')"
    return str(field.evaluate(says))


@pytest.mark.parametrize("text", ["-2", "0", "1e16"])
def test_a_margin_that_is_none_is_said_beside_the_field(browser: Any, hilly: str, text: str) -> None:
    with page_of(browser, hilly) as page:
        settled(page)
        field = leave(page, "Margin", text)
        assert field.get_attribute("aria-invalid") == "true"
        assert f"not {text}: no margin is in force" in described(field)
        assert page.locator("#margin-problem").is_visible()
        leave(page, "Margin", "1.5")
        assert field.get_attribute("aria-invalid") is None
        assert not page.locator("#margin-problem").is_visible()
        shows(
            page,
            "Profit",
            "best",
            shown(ask(hilly, {"margin": 1.5, "horizon": 13, "total": sum(amounts(page).values())})["profit"]),
        )


@pytest.mark.parametrize("text", ["9999", "0", "2.5", ""])
def test_periods_that_cannot_be_are_said_and_those_before_stay(browser: Any, hilly: str, text: str) -> None:
    with page_of(browser, hilly) as page:
        settled(page)
        field = page.get_by_label("Periods")
        field.fill(text)
        assert field.get_attribute("aria-invalid") == "true"
        page.keyboard.press("Tab")
        assert field.input_value() == "13"
        assert f"not {text or 'this'}; the plan stays at 13 periods." in described(field)
        leave(page, "Periods", "12")
        assert described(field) == ""


def test_periods_typed_on_the_way_to_what_cannot_be_are_not_kept(browser: Any, hilly: str) -> None:
    with page_of(browser, hilly) as page:
        settled(page)
        today = amounts(page)
        page.get_by_label("Periods").press("Control+a")
        page.keyboard.type("1000")  # by way of 1, 10 and 100
        page.keyboard.press("Tab")
        assert described(page.get_by_label("Periods")).endswith("not 1000; the plan stays at 13 periods.")
        until(page, "(was) => Number(document.querySelector('#amount-0').value) === was", today["TV"])


@pytest.mark.parametrize("text", ["-3", "1e16", ""])
@pytest.mark.parametrize("key", ["Enter", "Tab"])
def test_an_amount_that_is_none_is_said_and_the_one_before_stays(browser: Any, hilly: str, text: str, key: str) -> None:
    with page_of(browser, hilly) as page:
        settled(page)
        field = page.get_by_label("Amount for TV")
        field.fill("300")
        field.fill(text)
        assert field.get_attribute("aria-invalid") == "true"
        page.keyboard.press(key)
        assert field.input_value() == "300"
        assert f"not {text or 'this'}; yours stays 300." in described(field)
        field.fill("310")
        assert "yours stays" not in described(field)


@pytest.mark.parametrize("text", ["-3", "1e16"])
def test_a_bound_that_is_none_is_said_and_the_one_before_stays(browser: Any, hilly: str, text: str) -> None:
    with page_of(browser, hilly) as page:
        settled(page)
        page.locator("summary:has-text('Bounds')").first.click()
        field = leave(page, "At least for TV", text)
        assert field.input_value() == ""
        assert described(field).endswith(f"not {text}; none is set.")
        leave(page, "At least for TV", "100")
        assert described(field) == ""
        leave(page, "At least for TV", text)
        assert field.input_value() == "100"
        assert described(field).endswith(f"not {text}; it stays 100.")


def test_a_total_below_what_is_locked_says_why_it_is_not_taken(browser: Any, hilly: str) -> None:
    with page_of(browser, hilly, refusals=None) as page:  # what is left may be less than the best plan needs
        settled(page)
        page.get_by_label("Amount for Search").fill("300")
        page.get_by_label("Locked: Search").check()
        field = leave(page, "Total", "120")
        shows(page, "Total spend", "yours", "300")
        assert "120 is less than the 300 that are locked (Search)" in described(field)
        leave(page, "Total", "-5")
        assert "A total is from 0 to" in described(field)
        until(page, "() => document.querySelector('#total').value === '300'")  # with the next frame
        leave(page, "Total", "2000")
        shows(page, "Total spend", "yours", "2,000")
        assert described(field) == ""


def test_bounds_hold_and_a_wish_that_cannot_be_met_says_why(browser: Any, hilly: str) -> None:
    with page_of(browser, hilly, refusals=1) as page:
        settled(page)
        page.locator("summary:has-text('Bounds')").first.click()
        page.get_by_label("At least for TV").fill("500")
        found = ask(hilly, {"total": sum(amounts(page).values()), "horizon": 13, "bounds": {"TV": [500, None]}})
        shows(page, "Sales expected", "best", shown(found["sales"]))
        page.wait_for_selector(".card:first-child .bad:has-text('outside your own bounds')")
        page.wait_for_selector("#notes li:has-text('TV is at its lowest, 500 (bound).')")
        page.get_by_label("At least for TV").fill("50000")
        page.wait_for_selector("#best-problem:has-text('lie outside the range seen')")
        assert page.get_by_role("button", name="Take the best plan").is_disabled()


def test_scenarios_live_in_the_address(browser: Any, hilly: str) -> None:
    with page_of(browser, hilly) as page:
        settled(page)
        page.get_by_label("Amount for TV").fill("700")
        page.get_by_label("Name of your plan").fill("More <b>TV</b>")
        page.keyboard.press("Enter")
        page.get_by_label("Amount for TV").fill("100")
        page.get_by_role("button", name="Keep it").click()
        address_holds(page, "Plan 1")
        page.get_by_label("Periods").fill("4")
        address_holds(page, '"h":4')
        said = ask(hilly, {"spend": {**amounts(page), "TV": 700}, "horizon": 13})
        page.reload()
        settled(page)
        assert page.get_by_label("Periods").input_value() == "4"
        rows = page.locator("#scenarios tbody tr")
        assert rows.count() == 2
        all_scored(page)
        assert rows.nth(0).locator("th").inner_text() == "More <b>TV</b>"
        page.get_by_role("button", name="Open More <b>TV</b>").click()
        settled(page)
        until(page, "() => document.querySelector('#horizon').value === '13'")
        assert amounts(page)["TV"] == 700
        said = ask(hilly, {"spend": amounts(page), "horizon": 13})
        shows(page, "Sales expected", "yours", shown(said["sales"]))
        assert shown(said["sales"]) in rows.nth(0).inner_text()
        page.get_by_role("button", name="Delete Plan 1").click()
        assert rows.count() == 1
        address_holds(page, "Plan 1", False)


def test_an_address_that_is_nonsense_does_no_harm(browser: Any, hilly: str) -> None:
    odd: dict[str, Any] = {"c": ["TV", "Gone", 5], "s": ["x", 1e99, None], "h": -3, "l": 7, "k": {"a": 1}, "b": [[None, "5"]]}
    odd["p"] = [1, ["a", 2], [], ["b", 1, 1, 1, 1, "x"]]
    with page_of(browser, hilly) as page:
        settled(page)
        today = amounts(page)
        for text in ("%E0%A4%A", "null", "[]", json.dumps({"c": 5}), json.dumps(odd)):
            page.get_by_label("Amount for TV").fill("700")
            page.evaluate("(text) => { location.hash = text; }", text)
            until(page, "(was) => Number(document.querySelector('#amount-0').value) === was", today["TV"])
            assert page.get_by_label("Periods").input_value() == "13"
        page.wait_for_selector("#scenarios tbody tr:nth-child(2)")
        settled(page)


def test_an_address_of_another_model_says_what_is_left_out(browser: Any, hilly: str) -> None:
    kept = {"c": ["TV", "Radio"], "s": [700, 20], "h": 13, "r": "Süd", "p": [["Old", 13, None, 0.9, 0, [10, 20], None]]}
    with page_of(browser, hilly) as page:
        page.goto(f"{hilly}/#{urllib.parse.quote(json.dumps(kept))}")
        page.reload()
        settled(page)
        assert page.inner_text("#problem") == "The model has no Radio, Süd: what was set for it is left out."
        today = {c["name"]: c["today"] for c in json.loads(got(hilly, "/curves?horizon=13"))["channels"]}
        assert amounts(page) == pytest.approx(today)  # 700 was spent in Süd; a field shows nine digits
        row = page.locator("#scenarios tbody tr")
        assert "No amount is known for Search, Print." in row.inner_text()
        assert row.get_by_role("button", name="Open").is_disabled()


def test_the_focus_stays_on_the_scenario_that_is_opened(browser: Any, hilly: str) -> None:
    with page_of(browser, hilly) as page:
        settled(page)
        for name in ("A", "B"):
            page.get_by_label("Name of your plan").fill(name)
            page.keyboard.press("Enter")
        all_scored(page)
        page.get_by_label("Amount for TV").fill("700")
        page.get_by_role("button", name="Open B").press("Enter")
        until(page, "() => document.querySelector('#amount-0').value !== '700'")
        settled(page)
        assert page.evaluate("document.activeElement.textContent") == "Open B"
        page.get_by_role("button", name="Delete B").press("Enter")
        assert page.get_by_role("status").filter(has_text="B is deleted.").is_visible()


@pytest.fixture(scope="module")
def regional(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server whose model has markets."""
    home = tmp_path_factory.mktemp("regional")
    with served_example.serving(home / "run", folder=kept(placed(), home / "model")) as served:
        yield served.url


def test_a_market_is_planned_for_from_its_own_spend_and_kept_in_the_address(browser: Any, regional: str) -> None:
    with page_of(browser, regional) as page:
        settled(page)
        market = page.get_by_label("Market")
        assert market.locator("option").all_inner_texts() == ["average", *PLACES]
        page.get_by_label("At most for TV").evaluate("(field) => { field.closest('details').open = true; }")
        page.get_by_label("At most for TV").fill("900")
        market.focus()
        market.select_option("Süd & West")
        today = {"market": "Süd & West", "horizon": 13}
        theirs = json.loads(got(regional, "/curves?" + urllib.parse.urlencode({**today, "points": 9})))["channels"]
        until(page, "(was) => Number(document.querySelector('#amount-0').value) === was", float(f"{theirs[0]['today']:.9g}"))
        assert amounts(page) == pytest.approx({c["name"]: c["today"] for c in theirs}, rel=1e-8)
        assert page.get_by_label("At most for TV").input_value() == ""  # it was meant for another market's amount
        page.get_by_label("Amount for TV").fill("700")
        said = ask(regional, {"spend": {**amounts(page), "TV": 700}, **today})
        shows(page, "Sales expected", "yours", shown(said["sales"]))
        shows(page, "Gain over today", "yours", shown(said["gain"], sign=True))
        page.wait_for_selector("#notes:has-text('for the market Süd & West')")
        page.get_by_role("button", name="Keep it").click()
        address_holds(page, "Plan 1")
        market.select_option("")
        address_holds(page, '"r":null')
        page.reload()
        settled(page)
        all_scored(page)
        row = page.locator("#scenarios tbody tr")
        assert "Süd & West" in row.inner_text()
        assert shown(said["sales"]) in row.inner_text()
        with page.expect_download() as loading:
            page.get_by_role("button", name="Export as CSV").click()
        (kept_one,) = csv.DictReader(Path(loading.value.path()).read_text("utf-8-sig").splitlines())
        assert (kept_one["market"], float(kept_one["sales"])) == ("Süd & West", pytest.approx(said["sales"], rel=1e-8))
        page.get_by_role("button", name="Open Plan 1").click()
        until(page, "() => document.querySelector('#market').value === 'Süd & West'")
        shows(page, "Sales expected", "yours", shown(said["sales"]))
        assert amounts(page)["TV"] == 700


def test_a_model_without_markets_asks_for_none(browser: Any, hilly: str) -> None:
    with page_of(browser, hilly) as page:
        settled(page)
        assert not page.locator("#market-field").is_visible()


def test_the_csv_holds_the_scenarios_and_no_formula(browser: Any, hilly: str) -> None:
    with page_of(browser, hilly) as page:
        settled(page)
        for name in ("=HYPERLINK(1)", 'a "quoted", name', "+1", "@x", "-2"):
            page.get_by_label("Name of your plan").fill(name)
            page.keyboard.press("Enter")
        all_scored(page)
        with page.expect_download() as loading:
            page.get_by_role("button", name="Export as CSV").click()
        text = Path(loading.value.path()).read_bytes()
        given = {"spend": amounts(page), "horizon": 13}
    rows = list(csv.DictReader(io.StringIO(text.decode("utf-8-sig"), newline="")))
    assert text.startswith(b"\xef\xbb\xbf")
    assert [r["name"] for r in rows] == ["'=HYPERLINK(1)", 'a "quoted", name', "'+1", "'@x", "'-2"]
    said = ask(hilly, given)
    assert float(rows[0]["sales"]) == pytest.approx(said["sales"], rel=1e-8)  # a field shows nine digits
    assert {n: float(rows[0][n]) for n in NAMES} == pytest.approx(given["spend"], rel=1e-8)
    assert rows[0]["periods"] == "13"


def test_a_chart_is_read_by_keyboard_and_as_a_table(browser: Any, hilly: str) -> None:
    with page_of(browser, hilly) as page:
        settled(page)
        chart = page.get_by_role("img", name="What TV brings")
        chart.focus()
        page.keyboard.press("Home")
        assert page.locator(".readout").first.inner_text().startswith("0 thousand dollars: brings 0")
        page.keyboard.press("ArrowRight")
        assert not page.locator(".readout").first.inner_text().startswith("0 ")
        page.locator("summary:has-text('The curve as a table')").first.click()
        curve = page.locator(".card").first.locator("details table")
        page.wait_for_selector(".card:first-child details tbody tr")
        assert curve.locator("tbody tr").count() == 13
        assert curve.locator("thead th").all_inner_texts()[0] == "Spend in thousand dollars"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_chart_shows_band_curve_rows_range_and_marks_where_they_belong(browser: Any, hilly: str, scheme: str) -> None:
    channel, *others = json.loads(got(hilly, "/curves?horizon=13&points=61"))["channels"]
    away = 1.5 * channel["today"]
    best = ask(hilly, {"total": away + sum(c["today"] for c in others), "horizon": 13})["spend"][channel["name"]]
    marks = {
        kind: [x, float(np.interp(x, channel["spend"], channel["sales"]))]
        for kind, x in {"today": channel["today"], "mine": away, "best": best}.items()
    }
    with page_of(browser, hilly, color_scheme="light" if scheme == "dark" else "dark") as page:
        settled(page)
        page.get_by_label("Amount for TV").fill(str(away))
        until(page, MARKED, marks)
        page.emulate_media(color_scheme=scheme)  # an open page follows
        until(page, MARKED, marks)
        drawn = page.evaluate(DRAWN)
    assert [x for x, _ in drawn["low"]["data"]] == channel["spend"]
    assert [y for _, y in drawn["low"]["data"]] == channel["low"]
    assert [y for _, y in drawn["high"]["data"]] == channel["high"]
    assert drawn["rows"]["data"] == channel["points"]
    assert [x for x, _ in drawn["seen"]["data"]] == channel["seen"]
    assert set(channel["spend"]) | set(channel["seen"]) == {x for x, _ in drawn["curve"]["data"]}
    dashed = [x for x, solid in drawn["curve"]["solid"] if not solid]
    assert dashed
    assert all(not channel["seen"][0] < x <= channel["seen"][1] for x in dashed)


# Each mark is painted where it belongs, in its colour; today's is a ring, so its left edge is looked at.
MARKED = """(marks) => {
  const canvas = document.querySelector('canvas');
  const chart = window.Chart?.getChart(canvas);
  if (!chart) return false;
  const pixel = (context, x, y) => String(context.getImageData(x, y, 1, 1).data);
  const sharp = chart.currentDevicePixelRatio;
  return Object.entries(marks).every(([kind, [amount, sales]]) => {
    const meant = document.createElement('canvas').getContext('2d');
    meant.fillStyle = getComputedStyle(document.documentElement).getPropertyValue(`--${kind}`);
    meant.fillRect(0, 0, 1, 1);
    const x = chart.scales.x.getPixelForValue(amount) - (kind === 'today' ? 7 : 0);
    const y = chart.scales.y.getPixelForValue(sales);
    return pixel(canvas.getContext('2d'), x * sharp, y * sharp) === pixel(meant, 0, 0);
  });
}"""

DRAWN = """() => {
  const chart = Chart.getChart(document.querySelector('canvas'));
  return Object.fromEntries(chart.data.datasets.map(({ label, data, segment }, i) => {
    const elements = chart.getDatasetMeta(i).data;
    const solid = (j) => segment.borderDash({ p0: elements[j], p1: elements[j + 1] }).length === 0;
    return [label, { data: data.map(({ x, y }) => [x, y]), solid: segment && data.slice(1).map((p, j) => [p.x, solid(j)]) }];
  }));
}"""


def test_the_result_stays_beside_the_channels_and_never_over_what_follows(browser: Any, hilly: str) -> None:
    ends = """(y) => {
      scrollTo(0, y);
      const of = (part) => document.querySelector(part).getBoundingClientRect();
      return [of('#result').top, of('#side > section').bottom, of('#scenarios-section').top];
    }"""
    with page_of(browser, hilly) as page:
        settled(page)
        seen = [page.evaluate(ends, y) for y in range(0, page.evaluate("document.documentElement.scrollHeight"), 100)]
    assert any(0 <= result < 100 for result, _, _ in seen[4:])  # it stays in view while the channels go by
    assert all(result_end <= scenarios for _, result_end, scenarios in seen)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_without_scrolling_sideways(browser: Any, hilly: str, scheme: str) -> None:
    with page_of(browser, hilly, PHONE, color_scheme=scheme, is_mobile=True, has_touch=True) as page:
        settled(page)
        page.get_by_role("button", name="Keep it").click()
        page.wait_for_selector("#scenarios tbody tr")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
        colours = page.evaluate(CONTRASTS)
        assert colours
        assert min(colours.values()) >= 4.5, {k: v for k, v in colours.items() if v < 4.5}  # WCAG 2.2, 1.4.3


CONTRASTS = """() => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = (e) => {
    for (let at = e; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = {};
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.closest('noscript, :disabled')) continue;
    const [a, b] = [light(numbers(getComputedStyle(e).color)), light(behind(e))];
    found[`${e.tagName} ${e.className} ${e.textContent.slice(0, 20)}`] = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  }
  return found;
}"""


@pytest.mark.parametrize("unit", [1e8, 1.0, 1e-7])
def test_figures_of_every_size_fit_a_small_phone(browser: Any, tmp_path: Path, unit: float) -> None:
    folder = kept(hills(unit=unit), tmp_path / "model")
    with served_example.serving(tmp_path / "run", folder=folder) as served, page_of(browser, served.url, SMALL) as page:
        settled(page)
        until(page, "() => document.querySelectorAll('.returns .figure').length === 27")
        assert page.evaluate("document.documentElement.scrollWidth") <= SMALL["width"]
        assert page.evaluate(OVERLAPS) == []


OVERLAPS = """() => [...document.querySelectorAll('#result tr, .returns tr')].flatMap((tr) => {
  const ends = [...tr.cells].map((cell) => {
    const range = document.createRange();
    range.selectNodeContents(cell);
    return range.getBoundingClientRect();
  });
  return ends.flatMap((box, i) => (i && ends[i - 1].right > box.left && box.width ? [tr.innerText] : []));
})"""


def test_what_has_the_focus_is_never_below_the_dock(browser: Any, hilly: str) -> None:
    with page_of(browser, hilly, PHONE) as page:
        settled(page)
        for _ in range(30):
            page.keyboard.press("Tab")
            box = "(e) => e.getBoundingClientRect()"
            focused, dock = page.locator(":focus").evaluate(box), page.locator("#dock").evaluate(box)
            assert focused["bottom"] <= dock["top"], page.evaluate("document.activeElement.id")


def test_the_marks_are_told_apart_where_the_system_forces_its_colours(browser: Any, hilly: str) -> None:
    colours = "[...document.querySelectorAll('.legend .key')].map((e) => getComputedStyle(e).background)"
    with page_of(browser, hilly) as page:
        settled(page)
        own = page.evaluate(colours)
    with page_of(browser, hilly, forced_colors="active") as page:
        settled(page)
        assert page.evaluate(colours) == own


def test_every_field_has_a_label_and_every_id_is_one(browser: Any, hilly: str) -> None:
    with page_of(browser, hilly) as page:
        settled(page)
        page.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
        unlabelled = "[...document.querySelectorAll('input, select')].filter((e) => !e.labels.length && !e.ariaLabel)"
        assert page.evaluate(f"{unlabelled}.map((e) => e.id)") == []
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map((e) => e.id)")
        assert len(ids) == len(set(ids))
        assert page.evaluate("document.documentElement.lang") == "en"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate("document.activeElement.id") == "channels-head"
        page.keyboard.press("Tab")
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_names_are_text_whatever_they_hold(browser: Any, tmp_path: Path) -> None:
    folder = kept(hills(ODD), tmp_path / "model")
    with served_example.serving(tmp_path / "run", folder=folder) as served, page_of(browser, served.url, PHONE) as page:
        page.on("dialog", lambda d: pytest.fail(d.message))
        settled(page)
        assert page.locator("h3").all_inner_texts()[:3] == list(ODD)
        assert page.locator("img[src]").count() == 0
        page.get_by_role("button", name="Keep it").click()
        page.wait_for_selector("#scenarios tbody tr")
        page.reload()
        settled(page)
        assert page.locator("#scenarios thead th").all_inner_texts()[2:5] == list(ODD)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def test_a_name_from_right_to_left_takes_no_figure_with_it(browser: Any, tmp_path: Path) -> None:
    folder = kept(hills(("תקשורת", "TV", "Print")), tmp_path / "model")
    with served_example.serving(tmp_path / "run", folder=folder) as served, page_of(browser, served.url, refusals=1) as page:
        settled(page)
        page.locator("summary:has-text('Bounds')").first.click()
        page.get_by_label("At least for").first.fill("50000")
        page.wait_for_selector("#best-problem:has-text('lie outside the range seen')")
        said = page.inner_text("#best-problem")
        assert "\N{RIGHT-TO-LEFT ISOLATE}תקשורת\N{POP DIRECTIONAL ISOLATE}, 50000" in said


def test_straight_lines_have_no_optimum_and_the_page_says_so(browser: Any, tmp_path: Path) -> None:
    folder = stored_example.stored(stored_example.three_channels(), tmp_path)
    with served_example.serving(tmp_path / "run", folder=folder) as served, page_of(browser, served.url) as page:
        settled(page)
        assert not page.get_by_label("Periods").is_visible()
        assert "no split is best of its own" in page.inner_text("#straight")
        notes = page.inner_text("#notes")
        assert "there is no best split inside the bounds" in notes
        assert "only an experiment shows" in notes
        spend = {name: float(page.get_by_label(f"Amount for {name}").input_value()) for name in ("TV", "Radio", "Newspaper")}
        shows(page, "Sales expected", "yours", shown(ask(served.url, {"spend": spend})["sales"]))


def test_the_page_goes_on_once_the_server_is_back(browser: Any, hilly: str) -> None:
    with page_of(browser, hilly, refusals=None) as page:
        settled(page)
        page.context.set_offline(True)
        page.get_by_label("Amount for TV").fill("432")
        page.wait_for_selector("#problem:has-text('The server does not answer.')")
        page.context.set_offline(False)
        shows(
            page, "Sales expected", "yours", shown(ask(hilly, {"spend": {**amounts(page), "TV": 432}, "horizon": 13})["sales"])
        )
        assert not page.locator("#problem").is_visible()


def test_the_best_plan_and_the_scenarios_come_once_the_server_is_back(browser: Any, hilly: str) -> None:
    with page_of(browser, hilly, refusals=None) as page:
        settled(page)
        page.context.set_offline(True)
        page.get_by_label("may leave the range seen").check()
        page.get_by_role("button", name="Keep it").click()
        page.wait_for_selector("#problem:has-text('The server does not answer.')")
        assert page.inner_text("#best-problem") == ""
        page.context.set_offline(False)
        found = ask(hilly, {"total": sum(amounts(page).values()), "horizon": 13, "beyond": True})
        shows(page, "Sales expected", "best", shown(found["sales"]))
        all_scored(page)
        assert not page.locator("#problem").is_visible()


@pytest.mark.parametrize(
    ("first", "second", "lost"),
    [
        (hills, lambda: hills(("TV", "Search", "Display")), "Print"),
        (hills, lambda: hills(dated=False), "dates"),
        (placed, hills, "North"),
    ],
    ids=["channels", "dates", "markets"],
)
def test_a_new_champion_may_be_for_something_else(browser: Any, tmp_path: Path, first: Any, second: Any, lost: str) -> None:
    registry = served_example.FileRegistry(tmp_path)
    kept(first(), tmp_path / "1")
    kept(second(), tmp_path / "2")
    registry.move("1")
    with served_example.serving(tmp_path) as served, page_of(browser, served.url, refusals=None) as page:
        settled(page)
        if first is placed:
            page.get_by_label("Market").select_option("North")
            address_holds(page, '"r":"North"')
        registry.move("2")
        served_example.until(lambda: '"version": "2"' in served.text("/ready"), "the server has the new version")
        page.get_by_label("Amount for TV").fill("32")
        page.wait_for_selector("#lead:has-text('version 2')")
        settled(page)
        assert page.inner_text("#problem") == f"The model has no {lost}: what was set for it is left out."
        told = json.loads(got(served.url, "/curves"))
        assert page.locator("#channels h3").all_inner_texts() == [c["name"] for c in told["channels"]]
        spend = {n: float(page.get_by_label(f"Amount for {n}").input_value()) for n in (c["name"] for c in told["channels"])}
        shows(page, "Sales expected", "yours", shown(ask(served.url, {"spend": spend})["sales"]))


def test_a_page_left_open_follows_a_new_champion(browser: Any, tmp_path: Path) -> None:
    registry = served_example.FileRegistry(tmp_path)
    kept(hills(), tmp_path / "1")
    kept(hills(seed=2), tmp_path / "2")
    registry.move("1")
    with served_example.serving(tmp_path) as served, page_of(browser, served.url) as page:
        settled(page)
        assert "version 1" in page.inner_text("#lead")
        registry.move("2")
        served_example.until(lambda: '"version": "2"' in served.text("/ready"), "the server has the new version")
        page.get_by_label("Amount for TV").fill("321")
        page.wait_for_selector("#lead:has-text('version 2')")
        said = ask(served.url, {"spend": {**amounts(page), "TV": 321}, "horizon": 13})
        shows(page, "Sales expected", "yours", shown(said["sales"]))


def test_a_model_that_cannot_be_planned_says_why_and_where_to_go(browser: Any, tmp_path: Path) -> None:
    folder = kept(None, tmp_path / "model")
    with served_example.serving(tmp_path / "run", folder=folder) as served, page_of(browser, served.url, refusals=1) as page:
        page.wait_for_selector("#problem:has-text('stored without prospect.json')")
        page.get_by_role("link", name="Ask single rows").click()
        page.wait_for_selector("#try")


def test_the_page_asks_for_the_token(browser: Any, tmp_path: Path) -> None:
    folder = kept(hills(), tmp_path / "model")
    with (
        served_example.serving(tmp_path / "run", folder=folder, token="s3cret") as served,
        page_of(browser, served.url, refusals=2) as page,
    ):
        page.wait_for_selector("#problem:has-text('This server asks for a token.')")
        for token, said in {"“s3cret”": "A token is one word", "other": "This is not the server's token."}.items():
            page.get_by_label("Token of this server").fill(token)
            page.keyboard.press("Enter")
            page.wait_for_selector(f'#problem:has-text("{said}")')
        page.get_by_label("Token of this server").fill(" s3cret\t")
        page.keyboard.press("Enter")
        settled(page)
        assert "s3cret" not in page.content()


def test_without_javascript_the_page_says_what_to_do(browser: Any, hilly: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(hilly)
    assert "This page needs JavaScript" in page.inner_text("noscript")
    context.close()


def test_the_page_may_load_nothing_but_its_own(hilly: str) -> None:
    for path in ("/", "/planner/planner.js", "/planner/chart.js", "/planner/state.js", "/planner/planner.css"):
        with contextlib.closing(http.client.HTTPConnection(hilly.removeprefix("http://"), timeout=WAIT / 1000)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode()
        policy = answer.getheader("Content-Security-Policy") or ""
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "://" not in text, path
        assert not re.search(r"<script(?! type=\"module\" src=\"/)|<style|\son\w+=|\sstyle=", text), path


def test_the_chart_library_is_the_installed_packages(hilly: str) -> None:
    served = got(hilly, "/planner/chartjs.js")
    assert b"Chart.js v4" in served[:100]
    assert served in [
        Path(str(f.locate())).read_bytes() for f in importlib.metadata.files("chartkick") or () if f.suffix == ".js"
    ]

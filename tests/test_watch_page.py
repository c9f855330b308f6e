"""Is the page of a watch one self-contained file that says the verdict first, and readable on a phone?"""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from adresponse.intervals import spread_of
from adresponse.report.watch_page import Watched, watch_page
from adresponse.schema import Contract
from adresponse.watching.verdict import Champion, watch

WATCHED = Watched("spend_2024.csv", "2026-03-02T08:30:00Z", "a1b2", (("Fit a challenger", "adresponse retrain new.csv"),))
HARD = "Télé & <b>video</b>"
CONTRACT = Contract.build(
    target="Sales", channels=["TV", HARD], date="week", dictionary={"TV": {"means": "", "unit": "thousand euros"}}
)


def rows(start: str, n: int, seed: int, tv: float = 0.1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"week": pd.date_range(start, periods=n, freq="7D"), "TV": rng.gamma(4, 25, n)})
    frame[HARD] = rng.gamma(3, 10, n)
    frame["Sales"] = 20 + tv * frame["TV"] + 0.2 * frame[HARD] + rng.normal(0, 3, n)
    return frame


REFERENCE = rows("2021-01-04", 156, 1)
CHAMPION = Champion(
    CONTRACT,
    REFERENCE,
    lambda f: 20 + 0.1 * f["TV"].to_numpy() + 0.2 * f[HARD].to_numpy(),
    spread_of((20 + 0.1 * REFERENCE["TV"] + 0.2 * REFERENCE[HARD]).to_numpy(), REFERENCE["Sales"].to_numpy()),
    name="sales-response version 3",
)
NEW = rows("2024-01-01", 80, 2)
WATCHES = {
    "keep": watch(CHAMPION, NEW),
    "retrain": watch(CHAMPION, rows("2024-01-01", 80, 2, tv=0.05)),
    "stop": watch(CHAMPION, NEW.assign(TV=1000 * NEW["TV"])),
    "unknown": watch(CHAMPION, NEW.drop(columns="Sales")),
    "few": watch(CHAMPION, NEW.iloc[:6]),
    "none": watch(CHAMPION, NEW.iloc[:0]),
}


class Checked(HTMLParser):
    """Every element is closed in its turn; links and texts are kept."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [str(v) for k, v in attrs if k in ("href", "src", "xlink:href")]
        self.ids += [str(v) for k, v in attrs if k == "id"]
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: watch_page(found, WATCHED) for name, found in WATCHES.items()}


@pytest.mark.parametrize("name", list(WATCHES))
def test_the_page_is_whole_and_says_the_verdict_first(pages: dict[str, str], name: str) -> None:
    checked, found = Checked(pages[name]), WATCHES[name]
    assert found.verdict == {"retrain": "retrain", "stop": "stop"}.get(name, "keep")
    text = re.sub(r"\s+", " ", checked.text)
    assert text.index(found.sentence) < text.index("Reasons", text.index(found.sentence))
    assert all(reason in text for reason in found.reasons)
    assert all(f.message in text and f.advice in text for f in found.findings)
    assert len(checked.ids) == len(set(checked.ids))


@pytest.mark.parametrize("name", list(WATCHES))
def test_it_loads_nothing_and_every_link_stays_in_it(pages: dict[str, str], name: str) -> None:
    checked = Checked(pages[name])
    assert not [link for link in checked.links if not link.startswith(("#", "data:,"))]
    assert {link[1:] for link in checked.links if link.startswith("#")} <= set(checked.ids)
    assert "url(http" not in pages[name]
    assert "<script" not in pages[name]


def test_names_are_text_and_never_markup(pages: dict[str, str]) -> None:
    assert "<b>video" not in pages["retrain"]
    assert HARD in Checked(pages["retrain"]).text


def test_every_column_and_every_line_is_drawn(pages: dict[str, str]) -> None:
    assert pages["retrain"].count("<svg") == 3 + 2  # TV, video and sales; a line for each channel
    assert pages["unknown"].count("<svg") == 2
    assert pages["stop"].count("<svg") == 0


def test_figures_of_markets_that_differ_in_size_are_said_to_be_of_an_average_one(pages: dict[str, str]) -> None:
    found = WATCHES["retrain"]
    assert found.relation is not None
    sized = watch_page(replace(found, relation=replace(found.relation, sized=True)), WATCHED)
    said = "all figures are those of a market of average size"
    assert said in sized
    assert said not in pages["retrain"]


def test_that_each_market_is_compared_with_itself_is_said(pages: dict[str, str]) -> None:
    places = Contract.build(target="Sales", channels=["TV"], date="week", market="place")
    before, now = (
        pd.concat([f.assign(place="Ghent"), f.assign(place="Lyon", TV=9 * f["TV"])], ignore_index=True)
        for f in (REFERENCE, NEW)
    )
    page = watch_page(watch(Champion(places, before, lambda f: 20 + 0.1 * f["TV"].to_numpy()), now))
    said = "Each market is compared with itself"
    assert said in page
    assert "same markets" in page
    assert said not in pages["retrain"]


def test_the_same_watch_gives_the_same_page(pages: dict[str, str]) -> None:
    assert watch_page(WATCHES["retrain"], WATCHED) == pages["retrain"]


def test_the_watch_alone_is_enough() -> None:
    page = watch_page(WATCHES["retrain"])
    assert "<time" not in page
    assert WATCHES["retrain"].sentence.split(":")[0] in page


def test_what_to_do_next_and_where_it_rests(pages: dict[str, str]) -> None:
    assert "adresponse retrain new.csv" in pages["retrain"]
    assert "run a1b2" in pages["retrain"]
    assert "2 March 2026, 08:30 UTC" in pages["retrain"]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("name", ["retrain", "stop"])
def test_it_fits_wide_and_on_a_phone(pages: dict[str, str], browser: Any, tmp_path: Path, name: str, width: int) -> None:
    path = tmp_path / "watch.html"
    path.write_text(pages[name], encoding="utf-8")
    view = browser.new_page(viewport={"width": width, "height": 800})
    problems: list[str] = []
    view.on("console", lambda message: problems.append(message.text))
    view.on("request", lambda request: problems.append(request.url) if not request.url.startswith(("file:", "data:")) else None)
    view.goto(path.as_uri())
    assert view.evaluate("document.documentElement.scrollWidth") == width
    assert view.locator(".verdict").bounding_box()["y"] < 400
    for figure in view.locator("svg").all():
        box = figure.bounding_box()
        assert box["width"] > 300
        assert box["x"] + box["width"] <= width
    assert not problems
    view.close()

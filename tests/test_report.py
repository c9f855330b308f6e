"""Does the report say all that the study found, safely, alone and on every screen?"""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg

import stored_example
import study_example
from adresponse.report import Tracked, figures, page
from adresponse.report.drawing import FILLED, STYLE, WIDE, Dot, canvas, dotted, framed, one_line
from adresponse.report.figures import SHOWN_ROWS, shown_rows
from adresponse.report.formats import decimals_beside, decimals_for, interval, number, p_value, slugs
from adresponse.report.page import SECTIONS
from adresponse.report.tables import study_tables
from adresponse.schema import Column, Contract
from adresponse.study import Study
from adresponse.tune import GridPoint

VOID = {"meta", "link", "br"}
TRACKED = Tracked(
    run_id="8c2f0e6b",
    experiment_id="1",
    experiment_name="sales & <response>",
    model_name="sales-response",
    store="sqlite:////home/me/mlflow.db",
    created="2025-06-12T08:30:00Z",
    commands=(("Open the UI", "mlflow ui && echo '<done>'"), ("Serve the model", "mlflow models serve")),
)


class Page(HTMLParser):
    """The page as a browser's parser sees it: elements, ids, the text in each figure's caption, what stands open."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.captions: list[str] = []
        self.text = ""
        self.open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        given = dict(attrs)
        self.ids += [str(given["id"])] if "id" in given else []
        self.links += [str(v) for k, v in attrs if k in ("href", "src", "xlink:href", "srcset", "data", "action")]
        self.captions += [""] if tag == "figcaption" else []
        self.open += [tag] if tag not in VOID else []

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag  # every element is closed in its turn

    def handle_data(self, data: str) -> None:
        self.text += data
        if "figcaption" in self.open:
            self.captions[-1] += data


def texts_of(svg: bytes) -> set[str | None]:
    return {t.text for t in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}


def rendered(study: Study) -> str:
    return page(study, figures(study), TRACKED)


@pytest.fixture(scope="module")
def one() -> Study:
    return study_example.one_channel()


@pytest.fixture(scope="module")
def three() -> Study:
    return study_example.three_channels()


@pytest.fixture(scope="module")
def pages(one: Study, three: Study) -> dict[str, str]:
    return {"one": rendered(one), "three": rendered(three)}


# ---- figures


def test_figures_of_one_channel_are_the_named_ones(one: Study) -> None:
    assert list(figures(one)) == [
        "distribution_TV", "distribution_Sales", "scatter_TV", "correlation", "tuning", "fitted_line", "comparison",
        "predicted_observed", "residuals", "scale_location", "qq", "influence",
    ]  # fmt: skip


def test_figures_of_several_channels_have_one_panel_each(three: Study) -> None:
    names = list(figures(three))
    assert len([n for n in names if n.startswith("fitted_line_")]) == 3
    assert len([n for n in names if n.startswith("scatter_")]) == 3
    assert "order" in names  # there is a date
    assert all(re.fullmatch(r"\w+", n, re.ASCII) for n in names)  # fit for a file name


def test_figures_are_the_same_bytes_twice_and_well_formed(three: Study) -> None:
    drawn = figures(three)
    assert drawn == figures(three)
    for svg in drawn.values():
        assert ET.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
        assert b"dc:date" not in svg


def test_text_in_figures_is_text_with_labels_and_units(one: Study) -> None:
    texts = texts_of(figures(one)["fitted_line"])
    assert {"TV (thousand dollars)", "Sales (thousand units)", "90 % of new rows", "held out"} <= texts


@pytest.mark.parametrize("low", [-100.4, -97, -1234.5, -0.1001, 0.0, -9e7])
def test_every_label_of_an_axis_lies_within_the_figure(low: float) -> None:
    dots = [Dot("a name", low / 2, low, 25.0, FILLED), Dot("another", 1.0, -3.0, 24.99, FILLED)]
    figure = dotted(dots, "RMSE minus the default's", zero=True)
    renderer = FigureCanvasAgg(figure).get_renderer()
    (ax,) = figure.axes
    shown = [label.get_window_extent(renderer) for label in ax.get_xticklabels() if label.get_text()]
    assert len(shown) >= 2
    assert all(box.x0 >= 0 and box.x1 <= figure.bbox.width for box in shown)


LONG = "Eine_sehr_lange_Bezeichnung_ohne_Leerzeichen_für_einen_Werbekanal_im_Fernsehen"


@pytest.mark.parametrize(
    "names",
    [
        ("base", "TV", "Search", "observed"),
        ("base", "TV", "Search", LONG, "observed"),
        ("base", *(f"Channel number {n} with a rather long name" for n in range(1, 13)), "observed"),
    ],
    ids=["short", "one long", "twelve long"],
)
def test_every_name_of_a_legend_lies_within_the_figure(names: tuple[str, ...]) -> None:
    with rc_context(STYLE):
        ax = canvas(WIDE)
        for name in names:
            ax.plot([0, 1], [0, 1], label=name)
        figure = framed(ax, "week", "Sales", legend=True)
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        legend = ax.get_legend()
        assert legend is not None
        texts = legend.get_texts()
        box = legend.get_window_extent(renderer)
    assert len({t.get_text() for t in texts}) == len(names)  # what is cut still tells them apart
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    assert box.y1 <= figure.bbox.height


def test_a_long_name_without_blanks_keeps_its_beginning_and_end() -> None:
    assert one_line("TV and Radio", 12) == "TV and Radio"
    assert one_line(LONG, 20) == "Eine_sehr_lan…nsehen"


def test_correlations_within_markets_are_said_to_be_so(three: Study) -> None:
    frame = three.table.frame.assign(region=["A", "B"] * (len(three.table.frame) // 2))
    contract = Contract((*three.table.contract.columns, Column("region", "market")))
    placed = replace(three, table=replace(three.table, frame=frame, contract=contract))
    said = [table.title for study in (three, placed) if (table := study_tables(study)["correlations"])]
    assert said == ["Correlation of each pair", "Correlation of each pair in their market"]


def test_dollar_signs_in_a_name_are_no_formula(three: Study) -> None:
    assert 'Radio & $x$ $y$ "id=" ($ & €)' in texts_of(figures(three)["scatter_Radio_x_y_id"])


def test_many_rows_are_drawn_as_a_fixed_sample() -> None:
    at = shown_rows(20_000)
    assert len(at) == SHOWN_ROWS
    assert (at == shown_rows(20_000)).all()
    study = study_example.three_channels(20_000)
    html = rendered(study)
    assert len(html) < 2_000_000  # 18 figures of 20,000 rows
    assert "random sample of 1,000" in html


def test_fitted_line_of_several_channels_ends_where_the_data_ends(three: Study) -> None:
    asked = []

    class Watched:
        def predict(self, X: Any) -> Any:
            asked.append(X)
            return three.estimator.predict(X)

    figures(replace(three, estimator=Watched(), linear=None))
    grid = next(X for X in asked if len(X) == 60)
    name = three.table.contract.channels[0]
    assert (grid[name].min(), grid[name].max()) == (three.table.X[name].min(), three.table.X[name].max())
    other = three.table.contract.channels[1]
    assert grid[other].to_numpy() == pytest.approx(three.table.X[other].mean())


# ---- the page


def test_every_section_is_there_in_order(pages: dict[str, str]) -> None:
    html = pages["one"]
    places = [html.index(f'<section id="{anchor}"') for anchor in SECTIONS]
    assert places == sorted(places)
    assert [html.index(f'<a href="#{anchor}">{title}</a>') for anchor, title in SECTIONS.items()]


def test_key_figures_stand_at_the_top(pages: dict[str, str]) -> None:
    top = pages["one"].partition('<section id="objective"')[0]
    for text in ("Sales response to TV", "VALIDATED", "12 June 2025, 08:30 UTC", "200 rows", "tvmarketing.csv"):
        assert text in top
    for figure in ("2.44", "3.19", "0.187", "0.677", "0.0465"):  # the study's published figures; the slope of the fit
        assert f"<strong>{figure}</strong>" in top


def test_of_another_model_than_a_line_is_said_whose_settings_and_residuals_are_shown(pages: dict[str, str]) -> None:
    html, of_line = rendered(stored_example.curved()), pages["one"]
    whose = "The line is one of the candidates"
    assert (whose in html, whose in of_line) == (True, False)
    assert ("Cook" in html, "Cook" in of_line) == (False, True)


def test_every_figure_has_a_caption_and_a_name(three: Study) -> None:
    drawn = figures(three)
    html = page(three, drawn, TRACKED)
    parsed = Page(html)
    assert parsed.tags["figure"] == parsed.tags["figcaption"] == len(drawn)
    assert all(len(c.strip()) > 20 for c in parsed.captions)
    assert len(re.findall(r'<svg [^>]*role="img"[^>]*aria-label="[^"]+"', html)) == len(drawn)


@pytest.mark.parametrize("name", ["one", "three"])
def test_the_page_is_closed_and_its_ids_are_its_own(name: str, pages: dict[str, str]) -> None:
    parsed = Page(pages[name])
    assert parsed.open == []
    assert [i for i, n in Counter(parsed.ids).items() if n > 1] == []
    assert all(link == "data:," or link[1:] in parsed.ids for link in parsed.links if link.startswith(("#", "data:")))


def test_hostile_names_stay_text(pages: dict[str, str]) -> None:
    html = pages["three"]
    parsed = Page(html)
    assert parsed.tags["script"] == 0
    assert parsed.tags["b"] == 0
    for name in study_example.ODD_NAMES.values():
        assert name in parsed.text
    assert "<response>" in parsed.text
    assert "'<done>'" in parsed.text


def test_a_name_from_right_to_left_takes_no_figure_with_it_and_what_is_pasted_stays_as_it_is(one: Study) -> None:
    hebrew = "דיגיטל ותקשורת"
    told = replace(one, table=replace(one.table, source=f"{hebrew} 2024.csv"))
    html = page(told, {}, replace(TRACKED, store=f"sqlite:////home/{hebrew}/mlflow.db"))
    assert f"\N{RIGHT-TO-LEFT ISOLATE}{hebrew}\N{POP DIRECTIONAL ISOLATE} 2024.csv" in html
    assert f"<code>sqlite:////home/{hebrew}/mlflow.db</code>" in html


def test_control_characters_do_not_reach_the_page(one: Study) -> None:
    odd = replace(one, name="a\x00b", recommendation=replace(one.recommendation, headline="More\x0b\x01 spend\x1b"))
    html = rendered(odd)
    assert re.search(r"[\x00-\x08\x0b-\x1f]", html) is None
    assert "More  spend" in html or "More spend" in html


def test_a_policy_forbids_every_load(pages: dict[str, str]) -> None:
    html = pages["one"]
    assert "default-src 'none'; style-src 'unsafe-inline'; img-src data:" in html
    assert all(link.startswith("#") or link == "data:," for link in Page(html).links)
    assert not re.search(r"url\((?!#)|@import", html)


def test_severity_is_said_by_word_and_shape(pages: dict[str, str]) -> None:
    html = pages["one"]
    assert re.search(r"▲</span> review", html)
    assert re.search(r"○</span> note", html)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (study_example.without_line, "no formula and no coefficients"),  # a model without coefficients
        (study_example.without_test, "No row was held out."),  # all rows fitted
        (study_example.without_mape, "Sales of 0 have no percentage error."),  # a score that cannot be given
        (lambda s: replace(s, findings=()), "Every check passed"),  # nothing found
        (lambda s: replace(s, profile=replace(s.profile, much_spent_little_sold=())), "Distributions"),  # no odd row
        (lambda s: replace(s, leaderboard=replace(s.leaderboard, grid=())), "The settings change nothing"),  # no grid
        (lambda s: replace(s, gate=replace(s.gate, status="REJECTED")), "✕"),  # said by shape too
        (lambda s: replace(s, spread=replace(s.spread, scores=s.spread.scores[:3])), "Fitted model"),  # infinite band
        (
            lambda s: replace(s, evaluation=replace(s.evaluation, predicted=(), coverage=(), diagnostics=())),
            "Evaluation",
        ),  # nothing to draw
    ],
)
def test_every_kind_of_study_renders(change: Any, says: str, one: Study) -> None:
    parsed = Page(rendered(change(one)))
    assert says in parsed.text
    assert parsed.open == []
    assert not re.search(r"\b(nan|None|inf)\b", parsed.text)


def test_several_channels_render_without_line_test_and_mape(three: Study) -> None:
    bare = study_example.without_mape(study_example.without_test(study_example.without_line(three)))
    parsed = Page(rendered(bare))
    assert "no formula and no coefficients" in parsed.text
    assert parsed.open == []


def test_figures_that_are_not_known_are_a_dash(one: Study) -> None:
    nan = math.nan
    unknown = replace(one.profile.correlations[0], pearson=nan, pearson_low=nan, pearson_high=nan, pearson_p=nan)
    odd = replace(one, profile=replace(one.profile, correlations=(unknown,)))
    assert "correlation" not in figures(odd)
    assert "nan" not in Page(rendered(odd)).text


def test_settings_with_the_same_error_share_a_line(one: Study) -> None:
    grid = (GridPoint({"a": "1", "b": "1"}, 2.0, 0.1, 1), GridPoint({"a": "1", "b": "2"}, 2.0, 0.1, 1))
    svg = figures(replace(one, leaderboard=replace(one.leaderboard, grid=grid)))["tuning"].decode()
    assert "a = 1 (2 settings)" in svg


# ---- the page in a browser


@pytest.mark.parametrize("name", ["one", "three"])
@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_loads_nothing_and_fits_the_screen(
    name: str, width: int, pages: dict[str, str], browser: Any, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text(pages[name], encoding="utf-8")
    tab = browser.new_page(viewport={"width": width, "height": 844})
    asked: list[str] = []
    said: list[str] = []
    tab.on("request", lambda r: asked.append(r.url))
    tab.on("console", lambda m: said.append(m.text))
    tab.goto(path.as_uri())
    assert asked == [path.as_uri()]
    assert said == []  # no policy was broken either
    assert tab.evaluate("document.scrollingElement.scrollWidth") <= width
    assert tab.locator("nav").is_visible() == (width == 1280)
    tab.emulate_media(media="print")
    assert not tab.locator("nav").is_visible()
    tab.close()


A4 = 718  # CSS pixels between the margins of the printed page


@pytest.mark.parametrize("name", ["one", "three"])
def test_a_printed_page_cuts_nothing_off(name: str, pages: dict[str, str], browser: Any, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text(pages[name].replace("TV", LONG), encoding="utf-8")  # on paper a wide table cannot be scrolled
    tab = browser.new_page(viewport={"width": A4, "height": 1000})
    tab.emulate_media(media="print")
    tab.goto(path.as_uri())
    assert tab.evaluate("document.scrollingElement.scrollWidth") <= A4
    ends = "document.querySelector('.tiles > :last-child').getBoundingClientRect().right"
    assert tab.evaluate(f"document.querySelector('.tiles').getBoundingClientRect().right - {ends}") <= 2  # no empty tile
    tab.close()


# ---- numbers in words


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (147.0425, "147"),  # four digits, no nought at the end
        (0.0475366, "0.04754"),
        (29408.5, "29,408"),
        (-0.5, "−0.5"),  # a real minus sign
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_number(value: float | None, written: str) -> None:
    assert number(value) == written


def test_number_with_decimals() -> None:
    assert number(1234.5, decimals=2) == "1,234.50"
    assert number(-0.001, decimals=1) == "0.0"  # a rounded nought has no sign


@pytest.mark.parametrize(
    ("values", "places"),
    [
        ([147.04, 0.7, 296.4], 1),  # four digits of the largest
        ([3.4, 2.3], 1),  # no more than the values need
        ([200.0, 7.0], 0),  # whole numbers
        ([0.0, None], 0),  # nothing to show
    ],
)
def test_decimals_for(values: list[float | None], places: int) -> None:
    assert decimals_for(values) == places


def test_decimals_beside_an_interval() -> None:
    assert decimals_beside(2.444, 1.834, 3.098, 3) == 2
    assert decimals_beside(-0.00127, -0.588, 0.585, 3) == 3  # all but nought beside its interval


def test_interval_has_the_same_decimals_at_both_ends() -> None:
    assert interval(0.5, 0.7941, 3) == "0.500 to 0.794"
    assert interval(math.nan, 1.0) == "–"


def test_a_return_that_is_next_to_nothing_by_its_units_is_no_nought() -> None:
    # thousands sold for one dong
    assert interval(1.2e-12, 3.45e-12, 3) == "1.20e-12 to 3.45e-12"
    places = decimals_beside(-2.5e-10, -4e-10, -1e-10)
    assert number(-2.5e-10, decimals=places) == "−2.500e-10"
    assert number(0.0, decimals=places) == "0.000000000"
    assert interval(1.23456e-6, 3.45678e-6) == "0.000001235 to 0.000003457"


@pytest.mark.parametrize(("p", "written"), [(0.0004, "< 0.001"), (0.0421, "0.042"), (None, "–"), (math.nan, "–")])
def test_p_value(p: float | None, written: str) -> None:
    assert p_value(p) == written


def test_slugs_are_fit_for_files_and_differ() -> None:
    assert slugs(["TV", "tv", "T V", "<b>", "€"]) == {"TV": "TV", "tv": "tv_2", "T V": "T_V", "<b>": "b", "€": "column"}

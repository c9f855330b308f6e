"""Can a person, a browser and a program that reads the OpenAPI document use the server, and does nothing break it?"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from adresponse.formula import Formula
from adresponse.rows import check
from adresponse.serving.app import App
from curves_example import MARKETS, formula_with, panel
from serving_example import app, ask, formula

WIDE, PHONE = (1280, 900), (360, 740)


def document(given: App) -> Any:
    return asyncio.run(ask(given, path="/openapi.json", method="GET", kind=None)).json


def test_the_document_has_the_model_s_own_columns() -> None:
    found = document(app(formula("TV", "Web")))
    row = found["components"]["schemas"]["Row"]
    assert row["required"] == ["TV", "Web"]
    assert row["properties"]["TV"]["description"] == "TV marketing budget in thousand dollars; 1 to 300 among the rows fitted."
    assert set(found["paths"]["/invocations"]["post"]["requestBody"]["content"]) == {
        "application/json",
        "text/csv",
        "application/vnd.apache.parquet",
    }


def dated() -> Formula:
    """A model of curves that reads the date and the market of a row."""
    made = panel()
    return formula_with(made.estimator, made.table.frame, made.table.contract)


def test_the_document_names_the_markets_that_can_be_planned_for() -> None:
    def asked(made: Formula) -> tuple[Any, Any]:
        paths = document(app(made))["paths"]
        queries = {q["name"]: q["schema"] for q in paths["/curves"]["get"]["parameters"]}
        best, own = paths["/plan"]["post"]["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
        assert best["properties"].get("market") == own["properties"].get("market")
        return queries.get("market"), best["properties"].get("market")

    assert asked(dated()) == ({"enum": list(MARKETS)}, {"enum": [*MARKETS, None]})
    assert asked(formula("TV")) == (None, None)


@pytest.mark.parametrize(
    "made",
    [lambda: formula("TV"), lambda: formula("TV", "Web: €"), lambda: formula('say "yes"'), dated],
    ids=["one column", "two", "marks in a name", "dates and markets"],
)
def test_no_request_made_from_the_document_breaks_the_server(made: Callable[[], Formula]) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="missing part: schemathesis")
    from hypothesis import HealthCheck, given, settings

    server = app(made(), log="errors", hosts=("*",))
    schema = schemathesis.openapi.from_asgi("/openapi.json", server)
    tried = []
    for result in schema.get_all_operations():
        operation = result.ok()

        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(case=operation.as_strategy())
        def each(case: Any) -> None:
            response = case.call()
            assert response.status_code < 500 or case.path == "/ready"
            case.validate_response(response, checks=[schemathesis.checks.not_a_server_error])

        each()
        tried.append(operation.path)
    assert {*tried, "/openapi.json"} == set(document(server)["paths"])  # its own path it leaves out


@contextlib.contextmanager
def listening(given: App) -> Iterator[str]:
    """The application behind a real socket."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(given, lifespan="off", log_config=None, access_log=False))
        thread = threading.Thread(target=lambda: asyncio.run(server.serve([bound])))
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"
        server.should_exit = True
        thread.join()


@contextlib.contextmanager
def page_of(browser: Any, url: str, size: tuple[int, int]) -> Iterator[Any]:
    """The page, with what it says on its console and asks of others held against it."""
    page = browser.new_page(viewport={"width": size[0], "height": size[1]})
    faults: list[str] = []
    page.on("console", lambda m: faults.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda e: faults.append(str(e)))
    page.on("request", lambda r: faults.append(r.url) if not r.url.startswith((url, "data:")) else None)
    page.goto(f"{url}/docs")
    yield page
    page.close()
    assert [f for f in faults if "401" not in f and "400" not in f] == []


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_a_person_can_try_the_model(browser: Any, size: tuple[int, int]) -> None:
    with listening(app(formula("TV", "Radio", "Newspaper and magazines"))) as url, page_of(browser, url, size) as page:
        page.get_by_label("TV", exact=True).fill("400")
        page.get_by_label("Interval").select_option("0.9")
        page.get_by_label("Interval").press("Tab")
        page.keyboard.press("Enter")  # the button has the focus
        page.wait_for_selector("#answer .figure")
        answer = page.inner_text("#answer")
        assert "TV beyond the range fitted, 1 to 300." in answer
        assert "Version 7 answered." in answer
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        page.get_by_label("TV", exact=True).fill("-5")
        page.get_by_role("button", name="Predict").click()
        page.wait_for_selector("#answer .bad:has-text('negative')")
        assert '"TV":-5' in page.text_content("#command")


def test_the_page_asks_for_the_token(browser: Any) -> None:
    with listening(app(formula("TV"), token="s3cret")) as url, page_of(browser, url, PHONE) as page:
        page.get_by_label("Token of this server").fill("s3cret")
        page.keyboard.press("Enter")
        page.get_by_role("button", name="Predict").click()
        page.wait_for_selector("#answer .figure")
        assert "s3cret" not in page.text_content("body")


def test_a_client_that_sends_too_much_reads_why() -> None:
    import httpx

    with listening(app(formula("TV"), max_body=1 << 20, log="errors")) as url, httpx.Client(base_url=url) as client:
        for size in (2 << 20, 16 << 20):
            answer = client.post("/invocations", content=b" " * size, headers={"content-type": "application/json"})
            assert answer.status_code == 413
            assert "more than 1048576 bytes" in answer.json()["message"]
        parts = (b" " * 65536 for _ in range(40))
        assert client.post("/invocations", content=parts, headers={"content-type": "application/json"}).status_code == 413
        assert client.head("/ping").status_code == 200
        assert client.post("/invocations", json={"inputs": [5]}).status_code == 200


def test_a_person_can_try_a_model_of_weeks_and_markets(browser: Any) -> None:
    model = dated()
    with listening(app(model)) as url, page_of(browser, url, PHONE) as page:
        assert page.get_by_label("when").input_value() == "2024-02-26"  # the week after the last of 60
        page.get_by_label("TV, national").fill("100")
        page.get_by_label("search").fill("20")
        page.get_by_label("price").fill("0")
        page.get_by_label("market").select_option("south")
        page.get_by_role("button", name="Predict").click()
        page.wait_for_selector("#answer .figure")
        row = {"TV, national": [100.0], "search": [20.0], "price": [0.0], "when": ["2024-02-26"], "market": ["south"]}
        told = model.predict(check(model.reads, row))[0]
        assert float(page.locator("#answer .figure").inner_text()) == pytest.approx(told, abs=1e-3)  # six digits are shown
        assert '"when":"2024-02-26","market":"south"' in page.locator("#command").text_content()

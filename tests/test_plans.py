"""Do /curves and /plan say what the planning says, refuse what is no wish, and never break?"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

from adresponse import words
from adresponse.planning.prospect import Prospect
from adresponse.planning.returns import curve, returns
from adresponse.planning.split import best_plan, score
from adresponse.planning.wishes import Together, Wish
from adresponse.serving.app import App
from adresponse.serving.plans import AT_ONCE
from plans_example import NAMES, PLACES, hills, kept, placed, planning_app, served_from
from serving_example import Said, ask, formula
from serving_example import app as without_prospect

PROSPECT = hills()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> App:
    return planning_app(kept(PROSPECT, tmp_path_factory.mktemp("kept") / "model"), max_body=1 << 16)


def say(server: App, body: Any, **more: Any) -> Said:
    return asyncio.run(ask(server, body, path="/plan", **more))


def curves(server: App, query: str = "", method: str = "GET") -> Said:
    return asyncio.run(ask(server, path="/curves", query=query, method=method, kind=None))


WISHES = [
    ({}, Wish(), 13),  # as many as `adresponse plan` plans
    ({"horizon": 1}, Wish(), 1),
    ({"horizon": 4}, Wish(), 4),
    ({"total": 120, "horizon": 1}, Wish(total=120), 1),
    ({"horizon": 1, "target_sales": 340}, Wish(target_sales=340), 1),
    ({"horizon": 1, "margin": 2, "cap": 100, "level": 0.5}, Wish(margin=2, cap=100, level=0.5), 1),
    ({"horizon": 1, "target_roi": 1.0, "tail": True}, Wish(target_roi=1.0, tail=True), 1),
    ({"horizon": 1, "target_marginal_roi": 0.7}, Wish(target_marginal_roi=0.7), 1),
    ({"horizon": 1, "total": 400, "beyond": True, "margin": None}, Wish(total=400, beyond=True), 1),
    (
        {"horizon": 1, "total": 120, "bounds": {"TV": [10, 30], "Print": [None, None]}},
        Wish(total=120, bounds={"TV": (10, 30)}),
        1,
    ),
    ({"horizon": 1, "total": 120, "locks": ["Print"]}, Wish(total=120, locks=("Print",)), 1),
    (
        {"horizon": 1, "total": 120, "groups": [{"channels": ["TV", "Search"], "low": 80}]},
        Wish(total=120, groups=(Together(("TV", "Search"), low=80),)),
        1,
    ),
]


@pytest.mark.parametrize(("given", "wish", "horizon"), WISHES, ids=lambda v: str(v) if isinstance(v, dict) else "")
def test_a_wish_is_granted_as_the_planning_grants_it(server: App, given: Any, wish: Wish, horizon: int) -> None:
    said = say(server, given)
    assert said.status == 200, said.body
    assert said.json == words.plain(best_plan(PROSPECT.outlook(horizon), wish))
    assert said.headers["x-model-version"] == "3"
    assert said.headers["x-request-id"]


def test_a_market_is_planned_for_by_itself(tmp_path: Path) -> None:
    made = placed()
    server = planning_app(kept(made, tmp_path / "model"))
    for name in (*PLACES, None):
        assert say(server, {"market": name}).json == words.plain(best_plan(made.outlook(market=name), Wish()))
        said = curves(server, urlencode({"market": name, "points": 9}) if name else "points=9").json
        assert (said["market"], said["markets"]) == (name, list(PLACES))
        assert [c["today"] for c in said["channels"]] == [13 * made.outlook(market=name).today[c] for c in NAMES]
    spend = {"TV": 20, "Search": 40, "Print": 0}
    assert say(server, {"spend": spend, "market": "North"}).json["today_total"] == pytest.approx(
        13 * sum(made.places["North"].today.values())
    )


@pytest.mark.parametrize(
    ("market", "said"),
    [
        ("Nord", "is no market of the model"),
        ("Gone", "no rows of late"),
        (7, "market is a number"),
        ("x" * 300, "is no market"),
    ],
)
def test_a_market_that_is_none_is_refused(tmp_path: Path, market: Any, said: str) -> None:
    answer = say(planning_app(kept(placed(), tmp_path / "model")), {"market": market})
    assert answer.status == 400
    assert said in answer.json["message"]


@pytest.mark.parametrize(
    ("spend", "named", "horizon"),
    [
        ({"TV": 20, "Search": 40, "Print": 0}, {"horizon": 1}, 1),
        ({"TV": 20, "Search": 40, "Print": 0}, {}, 13),
        ({"TV": [20, 30], "Search": [0, 90], "Print": 10}, {"horizon": 2}, 2),
        ({"TV": [20, 30], "Search": [0, 90], "Print": 10}, {}, 2),
    ],
    ids=["even", "even, usual horizon", "a list per period", "as long as its lists"],
)
def test_a_plan_of_one_s_own_is_scored(server: App, spend: Any, named: dict[str, int], horizon: int) -> None:
    said = say(server, {"spend": spend, **named, "margin": 0.5})
    assert said.json == words.plain(score(PROSPECT.outlook(horizon), spend, Wish(margin=0.5)))


def test_the_curves_are_those_of_the_planning(server: App) -> None:
    found = curves(server, "horizon=4&points=11&level=0.8&margin=0.5").json
    outlook = PROSPECT.outlook(4)
    assert (found["model"], found["version"], found["target"], found["unit"]) == (
        "sales-response",
        "3",
        "Sales",
        "thousand units",
    )
    assert (found["money"], found["dated"], found["periods"]) == ("thousand dollars", True, 4)
    assert found["dates"] == PROSPECT.dates(4)
    assert found["base"] == np.asarray(outlook.base).tolist()
    assert found["today_total"] == best_plan(outlook, Wish()).today_total
    for channel in found["channels"]:
        name = channel["name"]
        drawn = curve(outlook, name, 0.0, channel["spend"][-1], 11, 0.8)
        told = returns(outlook, name, 0.5, 0.8)
        for key in ("spend", "sales", "low", "high", "marginal"):
            assert tuple(channel[key]) == getattr(drawn, key)
        assert channel["seen"] == [drawn.seen_low, drawn.seen_high]
        assert channel["spend"][-1] == pytest.approx(1.25 * drawn.seen_high)  # it is drawn beyond what was seen
        assert channel["break_even"] == words.plain(told.break_even)
        assert channel["pays_until"] == words.plain(told.pays_until)
        assert channel["saturation"] == words.plain(told.saturation)
        assert channel["points"] == [[4 * x, 4 * y] for x, y in PROSPECT.points[name]]
        assert (channel["means"], channel["unit"]) == (f"{name} budget", "thousand dollars")
    assert [c["name"] for c in found["channels"]] == list(NAMES)


def test_curves_need_no_question(server: App) -> None:
    found = curves(server)
    assert len(found.json["channels"][0]["spend"]) == 60
    assert found.json["channels"][0]["break_even"] is None  # there is no margin to break even at
    assert "saturation" not in curves(server, "returns=false").json["channels"][0]
    assert curves(server, "points=60").body == found.body
    assert curves(server, method="HEAD").status == 200
    assert any("only an experiment shows" in note for note in found.json["notes"])


def test_a_line_is_told_to_be_one(tmp_path: Path) -> None:
    server = planning_app(kept(hills(dated=False, shape="linear", draws=9), tmp_path / "model"))
    found = curves(server).json
    assert [c["straight"] for c in found["channels"]] == [True] * 3
    assert "so there is no best amount of its own" in found["notes"][0]
    assert not found["dated"]
    assert found["dates"] == []
    assert (
        say(server, {"horizon": 2}).message == "horizon=2 cannot be planned; the model has no dates, so a plan is for one row."
    )


def test_notes_say_what_an_amount_is_not(tmp_path: Path) -> None:
    given = json.loads(hills(draws=0).to_json())
    next(c for c in given["contract"]["columns"] if c["name"] == "Search")["unit"] = "clicks"
    given["curves"]["baseline"]["markets"] = {"North": 0.0, "South": 10.0}
    found = curves(planning_app(kept(Prospect.from_json(json.dumps(given)), tmp_path / "model"))).json
    assert "All amounts are for an average one of the 2 markets, today's too." in found["notes"]
    assert any("different units" in note for note in found["notes"])
    assert found["base"][0] == pytest.approx(np.asarray(PROSPECT.outlook().base)[0] + 5)  # the mean of 0 and 10


REFUSED = [
    ("", "The body is empty; send a wish in JSON"),
    ("[1]", "The body is a list; give an object"),
    ("{", "The body is not JSON"),
    ('{"total": 1, "total": 2}', "'total' is given twice"),
    ('{"spend": {"TV": 1, "TV": 2}}', "'TV' is given twice"),
    ("[" * 100_000 + "]" * 100_000, "more than 65536 bytes"),
    ("[" * 30_000 + "]" * 30_000, "nested too deeply"),
    ('{"totl": 1}', "The key 'totl' is not known. Did you mean 'total'?"),
    ('{"total": "1"}', "total is text; give a number."),
    ('{"total": true}', "total is true or false; give a number."),
    ('{"total": NaN}', "total=nan must be a finite number"),
    ('{"total": 1e400}', "total=inf must be a finite number"),
    ('{"total": 1e16}', "must be a finite number of at most 1e+15"),
    ('{"total": -1}', "total=-1 must be a finite number of at least 0"),
    ('{"margin": 0}', "margin=0 must be a finite number above 0"),
    ('{"level": 1}', "level=1 is no share between 0 and 1"),
    ('{"horizon": 1.5}', "horizon=1.5 must be a whole number"),
    ('{"horizon": 1000}', "horizon=1000 cannot be planned; give 1 to 520 periods."),
    ('{"beyond": 1}', "beyond is a number; give true or false."),
    ('{"bounds": {"Tv": [1, 2]}}', "'Tv', which is no channel of the model. Did you mean 'TV'?"),
    ('{"bounds": [1]}', "bounds is a list; give an object of channels"),
    ('{"bounds": {"TV": 5}}', "The bounds of 'TV' must be a list of two amounts"),
    ('{"bounds": {"TV": [5, 1]}}', "must begin with the lower one"),
    ('{"bounds": {"TV": ["5", 9]}}', "The bounds of 'TV' is text"),
    ('{"locks": "TV"}', "locks must be a list of channels' names"),
    ('{"locks": [1]}', "locks must be a list of channels' names"),
    ('{"groups": {"channels": ["TV"]}}', "groups is an object; give a list"),
    ('{"groups": [{"channel": ["TV"]}]}', "Group 1 has 'channel', which is not known"),
    ('{"groups": [{"low": 1}]}', "channels of group 1 must be a list"),
    ('{"groups": [' + "{}," * 50 + "{}]}", "groups has 51 groups; give at most 50."),
    ('{"locks": ["' + "TV" * 500 + '"]}', "... is no channel of the model"),
    ('{"bounds": {"' + "TV" * 500 + '": [1, 2]}}', "... is no channel of the model"),
    ('{"groups": [5]}', "Group 1 is a number; give an object"),
    ('{"total": 1, "cap": 2}', "total and cap cannot be asked for at once"),
    ('{"total": 1e6}', "lies outside what the bounds allow"),
    ('{"target_sales": 1e6}', "cannot be reached within these bounds"),
    ('{"spend": {"TV": 1}}', "no amount for Search and Print"),
    ('{"spend": {"TV": 1, "Search": 1, "Prin": 1}}', "Did you mean 'Print'?"),
    ('{"horizon": 1, "spend": {"TV": [1, 2], "Search": 1, "Print": 1}}', "2 periods, but the horizon has 1"),
    ('{"spend": {"TV": "1", "Search": 1, "Print": 1}}', "spend of 'TV' is text"),
    ('{"spend": 5}', "spend is a number; give an object"),
    ('{"spend": {"TV": 1, "Search": 1, "Print": 1}, "total": 3}', "so total cannot be asked for with it"),
]


@pytest.mark.parametrize(("body", "sentence"), REFUSED, ids=[sentence for _, sentence in REFUSED])
def test_what_is_no_wish_is_refused_in_one_sentence(server: App, body: str, sentence: str) -> None:
    said = say(server, body)
    assert said.status == (413 if "bytes" in sentence else 400)
    assert sentence in said.message


QUERIES = [
    ("horizn=2", "'horizn', which is not known. Did you mean 'horizon'?"),
    ("horizon=2&horizon=3", "gives horizon twice"),
    ("points=1", "points=1 cannot be drawn; give 2 to 500."),
    ("points=501", "points=501 cannot be drawn"),
    ("points=2.5", "must be a whole number"),
    ("level=nan", "level=nan must be a finite number"),
    ("margin=-1", "margin=-1 must be a finite number above 0"),
    ("margin=", "gives margin as ''; give a number"),
    ("tail=1", "tail is a number; give true or false"),
    ("horizon=true", "horizon is true or false; give a number"),
    ("horizon=%ff", "The query is not understood"),
    ("&".join("horizon=1" for _ in range(50)), "The query is not understood"),
]


@pytest.mark.parametrize(("query", "sentence"), QUERIES, ids=[sentence for _, sentence in QUERIES])
def test_a_question_for_curves_that_is_not_understood_is_refused(server: App, query: str, sentence: str) -> None:
    said = curves(server, query)
    assert said.status == 400
    assert sentence in said.message


def test_methods_types_tokens_and_hosts_are_as_for_every_path(tmp_path: Path) -> None:
    server = planning_app(kept(PROSPECT, tmp_path / "model"), token="s3cret")
    asked = {"authorization": "Bearer s3cret"}
    for path, method, kind, headers, status in [
        ("/plan", "GET", None, asked, 405),
        ("/curves", "POST", None, asked, 405),
        ("/plan", "POST", "text/csv", asked, 415),
        ("/plan", "POST", None, asked, 415),
        ("/plan", "POST", "application/json", {}, 401),
        ("/curves", "GET", None, {}, 401),
        ("/curves", "GET", None, {**asked, "host": "elsewhere"}, 421),
        ("/plan", "POST", "application/json", {**asked, "content-encoding": "gzip"}, 415),
        ("/plan", "POST", "application/json", {**asked, "x-request-id": "mine"}, 200),
        ("/curves", "GET", None, asked, 200),
    ]:
        said = asyncio.run(ask(server, b"{}", path=path, method=method, kind=kind, headers=headers))
        assert said.status == status, (path, method, kind)
        assert said.headers["x-model-version"] == "3"
    counts = asyncio.run(ask(server, path="/metrics", method="GET", kind=None, headers=asked)).body.decode()
    assert 'adresponse_requests_total{method="POST",path="/plan",status="200"} 1.0' in counts
    assert 'adresponse_requests_total{method="GET",path="/curves",status="200"} 1.0' in counts


def test_a_full_server_takes_no_more_plans(tmp_path: Path) -> None:
    server = planning_app(kept(PROSPECT, tmp_path / "model"), max_waiting=1)

    async def both() -> tuple[Said, Said]:
        first = asyncio.create_task(ask(server, {}, path="/plan", never=True, parts=[b"{"]))
        await asyncio.sleep(0)
        second = await ask(server, path="/curves", method="GET", kind=None)
        first.cancel()
        return await asyncio.gather(first, return_exceptions=True), second  # type: ignore[return-value]

    assert asyncio.run(both())[1].status == 503


def test_a_plan_that_takes_too_long_is_stopped_and_predictions_do_not_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = planning_app(kept(PROSPECT, tmp_path / "model"), timeout=0.3)
    say(server, {})
    begun, go_on = threading.Event(), threading.Event()

    def slow(*_: Any) -> Any:
        begun.set()
        go_on.wait(20)
        return best_plan(PROSPECT.outlook(), Wish())

    monkeypatch.setattr("adresponse.planning.split.best_plan", slow)

    async def both() -> tuple[Said, Said]:
        planning = asyncio.create_task(ask(server, {}, path="/plan"))
        await asyncio.to_thread(begun.wait, 20)
        predicted = await ask(server, {"dataframe_records": [dict.fromkeys(NAMES, 100)]})
        return await planning, predicted

    try:
        planned, predicted = asyncio.run(both())
    finally:
        go_on.set()
    assert (planned.status, predicted.status) == (504, 200)
    assert "no answer within 0.3 seconds" in planned.message


def test_a_given_plan_does_not_wait_for_best_plans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server = planning_app(kept(PROSPECT, tmp_path / "model"))
    begun, go_on = threading.Semaphore(0), threading.Event()

    def slow(*_: Any) -> Any:
        begun.release()
        go_on.wait(20)
        return best_plan(PROSPECT.outlook(), Wish())

    monkeypatch.setattr("adresponse.planning.split.best_plan", slow)

    async def all_three() -> list[Said]:
        searched = [asyncio.create_task(ask(server, {}, path="/plan")) for _ in range(AT_ONCE)]
        for _ in searched:
            assert await asyncio.to_thread(begun.acquire, timeout=20)
        given = asyncio.create_task(ask(server, {"spend": dict.fromkeys(NAMES, 50)}, path="/plan"))
        await asyncio.wait([given], timeout=20)
        first = given.done()
        go_on.set()
        assert first
        return [await given, *await asyncio.gather(*searched)]

    try:
        assert [said.status for said in asyncio.run(all_three())] == [200] * (1 + AT_ONCE)
    finally:
        go_on.set()


def test_a_version_without_a_prospect_says_why(tmp_path: Path) -> None:
    older = planning_app(kept(None, tmp_path / "older"))
    assert (curves(older).status, say(older, {}).status) == (404, 404)
    assert "stored without prospect.json" in curves(older).message
    assert say(without_prospect(formula("TV"), log="errors"), {}).status == 404
    opaque = planning_app(kept(PROSPECT, tmp_path / "opaque", closed=False))
    assert say(opaque, {}).message == "The model has no closed formula, so it cannot be planned with."


def test_a_prospect_changed_after_the_start_is_not_used(tmp_path: Path) -> None:
    folder = kept(PROSPECT, tmp_path / "model")
    server = planning_app(folder)
    (folder / "prospect.json").write_text(hills(seed=2).to_json(), encoding="utf-8")
    assert "was changed after the model was sealed" in say(server, {}).message


def test_after_a_swap_the_plan_is_the_new_version_s(tmp_path: Path) -> None:
    server = planning_app(kept(PROSPECT, tmp_path / "old"))
    before = say(server, {})
    other = hills(seed=2)
    server.holder.current = served_from(kept(other, tmp_path / "new"), "4")
    after = say(server, {})
    assert (before.headers["x-model-version"], after.headers["x-model-version"]) == ("3", "4")
    assert after.json == words.plain(best_plan(other.outlook(), Wish()))
    assert curves(server).json["version"] == "4"


HEAVY = ("numpy", "pandas", "scipy", "adresponse.planning.prospect", "adresponse.planning.split")


def test_a_server_that_is_asked_for_no_plan_loads_none() -> None:
    code = (
        "import sys, adresponse.serving.app, adresponse.serving.routes, adresponse.serving.plans\n"
        f"print(*(m for m in {HEAVY!r} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_no_wish_breaks_the_server(server: App) -> None:
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    from adresponse.serving.plans import WISHES as KEYS

    amounts: st.SearchStrategy[Any] = st.one_of(
        st.floats(0, 300), st.sampled_from([0, 1e-300, 1e15, -1.0, 1e400, "1", None, True, [], {}])
    )
    names = st.sampled_from([*NAMES, "Tv", ""])
    values = st.one_of(
        amounts,
        st.integers(1, 3),
        st.booleans(),
        st.floats(0, 1),
        st.lists(names, max_size=3),
        st.dictionaries(names, st.one_of(amounts, st.lists(amounts, max_size=3)), max_size=3),
        st.lists(st.fixed_dictionaries({"channels": st.lists(names, max_size=3), "low": amounts, "high": amounts}), max_size=2),
    )

    @settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.dictionaries(st.sampled_from(KEYS), values, max_size=4))
    def each(wish: dict[str, Any]) -> None:
        said = say(server, json.dumps(wish))
        assert said.status in (200, 400), (wish, said.body)
        if said.status == 400:
            assert said.message.endswith((".", "?"))
            assert "\n" not in said.message
        else:
            json.loads(said.body, parse_constant=pytest.fail)

    each()


CONFORMS = ("status_code_conformance", "content_type_conformance", "response_schema_conformance")


def test_no_request_made_from_the_document_breaks_the_server(server: App) -> None:
    schemathesis = pytest.importorskip("schemathesis", reason="missing part: schemathesis")
    from hypothesis import HealthCheck, given, settings

    load = schemathesis.checks.CHECKS.get_one
    schema = schemathesis.openapi.from_asgi("/openapi.json", planning_app(server.holder.current.stored.folder, hosts=("*",)))
    tried = []
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path not in ("/plan", "/curves"):
            continue

        @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
        @given(case=operation.as_strategy())
        def each(case: Any) -> None:
            case.call_and_validate(checks=[schemathesis.checks.not_a_server_error, *(load(name) for name in CONFORMS)])

        each()
        tried.append(operation.path)
    assert tried == ["/curves", "/plan"]

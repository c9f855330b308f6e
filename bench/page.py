"""How soon does the planner page stand, and how soon does it answer a slider?

    python bench/page.py [FOLDER] [--loads 10] [--moves 40] [--channels 5] [--seed 1] [--straight]
                         [--chromium /usr/bin/chromium]

FOLDER is a stored model as a version's download looks; without one, a simulated weekly table (``adresponse.mixing.simulated``)
is fitted with Hill curves. A real ``adresponse serve`` answers on loopback, and the system's Chromium opens the page by
playwright, as wide as a desk and as a phone, every time in a fresh context with an empty cache.

Paints are the browser's own (Paint Timing), from the start of the navigation. The first answer is the first sales expected of
the user's plan. Each move of a slider counts from the time stamp of the key's or the pointer's event until the end of the frame
that shows an answer to it or to a later move: keys at uneven pauses of 30 to 400 ms, so that some come while the best plan is
being sought, and drags of the mouse with an event every 16 ms. The parts are medians: from the event to the request, the
request, from its answer to the change of the page, and from there to the end of the frame. ``--straight`` adds a model of
straight lines, the built-in table's.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, sync_playwright

from serve import CALM, free_port, ours_command, started, trained

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
SIZES: dict[str, dict[str, Any]] = {
    "desk, 1400 x 900": {"viewport": {"width": 1400, "height": 900}},
    "phone, 390 x 844": {
        "viewport": {"width": 390, "height": 844},
        "device_scale_factor": 3,
        "is_mobile": True,
        "has_touch": True,
    },
}
PAINT, ANSWER = 1000.0, 50.0  # what is asked for, in milliseconds
PAUSES = (30, 400)  # milliseconds between keys
FRAME = 16  # milliseconds between the events of a mouse
DRAG = 30  # events of one drag
PATIENCE = 30_000
PROBE = """(() => {
  const seen = (window.bench = { moves: [], answers: [], asked: [], first: null });
  const framed = (then) => requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => then(performance.now());
    port2.postMessage(null);
  });
  let stamp = 0;
  for (const kind of ["keydown", "pointerdown", "pointermove"]) addEventListener(kind, (e) => { stamp = e.timeStamp; }, true);
  addEventListener("input", ({ target }) => {
    const channel = target.ariaLabel?.replace(/: amount$/, "");
    if (target.type === "range") seen.moves.push({ at: stamp, channel, value: Number(target.value) });
  }, true);
  const fetched = window.fetch;
  window.fetch = async (path, options) => {
    const asked = { path, mine: Boolean(options?.body?.includes('"spend"')), sent: performance.now() };
    const answer = await fetched(path, options);
    asked.got = performance.now();
    seen.asked.push(asked);
    return answer;
  };
  const measure = performance.measure.bind(performance);
  performance.measure = (name, options) => {
    if (name === "answer") {
      const request = seen.asked.findLast((asked) => asked.mine);
      const made = { spend: options.detail, sent: request.sent, got: request.got, drawn: performance.now() };
      framed((now) => seen.answers.push({ ...made, framed: now }));
    }
    return measure(name, options);
  };
  const FIRST = "#result tbody tr:nth-child(2) td:nth-child(3) .figure";
  const watch = new MutationObserver(() => {
    if (!document.querySelector(FIRST)) return;
    watch.disconnect();
    framed((now) => { seen.first = now; });
  });
  watch.observe(document, { childList: true, subtree: true });
})()"""
PAINTS = "() => Object.fromEntries(performance.getEntriesByType('paint').map((e) => [e.name, e.startTime]))"


@dataclass
class Seen:
    """What was measured in one size of the page, in milliseconds; ``parts`` by their names."""

    paints: list[float] = field(default_factory=list)
    contentful: list[float] = field(default_factory=list)
    first: list[float] = field(default_factory=list)
    keys: list[float] = field(default_factory=list)
    drags: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)


def curved(folder: Path, seed: int, channels: int) -> Path:
    """A stored model with Hill curves, fitted on a simulated weekly table."""
    from mlflow.artifacts import download_artifacts

    import adresponse
    from adresponse.mixing.simulated import Ranges, simulate

    simulated = simulate(seed, Ranges(channels=(channels, channels)))
    table = folder / "weekly.csv"
    simulated.frame.iloc[: simulated.weeks].to_csv(table, index=False)
    with contextlib.chdir(folder):
        result = adresponse.run(
            str(table), name="bench", verify=False, target="sales", channels=list(simulated.channels), date="week", shape="hill"
        )
        return Path(download_artifacts(f"models:/bench/{result.version}", dst_path=str(folder / "model")))


def made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@contextlib.contextmanager
def opened(browser: Browser, url: str, size: dict[str, Any], strays: list[str]) -> Iterator[Page]:
    """The page in a fresh context, once it has its first answer; requests to anywhere else end in ``strays``."""
    context = browser.new_context(**size)
    context.on("request", lambda r: None if r.url.startswith((url, "data:", "blob:")) else strays.append(r.url))
    context.add_init_script(PROBE)
    page = context.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(url)
    until(page, "() => window.bench.first !== null")
    yield page
    context.close()


def until(page: Page, holds: str, asked: Any = None) -> None:
    """Wait until a function of the page's is true; asked from outside, since the page's policy forbids what waits inside."""
    for _ in range(PATIENCE // 20):
        if page.evaluate(holds, asked):
            return
        page.wait_for_timeout(20)
    raise SystemExit(f"the page did not come to {holds}")


def load(page: Page, seen: Seen) -> None:
    """Take the paints and the first answer of a page."""
    paints = page.evaluate(PAINTS)
    seen.paints.append(paints["first-paint"])
    seen.contentful.append(paints["first-contentful-paint"])
    seen.first.append(page.evaluate("() => window.bench.first"))


def press(page: Page, slider: Any, moves: int, pauses: random.Random) -> None:
    """Move a slider by its arrow keys, to and fro, so that no two moves meet in one value of the same direction."""
    slider.focus()
    for i in range(moves):
        page.keyboard.press("ArrowRight" if i < moves / 2 else "ArrowLeft")
        page.wait_for_timeout(pauses.uniform(*PAUSES))


def drag(page: Page, slider: Any) -> None:
    """Drag a slider's thumb from a tenth to nine tenths of its way."""
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    places = np.linspace(0.1, 0.9, DRAG) * box["width"] + box["x"]
    page.mouse.move(float(places[0]), box["y"] + box["height"] / 2)
    page.mouse.down()
    for x in places:
        page.mouse.move(float(x), box["y"] + box["height"] / 2)
        page.wait_for_timeout(FRAME)
    page.mouse.up()


def answered(page: Page, seen: Seen) -> list[float]:
    """How long each move since the last look took until an answer to it, or to a later one, was shown."""
    until(
        page,
        "() => { const { moves, answers } = window.bench; const last = moves.at(-1);"
        " return !last || answers.at(-1)?.spend[last.channel] === last.value; }",
    )
    found = page.evaluate(
        "() => { const { moves, answers } = window.bench; Object.assign(window.bench, { moves: [], answers: [] });"
        " return { moves, answers }; }"
    )
    moves, taken, next_one = found["moves"], [], 0
    for answer in found["answers"]:
        told = [i for i, m in enumerate(moves) if m["at"] <= answer["sent"] and answer["spend"][m["channel"]] == m["value"]]
        if not told:
            continue
        taken += [answer["framed"] - m["at"] for m in moves[next_one : told[-1] + 1]]
        next_one = max(next_one, told[-1] + 1)
        for name, (begin, end) in PARTS.items():
            times = {**answer, "at": moves[told[-1]]["at"]}
            seen.parts.setdefault(name, []).append(times[end] - times[begin])
    return taken


PARTS = {
    "to the request": ("at", "sent"),
    "request": ("sent", "got"),
    "drawing": ("got", "drawn"),
    "to the frame": ("drawn", "framed"),
}


def measure(browser: Browser, url: str, size: dict[str, Any], asked: argparse.Namespace, strays: list[str]) -> Seen:
    """All loads and all moves in one size."""
    seen, pauses = Seen(), random.Random(asked.seed)
    for _ in range(asked.loads):
        with opened(browser, url, size, strays) as page:
            load(page, seen)
    with opened(browser, url, size, strays) as page:
        for slider in page.get_by_role("slider").all():
            press(page, slider, asked.moves, pauses)
            seen.keys += answered(page, seen)
            for _ in range(max(1, asked.moves // DRAG)):
                drag(page, slider)
                seen.drags += answered(page, seen)
    return seen


def line(name: str, times: Sequence[float], target: float | None = None) -> str:
    """Median, 95th percentile and maximum, and how many met the target."""
    if not times:
        return f"  {name:<34} none"
    figures = f"{np.median(times):8.1f} {np.percentile(times, 95):8.1f} {max(times):8.1f} {len(times):7d}"
    met = "" if target is None else f"   {np.mean(np.array(times) <= target):7.1%} within {target:g} ms"
    return f"  {name:<34}{figures}{met}"


def show(title: str, seen: Seen) -> None:
    print(f"\n{title}\n  {'milliseconds':<34}{'median':>8} {'95 %':>8} {'most':>8} {'count':>7}")
    print(line("first paint", seen.paints, PAINT))
    print(line("first contentful paint", seen.contentful, PAINT))
    print(line("first answered prediction", seen.first))
    print(line("a key of a slider to its answer", seen.keys, ANSWER))
    print(line("a mouse event of a drag to its answer", seen.drags, ANSWER))
    print("  parts: " + ", ".join(f"{name} {np.median(times):.1f}" for name, times in seen.parts.items()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--loads", type=int, default=10, help="of the page in each size")
    parser.add_argument("--moves", type=int, default=40, help="keys for each channel; a drag of 30 events for every 30 of them")
    parser.add_argument("--channels", type=int, default=5, help="of the simulated table")
    parser.add_argument("--seed", type=int, default=1, help="of the simulated table and of the pauses")
    parser.add_argument("--straight", action="store_true", help="also a model of straight lines")
    parser.add_argument("--chromium", type=Path, default=Path("/usr/bin/chromium"))
    asked = parser.parse_args()
    os.environ |= CALM
    with tempfile.TemporaryDirectory(prefix="adresponse-bench-") as place, sync_playwright() as playwright:
        work = Path(place)
        folder = asked.folder.resolve() if asked.folder else curved(made(work / "curves"), asked.seed, asked.channels)
        models = {"curves": folder}
        if asked.straight:
            models["straight lines"] = trained(made(work / "straight"))
        browser = playwright.chromium.launch(executable_path=str(asked.chromium), args=FLAGS)
        print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, Chromium {browser.version}")
        strays: list[str] = []
        for name, folder in models.items():
            port = free_port()
            with started(ours_command(str(folder), port), port, work / "serve.log"):
                for size, options in SIZES.items():
                    before, seen = os.getloadavg()[0], measure(browser, f"http://127.0.0.1:{port}", options, asked, strays)
                    show(f"{name}, {size}; load average {before:.1f}, then {os.getloadavg()[0]:.1f}", seen)
        browser.close()
        print(f"\nrequests that left the origin: {len(strays)} (0 asked for)", *strays, sep="\n  ")


if __name__ == "__main__":
    main()

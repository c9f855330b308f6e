"""Does looking again and again keep the level of the whole stream?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from adresponse.errors import ConfigError
from adresponse.watching.looks import look_level, spent


def levels(rows: list[int], reference: int = 200, alpha: float = 0.05) -> list[float]:
    return [look_level(n, rows[:i], reference=reference, horizon=100, alpha=alpha) for i, n in enumerate(rows)]


@pytest.mark.parametrize(
    ("rows", "reference"),
    [
        ([20, 40, 60, 80, 100], 200),
        ([100], 200),  # one look by the horizon may use nine tenths
        ([10, 100, 500], 10_000),  # few looks, far apart, against very many rows
        (list(range(10, 301, 10)), 200),  # thirty looks, on beyond the horizon
    ],
)
def test_as_many_streams_cross_as_may(rows: list[int], reference: int) -> None:
    rng = np.random.default_rng(1)
    counts = np.array(rows, dtype=float)
    information = counts * reference / (counts + reference)
    steps = rng.standard_normal((100_000, len(rows))) * np.sqrt(np.diff(information, prepend=0))
    z = np.abs(steps.cumsum(axis=1)) / np.sqrt(information)
    crossed = (z > stats.norm.isf(np.array(levels(rows, reference)) / 2)).any(axis=1).mean()
    expected = spent(rows[-1], 100, 0.05)
    # four standard errors of a share of 100,000
    assert crossed == pytest.approx(expected, abs=4 * np.sqrt(expected / 100_000))


def test_all_that_is_ever_spent_is_the_level() -> None:
    assert spent(0, 100, 0.05) == 0
    assert spent(50, 100, 0.05) == pytest.approx(0.9 * 0.05 / 4)
    assert spent(100, 100, 0.05) == pytest.approx(0.045)
    assert spent(200, 100, 0.05) == pytest.approx(0.0475)
    assert spent(10**9, 100, 0.05) == pytest.approx(0.05)


def test_the_first_look_gets_what_is_spent_by_then() -> None:
    # a grid of 301 points
    assert look_level(60, (), reference=200, horizon=100, alpha=0.05) == pytest.approx(spent(60, 100, 0.05), rel=2e-3)


def test_a_look_at_the_same_rows_again_costs_nothing() -> None:
    once = look_level(60, (20, 40), reference=200, horizon=100, alpha=0.05)
    assert look_level(60, (20, 40, 60, 60), reference=200, horizon=100, alpha=0.05) == once


def test_fewer_rows_than_before_are_no_look_of_the_same_stream() -> None:
    with pytest.raises(ConfigError, match="A look at 40 rows after one at 60"):
        look_level(40, (20, 60), reference=200, horizon=100, alpha=0.05)

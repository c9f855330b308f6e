"""Are levels of markets taken out as a column for each market would take them?"""

from __future__ import annotations

import numpy as np
import pytest

from adresponse.mixing.span import Span

ROWS = 300
MARKET = np.random.default_rng(2).permutation(np.repeat(np.arange(7), [5, 60, 60, 60, 60, 50, 5]))


def columns() -> np.ndarray:
    """An intercept, a trend twice, a control, and one that never changes within a market."""
    trend, control = np.linspace(0, 1, ROWS), np.random.default_rng(3).normal(size=ROWS)
    return np.column_stack([np.ones(ROWS), trend, 2 * trend, control, MARKET.astype(float)])


@pytest.mark.parametrize("ahead", [0, 4])
def test_levels_by_number_explain_what_a_column_for_each_market_explains(ahead: int) -> None:
    levels = np.equal.outer(MARKET, np.arange(1, 7)).astype(float)
    design = np.column_stack([columns(), levels])
    span, y = Span.of(columns(), MARKET), np.random.default_rng(4).normal(size=(ROWS, 3))
    solved = np.linalg.lstsq(design, y, rcond=None)
    assert span.rank == solved[2] == 9  # seven levels, a trend and a control
    # a few hundred sums of numbers near 1, each rounded to 2e-16
    np.testing.assert_allclose(span.rest(y), y - design @ solved[0], atol=1e-13)
    coefficients = span.back @ span.along(y)
    np.testing.assert_allclose(design @ coefficients, design @ solved[0], atol=1e-13)
    hat = design @ np.linalg.pinv(design)
    same = np.flatnonzero(MARKET == 1)
    assert span.paired(same[1:], same[:-1]) == pytest.approx(hat[same[1:], same[:-1]].sum(), abs=1e-12)
    if ahead:  # as draws have it
        many = np.random.default_rng(5).normal(size=(ahead, ROWS, 2))
        np.testing.assert_allclose(span.along(many), [span.along(each) for each in many], atol=1e-13)


def test_without_markets_columns_that_depend_on_each_other_are_counted_once() -> None:
    y = np.random.default_rng(4).normal(size=ROWS)
    span = Span.of(columns())
    assert span.rank == 4
    np.testing.assert_allclose(span.rest(y), y - columns() @ np.linalg.lstsq(columns(), y, rcond=None)[0], atol=1e-13)

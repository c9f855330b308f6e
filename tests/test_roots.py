"""Is the crossing where the function is zero, in few steps?"""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adresponse.planning.roots import crossing


@pytest.mark.parametrize(
    ("f", "low", "high", "root"),
    [
        (lambda x: x * x - 2, 0.0, 2.0, math.sqrt(2)),
        (lambda x: 1 - x, 0.0, 9.0, 1.0),  # falling
        (lambda x: x, 0.0, 1.0, 0.0),  # at an end
        (lambda x: math.log1p(x / 50) - 3, 0.0, 1e9, 50 * math.expm1(3)),
        (lambda x: -1.0 if x < 0.3 else 1.0, 0.0, 1.0, 0.3),  # a step
        (lambda x: (x - 1e-8) ** 3, 0.0, 1e6, 1e-8),  # flat, at a far end
    ],
)
def test_where_it_is(f, low: float, high: float, root: float) -> None:  # type: ignore[no-untyped-def]
    assert crossing(f, low, high) == pytest.approx(root, rel=1e-14, abs=1e-15 * high)  # four last bits of the far end


@given(st.floats(0.01, 0.99), st.floats(0.2, 5))
def test_few_steps_where_it_is_smooth(root: float, power: float) -> None:
    asked: list[float] = []

    def f(x: float) -> float:
        asked.append(x)
        return float(x**power - root**power)

    assert crossing(f, 0.0, 1.0) == pytest.approx(root, rel=1e-11)
    assert len(asked) <= 56  # bisection's 51 steps to the last bits, one more, and both ends

"""Is the half-width that holds a share of Student's t the one that scipy finds?"""

from __future__ import annotations

import math

import pytest
from scipy import stats

from adresponse.planning.student import reach


@pytest.mark.parametrize("degrees", [1, 2, 3, 38, 79, 80, 196, 10_000, 1_000_000])  # 80: where a series begins
@pytest.mark.parametrize("level", [0.001, 0.5, 0.9, 0.99, 0.9999])
def test_it_is_scipys(level: float, degrees: int) -> None:
    # nearer to 0 or 1 than these the level itself, as a double, has fewer digits
    assert reach(level, degrees) == pytest.approx(stats.t.isf((1 - level) / 2, degrees), rel=1e-11)


@pytest.mark.parametrize("degrees", [1, 7, 1_000_000])
def test_a_level_next_to_1_ends(degrees: int) -> None:
    assert 6 < reach(1 - 1e-11, degrees) < math.inf
    assert reach(1 - 1e-16, degrees) == math.inf

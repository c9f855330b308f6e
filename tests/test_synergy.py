"""Channels that bring more together are found, as statsmodels finds them; channels that do not are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.formula.api as smf

from adresponse.schema import Contract
from adresponse.synergy import together
from adresponse.table import read_builtin

FEATURES = ["TV", "Radio", "Newspaper"]


def test_tv_and_radio_of_the_published_table() -> None:
    table = read_builtin("advertising")
    (found,) = together(table.contract, table.X, table.y)
    frame = table.frame
    without = smf.ols("Sales ~ TV + Radio + Newspaper", frame).fit()
    product = smf.ols("Sales ~ TV + Radio + Newspaper + TV:Radio", frame).fit()
    assert without.rsquared == pytest.approx(0.897, abs=5e-4)  # ISLR, table 3.6
    assert product.rsquared == pytest.approx(0.968, abs=5e-4)  # ISLR, section 3.3.2: "96.8 %"
    assert found.code == "M008"
    assert "TV and Radio bring more together" in found.message
    assert "97 %" in found.message
    assert "90 %" in found.message


def contract(*channels: str) -> Contract:
    return Contract.build(target="sales", channels=channels)


def simulated(product: float, rows: int = 300, seed: int = 0) -> tuple[pd.DataFrame, pd.Series]:
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.uniform(0, 10, (rows, 3)), columns=["a", "b", "c"])
    return X, 5 + X["a"] + X["b"] + product * X["a"] * X["b"] + rng.normal(0, 2, rows)


@pytest.mark.parametrize(("product", "word"), [(0.3, "more"), (-0.3, "less")])
def test_the_right_pair_and_the_right_sign(product: float, word: str) -> None:
    X, y = simulated(product)
    (found,) = together(contract("a", "b", "c"), X, y)
    assert f"a and b bring {word} together" in found.message


def test_no_interaction_is_seldom_found() -> None:
    found = sum(bool(list(together(contract("a", "b", "c"), *simulated(0.0, seed=s)))) for s in range(200))
    assert found <= 8  # of 200 at a level of 1 %: 2 expected, more than 8 has a chance of 1 in 4,000


def test_markets_of_other_levels_and_sizes_are_told_from_an_interaction() -> None:
    rng = np.random.default_rng(2)
    places, heads = np.repeat(["A", "B", "C"], 80), np.repeat([1.0, 6.0, 30.0], 80)
    X = pd.DataFrame(rng.uniform(0, 10, (240, 3)), columns=["a", "b", "c"])
    per_head = np.repeat([3.0, 9.0, 1.0], 80) + 4 * np.sqrt(X["a"]) + X["b"] + rng.normal(0, 1, 240)  # a alone bends
    X, y = X.mul(heads, axis=0), per_head * heads
    roles = contract("a", "b", "c")
    assert list(together(roles, X, y))  # large markets spend more on all channels, so that one's bend looks like a product
    assert not list(together(roles, X, y, places, heads))
    y = (per_head + 0.3 * X["a"] * X["b"] / heads**2) * heads
    (found,) = together(roles, X, y, places, heads)
    assert "a and b bring more together" in found.message
    frame = pd.DataFrame({"place": places, "y": y / heads} | {c: X[c] / heads for c in "abc"})
    for formula, words in (("C(place) + a + b + c", "without it"), ("C(place) + a + b + c + a:b", "for each market explains")):
        assert f"{words} {smf.ols(f'y ~ {formula}', frame).fit().rsquared:.0%}".replace("%", " %") in found.message


@pytest.mark.parametrize("rows", [3, 5])
def test_too_few_rows_tell_nothing(rows: int) -> None:
    X, y = simulated(0.5, rows=rows)
    assert not list(together(contract("a", "b", "c"), X, y))


def test_one_channel_and_constant_columns_tell_nothing() -> None:
    X, y = simulated(0.5)
    assert not list(together(contract("a"), X[["a"]], y))
    constant = X.assign(a=1.0, b=2.0)
    assert not list(together(contract("a", "b", "c"), constant, y))

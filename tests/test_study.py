"""Does a straight line say what each channel brought, by the same names as curves do?"""

from __future__ import annotations

import pytest
import statsmodels.api as sm

import adresponse
from examples import shipped

CHANNELS = ["TV", "Radio", "Newspaper"]


def test_a_straight_line_s_contributions_are_slope_times_spend() -> None:
    table = shipped("advertising")
    study = adresponse.fit(table, target="Sales", channels=CHANNELS, test_size=0, repeats=1)
    frame = study.table.frame
    oracle = sm.OLS(frame["Sales"], sm.add_constant(frame[CHANNELS])).fit(cov_type="HC3", use_t=True)
    ends = oracle.conf_int(0.1)
    for name, found in study.contributions.items():
        spend, slope = frame[name].sum(), oracle.params[name]
        told = [slope * spend, *(ends.loc[name] * spend), slope * spend / frame["Sales"].sum(), slope, *ends.loc[name]]
        keys = ("total", "low", "high", "share", "roi", "roi_low", "roi_high")
        assert [found[key] for key in keys] == pytest.approx(told, rel=1e-9)
        assert [found[f"marginal_{key}"] for key in keys[4:]] == [found[key] for key in keys[4:]]
    # the shares and that of the intercept are all that was sold
    base = oracle.params["const"] * len(frame) / frame["Sales"].sum()
    assert base + sum(found["share"] for found in study.contributions.values()) == pytest.approx(1, rel=1e-9)
    assert study.shape["shape"] == "linear"
    assert study.shape["channels"]["TV"]["coefficient"] == pytest.approx(oracle.params["TV"], rel=1e-9)

"""Are coefficients and their errors right, in the table's own units?"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from sklearn.ensemble import HistGradientBoostingRegressor

from adresponse.checks import check
from adresponse.errors import ModelError
from adresponse.models import linear, linear_fit, load_estimator
from examples import shipped, table


def fitted(frame: pd.DataFrame, **options: object):
    made = table(frame)
    pipeline = linear(**options).fit(made.X, made.y)
    return linear_fit(pipeline, made.X, made.y, made.contract), made


def test_tv_alone_gives_the_published_table() -> None:
    # ISLR, tables 3.1 and 3.2, printed to four digits. The book cuts the intercept 7.03259 to 7.0325 instead of rounding
    # it, hence a whole unit of the last digit there, and half a unit for the rest
    fit, _ = fitted(shipped("tvmarketing"))
    intercept, tv = fit.coefficients
    assert intercept.estimate == pytest.approx(7.0325, abs=1e-4)
    assert intercept.se == pytest.approx(0.4578, abs=5e-5)
    assert tv.estimate == pytest.approx(0.0475, abs=5e-5)
    assert tv.se == pytest.approx(0.0027, abs=5e-5)
    assert fit.r2 == pytest.approx(0.612, abs=5e-4)
    assert fit.rse == pytest.approx(3.26, abs=5e-3)


def test_three_channels_give_the_published_table() -> None:
    # ISLR, table 3.4: printed to three digits
    fit, _ = fitted(shipped("advertising"))
    assert [c.name for c in fit.coefficients] == ["intercept", "TV", "Radio", "Newspaper"]
    assert [c.estimate for c in fit.coefficients] == pytest.approx([2.939, 0.046, 0.189, -0.001], abs=5e-4)
    assert fit.r2 == pytest.approx(0.897, abs=5e-4)


# the same arithmetic in another order: a relative 1e-8 allows for rounding in columns of size 1 to 300
CASES = [
    ("tvmarketing", {"scale": True}),  # the default
    ("advertising", {"scale": True}),  # several channels
    ("advertising", {"scale": False}),  # nothing to undo
]


@pytest.mark.parametrize(("name", "options"), CASES)
@pytest.mark.parametrize("errors", ["nonrobust", "HC3"])
def test_errors_equal_statsmodels(name: str, options: dict[str, bool], errors: str) -> None:
    fit, made = fitted(shipped(name), **options)
    oracle = sm.OLS(made.y.to_numpy(), sm.add_constant(made.X.to_numpy())).fit(cov_type=errors, use_t=True)
    ours = "" if errors == "nonrobust" else "_hc3"
    got = np.array([[c.estimate, *(getattr(c, n + ours) for n in ("se", "t", "p", "low", "high"))] for c in fit.coefficients])
    want = np.column_stack([oracle.params, oracle.bse, oracle.tvalues, oracle.pvalues, oracle.conf_int()])
    np.testing.assert_allclose(got, want, rtol=1e-8)
    assert fit.adjusted_r2 == pytest.approx(oracle.rsquared_adj)


def test_without_intercept_unscaled_equals_statsmodels() -> None:
    fit, made = fitted(shipped("tvmarketing"), scale=False, fit_intercept=False)
    oracle = sm.OLS(made.y.to_numpy(), made.X.to_numpy()).fit()
    assert fit.coefficients[0].estimate == 0
    assert fit.coefficients[1].estimate == pytest.approx(oracle.params[0])
    assert fit.coefficients[1].se == pytest.approx(oracle.bse[0])


def test_without_intercept_scaled_the_line_still_predicts_what_the_pipeline_predicts() -> None:
    fit, made = fitted(shipped("advertising"), fit_intercept=False)
    pipeline = linear(fit_intercept=False).fit(made.X, made.y)
    theta = [c.estimate for c in fit.coefficients]
    np.testing.assert_allclose(theta[0] + made.X.to_numpy() @ theta[1:], pipeline.predict(made.X), rtol=1e-12)


def test_a_coefficient_held_at_zero_has_no_error() -> None:
    fit, _ = fitted(shipped("advertising"), positive=True)  # least squares would give Newspaper -0.001
    newspaper = fit.coefficients[3]
    assert newspaper.estimate == 0
    assert np.isnan(newspaper.se)
    assert np.isfinite(fit.coefficients[1].se)


def test_another_estimator_has_no_coefficients() -> None:
    made = table(shipped("tvmarketing"))
    assert linear_fit(HistGradientBoostingRegressor().fit(made.X, made.y), made.X, made.y, made.contract) is None


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("sklearn.ensemble.NoSuchRegressor", "has no 'NoSuchRegressor'"),
        ("nosuchpackage.Model", "cannot be imported"),
        ("Model", "cannot be imported"),  # no module in the path
        ("sklearn.linear_model.LogisticRegression", "no regressor"),
        ("collections.OrderedDict", "no scikit-learn estimator"),
        ("sklearn.ensemble.StackingRegressor", "without arguments"),
    ],
)
def test_a_challenger_that_cannot_be_one_is_refused(path: str, said: str) -> None:
    with pytest.raises(ModelError, match=said):
        load_estimator(path)


def test_a_row_that_decides_a_coefficient_alone_gives_no_robust_error() -> None:
    frame = shipped("tvmarketing").assign(Once=0.0)
    frame.loc[7, "Once"] = 5.0
    fit, made = fitted(frame[["TV", "Once", "Sales"]])
    once = fit.coefficients[2]
    assert np.isfinite(once.se)
    assert np.isnan(once.se_hc3)
    assert "D018" in {f.code for f in check(made)}


def test_a_challenger_gets_the_seed() -> None:
    assert load_estimator("sklearn.ensemble.RandomForestRegressor", seed=7).random_state == 7

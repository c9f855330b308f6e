"""From a table to a study: explored, compared, fitted, evaluated, decided on; nothing is put on record yet."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.model_selection import train_test_split

from adresponse.checks import refuse_unfit_rows
from adresponse.contest import ContestRules
from adresponse.deployment import Progress
from adresponse.errors import ConfigError, did_you_mean
from adresponse.evaluate import evaluate
from adresponse.findings import Finding
from adresponse.folding import Folding, first_of_last
from adresponse.gate import decide
from adresponse.intervals import calibrate
from adresponse.levels import one_level_for_all
from adresponse.mixing.advice import advise, opposed, untold
from adresponse.mixing.fit import MixFit, MixSpec, curves_of, drawn_curves, fit_mix
from adresponse.models import linear_fit, load_estimator
from adresponse.planning.horizon import Outlook
from adresponse.planning.prospect import prospect_of
from adresponse.planning.split import best_plan
from adresponse.planning.wishes import Wish
from adresponse.profile import Answer, explore
from adresponse.recommend import recommend
from adresponse.settings import Settings
from adresponse.study import Study
from adresponse.synergy import together
from adresponse.table import AdTable
from adresponse.tune import OWN_NAMES, Candidate, Leaderboard, compare

__all__ = ["challengers_of", "leaderboard_of", "study_of"]

REPEAT_ONCE_ROWS = 50_000  # beyond this, other folds give the same figures, and each repeat costs seconds, as curves do


def study_of(
    table: AdTable,
    found: tuple[Finding, ...],
    settings: Settings,
    progress: Progress,
    sides: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None,
) -> Study:
    """Every step that needs no store.

    Parameters
    ----------
    table, found, settings
        What is studied, what checking it found, and how.
    progress : callable
        Called with the name of each step as it begins.
    sides : pair of ndarray of int, optional
        Positions to fit on and to hold out; drawn as the settings say where they are not given.
    """
    progress("Exploring")
    if settings.promotion:
        ContestRules.build(settings.promotion).refuse_unknown(table.contract)
    profile = explore(table)

    progress("Tuning and comparing")
    challengers = challengers_of(settings)
    train, test = sides if sides is not None else _split(table, settings)
    if settings.shape is not None:
        _refuse_unknown_markets(table, train, test)
    folding = _folding(table, settings, train)
    mix, asked = _mix(table, train, settings, progress)
    leaderboard, chosen = _leaderboard(table, train, challengers, folding, asked)

    progress("Fitting and evaluating")
    X, y = (table.X if mix is None else _inputs(table)), table.y
    rows, sales, markets = X.iloc[train], y.iloc[train], _markets(table)
    estimator = clone(chosen).fit(rows, sales) if mix is None else mix.model
    spread = calibrate(chosen, rows, sales, folding)
    linear = linear_fit(estimator, rows, sales, table.contract)
    size = None if mix is None else mix.model.size(X)
    evaluation = evaluate(
        estimator,
        spread,
        X,
        y,
        train=train,
        test=test,
        contract=table.contract,
        folding=folding,
        thrifty=mix is not None,
        kind="curves" if mix is not None else "line" if linear is not None else "other",
        markets=markets,
        dates=None if table.contract.date is None else table.frame[table.contract.date].to_numpy(),
        size=size,
    )
    if mix is not None:
        mix.model.remember(X)
    decision = decide(evaluation, settings.gate)
    own, heads = (None if each is None else each[train] for each in (markets, size))
    pairs = together(table.contract, rows, sales, own, heads)
    told: list[Finding] = [*found, *evaluation.findings, *pairs]
    plan = None
    if mix is None:
        if linear is not None and own is not None:
            told += one_level_for_all(table.contract, rows, sales, own, linear)
        recommendation = recommend(table, linear, evaluation, decision, leaderboard, told)
    else:
        outlook = _outlook(table, mix)
        plan = best_plan(outlook, Wish())
        recommendation = advise(table, mix, plan, outlook, evaluation, decision, leaderboard)
        told += [*untold(table, mix), *opposed(rows, sales, mix)]
    answer = Answer("What is recommended?", recommendation.headline)
    return Study(
        name=settings.model_name(table.contract.target),
        table=table,
        train=train,
        test=test,
        profile=replace(profile, answers=(*profile.answers, answer)),
        leaderboard=leaderboard,
        estimator=estimator,
        linear=linear,
        spread=spread,
        evaluation=evaluation,
        gate=decision,
        recommendation=recommendation,
        findings=tuple(sorted(told, key=lambda f: ["stop", "review", "note"].index(f.severity))),
        settings=settings.plain(),
        mix=mix,
        plan=plan,
    )


def leaderboard_of(table: AdTable, settings: Settings, challengers: tuple[Candidate, ...]) -> Leaderboard:
    """All candidates for a straight line's place, over the rows that would be fitted."""
    train, _ = _split(table, settings)
    return _leaderboard(table, train, challengers, _folding(table, settings, train))[0]


def _outlook(table: AdTable, mix: MixFit) -> Outlook:
    """What is known of the next periods, or of the next row."""
    return prospect_of(table.contract, table.frame, curves_of(mix.model), draws=drawn_curves(mix)).outlook()


def _mix(
    table: AdTable, train: NDArray[np.int64], settings: Settings, progress: Progress
) -> tuple[MixFit | None, Candidate | None]:
    """The mix of response curves that was asked for, fitted, and as a candidate; nothing where none was asked for."""
    if settings.shape is None:
        given: dict[str, Any] = {"carry_over": settings.carry_over, "season": settings.season, "lifts": settings.lifts or None}
        given |= {"sizes": None if settings.sizes == "auto" else settings.sizes}
        if named := next((name for name, value in given.items() if value is not None), None):
            raise ConfigError(f"{named}={given[named]!r} belongs to response curves; add --shape, such as --shape auto.")
        return None, None
    progress("Fitting response curves")
    contract = table.contract
    if unknown := next((name for name in settings.lifts if name not in contract.channels), None):
        raise ConfigError(
            f"The lift of {unknown!r} is of no channel.{did_you_mean(unknown, contract.channels)} "
            f"There are: {', '.join(contract.channels)}."
        )
    spec = MixSpec(
        contract.channels,
        contract.controls,
        contract.date,
        contract.market,
        shape=settings.shape,
        carry_over=settings.carry_over,
        trend=settings.trend,
        season=settings.season,
        weekdays=settings.weekdays,
        known=settings.lifts,
        sizes=settings.sizes,
        folds=settings.folds,
        seed=settings.seed,
    )
    found = fit_mix(_inputs(table).iloc[train], table.y.iloc[train], spec)
    carried = found.model.problem_.kind
    title = f"{found.spec.shape} curves" + ("" if carried == "none" else f" with {carried} carry-over")
    return found, Candidate("curves", title, found.spec.regressor(found.model.shape, starts=1))


def _inputs(table: AdTable) -> pd.DataFrame:
    """All rows with the columns that a mix of curves and its baseline read."""
    contract = table.contract
    return table.frame[[*contract.features, *(n for n in (contract.date, contract.market) if n is not None)]]


def challengers_of(settings: Settings) -> tuple[Candidate, ...]:
    """The estimators that the settings name by their import paths, made and called after their classes."""
    if not settings.challengers:
        return ()
    paths = tuple(dict.fromkeys(settings.challengers))
    short = [path.rpartition(".")[2] for path in paths]
    names = [path if short.count(name) > 1 or name in OWN_NAMES else name for path, name in zip(paths, short, strict=True)]
    return tuple(Candidate(name, path, load_estimator(path, settings.seed)) for path, name in zip(paths, names, strict=True))


def _leaderboard(
    table: AdTable,
    train: NDArray[np.int64],
    challengers: tuple[Candidate, ...],
    folding: Folding,
    asked: Candidate | None = None,
) -> tuple[Leaderboard, Any]:
    return compare(
        _inputs(table).iloc[train],
        table.y.iloc[train],
        challengers=challengers,
        folding=folding,
        asked=asked,
        features=table.contract.features,
        market=table.contract.market,
    )


def _folding(table: AdTable, settings: Settings, train: NDArray[np.int64]) -> Folding:
    once = len(train) > REPEAT_ONCE_ROWS or settings.shape is not None
    repeats = 1 if once else settings.repeats
    markets = None if settings.shape is None else _markets(table)
    return Folding(settings.folds, repeats, settings.seed, _periods(table), markets).at(train)


def _markets(table: AdTable) -> NDArray[Any] | None:
    """The market of each row; None where there is none."""
    name = table.contract.market
    return None if name is None else table.frame[name].to_numpy().astype(str)


def _refuse_unknown_markets(table: AdTable, train: NDArray[np.int64], test: NDArray[np.int64]) -> None:
    """Refuse a market of which no row is fitted; it would have no level of its own."""
    markets = _markets(table)
    if markets is None:
        return
    unknown = np.setdiff1d(markets[test], markets[train])
    if len(unknown):
        raise ConfigError(
            f"Market {str(unknown[0])!r} has rows among the {len(test)} held out, and none among the {len(train)} fitted, so "
            "nothing is known of its level; hold out less, or leave it out."
        )


def _periods(table: AdTable) -> NDArray[np.int64] | None:
    """The period of each row, counted upwards; None where there is no date."""
    if table.contract.date is None:
        return None
    return np.unique(table.frame[table.contract.date].to_numpy(), return_inverse=True)[1]


def _split(table: AdTable, settings: Settings) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions to fit on and to hold out: at random, or the last in time, where a period stays in one piece."""
    rows = np.arange(len(table.frame))
    if settings.test_size == 0:
        train, test = rows, rows[:0]
    elif table.contract.date is None:
        train, test = train_test_split(rows, test_size=settings.test_size, random_state=settings.seed)
    else:
        cut = first_of_last(table.frame[table.contract.date].to_numpy(), settings.test_size)
        train, test = rows[:cut], rows[cut:]
    periods = _periods(table)
    kept, what = (len(train), "rows") if periods is None else (len(np.unique(periods[train])), "periods")
    if kept < 2 * settings.folds:
        raise ConfigError(
            f"test_size={settings.test_size:g} and folds={settings.folds} leave {kept} {what} to fit on, fewer than two "
            "for each fold; hold out less, set fewer folds in the config, or add rows."
        )
    refuse_unfit_rows(table, train)
    return train, test

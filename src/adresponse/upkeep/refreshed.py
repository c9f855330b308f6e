"""New rows taken in: watched, a challenger fitted where it is needed, and promoted where it is better."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from adresponse import deployment, lifecycle, words
from adresponse.deployment import Progress, silent
from adresponse.engines.places import refuse_unwritable
from adresponse.errors import ConfigError, TableError
from adresponse.settings import Settings
from adresponse.standing import (
    CHALLENGED_TAG,
    FILE_TAG,
    SINCE_TAG,
    WAITING,
    WAITING_TAG,
    Arrival,
    Standing,
    arrive,
    arrived_before,
    as_file,
    asked_of,
    standing_of,
)
from adresponse.upkeep.compared import Other, held_against
from adresponse.upkeep.turn import settle
from adresponse.upkeep.watched import EXIT, Watched, look

if TYPE_CHECKING:
    from adresponse.contest import Contest
    from adresponse.growing import Grown
    from adresponse.journal import Event
    from adresponse.mutex import Lease
    from adresponse.publishing import Published
    from adresponse.registry import Located
    from adresponse.store import Store
    from adresponse.study import Study
    from adresponse.table import AdTable

__all__ = ["Refreshed", "refresh", "retrain"]


@dataclass(frozen=True)
class Refreshed:
    """What a refresh or a retraining did.

    Parameters
    ----------
    action : {"nothing", "kept", "stopped", "retrained"}
        Nothing where the file was taken in before.
    sentence : str
        All of it in words.
    name, champion : str
        The model, and the version that is champion now.
    version : str
        The challenger's version; empty where none was made.
    promoted : bool
        Whether it became champion.
    watched : Watched or None
        What the watch found, where one was made.
    contest : Contest or None
        How the challenger did against the champion.
    rows : dict of str to int
        ``added``, ``repeated``, ``revised``, ``fitted``, ``held_out`` and ``waiting`` rows of the challenger; those wait of
        which the whole market would be held out.
    report : str
        Where the challenger's report lies.
    event : Event or None
        The last entry in the history.
    """

    action: Literal["nothing", "kept", "stopped", "retrained"]
    sentence: str
    name: str
    champion: str
    version: str = ""
    promoted: bool = False
    watched: Watched | None = None
    contest: Contest | None = None
    rows: dict[str, int] | None = None
    report: str = ""
    event: Event | None = None

    @property
    def exit_code(self) -> int:
        """0 where the champion stands well, 10 where a new one was needed and none was promoted, 20 where data is unfit."""
        if self.action == "stopped":
            return EXIT["stop"]
        return EXIT["retrain"] if self.action == "retrained" and not self.promoted else EXIT["keep"]


def retrain(
    source: Any,
    *,
    model: str | None = None,
    config: str | Path | None = None,
    out: str | Path | None = None,
    window: int | None = None,
    mode: Literal["off", "dry-run", "enforce"] | None = None,
    patience: float = 600.0,
    progress: Progress = silent,
    **reading: Any,
) -> Refreshed:
    """Fit a challenger on old and new rows with the champion's recipe, and promote it if it passes the gate.

    Parameters
    ----------
    source : path, URL or DataFrame
        The new rows, with sales; watched as by ``watch``. Rows that the champion stands on already are taken once.
    model : str, optional
        ``models:/NAME@champion``; without it, the champion of the only registered model.
    config, out, progress, reading
        As ``watch`` takes them; the config's ``promotion`` holds the rules of the gate.
    window : int, optional
        Fit on this many of the last periods only, or of the last rows where there are no dates.
    mode : {"off", "dry-run", "enforce"}, optional
        Whether the gate between champion and challenger is not asked, asked and not obeyed, or obeyed.
    patience : float
        Seconds to wait for another process that changes the same model.
    """
    asked = _Asked(source, model, config, out, window, mode, patience, reading)
    return _refreshed(asked, "adresponse retrain", progress, always=True)


def refresh(
    source: Any,
    *,
    model: str | None = None,
    config: str | Path | None = None,
    out: str | Path | None = None,
    window: int | None = None,
    mode: Literal["off", "dry-run", "enforce"] | None = None,
    patience: float = 600.0,
    progress: Progress = silent,
    **reading: Any,
) -> Refreshed:
    """Watch new rows, and if the verdict says so, fit a challenger and promote it; one call for a scheduler.

    Rows of a file after which the champion is kept are remembered, and taken in by the next challenger. The same file
    twice changes nothing. Parameters are those of ``retrain``; sales may be missing.
    """
    asked = _Asked(source, model, config, out, window, mode, patience, reading)
    return _refreshed(asked, "adresponse refresh", progress, always=False)


@dataclass(frozen=True)
class _Asked:
    """What ``retrain`` and ``refresh`` are given."""

    source: Any
    model: str | None
    config: str | Path | None
    out: str | Path | None
    window: int | None
    mode: str | None
    patience: float
    reading: Mapping[str, Any]


@dataclass(frozen=True)
class _Turn:
    """A model's champion and its recipe, with the model's lock held."""

    lease: Lease
    champion: Standing
    settings: Settings
    progress: Progress

    def note(self, kind: Literal["kept", "refresh"], arrival: Arrival, why: str, rows_run: str, target: str = "") -> Event:
        """Enter in the history that a file was taken in; ``rows_run`` is the run that holds its rows, if it has any."""
        from adresponse import journal

        return journal.append(
            self.lease,
            kind,
            source=self.champion.version,
            target=target or self.champion.version,
            why=why,
            digests={"file": arrival.digest},
            rows_run="" if arrival.table is None else rows_run,
            tags={"mlflow.parentRunId": self.champion.run_id},
        )


@contextlib.contextmanager
def _turn(asked: _Asked, command: str, progress: Progress) -> Iterator[_Turn]:
    """The champion of a model, once it is this process's turn and what earlier ones left is settled."""
    from adresponse import mutex, promotion, registry

    progress("Opening the model")
    store = deployment.open_store()
    located = registry.locate(store, asked.model)
    _refuse_other_than_champion(located)
    with mutex.held(store, located.name, waiting=progress, patience=asked.patience, command=command) as lease:
        promotion.settle(lease)
        settle(lease)
        with standing_of(store, f"models:/{located.name}@{registry.CHAMPION}") as champion:
            settings = asked_of(champion.settings, asked.config, {"out": asked.out})
            if asked.mode is not None:
                settings = settings.model_copy(update={"promotion": {**settings.promotion, "mode": asked.mode}})
            lifecycle.refuse_unknown_rules(settings)
            refuse_unwritable(settings.out)
            yield _Turn(lease, champion, settings, progress)


def _refuse_other_than_champion(located: Located) -> None:
    if not located.uri.endswith("@champion"):
        raise ConfigError(f"{located.uri}: a challenger is held against the champion; give models:/NAME@champion.")


def _refreshed(asked: _Asked, command: str, progress: Progress, *, always: bool) -> Refreshed:
    """Take a file in: watched, and a challenger fitted where the verdict or the caller asks for one."""
    if asked.window is not None and asked.window < 1:
        raise ConfigError(f"window={asked.window} keeps no rows; give 1 or more.")
    with _turn(asked, command, progress) as turn:
        champion = turn.champion
        progress("Reading the new rows")
        arrival = arrive(asked.source, champion.contract, turn.settings, asked.reading)
        if said := champion.taken(arrival.digest):
            sentence = f"Nothing to do: a file of this content was taken in before ({said})."
            return Refreshed("nothing", sentence, champion.name, champion.version)
        watched = look(champion, arrival, turn.settings, progress)
        if watched.verdict == "stop":
            return Refreshed("stopped", watched.sentence, champion.name, champion.version, watched=watched)
        if arrival.refusal:
            raise TableError(arrival.refusal)
        if always and arrival.table is None:
            raise TableError(
                f"{arrival.source} has no row with {champion.contract.target!r}; a challenger is fitted on rows with sales."
            )
        arrived = arrived_before(champion, champion.pending()) + ([arrival.table] if arrival.table is not None else [])
        if always or (watched.verdict == "retrain" and arrived):
            return _retrained(turn, arrival, arrived, asked.window, watched)
        event = turn.note("kept", arrival, watched.sentence, watched.run_id)
        return Refreshed("kept", watched.sentence, champion.name, champion.version, watched=watched, event=event)


def _retrained(turn: _Turn, arrival: Arrival, arrived: list[AdTable], window: int | None, watched: Watched) -> Refreshed:
    """A challenger on old and new rows, held against the champion and published; promoted where it passes."""
    from adresponse.checks import check, refuse_unfit
    from adresponse.growing import grow
    from adresponse.publishing import Terms, publish
    from adresponse.studying import study_of

    champion, settings, progress = turn.champion, turn.settings, turn.progress
    market = None if settings.shape is None else champion.contract.market  # a straight line has no level for each
    grown = grow(champion.kept, arrived, share=settings.test_size, window=window, market=market)
    unseen = grown.table.frame.iloc[grown.test]
    shared = champion.knows(unseen)
    if not shared.any():
        known = " and whose market it knows" if len(unseen) else ""
        raise TableError(
            f"{arrival.source} leaves no row that version {champion.version} has not learnt from{known}, so no challenger can "
            f"be held against it; wait for newer rows{', or run the study again' if known else ''}."
        )
    progress("Checking old and new rows")
    findings = check(grown.table)
    refuse_unfit(findings)
    study = study_of(grown.table, findings, settings, progress, (grown.train, grown.test))
    progress("Holding it against the champion")
    held = held_against(champion, _challenger(study, grown), unseen, shared, grown.table.frame, settings)
    progress("Drawing the figures")
    figures = lifecycle.drawn(study)
    why = f"{watched.sentence} {_decided(study, held)}"
    made = publish(
        study,
        figures,
        settings,
        champion.store,
        contextlib.nullcontext(turn.lease),
        progress,
        contest=held,
        files=arrival.files | as_file(WAITING, grown.waiting),
        tags={
            FILE_TAG: arrival.digest,
            WAITING_TAG: str(len(grown.waiting)),
            CHALLENGED_TAG: champion.version,
            SINCE_TAG: champion.tags.get(SINCE_TAG, "0"),
        },
        terms=Terms(
            why=why,
            digests={"file": arrival.digest},
            expected=champion.version,
            verify=_verifying(champion.store, settings, progress),
        ),
    )
    event = turn.note("refresh", arrival, why, made.run_id, made.version.version)
    return Refreshed(
        "retrained",
        _retrained_sentence(made, study, grown, held),
        champion.name,
        made.version.version if made.champion else champion.version,
        made.version.version,
        made.champion,
        watched,
        held,
        {
            "added": grown.added,
            "repeated": grown.repeated,
            "revised": grown.revised,
            "fitted": len(grown.train),
            "held_out": len(grown.test),
            "waiting": len(grown.waiting),
        },
        str(made.report),
        event,
    )


def _challenger(study: Study, grown: Grown) -> Other:
    inputs = list(study.inputs.columns)
    return Other(
        "the challenger",
        lambda rows: study.estimator.predict(rows[inputs]),
        study.spread,
        grown.table.frame.iloc[grown.train],
        () if study.mix is None else study.mix.responses,
    )


def _verifying(store: Store, settings: Settings, progress: Progress) -> Callable[[str], None]:
    """Before the alias moves, the files are held against the manifest of what was verified a moment ago; then it is asked."""
    whole = deployment.loading(store)
    asked = deployment.verifying(progress) if settings.verify else whole
    return lambda uri: (asked if "@" in uri else whole)(uri)


def _decided(study: Study, held: Contest) -> str:
    """What decides whether the challenger becomes champion: a version that the gate rejects never does."""
    return study.gate.sentence if held.promotes and study.gate.status != "VALIDATED" else held.sentence


def _retrained_sentence(made: Published, study: Study, grown: Grown, held: Contest) -> str:
    said = "promoted" if made.champion else "not promoted"
    waiting = len(grown.waiting)
    wait = (
        f" {words.count(waiting, 'row')} of markets that opened late {'waits' if waiting == 1 else 'wait'} for a later version."
        if waiting
        else ""
    )
    fitted = words.count(len(grown.train), "row")
    return f"Version {made.version.version} was fitted on {fitted} and {said}. {_decided(study, held)}{wait}"

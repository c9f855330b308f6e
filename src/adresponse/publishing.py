"""From a study to a registered version: tracked, drawn, written, verified behind a local endpoint, registered, promoted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from adresponse import deployment, journal, promotion, registry, report, track
from adresponse.contest import Contest
from adresponse.deployment import Progress
from adresponse.engines.places import write_page
from adresponse.errors import ConfigError, DifferenceError
from adresponse.mutex import Lease
from adresponse.registry import Version
from adresponse.report import Tracked
from adresponse.saving import Saved
from adresponse.settings import Settings
from adresponse.standing import HISTORY_TAG, SINCE_TAG, UP_TO_TAG
from adresponse.store import LoggedModel, Store
from adresponse.stored import open_stored
from adresponse.study import Study
from adresponse.verification import Verification

__all__ = ["Published", "Terms", "publish"]


@dataclass(frozen=True)
class Published:
    """A study on record: its run, its version, where its report lies, and what the deployed model answered.

    ``champion`` says whether the version became it.
    """

    study: Study
    run_id: str
    experiment_id: str
    version: Version
    champion: bool
    report: Path
    verification: Verification | None


@dataclass(frozen=True)
class Terms:
    """On which terms a new version becomes champion.

    Parameters
    ----------
    why : str
        The reason, for the history; that of the gate where it is empty.
    digests : dict of str to str
        What else the decision rests on, for the history.
    expected : str
        The version that has to be champion still; empty for any.
    verify : callable, optional
        Tries the version before and after; without it, its files are held against the manifest.
    """

    why: str = ""
    digests: dict[str, str] = field(default_factory=dict)
    expected: str = ""
    verify: Callable[[str], None] | None = None


def publish(
    study: Study,
    figures: dict[str, bytes],
    settings: Settings,
    opened: Store,
    lock: AbstractContextManager[Lease],
    progress: Progress,
    *,
    run_id: str | None = None,
    contest: Contest | None = None,
    files: Mapping[str, bytes] | None = None,
    tags: Mapping[str, str] | None = None,
    terms: Terms | None = None,
) -> Published:
    """Track, write and register a finished study, in this order, and promote it: a version exists only if all else does.

    Parameters
    ----------
    study, figures, settings
        What is put on record.
    opened : Store
        Where.
    lock : context manager of Lease
        The model's lock, taken once all but the version is made.
    progress : callable
        Called with the name of each step as it begins.
    run_id : str, optional
        A run of MLflow that is under way already, and is taken.
    contest : Contest, optional
        What the study's model was held against; decides, beside the gate, whether it becomes champion.
    files : mapping, optional
        Further files of the run.
    tags : mapping, optional
        Further tags of run and version.
    terms : Terms, optional
        On which terms it becomes champion.
    """
    progress("Tracking the run")
    title = f"{'run' if contest is None else 'retrain'} {Path(study.table.source).name}"
    with track.start(opened, study.name, title, run_id) as tracked:
        with tracked.saving(study) as saved:
            progress("Deploying and verifying")
            verification = _verified(study, saved, opened, tracked) if settings.verify else None
            page = report.page(study, figures, _tracked(study, tracked, opened), verification, contest)
            progress("Logging it all")
            for name, content in (files or {}).items():
                track.add_file(opened, tracked.run_id, name, content)
            model = tracked.log(study, saved, figures, page, _yaml(study.settings), verification, contest, tags)
        written = write_page(settings.out / f"{study.name}-report.html", page)
        progress("Registering the version")
        with lock as lease:
            _refuse_other_lock(lease, study)
            promotes = study.gate.status == "VALIDATED" and (contest is None or contest.promotes)
            version = _registered(lease, study, model, tracked.run_id, verification, tags or {})
            if promotes:
                _promoted(lease, study, version, model, tracked.run_id, terms or Terms())
    return Published(study, tracked.run_id, tracked.experiment_id, version, promotes, written, verification)


def _refuse_other_lock(lease: Lease, study: Study) -> None:
    """Refuse to register under one name and promote under another: version numbers are the same, the models are not."""
    if lease.name != study.name:
        raise ConfigError(
            f"The lock is held on {lease.name!r}, and the study is called {study.name!r}; hold the lock of the model that it "
            "is registered as."
        )


def _registered(
    lease: Lease,
    study: Study,
    model: LoggedModel,
    run_id: str,
    verification: Verification | None,
    tags: Mapping[str, str],
) -> Version:
    """The version, with the last event of the history that it knows of."""
    promotion.settle(lease)
    events = journal.read(lease.store, study.name)
    last = str(events[-1].sequence if events else 0)
    known = {UP_TO_TAG: last, SINCE_TAG: last, HISTORY_TAG: track.experiment_of(lease.store, study.name)}
    return registry.register(lease.store, study, model, run_id, verification, tags={**known, **tags})


def _promoted(lease: Lease, study: Study, version: Version, model: LoggedModel, run_id: str, terms: Terms) -> None:
    """Make the version champion; where that fails, it is taken back."""
    try:
        promotion.promote(
            lease,
            version.version,
            verify=terms.verify or deployment.loading(lease.store),
            why=terms.why or study.gate.sentence,
            expected=terms.expected or promotion.ANY,
            digests={"data": study.table.digest, **terms.digests},
        )
    except BaseException:
        registry.take_back(lease.store, version, model, run_id)
        raise


def _verified(study: Study, saved: Saved, opened: Store, tracked: track.Run) -> Verification:
    """What the model answers behind a local endpoint; one that differs from the evaluation ends the run."""
    stored = open_stored(saved.folder, saved.digest)
    found = deployment.try_out(stored, study.name, opened, tracked.experiment_id, tracked.run_id)
    if not found.passed:
        raise DifferenceError(found.sentence)
    return found


def _tracked(study: Study, tracked: track.Run, opened: Store) -> Tracked:
    uri = f"models:/{study.name}@champion"
    return Tracked(
        run_id=tracked.run_id,
        experiment_id=tracked.experiment_id,
        experiment_name=study.name,
        model_name=study.name,
        store=opened.shown,
        created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        commands=(
            ("See every run, figure and version", opened.shown if opened.uri.startswith("http") else "adresponse ui"),
            ("Serve the champion", f"adresponse serve '{uri}'"),
            ("Score a table", f"adresponse predict spend.csv -o scored.csv --model '{uri}'"),
            ("Verify it again", f"adresponse verify '{uri}'"),
            ("Load it in Python", f"mlflow.pyfunc.load_model({uri!r})"),
        ),
    )


def _yaml(settings: dict[str, Any]) -> str:
    return yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)

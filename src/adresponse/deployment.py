"""A stored model put to work: found, loaded, asked, served, deployed, verified."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from adresponse.errors import ConfigError, DifferenceError, MissingDeploymentError, StoreError

if TYPE_CHECKING:
    from adresponse.asking import Ask
    from adresponse.engines.scored import Scored
    from adresponse.planning.planned import Plan
    from adresponse.planning.returns import Returns
    from adresponse.planning.wishes import Together, Wish
    from adresponse.pyfunc import ResponseModel
    from adresponse.registry import Located
    from adresponse.serving.options import Options
    from adresponse.serving.supervise import Found
    from adresponse.store import Store
    from adresponse.stored import Stored
    from adresponse.targets.azureml import Status as AzureStatus
    from adresponse.targets.image import Written
    from adresponse.targets.intent import Intent
    from adresponse.targets.sagemaker import Status as SageMakerStatus
    from adresponse.verification import Answered, EvaluationRows, Verification

__all__ = [
    "Model",
    "Planned",
    "Progress",
    "Verified",
    "deploy",
    "load",
    "loading",
    "opened",
    "plan",
    "predict",
    "serve",
    "silent",
    "try_out",
    "verify",
    "verifying",
]

Progress = Callable[[str], None]
Status: TypeAlias = "AzureStatus | SageMakerStatus"


def silent(step: str) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True)
class Model:
    """A stored model that was found and is whole.

    ``version`` is the registered version, or MLflow's id of the model where it comes from a folder; ``located`` and
    ``store`` are None for a folder.
    """

    stored: Stored
    name: str
    version: str
    uri: str
    located: Located | None = None
    store: Store | None = None


@dataclass(frozen=True)
class Verified:
    """What ``verify`` found, of which version, and the run of MLflow that keeps it."""

    model_uri: str
    name: str
    version: str
    run_id: str
    verification: Verification


# --- find and load


@contextlib.contextmanager
def opened(model: str | None = None) -> Iterator[Model]:
    """The model that ``model`` names, whole and unaltered, with its files there inside the block.

    Parameters
    ----------
    model : str, optional
        ``models:/NAME@champion``, ``models:/NAME/3``, ``models:/m-ID``, or the folder of a stored model. Without it,
        the champion of the only registered model of the store in use.

    Raises
    ------
    StoreError
        If there is no such model.
    ModelError
        If it was altered, carries a pickle, or needs another environment.
    """
    if model is not None and Path(model).is_dir():
        yield from_folder(Path(model))
        return
    store = open_store()
    from adresponse import registry

    located = registry.locate(store, model)
    with tempfile.TemporaryDirectory(prefix="adresponse-") as folder:
        yield from_registry(store, located, Path(folder))


def from_folder(folder: Path) -> Model:
    """A stored model in a local folder; neither MLflow nor a store is needed."""
    from adresponse.stored import open_stored

    stored = open_stored(folder)
    return Model(stored, stored.formula.about.get("name", ""), stored.version, str(folder))


def open_store() -> Store:
    """The store in use, which must be there."""
    from adresponse import settings as config_file
    from adresponse import store

    uri = store.resolve(config_file.tracking_uri(), Path.cwd())
    if store.is_fresh(uri):
        raise StoreError(f"The store {uri} is not there yet; run `adresponse run` first, or set MLFLOW_TRACKING_URI.")
    return store.prepare(uri).open()


def from_registry(store: Store, located: Located, folder: Path) -> Model:
    """A model of MLflow's, copied into ``folder``."""
    from adresponse import registry
    from adresponse.stored import open_stored

    fetched = registry.fetch(store, located, folder)
    if located.version and not any(fetched.iterdir()):
        registry.refuse_gone(store, located.name, located.version)
    stored = open_stored(fetched, located.digest, located.uri)
    return Model(stored, located.name, located.version or stored.model_id, located.pinned, located, store)


def load(model: str | None = None) -> ResponseModel:
    """The model in process: ``load().predict(frame, params={"interval": 0.9})``; see ``opened`` for what names one."""
    from adresponse.pyfunc import ResponseModel, load_pipeline

    with opened(model) as found:
        formula = found.stored.formula
        return ResponseModel(
            formula, found.stored.folder, None if formula.closed else load_pipeline(found.stored.folder, formula)
        )


# --- ask


def predict(
    source: str | Path,
    output: str | Path,
    *,
    model: str | None = None,
    interval: float | None = None,
    contributions: bool = False,
    engine: Literal["duckdb", "spark"] = "duckdb",
    master: str | None = None,
    on_error: Literal["fail", "skip"] = "fail",
    progress: Callable[[float], None] = lambda share: None,
    **reading: Any,
) -> Scored:
    """Score a table and write it with its predictions.

    Parameters
    ----------
    source, output : path or database URL
        CSV, Parquet, Excel or a database table; all columns are passed through.
    model : str, optional
        See ``opened``.
    interval : float, optional
        Adds ``lower`` and ``upper``, between which this share of new rows lies.
    contributions : bool
        Adds ``base``, the sales at no spend, and ``contribution_CHANNEL`` for each channel.
    engine : {"duckdb", "spark"}
        What computes: this machine, or a cluster.
    master : str, optional
        Spark's master; without it, a session on this machine.
    on_error : {"fail", "skip"}
        What to do with a row that breaks the contract: refuse all, or leave it out and say it in a side file.
    progress : callable
        Called with the share done.
    **reading
        How the source is read and the output written: ``sheet``, ``query``, ``sql_table``, ``decimal``, ``overwrite``.
    """
    overwrite = bool(reading.pop("overwrite", False))
    if engine == "spark" and (unfit := [name for name, value in reading.items() if value is not None]):
        raise ConfigError(f"{unfit[0]} belongs to the engine duckdb; leave it out with --engine spark.")
    if engine == "duckdb" and master is not None:
        raise ConfigError(f"master={master!r} belongs to the engine spark; add --engine spark.")
    with opened(model) as found:
        if engine == "spark":
            from adresponse.engines import spark

            return spark.predict(
                found.stored, source, output, level=interval, contributions=contributions, on_error=on_error,
                version=found.version, master=master, overwrite=overwrite, progress=progress,
            )  # fmt: skip
        from adresponse.engines import batch

        return batch.predict(
            found.stored, source, output, level=interval, contributions=contributions, on_error=on_error,
            version=found.version, overwrite=overwrite, progress=progress, **reading,
        )  # fmt: skip


# --- plan


@dataclass(frozen=True)
class Planned:
    """A plan, of which version, for which dates and market, where each channel stops paying, and where its workbook lies.

    ``market`` is None where the plan is for an average market, or the model knows none.
    """

    model_uri: str
    name: str
    version: str
    target: str
    dates: tuple[str, ...]
    plan: Plan
    returns: tuple[Returns, ...] = ()
    workbook: str = ""
    market: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The plan's own figures first, as ``adresponse plan --json`` prints them."""
        about = {k: v for k, v in vars(self).items() if k != "plan"}
        return {**vars(self.plan), **about}


def plan(
    model: str | None = None,
    *,
    total: float | None = None,
    cap: float | None = None,
    target_sales: float | None = None,
    margin: float | None = None,
    target_roi: float | None = None,
    target_marginal_roi: float | None = None,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    lock: Sequence[str] = (),
    groups: Sequence[Together] = (),
    horizon: int | None = None,
    market: str | None = None,
    beyond: bool = False,
    level: float = 0.9,
    tail: bool = False,
    score: str | Path | Mapping[str, Any] | None = None,
    out: str | Path | None = None,
) -> Planned:
    """Split a budget over the channels, or say what a given split brings.

    Parameters
    ----------
    model : str, optional
        See ``opened``.
    total, cap, target_sales, margin, target_roi, target_marginal_roi, bounds, lock, groups, beyond, level, tail
        See ``wishes.Wish``; all amounts are for the whole horizon.
    horizon : int, optional
        Periods to plan; 13 where the model has dates.
    market : str, optional
        One market of the model's; without it a plan is for an average one.
    score : path or mapping, optional
        A plan of one's own: a table with a column for each channel and one row, or one for each period; or the amounts. Dates
        of a table are those of the next periods, in any order; one row with its date is the next period alone. Nothing can be
        wished for with it but a margin, a level and the tail.
    out : path, optional
        Where to write the plan as a workbook (xlsx).

    Raises
    ------
    ConfigError
        If the wish cannot be met, or contradicts itself; the sentence says what can.
    ModelError
        If the model cannot be planned with.
    """
    from adresponse.planning.own import amounts
    from adresponse.planning.prospect import Prospect
    from adresponse.planning.returns import returns
    from adresponse.planning.split import best_plan
    from adresponse.planning.split import score as scored
    from adresponse.planning.wishes import Wish

    wish = Wish(
        total=total, cap=cap, target_sales=target_sales, margin=margin, target_roi=target_roi,
        target_marginal_roi=target_marginal_roi, bounds=bounds or {}, locks=tuple(lock), groups=tuple(groups), beyond=beyond,
        level=level, tail=tail,
    )  # fmt: skip
    if score is not None:
        _refuse_wishes(wish)
    place = _workbook(out)
    with opened(model) as found:
        prospect = Prospect.of(found.stored.folder)
        given, dated = (None, 0) if score is None else amounts(score, prospect)
        if dated == 1 and horizon is not None and horizon > 1:
            raise ConfigError(
                f"horizon={horizon} does not go with a plan of one row whose date is that of the next period alone; leave the "
                "horizon out, or the date where the row is for the whole horizon."
            )
        periods = (dated or prospect.usual(given)) if horizon is None else horizon
        outlook = prospect.outlook(periods, market)
        made = best_plan(outlook, wish) if given is None else scored(outlook, given, wish)
        stops = tuple(returns(outlook, channel, margin, level, tail) for channel in outlook.channels)
        about = found.uri, found.name, found.version, prospect.contract.target, tuple(prospect.dates(periods))
    if place is not None:
        from adresponse.engines.places import part_beside
        from adresponse.report.plan_sheet import plan_sheet

        title = f"Budget plan, {about[1]} version {about[2]}" + (f", {market}" if market is not None else "")
        with part_beside(place) as part:
            part.write_bytes(plan_sheet(made, title=title, sold=outlook.sold, money=outlook.money))
    return Planned(*about, made, stops, str(place or ""), market)


def _workbook(out: str | Path | None) -> Path | None:
    """Where a workbook goes, refused before anything is planned."""
    if out is None:
        return None
    place = Path(out).absolute()
    if place.suffix.lower() != ".xlsx":
        raise ConfigError(f"out={str(out)!r} is no workbook; name a file that ends in .xlsx.")
    if not place.parent.is_dir():
        raise ConfigError(f"out={str(out)!r}: the folder {str(place.parent)!r} is not there; make it, or name another.")
    return place


def _refuse_wishes(wish: Wish) -> None:
    """Refuse what would change a plan that is to be scored as it is."""
    from adresponse.planning.wishes import Wish

    none = Wish(margin=wish.margin, level=wish.level, tail=wish.tail)
    if others := [f.name for f in fields(wish) if getattr(wish, f.name) != getattr(none, f.name)]:
        raise ConfigError(f"A plan is scored as it is, so {others[0]} cannot be asked for with it; leave one of the two out.")


# --- serve


def serve(
    model: str | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 5001,
    workers: int = 1,
    engine: Literal["adresponse", "mlflow"] = "adresponse",
    token_file: str | Path | None = None,
    allow_hosts: tuple[str, ...] = (),
    allow_anyone: bool = False,
    beyond: Literal["warn", "refuse"] = "warn",
    timeout: float = 30.0,
    max_body: int = 8 << 20,
    max_waiting: int = 256,
    log: Literal["requests", "errors"] = "requests",
    poll: float = 2.0,
) -> int:
    """Serve a model over HTTP until it is stopped; the exit code.

    A model of the registry is followed: when its alias moves, the new version is tried beside the old one and takes
    its place with no request lost.

    Parameters
    ----------
    model : str, optional
        See ``opened``.
    host, port : str, int
        Where to listen.
    workers : int
        Processes that answer.
    engine : {"adresponse", "mlflow"}
        Our server, or MLflow's own on the same model.
    token_file : path, optional
        File with the token that callers have to send; needed beyond loopback, unless ``allow_anyone``.
    allow_hosts : tuple of str
        Further names by which callers may reach the server (their ``Host`` header).
    beyond : {"warn", "refuse"}
        What to do with values beyond the range of the rows fitted.
    timeout, max_body, max_waiting, log
        See ``serving.options.Options``.
    poll : float
        Seconds between two looks at the alias.
    """
    from adresponse.serving.listening import refuse_open_door
    from adresponse.serving.options import Options, read_token

    options = Options(
        host=host, port=port, token=read_token(token_file), hosts=(*Options().hosts, *allow_hosts), max_body=max_body,
        max_waiting=max_waiting, timeout=timeout, beyond=beyond, log=log,
    )  # fmt: skip
    options = refuse_open_door(options, allow_anyone)
    if model is not None and Path(model).is_dir():
        return _serve_folder(Path(model), options, workers, engine, poll)
    if engine == "mlflow":
        with opened(model) as found:
            return _serve_folder(found.stored.folder, options, workers, engine, poll)
    from adresponse.serving import supervise

    registered = _Registered(model)
    moves = model is None or "@" in model
    return supervise.run(supervise.Followed(registered.find, registered.fetch), options, workers, poll if moves else 0.0)


class _Registered:
    """A model of the registry that is followed; the store is opened when it is first looked for, while workers start."""

    def __init__(self, model: str | None) -> None:
        self._model = model

    @cached_property
    def _found(self) -> tuple[Store, Located]:
        from adresponse import registry

        store = open_store()
        return store, registry.locate(store, self._model)

    def find(self) -> Found:
        from adresponse import registry
        from adresponse.serving.supervise import Found

        store, first = self._found
        now = registry.locate(store, first.uri)
        return Found(now.version, now.name, now.digest)

    def fetch(self, found: Found, folder: Path) -> tuple[Path, str | None]:
        from adresponse import registry

        store, first = self._found
        pinned = f"models:/{found.name}/{found.version}" if found.version else first.pinned
        return registry.fetch(store, registry.locate(store, pinned), folder), found.digest


def _serve_folder(folder: Path, options: Options, workers: int, engine: str, poll: float) -> int:
    if engine == "mlflow":
        from adresponse.serving import launch
        from adresponse.stored import open_stored

        return launch.serve_mlflow(open_stored(folder).folder, options, workers, poll)
    if workers == 1:
        from adresponse.serving import worker

        return worker.serve(folder, options=options)
    from adresponse.serving import supervise
    from adresponse.serving.pointer import Pointed

    return supervise.run(Pointed(str(folder)), options, workers)


# --- deploy elsewhere


def deploy(
    target: Literal["image", "sagemaker", "azureml"],
    model: str | None = None,
    *,
    action: Literal["create", "update", "status", "delete"] = "create",
    name: str | None = None,
    region: str | None = None,
    out: str | Path = "adresponse-image",
    config: Mapping[str, Any] | None = None,
    force: bool = False,
    dry_run: bool = False,
    client: Any = None,
) -> Intent | Written | Status | None:
    """Put a model to work elsewhere, or say what would be done.

    Parameters
    ----------
    target : {"image", "sagemaker", "azureml"}
        A build context for a container image, or an endpoint of a cloud.
    model : str, optional
        See ``opened``.
    action : {"create", "update", "status", "delete"}
        What to do with the endpoint; an image is only created.
    name : str, optional
        Name of the endpoint.
    region : str, optional
        AWS region, for ``sagemaker``.
    out : path
        Folder of the build context, for ``image``.
    config : mapping, optional
        Further settings of the target (its ``Settings``, or ``port`` and ``token_file`` of an image); an unknown name
        is refused.
    force : bool
        Write over a build context that is there.
    dry_run : bool
        Send and write nothing; give what would be done. For what creates or updates.
    client : object, optional
        Azure's ``MLClient``, where there is one already.
    """
    given = dict(config or {})
    if target == "image":
        with opened(model) as found:
            return _image(found, Path(out), given, force, dry_run)
    if not name:
        raise ConfigError(f"An endpoint of {target} needs a name; add --name NAME.")
    if dry_run and action in ("status", "delete"):
        raise ConfigError(f"The action {action!r} has no dry run, since it sends one call at once; leave --dry-run out.")
    if target == "sagemaker":
        return _sagemaker(model, action, name, region, given, dry_run)
    return _azureml(model, action, name, given, dry_run, client)


def _image(found: Model, out: Path, given: dict[str, Any], force: bool, dry_run: bool) -> Intent | Written:
    from adresponse.targets import image

    if unknown := set(given) - {"port", "token_file"}:
        raise ConfigError(f"The setting {min(unknown)!r} is not known to an image; it takes port and token_file.")
    port, token_file = _port(given.get("port", 8080)), str(given.get("token_file", "")).strip()
    if "token_file" in given and not token_file:  # of a variable that is not set; the image would answer anyone
        raise ConfigError("token_file is blank; name the file in the container where a token will lie, or leave it out.")
    act = image.intent if dry_run else image.write
    return act(found.stored, out, version=found.version, name=found.name, port=port, token_file=token_file, force=force)


def _port(value: Any) -> int:
    try:
        return int(value)
    except ValueError:
        raise ConfigError(f"port={value!r} is no port; give a number from 1 to 65535.") from None


def _sagemaker(
    model: str | None, action: str, name: str, region: str | None, given: dict[str, Any], dry_run: bool
) -> Intent | Status | None:
    from adresponse.targets import sagemaker

    if not region:
        raise ConfigError("SageMaker needs a region; add --region eu-west-1.")
    settings = sagemaker.Settings.read(region, given)
    if action == "status":
        return sagemaker.status(settings, name)
    if action == "delete":
        with _forgetting(_at_sagemaker(settings.region_name, name)):
            sagemaker.delete(settings, name)
        return None
    with opened(model) as found:
        about: dict[str, Any] = {"model": found.name, "version": found.version, "digest": found.stored.digest}
        if dry_run:
            return sagemaker.intent(settings, name, **about, action=_changing(action))
        act = sagemaker.create if action == "create" else sagemaker.update
        done = act(settings, name, found.stored.folder, **about)
        _noted(found, _at_sagemaker(settings.region_name, name), beside=settings.mode == "add")
        return done


def _changing(action: str) -> Literal["create", "update"]:
    return "update" if action == "update" else "create"


def _azureml(
    model: str | None, action: str, name: str, given: dict[str, Any], dry_run: bool, client: Any
) -> Intent | Status | None:
    from adresponse.targets import azureml

    settings = azureml.Settings.read(given)
    if action == "status":
        return azureml.status(client or azureml.connect(settings), name)
    if action == "delete":
        with _forgetting(f"azureml {name}"):
            azureml.delete(client or azureml.connect(settings), name)
        return None
    with opened(model) as found:
        if dry_run:
            return azureml.intent(
                settings, name, found.stored, model=found.name, version=found.version, action=_changing(action)
            )
        act = azureml.create if action == "create" else azureml.update
        about: dict[str, Any] = {"model": found.name, "version": found.version}
        done = act(client or azureml.connect(settings), settings, name, found.stored, **about)
        _noted(found, f"azureml {name}")
        return done


def _noted(found: Model, where: str, *, beside: bool = False) -> None:
    """Write on a registered version that a deployment answers with it, so that nobody deletes it meanwhile."""
    from adresponse import registry

    if found.store is not None and found.located is not None and found.located.version:
        registry.deployed(found.store, found.located, where, beside=beside)


@contextlib.contextmanager
def _forgetting(where: str) -> Iterator[None]:
    """Take the note of a deployment off every version, once it is gone; or where it was, else nothing could be deleted."""
    try:
        yield
    except MissingDeploymentError:
        _forgotten(where)
        raise
    _forgotten(where)


def _forgotten(where: str) -> None:
    from adresponse import registry

    with contextlib.suppress(StoreError):  # without a store there is no note
        store = open_store()
        for known in registry.models(store):
            registry.withdrawn(store, known.name, where)


def _at_sagemaker(region: str, name: str) -> str:
    return f"sagemaker:/{region} {name}"


# --- verify


def try_out(stored: Stored, name: str, store: Store, experiment_id: str, run_id: str) -> Verification:
    """Put a model that is not registered yet behind a local endpoint, and hold its answers against the evaluation."""
    from adresponse import asking
    from adresponse.serving import launch

    with launch.background(stored.folder, version=stored.model_id, name=name) as endpoint:
        found, _ = _judged(
            asking.at_url(endpoint.url), "The local endpoint", stored, stored.model_id, store, experiment_id, run_id
        )
    return found


def verify(
    model: str | None = None,
    *,
    url: str | None = None,
    target: str | None = None,
    deployment: str | None = None,
    config: Mapping[str, Any] | None = None,
    token_file: str | Path | None = None,
    progress: Progress = silent,
) -> Verified:
    """Ask a deployment the evaluation rows, and hold each answer, each score and the version against the evaluation.

    The result is kept as a run of MLflow and as tags of the version.

    Parameters
    ----------
    model : str, optional
        See ``opened``.
    url : str, optional
        Of a server that speaks MLflow's scoring protocol. Without it and ``target``, a local one is started for it.
    target, deployment : str, optional
        ``sagemaker:/REGION``, ``azureml`` or any other target of ``mlflow deployments``, and the deployment's name there.
    config : mapping, optional
        Settings of the target, as ``deploy`` takes them.
    token_file : path, optional
        File with the token that the server at ``url`` asks for.

    Raises
    ------
    ConfigError
        If an argument contradicts another, or would not be read.
    DeploymentError
        If the deployment cannot be asked.
    """
    _refuse_unread(url, target, deployment, config, token_file)
    from adresponse import track

    progress("Opening the model")
    with opened(model) as found, contextlib.ExitStack() as stack:
        progress("Asking the deployment")
        ask, where = _asker(found, url, target, deployment, config, token_file, stack)
        store = found.store or open_store()
        experiment = track.experiment_of(store, found.name or "verification")
        result, run_id = _judged(ask, where, found.stored, found.version, store, experiment, "")
        if found.located is not None and found.located.version:
            _tag(store, found.located, result, where)
        return Verified(found.uri, found.name, found.version, run_id, result)


def loading(store: Store) -> Callable[[str], None]:
    """A try that a model is whole: its files are fetched and held against the manifest."""
    from adresponse import registry

    def try_it(uri: str) -> None:
        with tempfile.TemporaryDirectory(prefix="adresponse-") as folder:
            from_registry(store, registry.locate(store, uri), Path(folder))

    return try_it


def verifying(progress: Progress = silent) -> Callable[[str], None]:
    """A try that a model answers what was evaluated, behind a local endpoint; raises where it does not."""

    def try_it(uri: str) -> None:
        found = verify(uri, progress=progress)
        if not found.verification.passed:
            raise DifferenceError(f"{uri}: {found.verification.sentence}")

    return try_it


def _refuse_unread(
    url: str | None, target: str | None, deployment: str | None, config: Mapping[str, Any] | None, token_file: Any
) -> None:
    """Refuse arguments that would be dropped, since the answers would come from elsewhere than was meant."""
    if url is not None and target is not None:
        raise ConfigError("Give --url or --target, not both.")
    if target is None and deployment is not None:
        raise ConfigError(f"{deployment=} names a deployment at a target; add --target TARGET, or leave out --deployment.")
    if target is None and config:
        raise ConfigError("config (-C) holds settings of a target; add --target TARGET, or leave out -C.")
    if url is None and token_file is not None:
        raise ConfigError(f"token_file={str(token_file)!r} is sent to a server at a URL; add --url URL, or leave it out.")
    if target is not None and not deployment:
        raise ConfigError(f"target={target!r} needs the name of the deployment there; add --deployment NAME.")


def _asker(
    found: Model,
    url: str | None,
    target: str | None,
    deployment: str | None,
    config: Mapping[str, Any] | None,
    token_file: Any,
    stack: contextlib.ExitStack,
) -> tuple[Ask, str]:
    from adresponse import asking
    from adresponse.serving.options import read_token

    if url is not None:
        return asking.at_url(url, read_token(token_file)), url
    if target is not None and deployment is not None:
        from adresponse.store import without_secrets

        return asking.at_target(target, deployment, config or {}), f"{without_secrets(target)} {deployment}"
    from adresponse.serving import launch

    endpoint = stack.enter_context(launch.background(found.stored.folder, version=found.version, name=found.name))
    return asking.at_url(endpoint.url), "A local endpoint"


def _judged(
    ask: Ask, where: str, stored: Stored, version: str, store: Store, experiment_id: str, parent: str
) -> tuple[Verification, str]:
    """The verification and the run that keeps it."""
    from adresponse import scoring
    from adresponse.verification import EvaluationRows, compare, complete, unlike

    rows = EvaluationRows.read(stored.folder)
    answered = _answered(ask, rows)
    tags = {"adresponse.model": stored.formula.about.get("name", ""), "adresponse.verified_version": version}
    with scoring.start(store, experiment_id, f"verify {version}", tags, parent) as trial:
        if isinstance(answered, str):
            result = unlike(where, rows, answered)
        else:
            scores = trial.scores(rows, answered.prediction) if complete(rows, answered) else {}
            result = compare(where, version, rows, answered, scores)
        trial.log(result)
    return result, trial.run_id


def _answered(ask: Ask, rows: EvaluationRows) -> Answered | str:
    """The answers; where what came back is none, what the deployment did instead, as a sentence without its subject."""
    try:
        return ask(rows)
    except DifferenceError as error:
        return str(error)


def _tag(store: Store, located: Located, result: Verification, where: str) -> None:
    from adresponse import record, registry

    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    said = {"adresponse.verified_at": now, "adresponse.verified_deployment": where}
    registry.tag(store, located, record.verification_tags(result) | said)

"""What the user asked for: the arguments, the config file and the environment, read here and nowhere else."""

from __future__ import annotations

import math
import os
import re
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from adresponse.errors import ConfigError, did_you_mean

__all__ = ["CONFIG_TEMPLATE", "ColumnMeaning", "Settings", "load", "project_run", "state_folder", "tracking_uri"]

CONFIG_TEMPLATE = """\
# adresponse: what to fit, and how. Every line is optional; the command line wins over this file.

# target: Sales                  # the column to be explained
# channels: [TV, Radio]          # the columns of spend
# controls: []                   # further numeric columns that explain sales (price, holidays)
# date: week                     # with a date, the last rows are held out instead of random ones
# market: region

# columns:                       # what each column means and its unit: used in the report, the plots and MLflow
#   TV: {means: TV marketing budget, unit: thousand dollars}
#   Sales: {means: Sales, unit: thousand units}
# origin: Where the table comes from, in words

# missing: refuse                # or drop: leave out rows with a missing value
# decimal: "."                   # or ",": where the file's numbers can be read either way
# max_rows: 1000000              # larger tables are fitted on a random sample of this size

# test_size: 0.2                 # share of rows held out; 0 fits on all rows and scores by cross-validation
# seed: 42
# folds: 5
# repeats: 4

# shape: auto                    # response curves: linear, log, power, hill, logistic, or the best of them; without it a line
# carry_over: geometric          # with a date, what spend leaves for later periods: none, geometric, delayed, weibull
# trend: true                    # with a shape and a date: a trend
# season: 2                      # and as many waves of the year; without it what the length of the table allows
# weekdays: true                 # and in a daily table of eight weeks and more, a level for each day of the week
# sizes: auto                    # with a shape and markets: equal, sales, a size of each, or the likelier of the first two
# lifts: {tv: [1.4, 0.3]}        # what experiments found: sales for one unit of spend, and the standard error

# challengers: [sklearn.ensemble.HistGradientBoostingRegressor]   # any scikit-learn regressor, by import path
# gate: [all finite, beats baseline, r2 >= 0.5]                   # what a version must pass to become champion

# verify: true                   # or false: do not start a local endpoint to see that the model answers what was evaluated

# watch: {alpha: 0.05, min_rows: 20}          # how strictly new rows are looked at; see the how-to on watching
# promotion: {mode: enforce}                  # or dry-run, off: when a challenger takes the champion's place

# name: sales-response           # the model's name in the registry; without it, <target>-response
# out: adresponse-output         # where the report is written
"""


LONGEST_NAME = 200  # bytes: with an ending it names a file, for which 255 is the limit


def _is_size(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0


class ColumnMeaning(BaseModel):
    """What a column means, and its unit."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    means: str = ""
    unit: str = ""


class Settings(BaseModel):
    """Every choice of a study with its default; refuses what it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    target: str | None = None
    channels: tuple[str, ...] | None = None
    controls: tuple[str, ...] = ()
    date: str | None = None
    market: str | None = None
    columns: dict[str, ColumnMeaning] = Field(default_factory=dict)
    origin: str = ""
    missing: Literal["refuse", "drop"] = "refuse"
    decimal: Literal[".", ","] | None = None
    query: str | None = None
    sql_table: str | None = None
    sheet: str | None = None
    max_rows: int = Field(default=1_000_000, ge=100)
    test_size: float = Field(default=0.2, ge=0, lt=1)
    seed: int = Field(default=42, ge=0, lt=2**32)
    folds: int = Field(default=5, ge=2, le=50)
    repeats: int = Field(default=4, ge=1, le=100)
    shape: Literal["linear", "log", "power", "hill", "logistic", "auto"] | None = None
    carry_over: Literal["none", "geometric", "delayed", "weibull"] | None = None
    trend: bool = True
    season: int | None = Field(default=None, ge=0, le=10)
    weekdays: bool = True
    sizes: Literal["auto", "equal", "sales"] | dict[str, float] = "auto"
    lifts: dict[str, tuple[float, float]] = Field(default_factory=dict)
    challengers: tuple[str, ...] = ()
    gate: tuple[str, ...] = ("all finite", "beats baseline")
    verify: bool = True
    watch: dict[str, Any] = Field(default_factory=dict)
    promotion: dict[str, Any] = Field(default_factory=dict)
    name: str | None = None
    out: Path = Path("adresponse-output")

    @field_validator("channels", "controls", "challengers", "gate", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("sizes", mode="before")
    @classmethod
    def _by_market(cls, value: Any) -> Any:
        """A number above 0 for each market, whose name may be a number in a config file."""
        if isinstance(value, Mapping) and value and all(_is_size(size) for size in value.values()):
            return {str(market): float(size) for market, size in value.items()}
        if isinstance(value, str) and value in ("auto", "equal", "sales"):
            return value
        raise ValueError("give auto, equal, sales, or a number above 0 for each market, {North: 4.1, South: 0.8}")

    @field_validator("lifts", mode="before")
    @classmethod
    def _as_typed(cls, value: Any) -> Any:
        """``["tv=1.4:0.3"]``, as a command takes them, as ``{"tv": (1.4, 0.3)}``."""
        if not isinstance(value, list | tuple):
            return value
        found: dict[str, tuple[str, str]] = {}
        for text in value:
            channel, _, known = str(text).rpartition("=")
            lift, colon, error = known.partition(":")
            if not channel or not colon:
                raise ValueError(f"{text!r} cannot be read; write channel=return:error, tv=1.4:0.3")
            if channel.strip() in found:
                raise ValueError(f"{channel.strip()!r} is given twice; give one return and one error for a channel")
            found[channel.strip()] = (lift.strip(), error.strip())
        return found

    @field_validator("promotion", mode="before")
    @classmethod
    def _off(cls, value: Any) -> Any:
        """``off`` is false to YAML, unless it is quoted."""
        return {**value, "mode": "off"} if isinstance(value, Mapping) and value.get("mode") is False else value

    @field_validator("name")
    @classmethod
    def _nameable(cls, value: str | None) -> str | None:
        if value is not None and (not value.strip(". ") or re.search(r"[/:@?#%]", value) or not value.isprintable()):
            raise ValueError("a model name is not blank, and has no '/', ':', '@', '?', '#' or '%' and no control characters")
        if value is not None and "'" in value and '"' in value:
            raise ValueError("a model name has no quotes of both kinds, since no filter of MLflow's can hold it")
        if value is not None and len(value.encode()) > LONGEST_NAME:
            raise ValueError(f"a model name has at most {LONGEST_NAME} bytes")
        if value is not None:
            from adresponse.mutex import LOCK

            if value == LOCK:
                raise ValueError("the queue of the lock has this name; take another")
        return value

    def dictionary(self) -> dict[str, dict[str, str]]:
        """The column dictionary as plain values."""
        return {name: meaning.model_dump() for name, meaning in self.columns.items()}

    def plain(self) -> dict[str, Any]:
        """All settings as plain values for JSON and YAML, without those that were left unset."""
        return self.model_dump(mode="json", exclude_none=True)

    def model_name(self, target: str) -> str:
        """``name``, or ``<target>-response`` in lower case with everything but letters, digits and ``._-`` as ``-``."""
        composed = unicodedata.normalize("NFC", target.strip().lower())  # an accent by itself is no letter
        plain = re.sub(r"[^\w.-]+", "-", composed).strip("-.") or "sales"
        return self.name or plain.encode()[: LONGEST_NAME - 9].decode(errors="ignore") + "-response"


def load(config: str | Path | None = None, **given: Any) -> Settings:
    """Settings from a YAML file and from what was given beside it; what was given wins, None counts as not given.

    Raises
    ------
    ConfigError
        If the file cannot be read, or a key or a value is not known; the sentence names it.
    """
    asked = _from_file(Path(config)) if config is not None else {}
    asked |= {key: value for key, value in given.items() if value is not None}
    try:
        return Settings(**asked)
    except ValidationError as error:
        raise ConfigError(_sentence(error, str(config) if config else "")) from None


def _from_file(path: Path) -> dict[str, Any]:
    try:
        read = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"Config file {str(path)!r} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"Config file {str(path)!r} is not UTF-8 text; save it as UTF-8.") from None
    except (ValueError, RecursionError) as error:  # of a date that is none, a number of 5,000 digits, a thousand brackets
        raise ConfigError(f"Config file {str(path)!r} cannot be read: {str(error).split(';')[0]}.") from None
    except yaml.YAMLError as error:
        where = getattr(error, "problem_mark", None)
        at = f", line {where.line + 1}" if where else ""
        raise ConfigError(f"Config file {str(path)!r}{at} is not valid YAML: {getattr(error, 'problem', error)}.") from None
    if read is None:
        return {}
    if not isinstance(read, Mapping):
        raise ConfigError(f"Config file {str(path)!r} holds no keys and values; see `adresponse init` for one that does.")
    return {str(key): value for key, value in read.items()}


def _sentence(error: ValidationError, source: str) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    where = f"{source}: " if source and key else ""
    if first["type"] == "extra_forbidden":
        *before, last = map(str, first["loc"])
        near = did_you_mean(last, ColumnMeaning.model_fields if before else Settings.model_fields)
        return f"{where}Setting {key!r} is not known.{near}"
    message = first["msg"].removeprefix("Value error, ")
    return f"{where}Setting {key}={first['input']!r} is refused: {message[0].lower()}{message[1:]}."


def tracking_uri() -> str | None:
    """``MLFLOW_TRACKING_URI`` where it is set and not blank."""
    return os.environ.get("MLFLOW_TRACKING_URI") or None


def state_folder() -> Path:
    """Where this user's local deployments are recorded."""
    from adresponse.targets.local import state_folder as folder_of

    return folder_of("", os.environ)


def project_run() -> str | None:
    """``MLFLOW_RUN_ID``: the run that MLflow Projects have started for this process."""
    return os.environ.get("MLFLOW_RUN_ID") or None

"""How do settings come from a command line? ``key=value`` as each setting takes it, or a refusal that names it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from adresponse.errors import ConfigError, did_you_mean

__all__ = ["read_given"]


def read_given(kind: type, given: Mapping[str, Any], whose: str) -> dict[str, Any]:
    """Values for the fields of a dataclass from names and values, which may be text.

    Parameters
    ----------
    kind : type
        The dataclass.
    given : mapping of str to object
        Text is read as the field's type; anything else is taken as it is.
    whose : str
        Whose settings these are, for people: ``SageMaker``.

    Raises
    ------
    ConfigError
        If a name is not known, or a value does not fit; the sentence names it.
    """
    known = {f.name: str(f.type) for f in fields(kind)}
    for key in given:
        if key not in known:
            raise ConfigError(f"The setting {key!r} is not known to {whose}'s deployment.{did_you_mean(key, known)}")
    return {key: _read(key, known[key], value) for key, value in given.items()}


def _read(key: str, kind: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if kind == "int":
        return _whole(key, value)
    if kind == "bool":
        if value.lower() not in ("true", "false"):
            raise ConfigError(f"{key}={value!r} is neither true nor false.")
        return value.lower() == "true"
    return _object(key, value) if kind.startswith("dict") else value


def _whole(key: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise ConfigError(f"{key}={value!r} is no whole number.") from None


def _object(key: str, value: str) -> dict[str, Any]:
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ConfigError(f'{key} is no JSON object; write {key}=\'{{"name": "value"}}\'.')
    return found

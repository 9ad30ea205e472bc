"""Features of your own: functions in Python files, and columns that come with the rewards.

A function gets two lists of equal length, prompts and responses, and returns one finite number per response::

    def politeness(prompts: list[str], responses: list[str]) -> list[float]:
        return [response.lower().count("please") for response in responses]

Its file is run, as a part of this program: name only files that you trust.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from rm.errors import AuditError, ConfigError
from rm.features import battery
from rm.features.battery import BATTERY, Feature
from rm.features.responses import Responses
from rm.files import sha256_file, sha256_text
from rm.stats.clustered import Floats

_KEY = "audit.features"
_EXPECTED = "FILE:FUNCTION with a file of Python"


def load(names: Sequence[str]) -> tuple[Feature, ...]:
    """Features of the functions, named after them.

    Parameters
    ----------
    names : sequence of str
        Each ``FILE:FUNCTION``.

    Raises
    ------
    ConfigError
        If a file or function is missing, a file cannot be run, or two features have one name.

    Notes
    -----
    ``read`` of a feature raises AuditError if its function raises, or does not give one finite number per response.
    """
    loaded = tuple(_feature(name) for name in names)
    _check_names(loaded)
    return loaded


def read(names: Sequence[str], prompts: Sequence[str], responses: Sequence[str]) -> tuple[tuple[Feature, ...], Floats]:
    """Features of the functions, and every feature of every response, shape (N, K).

    Parameters
    ----------
    names : sequence of str, K of them
        Each ``FILE:FUNCTION``.
    prompts : sequence of str, N of them
        The prompt of each response.
    responses : sequence of str, N of them

    Raises
    ------
    ConfigError, AuditError
        As for `load` and the features that it gives.
    """
    loaded = load(names)
    if not loaded:
        return (), np.empty((len(responses), 0))
    return loaded, battery.read(loaded, Responses(responses, prompts))


def differences(
    names: Sequence[str],
    prompts: Sequence[str],
    chosen: Sequence[str],
    rejected: Sequence[str],
    given: Mapping[str, Floats],
) -> tuple[tuple[Feature, ...], Floats]:
    """Every feature of your own and its difference in every pair, shape (B, K).

    Parameters
    ----------
    names : sequence of str
        Each ``FILE:FUNCTION``.
    prompts, chosen, rejected : sequences of str, B of them
    given : mapping of name to array of shape (B,)
        Features that came with the rewards, chosen minus rejected (`rm.audit.heldout.ScoredPairs.own`).

    Returns
    -------
    tuple of Feature, K of them
        First the functions, then those given.
    array of shape (B, K)

    Raises
    ------
    ConfigError, AuditError
        As for `read`; also if a function and a column have one name.
    """
    features, values = read(names, [*prompts, *prompts], [*chosen, *rejected])
    features += tuple(
        Feature(name, "own", _unreadable, f"{name} in the file of scores", "a column of the file of scores")
        for name in given
    )
    _check_names(features)
    return features, np.column_stack([values[: len(chosen)] - values[len(chosen) :], *given.values()])


def digests(names: Sequence[str]) -> dict[str, str]:
    """SHA-256 of the file of each function: a result that was computed with another file is not the same.

    Raises
    ------
    ConfigError
        If a name has another form, or a file is missing.
    """
    return {name: sha256_file(_parts(name)[0]) for name in names}


def _unreadable(texts: Responses) -> Floats:
    raise TypeError("a feature that came with the rewards has no function to read other responses with")


def _check_names(features: Sequence[Feature]) -> None:
    """Refuse a name twice; names of findings have ``_`` for blanks."""
    known = {feature.name.replace(" ", "_"): "the battery" for feature in BATTERY}
    for feature in features:
        name = feature.name.replace(" ", "_")
        if name in known:
            raise ConfigError(f"{_KEY}: expected another name for {feature.about}: {known[name]} has a feature {name}")
        known[name] = feature.about


def _parts(name: str) -> tuple[Path, str]:
    file, colon, function = name.rpartition(":")
    if not colon or not file.endswith(".py") or not function.isidentifier():
        raise ConfigError(f"{_KEY}: expected {_EXPECTED}, got {name!r}")
    if not Path(file).is_file():
        raise ConfigError(f"{_KEY}: {file}: no such file; expected {_EXPECTED}")
    return Path(file), function


def _feature(name: str) -> Feature:
    path, function = _parts(name)
    found = getattr(_run(path), function, None)
    if not callable(found):
        raise ConfigError(f"{_KEY}: {path}: expected a function {function}, got {found!r:.60}")
    return Feature(function, "own", _reader(found, name), name, "named in the settings of the audit")


def _run(path: Path) -> ModuleType:
    module = ModuleType(f"rmflow_own_{sha256_text(str(path.resolve()))[:16]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up there
    try:
        # Not by an import: that would take a changed file of the same second and size from a cache.
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except Exception as error:
        raise ConfigError(f"{_KEY}: {path}: cannot be run: {type(error).__name__}: {error}") from error
    return module


def _reader(function: Callable[[list[str], list[str]], Any], name: str) -> Callable[[Responses], Floats]:
    def reader(texts: Responses) -> Floats:
        prompts = [texts.prompts[index] for index in texts.prompt_of.tolist()]
        try:
            values = function(prompts, texts.text.to_pylist())
        except Exception as error:
            raise AuditError(f"{_KEY}: {name}: raised {type(error).__name__}: {error}") from error
        return _checked(values, len(texts), name)

    return reader


def _checked(values: Any, count: int, name: str) -> Floats:
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise AuditError(f"{_KEY}: {name}: expected {count} numbers, got {values!r:.60}") from None
    if found.shape != (count,):
        came = f"{len(found)} numbers" if found.ndim == 1 else f"{values!r:.60}"
        raise AuditError(f"{_KEY}: {name}: expected {count} numbers, one per response, got {came}")
    if not np.isfinite(found).all():
        worst = int(np.argmin(np.isfinite(found)))
        raise AuditError(f"{_KEY}: {name}: expected finite numbers, got {found[worst]} for response {worst + 1}")
    return found

"""Reading a recipe: YAML with overrides, and errors that say what was expected and what was found."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from rm.audit.config import AuditConfig
from rm.data.config import IngestConfig
from rm.errors import ConfigError
from rm.gate.policy import GatePolicy
from rm.locations import without_secrets
from rm.model.config import BASES
from rm.pipeline.config import PipelineConfig
from rm.pipeline.yaml_text import values_of
from rm.section import Section

S = TypeVar("S", bound=Section)
_MOST_SHOWN = 100
"""Characters of an override that an error repeats."""
READING_KEYS = ("fields", "ignore", "format", "max_quarantined_share")
"""Keys of ``ingest`` that say how a labelled file is read."""
_MOVED = {f"train.{name}": f"compute.{name}" for name in ("tokens_per_batch", "gradient_checkpointing", "compile")} | {
    "sample.length_bias": "sample.biases.length"
}
"""Keys of earlier versions to their present names."""


def load_policy(path: Path) -> GatePolicy:
    """Read a gate's policy from a YAML file with the keys of a recipe's ``gate`` section.

    Raises
    ------
    ConfigError
        As for `load`.
    """
    return _validated(GatePolicy, _read(path, "a gate's policy such as in docs/gate.md"), path)


def load(path: Path, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Read a recipe and apply ``key=value`` overrides.

    Parameters
    ----------
    path : Path
        A YAML file.
    overrides : sequence of str
        Each is ``dotted.key=value``; the value is read as YAML, so ``3`` is a number and ``[a, b]`` a list. The last of
        two counts; a base model replaces another one.

    Raises
    ------
    ConfigError
        Naming the file, the key, what was expected and what was found.
    """
    values = _read(path, "a YAML recipe such as configs/quickstart.yaml")
    for override in overrides:
        _apply(values, override)
    return _validated(PipelineConfig, values, path)


class _Audit(Section):
    audit: AuditConfig = AuditConfig()


class _Ingest(Section):
    ingest: IngestConfig = IngestConfig()


class LabelledSettings(_Audit, _Ingest):
    """The sections of an audit that reads labelled responses from a file."""


def audit_settings(overrides: Sequence[str]) -> AuditConfig:
    """The ``audit`` section without a recipe: the defaults with ``audit.key=value`` overrides, and no others.

    Raises
    ------
    ConfigError
        As for `load`.
    """
    return _settings(_Audit, overrides).audit


def ingest_settings(overrides: Sequence[str]) -> IngestConfig:
    """The ``ingest`` section without a recipe.

    Raises
    ------
    ConfigError
        As for `load`.
    """
    return _settings(_Ingest, overrides).ingest


def labelled_settings(overrides: Sequence[str]) -> LabelledSettings:
    """Both sections without a recipe; of ``ingest`` only the keys of `READING_KEYS`.

    Raises
    ------
    ConfigError
        As for `load`; for a key that would have no effect.
    """
    found = _settings(LabelledSettings, overrides)
    _check_reading(found.ingest)
    return found


def reading_settings(overrides: Sequence[str]) -> IngestConfig:
    """The ``ingest`` section alone, as `labelled_settings` reads it.

    Raises
    ------
    ConfigError
        As for `labelled_settings`.
    """
    found = ingest_settings(overrides)
    _check_reading(found)
    return found


def _check_reading(ingest: IngestConfig) -> None:
    if idle := sorted(ingest.model_fields_set - set(READING_KEYS)):
        raise ConfigError(
            f"--set ingest.{idle[0]}: it has no effect here; of ingest only {', '.join(READING_KEYS)} have one"
        )


def _settings(model: type[S], overrides: Sequence[str]) -> S:
    values: dict[str, Any] = {}
    for override in overrides:
        _apply(values, override)
    return _validated(model, values, "--set")


def _read(path: Path, expected: str) -> dict[str, Any]:
    try:
        values = values_of(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file; expected {expected}") from None
    except (OSError, ValueError) as error:  # not UTF-8, or a date such as 2026-02-30
        raise ConfigError(f"{path}: cannot be read as YAML: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected a mapping of sections at the top, got {type(values).__name__}")
    return values


def _validated(model: type[S], values: dict[str, Any], source: Path | str) -> S:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{source}: {explain(error, model)}") from None


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    said = f"--set {override if len(override) <= _MOST_SHOWN else f'{override[:_MOST_SHOWN]}...'}"
    if not equals or not key:
        raise ConfigError(f"{said}: expected key=value, such as --set train.learning_rate=1e-5")
    try:
        value = values_of(text)
    except ValueError as error:
        raise ConfigError(f"{said}: the value is not YAML: {error}") from None
    *sections, last = key.split(".")
    target = values
    for section in sections:
        if target.get(section) is None:
            target[section] = {}
        target = target[section]
        if not isinstance(target, dict):
            raise ConfigError(f"{said}: {section} is a value, not a section with keys")
    target[last] = value
    if sections[:1] == ["model"] and value is not None:
        _drop_other_bases(values["model"], key.split(".")[1])


def _drop_other_bases(model: dict[str, Any], chosen: str) -> None:
    """Leave only the base model that was chosen, if it is one."""
    if chosen in BASES:
        for other in set(BASES) - {chosen}:
            model.pop(other, None)


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """For each invalid key one line: what was expected and what was found."""
    lines = []
    for detail in error.errors():
        key = ".".join(str(part) for part in detail["loc"]) or "(top level)"
        if detail["type"] == "extra_forbidden":
            hint = f"; its name is {_MOVED[key]} now" if key in _MOVED else _suggestion(model, detail["loc"])
            lines.append(f"{key}: unknown key{hint}")
        elif detail["type"] == "missing":
            lines.append(f"{key}: missing; it has no default")
        else:
            came = detail["input"]
            shown = "" if isinstance(came, dict | BaseModel) else f", got {without_secrets(repr(came))}"
            lines.append(f"{key}: {detail['msg'].removeprefix('Value error, ')}{shown}")
    return "\n  ".join(lines)


def _suggestion(model: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    """The known key nearest to an unknown one, or all known keys of its section."""
    section: Any = model
    for part in loc[:-1]:
        if isinstance(part, int):  # an index in a list, whose item type is known already
            continue
        field = section.model_fields.get(part) if hasattr(section, "model_fields") else None
        if field is None:
            return ""
        candidates = [field.annotation, *getattr(field.annotation, "__args__", ())]
        section = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
    if section is None:
        return ""
    keys = list(section.model_fields)
    near = difflib.get_close_matches(str(loc[-1]), keys, n=1)
    return f", did you mean {near[0]}?" if near else f"; known keys: {', '.join(keys)}"

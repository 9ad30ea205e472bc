"""The document of the configuration, made from its classes: keys, types, defaults, and what is said of each."""

from __future__ import annotations

import ast
import builtins
import inspect
import json
import pkgutil
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from rm.labels.config import LabelCheck
from rm.pipeline.config import PipelineConfig
from rm.section import Section

_HEAD = """# Configuration

`python bench/configuration.py > docs/configuration.md` makes this page from the classes of the sections.

A recipe is YAML with these sections, and holds only what differs from the defaults; `model` alone is required. Any key
can be set on the command line: `--set train.learning_rate=1e-5`, `--set ingest.fields='{prompt: question}'`. The value
is read as YAML, a misspelt key is an error that names the nearest, and `null` is none. A section whose default is
none is off until it stands in the recipe or one of its keys is set. Recipes to start from are in `configs/`.
"""
_WORDS = {int: "whole number", float: "number", str: "text", Path: "path", bool: "`true` or `false`"}


def page() -> str:
    """The document, in Markdown."""
    return "\n".join([_HEAD, *(_section(name, section) for name, section in _sections("", PipelineConfig))])


def undocumented() -> list[str]:
    """Keys of which nothing is said."""
    return [
        f"{section.__name__}.{key}"
        for _, section in _sections("", PipelineConfig)
        for key in section.model_fields
        if key not in _docstrings(section)
    ]


def _sections(prefix: str, section: type[Section]) -> Iterator[tuple[str, type[Section]]]:
    """The sections below one by their dotted names, each before its own; a list's items are written ``name[]``."""
    done: set[type[Section]] = set()
    for key, field in section.model_fields.items():
        below, is_list = _section_in(field.annotation)
        if below is None or below in done:
            continue
        done.add(below)
        name = f"{prefix}{key}{'[]' if is_list else ''}"
        yield name, below
        yield from _sections(f"{name}.", below)


def _section_in(annotation: Any) -> tuple[type[Section] | None, bool]:
    """The section that a field holds, and whether it holds a list of them."""
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return annotation, False
    found = [_section_in(part)[0] for part in get_args(annotation)]
    return next((each for each in found if each), None), get_origin(annotation) is tuple


def _section(name: str, section: type[Section]) -> str:
    said = _docstrings(section)
    about = _one_line(inspect.getdoc(section) or "")
    rows = [
        f"| `{key}` | {_kind(field)} | {_default(field)} | {said.get(key, '')} |"
        for key, field in section.model_fields.items()
    ]
    return "\n".join(
        [f"## {name}", "", about, "", "| key | value | default | meaning |", "|---|---|---|---|", *rows, ""]
    )


def _docstrings(section: type[Section]) -> dict[str, str]:
    """What stands below each field of a section and of those that it extends."""
    said: dict[str, str] = {}
    for each in reversed([base for base in section.__mro__ if issubclass(base, Section) and base is not Section]):
        body = ast.parse(inspect.getsource(each)).body[0]
        assert isinstance(body, ast.ClassDef)
        for field, text in zip(body.body, body.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                said[field.target.id] = _one_line(ast.literal_eval(text.value))
    return said


def _one_line(text: str) -> str:
    written = re.sub(r"``(.+?)``", r"`\1`", " ".join(text.split()))
    return re.sub(r"`(rm(?:\.\w+)*\.[A-Z]+)`", _values, written).replace("|", "\\|")


def _values(name: re.Match[str]) -> str:
    """The values that a constant holds, in place of its name."""
    return ", ".join(f"`{value}`" for value in pkgutil.resolve_name(name[1]))


def _kind(field: FieldInfo) -> str:
    return _words(field.annotation) + _limits(field.metadata)


def _words(annotation: Any) -> str:
    below, is_list = _section_in(annotation)
    if below is not None:
        return "list of sections" if is_list else "section"
    parts = get_args(annotation)
    match get_origin(annotation):
        case None:
            words = _WORDS.get(annotation) or str(annotation.__name__)
        case builtins.tuple:
            words = f"list of {_words(parts[0])}"
        case builtins.dict:
            words = f"mapping of {_words(parts[0])} to {_words(parts[1])}"
        case typing.Literal:
            words = " or ".join(f"`{part}`" for part in parts)
        case typing.Annotated:
            words = _words(parts[0])
        case _:
            words = " or ".join(_words(part) for part in _without_narrower(parts))
    return words


def _without_narrower(parts: tuple[Any, ...]) -> list[Any]:
    """The members of a union but None, and but whole numbers beside numbers."""
    return [part for part in parts if part is not types.NoneType and not (part is int and float in parts)]


def _limits(metadata: list[Any]) -> str:
    limits = []
    for limit in metadata:
        match limit:
            case Ge(ge=least):
                limits.append(f"at least {least}")
            case Gt(gt=bound):
                limits.append(f"above {bound}")
            case Le(le=most):
                limits.append(f"at most {most}")
            case Lt(lt=bound):
                limits.append(f"below {bound}")
            case MinLen():
                limits.append("not empty")
            case _ if pattern := getattr(limit, "pattern", None):
                limits.append("not blank" if pattern == r"\S" else f"matches `{pattern}`")
    return "".join(f", {limit}" for limit in limits)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    assert value is not PydanticUndefined
    if value is None:
        return "none"
    if isinstance(value, Section):
        return "its defaults"
    if isinstance(value, tuple) and value and isinstance(value[0], Section):
        page = "labels.md" if isinstance(value[0], LabelCheck) else "gate.md"
        return f"{len(value)} checks ([{page}]({page}))"
    return f"`{json.dumps(value)}`"

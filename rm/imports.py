"""What a module reaches by its imports, read from the sources without running them.

Stages are keyed by the code that can change what they make, and the order of the packages is checked; both walk the
same imports.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from rm.files import sha256_file, sha256_json


@cache
def imported(path: Path) -> frozenset[str]:
    """Dotted names of what a file imports, wherever in the file, also where only type checkers look.

    ``from a.b import c`` gives ``a.b`` and ``a.b.c``, since c may be a module.
    """
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def source(module: str, root: Path) -> Path | None:
    """The file of a module below a root folder, of a package its ``__init__.py``; None if there is none."""
    base = root.joinpath(*module.split("."))
    return next((path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file()), None)


def reached(module: str, root: Path) -> frozenset[str]:
    """The modules below a root folder that a module imports, directly or through others, itself among them.

    To import a module runs the ``__init__.py`` of each package around it, so these are among them too.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = source(name, root)
        if name in found or path is None:
            continue
        found.add(name)
        waiting += [*imported(path), *_packages(name)]
    return frozenset(found)


def _packages(module: str) -> Iterator[str]:
    parts = module.split(".")
    return (".".join(parts[:depth]) for depth in range(1, len(parts)))


def code_files(module: str, root: Path) -> list[Path]:
    """The files that decide what a module does: the sources that it reaches, and the data that lies beside them.

    Data are the files of a package that are no sources, such as templates and tables, also in folders below it that
    hold no sources.
    """
    sources = {path for name in reached(module, root) if (path := source(name, root)) is not None}
    return sorted({*sources, *(data for folder in {path.parent for path in sources} for data in _data(folder))})


def _data(folder: Path) -> Iterator[Path]:
    for path in folder.iterdir():
        if path.name.startswith((".", "__pycache__")):
            continue
        if path.is_file() and path.suffix != ".py":
            yield path
        elif path.is_dir() and not any(path.glob("*.py")):
            yield from _data(path)


@cache
def code_digest(module: str, root: Path) -> str:
    """SHA-256 over the names and contents of `code_files`, in hex."""
    return sha256_json({path.relative_to(root).as_posix(): sha256_file(path) for path in code_files(module, root)})

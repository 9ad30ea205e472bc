"""Which modules a module imports, directly or through others, read from the source files without running them.

Two uses: the key of a stage contains the digest of the code that the stage can run, and a test checks the order of the
packages.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from rm.files import sha256_file, sha256_json


@cache
def imported(path: Path) -> frozenset[str]:
    """Dotted names of all imports of a file, also those inside functions and under ``TYPE_CHECKING``.

    ``from a.b import c`` gives ``a.b`` and ``a.b.c``, since c may be a module. A line of a text that reads like an
    import may be taken for one.
    """
    names: set[str] = set()
    for node in _statements(_parsed(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return frozenset(names)


def _parsed(text: str) -> ast.Module:
    """The imports of a file alone, which takes a tenth of the time; the whole file where one is not easily seen."""
    found = _IMPORT.findall(text)
    if len(found) == len(_KEYWORD.findall(text)):
        try:
            return ast.parse("\n".join(found))
        except SyntaxError:  # such as one that goes on behind a backslash
            pass
    return ast.parse(text)


_KEYWORD = re.compile(r"import\b")
_IMPORT = re.compile(r"^[ \t]*((?:from [\w.]+ )?import (?:\([^)]*\)|[^\n(]*))", re.MULTILINE)
"""A statement that begins its line."""


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """All statements below a node; expressions, which are most of a file, hold no import."""
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        for statement in getattr(node, name, ()):
            yield statement
            yield from _statements(statement)


@cache
def source(module: str, root: Path) -> Path | None:
    """The file of a module below a root folder (for a package: its ``__init__.py``); None if there is no such file."""
    base = root.joinpath(*module.split("."))
    return next((path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file()), None)


def reached(module: str, root: Path) -> frozenset[str]:
    """The module itself and all modules below a root folder that it imports, directly or through others.

    Importing a module also runs the ``__init__.py`` of each package around it, so these are included.
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
    """The files that decide what a module does: all source files that it imports, and the data files of their packages.

    Data files are all other files of a package, such as templates and tables, also in its subfolders without source
    files.
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

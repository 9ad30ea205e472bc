"""The imports that are read of source files, beside those that Python's own parser finds in the whole file."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import rm
from rm import imports

ROOT = Path(rm.__file__).parents[1]


def found_by_walking(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("folder", ["rm", "tasks", "flows"])
def test_imports_of_each_file_are_those_of_its_syntax_tree(folder):
    paths = sorted((ROOT / folder).rglob("*.py"))
    assert {path: set(imports.imported(path)) for path in paths} == {path: found_by_walking(path) for path in paths}


@pytest.mark.parametrize(
    "text",
    [
        "import a, b.c as d",
        "from a import b, c as d  # (and more",
        "from a import (\n    b,  # (the first)\n    c,\n)",
        "from a import b, \\\n    c",
        "if x: import a",
        "x = 1; import a; from b import c",
        "try:\n    import a\nexcept ImportError:\n    import b\nelse:\n    from c import d",
        "def f():\n\timport a\n\tclass B:\n\t\tfrom c import d",
        "from  a  import  b",
        "from . import a\nfrom .b import c\nfrom d import *",
        "match x:\n    case 1: import a",
        "from a import(b)",
        "from a import (b); import c",
        '"""An import of nothing."""\nimport a',
        "x = lambda: __import__('a')",
        "",
    ],
)
def test_each_form_of_an_import_is_found(text, tmp_path):
    path = tmp_path / "module.py"
    path.write_text(text, encoding="utf-8")
    assert imports.imported(path) == found_by_walking(path)

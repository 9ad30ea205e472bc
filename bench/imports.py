"""The import picture of the library, and how long its two heaviest entrances take to import.

Usage: python bench/imports.py [ROOT], a checkout; left out: this one.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from rm.imports import imported, source

HERE = Path(__file__).parents[1]
ENTRANCES = {  # today's names, then those of the flat library that it was
    "the reward model": ("rm.model.reward_model", "rm.model"),
    "the audit": ("rm.audit.run", "rm.audit"),
}
REPEATS = 5


def main() -> None:
    root = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else HERE
    modules = {module_of(path, root) for path in (root / "rm").rglob("*.py") if path.name != "__init__.py"}
    show("modules", arrows(modules, root, lambda name: name))
    show("packages", arrows(modules, root, lambda name: ".".join(name.split(".")[:2])))
    for title, names in ENTRANCES.items():
        module = next(name for name in names if (path := source(name, root)) and path.name != "__init__.py")
        seconds, libraries = import_time(module, root)
        print(
            f"import {module} ({title}): {seconds:.2f} s, median of {REPEATS}; loads {', '.join(libraries) or 'none'}"
        )


def module_of(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts)


def arrows(modules: set[str], root: Path, room: Callable[[str], str]) -> dict[str, set[str]]:
    """Each room to the others that its modules import."""
    found: dict[str, set[str]] = {room(name): set() for name in modules}
    for name in modules:
        path = source(name, root)
        assert path is not None
        found[room(name)] |= {room(other) for other in imported(path) & modules} - {room(name)}
    return found


def show(title: str, found: dict[str, set[str]]) -> None:
    try:
        order = list(TopologicalSorter(found).static_order())
        circle = "no circle"
    except CycleError as error:
        order, circle = [], f"a circle: {' -> '.join(error.args[1])}"
    depth: dict[str, int] = {}
    for name in order:
        depth[name] = 1 + max((depth[other] for other in found[name]), default=0)
    chain = f"longest chain {max(depth.values())}" if depth else "no longest chain"
    print(f"{title}: {len(found)}, {sum(map(len, found.values()))} arrows, {chain}, {circle}")


def import_time(module: str, root: Path) -> tuple[float, list[str]]:
    """Median seconds of a fresh process that imports a module, less one that imports nothing; and what it loads."""
    watched = ("torch", "transformers", "pydantic", "pyarrow", "deltalake", "datasets", "scipy", "peft")
    code = f"import sys, {module}; print(*(name for name in {watched!r} if name in sys.modules))"
    spent, printed = [], ""
    for _ in range(REPEATS):
        idle, _ = run("pass", root)
        seconds, printed = run(code, root)
        spent.append(seconds - idle)
    return statistics.median(spent), printed.split()


def run(code: str, root: Path) -> tuple[float, str]:
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    return time.perf_counter() - began, done.stdout


if __name__ == "__main__":
    main()

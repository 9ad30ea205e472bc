"""How many processors this process may use at a time, where a limit is set."""

from __future__ import annotations

import os
from pathlib import Path

_ROOT, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def allowed(root: Path = _ROOT, own: Path = _OWN) -> float | None:
    """The smallest limit of the process's control groups, as containers have, and of its affinity.

    Parameters
    ----------
    root : Path
        Where the control groups are mounted.
    own : Path
        The file with those of this process.

    Returns
    -------
    float or None
        Such as 2.5; None if it may use all of the machine's processors.
    """
    limits = [limit for group in _groups(root, own) if (limit := _limit(group)) is not None]
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        limits.append(len(os.sched_getaffinity(0)))
    least = min(limits, default=None)
    return None if least is None or least >= (os.cpu_count() or 1) else least


def _groups(root: Path, own: Path) -> list[Path]:
    """The folders of the process's groups and of those above; in a container the root may be its own."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, place = line.split(":", maxsplit=2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mount = root / controllers if controllers else root  # version 1 has a folder for each controller
        group = mount / place.lstrip("/")
        found += [each for each in (group, *group.parents) if each.is_relative_to(mount)]
    return found


def _limit(group: Path) -> float | None:
    try:
        if (file := group / "cpu.max").is_file():
            quota, period = file.read_text(encoding="utf-8").split()
        else:
            quota, period = ((group / f"cpu.cfs_{name}_us").read_text(encoding="utf-8") for name in ("quota", "period"))
        return None if quota == "max" or int(quota) < 0 else int(quota) / int(period)
    except (OSError, ValueError):
        return None

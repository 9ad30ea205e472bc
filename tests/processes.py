"""Processes that tests start and look for."""

import os
from pathlib import Path


def unmeasured() -> dict[str, str]:
    """This environment without coverage's variables.

    A process that is killed, or may not write much, would leave a broken file of counts.
    """
    return {name: value for name, value in os.environ.items() if not name.startswith("COV")}


def training_processes(folder: Path) -> list[int]:
    """Ids of the running processes that train into a folder, or into one below it.

    They are known by their job's file, which goes with the one that started them: who asks whether they have ended must
    have asked for their ids before.
    """
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_text().split("\0")
            if "rm.train.worker" in command and "rm.train.torchrun" not in command:
                job = Path(command[command.index("rm.train.worker") + 1])
                if f'"{folder}' in job.read_text():
                    found.append(int(process.name))
        except OSError:  # it has ended meanwhile
            continue
    return found


def processes_at(home: Path) -> list[int]:
    """Ids of the running processes whose state is kept in a home folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"RMFLOW_HOME={home}" in (process / "environ").read_text().split("\0"):
                found.append(int(process.name))
        except (OSError, UnicodeDecodeError):
            continue
    return still_running(found)


def still_running(processes: list[int]) -> list[int]:
    """Those of some processes that have not ended."""
    return [process for process in processes if _state(process) not in {None, "Z"}]


def _state(process: int) -> str | None:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return None

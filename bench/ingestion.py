"""Ingestion: rows per CPU second and peak memory, beside polars, DuckDB and datasets doing less.

``python bench/ingestion.py [--rows 10000 100000 ...]`` writes made-up pairs as JSON lines, some 2.5 KB a row, and
reads them, each cell in a process of its own: rmflow validates every row, gives it an id, and adds it to its table; the
others read, hash the texts, drop duplicates and write Parquet. Also a second reading, 100 rows into each table,
dialogues as HH-RLHF's transcripts and as messages, and 100 files of 100 rows. CPU is user and system time of the
process and its children, loading the library included; the ratio is that of rows per CPU second to polars' for the same
file. ``pip install -e '.[bench]'`` has the others.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

WORDS = [
    f"{first}{second}" for first in ("ba", "ko", "mi", "tu", "re", "sa") for second in ("n", "lo", "dir", "ma", "s")
]


def write(path: Path, num_rows: int, seed: int = 0) -> Path:
    """Pairs with a prompt of some 300 characters and responses of some 800."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for number in range(num_rows):
            texts = [" ".join(draw.choices(WORDS, k=count)) for count in (80, 220, 220)]
            row = {"prompt": f"{seed} {number} {texts[0]}", "chosen": texts[1], "rejected": texts[2], "id": number}
            file.write(json.dumps(row) + "\n")
    return path


def write_dialogues(path: Path, num_rows: int, *, as_messages: bool) -> Path:
    """Pairs without a prompt's column: one to five turns of 150 letters that both sides share, and answers."""
    draw = random.Random(0)
    with path.open("w", encoding="utf-8") as file:
        for number in range(num_rows):
            shared = [" ".join(draw.choices(WORDS, k=40)) for _ in range(draw.choice((1, 3, 5)))]
            answers = [" ".join(draw.choices(WORDS, k=80)) for _ in range(2)]
            sides = [[f"{number} {shared[0]}", *shared[1:], answer] for answer in answers]
            chosen, rejected = (_messages(turns) if as_messages else _transcript(turns) for turns in sides)
            file.write(json.dumps({"chosen": chosen, "rejected": rejected}) + "\n")
    return path


def _transcript(turns: list[str]) -> str:
    return "".join(f"\n\n{('Human', 'Assistant')[place % 2]}: {text}" for place, text in enumerate(turns))


def _messages(turns: list[str]) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[place % 2], "content": text} for place, text in enumerate(turns)]


def rmflow(paths: list[str], folder: str) -> int:
    from rm.data.config import IngestConfig
    from rm.data.store import append

    return append(paths, Path(folder), IngestConfig()).table.num_judgements


def polars(paths: list[str], folder: str) -> int:
    import polars

    rows = polars.concat([polars.scan_ndjson(path) for path in paths])
    hashed = rows.with_columns(polars.concat_str("prompt", "chosen", "rejected").hash().alias("key"))
    hashed.unique("key").sink_parquet(f"{folder}/polars.parquet")
    return polars.scan_parquet(f"{folder}/polars.parquet").select(polars.len()).collect().item()


def duckdb(paths: list[str], folder: str) -> int:
    import duckdb

    files = ", ".join(f"'{path}'" for path in paths)
    distinct = f"SELECT DISTINCT ON (sha256(concat(prompt, chosen, rejected))) * FROM read_json([{files}])"
    duckdb.sql(f"COPY ({distinct}) TO '{folder}/duckdb.parquet'")
    return duckdb.sql(f"SELECT count(*) FROM '{folder}/duckdb.parquet'").fetchall()[0][0]


def datasets(paths: list[str], folder: str) -> int:
    import hashlib

    from datasets import load_dataset

    rows = load_dataset("json", data_files=paths, split="train", cache_dir=f"{folder}/cache")
    seen: set[bytes] = set()

    def is_new(row: dict[str, str]) -> bool:
        key = hashlib.sha256(f"{row['prompt']}{row['chosen']}{row['rejected']}".encode()).digest()
        return not (key in seen or seen.add(key))

    kept = rows.filter(is_new)
    kept.to_parquet(f"{folder}/datasets.parquet")
    return len(kept)


READERS = {reader.__name__: reader for reader in (rmflow, polars, duckdb, datasets)}


def cpu_seconds() -> float:
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def run(name: str, paths: list[str], folder: str) -> None:
    """One cell, in this process."""
    started = cpu_seconds()
    count = READERS[name](paths, folder)
    seconds = cpu_seconds() - started
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(json.dumps({"rows": count, "seconds": seconds, "memory": memory}))


def cell(name: str, paths: list[Path], folder: Path) -> dict[str, float] | None:
    """One cell, in a process of its own; None if the library is not installed."""
    command = [sys.executable, __file__, "--cell", name, str(folder), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        print(f"{name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
        return None
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def show(what: str, name: str, num_rows: int, found: dict[str, float] | None, polars_s: float | None = None) -> None:
    if found:
        speed, seconds = f"{num_rows / found['seconds']:,.0f}", found["seconds"]
        ratio = "" if polars_s is None else f"{polars_s / seconds:.2f}"
        print(f"| {what} | {name} | {seconds:.2f} s | {speed} | {ratio} | {found['memory']:.2f} GiB |", flush=True)


def compare(path: Path, size: int, root: Path) -> None:
    """One size by all libraries, one after the other."""
    found = {}
    for name in READERS:
        folder = root / f"{name}-{size}"
        folder.mkdir()
        found[name] = cell(name, [path], folder)
    polars_s = found["polars"]["seconds"] if found["polars"] else None
    for name, each in found.items():
        show(f"{size:,} rows", name, size, each, polars_s)


def main(sizes: list[int]) -> None:
    print("| what | library | CPU | rows per CPU second | to polars | peak memory |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for size in sizes:
            path = write(root / f"{size}.jsonl", size)
            compare(path, size, root)
            table = root / f"rmflow-{size}"
            show(f"{size:,} rows again", "rmflow", size, cell("rmflow", [path], table))
            few = write(root / f"few-{size}.jsonl", 100, seed=1)
            show(f"100 rows into {size:,}", "rmflow", 100, cell("rmflow", [few], table))
            for what in ("transcripts", "messages"):
                folder = root / f"{what}-{size}"
                folder.mkdir()
                dialogues = write_dialogues(folder / "rows.jsonl", size, as_messages=what == "messages")
                show(f"{size:,} rows of {what}", "rmflow", size, cell("rmflow", [dialogues], folder))
        small = [write(root / f"small-{number}.jsonl", 100, seed=2 + number) for number in range(100)]
        (root / "small").mkdir()
        show("100 files of 100 rows", "rmflow", 10_000, cell("rmflow", small, root / "small"))
        show("the same again", "rmflow", 10_000, cell("rmflow", small, root / "small"))
        more = write(root / "more.jsonl", 100, seed=999)
        show("100 rows after them", "rmflow", 100, cell("rmflow", [more], root / "small"))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--cell"]:
        run(sys.argv[2], sys.argv[4:], sys.argv[3])
    else:
        parser = argparse.ArgumentParser(description=__doc__)
        parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000])
        main(parser.parse_args().rows)

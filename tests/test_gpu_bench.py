"""The GPU check, which is run rarely and elsewhere, tried on the CPU with a tiny model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FAST_PARTS = ("machine", "attention", "layouts", "device", "steps", "training: nine", "scoring", "profile")


def run_tiny(out: Path, *parts: str) -> tuple[str, dict]:
    command = [sys.executable, "bench/gpu.py", "--tiny", "--out", str(out), "--only", *parts]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": ".", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout, json.loads(out.read_text())


def test_each_part_of_the_gpu_check_runs(tmp_path):
    printed, found = run_tiny(tmp_path / "gpu.json", *FAST_PARTS)
    assert printed.splitlines()[-1].startswith("0 parts failed")
    assert found["machine"]["device"] == "CPU"
    assert 0 <= found["layouts, error"]["float32 rewards"] < 1e-4
    for name in (part for part in found if part.startswith("training")):
        tokens = {layout: row["tokens"] for layout, row in found[name].items()}
        assert tokens["ours, packed"] < min(tokens["ours, padded"], tokens["a padded loop, 8 pairs per pass"])
    assert set(found["scoring"]) == {
        f"{layout}, {dtype}" for layout in ("packed", "padded") for dtype in ("float32", "bfloat16")
    }
    assert sum(kind["share"] for kind in found["profile"]) == pytest.approx(1)


@pytest.mark.slow
def test_the_gpu_check_compiles(tmp_path):
    _, found = run_tiny(tmp_path / "gpu.json", "compiled")
    assert found["compiled"]["ours, packed and compiled"]["tokens"] == found["compiled"]["ours, packed"]["tokens"]

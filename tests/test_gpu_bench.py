"""The GPU check, which is run rarely and elsewhere, tried on the CPU with a tiny model."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
FAST_PARTS = ("machine", "attention", "layouts", "device", "steps", "training: nine", "scoring", "profile")


@pytest.fixture
def run_tiny(monkeypatch, capsys, tmp_path):
    """Run parts of the check in this process; returns what it prints and what it finds."""

    def run(*parts: str) -> tuple[str, dict]:
        out = tmp_path / "gpu.json"
        monkeypatch.chdir(ROOT)
        monkeypatch.syspath_prepend(ROOT / "bench")
        monkeypatch.setattr(sys, "argv", ["gpu.py", "--tiny", "--out", str(out), "--only", *parts])
        with torch.random.fork_rng(), pytest.raises(SystemExit) as ended:
            runpy.run_path("bench/gpu.py", run_name="__main__")
        printed = capsys.readouterr().out
        assert ended.value.code == 0, printed[-3000:]
        return printed, json.loads(out.read_text())

    return run


def test_each_part_of_the_gpu_check_runs(run_tiny):
    printed, found = run_tiny(*FAST_PARTS)
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
def test_the_gpu_check_compiles(run_tiny):
    _, found = run_tiny("compiled")
    assert found["compiled"]["ours, packed and compiled"]["tokens"] == found["compiled"]["ours, packed"]["tokens"]

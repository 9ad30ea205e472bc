"""How long an audit of a file of scores takes, and how much memory, by the number of pairs; then what probes cost.

Each size runs in a process of its own, so that its peak memory is its own. Pairs are made up (`rm.selftest.toy_world`),
two responses to a prompt, of some forty words each. The self-test, which does not grow beyond 3,000 pairs, is left out.
The probes, on real prompts, are measured by `probes.py`.

Usage: python bench/audit.py [--pairs 1000 10000 100000] [--probes hh], with the extra `bench` installed
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

from rm.audit import run
from rm.audit.config import AuditConfig
from rm.audit.evidence import Evidence
from rm.audit.records import Provenance
from rm.selftest import toy_world

PROVENANCE = Provenance(
    base="made up",
    checkpoint_digest="0" * 64,
    dataset_digest="0" * 64,
    sources={},
    num_train_pairs=None,
    num_heldout_prompts=0,
    num_label_ties=0,
    overlong={},
)


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds and memory of an audit, by the number of pairs.")
    parser.add_argument("--pairs", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--probes", nargs="*", default=["hh"], help="data of bench/probes.py")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        print(json.dumps(measured(options.one)))
        return
    print("   pairs  words a response  seconds  seconds per 1,000 pairs  peak memory, GiB")
    for num_pairs in options.pairs:
        command = [sys.executable, __file__, "--one", str(num_pairs)]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        each = found["seconds"] * 1000 / num_pairs
        print(
            f"{num_pairs:8d}  {found['num_words']:16.1f}  {found['seconds']:7.2f}  {each:23.3f}  "
            f"{found['peak_gib']:16.2f}",
            flush=True,
        )
    for data in options.probes:
        print(f"\nprobes, {data}", flush=True)
        subprocess.run([sys.executable, Path(__file__).with_name("probes.py"), "--data", data], check=True)


def measured(num_pairs: int) -> dict[str, float]:
    """Of one audit; making the pairs is not counted in time, but is in memory."""
    heldout = toy_world.heldout(toy_world.generate(num_pairs, 1, seed=0), toy_world.sound)
    started = time.perf_counter()
    run.examine(Evidence(heldout=heldout), PROVENANCE, AuditConfig())
    seconds = time.perf_counter() - started
    num_words = float(heldout.responses.length.mean())
    return {
        "num_words": num_words,
        "seconds": seconds,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }


if __name__ == "__main__":
    main()

"""How long an audit of a file of scores takes, and how much memory, by the number of pairs; then what probes cost.

Each piece and size runs in a process of its own, so that its peak memory is its own. Seconds of processors are those of
all cores together; they are what to compare where other work runs beside. Pairs are made up (`tests.rm.toy_world`), two
responses to a prompt, of some forty words each. The statistics of texts are timed in turn on the same pairs: the
battery of features, the features that are overpaid, the split of the reward into surface and the rest, what words
predict of it, and the words baseline. The probes, on real prompts, are measured by
`probes.py`.

Usage: python bench/audit.py [--pairs 1000 10000 100000] [--probes hh], with the extra `bench` installed
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from rm.audit import baselines, overpaid, run, text_parts
from rm.audit.config import AuditConfig
from rm.audit.evidence import Evidence
from rm.audit.heldout import Heldout
from rm.audit.records import Provenance
from rm.audit.surface import EVERYTHING, Surface, joint
from rm.features import battery
from rm.features.battery import BATTERY
from rm.features.prompt_kinds import kinds
from rm.features.responses import Responses
from rm.stats.sufficiency import Judged
from tests.rm import toy_world

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
    parser.add_argument("--one", nargs=2, metavar=("PIECE", "PAIRS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        piece, num_pairs = options.one
        print(json.dumps(measured(PIECES[piece], int(num_pairs))))
        return
    print("piece             pairs  words a response  seconds  of processors  per 1,000 pairs  peak memory, GiB")
    for num_pairs in options.pairs:
        for piece in PIECES:
            command = [sys.executable, __file__, "--one", piece, str(num_pairs)]
            output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            for name, found in json.loads(output).items():
                busy, num_words = found["processor_seconds"], found["num_words"]
                print(
                    f"{name:15}{num_pairs:8d}  {num_words:16.1f}  {found['seconds']:7.2f}  {busy:13.2f}  "
                    f"{busy * 1000 / num_pairs:15.3f}  {found['peak_gib']:16.2f}",
                    flush=True,
                )
    for data in options.probes:
        print(f"\nprobes, {data}", flush=True)
        subprocess.run([sys.executable, Path(__file__).with_name("probes.py"), "--data", data], check=True)


Timed = Callable[[str, Callable[[], object]], object]
"""Takes a name and what is to be timed, and gives what that gives."""


def audit(heldout: Heldout, timed: Timed) -> None:
    timed("audit", lambda: run.examine(Evidence(heldout=heldout), PROVENANCE, AuditConfig()))


def texts(heldout: Heldout, timed: Timed) -> None:
    """The statistics of texts, one after the other; the memory of each is the most that any has needed so far."""
    pairs = heldout.pairs
    both = Responses([*pairs.chosen, *pairs.rejected], [*pairs.prompts, *pairs.prompts])
    features = timed("battery", lambda: battery.read(BATTERY, both))
    differences = features[: len(pairs.margin)] - features[len(pairs.margin) :]
    judged = Judged(
        margin=pairs.margin,
        preference=pairs.preference,
        cluster=pairs.cluster,
        num_clusters=heldout.num_clusters,
        stratum=np.zeros(len(pairs.margin), dtype=np.int64),
        length=differences[:, [feature.name for feature in BATTERY].index("log characters")],
        weight=np.ones(len(pairs.margin)),
    )
    num_turns = heldout.table["num_turns"].to_pylist()
    fold = baselines.folds(pairs.prompts)
    found = timed("kinds", lambda: kinds(pairs.prompts, num_turns, {"fold": [str(each) for each in fold.tolist()]}))
    timed("overpaid", lambda: overpaid.table(judged, *overpaid.columns(BATTERY, differences, found)))
    surface = timed("surface", lambda: Surface.of(judged, differences, fold, found))
    timed("joint", lambda: joint(judged, surface.predicted[EVERYTHING]))
    rows = timed("word rows", lambda: baselines.word_rows((pairs.chosen, pairs.rejected))[0])
    timed("words and letters", lambda: list(text_parts.findings(pairs, judged, fold)))
    timed("words baseline", lambda: baselines.judged(baselines.words_baseline, None, rows, fold, pairs.weight))


PIECES = {"audit": audit, "texts": texts}


def measured(piece: Callable[[Heldout, Timed], None], num_pairs: int) -> dict[str, dict[str, float]]:
    """Of each timed part of a piece; making the pairs is not counted in time, but is in memory."""
    heldout = toy_world.heldout(toy_world.generate(num_pairs, 1, seed=0), toy_world.sound)
    num_words = float(heldout.responses.length.mean())
    found = {}

    def timed(name: str, work: Callable[[], object]) -> object:
        started, busy = time.perf_counter(), time.process_time()
        result = work()
        found[name] = {
            "num_words": num_words,
            "seconds": time.perf_counter() - started,
            "processor_seconds": time.process_time() - busy,
            "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }
        return result

    piece(heldout, timed)
    return found


if __name__ == "__main__":
    main()

"""How often the ledger alerts, on made-up audits, and how long it takes: ``python bench/ledger.py [--trials 1000]``.

Audits are those of `tests.rm.ledger.made_up`: ten features of surface, five edits and five other numbers, two of the
features overpaid by 9 and 8 points, each number drawn with an error of 1.2 points (edits: 2). First the shares of the
comparisons of two versions in which some bias was found to fall, some to rise, and both, which is an alert. Then the
seconds to read 20 former reports and to write the ledger, for the report of `tests.rm.toy_reports` in a local MLflow.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from rm.ledger.changes import compare
from tests.rm.ledger import made_up

_BEFORE = (0.09, 0.08, *[0.0] * 8)
_RATES = (0.02, 0.1, 0.5, 0.55, 0.7)
_AFTER = {
    "nothing changed": _BEFORE,
    "length fell": (0.0,) * 10,
    "length fell, bold rose to 3 points": (*[0.0] * 4, 0.03, *[0.0] * 5),
    "length fell, bold rose to 5 points": (*[0.0] * 4, 0.05, *[0.0] * 5),
    "length fell, bold rose to 8 points": (*[0.0] * 4, 0.08, *[0.0] * 5),
    "length is over-punished by 5 points": (-0.05, -0.05, *[0.0] * 8),
}


def shares(after: tuple[float, ...], trials: int) -> tuple[float, float, float]:
    """Of comparisons in which a bias fell, in which one rose, and with an alert."""
    generator = np.random.default_rng(0)
    found = []
    for _ in range(trials):
        old, new = (made_up.read(made_up.whole(each, _RATES, generator)) for each in (_BEFORE, after))
        one = compare(new, old, "previous")
        found.append((bool(one.fell), bool(one.rose), one.is_substitution))
    fell, rose, alerts = np.mean(found, axis=0).tolist()
    return fell, rose, alerts


def seconds() -> tuple[float, int]:
    """To publish the ledger of a run with 20 former ones; and the bytes of one report."""
    from rm.report import audit_json
    from tasks import ledgers, tracking
    from tests.rm import toy_reports

    ledgers.get_run_logger = lambda: logging.getLogger("ledger")  # there is no flow here
    report = toy_reports.full()
    text = json.dumps(audit_json.values(report, toy_reports.decision(report)), indent=2)
    client = tracking.client()
    experiment = tracking.experiment_id(client, "ledger")
    for at in range(ledgers.FORMER + 1):
        run = client.create_run(experiment, 1_700_000_000_000 + at, {"rmflow.report_digest": str(at)}).info.run_id
        client.log_param(run, "registry.name", "made-up")
        client.log_text(run, text, f"{tracking.REPORT_FOLDER}/audit.json")
    start = time.perf_counter()
    ledgers.publish(run, "made-up")
    return time.perf_counter() - start, len(text)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=1000)
    trials = parser.parse_args().trials
    print(f"| of {trials} comparisons | some bias fell | some rose | alert |\n|---|---|---|---|")
    for name, after in _AFTER.items():
        print(f"| {name} | {' | '.join(f'{share:.3f}' for share in shares(after, trials))} |", flush=True)
    taken, size = seconds()
    print(f"\n20 former reports of {size / 1e6:.1f} MB: {taken:.1f} s")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="rmflow-") as home:
        os.environ["RMFLOW_HOME"] = home
        main()

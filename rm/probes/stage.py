"""The stage that scores edited responses and writes their rewards to files."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from rm.data import prompt_groups
from rm.data.manifests import DatasetManifest
from rm.data.preferences import PromptGroup
from rm.engine import choice
from rm.files import replace_text
from rm.model.config import ComputeConfig
from rm.model.manifests import CheckpointManifest
from rm.parquet import write_rows, write_table
from rm.probes import allocation, catalog, context, scoring
from rm.probes.config import ProbeConfig
from rm.probes.flawed_pairs import FLAWED_SCHEMA, score_flawed_pairs
from rm.probes.invariances import invariances
from rm.probes.manifests import ProbesManifest
from rm.progress import OnProgress
from rm.score.scorer import Scorer
from rm.stats.finding import Finding

_NUM_INVARIANCE_PARENTS = 16


def probe(
    checkpoint: CheckpointManifest,
    dataset: DatasetManifest,
    compute: ComputeConfig,
    config: ProbeConfig,
    folder: Path,
    on_progress: OnProgress | None = None,
) -> ProbesManifest:
    """Score edits of held-out responses, the pairs with a flaw, and a few responses in several batches and orders.

    Parameters
    ----------
    checkpoint : CheckpointManifest
    dataset : DatasetManifest
    compute : ComputeConfig
    config : ProbeConfig
    folder : Path
        Gets ``probes.parquet`` (`rm.probes.scoring.PROBES_SCHEMA`), ``flawed_pairs.parquet``
        (`rm.probes.flawed_pairs.FLAWED_SCHEMA`), ``invariances.json`` and the manifest.
    on_progress : callable, optional
    """
    started = time.perf_counter()
    scorer = Scorer(checkpoint.path, compute.tokens_per_batch, choice.chosen(compute.engine, compute.num_workers))
    table, invariant = probed(scorer, prompt_groups.read_groups(dataset, "heldout"), config, on_progress)
    write_table(folder / ProbesManifest.EDITS_NAME, table)
    write_rows(folder / ProbesManifest.FLAWED_PAIRS_NAME, score_flawed_pairs(scorer), FLAWED_SCHEMA)
    found = json.dumps([found.model_dump(mode="json") for found in invariant])
    replace_text(folder / ProbesManifest.INVARIANCES_NAME, found)
    return ProbesManifest.seal(
        folder,
        inputs=(checkpoint, dataset),
        config=config,
        num_rows=table.num_rows,
        checkpoint_digest=checkpoint.digest,
        duration_s=time.perf_counter() - started,
    )


def probed(
    scorer: Scorer, groups: Sequence[PromptGroup], config: ProbeConfig, on_progress: OnProgress | None = None
) -> tuple[pa.Table, tuple[Finding, ...]]:
    """Edit chosen responses and score the edits.

    Parameters
    ----------
    scorer : Scorer
    groups : sequence of PromptGroup
    config : ProbeConfig
    on_progress : callable, optional

    Returns
    -------
    pa.Table
        Rewards of the edits, with `rm.probes.scoring.PROBES_SCHEMA`.
    tuple of Finding
        Differences between rewards that should be equal (`rm.probes.invariances`).
    """
    allocated = allocation.allocate(context.parents(groups), catalog.PROBES, config)
    score_items = functools.partial(scorer.score_items, on_progress=on_progress)
    few = allocated.parents[:_NUM_INVARIANCE_PARENTS]
    # Another scorer: the model is loaded again, and batches have another size.
    again = Scorer(scorer.folder, max(1, scorer.tokens_per_batch // 4))
    return (
        scoring.score(allocated.parents, allocated.variants, score_items),
        invariances(scorer.score_items, few, {"reload_in_small_batches": again.score_items}),
    )

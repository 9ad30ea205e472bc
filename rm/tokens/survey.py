"""What tokenizing and training a snapshot will take: all of its counts, and the lengths of a sample of its prompts."""

from __future__ import annotations

from itertools import chain
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from rm.data import prompt_groups
from rm.data.manifests import DatasetManifest
from rm.data.preferences import SPLITS, Split
from rm.files import replace_text
from rm.model import base_models
from rm.model.base_files import BaseModelRef
from rm.tokens import limit, overlong
from rm.tokens.config import TokenizeConfig
from rm.tokens.counts import SplitSurvey, Survey
from rm.tokens.manifests import SurveyManifest
from rm.tokens.tokenization import LeftOut, Tokenizing, checked_tokenizer

_OF_PROMPTS = ("sampled_prompts", "sampled_kept_prompts")


def survey(dataset: DatasetManifest, base: BaseModelRef, config: TokenizeConfig, folder: Path) -> SurveyManifest:
    """Write what tokenizing and training a snapshot will take.

    Parameters
    ----------
    dataset : DatasetManifest
    base : BaseModelRef
    config : TokenizeConfig
    folder : Path
        Gets ``survey.json`` and the manifest.

    Raises
    ------
    ModelError
        If the tokenizer cannot be used, or `TokenizeConfig.max_tokens` exceeds the positions of the base model.
    """
    sample = limit.sample(dataset)
    texts = (group for split, group in chain.from_iterable(map(prompt_groups.groups_of, sample)) if split == "train")
    tokenizer = checked_tokenizer(dataset, base, texts)
    max_tokens = limit.max_tokens(config, base, tokenizer, sample)
    tokenizing, left_out = Tokenizing(tokenizer, config, max_tokens), LeftOut()
    found = {split: _counts(dataset, split) for split in SPLITS}
    for batch in sample:
        part = tokenizing(batch)
        left_out.add(part)
        for split, tokens in part.batches.items():
            found[split]["sampled_tokens"] += _num_tokens(tokens)
            found[split]["sampled_kept_prompts"] += tokens.num_rows
            found[split]["sampled_prompts"] += pc.sum(pc.equal(batch.column("split"), split)).as_py()
    for split, fit in left_out.fits.items():
        found[split] |= {"sampled_pairs": fit.num_pairs, "sampled_lost_pairs": fit.num_lost_pairs}
    whole = overlong.total(left_out.fits.values())
    surveyed = Survey(
        splits={split: SplitSurvey(**counts) for split, counts in found.items()},
        num_responses=whole.num_responses,
        max_tokens=max_tokens,
        overlong=whole.by_reason(),
        refused=tuple(row["reason"] for row in left_out.refused),
        dataset_bytes=sum((dataset.path / name).stat().st_size for name in dataset.files),
        keeps_head=base.keeps_head,
        **base_models.shape(base, len(tokenizer))._asdict(),
    )
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / SurveyManifest.SURVEY_NAME, surveyed.model_dump_json(indent=2) + "\n")
    num_sampled = surveyed.num_sampled
    return SurveyManifest.seal(folder, inputs=(dataset,), config=config, num_rows=num_sampled)


def _counts(dataset: DatasetManifest, split: Split) -> dict[str, Any]:
    """The numbers of a split's prompts, judgements, pairs and ties, and zeros for what the sample adds."""
    counts = dict.fromkeys(("num_prompts", "num_judgements", "num_ties", "sampled_tokens", *_OF_PROMPTS), 0)
    for batch in prompt_groups.batches(dataset, 4096, ["split", "comparisons"]):
        rows = batch.filter(pc.equal(batch.column("split"), split))
        pairs = rows.column("comparisons").flatten()
        counts["num_prompts"] += rows.num_rows
        counts["num_judgements"] += pc.sum(pairs.field("num_judgements"), min_count=0).as_py()
        counts["num_ties"] += pc.sum(pc.equal(pairs.field("preference"), 0.5), min_count=0).as_py()
    return counts | {"num_pairs": dataset.num_pairs[split]}


def _num_tokens(tokens: pa.RecordBatch) -> int:
    return len(tokens.column("prompt_ids").flatten()) + len(tokens.column("response_ids").flatten().flatten())

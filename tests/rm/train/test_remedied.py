"""Trainings with remedies, against the same without."""

import numpy as np
import pytest

from rm.data.prompt_groups import read_groups
from rm.edits import shape
from rm.model.config import ComputeConfig
from rm.remedies.config import RemediesConfig
from rm.score.scorer import Scorer
from rm.train import loop
from rm.train.config import TrainConfig

CONFIG = TrainConfig(num_epochs=2, pairs_per_step=16, learning_rate=2e-3, checkpoint_every=4)


def trained(tokenized, base, folder, on_step=None, **remedies):
    config = CONFIG.model_copy(update={"remedies": RemediesConfig(**remedies)})
    return loop.fit(tokenized, base, config, ComputeConfig(), folder, on_step)


@pytest.fixture(scope="module")
def plain(tokenized, llama, tmp_path_factory):
    return trained(tokenized, llama, tmp_path_factory.mktemp("plain"))


def moved_by_white_space(checkpoint, dataset):
    """How far white space moves rewards, in standard deviations of held-out rewards."""
    groups = read_groups(dataset, "heldout")
    scorer = Scorer(checkpoint.path)
    before, after = (
        scorer.score_texts([(group.prompt, edit(group.responses[0])) for group in groups])
        for edit in (lambda text: text, shape.spaces_doubled)
    )
    return np.sqrt(np.mean((after - before) ** 2)) / before.std()


def test_consistency_makes_rewards_of_other_prompts_stay_where_white_space_changes(
    tokenized, dataset, llama, plain, tmp_path
):
    remedied = trained(tokenized, llama, tmp_path, consistency=1.0)
    assert moved_by_white_space(remedied, dataset) < 0.5 * moved_by_white_space(plain, dataset)
    assert remedied.trained_on == ("bold", "bullets", "double_spaces", "strip_markdown", "trailing_whitespace")
    assert plain.trained_on == ()

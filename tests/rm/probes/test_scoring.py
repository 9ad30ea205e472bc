import numpy as np
import pytest

from rm.data.preferences import Message
from rm.probes.catalog import PROBES
from rm.probes.config import ProbeConfig
from rm.probes.scoring import PROBES_SCHEMA, score
from rm.probes.variants import variants
from rm.score.rewards import ItemRewards
from rm.score.scorer import Scorer
from tests.rm import biased_scorers

CONFIG = ProbeConfig(keywords=("wonderful",))
ROOM = 60


@pytest.fixture(scope="module")
def parents():
    return biased_scorers.parents(12)


@pytest.fixture(scope="module")
def made(parents):
    return variants(parents, PROBES, CONFIG)


def by_text(prompt, response):
    """A reward that tells all prompts and responses apart."""
    return hash((prompt[-1].content, response)) % 100_003


def test_every_variant_stands_beside_the_reward_of_its_original(parents, made):
    rows = score(parents, made, biased_scorers.scorer(by_text)).to_pylist()
    assert len(rows) == len(made)
    for row, variant in zip(rows, made, strict=True):
        parent = parents[variant.parent]
        base = variant.base_prompt or parent.prompt
        assert (row["probe"], row["dose"], row["arm"]) == (variant.probe, variant.dose, variant.arm)
        assert (row["prompt_id"], row["response"]) == (parent.prompt_id, parent.response)
        assert (row["prompt"], row["edited"]) == (base[-1].content, variant.response)
        assert row["edited_prompt"] == (None if variant.prompt is None else variant.prompt[-1].content)
        if variant.response is None:
            assert np.isnan([row["reward_original"], row["reward_edited"]]).all()
            assert row["num_tokens"] is None
        else:
            assert row["reward_original"] == by_text(base, parent.response)
            assert row["reward_edited"] == by_text(variant.prompt or base, variant.response)
            assert row["num_tokens"] == len(variant.response.split())


def test_a_prompt_is_read_once_for_all_edits_of_a_response(parents, made):
    items = []

    def score_items(given):
        items.extend(given)
        return biased_scorers.scorer(by_text)(given)

    score(parents, made, score_items)
    responses = {parent.prompt: parent.response for parent in parents}
    own = [(prompt, texts) for prompt, texts in items if prompt in responses and len(texts) > 1]
    assert len(own) == len(parents)
    assert all(texts[0] == responses[prompt] for prompt, texts in own)


def test_rewards_are_compared_only_where_as_much_of_the_prompt_was_read(parents, made):
    """A model that cuts its prompt: what is left of it for an item's longest response moves all of its rewards."""

    def score_items(items):
        return [
            ItemRewards(
                np.full(len(texts), float(max(map(len, texts)) > 1.3 * len(texts[0]) + 200)),
                np.array([len(text) for text in texts]),
                max(map(len, texts)) > 1.3 * len(texts[0]) + 200,
            )
            for _, texts in items
        ]

    rows = score(parents, made, score_items).to_pylist()
    far = [row for row in rows if row["edited"] and len(row["edited"]) > 1.3 * len(row["response"]) + 200]
    assert "double" in {row["probe"] for row in far}
    assert {row["reward_original"] for row in far} == {1.0}
    others = {"prompt_shuffled", "identity", "typos", "foreign"}
    assert {row["reward_original"] for row in rows if row["probe"] in others} == {0.0}
    assert all(row["reward_original"] == row["reward_edited"] for row in rows if row["edited"] is not None)


def test_where_there_is_no_room_there_is_no_reward(parents, made):
    def score_items(items):
        scored = biased_scorers.scorer(biased_scorers.length)(items)
        return [ItemRewards(np.where(s.num_tokens > ROOM, np.nan, s.rewards), s.num_tokens) for s in scored]

    rows = [row for row in score(parents, made, score_items).to_pylist() if row["edited"] is not None]
    too_long = [row for row in rows if row["num_tokens"] > ROOM]
    assert 0 < len(too_long) < len(rows)
    assert all(np.isnan(row["reward_edited"]) == (row["num_tokens"] > ROOM) for row in rows)


def test_a_real_model_scores_every_kind_of_edit(checkpoint, parents):
    few = parents[:2]
    made = variants(few, PROBES, CONFIG)
    scorer = Scorer(checkpoint.path)
    table = score(few, made, scorer.score_items)
    assert table.schema == PROBES_SCHEMA
    rows = [row for row in table.to_pylist() if row["edited"] is not None]
    assert {row["probe"] for row in rows} >= {"empty", "prompt_deleted", "double", "identity"}
    short = [row for row in rows if row["edited"] in ("", "I don't know.") or row["probe"] == "prompt_deleted"]
    assert np.isfinite([row["reward_edited"] for row in short]).all()
    for row in rows[:: len(rows) // 7]:
        prompt = row["edited_prompt"] if row["edited_prompt"] is not None else row["prompt"]
        if np.isfinite(row["reward_edited"]):
            (alone,) = scorer.score_texts([((Message("user", prompt),), row["edited"])])
            assert row["reward_edited"] == pytest.approx(alone, abs=1e-4)

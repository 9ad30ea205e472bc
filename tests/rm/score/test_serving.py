"""What servers compute from a saved decoder is what `Scorer` gives: by transformers' pipeline, as they use it."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from transformers import pipeline

from rm.data.preferences import Message
from rm.model.config import ComputeConfig
from rm.score.scorer import Scorer
from rm.train import loop
from rm.train.config import TrainConfig

PROMPTS = [
    [Message(role="user", content="How far is the sea?")],
    [
        Message(role="user", content="Is it far?"),
        Message(role="assistant", content="Yes."),
        Message(role="user", content="How far? " * 20),
    ],
]
ANSWERS = ["About a day's walk.", "No", "far " * 30]


@pytest.fixture(scope="module")
def folder(tokenized, llama, tmp_path_factory):
    config = TrainConfig(num_epochs=1, pairs_per_step=16, learning_rate=1e-2)
    compute = ComputeConfig(tokens_per_batch=500)
    return loop.fit(tokenized, llama, config, compute, tmp_path_factory.mktemp("served") / "run").path


@pytest.mark.parametrize("batch_size", [1, 6])
def test_transformers_pipeline_gives_the_same_rewards(folder, batch_size):
    items = [(prompt, answer) for prompt in PROMPTS for answer in ANSWERS]
    expected = Scorer(folder).score_texts(items)
    served = pipeline("text-classification", str(folder), device="cpu", dtype="float32")
    texts = [
        served.tokenizer.apply_chat_template(
            [
                *({"role": turn.role, "content": turn.content} for turn in prompt),
                {"role": "assistant", "content": answer},
            ],
            tokenize=False,
        )
        for prompt, answer in items
    ]
    found = served(texts, batch_size=batch_size, add_special_tokens=False)
    assert np.ptp(expected) > 0.01
    np.testing.assert_allclose([one["score"] for one in found], expected, rtol=1e-4, atol=1e-5)


def test_a_head_that_is_scaled_as_the_page_on_serving_says_gives_calibrated_rewards(folder, tmp_path):
    items = [(prompt, answer) for prompt in PROMPTS for answer in ANSWERS]
    scaled = shutil.copytree(folder, tmp_path / "served" / "checkpoint")
    served = tmp_path / "served" / "artifacts" / "variants.json"
    served.parent.mkdir()
    served.write_text(json.dumps({"variants": {"calibrated": {"scale": 0.25}}}))
    page = (Path(__file__).parents[3] / "docs" / "serving.md").read_text(encoding="utf-8")
    (code,) = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "variants.json" in block]
    exec(code.replace("served/", f"{tmp_path}/served/"), {})
    np.testing.assert_allclose(Scorer(scaled).score_texts(items), 0.25 * Scorer(folder).score_texts(items), rtol=1e-4)

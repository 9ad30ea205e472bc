"""The precision that is left to the machine is settled once, and is what everything after it sees."""

import pytest
import torch

from rm.model.config import ComputeConfig
from rm.train import loop, precision
from rm.train.config import TrainConfig

AUTO = TrainConfig(precision="auto", max_pairs=40, pairs_per_step=8)


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [({"avx512_f": True, "avx512_bf16": False}, "float32"), ({"avx512_bf16": True}, "bfloat16"), ({}, "float32")],
)
def test_a_cpu_trains_in_bfloat16_where_it_has_instructions_for_it(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert precision.settled(AUTO).precision == expected


def test_a_precision_that_is_named_stays():
    for name in ("float32", "bfloat16"):
        config = TrainConfig(precision=name)
        assert precision.settled(config) is config


@pytest.mark.parametrize("is_fast", [True, False])
def test_the_result_is_that_of_the_precision_that_was_settled(tokenized, llama, tmp_path, monkeypatch, is_fast):
    monkeypatch.setattr(precision, "_is_fast", lambda _: is_fast)
    named = AUTO.model_copy(update={"precision": "bfloat16" if is_fast else "float32"})
    auto, expected = (
        loop.fit(tokenized, llama, config, ComputeConfig(), tmp_path / config.precision) for config in (AUTO, named)
    )
    assert auto.digest == expected.digest
    assert auto.config_digest == expected.config_digest

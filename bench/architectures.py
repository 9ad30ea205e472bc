"""Which architectures are trained and scored, and how: each is built small, read, saved, and loaded by transformers.

A variant is right if the rewards of a batch of texts of very different lengths, in the layout that is chosen for it,
are those of the same texts read one by one by transformers' own classes, before and after saving.

Usage: python bench/architectures.py > docs/architectures.md
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification
from transformers import logging as transformers_logging

from rm.errors import ModelError
from rm.model import base_files, base_models, batch_layout, export
from rm.model.config import ModelConfig
from rm.model.reward_model import RewardModel
from rm.model.token_ids import TokenGroup
from rm.model.tokenizer import save_tokenizer, train_tokenizer

MAX_TOKENS = 96
_SPECIAL = ("pad_token_id", "eos_token_id", "bos_token_id", "cls_token_id", "sep_token_id")
SAME = 1e-5
DECODER = {
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
}
ENCODER = {name: DECODER[name] for name in ("hidden_size", "num_hidden_layers", "num_attention_heads")} | {
    "intermediate_size": 40,
    "max_position_embeddings": 128,
}
NO_HEAD_DIM = {name: value for name, value in DECODER.items() if name != "head_dim"}
OLD = {"n_embd": 32, "n_layer": 2, "n_head": 4}
EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
LATENT = {
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
    "moe_intermediate_size": 16,
}
MAMBA = {"mamba_d_ssm": 64, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8, "mamba_chunk_size": 16}


def _rope(kind: str, **values: Any) -> dict[str, Any]:
    return {"rope_parameters": {"rope_type": kind, "rope_theta": 10000.0, **values}}


LONG = _rope(
    "longrope", short_factor=[1.0] * 4, long_factor=[4.0, 8.0, 16.0, 32.0], original_max_position_embeddings=48
)
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 48}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("llama", DECODER),
    "Llama 3.1, its rope": ("llama", DECODER | _rope("llama3", **LLAMA3)),
    "Llama, linear rope": ("llama", DECODER | _rope("linear", factor=4.0)),
    "Llama, dynamic rope": ("llama", DECODER | _rope("dynamic", factor=4.0)),
    "Llama, yarn": ("llama", DECODER | _rope("yarn", factor=4.0, original_max_position_embeddings=32)),
    "Mistral": ("mistral", DECODER | {"sliding_window": None}),
    "Mistral, a narrow window": ("mistral", DECODER | {"sliding_window": 32}),
    "Mixtral": ("mixtral", DECODER | {"num_local_experts": 4, "sliding_window": None}),
    "Ministral": ("ministral", DECODER | {"sliding_window": 32}),
    "Qwen2": ("qwen2", NO_HEAD_DIM),
    "Qwen2, a narrow window": (
        "qwen2",
        NO_HEAD_DIM | {"use_sliding_window": True, "sliding_window": 32, "max_window_layers": 1},
    ),
    "Qwen2-MoE": ("qwen2_moe", NO_HEAD_DIM | EXPERTS | {"shared_expert_intermediate_size": 16}),
    "Qwen3": ("qwen3", DECODER),
    "Qwen3-MoE": ("qwen3_moe", DECODER | EXPERTS | {"num_local_experts": 4}),
    "Qwen3-Next": ("qwen3_next", DECODER | EXPERTS | {"layer_types": ["linear_attention", "full_attention"]}),
    "Gemma": ("gemma", DECODER),
    "Gemma 2": ("gemma2", DECODER | {"sliding_window": 32}),
    "Gemma 3": ("gemma3_text", DECODER | {"sliding_window": 32, "query_pre_attn_scalar": 8}),
    "Phi": ("phi", NO_HEAD_DIM),
    "Phi-3": ("phi3", NO_HEAD_DIM | {"sliding_window": None}),
    "Phi-3, longrope": ("phi3", NO_HEAD_DIM | LONG | {"original_max_position_embeddings": 48, "sliding_window": None}),
    "Phi-3.5-MoE": ("phimoe", DECODER | {"num_local_experts": 4, "sliding_window": None}),
    "GPT-2": ("gpt2", OLD | {"n_positions": 128}),
    "GPT-Neo": (
        "gpt_neo",
        {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "attention_types": [[["global", "local"], 1]]}
        | {"max_position_embeddings": 128, "window_size": 16},
    ),
    "GPT-NeoX": ("gpt_neox", ENCODER),
    "GPT-J": ("gptj", OLD | {"n_positions": 128, "rotary_dim": 4}),
    "CodeGen": ("codegen", OLD | {"n_positions": 128, "n_ctx": 128, "rotary_dim": 4}),
    "OPT": ("opt", {"hidden_size": 32, "ffn_dim": 40, "num_hidden_layers": 2, "num_attention_heads": 4}),
    "OPT-350m, a narrow output": (
        "opt",
        {"hidden_size": 32, "ffn_dim": 40, "num_hidden_layers": 2, "num_attention_heads": 4}
        | {"word_embed_proj_dim": 16, "do_layer_norm_before": False},
    ),
    "BLOOM": ("bloom", {"hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "Falcon": ("falcon", {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "alibi": False}),
    "Falcon, ALiBi": ("falcon", {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "alibi": True}),
    "MPT": ("mpt", {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 128}),
    "StableLM": ("stablelm", NO_HEAD_DIM),
    "StarCoder2": ("starcoder2", NO_HEAD_DIM | {"sliding_window": None}),
    "Cohere": ("cohere", NO_HEAD_DIM),
    "Cohere 2": ("cohere2", DECODER | {"sliding_window": 32}),
    "OLMo": ("olmo", NO_HEAD_DIM),
    "OLMo 2": ("olmo2", NO_HEAD_DIM),
    "OLMo 3": ("olmo3", NO_HEAD_DIM | {"sliding_window": 32}),
    "OLMoE": ("olmoe", NO_HEAD_DIM | {"num_experts": 4, "num_experts_per_tok": 2}),
    "Granite": ("granite", NO_HEAD_DIM),
    "Granite-MoE": ("granitemoe", NO_HEAD_DIM | {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "DeepSeek-V2": ("deepseek_v2", NO_HEAD_DIM | LATENT | {"num_key_value_heads": 4}),
    "DeepSeek-V3": ("deepseek_v3", NO_HEAD_DIM | LATENT | {"num_key_value_heads": 4}),
    "GLM-4": ("glm4", DECODER),
    "GLM-4.5-MoE": ("glm4_moe", DECODER | EXPERTS | {"n_routed_experts": 4, "n_group": 1, "topk_group": 1}),
    "gpt-oss": ("gpt_oss", DECODER | {"num_local_experts": 4, "sliding_window": 32}),
    "gpt-oss, a wide window": ("gpt_oss", DECODER | {"num_local_experts": 4, "sliding_window": 128}),
    "SmolLM3": ("smollm3", NO_HEAD_DIM | {"sliding_window": None}),
    "EXAONE 4": ("exaone4", NO_HEAD_DIM | {"sliding_window": 32}),
    "Nemotron": ("nemotron", DECODER),
    "ERNIE 4.5": ("ernie4_5", DECODER),
    "LFM2": ("lfm2", DECODER | {"layer_types": ["conv", "full_attention"]}),
    "Mamba 2": ("mamba2", {"hidden_size": 32, "num_hidden_layers": 2, "num_heads": 8, "head_dim": 8, "state_size": 8}),
    "Falcon-H1": ("falcon_h1", DECODER | MAMBA),
    "XLNet": ("xlnet", {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 40}),
    "BERT": ("bert", ENCODER),
    "RoBERTa": ("roberta", ENCODER),
    "DistilBERT": ("distilbert", {"dim": 32, "hidden_dim": 40, "n_layers": 2, "n_heads": 4}),
    "ELECTRA": ("electra", ENCODER | {"embedding_size": 16}),
    "DeBERTa-v2": ("deberta-v2", ENCODER | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
    "ALBERT": ("albert", ENCODER | {"embedding_size": 16}),
    "ModernBERT": ("modernbert", ENCODER | {"local_attention": 256}),
    "ModernBERT, a narrow window": ("modernbert", ENCODER | {"local_attention": 32}),
    "T5": ("t5", {"d_model": 32, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 4}),
    "BART": ("bart", {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2}),
}


class Row(NamedTuple):
    """What becomes of one variant."""

    name: str
    is_right: bool
    layout: str
    """How it is read, or why it is refused."""
    saved_as: str


def row(name: str) -> Row:
    """Build, read, save and load one variant."""
    architecture, sizes = VARIANTS[name]
    tokenizer = train_tokenizer(["How far is it to the sea? About a day's walk."], 300)
    tokenizer.model_max_length = MAX_TOKENS
    with tempfile.TemporaryDirectory() as folder:
        _save_base(architecture, sizes, Path(folder))
        save_tokenizer(tokenizer, Path(folder))
        try:
            base = base_files.resolve(ModelConfig(path=Path(folder)))
            model = base_models.build(base, tokenizer, 0, torch.device("cpu")).eval()
        except ModelError as error:
            return Row(name, True, f"refused: {str(error).removeprefix(f'{folder}: ')}", "")
    groups = _groups()
    layout, why = _layout(model)
    with torch.inference_mode():
        found = model.outputs(layout.lay_out(groups))
        alone = torch.cat([_alone(model, ids) for ids in _rows(groups)])
    with tempfile.TemporaryDirectory() as folder:
        export.save(model, tokenizer, Path(folder))
        served = AutoModelForSequenceClassification.from_pretrained(folder).eval()
        with torch.inference_mode():
            theirs = torch.cat([served(input_ids=torch.tensor([ids])).logits for ids in _rows(groups)])
    close = {"rtol": 0.0, "atol": SAME * max(1.0, float(alone.abs().max()))}
    is_right = all(torch.allclose(each, alone, **close) for each in (found, theirs)) and alone.std() > 1000 * SAME
    own = "" if isinstance(served, RewardModel) else type(served).__name__
    return Row(name, bool(is_right), "packed" if layout.packed else f"padded: {why}", own or "this project's class")


def _save_base(architecture: str, sizes: dict[str, Any], folder: Path) -> None:
    """A base with random weights that are so large that every token matters."""
    known = AutoConfig.for_model(architecture).to_dict()
    special = {key: place for place, key in enumerate(_SPECIAL) if key in known}
    config = AutoConfig.for_model(architecture, **{**special, **sizes, "vocab_size": 300})
    torch.manual_seed(0)
    backbone = AutoModel.from_config(config)
    with torch.no_grad():
        for part in backbone.modules():
            for parameter in part.parameters(recurse=False):
                if parameter.ndim > 1:
                    parameter.normal_(std=1.0 if isinstance(part, nn.Embedding) else 1.5 / parameter.shape[-1] ** 0.5)
    backbone.save_pretrained(folder)


def _groups() -> list[TokenGroup]:
    drawn = np.random.default_rng(0)

    def ids(count: int) -> list[int]:
        return [int(value) for value in drawn.integers(16, 300, count)]

    first = ids(30)
    return [
        TokenGroup(ids(9), [ids(80), ids(1), ids(12)]),
        TokenGroup(ids(2), [ids(1)]),
        TokenGroup(ids(40), [first, first[:20] + ids(5), ids(50)]),
    ]


def _rows(groups: list[TokenGroup]) -> Iterator[list[int]]:
    for group in groups:
        for prompt, response in group.sequences():
            yield [*prompt, *response]


def _alone(model: RewardModel, ids: list[int]) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=torch.tensor([ids])).logits
    return logits


def _layout(model: RewardModel) -> tuple[batch_layout.BatchLayout, str]:
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(str(record.args[0]) if record.args else "")  # type: ignore[method-assign]
    batch_layout.LOGGER.addHandler(handler)
    try:
        return batch_layout.choose(model, MAX_TOKENS), (told or [""])[0]
    finally:
        batch_layout.LOGGER.removeHandler(handler)


TITLE = f"""# Architectures

Made by `python bench/architectures.py`; a test makes each row again. Each is built small with random weights, reads
texts of 3 to 90 tokens at once in the layout that is chosen for it, is saved, and is loaded by transformers: all
rewards are those of the same texts one by one, to {SAME:g}. Windows and limits here are narrower than in published
models, so that a text of {MAX_TOKENS} tokens exceeds them: with `tokenize.max_tokens` within a model's window it is
packed. What is saved as a class of transformers needs nothing of this project.

| architecture | read in rows that are | saved as |
|---|---|---|"""


def line(found: Row) -> str:
    """A row of the table."""
    return f"| {found.name} | {found.layout} | {found.saved_as} |"


def main() -> None:
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    logging.getLogger("rm").propagate = False
    print(TITLE)
    for name in VARIANTS:
        found = row(name)
        print(line(found) if found.is_right else f"| {name} | WRONG | |")


if __name__ == "__main__":
    main()

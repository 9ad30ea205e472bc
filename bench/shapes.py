"""Models and the GPU that the benchmarks of training measure on."""

from __future__ import annotations

PEAK_FLOPS = 989e12
"""Dense bfloat16 of an H100 SXM or H200, without sparsity, by NVIDIA's data sheets."""
TINY = {
    "model_type": "qwen3",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 4096,
    "vocab_size": 512,
}
QWEN3_0_6B = TINY | {  # the shape of Qwen/Qwen3-0.6B
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "max_position_embeddings": 40960,
    "vocab_size": 151936,
}
QWEN3_4B = QWEN3_0_6B | {  # the shape of Qwen/Qwen3-4B
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
}

"""Rows with ``chosen`` and ``rejected`` whose prompt has another name: LLaMA-Factory, ms-swift, Orca DPO and others."""

from __future__ import annotations

from rm.data.formats.chosen_rejected import chosen_rejected

_ANSWERS = {"chosen": "A banana is yellow.", "rejected": "A plum, I think."}
_QUESTION = "Name a yellow fruit."
_SHAREGPT = [{"from": "human", "value": _QUESTION}]
_MESSAGES = [{"role": "user", "content": _QUESTION}]

FORMATS = (
    chosen_rejected(
        "llama_factory_alpaca",
        "LLaMA-Factory's alpaca ranking, Distilabel's older sets",
        "instruction",
        {"instruction": "Name a fruit.", "input": "It is yellow.", **_ANSWERS},
        more="input",
    ),
    chosen_rejected(
        "llama_factory_sharegpt",
        "LLaMA-Factory's sharegpt ranking",
        "conversations",
        {
            "conversations": _SHAREGPT,
            **{side: {"from": "gpt", "value": text} for side, text in _ANSWERS.items()},
        },
    ),
    chosen_rejected(
        "orca_dpo", "Intel/orca_dpo_pairs", "question", {"system": "Be brief.", "question": _QUESTION, **_ANSWERS}
    ),
    chosen_rejected(
        "input",
        "axolotl's bradley_terry (chat_template, llama3)",
        "input",
        {"system": "Be brief.", "input": _QUESTION, **_ANSWERS},
    ),
    chosen_rejected("query", "own sets", "query", {"query": _QUESTION, **_ANSWERS}),
    chosen_rejected("context", "own sets", "context", {"context": _QUESTION, **_ANSWERS}),
    chosen_rejected("messages", "axolotl's chat_template, ms-swift", "messages", {"messages": _MESSAGES, **_ANSWERS}),
    chosen_rejected("conversation", "own sets", "conversation", {"conversation": _MESSAGES, **_ANSWERS}),
)

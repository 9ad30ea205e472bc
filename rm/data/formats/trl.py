"""Rows of TRL, OpenRLHF and most data sets on the hub: ``prompt``, ``chosen``, ``rejected``.

Also UltraFeedback-binarized, Tulu 3 and Argilla's, where the sides repeat the prompt as messages. Without a column
for the prompt it is what both sides share, as whole messages or marked turns: in HH-RLHF, Skywork and others.
"""

from __future__ import annotations

from rm.data.formats.chosen_rejected import chosen_rejected

_ANSWERS = {"chosen": "A banana is yellow.", "rejected": "A plum, I think."}

FORMATS = (
    chosen_rejected(
        "trl",
        "TRL, OpenRLHF, NeMo-RL's binary preferences, UltraFeedback-binarized, Tulu 3, Argilla's DPO sets",
        "prompt",
        {"prompt": "Name a yellow fruit.", **_ANSWERS},
        more="input",
    ),
    chosen_rejected(
        "trl_implicit",
        "TRL without a prompt column, HH-RLHF, Skywork: whole dialogues that differ in their last message",
        None,
        {side: f"\n\nHuman: Name a yellow fruit.\n\nAssistant: {text}" for side, text in _ANSWERS.items()},
    ),
)

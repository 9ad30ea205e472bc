"""Tokenizers: training one on the data, adding a chat template and a padding token, and saving."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from rm.errors import ModelError

PAD_TOKEN, END_TOKEN = "<|pad|>", "<|end|>"
ROLE_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>")

_TURN = (
    "{% if message['reasoning_content'] %}<think>\n{{ message['reasoning_content'] }}\n</think>\n\n{% endif %}"
    "{{ message['content'] or '' }}"
    "{% if message['tool_calls'] %}{{ '\\n' + (message['tool_calls'] | tojson) }}{% endif %}"
)
"""A message with all that it holds."""
_SCRATCH_TEMPLATE = (
    "{% if tools %}<|tools|>{{ tools | tojson }}<|end|>{% endif %}"
    "{% for message in messages %}<|{{ message['role'] }}|>" + _TURN + "<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# [CLS] first question [SEP] first answer [SEP] ... : the format of several texts in encoders' pretraining
_ENCODER_TEMPLATE = (
    "{{ cls_token }}{% if tools %}{{ tools | tojson }}{{ sep_token }}{% endif %}"
    "{% for message in messages %}" + _TURN + "{{ sep_token }}{% endfor %}"
)
_DECODER_TEMPLATE = (
    "{{ bos_token or '' }}{% if tools %}Tools:\n{{ tools | tojson }}{{ eos_token }}{% endif %}"
    "{% for message in messages %}"
    "{{ {'user': 'Human', 'assistant': 'Assistant', 'system': 'System', 'tool': 'Tool'}[message['role']] }}:\n"
    + _TURN
    + "{{ eos_token }}{% endfor %}{% if add_generation_prompt %}Assistant:\n{% endif %}"
)


def complete(tokenizer: PreTrainedTokenizerFast) -> None:
    """Give a tokenizer a chat template and a padding token, where they are missing.

    Raises
    ------
    ModelError
        If it has neither a chat template nor the special tokens that a default template needs.
    """
    if tokenizer.chat_template is None:
        tokenizer.chat_template = _default_template(tokenizer)
    if {tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id} <= {None, tokenizer.eos_token_id}:
        # No special token is free for padding (GPT-2). An ordinary token would no longer merge with its neighbours.
        tokenizer.add_special_tokens({"pad_token": PAD_TOKEN})


def _default_template(tokenizer: PreTrainedTokenizerFast) -> str:
    if tokenizer.cls_token and tokenizer.sep_token:
        return _ENCODER_TEMPLATE
    if tokenizer.eos_token:
        return _DECODER_TEMPLATE
    raise ModelError("expected a tokenizer with a chat template, an end token, or [CLS] and [SEP]; it has none of them")


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save a tokenizer without the keys that record how it was loaded, so that equal tokenizers give equal bytes."""
    for trace in ("is_local", "local_files_only", "name_or_path"):
        tokenizer.init_kwargs.pop(trace, None)
    tokenizer.save_pretrained(folder)


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer trained on texts, with one token each for roles, end and padding."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD_TOKEN, END_TOKEN, *ROLE_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),  # so that it can encode any text
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD_TOKEN,
        eos_token=END_TOKEN,
        additional_special_tokens=list(ROLE_TOKENS),
        chat_template=_SCRATCH_TEMPLATE,
    )


def pad_token_id(tokenizer: PreTrainedTokenizerFast) -> int:
    """Id of a special token for padding that is not the end token; `complete` makes sure that there is one.

    Transformers finds the last token by comparing ids with the padding id. If it were the end token's id, the reward
    would be read one token too early. Every text ends with an end token, so any other id is safe.
    """
    candidates = (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id)
    return int(next(id_ for id_ in candidates if id_ is not None and id_ != tokenizer.eos_token_id))

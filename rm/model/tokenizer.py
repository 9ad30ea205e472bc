"""Tokenizers: trained on the data, completed with what a reward model needs, and saved."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from rm.errors import ModelError

PAD_TOKEN, END_TOKEN = "<|pad|>", "<|end|>"
ROLE_TOKENS = ("<|system|>", "<|user|>", "<|assistant|>")

_SCRATCH_TEMPLATE = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# [CLS] first question [SEP] first answer [SEP] ... : how encoders were shown several texts before
_ENCODER_TEMPLATE = "{{ cls_token }}{% for message in messages %}{{ message['content'] }}{{ sep_token }}{% endfor %}"
_DECODER_TEMPLATE = (
    "{{ bos_token or '' }}{% for message in messages %}"
    "{{ {'user': 'Human', 'assistant': 'Assistant', 'system': 'System'}[message['role']] }}:\n{{ message['content'] }}"
    "{{ eos_token }}{% endfor %}{% if add_generation_prompt %}Assistant:\n{% endif %}"
)


def complete(tokenizer: PreTrainedTokenizerFast) -> None:
    """Give a tokenizer what a reward model needs of it: a chat template, and a token to pad with.

    Raises
    ------
    ModelError
        If it has neither a chat template nor the tokens to make one.
    """
    if tokenizer.chat_template is None:
        tokenizer.chat_template = _default_template(tokenizer)
    if {tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id} <= {None, tokenizer.eos_token_id}:
        # No special token is left to pad with (GPT-2), and a word made one would no longer merge with its neighbours.
        tokenizer.add_special_tokens({"pad_token": PAD_TOKEN})


def _default_template(tokenizer: PreTrainedTokenizerFast) -> str:
    if tokenizer.cls_token and tokenizer.sep_token:
        return _ENCODER_TEMPLATE
    if tokenizer.eos_token:
        return _DECODER_TEMPLATE
    raise ModelError("the tokenizer has no chat template, and neither an end token nor [CLS] and [SEP]")


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Save a tokenizer without the traces of how it was loaded, so that the same one gives the same bytes."""
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
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),  # any text can be written, whatever was seen
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
    """A special token's id to pad with that is not the end token's; `complete` sees to one.

    Transformers finds the last token by comparing with this id, so with pad == eos it would read the reward one token
    early. Every text ends with an end token, so any other id is safe.
    """
    candidates = (tokenizer.pad_token_id, tokenizer.unk_token_id, tokenizer.bos_token_id)
    return int(next(id_ for id_ in candidates if id_ is not None and id_ != tokenizer.eos_token_id))

"""OpenAI's comparisons of summaries: a Reddit post or a news article, two summaries, and which of them is better."""

from __future__ import annotations

from typing import Any

from rm.data.formats.format import Format, is_empty
from rm.data.formats.row import RowError, listed, origin, part, text, verdict, within
from rm.data.preferences import Judgement, Message

_PARTS = {"subreddit": "SUBREDDIT: r/", "title": "TITLE: ", "post": "POST: ", "article": "ARTICLE: "}
"""Parts of the prompt, in order, with the labels that the field gives them."""


def _read(row: dict[str, Any]) -> list[Judgement]:
    info = part(row["info"], "info", {"id", "site", *_PARTS})
    if is_empty(info.get("post")) == is_empty(info.get("article")):
        raise RowError("info: expected one of post and article, which was summarised")
    with within("info"):
        parts = [label + text(info, name) for name, label in _PARTS.items() if not is_empty(info.get(name))]
    summaries = listed(row, "summaries")
    if len(summaries) != 2:
        raise RowError(f"summaries: expected two, got {len(summaries)}")
    first, second = (_summary(summary, f"summaries[{place}]") for place, summary in enumerate(summaries))
    return [
        Judgement(
            prompt=(Message("user", "\n\n".join([*parts, "TL;DR:"])),),
            first=first.strip(),
            second=second.strip(),
            preference=verdict(row, "choice", {"0": 1.0, "1": 0.0}),
            **origin({**row, "domain": info.get("subreddit") or info.get("site")}),
        )
    ]


def _summary(value: Any, key: str) -> str:
    summary = part(value, key, ("text", "policy", "note"))
    with within(key):
        return text(summary, "text")


FORMATS = (
    Format(
        name="summarize_from_feedback",
        published="openai/summarize_from_feedback, comparisons",
        required=frozenset({"info", "summaries", "choice"}),
        columns={
            "info": "prompt: subreddit, title, and post or article; the subreddit or site is the domain",
            "summaries": "the two responses, in `text`; `policy` and `note` are metadata",
            "choice": "0 prefers the first, 1 the second",
        },
        metadata=frozenset({"extra"}),
        read=_read,
        example={
            "info": {"subreddit": "fruit", "title": "Bananas", "post": "Mine were green on Monday and are yellow now."},
            "summaries": [{"text": " Bananas ripen."}, {"text": " I like plums."}],
            "choice": 0,
            "worker": "w7",
        },
    ),
)

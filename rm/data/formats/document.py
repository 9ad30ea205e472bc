"""The document of the formats, made from what they say of themselves and from what is read of their examples."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from rm.data.formats.catalog import FORMATS, read_row
from rm.data.formats.chosen_rejected import RATINGS, RESPONSES, reasoning_columns
from rm.data.formats.format import METADATA, Format
from rm.data.formats.no_comparisons import NO_COMPARISONS
from rm.data.formats.row import COMMON, MAX_NAME, MAX_NUMBER, MAX_TIME
from rm.data.preferences import BOUNDS, ROLES, Judgement

_HEAD = """# Formats of annotations

`python bench/formats.py > docs/formats.md` makes this page from the readers in `rm/data/formats/`.

A row's columns decide which format it has: of those whose *required* columns a row has, the one that leaves the fewest
of its columns unknown. `rmflow ingest --explain FILE` shows what would be read of a file and stores nothing. Files are
JSON (one array, or an object per line), CSV, TSV or Parquet, plain, `.gz` or `.zst`.

- A **prompt** is text, a list of messages (`{role, content}` or `{from, value}`), such a list as JSON text, or a text
  with marks of turns (`Human:` and `Assistant:`, ChatML, `### Human:`, NeMo's `<extra_id_1>User`). A **response** is
  text or its last message; a prompt that it repeats stands once.
- **Tools, calls, results and reasoning** in a prompt are messages of their own, so that rows which differ only there
  have different prompts. They come from the column `tools`; from `tool_calls` or `function_call`, and
  `reasoning_content`, `reasoning` or `thinking` of an assistant's message; from messages of a `tool` (`function`,
  `observation`) with `tool_call_id` or `name`; from LLaMA-Factory's `function_call`. JSON keeps the order of its keys,
  in which templates write them; fields with null are left out, since Parquet fills missing ones with it.
- **The chat template** writes them. A prompt of which it drops or changes a message, a tool, a call or a result is
  refused; it may drop the reasoning of earlier turns, as many do in serving too. A tool that is a function alone is
  given to it as `{"type": "function", "function": ...}`.
- **The reasoning of a response,** in its message or in columns such as `reasoning_chosen` and `rejected_thinking`
  (`reasoning`, `reasoning_content` or `thinking`, before or after the side), stands before it between `<think>` and
  `</think>`. The chat template gets it as `reasoning_content` and `reasoning`, to be written in its own way, or as text
  if it drops these. A response of which it drops or changes a part is refused, and so are one that calls tools, and
  media anywhere.
- **Nothing is dropped unsaid.** Columns that are neither read nor known as metadata are *unknown*. They may hold
  numbers, a repetition of what is read, or, beside a prompt with a column of its own, an id, a date or a name in one
  word; how often is said after reading. Any other text, messages, tools or media in them refuse the row, with the
  column's name.
- **Your own columns:** `ingest.fields: {prompt: question, chosen: good_answer, rejected: bad_answer}`; `a.b` is field b
  of the object in column a. `ingest.ignore: [notes]` says that a column is no part of what was compared.
  `ingest.format: NAME` has all rows read by one format.
- **One response** with a label (KTO), ratings (HelpSteer) or labels of its steps is no comparison: the row is refused.
- **Ratings** of two responses are `score_chosen` and `score_rejected`, `chosen_score` and `rejected_score`, or with `-`
  for `_`; `rating` or `avg_rating` may stand for `score`. Equal ones are a tie; a row whose rejected response has the
  higher one is refused, in `rmflow audit` the whole file: the ratings may be those of the model. Rewards, such as
  `reward_chosen`, are a model's and no ratings, but in NeMo-Aligner's format.
- **Several votes** in a row are several judgements, each with an annotator.
- **Numbers have bounds:** {bounds}; an
  attribute is 0 or of size {attributes}. Any other number is of size {largest} at most, a number as a time
  {time}, as a name {name}. A row beyond them is not used: one weight of 1e300 would stop each training.
- **A row has at most 16 MiB.** A larger line, or cell of Parquet, is one bad row; in CSV and in an array of JSON, where
  the next row cannot be found without it, the file is refused. So is a file that unpacks to more than 1 GiB and 200
  times its size, and Parquet whose metadata says the like; Parquet with more rows than bytes, too.
- **Damage:** `.gz` has a checksum, `.zst` may have one (`zstd` writes it, pyarrow does not). A stream that is cut off,
  has another length than it says or something behind it is refused. Without a checksum a changed bit may go
  unseen: of 200 files with one flipped bit 74 were refused, 11 had rows that are no JSON, and 114 had other texts; with
  a checksum 199 were refused, and the last one had the same rows. Of 200 `.gz` all were refused.
- A row that cannot be used is in quarantine, with its file, line and reason.
"""


def page() -> str:
    """The document, in Markdown."""
    known = ", ".join(f"`{name}`" for name in sorted(METADATA))
    refused = [
        f"- {', '.join(f'`{name}`' for name in sorted(each.columns))}: {each.reason}." for each in NO_COMPARISONS
    ]
    refused_section = "\n".join(["## Rows that are no comparison", "", *refused, ""])
    parts = [_head(), "Messages of a prompt:\n", "| role | content |", "|---|---|"]
    parts += [f"| `{role}` | {content} |" for role, content in ROLES.items()]
    parts += ["", "Every format reads:\n", *_table(COMMON), "", f"Metadata of every format: {known}.\n"]
    parts += [*map(_section, FORMATS), refused_section]
    return "\n".join(parts)


def _head() -> str:
    spans = {name: f"{least:g} to {most:g}" for name, (least, most) in BOUNDS.items()}
    attributes = spans.pop("attributes")
    bounds = ", ".join(f"`{name}` {span}" for name, span in spans.items())
    sizes = {"largest": f"{MAX_NUMBER:g}", "time": f"{MAX_TIME:g}", "name": f"{MAX_NAME:g}"}
    values = {"bounds": bounds, "attributes": attributes, **sizes}
    return re.sub(r"\{(\w+)\}", lambda found: values.get(found[1], found[0]), _HEAD)


def _section(format_: Format) -> str:
    required = ", ".join(f"`{name}`" for name in format_.columns if name in format_.required)
    own = {name: use for name, use in format_.columns.items() if COMMON.get(name) != use}
    lines = [f"## {format_.name}", "", f"{format_.published}. Required: {required}.", "", *_table(own)]
    if format_.metadata:
        lines += ["", "Metadata: " + ", ".join(f"`{name}`" for name in sorted(format_.metadata)) + "."]
    lines += ["", "```json", json.dumps(format_.example, ensure_ascii=False), "```", "", "becomes", "", "```json"]
    lines += [json.dumps(_shown(each), ensure_ascii=False) for each in read_row(dict(format_.example)).judgements]
    return "\n".join([*lines, "```", ""])


def _table(columns: Mapping[str, str]) -> list[str]:
    """The columns by what becomes of them."""
    by_use: dict[str, list[str]] = {}
    for name, use in columns.items():
        by_use.setdefault(use, []).append(f"`{name}`")
    return ["| column | becomes |", "|---|---|", *(f"| {_named(names)} | {use} |" for use, names in by_use.items())]


_RATINGS = {f"`{name}`" for names in RATINGS for name in names}
_REASONING = [{f"`{name}`" for name in reasoning_columns(*sides)} for sides in (RESPONSES, ("first", "second"))]


def _named(names: list[str]) -> str:
    if set(names) in _REASONING:
        return "reasoning, see above"
    return "ratings, see above" if set(names) == _RATINGS else ", ".join(names)


def _shown(judgement: Judgement) -> dict[str, Any]:
    """What was read, without what is as it is by default."""
    given: dict[str, Any] = {
        "prompt": [f"{role}: {content}" for role, content in judgement.prompt],
        "first": judgement.first,
        "second": judgement.second,
        "preference": round(judgement.preference, 4),
    }
    optional = {
        "target_margin": judgement.target_margin,
        "attributes_first": dict(judgement.attributes_first),
        "attributes_second": dict(judgement.attributes_second),
        "annotator": judgement.annotator,
        "created_at": judgement.created_at,
        "domain": judgement.domain,
        "sampling_probability": judgement.sampling_probability,
    }
    weight = {"weight": judgement.weight} if judgement.weight != 1 else {}
    return given | {name: value for name, value in optional.items() if value} | weight

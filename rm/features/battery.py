"""The table of all features. Each is a line: what it counts, why, and the source."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from rm.features import reading, word_lists
from rm.features.reading import (
    QUESTION_MARK,
    closes_with,
    count_of,
    lines_with,
    listed,
    log_of,
    more_than,
    opens_with,
    per_character,
    per_word,
    share_of_words,
    there_is,
)
from rm.features.responses import Responses
from rm.stats.clustered import Floats, Ints
from rm.stats.threads import in_parallel

Family = Literal[
    "length", "structure", "typography", "wording", "tone", "opening and closing", "prompt", "people", "own"
]
"""``own``: not of the battery, see `rm.features.own`."""

LOG_LENGTH = "log characters"
"""The feature that stands for length where one number must."""

_LENGTH = "longer is better: Singhal et al. 2023, arXiv:2310.03716"
_FORMAT = "format biases: Zhang et al. 2024, arXiv:2409.11704"
_STYLE = "style control: Chiang et al. 2024, Chatbot Arena; Li et al. 2024"
_SURFACE = "surface artefacts: Gururangan et al. 2018, arXiv:1803.02324"
_TONE = "tone over substance: Wu and Aji 2023, arXiv:2307.03025"
_FLATTERY = "sycophancy: Sharma et al. 2023, arXiv:2310.13548"
_HEDGING = "overconfident language: Zhou et al. 2024, arXiv:2401.06730"
_REFUSAL = "exaggerated safety: Rottger et al. 2023, arXiv:2308.01263"
_CITATION = "authority and citations: Chen et al. 2024, arXiv:2402.10669"
_PEOPLE = "prefix and group biases: Kumar et al. 2025, arXiv:2504.04166"
_DIALECT = "dialect: Mire et al. 2025, arXiv:2502.12858"
_MATCHING = "matching of style: Ireland and Pennebaker 2010, J. Personality and Social Psychology 99"
_COPY = "copying the prompt: Krishna et al. 2021, arXiv:2103.06332"
_REPEAT = "repetition: Holtzman et al. 2020, arXiv:1904.09751"

_FORMULA = r"\$\$[^$]+\$\$|\$[^\s$](?:[^$\n]*[^\s$])?\$(?:\W|$)|\\\(|\\\[|\\frac|\\sum"
"""Within single dollars no space at the ends and no word behind, or prices would be formulas."""
_TAG = (
    r"</?(?:a|abbr|article|aside|audio|b|blockquote|body|br|button|canvas|caption|center|cite|code|dd|del|details|div|dl|dt"
    r"|em|embed|figcaption|figure|font|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|ins|kbd|label|li|link|main"
    r"|mark|meta|nav|ol|option|p|pre|q|s|samp|script|section|select|small|span|strong|style|sub|summary|sup|svg|table|tbody"
    r"|td|textarea|tfoot|th|thead|title|tr|u|ul|var|video)(?:\s[^<>\n]*)?/?>"
)
"""Known ones: ``vector<int>`` has none."""
_CONTRACTION = r"\w'(?:t|re|ve|ll|d|m)\b|\b(?:it|that|there|he|she|what|who|let|here|how|where)'s\b"
"""After other words 's is a possessive more often."""

_NAME = r"[\p{Ll}\d,;] \p{Lu}\p{Ll}+(?:[ -]\p{Lu}\p{Ll}+)*"
"""Words in a row are one name."""

_ROWS_AT_ONCE = 5_000
"""More take more memory and are no faster."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One number per response, that can be seen without understanding it."""

    name: str
    family: Family
    read: Callable[[Responses], Floats]
    """Gives an array of shape (N,)."""
    about: str
    """What is counted, in plain words."""
    source: str
    """Why a reward model may pay for it."""
    among: Callable[[Floats], Floats] | None = None
    """Makes of the numbers of all responses what the feature is; None: they are the feature."""


BATTERY: tuple[Feature, ...] = (
    Feature("characters", "length", lambda texts: texts.characters, "characters", _LENGTH),
    Feature(LOG_LENGTH, "length", log_of(lambda texts: texts.characters), "log of characters", _LENGTH),
    Feature("log words", "length", log_of(lambda texts: texts.tokens.counts), "log of words", _LENGTH),
    Feature("log sentences", "length", log_of(reading.sentences), "log of sentences", _LENGTH),
    Feature("log lines", "length", log_of(reading.lines), "log of lines that are not empty", _LENGTH),
    Feature("under 10 words", "length", reading.fewer_words(10), "has fewer than 10 words", _LENGTH),
    Feature("over 50 words", "length", more_than(50, lambda texts: texts.tokens.counts), "has over 50 words", _LENGTH),
    Feature("over 150 words", "length", more_than(150, lambda texts: texts.tokens.counts), "over 150 words", _LENGTH),
    Feature("over 400 words", "length", more_than(400, lambda texts: texts.tokens.counts), "over 400 words", _LENGTH),
    Feature("length above 50 words", "length", reading.hinge(50), "log of words above 50", _LENGTH),
    Feature("length above 200 words", "length", reading.hinge(200), "log of words above 200", _LENGTH),
    Feature(
        "unusual length",
        "length",
        log_of(lambda texts: texts.tokens.counts),
        "distance of log length from the median",
        _LENGTH,
        among=reading.from_median,
    ),
    # What a page shows as structure.
    Feature("bulleted items", "structure", lines_with(r"[ \t]*[-*•+][ \t]"), "bulleted lines", _FORMAT),
    Feature("numbered items", "structure", lines_with(r"[ \t]*\d+[.)][ \t]"), "numbered lines", _FORMAT),
    Feature("list items", "structure", lines_with(r"[ \t]*(?:[-*•+]|\d+[.)])[ \t]"), "lines of any list", _FORMAT),
    Feature("headers", "structure", lines_with("#{1,6} "), "Markdown headers", _FORMAT),
    Feature("bold", "structure", count_of(r"\*\*[^*\n]+\*\*"), "bold passages", _FORMAT),
    Feature(
        "italics", "structure", count_of(r"(?:^|[^*\w])[*_][^*_\n]+[*_](?:[^*\w]|$)"), "passages in italics", _FORMAT
    ),
    Feature("table rows", "structure", lines_with(r"[ \t]*\|.*\|[ \t]*$"), "rows of tables", _FORMAT),
    Feature("code blocks", "structure", lines_with(r"[ \t]*```", code=True), "fences of code blocks", _FORMAT),
    Feature("inline code", "structure", count_of(r"`[^`\n]+`"), "code within a line", _FORMAT),
    Feature("formulas", "structure", count_of(_FORMULA), "formulas in LaTeX", _FORMAT),
    Feature("links", "structure", count_of(r"(?:\]\(<?)?https?://|\]\([^()\s]*[/.#@]"), "links", _CITATION),
    Feature("quotations", "structure", lines_with(">"), "quoted lines", _FORMAT),
    Feature("rules", "structure", lines_with(r"(?:---+|\*\*\*+|___+)[ \t]*$"), "horizontal rules", _FORMAT),
    Feature("paragraphs", "structure", count_of(r"\n[ \t]*\n"), "empty lines between paragraphs", _FORMAT),
    Feature("line breaks", "structure", count_of(r"\n"), "line breaks", _FORMAT),
    Feature("labelled lines", "structure", lines_with(r"[^\n:]{1,40}:(?: |\*|$)"), "lines with a label", _FORMAT),
    Feature("steps", "structure", count_of(r"\bstep \d+", lower=True), "numbered steps", _FORMAT),
    Feature("tags", "structure", count_of(_TAG, lower=True), "HTML tags", _FORMAT),
    Feature("indented lines", "structure", lines_with(r"(?: {2,}|\t)[ \t]*\S", code=True), "indented lines", _FORMAT),
    Feature("words per line", "structure", reading.words_per_line, "log of words per line", _FORMAT),
    # Characters.
    Feature("capitals", "typography", per_character(r"\p{Lu}"), "share of capital letters", _SURFACE),
    Feature("words in capitals", "typography", count_of(r"\b[A-Z]{3,}\b"), "words all in capitals", _SURFACE),
    Feature("exclamation marks", "typography", count_of(r"[!\x{ff01}]"), "exclamation marks", _STYLE),
    Feature("question marks", "typography", count_of(QUESTION_MARK), "question marks", _STYLE),
    Feature("repeated marks", "typography", count_of(r"[!?]{2,}"), "exclamation or question marks in a row", _STYLE),
    Feature("ellipses", "typography", count_of(r"\.\.\.|\x{2026}"), "ellipses", _STYLE),
    Feature("emoji", "typography", log_of(reading.emoji), "emoji", _STYLE),
    Feature("smileys", "typography", count_of(r"[:;]-?[)(DPp](?:\s|$)"), "smileys of characters", _STYLE),
    Feature("digits", "typography", per_character(r"\d"), "share of digits", _SURFACE),
    Feature("numbers", "typography", count_of(r"\d+(?:[.,]\d+)*"), "numbers", _SURFACE),
    Feature("parentheses", "typography", count_of(r"\("), "opening parentheses", _SURFACE),
    Feature("quotation marks", "typography", count_of('["“”«»]'), "quotation marks", _SURFACE),
    Feature("colons", "typography", count_of(":"), "colons", _SURFACE),
    Feature("semicolons", "typography", count_of(";"), "semicolons", _SURFACE),
    Feature("dashes", "typography", count_of("\u2014|\u2013| - "), "dashes", _SURFACE),
    Feature("commas", "typography", per_word(","), "commas per word", _SURFACE),
    Feature("amounts", "typography", count_of(r"[%$€£]"), "signs of per cent and currencies", _SURFACE),
    Feature("characters beyond ASCII", "typography", per_character(r"[^\x00-\x7f]"), "share beyond ASCII", _SURFACE),
    Feature(
        "starts in lower case", "typography", opens_with(r"\p{Ll}", lower=False), "first letter is small", _SURFACE
    ),
    Feature("sentences in lower case", "typography", reading.small_sentences, "sentences that start small", _SURFACE),
    Feature("no full stop", "typography", closes_with(r"[\p{L}\p{N},]"), "ends without a mark: is cut off", _SURFACE),
    Feature("doubled spaces", "typography", count_of(r"\S  +\S"), "spaces in a row within a line", _SURFACE),
    # Words.
    Feature("word length", "wording", reading.word_length, "mean characters per word", _SURFACE),
    Feature("long words", "wording", reading.long_words(8), "share of words of 8 characters or more", _SURFACE),
    Feature("sentence length", "wording", reading.sentence_length, "log of words per sentence", _SURFACE),
    Feature("variety", "wording", reading.variety, "distinct words over the root of words (Guiraud)", _REPEAT),
    Feature("repeated phrases", "wording", reading.repeated_phrases, "share of three-word runs seen before", _REPEAT),
    Feature("reading grade", "wording", reading.grade, "grade of Kincaid et al. (1975)", _SURFACE),
    Feature("common words", "wording", share_of_words(word_lists.COMMON), "share of the commonest words", _SURFACE),
    Feature("contractions", "wording", count_of(_CONTRACTION, lower=True), "contractions", _STYLE),
    Feature("first person", "wording", listed(word_lists.FIRST_PERSON), "I and its forms", _TONE),
    Feature("first person plural", "wording", reading.first_person_plural, "we and its forms", _TONE),
    Feature("second person", "wording", listed(word_lists.SECOND_PERSON), "you and its forms", _TONE),
    Feature("third person", "wording", listed(word_lists.THIRD_PERSON), "he, she, they and their forms", _TONE),
    Feature("negations", "wording", listed(word_lists.NEGATION), "negations", _SURFACE),
    Feature("modal verbs", "wording", listed(word_lists.MODALS), "modal verbs", _SURFACE),
    Feature("connectives", "wording", listed(word_lists.CONNECTIVES), "however, therefore, because, ...", _SURFACE),
    Feature("ordinals", "wording", listed(word_lists.ORDINALS), "first, next, finally, ...", _FORMAT),
    Feature("adverbs", "wording", count_of(r"\b\w{3,}ly\b", lower=True), "words in -ly", _SURFACE),
    Feature(
        "abstract nouns",
        "wording",
        count_of(r"\b\w{3,}(?:tion|ment|ness|ity)s?\b", lower=True),
        "-tion, -ness",
        _SURFACE,
    ),
    Feature("names", "wording", count_of(_NAME), "names: capitals within a sentence", _SURFACE),
    Feature("past tense", "wording", count_of(r"\b\w{2,}ed\b", lower=True), "words in -ed", _SURFACE),
    Feature("verbs in -ing", "wording", count_of(r"\b\w{2,}ing\b", lower=True), "words in -ing", _SURFACE),
    Feature("words of chatbots", "wording", listed(word_lists.AI_WORDS), "delve, tapestry, ...", _SURFACE),
    Feature("British spelling", "wording", listed(word_lists.BRITISH), "British spellings", _DIALECT),
    # How it is said.
    Feature("hedges", "tone", listed(word_lists.HEDGES), "maybe, perhaps, might, ...", _HEDGING),
    Feature(
        "doubt",
        "tone",
        count_of(r"\bi (?:think|believe|guess|suppose)\b|not sure|don't know", lower=True),
        "I think",
        _HEDGING,
    ),
    Feature("certainty", "tone", listed(word_lists.CERTAINTY), "always, certainly, clearly, ...", _HEDGING),
    Feature("politeness", "tone", listed(word_lists.POLITE), "please, thank, glad, ...", _TONE),
    Feature("praise", "tone", listed(word_lists.PRAISE), "great, excellent, brilliant, ...", _FLATTERY),
    Feature(
        "agreement",
        "tone",
        count_of(r"\byou(?:'re| are) (?:right|correct)|good (?:point|question)|great question", lower=True),
        "you are right, great question",
        _FLATTERY,
    ),
    Feature("apologies", "tone", listed(word_lists.APOLOGY), "sorry, unfortunately, ...", _REFUSAL),
    Feature(
        "refusals",
        "tone",
        count_of(
            r"\bi (?:can't|cannot|can not|won't|will not|am not able|am unable)|\bi'm (?:not able|unable)",
            lower=True,
        ),
        "I can't, I won't, ...",
        _REFUSAL,
    ),
    Feature(
        "disclaimers",
        "tone",
        count_of(r"\bas an ai\b|language model|i'm (?:just )?an ai|not a (?:doctor|lawyer|professional)", lower=True),
        "as an AI, not a doctor",
        _REFUSAL,
    ),
    Feature("warnings", "tone", listed(word_lists.DANGER), "danger, illegal, careful, ...", _REFUSAL),
    Feature("moralising", "tone", listed(word_lists.OBLIGATION), "should, must, ethical, ...", _REFUSAL),
    Feature(
        "important to",
        "tone",
        count_of(r"\b(?:important|essential|crucial) to\b|keep in mind|note that", lower=True),
        "it is important to",
        _TONE,
    ),
    Feature("empathy", "tone", listed(word_lists.EMPATHY), "understand, feel, support, ...", _TONE),
    Feature("good feelings", "tone", reading.good_feelings, "words of good feeling (VADER)", _TONE),
    Feature("bad feelings", "tone", reading.bad_feelings, "words of bad feeling (VADER)", _TONE),
    Feature("authority", "tone", listed(word_lists.AUTHORITY), "experts, studies, research, ...", _CITATION),
    Feature(
        "citations",
        "tone",
        count_of(r"(?:^|[^\w)\]])\[\d+\](?:\[\d+\])*|\(\d{4}\)|et al\.|according to|doi:", lower=True),
        "citations",
        _CITATION,
    ),
    Feature("urgency", "tone", listed(word_lists.URGENCY), "now, immediately, ...", _TONE),
    Feature("slang", "tone", listed(word_lists.SLANG), "gonna, yeah, stuff, ...", _TONE),
    Feature("profanity", "tone", listed(word_lists.PROFANITY), "swear words", _TONE),
    Feature(
        "examples", "tone", count_of(r"\bfor (?:example|instance)\b|\be\.g\.|such as", lower=True), "for example", _TONE
    ),
    # How it begins and ends.
    Feature(
        "opens with agreement",
        "opening and closing",
        opens_with(r"(?:sure|certainly|of course|absolutely|yes|great|okay|ok)\b"),
        "sure, certainly, yes",
        _FLATTERY,
    ),
    Feature(
        "opens with a greeting", "opening and closing", opens_with(r"(?:hi|hello|hey|dear|greetings)\b"), "hello", _TONE
    ),
    Feature("opens with I", "opening and closing", opens_with(r"i\b"), "I", _TONE),
    Feature("opens with no", "opening and closing", opens_with(r"(?:no|not)\b"), "no", _TONE),
    Feature("opens with a header", "opening and closing", opens_with(r"[#*]"), "a header or bold", _FORMAT),
    Feature(
        "announces",
        "opening and closing",
        opens_with(r"here(?:'s| is| are)\b|below\b|the following\b"),
        "here is",
        _TONE,
    ),
    Feature(
        "offers more",
        "opening and closing",
        there_is(r"let me know|hope (?:this|that|it) helps|feel free|happy to help|anything else", lower=True),
        "let me know, hope this helps",
        _TONE,
    ),
    Feature(
        "sums up",
        "opening and closing",
        there_is(r"\bin (?:conclusion|summary|short)\b|\boverall,|\bto sum up|\bultimately,", lower=True),
        "in conclusion",
        _TONE,
    ),
    Feature(
        "ends with a question",
        "opening and closing",
        closes_with(QUESTION_MARK),
        "last mark is a question mark",
        _FLATTERY,
    ),
    Feature(
        "ends with an exclamation",
        "opening and closing",
        closes_with(r"[!\x{ff01}]"),
        "last mark is an exclamation mark",
        _TONE,
    ),
    # The prompt.
    Feature("words from the prompt", "prompt", reading.share_from_prompt, "share of words that the prompt has", _COPY),
    Feature("prompt covered", "prompt", reading.prompt_covered, "share of the prompt's words in the response", _COPY),
    Feature(
        "phrases from the prompt", "prompt", reading.copied_phrases, "share of three-word runs of the prompt", _COPY
    ),
    Feature(
        "opens from the prompt",
        "prompt",
        reading.opens_from_prompt,
        "begins with words that the prompt ends with",
        _COPY,
    ),
    Feature("order of the prompt", "prompt", reading.prompt_order, "words of the prompt come in its order", _COPY),
    Feature(
        "style of the prompt", "prompt", reading.style_matching, "as many words such as I, you, not, should", _MATCHING
    ),
    Feature("mood of the prompt", "prompt", reading.mood_matching, "feels good or bad as the prompt does", _MATCHING),
    Feature(
        "another language",
        "prompt",
        reading.other_language,
        "is not in the prompt's language",
        "M-RewardBench: Gureja et al. 2024, arXiv:2410.15522",
    ),
    # Who is spoken of, and how somebody speaks.
    Feature("women", "people", listed(word_lists.FEMALE), "she, woman, ...", _PEOPLE),
    Feature("men", "people", listed(word_lists.MALE), "he, man, ...", _PEOPLE),
    Feature("religion", "people", listed(word_lists.RELIGION), "religions", _PEOPLE),
    Feature("origin", "people", listed(word_lists.ORIGIN), "race and origin", _PEOPLE),
    Feature("orientation", "people", listed(word_lists.ORIENTATION), "sexual orientation and gender", _PEOPLE),
    Feature("age", "people", listed(word_lists.AGE), "age", _PEOPLE),
    Feature("politics", "people", listed(word_lists.POLITICS), "politics", _PEOPLE),
    Feature("dialect", "people", listed(word_lists.DIALECT), "African American Language, informal spelling", _DIALECT),
)


def read(features: Sequence[Feature], responses: Responses) -> Floats:
    """Every feature of every response, shape (N, F).

    Some thousand responses are read at a time, so that memory does not grow with their number beyond the result, and
    on all cores: searches for regular expressions and operations on arrays let other threads run.
    """
    found = np.empty((len(responses), len(features)))

    def fill(block: tuple[Ints, Responses]) -> None:
        rows, texts = block
        found[rows] = np.column_stack([feature.read(texts) for feature in features])

    in_parallel(fill, responses.blocks(_ROWS_AT_ONCE))
    for at, feature in enumerate(features):
        if feature.among is not None:
            found[:, at] = feature.among(found[:, at])
    return found

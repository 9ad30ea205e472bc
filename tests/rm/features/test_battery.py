import re
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.features import battery, reading, responses
from rm.features.battery import BATTERY
from rm.features.responses import Responses, is_among

PROMPT = "Why is the sky blue in the morning?"
PLAIN = "The light of the sun meets the air and it is scattered by small parts of the air."
MORE = {
    "characters": PLAIN + " And so on.",
    "log characters": PLAIN + " And so on.",
    "log words": PLAIN + " And so on.",
    "log sentences": "One. Two. Three.",
    "log lines": "One\ntwo\nthree",
    "under 10 words": "It is the light.",
    "over 50 words": "word " * 51,
    "over 150 words": "word " * 151,
    "over 400 words": "word " * 401,
    "length above 50 words": "word " * 51,
    "length above 200 words": "word " * 201,
    "unusual length": "word " * 300,
    "bulleted items": "* one\n  - two\n+ three",
    "numbered items": "1. one\n2) two",
    "list items": "1. one\n* two",
    "headers": "## Light\nIt is.",
    "bold": "It is **light**.",
    "italics": "It is *light* here.",
    "table rows": "| a | b |\n|---|---|\n| 1 | 2 |",
    "code blocks": "```python\nx\n```",
    "inline code": "Use `x` here.",
    "formulas": r"It is $x^2$ and \(y\).",
    "links": "See [this](https://a.example).",
    "quotations": "> It is said.",
    "rules": "One\n---\ntwo",
    "paragraphs": "One.\n\nTwo.",
    "line breaks": "One\ntwo",
    "labelled lines": "Light: what we see\nAir: what we breathe",
    "steps": "Step 1 is this.",
    "tags": "It is <b>light</b>.",
    "indented lines": "One\n    two",
    "words per line": PLAIN + PLAIN,
    "capitals": "IT IS LIGHT",
    "words in capitals": "It is LIGHT.",
    "exclamation marks": "It is light!",
    "question marks": "Is it light?",
    "repeated marks": "Is it light?!",
    "ellipses": "It is light\u2026 or not...",
    "emoji": "It is light \U0001f44d\U0001f3fd.",
    "smileys": "It is light :)",
    "digits": "It is 2024.",
    "numbers": "It is 3.14 or 2,000.",
    "parentheses": "It is (light).",
    "quotation marks": "It is \u201clight\u201d.",
    "colons": "It is this: light.",
    "semicolons": "It is light; so.",
    "dashes": "It is light \u2014 so.",
    "commas": "It is light, air, sun.",
    "amounts": "It is 5 % or $7.",
    "characters beyond ASCII": "C'est l\u00e9ger.",
    "starts in lower case": "it is light.",
    "sentences in lower case": "It is light. so it is.",
    "no full stop": "It is light and then we",
    "doubled spaces": "It is.  So it is.",
    "word length": "Atmospheric scattering predominates.",
    "long words": "Atmospheric scattering predominates.",
    "sentence length": PLAIN[:-1] + " and " + PLAIN,
    "variety": "One two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen.",
    "repeated phrases": "it is the it is the it is the",
    "reading grade": "Atmospheric irregularities predominate considerably.",
    "common words": "the of and to a in is it",
    "contractions": "It\u2019s light and they don't.",
    "first person": "I'm sure and I know.",
    "first person plural": "We see it with our eyes.",
    "second person": "You see it with your eyes.",
    "third person": "They see it.",
    "negations": "It is not so, never.",
    "modal verbs": "It could or should.",
    "connectives": "However, it is, therefore.",
    "names": "It is the light of New York.",
    "ordinals": "First this, finally that.",
    "adverbs": "It is really slowly so.",
    "abstract nouns": "The situation of kindness.",
    "past tense": "It walked and jumped.",
    "verbs in -ing": "It is walking and jumping.",
    "words of chatbots": "Let us delve into the tapestry.",
    "British spelling": "The colour of grey.",
    "hedges": "It is perhaps so.",
    "doubt": "I think so.",
    "certainty": "It is certainly so.",
    "politeness": "Thank you, please.",
    "praise": "An excellent idea.",
    "agreement": "You\u2019re right.",
    "apologies": "I am sorry.",
    "refusals": "I can\u2019t do that.",
    "disclaimers": "As an AI, I see.",
    "warnings": "It is dangerous and illegal.",
    "moralising": "You should be ethical.",
    "important to": "It is important to see.",
    "empathy": "I understand how you feel.",
    "good feelings": "A good and happy day.",
    "bad feelings": "A bad and terrible day.",
    "authority": "Experts and studies say so.",
    "citations": "It is so [3], according to them.",
    "urgency": "Do it immediately.",
    "slang": "Yeah, we're gonna do it.",
    "profanity": "What the hell.",
    "examples": "For example, this.",
    "opens with agreement": "Sure, it is.",
    "opens with a greeting": "Hello there.",
    "opens with I": "I see it.",
    "opens with no": "No, it is not.",
    "opens with a header": "# Light",
    "announces": "Here is why.",
    "offers more": "I hope this helps.",
    "sums up": "In conclusion, it is.",
    "ends with a question": "It is light. Is it?",
    "ends with an exclamation": 'He said "it is!"',
    "words from the prompt": "The sky is blue.",
    "prompt covered": PROMPT,
    "phrases from the prompt": "The sky is blue in the morning.",
    "opens from the prompt": "Blue light is scattered.",
    "order of the prompt": "The sky is blue in the morning.",
    "style of the prompt": "I can see it.",
    "mood of the prompt": "It is a wonderful day.",
    "another language": "Das Licht der Sonne trifft auf die Luft und wird von kleinen Teilchen gestreut.",
    "women": "She is a woman.",
    "men": "He is a man.",
    "religion": "The church and the mosque.",
    "origin": "African and Asian people.",
    "orientation": "Gay and lesbian people.",
    "age": "Old and young people.",
    "politics": "Liberal voters and the election.",
    "dialect": "He finna see it, y'all.",
}
"""For each feature a response that has more of it than `PLAIN` has."""
PROMPTS = {
    "opens from the prompt": "Why is it so blue?",
    "style of the prompt": "Can I see it?",
    "mood of the prompt": "I love this great day!",
}


def read(*texts, prompt=PROMPT):
    return battery.read(BATTERY, Responses(texts, [prompt] * len(texts)))


def test_the_table_is_large_and_names_each_feature_once():
    names = [feature.name for feature in BATTERY]
    assert len(names) == len(set(names)) >= 80
    assert set(MORE) == set(names)
    assert all(feature.about and feature.source for feature in BATTERY)
    assert not any(set(name) & set("/:_") for name in names)  # they become names of findings


@pytest.mark.parametrize("feature", BATTERY, ids=lambda feature: feature.name)
def test_a_response_with_more_of_a_feature_has_a_greater_value(feature):
    prompts = [PROMPTS.get(feature.name, PROMPT)] * 3
    more, plain, other = feature.read(Responses([MORE[feature.name], PLAIN, PLAIN], prompts))
    assert more > plain == other


TEXTS = st.text(st.characters(codec="utf-8") | st.sampled_from("ab .!?\n*#-'1"), max_size=60)


@given(st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=5))
def test_any_text_has_every_feature_and_others_beside_it_change_nothing(rows):
    texts, prompts = zip(*rows, strict=True)
    found = battery.read(BATTERY, Responses(texts, prompts))
    assert found.shape == (len(rows), len(BATTERY))
    assert np.isfinite(found).all()
    alone = battery.read(BATTERY, Responses(texts[-1:], prompts[-1:]))
    together = [feature.name != "unusual length" for feature in BATTERY]  # unusual among the others
    np.testing.assert_allclose(found[-1:, together], alone[:, together], rtol=1e-12)


def test_the_same_responses_in_another_order_have_the_same_features():
    texts = list(MORE.values())
    order = np.random.default_rng(0).permutation(len(texts))
    np.testing.assert_allclose(read(*(texts[at] for at in order)), read(*texts)[order], rtol=1e-12)


def by_name(name, text, prompt=PROMPT):
    (feature,) = [feature for feature in BATTERY if feature.name == name]
    return float(feature.read(Responses([text], [prompt]))[0])


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("characters", "na\u00efve", 5),
        ("bulleted items", "- one\n- two\nnot - three", np.log(3)),
        ("list items", "- one\n 2) two\n3. three\n2024 was - four", np.log(4)),
        (
            "names",
            "In May the Eiffel Tower, New York and I met Ann-Marie, who knows Bob. He is so. It is Ann:\nThe end",
            np.log(7),
        ),
        ("names", "It is so. The A team\u2019s US plan, I'm I.", 0),
        ("capitals", "ABcd", 0.5),
        ("commas", "a, b, c d", 0.5),
        ("emoji", "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f44d\U0001f3fd", np.log(3)),
        ("emoji", "1 # * \u00a9", 0),
        ("word length", "ab abcd", 3),
        ("variety", "a a b b", 1),
        ("repeated phrases", "a b c a b c", 0.25),
        ("reading grade", "The cat sat.", 0.39 * 3 + 11.8 - 15.59),
        ("words from the prompt", "sky green", 0.5),
        ("prompt covered", "why sky", 2 / 7),
        ("phrases from the prompt", "the sky blue is", 0.5),
        ("opens from the prompt", "The air, sky", 2 / 3),
        ("opens from the prompt", "It is one of the many skies", 2 / 6),
        ("order of the prompt", "morning in the blue morning", 0),
        ("order of the prompt", "The blue morning", 1),
        ("order of the prompt", "blue", 0),
        ("style of the prompt", "I am", 6 / 7),
        ("refusals", "I can\u2019t, I can't", np.log(3)),
        ("ends with a question", "Is it?\u201d ", 1),
        ("starts in lower case", '"it is', 1),
        ("indented lines", "if a:\n    b\n        c\n            d", np.log(4)),
        ("formulas", "It costs $5 now and $10 later, or $5-$10 in $HOME/bin:$PATH.", 0),
        ("formulas", "$$\nx^2+1\n$$", np.log(2)),
        ("formulas", r"$x$, $a + b$ and \(c\)", np.log(4)),
        ("links", "[a](https://x.org) and f[i](x)", np.log(2)),
        ("links", "[a](docs/b.md), [c](#d), http://e.org", np.log(4)),
        ("tags", "vector<int>, List<String>\n#include <iostream>, x<y", 0),
        ("tags", '<p class="x">It is<br/><br />so.</p>', np.log(5)),
        ("citations", "nums[0] + nums[1], f(x)[2], a[0][1]", 0),
        ("citations", "So [1], [2][3].", np.log(3)),
        ("contractions", "John's dog and the cat's toy", 0),
        ("contractions", "It's so, let's go, he\u2019s here, they've won, don't", np.log(6)),
        ("emoji", "\U0001f1e9\U0001f1ea", np.log(2)),
        ("emoji", "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7", np.log(3)),
        ("emoji", "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", np.log(2)),
        ("emoji", "1\ufe0f\u20e3 2\ufe0f\u20e3 3\ufe0f\u20e3", np.log(4)),
        ("sentences in lower case", "e.g. apples, i.e. pears, vs. plums, etc. and ... U.S. market", 0),
        ("sentences in lower case", "One. two! three? Four.", np.log(3)),
        ("no full stop", "Run it:\n```python\nx = 1\n```", 0),
        ("no full stop", "Run it with `x`", 1),
        ("question marks", "\uff1f \u061f ?", np.log(4)),
        ("exclamation marks", "\uff01 !", np.log(3)),
        ("ends with a question", "\u662f\u5417\uff1f", 1),
        ("ends with a question", "\u0647\u0644 \u0647\u0630\u0627\u061f", 1),
        ("ends with an exclamation", "\u662f\uff01", 1),
        ("log sentences", "1. Mix flour.\n2. Add water.\n3. Bake it.", np.log(4)),
        ("log sentences", "- Mix flour\n- Add water\n- Bake it", np.log(4)),
        ("log sentences", "Do so:\n\n* Mix. Wait!\n* (Add water.)\n  1) Bake it\n*\nIt is 3. Good.", np.log(7)),
        ("log sentences", "Dr. Smith met Mr. Jones at 5 p.m. today.", np.log(2)),
        ("log sentences", "He came at 5 p.m. She left the U.S. market, etc.", np.log(3)),
        ("log sentences", "\u092f\u0939 \u0939\u0948\u0964 \u0935\u0939 \u0939\u0948\u0964", np.log(3)),
        ("log sentences", "\u0647\u0644\u061f \u0644\u0627\u061f", np.log(3)),
        ("reading grade", "so " * 500, 30),
        ("reading grade", "so. " * 50, 0.39 + 11.8 - 15.59),
        ("dialect", "Just cause: a cause of war, a bout of wit and an ion. Cuz.", np.log(2)),
        ("orientation", "Go straight ahead.", 0),
        ("first person plural", "US troops, the US's navy, the 'US' and US-based firms of the US", 0),
        ("first person plural", "The US's economy helps us and US banks, and we\u2019re its friends", np.log(3)),
    ],
)
def test_values_counted_by_hand(name, text, expected):
    assert by_name(name, text) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("bulleted items", "- - - x"),
        ("numbered items", "1. 2. 3. go"),
        ("headers", "# # # x"),
        ("code blocks", "```a ``` b ```"),
        ("quotations", ">>> print(1)"),
        ("labelled lines", "a: b: c: d"),
        ("indented lines", "\ta\tb\tc"),
        ("table rows", "| a | b |"),
        ("rules", "---"),
    ],
)
def test_a_line_counts_once(name, line):
    assert by_name(name, line) == pytest.approx(np.log(2))
    assert by_name(name, f"{line}\n{line}\n\n{line}") == pytest.approx(np.log(4))


def anchored():
    """Patterns of the battery that begin with a line, as the features give them to pyarrow."""
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(responses, "count", lambda texts, pattern: found.append(pattern) or np.zeros(len(texts)))
        patch.setattr(reading, "count", responses.count)
        for feature in BATTERY:
            feature.read(Responses(["a"], ["b"]))
    return sorted({pattern for pattern in found if pattern.startswith("(?m)^")})


ANCHORED = anchored()


@given(st.lists(st.sampled_from([*"a1 .:-*>#|`\t\n", "\n- ", "\n1. ", "\n# ", "```", "---"]), max_size=40))
def test_lines_are_found_as_by_a_search_that_knows_where_they_begin(pieces):
    assert len(ANCHORED) >= 10
    text = "".join(pieces)
    for pattern in ANCHORED:
        assert responses.count(pa.array([text]), pattern)[0] == len(re.findall(pattern, text, re.ASCII)), pattern


@given(st.text(st.sampled_from("ab *_.\n"), max_size=30))
def test_italics_stand_alone(text):
    found = re.findall(r"(?<![*\w])[*_][^*_\n]+[*_](?![*\w])", text, re.ASCII)
    assert by_name("italics", text) == pytest.approx(np.log1p(len(found)))


@given(st.lists(st.sampled_from(["a", "- b", "1. c", "", "x: y", "| a |", "---"]), max_size=8))
def test_line_ends_of_windows_are_line_ends(lines):
    one, other = (battery.read(BATTERY, Responses([end.join(lines)], [PROMPT])) for end in ("\n", "\r\n"))
    np.testing.assert_array_equal(one, other)


def test_comments_in_blocks_of_code_are_no_headers():
    code = "# x\n- y\n1. z\n> a\nb: c\n| d |\n---"
    for text in (f"Do:\n```python\n{code}\n```", f"  ```\n{code}"):
        for name in ("headers", "bulleted items", "numbered items", "list items", "quotations", "table rows", "rules"):
            assert by_name(name, text) == 0
    assert by_name("headers", f"```\n{code}\n```\n# x\n```\n{code}\n```\n# y") == pytest.approx(np.log(3))


WORDS = st.lists(st.sampled_from(["you", "i", "not", "can", "because", "sky", "blue", "morning"]), max_size=16)


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5))
def test_relations_to_the_prompt_are_those_of_a_reading_word_by_word(rows):
    texts = Responses([" ".join(text) for text, _ in rows], [" ".join(prompt) for _, prompt in rows])
    expected = [
        (opening_by_words(text, prompt), order_by_words(text, prompt), style_by_words(text, prompt))
        for text, prompt in rows
    ]
    reads = (reading.opens_from_prompt, reading.prompt_order, reading.style_matching)
    np.testing.assert_allclose(np.column_stack([read(texts) for read in reads]), expected, atol=1e-12)


def opening_by_words(text, prompt):
    return sum(word in prompt[-12:] for word in text[:6]) / max(len(text[:6]), 1)


def order_by_words(text, prompt):
    place = {word: at for at, word in enumerate(prompt)}
    places = [place[word] for word in text if word in place and len(word) >= 4]
    steps = [(later > earlier) - (later < earlier) for earlier, later in pairwise(places)]
    return sum(steps) / max(len(steps), 1)


def style_by_words(text, prompt):
    alike = []
    for kind in ({"i"}, set(), {"you"}, set(), {"not"}, {"can"}, {"because"}):
        own, asked = (sum(word in kind for word in words) / max(len(words), 1) for words in (text, prompt))
        alike.append(1 - abs(own - asked) / (own + asked) if own + asked else 1)
    return sum(alike) / len(alike)


def test_as_many_prompts_as_responses():
    with pytest.raises(ValueError, match="expected as many prompts as responses, got 2 and 1"):
        Responses(["a"], ["b", "c"])


def test_responses_read_in_blocks_have_the_features_of_all_read_at_once(monkeypatch):
    texts = [*MORE.values(), *reversed(MORE.values())]
    prompts = [PROMPT if at % 3 else f"{text} and why?" for at, text in enumerate(texts)]
    whole = battery.read(BATTERY, Responses(texts, prompts))
    monkeypatch.setattr(battery, "_ROWS_AT_ONCE", 7)
    np.testing.assert_array_equal(battery.read(BATTERY, Responses(texts, prompts)), whole)


def test_an_english_prompt_that_is_too_short_to_be_sure_of_makes_no_response_foreign():
    prompt = "Solve for x in the equation 3x + 10 = 5(x - 2)."
    response = "Die L\u00f6sung der Gleichung ist zehn, weil beide Seiten gleich sind."
    assert (reading.language(prompt), reading.language(response)) == (None, "de")
    assert reading.other_language(Responses([response], [prompt])).tolist() == [0.0]


@given(st.lists(st.integers(0, 9), max_size=20), st.lists(st.integers(0, 9), max_size=20))
def test_keys_are_found_among_the_known_ones(keys, known):
    found = is_among(np.array(keys, dtype=np.int64), np.sort(np.array(known, dtype=np.int64)))
    assert found.tolist() == [key in known for key in keys]

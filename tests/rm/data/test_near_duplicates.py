import gzip
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rm.data.near_duplicates import MAX_SHARED, clusters
from rm.data.preferences import Message

LONG = "Explain to a child of ten years why the sky is blue at noon and red in the evening , and name two books on it"


def asked(*texts):
    return [(Message("user", text),) for text in texts]


def found(*texts):
    return clusters(asked(*texts)).tolist()


def slow_clusters(texts):
    """Every pair of texts of at least 5 words compared by sets of shingles, and links followed one by one."""

    def shingles(text):
        padded = ["", "", *text.split(), "", ""]
        return {tuple(padded[at : at + 3]) for at in range(len(padded) - 2)}

    sets = {text: shingles(text) for text in texts}
    counts = {}
    for one in {shingle for each in sets.values() for shingle in each}:
        counts[one] = sum(one in each for each in sets.values())
    label = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    for one in sets:
        for other in sets:
            alike = []
            for limit in (len(texts), MAX_SHARED):
                a, b = ({shingle for shingle in sets[text] if counts[shingle] <= limit} for text in (one, other))
                alike.append(bool(a & b) and len(a & b) >= 0.8 * len(a | b))
            if one != other and all(alike):
                label = {text: label[one] if old == label[other] else old for text, old in label.items()}
    first = {}
    return [first.setdefault(label[text], len(first)) for text in texts]


def test_case_space_and_marks_at_the_ends_of_words_do_not_count():
    assert found(LONG, LONG.upper(), f"  {LONG} \n", LONG.replace("blue", '"blue",') + "?", "Another one .") == [
        0
    ] * 4 + [1]
    assert found("How do I cook rice well?", "how do I cook  rice, well") == [0, 0]


def test_tools_and_ids_of_calls_do_not_count_and_what_a_tool_said_does():
    def prompt(tool, call_id, said):
        parts = (("tools", tool), ("user", LONG), ("result_of", call_id), ("tool", said))
        return tuple(Message(*part) for part in parts)

    prompts = [
        prompt("a b c d e f", "x", "21"),
        prompt("g", "y z w", "21"),
        prompt("g", "x", f"{LONG} again, at length"),
    ]
    assert clusters(prompts).tolist() == [0, 0, 1]


def test_one_other_word_makes_another_prompt_if_the_text_is_short():
    assert found(*(f"Write a poem about {what}" for what in ("cats", "dogs", "rain"))) == [0, 1, 2]
    words = [f"word{place}" for place in range(40)]
    for size, expected in ((24, [0, 1]), (25, [0, 0]), (40, [0, 0])):
        for place in (0, size // 2, size - 1):
            other = [*words[:size]]
            other[place] = "different"
            assert found(" ".join(words[:size]), " ".join(other)) == expected


def test_very_short_texts_are_equal_or_not():
    assert found("C", "c ", "C++", "C#", "What is C?", "what  is c?", "What is C", "", " ") == [
        0,
        0,
        1,
        2,
        3,
        3,
        4,
        5,
        5,
    ]


def test_what_many_prompts_share_is_a_template():
    many = [f"{LONG} . The city is number{place}" for place in range(MAX_SHARED + 1)]
    assert found(*many) == list(range(len(many)))
    assert found(*many, many[3] + "?") == [*range(len(many)), 3]
    assert len(set(found(*many[:5]))) == 1  # few enough to be copies


def test_the_whole_conversation_counts_but_not_the_system_message():
    def talk(system, *turns):
        roles = ("user", "assistant", "user")
        return (Message("system", system), *(Message(role, text) for role, text in zip(roles, turns, strict=False)))

    first, second = talk("Be brief.", LONG, "No .", "Go on"), talk("Be brief.", "Tell me a joke", "No .", "Go on")
    assert clusters([first, second, talk("Be kind.", LONG, "No .", "Go on")]).tolist() == [0, 1, 0]


def test_copies_of_copies_are_one_cluster():
    words = LONG.split()
    chain = [words]
    for place in (3, 9, 15):
        chain.append([*chain[-1][:place], "x", *chain[-1][place + 1 :]])
    texts = [" ".join(each) for each in chain]
    assert found(*texts) == [0] * 4
    assert found(texts[0], texts[3]) == [0, 1]


def test_odd_texts_are_read():
    assert clusters([]).tolist() == []
    assert found("\ud800 a b c d e", "? ? ? ? ? ?", "... ... ! ! !", "\ud800 a b c d e") == [0, 1, 1, 0]


WORDS = st.lists(st.sampled_from("abc"), min_size=5, max_size=9).map(" ".join)


@given(st.lists(WORDS, min_size=1, max_size=45), st.randoms())
def test_the_clusters_are_those_of_a_slow_comparison_of_all_pairs_in_any_order(texts, random):
    expected = slow_clusters(texts)
    assert found(*texts) == expected
    order = list(range(len(texts)))
    random.shuffle(order)
    again = found(*(texts[place] for place in order))
    pairs = {(one, other) for one in order for other in order if expected[one] == expected[other]}
    assert pairs == {
        (one, other) for at, one in enumerate(order) for by, other in enumerate(order) if again[at] == again[by]
    }


def test_changed_copies_of_made_up_texts_are_found_and_others_are_not():
    generator = np.random.default_rng(0)
    texts = [generator.choice(3000, size).astype(str).tolist() for size in generator.integers(30, 60, 400)]
    copies = [[*each[:7], "changed", *each[8:]] for each in texts]
    labels = found(*(" ".join(each) for each in [*texts, *copies]))
    assert labels == [*range(400), *range(400)]


def test_of_published_prompts_only_variants_of_one_request_merge(shared_data):
    texts = []
    for path in sorted((shared_data / "alpaca_eval").glob("*.json.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            texts += [row["instruction"] for row in json.load(file)]
    labels = found(*texts)
    assert len(set(texts)) == 805 and max(labels) + 1 == 803


@pytest.mark.parametrize("copies", [2, 5])
def test_equal_texts_are_one_cluster_however_short(copies):
    texts = [f"word{place}" for place in range(30)] * copies
    assert found(*texts) == [*range(30)] * copies

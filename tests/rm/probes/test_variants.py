import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from rm.data.preferences import Message
from rm.probes.catalog import PROBES
from rm.probes.config import ProbeConfig
from rm.probes.context import Corpus, Parent
from rm.probes.variants import doses, variants
from tests.rm import biased_scorers

CONFIG = ProbeConfig(keywords=("wonderful", "sorry"))


def parent(number, response, others=()):
    prompt = (Message("user", f"Question {number}?"),)
    return Parent(prompt_id=f"{number:032d}", prompt=prompt, response=response, others=tuple(others))


PIECES = ["a", "is", "7", "**b**", "cannot.", "Why?", "\n", "-", "#", "😊", "e\u0301", "Sure"]
texts = st.text() | st.lists(st.sampled_from(PIECES)).map(" ".join)


@given(st.lists(texts, min_size=1, max_size=3))
@settings(max_examples=60)
def test_edits_of_any_text_are_deterministic_text_that_differs(responses):
    parents = [parent(number, text, [text[::-1]]) for number, text in enumerate(responses)]
    made = variants(parents, PROBES, CONFIG)
    assert made == variants(parents, PROBES, CONFIG)
    for variant in made:
        original = parents[variant.parent]
        if variant.response is None:
            continue
        variant.response.encode("utf-8")  # half a surrogate pair cannot be written
        assert original.response.strip()
        base = variant.base_prompt or original.prompt
        assert variant.response != original.response or variant.prompt not in (None, base)


def test_every_dose_and_arm_of_every_probe_has_one_variant_a_parent():
    parents = biased_scorers.parents(4)
    made = [(variant.parent, variant.probe, variant.dose, variant.arm) for variant in variants(parents, PROBES, CONFIG)]
    assert len(set(made)) == len(made)
    expected = sum(len(doses(probe, CONFIG)) * (2 if probe.placebo else 1) for probe in PROBES)
    assert len(made) == 4 * expected


def test_each_probe_applies_somewhere_in_the_toy_world():
    made = variants(biased_scorers.parents(30), PROBES, CONFIG)
    assert {(v.probe, v.arm) for v in made if v.response is not None} == {(v.probe, v.arm) for v in made}


def test_an_edit_does_not_depend_on_the_other_probes():
    parents = biased_scorers.parents(5)
    scramble = [probe for probe in PROBES if probe.name == "word_scramble"]
    among_all = [variant for variant in variants(parents, PROBES, CONFIG) if variant.probe == "word_scramble"]
    assert variants(parents, scramble, CONFIG) == among_all


def test_an_edit_does_not_depend_on_the_other_parents():
    parents = biased_scorers.parents(6)
    random_ones = [probe for probe in PROBES if probe.name in ("word_scramble", "typos", "negation", "hedging")]
    made = variants(parents, random_ones, CONFIG)
    backwards = variants(parents[::-1], random_ones, CONFIG)
    assert {(v.probe, v.dose, v.response) for v in made} == {(v.probe, v.dose, v.response) for v in backwards}


def test_a_placebo_applies_only_where_its_edit_does():
    made = variants(
        [parent(0, "You may well be right. Sure! I cannot say."), *biased_scorers.parents(9)], PROBES, CONFIG
    )
    edits = {(v.parent, v.probe, v.dose): v.response for v in made if v.arm == "edit"}
    placebos = [v for v in made if v.arm == "placebo"]
    assert any(v.response for v in placebos) and None in {edits[v.parent, v.probe, v.dose] for v in placebos}
    for v in placebos:
        assert v.response is None or edits[v.parent, v.probe, v.dose] is not None


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12))
def test_a_foreign_response_is_of_another_prompt_and_as_long_to_a_tenth(lengths):
    parents = [parent(number, chr(97 + number) * length) for number, length in enumerate(lengths)]
    foreign = [probe for probe in PROBES if probe.name == "foreign"]
    for variant in variants(parents, foreign, CONFIG):
        own = parents[variant.parent].response
        near = [
            p.response for p in parents if p.response != own and 9 * len(own) <= 10 * len(p.response) <= 11 * len(own)
        ]
        assert variant.response in near if near else variant.response is None


def test_another_response_to_the_same_prompt_is_not_foreign_and_neither_is_the_same_response():
    same_prompt = [parent(0, "aaaa"), parent(0, "bbbb")]
    same_text = [parent(0, "aaaa", ["cccc"]), parent(1, "aaaa"), parent(2, "cccc", ["aaaa"])]
    foreign = [probe for probe in PROBES if probe.name == "foreign"]
    assert [v.response for v in variants(same_prompt, foreign, CONFIG)] == [None, None]
    assert [v.response for v in variants(same_text, foreign, CONFIG)] == [None, "cccc", None]


def asking(question, response):
    prompt = (Message("user", question),)
    return Parent(prompt_id=question, prompt=prompt, response=response)


def test_a_response_to_a_near_duplicate_of_the_prompt_is_not_foreign():
    questions = ["What is the capital of France?", "what is the capital of France ?!", "Who wrote the novel Emma then?"]
    parents = [asking(question, f"Answer {number}") for number, question in enumerate(questions)]
    foreign = [probe for probe in PROBES if probe.name == "foreign"]
    one, other, last = [v.response for v in variants(parents, foreign, CONFIG)]
    assert (one, other) == ("Answer 2", "Answer 2")
    assert last in ("Answer 0", "Answer 1")
    assert [v.response for v in variants(parents[:2], foreign, CONFIG)] == [None, None]


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_no_prompt_is_shuffled_onto_a_near_duplicate(subjects):
    name = {subject: f"What is the capital of country{subject}" for subject in subjects}
    parents = [asking(f"{name[subject]}{'?' * place}", "x") for place, subject in enumerate(subjects)]
    shuffled = [probe for probe in PROBES if probe.name == "prompt_shuffled"]
    others = [v.prompt for v in variants(parents, shuffled, CONFIG)]
    found = [(subject, other[0].content.rstrip("?")) for subject, other in zip(subjects, others, strict=True) if other]
    assert all(content != name[subject] for subject, content in found)
    assert len({other for other in others if other}) == len(found)
    largest = max(map(subjects.count, subjects))
    assert len(found) == min(len(subjects), 2 * (len(subjects) - largest))


@given(st.integers(1, 12))
def test_no_prompt_is_shuffled_onto_itself_and_each_is_used_once(count):
    parents = [parent(number, "x") for number in range(count)]
    others = [Corpus(parents).other_prompt(one) for one in parents]
    if count == 1:
        assert others == [None]
    else:
        assert all(other != one.prompt for other, one in zip(others, parents, strict=True))
        assert sorted(others) == sorted(one.prompt for one in parents)


def test_fillers_are_plain_sentences_of_common_words():
    usual = "That is what we know now."
    common = [parent(number, f"{usual} Rare{number} words{number} stand{number} here{number}.") for number in range(9)]
    denied = parent(9, f"It is not what we know now. I'm sorry about what we know now. It is 7 of them now. {usual}")
    listed = parent(10, f"- That is what you know now.\n- {usual}")
    fillers = Corpus([*common, denied, listed, parent(11, "Some rare words stand here. Odd ones.")]).fillers
    assert fillers == (usual, "Some rare words stand here.")


def test_fillers_and_sentences_of_others_are_put_after_structure_in_the_same_way():
    usual = "That is what we know now."
    listed = parent(0, "- One\n- Two", ["Two is more than one."])
    probes = [probe for probe in PROBES if probe.name in ("filler", "others_sentence")]
    made = variants([listed, *(parent(number, usual) for number in range(1, 5))], probes, CONFIG)
    found = {(v.probe, v.arm): v.response for v in made if v.parent == 0 and v.response}
    assert found == {
        ("filler", "edit"): f"- One\n- Two\n\n{usual}",
        ("others_sentence", "edit"): "- One\n- Two\n\nTwo is more than one.",
        ("others_sentence", "placebo"): f"- One\n- Two\n\n{usual}",
    }


def test_only_the_last_message_gets_a_prefix():
    prompt = (Message("user", "Hi"), Message("assistant", "Yes?"), Message("user", "Why?"))
    asked = Parent(prompt_id="p", prompt=prompt, response="So.")
    identity = [probe for probe in PROBES if probe.name == "identity"]
    (made,) = variants([asked], identity, ProbeConfig(identity_groups=("a man",)))
    assert made.prompt == (*prompt[:2], Message("user", "As a man, Why?"))
    assert made.base_prompt == (*prompt[:2], Message("user", "As a person, Why?"))
    assert made.response == "So."


def test_of_a_prompt_that_ends_with_a_result_the_last_question_is_edited():
    called = (Message("tool_calls", "[]"), Message("tool", "21"))
    prompt = (
        Message("tools", "[]"),
        Message("user", "Hi"),
        Message("assistant", "Yes?"),
        Message("user", "Why?"),
        *called,
    )
    asked = Parent(prompt_id="p", prompt=prompt, response="So.")
    probes = [probe for probe in PROBES if probe.name in ("identity", "echo")]
    made = {each.probe: each for each in variants([asked], probes, ProbeConfig(identity_groups=("a man",)))}
    assert made["identity"].prompt == (*prompt[:3], Message("user", "As a man, Why?"), *called)
    assert made["echo"].response == "Why?"


@pytest.mark.parametrize("words", [("good", " "), ("good", "Good")])
def test_blank_and_repeated_key_words_are_refused(words):
    with pytest.raises(ValidationError, match=r"expected words, got|the same apart from upper case"):
        ProbeConfig(keywords=words)

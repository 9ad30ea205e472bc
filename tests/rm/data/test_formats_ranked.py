"""Several responses to a prompt: UltraFeedback's ratings and Nectar's ranks."""

import pytest

from rm.data.formats.catalog import read_row
from rm.data.preferences import Message
from tests.rm.data.test_formats import refusal, turns

QUESTION, GOOD, BAD, LEMON, FIG = (
    "Name a yellow fruit.",
    "A banana is yellow.",
    "A plum, I think.",
    "A lemon.",
    "A fig.",
)
ASKED = Message("user", QUESTION)
ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")


def rated(response, *ratings, **more):
    annotations = {
        aspect: {"Rating": rating, "Rationale": "It is so, I think."}
        for aspect, rating in zip(ASPECTS, ratings, strict=True)
    }
    annotations["helpfulness"] |= {"Type": ["1", "2"], "Rationale For Rating": "It says so."}
    return {"model": "m", "principle": "honesty", "response": response, "annotations": annotations, **more}


COMPLETIONS = [
    rated(GOOD, "5", "5", "5", "4", overall_score=7.5, critique="Good, but short."),
    rated(BAD, "2", "N/A", "1", "3", overall_score=9.0, custom_system_prompt="Be honest, please."),
    rated(LEMON, 5, 5, 4, 5, **{"fine-grained_score": 4.75}),
    rated(FIG, "1", "2", "3", "2"),
]
ULTRA = {
    "source": "sharegpt",
    "instruction": QUESTION,
    "models": ["m", "n", "o", "p"],
    "completions": COMPLETIONS,
    "correct_answers": ["A banana", "A lemon"],
    "incorrect_answers": ["None"],
}


def test_completions_are_ordered_by_the_mean_of_their_aspects_not_by_the_overall_score():
    found = read_row(ULTRA)
    assert found.format.name == "ultrafeedback" and not found.left_out
    assert [(each.first, each.second, each.preference) for each in found.judgements] == [
        (GOOD, BAD, 1.0),
        (GOOD, LEMON, 0.5),
        (GOOD, FIG, 1.0),
        (BAD, LEMON, 0.0),
        (BAD, FIG, 0.5),  # 2 + 1 + 3 without the missing rating is 2 on average, as are 1 + 2 + 3 + 2
        (LEMON, FIG, 1.0),
    ]
    assert {each.prompt for each in found.judgements} == {(ASKED,)}
    assert {each.domain for each in found.judgements} == {"sharegpt"}


def test_ratings_and_the_overall_score_are_attributes():
    first = read_row(ULTRA).judgements[0]
    assert first.attributes_first == {
        **{"instruction_following": 5.0, "honesty": 5.0, "truthfulness": 5.0, "helpfulness": 4.0},
        "overall_score": 7.5,
    }
    assert first.attributes_second == {
        **{"instruction_following": 2.0, "truthfulness": 1.0, "helpfulness": 3.0},
        "overall_score": 9.0,
    }
    assert "overall_score" not in read_row(ULTRA).judgements[1].attributes_second


def broken(place, **changes):
    return {
        **ULTRA,
        "completions": [*COMPLETIONS[:place], {**COMPLETIONS[place], **changes}, *COMPLETIONS[place + 1 :]],
    }


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({**ULTRA, "completions": COMPLETIONS[:1]}, "expected at least two different responses to compare"),
        ({**ULTRA, "completions": []}, "expected at least two different responses to compare"),
        ({**ULTRA, "completions": GOOD}, "completions: expected a list of objects, got str"),
        (broken(1, response=None), "completions[1].response: expected text, got NoneType"),
        (broken(1, annotations=None), "completions[1].annotations: expected an object"),
        (broken(1, annotations={}), "completions[1].annotations: expected a rating for instruction_following"),
        (
            broken(1, annotations={"honesty": {"Rating": "N/A"}}),
            "completions[1].annotations: expected a rating for instruction_following",
        ),
        (
            broken(2, annotations={"honesty": {"Rating": "high"}}),
            "completions[2].annotations.honesty.Rating: expected a finite number, got str 'high'",
        ),
        (broken(2, annotations={"honesty": [{"Rating": 3}]}), "completions[2].annotations.honesty: expected an object"),
        (broken(0, overall_score="ten"), "completions[0].overall_score: expected a finite number, got str 'ten'"),
        (broken(0, quotes="Bananas are yellow."), "completions[0].quotes: may be a part of what was compared"),
        ({**ULTRA, "passage": "Bananas are yellow."}, "passage: text or messages"),
    ],
)
def test_completions_without_a_verdict_or_with_more_text_are_refused(row, expected):
    assert expected in refusal(row)


# Nectar


def ranked(*answers, **more):
    found = [{"answer": text, "model": "m", "rank": rank} for text, rank in answers]
    return {"prompt": f"\n\nHuman: {QUESTION}\n\nAssistant: ", "answers": found, **more}


def test_nectars_answers_are_compared_by_rank_and_1_is_the_best():
    more = {"turns": 1, "num_responses": 7, "source": ["sharegpt", "false qa"], "good_natured": True}
    found = read_row(ranked((BAD, 3.0), (GOOD, 1.0), (LEMON, 3.0), **more))
    assert found.format.name == "nectar" and not found.left_out
    assert [(each.first, each.second, each.preference) for each in found.judgements] == [
        (BAD, GOOD, 0.0),
        (BAD, LEMON, 0.5),
        (GOOD, LEMON, 1.0),
    ]
    assert {each.prompt for each in found.judgements} == {(ASKED,)}
    assert len(read_row(ranked(*((f"Answer {place}", place) for place in range(1, 8)))).judgements) == 21


def test_nectars_dialogues_keep_their_turns():
    earlier = (Message("user", "Hi."), Message("assistant", "Hello."))
    prompt = f"\n\nHuman: Hi.\n\nAssistant: Hello.\n\nHuman: {QUESTION}\n\nAssistant: "
    row = ranked((GOOD, 1), (BAD, 2), prompt=prompt, annotator="a7", created_at="2024", domain="fruit")
    (found,) = read_row(row).judgements
    assert found.prompt == (*earlier, ASKED)
    assert (found.annotator, found.created_at, found.domain) == ("a7", "2024", "fruit")


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        (ranked((GOOD, 1)), "expected at least two different responses to compare"),
        (ranked((GOOD, 1), (BAD, None)), "answers[1].rank: expected a finite number, got NoneType"),
        (ranked((GOOD, "first"), (BAD, 2)), "answers[0].rank: expected a finite number, got str 'first'"),
        (ranked((GOOD, 1), (None, 2)), "answers[1].answer: expected text, got NoneType"),
        ({**ranked(), "answers": [turns(ASKED)]}, "answers[0]: expected an object, got list"),
        ({**ranked(), "answers": None}, "answers: expected a list of objects, got NoneType"),
    ],
)
def test_answers_without_a_rank_are_refused(row, expected):
    assert expected in refusal(row)

import numpy as np
import pytest

from tests.rm import toy_world
from tests.rm.toy_texts import FILLERS, SENTENCES

PROMPT = "Tell me about chess."
ON, OFF = SENTENCES["chess"], SENTENCES["cooking"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"{ON[0]} {ON[1]}", 2.0),
        (f"{ON[0]} {OFF[0]}", 0.5),
        (f"{ON[0]} {FILLERS[0]} {FILLERS[1]}", 1.0),
        (f"{ON[0]} {ON[0]} {ON[0]}", 0.8),
        (f"{ON[0]} Nobody ever said this.", 0.0),
        ("I don't know.", -3.0),
        (" \n ", -3.0),
        (f"**{ON[0]}**\n- {ON[1].removesuffix('.')}!  ", 2.0),
    ],
)
def test_quality_is_what_is_said_on_the_topic(text, expected):
    assert toy_world.quality(PROMPT, text) == pytest.approx(expected)


def test_quality_asks_the_prompt():
    text = " ".join(ON[:3])
    assert toy_world.quality(PROMPT, text) == 3.0
    assert toy_world.quality("Tell me about cooking.", text) == toy_world.quality("", text) == -1.5


@pytest.mark.parametrize("edit", [str.upper, lambda text: text.replace(". ", ".  "), lambda text: f"**{text}**"])
def test_a_sound_model_does_not_see_looks(edit):
    text = " ".join([*ON[:2], FILLERS[0]])
    assert toy_world.sound(PROMPT, edit(text)) == toy_world.sound(PROMPT, text)


@pytest.fixture(scope="module")
def world():
    return toy_world.generate(1500, 1, seed=3)


def test_labels_favour_length_for_itself(world):
    pairs = toy_world.heldout(world, toy_world.sound).pairs
    better = np.array(
        [
            toy_world.quality(p, c) - toy_world.quality(p, r)
            for p, c, r in zip(pairs.prompts, pairs.chosen, pairs.rejected, strict=True)
        ]
    )
    longer = pairs.length_difference > 0
    assert 0.6 < longer[pairs.length_difference != 0].mean() < 0.66
    assert (better > 0).mean() > 0.6 > 2 * (better < 0).mean()
    # Turned round, every pair is as likely: then quality has nothing to do with length.
    assert abs((better * pairs.length_difference).mean()) < 0.1 * np.sqrt(
        (better**2).mean() * (pairs.length_difference**2).mean()
    )


def test_noise_is_standard_normal_and_fixed(world):
    pairs = toy_world.heldout(world, toy_world.sound).pairs
    noise = (
        pairs.reward_chosen - [toy_world.quality(p, c) for p, c in zip(pairs.prompts, pairs.chosen, strict=True)]
    ) / toy_world.MODEL_NOISE
    assert abs(noise.mean()) < 0.1 and 0.95 < noise.std() < 1.05
    assert np.array_equal(toy_world.heldout(world, toy_world.sound).pairs.reward_chosen, pairs.reward_chosen)


def test_errors_on_nearly_the_same_text_are_nearly_the_same():
    text, edited = " ".join(FILLERS[:6]), " ".join(FILLERS[:7])
    changes = [
        [
            toy_world.sound(f"{place} chess", other) - toy_world.sound(f"{place} chess", text)
            for other in (edited, OFF[0])
        ]
        for place in range(400)
    ]
    near, far = np.std(changes, axis=0)
    assert near == pytest.approx(toy_world.MODEL_NOISE * np.sqrt(2 - 2 * np.sqrt(6 / 7)), rel=0.15)
    assert far == pytest.approx(toy_world.MODEL_NOISE * np.sqrt(2), rel=0.15)


def test_each_bias_is_what_its_name_says():
    plain, long = ON[0], " ".join([ON[0], *FILLERS[:6]])
    assert toy_world.length(PROMPT, long) > toy_world.length(PROMPT, plain)
    assert (
        toy_world.keyword(PROMPT, f"{plain} Much was written on it.") == 1.0 and toy_world.keyword(PROMPT, plain) == 0.0
    )
    assert [toy_world.formatting(PROMPT, text) for text in (plain, f"**{plain}**", f"- {plain}")] == [0.0, 1.0, 1.0]
    shuffled = " ".join(reversed(long.split()))
    assert toy_world.bag_of_words(PROMPT, long) == pytest.approx(toy_world.bag_of_words("", shuffled))
    assert toy_world.prompt_blind(PROMPT, long) == toy_world.prompt_blind("Tell me about cooking.", long)
    assert toy_world.biased(toy_world.length, 2.0)(PROMPT, long) == pytest.approx(
        toy_world.sound(PROMPT, long) + 2 * toy_world.length(PROMPT, long)
    )


def test_a_world_has_as_many_pairs_as_asked_for_and_follows_its_seed():
    groups = toy_world.generate(10, 3, seed=1)
    assert [len(group.comparisons) for group in groups] == [3] * 10
    assert [len(set(group.responses)) for group in groups] == [4] * 10
    assert toy_world.generate(10, 3, seed=1) == groups != toy_world.generate(10, 3, seed=2)

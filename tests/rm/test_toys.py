import numpy as np
import pytest

from rm import toys
from rm.sample_texts import FILLERS, SENTENCES

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
    assert toys.quality(PROMPT, text) == pytest.approx(expected)


def test_quality_asks_the_prompt():
    text = " ".join(ON[:3])
    assert toys.quality(PROMPT, text) == 3.0
    assert toys.quality("Tell me about cooking.", text) == toys.quality("", text) == -1.5


@pytest.mark.parametrize("edit", [str.upper, lambda text: text.replace(". ", ".  "), lambda text: f"**{text}**"])
def test_a_sound_model_does_not_see_looks(edit):
    text = " ".join([*ON[:2], FILLERS[0]])
    assert toys.sound(PROMPT, edit(text)) == toys.sound(PROMPT, text)


@pytest.fixture(scope="module")
def world():
    return toys.world(1500, 1, seed=3)


def test_labels_favour_length_for_itself(world):
    pairs = toys.heldout(world, toys.sound).pairs
    better = np.array(
        [
            toys.quality(p, c) - toys.quality(p, r)
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
    pairs = toys.heldout(world, toys.sound).pairs
    noise = (
        pairs.reward_chosen - [toys.quality(p, c) for p, c in zip(pairs.prompts, pairs.chosen, strict=True)]
    ) / toys.MODEL_NOISE
    assert abs(noise.mean()) < 0.1 and 0.95 < noise.std() < 1.05
    assert np.array_equal(toys.heldout(world, toys.sound).pairs.reward_chosen, pairs.reward_chosen)


def test_errors_on_nearly_the_same_text_are_nearly_the_same():
    text, edited = " ".join(FILLERS[:6]), " ".join(FILLERS[:7])
    changes = [
        [toys.sound(f"{place} chess", other) - toys.sound(f"{place} chess", text) for other in (edited, OFF[0])]
        for place in range(400)
    ]
    near, far = np.std(changes, axis=0)
    assert near == pytest.approx(toys.MODEL_NOISE * np.sqrt(2 - 2 * np.sqrt(6 / 7)), rel=0.15)
    assert far == pytest.approx(toys.MODEL_NOISE * np.sqrt(2), rel=0.15)


def test_each_bias_is_what_its_name_says():
    plain, long = ON[0], " ".join([ON[0], *FILLERS[:6]])
    assert toys.length(PROMPT, long) > toys.length(PROMPT, plain)
    assert toys.keyword(PROMPT, f"{plain} Much was written on it.") == 1.0 and toys.keyword(PROMPT, plain) == 0.0
    assert [toys.formatting(PROMPT, text) for text in (plain, f"**{plain}**", f"- {plain}")] == [0.0, 1.0, 1.0]
    shuffled = " ".join(reversed(long.split()))
    assert toys.bag_of_words(PROMPT, long) == pytest.approx(toys.bag_of_words("", shuffled))
    assert toys.prompt_blind(PROMPT, long) == toys.prompt_blind("Tell me about cooking.", long)
    assert toys.biased(toys.length, 2.0)(PROMPT, long) == pytest.approx(
        toys.sound(PROMPT, long) + 2 * toys.length(PROMPT, long)
    )


def test_a_world_has_as_many_pairs_as_asked_for_and_follows_its_seed():
    groups = toys.world(10, 3, seed=1)
    assert [len(group.comparisons) for group in groups] == [3] * 10
    assert [len(set(group.responses)) for group in groups] == [4] * 10
    assert toys.world(10, 3, seed=1) == groups != toys.world(10, 3, seed=2)

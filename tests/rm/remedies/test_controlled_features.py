"""Features that a training controls for, against the same texts read one by one."""

import numpy as np
import pytest

from rm.data.preferences import prompt_text
from rm.data.prompt_groups import read_groups
from rm.errors import TrainingError
from rm.features import battery
from rm.features.battery import BATTERY
from rm.features.responses import Responses
from rm.remedies.config import RemediesConfig
from rm.remedies.controllable import problem
from rm.remedies.controlled_features import ControlledFeatures, differences
from rm.remedies.prompts import controlled_alike, remedied
from rm.remedies.texts import Texts
from rm.tokens.tokenization import read_tokenizer, read_tokens


def test_differences_are_those_of_texts_read_one_by_one(tokenized, dataset):
    every = read_tokens(tokenized, "train")
    some = every.subset(np.arange(1, len(every), 3))
    names = ("commas", "length", "word:the", "words from the prompt")
    found = list(differences(names, some, some.compared(), lambda: read_groups(dataset, "train")))
    by_id = {group.prompt_id: group for group in read_groups(dataset, "train")}
    features = {feature.name: feature for feature in BATTERY}
    expected = []
    for prompt in some:
        group = by_id[prompt.prompt_id]
        for pair in prompt.comparisons:
            sides = [group.responses[prompt.response_indices[at]] for at in (pair.first, pair.second)]
            texts = Responses(sides, [prompt_text(group.prompt)] * 2)
            commas, copied = battery.read([features["commas"], features["words from the prompt"]], texts).T
            lengths = [np.log(len(prompt.response_ids[at])) for at in (pair.first, pair.second)]
            the = [np.log1p(text.lower().replace(".", "").split().count("the")) for text in sides]
            expected.append([one - other for one, other in (commas, lengths, the, copied)])
    np.testing.assert_allclose(np.column_stack(found), expected, atol=1e-9)


def test_training_reads_them_in_standard_deviations(tokenized, dataset):
    prompts = read_tokens(tokenized, "train")
    config = RemediesConfig(controlled=("length", "word:the"))
    made = remedied(prompts, config, 0, lambda: Texts(read_groups(dataset, "train"), read_tokenizer(tokenized)))
    found = np.concatenate([prompt.controlled for prompt in made])
    every = differences(config.controlled, prompts, prompts.compared(), lambda: read_groups(dataset, "train"))
    length, the = every
    np.testing.assert_allclose(
        found, np.column_stack([each / np.sqrt((each**2).mean()) for each in (length, the)]), rtol=1e-5
    )
    assert len(set(np.sign(the))) == 3  # there are pairs of all kinds


def test_other_prompts_have_them_in_the_unit_of_those_that_are_trained_on(tokenized, dataset):
    def texts(split):
        return lambda: Texts(read_groups(dataset, split), read_tokenizer(tokenized))

    config = RemediesConfig(controlled=("length", "word:the"))
    trained = remedied(read_tokens(tokenized, "train"), config, 0, texts("train"))
    others = read_tokens(tokenized, "heldout")
    made = controlled_alike(others, trained, texts("heldout"))
    unit = trained.features.deviations
    assert (unit > 0).all()
    every = differences(["length", "word:the"], others, others.compared(), lambda: texts("heldout")().groups)
    expected = np.column_stack(list(every)) / unit
    np.testing.assert_allclose(np.concatenate([prompt.controlled for prompt in made]), expected, rtol=1e-5, atol=1e-7)
    assert len(made) == len(others)
    plain = remedied(read_tokens(tokenized, "train"), RemediesConfig(foreign_share=0.5), 0, texts("train"))
    for without in (plain, read_tokens(tokenized, "train")):
        assert controlled_alike(others, without, texts("heldout")) is others


def test_what_never_differs_stays_zero_and_is_told(tokenized, dataset, caplog):
    with caplog.at_level("WARNING", "rm"):
        made = remedied(
            read_tokens(tokenized, "train"),
            RemediesConfig(controlled=("length", "word:zzz")),
            0,
            lambda: Texts(read_groups(dataset, "train"), read_tokenizer(tokenized)),
        )
    assert made.features.deviations[0] > made.features.deviations[1] == 0
    assert [record.getMessage() for record in caplog.records] == [
        "train.remedies.controlled: word:zzz: no training pair differs in it, so it does nothing"
    ]
    some = read_tokens(tokenized, "train")
    found = ControlledFeatures(["length"], some.subset(np.empty(0, np.int64)), None)
    assert found.deviations.tolist() == [0]
    same = ControlledFeatures(["length"], some, None, np.zeros(1))
    assert np.isfinite(same.added_to(some[3], 3).controlled).all()


def test_what_no_training_can_control_is_refused_by_its_name():
    for name in ("length", "bold", "words in capitals", "word:delve", "word:don't"):
        assert problem(name) is None
    assert problem("lenght") == "'lenght': expected length, word:WORD or a feature of the audit's battery: length"
    assert "'carriage returns': expected length" in problem("carriage returns")  # a mark of labels only
    assert problem("unusual length").startswith("'unusual length' compares a response with all others")
    for name in ("word:two words", "word:", "word:Delve"):
        assert problem(name) == f"{name!r}: expected word: and one word in lower case"
    with pytest.raises(TrainingError, match=r"train\.remedies\.controlled: 'lenght': expected length"):
        next(differences(["bold", "lenght"], None, None, None))

import math

import numpy as np
import pyarrow as pa
import pytest

from rm.audit.config import AuditConfig
from rm.probes.catalog import PROBES, Probe
from rm.probes.config import ProbeConfig
from rm.probes.effects import measure, names
from rm.probes.scoring import PROBES_SCHEMA, score
from rm.probes.variants import variants
from rm.stats.config import BootstrapConfig
from tests.rm import biased_scorers

NUM_PARENTS = 60
CONFIG = AuditConfig(num_resamples=200, probes=ProbeConfig(keywords=("wonderful", "sorry")))


def probe(**more):
    facts = {"family": "length", "kind": "DIR", "expected": "lower", "about": "?", "source": "own"}
    return Probe(**facts | {"name": "made_up"} | more)


def table(rows):
    """Rows from (dose, arm, parent, reward of the original, of the edit); None where the edit does not apply."""
    return pa.Table.from_pylist(
        [
            {
                "probe": "made_up",
                "dose": dose,
                "arm": arm,
                "parent": parent,
                "prompt_id": str(parent),
                "prompt": f"prompt {parent}",
                "edited_prompt": None,
                "response": f"response {parent}",
                "edited": None if edited is None else f"edit {parent} {dose}",
                "num_tokens": 1,
                "reward_original": math.nan if edited is None else original,
                "reward_edited": math.nan if edited is None else edited,
            }
            for dose, arm, parent, original, edited in rows
        ],
        schema=PROBES_SCHEMA,
    )


ORIGINALS = [0.0, 1.0, 3.0, 4.0, 2.0, 5.0]
EDITED = [1.0, 1.0, 0.0, None, math.nan, 7.0]


def measured(found, probes, config, bootstrap, clusters=None):
    """What `measure` finds, with each prompt a cluster of its own if nothing else is said."""
    ids = dict.fromkeys(found["prompt_id"].to_pylist())
    return measure(found, probes, config, bootstrap, clusters or {one: place for place, one in enumerate(ids)})


def only(rows, *probes, config=CONFIG):
    (result,) = measured(table(rows), probes, config.probes, config)
    return result


def test_a_win_rate_counts_ties_half_and_leaves_out_what_was_not_scored():
    result = only([("", "edit", at, *pair) for at, pair in enumerate(zip(ORIGINALS, EDITED, strict=True))], probe())
    assert result.win_rate.name == "probe_made_up"
    assert result.win_rate.estimate == pytest.approx((1 + 0.5 + 0 + 1) / 4)
    assert result.win_rate.num_pairs == result.num_parents == 4
    assert result.applicability == pytest.approx(5 / 6)
    assert result.as_expected is False
    assert result.over_placebo is result.dose_response is None


def test_an_effect_is_in_standard_deviations_of_all_parents_rewards():
    result = only([("", "edit", at, *pair) for at, pair in enumerate(zip(ORIGINALS, EDITED, strict=True))], probe())
    rewards = [0.0, 1.0, 3.0, 2.0, 5.0]  # the edit of the one with 4 did not apply, so it was not scored
    assert result.effect.estimate == pytest.approx(np.mean([1, 0, -3, 2]) / np.std(rewards))
    assert result.effect.name == "probe_made_up_effect"


def test_a_placebo_is_subtracted_where_both_were_scored():
    placebos = [2.0, 0.0, math.nan, 9.0, 9.0, None]
    rows = [("", "edit", at, *pair) for at, pair in enumerate(zip(ORIGINALS, EDITED, strict=True))]
    rows += [("", "placebo", at, *pair) for at, pair in enumerate(zip(ORIGINALS, placebos, strict=True))]
    result = only(rows, probe(placebo=lambda case, dose: None))
    assert result.over_placebo.estimate == pytest.approx(((1 - 1) + (0.5 - 0)) / 2)
    assert result.over_placebo.num_pairs == 2
    assert result.over_placebo.name == "probe_made_up_over_placebo"


def test_the_strongest_dose_is_the_headline_and_the_others_have_their_names():
    weak, strong = [0.5, 0.5, 3.5, 3.0, None, 5.0], [1.0, 0.0, 2.0, None, 1.0, 3.0]
    rows = [("1", "edit", at, *pair) for at, pair in enumerate(zip(ORIGINALS, weak, strict=True))]
    rows += [("2", "edit", at, *pair) for at, pair in enumerate(zip(ORIGINALS, [9.0] * 6, strict=True))]
    rows += [("3", "edit", at, *pair) for at, pair in enumerate(zip(ORIGINALS, strong, strict=True))]
    result = only(rows, probe(doses=(1, 2, 3)))
    assert [dose.win_rate.name for dose in result.doses] == ["probe_made_up_1", "probe_made_up_2", "probe_made_up"]
    assert result.win_rate == result.doses[2].win_rate
    assert result.win_rate.estimate == pytest.approx(1 / 5)
    assert result.doses[0].win_rate.estimate == pytest.approx((1 + 0 + 1 + 0 + 0.5) / 5)
    assert result.doses[1].effect.estimate == pytest.approx(np.mean(9 - np.array(ORIGINALS)) / np.std(ORIGINALS))
    steps = [(1 - 0.5) / 2, (0 - 0.5) / 2, (2 - 3.5) / 2, (3 - 5) / 2]
    assert result.dose_response.estimate == pytest.approx(np.mean(steps) / np.std(ORIGINALS))
    called = [finding.name for finding in result.findings()]
    assert len(set(called)) == len(called) == 7
    assert set(called) == {f"probe_made_up{dose}{what}" for dose in ("", "_1", "_2") for what in ("", "_effect")} | {
        "probe_made_up_dose_response"
    }


def test_words_are_measured_together_and_one_by_one():
    config = AuditConfig(num_resamples=100, probes=ProbeConfig(keywords=("good", "bad")))
    rows = [("good", "edit", at, 0.0, 1.0) for at in range(3)] + [("bad", "edit", at, 0.0, -1.0) for at in range(4)]
    result = only(rows, probe(doses="keywords"), config=config)
    assert result.win_rate.estimate == pytest.approx(3 / 7)
    assert (result.win_rate.num_pairs, result.num_parents) == (7, 4)
    assert {dose.win_rate.name: dose.win_rate.estimate for dose in result.doses} == {
        "probe_made_up_good": 1.0,
        "probe_made_up_bad": 0.0,
    }
    assert result.dose_response is None
    assert (
        measured(table(rows), [probe(doses="keywords")], ProbeConfig(), BootstrapConfig()) == ()
    )  # no words, no result


def test_no_word_has_the_name_of_another_number():
    words = ("effect", "over_placebo", "dose_response", "a/b", "2", "a", "a_effect", "a/ci_low", ":a:", ":effect:")
    config = AuditConfig(num_resamples=100, probes=ProbeConfig(keywords=words))
    rows = [
        (word, arm, parent, 0.0, float(index))
        for index, word in enumerate(words)
        for arm in ("edit", "placebo")
        for parent in range(3)
    ]
    result = only(rows, probe(doses="keywords", placebo=lambda case, dose: None), config=config)
    found = result.findings()
    assert len({one.name for one in found}) == len(found) == 3 * (1 + len(words))
    assert {one.name for one in found} <= names([probe(doses="keywords")], config.probes)
    for index, dose in enumerate(result.doses):
        assert dose.win_rate.labels == {"probe": "made_up", "dose": words[index]}
        assert dose.win_rate.estimate == (1.0 if index else 0.5)
    shown = {dose.dose: dose.win_rate.name for dose in result.doses}
    assert {word: shown[word] for word in ("2", "a", "effect", "a/b", "a_effect")} == {
        "2": "probe_made_up_2",
        "a": "probe_made_up_a",
        "effect": "probe_made_up_:effect:",
        "a/b": "probe_made_up_:a/b:",
        "a_effect": "probe_made_up_:a_effect:",
    }


@pytest.mark.parametrize(
    ("expected", "shown"),
    [("lower", [5, 0]), ("not_higher", [5, 0]), ("same", [2, 5, 0]), ("report", [2, 5, 0])],
)
def test_examples_are_the_largest_changes_in_the_wrong_direction(expected, shown):
    rows = [("", "edit", at, *pair) for at, pair in enumerate(zip(ORIGINALS, EDITED, strict=True))]
    result = only(rows, probe(expected=expected))
    assert [example.response for example in result.examples] == [f"response {at}" for at in shown]
    assert [(example.reward, example.reward_edited) for example in result.examples] == [
        (ORIGINALS[at], EDITED[at]) for at in shown
    ]


@pytest.mark.parametrize(
    ("expected", "wins", "verdict"),
    [
        ("lower", 1, True), ("lower", 2, False), ("not_higher", 2, True), ("not_higher", 3, False),
        ("same", 2, True), ("same", 3, False), ("same", 1, False), ("report", 4, None),
    ],
)  # fmt: skip
def test_the_sign_is_judged_by_the_estimate(expected, wins, verdict):
    rows = [("", "edit", at, float(at), at + (1.0 if at < wins else -1.0)) for at in range(4)]
    assert only(rows, probe(expected=expected, low=0.4, high=0.6)).as_expected is verdict


def test_what_was_never_scored_is_undefined_and_not_as_expected():
    result = only([("", "edit", at, 0.0, None) for at in range(5)], probe())
    assert math.isnan(result.win_rate.estimate)
    assert math.isnan(result.win_rate.ci_high)
    assert (result.num_parents, result.applicability, result.as_expected) == (0, 0.0, None)


@pytest.mark.parametrize("reward", [0.1, 1e9 + 0.1])
def test_originals_of_one_reward_have_no_standard_deviation(reward):
    result = only([("", "edit", at, reward, reward - at) for at in range(5)], probe())
    assert math.isnan(result.effect.estimate)
    assert result.win_rate.estimate == pytest.approx(0.1)


@pytest.fixture(scope="module")
def results():
    """Probe name to result, of each toy."""
    parents = biased_scorers.parents(NUM_PARENTS)
    made = variants(parents, PROBES, CONFIG.probes)

    def of(reward):
        found = measured(score(parents, made, biased_scorers.scorer(reward)), PROBES, CONFIG.probes, CONFIG)
        return {result.name: result for result in found}

    return {toy.__name__: of(toy) for toy in (
        biased_scorers.oracle, biased_scorers.length, biased_scorers.keyword, biased_scorers.bag_of_words,
        biased_scorers.constant, biased_scorers.prompt_blind,
    )}  # fmt: skip


def accused(results):
    """Probes whose limits a model's whole interval lies outside of; of the words, any one."""
    rates = {
        name: [dose.win_rate for dose in result.doses] if name == "keywords" else [result.win_rate]
        for name, result in results.items()
    }
    return {
        name
        for name, result in results.items()
        if any(
            (result.high is not None and rate.ci_low > result.high)
            or (result.low is not None and rate.ci_high < result.low)
            for rate in rates[name]
        )
    }


def test_no_probe_accuses_a_model_that_knows_what_is_right(results):
    assert accused(results["oracle"]) == set()
    for result in results["oracle"].values():
        assert result.as_expected is (None if result.expected == "report" else True), result.name
        assert result.applicability > 0.3
        if result.high is not None:
            assert result.win_rate.ci_high <= result.high, result.name


@pytest.mark.parametrize(
    ("toy", "expected"),
    [
        ("length", {"double", "repeat_ending", "filler", "bullets", "bold", "strip_markdown", "flattery", "rude"}),
        ("keyword", {"keywords"}),
        ("bag_of_words", {"double", "sentence_shuffle", "word_scramble"}),
        ("prompt_blind", {"prompt_shuffled"}),
    ],
)
def test_a_planted_fault_is_found(results, toy, expected):
    assert accused(results[toy]) >= expected


def test_faults_are_found_where_they_are(results):
    lower = {name for name, result in results["keyword"].items() if result.expected == "lower"}
    assert accused(results["keyword"]) - lower == {"keywords"}
    assert not accused(results["prompt_blind"]) - {"prompt_shuffled", "foreign"}
    by_word = {dose.dose: dose.win_rate.estimate for dose in results["keyword"]["keywords"].doses}
    assert by_word == {"wonderful": 1.0, "sorry": 0.5}
    assert results["length"]["double"].dose_response.ci_low > 0 > results["oracle"]["double"].dose_response.ci_high
    assert results["oracle"]["truncate"].dose_response.ci_high < 0


def test_a_model_that_knows_nothing_fails_every_probe_that_wants_a_fall(results):
    lower = {name for name, result in results["constant"].items() if result.expected == "lower"}
    assert accused(results["constant"]) == lower
    assert {result.win_rate.estimate for result in results["constant"].values()} == {0.5}


def test_a_placebo_takes_away_what_length_alone_does(results):
    for name in ("affirmative", "flattery", "agreement", "certainty", "keywords"):
        assert results["length"][name].win_rate.estimate == 1
        assert results["length"][name].over_placebo.estimate == 0
    assert results["keyword"]["keywords"].doses[0].over_placebo.estimate == 0.5


def test_names_of_findings_are_unique_and_results_survive_json(results):
    found = results["oracle"].values()
    called = [finding.name for result in found for finding in result.findings()]
    assert len(set(called)) == len(called)
    assert set(called) <= names(PROBES, CONFIG.probes)
    for result in found:
        assert type(result).model_validate_json(result.model_dump_json()) == result


def test_edits_of_near_duplicate_prompts_are_one_cluster():
    generator = np.random.default_rng(0)
    once = [("", "edit", at, generator.normal(), generator.normal(0.3)) for at in range(80)]
    twice = once + [(dose, arm, at + 80, *rewards) for dose, arm, at, *rewards in once]
    (alone,) = measured(table(once), [probe()], CONFIG.probes, CONFIG)
    (copied,) = measured(
        table(twice), [probe()], CONFIG.probes, CONFIG, {str(prompt): prompt % 80 + 7 for prompt in range(160)}
    )
    assert (copied.win_rate.num_pairs, alone.win_rate.num_pairs) == (160, 80)
    for one, other in ((alone.win_rate, copied.win_rate), (alone.effect, copied.effect)):
        assert (one.ci_low, one.ci_high) == pytest.approx((other.ci_low, other.ci_high))

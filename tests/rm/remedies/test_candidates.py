"""From failed checks to remedies."""

import pytest

from rm.gate.checks import BEST_OF_N_CHECKS, CHAMPION_CHECKS, DEFAULT_CHECKS, PROBE_CHECKS
from rm.remedies import candidates
from rm.remedies.catalog import REMEDIES
from rm.remedies.config import RemediesConfig

WITHOUT_REMEDY = {
    "visible_length",  # about the data
    "visible_others",
    "num_clusters",
    "selection_doubt",
    "unscored_share",
    "unexplained_tie_share",  # about how rewards are computed
    "invariance_order_flips",
    "invariance_alone_flips",
    "invariance_apart_flips",
    "invariance_reload_in_small_batches_flips",
    "over_champion_accuracy",  # about others
    "picks_over_random",
    "picks_over_longest",
}


def test_every_check_that_can_keep_a_model_out_is_of_a_bias_or_has_no_remedy():
    checks = (*DEFAULT_CHECKS, *CHAMPION_CHECKS, *PROBE_CHECKS, *BEST_OF_N_CHECKS)
    hard = {check.name for check in checks if check.severity == "hard"}
    assert hard <= candidates.BIASES.keys() | WITHOUT_REMEDY
    assert not candidates.BIASES.keys() & WITHOUT_REMEDY
    assert candidates.BIASES.keys() <= {check.name for check in checks}


@pytest.mark.parametrize("bias", sorted(set(candidates.BIASES.values())))
def test_each_bias_has_a_remedy_and_only_such_are_tried(bias):
    found = candidates.candidates([bias], RemediesConfig())
    assert found
    assert all(bias in remedy.against for remedy in found)
    assert set(found) == {remedy for remedy in REMEDIES if bias in remedy.against}


def test_what_is_for_more_of_the_biases_comes_first_and_then_what_costs_less():
    found = candidates.candidates(["length", "words"], RemediesConfig())
    ranks = [(-len({"length", "words"} & set(one.against)), one.tokens) for one in found]
    assert ranks == sorted(ranks)
    assert len({rank[0] for rank in ranks}) == 2


def test_what_the_model_was_trained_with_is_not_tried_again():
    every = candidates.candidates(["length"], RemediesConfig())
    first = candidates.with_remedy(every[0], RemediesConfig())
    assert every[0] not in candidates.candidates(["length"], first)
    assert dict(every[0].settings).items() <= first.model_dump().items()


def test_a_remedy_keeps_the_settings_that_are_there():
    present = RemediesConfig(stock_share=0.125)
    other = next(one for one in REMEDIES if "stock_share" not in dict(one.settings))
    assert candidates.with_remedy(other, present).stock_share == 0.125


def test_no_two_candidates_are_the_same_training_and_none_weakens_what_is_there():
    for present in (RemediesConfig(controlled=("length",)), RemediesConfig(stock_share=0.3, foreign_share=1.0)):
        found = candidates.candidates(["length", "words", "surface"], present)
        settings = [candidates.with_remedy(each, present) for each in found]
        assert len({each.model_dump_json() for each in settings}) == len(settings)
        for each in settings:
            assert set(each.controlled) >= set(present.controlled)
            shares = present.model_dump(exclude={"controlled"})
            assert all(getattr(each, name) >= value for name, value in shares.items())


def test_failed_checks_say_the_biases_and_missed_ones_only_where_none_does():
    failed, clear = ["overpaid_length", "gain_without_length", "joint_overpaid_words"], ["probe_foreign"]
    missed = ["probe_empty", *clear]
    assert candidates.telling(failed, clear, missed) == tuple(failed)
    assert candidates.biases(failed) == ("length", "words")
    assert candidates.telling(["num_clusters"], clear, missed) == ("probe_foreign",)
    assert candidates.biases(candidates.telling([], [], missed)) == ("evasion", "prompt")
    assert candidates.telling([], [], []) == candidates.biases([]) == ()


def test_what_an_audit_named_is_controlled_first_beside_what_is_controlled_already():
    found = candidates.candidates(["structure"], RemediesConfig(controlled=("length",)), ("bold", "length"))
    assert found[0].name == "controlled bold, length"
    with_it = candidates.with_remedy(found[0], RemediesConfig(controlled=("length",)))
    assert with_it.controlled == ("length", "bold")
    again = candidates.candidates(["structure"], with_it, ("bold",))
    assert "controlled bold" not in [each.name for each in again]
    (only, *_) = candidates.candidates(["length"], RemediesConfig(), ("length",))
    assert only.name == "controlled length"
    assert [one.name for one in candidates.candidates(["length"], RemediesConfig(), ("length",))].count(only.name) == 1


def test_beside_a_head_that_is_kept_nothing_is_controlled():
    for paid_for in ((), ("bold",)):
        every = candidates.candidates(["length", "surface"], RemediesConfig(), paid_for)
        left = candidates.candidates(["length", "surface"], RemediesConfig(), paid_for, keeps_head=True)
        assert left == tuple(each for each in every if "controlled" not in dict(each.settings))
        assert 0 < len(left) < len(every)

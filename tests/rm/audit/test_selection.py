from dataclasses import replace

import numpy as np
import pytest

from rm.audit import selection
from rm.errors import AuditError
from tests.rm import biased_pairs


def pairs(*probabilities):
    made = biased_pairs.make_pairs(biased_pairs.oracle, seed=0, num_pairs=max(len(probabilities), 50), num_prompts=10)
    return replace(made, sampling_probability=np.array(probabilities)) if probabilities else made


@pytest.mark.parametrize(("probabilities", "came"), [((), "no such column"), ((0.5,) * 50, "0.5 for every pair")])
def test_pairs_kept_because_a_model_disagreed_are_refused_unless_probabilities_say_where(probabilities, came):
    sentence = rf"audit\.selection: .* in a column sampling_probability; got model_disagreed and {came}$"
    with pytest.raises(AuditError, match=sentence):
        selection.check("model_disagreed", pairs(*probabilities))
    selection.check("unknown", pairs(*probabilities))
    selection.check("model_disagreed", pairs(*[0.2, 0.5] * 25))


def test_known_probabilities_are_mentioned_and_leave_no_doubt_of_a_choice_by_disagreement():
    finding = selection.doubt("model_disagreed", pairs(*[0.2, 0.5] * 25))
    assert (finding.estimate, finding.detail) == (0.0, "")
    assert finding.method.endswith("model disagreed; each counts one over its sampling probability")


def test_equal_probabilities_leave_all_pairs_and_unequal_ones_fewer():
    assert selection.effective(pairs()) == selection.notes(pairs()) == ()
    (equal,), (unequal,) = (selection.effective(pairs(*each)) for each in ([0.3] * 50, [0.1] * 10 + [0.4] * 40))
    assert equal.estimate == 50
    assert unequal.estimate == pytest.approx((10 * 4 + 40) ** 2 / (10 * 16 + 40))
    (note,) = selection.notes(pairs(*[0.1] * 10, *[0.4] * 40))
    assert note == "pairs count one over their sampling probability and say as much as 32 equal ones"
    assert (unequal.name, unequal.num_pairs) == ("num_effective_pairs", 50)


@pytest.mark.parametrize(
    ("chosen", "doubt"),
    [("all", 0.0), ("random", 0.0), ("unknown", 1.0), ("curated", 1.0), ("best_against_random", 1.0)],
)
def test_a_choice_that_can_hide_a_bias_is_a_doubt_with_a_reason(chosen, doubt):
    finding = selection.doubt(chosen, pairs())
    assert (finding.estimate, bool(finding.detail), finding.num_pairs) == (doubt, bool(doubt), 50)
    assert chosen.replace("_", " ") in finding.method
